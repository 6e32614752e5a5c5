//! A new door beside the old one: who is told of it, and who has moved.

use portunus_dialect::native::NewDoor;

use super::*;

/// A gate with door 1, and door 2 in this role.
fn two_doors(role: DoorRole) -> Gate {
    let mut alice = native_client(0);
    alice.native.answers = true;
    let keyring = Keyring { native: vec![(DoorRole::Current, door(1)), (role, door(2))], ..keyring() };
    let mut gate = Gate::new(rules(vec![alice]), keyring, Tuning::default());
    put(&mut gate, ChainOwner::Door(*door(1).public()), 0, value(DOOR_VALUE));
    put(&mut gate, ChainOwner::Door(*door(2).public()), 1, value(DOOR_VALUE + 1));
    put(&mut gate, ChainOwner::Link(*key(0).public()), 2, value(0));
    gate
}

/// A knock at door `n` that opens, and what its answer says of a door.
fn told(gate: &mut Gate, now: Now, n: u8) -> Option<NewDoor> {
    let (chain, link) =
        (Chain::new(today(), value(DOOR_VALUE + u32::from(n) - 1)), Chain::new(today(), value(0)));
    let keys = NativeKeys { server: *door(n).public(), client: &key(0), door: &chain, link: &link };
    let payload = Payload { wants_answer: true, ..Payload::knock(now.wall) };
    let (bytes, pending) = native::seal(&keys, &payload, &mut Dice(now.mono.as_nanos())).unwrap();
    hear(gate, now, bytes, 7);
    let _ = granted(gate, now);
    let said = answer(gate, 0, &pending);
    let _ = event(gate);
    said.door
}

#[test]
fn who_knocks_at_the_old_door_hears_of_the_new_one() {
    let mut gate = two_doors(DoorRole::Next);
    let new = told(&mut gate, at(0), 1).unwrap();
    assert_eq!((new.server, new.day), (*door(2).public(), today()));
    assert!(new.value == value(DOOR_VALUE + 1));
    assert!(told(&mut gate, at(2000), 2).is_none(), "it is there");
    // After a theft the thief could tell of one, too: then no answer does.
    for role in [DoorRole::Apart, DoorRole::Another, DoorRole::Invitations] {
        assert!(told(&mut two_doors(role), at(0), 1).is_none(), "{role:?}");
    }
}

#[test]
fn who_may_not_come_in_hears_of_no_door() {
    let mut gate = two_doors(DoorRole::Next);
    let asked =
        Payload { services: vec!["nothing".into()], wants_answer: true, ..Payload::knock(at(0).wall) };
    let (bytes, pending) = sealed(0, &asked, 1);
    hear(&mut gate, at(0), bytes, 7);
    let (ticket, _) = claim(&mut gate);
    gate.handle_claimed(at(0), ticket, Claimed::Fresh);
    let said = answer(&mut gate, 0, &pending);
    assert!(said.status == Status::NotAllowed && said.door.is_none());
}

#[test]
fn who_has_moved_is_written_down_once_and_forgotten_with_the_old_door() {
    for role in [DoorRole::Next, DoorRole::Apart] {
        let mut gate = two_doors(role);
        let _ = told(&mut gate, at(0), 1);
        assert_eq!(keys::kept(&mut gate, at(1)), []);
        let _ = told(&mut gate, at(2000), 2);
        let changes = keys::kept(&mut gate, at(2001));
        let [ChainChange::Put { owner, slot: None, value, .. }] = &changes[..] else { panic!("{changes:?}") };
        assert_eq!((*owner, value.expose()), (ChainOwner::Moved(*key(0).public()), door(2).public()));
        let _ = told(&mut gate, at(4000), 2);
        assert_eq!(keys::kept(&mut gate, at(4001)), []);
        // After a restart it is known. Then the new door is the only one, and nobody asks any more.
        let mut again = two_doors(role);
        again.handle_chain(*owner, 900, today(), value.duplicate());
        let _ = told(&mut again, at(0), 2);
        assert_eq!(keys::kept(&mut again, at(1)), []);
        let only = Keyring { native: vec![(DoorRole::Current, door(2))], ..keyring() };
        again.handle_rules(at(2), rules(vec![native_client(0)]), only);
        again.handle_clock(true);
        let changes = keys::kept(&mut again, at(60_000));
        assert!(changes.contains(&ChainChange::Erase { owner: *owner, slot: 900 }), "{changes:?}");
    }
}
