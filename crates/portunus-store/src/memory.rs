//! A replay store that forgets everything when the process ends: for tests, dry runs and benchmarks.

use std::collections::HashMap;

use portunus_model::{Claim, ClaimKey, Claimed, Mono, Now, Unix};

use crate::ReplayStore;
use crate::replay::REMEMBERED;

/// Claims in memory. When it is full of claims that must not be forgotten it answers `Unavailable`.
#[derive(Debug)]
pub struct MemoryStore {
    taken: HashMap<ClaimKey, (Unix, Mono)>,
    capacity: usize,
}

impl MemoryStore {
    /// Room for `capacity` claims.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { taken: HashMap::new(), capacity }
    }

    fn take(&mut self, now: Now, claim: &Claim) -> Claimed {
        if self.taken.contains_key(&claim.key) {
            return Claimed::Replayed;
        }
        if self.taken.len() >= self.capacity {
            self.taken
                .retain(|_, &mut (keep_until, at)| keep_until >= now.wall || now.mono.since(at) < REMEMBERED);
        }
        if self.taken.len() >= self.capacity {
            return Claimed::Unavailable;
        }
        self.taken.insert(claim.key, (claim.keep_until, now.mono));
        Claimed::Fresh
    }
}

impl ReplayStore for MemoryStore {
    fn claim(&mut self, now: Now, claims: &[Claim]) -> Vec<Claimed> {
        claims.iter().map(|claim| self.take(now, claim)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn claim(n: u8, stamp: i64) -> Claim {
        let stamp = Unix::from_secs(stamp);
        Claim { key: ClaimKey([n; 16]), stamp, keep_until: stamp.after(Duration::from_secs(60)) }
    }

    fn at(secs: u64) -> Now {
        Now { mono: Mono::from_nanos(secs * 1_000_000_000), wall: Unix::from_secs(secs as i64) }
    }

    #[test]
    fn the_first_one_has_it() {
        let mut store = MemoryStore::new(2);
        assert_eq!(store.claim(at(0), &[claim(1, 0), claim(1, 0)]), [Claimed::Fresh, Claimed::Replayed]);
        assert_eq!(store.claim(at(0), &[claim(2, 0), claim(3, 0)]), [Claimed::Fresh, Claimed::Unavailable]);
        assert_eq!(store.claim(at(7300), &[claim(3, 7300)]), [Claimed::Fresh]);
    }
}
