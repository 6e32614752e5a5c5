//! The clients of the native dialect by their public keys: one look, however many there are.

use std::collections::VecDeque;

use hashbrown::HashTable;
use portunus_crypto::{Secret, siphash};
use portunus_dialect::native::{Chain, Day};
use portunus_model::{Client, ClientKey, Mono, Unix};
use zeroize::{Zeroize, Zeroizing};

use super::{ChainChange, ChainOwner};
use crate::clients::NOBODY;

/// No slot.
const NOWHERE: u32 = u32::MAX;
const NANOS_A_MILLI: i128 = 1_000_000;

/// So many wrong codes of a client are looked at.
const WRONG_AN_HOUR: usize = 5;
const WRONG_A_DAY: usize = 20;
/// So many clients lie together. They never move: what is secret of them leaves no copy behind.
const TOGETHER: usize = 1024;

pub(crate) struct Links {
    /// Places in `rows`, by the hash of the public key there.
    index: HashTable<u32>,
    rows: Rows,
    key: Secret<16>,
}

#[derive(Default)]
struct Rows {
    together: Vec<Vec<Link>>,
    count: usize,
}

/// One client. Small, and without a Box for what each has: there may be a million.
struct Link {
    public: [u8; 32],
    /// Its link of `day`, when `slot` says that it has one.
    value: Zeroizing<[u8; 32]>,
    /// What is the same for all its knocks at `door`.
    shared: Zeroizing<[u8; 32]>,
    day: Day,
    /// Where its link lies; [`NOWHERE`]: nobody knows it (yet), and the client proves nothing.
    slot: u32,
    /// Its number in the rules; [`NOBODY`]: it is in none.
    client: u32,
    /// The number of the door for which `shared` is; 0: of none.
    door: u32,
    rare: Option<Box<Rare>>,
}

/// What few clients have.
#[derive(Default)]
struct Rare {
    /// The link that it announced, and where that lies.
    announced: Option<(u32, Chain)>,
    closed: Option<Closed>,
    /// The door where everybody is to knock from now on, by its public key, once it has knocked there; and where that lies.
    moved: Option<(u32, [u8; 32])>,
    /// The second of [`Mono`] in which it had its last answer.
    answered: u32,
    /// In which step it used a one-time code last, and for which attempt.
    coded: Option<(u64, [u8; 8])>,
    /// In which seconds of [`Mono`] it sent its last wrong codes.
    wrong: VecDeque<u32>,
    /// The last of them, and in which step it came.
    guess: Option<(u32, u64)>,
}

struct Closed {
    slot: u32,
    /// Up to then its knocks are refused, in Unix milliseconds.
    until: u64,
}

/// By which link a knock is to be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    Own,
    Announced,
}

impl Links {
    pub(crate) fn new(clients: &[Client], seed: u64) -> Self {
        let mut key = [0; 16];
        let parts = seed.rotate_left(41).to_le_bytes().into_iter().chain((!seed).to_le_bytes());
        key.iter_mut().zip(parts).for_each(|(byte, part)| *byte = part);
        let (index, rows, key) = (HashTable::new(), Rows::default(), Secret::from_bytes(key));
        let mut links = Self { index, rows, key };
        links.replace(clients);
        links
    }

    /// After a reload: everybody's number is another, and some are in no rules any more. What is known of those stays, for who
    /// comes back.
    pub(crate) fn replace(&mut self, clients: &[Client]) {
        self.rows.iter_mut().for_each(|link| link.client = NOBODY);
        for (number, client) in (0..).zip(clients) {
            match client.key {
                ClientKey::Native(public) => {
                    if let Some(link) = self.row(&public) {
                        link.client = number;
                    }
                }
                ClientKey::Openme(_) | ClientKey::Fwknop(_) => (),
            }
        }
    }

    fn hash(&self, public: &[u8; 32]) -> u64 {
        siphash::hash(&self.key, public)
    }

    fn place(&self, public: &[u8; 32]) -> Option<u32> {
        let is_it = |&place: &u32| self.rows.get(place).is_some_and(|link| link.public == *public);
        self.index.find(self.hash(public), is_it).copied()
    }

    fn get(&self, public: &[u8; 32]) -> Option<&Link> {
        self.rows.get(self.place(public)?)
    }

    fn get_mut(&mut self, public: &[u8; 32]) -> Option<&mut Link> {
        let place = self.place(public)?;
        self.rows.get_mut(place)
    }

    fn rare(&self, public: &[u8; 32]) -> Option<&Rare> {
        self.get(public)?.rare.as_deref()
    }

    /// The row of this key, made where there is none; `None`: there are more than can be counted.
    fn row(&mut self, public: &[u8; 32]) -> Option<&mut Link> {
        if self.place(public).is_none() {
            let place = self.rows.push(Link::new(*public))?;
            let Self { index, rows, key } = self;
            let hash_at = |&place: &u32| rows.get(place).map_or(0, |link| siphash::hash(key, &link.public));
            index.insert_unique(siphash::hash(key, public), place, hash_at);
        }
        self.get_mut(public)
    }

    /// The number of the client with this key; `None`: no client has it.
    pub(crate) fn client(&self, public: &[u8; 32]) -> Option<u32> {
        self.get(public).map(|link| link.client).filter(|&client| client != NOBODY)
    }

    /// What is the same for all its knocks at the door with this number, if it was computed before.
    pub(crate) fn shared(&self, public: &[u8; 32], door: u32) -> Option<Secret<32>> {
        let link = self.get(public).filter(|link| link.door == door)?;
        Some(Secret::from_bytes(*link.shared))
    }

    pub(crate) fn set_shared(&mut self, public: &[u8; 32], door: u32, shared: &Secret<32>) {
        if let Some(link) = self.get_mut(public) {
            link.door = door;
            link.shared.copy_from_slice(shared.expose());
        }
    }

    /// Its links of that day.
    pub(crate) fn of_day(&self, public: &[u8; 32], day: Day) -> impl Iterator<Item = (Which, Secret<32>)> {
        let link = self.get(public);
        let own = link.and_then(Link::chain).and_then(|chain| chain.at(day).ok());
        let announced = link.and_then(Link::announced).and_then(|(_, chain)| chain.at(day).ok());
        let own = own.map(|value| (Which::Own, value));
        own.into_iter().chain(announced.map(|value| (Which::Announced, value)))
    }

    /// Whether it has closed what was open for it after it made what is stamped so.
    pub(crate) fn has_closed(&self, public: &[u8; 32], stamp: Unix) -> bool {
        let closed = self.rare(public).and_then(|rare| rare.closed.as_ref());
        closed.is_some_and(|closed| millis(stamp) <= closed.until)
    }

    /// Whether it had no answer in this second. It has one now.
    pub(crate) fn may_answer(&mut self, public: &[u8; 32], now: Mono) -> bool {
        // From 1 on, so that the first second is not taken for one in which there was an answer.
        let second = seconds(now).saturating_add(1);
        let Some(link) = self.get_mut(public) else { return false };
        let answered = &mut link.rare_mut().answered;
        let free = *answered != second;
        *answered = second;
        free
    }

    /// The step of the one-time code that it used last, and the attempt for which it did.
    pub(crate) fn coded(&self, public: &[u8; 32]) -> Option<(u64, [u8; 8])> {
        self.rare(public)?.coded
    }

    pub(crate) fn set_coded(&mut self, public: &[u8; 32], step: u64, attempt: [u8; 8]) {
        if let Some(link) = self.get_mut(public) {
            link.rare_mut().coded = Some((step, attempt));
        }
    }

    /// It has sent a wrong code in this step of the clock. The same again in the same step is no other guess: a typing error
    /// that goes out by both families, and once more when no answer came, counts once.
    pub(crate) fn was_wrong(&mut self, public: &[u8; 32], guess: (u32, u64), now: Mono) {
        if let Some(link) = self.get_mut(public) {
            let rare = link.rare_mut();
            if rare.guess.replace(guess) != Some(guess) {
                rare.wrong.truncate(WRONG_A_DAY - 1);
                rare.wrong.push_front(seconds(now));
            }
        }
    }

    /// Whether it has sent so many wrong codes that none is looked at any more, for some time.
    pub(crate) fn is_guessing(&self, public: &[u8; 32], now: Mono) -> bool {
        let Some(wrong) = self.rare(public).map(|rare| &rare.wrong) else { return false };
        let within = |count: usize, span: u32| {
            wrong.get(count - 1).is_some_and(|&at| seconds(now).saturating_sub(at) < span)
        };
        within(WRONG_AN_HOUR, 3600) || within(WRONG_A_DAY, 86_400)
    }

    pub(crate) fn close(&mut self, public: &[u8; 32], stamp: Unix) {
        if let Some(link) = self.get_mut(public) {
            let closed = link.rare_mut().closed.get_or_insert(Closed { slot: NOWHERE, until: 0 });
            closed.until = closed.until.max(millis(stamp));
        }
    }

    pub(super) fn learn(&mut self, public: &[u8; 32], slot: u32, day: Day, value: &Secret<32>) {
        if let Some(link) = self.row(public) {
            (link.slot, link.day) = (slot, day);
            link.value.copy_from_slice(value.expose());
        }
    }

    pub(super) fn learn_announced(&mut self, public: &[u8; 32], slot: u32, day: Day, value: Secret<32>) {
        if let Some(link) = self.row(public) {
            link.rare_mut().announced = Some((slot, Chain::new(day, value)));
        }
    }

    pub(super) fn learn_closed(&mut self, public: &[u8; 32], slot: u32, value: &Secret<32>) {
        let until = value.expose().first_chunk().map_or(0, |millis| u64::from_be_bytes(*millis));
        if let Some(link) = self.row(public) {
            let closed = link.rare_mut().closed.get_or_insert(Closed { slot, until });
            *closed = Closed { slot, until: closed.until.max(until) };
        }
    }

    pub(super) fn learn_moved(&mut self, public: &[u8; 32], slot: u32, door: [u8; 32]) {
        if let Some(link) = self.row(public) {
            link.rare_mut().moved = Some((slot, door));
        }
    }

    /// The door to which it has moved, and where that lies.
    pub(super) fn moved(&self, public: &[u8; 32]) -> Option<(u32, [u8; 32])> {
        self.rare(public)?.moved
    }

    pub(super) fn slot(&self, public: &[u8; 32]) -> Option<u32> {
        self.get(public).map(|link| link.slot).filter(|&slot| slot != NOWHERE)
    }

    pub(super) fn slot_announced(&self, public: &[u8; 32]) -> Option<u32> {
        self.get(public)?.announced().map(|(slot, _)| *slot)
    }

    pub(super) fn slot_closed(&self, public: &[u8; 32]) -> Option<u32> {
        self.rare(public)?.closed.as_ref().map(|closed| closed.slot).filter(|&slot| slot != NOWHERE)
    }

    pub(super) fn forget(&mut self, public: &[u8; 32]) {
        if let Some(link) = self.get_mut(public) {
            link.slot = NOWHERE;
            link.value.zeroize();
        }
    }

    pub(super) fn forget_announced(&mut self, public: &[u8; 32]) {
        if let Some(link) = self.get_mut(public) {
            link.rare_mut().announced = None;
        }
    }

    pub(super) fn forget_closed(&mut self, public: &[u8; 32]) {
        if let Some(link) = self.get_mut(public) {
            link.rare_mut().closed = None;
        }
    }

    pub(super) fn forget_moved(&mut self, public: &[u8; 32]) {
        if let Some(link) = self.get_mut(public) {
            link.rare_mut().moved = None;
        }
    }

    /// Whether that is the link which it has.
    pub(super) fn is_own(&self, public: &[u8; 32], day: Day, value: &Secret<32>) -> bool {
        let own = self.get(public).and_then(Link::chain);
        own.is_some_and(|own| {
            let announced = Chain::new(day, value.duplicate()).at(own.day());
            announced.is_ok_and(|value| value == *own.value())
        })
    }

    pub(super) fn to_announce(&self, public: [u8; 32], day: Day, value: Secret<32>) -> Option<ChainChange> {
        let is_first = self.get(&public)?.announced().is_none();
        is_first.then_some(ChainChange::Put { owner: ChainOwner::Announced(public), slot: None, day, value })
    }

    /// The announced link takes the other's place.
    pub(super) fn to_promote(&self, public: [u8; 32]) -> Vec<ChainChange> {
        let link = self.get(&public);
        let Some((link, (announced, chain))) = link.and_then(|link| Some((link, link.announced()?))) else {
            return Vec::new();
        };
        let slot = Some(link.slot).filter(|&slot| slot != NOWHERE);
        let (day, value) = (chain.day(), chain.value().duplicate());
        vec![
            ChainChange::Put { owner: ChainOwner::Link(public), slot, day, value },
            ChainChange::Erase { owner: ChainOwner::Announced(public), slot: *announced },
        ]
    }

    pub(super) fn to_close(&self, public: [u8; 32], day: Day) -> Option<ChainChange> {
        let closed = self.rare(&public)?.closed.as_ref()?;
        let slot = Some(closed.slot).filter(|&slot| slot != NOWHERE);
        let mut value = [0; 32];
        value.iter_mut().zip(closed.until.to_be_bytes()).for_each(|(byte, part)| *byte = part);
        Some(ChainChange::Put {
            owner: ChainOwner::Closed(public),
            slot,
            day,
            value: Secret::from_bytes(value),
        })
    }

    pub(super) fn to_move(&self, public: [u8; 32], day: Day, door: [u8; 32]) -> ChainChange {
        let slot = self.moved(&public).map(|(slot, _)| slot);
        ChainChange::Put { owner: ChainOwner::Moved(public), slot, day, value: Secret::from_bytes(door) }
    }

    /// Puts into `batch`, `most` in all, what has to be done so that keys of days before `day` are gone, and what is kept of a
    /// move to another door than `new_door`, looking at `slice` clients from `from` on. Gives who is next; `None`: that was the
    /// last.
    pub(super) fn to_age(
        &self,
        (day, new_door): (Day, Option<&[u8; 32]>),
        from: usize,
        slice: usize,
        most: usize,
        batch: &mut Vec<ChainChange>,
    ) -> Option<usize> {
        for (place, link) in self.rows.from(from).take(slice) {
            if batch.len() + 3 > most {
                return Some(place);
            }
            let older = |chain: &Chain| chain.day() < day;
            if let Some(chain) = link.chain().filter(older)
                && let Ok(value) = chain.at(day)
            {
                let owner = ChainOwner::Link(link.public);
                batch.push(ChainChange::Put { owner, slot: Some(link.slot), day, value });
            }
            if let Some((slot, chain)) = link.announced().filter(|(_, chain)| older(chain))
                && let Ok(value) = chain.at(day)
            {
                let owner = ChainOwner::Announced(link.public);
                batch.push(ChainChange::Put { owner, slot: Some(*slot), day, value });
            }
            if let Some((slot, door)) = link.rare.as_ref().and_then(|rare| rare.moved)
                && new_door != Some(&door)
            {
                batch.push(ChainChange::Erase { owner: ChainOwner::Moved(link.public), slot });
            }
        }
        let next = from.saturating_add(slice);
        (next < self.rows.count).then_some(next)
    }
}

impl Rows {
    fn get(&self, place: u32) -> Option<&Link> {
        self.together.get(place as usize / TOGETHER)?.get(place as usize % TOGETHER)
    }

    fn get_mut(&mut self, place: u32) -> Option<&mut Link> {
        self.together.get_mut(place as usize / TOGETHER)?.get_mut(place as usize % TOGETHER)
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut Link> {
        self.together.iter_mut().flatten()
    }

    /// With their places, from one on.
    fn from(&self, first: usize) -> impl Iterator<Item = (usize, &Link)> {
        let together = self.together.get(first / TOGETHER..).unwrap_or_default().iter().flatten();
        (first..).zip(together.skip(first % TOGETHER))
    }

    fn push(&mut self, link: Link) -> Option<u32> {
        let place = u32::try_from(self.count).ok().filter(|&place| place < NOBODY)?;
        if self.count.is_multiple_of(TOGETHER) {
            self.together.push(Vec::with_capacity(TOGETHER));
        }
        self.together.last_mut()?.push(link);
        self.count += 1;
        Some(place)
    }
}

impl Link {
    fn new(public: [u8; 32]) -> Self {
        Self {
            public,
            value: Zeroizing::new([0; 32]),
            shared: Zeroizing::new([0; 32]),
            day: Day::from_number(0),
            slot: NOWHERE,
            client: NOBODY,
            door: 0,
            rare: None,
        }
    }

    fn chain(&self) -> Option<Chain> {
        (self.slot != NOWHERE).then(|| Chain::new(self.day, Secret::from_bytes(*self.value)))
    }

    fn announced(&self) -> Option<&(u32, Chain)> {
        self.rare.as_ref()?.announced.as_ref()
    }

    fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }
}

fn seconds(at: Mono) -> u32 {
    u32::try_from(at.as_nanos() / 1_000_000_000).unwrap_or(u32::MAX)
}

fn millis(stamp: Unix) -> u64 {
    u64::try_from(stamp.as_nanos() / NANOS_A_MILLI).unwrap_or(0)
}
