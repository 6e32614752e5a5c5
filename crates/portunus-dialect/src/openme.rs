//! openme v1: one UDP datagram of 165 bytes, X25519 + ChaCha20-Poly1305 + Ed25519 (docs: "openme v1").
//!
//! `packet` knows where the bytes are, `open` believes them step by step, `seal` makes them.

mod open;
mod packet;
mod plain;
mod seal;

pub use portunus_crypto::ed25519::{KeyError, VerifyingKey};
use portunus_crypto::{LibraryRefused, Secret, hkdf};

pub use open::{OpenError, ServerKey, Unsealed};
pub use packet::{LENGTH, Packet};
pub use seal::{ClientKeys, SealError, Wish, seal};

/// The key of one packet, from the secret that the ephemeral and the server's key share.
fn packet_key(shared: &Secret<32>) -> Result<Secret<32>, LibraryRefused> {
    hkdf::derive(shared, b"openme-v1-chacha20poly1305")
}
