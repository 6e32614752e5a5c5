//! The verbs that change or show the clients of a server.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use portunus_model::{ClientName, Unix};

use super::server::DialectName;
use crate::values;

/// `portunus add`
#[derive(Args, Debug)]
#[command(
    after_help = "The profile holds the client's private key, which the server does not keep: send it on a safe way.

Example:
  sudo portunus add alice --ports ssh > alice.toml
  sudo portunus add phone --ports ssh,8000-8010/tcp --for 2m --expires 2027-01-31T00:00:00Z --qr"
)]
pub(crate) struct Add {
    /// The client's name
    #[arg(value_name = "NAME", value_parser = values::client)]
    pub(crate) name: ClientName,
    /// Services and ports, by comma: ssh, 22/tcp, 8000-8010/udp (the configured default when left out)
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(crate) ports: Vec<String>,
    /// When its time is over: 2027-01-31, or with a time, 2027-01-31T12:00:00Z
    #[arg(long, value_name = "DATE", value_parser = values::date)]
    pub(crate) expires: Option<Unix>,
    /// How long one grant lasts: 30s, 5m, 2h
    #[arg(long = "for", value_name = "TIME", value_parser = values::span)]
    pub(crate) lasting: Option<Duration>,
    /// The dialect of its knocks (the first of native, openme and fwknop that the server speaks, when it is left out)
    #[arg(long, value_enum)]
    pub(crate) dialect: Option<DialectName>,
    /// Answer its knocks, sealed: it hears why a door stays shut (native)
    #[arg(long)]
    pub(crate) answers: bool,
    /// Whether each knock must name the address that it opens for; a client behind a translated address cannot (native)
    #[arg(long, value_enum, value_name = "WHEN")]
    pub(crate) bind: Option<Bind>,
    /// Have each of its knocks bring a one-time code, and show the secret for its authenticator (native)
    #[arg(long)]
    pub(crate) totp: bool,
    /// Let it open for addresses other than its own
    #[arg(long)]
    pub(crate) any_target: bool,
    /// Show the profile as a QR code for a phone
    #[arg(long)]
    pub(crate) qr: bool,
    /// Write the QR code to a picture: .png or .svg
    #[arg(long, value_name = "FILE", value_parser = values::picture)]
    pub(crate) qr_out: Option<PathBuf>,
}

/// `portunus invite`
#[derive(Args, Debug)]
#[command(
    after_help = "The code is used once: whoever comes with it first is the client, and makes its own keys, which never leave it.
With --confirm it is let in once `portunus confirm` has said that its fingerprint is the right one.

Example:
  sudo portunus invite alice --ports ssh
  sudo portunus invite phone --expires 1h --confirm --qr"
)]
pub(crate) struct Invite {
    /// The client's name
    #[arg(value_name = "NAME", value_parser = values::client)]
    pub(crate) name: ClientName,
    /// How long the invitation holds: 10m, 2h, 7d
    #[arg(long, value_name = "TIME", value_parser = values::span, default_value = "10m")]
    pub(crate) expires: Duration,
    /// Let nobody in before `portunus confirm`
    #[arg(long)]
    pub(crate) confirm: bool,
    /// Services and ports, by comma: ssh, 22/tcp, 8000-8010/udp (the configured default when left out)
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(crate) ports: Vec<String>,
    /// When the client's own time is over: 2027-01-31, or with a time, 2027-01-31T12:00:00Z
    #[arg(long, value_name = "DATE", value_parser = values::date)]
    pub(crate) until: Option<Unix>,
    /// How long one grant lasts: 30s, 5m, 2h
    #[arg(long = "for", value_name = "TIME", value_parser = values::span)]
    pub(crate) lasting: Option<Duration>,
    /// Answer its knocks, sealed: it hears why a door stays shut
    #[arg(long)]
    pub(crate) answers: bool,
    /// Whether each knock must name the address that it opens for; a client behind a translated address cannot
    #[arg(long, value_enum, value_name = "WHEN")]
    pub(crate) bind: Option<Bind>,
    /// Have each of its knocks bring a one-time code, and show the secret for its authenticator
    #[arg(long)]
    pub(crate) totp: bool,
    /// Let it open for addresses other than its own
    #[arg(long)]
    pub(crate) any_target: bool,
    /// Show the code as a QR code
    #[arg(long)]
    pub(crate) qr: bool,
    /// Write the QR code to a picture: .png or .svg
    #[arg(long, value_name = "FILE", value_parser = values::picture)]
    pub(crate) qr_out: Option<PathBuf>,
}

/// `portunus confirm`
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  sudo portunus confirm phone\n  sudo portunus confirm phone --fingerprint 3f9a61c02b7d8e15"
)]
pub(crate) struct Confirm {
    /// The client's name
    #[arg(value_name = "NAME", value_parser = values::client)]
    pub(crate) name: ClientName,
    /// The fingerprint that `portunus join` showed on the other side (asked for on a terminal when left out)
    #[arg(long, value_name = "FINGERPRINT")]
    pub(crate) fingerprint: Option<String>,
}

/// Whether a knock names the address that it opens for.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bind {
    // Where it is the client's own, seen from everywhere
    Auto,
    // Always
    Must,
}

/// `portunus show`
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  sudo portunus show alice")]
pub(crate) struct Show {
    /// The client's name
    #[arg(value_name = "NAME", value_parser = values::client)]
    pub(crate) name: ClientName,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `portunus revoke`
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  sudo portunus revoke alice\n  sudo portunus revoke alice --kill")]
pub(crate) struct Revoke {
    /// The client's name
    #[arg(value_name = "NAME", value_parser = values::client)]
    pub(crate) name: ClientName,
    /// End its established connections too, where no other client has or had a grant for the same address and port
    #[arg(long)]
    pub(crate) kill: bool,
}
