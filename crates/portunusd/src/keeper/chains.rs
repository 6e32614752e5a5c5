//! The native dialect's store of chains, opened for the front, and what commands have left for it.

use std::fs::File;
use std::path::PathBuf;

use portunus_store::handover::{self, Handover};
use portunus_sys::files::{self, FileError, Secrecy};
use portunus_sys::memfd;
use zeroize::Zeroizing;

use super::error::StartError;
use crate::Plan;
use crate::message::{NewChain, NewKind};

/// The store: made (0600) when it is not there. A dry run has none that stays.
pub(super) fn store(plan: &Plan) -> Result<File, StartError> {
    if plan.dry() {
        return memfd::scratch("portunus", &[])
            .map_err(|e| StartError::System("a file of a dry run", e.to_string()));
    }
    let path = plan.state_dir.join(handover::STORE);
    let store = files::open_state(&path)?;
    if files::close_to_others(&store).map_err(|e| StartError::System("the chains", e.to_string()))? {
        tracing::warn!(
            file = %path.display(),
            "others could read it, and cannot any more: make new keys (`portunus init --force`) if they may have"
        );
    }
    Ok(store)
}

/// Whether the front will be able to take up the store: looked at while nothing is changed yet.
pub(super) fn look(plan: &Plan) -> Result<(), String> {
    let path = plan.state_dir.join(handover::STORE);
    if plan.dry() || !path.exists() {
        return Ok(());
    }
    let store = files::open_state(&path).map_err(|error| error.to_string())?;
    let looked = portunus_store::chains::look(&store, |_| ());
    looked.map(drop).map_err(|error| crate::bad_chains(&error).to_string())
}

/// What commands have left, and the files that say it: to be taken away once it is in the store.
#[derive(Default)]
pub(super) struct Left {
    pub(super) chains: Vec<NewChain>,
    files: Vec<PathBuf>,
}

impl Left {
    pub(super) fn find(plan: &Plan) -> Self {
        let mut left = Self::default();
        let folder = plan.state_dir.join(handover::FOLDER);
        let mut found = match files::list(&folder) {
            Ok(found) => found,
            Err(FileError::Missing(_)) => return left,
            Err(error) => {
                tracing::error!(folder = %folder.display(), %error, "new clients of the native dialect cannot be taken up");
                return left;
            }
        };
        // `gone` comes before `link` in the order of names: who was revoked and added again stays.
        found.sort_unstable();
        for path in found.into_iter().filter(|path| !is_draft(path)) {
            match read(&path) {
                Ok(chain) => {
                    left.chains.push(chain);
                    left.files.push(path);
                }
                Err(why) => tracing::error!(
                    file = %path.display(), why,
                    "what a command has left cannot be taken up: take the file away, and add its client anew"
                ),
            }
        }
        left
    }

    /// It is in the store.
    pub(super) fn taken_up(self) {
        for path in self.files {
            if let Err(error) = files::remove(&path) {
                tracing::warn!(file = %path.display(), %error, "what was taken up stays");
            }
        }
    }
}

fn is_draft(path: &std::path::Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn read(path: &std::path::Path) -> Result<NewChain, String> {
    let text = Zeroizing::new(files::read(path, Secrecy::Secret).map_err(|error| error.to_string())?);
    let of = |kind, new: handover::NewChain| {
        let (public, day, value) = (new.public, new.day, Zeroizing::new(*new.value.expose()));
        NewChain { kind, public, day, value }
    };
    Ok(match Handover::parse(&text).map_err(|error| error.to_string())? {
        Handover::Door(new) => of(NewKind::Door, new),
        Handover::Link(new) => of(NewKind::Link, new),
        Handover::Gone(public) => {
            NewChain { kind: NewKind::Gone, public, day: 0, value: Zeroizing::new([0; 32]) }
        }
    })
}
