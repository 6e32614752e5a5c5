//! Who is cut off: put in, lifted by an opening, and kept over a flush or a restart.

use std::time::{Duration, Instant};

use super::echo::Echoes;
use super::keys::{self, Meaning};
use super::message::Batch;
use super::stand::Stand;
use super::{Nft, ROOM, grants};
use crate::{Change, Element, FirewallError};

/// A range that is no door any more has none, and where nothing is translated nothing that was has one.
fn has_set(stands: &[Stand], element: &Element) -> bool {
    let mut places = keys::places(element, Meaning::Cut);
    places.any(|placed| stands.iter().any(|stand| stand.holds(element, &placed)))
}

const STEP: &str = "cutting off";

impl Nft {
    /// Drops all that comes from these addresses to these ports, and to where they led, also of live connections.
    pub(super) fn cut(&mut self, elements: &[Element], lasting: Duration) -> Result<(), FirewallError> {
        let has_set = elements.iter().filter(|element| has_set(&self.stands, element));
        let changes: Vec<Change> = has_set.map(|element| Change::Open(*element, lasting)).collect();
        self.change_cuts(&changes)?;
        let until = Instant::now() + lasting;
        self.cuts.extend(changes.iter().map(|change| (change.element(), until)));
        Ok(())
    }

    /// Lets in again whoever has just been granted a door. One that stays cut off is not open.
    pub(super) fn lift_cuts(&mut self, changes: &[Change], answers: &mut [Result<(), FirewallError>]) {
        if self.cuts.is_empty() {
            return;
        }
        for (change, answer) in changes.iter().zip(answers) {
            if let (Change::Open(opened, _), Ok(())) = (change, &*answer) {
                *answer = self.lift(opened);
            }
        }
    }

    fn lift(&mut self, opened: &Element) -> Result<(), FirewallError> {
        let meant: Vec<Change> =
            self.cuts.keys().filter(|cut| cut.overlaps(opened)).map(|cut| Change::Close(*cut)).collect();
        if meant.is_empty() {
            return Ok(());
        }
        self.change_cuts(&meant)?;
        for change in &meant {
            self.cuts.remove(&change.element());
        }
        Ok(())
    }

    fn change_cuts(&mut self, changes: &[Change]) -> Result<(), FirewallError> {
        if changes.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::begin(self.talk.sequence(ROOM), None);
        for stand in &self.stands {
            grants::write(&mut batch, stand, Meaning::Cut, changes, 0, |_| false, &mut Echoes::default());
        }
        self.talk.commit(STEP, &batch.end())
    }

    /// The cuts that last, for an install; at the first, those of an earlier life.
    pub(super) fn cuts_under(&mut self, stands: &[Stand]) -> Vec<(Element, Duration)> {
        let now = Instant::now();
        if self.stands.is_empty() {
            self.take_over_cuts(stands, now);
        }
        self.cuts.retain(|element, until| *until > now && has_set(stands, element));
        self.cuts.iter().map(|(element, until)| (*element, until.saturating_duration_since(now))).collect()
    }

    fn take_over_cuts(&mut self, stands: &[Stand], now: Instant) {
        let (talk, cuts) = (&mut self.talk, &mut self.cuts);
        for stand in stands {
            for set in &stand.plan.cut_sets {
                // A set that is not there holds none.
                let _ = talk.dump(&stand.table, &set.name, |key, left| {
                    if let Some((element, left)) = set.keys.element(key).zip(left) {
                        cuts.insert(element, now + left);
                    }
                });
            }
        }
    }
}
