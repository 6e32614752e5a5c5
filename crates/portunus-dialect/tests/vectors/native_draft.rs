//! Makes the vectors of `vectors/native`. They are committed: a change of the dialect that changes one breaks it for
//! everybody, and shows here first.
//!
//! `PORTUNUS_DRAFT_VECTORS=1 cargo test --release -p portunus-dialect --test vectors` writes them anew.

use std::fmt::Write as _;
use std::path::Path;

use portunus_crypto::elligator::distinguisher::{neighbours, other_spellings};
use portunus_crypto::x25519::PrivateKey;
use portunus_crypto::{Entropy, EntropyFailed, Secret, blake2s, siphash};
use portunus_dialect::native::{
    Answer, Chain, Code, Day, Door, Kind, LONGEST, NewDoor, Payload, Pending, SHORTEST, Status, seal,
};
use portunus_model::Unix;

use crate::native::{Ends, FOLDER, KINDS, STATUSES};

const NOON: i64 = 1_795_694_400;

/// BLAKE2s of a count, and what was drawn of it.
struct Recorded(u64, Vec<u8>);

impl Entropy for Recorded {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyFailed> {
        for chunk in out.chunks_mut(32) {
            self.0 += 1;
            let block = blake2s::hash(&[b"portunus/1 vectors", &self.0.to_le_bytes()]);
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
        self.1.extend_from_slice(out);
        Ok(())
    }
}

/// What is committed is what is made.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test reads and writes its vectors itself")]
fn the_vectors_are_those_that_are_made() {
    for (name, text) in drafts() {
        let path = Path::new(FOLDER).join(format!("{name}.vec"));
        if std::env::var_os("PORTUNUS_DRAFT_VECTORS").is_some() {
            std::fs::create_dir_all(FOLDER).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "{name}");
    }
}

fn drafts() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for (number, (name, payload)) in payloads().into_iter().enumerate() {
        let draft = Draft::new(number, &payload);
        all.push((format!("seal-{:02}-{name}", number + 1), draft.sealed("seal", name)));
    }
    for (number, (name, answer)) in answers().into_iter().enumerate() {
        let payload = Payload { wants_answer: true, ..Payload::knock(Unix::from_secs(NOON)) };
        let draft = Draft::new(100 + number, &payload);
        all.push((format!("answer-{:02}-{name}", number + 1), draft.answered(name, &answer)));
    }
    let draft = Draft::new(200, &Payload::knock(Unix::from_secs(NOON)));
    for (number, (name, packets, expect)) in refusals(&draft).into_iter().enumerate() {
        all.push((format!("refuse-{:02}-{name}", number + 1), draft.refused(name, &packets, expect)));
    }
    all
}

fn payloads() -> Vec<(&'static str, Payload)> {
    let knock = || Payload::knock(Unix::from_secs(NOON));
    let at =
        |secs: i64, nanos: i128| Payload::knock(Unix::from_nanos(i128::from(secs) * 1_000_000_000 + nanos));
    let midnight = NOON / 86_400 * 86_400;
    vec![
        ("plain", knock()),
        ("services", Payload { services: vec!["ssh".into(), "web".into()], ..knock() }),
        ("target-ipv4", Payload { target: Some([192, 0, 2, 7].into()), ..knock() }),
        ("target-ipv6", Payload { target: Some("2001:db8::7".parse().unwrap()), ..knock() }),
        ("seconds-and-source-port", Payload { seconds: 90, source_port: 40_001, ..knock() }),
        ("one-time-code", Payload { code: Some(Code { value: 12_345, attempt: *b"attempt!" }), ..knock() }),
        ("close", Payload { kind: Kind::Close, ..knock() }),
        (
            "enrol",
            Payload {
                kind: Kind::Enrol,
                link: Some(Secret::from_bytes([21; 32])),
                wants_answer: true,
                ..knock()
            },
        ),
        ("new-link", Payload { kind: Kind::NewLink, link: Some(Secret::from_bytes([22; 32])), ..knock() }),
        ("all-that-fits", Payload { services: vec!["a".repeat(117).into()], ..knock() }),
        ("first-millisecond-of-its-day", at(midnight, 0)),
        ("last-millisecond-of-its-day", at(midnight + 86_399, 999_000_000)),
    ]
}

fn answers() -> Vec<(&'static str, Answer)> {
    let answer = |status| Answer {
        status,
        seconds: 30,
        seen: Some([198, 51, 100, 4].into()),
        time: Unix::from_secs(NOON + 93),
        door: None,
    };
    let door = NewDoor { server: [5; 32], day: Day::from_number(20_783), value: Secret::from_bytes([6; 32]) };
    vec![
        ("granted", answer(Status::Granted)),
        ("stale", Answer { seconds: 0, ..answer(Status::Stale) }),
        ("new-door", Answer { door: Some(door), ..answer(Status::Granted) }),
    ]
}

/// Mostly tagged anew, as somebody inside could.
fn refusals(draft: &Draft) -> Vec<(&'static str, Vec<Vec<u8>>, &'static str)> {
    let knock = &draft.packet;
    let representative: [u8; 32] = knock[8..40].try_into().unwrap();
    let changed = |at: usize| {
        let mut changed = knock.clone();
        changed[at] ^= 1;
        changed
    };
    let with = |other: &[u8; 32]| {
        let mut changed = knock.clone();
        changed[8..40].copy_from_slice(other);
        draft.tagged(&changed)
    };
    let resized = |length| {
        let mut other = knock.clone();
        other.resize(length, 0);
        other
    };
    let spellings = other_spellings(&representative);
    assert_eq!(spellings.len(), 7);
    let mut all = vec![
        ("too-short", vec![resized(SHORTEST - 1), resized(0)], "length"),
        ("too-long", vec![resized(LONGEST + 1)], "length"),
        ("tag-changed", vec![changed(0), changed(7)], "tag"),
        ("ephemeral-changed", vec![changed(8), changed(39)], "tag"),
        ("client-changed", vec![changed(40), changed(87)], "tag"),
        ("payload-changed", vec![changed(88), changed(knock.len() - 1)], "tag"),
        ("tail-added", vec![resized(knock.len() + 1)], "tag"),
        ("tail-added-and-tagged", vec![draft.tagged(&resized(knock.len() + 1))], "forged"),
        ("client-changed-and-tagged", vec![draft.tagged(&changed(40)), draft.tagged(&changed(87))], "forged"),
        (
            "payload-changed-and-tagged",
            vec![draft.tagged(&changed(88)), draft.tagged(&changed(knock.len() - 1))],
            "forged",
        ),
        ("low-order-added", neighbours(&representative).iter().map(with).collect(), "forged"),
        ("ephemeral-of-low-order", vec![with(&[0; 32])], "low-order"),
    ];
    for (number, name) in
        ["spelling-1", "spelling-2", "spelling-3", "spelling-4", "spelling-5", "spelling-6", "spelling-7"]
            .into_iter()
            .enumerate()
    {
        all.push((name, vec![with(&spellings[number])], "forged"));
    }
    all
}

/// A vector on its way to a file.
struct Draft {
    ends: Ends,
    head: String,
    packet: Vec<u8>,
    pending: Pending,
    number: u64,
}

impl Draft {
    fn new(number: usize, payload: &Payload) -> Self {
        let number = u64::try_from(number).unwrap();
        let secret = |what: &str| {
            Secret::from_bytes(blake2s::hash(&[
                b"portunus/1 vectors",
                what.as_bytes(),
                &number.to_le_bytes(),
            ]))
        };
        let day = Day::of(payload.stamp).unwrap();
        let link_day = day.minus(u32::try_from(number % 3).unwrap());
        let ends = Ends {
            door: Door::new(&secret("door")).unwrap(),
            chain: Chain::new(day, secret("door chain")),
            client: PrivateKey::new(&secret("client")).unwrap(),
            link: Chain::new(link_day, secret("link chain")),
        };
        let mut entropy = Recorded(number << 32, Vec::new());
        let (packet, pending) = seal(&ends.keys(), payload, &mut entropy).unwrap();
        let mut head = String::new();
        let mut line = |name: &str, value: &str| writeln!(head, "{name}: {value}").unwrap();
        let base64 = |bytes: [u8; 32]| Secret::from_bytes(bytes).to_base64().to_string();
        line("door-private", &secret("door").to_base64());
        line("door-public", &base64(*ends.door.public()));
        line("door-day", &day.number().to_string());
        line("door-chain", &ends.chain.value().to_base64());
        line("client-private", &secret("client").to_base64());
        line("client-public", &base64(*ends.client.public()));
        line("link-day", &link_day.number().to_string());
        line("link-chain", &ends.link.value().to_base64());
        line("random", &hex(&entropy.1));
        line("payload", KINDS.into_iter().find(|(_, kind)| *kind == payload.kind).unwrap().0);
        line("timestamp", &payload.stamp.as_nanos().to_string());
        line("target", &payload.target.map_or("source".to_owned(), |target| target.to_string()));
        if payload.wants_answer {
            line("wants-answer", "yes");
        }
        if payload.seconds != 0 {
            line("seconds", &payload.seconds.to_string());
        }
        if payload.source_port != 0 {
            line("source-port", &payload.source_port.to_string());
        }
        payload.services.iter().for_each(|service| line("service", service));
        if let Some(code) = &payload.code {
            line("code", &code.value.to_string());
            line("attempt", &hex(&code.attempt));
        }
        if let Some(link) = &payload.link {
            line("new-link", &link.to_base64());
        }
        Self { ends, head, packet, pending, number }
    }

    fn sealed(&self, kind: &str, name: &str) -> String {
        let claim = self.ends.open(&self.packet).unwrap().claim.0;
        format!("{}{}claim: {}\n{}", top(kind, name), self.head, hex(&claim), lines(&[&self.packet]))
    }

    fn answered(&self, name: &str, answer: &Answer) -> String {
        let mut entropy = Recorded(self.number << 32 | 1 << 31, Vec::new());
        let reply = self.ends.open(&self.packet).unwrap().reply;
        let packet = reply.seal(answer, &mut entropy).unwrap();
        assert!(self.pending.open(&self.ends.client, &packet).is_ok());
        let status = STATUSES.into_iter().find(|(_, status)| *status == answer.status).unwrap().0;
        let mut head = format!("{}{}answer-random: {}\n", top("answer", name), self.head, hex(&entropy.1));
        writeln!(head, "status: {status}\nanswer-seconds: {}", answer.seconds).unwrap();
        writeln!(head, "seen: {}\nserver-time: {}", answer.seen.unwrap(), answer.time.as_nanos()).unwrap();
        if let Some(door) = &answer.door {
            writeln!(head, "new-door: {}", &*Secret::from_bytes(door.server).to_base64()).unwrap();
            writeln!(head, "new-door-day: {}", door.day.number()).unwrap();
            writeln!(head, "new-door-chain: {}", &*door.value.to_base64()).unwrap();
        }
        head + &lines(&[&self.packet, &packet])
    }

    fn refused(&self, name: &str, packets: &[Vec<u8>], expect: &str) -> String {
        let expect = format!("expect: {expect}\n").repeat(packets.len());
        let packets: Vec<_> = packets.iter().collect();
        format!("{}{}{expect}{}", top("refuse", name), self.head, lines(&packets))
    }

    /// With the tag that belongs to it, from docs/protocol/native.md.
    fn tagged(&self, packet: &[u8]) -> Vec<u8> {
        let key = blake2s::keyed(self.ends.chain.value(), b"portunus/1 admission");
        let key = Secret::from_bytes(key.expose()[..16].try_into().unwrap());
        [&siphash::hash(&key, &packet[8..]).to_le_bytes()[..], &packet[8..]].concat()
    }
}

fn top(kind: &str, name: &str) -> String {
    let name = name.replace('-', " ");
    format!("kind: {kind}\nname: {name}\norigin: made here, with fixed randomness\n")
}

fn lines(packets: &[&Vec<u8>]) -> String {
    let one = |packet: &&Vec<u8>| {
        let text = hex(packet);
        let rows: Vec<_> = text.as_bytes().chunks(100).map(|row| std::str::from_utf8(row).unwrap()).collect();
        format!("\n{}\n", rows.join("\n"))
    };
    packets.iter().map(one).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}
