//! The doors, each with the keys of the days that a knock may be of just now.

use std::time::Duration;

use portunus_crypto::Secret;
use portunus_dialect::native::{Chain, Day, Door, DoorDay, Identified, NewDoor, OpenError, Packet};
use portunus_model::{DoorRole, Now};

use super::ChainChange;
use super::ChainOwner;
use crate::Tuning;
use crate::lane::{Job, Lane};

/// A knock's clock may be off by so much at most, whatever the window is (docs/protocol/native.md): near midnight the
/// neighbouring day's key counts too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(600);

/// Of so many doors that are not served the chains are known; a server has had no more.
const MOST_AWAY: usize = 64;

/// By which door, and with which day's key, somebody who has that key sent a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Admitted {
    door: usize,
    pub(crate) day: Day,
}

pub(crate) struct Doors {
    doors: Vec<OpenDoor>,
    /// Chains of doors that are not served: the store has them, so they age and can be erased; and a door that comes back has
    /// its own again.
    away: Vec<Away>,
    /// Which days' keys are made.
    days: Option<(Day, Day)>,
    /// Whose turn it is.
    turn: usize,
    /// The number of the newest door.
    newest: u32,
}

/// The chain of a door that is not served.
struct Away {
    public: [u8; 32],
    slot: u32,
    chain: Chain,
}

struct OpenDoor {
    door: Door,
    role: DoorRole,
    /// No other door had or has it; from 1 on.
    number: u32,
    /// Where its chain lies, and the chain.
    chain: Option<(u32, Chain)>,
    days: Vec<DoorDay>,
    /// What came to it from who knows where. A lane of its own: whoever was told one door's key crowds no other.
    lane: Lane,
}

impl OpenDoor {
    fn new(role: DoorRole, door: Door, number: u32, tuning: &Tuning) -> Self {
        Self {
            door,
            role,
            number,
            chain: None,
            days: Vec::new(),
            lane: Lane::new(tuning.queue, tuning.seed.rotate_left(17)),
        }
    }
}

impl Doors {
    pub(crate) fn new(doors: Vec<(DoorRole, Door)>, tuning: &Tuning) -> Self {
        let mut new = Self { doors: Vec::new(), away: Vec::new(), days: None, turn: 0, newest: 0 };
        // There was none before, and nobody waits.
        drop(new.replace(doors, tuning));
        new
    }

    /// Gives what waits at doors that are no more.
    pub(crate) fn replace(&mut self, doors: Vec<(DoorRole, Door)>, tuning: &Tuning) -> Vec<Job> {
        let mut before = std::mem::take(&mut self.doors);
        for (role, door) in doors {
            let known = before.iter().position(|open| open.door.public() == door.public());
            self.doors.push(match known {
                Some(place) => OpenDoor { role, ..before.swap_remove(place) },
                None => {
                    self.newest = self.newest.wrapping_add(1).max(1);
                    let away = self.away.iter().position(|away| away.public == *door.public());
                    let chain = away.map(|place| self.away.swap_remove(place));
                    let chain = chain.map(|away| (away.slot, away.chain));
                    OpenDoor { chain, ..OpenDoor::new(role, door, self.newest, tuning) }
                }
            });
        }
        self.days = None;
        self.away.extend(before.iter_mut().filter_map(|open| {
            let (slot, chain) = open.chain.take()?;
            Some(Away { public: *open.door.public(), slot, chain })
        }));
        self.away.truncate(MOST_AWAY);
        before.into_iter().flat_map(|mut open| std::iter::from_fn(move || open.lane.pop())).collect()
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.doors.is_empty()
    }

    pub(crate) fn learn(&mut self, public: &[u8; 32], slot: u32, day: Day, value: Secret<32>) {
        if let Some(open) = self.doors.iter_mut().find(|open| open.door.public() == public) {
            open.chain = Some((slot, Chain::new(day, value)));
            // What was made of the value before is gone with it, whether or not a datagram comes.
            open.days.clear();
            self.days = None;
        } else {
            self.forget(public);
            self.away.truncate(MOST_AWAY - 1);
            self.away.push(Away { public: *public, slot, chain: Chain::new(day, value) });
        }
    }

    pub(crate) fn without_chains(&self) -> usize {
        self.doors.iter().filter(|open| open.chain.is_none()).count()
    }

    pub(crate) fn slot(&self, public: &[u8; 32]) -> Option<u32> {
        let served = self.doors.iter().find(|open| open.door.public() == public);
        let away = || self.away.iter().find(|away| away.public == *public).map(|away| away.slot);
        served.and_then(|open| open.chain.as_ref().map(|(slot, _)| *slot)).or_else(away)
    }

    pub(crate) fn forget(&mut self, public: &[u8; 32]) {
        self.away.retain(|away| away.public != *public);
        if let Some(open) = self.doors.iter_mut().find(|open| open.door.public() == public) {
            open.chain = None;
            open.days.clear();
            self.days = None;
        }
    }

    /// Whether somebody who was given a door's key has made this datagram: a SipHash for each door and day, and nothing else.
    pub(crate) fn admit(&mut self, packet: &Packet<'_>, now: Now) -> Option<Admitted> {
        self.turn_to(now);
        let admits = |open: &OpenDoor| open.days.iter().find(|day| day.admits(packet)).map(DoorDay::day);
        self.doors.iter().enumerate().find_map(|(door, open)| Some(Admitted { door, day: admits(open)? }))
    }

    /// Makes the keys of the days that count now, where those that are made are of other days.
    fn turn_to(&mut self, now: Now) {
        let (first, last) = (Day::of(now.wall.before(PATIENCE)), Day::of(now.wall.after(PATIENCE)));
        let days = first.zip(last);
        if days == self.days {
            return;
        }
        self.days = days;
        for open in &mut self.doors {
            open.days.clear();
            let (Some((_, chain)), Some((first, last))) = (&open.chain, days) else { continue };
            let both = [first, last];
            let wanted = if first == last { &both[..1] } else { &both[..] };
            open.days.extend(wanted.iter().filter_map(|&day| open.door.day(chain, day).ok()));
        }
    }

    /// Whose it would be: one Diffie-Hellman.
    pub(crate) fn identify<'a>(
        &self,
        admitted: Admitted,
        packet: &Packet<'a>,
    ) -> Result<Identified<'a>, OpenError> {
        let open = self.doors.get(admitted.door).ok_or(OpenError::Forged)?;
        let day = open.days.iter().find(|day| day.day() == admitted.day).ok_or(OpenError::Forged)?;
        open.door.identify(day, packet)
    }

    /// What is the same for all knocks of a client at a door: another Diffie-Hellman.
    pub(crate) fn shared_with(&self, admitted: Admitted, client: &[u8; 32]) -> Option<Secret<32>> {
        self.doors.get(admitted.door)?.door.shared_with(client).ok()
    }

    /// By which that door is told from all others that there were.
    pub(crate) fn number(&self, admitted: Admitted) -> Option<u32> {
        self.doors.get(admitted.door).map(|open| open.number)
    }

    /// What that door is for.
    pub(crate) fn role(&self, admitted: Admitted) -> Option<DoorRole> {
        self.doors.get(admitted.door).map(|open| open.role)
    }

    /// Its public key, where everybody is to knock there from now on.
    pub(crate) fn moved_to(&self, admitted: Admitted) -> Option<[u8; 32]> {
        self.doors.get(admitted.door).filter(|open| open.role.is_new()).map(|open| *open.door.public())
    }

    /// The public key of the door to which all are moving, if there is one.
    pub(super) fn new_door(&self) -> Option<&[u8; 32]> {
        self.doors.iter().find(|open| open.role.is_new()).map(|open| open.door.public())
    }

    /// What who knocked at a door of this role is to be told of another one.
    pub(crate) fn to_tell(&self, role: DoorRole, now: Now) -> Option<NewDoor> {
        match role {
            DoorRole::Current | DoorRole::Another => self.told(DoorRole::Next, now),
            DoorRole::Next | DoorRole::Apart => None,
            DoorRole::Invitations => {
                let roles = [DoorRole::Next, DoorRole::Apart, DoorRole::Current];
                roles.into_iter().find_map(|role| self.told(role, now))
            }
        }
    }

    fn told(&self, role: DoorRole, now: Now) -> Option<NewDoor> {
        let open = self.doors.iter().find(|open| open.role == role)?;
        let (_, chain) = open.chain.as_ref()?;
        let day = Day::of(now.wall)?;
        Some(NewDoor { server: *open.door.public(), day, value: chain.at(day).ok()? })
    }

    /// It waits for its turn; gives the one that has to go.
    #[must_use]
    pub(crate) fn push(&mut self, admitted: Admitted, job: Job) -> Option<Job> {
        match self.doors.get_mut(admitted.door) {
            Some(open) => open.lane.push(job),
            None => Some(job),
        }
    }

    /// The next one that waits, from one door after the other.
    pub(crate) fn pop(&mut self) -> Option<Job> {
        let count = self.doors.len();
        (0..count).find_map(|_| {
            self.turn = (self.turn + 1) % count;
            self.doors.get_mut(self.turn)?.lane.pop()
        })
    }

    pub(crate) fn waiting(&self) -> usize {
        self.doors.iter().map(|open| open.lane.len()).sum()
    }

    /// Those whose keys of days before `day` are still there, without them.
    pub(super) fn to_age(&self, day: Day) -> impl Iterator<Item = ChainChange> {
        let served = self.doors.iter().filter_map(|open| {
            let (slot, chain) = open.chain.as_ref()?;
            Some((*open.door.public(), *slot, chain))
        });
        let away = self.away.iter().map(|away| (away.public, away.slot, &away.chain));
        served.chain(away).filter(move |(_, _, chain)| chain.day() < day).filter_map(
            move |(public, slot, chain)| {
                let owner = ChainOwner::Door(public);
                Some(ChainChange::Put { owner, slot: Some(slot), day, value: chain.at(day).ok()? })
            },
        )
    }
}
