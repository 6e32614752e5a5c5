//! Who was invited: the first key counts, an answer that was lost is given again, and nobody else comes in.

use super::*;
use crate::{Enrolled, Enrolment, Invitation};

/// Door 1 is the current one, door 2 is for who was invited: alice, until an hour from `at(0)`.
fn house(taken: Option<[u8; 32]>) -> Gate {
    let mut gate = Gate::new(rules(Vec::new()), keyring_with(vec![alice(taken)]), Tuning::default());
    put(&mut gate, ChainOwner::Door(*door(1).public()), 0, value(DOOR_VALUE));
    put(&mut gate, ChainOwner::Door(*door(2).public()), 1, value(DOOR_VALUE + 1));
    gate
}

fn alice(taken: Option<[u8; 32]>) -> Invitation {
    let until = at(3_600_000).wall;
    Invitation { name: ClientName::new("alice").unwrap(), secret: value(900), until, taken }
}

fn keyring_with(invitations: Vec<Invitation>) -> Keyring {
    let doors = vec![(DoorRole::Current, door(1)), (DoorRole::Invitations, door(2))];
    Keyring { native: doors, invitations, ..keyring() }
}

fn key_of(n: u32) -> [u8; 32] {
    *key(n).public()
}

fn enrol(stamp: Unix) -> Payload {
    Payload { kind: Kind::Enrol, wants_answer: true, link: Some(value(77)), ..Payload::knock(stamp) }
}

/// What key `n` sends with the secret of number `secret`.
fn packet_of(n: u32, secret: u32, payload: &Payload, nonce: u64) -> (Vec<u8>, Pending) {
    let (chain, link) = (Chain::new(today(), value(DOOR_VALUE + 1)), Chain::new(today(), value(secret)));
    let keys = NativeKeys { server: *door(2).public(), client: &key(n), door: &chain, link: &link };
    native::seal(&keys, payload, &mut Dice(nonce << 32 | u64::from(n))).unwrap()
}

/// It is heard and claimed.
fn taken(gate: &mut Gate, now: Now, bytes: Vec<u8>) {
    hear(gate, now, bytes, 7);
    let (ticket, _) = claim(gate);
    gate.handle_claimed(now, ticket, Claimed::Fresh);
}

fn asked(gate: &mut Gate) -> (Ticket, Box<Enrolment>) {
    let Some(Action::Enrol(ticket, enrolment)) = next(gate) else { panic!("it is to be taken in") };
    (ticket, enrolment)
}

/// Key `n` comes, and is taken in; its answer.
fn comes(gate: &mut Gate, now: Now, n: u32, how: Enrolled) -> native::Answer {
    let (bytes, pending) = packet_of(n, 900, &enrol(now.wall), now.mono.as_nanos());
    taken(gate, now, bytes);
    let (ticket, enrolment) = asked(gate);
    assert_eq!(
        (enrolment.name.as_str(), enrolment.public, enrolment.day),
        ("alice", *key(n).public(), today())
    );
    assert!(enrolment.link == value(77));
    gate.handle_enrolled(now, ticket, how);
    answer(gate, n, &pending)
}

#[test]
fn who_was_invited_is_taken_in_and_told_the_real_door() {
    let mut gate = house(None);
    let said = comes(&mut gate, at(0), 5, Enrolled::Done);
    let new = said.door.unwrap();
    assert_eq!((said.status, new.server, new.day), (Status::Enrolled, *door(1).public(), today()));
    assert!(new.value == value(DOOR_VALUE));
    let told = event(&mut gate);
    assert_eq!((told.reason, told.client.unwrap().as_str()), (Reason::Enrolled, "alice"));
    // Its answer was lost: it asks again with a packet of its own making, and hears the same.
    let again = comes(&mut gate, at(2000), 5, Enrolled::Done);
    assert!(again.status == Status::Enrolled && again.door.unwrap().server == *door(1).public());
}

#[test]
fn another_key_is_refused_aloud_also_after_a_restart() {
    let mut gate = house(None);
    let _ = comes(&mut gate, at(0), 5, Enrolled::Done);
    let _ = event(&mut gate);
    for mut gate in [gate, house(Some(*key(5).public()))] {
        let (bytes, pending) = packet_of(6, 900, &enrol(at(3000).wall), 9);
        taken(&mut gate, at(3000), bytes);
        let said = answer(&mut gate, 6, &pending);
        assert!(said.status == Status::NotAllowed && said.door.is_none());
        let told = event(&mut gate);
        assert_eq!((told.reason, told.client.unwrap().as_str()), (Reason::NotAllowed, "alice"));
        assert_eq!(comes(&mut gate, at(5000), 5, Enrolled::Done).status, Status::Enrolled);
    }
}

#[test]
fn of_two_at_once_the_one_counts_that_was_written_down() {
    let mut gate = house(None);
    let (first, hears) = packet_of(5, 900, &enrol(at(0).wall), 1);
    let (second, too) = packet_of(6, 900, &enrol(at(1500).wall), 2);
    taken(&mut gate, at(0), first);
    let (one, _) = asked(&mut gate);
    taken(&mut gate, at(1500), second);
    let (other, _) = asked(&mut gate);
    gate.handle_enrolled(at(1600), other, Enrolled::Another);
    assert_eq!(answer(&mut gate, 6, &too).status, Status::NotAllowed);
    assert_eq!(reason(&mut gate), Reason::NotAllowed);
    gate.handle_enrolled(at(1600), one, Enrolled::Done);
    assert_eq!(answer(&mut gate, 5, &hears).status, Status::Enrolled);
}

#[test]
fn what_is_not_done_is_said_and_opens_nothing() {
    for (how, status) in [
        (Enrolled::Unconfirmed, Status::Unconfirmed),
        (Enrolled::Another, Status::NotAllowed),
        (Enrolled::Failed, Status::Busy),
    ] {
        let said = comes(&mut house(None), at(0), 5, how);
        assert!(said.status == status && said.door.is_none(), "{how:?}");
    }
    // Nobody answers the gate: then it is busy.
    let mut gate = house(None);
    let (bytes, pending) = packet_of(5, 900, &enrol(at(0).wall), 1);
    taken(&mut gate, at(0), bytes);
    let _ = asked(&mut gate);
    gate.handle_timeout(at(2500));
    assert_eq!(answer(&mut gate, 5, &pending).status, Status::Busy);
}

#[test]
fn a_wrong_code_a_copy_and_a_knock_there_are_nothing() {
    let mut gate = house(None);
    let silent = |gate: &mut Gate, bytes: Vec<u8>, now, wanted| {
        hear(gate, now, bytes, 7);
        assert_eq!(reason(gate), wanted);
        assert_eq!(gate.poll_action(), None);
    };
    silent(&mut gate, packet_of(5, 901, &enrol(at(0).wall), 1).0, at(0), Reason::Unauthentic);
    let knock = Payload { wants_answer: true, ..Payload::knock(at(0).wall) };
    silent(&mut gate, packet_of(5, 900, &knock, 2).0, at(0), Reason::Unauthentic);
    let linked = Payload { kind: Kind::NewLink, ..enrol(at(0).wall) };
    silent(&mut gate, packet_of(5, 900, &linked, 3).0, at(0), Reason::Unauthentic);
    let (bytes, _) = packet_of(5, 900, &enrol(at(0).wall), 4);
    taken(&mut gate, at(0), bytes.clone());
    let (ticket, _) = asked(&mut gate);
    gate.handle_enrolled(at(0), ticket, Enrolled::Done);
    while gate.poll_action().is_some() {}
    silent(&mut gate, bytes.clone(), at(2000), Reason::Replayed);
    // Nor after a restart, which has no memory of it: the store has.
    let mut again = house(None);
    hear(&mut again, at(2000), bytes, 7);
    let (ticket, _) = claim(&mut again);
    again.handle_claimed(at(2000), ticket, Claimed::Replayed);
    assert_eq!(reason(&mut again), Reason::Replayed);
    assert_eq!(again.poll_action(), None);
    // Where nobody is invited nothing is computed.
    let mut empty = Gate::new(rules(Vec::new()), keyring_with(Vec::new()), Tuning::default());
    put(&mut empty, ChainOwner::Door(*door(2).public()), 1, value(DOOR_VALUE + 1));
    silent(&mut empty, packet_of(5, 900, &enrol(at(0).wall), 5).0, at(0), Reason::Unauthentic);
    assert_eq!(empty.effort().unsealed, 0);
}

#[test]
fn an_invitation_that_is_over_or_taken_back_and_a_clock_that_is_off_are_told() {
    let late = at(3_600_001);
    let mut gate = house(None);
    let (bytes, pending) = packet_of(5, 900, &enrol(late.wall), 1);
    taken(&mut gate, late, bytes);
    assert_eq!(answer(&mut gate, 5, &pending).status, Status::Expired);
    assert_eq!(reason(&mut gate), Reason::Expired);
    let (bytes, pending) = packet_of(5, 900, &enrol(at(90_000).wall), 2);
    let mut gate = house(None);
    taken(&mut gate, at(0), bytes);
    assert_eq!(answer(&mut gate, 5, &pending).status, Status::Stale);
    assert_eq!(reason(&mut gate), Reason::Stale);
    // Further off nobody is answered.
    hear(&mut gate, at(1500), packet_of(5, 900, &enrol(at(602_000).wall), 3).0, 7);
    assert_eq!((reason(&mut gate), gate.poll_action()), (Reason::Stale, None));
    // Taken back while its packet was with the store.
    let (bytes, pending) = packet_of(5, 900, &enrol(at(3000).wall), 4);
    hear(&mut gate, at(3000), bytes, 7);
    let (ticket, _) = claim(&mut gate);
    gate.handle_rules(at(3000), rules(Vec::new()), keyring_with(Vec::new()));
    gate.handle_claimed(at(3000), ticket, Claimed::Fresh);
    assert_eq!(answer(&mut gate, 5, &pending).status, Status::NotAllowed);
}

/// Whoever has a code makes us claim, write down and say one thing a second, and a reload does not change that. The key that came
/// first is heard beside all others.
#[test]
fn one_packet_a_second_is_heard_whatever_comes() {
    let mut gate = house(None);
    let _ = comes(&mut gate, at(100), 5, Enrolled::Done);
    while gate.poll_action().is_some() {}
    let (mut claims, mut answers, mut asked) = (0, 0, 0);
    for n in 0..50 {
        let key = if n == 49 { 5 } else { 100 + n };
        let (bytes, _) = packet_of(key, 900, &enrol(at(2100).wall), u64::from(n));
        hear(&mut gate, at(2100), bytes, 7);
        while let Some(action) = gate.poll_action() {
            match action {
                Action::Claim(ticket, _) => {
                    claims += 1;
                    gate.handle_claimed(at(2100), ticket, Claimed::Fresh);
                }
                Action::Enrol(ticket, enrolment) => {
                    assert_eq!(enrolment.public, key_of(5));
                    asked += 1;
                    gate.handle_enrolled(at(2100), ticket, Enrolled::Done);
                }
                Action::Answer(_) => answers += 1,
                Action::Tell(_) => (),
                Action::Accept(_)
                | Action::Open(..)
                | Action::Run(..)
                | Action::Resolve(..)
                | Action::Gpg(_)
                | Action::Chains(_)
                | Action::Close(_)
                | Action::Settle(_) => panic!("{action:?}"),
            }
        }
        gate.handle_rules(at(2100), rules(Vec::new()), keyring_with(vec![alice(Some(key_of(5)))]));
    }
    assert_eq!((claims, answers, asked), (2, 2, 1));
}

/// The door of invitations is known to everybody who was ever invited, and a client's address can be written on any packet.
#[test]
fn wrong_codes_under_a_known_address_are_waste() {
    let tuning = Tuning { waste_a_second: 10, ..Tuning::default() };
    let mut gate = Gate::new(rules(vec![native_client(1)]), keyring_with(vec![alice(None)]), tuning);
    put(&mut gate, ChainOwner::Door(*door(1).public()), 0, value(DOOR_VALUE));
    put(&mut gate, ChainOwner::Door(*door(2).public()), 1, value(DOOR_VALUE + 1));
    put(&mut gate, ChainOwner::Link(*key(1).public()), 2, value(1));
    hear(&mut gate, at(0), sealed(1, &Payload::knock(at(0).wall), 1).0, 7);
    let _ = granted(&mut gate, at(0));
    let before = gate.effort().unsealed;
    for n in 0..100 {
        let (bytes, _) = packet_of(n, 901, &enrol(at(1).wall), u64::from(n) + 7);
        gate.handle_datagram(at(1), from(bytes, 7));
    }
    assert_eq!(gate.effort().unsealed - before, 10);
}
