//! A profile's keys, ready to seal: the one place of the client that reads the clock and draws randomness.

use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use portunus_config::profile::Keys;
use portunus_crypto::SystemEntropy;
use portunus_crypto::ed25519::SigningKey;
use portunus_dialect::openme;
use portunus_model::Unix;

use crate::{ClientError, Seal};

/// Seals knocks with a profile's keys, each at the time that it is made.
pub struct Sealer {
    keys: openme::ClientKeys,
}

impl Sealer {
    /// Makes a profile's keys ready.
    ///
    /// # Errors
    /// The cryptographic library refused them.
    pub fn new(keys: &Keys) -> Result<Self, ClientError> {
        match keys {
            Keys::Openme { server, seed, .. } => {
                let client = SigningKey::new(seed).map_err(|error| not_sealed(&error))?;
                Ok(Self { keys: openme::ClientKeys { server: *server, client } })
            }
        }
    }
}

impl Seal for Sealer {
    fn seal(&mut self, target: Option<IpAddr>) -> Result<Vec<u8>, ClientError> {
        let wish = openme::Wish { target };
        let bytes =
            openme::seal(&self.keys, wish, wall(), &mut SystemEntropy).map_err(|error| not_sealed(&error))?;
        Ok(bytes.to_vec())
    }
}

/// The wall clock; a clock before 1970 is told as such, so that the sealed packet is merely stale.
fn wall() -> Unix {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => Unix::from_nanos(0).after(since),
        Err(before) => Unix::from_nanos(0).before(before.duration()),
    }
}

fn not_sealed(error: &dyn std::fmt::Display) -> ClientError {
    ClientError::NotSealed(format!("the knock could not be made: {error}"))
}

#[cfg(test)]
mod tests {
    use portunus_crypto::Secret;

    use super::*;

    #[test]
    fn no_two_knocks_are_the_same() {
        let server = openme::ServerKey::new(&Secret::from_bytes([7; 32])).unwrap();
        let seed = Secret::from_bytes([9; 32]);
        let public = *SigningKey::new(&seed).unwrap().public();
        let mut sealer = Sealer::new(&Keys::Openme { server: *server.public(), seed, public }).unwrap();
        let one = sealer.seal(None).unwrap();
        let two = sealer.seal(None).unwrap();
        assert_eq!(one.len(), openme::LENGTH);
        assert_ne!(one, two);
        let packet = openme::Packet::new_checked(&one).unwrap();
        let knock = server.unseal(&packet).unwrap().verify(&openme::VerifyingKey::new(public).unwrap());
        assert_eq!(knock.unwrap().target(), None);
    }
}
