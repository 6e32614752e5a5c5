//! Packets with the truth about them.

use std::collections::HashMap;
use std::net::IpAddr;

use portunus_crypto::Secret;
use portunus_crypto::ed25519::SigningKey;
use portunus_dialect::fwknop;
use portunus_dialect::openme::{ClientKeys, ServerKey, Wish, seal};
use portunus_model::{ClaimKey, KeyId, Unix};

use crate::dice::Dice;

pub(crate) const SERVER: [u8; 32] = [0x42; 32];

/// Who made a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Maker {
    /// Whoever has this key.
    Client([u8; 32]),
    /// Whoever has this set of fwknop's keys.
    Keys(KeyId),
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
    /// What an fwknop packet asks for.
    pub(crate) wish: Option<fwknop::Wish>,
    /// The same for every copy of it, unique otherwise. Of openme's no two are sealed with one stamp; fwknop's stamps are
    /// whole seconds, so those are known by their claims.
    pub(crate) id: u64,
    pub(crate) claim: Option<ClaimKey>,
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
        let maker = Maker::Client(*keys.client.public());
        Packet { bytes, maker, stamp, target, wish: None, id, claim: None, spoiled: None }
    }

    /// A text by fwknop's keys `number` that says `wish`.
    pub(crate) fn text(&mut self, number: u64, stamp: Unix, wish: fwknop::Wish, dice: &mut Dice) -> Packet {
        self.made += 1;
        let keys = fwknop_keys(number);
        let bytes = fwknop::seal(&keys, wish.clone(), stamp, dice).unwrap().wire.into_bytes();
        let claim = fwknop::Packet::new_checked(&bytes).map(|text| text.claim_key());
        Packet {
            bytes,
            maker: Maker::Keys(keys.id()),
            stamp: Unix::from_secs(stamp.as_secs()),
            target: wish.message.address().map(|address| address.to_canonical()),
            wish: Some(wish),
            id: self.made,
            claim,
            spoiled: None,
        }
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
        let stamp = Unix::default();
        let (maker, id) = (Maker::Noise, self.made);
        Packet { bytes, maker, stamp, target: None, wish: None, id, claim: None, spoiled: None }
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

/// fwknop's keys of this number.
pub(crate) fn fwknop_keys(number: u64) -> fwknop::Keys {
    let hmac = format!("hmac key {number}");
    let hash = fwknop::HashType::Sha256;
    fwknop::Keys::new(format!("key {number}").as_bytes(), fwknop::Mode::Cbc, Some((hash, hmac.as_bytes())))
        .unwrap()
}

pub(crate) fn server_key() -> ServerKey {
    ServerKey::new(&Secret::from_bytes(SERVER)).unwrap()
}
