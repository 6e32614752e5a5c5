//! Where the bytes of a packet are. Checked once, in [`Packet::new_checked`]; afterwards nothing can be out of bounds.

use portunus_crypto::aead;

use super::plain;

/// The whole packet: every openme packet has this many bytes.
pub const LENGTH: usize = SIGNED + SIGNATURE;

pub(super) const VERSION: u8 = 1;
pub(super) const EPHEMERAL: usize = 32;
pub(super) const NONCE: usize = 12;
pub(super) const SEALED: usize = plain::LENGTH + aead::TAG;
pub(super) const SIGNATURE: usize = 64;
/// What the signature covers: all before it.
pub(super) const SIGNED: usize = 1 + EPHEMERAL + NONCE + SEALED;

const _: () = assert!(LENGTH == 165, "openme v1 has packets of 165 bytes");

/// Bytes of the right length and version; their content is anybody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    pub(super) signed: &'a [u8; SIGNED],
    pub(super) ephemeral: &'a [u8; EPHEMERAL],
    pub(super) nonce: &'a [u8; NONCE],
    pub(super) sealed: &'a [u8; SEALED],
    pub(super) signature: &'a [u8; SIGNATURE],
}

impl<'a> Packet<'a> {
    /// The fields of `bytes`, when they have the length and the version of openme v1.
    #[must_use]
    pub fn new_checked(bytes: &'a [u8]) -> Option<Self> {
        let (signed, signature) = bytes.split_first_chunk::<SIGNED>()?;
        let signature: &[u8; SIGNATURE] = signature.try_into().ok()?;
        let (&[version], rest) = signed.split_first_chunk::<1>()?;
        let (ephemeral, rest) = rest.split_first_chunk::<EPHEMERAL>()?;
        let (nonce, rest) = rest.split_first_chunk::<NONCE>()?;
        let sealed: &[u8; SEALED] = rest.try_into().ok()?;
        (version == VERSION).then_some(Self { signed, ephemeral, nonce, sealed, signature })
    }
}

/// The parts one after the other. They must fill the array: every caller's lengths are constants.
pub(super) fn join<const N: usize>(parts: &[&[u8]]) -> [u8; N] {
    debug_assert_eq!(parts.iter().map(|part| part.len()).sum::<usize>(), N);
    let mut whole = [0; N];
    for (to, from) in whole.iter_mut().zip(parts.iter().copied().flatten()) {
        *to = *from;
    }
    whole
}

/// The next `N` of `bytes`. There must be as many: every caller's lengths are constants.
pub(super) fn take<const N: usize>(bytes: &mut impl ExactSizeIterator<Item = u8>) -> [u8; N] {
    debug_assert!(bytes.len() >= N);
    std::array::from_fn(|_| bytes.next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_where_the_protocol_says() {
        let mut bytes: [u8; LENGTH] = std::array::from_fn(|i| u8::try_from(i).unwrap());
        bytes[0] = VERSION;
        let packet = Packet::new_checked(&bytes).unwrap();
        assert_eq!(packet.signed[..], bytes[..101]);
        assert_eq!(packet.ephemeral[..], bytes[1..33]);
        assert_eq!(packet.nonce[..], bytes[33..45]);
        assert_eq!(packet.sealed[..], bytes[45..101]);
        assert_eq!(packet.signature[..], bytes[101..165]);
    }

    #[test]
    fn other_lengths_and_versions_are_noise() {
        let long = [VERSION; LENGTH + 1];
        for length in 0..=long.len() {
            assert_eq!(Packet::new_checked(&long[..length]).is_some(), length == LENGTH, "{length} bytes");
        }
        for version in (0..=u8::MAX).filter(|&version| version != VERSION) {
            let mut bytes = [0; LENGTH];
            bytes[0] = version;
            assert_eq!(Packet::new_checked(&bytes), None, "version {version}");
        }
    }
}
