//! Two clocks, named. `Mono` survives suspend and cannot be set; `Unix` is what people and packets say.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Nanoseconds of `CLOCK_BOOTTIME`: goes on in suspend, never set, starts anew at boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Mono(u64);

impl Mono {
    /// The instant `nanos` nanoseconds after boot.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since boot.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// This instant plus `span`; stops at the end of time rather than wrap.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// How long ago `earlier` was; zero when it is not earlier.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Nanoseconds since 1970-01-01T00:00:00Z, negative before. Wide enough for every timestamp that any dialect can
/// carry (an i64 of nanoseconds, a u64 of milliseconds), so arithmetic on a stranger's number cannot overflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Unix(i128);

impl Unix {
    /// The instant `nanos` nanoseconds after the epoch.
    #[must_use]
    pub const fn from_nanos(nanos: i128) -> Self {
        Self(nanos)
    }

    /// The instant `secs` seconds after the epoch.
    #[must_use]
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs as i128 * 1_000_000_000)
    }

    /// Nanoseconds since the epoch.
    #[must_use]
    pub const fn as_nanos(self) -> i128 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down; stops at the ends of i64.
    #[must_use]
    pub fn as_secs(self) -> i64 {
        let secs = self.0.div_euclid(1_000_000_000);
        i64::try_from(secs).unwrap_or(if secs < 0 { i64::MIN } else { i64::MAX })
    }

    /// The distance between two instants, whichever is earlier.
    #[must_use]
    pub fn distance(self, other: Self) -> Duration {
        nanos(self.0.saturating_sub(other.0).unsigned_abs())
    }

    /// How long ago `earlier` was; zero when it is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        nanos(self.0.saturating_sub(earlier.0).max(0).unsigned_abs())
    }

    /// This instant plus `span`.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i128::try_from(span.as_nanos()).unwrap_or(i128::MAX)))
    }

    /// This instant minus `span`.
    #[must_use]
    pub fn before(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(i128::try_from(span.as_nanos()).unwrap_or(i128::MAX)))
    }
}

/// Both clocks, read together once per event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Now {
    /// `CLOCK_BOOTTIME`: what deadlines are made of.
    pub mono: Mono,
    /// `CLOCK_REALTIME`: what timestamps in packets and dates in files are compared with.
    pub wall: Unix,
}

fn nanos(n: u128) -> Duration {
    Duration::from_nanos(u64::try_from(n).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absurd_timestamps_do_not_overflow() {
        let far = Unix::from_nanos(i128::from(i64::MAX));
        let past = Unix::from_nanos(i128::from(i64::MIN));
        assert_eq!(far.distance(past), past.distance(far));
        assert_eq!(past.since(far), Duration::ZERO);
        assert_eq!(Unix::from_nanos(i128::MAX).after(Duration::MAX), Unix::from_nanos(i128::MAX));
        assert_eq!(Mono::from_nanos(u64::MAX).after(Duration::MAX), Mono::from_nanos(u64::MAX));
    }

    #[test]
    fn seconds_round_down_before_the_epoch() {
        assert_eq!(Unix::from_nanos(-1).as_secs(), -1);
        assert_eq!(Unix::from_secs(7).as_secs(), 7);
    }
}
