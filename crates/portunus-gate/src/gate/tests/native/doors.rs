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

#[test]
fn the_chain_of_a_door_that_is_no_more_ages_can_be_erased_and_is_there_when_it_comes_back() {
    let mut gate = two_doors(DoorRole::Next);
    let old = ChainOwner::Door(*door(1).public());
    let serve = |gate: &mut Gate, doors: &[(DoorRole, u8)]| {
        let native = doors.iter().map(|&(role, n)| (role, door(n))).collect();
        gate.handle_rules(at(0), rules(vec![native_client(0)]), Keyring { native, ..keyring() });
    };
    let both = [(DoorRole::Current, 1), (DoorRole::Next, 2)];
    serve(&mut gate, &[(DoorRole::Current, 2)]);
    assert_eq!(gate.slot_of(old), Some(0));
    // A file that was away by mistake.
    serve(&mut gate, &both);
    hear(&mut gate, at(0), sealed(0, &Payload::knock(at(0).wall), 1).0, 7);
    let _ = granted(&mut gate, at(0));
    serve(&mut gate, &[(DoorRole::Current, 2)]);
    gate.handle_clock(true);
    let changes = keys::kept(&mut gate, at(26 * 3_600_000));
    let aged = |change: &&ChainChange| matches!(change, ChainChange::Put { owner, slot: Some(0), .. } if *owner == old);
    assert_eq!(changes.iter().filter(aged).count(), 1, "{changes:?}");
    gate.forget_chain(old);
    assert_eq!(gate.slot_of(old), None);
    serve(&mut gate, &both);
    assert_eq!(gate.slot_of(old), None);
    // The store is read before the keys say which doors there are.
    serve(&mut gate, &[(DoorRole::Current, 2)]);
    put(&mut gate, old, 7, value(DOOR_VALUE));
    assert_eq!(gate.slot_of(old), Some(7));
}
