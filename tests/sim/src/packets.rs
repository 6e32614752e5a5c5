//! Packets with the truth about them.

use std::collections::HashMap;
use std::net::IpAddr;

use portunus_crypto::Secret;
use portunus_crypto::ed25519::SigningKey;
use portunus_dialect::openme::{ClientKeys, ServerKey, Wish, seal};
use portunus_model::Unix;

use crate::dice::Dice;

pub(crate) const SERVER: [u8; 32] = [0x42; 32];

/// Who made a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Maker {
    /// Whoever has this key.
    Client([u8; 32]),
    /// Somebody who knows the server's public key and nothing else.
    Stranger,
    /// Nobody: random bytes.
    Noise,
}

/// A packet, as it travels.
#[derive(Debug, Clone)]
pub(crate) struct Packet {
    pub(crate) bytes: Vec<u8>,
    pub(crate) maker: Maker,
    pub(crate) stamp: Unix,
    pub(crate) target: Option<IpAddr>,
    /// The same for every copy of it; unique otherwise, for no two are sealed with one stamp.
    pub(crate) id: u64,
    /// The byte that was changed on the way, and how.
    pub(crate) spoiled: Option<(usize, u8)>,
}

/// Makes packets.
pub(crate) struct Workshop {
    keys: HashMap<u64, ClientKeys>,
    server: [u8; 32],
    made: u64,
}

impl Workshop {
    pub(crate) fn new() -> Self {
        Self { keys: HashMap::new(), server: *server_key().public(), made: 0 }
    }

    fn key(&mut self, number: u64) -> &ClientKeys {
        self.keys.entry(number).or_insert_with(|| {
            let mut seed = [9; 32];
            seed[..8].copy_from_slice(&number.to_be_bytes());
            ClientKeys { server: self.server, client: SigningKey::new(&Secret::from_bytes(seed)).unwrap() }
        })
    }

    pub(crate) fn public(&mut self, number: u64) -> [u8; 32] {
        *self.key(number).client.public()
    }

    /// A packet by key `number`, stamped `stamp` or some nanoseconds later.
    pub(crate) fn knock(
        &mut self,
        number: u64,
        stamp: Unix,
        target: Option<IpAddr>,
        dice: &mut Dice,
    ) -> Packet {
        self.made += 1;
        let id = self.made;
        let stamp = Unix::from_nanos(stamp.as_nanos() / 1_000_000 * 1_000_000 + i128::from(id));
        let keys = self.key(number);
        let bytes = seal(keys, Wish { target }, stamp, dice).unwrap().to_vec();
        Packet { bytes, maker: Maker::Client(*keys.client.public()), stamp, target, id, spoiled: None }
    }

    pub(crate) fn stranger(&mut self, stamp: Unix, dice: &mut Dice) -> Packet {
        Packet { maker: Maker::Stranger, ..self.knock(1_000_000, stamp, None, dice) }
    }

    pub(crate) fn noise(&mut self, dice: &mut Dice) -> Packet {
        self.made += 1;
        let length = *dice.pick(&[0, 1, 164, 165, 166, 1500]);
        let mut bytes: Vec<u8> = (0..length).map(|_| dice.next() as u8).collect();
        if let Some(version) = bytes.first_mut() {
            *version = 2; // not openme's
        }
        let (stamp, target) = (Unix::default(), None);
        Packet { bytes, maker: Maker::Noise, stamp, target, id: self.made, spoiled: None }
    }
}

impl Packet {
    /// One bit is flipped on the way.
    pub(crate) fn spoil(mut self, dice: &mut Dice) -> Self {
        if self.maker != Maker::Noise && self.spoiled.is_none() {
            let (place, bit) = (dice.roll(self.bytes.len() as u64) as usize, 1 << dice.roll(8));
            self.bytes[place] ^= bit;
            self.spoiled = Some((place, bit));
        }
        self
    }
}

pub(crate) fn server_key() -> ServerKey {
    ServerKey::new(&Secret::from_bytes(SERVER)).unwrap()
}
