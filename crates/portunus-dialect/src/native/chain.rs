//! Keys of a day, made of the day's before by a hash: who has today's has no yesterday's.

use portunus_crypto::{Secret, blake2s};
use portunus_model::Unix;

/// So many days are gone at most in one go, 27 years: a clock that says the year 9999 costs a moment, and is refused.
pub const MOST_STEPS: u32 = 10_000;

const SECONDS_A_DAY: i64 = 86_400;
const RATCHET: &[u8] = b"portunus/1 ratchet";

/// A day of UTC, counted from 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(u32);

impl Day {
    /// The day of an instant; `None` for one that no key can have: before 1970, or some twelve million years on.
    #[must_use]
    pub fn of(at: Unix) -> Option<Self> {
        u32::try_from(at.as_secs().div_euclid(SECONDS_A_DAY)).ok().map(Self)
    }

    /// The day with this number.
    #[must_use]
    pub const fn from_number(number: u32) -> Self {
        Self(number)
    }

    /// Days since 1970-01-01.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }

    /// So many days later; it stops at the end of counting.
    #[must_use]
    pub const fn plus(self, days: u32) -> Self {
        Self(self.0.saturating_add(days))
    }

    /// So many days earlier; it stops at the first.
    #[must_use]
    pub const fn minus(self, days: u32) -> Self {
        Self(self.0.saturating_sub(days))
    }

    /// When it begins.
    #[must_use]
    pub fn start(self) -> Unix {
        Unix::from_secs(i64::from(self.0) * SECONDS_A_DAY)
    }
}

/// The oldest value that is kept, and with it every later one.
pub struct Chain {
    day: Day,
    value: Secret<32>,
}

/// Why there is no value for a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// It is erased, on purpose.
    #[error("the key of that day is erased")]
    Erased,
    /// Further ahead than a right clock can be.
    #[error("that day is more than {MOST_STEPS} days ahead: the clock is wrong")]
    TooFar,
}

impl Chain {
    /// A chain whose first value is that of `day`.
    #[must_use]
    pub const fn new(day: Day, value: Secret<32>) -> Self {
        Self { day, value }
    }

    /// The first day that it still has a value for.
    #[must_use]
    pub const fn day(&self) -> Day {
        self.day
    }

    /// The value of its first day.
    #[must_use]
    pub const fn value(&self) -> &Secret<32> {
        &self.value
    }

    /// The value of a day.
    ///
    /// # Errors
    /// [`ChainError`] says why there is none.
    pub fn at(&self, day: Day) -> Result<Secret<32>, ChainError> {
        let steps = self.steps_to(day)?;
        Ok((0..steps).fold(self.value.duplicate(), |value, _| next(&value)))
    }

    /// Erases the values of all days before `day`. Nothing changes where that fails.
    ///
    /// # Errors
    /// [`ChainError`]: it has none for that day either.
    pub fn advance(&mut self, day: Day) -> Result<(), ChainError> {
        self.value = self.at(day)?;
        self.day = day;
        Ok(())
    }

    fn steps_to(&self, day: Day) -> Result<u32, ChainError> {
        let steps = day.0.checked_sub(self.day.0).ok_or(ChainError::Erased)?;
        if steps > MOST_STEPS { Err(ChainError::TooFar) } else { Ok(steps) }
    }
}

fn next(value: &Secret<32>) -> Secret<32> {
    blake2s::keyed(value, RATCHET)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(day: u32) -> Chain {
        Chain::new(Day(day), Secret::from_bytes([7; 32]))
    }

    #[test]
    fn a_day_is_utcs() {
        assert_eq!(Day::of(Unix::from_secs(86_399)), Some(Day(0)));
        assert_eq!(Day::of(Unix::from_secs(86_400)), Some(Day(1)));
        assert_eq!(Day::of(Unix::from_secs(-1)), None);
        assert_eq!(Day::of(Unix::from_secs(i64::MAX)), None);
        assert_eq!(Day(20_783).start(), Unix::from_secs(20_783 * 86_400));
    }

    #[test]
    fn later_days_come_out_and_earlier_ones_are_gone() {
        let mut chain = chain(100);
        let (today, tomorrow, later) =
            (chain.at(Day(100)).unwrap(), chain.at(Day(101)).unwrap(), chain.at(Day(400)).unwrap());
        assert!(today == *chain.value() && tomorrow == next(&today) && later != tomorrow);
        chain.advance(Day(101)).unwrap();
        assert_eq!(chain.at(Day(100)).err(), Some(ChainError::Erased));
        assert!(chain.at(Day(101)).unwrap() == tomorrow && chain.at(Day(400)).unwrap() == later);
        assert_eq!(chain.advance(Day(99)), Err(ChainError::Erased));
        assert_eq!(chain.day(), Day(101));
    }

    #[test]
    fn a_clock_at_the_end_of_time_costs_a_moment_and_changes_nothing() {
        let mut chain = chain(20_783);
        let end = Day::of(Unix::from_secs(253_402_300_799)).unwrap();
        assert_eq!(chain.advance(end), Err(ChainError::TooFar));
        assert_eq!(chain.day(), Day(20_783));
        chain.advance(Day(30_783)).unwrap();
        assert_eq!(chain.at(Day(u32::MAX)).err(), Some(ChainError::TooFar));
    }
}
