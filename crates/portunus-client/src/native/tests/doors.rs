//! A door that an answer names: who knocks where, and which answers count.

use portunus_dialect::native::NewDoor;

use super::*;

/// Opens a knock at door `n`, whose chain is `10 + n`, and answers it, naming a door.
fn answered(n: u8, bytes: &[u8], names: Option<NewDoor>, status: Status) -> Option<Vec<u8>> {
    let door = Door::new(&secret(n)).unwrap();
    let value = if n == 1 { chain(3) } else { chain(10 + n) };
    let keys = door.day(&value, today()).unwrap();
    let packet = Packet::new_checked(bytes).unwrap();
    let shared = door.shared_with(PrivateKey::new(&secret(2)).unwrap().public()).unwrap();
    let opened = keys
        .admits(&packet)
        .then(|| door.identify(&keys, &packet).ok()?.open(&shared, &secret(4)).ok())??;
    let answer = Answer { status, seconds: 30, seen: None, time: at(0), door: names };
    Some(opened.reply.seal(&answer, &mut SystemEntropy).unwrap())
}

fn named(n: u8) -> NewDoor {
    NewDoor { server: *Door::new(&secret(n)).unwrap().public(), day: today(), value: secret(10 + n) }
}

/// Knocks once, is answered at door `n`, and goes on with what is written down of it.
fn heard(sealer: &mut NativeSealer, n: u8, names: Option<NewDoor>, status: Status) {
    let bytes = knock(sealer);
    let answer = answered(n, &bytes, names, status).expect("a knock at that door");
    sealer.hear(&answer, at(0)).unwrap();
    if let Some(next) = after(sealer.keys(), sealer.outcome().unwrap()) {
        sealer.go_on(next);
    }
    sealer.begin();
}

fn at_door(bytes: &[u8]) -> Option<u8> {
    [1, 2].into_iter().find(|&n| answered(n, bytes, None, Status::Granted).is_some())
}

#[test]
fn a_knock_goes_to_the_new_door_and_the_next_try_to_the_old_one() {
    let mut sealer = sealer(Renewal::Done);
    assert!(!sealer.falls_back());
    heard(&mut sealer, 1, Some(named(2)), Status::Granted);
    assert!(sealer.falls_back());
    let went: Vec<_> = (0..3).map(|_| at_door(&knock(&mut sealer))).collect();
    assert_eq!(went, [Some(2), Some(1), Some(2)]);
    sealer.begin();
    heard(&mut sealer, 2, None, Status::Granted);
    assert!(!sealer.falls_back());
    let went: Vec<_> = (0..3).map(|_| at_door(&knock(&mut sealer))).collect();
    assert_eq!(went, [Some(2); 3]);
}

#[test]
fn a_knock_of_a_day_before_the_new_doors_first_goes_to_the_old_one() {
    let mut sealer = sealer(Renewal::Done);
    // The server is past midnight.
    heard(&mut sealer, 1, Some(NewDoor { day: today().plus(1), ..named(2) }), Status::Granted);
    assert_eq!(sealer.keys().server, named(2).server);
    assert_eq!(at_door(&knock(&mut sealer)), Some(1));
}

#[test]
fn a_door_counts_only_in_the_answer_to_a_knock_that_opened_and_only_where_it_can_be_one() {
    let stays = |names: NewDoor, status: Status| {
        let mut sealer = sealer(Renewal::Done);
        heard(&mut sealer, 1, Some(names), status);
        assert_eq!(sealer.keys().server, named(1).server);
        assert!(sealer.keys().old_door.is_none());
    };
    for status in [Status::Closed, Status::Stale, Status::NotAllowed, Status::Busy, Status::FirewallFailed] {
        stays(named(2), status);
    }
    for days in [2, 9_000] {
        stays(NewDoor { day: today().plus(days), ..named(2) }, Status::Granted);
        stays(NewDoor { day: today().minus(days), ..named(2) }, Status::Granted);
    }
    stays(NewDoor { server: [0; 32], ..named(2) }, Status::Granted);
    stays(named(1), Status::Granted);
}
