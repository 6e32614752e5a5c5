//! Which days' keys a profile keeps after its knocks, which link, and which door. Pure: a clock may say what it likes here, and no day's
//! key is erased that a right clock may still need.

use portunus_config::profile::{KnownDoor, NativeKeys, Renewal};
use portunus_crypto::{Entropy, EntropyFailed, Secret};
use portunus_dialect::native::{Chain, Day};

/// So many days before the newest one are kept while no server has said what day it is, and so far ahead of what the file
/// knows of may the clock be.
const UNPROVEN: u32 = 30;
/// A server that took the knock may have been past midnight when it did, or we.
const PROVEN: u32 = 1;

/// What became of a run's knocks.
pub struct Outcome {
    /// The newest day that one was made on.
    pub knocked: Day,
    /// The day that a server named, in a sealed answer that says that it did what was asked.
    pub proven: Option<Day>,
    /// What was learned of the link that is to be the client's own.
    pub arrived: Arrived,
    /// What the last answer that says that the server did what was asked told of doors.
    pub told: Option<Told>,
}

/// What an answer told of doors.
pub struct Told {
    /// The public key of the door that answered.
    pub at: [u8; 32],
    /// What it said.
    pub says: Says,
}

/// What a door says of doors.
pub enum Says {
    /// Nothing: no door was opened.
    Nothing,
    /// To go on knocking there.
    Stay,
    /// To knock at this one from now on.
    Move(KnownDoor),
}

/// What was learned of a new link.
pub enum Arrived {
    /// Nothing.
    Unknown,
    /// The server took a knock that announces it; or a door that was closed before the knock was open after it, as whoever wants
    /// us to believe it can do. The old link is kept beside it.
    Seemingly(Chain),
    /// The server answered a knock that it opened with it.
    Surely(Chain),
}

/// The keys to be written in the place of `keys`; `None` where nothing is to be changed.
#[must_use]
pub fn after(keys: &NativeKeys, outcome: &Outcome) -> Option<NativeKeys> {
    let mut next = keys.duplicate();
    let (first, newest) = days(keys.link.day(), keys.newest, outcome);
    renew(&mut next, &outcome.arrived);
    if let Some(told) = &outcome.told {
        change_door(&mut next, told);
    }
    next.newest = newest;
    let_go(&mut next.door, first)?;
    let_go(&mut next.link, first)?;
    match &mut next.renewal {
        Renewal::Done | Renewal::Due => (),
        Renewal::Announced(link) | Renewal::Replaced(link) => let_go(link, first)?,
    }
    if let Some(old) = &mut next.old_door {
        let_go(&mut old.chain, first)?;
    }
    let moved = first != keys.link.day() || newest != keys.newest;
    let same = same_stage(&keys.renewal, &next.renewal) && doors(keys) == doors(&next);
    (moved || !same).then_some(next)
}

/// Lets the keys of days before `first` go; of a door that begins later there are none.
fn let_go(chain: &mut Chain, first: Day) -> Option<()> {
    if chain.day() < first { chain.advance(first).ok() } else { Some(()) }
}

/// The public keys of the doors.
fn doors(keys: &NativeKeys) -> ([u8; 32], Option<[u8; 32]>) {
    (keys.server, keys.old_door.as_ref().map(|old| old.server))
}

/// The door that was named takes the place of the one that named it, which stays beside it until the new one has answered: a door
/// that was lost, or a rotation that was taken back, locks nobody out. Who has no link for certain stays: the next answer says
/// it again.
fn change_door(keys: &mut NativeKeys, told: &Told) {
    let settled = matches!(keys.renewal, Renewal::Done);
    let old = keys.old_door.take();
    let (is_new, is_old) = (told.at == keys.server, old.as_ref().is_some_and(|old| old.server == told.at));
    match (&told.says, old) {
        (Says::Move(new), _) if is_new && settled && new.server != keys.server => {
            let new = new.duplicate();
            let chain = std::mem::replace(&mut keys.door, new.chain);
            keys.old_door =
                Some(KnownDoor { server: std::mem::replace(&mut keys.server, new.server), chain });
        }
        // It has answered, and so it is the door.
        (Says::Nothing | Says::Stay | Says::Move(_), _) if is_new => (),
        // It names another one than before, which has not answered.
        (Says::Move(new), old) if is_old && settled && new.server != keys.server => {
            let new = new.duplicate();
            (keys.server, keys.door) = (new.server, new.chain);
            keys.old_door = old;
        }
        // The rotation was taken back.
        (Says::Stay, Some(old)) if is_old => (keys.server, keys.door) = (old.server, old.chain),
        // Also when another run, or a `join`, has written another door meanwhile.
        (Says::Nothing | Says::Stay | Says::Move(_), old) => keys.old_door = old,
    }
}

/// The keys with a link that nobody has seen, for a profile that is due to have one. It is to be on the disk before the first
/// knock that announces it: who forgot it would be locked out by the server's first use of it.
///
/// # Errors
/// [`EntropyFailed`]: no randomness.
pub fn announcing(keys: &NativeKeys, entropy: &mut dyn Entropy) -> Result<Option<NativeKeys>, EntropyFailed> {
    match keys.renewal {
        Renewal::Done | Renewal::Announced(_) | Renewal::Replaced(_) => Ok(None),
        Renewal::Due => {
            let link = Chain::new(keys.link.day(), Secret::generate(entropy)?);
            Ok(Some(NativeKeys { renewal: Renewal::Announced(link), ..keys.duplicate() }))
        }
    }
}

/// The first day to be kept, and the newest one.
fn days(first: Day, newest: Day, outcome: &Outcome) -> (Day, Day) {
    let knocked = outcome.knocked;
    match outcome.proven {
        Some(named) => (first.max(knocked.min(named).minus(PROVEN)), knocked.max(named)),
        // A clock that is far ahead is more likely wrong than a profile so long unused.
        None if knocked > newest.plus(UNPROVEN) => (first, newest),
        None => {
            let newest = newest.max(knocked);
            (first.max(newest.minus(UNPROVEN)), newest)
        }
    }
}

/// Only the link that this run announced is taken: another run may have written the file in between, or a `join`.
fn renew(keys: &mut NativeKeys, arrived: &Arrived) {
    let stage = std::mem::replace(&mut keys.renewal, Renewal::Done);
    keys.renewal = match (stage, arrived) {
        (Renewal::Announced(next), Arrived::Surely(ours)) if same(&next, ours) => {
            keys.link = next;
            Renewal::Done
        }
        (Renewal::Announced(next), Arrived::Seemingly(ours)) if same(&next, ours) => {
            Renewal::Replaced(std::mem::replace(&mut keys.link, next))
        }
        (Renewal::Replaced(_), Arrived::Surely(ours)) if same(&keys.link, ours) => Renewal::Done,
        (stage, Arrived::Unknown | Arrived::Seemingly(_) | Arrived::Surely(_)) => stage,
    };
}

/// Whether two chains are one, wherever they begin.
fn same(a: &Chain, b: &Chain) -> bool {
    let day = a.day().max(b.day());
    matches!((a.at(day), b.at(day)), (Ok(a), Ok(b)) if a == b)
}

const fn same_stage(a: &Renewal, b: &Renewal) -> bool {
    matches!(
        (a, b),
        (Renewal::Done, Renewal::Done)
            | (Renewal::Due, Renewal::Due)
            | (Renewal::Announced(_), Renewal::Announced(_))
            | (Renewal::Replaced(_), Renewal::Replaced(_))
    )
}

#[cfg(test)]
mod tests;
