//! Where things stand in a datagram, client to server.
//!
//! ```text
//!  0        8                                40                       88                         L
//!  +--------+--------------------------------+------------------------+--------------------------+
//!  | tag 8  | E  32 (Elligator 2)            | C sealed  32 + 16      | payload sealed   n + 16  |
//!  +--------+--------------------------------+------------------------+--------------------------+
//! ```

use portunus_crypto::aead;

/// The shortest knock: a uniform draw from here to [`LONGEST`] hides how much it says.
pub const SHORTEST: usize = 256;
/// The longest knock.
pub const LONGEST: usize = 420;

pub(super) const TAG: usize = 8;
pub(super) const REPRESENTATIVE: usize = 32;
pub(super) const SEALED_CLIENT: usize = 32 + aead::TAG;
/// What is in front of the sealed payload.
pub(super) const HEAD: usize = TAG + REPRESENTATIVE + SEALED_CLIENT;
/// The shortest and the longest payload, filled up with zeros.
pub(super) const SHORTEST_TEXT: usize = SHORTEST - HEAD - aead::TAG;
pub(super) const LONGEST_TEXT: usize = LONGEST - HEAD - aead::TAG;

/// A datagram that is as long as a knock. More nobody can say without a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    pub(super) tag: u64,
    /// All after the tag, which is made of it.
    pub(super) tagged: &'a [u8],
    pub(super) representative: &'a [u8; REPRESENTATIVE],
    pub(super) client: &'a [u8; SEALED_CLIENT],
    pub(super) payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// `None` when the length is not a knock's.
    #[must_use]
    pub fn new_checked(bytes: &'a [u8]) -> Option<Self> {
        if !(SHORTEST..=LONGEST).contains(&bytes.len()) {
            return None;
        }
        let (tag, tagged) = bytes.split_first_chunk::<TAG>()?;
        let (representative, rest) = tagged.split_first_chunk()?;
        let (client, payload) = rest.split_first_chunk()?;
        Some(Self { tag: u64::from_le_bytes(*tag), tagged, representative, client, payload })
    }

    /// The 32 bytes that are never the same in two knocks: by them a copy is known before anything is opened.
    #[must_use]
    pub const fn ephemeral(&self) -> &'a [u8; 32] {
        self.representative
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_alone_says_whether_it_may_be_one() {
        let bytes = [0; LONGEST + 1];
        for length in 0..=LONGEST + 1 {
            let packet = Packet::new_checked(&bytes[..length]);
            assert_eq!(packet.is_some(), (SHORTEST..=LONGEST).contains(&length), "{length}");
        }
        assert_eq!((SHORTEST_TEXT, LONGEST_TEXT), (152, 316));
    }
}
