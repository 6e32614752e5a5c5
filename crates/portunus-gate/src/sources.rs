//! Known sources: addresses from which a client was proven lately, and which clients. A packet from one costs one
//! verification, for its sender is the first that is tried. Bounded; the one not heard of for longest makes room.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

/// Behind one address at most so many clients are tried at once (a home's or an office's router).
const AT_ONE: usize = 16;

#[derive(Debug)]
pub(crate) struct Sources {
    by_address: HashMap<IpAddr, Known>,
    /// By when they were heard of: the first is the one that goes.
    by_age: BTreeMap<u64, IpAddr>,
    clock: u64,
    capacity: usize,
}

#[derive(Debug)]
struct Known {
    /// The most recent first.
    clients: Vec<u32>,
    heard: u64,
}

impl Sources {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { by_address: HashMap::new(), by_age: BTreeMap::new(), clock: 0, capacity: capacity.max(1) }
    }

    /// How many addresses are known.
    pub(crate) fn len(&self) -> usize {
        self.by_address.len()
    }

    /// The clients proven from `address`, the most recent first; empty: not a known source.
    pub(crate) fn clients(&self, address: IpAddr) -> &[u32] {
        self.by_address.get(&address).map_or(&[], |known| &known.clients)
    }

    /// `client` was proven, fresh and claimed, from `address`.
    pub(crate) fn heard(&mut self, address: IpAddr, client: u32) {
        self.clock += 1;
        let clock = self.clock;
        let known = self.by_address.entry(address).or_insert(Known { clients: Vec::new(), heard: clock });
        self.by_age.remove(&known.heard);
        known.heard = clock;
        if known.clients.first() != Some(&client) {
            known.clients.retain(|&other| other != client);
            known.clients.truncate(AT_ONE - 1);
            known.clients.insert(0, client);
        }
        self.by_age.insert(clock, address);
        if self.by_address.len() > self.capacity
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.by_address.remove(&oldest);
        }
    }

    /// After a reload the clients have other numbers; those without one are gone.
    pub(crate) fn renumber(&mut self, number: impl Fn(u32) -> Option<u32>) {
        self.by_address.retain(|_, known| {
            known.clients = known.clients.iter().filter_map(|&client| number(client)).collect();
            if known.clients.is_empty() {
                self.by_age.remove(&known.heard);
            }
            !known.clients.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u32) -> IpAddr {
        IpAddr::V4(n.into())
    }

    #[test]
    fn the_last_heard_client_is_tried_first() {
        let mut sources = Sources::new(10);
        for client in [1, 2, 3, 1] {
            sources.heard(address(9), client);
        }
        assert_eq!(sources.clients(address(9)), [1, 3, 2]);
        assert_eq!(sources.clients(address(8)), [0_u32; 0]);
    }

    #[test]
    fn a_crowd_behind_one_address_is_bounded() {
        let mut sources = Sources::new(10);
        (0..100).for_each(|client| sources.heard(address(9), client));
        assert_eq!(sources.clients(address(9)), (84..100).rev().collect::<Vec<_>>());
    }

    #[test]
    fn the_one_not_heard_for_longest_makes_room() {
        let mut sources = Sources::new(2);
        sources.heard(address(1), 1);
        sources.heard(address(2), 2);
        sources.heard(address(1), 1);
        sources.heard(address(3), 3);
        assert_eq!(sources.clients(address(2)), [0_u32; 0]);
        assert_eq!((sources.clients(address(1)), sources.clients(address(3))), (&[1][..], &[3][..]));
        assert_eq!((sources.by_age.len(), sources.by_address.len()), (2, 2));
    }

    #[test]
    fn a_client_that_is_gone_is_forgotten() {
        let mut sources = Sources::new(9);
        sources.heard(address(1), 1);
        sources.heard(address(1), 2);
        sources.heard(address(2), 1);
        sources.renumber(|client| (client == 2).then_some(7));
        assert_eq!((sources.clients(address(1)), sources.clients(address(2))), (&[7][..], &[][..]));
        assert_eq!((sources.by_age.len(), sources.by_address.len()), (1, 1));
    }
}
