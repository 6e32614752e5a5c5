//! A profile's file, written anew as its keys move on. Whoever cannot write it knocks all the same, and hears once what that
//! costs.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use portunus_client::native::{NativeSealer, after, announcing};
use portunus_config::profile::{Keys, NativeKeys, Renewal, native, update};
use portunus_config::{FileError, Files, Secrecy};
use portunus_crypto::SystemEntropy;
use portunus_sys::files;
use zeroize::Zeroizing;

use crate::edit::PRIVATE;
use crate::files::RealFiles;
use crate::say::{CONFIG, Failure, remark};
use crate::wallet;

/// Keeps the file of one profile.
pub(crate) struct Keeper {
    face: &'static str,
    path: PathBuf,
    warned: bool,
}

impl Keeper {
    /// For the profile at `path`; `face` is the word before a warning.
    pub(crate) fn new(face: &'static str, path: PathBuf) -> Self {
        Self { face, path, warned: false }
    }

    /// Before the first knock: a profile that others may have seen gets a link that nobody has. It is on the disk before it is
    /// announced, or it is not announced.
    pub(crate) fn prepare(&mut self, sealer: &mut NativeSealer) {
        if !matches!(sealer.keys().renewal, Renewal::Due) {
            return;
        }
        let drawn = self.rewrite(sealer.keys().public, |keys| {
            announcing(keys, &mut SystemEntropy).map_err(|error| Failure::new(error, "", ""))
        });
        match drawn {
            Ok(Some(written)) => sealer.go_on(written),
            Ok(None) => (),
            Err(failure) => self.warn(&failure),
        }
    }

    /// After knocks: old days' keys go, and what was learned of the link is written down.
    pub(crate) fn keep(&mut self, sealer: &mut NativeSealer) {
        let Some(outcome) = sealer.outcome() else { return };
        if after(sealer.keys(), outcome).is_none() {
            return;
        }
        let before = sealer.keys().server;
        match self.rewrite(sealer.keys().public, |keys| Ok(after(keys, outcome))) {
            Ok(Some(written)) => {
                if written.server != before {
                    self.say_moved(&written);
                }
                sealer.go_on(written);
            }
            Ok(None) => (),
            Err(failure) => self.warn(&failure),
        }
    }

    /// Reads the file anew under the wallet's lock, since another knock may have written it, and puts in what `change` makes of
    /// its keys. Gives the keys that are in it then; nothing where they are another client's by now.
    fn rewrite(
        &self,
        public: [u8; 32],
        change: impl FnOnce(&NativeKeys) -> Result<Option<NativeKeys>, Failure>,
    ) -> Result<Option<NativeKeys>, Failure> {
        self.writable()?;
        let _lock = wallet::lock(&self.path)?;
        let at = |error: FileError| Failure::lines([error.at(&self.path)], CONFIG);
        let text = RealFiles.read(&self.path, Secrecy::Secret).map(Zeroizing::new).map_err(at)?;
        let profile = native::parse(&text, &self.path).map_err(|found| Failure::lines(found, CONFIG))?;
        let keys = match profile.keys {
            Keys::Native(keys) if keys.public == public => *keys,
            Keys::Native(_) | Keys::Openme { .. } => return Ok(None),
        };
        let Some(next) = change(&keys)? else { return Ok(Some(keys)) };
        files::replace(&self.path, update(&text, &self.path, &next)?.as_bytes(), PRIVATE)?;
        Ok(Some(next))
    }

    /// Root may write what is meant to be read only; it was meant so.
    fn writable(&self) -> Result<(), Failure> {
        match std::fs::metadata(&self.path) {
            Ok(meta) if meta.permissions().mode() & 0o200 == 0 => {
                Err(Failure::file("its mode is read-only", &self.path, "make it writable for yourself"))
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn say_moved(&self, keys: &NativeKeys) {
        let path = wallet::short(&self.path);
        let what = if keys.old_door.is_some() { "a new door" } else { "its old door again" };
        remark(self.face, format_args!("the server has {what}: {path} knocks there from now on"));
    }

    fn warn(&mut self, failure: &Failure) {
        if !self.warned {
            self.warned = true;
            let path = wallet::short(&self.path);
            remark(
                self.face,
                format_args!(
                    "warning: {path} was not written anew ({failure}): it keeps the keys of days that are over, so who gets hold of \
                     it later can make more of what was recorded"
                ),
            );
        }
    }
}

#[cfg(test)]
mod tests;
