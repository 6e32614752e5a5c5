//! From a packet to a knock, in two steps: unseal (one X25519, proves that the sender knows our public key) and verify
//! (one Ed25519 a client that it may be from, proves who).

use portunus_crypto::ed25519::VerifyingKey;
use portunus_crypto::x25519::{LowOrder, PrivateKey};
use portunus_crypto::{LibraryRefused, Secret, aead, digest};
use portunus_model::{ClaimKey, ClientKey};

use super::packet::{Packet, SIGNATURE, SIGNED, take};
use super::plain::{self, Plain};
use crate::{Ask, Knock};

/// The server's key, ready to unseal.
pub struct ServerKey(PrivateKey);

/// Why a packet is not sealed for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Its ephemeral key is of low order: anybody could have made the seal, without knowing our key.
    #[error("its ephemeral key is of low order")]
    LowOrder,
    /// The seal does not fit our key.
    #[error("it is not sealed for this server's key")]
    NotForUs,
    /// No memory.
    #[error(transparent)]
    Library(#[from] LibraryRefused),
}

impl ServerKey {
    /// The key of the server's X25519 secret.
    ///
    /// # Errors
    /// [`LibraryRefused`]: no memory.
    pub fn new(secret: &Secret<32>) -> Result<Self, LibraryRefused> {
        PrivateKey::new(secret).map(Self)
    }

    /// The public key that clients seal for.
    #[must_use]
    pub fn public(&self) -> &[u8; 32] {
        self.0.public()
    }

    /// Opens the seal of `packet`. What comes out still is anybody's word: the public key is no secret.
    ///
    /// # Errors
    /// [`OpenError`] says why not.
    pub fn unseal(&self, packet: &Packet<'_>) -> Result<Unsealed, OpenError> {
        let shared = self.0.agree(packet.ephemeral).map_err(|LowOrder| OpenError::LowOrder)?;
        let key = super::packet_key(&shared)?;
        let mut plain = [0; plain::LENGTH];
        aead::open(&key, packet.nonce, &[], packet.sealed, &mut plain)
            .map_err(|aead::Forged| OpenError::NotForUs)?;
        Ok(Unsealed { signed: *packet.signed, signature: *packet.signature, plain: Plain::read(&plain) })
    }
}

/// A packet whose seal was for us, and what it says; nobody's until a key verifies it.
///
/// It owns the bytes that are signed, so that what is verified later is what was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsealed {
    signed: [u8; SIGNED],
    signature: [u8; SIGNATURE],
    plain: Plain,
}

impl Unsealed {
    /// The knock, when it is `candidate`'s: one Ed25519 verification.
    #[must_use]
    pub fn verify(&self, candidate: &VerifyingKey) -> Option<Knock> {
        if !candidate.verify(&self.signed, &self.signature) {
            return None;
        }
        let key = ClientKey::Openme(*candidate.as_bytes());
        Some(Knock::proven(key, self.plain.stamp(), self.plain.target, self.claim_key(candidate), Ask::All))
    }

    /// A claim is the client's and its nonce's, and nothing else's: made of what is signed *inside* the seal, so no
    /// second packet with the same content can have another one, and of the client, so no client can burn another's.
    fn claim_key(&self, client: &VerifyingKey) -> ClaimKey {
        let name = digest::sha256(&[b"portunus openme claim", client.as_bytes(), &self.plain.nonce]);
        ClaimKey(take(&mut name.into_iter()))
    }
}
