//! Bytes and keys to a proven knock; a wish and keys to bytes. Pure: no socket, clock, file or randomness of its own.
//!
//! Here: a folder per dialect, [`recognise`] (which dialect, by shape alone), [`Knock`] (what is proven). The way is
//! one-way: bytes, [`Candidate`], unsealed, [`Knock`]; nothing here or above takes bytes *and* believes them.
//! Not here: whether a knock is fresh, new or allowed: that is the gate's. The gate and the client call it.

pub mod fwknop;
mod knock;
pub mod native;
pub mod openme;

pub use knock::{Ask, Knock};
use portunus_model::Dialect;

/// What a datagram may be, by its shape alone. Nobody is believed yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Candidate<'a> {
    /// openme v1.
    Openme(openme::Packet<'a>),
    /// fwknop 2.x.
    Fwknop(fwknop::Packet<'a>),
}

impl Candidate<'_> {
    /// The dialect that it would be.
    #[must_use]
    pub const fn dialect(&self) -> Dialect {
        match self {
            Self::Openme(_) => Dialect::Openme,
            Self::Fwknop(_) => Dialect::Fwknop,
        }
    }
}

/// Which dialect `bytes` may be written in; `None` is noise.
#[must_use]
pub fn recognise(bytes: &[u8]) -> Option<Candidate<'_>> {
    // No two can fit: openme's first byte is no letter of base64.
    let openme = openme::Packet::new_checked(bytes).map(Candidate::Openme);
    openme.or_else(|| fwknop::Packet::new_checked(bytes).map(Candidate::Fwknop))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_shape_is_looked_at() {
        let mut bytes = [0; openme::LENGTH];
        assert_eq!(recognise(&bytes), None);
        bytes[0] = 1;
        assert!(matches!(recognise(&bytes), Some(Candidate::Openme(_))));
        assert_eq!(recognise(&bytes[1..]), None);
        assert_eq!(recognise(&[]), None);
        let text = [b'9'; openme::LENGTH];
        assert!(matches!(recognise(&text), Some(Candidate::Fwknop(_))));
        assert_eq!(recognise(&text[..fwknop::SHORTEST - 1]), None);
    }
}
