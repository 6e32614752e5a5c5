//! The chains of the native dialect, as commands see them and leave them: the daemon alone writes their store, and takes up
//! what is left beside it.

use std::collections::HashSet;
use std::io;
use std::path::Path;

use portunus_config::{DoorKey, Entry, Settings};
use portunus_crypto::{Secret, SystemEntropy};
use portunus_dialect::native::{Chain, ChainError, Day};
use portunus_model::{ChainOwner as Owner, ClientKey, DoorRole};
use portunus_store::chains;
use portunus_store::handover::{FOLDER, Handover, NewChain, STORE};
use portunus_sys::clock;
use portunus_sys::files::{self, FileError, Secrecy};
use portunusd::keyrings::Trouble;
use zeroize::Zeroizing;

use crate::edit::PRIVATE;
use crate::identity;
use crate::say::Failure;

/// How to get a chain for a door that has none.
const NEW_CHAIN: &str = "make one with `portunus init --force`, with the --host, --port and --dialects it had; the old file is kept as \
                         portunus.toml.old. Then add its clients anew";
/// The same for one that nobody can have moved to.
const NO_NEW_CHAIN: &str = "take the file away, and make a new door again: portunus rotate";
/// What to do with the door that may be known to somebody who is to be shut out.
const TWO_NEW: &str = "rename it to native-burnt.key: who has moved there comes in until `portunus rotate --retire` has brought all to the other \
                       (native-apart.key)";
/// More clients than these are not named one by one.
const MOST_NAMED: usize = 8;

/// Today, in UTC.
///
/// # Errors
/// The clock says a year that no key can have.
pub(crate) fn today() -> Result<Day, Failure> {
    Day::of(clock::wall()).ok_or_else(|| {
        Failure::new("this machine's clock is before 1970, or has no end", "", "set it, and try again")
    })
}

/// A chain that begins today.
///
/// # Errors
/// The system gave no randomness; or as [`today`].
pub(crate) fn begun() -> Result<Chain, Failure> {
    let value = Secret::generate(&mut SystemEntropy).map_err(|error| Failure::new(error, "", "try again"))?;
    Ok(Chain::new(today()?, value))
}

/// What is to be left of a new client, or a new door.
pub(crate) fn new(public: [u8; 32], chain: &Chain) -> NewChain {
    NewChain { public, day: chain.day().number(), value: chain.value().duplicate() }
}

/// Leaves something for the daemon. For who holds the lock of the configuration.
///
/// # Errors
/// The file system refused.
pub(crate) fn leave(state_dir: &Path, handover: &Handover) -> Result<(), Failure> {
    let folder = state_dir.join(FOLDER);
    files::make_folder(state_dir, 0o700)?;
    files::make_folder(&folder, 0o700)?;
    files::sweep_drafts(&folder);
    Ok(files::replace(&folder.join(handover.file_name()), handover.line().as_bytes(), PRIVATE)?)
}

/// Leaves the chain of a new door, from today on. Before its key: a door without one is none, a chain without a door is nobody's.
///
/// # Errors
/// The file system refused, or there is no randomness, or no day.
pub(crate) fn give_door(state_dir: &Path, key: &Secret<32>) -> Result<(), Failure> {
    let public = identity::x25519_public(key)?;
    leave(state_dir, &Handover::Door(new(public, &begun()?)))
}

/// Takes back what was left, as far as the daemon has not taken it up.
///
/// # Errors
/// The file system refused.
pub(crate) fn take_back(state_dir: &Path, handover: &Handover) -> Result<(), Failure> {
    Ok(files::remove(&state_dir.join(FOLDER).join(handover.file_name()))?)
}

/// Has the daemon erase the link of a client that is revoked, or the chain of a door that is no more.
///
/// # Errors
/// The file system refused.
pub(crate) fn erase(state_dir: &Path, public: [u8; 32]) -> Result<(), Failure> {
    // First what it might take up after it has erased.
    let of = |kind: fn(NewChain) -> Handover| {
        kind(NewChain { public, day: 0, value: Secret::from_bytes([0; 32]) })
    };
    take_back(state_dir, &of(Handover::Link))?;
    take_back(state_dir, &of(Handover::Door))?;
    leave(state_dir, &Handover::Gone(public))
}

/// The chain of a door, from today on.
///
/// # Errors
/// It has none, or its key of today cannot be made.
pub(crate) fn door_today(state_dir: &Path, public: &[u8; 32]) -> Result<Chain, Failure> {
    let place = state_dir.join(STORE);
    let mut chain = door(state_dir, public)?.ok_or_else(|| {
        Failure::file("the server's door has no chain, so nobody could knock", &place, NEW_CHAIN)
    })?;
    let (first, today) = (chain.day(), today()?);
    chain.advance(today).map_err(|error| {
        let what = match error {
            ChainError::Erased => format!(
                "the door's chain begins {} days from now: this machine's clock is behind",
                first.number().saturating_sub(today.number())
            ),
            ChainError::TooFar => error.to_string(),
        };
        Failure::file(what, &place, "set the clock, and add the client again")
    })?;
    Ok(chain)
}

/// The chain of a door: as it is stored, else as it was left for the daemon.
///
/// # Errors
/// The store cannot be read.
pub(crate) fn door(state_dir: &Path, public: &[u8; 32]) -> Result<Option<Chain>, Failure> {
    let mut found = None;
    each(state_dir, |owner, chain| {
        if owner == Owner::Door(*public) && found.is_none() {
            found = Some(chain());
        }
    })?;
    Ok(found)
}

/// Shows every chain, the stored ones first: whose it is, and on demand the chain.
///
/// # Errors
/// The store cannot be read.
pub(crate) fn each(state_dir: &Path, mut each: impl FnMut(Owner, &dyn Fn() -> Chain)) -> Result<(), Failure> {
    // What was left is read before the store: the daemon takes it away once it is in there.
    let left = left(state_dir)?;
    let store = state_dir.join(STORE);
    match files::open_to_read(&store) {
        Ok(file) => {
            let looked = chains::look(&file, |entry| {
                each(entry.owner, &|| {
                    Chain::new(Day::from_number(entry.day), Secret::from_bytes(*entry.value))
                });
            });
            looked.map_err(|error| unread(&store, &error))?;
        }
        Err(FileError::Missing(_)) => (),
        Err(error) => return Err(error.into()),
    }
    for handover in &left {
        let (owner, new) = match handover {
            Handover::Door(new) => (Owner::Door(new.public), new),
            Handover::Link(new) => (Owner::Link(new.public), new),
            Handover::Gone(_) => continue,
        };
        each(owner, &|| Chain::new(Day::from_number(new.day), new.value.duplicate()));
    }
    Ok(())
}

/// What commands have left.
fn left(state_dir: &Path) -> Result<Vec<Handover>, Failure> {
    let paths = match files::list(&state_dir.join(FOLDER)) {
        Ok(paths) => paths,
        Err(FileError::Missing(_)) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut left = Vec::with_capacity(paths.len());
    for path in paths {
        match files::read(&path, Secrecy::State).map(Zeroizing::new) {
            Ok(text) => left.push(Handover::parse(&text).map_err(|error| {
                Failure::file(error, &path, "take the file away, and add its client anew")
            })?),
            // Taken up meanwhile.
            Err(FileError::Missing(_)) => (),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(left)
}

fn unread(store: &Path, error: &io::Error) -> Failure {
    Failure::file(
        format_args!("the chains cannot be read ({error})"),
        store,
        "see what the system says of it",
    )
}

/// What keeps native clients from knocking, though their configuration has no mistake.
pub(crate) fn look(state_dir: &Path, settings: &Settings, entries: &[Entry]) -> Vec<Trouble> {
    if settings.secrets.native.is_empty() {
        return Vec::new();
    }
    let (place, keys) = (state_dir.join(STORE), Path::new("keys"));
    let trouble = |what: String, place: &Path, mend: &str| Trouble {
        what,
        place: place.to_owned(),
        mend: mend.to_owned(),
    };
    let mut known = HashSet::new();
    if let Err(failure) = each(state_dir, |owner, _| {
        known.insert(owner);
    }) {
        let what = format!(
            "the chains of the native dialect cannot be read, and the daemon cannot either: {failure}"
        );
        let mend = "run this as root; where you are, restore the file, or move it away and add the native clients anew";
        return vec![trouble(what, &place, mend)];
    }
    let mut found = Vec::new();
    let chainless = |door: &&DoorKey| {
        identity::x25519_public(&door.secret).is_ok_and(|door| !known.contains(&Owner::Door(door)))
    };
    for door in settings.secrets.native.iter().filter(chainless) {
        let new = door.role.file_name().filter(|_| door.role.is_new());
        let (what, place, mend) = match new {
            Some(name) => {
                ("the new door has no chain, so nobody can knock at it", keys.join(name), NO_NEW_CHAIN)
            }
            None => (
                "a door of the native dialect has no chain, so nobody can knock at it",
                place.clone(),
                NEW_CHAIN,
            ),
        };
        found.push(trouble(what.to_owned(), &place, mend));
    }
    let both = [DoorRole::Next, DoorRole::Apart].map(|role| settings.secrets.door(role).is_some());
    if both == [true, true] {
        let what = "two new doors stand, and everybody can move to one".to_owned();
        found.push(trouble(what, &keys.join(DoorRole::Next.file_name().unwrap_or_default()), TWO_NEW));
    }
    let chainless = |entry: &&Entry| match entry.key {
        Some(ClientKey::Native(key)) => !known.contains(&Owner::Link(key)),
        // Who was invited brings its own.
        Some(ClientKey::Openme(_) | ClientKey::Fwknop(_)) | None => false,
    };
    let mend = "revoke it, and add it anew: the other half of its link is in its profile alone";
    for entry in entries.iter().filter(chainless).take(MOST_NAMED) {
        found.push(trouble(
            format!("client {:?} has no link chain, so it cannot knock", entry.name),
            &entry.file,
            mend,
        ));
    }
    let more = entries.iter().filter(chainless).count().saturating_sub(MOST_NAMED);
    if more > 0 {
        found.push(trouble(format!("so it is with {more} clients more"), &place, mend));
    }
    found
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use portunus_store::chains::{Chains, Change, Entry as Slot};

    use super::*;

    const DOOR: [u8; 32] = [7; 32];

    fn new_door(day: Day) -> Handover {
        Handover::Door(new(DOOR, &Chain::new(day, Secret::from_bytes([1; 32]))))
    }

    fn store(dir: &Path, owner: Owner, day: u32, value: &[u8; 32]) {
        let file = files::open_state(&dir.join(STORE)).unwrap();
        let (mut chains, _) = Chains::open(file, |_| ()).unwrap();
        let slot = chains.reserve();
        chains.change(&[Change::Put(Slot { slot, owner, day, value })]).unwrap();
    }

    #[test]
    fn what_is_left_is_closed_to_others_and_found() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        assert!(door(&state, &DOOR).unwrap().is_none());
        leave(&state, &new_door(Day::from_number(5))).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&state), mode(&state.join(FOLDER))), (0o700, 0o700));
        assert_eq!(mode(&state.join(FOLDER).join(new_door(Day::from_number(5)).file_name())), 0o600);
        let found = door(&state, &DOOR).unwrap().unwrap();
        assert!(found.day().number() == 5 && *found.value() == Secret::from_bytes([1; 32]));
        // The store goes before what was left.
        store(&state, Owner::Door(DOOR), 6, &[2; 32]);
        let found = door(&state, &DOOR).unwrap().unwrap();
        assert!(found.day().number() == 6 && *found.value() == Secret::from_bytes([2; 32]));
        assert!(door(&state, &[8; 32]).unwrap().is_none());
    }

    #[test]
    fn todays_key_is_made_or_it_is_said_why_not() {
        let dir = tempfile::tempdir().unwrap();
        let said = || door_today(dir.path(), &DOOR).err().map(|failure| failure.to_string()).unwrap();
        assert!(said().contains("the server's door has no chain"), "{}", said());
        let today = today().unwrap();
        leave(dir.path(), &new_door(today.minus(3))).unwrap();
        let made = door_today(dir.path(), &DOOR).unwrap();
        let first = Chain::new(today.minus(3), Secret::from_bytes([1; 32]));
        assert!(made.day() == today && *made.value() == first.at(today).unwrap());
        leave(dir.path(), &new_door(today.plus(3))).unwrap();
        assert!(said().contains("begins 3 days from now: this machine's clock is behind"), "{}", said());
        leave(dir.path(), &new_door(Day::from_number(2))).unwrap();
        assert!(said().contains("the clock is wrong"), "{}", said());
    }

    #[test]
    fn of_a_revoked_client_nothing_is_left_to_be_taken_up() {
        let dir = tempfile::tempdir().unwrap();
        let public = [9; 32];
        let link = Handover::Link(new(public, &begun().unwrap()));
        leave(dir.path(), &link).unwrap();
        erase(dir.path(), public).unwrap();
        let left = files::list(&dir.path().join(FOLDER)).unwrap();
        let [only] = &left[..] else { panic!("{left:?}") };
        assert_eq!(Handover::parse(&files::read(only, Secrecy::Secret).unwrap()), Ok(Handover::Gone(public)));
    }

    #[test]
    fn what_is_no_store_is_said_and_not_taken_for_none() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(STORE), "[portunus]\n".repeat(9000)).unwrap();
        assert!(door(dir.path(), &DOOR).err().unwrap().to_string().contains("it is not a store of chains"));
        std::fs::remove_file(dir.path().join(STORE)).unwrap();
        leave(dir.path(), &new_door(Day::from_number(5))).unwrap();
        let left = files::list(&dir.path().join(FOLDER)).unwrap().remove(0);
        files::replace(&left, b"door AAAA", PRIVATE).unwrap();
        assert!(door(dir.path(), &DOOR).err().unwrap().to_string().contains("a command was cut off"));
    }
}
