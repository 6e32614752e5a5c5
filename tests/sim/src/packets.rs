//! Packets with the truth about them.

use std::collections::HashMap;
use std::net::IpAddr;

use portunus_crypto::Secret;
use portunus_crypto::ed25519::SigningKey;
use portunus_dialect::fwknop;
use portunus_dialect::fwknop::gpg::{GpgKeys, HmacKey, RingId, Signers, wrap};
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
    /// Whose key of GnuPG's signed it, and for which keyring.
    Signer(usize, u8),
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
    /// What gpg finds in each message that was made, and who signed it for which keyring.
    pub(crate) sealed: HashMap<Vec<u8>, (String, usize, u8)>,
}

impl Workshop {
    pub(crate) fn new() -> Self {
        Self { keys: HashMap::new(), server: *server_key().public(), made: 0, sealed: HashMap::new() }
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

    /// A text that `signer` has signed for the keyring `ring`, where `others` many have written it anew around the same
    /// encrypted text: all are one knock.
    pub(crate) fn signed(
        &mut self,
        (signer, ring): (usize, u8),
        stamp: Unix,
        wish: &fwknop::Wish,
        others: u8,
        dice: &mut Dice,
    ) -> Vec<Packet> {
        self.made += 1;
        let text = fwknop::encode(wish.clone(), stamp, dice).unwrap().text();
        let data: Vec<u8> = (0..300).map(|_| dice.next() as u8).collect();
        let hash = portunus_crypto::digest::sha256(&[b"portunus fwknop gpg text", text.as_bytes()]);
        let packet = |around: u8, sealed: &mut HashMap<_, _>| {
            let session: Vec<u8> = (0..267).map(|n| around.wrapping_add(n as u8) | 1).collect();
            let message = [&[0x85, 1, 12, 3][..], &session, &[0xd2], &data].concat();
            let hmac = ring_hmac(ring).map(|(hash, key)| HmacKey::new(hash, key).unwrap());
            let bytes = wrap(&message, hmac.as_ref()).unwrap().wire.into_bytes();
            sealed.insert(message, (text.clone(), signer, ring));
            Packet {
                bytes,
                maker: Maker::Signer(signer, ring),
                stamp: Unix::from_secs(stamp.as_secs()),
                target: wish.message.address().map(|address| address.to_canonical()),
                wish: Some(wish.clone()),
                id: self.made,
                claim: Some(fwknop::Packet::claim_key_of(&hash)),
                spoiled: None,
            }
        };
        (0..=others).map(|around| packet(around, &mut self.sealed)).collect()
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
    /// Whether GnuPG sealed it.
    pub(crate) fn is_of_gpg(&self) -> bool {
        matches!(self.maker, Maker::Signer(..))
    }

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

/// Who signs: the last is nobody that any stanza knows.
pub(crate) const SIGNERS: [&str; 3] = [
    "1F3133294BA3F0304255353F14729E41FC66E495",
    "00CC95F05BC146B6AC4038C9E36F443C6A3FAD56",
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
];

/// Sets of GnuPG's keys: the keyring of each, and whose signature it takes.
pub(crate) const GPG_SETS: [(u8, &[usize]); 4] = [(0, &[0]), (0, &[0, 1]), (1, &[1]), (2, &[0, 1])];

/// The HMAC of all that have this keyring.
pub(crate) fn ring_hmac(ring: u8) -> Option<(fwknop::HashType, &'static [u8])> {
    (ring == 2).then_some((fwknop::HashType::Sha256, b"the ring's HMAC key"))
}

pub(crate) fn gpg_id(set: usize) -> KeyId {
    KeyId([0xe0 + set as u8; 32])
}

/// The keys of GnuPG's of this number.
pub(crate) fn gpg_keys(set: usize) -> GpgKeys {
    let (ring, signers) = GPG_SETS[set];
    let fingerprints = signers.iter().map(|&signer| SIGNERS[signer].to_owned()).collect();
    let signers = Signers { required: true, fingerprints, ..Signers::default() };
    GpgKeys::new(gpg_id(set), RingId([ring; 32]), signers, None, ring_hmac(ring)).unwrap()
}

/// The sets that take what `signer` has signed for `ring`.
pub(crate) fn takers(signer: usize, ring: u8) -> Vec<KeyId> {
    let sets = GPG_SETS.iter().enumerate();
    let theirs = sets.filter(|(_, (one, signers))| *one == ring && signers.contains(&signer));
    theirs.map(|(set, _)| gpg_id(set)).collect()
}

pub(crate) fn server_key() -> ServerKey {
    ServerKey::new(&Secret::from_bytes(SERVER)).unwrap()
}
