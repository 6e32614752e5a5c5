//! Erasing the keys of days that are over, and only on evidence that they are: a clock that runs wild must lock nobody out.
//!
//! A day's keys go after 01:00 UTC of the next, when a knock of a later day was accepted (two clocks agree then), or the
//! kernel vouches for its own. A million clients age in slices, between datagrams.

use std::time::Duration;

use portunus_dialect::native::Day;
use portunus_model::{Mono, Now};

use super::doors::Doors;
use super::links::Links;
use super::{BATCH, ChainChange};

/// A day's keys stay so long into the next.
const STAYS: Duration = Duration::from_hours(1);
/// How often it is looked whether a day is over.
const LOOKS: Duration = Duration::from_secs(30);
/// How long the store is left alone after it failed.
const RESTS: Duration = Duration::from_secs(30);
/// So many clients are looked at in one slice.
const SLICE: usize = 4096;

#[derive(Default)]
pub(super) struct Ageing {
    /// The newest day of which a knock was accepted.
    met: Option<Day>,
    trusted: bool,
    /// Up to which day, and which client is next.
    under_way: Option<(Day, usize)>,
    /// Up to which day all is done.
    done: Option<Day>,
    look: Mono,
    rest: Mono,
}

impl Ageing {
    pub(super) fn met(&mut self, day: Day) {
        self.met = self.met.max(Some(day));
    }

    pub(super) const fn trust(&mut self, trusted: bool) {
        self.trusted = trusted;
    }

    /// There is a chain more, of whatever day.
    pub(super) const fn look_again(&mut self) {
        if self.under_way.is_none() {
            self.done = None;
        }
    }

    /// The next changes; none: nothing is to be done now.
    pub(super) fn next(&mut self, now: Now, doors: &Doors, links: &Links) -> Vec<ChainChange> {
        if self.under_way.is_none() && now.mono >= self.look {
            self.look = now.mono.after(LOOKS);
            self.under_way = self.over(now).filter(|day| self.done < Some(*day)).map(|day| (day, 0));
        }
        let Some((day, from)) = self.under_way else { return Vec::new() };
        let mut batch: Vec<ChainChange> = if from == 0 { doors.to_age(day).collect() } else { Vec::new() };
        let next = links.to_age((day, doors.new_door()), from, SLICE, BATCH, &mut batch);
        self.under_way = next.map(|next| (day, next));
        if next.is_none() {
            self.done = Some(day);
        }
        batch
    }

    /// The first day whose keys must stay.
    fn over(&self, now: Now) -> Option<Day> {
        let day = Day::of(now.wall.before(STAYS))?;
        (self.trusted || self.met >= Some(day)).then_some(day)
    }

    /// The store has failed: it is asked again, from the beginning, and not at once.
    pub(super) fn failed(&mut self, now: Mono) {
        (self.under_way, self.done) = (None, None);
        self.rest = now.after(RESTS);
    }

    pub(super) fn rests(&self, now: Mono) -> bool {
        now < self.rest
    }

    pub(super) const fn resting(&self) -> Mono {
        self.rest
    }

    pub(super) fn deadline(&self) -> Mono {
        if self.under_way.is_some() { self.rest } else { self.look.max(self.rest) }
    }
}
