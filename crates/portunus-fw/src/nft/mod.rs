//! nftables over netlink: hash sets with the kernel's own timeouts, in a table of ours or in the admin's.
//!
//! The kernel holds the timers: a grant is an element that the kernel forgets by itself, whatever becomes of us. One
//! form is used everywhere: add, delete, add in one transaction (a plain re-add refreshes nothing, and the delete of
//! an element that has just expired would spoil the whole). Every change is read back.

mod flows;
mod message;
mod ours;
mod plan;
mod talk;

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use portunus_model::{Family, Place};
use portunus_sys::netlink::NetlinkSocket;

use self::message::{Batch, MOST_ELEMENTS, OURS, TableName};
use self::ours::Traces;
use self::plan::{Keys, RulePlan, SetPlan, Then};
use self::talk::{CHANGED_MEANWHILE, Talk, element_of, failed};
use crate::place;
use crate::ruleset::{ReadError, Ruleset};
use crate::{Change, Element, Firewall, FirewallError, Standing, Structure};

/// How often an install begins anew when somebody changes the rules meanwhile.
const MOST_TRIES: u32 = 10;

/// Ours in a table of the admin's begin with this.
const PREFIX: &str = "portunus_";

/// nftables, spoken to directly.
#[derive(Debug)]
pub struct Nft {
    talk: Talk,
    announcements: NetlinkSocket,
    structure: Structure,
    stands: Vec<Stand>,
    traces: Traces,
    seeded: bool,
}

/// A table that we stand in.
#[derive(Debug, Clone)]
struct Stand {
    table: TableName,
    prefix: &'static str,
    sets: Vec<SetPlan>,
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
        Ok(Self { talk, announcements, structure, stands: Vec::new(), traces, seeded: false })
    }

    /// All of netfilter's rules as they stand.
    ///
    /// # Errors
    /// [`FirewallError`], when they cannot be read.
    pub fn ruleset(&mut self) -> Result<Ruleset, FirewallError> {
        Ruleset::read(&mut self.talk).map_err(|error| match error {
            ReadError::Socket(kind) => failed("reading the firewall rules", &kind.into()),
            ReadError::Refused(errno) => talk::kernel("reading the firewall rules", errno),
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
        let before = self.ruleset()?;
        let stands = stands(structure);
        // Room for every message that follows: far more than there can be.
        let mut batch = Batch::begin(self.talk.sequence(1 << 20), Some(generation));
        ours::strike(&before, &mut batch);
        for stand in &stands {
            write(&mut batch, structure, stand);
            for (set, elements) in by_set(stand, open) {
                add(&mut batch, &stand.table, &set, &elements);
            }
        }
        if let Place::Attach(seats) = &structure.stance.place {
            for seat in seats {
                let no_seat = || {
                    FirewallError::NoSeat(format!("{} {} {}", seat.family.as_str(), seat.table, seat.chain))
                };
                let table = before
                    .tables
                    .iter()
                    .find(|table| table.family.seat() == Some(seat.family) && table.name == seat.table)
                    .ok_or_else(no_seat)?;
                let chain = table.chain(&seat.chain).ok_or_else(no_seat)?;
                let jump = RulePlan { ifs: Vec::new(), then: Then::Jump(OURS.to_owned()) };
                let name = TableName { family: seat.family, name: seat.table.clone() };
                batch.new_rule(&name, &seat.chain, &jump, place::first_drop(table, chain));
            }
        }
        self.talk.commit("installing the firewall rules", &batch.end())?;
        self.stands = stands;
        self.structure = structure.clone();
        Ok(())
    }

    /// Carries `changes` out in one transaction; when the kernel refuses it, in two halves, until only the bad ones
    /// are left out.
    fn apply(&mut self, changes: &[Change], answers: &mut [Result<(), FirewallError>]) {
        let Some(error) = self.transact(changes).err() else { return };
        if changes.len() <= 1 {
            // An element that expired between the add and the delete of one transaction: the next try finds it new.
            if let (Err(error), Some(answer)) =
                (self.transact(changes).map_err(|_| error), answers.first_mut())
            {
                *answer = Err(error);
            }
            return;
        }
        let middle = changes.len() / 2;
        let (first, second) = changes.split_at(middle);
        let (first_answers, second_answers) = answers.split_at_mut(middle);
        self.apply(first, first_answers);
        self.apply(second, second_answers);
    }

    fn transact(&mut self, changes: &[Change]) -> Result<(), FirewallError> {
        let elements: Vec<_> = changes
            .iter()
            .map(|change| match change {
                Change::Open(element, lasting) => (*element, *lasting),
                // Any timeout does: it is deleted in the same transaction.
                Change::Close(element) => (*element, Duration::from_secs(1)),
            })
            .collect();
        let opened: Vec<_> = changes
            .iter()
            .filter_map(|change| match change {
                Change::Open(element, lasting) => Some((*element, *lasting)),
                Change::Close(_) => None,
            })
            .collect();
        let mut batch = Batch::begin(self.talk.sequence(1 << 16), None);
        for stand in &self.stands {
            for (set, elements) in by_set(stand, &elements) {
                add(&mut batch, &stand.table, &set, &elements);
                for part in elements.chunks(MOST_ELEMENTS) {
                    batch.delete_elements(&stand.table, &set, part.iter().map(|(key, _)| key.as_slice()));
                }
            }
            for (set, elements) in by_set(stand, &opened) {
                add(&mut batch, &stand.table, &set, &elements);
            }
        }
        self.talk.commit("changing grants", &batch.end())
    }

    /// Marks every opened element that is not there.
    fn read_back(&mut self, changes: &[Change], answers: &mut [Result<(), FirewallError>]) {
        let opened: Vec<(Element, Duration)> = changes
            .iter()
            .zip(answers.iter())
            .filter_map(|(change, answer)| match (change, answer) {
                (Change::Open(element, lasting), Ok(())) => Some((*element, *lasting)),
                (Change::Open(..) | Change::Close(_), _) => None,
            })
            .collect();
        let mut missing = Vec::new();
        for stand in &self.stands {
            for (set, elements) in by_set(stand, &opened) {
                for part in elements.chunks(MOST_ELEMENTS) {
                    missing.extend(self.talk.missing(&stand.table, &set, part));
                }
            }
        }
        if missing.is_empty() {
            return;
        }
        for (change, answer) in changes.iter().zip(answers) {
            if answer.is_ok() && missing.contains(&plan::key_of(&change.element())) {
                *answer = Err(FirewallError::NotThere);
            }
        }
    }

    fn check(&self, change: &Change) -> Result<(), FirewallError> {
        let element = change.element();
        if !self.structure.doors.contains(&element.port) {
            return Err(FirewallError::NoDoor(element.port));
        }
        let version = plan::Version::of(element.address);
        let seen = |stand: &Stand| plan::versions(stand.table.family).contains(&version);
        if self.stands.iter().any(seen) { Ok(()) } else { Err(FirewallError::NotThere) }
    }
}

impl Firewall for Nft {
    fn install(&mut self, structure: &Structure, open: &[(Element, Duration)]) -> Result<(), FirewallError> {
        if !self.seeded {
            // Before the first drop of ours, or whoever is connected now is a stranger to conntrack.
            flows::seed(structure)?;
            self.seeded = true;
        }
        let mut tries = 0;
        loop {
            match self.try_install(structure, open) {
                Err(FirewallError::Refused { errno: CHANGED_MEANWHILE, .. }) if tries < MOST_TRIES => {
                    tries += 1
                }
                Err(error) => return Err(error),
                Ok(()) => break,
            }
        }
        let after = self.ruleset()?;
        self.traces = Traces::of(&after);
        if self.traces.are_complete(&self.structure.stance.place) {
            Ok(())
        } else {
            Err(FirewallError::NotThere)
        }
    }

    fn change(&mut self, changes: &[Change]) -> Vec<Result<(), FirewallError>> {
        let mut answers: Vec<_> = changes.iter().map(|change| self.check(change)).collect();
        let (places, good): (Vec<usize>, Vec<Change>) = changes
            .iter()
            .enumerate()
            .filter(|(place, _)| answers.get(*place).is_some_and(Result::is_ok))
            .map(|(place, change)| (place, *change))
            .unzip();
        let mut carried = vec![Ok(()); good.len()];
        self.apply(&good, &mut carried);
        self.read_back(&good, &mut carried);
        for (place, answer) in places.into_iter().zip(carried) {
            if let Some(slot) = answers.get_mut(place) {
                *slot = answer;
            }
        }
        answers
    }

    fn open_now(&mut self) -> Result<Vec<(Element, Duration)>, FirewallError> {
        let ranges: Vec<_> =
            self.structure.doors.iter().filter(|p| !p.is_single()).map(|p| (p.first(), p.last())).collect();
        let mut open = BTreeMap::new();
        for stand in &self.stands {
            for set in &stand.sets {
                if set.keys == Keys::Interfaces {
                    continue;
                }
                let range = ranges
                    .iter()
                    .copied()
                    .find(|(first, last)| set.name.ends_with(&format!("_{first}_{last}")));
                self.talk.dump(&stand.table, &set.name, |key, left| {
                    if let Some(element) = element_of(set, range, key) {
                        open.insert(element, left);
                    }
                })?;
            }
        }
        Ok(open.into_iter().collect())
    }

    fn standing(&mut self) -> Result<Standing, FirewallError> {
        let heard = ours::hear(&self.announcements)?;
        if !heard.anything {
            return Ok(Standing::Whole);
        }
        if heard.our_elements {
            return Ok(Standing::Broken);
        }
        let now = Traces::of(&self.ruleset()?);
        Ok(if now == self.traces { Standing::Whole } else { Standing::Broken })
    }

    fn watch(&self) -> Option<BorrowedFd<'_>> {
        Some(self.announcements.as_fd())
    }

    fn teardown(&mut self) -> Result<(), FirewallError> {
        for _ in 0..MOST_TRIES {
            let generation = self.talk.generation()?;
            let before = self.ruleset()?;
            let mut batch = Batch::begin(self.talk.sequence(1 << 20), Some(generation));
            if !ours::strike(&before, &mut batch) {
                return Ok(());
            }
            match self.talk.commit("removing our firewall rules", &batch.end()) {
                Err(FirewallError::Refused { errno: CHANGED_MEANWHILE, .. }) => {}
                Err(error) => return Err(error),
                Ok(()) => {
                    self.stands.clear();
                    self.traces = Traces::default();
                    return Ok(());
                }
            }
        }
        Err(FirewallError::Refused { step: "removing our firewall rules", errno: CHANGED_MEANWHILE })
    }
}

/// The tables that we stand in: our own, or each of the admin's that has a seat.
fn stands(structure: &Structure) -> Vec<Stand> {
    let stand = |family, name: &str, prefix| Stand {
        table: TableName { family, name: name.to_owned() },
        prefix,
        sets: plan::table(structure, family, prefix).sets,
    };
    match &structure.stance.place {
        Place::Own => vec![stand(Family::Inet, OURS, "")],
        Place::Attach(seats) => {
            let mut tables: Vec<_> = seats.iter().map(|seat| (seat.family, seat.table.as_str())).collect();
            tables.sort_unstable();
            tables.dedup();
            tables.into_iter().map(|(family, name)| stand(family, name, PREFIX)).collect()
        }
        Place::Iptables => Vec::new(),
    }
}

/// Sets, chain and rules of one table.
fn write(batch: &mut Batch, structure: &Structure, stand: &Stand) {
    let plan = plan::table(structure, stand.table.family, stand.prefix);
    let chain = if stand.prefix.is_empty() { "input" } else { OURS };
    if stand.prefix.is_empty() {
        batch.new_table(&stand.table);
        batch.new_base_chain(&stand.table, chain);
    } else {
        batch.new_chain(&stand.table, chain);
    }
    // A transaction that rewrites every element needs room for both until it is committed.
    let size = structure.most_open.saturating_mul(2).saturating_add(64);
    for set in &plan.sets {
        batch.new_set(&stand.table, set, size);
        if set.keys == Keys::Interfaces {
            let names: Vec<_> = structure.stance.interfaces.iter().map(|name| padded(name)).collect();
            batch.new_elements(&stand.table, &set.name, names.iter().map(|name| (name.as_slice(), None)));
        }
    }
    for rule in &plan.rules {
        batch.new_rule(&stand.table, chain, rule, None);
    }
}

/// An interface's name as the kernel compares it: sixteen bytes (`IFNAMSIZ`).
fn padded(name: &str) -> [u8; 16] {
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(name.bytes().take(15)) {
        *to = from;
    }
    bytes
}

/// Keys and timeouts of one set, in milliseconds.
type Keyed = Vec<(Vec<u8>, Option<u64>)>;

/// The elements that this table sees, by their set.
fn by_set(stand: &Stand, elements: &[(Element, Duration)]) -> BTreeMap<String, Keyed> {
    let mut sets: BTreeMap<String, Keyed> = BTreeMap::new();
    let seen = plan::versions(stand.table.family);
    for (element, lasting) in elements {
        if seen.contains(&plan::Version::of(element.address)) {
            // A timeout of 0 would be no timeout at all.
            let milliseconds = u64::try_from(lasting.as_millis()).unwrap_or(u64::MAX).max(1);
            let set = sets.entry(plan::set_of(element, stand.prefix)).or_default();
            set.push((plan::key_of(element), Some(milliseconds)));
        }
    }
    sets
}

fn add(batch: &mut Batch, table: &TableName, set: &str, elements: &Keyed) {
    for part in elements.chunks(MOST_ELEMENTS) {
        batch.new_elements(table, set, part.iter().map(|(key, timeout)| (key.as_slice(), *timeout)));
    }
}
