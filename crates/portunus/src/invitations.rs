//! Invitations as commands see them: how far each has come.

use std::path::Path;

use portunus_config::{Entry, fingerprint};
use portunus_model::Unix;
use portunus_store::invitations::{self, Invitation, NoInvitation, Place, TakenBy};
use portunus_sys::clock;
use portunus_sys::files::{self, FileError, Secrecy};
use portunusd::keyrings::Trouble;
use zeroize::Zeroizing;

use crate::say::Failure;

/// How far an invitation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nobody has come yet; until then somebody may.
    Out(Unix),
    /// Somebody has come with this key, and is to be confirmed.
    ToConfirm([u8; 32]),
    /// Somebody has come with this key; the daemon makes it a client as soon as it runs.
    Coming([u8; 32]),
    /// Nobody has come, and nobody can any more.
    Over,
}

impl Standing {
    /// Of a client that has no key yet.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(crate) fn of(state_dir: &Path, entry: &Entry) -> Result<Self, Failure> {
        let place = entry.key_file.as_ref().and_then(|file| Place::of_key_file(state_dir, file));
        let Some(place) = place else { return Ok(Self::Over) };
        // Of another name, it is of another client, and the daemon does not look out for it.
        let invitation = invitation(&place)?.filter(|invitation| invitation.name == entry.name);
        let Some(invitation) = invitation else { return Ok(Self::Over) };
        Ok(match taken(&place)? {
            Some(taken) if invitation.confirm && confirmed(&place)? != Some(taken.public) => {
                Self::ToConfirm(taken.public)
            }
            Some(taken) => Self::Coming(taken.public),
            None if clock::wall() < invitation.until => Self::Out(invitation.until),
            None => Self::Over,
        })
    }
}

impl std::fmt::Display for Standing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Out(until) => write!(f, "invited until {}", portunus_config::render_date(*until)),
            Self::ToConfirm(key) => write!(f, "{} (to be confirmed)", fingerprint(key)),
            Self::Coming(key) => write!(f, "{} (once the daemon runs)", fingerprint(key)),
            Self::Over => f.write_str("invitation over"),
        }
    }
}

/// Clients that were invited, and cannot come any more.
pub(crate) fn look(state_dir: &Path, entries: &[Entry]) -> Vec<Trouble> {
    let mut found = Vec::new();
    for entry in entries.iter().filter(|entry| entry.key.is_none()) {
        let what = match Standing::of(state_dir, entry) {
            Ok(Standing::Over) => format!("client {:?} was invited, and its invitation is over", entry.name),
            Ok(Standing::Out(_) | Standing::ToConfirm(_) | Standing::Coming(_)) => continue,
            Err(failure) => format!("the invitation of client {:?} cannot be read: {failure}", entry.name),
        };
        let mend = "revoke it, and invite it anew".to_owned();
        found.push(Trouble { what, place: entry.file.clone(), mend });
    }
    found
}

/// The invitation itself.
///
/// # Errors
/// It cannot be read.
pub(crate) fn invitation(place: &Place) -> Result<Option<Invitation>, Failure> {
    read(&place.invitation(), Invitation::parse)
}

/// Who came first.
///
/// # Errors
/// It cannot be read.
pub(crate) fn taken(place: &Place) -> Result<Option<TakenBy>, Failure> {
    read(&place.taken(), TakenBy::parse)
}

fn confirmed(place: &Place) -> Result<Option<[u8; 32]>, Failure> {
    read(&place.confirmed(), invitations::confirmed)
}

fn read<T>(path: &Path, parse: fn(&str) -> Result<T, NoInvitation>) -> Result<Option<T>, Failure> {
    match files::read(path, Secrecy::State).map(Zeroizing::new) {
        Ok(line) => parse(&line)
            .map(Some)
            .map_err(|error| Failure::file(error, path, "revoke its client, and invite it anew")),
        Err(FileError::Missing(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Takes away all that is there of an invitation whose client is gone.
///
/// # Errors
/// The file system refused.
pub(crate) fn take_away(place: &Place) -> Result<(), Failure> {
    // The invitation first: without it nobody comes any more.
    for path in [place.invitation(), place.confirmed(), place.taken(), place.enrolled()] {
        files::remove(&path)?;
    }
    Ok(())
}
