//! Which lengths a payload may have: what can be known of a stranger's packet before anything else.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::LONGEST;

/// The most ranges that are kept apart; more than the dialects together can have.
const MOST: usize = 16;

/// Ranges of lengths in bytes, ascending and apart from each other. With no range, no payload is admitted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Lengths(Vec<(u16, u16)>);

impl Lengths {
    /// From ranges in any order. What is longer than [`LONGEST`] is cut off; ranges that touch become one, and so do
    /// those beyond the sixteenth: a few lengths too many are admitted then, none too few.
    #[must_use]
    pub fn of(ranges: impl IntoIterator<Item = RangeInclusive<usize>>) -> Self {
        let bound = |length: usize| u16::try_from(length.min(LONGEST)).unwrap_or(u16::MAX);
        let sound = |range: &RangeInclusive<usize>| !range.is_empty() && *range.start() <= LONGEST;
        let mut all: Vec<(u16, u16)> = ranges
            .into_iter()
            .filter(sound)
            .map(|range| (bound(*range.start()), bound(*range.end())))
            .collect();
        all.sort_unstable();
        let mut kept: Vec<(u16, u16)> = Vec::with_capacity(all.len().min(MOST));
        for (low, high) in all {
            let full = kept.len() == MOST;
            match kept.last_mut() {
                Some(last) if full || low <= last.1.saturating_add(1) => last.1 = last.1.max(high),
                Some(_) | None => kept.push((low, high)),
            }
        }
        Self(kept)
    }

    /// Whether a payload of this length may be one.
    #[must_use]
    pub fn admit(&self, length: usize) -> bool {
        self.0.iter().any(|(low, high)| (usize::from(*low)..=usize::from(*high)).contains(&length))
    }

    /// The ranges, ascending, both ends included.
    pub fn ranges(&self) -> impl ExactSizeIterator<Item = (u16, u16)> + DoubleEndedIterator + '_ {
        self.0.iter().copied()
    }

    /// The shortest and the longest that is admitted.
    #[must_use]
    pub fn ends(&self) -> Option<(usize, usize)> {
        let (first, last) = (self.0.first()?, self.0.last()?);
        Some((usize::from(first.0), usize::from(last.1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_touch_are_one_and_each_end_is_in() {
        let lengths =
            Lengths::of([165..=165, 36..=100, 101..=120, 90..=95, RangeInclusive::new(7, 3), 1400..=9000]);
        assert_eq!(lengths.ranges().collect::<Vec<_>>(), [(36, 120), (165, 165), (1400, 2880)]);
        for (length, admitted) in
            [(35, false), (36, true), (120, true), (121, false), (165, true), (166, false), (2880, true)]
        {
            assert_eq!(lengths.admit(length), admitted, "{length}");
        }
        assert!(!lengths.admit(2881));
        assert_eq!(lengths.ends(), Some((36, 2880)));
    }

    #[test]
    fn no_range_admits_nothing() {
        assert!(!Lengths::default().admit(0));
        assert_eq!(Lengths::of([2881..=9000]), Lengths::default());
        assert_eq!(Lengths::default().ends(), None);
    }

    #[test]
    fn too_many_ranges_admit_too_much_rather_than_too_little() {
        let lengths = Lengths::of((0..40).map(|n| n * 10..=n * 10));
        assert_eq!(lengths.ranges().len(), MOST);
        assert!((0..40).all(|n| lengths.admit(n * 10)));
        assert!(!lengths.admit(5));
    }
}
