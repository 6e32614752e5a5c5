//! What the gate keeps for the native dialect: doors with the keys of the day, the links of its clients, the copies that it
//! has met, and what is to be written down or erased.
//!
//! Here: who is known by which key, and when a key is erased. Not here: who is tried when, and what a knock may open.

mod ageing;
mod doors;
mod invitations;
mod links;
mod memory;
mod replies;

use std::collections::{HashMap, VecDeque};

use portunus_crypto::Secret;
use portunus_crypto::totp::{self, Codes};
use portunus_dialect::native::{Day, Door};
use portunus_model::{ChainOwner, Client, DoorRole, Mono, Now, Unix};

use ageing::Ageing;
pub(crate) use doors::{Admitted, Doors, PATIENCE};
pub use invitations::Invitation;
use invitations::Invitations;
pub(crate) use links::{Links, Which};
use memory::Memory;
pub(crate) use replies::{Replies, ReplyTo};

use crate::Tuning;
use crate::lane::Job;

/// How many changes are asked for at once.
pub(crate) const BATCH: usize = 512;
/// How many wishes of clients wait to be written down; who comes then is heard again with its next knock.
const WISHES: usize = 4096;

/// What is to be kept durably, or is to be gone.
#[derive(PartialEq, Eq)]
pub enum ChainChange {
    /// This is kept from now on, in place of what was.
    Put {
        /// Whose.
        owner: ChainOwner,
        /// Where it lies; `None`: nowhere yet.
        slot: Option<u32>,
        /// The first day that there is a value for,
        day: Day,
        /// and that day's value.
        value: Secret<32>,
    },
    /// This is to be gone.
    Erase {
        /// Whose.
        owner: ChainOwner,
        /// Where it lies.
        slot: u32,
    },
}

impl ChainChange {
    const fn owner(&self) -> ChainOwner {
        match self {
            Self::Put { owner, .. } | Self::Erase { owner, .. } => *owner,
        }
    }

    fn duplicate(&self) -> Self {
        match self {
            Self::Put { owner, slot, day, value } => {
                Self::Put { owner: *owner, slot: *slot, day: *day, value: value.duplicate() }
            }
            Self::Erase { owner, slot } => Self::Erase { owner: *owner, slot: *slot },
        }
    }
}

impl std::fmt::Debug for ChainChange {
    /// Never a value.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Put { owner, slot, day, .. } => write!(f, "Put({owner:?}, {slot:?}, {day:?})"),
            Self::Erase { owner, slot } => write!(f, "Erase({owner:?}, {slot})"),
        }
    }
}

/// What a client's knock wants to have kept.
enum Wish {
    /// It has announced this link.
    Announce { client: [u8; 32], day: Day, value: Secret<32> },
    /// It has used the link that it had announced.
    Promote { client: [u8; 32] },
    /// It has closed, on that day: what it made before is refused.
    Close { client: [u8; 32], day: Day },
    /// It has knocked, on that day, at the door where everybody is to knock from now on.
    Move { client: [u8; 32], day: Day, door: [u8; 32] },
}

/// Secrets of one-time codes, by the public keys of their clients.
type Secrets = Vec<([u8; 32], Secret<{ totp::SECRET }>)>;

fn by_key(codes: Secrets) -> HashMap<[u8; 32], Codes> {
    codes.into_iter().map(|(key, secret)| (key, Codes::new(&secret))).collect()
}

/// All of it.
pub(crate) struct Native {
    pub(crate) doors: Doors,
    pub(crate) links: Links,
    pub(crate) memory: Memory,
    pub(crate) replies: Replies,
    pub(crate) invitations: Invitations,
    /// What makes one-time codes, by their clients' public keys.
    codes: HashMap<[u8; 32], Codes>,
    wishes: VecDeque<Wish>,
    /// What is with the store.
    asked: Vec<ChainChange>,
    ageing: Ageing,
}

impl Native {
    pub(crate) fn new(
        doors: Vec<(DoorRole, Door)>,
        codes: Secrets,
        clients: &[Client],
        tuning: &Tuning,
    ) -> Self {
        Self {
            codes: by_key(codes),
            doors: Doors::new(doors, tuning),
            links: Links::new(clients, tuning.seed),
            memory: Memory::new(tuning.seed),
            replies: Replies::default(),
            invitations: Invitations::default(),
            wishes: VecDeque::new(),
            asked: Vec::new(),
            ageing: Ageing::default(),
        }
    }

    /// After a reload. What lies of whom is kept; the doors' lanes too.
    /// Gives what waits at doors that are no more.
    #[must_use]
    pub(crate) fn replace(
        &mut self,
        doors: Vec<(DoorRole, Door)>,
        codes: Secrets,
        clients: &[Client],
        tuning: &Tuning,
    ) -> Vec<Job> {
        self.codes = by_key(codes);
        self.links.replace(clients);
        // Where nobody moves any more, what was kept of moves goes.
        self.ageing.look_again();
        self.doors.replace(doors, tuning)
    }

    /// What the store has of somebody.
    pub(crate) fn learn(&mut self, owner: ChainOwner, slot: u32, day: Day, value: Secret<32>) {
        match owner {
            ChainOwner::Door(key) => self.doors.learn(&key, slot, day, value),
            ChainOwner::Link(key) => self.links.learn(&key, slot, day, &value),
            ChainOwner::Announced(key) => self.links.learn_announced(&key, slot, day, value),
            ChainOwner::Closed(key) => self.links.learn_closed(&key, slot, &value),
            ChainOwner::Moved(key) => self.links.learn_moved(&key, slot, *value.expose()),
        }
        self.ageing.look_again();
    }

    /// The store has nothing of it any more.
    pub(crate) fn forget(&mut self, owner: ChainOwner) {
        match owner {
            ChainOwner::Door(key) => self.doors.forget(&key),
            ChainOwner::Link(key) => self.links.forget(&key),
            ChainOwner::Announced(key) => self.links.forget_announced(&key),
            ChainOwner::Closed(key) => self.links.forget_closed(&key),
            ChainOwner::Moved(key) => self.links.forget_moved(&key),
        }
    }

    /// Where something lies; `None`: nowhere.
    pub(crate) fn slot_of(&self, owner: ChainOwner) -> Option<u32> {
        match owner {
            ChainOwner::Door(key) => self.doors.slot(&key),
            ChainOwner::Link(key) => self.links.slot(&key),
            ChainOwner::Announced(key) => self.links.slot_announced(&key),
            ChainOwner::Closed(key) => self.links.slot_closed(&key),
            ChainOwner::Moved(key) => self.links.moved(&key).map(|(slot, _)| slot),
        }
    }

    /// A client has announced the link that begins with its knock's day. The old one holds until the new one is used. Of
    /// several the first counts: who has a copy of the profile must not undo what its owner has announced.
    pub(crate) fn announce(&mut self, client: [u8; 32], day: Day, value: Secret<32>) {
        let is_first = self.links.slot_announced(&client).is_none();
        if is_first && !self.links.is_own(&client, day, &value) {
            self.wish(Wish::Announce { client, day, value });
        }
    }

    /// A client has used the link that it had announced.
    pub(crate) fn promote(&mut self, client: [u8; 32]) {
        self.wish(Wish::Promote { client });
    }

    /// A client has knocked at the door where everybody is to knock from now on.
    pub(crate) fn moved(&mut self, client: [u8; 32], day: Day, door: [u8; 32]) {
        if self.links.moved(&client).is_none_or(|(_, before)| before != door) {
            self.wish(Wish::Move { client, day, door });
        }
    }

    /// In which step this client's code was or will be the right one.
    pub(crate) fn step_of(&self, client: &[u8; 32], code: u32, now: Now) -> Option<u64> {
        let seconds = u64::try_from(now.wall.as_secs()).ok()?;
        self.codes.get(client)?.step_of(code, seconds)
    }

    /// This client has sent a wrong code.
    pub(crate) fn was_wrong(&mut self, client: &[u8; 32], code: u32, now: Now) {
        let seconds = u64::try_from(now.wall.as_secs()).unwrap_or(0);
        self.links.was_wrong(client, (code, seconds / totp::STEP), now.mono);
    }

    /// A client has closed what was open for it: nothing that it made up to then opens anything any more.
    pub(crate) fn close(&mut self, client: [u8; 32], stamp: Unix) {
        self.links.close(&client, stamp);
        if let Some(day) = Day::of(stamp) {
            self.wish(Wish::Close { client, day });
        }
    }

    fn wish(&mut self, wish: Wish) {
        if self.wishes.len() < WISHES {
            self.wishes.push_back(wish);
        }
    }

    /// The next batch for the store, when none is with it.
    pub(crate) fn next_batch(&mut self, now: Now) -> Option<Vec<ChainChange>> {
        if !self.asked.is_empty() || self.ageing.rests(now.mono) {
            return None;
        }
        let mut batch = Vec::new();
        while batch.len() + 2 <= BATCH
            && let Some(wish) = self.wishes.pop_front()
        {
            let changes = match wish {
                Wish::Announce { client, day, value } => {
                    self.links.to_announce(client, day, value).into_iter().collect()
                }
                Wish::Promote { client } => self.links.to_promote(client),
                Wish::Close { client, day } => self.links.to_close(client, day).into_iter().collect(),
                Wish::Move { client, day, door } => vec![self.links.to_move(client, day, door)],
            };
            // Of what is wished twice one counts, and takes one slot: of links the first, of closings the latest, which says all.
            let is_new =
                |change: &ChainChange| batch.iter().all(|one: &ChainChange| one.owner() != change.owner());
            if changes.iter().all(is_new) {
                batch.extend(changes);
            }
        }
        if batch.is_empty() {
            batch = self.ageing.next(now, &self.doors, &self.links);
        }
        if batch.is_empty() {
            return None;
        }
        self.asked = batch.iter().map(ChainChange::duplicate).collect();
        Some(batch)
    }

    /// The store has made the batch, and given these slots, in their order, to those who had none; or it has failed.
    pub(crate) fn kept(&mut self, now: Now, slots: Option<&[u32]>) {
        let asked = std::mem::take(&mut self.asked);
        let Some(slots) = slots else {
            asked.iter().for_each(|change| self.wish_again(change));
            return self.ageing.failed(now.mono);
        };
        let mut given = slots.iter().copied();
        for change in asked {
            match change {
                ChainChange::Put { owner, slot, day, value } => match slot.or_else(|| given.next()) {
                    Some(slot) => self.learn(owner, slot, day, value),
                    None => return self.ageing.failed(now.mono),
                },
                ChainChange::Erase { owner, .. } => self.forget(owner),
            }
        }
    }

    /// What was announced or used is said again by the next knock; nobody says again that he has closed.
    fn wish_again(&mut self, change: &ChainChange) {
        match change {
            ChainChange::Put { owner: ChainOwner::Closed(client), day, .. } => {
                self.wish(Wish::Close { client: *client, day: *day });
            }
            ChainChange::Put { .. } | ChainChange::Erase { .. } => (),
        }
    }

    /// An accepted knock is evidence that its day has come.
    pub(crate) fn met(&mut self, day: Day) {
        self.ageing.met(day);
    }

    /// Whether the kernel vouches for the clock.
    pub(crate) fn trust(&mut self, trusted: bool) {
        self.ageing.trust(trusted);
    }

    /// When [`Native::next_batch`] is to be called; `None`: nothing is kept.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        if !self.asked.is_empty() || self.doors.is_empty() {
            return None;
        }
        Some(if self.wishes.is_empty() { self.ageing.deadline() } else { self.ageing.resting() })
    }
}

#[cfg(test)]
mod tests;
