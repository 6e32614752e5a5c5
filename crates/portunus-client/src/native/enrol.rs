//! The packets of who was invited: a key of its own and a link that it has drawn, under the invitation's secret.

use portunus_config::profile::NativeKeys;
use portunus_config::profile::invitation::Code;
use portunus_crypto::x25519::PrivateKey;
use portunus_crypto::{LibraryRefused, Secret, SystemEntropy};
use portunus_dialect::native::{
    self, Chain, ChainError, ClientKeys, Day, Kind, NewDoor, Payload, Pending, SealError, Status,
};

use super::MOST_PENDING;
use crate::sealer::{not_sealed, wall};
use crate::{ClientError, Heard, Seal, Way};

/// Seals them, and hears where to knock from now on.
pub struct Enroller {
    server: [u8; 32],
    door: Chain,
    secret: Secret<32>,
    client: PrivateKey,
    link: Chain,
    pending: Vec<Pending>,
    real: Option<NewDoor>,
}

impl Enroller {
    /// For the key and the link in `keys`, by the invitation `code`.
    ///
    /// # Errors
    /// The cryptographic library refused the key.
    pub fn new(code: &Code, keys: &NativeKeys) -> Result<Self, LibraryRefused> {
        let copy = |chain: &Chain| Chain::new(chain.day(), chain.value().duplicate());
        Ok(Self {
            server: code.server,
            door: copy(&code.door),
            secret: code.secret.duplicate(),
            client: PrivateKey::new(&keys.secret)?,
            link: copy(&keys.link),
            pending: Vec::new(),
            real: None,
        })
    }

    /// `keys` as they are once the server has taken them in; `None`: it has not.
    ///
    /// # Errors
    /// The days of both chains are too far apart: a clock is wrong.
    pub fn enrolled(&self, keys: &NativeKeys) -> Option<Result<NativeKeys, ChainError>> {
        let real = self.real.as_ref()?;
        let mut keys = keys.duplicate();
        (keys.server, keys.door) = (real.server, Chain::new(real.day, real.value.duplicate()));
        // A profile keeps both from one day on.
        let first = keys.door.day().max(keys.link.day());
        let both = keys.door.advance(first).and_then(|()| keys.link.advance(first));
        keys.newest = first;
        Some(both.map(|()| keys))
    }

    fn sealed(&mut self) -> Result<Vec<u8>, SealError> {
        let now = wall();
        let day = Day::of(now).ok_or(SealError::Clock)?;
        let payload = Payload {
            kind: Kind::Enrol,
            wants_answer: true,
            link: Some(self.link.at(day)?),
            ..Payload::knock(now)
        };
        // The secret is the same every day.
        let secret = Chain::new(day, self.secret.duplicate());
        let keys = ClientKeys { server: self.server, client: &self.client, door: &self.door, link: &secret };
        let (bytes, pending) = native::seal(&keys, &payload, &mut SystemEntropy)?;
        self.pending.truncate(MOST_PENDING - 1);
        self.pending.insert(0, pending);
        Ok(bytes)
    }
}

impl Seal for Enroller {
    fn seal(&mut self, _way: &Way) -> Result<Vec<u8>, ClientError> {
        self.sealed().map_err(|error| not_sealed(&error))
    }

    fn listens(&self) -> bool {
        true
    }

    fn hear(&mut self, bytes: &[u8]) -> Option<Heard> {
        let answer = self.pending.iter().find_map(|pending| pending.open(&self.client, bytes).ok())?;
        let heard = Heard::of(&answer, wall());
        if let (Status::Enrolled, Some(door)) = (answer.status, answer.door) {
            self.real = Some(door);
        }
        Some(heard)
    }
}
