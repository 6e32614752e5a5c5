//! From a wish to a packet. All randomness is drawn from the argument, so a packet can be made twice.

use std::net::IpAddr;

use portunus_crypto::ed25519::SigningKey;
use portunus_crypto::x25519::{LowOrder, PrivateKey};
use portunus_crypto::{Entropy, EntropyFailed, LibraryRefused, Secret, aead};
use portunus_model::Unix;

use super::packet::{LENGTH, NONCE, SIGNED, VERSION, join};
use super::plain::Plain;

/// What a client needs to knock at one server.
pub struct ClientKeys {
    /// The server's X25519 public key.
    pub server: [u8; 32],
    /// The client's own key.
    pub client: SigningKey,
}

/// What the knock is to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wish {
    /// For which address the door is wanted; `None`, or an unspecified one: for where the datagram comes from.
    pub target: Option<IpAddr>,
}

/// Why no packet was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The clock is outside what a packet can say (the years 1677 to 2262).
    #[error("the clock is outside the years 1677 to 2262, which a knock can name")]
    Clock,
    /// The server's public key is of low order: not a key that a server can have.
    #[error("the server's public key is of low order: no server can have it")]
    ServerKey,
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyFailed),
    /// No memory.
    #[error(transparent)]
    Library(#[from] LibraryRefused),
}

/// Makes the packet that says `wish` at the time `stamp`.
///
/// Drawn from `entropy`, in this order: 32 bytes of ephemeral key, 12 of AEAD nonce, 16 of random nonce.
///
/// # Errors
/// [`SealError`] says why not.
pub fn seal(
    keys: &ClientKeys,
    wish: Wish,
    stamp: Unix,
    entropy: &mut dyn Entropy,
) -> Result<[u8; LENGTH], SealError> {
    let stamp = i64::try_from(stamp.as_nanos()).map_err(|_| SealError::Clock)?;
    let ephemeral = PrivateKey::new(&Secret::generate(entropy)?)?;
    let mut aead_nonce = [0; NONCE];
    entropy.fill(&mut aead_nonce)?;
    let mut nonce = [0; 16];
    entropy.fill(&mut nonce)?;

    let shared = ephemeral.agree(&keys.server).map_err(|LowOrder| SealError::ServerKey)?;
    let key = super::packet_key(&shared)?;
    let mut text = Plain { stamp, nonce, target: wish.target }.write();
    let tag = aead::seal(&key, &aead_nonce, &[], &mut text)?;

    let signed: [u8; SIGNED] = join(&[&[VERSION], ephemeral.public(), &aead_nonce, &text, &tag]);
    let signature = keys.client.sign(&signed)?;
    Ok(join(&[&signed, &signature]))
}
