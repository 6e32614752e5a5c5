//! For every wish, key, clock and randomness: what is sealed opens to what was wished, with those keys alone, and no
//! other text opens in its place.

#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use portunus_crypto::{FixedEntropy, digest};
use portunus_dialect::fwknop::{
    self, FieldError, HashType, Keys, Message, Mode, Nat, OpenError, Packet, SealError, Sealed, Wish,
    envelope,
};
use portunus_dialect::{Ask, Knock};
use portunus_model::{Proto, Unix};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const NOW: i64 = 1_795_217_501;

fn open(keys: &Keys, text: &[u8]) -> Result<Knock, OpenError> {
    keys.open(&Packet::new_checked(text).ok_or(OpenError::Shape)?)
}

fn seal(keys: &Keys, wish: &Wish, random: u64, salt: [u8; 8]) -> Result<Sealed, SealError> {
    let entropy = [random.to_be_bytes(), salt].concat();
    fwknop::seal(keys, wish.clone(), Unix::from_secs(NOW), &mut FixedEntropy::new(&entropy))
}

/// What keys are made of; keys themselves cannot be printed.
#[derive(Debug, Clone)]
struct Raw {
    key: Vec<u8>,
    mode: Mode,
    hmac: Option<(HashType, Vec<u8>)>,
}

impl Raw {
    fn keys(&self) -> Keys {
        let hmac = self.hmac.as_ref().map(|(hash, key)| (*hash, key.as_slice()));
        Keys::new(&self.key, self.mode, hmac).unwrap()
    }
}

/// With and without HMAC, from one end of the key lengths to the other.
fn raw() -> impl Strategy<Value = Raw> {
    let hmac = option::of((select(HashType::ALL.to_vec()), vec(any::<u8>(), 33..=128)));
    let modes = Mode::ALL.into_iter().filter(|&mode| mode != Mode::Legacy).collect::<Vec<_>>();
    prop_oneof![
        4 => (vec(any::<u8>(), 1..=32), select(modes), hmac).prop_map(|(key, mode, hmac)| Raw { key, mode, hmac }),
        1 => vec(any::<u8>(), 1..=128).prop_map(|key| Raw { key, mode: Mode::Legacy, hmac: None }),
    ]
}

fn address() -> impl Strategy<Value = Option<IpAddr>> {
    let v6 = any::<u128>().prop_map(Ipv6Addr::from);
    let plain = |address: &Ipv6Addr| !address.is_unspecified() && address.to_ipv4_mapped().is_none();
    prop_oneof![
        Just(None),
        (1..=u32::MAX).prop_map(|bits| Some(IpAddr::V4(bits.into()))),
        v6.prop_filter("IPv4 has its own form", plain).prop_map(|address| Some(IpAddr::V6(address))),
    ]
}

fn message() -> impl Strategy<Value = Message> {
    let port = (select(vec![Proto::Tcp, Proto::Udp]), 1..=u16::MAX);
    prop_oneof![
        3 => (address(), vec(port, 1..20)).prop_map(|(address, ports)| Message::Access { address, ports }),
        1 => (address(), "[ -~äß€\n]{1,120}").prop_map(|(address, text)| Message::Command { address, text }),
    ]
}

fn wish() -> impl Strategy<Value = Wish> {
    let nat = ("[a-zA-Z0-9._-]{1,70}", 1..=u16::MAX, any::<bool>()).prop_map(|(host, port, local)| Nat {
        host,
        port,
        local,
    });
    let extra =
        (option::of(nat), option::of(vec(any::<u8>(), 0..40)), option::of(0..=fwknop::LONGEST_TIMEOUT));
    let user = "[a-zA-Z0-9 !#$%&'(){}@^_`~.-]{1,48}";
    (user, "[ -9;-~]{1,8}", message(), extra, select(HashType::ALL.to_vec())).prop_map(
        |(user, version, message, (nat, server_auth, timeout), digest)| {
            let command = matches!(message, Message::Command { .. });
            let (nat, timeout) = if command { (None, None) } else { (nat, timeout) };
            Wish { user, version, message, nat, server_auth, timeout, digest }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn what_is_sealed_opens_to_what_was_wished(keys in raw(), wish in wish(), random: u32, salt: [u8; 8]) {
        let keys = keys.keys();
        let sealed = seal(&keys, &wish, u64::from(random), salt).unwrap();
        prop_assert_eq!(&sealed.asked.wish, &wish);
        let knock = open(&keys, sealed.wire.as_bytes()).unwrap();
        prop_assert_eq!(knock.stamp(), Unix::from_secs(NOW));
        prop_assert_eq!(knock.target(), wish.message.address());
        prop_assert_eq!(knock.claim(Duration::ZERO).key.0[..].to_vec(), digest::sha256(&[sealed.wire.as_bytes()])[..16].to_vec());
        prop_assert_eq!(knock.ask(), &Ask::Fwknop(Box::new(sealed.asked)));
    }

    #[test]
    fn other_keys_open_nothing(ours in raw(), theirs in raw(), wish in wish(), salt: [u8; 8]) {
        let (ours, theirs) = (ours.keys(), theirs.keys());
        prop_assume!(ours.id() != theirs.id());
        let sealed = seal(&ours, &wish, 7, salt).unwrap();
        prop_assert!(open(&theirs, sealed.wire.as_bytes()).is_err());
    }

    #[test]
    fn no_bytes_break_it(keys in raw(), bytes in vec(any::<u8>(), 0..1600), text in "[89+/][A-Za-z0-9+/]{35,600}") {
        let keys = keys.keys();
        prop_assert!(open(&keys, &bytes).is_err());
        prop_assert!(open(&keys, text.as_bytes()).is_err());
    }

    /// Whatever an authentic packet says: it is refused, or it means what ours would write.
    #[test]
    fn no_text_breaks_it(text in "[0-9]{16}:[A-Za-z0-9]{2,8}:[0-9]{1,12}:3.0.0:[0-7]:[A-Za-z0-9+/=]{0,60}(:[A-Za-z0-9+/=]{0,20}){0,3}") {
        let keys = Keys::new(&[1; 32], Mode::Cbc, None).unwrap();
        let packet = envelope(&keys, &text, HashType::Sha256, [2; 8]);
        if let Ok(knock) = open(&keys, packet.wire.as_bytes()) {
            let Ask::Fwknop(asked) = knock.ask() else { panic!("an fwknop packet") };
            let random = asked.random.parse().unwrap();
            let again = seal(&keys, &asked.wish, random, [2; 8]).unwrap();
            prop_assert_eq!(again.asked.wish, asked.wish.clone());
        }
    }
}

fn some_keys() -> Vec<Keys> {
    let hmac = |hash| Keys::new(&[1; 32], Mode::Cbc, Some((hash, &[2; 32]))).unwrap();
    let mode = |mode| Keys::new(&[1; 32], mode, None).unwrap();
    HashType::ALL.map(hmac).into_iter().chain(Mode::ALL.map(mode)).collect()
}

fn some_wish() -> Wish {
    Wish::new("root", Message::Access { address: Some([1, 2, 3, 4].into()), ports: vec![(Proto::Tcp, 22)] })
}

/// One packet, one claim: of all texts that differ in one letter, in their end or in their prefix, none opens. Salts
/// change, so that every number of unused bits comes up in a last letter.
#[test]
fn no_second_text_opens() {
    for keys in some_keys() {
        let sealed = seal(&keys, &some_wish(), 7, [9; 8]).unwrap();
        let mut text = sealed.wire.clone().into_bytes();
        assert!(open(&keys, &text).is_ok());
        for at in 0..text.len() {
            let own = text[at];
            for &letter in LETTERS.iter().filter(|&&letter| letter != own) {
                text[at] = letter;
                assert!(open(&keys, &text).is_err(), "{} at {at}", sealed.wire);
            }
            text[at] = own;
        }
        for other in [
            format!("{}=", sealed.wire),
            format!("{}==", sealed.wire),
            format!("{}A", sealed.wire),
            sealed.wire[..text.len() - 1].to_owned(),
            format!("U2FsdGVkX1{}", sealed.wire),
            format!("{}\n", sealed.wire),
        ] {
            assert!(open(&keys, other.as_bytes()).is_err(), "{other}");
        }
    }
}

/// Without an HMAC the last letter has unused bits, which the original does not look at.
#[test]
fn unused_bits_are_zero() {
    let keys = Keys::new(&[1; 32], Mode::Cbc, None).unwrap();
    let mut seen = 0;
    for length in 1..40 {
        let wish = Wish { user: "u".repeat(length), ..some_wish() };
        let wire = seal(&keys, &wish, 7, [9; 8]).unwrap().wire;
        let (start, last) = wire.split_at(wire.len() - 1);
        let value = LETTERS.iter().position(|&letter| letter == last.as_bytes()[0]).unwrap();
        let unused = match (wire.len() + 10) % 4 {
            2 => 4,
            3 => 2,
            _ => continue,
        };
        for bits in 1..1 << unused {
            let other = format!("{start}{}", char::from(LETTERS[value | bits]));
            assert_eq!(open(&keys, other.as_bytes()), Err(OpenError::NotCanonical), "{other}");
            seen += 1;
        }
    }
    assert!(seen > 100, "both numbers of unused bits have come up");
}

#[test]
fn what_cannot_be_sealed_is_named() {
    let keys = Keys::new(&[1; 32], Mode::Cbc, None).unwrap();
    let refused = |wish: &Wish| seal(&keys, wish, 7, [9; 8]).err();
    let field = |wish: Wish| match refused(&wish) {
        Some(SealError::Field(field)) => Some(field),
        Some(SealError::Clock | SealError::TooLong(_) | SealError::Entropy(_)) | None => None,
    };
    let wish = some_wish();
    assert_eq!(refused(&wish), None);
    for user in [String::new(), "a".repeat(49), "a:b".into(), "ä".into(), "a\n".into()] {
        assert_eq!(field(Wish { user, ..wish.clone() }), Some(FieldError::User));
    }
    for version in ["", "123456789", "1:2"] {
        assert_eq!(field(Wish { version: version.into(), ..wish.clone() }), Some(FieldError::Version));
    }
    let nat = |host: &str, port| Some(Nat { host: host.into(), port, local: false });
    for nat in [nat("", 22), nat("host", 0), nat("ho st", 22), nat("2001:db8::1", 22)] {
        assert_eq!(field(Wish { nat, ..wish.clone() }), Some(FieldError::Nat));
    }
    assert_eq!(field(Wish { timeout: Some(65_537), ..wish.clone() }), Some(FieldError::Timeout));
    let access = |address, ports| Wish::new("root", Message::Access { address, ports });
    let unspecified = Some([0, 0, 0, 0].into());
    assert_eq!(field(access(unspecified, vec![(Proto::Tcp, 22)])), Some(FieldError::Address));
    assert_eq!(field(access(None, vec![])), Some(FieldError::Message));
    assert_eq!(field(access(None, vec![(Proto::Udp, 0)])), Some(FieldError::Ports));
    let command = Wish::new("root", Message::Command { address: None, text: "ls".into() });
    assert_eq!(field(Wish { timeout: Some(1), ..command.clone() }), Some(FieldError::Timeout));
    assert_eq!(field(Wish { nat: nat("host", 22), ..command }), Some(FieldError::Nat));
    let auth = Wish { server_auth: Some(vec![7; 900]), ..wish.clone() };
    assert!(matches!(refused(&auth), Some(SealError::TooLong(_))));

    let at =
        |stamp, bytes: &[u8]| fwknop::seal(&keys, wish.clone(), stamp, &mut FixedEntropy::new(bytes)).err();
    assert_eq!(at(Unix::from_secs(-1), &[1; 16]), Some(SealError::Clock));
    assert_eq!(at(Unix::from_secs(1_000_000_000_000), &[1; 16]), Some(SealError::Clock));
    assert!(matches!(at(Unix::from_secs(NOW), &[1; 15]), Some(SealError::Entropy(_))));
}

/// What only ours opens is marked: the client can say so before it sends.
#[test]
fn what_the_original_cannot_take_is_known() {
    let hmac = Keys::new(&[1; 32], Mode::Cbc, Some((HashType::Sha256, &[2; 32]))).unwrap();
    let bare = Keys::new(&[1; 32], Mode::Cbc, None).unwrap();
    let ours = |keys: &Keys, ports: usize| {
        let ports = vec![(Proto::Tcp, 22); ports];
        let wish = Wish::new("root", Message::Access { address: Some([1, 2, 3, 4].into()), ports });
        seal(keys, &wish, 7, [9; 8]).unwrap().only_for_ours()
    };
    assert!(!ours(&hmac, 18) && ours(&hmac, 20));
    assert!(!ours(&bare, 20) && ours(&bare, 22));
    let address = Some("2001:db8::1".parse().unwrap());
    let ports = vec![(Proto::Tcp, 22)];
    let ipv6 = Wish::new("root", Message::Access { address, ports });
    let nat = Some(Nat { host: "2001:db8::2".into(), port: 22, local: false });
    assert!(seal(&hmac, &Wish { nat, ..ipv6 }, 7, [9; 8]).unwrap().only_for_ours());
}
