//! `join` of a door by itself: a profile that is there knocks at it from now on.

use std::path::Path;

use portunus_config::profile::door::{self, DoorPaper};
use portunus_config::profile::{Keys, NativeKeys, Profile, Renewal, native, update};
use portunus_config::{Files, Secrecy};
use portunus_crypto::x25519::PrivateKey;
use portunus_dialect::native::Chain;
use portunus_sys::files;
use zeroize::Zeroizing;

use super::NAME;
use super::args::Join;
use crate::edit::PRIVATE;
use crate::files::RealFiles;
use crate::say::{CONFIG, Done, Failure, USAGE, line, remark};
use crate::wallet::{self, Wallet, short};

/// Where a door comes from that fits.
const AGAIN: &str = "get it again from the server's `portunus rotate --print`";

/// Puts the door of `text` into the profile that it is for; all else in its file stays.
pub(super) fn take(wish: &Join, text: &str, from: &Path) -> Done {
    let paper = door::parse(text, from).map_err(|found| Failure::lines(found, CONFIG))?;
    let wallet = Wallet::mine()?;
    let name = match &wish.name {
        Some(name) => wallet.open(Some(name))?.name,
        None => whose(&wallet, &paper, from)?,
    };
    let path = wallet.path(&name);
    let _lock = wallet::lock(&path)?;
    let text = RealFiles.read(&path, Secrecy::Secret).map(Zeroizing::new);
    let text = text.map_err(|error| Failure::lines([error.at(&path)], CONFIG))?;
    let profile = native::parse(&text, &path).map_err(|found| Failure::lines(found, CONFIG))?;
    let Profile { keys: Keys::Native(keys), host, .. } = profile else {
        let what = "it is of another dialect, which has no such doors";
        return Err(Failure::file(what, &path, "name a profile of the native dialect: --as NAME"));
    };
    if keys.server == paper.door.server {
        line(format_args!("{name} ({host}) knocks at that door already"));
        return Ok(());
    }
    let next = moved(*keys, paper, from)?;
    files::replace(&path, update(&text, &path, &next)?.as_bytes(), PRIVATE)?;
    line(format_args!("{name} ({host}) knocks at the new door from now on: {}", short(&path)));
    line(format_args!("next: portunus status {name} --knock"));
    Ok(())
}

/// The keys with that door. The old one goes: who hands it over says which one counts, and after a theft nobody is to knock at
/// the old one any more.
fn moved(keys: NativeKeys, paper: DoorPaper, from: &Path) -> Result<NativeKeys, Failure> {
    let client = PrivateKey::new(&keys.secret).map_err(|error| Failure::new(error, "", ""))?;
    if client.agree(&paper.door.server).is_err() {
        return Err(Failure::file("server_pubkey is of low order: no server can have it", from, AGAIN));
    }
    let mut chain: Chain = paper.door.chain;
    // Days that the profile has let go are none of the new door's, either; and one too far ahead would be refused when it is read.
    let first = keys.link.day();
    let distance = if chain.day() < first {
        chain.advance(first)
    } else {
        Chain::new(first, keys.link.value().duplicate()).at(chain.day()).map(|_| ())
    };
    distance.map_err(|_| Failure::file("its day is years from the profile's own", from, AGAIN))?;
    // One that is under way already goes on: of several that are announced the server keeps the first.
    let renewal = match keys.renewal {
        Renewal::Done if paper.fresh => Renewal::Due,
        Renewal::Done | Renewal::Due | Renewal::Announced(_) | Renewal::Replaced(_) => keys.renewal,
    };
    Ok(NativeKeys { server: paper.door.server, door: chain, old_door: None, renewal, ..keys })
}

/// The profile that is of this server.
fn whose(wallet: &Wallet, paper: &DoorPaper, from: &Path) -> Result<String, Failure> {
    let mut fit = Vec::new();
    for name in wallet.names()? {
        match wallet.load(&name) {
            Ok(Profile { keys: Keys::Native(_), host, port, .. })
                if host.eq_ignore_ascii_case(&paper.host) && port == paper.port =>
            {
                fit.push(name);
            }
            Ok(_) => (),
            // It may be the one.
            Err(failure) => remark(NAME, failure),
        }
    }
    match fit.as_slice() {
        [only] => Ok(only.clone()),
        [] => Err(Failure::file(
            format_args!("no profile of the native dialect is of {}, port {}", paper.host, paper.port),
            from,
            "name the one that it is for: portunus join FILE --as NAME",
        )),
        [..] => Err(Failure::file(
            format_args!("several profiles are of {}, port {}: {}", paper.host, paper.port, fit.join(", ")),
            from,
            "name the one that it is for: portunus join FILE --as NAME",
        )
        .code(USAGE)),
    }
}
