//! A door by itself, for clients that no answer tells of it.

use portunus_config::DEFAULT_PORT;
use portunus_config::profile::KnownDoor;
use portunus_config::profile::door::{self, DoorPaper};
use portunus_sys::files;

use super::super::NAME;
use super::super::args::Rotate;
use super::load;
use crate::edit::PRIVATE;
use crate::picture::Picture;
use crate::places::Places;
use crate::say::{self, Done, Failure, line, remark};
use crate::{chains, identity};

/// `portunus rotate --print`: the door at which new clients are to knock.
pub(super) fn print(places: &Places, wish: &Rotate) -> Done {
    let settings = load(places)?;
    let key = settings.secrets.door_for_new().ok_or_else(super::not_spoken)?;
    let server = identity::x25519_public(key)?;
    let host = settings.host.ok_or_else(|| {
        Failure::new(
            "the server's file has no host for the door",
            "portunus.toml",
            "write host = \"NAME\" into it",
        )
    })?;
    let port = settings.listen.first().map_or(DEFAULT_PORT, std::net::SocketAddr::port);
    let chain = chains::door_today(&places.state_dir, &server)?;
    let fresh = wish.apart || wish.fresh;
    let paper = DoorPaper { host, port, door: KnownDoor { server, chain }, fresh };
    let picture =
        (wish.qr || wish.qr_out.is_some()).then(|| Picture::new(&door::lines(&paper))).transpose()?;
    if let (Some(picture), Some(path)) = (&picture, &wish.qr_out) {
        picture.write(path)?;
    }
    let text = door::render(&paper);
    match &wish.out {
        Some(path) => {
            files::create(path, text.as_bytes(), PRIVATE)?;
            line(format_args!("the door is in {}", path.display()));
        }
        None => {
            say::shut_to_others(NAME);
            let again = "`portunus rotate --print` prints it again";
            say::hand_over(&text)
                .map_err(|_| Failure::new("the door could not be printed", "standard output", again))?;
        }
    }
    if let (Some(picture), true) = (picture, wish.qr) {
        remark(NAME, "this picture holds the door's key: show it to nobody but clients");
        eprint!("{}", *picture.blocks());
    }
    Ok(())
}
