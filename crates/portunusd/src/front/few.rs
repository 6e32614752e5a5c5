//! How many refusals of clients' packets are written down. A recorded packet is its client's, whoever sends it: without a
//! bound who has one could fill the disk.

use std::collections::HashMap;
use std::time::Duration;

use portunus_model::{ClientName, Mono, Reason};

use crate::alerts::is_fresh;

/// Refusals of one client for one reason that are told a minute.
pub(super) const EACH: u32 = 20;
/// Of all clients, those that somebody's copies can cause.
const COPIES: u32 = 40;
/// And those that only a fresh packet can: they are told beside any number of copies, and of more than one client.
const FRESH: u32 = 30;
const MINUTE: Duration = Duration::from_secs(60);

/// Counts them, a minute at a time. It remembers one number for each client and reason at most.
#[derive(Debug, Default)]
pub(super) struct Few {
    since: Mono,
    told: HashMap<(ClientName, Reason), Told>,
    copies_told: u32,
    fresh_told: u32,
    unsaid: u64,
    unsaid_in_all: u64,
}

#[derive(Debug, Default)]
struct Told {
    told: u32,
    unsaid: u64,
}

/// What to do with a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tell {
    /// It is told; so many like it were not, in the minute before.
    Yes { unsaid: u64 },
    /// It is only counted.
    No,
}

impl Few {
    /// Since the start.
    pub(super) const fn unsaid_in_all(&self) -> u64 {
        self.unsaid_in_all
    }

    /// Whether this one is told; and, once a minute, how many of the minute before were not.
    pub(super) fn count(&mut self, client: &ClientName, reason: Reason, now: Mono) -> (Tell, Option<u64>) {
        let mut last = None;
        if now.since(self.since) >= MINUTE {
            self.since = now;
            (self.copies_told, self.fresh_told) = (0, 0);
            self.told.retain(|_, told| told.unsaid > 0);
            self.told.values_mut().for_each(|told| told.told = 0);
            last = Some(std::mem::take(&mut self.unsaid)).filter(|unsaid| *unsaid > 0);
        }
        let key = (client.clone(), reason);
        let (told_of_these, most) =
            if is_fresh(reason) { (&mut self.fresh_told, FRESH) } else { (&mut self.copies_told, COPIES) };
        if *told_of_these >= most {
            self.unsaid += 1;
            self.unsaid_in_all += 1;
            if let Some(told) = self.told.get_mut(&key) {
                told.unsaid += 1;
            }
            return (Tell::No, last);
        }
        let told = self.told.entry(key).or_default();
        if told.told >= EACH {
            told.unsaid += 1;
            self.unsaid += 1;
            self.unsaid_in_all += 1;
            return (Tell::No, last);
        }
        told.told += 1;
        *told_of_these += 1;
        (Tell::Yes { unsaid: std::mem::take(&mut told.unsaid) }, last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(n: u32) -> ClientName {
        ClientName::new(&format!("client-{n}")).unwrap()
    }

    fn at(secs: u64) -> Mono {
        Mono::from_nanos(secs * 1_000_000_000)
    }

    #[test]
    fn a_client_has_few_lines_a_minute_and_all_have_few_together() {
        let mut few = Few::default();
        let mut told = |clients: u32, secs| {
            let mut yes = Vec::new();
            for n in 0..10_000 {
                if let (Tell::Yes { unsaid }, _) = few.count(&name(n % clients), Reason::Replayed, at(secs)) {
                    yes.push(unsaid);
                }
            }
            yes
        };
        assert_eq!(told(1, 100), vec![0; 20]);
        assert_eq!(told(1, 159), [0; 0]);
        // What was not told is told with the next one.
        let next = told(1, 160);
        assert_eq!((next.len(), next.first(), next.last()), (20, Some(&(20_000 - 20)), Some(&0)));
        assert_eq!(told(500, 300).len(), 40);
        assert!(few.told.len() <= 61, "{}", few.told.len());
    }

    /// Whoever plays recorded packets, of however many clients, keeps nobody from hearing what a client really does.
    #[test]
    fn copies_silence_nothing_that_only_a_fresh_packet_can_cause() {
        let fresh = [Reason::NotAllowed, Reason::Expired, Reason::SecondFactor, Reason::FirewallFailed];
        let mut few = Few::default();
        for n in 0..10_000 {
            for copied in [Reason::Replayed, Reason::Stale] {
                let _ = few.count(&name(n % 500), copied, at(100));
            }
        }
        for n in 0..5 {
            for reason in fresh {
                assert_eq!(few.count(&name(n), reason, at(101)).0, Tell::Yes { unsaid: 0 }, "{reason:?}");
            }
        }
        // All together have their bound all the same.
        let mut told = 20;
        for n in 0..10_000 {
            for reason in fresh {
                told += u32::from(few.count(&name(n % 500), reason, at(102)).0 != Tell::No);
            }
        }
        assert_eq!(told, 30);
        assert_eq!(few.count(&name(1), Reason::NotAllowed, at(102)).0, Tell::No);
    }

    /// Nor does one client's key in a loop.
    #[test]
    fn one_client_leaves_room_for_the_others() {
        let mut few = Few::default();
        let yes =
            |few: &mut Few, n, reason, secs| u32::from(few.count(&name(n), reason, at(secs)).0 != Tell::No);
        let one: u32 = (0..1000).map(|_| yes(&mut few, 1, Reason::NotAllowed, 100)).sum();
        let others: u32 = (2..100).map(|n| yes(&mut few, n, Reason::NotAllowed, 101)).sum();
        assert_eq!((one, others), (20, 10));
        let copies = |reason| (0..1000).map(|_| yes(&mut few, 1, reason, 102)).sum::<u32>();
        assert_eq!([Reason::Replayed, Reason::Stale].map(copies), [20, 20]);
    }

    #[test]
    fn another_reason_is_another_line_and_the_sum_is_told_once() {
        let mut few = Few::default();
        for _ in 0..20 + 5 {
            let _ = few.count(&name(1), Reason::Replayed, at(100));
        }
        assert_eq!(few.count(&name(1), Reason::Stale, at(101)), (Tell::Yes { unsaid: 0 }, None));
        assert_eq!(few.count(&name(2), Reason::Stale, at(200)), (Tell::Yes { unsaid: 0 }, Some(5)));
        assert_eq!(few.count(&name(2), Reason::Stale, at(201)), (Tell::Yes { unsaid: 0 }, None));
    }
}
