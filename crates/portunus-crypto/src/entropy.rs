//! Randomness as an argument: only `seal` and key generation ever ask for it.

/// A source of random bytes.
pub trait Entropy {
    /// Fills all of `out`, or nothing that may be used.
    ///
    /// # Errors
    /// [`EntropyFailed`] when the source does not answer.
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyFailed>;
}

/// The source of randomness did not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random bytes")]
pub struct EntropyFailed;

/// The system's own randomness (`getrandom(2)` on Linux). No state in between, so nothing to go wrong after a fork.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyFailed> {
        getrandom::fill(out).map_err(|_| EntropyFailed)
    }
}

/// Gives the bytes that it was made of, in order, and fails when they are used up. For tests that must come out byte
/// for byte.
#[cfg(any(test, feature = "fixed"))]
#[derive(Debug, Clone, Default)]
pub struct FixedEntropy(std::collections::VecDeque<u8>);

#[cfg(any(test, feature = "fixed"))]
impl FixedEntropy {
    /// Will give `bytes`.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.iter().copied().collect())
    }
}

#[cfg(any(test, feature = "fixed"))]
impl Entropy for FixedEntropy {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyFailed> {
        if self.0.len() < out.len() {
            return Err(EntropyFailed);
        }
        let wanted = out.len();
        for (to, from) in out.iter_mut().zip(self.0.drain(..wanted)) {
            *to = from;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fixed_source_gives_what_it_has_and_then_fails() {
        let mut source = FixedEntropy::new(&[1, 2, 3]);
        let mut two = [0; 2];
        assert_eq!(source.fill(&mut two), Ok(()));
        assert_eq!(two, [1, 2]);
        assert_eq!(source.fill(&mut two), Err(EntropyFailed));
        let mut one = [0; 1];
        assert_eq!(source.fill(&mut one), Ok(()));
        assert_eq!(one, [3]);
    }

    #[test]
    fn the_system_answers() {
        let (mut a, mut b) = ([0; 32], [0; 32]);
        SystemEntropy.fill(&mut a).unwrap();
        SystemEntropy.fill(&mut b).unwrap();
        assert_ne!(a, b);
    }
}
