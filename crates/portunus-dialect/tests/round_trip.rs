//! For every wish, clock and randomness: what is sealed opens to what was wished, and no changed bit survives.

#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use portunus_crypto::ed25519::SigningKey;
use portunus_crypto::{FixedEntropy, Secret, digest};
use portunus_dialect::openme::{
    self, ClientKeys, LENGTH, OpenError, Packet, SealError, ServerKey, VerifyingKey, Wish,
};
use portunus_dialect::{Knock, recognise};
use portunus_model::Unix;
use proptest::prelude::*;

struct Pair {
    server: ServerKey,
    client: ClientKeys,
    public: VerifyingKey,
}

fn pair(seed: u8) -> Pair {
    let server = ServerKey::new(&Secret::from_bytes([seed; 32])).unwrap();
    let client = SigningKey::new(&Secret::from_bytes([seed ^ 0xff; 32])).unwrap();
    let public = VerifyingKey::new(*client.public()).unwrap();
    let client = ClientKeys { server: *server.public(), client };
    Pair { server, client, public }
}

impl Pair {
    fn seal(&self, target: Option<IpAddr>, stamp: i64, random: &[u8; 60]) -> [u8; LENGTH] {
        let stamp = Unix::from_nanos(i128::from(stamp));
        openme::seal(&self.client, Wish { target }, stamp, &mut FixedEntropy::new(random)).unwrap()
    }

    fn open(&self, bytes: &[u8]) -> Option<Knock> {
        let packet = Packet::new_checked(bytes)?;
        self.server.unseal(&packet).ok()?.verify(&self.public)
    }
}

fn target() -> impl Strategy<Value = Option<IpAddr>> {
    prop_oneof![
        Just(None),
        any::<u32>().prop_map(|bits| Some(IpAddr::V4(bits.into()))),
        any::<u128>().prop_map(|bits| Some(IpAddr::V6(bits.into()))),
        any::<u32>().prop_map(|bits| Some(IpAddr::V6(std::net::Ipv4Addr::from(bits).to_ipv6_mapped()))),
        Just(Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED))),
    ]
}

fn random() -> impl Strategy<Value = [u8; 60]> {
    proptest::collection::vec(any::<u8>(), 60).prop_map(|bytes| bytes.try_into().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn what_is_sealed_opens_to_what_was_wished(target in target(), stamp: i64, random in random()) {
        let pair = pair(1);
        let packet = pair.seal(target, stamp, &random);
        prop_assert!(recognise(&packet).is_some());
        let knock = pair.open(&packet).unwrap();
        prop_assert_eq!(knock.stamp(), Unix::from_nanos(i128::from(stamp)));
        prop_assert_eq!(knock.target(), target.map(|a| a.to_canonical()).filter(|a| !a.is_unspecified()));
        let claim = knock.claim(Duration::from_secs(60));
        prop_assert_eq!(claim.keep_until, knock.stamp().after(Duration::from_secs(60)));
    }

    #[test]
    fn another_server_or_client_opens_nothing(stamp: i64, random in random()) {
        let (ours, other) = (pair(1), pair(2));
        let bytes = ours.seal(None, stamp, &random);
        let packet = Packet::new_checked(&bytes).unwrap();
        prop_assert_eq!(other.server.unseal(&packet).err(), Some(OpenError::NotForUs));
        prop_assert!(ours.server.unseal(&packet).unwrap().verify(&other.public).is_none());
    }

    #[test]
    fn no_bytes_break_it(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(pair(1).open(&bytes).is_none());
    }

    #[test]
    fn no_changed_bytes_survive(random in random(), changes in proptest::collection::vec((0..LENGTH, 1..=255u8), 1..4)) {
        let pair = pair(1);
        let packet = pair.seal(None, 0, &random);
        let mut changed = packet;
        for (at, by) in changes {
            changed[at] ^= by;
        }
        prop_assert_eq!(pair.open(&changed).is_some(), changed == packet);
    }
}

#[test]
fn every_single_bit_counts() {
    let pair = pair(1);
    let mut packet = pair.seal(Some("192.0.2.1".parse().unwrap()), 1_700_000_000_000_000_000, &[7; 60]);
    assert!(pair.open(&packet).is_some());
    for bit in 0..LENGTH * 8 {
        packet[bit / 8] ^= 1 << (bit % 8);
        assert!(pair.open(&packet).is_none(), "bit {bit}");
        packet[bit / 8] ^= 1 << (bit % 8);
    }
}

/// A claim is the client's and the nonce's: another seal or target around the same nonce is the same claim, another
/// client's packet with that nonce is not.
#[test]
fn a_claim_is_the_clients_and_the_nonces() {
    let (alice, bob) = (pair(1), pair(2));
    let key = |pair: &Pair, packet: [u8; LENGTH]| pair.open(&packet).unwrap().claim(Duration::ZERO).key;
    let random = |ephemeral: u8, nonce: u8| -> [u8; 60] {
        std::array::from_fn(|i| if i < 44 { ephemeral } else { nonce })
    };
    let first = key(&alice, alice.seal(None, 5, &random(1, 1)));
    assert_eq!(first, key(&alice, alice.seal(Some("192.0.2.1".parse().unwrap()), 6, &random(2, 1))));
    assert_ne!(first, key(&alice, alice.seal(None, 5, &random(1, 2))));
    assert_ne!(first, key(&bob, bob.seal(None, 5, &random(1, 1))));

    // Stores keep it over restarts and versions, so it may never become another.
    let name = digest::sha256(&[b"portunus openme claim", alice.public.as_bytes(), &[1; 16]]);
    assert_eq!(first.0[..], name[..16]);
}

#[test]
fn what_cannot_be_sealed_is_named() {
    let mut pair = pair(1);
    let seal = |keys: &ClientKeys, stamp, random: &[u8]| {
        openme::seal(keys, Wish::default(), stamp, &mut FixedEntropy::new(random)).err()
    };
    let after_time = Unix::from_nanos(i128::from(i64::MAX) + 1);
    assert_eq!(seal(&pair.client, after_time, &[1; 60]), Some(SealError::Clock));
    let now = Unix::from_secs(0);
    assert!(matches!(seal(&pair.client, now, &[1; 59]), Some(SealError::Entropy(_))));
    pair.client.server = [0; 32];
    assert_eq!(seal(&pair.client, now, &[1; 60]), Some(SealError::ServerKey));
}
