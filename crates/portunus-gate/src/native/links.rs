//! The clients of the native dialect by their public keys: one look, however many there are.

use hashbrown::HashTable;
use portunus_crypto::{Secret, siphash};
use portunus_dialect::native::{Chain, Day};
use portunus_model::{Client, ClientKey, Mono, Unix};

use super::{ChainChange, ChainOwner};
use crate::clients::NOBODY;

/// No slot.
const NOWHERE: u32 = u32::MAX;
const NANOS_A_MILLI: i128 = 1_000_000;

pub(crate) struct Links {
    /// Places in `rows`, by the hash of the public key there.
    index: HashTable<u32>,
    rows: Vec<Link>,
    key: Secret<16>,
}

/// One client. Small: there may be a million.
struct Link {
    public: [u8; 32],
    /// Its number in the rules; [`NOBODY`]: it is in none.
    client: u32,
    slot: u32,
    /// Its link; `None`: nobody knows it (yet), and it proves nothing.
    chain: Option<Box<Chain>>,
    /// The link that it announced, and where that lies.
    announced: Option<Box<(u32, Chain)>>,
    /// What is the same for all its knocks at one door, whose public key stands with it.
    shared: Option<Box<([u8; 32], Secret<32>)>>,
    closed: Option<Box<Closed>>,
    /// The second of [`Mono`] in which it had its last answer.
    answered: u32,
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
        let mut links = Self { index: HashTable::new(), rows: Vec::new(), key: Secret::from_bytes(key) };
        links.replace(clients);
        links
    }

    /// After a reload: everybody's number is another, and some are in no rules any more. What is known of those stays, for who
    /// comes back.
    pub(crate) fn replace(&mut self, clients: &[Client]) {
        self.rows.iter_mut().for_each(|link| link.client = NOBODY);
        let native = |client: &Client| match client.key {
            ClientKey::Native(public) => Some(public),
            ClientKey::Openme(_) | ClientKey::Fwknop(_) => None,
        };
        let count = clients.iter().filter(|client| native(client).is_some()).count();
        self.rows.reserve_exact(count.saturating_sub(self.rows.len()));
        for (number, client) in (0..).zip(clients) {
            if let Some(public) = native(client)
                && let Some(link) = self.row(&public)
            {
                link.client = number;
            }
        }
    }

    fn hash(&self, public: &[u8; 32]) -> u64 {
        siphash::hash(&self.key, public)
    }

    fn place(&self, public: &[u8; 32]) -> Option<usize> {
        let is_it = |&place: &u32| self.rows.get(place as usize).is_some_and(|link| link.public == *public);
        self.index.find(self.hash(public), is_it).map(|&place| place as usize)
    }

    fn get(&self, public: &[u8; 32]) -> Option<&Link> {
        self.rows.get(self.place(public)?)
    }

    fn get_mut(&mut self, public: &[u8; 32]) -> Option<&mut Link> {
        let place = self.place(public)?;
        self.rows.get_mut(place)
    }

    /// The row of this key, made where there is none; `None`: there are more than can be counted.
    fn row(&mut self, public: &[u8; 32]) -> Option<&mut Link> {
        if self.place(public).is_none() {
            let place = u32::try_from(self.rows.len()).ok().filter(|&place| place < NOBODY)?;
            self.rows.push(Link::new(*public));
            let Self { index, rows, key } = self;
            let hash_at =
                |&place: &u32| rows.get(place as usize).map_or(0, |link| siphash::hash(key, &link.public));
            index.insert_unique(siphash::hash(key, public), place, hash_at);
        }
        self.get_mut(public)
    }

    /// The number of the client with this key; `None`: no client has it.
    pub(crate) fn client(&self, public: &[u8; 32]) -> Option<u32> {
        self.get(public).map(|link| link.client).filter(|&client| client != NOBODY)
    }

    /// What is the same for all its knocks at the door with this public key, if it was computed before.
    pub(crate) fn shared(&self, public: &[u8; 32], door: &[u8; 32]) -> Option<Secret<32>> {
        let shared = self.get(public)?.shared.as_ref().filter(|shared| shared.0 == *door)?;
        Some(shared.1.duplicate())
    }

    pub(crate) fn set_shared(&mut self, public: &[u8; 32], door: [u8; 32], shared: Secret<32>) {
        if let Some(link) = self.get_mut(public) {
            link.shared = Some(Box::new((door, shared)));
        }
    }

    /// Its links of that day.
    pub(crate) fn of_day(&self, public: &[u8; 32], day: Day) -> impl Iterator<Item = (Which, Secret<32>)> {
        let link = self.get(public);
        let own = link.and_then(|link| link.chain.as_deref()).map(|chain| (Which::Own, chain));
        let announced = link.and_then(|link| link.announced.as_deref());
        let both = own.into_iter().chain(announced.map(|(_, chain)| (Which::Announced, chain)));
        both.filter_map(move |(which, chain)| Some((which, chain.at(day).ok()?)))
    }

    /// Whether it has closed what was open for it after it made what is stamped so.
    pub(crate) fn has_closed(&self, public: &[u8; 32], stamp: Unix) -> bool {
        let closed = self.get(public).and_then(|link| link.closed.as_ref());
        closed.is_some_and(|closed| millis(stamp) <= closed.until)
    }

    /// Whether it had no answer in this second. It has one now.
    pub(crate) fn may_answer(&mut self, public: &[u8; 32], now: Mono) -> bool {
        // From 1 on, so that the first second is not taken for one in which there was an answer.
        let second = u32::try_from(now.as_nanos() / 1_000_000_000).unwrap_or(u32::MAX).saturating_add(1);
        let Some(link) = self.get_mut(public) else { return false };
        let free = link.answered != second;
        link.answered = second;
        free
    }

    pub(crate) fn close(&mut self, public: &[u8; 32], stamp: Unix) {
        if let Some(link) = self.get_mut(public) {
            let closed = link.closed.get_or_insert_with(|| Box::new(Closed { slot: NOWHERE, until: 0 }));
            closed.until = closed.until.max(millis(stamp));
        }
    }

    pub(super) fn learn(&mut self, public: &[u8; 32], slot: u32, day: Day, value: Secret<32>) {
        if let Some(link) = self.row(public) {
            link.slot = slot;
            link.chain = Some(Box::new(Chain::new(day, value)));
        }
    }

    pub(super) fn learn_announced(&mut self, public: &[u8; 32], slot: u32, day: Day, value: Secret<32>) {
        if let Some(link) = self.row(public) {
            link.announced = Some(Box::new((slot, Chain::new(day, value))));
        }
    }

    pub(super) fn learn_closed(&mut self, public: &[u8; 32], slot: u32, value: &Secret<32>) {
        let until = value.expose().first_chunk().map_or(0, |millis| u64::from_be_bytes(*millis));
        if let Some(link) = self.row(public) {
            let until = link.closed.as_ref().map_or(until, |closed| closed.until.max(until));
            link.closed = Some(Box::new(Closed { slot, until }));
        }
    }

    pub(super) fn slot(&self, public: &[u8; 32]) -> Option<u32> {
        self.get(public).map(|link| link.slot).filter(|&slot| slot != NOWHERE)
    }

    pub(super) fn slot_announced(&self, public: &[u8; 32]) -> Option<u32> {
        self.get(public)?.announced.as_deref().map(|(slot, _)| *slot)
    }

    pub(super) fn slot_closed(&self, public: &[u8; 32]) -> Option<u32> {
        self.get(public)?.closed.as_ref().map(|closed| closed.slot).filter(|&slot| slot != NOWHERE)
    }

    pub(super) fn forget(&mut self, public: &[u8; 32]) {
        if let Some(link) = self.get_mut(public) {
            (link.slot, link.chain) = (NOWHERE, None);
        }
    }

    pub(super) fn forget_announced(&mut self, public: &[u8; 32]) {
        if let Some(link) = self.get_mut(public) {
            link.announced = None;
        }
    }

    pub(super) fn forget_closed(&mut self, public: &[u8; 32]) {
        if let Some(link) = self.get_mut(public) {
            link.closed = None;
        }
    }

    /// Whether that is the link which it announced before, or the one that it has.
    pub(super) fn has_announced(&self, public: &[u8; 32], day: Day, value: &Secret<32>) -> bool {
        let Some(link) = self.get(public) else { return false };
        let is_it = |chain: &Chain| {
            chain.day() >= day
                && Chain::new(day, value.duplicate()).at(chain.day()).is_ok_and(|at| at == *chain.value())
        };
        link.announced.as_deref().is_some_and(|(_, chain)| is_it(chain))
            || link.chain.as_deref().is_some_and(is_it)
    }

    pub(super) fn to_announce(&self, public: [u8; 32], day: Day, value: Secret<32>) -> Option<ChainChange> {
        let slot = self.get(&public)?.announced.as_deref().map(|(slot, _)| *slot);
        Some(ChainChange::Put { owner: ChainOwner::Announced(public), slot, day, value })
    }

    /// The announced link takes the other's place.
    pub(super) fn to_promote(&self, public: [u8; 32]) -> Vec<ChainChange> {
        let link = self.get(&public);
        let both = link.and_then(|link| Some((link.slot, link.announced.as_deref()?)));
        let Some((slot, (announced, chain))) = both else { return Vec::new() };
        let slot = Some(slot).filter(|&slot| slot != NOWHERE);
        let (day, value) = (chain.day(), chain.value().duplicate());
        vec![
            ChainChange::Put { owner: ChainOwner::Link(public), slot, day, value },
            ChainChange::Erase { owner: ChainOwner::Announced(public), slot: *announced },
        ]
    }

    pub(super) fn to_close(&self, public: [u8; 32], stamp: Unix) -> Option<ChainChange> {
        let closed = self.get(&public)?.closed.as_ref()?;
        let slot = Some(closed.slot).filter(|&slot| slot != NOWHERE);
        let mut value = [0; 32];
        value.iter_mut().zip(closed.until.to_be_bytes()).for_each(|(byte, part)| *byte = part);
        let day = Day::of(stamp)?;
        Some(ChainChange::Put {
            owner: ChainOwner::Closed(public),
            slot,
            day,
            value: Secret::from_bytes(value),
        })
    }

    /// Puts into `batch`, `most` in all, what has to be done so that keys of days before `day` are gone, looking at `slice`
    /// clients from `from` on. Gives who is next; `None`: that was the last.
    pub(super) fn to_age(
        &self,
        day: Day,
        from: usize,
        slice: usize,
        most: usize,
        batch: &mut Vec<ChainChange>,
    ) -> Option<usize> {
        for (place, link) in self.rows.iter().enumerate().skip(from).take(slice) {
            if batch.len() + 2 > most {
                return Some(place);
            }
            let older = |chain: &&Chain| chain.day() < day;
            if let Some(chain) = link.chain.as_deref().filter(older)
                && let Ok(value) = chain.at(day)
            {
                let owner = ChainOwner::Link(link.public);
                batch.push(ChainChange::Put { owner, slot: Some(link.slot), day, value });
            }
            if let Some((slot, chain)) = link.announced.as_deref()
                && older(&chain)
                && let Ok(value) = chain.at(day)
            {
                let owner = ChainOwner::Announced(link.public);
                batch.push(ChainChange::Put { owner, slot: Some(*slot), day, value });
            }
        }
        let next = from.saturating_add(slice);
        (next < self.rows.len()).then_some(next)
    }
}

impl Link {
    const fn new(public: [u8; 32]) -> Self {
        Self {
            public,
            client: NOBODY,
            slot: NOWHERE,
            chain: None,
            announced: None,
            shared: None,
            closed: None,
            answered: 0,
        }
    }
}

fn millis(stamp: Unix) -> u64 {
    u64::try_from(stamp.as_nanos() / NANOS_A_MILLI).unwrap_or(0)
}
