//! Opening and closing: one transaction a batch, halved when the kernel refuses it, and read back.

use std::collections::BTreeSet;
use std::time::Duration;

use super::message::{Batch, MOST_ELEMENTS, TableName};
use super::stand::Keyed;
use super::{Nft, ROOM, plan};
use crate::{Change, Element, FirewallError};

type Answers = Vec<Result<(), FirewallError>>;

impl Nft {
    /// See [`crate::Firewall::change`].
    pub(super) fn carry_out(&mut self, changes: &[Change]) -> Answers {
        let mut answers: Answers = changes.iter().map(|change| self.check(change)).collect();
        let allowed = |(_, answer): &(&Change, &Result<(), FirewallError>)| answer.is_ok();
        let good: Vec<Change> =
            changes.iter().zip(&answers).filter(allowed).map(|(change, _)| *change).collect();
        let mut carried = vec![Ok(()); good.len()];
        self.apply(&good, &mut carried);
        self.read_back(&good, &mut carried);
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

    /// Carries `changes` out in one transaction; when the kernel refuses it, in two halves, until only the bad ones
    /// are left out.
    fn apply(&mut self, changes: &[Change], answers: &mut [Result<(), FirewallError>]) {
        if changes.is_empty() {
            return;
        }
        let Some(error) = self.transact(changes).err() else { return };
        if let [answer] = answers {
            // An element that expired between the add and the delete of one transaction: the next try finds it new.
            if self.transact(changes).is_err() {
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
        let all = changes.iter().map(|change| match change {
            Change::Open(element, lasting) => (*element, *lasting),
            // Any timeout does: it is deleted in the same transaction.
            Change::Close(element) => (*element, Duration::from_secs(1)),
        });
        let (all, opened) = (all.collect::<Vec<_>>(), opened(changes));
        let mut batch = Batch::begin(self.talk.sequence(ROOM), None);
        for stand in &self.stands {
            for (set, elements) in stand.by_set(&all) {
                add(&mut batch, &stand.table, &set, &elements);
                for part in elements.chunks(MOST_ELEMENTS) {
                    batch.delete_elements(&stand.table, &set, part.iter().map(|(key, _)| key.as_slice()));
                }
            }
            for (set, elements) in stand.by_set(&opened) {
                add(&mut batch, &stand.table, &set, &elements);
            }
        }
        self.talk.commit("changing grants", &batch.end())
    }

    /// Marks every opened element that is not there, or not for as long as was asked.
    fn read_back(&mut self, changes: &[Change], answers: &mut [Result<(), FirewallError>]) {
        let carried: Vec<Change> = changes
            .iter()
            .zip(&*answers)
            .filter(|(_, answer)| answer.is_ok())
            .map(|(change, _)| *change)
            .collect();
        let opened = opened(&carried);
        let mut missing = BTreeSet::new();
        for stand in &self.stands {
            for (set, elements) in stand.by_set(&opened) {
                for part in elements.chunks(MOST_ELEMENTS) {
                    missing.extend(
                        self.talk.missing(&stand.table, &set, part).into_iter().map(|key| (set.clone(), key)),
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
            stands.iter().any(|stand| missing.contains(&(stand.set_of(&element), key.clone())))
        };
        for (change, answer) in changes.iter().zip(answers) {
            if answer.is_ok() && matches!(change, Change::Open(element, _) if is_missing(*element)) {
                *answer = Err(FirewallError::NotThere);
            }
        }
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
