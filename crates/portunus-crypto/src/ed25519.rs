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
