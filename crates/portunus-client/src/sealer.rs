//! A profile's keys, ready to seal: the one place of the client that reads the clock and draws randomness.

use std::time::{SystemTime, UNIX_EPOCH};

use portunus_config::profile::Keys;
use portunus_crypto::SystemEntropy;
use portunus_crypto::ed25519::SigningKey;
use portunus_dialect::openme;
use portunus_model::Unix;

use crate::native::NativeSealer;
use crate::{ClientError, Heard, Request, Seal, Way};

/// Seals knocks with a profile's keys, each at the time that it is made.
pub enum Sealer {
    /// In openme's dialect.
    Openme(Box<openme::ClientKeys>),
    /// In our own.
    Native(Box<NativeSealer>),
}

impl Sealer {
    /// Makes a profile's keys ready, for knocks that ask for `request`.
    ///
    /// # Errors
    /// The cryptographic library refused them, or their dialect cannot say what is asked for.
    pub fn new(keys: &Keys, request: Request) -> Result<Self, ClientError> {
        match keys {
            Keys::Openme { .. } if request != Request::default() => Err(ClientError::CannotSay),
            Keys::Openme { server, seed, .. } => {
                let client = SigningKey::new(seed).map_err(|error| not_sealed(&error))?;
                Ok(Self::Openme(Box::new(openme::ClientKeys { server: *server, client })))
            }
            Keys::Native(keys) => {
                let sealer = NativeSealer::new(keys, request).map_err(|error| not_sealed(&error))?;
                Ok(Self::Native(Box::new(sealer)))
            }
        }
    }

    /// The native one, where it is.
    #[must_use]
    pub fn native(&self) -> Option<&NativeSealer> {
        match self {
            Self::Openme(_) => None,
            Self::Native(sealer) => Some(sealer),
        }
    }

    /// The same, to be worked with.
    pub fn native_mut(&mut self) -> Option<&mut NativeSealer> {
        match self {
            Self::Openme(_) => None,
            Self::Native(sealer) => Some(sealer),
        }
    }

    /// A new round: its knocks are first tries.
    pub fn begin(&mut self) {
        match self {
            Self::Openme(_) => (),
            Self::Native(sealer) => sealer.begin(),
        }
    }
}

impl Seal for Sealer {
    fn seal(&mut self, way: &Way) -> Result<Vec<u8>, ClientError> {
        match self {
            Self::Openme(keys) => {
                let wish = openme::Wish { target: way.target };
                let bytes = openme::seal(keys, wish, wall(), &mut SystemEntropy);
                Ok(bytes.map_err(|error| not_sealed(&error))?.to_vec())
            }
            Self::Native(sealer) => {
                sealer.seal(way, wall(), &mut SystemEntropy).map_err(|error| not_sealed(&error))
            }
        }
    }

    fn listens(&self) -> bool {
        self.native().is_some_and(NativeSealer::listens)
    }

    fn hear(&mut self, bytes: &[u8]) -> Option<Heard> {
        match self {
            Self::Openme(_) => None,
            Self::Native(sealer) => sealer.hear(bytes, wall()),
        }
    }

    fn one_flow(&self) -> bool {
        self.native().is_some_and(NativeSealer::one_flow)
    }

    fn wonders(&self) -> bool {
        self.native().is_some_and(NativeSealer::wonders)
    }

    fn door_opened(&mut self) {
        match self {
            Self::Openme(_) => (),
            Self::Native(sealer) => sealer.door_opened(),
        }
    }
}

/// The wall clock; a clock before 1970 is told as such, so that the sealed packet is merely stale.
pub(crate) fn wall() -> Unix {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => Unix::from_nanos(0).after(since),
        Err(before) => Unix::from_nanos(0).before(before.duration()),
    }
}

pub(crate) fn not_sealed(error: &dyn std::fmt::Display) -> ClientError {
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
        let keys = Keys::Openme { server: *server.public(), seed, public };
        let mut sealer = Sealer::new(&keys, Request::default()).unwrap();
        let to = "127.0.0.1:9".parse().unwrap();
        let way = Way { to, from: [127, 0, 0, 1].into(), target: None, source_port: None };
        let one = sealer.seal(&way).unwrap();
        let two = sealer.seal(&way).unwrap();
        assert_eq!(one.len(), openme::LENGTH);
        assert_ne!(one, two);
        let packet = openme::Packet::new_checked(&one).unwrap();
        let knock = server.unseal(&packet).unwrap().verify(&openme::VerifyingKey::new(public).unwrap());
        assert_eq!(knock.unwrap().target(), None);
    }

    #[test]
    fn what_a_dialect_cannot_say_is_refused_before_anything_is_sent() {
        let seed = Secret::from_bytes([9; 32]);
        let public = *SigningKey::new(&seed).unwrap().public();
        let keys = Keys::Openme { server: [9; 32], seed, public };
        let request = Request { services: vec!["ssh".into()], ..Request::default() };
        assert_eq!(Sealer::new(&keys, request).err(), Some(ClientError::CannotSay));
    }
}
