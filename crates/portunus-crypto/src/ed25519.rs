//! Ed25519 (RFC 8032), strictly: one signature, one meaning.
//!
//! The library checks that S is canonical and that R is the encoding of the point that comes out. Added here: a public
//! key is a point in its one encoding and not of small order, and R is not of small order. Without that a signature
//! exists that fits every message, or one that fits more than one key.

use std::sync::LazyLock;

use aws_lc_rs::signature::{self, ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use curve25519_dalek::constants::EIGHT_TORSION;
use curve25519_dalek::edwards::CompressedEdwardsY;

use crate::{LibraryRefused, Secret};

/// A key to sign with.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    public: [u8; 32],
}

/// Why 64 bytes are not a seed and its public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PairError {
    /// The second half is not the public key of the first.
    #[error("its second half is not the public key of its first")]
    Mismatch,
    /// No memory.
    #[error(transparent)]
    Library(#[from] LibraryRefused),
}

impl SigningKey {
    /// The key of a seed (RFC 8032 calls it the private key).
    ///
    /// # Errors
    /// [`LibraryRefused`]: no memory.
    pub fn new(seed: &Secret<32>) -> Result<Self, LibraryRefused> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.expose()).map_err(|_| LibraryRefused)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| LibraryRefused)?;
        Ok(Self { pair, public })
    }

    /// The key of a seed with its public key behind it, as Go and openme's profiles write it.
    ///
    /// # Errors
    /// [`PairError::Mismatch`] when the halves do not belong together: signing so would give the key away.
    pub fn from_pair(pair: &Secret<64>) -> Result<Self, PairError> {
        let (seed, public) = pair.expose().split_first_chunk::<32>().ok_or(LibraryRefused)?;
        let key = Self::new(&Secret::from_bytes(*seed))?;
        if key.public != public {
            return Err(PairError::Mismatch);
        }
        Ok(key)
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// Signs `message`; the same message always gives the same bytes.
    ///
    /// # Errors
    /// [`LibraryRefused`]: no memory.
    pub fn sign(&self, message: &[u8]) -> Result<[u8; 64], LibraryRefused> {
        let signature = self.pair.try_sign(message).map_err(|_| LibraryRefused)?;
        signature.as_ref().try_into().map_err(|_| LibraryRefused)
    }
}

/// A public key that may be believed: a point, in its one encoding, not of small order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VerifyingKey([u8; 32]);

/// Why 32 bytes are not a public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not a point on the curve.
    #[error("it is not an Ed25519 public key: no point on the curve")]
    NotAPoint,
    /// A second way to write a point; RFC 8032 section 5.1.3 knows only one.
    #[error("it is not an Ed25519 public key: not the one encoding of its point")]
    NotCanonical,
    /// Signatures for it can be made by anybody.
    #[error("it is an Ed25519 public key of small order, for which anybody can sign")]
    SmallOrder,
}

impl VerifyingKey {
    /// Checks everything, at load: some 5 us.
    ///
    /// # Errors
    /// [`KeyError`] says why it is not a public key.
    pub fn new(bytes: [u8; 32]) -> Result<Self, KeyError> {
        let key = Self::already_checked(bytes)?;
        CompressedEdwardsY(bytes).decompress().ok_or(KeyError::NotAPoint)?;
        Ok(key)
    }

    /// For bytes that went through [`VerifyingKey::new`] before, such as those of compiled rules: leaves out only the
    /// costly question whether it is a point. Where it is none, no signature ever fits: that is safe, only mute.
    ///
    /// # Errors
    /// [`KeyError::NotCanonical`] or [`KeyError::SmallOrder`].
    pub fn already_checked(bytes: [u8; 32]) -> Result<Self, KeyError> {
        if !is_canonical(&bytes) {
            return Err(KeyError::NotCanonical);
        }
        if is_small_order(&bytes) {
            return Err(KeyError::SmallOrder);
        }
        Ok(Self(bytes))
    }

    /// The key's 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether `signature` is this key's for `message`.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        // An R in another encoding than its one never fits: the library compares encodings. So eight are enough.
        if signature.first_chunk::<32>().is_none_or(is_small_order) {
            return false;
        }
        let algorithm: &'static dyn signature::VerificationAlgorithm = &ED25519;
        UnparsedPublicKey::new(algorithm, &self.0).verify(message, signature).is_ok()
    }
}

/// Whether y is below p = 2^255 - 19 (the sign of x is the top bit, and no part of y).
fn is_canonical(bytes: &[u8; 32]) -> bool {
    let [low, middle @ .., high] = bytes;
    *low < 0xed || *high & 0x7f != 0x7f || middle.iter().any(|&byte| byte != 0xff)
}

/// Whether the point has order 1, 2, 4 or 8; for canonical y. The sign is not looked at: with y of such a point,
/// either sign is one (and where x = 0 the second is no encoding at all).
fn is_small_order(bytes: &[u8; 32]) -> bool {
    let y = without_sign(*bytes);
    SMALL_ORDER.contains(&y)
}

fn without_sign(mut bytes: [u8; 32]) -> [u8; 32] {
    if let Some(high) = bytes.last_mut() {
        *high &= 0x7f;
    }
    bytes
}

/// The y of the eight points of small order: five different ones.
static SMALL_ORDER: LazyLock<[[u8; 32]; 8]> =
    LazyLock::new(|| EIGHT_TORSION.map(|point| without_sign(point.compress().to_bytes())));

#[cfg(test)]
mod tests {
    use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
    use curve25519_dalek::edwards::EdwardsPoint;
    use curve25519_dalek::scalar::Scalar;
    use curve25519_dalek::traits::Identity;

    use super::*;

    /// The order of the group, little endian (RFC 8032 section 5.1).
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        std::array::from_fn(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
    }

    fn key(seed: u8) -> (SigningKey, VerifyingKey) {
        let key = SigningKey::new(&Secret::from_bytes([seed; 32])).unwrap();
        let public = VerifyingKey::new(*key.public()).unwrap();
        (key, public)
    }

    fn signature(r: [u8; 32], s: [u8; 32]) -> [u8; 64] {
        [r, s].concat().try_into().unwrap()
    }

    /// RFC 8032 section 7.1, test 1: the empty message.
    #[test]
    fn signs_as_the_rfc_says() {
        let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
        let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        let signature = "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b";
        let key = SigningKey::new(&Secret::from_bytes(hex(seed))).unwrap();
        assert_eq!(*key.public(), hex(public));
        assert_eq!(key.sign(b"").unwrap(), hex(signature));
    }

    #[test]
    fn a_signature_fits_its_key_and_message_only() {
        let (alice, alice_public) = key(1);
        let (_, bob_public) = key(2);
        let signature = alice.sign(b"knock").unwrap();
        assert!(alice_public.verify(b"knock", &signature));
        assert!(!alice_public.verify(b"knocks", &signature));
        assert!(!bob_public.verify(b"knock", &signature));
        for bit in 0..512 {
            let mut changed = signature;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(!alice_public.verify(b"knock", &changed), "bit {bit}");
        }
    }

    #[test]
    fn s_plus_the_order_is_refused() {
        let (alice, public) = key(1);
        let mut changed = alice.sign(b"knock").unwrap();
        let mut carry = 0;
        for (byte, order) in changed[32..].iter_mut().zip(ORDER) {
            let sum = u16::from(*byte) + u16::from(order) + carry;
            [*byte, _] = sum.to_le_bytes();
            carry = sum >> 8;
        }
        assert_eq!(carry, 0, "s + L fits 32 bytes");
        assert!(!public.verify(b"knock", &changed));
    }

    /// For a key of small order, R = 0 and S = 0 fit one message in eight; for a key of mixed order, an R of small
    /// order can be ground. Neither the key nor the R gets that far.
    #[test]
    fn small_order_points_are_refused_as_keys_and_as_r() {
        for point in EIGHT_TORSION {
            let encoded = point.compress().to_bytes();
            assert_eq!(VerifyingKey::new(encoded), Err(KeyError::SmallOrder));
            assert_eq!(VerifyingKey::already_checked(encoded), Err(KeyError::SmallOrder));
            let mut other_sign = encoded;
            other_sign[31] ^= 0x80;
            assert_eq!(VerifyingKey::new(other_sign), Err(KeyError::SmallOrder));

            let (_, public) = key(1);
            assert!(!public.verify(b"knock", &signature(encoded, [0; 32])));
        }
    }

    /// R = identity and S = k·a make a signature that the library alone takes: so it is our check that refuses it.
    #[test]
    fn a_small_order_r_is_refused_where_the_library_takes_it() {
        let a = Scalar::from_bytes_mod_order([7; 32]);
        let public = (ED25519_BASEPOINT_POINT * a).compress().to_bytes();
        let r = EdwardsPoint::identity().compress().to_bytes();
        let k = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA512, &[&r[..], &public, b"knock"].concat());
        let k = Scalar::from_bytes_mod_order_wide(k.as_ref().try_into().unwrap());
        let forged = signature(r, (k * a).to_bytes());

        let library = UnparsedPublicKey::new(&ED25519, &public);
        assert!(library.verify(b"knock", &forged).is_ok(), "the library would take it");
        assert!(!VerifyingKey::new(public).unwrap().verify(b"knock", &forged));
    }

    #[test]
    fn second_encodings_of_a_point_are_refused() {
        // y = p + k for k in 0..=18: the only values of 255 bits that are not below p.
        for k in 0..=18 {
            let mut bytes = [0xff; 32];
            bytes[0] = 0xed + k;
            bytes[31] = 0x7f;
            assert_eq!(VerifyingKey::new(bytes), Err(KeyError::NotCanonical));
            bytes[31] = 0xff;
            assert_eq!(VerifyingKey::new(bytes), Err(KeyError::NotCanonical));
        }
        let mut bytes = [0xff; 32];
        bytes[0] = 0xeb;
        bytes[31] = 0x7f;
        assert_ne!(VerifyingKey::new(bytes), Err(KeyError::NotCanonical), "p - 2 is below p");
    }

    #[test]
    fn what_is_no_point_is_refused_and_mute() {
        let mut bytes = [0; 32];
        bytes[0] = 2;
        assert_eq!(VerifyingKey::new(bytes), Err(KeyError::NotAPoint));
        assert!(!VerifyingKey::already_checked(bytes).unwrap().verify(b"", &[1; 64]));
    }

    #[test]
    fn a_pair_must_belong_together() {
        let (alice, _) = key(1);
        let (bob, _) = key(2);
        let pair =
            |public: &[u8; 32]| Secret::from_bytes([&[1; 32], &public[..]].concat().try_into().unwrap());
        assert!(SigningKey::from_pair(&pair(alice.public())).is_ok());
        assert_eq!(SigningKey::from_pair(&pair(bob.public())).err(), Some(PairError::Mismatch));
    }
}
