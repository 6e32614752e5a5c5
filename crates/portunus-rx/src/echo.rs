//! One packet that is seen in two places: on its way through a bridge, a bond or a VLAN, or on the link and then by the
//! socket that it was for.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use portunus_model::{Datagram, Mono};

/// How many datagrams are remembered.
const REMEMBERED: usize = 128;

/// The last datagrams. The same one seen somewhere else a moment later is no replay of somebody's, and need not be judged
/// twice: without this its client's every knock would also be a refused one. In the same place it is a replay, and the
/// gate's to refuse.
#[derive(Debug)]
pub struct Echoes {
    hasher: RandomState,
    within: Duration,
    last: Vec<(u64, u64, Mono)>,
    next: usize,
}

impl Echoes {
    /// For echoes that come so soon.
    #[must_use]
    pub fn within(within: Duration) -> Self {
        Self { hasher: RandomState::new(), within, last: Vec::with_capacity(REMEMBERED), next: 0 }
    }

    /// Whether it was seen in another place than this one, a moment ago. `place` is any number that stands for one.
    pub fn is_echo(&mut self, datagram: &Datagram, place: u64, now: Mono) -> bool {
        let Datagram { source, destination, bytes, .. } = datagram;
        // A socket of both families names IPv4 addresses in its own way.
        let source = (source.ip().to_canonical(), source.port());
        let hash = self.hasher.hash_one((source, destination.map(|to| to.to_canonical()), bytes));
        let same = |(other, there, at): &(u64, u64, Mono)| {
            *other == hash && *there != place && now.since(*at) < self.within
        };
        if self.last.iter().any(same) {
            return true;
        }
        match self.last.get_mut(self.next) {
            Some(oldest) => *oldest = (hash, place, now),
            None => self.last.push((hash, place, now)),
        }
        self.next = (self.next + 1) % REMEMBERED;
        false
    }
}

#[cfg(test)]
mod tests {
    use portunus_model::Via;

    use super::*;

    const SOON: Duration = Duration::from_millis(100);

    fn knock(n: u8) -> Datagram {
        Datagram::new([n; 40], "192.0.2.1:5".parse().unwrap(), Via::Sniffed)
    }

    #[test]
    fn an_echo_is_the_same_datagram_elsewhere_and_soon() {
        let mut echoes = Echoes::within(SOON);
        let start = Mono::default();
        assert!(!echoes.is_echo(&knock(1), 2, start));
        assert!(echoes.is_echo(&knock(1), 3, start));
        // In the same place it is a replay, and the gate's to refuse.
        assert!(!echoes.is_echo(&knock(1), 2, start));
        assert!(!echoes.is_echo(&knock(2), 3, start));
        assert!(echoes.is_echo(&knock(2), 5, start));
        assert!(!echoes.is_echo(&knock(1), 3, start.after(SOON)));
        let other = Datagram { source: "192.0.2.2:5".parse().unwrap(), ..knock(2) };
        assert!(!echoes.is_echo(&other, 4, start));
        for n in 3..=255 {
            assert!(!echoes.is_echo(&knock(n), 2, start));
        }
        assert!(!echoes.is_echo(&knock(2), 9, start));
    }

    #[test]
    fn a_mapped_address_is_the_one_that_it_maps() {
        let mut echoes = Echoes::within(SOON);
        let seen = knock(1).sent_to(Some("192.0.2.9".parse().unwrap()));
        let source = "[::ffff:192.0.2.1]:5".parse().unwrap();
        let heard =
            Datagram::new([1; 40], source, Via::Tcp).sent_to(Some("::ffff:192.0.2.9".parse().unwrap()));
        assert!(!echoes.is_echo(&seen, 0, Mono::default()));
        assert!(echoes.is_echo(&heard, 1, Mono::default()));
    }
}
