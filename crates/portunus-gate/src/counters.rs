//! What is counted: verdicts, and the work that they took.

use portunus_model::Reason;

/// How many events there were of each reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters([u64; Reason::ALL.len()]);

impl Counters {
    pub(crate) fn count(&mut self, reason: Reason) {
        if let Some(counter) = self.0.get_mut(reason as usize) {
            *counter += 1;
        }
    }

    /// How many of `reason`.
    #[must_use]
    pub fn of(&self, reason: Reason) -> u64 {
        self.0.get(reason as usize).copied().unwrap_or(0)
    }

    /// Every reason with its number, in the order of the docs.
    pub fn iter(&self) -> impl Iterator<Item = (Reason, u64)> + '_ {
        Reason::ALL.iter().copied().zip(self.0.iter().copied())
    }
}

/// The public-key operations that were done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Effort {
    /// Seals opened, or tried: one X25519 each.
    pub unsealed: u64,
    /// Signatures verified, or tried: one Ed25519 each.
    pub verified: u64,
    /// Sets of fwknop's keys tried: one MAC or a block cipher's first blocks each.
    pub tried: u64,
    /// Packets that gpg was asked about: a process each.
    pub asked: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_own_counter() {
        let mut counters = Counters::default();
        for (n, reason) in Reason::ALL.into_iter().enumerate() {
            for _ in 0..=n {
                counters.count(reason);
            }
        }
        assert!(counters.iter().zip(1..).all(|((reason, count), n)| count == n && counters.of(reason) == n));
    }
}
