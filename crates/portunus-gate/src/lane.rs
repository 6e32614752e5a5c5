//! Lanes: bounded queues of datagrams that wait for work. Full, a random one makes room: then no sender can crowd out
//! the others by being early or late, and a flood of n strangers leaves an honest packet its share.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use portunus_dialect::fwknop::gpg::{GpgError, RingId};
use portunus_dialect::openme::Unsealed;
use portunus_model::{Datagram, Mono};

use crate::chain::Origin;

/// A datagram that waits, with what was found out about it.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) datagram: Datagram,
    pub(crate) arrived: Mono,
    /// When its seal was opened already: it is not done twice.
    pub(crate) unsealed: Option<Box<Unsealed>>,
    /// The keyrings of GnuPG's that may open it: the last one is asked next.
    pub(crate) rings: Vec<RingId>,
    /// Those that were asked already, and what tells most of why none of them does.
    pub(crate) asked: Vec<RingId>,
    pub(crate) refused: Option<GpgError>,
    /// Whether it waits for gpg as a known source's: only its clients' own keyrings are asked then.
    pub(crate) known: bool,
}

impl Job {
    pub(crate) const fn new(datagram: Datagram, arrived: Mono) -> Self {
        Self {
            datagram,
            arrived,
            unsealed: None,
            rings: Vec::new(),
            asked: Vec::new(),
            refused: None,
            known: false,
        }
    }

    pub(crate) const fn origin(&self) -> Origin {
        let Datagram { source, claimed, destination, carried, via, .. } = &self.datagram;
        Origin {
            source: *source,
            claimed: *claimed,
            destination: *destination,
            carried: *carried,
            via: *via,
            arrived: self.arrived,
            reply: None,
        }
    }

    pub(crate) fn address(&self) -> IpAddr {
        self.origin().address()
    }
}

#[derive(Debug)]
pub(crate) struct Lane {
    jobs: VecDeque<Job>,
    capacity: usize,
    dice: u64,
}

impl Lane {
    /// `seed` decides who makes room; the shell draws it, so that nobody can foretell it.
    pub(crate) fn new(capacity: usize, seed: u64) -> Self {
        Self { jobs: VecDeque::new(), capacity: capacity.max(1), dice: seed }
    }

    /// Puts `job` in; gives the one that has to go, which may be `job` itself.
    #[must_use]
    pub(crate) fn push(&mut self, job: Job) -> Option<Job> {
        if self.jobs.len() < self.capacity {
            self.jobs.push_back(job);
            return None;
        }
        let chosen = self.roll() as usize % (self.capacity + 1);
        match self.jobs.get_mut(chosen) {
            Some(waiting) => Some(std::mem::replace(waiting, job)),
            None => Some(job),
        }
    }

    /// One of those that wait, whichever: it makes room elsewhere.
    pub(crate) fn throw_one_out(&mut self) -> Option<Job> {
        let chosen = self.roll() as usize % self.jobs.len().max(1);
        self.jobs.remove(chosen)
    }

    pub(crate) fn pop(&mut self) -> Option<Job> {
        self.jobs.pop_front()
    }

    pub(crate) fn put_back(&mut self, job: Job) {
        self.jobs.push_front(job);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.jobs.len()
    }

    /// After a reload the keys may be others: what was opened is to be opened again.
    pub(crate) fn seal_again(&mut self) {
        self.jobs.iter_mut().for_each(|job| job.unsealed = None);
    }

    /// splitmix64 (Steele, Lea, Flood 2014): every seed is a good one.
    fn roll(&mut self) -> u64 {
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.dice ^ (self.dice >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// How much may be wasted on packets that carry a known source's address and are not from it. Charged to the lane, not
/// to the address: anybody can write that on a packet. When it is used up, packets of known sources wait in a lane of
/// their own, and go on being served from there.
#[derive(Debug)]
pub(crate) struct Waste {
    left: u32,
    a_second: u32,
    at: Mono,
}

impl Waste {
    pub(crate) const fn new(a_second: u32) -> Self {
        Self { left: a_second, a_second, at: Mono::from_nanos(0) }
    }

    pub(crate) fn is_used_up(&mut self, now: Mono) -> bool {
        let passed = now.since(self.at).min(Duration::from_secs(1));
        let more = u64::from(self.a_second) * u64::from(passed.subsec_micros()) / 1_000_000
            + u64::from(self.a_second) * passed.as_secs();
        if more > 0 {
            self.at = now;
            self.left = self.left.saturating_add(u32::try_from(more).unwrap_or(u32::MAX)).min(self.a_second);
        }
        self.left == 0
    }

    pub(crate) const fn left(&self) -> u32 {
        self.left
    }

    pub(crate) fn charge(&mut self, units: u32) {
        self.left = self.left.saturating_sub(units);
    }
}

#[cfg(test)]
mod tests {
    use portunus_model::Via;

    use super::*;

    fn job(n: u8) -> Job {
        let source = ([192, 0, 2, n], 1).into();
        Job::new(Datagram::new([n], source, Via::Udp), Mono::default())
    }

    #[test]
    fn full_somebody_makes_room_and_nobody_is_lost() {
        let mut lane = Lane::new(8, 7);
        let mut thrown: Vec<u8> =
            (0..200).filter_map(|n| lane.push(job(n))).map(|job| job.datagram.bytes[0]).collect();
        assert_eq!(lane.len(), 8);
        assert!(thrown.iter().any(|&n| n < 8), "an early one made room");
        while let Some(job) = lane.pop() {
            thrown.push(job.datagram.bytes[0]);
        }
        thrown.sort_unstable();
        assert_eq!(thrown, (0..200).collect::<Vec<_>>());
    }

    #[test]
    fn waste_comes_back_with_time_and_never_more_than_a_second_of_it() {
        let at = |millis: u64| Mono::from_nanos(millis * 1_000_000);
        let mut waste = Waste::new(100);
        assert!(!waste.is_used_up(at(0)));
        waste.charge(1000);
        assert!(waste.is_used_up(at(5)));
        assert!(!waste.is_used_up(at(20)));
        waste.charge(3);
        assert!(!waste.is_used_up(at(1_000_000)));
        waste.charge(100);
        assert!(waste.is_used_up(at(1_000_001)));
    }
}
