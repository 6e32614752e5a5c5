//! Opening and closing: one transaction a batch, without the bad ones when the kernel refuses it, and read back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::message::{Batch, MOST_ELEMENTS, TableName};
use super::plan::Meaning;
use super::stand::{Keyed, Stand};
use super::talk::kernel;
use super::{Nft, ROOM, plan};
use crate::{Change, Element, FirewallError};

const STEP: &str = "changing grants";

const ENOENT: i32 = 2;

type Answers = Vec<Result<(), FirewallError>>;

impl Nft {
    /// See [`crate::Firewall::change`].
    pub(super) fn carry_out(&mut self, changes: &[Change]) -> Answers {
        let mut answers: Answers = changes.iter().map(|change| self.check(change)).collect();
        let allowed = |(_, answer): &(&Change, &Result<(), FirewallError>)| answer.is_ok();
        let good: Vec<Change> =
            changes.iter().zip(&answers).filter(allowed).map(|(change, _)| *change).collect();
        let began = Instant::now();
        let mut carried = vec![Ok(()); good.len()];
        self.apply(&good, &mut carried);
        self.read_back(&good, &mut carried, began);
        let slots = answers.iter_mut().filter(|answer| answer.is_ok());
        for (slot, answer) in slots.zip(carried) {
            *slot = answer;
        }
        answers
    }

    fn check(&self, change: &Change) -> Result<(), FirewallError> {
        let element = change.element();
        if self.structure.doors.binary_search(&element.port).is_err() {
            return Err(FirewallError::NoDoor(element.port));
        }
        let seen = self.stands.iter().any(|stand| stand.sees(&element));
        if seen { Ok(()) } else { Err(FirewallError::NotThere) }
    }

    /// Carries `changes` out in one transaction. When the kernel refuses it, it is said again with each change in
    /// messages of its own, so that the kernel blames the bad ones by their numbers; then once more without those.
    /// (Trying halves would cost a refused transaction each, and the kernel takes milliseconds to undo one.)
    fn apply(&mut self, changes: &[Change], answers: &mut [Result<(), FirewallError>]) {
        if changes.is_empty() || self.transact(changes).is_ok() {
            return;
        }
        let blamed = match self.transact_singly(changes) {
            Ok(()) => return,
            Err(blamed) => blamed,
        };
        let is_bad = |place: &usize| blamed.errors.contains_key(place);
        let (bad, rest): (Vec<usize>, Vec<usize>) = (0..changes.len()).partition(is_bad);
        if bad.is_empty() {
            answers.fill(Err(blamed.whole));
            return;
        }
        self.apply_some(changes, &rest, answers);
        // What expired between the add and the delete of one transaction is found new by the next.
        let gone = |place: &usize| blamed.errors.get(place) == Some(&ENOENT);
        let (unlucky, bad): (Vec<usize>, Vec<usize>) = bad.into_iter().partition(gone);
        for place in bad {
            let errno = blamed.errors.get(&place).copied().unwrap_or_default();
            put(answers, place, Err(kernel(STEP, errno)));
        }
        let again: Vec<Change> = unlucky.iter().filter_map(|place| changes.get(*place).copied()).collect();
        if let Some(error) = self.transact(&again).err() {
            unlucky.into_iter().for_each(|place| put(answers, place, Err(error.clone())));
        }
    }

    fn apply_some(
        &mut self,
        changes: &[Change],
        places: &[usize],
        answers: &mut [Result<(), FirewallError>],
    ) {
        let some: Vec<Change> = places.iter().filter_map(|place| changes.get(*place).copied()).collect();
        let mut carried = vec![Ok(()); some.len()];
        self.apply(&some, &mut carried);
        for (place, answer) in places.iter().zip(carried) {
            put(answers, *place, answer);
        }
    }

    fn transact(&mut self, changes: &[Change]) -> Result<(), FirewallError> {
        if changes.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::begin(self.talk.sequence(ROOM), None);
        for stand in &self.stands {
            write(&mut batch, stand, Meaning::Open, changes);
        }
        self.talk.commit(STEP, &batch.end())
    }

    fn transact_singly(&mut self, changes: &[Change]) -> Result<(), Blamed> {
        let mut batch = Batch::begin(self.talk.sequence(ROOM), None);
        let mut places = BTreeMap::new();
        for (place, change) in changes.iter().enumerate() {
            places.insert(batch.next(), place);
            for stand in &self.stands {
                write(&mut batch, stand, Meaning::Open, std::slice::from_ref(change));
            }
        }
        let mut errors: BTreeMap<usize, i32> = BTreeMap::new();
        let told = self.talk.commit_telling(STEP, &batch.end(), |sequence, errno| {
            // The first error of a change is its own; what follows (a delete of what was not added) follows from it.
            if let Some((_, place)) = places.range(..=sequence).next_back() {
                errors.entry(*place).or_insert(errno);
            }
        });
        told.map_err(|whole| Blamed { whole, errors })
    }

    /// Marks every opened element that is not there, or not for as long as was asked.
    fn read_back(&mut self, changes: &[Change], answers: &mut [Result<(), FirewallError>], began: Instant) {
        let carried: Vec<Change> = changes
            .iter()
            .zip(&*answers)
            .filter(|(_, answer)| answer.is_ok())
            .map(|(change, _)| *change)
            .collect();
        let opened = opened(&carried);
        let mut missing = BTreeSet::new();
        for stand in &self.stands {
            for (set, elements) in stand.by_set(Meaning::Open, &opened) {
                for part in elements.chunks(MOST_ELEMENTS) {
                    missing.extend(
                        self.talk
                            .missing(&stand.table, &set, part, began)
                            .into_iter()
                            .map(|key| (set.clone(), key)),
                    );
                }
            }
        }
        if missing.is_empty() {
            return;
        }
        let stands = &self.stands;
        let is_missing = |element: Element| {
            let key = plan::key_of(&element);
            stands.iter().any(|stand| missing.contains(&(stand.set_of(&element, Meaning::Open), key.clone())))
        };
        for (change, answer) in changes.iter().zip(answers) {
            if answer.is_ok() && matches!(change, Change::Open(element, _) if is_missing(*element)) {
                *answer = Err(FirewallError::NotThere);
            }
        }
    }
}

/// Why a transaction was refused: as a whole, and by the place of the changes that the kernel blames.
struct Blamed {
    whole: FirewallError,
    errors: BTreeMap<usize, i32>,
}

/// Add, delete, add: the one form that leaves an element with the end that it is to have, whatever was there before.
pub(super) fn write(batch: &mut Batch, stand: &Stand, meaning: Meaning, changes: &[Change]) {
    let all = changes.iter().map(|change| match change {
        Change::Open(element, lasting) => (*element, *lasting),
        // Any timeout does: it is deleted in the same transaction.
        Change::Close(element) => (*element, Duration::from_secs(1)),
    });
    for (set, elements) in stand.by_set(meaning, &all.collect::<Vec<_>>()) {
        add(batch, &stand.table, &set, &elements);
        for part in elements.chunks(MOST_ELEMENTS) {
            batch.delete_elements(&stand.table, &set, part.iter().map(|(key, _)| key.as_slice()));
        }
    }
    for (set, elements) in stand.by_set(meaning, &opened(changes)) {
        add(batch, &stand.table, &set, &elements);
    }
}

fn put(answers: &mut [Result<(), FirewallError>], place: usize, answer: Result<(), FirewallError>) {
    if let Some(slot) = answers.get_mut(place) {
        *slot = answer;
    }
}

/// Adds elements to a set.
pub(super) fn add(batch: &mut Batch, table: &TableName, set: &str, elements: &Keyed) {
    for part in elements.chunks(MOST_ELEMENTS) {
        batch.new_elements(table, set, part.iter().map(|(key, timeout)| (key.as_slice(), *timeout)));
    }
}

fn opened(changes: &[Change]) -> Vec<(Element, Duration)> {
    let opened = |change: &Change| match change {
        Change::Open(element, lasting) => Some((*element, *lasting)),
        Change::Close(_) => None,
    };
    changes.iter().filter_map(opened).collect()
}
