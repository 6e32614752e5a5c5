//! What the native dialect promises, at its own door: what is sealed opens, nothing else does, and yesterday's keys are gone.

#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

use portunus_crypto::elligator::distinguisher::{neighbours, other_spellings};
use portunus_crypto::x25519::PrivateKey;
use portunus_crypto::{Secret, SystemEntropy};
use portunus_dialect::native::{
    Answer, AnswerError, Chain, ChainError, ClientKeys, Code, Day, Door, Kind, LONGEST, NewDoor, OpenError,
    Opened, Packet, Payload, Pending, SHORTEST, SHORTEST_ANSWER, SealError, Status, seal,
};
use portunus_model::Unix;

const NOON: i64 = 1_795_694_400;

fn secret(n: u8) -> Secret<32> {
    Secret::from_bytes([n; 32])
}

fn private(n: u8) -> PrivateKey {
    PrivateKey::new(&secret(n)).unwrap()
}

fn today() -> Day {
    Day::of(Unix::from_secs(NOON)).unwrap()
}

/// A door, and a client of it.
struct Ends {
    door: Door,
    chain: Chain,
    client: PrivateKey,
    link: Chain,
}

impl Ends {
    fn new(client: u8) -> Self {
        let from = today().minus(2);
        let door = Door::new(&secret(1)).unwrap();
        let chain = Chain::new(from, secret(2));
        Self { door, chain, client: private(client), link: Chain::new(from, secret(client + 100)) }
    }

    fn seal(&self, payload: &Payload) -> Result<(Vec<u8>, Pending), SealError> {
        let keys = ClientKeys {
            server: *self.door.public(),
            client: &self.client,
            door: &self.chain,
            link: &self.link,
        };
        seal(&keys, payload, &mut SystemEntropy)
    }

    fn knock(&self) -> Vec<u8> {
        self.seal(&Payload::knock(Unix::from_secs(NOON))).unwrap().0
    }

    /// As a server would, with all of this client's keys at hand.
    fn open(&self, datagram: &[u8]) -> Option<Opened> {
        let packet = Packet::new_checked(datagram)?;
        let keys = self.door.day(&self.chain, today()).ok()?;
        if !keys.admits(&packet) {
            return None;
        }
        self.open_admitted(datagram)
    }

    /// As if its tag were right.
    fn open_admitted(&self, datagram: &[u8]) -> Option<Opened> {
        let keys = self.door.day(&self.chain, today()).ok()?;
        let identified = self.door.identify(&keys, &Packet::new_checked(datagram)?).ok()?;
        if identified.client() != self.client.public() {
            return None;
        }
        let shared = self.door.shared_with(identified.client()).ok()?;
        identified.open(&shared, &self.link.at(identified.day()).ok()?).ok()
    }
}

#[test]
fn what_is_said_arrives() {
    let ends = Ends::new(3);
    let said = Payload {
        kind: Kind::NewLink,
        wants_answer: true,
        target: Some([192, 0, 2, 7].into()),
        seconds: 30,
        source_port: 40_001,
        services: vec!["ssh".into()],
        code: Some(Code { value: 12_345, attempt: *b"attempt!" }),
        link: Some(secret(77)),
        ..Payload::knock(Unix::from_nanos(i128::from(NOON) * 1_000_000_000 + 7_000_000))
    };
    let (datagram, _) = ends.seal(&said).unwrap();
    assert!(ends.open(&datagram).unwrap().payload == said);
}

#[test]
fn an_answer_is_read_by_whom_it_is_for_and_by_nobody_else() {
    let ends = Ends::new(3);
    let answer = || Answer {
        status: Status::Stale,
        seconds: 30,
        seen: Some([198, 51, 100, 4].into()),
        time: Unix::from_secs(NOON + 93),
        door: Some(NewDoor { server: [5; 32], day: today(), value: secret(6) }),
    };
    let (datagram, pending) = ends.seal(&Payload::knock(Unix::from_secs(NOON))).unwrap();
    let (other_datagram, other) = ends.seal(&Payload::knock(Unix::from_secs(NOON))).unwrap();
    let reply =
        |datagram: &[u8]| ends.open(datagram).unwrap().reply.seal(&answer(), &mut SystemEntropy).unwrap();
    let bytes = reply(&datagram);
    assert!((SHORTEST_ANSWER..=SHORTEST).contains(&bytes.len()) && bytes.len() <= datagram.len());
    assert!(pending.open(&ends.client, &bytes) == Ok(answer()));
    assert!(other.open(&ends.client, &bytes).err() == Some(AnswerError::Forged), "to another knock");
    assert!(pending.open(&ends.client, &reply(&other_datagram)).err() == Some(AnswerError::Forged));
    assert!(pending.open(&private(4), &bytes).err() == Some(AnswerError::Forged), "to another client");
    for bit in 0..bytes.len() * 8 {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(pending.open(&ends.client, &bytes).is_err(), "bit {bit}");
    }
    for length in 0..bytes.len() {
        assert!(pending.open(&ends.client, &bytes[..length]).is_err());
    }
}

/// Each bit, each other spelling, each addition of low order, each length; with the tag as it was, and made anew by
/// somebody who knows the day's key.
#[test]
fn a_changed_knock_opens_nothing_also_when_an_insider_tags_it() {
    let ends = Ends::new(3);
    let datagram = ends.knock();
    assert!(ends.open(&datagram).is_some());
    let refused = |changed: &[u8]| {
        let place = changed.iter().zip(&datagram).position(|(a, b)| a != b);
        assert!(ends.open(changed).is_none(), "{place:?}");
        // The tag alone changed: what it guards is as it was.
        let inside = changed.get(8..) != datagram.get(8..);
        assert!(!inside || ends.open_admitted(changed).is_none(), "{place:?}");
    };
    for bit in 0..datagram.len() * 8 {
        let mut changed = datagram.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        refused(&changed);
    }
    let representative: [u8; 32] = datagram[8..40].try_into().unwrap();
    let spellings = other_spellings(&representative);
    assert_eq!(spellings.len(), 7);
    for other in spellings.into_iter().chain(neighbours(&representative)) {
        let mut changed = datagram.clone();
        changed[8..40].copy_from_slice(&other);
        refused(&changed);
    }
    for length in 0..=LONGEST + 1 {
        if length != datagram.len() {
            let mut changed = datagram.clone();
            changed.resize(length, 0);
            refused(&changed);
        }
    }
}

#[test]
fn one_clients_keys_open_no_other_clients_knock() {
    let (alice, bob) = (Ends::new(3), Ends::new(4));
    let keys = bob.door.day(&bob.chain, today()).unwrap();
    let datagram = alice.knock();
    let packet = Packet::new_checked(&datagram).unwrap();
    // The door's keys are the same, so the name is read;
    let identified = bob.door.identify(&keys, &packet).unwrap();
    assert_eq!(identified.client(), alice.client.public());
    // what is said is not: neither by another's link, nor by another's name with the right link.
    let (hers, his) = (
        bob.door.shared_with(alice.client.public()).unwrap(),
        bob.door.shared_with(bob.client.public()).unwrap(),
    );
    let link = |ends: &Ends| ends.link.at(today()).unwrap();
    assert_eq!(identified.open(&hers, &link(&bob)).err(), Some(OpenError::Forged));
    assert_eq!(identified.open(&his, &link(&alice)).err(), Some(OpenError::Forged));
    assert!(identified.open(&hers, &link(&alice)).is_ok());
}

#[test]
fn another_days_key_neither_admits_nor_identifies() {
    let ends = Ends::new(3);
    let datagram = ends.knock();
    let packet = Packet::new_checked(&datagram).unwrap();
    for day in [today().minus(1), today().plus(1)] {
        let keys = ends.door.day(&ends.chain, day).unwrap();
        assert!(!keys.admits(&packet));
        assert_eq!(ends.door.identify(&keys, &packet).err(), Some(OpenError::Forged));
    }
}

/// Recorded today; the attacker gets all state of the server two days later, and knows this client's key too.
#[test]
fn a_later_theft_of_all_state_opens_nothing_recorded() {
    let mut ends = Ends::new(3);
    let recorded = ends.knock();
    ends.chain.advance(today().plus(2)).unwrap();
    ends.link.advance(today().plus(2)).unwrap();
    assert_eq!(ends.chain.at(today()).err(), Some(ChainError::Erased));
    let packet = Packet::new_checked(&recorded).unwrap();
    // The best that is left: the values that he has, in the place of those that he has not.
    let later = Chain::new(today(), ends.chain.value().duplicate());
    let keys = ends.door.day(&later, today()).unwrap();
    assert!(!keys.admits(&packet));
    assert_eq!(ends.door.identify(&keys, &packet).err(), Some(OpenError::Forged));

    // A photograph of another client's old profile has the door's old value: the name opens, what was said does not.
    let old = Ends::new(3);
    let keys = old.door.day(&old.chain, today()).unwrap();
    let identified = old.door.identify(&keys, &packet).unwrap();
    assert_eq!(identified.client(), ends.client.public());
    let shared = old.door.shared_with(identified.client()).unwrap();
    assert_eq!(identified.open(&shared, ends.link.value()).err(), Some(OpenError::Forged));
    // Had the ratchets stood still, all of it would open.
    assert!(identified.open(&shared, &old.link.at(today()).unwrap()).is_ok());
}

#[test]
fn a_knock_has_one_claim_whoever_looks_and_two_have_two() {
    let ends = Ends::new(3);
    let (one, two) = (ends.knock(), ends.knock());
    let claim = |datagram: &[u8]| ends.open(datagram).unwrap().claim;
    assert_eq!(claim(&one), claim(&one));
    assert_ne!(claim(&one), claim(&two));
}

#[test]
fn what_no_server_can_have_is_said_before_anything_is_sent() {
    let ends = Ends::new(3);
    let mut payload = Payload::knock(Unix::from_secs(NOON));
    let keys = |server| ClientKeys { server, client: &ends.client, door: &ends.chain, link: &ends.link };
    let made = |payload: &Payload| seal(&keys([0; 32]), payload, &mut SystemEntropy).map(|(bytes, _)| bytes);
    assert_eq!(made(&payload), Err(SealError::ServerKey));
    payload.stamp = Unix::from_secs(-1);
    assert_eq!(made(&payload), Err(SealError::Clock));
    payload.stamp = Unix::from_secs(253_402_300_799);
    assert_eq!(made(&payload), Err(SealError::Chain(ChainError::TooFar)));
    payload.stamp = today().minus(3).start();
    assert_eq!(made(&payload), Err(SealError::Chain(ChainError::Erased)));
}
