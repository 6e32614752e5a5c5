//! `rotate`: a new door of the native dialect beside the old one, and the end of the old one.
//!
//! What stands is said by the names of the files of keys (docs/adr/0016), and each step is one file: killed between any two,
//! the same command said again ends right.

mod printed;
mod standing;
mod status;

use std::path::Path;
use std::process::ExitCode;

use portunus_config::native::{self, MOST_DOORS};
use portunus_config::{Entry, Settings, fingerprint};
use portunus_model::{ClientKey, ClientName, Dialect, DoorRole};
use portunus_sys::files;

use super::args::Rotate;
use super::{NAME, clients};
use crate::edit::{self, PRIVATE};
use crate::files::RealFiles;
use crate::places::Places;
use crate::say::{CONFIG, Done, Failure, line, remark};
use crate::{chains, identity, running};
use standing::Standing;

/// A door that answers told of, and that somebody is to be shut out from: who has moved there comes in until all are at another.
const BURNT: &str = "native-burnt.key";
/// More clients than these are not named one by one.
const MOST_NAMED: usize = 20;

/// `portunus rotate`.
pub(super) fn run(places: &Places, wish: &Rotate) -> Result<ExitCode, Failure> {
    if wish.status {
        return status::run(places, wish.json);
    }
    let done = if wish.retire {
        retire(places, wish.force)
    } else if wish.print {
        printed::print(places, wish)
    } else if wish.apart || wish.without.is_some() {
        shut_out(places, wish)
    } else {
        announce(places, wish)
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// A new door that answers tell of.
fn announce(places: &Places, wish: &Rotate) -> Done {
    let lock = edit::lock_folder(&places.config_dir)?;
    let settings = load(places)?;
    let doors = Standing::of(places, &settings)?;
    if let Some(new) = doors.new_door() {
        let mend = "`portunus rotate --status` says who has moved there, and `portunus rotate --retire` ends the old one";
        return Err(new.refusal("a new door stands already", mend));
    }
    let made = make(places, &settings, DoorRole::Next)?;
    drop(lock);
    running::take_up(NAME, &places.run_dir);
    let entries = native_clients(places)?;
    let (told, silent): (Vec<&Entry>, Vec<&Entry>) = entries.iter().partition(|entry| entry.native.answers);
    line(format_args!("a new door stands beside the old one: {}", fingerprint(&made)));
    if !told.is_empty() {
        line(format_args!(
            "{} told of it by the answer to the next knock, and move by themselves",
            are(told.len())
        ));
    }
    if !silent.is_empty() {
        let names = named(silent.iter().map(|entry| &entry.name));
        line(format_args!("{} not, for want of answers: {names}", are(silent.len())));
        line("  hand them what `portunus rotate --print` prints, for their `portunus join`");
    }
    line("`portunus add` gives new clients the new door");
    line("next: `portunus rotate --status` says who has moved, `portunus rotate --retire` ends the old door");
    if wish.out.is_some() || wish.qr || wish.qr_out.is_some() || wish.fresh {
        printed::print(places, wish)?;
    }
    Ok(())
}

/// A new door that no answer tells of, and that a client who is revoked knows nothing of.
fn shut_out(places: &Places, wish: &Rotate) -> Done {
    // First of all nobody comes in who is not to: whatever is wrong with the doors.
    let late = wish.without.as_ref().map_or(Ok(Ok(())), |name| revoked(places, name, wish.kill))?;
    let lock = edit::lock_folder(&places.config_dir)?;
    let settings = load(places)?;
    let doors = Standing::of(places, &settings)?;
    if let Some(apart) = doors.of_role(DoorRole::Apart) {
        let mend = "who is to be shut out may have been handed it: end the old one with `portunus rotate --retire`, then say this again";
        return Err(apart.refusal("a door that no answer tells of stands already", mend));
    }
    room(&settings)?;
    if let Some(next) = doors.of_role(DoorRole::Next) {
        burn(places, next)?;
    }
    let made = make(places, &settings, DoorRole::Apart)?;
    drop(lock);
    running::take_up(NAME, &places.run_dir);
    remark(
        NAME,
        format_args!(
            "a new door stands, and no answer tells of it: {}. Hand what follows to every client that stays, on a safe way, for its \
             `portunus join`; `portunus rotate --status` says who knocks there, `portunus rotate --retire` ends the old door",
            fingerprint(&made)
        ),
    );
    printed::print(places, wish)?;
    late
}

/// Takes the client out. A failure that leaves it in the files ends all; one of what came after is given back, to be said last.
fn revoked(places: &Places, name: &ClientName, kill: bool) -> Result<Done, Failure> {
    let tell: clients::Tell = |text| remark(NAME, text);
    let find = || native::find(&RealFiles, &places.config_dir, name);
    let Some(entry) = find() else {
        remark(NAME, format_args!("no client is named {name} (any more): the door is made all the same"));
        if kill && let Err(failure) = clients::take_out(places, name, true, tell) {
            remark(NAME, failure);
        }
        return Ok(Ok(()));
    };
    if entry.dialect != Dialect::Native {
        let what = format_args!("{name} is a client of {}, and knows no door", entry.dialect.as_str());
        return Err(Failure::new(what, "", format_args!("portunus revoke {name}")));
    }
    match clients::take_out(places, name, kill, tell) {
        Err(failure) if find().is_some() => Err(failure),
        done => Ok(done),
    }
}

/// Answers told of this door, also who is to be shut out: they do so no more, and it goes with the old one.
fn burn(places: &Places, next: &Standing) -> Done {
    let burnt = native::Paths::new(&places.config_dir).keys_dir().join(BURNT);
    if burnt.exists() {
        let mend = "end the old door with `portunus rotate --retire`, then say this again";
        return Err(Failure::file("one door that answers told of is put aside already", &burnt, mend));
    }
    files::rename(&next.path, &burnt)?;
    remark(
        NAME,
        "no answer tells of the door any more that they told of till now: who has moved there comes in until `portunus rotate --retire`",
    );
    Ok(())
}

/// The new door takes the old one's place.
fn retire(places: &Places, force: bool) -> Done {
    let lock = edit::lock_folder(&places.config_dir)?;
    let settings = load(places)?;
    let doors = Standing::of(places, &settings)?;
    let paths = native::Paths::new(&places.config_dir);
    let burnt = paths.keys_dir().join(BURNT);
    let done = match doors.new_door() {
        Some(new) => {
            may_retire(places, &doors, new, force)?;
            // First the one that is put aside: while it is there, a door that all can move to is still to come.
            files::remove(&burnt)?;
            files::rename(&new.path, &paths.native_key())?;
            true
        }
        None if burnt.exists() => {
            let what = "no new door stands, and some may knock at none but the one that is put aside";
            let mend = "make the door that all are to move to: portunus rotate --apart";
            return Err(Failure::file(what, &burnt, mend));
        }
        // Killed after that step.
        None => false,
    };
    let gone = forgotten(places)?;
    for door in &gone {
        chains::erase(&places.state_dir, *door)?;
    }
    drop(lock);
    if !done && gone.is_empty() {
        let what = "no new door stands, so there is none that could take the old one's place";
        return Err(Failure::file(what, &paths.keys_dir(), "portunus rotate makes one"));
    }
    running::take_up(NAME, &places.run_dir);
    line(if done {
        "the old door is no more, and its keys are erased: the new one is the only one at which clients knock"
    } else {
        "what was left of a door that is no more is erased"
    });
    Ok(())
}

/// Nobody is shut out who was not meant to be.
fn may_retire(places: &Places, doors: &standing::Doors, new: &Standing, force: bool) -> Done {
    if doors.of_role(DoorRole::Next).is_some() && doors.of_role(DoorRole::Apart).is_some() {
        let mend = "`portunus check` says which file to rename";
        return Err(new.refusal("two new doors stand, and one of them is to be the only one", mend));
    }
    if chains::door(&places.state_dir, &new.public)?.is_none() {
        let mend = "take the file away, and make a new door again: portunus rotate";
        return Err(new.refusal("the new door has no chain, so nobody could knock", mend));
    }
    let left = status::left(places, new)?;
    if left.is_empty() || force {
        return Ok(());
    }
    let names = named(left.iter().map(|entry| &entry.name));
    let what =
        format_args!("{} not been seen at the new door, and would be shut out: {names}", have(left.len()));
    let mend = "hand them what `portunus rotate --print` prints, or shut them out with --force";
    Err(Failure::new(what, "", mend))
}

/// The doors whose chains are kept, and which are no more.
fn forgotten(places: &Places) -> Result<Vec<[u8; 32]>, Failure> {
    let settings = load(places)?;
    let stand = Standing::of(places, &settings)?;
    let mut gone = Vec::new();
    chains::each(&places.state_dir, |owner, _| {
        if let portunus_model::ChainOwner::Door(public) = owner
            && !stand.has(&public)
        {
            gone.push(public);
        }
    })?;
    gone.sort_unstable();
    gone.dedup();
    Ok(gone)
}

/// Makes a door: its chain, then its key. Gives its public key.
pub(super) fn make(places: &Places, settings: &Settings, role: DoorRole) -> Result<[u8; 32], Failure> {
    room(settings)?;
    let path = native::Paths::new(&places.config_dir).door_key(role);
    let path = path.ok_or_else(|| Failure::new("a door of this kind has no name of its own", "", ""))?;
    let key = identity::x25519_key()?;
    chains::give_door(&places.state_dir, &key)?;
    files::create(&path, native::key_text(&key).as_bytes(), PRIVATE)?;
    identity::x25519_public(&key)
}

/// Whether one more door can stand.
fn room(settings: &Settings) -> Done {
    speaks_native(settings)?;
    if settings.secrets.native.len() >= MOST_DOORS {
        let what = format_args!("{MOST_DOORS} doors stand, and no more can");
        return Err(Failure::file(
            what,
            Path::new("keys"),
            "take away the key of one that nobody uses any more",
        ));
    }
    Ok(())
}

fn speaks_native(settings: &Settings) -> Done {
    if settings.secrets.native.is_empty() { Err(not_spoken()) } else { Ok(()) }
}

fn not_spoken() -> Failure {
    let mend = "have it speak native too: `portunus init --force`, with the --host and --port it had";
    Failure::new("the server does not speak native, so it has no door", "portunus.toml", mend)
}

fn load(places: &Places) -> Result<Settings, Failure> {
    native::load(&RealFiles, &places.config_dir).map_err(|found| Failure::lines(found, CONFIG))
}

/// The native clients whose time is not over, as written.
fn native_clients(places: &Places) -> Result<Vec<Entry>, Failure> {
    let entries = native::clients(&RealFiles, &places.config_dir);
    let mut entries = entries.map_err(|found| Failure::lines(found, CONFIG))?;
    let now = portunus_sys::clock::now().wall;
    entries.retain(|entry| {
        matches!(entry.key, Some(ClientKey::Native(_))) && entry.expires.is_none_or(|expires| expires > now)
    });
    Ok(entries)
}

/// Names, as many as can be read.
fn named<'a>(names: impl ExactSizeIterator<Item = &'a ClientName>) -> String {
    let more = names.len().saturating_sub(MOST_NAMED);
    let some: Vec<&str> = names.take(MOST_NAMED).map(ClientName::as_str).collect();
    let some = some.join(", ");
    if more > 0 { format!("{some} and {more} more") } else { some }
}

fn are(count: usize) -> String {
    if count == 1 { "1 client is".to_owned() } else { format!("{count} clients are") }
}

fn have(count: usize) -> String {
    if count == 1 { "1 client has".to_owned() } else { format!("{count} clients have") }
}
