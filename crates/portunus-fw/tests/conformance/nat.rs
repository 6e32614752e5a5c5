//! Translations, on the real kernel: a client outside, the machine as a gateway, and a host behind it.

use std::time::{Duration, Instant};

use portunus_fw::{Change, Element, Firewall, Standing, Structure};
use portunus_model::{Nat, NatLimits, NatSource, Way};

use super::{Ground, LONG, all_done, door, open, structure};
use crate::bench::inner::{GATE, INNER, SECOND};
use crate::bench::{Bench, MACHINE, OTHER, OUTSIDE};

/// Where the inner host listens.
const INSIDE: [u16; 2] = [22, 23];
/// Where the machine does, and drops.
const LOCAL: u16 = 8022;

/// With every translation.
pub(crate) fn translating(ground: &dyn Ground) -> Structure {
    let at = |text: &str| text.parse().unwrap();
    let mut sources = vec![NatSource::Masquerade];
    sources.extend(GATE.map(|gate| NatSource::Fixed(at(gate))));
    let nat = NatLimits {
        forward: true,
        local: true,
        all: [None, Some(at(INNER[0])), Some(at(INNER[1]))].to_vec(),
        sources,
        ..NatLimits::default()
    };
    let mut structure = Structure { any_port: true, destinations: true, nat, ..structure(ground.place()) };
    if ground.leaves_the_drops_to_us() {
        structure.stance.protected = structure.doors.clone();
        structure.stance.protected.push(super::port("8022/tcp"));
    }
    structure
}

fn gateway(ground: &dyn Ground) -> (Bench, Box<dyn Firewall>) {
    let mut bench = Bench::new();
    bench.listen(&[80]);
    bench.with_inner(&INSIDE);
    bench.says_who(LOCAL);
    ground.prepare(&bench);
    let mut firewall = ground.back_end();
    firewall.install(&translating(ground), &[]).unwrap();
    (bench, firewall)
}

fn nat(host: &str, port: u16) -> Nat {
    Nat { local: false, host: host.parse().unwrap(), port, rewrite: true, source: NatSource::Kept }
}

/// From an address outside and a port of the machine, on by this translation.
fn turned(from: &str, outer: u16, nat: Nat) -> Element {
    Element { way: Way::Nat(nat), ..door(from, &format!("{outer}/tcp")) }
}

fn all(from: &str, to: Option<&str>, source: NatSource) -> Element {
    let to = to.map(|to| to.parse().unwrap());
    Element { port: None, way: Way::All { to, source }, ..door(from, "1/tcp") }
}

/// DNAT: one client's connects to one port of the machine come to the inner host, and a session outlives the grant.
pub(crate) fn a_translated_door_leads_to_the_inner_host(ground: &dyn Ground) {
    let (bench, mut firewall) = gateway(ground);
    for version in [0, 1] {
        let (to, from) = (MACHINE[version], OUTSIDE[version]);
        assert_eq!(bench.asks(to, 2222, from), None);
        let mine = turned(from, 2222, nat(INNER[version], 22));
        all_done(&firewall.change(&[open(mine)]));
        let session = bench.opens_session(to, 2222, from);
        assert!(session.is_some(), "{}", ground.listing());
        let mut session = session.unwrap();
        assert_eq!(session.said, Some(format!("inner 22 {from}")));
        assert_eq!(bench.asks(to, 2222, OTHER[version]), None, "another client");
        assert_eq!(bench.asks(to, 2223, from), None, "another port");
        if ground.guards_the_way_through() {
            assert_eq!(bench.asks(INNER[version], 23, from), None, "another inner port");
            let straight = bench.asks(INNER[version], 22, from).is_some();
            assert_eq!(straight, !ground.knows_what_was_translated(), "past the translation");
        }
        assert_eq!(firewall.open_now().unwrap().len(), 1);
        all_done(&firewall.change(&[Change::Close(mine)]));
        assert_eq!(bench.asks(to, 2222, from), None, "{}", ground.listing());
        assert!(session.lives(), "a session outlives its grant");
        assert_eq!(firewall.open_now(), Ok(vec![]));
    }
    assert_eq!(firewall.standing(), Ok(Standing::Whole));
}

/// SNAT and MASQUERADE: what the inner host sees as the source.
pub(crate) fn the_inner_host_is_shown_another_source(ground: &dyn Ground) {
    let (bench, mut firewall) = gateway(ground);
    for version in [0, 1] {
        let (to, from) = (MACHINE[version], OUTSIDE[version]);
        let gate = NatSource::Fixed(GATE[version].parse().unwrap());
        for (outer, source) in [(2222, gate), (2224, NatSource::Masquerade)] {
            let mine = turned(from, outer, Nat { source, ..nat(INNER[version], 23) });
            all_done(&firewall.change(&[open(mine)]));
            let said = format!("inner 23 {}", GATE[version]);
            assert_eq!(bench.asks(to, outer, from), Some(said), "{}", ground.listing());
            all_done(&firewall.change(&[Change::Close(mine)]));
        }
        let kept = turned(from, 2226, nat(INNER[version], 23));
        all_done(&firewall.change(&[open(kept)]));
        assert_eq!(bench.asks(to, 2226, from), Some(format!("inner 23 {from}")), "nobody else's is changed");
    }
}

/// Local NAT: from one port of the machine to another of it.
pub(crate) fn a_local_translation_stays_here(ground: &dyn Ground) {
    let (bench, mut firewall) = gateway(ground);
    for version in [0, 1] {
        let (to, from) = (MACHINE[version], OUTSIDE[version]);
        assert_eq!(bench.asks(to, LOCAL, from), None, "{}", ground.listing());
        let mine = turned(from, 2222, Nat { local: true, ..nat(to, LOCAL) });
        all_done(&firewall.change(&[open(mine)]));
        let said = Some(format!("machine {LOCAL} {from}"));
        assert_eq!(bench.asks(to, 2222, from), said, "{}", ground.listing());
        assert_eq!(bench.asks(to, 2222, OTHER[version]), None);
        let straight = bench.asks(to, LOCAL, from);
        assert_eq!(straight.is_some(), !ground.knows_what_was_translated(), "past the translation");
        all_done(&firewall.change(&[Change::Close(mine)]));
        assert_eq!((bench.asks(to, 2222, from), bench.asks(to, LOCAL, from)), (None, None));
        if !ground.knows_what_was_translated() {
            continue;
        }
        // What is to stay here does not go through.
        let mine = turned(from, 2222, Nat { local: true, ..nat(INNER[version], 22) });
        all_done(&firewall.change(&[open(mine)]));
        assert_eq!(bench.asks(to, 2222, from), None, "{}", ground.listing());
        all_done(&firewall.change(&[Change::Close(mine)]));
    }
}

/// FORWARD_ALL: every port, where it was going or to one host.
pub(crate) fn everything_goes_through(ground: &dyn Ground) {
    let (bench, mut firewall) = gateway(ground);
    for version in [0, 1] {
        let (from, inner) = (OUTSIDE[version], INNER[version]);
        let straight = all(from, None, NatSource::Kept);
        all_done(&firewall.change(&[open(straight)]));
        for port in INSIDE {
            let said = Some(format!("inner {port} {from}"));
            assert_eq!(bench.asks(inner, port, from), said, "{}", ground.listing());
            if ground.guards_the_way_through() {
                assert_eq!(bench.asks(inner, port, OTHER[version]), None);
            }
        }
        assert_eq!(bench.asks(MACHINE[version], LOCAL, from), None, "to the machine itself it opens nothing");
        all_done(&firewall.change(&[Change::Close(straight)]));
        let turned = all(from, Some(inner), NatSource::Masquerade);
        all_done(&firewall.change(&[open(turned)]));
        for port in INSIDE {
            let said = Some(format!("inner {port} {}", GATE[version]));
            assert_eq!(bench.asks(MACHINE[version], port, from), said, "{}", ground.listing());
        }
        assert_eq!(firewall.open_now().unwrap().len(), 1);
        all_done(&firewall.change(&[Change::Close(turned)]));
        assert_eq!(bench.asks(MACHINE[version], 23, from), None);
        if ground.guards_the_way_through() {
            assert_eq!(bench.asks(inner, 23, from), None);
        }
    }
    assert_eq!(firewall.open_now(), Ok(vec![]));
}

/// DISABLE_DNAT: the client knows the inner host by its own address.
pub(crate) fn what_is_not_rewritten_is_only_let_through(ground: &dyn Ground) {
    let (bench, mut firewall) = gateway(ground);
    for version in [0, 1] {
        let (from, inner) = (OUTSIDE[version], INNER[version]);
        let mine = turned(from, 23, Nat { rewrite: false, ..nat(inner, 23) });
        all_done(&firewall.change(&[open(mine)]));
        assert_eq!(bench.asks(inner, 23, from), Some(format!("inner 23 {from}")), "{}", ground.listing());
        assert_eq!(bench.asks(MACHINE[version], 23, from), None, "nothing is turned");
        if ground.guards_the_way_through() {
            assert_eq!(bench.asks(inner, 22, from), None);
        }
        all_done(&firewall.change(&[Change::Close(mine)]));
        if ground.guards_the_way_through() {
            assert_eq!(bench.asks(inner, 23, from), None);
        }
    }
}

/// ENABLE_DESTINATION_RULE: the grant is for the address that the knock went to.
pub(crate) fn a_door_at_one_address(ground: &dyn Ground) {
    let (bench, mut firewall) = gateway(ground);
    for version in [0, 1] {
        let from = OUTSIDE[version];
        let destination = Some(SECOND[version].parse().unwrap());
        let here = Element { destination, ..door(from, "8022/tcp") };
        let through = Element { destination, ..turned(from, 2222, nat(INNER[version], 22)) };
        all_done(&firewall.change(&[open(here), open(through)]));
        let asked = |port| [MACHINE[version], SECOND[version]].map(|to| bench.asks(to, port, from).is_some());
        assert_eq!(asked(LOCAL), [false, true], "{}", ground.listing());
        assert_eq!(asked(2222), [false, true], "{}", ground.listing());
        let mut there: Vec<_> = firewall.open_now().unwrap().into_iter().map(|(one, _)| one).collect();
        there.sort();
        let mut both = [here, through];
        both.sort();
        assert_eq!(there, both);
        all_done(&firewall.change(&[Change::Close(here), Change::Close(through)]));
        assert_eq!((asked(LOCAL), asked(2222)), ([false; 2], [false; 2]));
    }
}

/// One closes and the other opens in one batch, whichever comes first in it.
pub(crate) fn of_two_translations_the_later_counts(ground: &dyn Ground) {
    let (bench, mut firewall) = gateway(ground);
    let (to, from) = (MACHINE[0], OUTSIDE[0]);
    let [one, two] = INSIDE.map(|port| turned(from, 2222, nat(INNER[0], port)));
    all_done(&firewall.change(&[open(one)]));
    assert_eq!(bench.asks(to, 2222, from), Some(format!("inner 22 {from}")));
    all_done(&firewall.change(&[open(two), Change::Close(one)]));
    assert_eq!(bench.asks(to, 2222, from), Some(format!("inner 23 {from}")), "{}", ground.listing());
    all_done(&firewall.change(&[Change::Close(two), open(one)]));
    assert_eq!(bench.asks(to, 2222, from), Some(format!("inner 22 {from}")), "{}", ground.listing());
    // Renewed, it is still one.
    all_done(&firewall.change(&[open(one)]));
    assert_eq!(firewall.open_now().unwrap().len(), 1);
    assert_eq!(firewall.standing(), Ok(Standing::Whole));
}

/// Nobody of ours is left to close anything.
pub(crate) fn translations_end_by_the_kernel(ground: &dyn Ground) {
    let (bench, mut firewall) = gateway(ground);
    let (to, from) = (MACHINE[0], OUTSIDE[0]);
    let (lasting, began) = (Duration::from_secs(2), Instant::now());
    let doors = [
        turned(from, 2222, Nat { source: NatSource::Masquerade, ..nat(INNER[0], 22) }),
        turned(from, 2223, Nat { local: true, ..nat(to, LOCAL) }),
        all(OTHER[0], None, NatSource::Kept),
    ];
    all_done(&firewall.change(&doors.map(|one| Change::Open(one, lasting))));
    drop(firewall);
    let mut session = bench.opens_session(to, 2222, from).unwrap();
    assert!(bench.asks(to, 2223, from).is_some() && bench.asks(INNER[0], 23, OTHER[0]).is_some());
    std::thread::sleep((lasting + ground.late()).saturating_sub(began.elapsed()));
    assert_eq!(
        (bench.asks(to, 2222, from), bench.asks(to, 2223, from)),
        (None, None),
        "{}",
        ground.listing()
    );
    if ground.guards_the_way_through() {
        assert_eq!(bench.asks(INNER[0], 23, OTHER[0]), None);
    }
    assert!(session.lives(), "a session outlives its grant");
}

/// Killed, and started again with what the journal holds.
pub(crate) fn a_crash_keeps_no_translation(ground: &dyn Ground) {
    let (bench, mut firewall) = gateway(ground);
    let (to, from) = (MACHINE[0], OUTSIDE[0]);
    let [mine, other] = [2222, 2223].map(|outer| turned(from, outer, nat(INNER[0], 22)));
    all_done(&firewall.change(&[open(mine), open(other)]));
    drop(firewall);
    let mut firewall = ground.back_end();
    firewall.install(&translating(ground), &[(mine, LONG)]).unwrap();
    assert!(bench.asks(to, 2222, from).is_some(), "{}", ground.listing());
    assert_eq!(bench.asks(to, 2223, from), None, "what the journal does not know is closed");
    assert_eq!(firewall.open_now().unwrap().len(), 1);
    // And after somebody's flush.
    ground.flush();
    ground.prepare(&bench);
    assert_eq!(firewall.standing(), Ok(Standing::Broken));
    firewall.install(&translating(ground), &[(mine, LONG)]).unwrap();
    assert_eq!(firewall.standing(), Ok(Standing::Whole));
    assert!(bench.asks(to, 2222, from).is_some(), "{}", ground.listing());
}

/// Others' rules are the same byte for byte while ours stand, and nothing is left of ours afterwards.
pub(crate) fn translations_leave_no_trace(ground: &dyn Ground) {
    let mut bench = Bench::new();
    bench.listen(&[80]);
    bench.with_inner(&INSIDE);
    ground.prepare(&bench);
    let before = ground.listing();
    let mut firewall = ground.back_end();
    let mine = turned(OUTSIDE[0], 2222, Nat { source: NatSource::Masquerade, ..nat(INNER[0], 22) });
    firewall.install(&translating(ground), &[(mine, LONG)]).unwrap();
    all_done(&firewall.change(&[open(all(OTHER[1], Some(INNER[1]), NatSource::Kept))]));
    assert!(bench.asks(MACHINE[0], 2222, OUTSIDE[0]).is_some(), "{}", ground.listing());
    assert_eq!(before, ground.foreign());
    // A reload that translates nothing any more leaves only what it needs.
    firewall.install(&structure(ground.place()), &[]).unwrap();
    assert_eq!(before, ground.foreign());
    assert_eq!(bench.asks(MACHINE[0], 2222, OUTSIDE[0]), None);
    drop(firewall);
    let mut firewall = ground.back_end();
    firewall.teardown().unwrap();
    assert_eq!(before, ground.listing());
}

/// What goes through ends, and does not begin anew by the server's own words; nobody else's does.
pub(crate) fn a_kill_ends_what_goes_through(ground: &dyn Ground) {
    let (bench, mut firewall) = gateway(ground);
    let (to, from) = (MACHINE[0], OUTSIDE[0]);
    let dying =
        [turned(from, 2222, nat(INNER[0], 22)), turned(from, 2223, Nat { local: true, ..nat(to, LOCAL) })];
    let staying = turned(OTHER[0], 2222, nat(INNER[0], 22));
    all_done(&firewall.change(&dying.map(open)));
    all_done(&firewall.change(&[open(staying)]));
    let mut sessions = [2222, 2223].map(|port| bench.opens_session(to, port, from).unwrap());
    let mut other = bench.opens_session(to, 2222, OTHER[0]).unwrap();
    all_done(&firewall.change(&dying.map(Change::Close)));
    assert!(sessions.iter_mut().all(|session| session.lives()) && other.lives());
    let ended = firewall.end_flows(&dying, LONG).unwrap();
    assert!(ended.flows + ended.sockets >= 2, "{ended:?}");
    for session in &mut sessions {
        assert!(!session.lives(), "{}", ground.listing());
    }
    assert!(other.lives(), "{}", ground.listing());
    assert_eq!(firewall.standing(), Ok(Standing::Whole));
    // The next grant lets it in again.
    all_done(&firewall.change(&dying.map(open)));
    for port in [2222, 2223] {
        assert!(bench.asks(to, port, from).is_some(), "{port}: {}", ground.listing());
    }
}
