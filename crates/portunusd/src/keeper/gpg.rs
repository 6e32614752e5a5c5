//! As whom gpg runs: as the owner of the keyrings, since it uses nobody else's.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use portunus_config::Settings;
use portunus_sys::users::{self, Ids};

use super::error::StartError;
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

/// Whose they are; `None`: there are none.
pub(crate) fn owner(settings: &Settings) -> Result<Option<Ids>, StartError> {
    let mut owner: Option<(&Path, Ids)> = None;
    for home in settings.secrets.gpg.iter().map(|keys| keys.ring().home()) {
        let shown = home.display();
        let meta = std::fs::metadata(home).map_err(|e| {
            wrong(format!("the keyring {shown} cannot be read: {e}: name it with GPG_HOME_DIR"))
        })?;
        if meta.mode() & 0o077 != 0 {
            return Err(wrong(format!(
                "the keyring {shown} is open to others than its owner: chmod -R go= {shown}"
            )));
        }
        let ids = Ids { uid: meta.uid(), gid: meta.gid() };
        match owner {
            Some((other, first)) if first.uid != ids.uid => {
                return Err(wrong(format!(
                    "the keyrings {} and {shown} belong to two users, and gpg runs as one: chown one of them",
                    other.display()
                )));
            }
            Some(_) => {}
            None => owner = Some((home, ids)),
        }
    }
    let Some((home, ids)) = owner else { return Ok(None) };
    let own = users::effective_uid();
    if own != 0 && own != ids.uid {
        return Err(wrong(format!(
            "the keyring {} belongs to uid {}, and this daemon runs as uid {own}: chown -R it, or see \
             /usr/share/portunus/units/portunus-gpg.conf",
            home.display(),
            ids.uid
        )));
    }
    Ok(Some(ids))
}

/// A keyring of root's, where there is one: gpg runs as root then.
pub(super) fn roots(settings: &Settings) -> Option<&Path> {
    let mut homes = settings.secrets.gpg.iter().map(|keys| keys.ring().home());
    homes.find(|home| std::fs::metadata(home).is_ok_and(|meta| meta.uid() == 0))
}

fn wrong(what: String) -> StartError {
    StartError::Keyring(what)
}

/// As whom the gpg process is started: `None` where we are no other already.
pub(super) fn ids(settings: &Settings) -> io::Result<Option<Ids>> {
    let owner = owner(settings).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(owner.filter(|_| users::effective_uid() == 0))
}
