//! Whether the machine has slept. The kernel closes an element by CLOCK_MONOTONIC, which stands still in suspend: what was
//! open then is closed late, unless we do it. Where nobody slept the kernel has done it already, and telling it again
//! costs as much as an opening.

use std::time::Duration;

use portunus_model::Mono;

/// More than two clocks that run alike can differ by.
const SLACK: Duration = Duration::from_millis(1);

/// How far BOOTTIME has run ahead of what the kernel's timers go by: between these two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ahead {
    at_least: Duration,
    at_most: Duration,
}

impl Ahead {
    /// By the kernel's clock, ours, and the kernel's again, read in this order. A reader that was put aside between two
    /// of them only widens the span.
    pub(super) fn between(before: Duration, now: Mono, after: Duration) -> Self {
        let now = Duration::from_nanos(now.as_nanos());
        Self { at_least: now.saturating_sub(after), at_most: now.saturating_sub(before) }
    }
}

/// What is known about naps.
#[derive(Debug)]
pub(super) struct Naps {
    ahead: Ahead,
    /// What is due until then may have been set before the last nap.
    late_until: Mono,
}

impl Naps {
    pub(super) fn new(ahead: Ahead) -> Self {
        Self { ahead, late_until: Mono::default() }
    }

    /// Looks whether the machine has slept; `latest` is the last deadline that is known. When in doubt, it has.
    pub(super) fn notice(&mut self, now: Mono, ahead: Ahead, latest: impl FnOnce() -> Mono) {
        if ahead.at_most > self.ahead.at_least + SLACK {
            self.late_until = self.late_until.max(latest()).max(now);
        }
        self.ahead = ahead;
    }

    /// The kernel may be late with all that is due until `latest`, for another reason than a nap.
    pub(super) fn doubt(&mut self, latest: Mono) {
        self.late_until = self.late_until.max(latest);
    }

    /// Whether the kernel may be late with what was due then, which may be a while ago.
    pub(super) fn kernel_is_late_with(&self, due: Mono) -> bool {
        due <= self.late_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Mono {
        Mono::from_nanos(secs * 1_000_000_000)
    }

    fn ahead(secs: u64) -> Ahead {
        let span = Duration::from_secs(secs);
        Ahead { at_least: span, at_most: span + Duration::from_micros(1) }
    }

    #[test]
    fn the_kernel_is_late_after_a_nap_until_all_that_was_open_then_is_over() {
        let mut naps = Naps::new(ahead(5));
        naps.notice(at(10), ahead(5), || at(60));
        assert!(!naps.kernel_is_late_with(at(10)));
        naps.notice(at(30), ahead(9), || at(60));
        assert!(naps.kernel_is_late_with(at(30)));
        // It is asked some time after.
        naps.notice(at(61), ahead(9), || at(70));
        assert!(naps.kernel_is_late_with(at(60)) && !naps.kernel_is_late_with(at(61)));
    }

    #[test]
    fn a_reader_that_was_interrupted_hides_no_nap() {
        let wide = Ahead { at_least: Duration::from_secs(5), at_most: Duration::from_secs(7) };
        let mut naps = Naps::new(wide);
        naps.notice(at(10), ahead(6), || at(20));
        assert!(naps.kernel_is_late_with(at(10)));
        // Unsure is late.
        let mut naps = Naps::new(ahead(5));
        naps.notice(at(10), wide, || at(20));
        assert!(naps.kernel_is_late_with(at(10)));
        let nanos = Duration::from_nanos;
        let read = Ahead::between(nanos(10), at(1), nanos(30));
        assert_eq!((read.at_least, read.at_most), (nanos(999_999_970), nanos(999_999_990)));
    }
}
