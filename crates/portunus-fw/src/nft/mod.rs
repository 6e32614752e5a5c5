//! nftables over netlink: hash sets with the kernel's own timeouts, in a table of ours or in the admin's.
//!
//! The kernel holds the timers: a grant is an element that the kernel forgets by itself, whatever becomes of us. An element
//! that may be about to expire is written in one form: add, delete, add in one transaction (a plain re-add refreshes
//! nothing, and the delete of an element that has just expired would spoil the whole); one that is not there, or sure to
//! stay a while, by one add that names its end (docs/adr/0008). Every opened element is read back.

mod cuts;
mod echo;
mod ends;
mod expressions;
pub(crate) mod flows;
#[cfg(all(test, target_endian = "little"))]
mod golden;
mod grants;
mod keys;
mod message;
mod ours;
mod plan;
mod rule;
mod sent_on;
mod sets;
mod stand;
mod talk;
mod through;

use std::collections::{BTreeMap, HashMap};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use portunus_model::{Place, Seat, Way};
use portunus_sys::netlink::NetlinkSocket;

use self::ends::Ends;
use self::keys::{Meaning, Role};
pub(crate) use self::message::{ACK, DUMP, OURS, REQUEST, THERE, chain_for, frame};
use self::message::{Batch, TableName};
use self::ours::Traces;
use self::rule::{RulePlan, Then};
pub(crate) use self::sets::{grants, is_trial};
use self::stand::Stand;
pub(crate) use self::talk::{Answer, failed, kernel, messages};
use self::talk::{CHANGED_MEANWHILE, Talk};
use crate::place::{self, taken};
use crate::ruleset::{Chain, ReadError, Ruleset, Table};
use crate::{Change, Element, Ended, Firewall, FirewallError, Standing, Structure, kill};

/// How often an install begins anew when somebody changes the rules meanwhile.
const MOST_TRIES: u32 = 10;

/// From so many translations on, those that are over are looked for.
const MANY: usize = 4096;

/// Room for the sequence numbers of a transaction: far more than it can have messages.
const ROOM: u32 = 1 << 20;

/// nftables, spoken to directly.
#[derive(Debug)]
pub struct Nft {
    talk: Talk,
    announcements: NetlinkSocket,
    /// Its doors are sorted.
    structure: Structure,
    stands: Vec<Stand>,
    traces: Traces,
    seeded: bool,
    ends: Ends,
    /// Who is cut off, and until when.
    cuts: BTreeMap<Element, Instant>,
    /// The chain of the admin's that we could not stand in, and its seat.
    absent: Option<(Seat, String)>,
    /// Whether it was heard that somebody changed tables, chains, rules or sets.
    others_changed: bool,
    /// What leads through this host or to another port of it, and until when.
    translated: BTreeMap<Element, Instant>,
}

impl Nft {
    /// Opens the sockets; changes nothing.
    ///
    /// # Errors
    /// [`FirewallError`], when the kernel has no nf_tables or we may not.
    pub fn open() -> Result<Self, FirewallError> {
        let talk = Talk::new()?;
        let announcements = NetlinkSocket::announcements(talk.port())
            .map_err(|error| failed("listening to changes of the firewall", &error))?;
        let (structure, traces) = (Structure::default(), Traces::default());
        Ok(Self {
            talk,
            announcements,
            structure,
            stands: Vec::new(),
            traces,
            seeded: false,
            ends: Ends::default(),
            cuts: BTreeMap::new(),
            absent: None,
            others_changed: false,
            translated: BTreeMap::new(),
        })
    }

    /// All of netfilter's rules as they stand.
    ///
    /// # Errors
    /// [`FirewallError`], when they cannot be read.
    pub fn ruleset(&mut self) -> Result<Ruleset, FirewallError> {
        Self::told(Ruleset::read(&mut self.talk))
    }

    /// Whether anything of ours that stands keeps out who has no grant: without it a port may be open to everybody.
    ///
    /// # Errors
    /// [`FirewallError`], when that cannot be read.
    pub fn guards(&mut self) -> Result<bool, FirewallError> {
        Ok(ours::guard(&self.structure_now()?))
    }

    /// The same without the elements of named sets: all that putting back needs.
    fn structure_now(&mut self) -> Result<Ruleset, FirewallError> {
        Self::told(Ruleset::read_structure(&mut self.talk))
    }

    fn told(read: Result<Ruleset, ReadError>) -> Result<Ruleset, FirewallError> {
        read.map_err(|error| match error {
            ReadError::Socket(kind) => failed("reading the firewall rules", &kind.into()),
            ReadError::Refused(errno) => kernel("reading the firewall rules", errno),
            ReadError::Restless => {
                FirewallError::Refused { step: "reading the firewall rules", errno: CHANGED_MEANWHILE }
            }
        })
    }

    /// One try at an install: `Refused` with [`CHANGED_MEANWHILE`] asks for another.
    fn try_install(
        &mut self,
        structure: &Structure,
        open: &[(Element, Duration)],
    ) -> Result<(), FirewallError> {
        let generation = self.talk.generation()?;
        let before = self.structure_now()?;
        let (seats, absent) = seats_there(structure, &before);
        let stands = Stand::all(structure, &seats);
        if let Some(taken) = stands.iter().find_map(|stand| stand.taken(&before)) {
            return Err(taken.into());
        }
        let cuts = self.cuts_under(&stands);
        let mut batch = Batch::begin(self.talk.sequence(ROOM), Some(generation));
        ours::strike(&before, &mut batch);
        for stand in &stands {
            stand.write(&mut batch, structure);
            for (meaning, elements) in [(Meaning::Open, open), (Meaning::Cut, &cuts)] {
                let changes = elements.iter().map(|(element, lasting)| Change::Open(*element, *lasting));
                for (set, elements) in stand.by_set(meaning, changes, |_| false) {
                    grants::add(&mut batch, &stand.table, set, &elements);
                }
            }
        }
        for (seat, table, chain) in &seats {
            sit_down(seat, table, chain, &mut batch);
        }
        let began = Instant::now();
        self.talk.commit("installing the firewall rules", &batch.end())?;
        self.ends.begin_with(open, began);
        self.stands = stands;
        self.structure = structure.clone();
        self.structure.doors.sort_unstable();
        self.translated.clear();
        self.remember(open.iter().copied());
        self.absent = absent.map(|seat| (seat.clone(), seat_words(seat)));
        Ok(())
    }

    /// How much longer a translation is in all its sets.
    fn left_of(
        &self,
        element: &Element,
        there: &HashMap<(TableName, String, Vec<u8>), Duration>,
    ) -> Option<Duration> {
        let mut left = None;
        for placed in keys::places(element, Meaning::Open) {
            for stand in self.stands.iter().filter(|stand| stand.holds(element, &placed)) {
                let name = stand.plan.set_of(&placed)?.to_owned();
                let key = (stand.table.clone(), name, placed.key.as_bytes().to_vec());
                let here = *there.get(&key)?;
                left = Some(left.map_or(here, |left: Duration| left.min(here)));
            }
        }
        left
    }

    /// Keeps in mind what was translated: the kernel's sets do not tell all of it.
    fn remember(&mut self, opened: impl Iterator<Item = (Element, Duration)>) {
        let now = Instant::now();
        let translated = opened.filter(|(element, _)| is_translated(element));
        self.translated.extend(translated.map(|(element, lasting)| (element, now + lasting)));
        if self.translated.len() > MANY {
            self.translated.retain(|_, until| *until > now);
        }
    }

    /// Before the first drop of ours, or whoever is connected now is a stranger to conntrack; and once more after it,
    /// for who came in between. Later everybody is known.
    fn seed(&mut self, structure: &Structure) -> Result<(), FirewallError> {
        if self.seeded { Ok(()) } else { flows::seed(structure) }
    }
}

impl Firewall for Nft {
    fn install(&mut self, structure: &Structure, open: &[(Element, Duration)]) -> Result<(), FirewallError> {
        self.seed(structure)?;
        let mut tries = 0;
        loop {
            match self.try_install(structure, open) {
                Err(FirewallError::Refused { errno: CHANGED_MEANWHILE, .. }) if tries < MOST_TRIES => {
                    tries += 1;
                }
                Err(error) => return Err(error),
                Ok(()) => break,
            }
        }
        self.seed(structure)?;
        self.seeded = true;
        let after = self.structure_now()?;
        self.traces = Traces::of(&after);
        let chains = self.stands.iter().map(|stand| stand.plan.chains.len()).sum();
        if self.absent.is_some() || self.traces.are_complete(&self.structure.stance.place, chains) {
            Ok(())
        } else {
            Err(FirewallError::NotThere)
        }
    }

    fn change(&mut self, changes: &[Change]) -> Vec<Result<(), FirewallError>> {
        let mut answers = self.carry_out(changes);
        self.lift_cuts(changes, &mut answers);
        let done = changes.iter().zip(&answers).filter(|(_, answer)| answer.is_ok());
        let opened: Vec<_> = done
            .filter_map(|(change, _)| match change {
                Change::Open(element, lasting) if is_translated(element) => Some((*element, *lasting)),
                Change::Open(..) | Change::Close(_) => None,
            })
            .collect();
        self.remember(opened.into_iter());
        for change in changes {
            if let Change::Close(element) = change {
                self.translated.remove(element);
            }
        }
        answers
    }

    fn end_flows(&mut self, elements: &[Element], lasting: Duration) -> Result<Ended, FirewallError> {
        // First nothing comes in any more, so that what ends cannot begin anew.
        let cut = self.cut(elements, lasting);
        let ended = kill::end(elements)?;
        cut.map(|()| ended)
    }

    fn open_now(&mut self) -> Result<Vec<(Element, Duration)>, FirewallError> {
        let mut open = BTreeMap::new();
        let mut more = HashMap::new();
        for stand in &self.stands {
            for set in &stand.plan.sets {
                let plain = match set.role {
                    Role::Interfaces | Role::Cut | Role::Trial => continue,
                    Role::Open => true,
                    Role::Local | Role::Through | Role::Turn | Role::Source | Role::Masquerade => false,
                };
                self.talk.dump(&stand.table, &set.name, |key, left| {
                    let left = left.unwrap_or(Duration::MAX);
                    if let Some(element) = set.keys.element(key).filter(|_| plain) {
                        open.insert(element, left);
                    } else {
                        more.insert((stand.table.clone(), set.name.clone(), key.to_vec()), left);
                    }
                })?;
            }
        }
        open.extend(
            self.translated.keys().filter_map(|element| Some((*element, self.left_of(element, &more)?))),
        );
        Ok(open.into_iter().collect())
    }

    fn standing(&mut self) -> Result<Standing, FirewallError> {
        let heard = ours::hear(&self.announcements)?;
        self.others_changed |= heard.structure;
        if heard.our_elements {
            return Ok(Standing::Broken);
        }
        if !heard.structure {
            return Ok(Standing::Whole);
        }
        let ruleset = self.structure_now()?;
        let is_back = self.absent.as_ref().is_some_and(|(seat, _)| seated(seat, &ruleset).is_some());
        let is_whole = !is_back && Traces::of(&ruleset) == self.traces;
        Ok(if is_whole { Standing::Whole } else { Standing::Broken })
    }

    fn others_changed(&mut self) -> bool {
        std::mem::take(&mut self.others_changed)
    }

    fn absent(&self) -> Option<&str> {
        self.absent.as_ref().map(|(_, words)| words.as_str())
    }

    fn watch(&self) -> Option<BorrowedFd<'_>> {
        Some(self.announcements.as_fd())
    }

    fn teardown(&mut self) -> Result<(), FirewallError> {
        for _ in 0..MOST_TRIES {
            let generation = self.talk.generation()?;
            let before = self.structure_now()?;
            let mut batch = Batch::begin(self.talk.sequence(ROOM), Some(generation));
            if !ours::strike(&before, &mut batch) {
                return Ok(());
            }
            match self.talk.commit("removing our firewall rules", &batch.end()) {
                Err(FirewallError::Refused { errno: CHANGED_MEANWHILE, .. }) => {}
                Err(error) => return Err(error),
                Ok(()) => {
                    self.stands.clear();
                    self.traces = Traces::default();
                    let caller = before.tables.iter().find_map(taken::caller);
                    return caller.map_or(Ok(()), |rule| Err(rule.into()));
                }
            }
        }
        Err(FirewallError::Refused { step: "removing our firewall rules", errno: CHANGED_MEANWHILE })
    }
}

/// A seat with the table and the chain that it is in.
type Seated<'a> = (&'a Seat, &'a Table, &'a Chain);

/// The seats whose chains are there, and the first whose chain is not.
fn seats_there<'a>(structure: &'a Structure, before: &'a Ruleset) -> (Vec<Seated<'a>>, Option<&'a Seat>) {
    let Place::Attach(seats) = &structure.stance.place else { return (Vec::new(), None) };
    let there = seats.iter().filter_map(|seat| seated(seat, before)).collect();
    (there, seats.iter().find(|seat| seated(seat, before).is_none()))
}

fn seated<'a>(seat: &'a Seat, ruleset: &'a Ruleset) -> Option<Seated<'a>> {
    let (table, chain) = place::seated(ruleset, seat)?;
    Some((seat, table, chain))
}

fn seat_words(seat: &Seat) -> String {
    format!("{} {} {}", seat.family.as_str(), seat.table, seat.chain)
}

/// The jump from the admin's chain to ours, before its first drop.
fn sit_down(seat: &Seat, table: &Table, chain: &Chain, batch: &mut Batch) {
    let to = chain_for(chain.base.as_ref().map(|base| base.hook));
    let jump = RulePlan { ifs: Vec::new(), then: Then::Jump(to.to_owned()) };
    let name = TableName { family: seat.family, name: seat.table.clone() };
    batch.new_rule(&name, &seat.chain, &jump, place::first_drop(table, chain));
}
/// Whether the kernel's sets do not tell all of it.
const fn is_translated(element: &Element) -> bool {
    match element.way {
        Way::Nat(_) | Way::All { .. } => true,
        Way::Here | Way::From(_) => false,
    }
}
