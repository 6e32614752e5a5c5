//! Known sources' packets that have to wait, a queue an address, served in turn. Whoever writes one known address on his
//! packets fills that address's queue and takes its turn; everybody else's packets neither wait behind his nor make room
//! for them.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use crate::lane::{Job, Lane};

#[derive(Debug)]
pub(crate) struct Crowd {
    /// None is empty. In the addresses' order: what makes room must not depend on a hash.
    waiting: BTreeMap<IpAddr, Lane>,
    turn: VecDeque<IpAddr>,
    len: usize,
    capacity: usize,
    seed: u64,
}

impl Crowd {
    /// For `capacity` packets in all; `seed` as in [`Lane::new`].
    pub(crate) const fn new(capacity: usize, seed: u64) -> Self {
        Self { waiting: BTreeMap::new(), turn: VecDeque::new(), len: 0, capacity, seed }
    }

    /// Puts `job` in; gives the one that has to go: one of the address that has the most here, which may be `job`'s own.
    #[must_use]
    pub(crate) fn push(&mut self, job: Job) -> Option<Job> {
        let address = job.address();
        let thrown = if self.len < self.capacity { None } else { self.make_room(address) };
        let (capacity, seed) = (self.capacity, self.seed);
        self.seed = seed.rotate_left(1);
        let lane = self.waiting.entry(address).or_insert_with(|| Lane::new(capacity, seed));
        if lane.is_empty() {
            self.turn.push_back(address);
        }
        self.len += 1;
        // A lane takes as many as there are in all, so none is thrown out of it here.
        lane.push(job).or(thrown)
    }

    fn make_room(&mut self, address: IpAddr) -> Option<Job> {
        let own = self.waiting.get(&address).map_or(0, Lane::len);
        let (&longest, most) =
            self.waiting.iter().map(|(at, lane)| (at, lane.len())).max_by_key(|&(_, n)| n)?;
        let from = if own == most { address } else { longest };
        let lane = self.waiting.get_mut(&from)?;
        let thrown = lane.throw_one_out()?;
        self.len -= 1;
        if lane.is_empty() {
            self.forget(from);
        }
        Some(thrown)
    }

    /// The next one, of the address whose turn it is.
    pub(crate) fn pop(&mut self) -> Option<Job> {
        let address = self.turn.pop_front()?;
        let lane = self.waiting.get_mut(&address)?;
        let job = lane.pop()?;
        self.len -= 1;
        if lane.is_empty() {
            self.waiting.remove(&address);
        } else {
            self.turn.push_back(address);
        }
        Some(job)
    }

    fn forget(&mut self, address: IpAddr) {
        self.waiting.remove(&address);
        self.turn.retain(|&other| other != address);
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use portunus_model::{Datagram, Mono, Via};

    use super::*;

    fn job(address: u8, n: u8) -> Job {
        let source = ([192, 0, 2, address], 1).into();
        Job::new(Datagram::new([address, n], source, Via::Udp), Mono::default())
    }

    fn popped(crowd: &mut Crowd) -> Option<(u8, u8)> {
        crowd.pop().map(|job| (job.datagram.bytes[0], job.datagram.bytes[1]))
    }

    #[test]
    fn addresses_are_served_in_turn() {
        let mut crowd = Crowd::new(10, 3);
        for (address, n) in [(1, 0), (1, 1), (1, 2), (2, 0), (3, 0), (2, 1)] {
            assert!(crowd.push(job(address, n)).is_none());
        }
        let order: Vec<_> = std::iter::from_fn(|| popped(&mut crowd)).collect();
        assert_eq!(order, [(1, 0), (2, 0), (3, 0), (1, 1), (2, 1), (1, 2)]);
        assert!(crowd.len() == 0 && crowd.waiting.is_empty() && crowd.turn.is_empty());
    }

    #[test]
    fn who_has_the_most_makes_room_and_nobody_is_lost() {
        let mut crowd = Crowd::new(4, 3);
        let mut thrown: Vec<_> = (0..50).filter_map(|n| crowd.push(job(1, n))).collect();
        assert!(thrown.iter().any(|job| job.datagram.bytes[1] < 4), "an early one made room");
        thrown.extend((2..5).filter_map(|address| crowd.push(job(address, 0))));
        assert_eq!((thrown.len(), crowd.len(), crowd.turn.len()), (49, 4, 4));
        assert!(thrown.iter().all(|job| job.address() == IpAddr::from([192, 0, 2, 1])));
        // All have one now: the newcomer's address has the fewest, and still it gets a place.
        assert!(crowd.push(job(9, 0)).is_some());
        assert_eq!((crowd.len(), crowd.turn.len(), crowd.waiting.len()), (4, 4, 4));
        assert_eq!(std::iter::from_fn(|| crowd.pop()).count(), 4);
    }
}
