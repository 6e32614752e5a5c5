//! Ephemeral keys that were met: a copy of a knock is known before anything is computed for it, else one captured packet
//! would be a key to the flood filter until midnight.
//!
//! 2 million fingerprints for each of two days, in memory that is taken only when it is used. Full, an older one makes room:
//! its copy costs one more Diffie-Hellman then, and is still refused by the replay store.

use portunus_crypto::{Secret, siphash};
use portunus_dialect::native::Day;

/// Fingerprints for one day.
const PLACES: usize = 1 << 21;
/// One stands in one of so many places.
const AT_ONE: usize = 8;

pub(crate) struct Memory {
    days: [OfDay; 2],
    key: Secret<16>,
}

#[derive(Default)]
struct OfDay {
    day: Option<Day>,
    /// 0: free.
    prints: Vec<u32>,
}

impl Memory {
    /// `seed` decides what stands where, and nobody outside knows it.
    pub(crate) fn new(seed: u64) -> Self {
        let mut key = [0; 16];
        let parts = seed.to_le_bytes().into_iter().chain((!seed).rotate_left(23).to_le_bytes());
        key.iter_mut().zip(parts).for_each(|(byte, part)| *byte = part);
        Self { days: Default::default(), key: Secret::from_bytes(key) }
    }

    /// Whether a key of that day was met before.
    pub(crate) fn knows(&self, day: Day, ephemeral: &[u8; 32]) -> bool {
        let of_day = self.days.iter().find(|of_day| of_day.day == Some(day));
        let (print, from) = self.place(ephemeral);
        of_day
            .and_then(|of_day| of_day.prints.get(from..from + AT_ONE))
            .is_some_and(|places| places.contains(&print))
    }

    /// Whether a key of that day was met before. It is from now on.
    pub(crate) fn met(&mut self, day: Day, ephemeral: &[u8; 32]) -> bool {
        let (print, from) = self.place(ephemeral);
        let [even, odd] = &mut self.days;
        let of_day = if day.number().is_multiple_of(2) { even } else { odd };
        if of_day.day != Some(day) {
            // Two days count at most, and they are neighbours: what was here is of a day whose key is gone.
            *of_day = OfDay { day: Some(day), prints: vec![0; PLACES] };
        }
        let Some(places) = of_day.prints.get_mut(from..from + AT_ONE) else { return false };
        if places.contains(&print) {
            return true;
        }
        let another = print as usize / 2 % AT_ONE;
        let free = places.iter().position(|place| *place == 0).unwrap_or(another);
        if let Some(place) = places.get_mut(free) {
            *place = print;
        }
        false
    }

    /// Its fingerprint, never 0, and the first of the places where that may stand.
    fn place(&self, ephemeral: &[u8; 32]) -> (u32, usize) {
        let hash = siphash::hash(&self.key, ephemeral);
        let (high, low) = (hash >> 32, hash & u64::from(u32::MAX));
        let print = u32::try_from(high).unwrap_or_default() | 1;
        (print, usize::try_from(low).unwrap_or_default() % (PLACES / AT_ONE) * AT_ONE)
    }
}
