//! The only crate that names a cryptographic library: secrets that wipe themselves, the primitives that the dialects
//! are made of, randomness as an argument.
//!
//! Here: [`Secret`], [`Entropy`], X25519, strict Ed25519, ChaCha20-Poly1305, HKDF-SHA256, SHA-256, base64 of keys; and for
//! fwknop its seven hashes, HMAC, AES-256 in five modes and OpenSSL's passphrases; for the native dialect BLAKE2s, SipHash and
//! Elligator 2.
//! Not here: any packet, protocol, file or clock. The dialects call it; config does for reading and checking keys.

pub mod aead;
pub mod aes256;
pub mod blake2s;
pub mod digest;
pub mod ed25519;
pub mod elligator;
mod entropy;
pub mod evp;
pub mod hash;
pub mod hkdf;
pub mod hmac;
mod secret;
pub mod siphash;
pub mod text;
pub mod totp;
pub mod x25519;

#[cfg(any(test, feature = "fixed"))]
pub use entropy::FixedEntropy;
pub use entropy::{Entropy, EntropyFailed, SystemEntropy};
pub use secret::Secret;

/// The cryptographic library refused an operation that cannot fail for its input: in practice, no memory is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the cryptographic library refused the operation (out of memory?)")]
pub struct LibraryRefused;
