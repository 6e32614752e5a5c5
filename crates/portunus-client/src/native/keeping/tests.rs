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
    Outcome { knocked, proven, arrived: Arrived::Unknown }
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
    let outcome = Outcome { knocked: TODAY.plus(3), proven: None, arrived };
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
