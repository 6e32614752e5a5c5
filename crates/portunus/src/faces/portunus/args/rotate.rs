//! The verb that moves clients to a new door.

use std::path::PathBuf;

use clap::{ArgGroup, Args};
use portunus_model::ClientName;

use crate::values;

/// `portunus rotate`
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("work").args(["without", "apart", "print", "status", "retire"]))]
#[command(
    after_help = "Old and new door are valid side by side. Clients with answers are told by the answer to their next knock and
move by themselves; the others are handed what --print prints, for their `portunus join`. After a theft or a
revocation no answer tells of the new door, since who knows the old one's keys could tell of one, too.
--status exits 0 when nobody is left at the old door, 1 while somebody is.

Example:
  sudo portunus rotate
  sudo portunus rotate --status
  sudo portunus rotate --retire
  sudo portunus rotate --without mallory --out door.toml"
)]
pub(crate) struct Rotate {
    /// Revoke this client (where it still is one), and make a door that it knows nothing of: no answer tells of it
    #[arg(long, value_name = "NAME", value_parser = values::client)]
    pub(crate) without: Option<ClientName>,
    /// With --without, end its established connections too
    #[arg(long, requires = "without")]
    pub(crate) kill: bool,
    /// Make a door that no answer tells of, and revoke nobody: the server's keys were stolen. Who is handed it draws a new link
    /// too
    #[arg(long)]
    pub(crate) apart: bool,
    /// Print the door at which all are to knock, for clients that no answer tells of it
    #[arg(long)]
    pub(crate) print: bool,
    /// Have whoever is handed that door draw a new link too, as after a theft
    #[arg(long, conflicts_with_all = ["status", "retire"])]
    pub(crate) fresh: bool,
    /// Write that door to a new file rather than to standard output
    #[arg(long, value_name = "FILE", conflicts_with_all = ["status", "retire"])]
    pub(crate) out: Option<PathBuf>,
    /// Show that door as a QR code too
    #[arg(long, conflicts_with_all = ["status", "retire"])]
    pub(crate) qr: bool,
    /// Write the QR code to a picture: .png or .svg
    #[arg(long, value_name = "FILE", value_parser = values::picture, conflicts_with_all = ["status", "retire"])]
    pub(crate) qr_out: Option<PathBuf>,
    /// Say which doors stand, and who has not been seen at the new one
    #[arg(long)]
    pub(crate) status: bool,
    /// With --status, print JSON, with everybody's name
    #[arg(long, requires = "status")]
    pub(crate) json: bool,
    /// Put the new door in the old one's place, and end the old one
    #[arg(long)]
    pub(crate) retire: bool,
    /// With --retire, shut out who has not moved
    #[arg(long, requires = "retire")]
    pub(crate) force: bool,
}
