//! As whom gpg runs: as the owner of the keyrings, since it uses nobody else's.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use portunus_config::Settings;
use portunus_sys::lead;
use portunus_sys::users::{self, Ids};

use crate::keyrings::Trouble;
use crate::message::{Named, OracleSnapshot, Ring};

/// The keyrings of a configuration, each once.
pub(super) fn snapshot(settings: &Settings) -> OracleSnapshot {
    let mut rings: Vec<Ring> = Vec::new();
    for keys in &settings.secrets.gpg {
        let (raw, id, signers) = (keys.ring(), keys.ring().id().0, keys.signers());
        let named = Named { ids: signers.ids.clone(), fingerprints: signers.fingerprints.clone() };
        let named = Some(named).filter(|_| signers.required);
        match rings.iter_mut().find(|ring| ring.id == id) {
            Some(ring) => ring.signers.extend(named.filter(|named| !ring.signers.contains(named))),
            None => {
                let (home, program) = (raw.home().to_owned(), raw.program().to_owned());
                let passphrase = raw.passphrase().map(<[u8]>::to_vec);
                rings.push(Ring { id, home, program, passphrase, signers: named.into_iter().collect() });
            }
        }
    }
    OracleSnapshot { rings }
}

/// Whose they are, for who only looks at them: he gives nobody's keyring to himself.
///
/// # Errors
/// As [`owner`].
pub(crate) fn owner_to_look(settings: &Settings) -> Result<Option<Ids>, Trouble> {
    owner_or(settings, |owner| format!("run it as root, or as uid {owner}"))
}

/// Whose they are; `None`: there are none. Asked once, and gpg runs as who it said, whoever owns the folders later.
///
/// # Errors
/// A folder that is not there, or that others can get into or exchange; or nobody whom gpg could run as.
pub(crate) fn owner(settings: &Settings) -> Result<Option<Ids>, Trouble> {
    owner_or(settings, |_| "chown -R it, or see /usr/share/portunus/units/portunus-gpg.conf".to_owned())
}

/// The same; `mend`: what to do where it is neither ours nor are we root.
fn owner_or(settings: &Settings, mend: impl FnOnce(u32) -> String) -> Result<Option<Ids>, Trouble> {
    let mut owner: Option<(&Path, Ids)> = None;
    let homes: BTreeSet<&Path> = settings.secrets.gpg.iter().map(|keys| keys.ring().home()).collect();
    for home in homes {
        let ids = owner_of(home)?;
        match owner {
            Some((other, first)) if first.uid != ids.uid => {
                let what =
                    format!("this keyring and {} belong to two users, and gpg runs as one", other.display());
                return Err(Trouble::new(what, home, "chown one of them"));
            }
            Some(_) => {}
            None => owner = Some((home, ids)),
        }
    }
    let Some((home, ids)) = owner else { return Ok(None) };
    let own = users::effective_uid();
    if own != 0 && own != ids.uid {
        let what = format!("the keyring belongs to uid {}, and this runs as uid {own}", ids.uid);
        return Err(Trouble::new(what, home, mend(ids.uid)));
    }
    Ok(Some(ids))
}

/// Whose one is. What gpg finds in root's it does as root, down to programs that its gpg.conf names: so nobody else may be
/// able to put another folder in its place.
fn owner_of(home: &Path) -> Result<Ids, Trouble> {
    let unseen = |error: io::Error| {
        let mend = "make it, or name another folder with gpg_home (GPG_HOME_DIR)";
        Trouble::new(format!("the keyring cannot be looked at ({error})"), home, mend)
    };
    let meta = std::fs::metadata(home).map_err(unseen)?;
    if !meta.is_dir() {
        let mend = "name its folder with gpg_home (GPG_HOME_DIR)";
        return Err(Trouble::new("the keyring is no folder", home, mend));
    }
    if meta.mode() & 0o077 != 0 {
        let mend = format!("chmod -R go= {}", home.display());
        return Err(Trouble::new("the keyring is open to others than its owner", home, mend));
    }
    if meta.uid() == 0
        && users::effective_uid() == 0
        && let Some(at) = lead::by_others(home).map_err(unseen)?
    {
        let shown = at.display();
        let what = format!(
            "gpg would run as root with this keyring, and others than root can put another in its place, by {shown}"
        );
        let mend =
            format!("chown root {shown} and chmod go-w {shown}, or give the keyring a user of its own");
        return Err(Trouble::new(what, home, mend));
    }
    Ok(Ids { uid: meta.uid(), gid: meta.gid() })
}

/// As whom gpg is started: `None` where we are no other already.
pub(crate) fn becomes(owner: Option<Ids>) -> Option<Ids> {
    owner.filter(|_| users::effective_uid() == 0)
}
