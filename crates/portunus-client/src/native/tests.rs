use portunus_crypto::{Secret, SystemEntropy};
use portunus_dialect::native::{Answer, Door, Packet};

use super::*;

mod doors;

const NOON: i64 = 1_795_694_400;

fn secret(n: u8) -> Secret<32> {
    Secret::from_bytes([n; 32])
}

fn today() -> Day {
    Day::of(Unix::from_secs(NOON)).unwrap()
}

fn chain(n: u8) -> Chain {
    Chain::new(today(), secret(n))
}

pub(super) fn keys(renewal: Renewal) -> NativeKeys {
    let client = PrivateKey::new(&secret(2)).unwrap();
    NativeKeys {
        server: *Door::new(&secret(1)).unwrap().public(),
        secret: secret(2),
        public: *client.public(),
        door: chain(3),
        old_door: None,
        link: chain(4),
        newest: today(),
        renewal,
        answers: true,
        must_bind: false,
        second_factor: false,
        source_port: false,
    }
}

/// A server that knows the client by `link`, and says what it read; with an answer of `status` at `time`.
fn open(bytes: &[u8], link: &Chain, status: Status, time: Unix) -> Option<(Payload, Vec<u8>)> {
    open_and_say(bytes, link, status, (time, time))
}

/// The same, where the time that it says is not that of its clock.
fn open_and_say(
    bytes: &[u8],
    link: &Chain,
    status: Status,
    (time, said): (Unix, Unix),
) -> Option<(Payload, Vec<u8>)> {
    let door = Door::new(&secret(1)).unwrap();
    let packet = Packet::new_checked(bytes).unwrap();
    let read = (-1..=1_i64).find_map(|shift| {
        let day = Day::of(Unix::from_secs(time.as_secs() + shift * 86_400)).unwrap();
        let keys = door.day(&chain(3), day).ok()?;
        let shared = door.shared_with(PrivateKey::new(&secret(2)).unwrap().public()).unwrap();
        keys.admits(&packet)
            .then(|| door.identify(&keys, &packet).ok()?.open(&shared, &link.at(day).ok()?).ok())?
    });
    let opened = read?;
    let answer = Answer { status, seconds: 30, seen: None, time: said, door: None };
    Some((opened.payload, opened.reply.seal(&answer, &mut SystemEntropy).unwrap()))
}

fn way(to: &str, from: &str) -> Way {
    Way { to: to.parse().unwrap(), from: from.parse().unwrap(), target: None, source_port: None }
}

fn home() -> Way {
    way("10.0.0.1:54154", "10.0.0.2")
}

fn sealer(renewal: Renewal) -> NativeSealer {
    NativeSealer::new(&keys(renewal), Request::default()).unwrap()
}

fn at(seconds: i64) -> Unix {
    Unix::from_secs(NOON + seconds)
}

fn knock(sealer: &mut NativeSealer) -> Vec<u8> {
    sealer.seal(&home(), at(0), &mut SystemEntropy).unwrap()
}

#[test]
fn a_knock_says_what_is_asked_for() {
    let request = Request { seconds: 90, services: vec!["ssh".into(), "web".into()], ..Request::default() };
    let mut sealer = NativeSealer::new(&keys(Renewal::Done), request).unwrap();
    let way = Way { source_port: Some(40_001), ..home() };
    let bytes = sealer.seal(&way, at(0), &mut SystemEntropy).unwrap();
    let (payload, _) = open(&bytes, &chain(4), Status::Granted, at(0)).unwrap();
    assert_eq!((payload.kind, payload.seconds, payload.source_port), (Kind::Knock, 90, 40_001));
    assert_eq!(payload.services, ["ssh".into(), "web".into()]);
    assert!(payload.wants_answer && payload.stamp == at(0) && payload.target.is_none());
    let request = Request { close: true, ..Request::default() };
    let mut sealer = NativeSealer::new(&keys(Renewal::Announced(chain(5))), request).unwrap();
    let (payload, _) = open(&knock(&mut sealer), &chain(4), Status::Closed, at(0)).unwrap();
    assert!(payload.kind == Kind::Close && payload.link.is_none());
}

#[test]
fn a_knock_names_its_own_address_where_nobody_translates_it() {
    let named = |to: &str, from: &str, must: bool| {
        let keys = NativeKeys { must_bind: must, ..keys(Renewal::Done) };
        let mut sealer = NativeSealer::new(&keys, Request::default()).unwrap();
        let bytes = sealer.seal(&way(to, from), at(0), &mut SystemEntropy).unwrap();
        open(&bytes, &chain(4), Status::Granted, at(0)).unwrap().0.target
    };
    for (to, from, expected) in [
        ("203.0.113.1:9", "8.8.8.8", true),
        ("203.0.113.1:9", "10.0.0.2", false),
        ("203.0.113.1:9", "192.168.1.2", false),
        ("203.0.113.1:9", "100.64.0.2", false),
        ("127.0.0.1:9", "127.0.0.1", false),
        ("[2a00::1]:9", "2a00::2", true),
        ("[2a00::1]:9", "fd00::2", false),
        ("[fd00::1]:9", "fd00::2", true),
        ("[fe80::1]:9", "fe80::2", true),
    ] {
        let own = Some(from.parse().unwrap());
        assert_eq!(named(to, from, false), own.filter(|_| expected), "{from} to {to}");
        assert_eq!(named(to, from, true), own, "{from} to {to}");
    }
}

#[test]
fn each_answer_is_opened_by_the_knock_it_is_for_and_once() {
    let mut sealer = sealer(Renewal::Done);
    let knocks: Vec<_> = (0..3).map(|_| knock(&mut sealer)).collect();
    for n in [1, 2, 0] {
        let (_, answer) = open(&knocks[n], &chain(4), Status::Stale, at(93)).unwrap();
        assert_eq!(sealer.hear(&answer[1..], at(0)), None);
        let heard = sealer.hear(&answer, at(0)).unwrap();
        assert_eq!((heard.status, heard.seconds, heard.behind_ms), (Status::Stale, 30, 93_000));
        assert_eq!(sealer.hear(&answer, at(0)), None, "an answer is heard once");
    }
    let (_, late) = open(&knock(&mut sealer), &chain(4), Status::Granted, at(0)).unwrap();
    sealer.begin();
    assert_eq!(sealer.hear(&late, at(0)), None);
    for _ in 0..100 {
        knock(&mut sealer);
    }
    assert_eq!(sealer.pending.len(), MOST_PENDING);
}

#[test]
fn a_new_link_is_announced_under_the_old_one_until_it_arrived() {
    let mut sealer = sealer(Renewal::Announced(chain(5)));
    for _ in 0..3 {
        let tomorrow = at(86_400);
        let bytes = sealer.seal(&home(), tomorrow, &mut SystemEntropy).unwrap();
        let (payload, _) = open(&bytes, &chain(4), Status::Granted, tomorrow).unwrap();
        assert_eq!(payload.kind, Kind::NewLink);
        assert!(
            payload.link == Some(chain(5).at(today().plus(1)).unwrap()),
            "one chain, whichever day it is announced"
        );
    }
    assert!(matches!(sealer.outcome().unwrap().arrived, Arrived::Unknown));
    sealer.door_opened();
    assert!(
        matches!(&sealer.outcome().unwrap().arrived, Arrived::Seemingly(link) if *link.value() == secret(5))
    );
    let (_, answer) = open(&knock(&mut sealer), &chain(4), Status::Granted, at(0)).unwrap();
    sealer.hear(&answer, at(0)).unwrap();
    // The server may have kept the link of somebody who has a copy of the profile: the old one stays beside it.
    assert!(
        matches!(&sealer.outcome().unwrap().arrived, Arrived::Seemingly(link) if *link.value() == secret(5))
    );
    assert_eq!(sealer.outcome().unwrap().proven, Some(today()));
    let next = after(&sealer.keys, sealer.outcome().unwrap()).unwrap();
    assert!(matches!(&next.renewal, Renewal::Replaced(old) if old.at(today()).unwrap() == secret(4)));
    // What opens a knock is the server's.
    sealer.go_on(next);
    sealer.begin();
    let (payload, answer) = open(&knock(&mut sealer), &chain(5), Status::Granted, at(0)).unwrap();
    assert_eq!(payload.kind, Kind::Knock);
    sealer.hear(&answer, at(0)).unwrap();
    let next = after(&sealer.keys, sealer.outcome().unwrap()).unwrap();
    assert!(matches!(next.renewal, Renewal::Done) && next.link.at(today()).unwrap() == secret(5));
}

#[test]
fn only_what_was_done_proves_anything() {
    for status in [Status::Stale, Status::NotAllowed, Status::Busy, Status::FirewallFailed] {
        let mut sealer = sealer(Renewal::Announced(chain(5)));
        let (_, answer) = open(&knock(&mut sealer), &chain(4), status, at(0)).unwrap();
        assert_eq!(sealer.hear(&answer, at(0)).unwrap().status, status);
        let outcome = sealer.outcome().unwrap();
        assert!(outcome.proven.is_none() && matches!(outcome.arrived, Arrived::Unknown));
    }
}

#[test]
fn what_is_proven_of_a_day_is_not_proven_of_the_next() {
    let mut sealer = sealer(Renewal::Done);
    let (_, answer) = open(&knock(&mut sealer), &chain(4), Status::Granted, at(0)).unwrap();
    sealer.hear(&answer, at(0)).unwrap();
    knock(&mut sealer);
    assert_eq!(sealer.outcome().unwrap().proven, Some(today()));
    sealer.seal(&home(), at(86_400), &mut SystemEntropy).unwrap();
    let outcome = sealer.outcome().unwrap();
    assert_eq!((outcome.knocked, outcome.proven), (today().plus(1), None));
}

#[test]
fn a_day_far_from_the_knock_s_own_proves_nothing() {
    let heard = |days: i64| {
        let mut sealer = sealer(Renewal::Announced(chain(5)));
        let times = (at(0), at(days * 86_400));
        let (_, answer) = open_and_say(&knock(&mut sealer), &chain(4), Status::Granted, times).unwrap();
        assert_eq!(sealer.hear(&answer, at(0)).unwrap().status, Status::Granted);
        sealer
    };
    for (days, proven) in [
        (0, Some(today())),
        (1, Some(today().plus(1))),
        (-1, Some(today().minus(1))),
        (2, None),
        (-2, None),
        (9_000, None),
        (-9_000, None),
    ] {
        let sealer = heard(days);
        assert_eq!(sealer.outcome().unwrap().proven, proven, "{days}");
        let next = after(&sealer.keys, sealer.outcome().unwrap()).unwrap();
        assert!(next.door.day() >= today().minus(1) && next.door.day() <= today(), "{days}");
        assert!(next.newest <= today().plus(1), "{days}");
        // It was granted all the same.
        assert!(matches!(next.renewal, Renewal::Replaced(_)), "{days}");
    }
}

#[test]
fn a_link_that_only_seemed_to_arrive_locks_nobody_out() {
    // The server never got the new link, 5; somebody on the way made a door seem open.
    let mut sealer = sealer(Renewal::Replaced(chain(4)));
    sealer.keys.link = chain(5);
    let (first, second) = (knock(&mut sealer), knock(&mut sealer));
    assert!(open(&first, &chain(4), Status::Granted, at(0)).is_none());
    let (payload, answer) = open(&second, &chain(4), Status::Granted, at(0)).unwrap();
    assert!(payload.kind == Kind::NewLink && payload.link == Some(secret(5)));
    sealer.hear(&answer, at(0)).unwrap();
    // It may have another's: only a knock under the new one settles it.
    let next = after(&sealer.keys, sealer.outcome().unwrap());
    assert!(next.is_none_or(|next| matches!(next.renewal, Renewal::Replaced(_))));
    // It got it: the first try is under the new one.
    sealer.begin();
    let (payload, answer) = open(&knock(&mut sealer), &chain(5), Status::Granted, at(0)).unwrap();
    assert_eq!(payload.kind, Kind::Knock);
    sealer.hear(&answer, at(0)).unwrap();
    assert!(matches!(sealer.outcome().unwrap().arrived, Arrived::Surely(_)));
}

#[test]
fn a_clock_that_is_nowhere_near_is_said_and_costs_a_moment() {
    let mut sealer = sealer(Renewal::Done);
    let mut sealed = |secs| sealer.seal(&home(), Unix::from_secs(secs), &mut SystemEntropy).map(|_| ());
    let said = |error: Result<(), SealError>| error.unwrap_err().to_string();
    assert!(said(sealed(253_402_300_799)).contains("more than 10000 days ahead: the clock is wrong"));
    assert_eq!(said(sealed(-1)), SealError::Clock.to_string());
    assert!(said(sealed(NOON - 20 * 86_400)).contains("erased"));
    assert_eq!(sealed(NOON + 20 * 86_400), Ok(()));
}
