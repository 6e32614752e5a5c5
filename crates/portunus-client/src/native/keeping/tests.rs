use portunus_crypto::SystemEntropy;

use super::super::tests::keys;
use super::*;

const TODAY: Day = Day::from_number(20_783);

fn chain(n: u8) -> Chain {
    Chain::new(TODAY, Secret::from_bytes([n; 32]))
}

/// A profile used for long: its chains begin 30 days ago.
fn used(renewal: &Renewal) -> NativeKeys {
    let first = TODAY.minus(30);
    let from = |n| Chain::new(first, Secret::from_bytes([n; 32]));
    let renewal = match renewal {
        Renewal::Announced(_) => Renewal::Announced(from(5)),
        Renewal::Replaced(_) => Renewal::Replaced(from(6)),
        Renewal::Done => Renewal::Done,
        Renewal::Due => Renewal::Due,
    };
    NativeKeys { door: from(3), link: from(4), newest: TODAY, ..keys(renewal) }
}

fn outcome(knocked: Day, proven: Option<Day>) -> Outcome {
    Outcome { knocked, proven, arrived: Arrived::Unknown, told: None }
}

/// First and newest day after knocks on these days, each seen by a file that was written after the one before.
fn after_days(start: NativeKeys, knocked: &[(Day, Option<Day>)]) -> (Day, Day) {
    let end = knocked.iter().fold(start, |keys, &(knocked, proven)| {
        // Who has no key of a day cannot knock on it.
        assert!(keys.door.at(knocked).is_ok(), "{knocked:?}");
        after(&keys, &outcome(knocked, proven)).unwrap_or(keys)
    });
    assert!(end.link.day() == end.door.day());
    (end.door.day(), end.newest)
}

#[test]
fn thirty_days_are_kept_while_no_server_names_the_day() {
    assert_eq!(after_days(used(&Renewal::Done), &[(TODAY.plus(1), None)]), (TODAY.minus(29), TODAY.plus(1)));
    assert!(after(&used(&Renewal::Done), &outcome(TODAY, None)).is_none(), "nothing is written for nothing");
    // A profile of today keeps its first day.
    assert_eq!(after_days(keys(Renewal::Done), &[(TODAY.plus(9), None)]), (TODAY, TODAY.plus(9)));
}

#[test]
fn an_answer_that_names_the_day_lets_all_before_go() {
    assert_eq!(after_days(used(&Renewal::Done), &[(TODAY, Some(TODAY))]), (TODAY.minus(1), TODAY));
    // The server is past midnight already.
    assert_eq!(
        after_days(used(&Renewal::Done), &[(TODAY, Some(TODAY.plus(1)))]),
        (TODAY.minus(1), TODAY.plus(1))
    );
    // So many days were not used.
    let later = TODAY.plus(400);
    assert_eq!(after_days(used(&Renewal::Done), &[(later, Some(later))]), (later.minus(1), later));
}

#[test]
fn a_clock_20_days_ahead_and_back_locks_nobody_out() {
    let ahead = [(TODAY.plus(20), None), (TODAY, None), (TODAY.plus(1), Some(TODAY.plus(1)))];
    assert_eq!(after_days(used(&Renewal::Done), &ahead), (TODAY, TODAY.plus(1)));
    let back = [(TODAY.minus(20), None), (TODAY, None)];
    assert_eq!(after_days(used(&Renewal::Done), &back), (TODAY.minus(30), TODAY));
    // A proof takes back what a clock that was ahead had written, so that it does not creep on from there.
    let again = [(TODAY.plus(20), None), (TODAY, Some(TODAY)), (TODAY.plus(40), None), (TODAY, None)];
    assert_eq!(after_days(used(&Renewal::Done), &again), (TODAY.minus(1), TODAY));
}

#[test]
fn a_clock_in_local_time_locks_nobody_out() {
    // 14 hours ahead or 12 behind: the day before, or the day after, in turns.
    let turns: Vec<_> = (0..60).map(|n| (TODAY.plus(n).plus(n % 2).minus((n + 1) % 2), None)).collect();
    let (first, newest) = after_days(used(&Renewal::Done), &turns);
    assert_eq!((first, newest), (TODAY.plus(30), TODAY.plus(60)));
}

#[test]
fn a_clock_of_another_year_changes_nothing() {
    for day in [31, 365, 9_000, 2_912_113, u32::MAX] {
        assert!(after(&used(&Renewal::Done), &outcome(TODAY.plus(day), None)).is_none(), "{day}");
    }
    // Even a server that says so cannot take us where no key can be made.
    let end = Day::from_number(u32::MAX);
    assert!(after(&used(&Renewal::Done), &outcome(end, Some(end))).is_none());
}

#[test]
fn a_link_of_its_own_is_drawn_once() {
    let due = keys(Renewal::Due);
    let draw = || announcing(&due, &mut SystemEntropy).ok().flatten().unwrap();
    let link = |keys: &NativeKeys| match &keys.renewal {
        Renewal::Announced(link) => link.at(TODAY).unwrap(),
        Renewal::Done | Renewal::Due | Renewal::Replaced(_) => panic!("nothing is announced"),
    };
    assert!(link(&draw()) != link(&draw()) && draw().link.at(TODAY).unwrap() == *chain(4).value());
    for other in [Renewal::Done, Renewal::Announced(chain(5)), Renewal::Replaced(chain(6))] {
        assert!(announcing(&keys(other), &mut SystemEntropy).ok().flatten().is_none());
    }
}

fn stage(renewal: &Renewal, arrived: Arrived) -> NativeKeys {
    let keys = used(renewal);
    let outcome = Outcome { knocked: TODAY.plus(3), proven: None, arrived, told: None };
    after(&keys, &outcome).unwrap()
}

/// The chain `n` of [`used`] profiles, as a run that read it before has it.
fn of_old(n: u8) -> Chain {
    Chain::new(TODAY.minus(30), Secret::from_bytes([n; 32]))
}

#[test]
fn a_new_link_takes_the_old_one_s_place_on_evidence_and_with_it_its_days() {
    let at = |link: &Chain, n: u8| link.at(TODAY.plus(3)).unwrap() == of_old(n).at(TODAY.plus(3)).unwrap();
    let announced = || Renewal::Announced(chain(5));
    let surely = stage(&announced(), Arrived::Surely(of_old(5)));
    assert!(matches!(surely.renewal, Renewal::Done) && at(&surely.link, 5));
    let seemingly = stage(&announced(), Arrived::Seemingly(of_old(5)));
    assert!(at(&seemingly.link, 5));
    assert!(
        matches!(&seemingly.renewal, Renewal::Replaced(old) if at(old, 4) && old.day() == TODAY.minus(27))
    );
    let unknown = stage(&announced(), Arrived::Unknown);
    assert!(
        matches!(&unknown.renewal, Renewal::Announced(next) if at(next, 5) && next.day() == TODAY.minus(27))
    );
    assert!(at(&unknown.link, 4));
    let settled = stage(&Renewal::Replaced(chain(6)), Arrived::Surely(of_old(4)));
    assert!(matches!(settled.renewal, Renewal::Done) && at(&settled.link, 4));
}

#[test]
fn a_link_that_this_run_did_not_announce_is_not_taken_for_it() {
    for arrived in [Arrived::Surely(of_old(8)), Arrived::Seemingly(of_old(8))] {
        assert!(matches!(stage(&Renewal::Announced(chain(5)), arrived).renewal, Renewal::Announced(_)));
    }
    assert!(matches!(
        stage(&Renewal::Replaced(chain(6)), Arrived::Surely(of_old(8))).renewal,
        Renewal::Replaced(_)
    ));
    assert!(matches!(stage(&Renewal::Due, Arrived::Surely(of_old(5))).renewal, Renewal::Due));
}

fn told(at: u8, says: Says) -> Outcome {
    Outcome { told: Some(Told { at: server(at), says }), ..outcome(TODAY, None) }
}

/// The public key of door `n`; 1 is that of [`keys`].
fn server(n: u8) -> [u8; 32] {
    *portunus_dialect::native::Door::new(&Secret::from_bytes([n; 32])).unwrap().public()
}

fn known(n: u8) -> KnownDoor {
    KnownDoor { server: server(n), chain: chain(10 + n) }
}

/// Which doors the keys are for after these answers, each seen by a file that was written after the one before.
fn doors_after(start: NativeKeys, told: &[Outcome]) -> (u8, Option<u8>, NativeKeys) {
    let end = told.iter().fold(start, |keys, told| after(&keys, told).unwrap_or(keys));
    let number = |public: [u8; 32]| (1..9).find(|&n| server(n) == public).unwrap();
    let (new, old) = doors(&end);
    (number(new), old.map(number), end)
}

#[test]
fn a_door_that_is_named_takes_the_others_place_which_stays_until_the_new_one_has_answered() {
    let moved = || doors_after(used(&Renewal::Done), &[told(1, Says::Move(known(2)))]).2;
    let (new, old, keys) = doors_after(moved(), &[]);
    assert_eq!((new, old), (2, Some(1)));
    // Each chain has its own days: the old one's go with the link's, the new one's begin when it was named.
    assert!(keys.door.day() == TODAY && *keys.door.value() == *chain(12).value());
    let kept = keys.old_door.unwrap().chain;
    assert!(kept.day() == keys.link.day() && kept.at(TODAY).unwrap() == of_old(3).at(TODAY).unwrap());
    let cases = [
        // It answers, whatever it says.
        (2, Says::Stay, (2, None)),
        (2, Says::Nothing, (2, None)),
        // The next rotation.
        (2, Says::Move(known(3)), (3, Some(2))),
        // Only the old one answers, and says the same, or another one: that one has not answered, either.
        (1, Says::Move(known(2)), (2, Some(1))),
        (1, Says::Nothing, (2, Some(1))),
        (1, Says::Move(known(3)), (3, Some(1))),
        // Nobody is to move any more.
        (1, Says::Stay, (1, None)),
        // Of a door that another run has written meanwhile.
        (5, Says::Stay, (2, Some(1))),
        (5, Says::Move(known(3)), (2, Some(1))),
    ];
    for (at, says, expected) in cases {
        let (new, old, _) = doors_after(moved(), &[told(at, says)]);
        assert_eq!((new, old), expected, "{at}");
    }
}

#[test]
fn who_has_no_link_for_certain_stays_at_the_door() {
    for renewal in [Renewal::Due, Renewal::Announced(chain(5)), Renewal::Replaced(chain(6))] {
        let (new, old, _) = doors_after(used(&renewal), &[told(1, Says::Move(known(2)))]);
        assert_eq!((new, old), (1, None));
    }
    // The answer that settles the link says it again.
    let arrived = Arrived::Surely(of_old(4));
    let both = Outcome { arrived, ..told(1, Says::Move(known(2))) };
    let (new, old, keys) = doors_after(used(&Renewal::Replaced(chain(6))), &[both]);
    assert!((new, old) == (2, Some(1)) && matches!(keys.renewal, Renewal::Done));
}

#[test]
fn the_days_of_a_door_that_was_named_later_go_with_those_of_the_others() {
    let (_, _, keys) = doors_after(used(&Renewal::Done), &[told(1, Says::Move(known(2)))]);
    let proven = |day: Day| Outcome { knocked: day, ..outcome(day, Some(day)) };
    let (_, old, later) = doors_after(keys, &[proven(TODAY.plus(9))]);
    let first = TODAY.plus(8);
    assert!(old == Some(1) && later.door.day() == first && later.link.day() == first);
    assert!(later.old_door.unwrap().chain.day() == first);
    assert!(later.door.at(first).unwrap() == chain(12).at(first).unwrap());
}
