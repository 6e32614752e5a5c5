//! Until when the kernel has each element that we gave it: what is sure to be there for a while yet needs no new element,
//! only a new end. Never a reason to say that anything is open: that is read back.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::{Change, Element};

/// What ends within this may be gone before a transaction is through; what ended within this may still be there.
const DOUBT: Duration = Duration::from_secs(2);

/// So many are kept whether they are over or not.
const FEW: usize = 1024;

/// The ends of what we have opened, by the clock that the kernel's timers go by.
#[derive(Debug)]
pub(super) struct Ends {
    until: HashMap<Element, Instant>,
    /// When to look for those that are over.
    room: usize,
    /// Whether this kernel gives an element a new end in place (Linux 6.12 and later); until it shows that it does not.
    kernel_renews: bool,
}

impl Default for Ends {
    fn default() -> Self {
        Self { until: HashMap::new(), room: FEW, kernel_renews: true }
    }
}

impl Ends {
    /// Whether one add is enough: the element is not there, or it is and will be when the transaction is done.
    pub(super) fn are_sure(&self, element: &Element, now: Instant) -> bool {
        let is_sure = |end: &Instant| *end > now + DOUBT;
        self.kernel_renews && self.until.get(element).is_none_or(is_sure)
    }

    /// This kernel left an element the end that it had.
    pub(super) fn kernel_does_not_renew(&mut self) {
        self.kernel_renews = false;
    }

    /// Nothing is there but these.
    pub(super) fn begin_with(&mut self, open: &[(Element, Duration)], now: Instant) {
        self.until = open.iter().map(|(element, left)| (*element, now + *left)).collect();
        self.room = FEW.max(self.until.len() * 2);
    }

    /// The kernel was told, at `began`; whether it did so.
    pub(super) fn told(&mut self, change: &Change, done: bool, began: Instant) {
        match (change, done) {
            (Change::Open(element, lasting), true) => self.until.insert(*element, began + *lasting),
            (Change::Close(element), true) => self.until.remove(element),
            // Nobody knows what is there.
            (Change::Open(element, _) | Change::Close(element), false) => self.until.insert(*element, began),
        };
        if self.until.len() > self.room {
            self.until.retain(|_, end| *end + DOUBT > began);
            self.room = FEW.max(self.until.len() * 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use portunus_model::PortSpec;

    use super::*;

    fn element(n: u32) -> Element {
        Element::here(std::net::Ipv4Addr::from(n).into(), PortSpec::parse("22/tcp").unwrap()[0])
    }

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn what_may_expire_meanwhile_is_not_sure() {
        let (mut ends, now) = (Ends::default(), Instant::now());
        assert!(ends.are_sure(&element(1), now), "it was never there");
        ends.told(&Change::Open(element(1), secs(30)), true, now);
        assert!(ends.are_sure(&element(1), now + secs(27)));
        for near in [28, 30, 40] {
            assert!(!ends.are_sure(&element(1), now + secs(near)), "{near} s");
        }
        ends.told(&Change::Close(element(1)), true, now);
        assert!(ends.are_sure(&element(1), now));
        ends.told(&Change::Open(element(1), secs(30)), false, now);
        assert!(!ends.are_sure(&element(1), now), "nobody knows");
        ends.begin_with(&[(element(2), secs(1))], now);
        assert!(ends.are_sure(&element(1), now) && !ends.are_sure(&element(2), now));
    }

    #[test]
    fn a_kernel_that_does_not_renew_is_remembered() {
        let (mut ends, now) = (Ends::default(), Instant::now());
        ends.kernel_does_not_renew();
        ends.begin_with(&[], now);
        assert!(!ends.are_sure(&element(1), now));
    }

    #[test]
    fn what_is_over_is_forgotten() {
        let (mut ends, now) = (Ends::default(), Instant::now());
        for n in 0..100_000 {
            ends.told(&Change::Open(element(n), secs(1)), true, now + Duration::from_millis(n.into()));
        }
        assert!(ends.until.len() < 10_000, "{} are kept", ends.until.len());
    }
}
