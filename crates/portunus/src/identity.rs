//! Fresh keys: a client's, and a server's.

use portunus_config::profile::Keys;
use portunus_crypto::ed25519::SigningKey;
use portunus_crypto::x25519::PrivateKey;
use portunus_crypto::{Secret, SystemEntropy};

use crate::say::Failure;

/// A client's fresh key pair.
pub(crate) struct Identity {
    seed: Secret<32>,
    /// The public half: all that the server keeps.
    pub(crate) public: [u8; 32],
}

impl Identity {
    /// Draws one.
    ///
    /// # Errors
    /// The system gave no randomness.
    pub(crate) fn generate() -> Result<Self, Failure> {
        let seed = draw()?;
        let public = *SigningKey::new(&seed).map_err(|error| refused(&error))?.public();
        Ok(Self { seed, public })
    }

    /// A profile's keys towards a server.
    pub(crate) fn keys(self, server: [u8; 32]) -> Keys {
        Keys::Openme { server, seed: self.seed, public: self.public }
    }
}

/// A fresh X25519 private key: a server's, or that of a client of the native dialect.
///
/// # Errors
/// The system gave no randomness.
pub(crate) fn x25519_key() -> Result<Secret<32>, Failure> {
    draw()
}

/// The public half of such a key.
///
/// # Errors
/// The cryptographic library refused it.
pub(crate) fn x25519_public(key: &Secret<32>) -> Result<[u8; 32], Failure> {
    Ok(*PrivateKey::new(key).map_err(|error| refused(&error))?.public())
}

fn draw() -> Result<Secret<32>, Failure> {
    Secret::generate(&mut SystemEntropy).map_err(|error| refused(&error))
}

fn refused(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(error, "", "")
}
