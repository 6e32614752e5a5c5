//! The fwknop dialect against Debian's own programs, both ways: their packets open here and ours there, for every type,
//! digest, HMAC and mode; and what either refuses, the other does too, but where the table says why not.
//!
//! `PORTUNUS_FWKNOP_MATRIX=full` runs all 2009 combinations (`make test-long`); otherwise it is a sample: every HMAC with
//! every mode, and in it every type and every digest.
#![expect(clippy::expect_used, reason = "a test's helper fails by panicking")]

use std::collections::HashSet;
use std::net::IpAddr;

use portunus_crypto::{SystemEntropy, text};
use portunus_dialect::fwknop::{
    self, HashType, Keys, Kind, Message, Mode, Nat, OpenError, Packet, Sealed, Wish,
};
use portunus_dialect::{Ask, Knock};
use portunus_interop::Original;
use portunus_model::{Proto, Unix};

/// One combination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Case {
    kind: Kind,
    digest: HashType,
    /// Which keys: a stanza each.
    lock: Lock,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Lock {
    hmac: Option<HashType>,
    mode: Mode,
}

impl Lock {
    fn all() -> Vec<Self> {
        let hmacs = || HashType::ALL.into_iter().map(Some).chain([None]);
        let locks = hmacs().flat_map(|hmac| Mode::ALL.map(|mode| Self { hmac, mode }));
        locks.filter(|lock| lock.mode != Mode::Legacy || lock.hmac.is_none()).collect()
    }

    /// Two raw keys that no other stanza has. The shortest and the longest of each come up.
    fn raw(self) -> (Vec<u8>, Vec<u8>) {
        let number = Self::all().iter().position(|&lock| lock == self).expect("it is one of all");
        let byte = u8::try_from(number).expect("there are few");
        let (length, hmac_length) = match number % 3 {
            0 => (32, 64),
            1 => (16, 128),
            _ => (5, 3),
        };
        (vec![byte + 1; length], vec![byte + 101; hmac_length])
    }

    fn keys(self) -> Keys {
        let (key, hmac_key) = self.raw();
        Keys::new(&key, self.mode, self.hmac.map(|hash| (hash, hmac_key.as_slice()))).expect("good keys")
    }

    fn stanza(self) -> String {
        let (key, hmac_key) = self.raw();
        let mode = self.mode.as_str();
        let mut stanza = format!(
            "SOURCE ANY\nKEY_BASE64 {}\nENCRYPTION_MODE {mode}\nENABLE_CMD_EXEC Y\n",
            text::encode(&key)
        );
        if let Some(hash) = self.hmac {
            let (key, hash) = (text::encode(&hmac_key), hash.as_str());
            stanza.push_str(&format!("HMAC_KEY_BASE64 {key}\nHMAC_DIGEST_TYPE {hash}\n"));
        }
        stanza
    }
}

impl Case {
    fn all() -> Vec<Self> {
        let pairs = || Kind::ALL.into_iter().flat_map(|kind| HashType::ALL.map(|digest| (kind, digest)));
        let with = |lock| pairs().map(move |(kind, digest)| Self { kind, digest, lock });
        Lock::all().into_iter().flat_map(with).collect()
    }

    /// All of them, or a sample.
    fn chosen() -> Vec<Self> {
        let all = Self::all();
        assert_eq!(all.len(), 2009, "7 types, 7 digests, 7 HMACs and none, 5 modes and legacy");
        if std::env::var("PORTUNUS_FWKNOP_MATRIX").is_ok_and(|word| word == "full") {
            return all;
        }
        // One of each lock, with another type and another digest each time.
        let sample: Vec<_> = (0..41).filter_map(|n| all.get(n * 49 + n * 8 % 49).copied()).collect();
        let different = |values: Vec<String>| values.into_iter().collect::<HashSet<_>>().len();
        let each = |value: fn(&Self) -> String| different(sample.iter().map(value).collect());
        assert_eq!(each(|case| format!("{:?}", case.kind)), 7, "every type");
        assert_eq!(each(|case| format!("{:?}", case.digest)), 7, "every digest");
        assert_eq!(each(|case| format!("{:?}", case.lock)), 41, "every mode with every HMAC");
        sample
    }

    fn wish(self) -> Wish {
        let address = Some(IpAddr::from([192, 0, 2, 7]));
        let ports = vec![(Proto::Tcp, 40_022), (Proto::Udp, 53)];
        let message = match self.kind {
            Kind::Command => Message::Command { address, text: "/bin/echo, hello".to_owned() },
            Kind::Access | Kind::AccessTimeout => Message::Access { address, ports },
            Kind::Nat | Kind::NatTimeout | Kind::LocalNat | Kind::LocalNatTimeout => {
                Message::Access { address, ports: vec![(Proto::Tcp, 40_022)] }
            }
        };
        let nat = match self.kind {
            Kind::Command | Kind::Access | Kind::AccessTimeout => None,
            Kind::Nat | Kind::NatTimeout => Some(nat("192.168.10.3", false)),
            Kind::LocalNat | Kind::LocalNatTimeout => Some(nat("127.0.0.1", true)),
        };
        let timeout = match self.kind {
            Kind::Command | Kind::Access | Kind::Nat | Kind::LocalNat => None,
            Kind::AccessTimeout | Kind::NatTimeout | Kind::LocalNatTimeout => Some(77),
        };
        Wish { nat, timeout, digest: self.digest, ..Wish::new("alice_99", message) }
    }

    /// What a user types for the same.
    fn arguments(self) -> Vec<String> {
        let (key, hmac_key) = self.lock.raw();
        let what: &[&str] = match self.kind {
            Kind::Command => &["-C", "/bin/echo, hello"],
            Kind::Access => &["-A", "tcp/40022,udp/53"],
            Kind::AccessTimeout => &["-A", "tcp/40022,udp/53", "-f", "77"],
            Kind::Nat => &["-A", "tcp/40022", "-N", "192.168.10.3:22"],
            Kind::NatTimeout => &["-A", "tcp/40022", "-N", "192.168.10.3:22", "-f", "77"],
            Kind::LocalNat => &["-A", "tcp/22", "--nat-local", "--nat-port", "40022"],
            Kind::LocalNatTimeout => &["-A", "tcp/22", "--nat-local", "--nat-port", "40022", "-f", "77"],
        };
        let usual =
            ["-a", "192.0.2.7", "-U", "alice_99", "-m", self.digest.as_str(), "-M", self.lock.mode.as_str()];
        let mut all: Vec<_> = [what, &usual].concat().into_iter().map(str::to_owned).collect();
        all.extend(["--key-base64-rijndael".to_owned(), text::encode(&key)]);
        if let Some(hash) = self.lock.hmac {
            all.extend(
                ["--use-hmac", "--hmac-digest-type", hash.as_str(), "--key-base64-hmac"].map(str::to_owned),
            );
            all.push(text::encode(&hmac_key));
        }
        all
    }
}

fn nat(host: &str, local: bool) -> Nat {
    Nat { host: host.to_owned(), port: 22, local }
}

#[test]
fn their_packets_open_here() {
    let original = Original::new();
    let locks: Vec<_> = Lock::all().into_iter().map(|lock| (lock, lock.keys())).collect();
    for case in Case::chosen() {
        let arguments = case.arguments();
        let packet = original.packet(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        let mut opened = locks.iter().filter_map(|(lock, keys)| Some((lock, open(keys, &packet).ok()?)));
        let (lock, knock) = opened.next().unwrap_or_else(|| panic!("{case:?}: no keys open {packet}"));
        assert_eq!(*lock, case.lock, "{case:?}");
        assert_eq!(opened.next(), None, "{case:?}: two sets of keys open it");
        let Ask::Fwknop(asked) = knock.ask() else { panic!("{case:?}: it is fwknop's") };
        assert_eq!(asked.wish, case.wish(), "{case:?}");
        assert_eq!(asked.wish.kind(), case.kind);
    }
}

#[test]
fn our_packets_open_there() {
    let cases = Case::chosen();
    let sealed: Vec<_> = cases.iter().map(|case| seal(&case.lock.keys(), case.wish())).collect();
    let packets: Vec<_> = sealed.iter().map(|sealed| sealed.wire.clone()).collect();
    let stanzas: String = Lock::all().into_iter().map(Lock::stanza).collect();
    let heard = Original::new().hears(&stanzas, &packets);
    for ((case, sealed), heard) in cases.iter().zip(&sealed).zip(heard) {
        let stanza = Lock::all().iter().position(|lock| *lock == case.lock).map(|number| number + 1);
        assert_eq!(heard.granted_by, stanza, "{case:?}:\n{}", heard.said);
        assert_eq!(heard.encoded.as_ref(), Some(&sealed.encoded), "{case:?}");
        assert!(!sealed.only_for_ours(), "{case:?}");
    }
}

fn lock() -> Lock {
    Lock { hmac: Some(HashType::Sha256), mode: Mode::Cbc }
}

fn access(address: &str) -> Wish {
    let address = Some(address.parse().expect("an address"));
    Wish::new("alice", Message::Access { address, ports: vec![(Proto::Tcp, 22)] })
}

/// No grant, one clear line, and the next packet is heard as if nothing had been.
#[test]
fn an_original_refuses_ipv6_cleanly() {
    let keys = lock().keys();
    let v6 = Wish { nat: Some(nat("2001:db8::2", false)), ..access("2001:db8::1") };
    let command =
        Message::Command { address: Some("2001:db8::1".parse().expect("IPv6")), text: "ls".to_owned() };
    let marked = [access("2001:db8::1"), v6, Wish::new("alice", command)].map(|wish| seal(&keys, wish));
    let plain = seal(&keys, access("192.0.2.1"));
    assert!(marked.iter().all(Sealed::only_for_ours) && !plain.only_for_ours());
    let packets: Vec<_> = marked.iter().chain([&plain]).map(|sealed| sealed.wire.clone()).collect();
    assert!(packets.iter().all(|packet| open(&keys, packet).is_ok()), "ours takes them all");

    let heard = Original::new().hears(&lock().stanza(), &packets);
    let granted: Vec<_> = heard.iter().map(|heard| heard.granted_by.is_some()).collect();
    assert_eq!(granted, [false, false, false, true], "{heard:#?}");
    let refused = ["ACCESS_VALIDFAIL", "ACCESS_VALIDFAIL", "MESSAGE_VALIDFAIL"];
    for (heard, word) in heard.iter().zip(refused) {
        let line = format!("Args contain invalid data: FKO_ERROR_INVALID_DATA_DECODE_{word}");
        assert!(heard.said.contains(&line), "{}", heard.said);
    }
}

/// What only ours takes for its length, it knows beforehand, to the character.
#[test]
fn an_original_refuses_long_packets_as_ours_says() {
    for lock in [lock(), Lock { hmac: None, mode: Mode::Cbc }] {
        let keys = lock.keys();
        let command = |length| Message::Command { address: None, text: "x".repeat(length) };
        let sealed: Vec<_> =
            (90..180).step_by(3).map(|n| seal(&keys, Wish::new("alice", command(n)))).collect();
        assert!(sealed.iter().any(Sealed::only_for_ours) && !sealed.iter().all(Sealed::only_for_ours));
        let packets: Vec<_> = sealed.iter().map(|sealed| sealed.wire.clone()).collect();
        for (sealed, heard) in sealed.iter().zip(Original::new().hears(&lock.stanza(), &packets)) {
            assert!(open(&keys, &sealed.wire).is_ok());
            assert_eq!(heard.granted_by.is_none(), sealed.only_for_ours(), "{}\n{}", sealed.wire, heard.said);
        }
    }
}

/// The original's mistake that ours does not make: one packet without HMAC, granted four times.
#[test]
fn one_packet_is_one_claim_here_and_four_there() {
    let lock = Lock { hmac: None, mode: Mode::Cbc };
    let keys = lock.keys();
    let wire = seal(&keys, access("192.0.2.1")).wire;
    let mut loose = wire.clone().into_bytes();
    let last = loose.last_mut().expect("a packet has letters");
    // The last letter has two unused bits, or four: the one behind it in the alphabet differs in the last of them.
    *last = match *last {
        b'Z' => b'a',
        b'z' => b'0',
        b'9' => b'+',
        letter => letter + 1,
    };
    let loose = String::from_utf8(loose).expect("base64");
    let packets = [wire.clone(), format!("{wire}="), format!("{wire}=="), loose, wire.clone()];
    let ours: Vec<_> = packets.iter().map(|packet| open(&keys, packet).is_ok()).collect();
    assert_eq!(
        ours,
        [true, false, false, false, true],
        "the last is the first again, for the store to refuse"
    );
    let heard = Original::new().hears(&lock.stanza(), &packets[..4]);
    assert!(heard.iter().all(|heard| heard.granted_by.is_some()), "{heard:#?}");
}

fn open(keys: &Keys, packet: &str) -> Result<Knock, OpenError> {
    keys.open(&Packet::new_checked(packet.as_bytes()).ok_or(OpenError::Shape)?)
}

fn seal(keys: &Keys, wish: Wish) -> Sealed {
    fwknop::seal(keys, wish, Unix::from_secs(1_795_217_501), &mut SystemEntropy).expect("a packet")
}
