//! Opening and closing: one transaction a batch, without the bad ones when the kernel refuses it, and read back.

use std::collections::BTreeMap;
use std::time::Instant;

use super::echo::{Echoes, Missing};
use super::ends::Ends;
use super::keys::{self, Meaning};
use super::message::{Batch, MOST_ELEMENTS, TableName};
use super::plan;
use super::stand::{Keyed, Stand};
use super::talk::kernel;
use super::{Nft, ROOM};
use crate::{Change, Element, FirewallError};

const STEP: &str = "changing grants";

const ENOENT: i32 = 2;

type Outcome = Result<(), FirewallError>;

impl Nft {
    /// See [`crate::Firewall::change`].
    pub(super) fn carry_out(&mut self, changes: &[Change]) -> Vec<Outcome> {
        let mut answers: Vec<Outcome> = changes.iter().map(|change| self.check(change)).collect();
        let allowed = |(_, answer): &(&Change, &Result<(), FirewallError>)| answer.is_ok();
        let good: Vec<Change> =
            changes.iter().zip(&answers).filter(allowed).map(|(change, _)| *change).collect();
        let mut carried = vec![Ok(()); good.len()];
        let began = Instant::now();
        self.apply(&good, &mut carried);
        for (change, answer) in good.iter().zip(&carried) {
            self.ends.told(change, answer.is_ok(), began);
        }
        let slots = answers.iter_mut().filter(|answer| answer.is_ok());
        for (slot, answer) in slots.zip(carried) {
            *slot = answer;
        }
        self.close_table_by_table(changes, &mut answers);
        answers
    }

    /// What is to close and was refused as a whole, mostly because somebody has just taken a table of theirs away: each
    /// table by itself, since a set that is gone holds nothing open.
    fn close_table_by_table(&mut self, changes: &[Change], answers: &mut [Outcome]) {
        let refused = |(change, answer): &(&Change, &mut Outcome)| {
            matches!(change, Change::Close(_)) && answer.is_err()
        };
        let refused: Vec<_> = changes.iter().zip(answers).filter(refused).collect();
        if refused.is_empty() {
            return;
        }
        let closes: Vec<Change> = refused.iter().map(|(change, _)| **change).collect();
        let mut outcome = Ok(());
        for stand in &self.stands {
            let mut batch = Batch::begin(self.talk.sequence(ROOM), None);
            write(&mut batch, stand, Meaning::Open, &closes, 0, |_| false, &mut Echoes::default());
            match self.talk.commit(STEP, &batch.end()) {
                Ok(()) | Err(FirewallError::Refused { errno: ENOENT, .. }) => (),
                Err(error) => outcome = Err(error),
            }
        }
        for (_, answer) in refused {
            *answer = outcome.clone();
        }
    }

    fn check(&self, change: &Change) -> Result<(), FirewallError> {
        let element = change.element();
        if !plan::is_door(&self.structure, &element) {
            self.structure.has_place_for(&element)?;
        }
        let mut places = keys::places(&element, Meaning::Open);
        let seen = places.all(|placed| self.stands.iter().any(|stand| stand.holds(&element, &placed)));
        if seen { Ok(()) } else { Err(FirewallError::NotThere) }
    }

    /// Carries `changes` out in one transaction. When the kernel refuses it, it is said again with each change in
    /// messages of its own, so that the kernel blames the bad ones by their numbers; then once more without those.
    /// (Trying halves would cost a refused transaction each, and the kernel takes milliseconds to undo one.)
    fn apply(&mut self, changes: &[Change], answers: &mut [Outcome]) {
        if changes.is_empty() || self.transact(changes, answers).is_ok() {
            return;
        }
        let blamed = match self.transact_singly(changes, answers) {
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
        let mut carried = vec![Ok(()); again.len()];
        if !again.is_empty()
            && let Err(error) = self.transact(&again, &mut carried)
        {
            carried.fill(Err(error));
        }
        for (place, answer) in unlucky.into_iter().zip(carried) {
            put(answers, place, answer);
        }
    }

    fn apply_some(&mut self, changes: &[Change], places: &[usize], answers: &mut [Outcome]) {
        let some: Vec<Change> = places.iter().filter_map(|place| changes.get(*place).copied()).collect();
        let mut carried = vec![Ok(()); some.len()];
        self.apply(&some, &mut carried);
        for (place, answer) in places.iter().zip(carried) {
            put(answers, *place, answer);
        }
    }

    /// All in one transaction, and read back: an answer changes only where something is not there as it was asked for.
    fn transact(&mut self, changes: &[Change], answers: &mut [Outcome]) -> Result<(), FirewallError> {
        let began = Instant::now();
        let missing = self.transact_in(changes, |ends, element| ends.are_sure(element, began))?;
        // One add was not enough: an older kernel, or somebody else's hand. The long form says what it is.
        let (again, missing): (Vec<Missing>, Vec<Missing>) =
            missing.into_iter().partition(|one| one.keyed.sure);
        not_there(&missing, answers);
        if again.is_empty() {
            return Ok(());
        }
        if again.iter().any(|one| one.stays) {
            self.ends.kernel_does_not_renew();
        }
        let mut places: Vec<usize> = again.iter().map(|one| one.keyed.place).collect();
        places.dedup();
        let some: Vec<Change> = places.iter().filter_map(|place| changes.get(*place).copied()).collect();
        let mut carried = vec![Ok(()); some.len()];
        match self.transact_in(&some, |_, _| false) {
            Ok(missing) => not_there(&missing, &mut carried),
            Err(error) => carried.fill(Err(error)),
        }
        for (place, answer) in places.into_iter().zip(carried) {
            put(answers, place, answer);
        }
        Ok(())
    }

    /// One transaction; what it did not open. `sure` says for which elements one add is enough.
    fn transact_in(
        &mut self,
        changes: &[Change],
        sure: impl Fn(&Ends, &Element) -> bool,
    ) -> Result<Vec<Missing>, FirewallError> {
        let mut batch = Batch::begin(self.talk.sequence(ROOM), None);
        let mut echoes = Echoes::default();
        let sure = |element: &Element| sure(&self.ends, element);
        for stand in &self.stands {
            write(&mut batch, stand, Meaning::Open, changes, 0, sure, &mut echoes);
        }
        let began = Instant::now();
        self.talk.commit_telling(STEP, &batch.end(), |_, _| (), |answer| echoes.hear(&answer, began))?;
        Ok(echoes.missing(&mut self.talk, began))
    }

    fn transact_singly(&mut self, changes: &[Change], answers: &mut [Outcome]) -> Result<(), Blamed> {
        let mut batch = Batch::begin(self.talk.sequence(ROOM), None);
        let mut echoes = Echoes::default();
        let mut places = BTreeMap::new();
        // What closes comes first: what opens may need its key of a map.
        let (opens, closes): (Vec<_>, Vec<_>) =
            changes.iter().enumerate().partition(|(_, change)| matches!(change, Change::Open(..)));
        for (place, change) in closes.into_iter().chain(opens) {
            places.insert(batch.next(), place);
            for stand in &self.stands {
                let change = std::slice::from_ref(change);
                write(&mut batch, stand, Meaning::Open, change, place, |_| false, &mut echoes);
            }
        }
        let mut errors: BTreeMap<usize, i32> = BTreeMap::new();
        let began = Instant::now();
        let blamed = |sequence, errno| {
            // The first error of a change is its own; what follows (a delete of what was not added) follows from it.
            if let Some((_, place)) = places.range(..=sequence).next_back() {
                errors.entry(*place).or_insert(errno);
            }
        };
        let told = self.talk.commit_telling(STEP, &batch.end(), blamed, |answer| echoes.hear(&answer, began));
        told.map_err(|whole| Blamed { whole, errors })?;
        not_there(&echoes.missing(&mut self.talk, began), answers);
        Ok(())
    }
}

/// Why a transaction was refused: as a whole, and by the place of the changes that the kernel blames.
struct Blamed {
    whole: FirewallError,
    errors: BTreeMap<usize, i32>,
}

/// Add, delete, add: the form that leaves an element with the end that it is to have, whatever was there before; of what
/// is `sure` only the last add, with the end named. That add is read back. `first` is the place of the first of these
/// changes among all.
pub(super) fn write<'a>(
    batch: &mut Batch,
    stand: &'a Stand,
    meaning: Meaning,
    changes: &[Change],
    first: usize,
    sure: impl Fn(&Element) -> bool,
    echoes: &mut Echoes<'a>,
) {
    let table = &stand.table;
    for (set, elements) in stand.by_set(meaning, changes.iter().copied(), sure) {
        // In a map a key that closes may be the one that opens with another value: one is gone before the other comes.
        let (closed, opened): (Vec<Keyed>, Vec<Keyed>) = if elements.iter().any(Keyed::is_mapped) {
            elements.into_iter().partition(|one| !one.opens)
        } else {
            (Vec::new(), elements)
        };
        for elements in [&closed, &opened] {
            let unsure: Vec<Keyed> = elements.iter().filter(|one| !one.sure).copied().collect();
            add(batch, table, set, &unsure);
            for part in unsure.chunks(MOST_ELEMENTS) {
                batch.delete_elements(table, set, part.iter().map(|one| one.key.as_bytes()));
            }
        }
        let opened: Vec<Keyed> = opened.into_iter().filter(|one| one.opens).collect();
        for part in opened.chunks(MOST_ELEMENTS) {
            batch.new_elements_read_back(table, set, part.iter().map(|one| one.on_its_way(one.sure)));
            for one in part {
                echoes.expect(table, set, Keyed { place: first + one.place, ..*one });
            }
        }
    }
}

fn not_there(missing: &[Missing], answers: &mut [Outcome]) {
    for one in missing {
        put(answers, one.keyed.place, Err(FirewallError::NotThere));
    }
}

fn put(answers: &mut [Outcome], place: usize, answer: Result<(), FirewallError>) {
    if let Some(slot) = answers.get_mut(place) {
        *slot = answer;
    }
}

/// Adds elements to a set.
pub(super) fn add(batch: &mut Batch, table: &TableName, set: &str, elements: &[Keyed]) {
    for part in elements.chunks(MOST_ELEMENTS) {
        batch.new_elements(table, set, part.iter().map(|one| one.on_its_way(false)));
    }
}
