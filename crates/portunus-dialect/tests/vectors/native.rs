//! Runs every vector of `vectors/native`. They are ours: what they prove is that a packet of today is one of tomorrow, and
//! of whoever else writes this dialect. `native_draft` makes them.

use std::path::Path;

use portunus_crypto::x25519::PrivateKey;
use portunus_crypto::{FixedEntropy, Secret};
use portunus_dialect::native::{
    Answer, Chain, ClientKeys, Code, Day, Door, Kind, NewDoor, OpenError, Opened, Packet, Payload, Pending,
    Status, seal,
};
use portunus_model::{ClaimKey, Unix};

use crate::file::{Vector, hex};
use crate::{address, stamp};

pub(crate) const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors/native");

#[test]
fn every_vector_comes_out_as_it_says() {
    let mut run = [0; 3];
    for vector in &Vector::all(Path::new(FOLDER)) {
        let (count, check): (_, fn(&Vector)) = match vector.one("kind") {
            "seal" => (0, sealed_byte_for_byte),
            "answer" => (1, answered_byte_for_byte),
            "refuse" => (2, refused),
            other => panic!("{}: unknown kind {other}", vector.name()),
        };
        run[count] += 1;
        check(vector);
    }
    let [seal, answer, refuse] = run;
    println!("{seal} sealed and opened, {answer} answered, {refuse} refused");
    assert!(seal >= 10 && answer >= 3 && refuse >= 16, "vectors are missing: {run:?}");
}

/// With its randomness given the knock is the same to the last byte, and it opens to what went in.
fn sealed_byte_for_byte(vector: &Vector) {
    let ends = Ends::read(vector);
    let (sealed, _) = ends.seal(vector);
    assert_eq!(sealed, vector.packet(), "{}", vector.name());
    let opened = ends.open(&sealed).unwrap();
    assert!(opened.payload == payload(vector), "{}", vector.name());
    let ClaimKey(claim) = opened.claim;
    assert_eq!(claim[..], hex(vector.one("claim")), "{}", vector.name());
}

/// The same of an answer; the knock's own client reads it.
fn answered_byte_for_byte(vector: &Vector) {
    let ends = Ends::read(vector);
    let [knock, answer] = &vector.packets()[..] else { panic!("{}: wants two packets", vector.name()) };
    let (sealed, pending) = ends.seal(vector);
    assert_eq!(sealed, *knock, "{}", vector.name());
    let mut entropy = FixedEntropy::new(&hex(vector.one("answer-random")));
    let reply = ends.open(knock).unwrap().reply;
    assert_eq!(reply.seal(&said(vector), &mut entropy).unwrap(), *answer, "{}", vector.name());
    assert!(pending.open(&ends.client, answer) == Ok(said(vector)), "{}", vector.name());
}

/// Each packet is refused where the vector says.
fn refused(vector: &Vector) {
    let ends = Ends::read(vector);
    let expected = vector.each("expect");
    let packets = vector.packets();
    assert_eq!(packets.len(), expected.len(), "{}", vector.name());
    for (packet, expected) in packets.iter().zip(expected) {
        let verdict = ends.open(packet).map_or_else(|why| why, |_| "open");
        assert_eq!(verdict, expected, "{}", vector.name());
    }
}

/// Both ends of a vector.
pub(crate) struct Ends {
    pub(crate) door: Door,
    pub(crate) chain: Chain,
    pub(crate) client: PrivateKey,
    pub(crate) link: Chain,
}

impl Ends {
    fn read(vector: &Vector) -> Self {
        let key = |name| Secret::<32>::from_base64(vector.one(name)).unwrap();
        let day = |name| Day::from_number(vector.one(name).parse().unwrap());
        let ends = Self {
            door: Door::new(&key("door-private")).unwrap(),
            chain: Chain::new(day("door-day"), key("door-chain")),
            client: PrivateKey::new(&key("client-private")).unwrap(),
            link: Chain::new(day("link-day"), key("link-chain")),
        };
        assert!(Secret::from_bytes(*ends.door.public()) == key("door-public"), "{}", vector.name());
        assert!(Secret::from_bytes(*ends.client.public()) == key("client-public"), "{}", vector.name());
        ends
    }

    pub(crate) fn keys(&self) -> ClientKeys<'_> {
        ClientKeys { server: *self.door.public(), client: &self.client, door: &self.chain, link: &self.link }
    }

    fn seal(&self, vector: &Vector) -> (Vec<u8>, Pending) {
        let random = hex(vector.one("random"));
        seal(&self.keys(), &payload(vector), &mut FixedEntropy::new(&random)).unwrap()
    }

    /// As a server whose only day is the door chain's first, and whose only client is this one.
    pub(crate) fn open(&self, bytes: &[u8]) -> Result<Opened, &'static str> {
        let packet = Packet::new_checked(bytes).ok_or("length")?;
        let today = self.door.day(&self.chain, self.chain.day()).unwrap();
        if !today.admits(&packet) {
            return Err("tag");
        }
        let identified = self.door.identify(&today, &packet).map_err(word)?;
        if identified.client() != self.client.public() {
            return Err("unknown-client");
        }
        let shared = self.door.shared_with(identified.client()).unwrap();
        identified.open(&shared, &self.link.at(identified.day()).unwrap()).map_err(word)
    }
}

fn word(error: OpenError) -> &'static str {
    match error {
        OpenError::LowOrder => "low-order",
        OpenError::Forged => "forged",
        OpenError::Malformed(_) => "malformed",
        OpenError::OtherDay => "other-day",
        OpenError::Library(_) => "library",
    }
}

pub(crate) const KINDS: [(&str, Kind); 4] =
    [("knock", Kind::Knock), ("close", Kind::Close), ("enrol", Kind::Enrol), ("new-link", Kind::NewLink)];

pub(crate) const STATUSES: [(&str, Status); 10] = [
    ("granted", Status::Granted),
    ("closed", Status::Closed),
    ("enrolled", Status::Enrolled),
    ("stale", Status::Stale),
    ("not-allowed", Status::NotAllowed),
    ("expired", Status::Expired),
    ("second-factor", Status::SecondFactor),
    ("firewall-failed", Status::FirewallFailed),
    ("busy", Status::Busy),
    ("unconfirmed", Status::Unconfirmed),
];

fn payload(vector: &Vector) -> Payload {
    let kind = KINDS.into_iter().find(|(word, _)| *word == vector.one("payload")).unwrap().1;
    let number = |name| vector.maybe(name).map_or(0, |text| text.parse::<u32>().unwrap());
    let code = vector.maybe("code").map(|value| Code {
        value: value.parse().unwrap(),
        attempt: hex(vector.one("attempt")).try_into().unwrap(),
    });
    Payload {
        kind,
        wants_answer: vector.maybe("wants-answer").is_some(),
        stamp: stamp(vector),
        target: address(vector.one("target")),
        seconds: number("seconds"),
        source_port: u16::try_from(number("source-port")).unwrap(),
        services: vector.each("service").into_iter().map(Into::into).collect(),
        code,
        link: vector.maybe("new-link").map(|text| Secret::from_base64(text).unwrap()),
    }
}

fn said(vector: &Vector) -> Answer {
    let status = STATUSES.into_iter().find(|(word, _)| *word == vector.one("status")).unwrap().1;
    let door = vector.maybe("new-door").map(|public| NewDoor {
        server: *Secret::from_base64(public).unwrap().expose(),
        day: Day::from_number(vector.one("new-door-day").parse().unwrap()),
        value: Secret::from_base64(vector.one("new-door-chain")).unwrap(),
    });
    Answer {
        status,
        seconds: vector.one("answer-seconds").parse().unwrap(),
        seen: address(vector.one("seen")),
        time: Unix::from_nanos(vector.one("server-time").parse().unwrap()),
        door,
    }
}
