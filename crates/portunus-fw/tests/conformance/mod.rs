//! What every back end must do, on the real kernel: each test takes a [`Ground`], one kind of machine with its admin's
//! own rules, and puts it to the packets. `conformance!` makes a module of tests of one.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on says where it stopped"
)]

mod kill;
pub(crate) mod nat;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use portunus_fw::{Change, Element, Firewall, FirewallError, Ledger, Standing, Structure, Term};
use portunus_model::{ClientName, Grounds, Mono, Place, PortSpec, Stance, Way};

use crate::bench::{Bench, MACHINE, OTHER, OUTSIDE};

pub(crate) use kill::{a_cut_lasts_as_long_as_was_asked, a_kill_ends_what_is_established_and_nothing_else};

/// A kind of machine.
pub(crate) trait Ground {
    /// The admin's own rules: ports 80 and 443 stay as they are, and where `Place` is not our own, the rest is dropped.
    fn prepare(&self, bench: &Bench);
    /// A back end as the grantor would make it.
    fn back_end(&self) -> Box<dyn Firewall>;
    /// Where it stands.
    fn place(&self) -> Place;
    /// The ruleset as the admin's own tool lists it; without counters.
    fn listing(&self) -> String;
    /// The same without anything of ours.
    fn foreign(&self) -> String;
    /// The admin empties the ruleset.
    fn flush(&self);
    /// The admin loads what `listing` gave, on top of what stands.
    fn load(&self, listing: &str);
    /// How much later than asked a door may close.
    fn late(&self) -> Duration;
    /// Whether the admin drops what goes through the machine unless it is granted.
    fn guards_the_way_through(&self) -> bool {
        true
    }
    /// Whether it is us who drop what comes in.
    fn leaves_the_drops_to_us(&self) -> bool {
        matches!(self.place(), Place::Own)
    }
    /// Whether what is accepted after its translation is accepted only if it was translated.
    fn knows_what_was_translated(&self) -> bool {
        true
    }
}

pub(crate) const SSH: u16 = 22;
pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) fn port(text: &str) -> PortSpec {
    PortSpec::parse(text).unwrap()[0]
}

pub(crate) fn door(address: &str, text: &str) -> Element {
    Element::here(address.parse().unwrap(), port(text))
}

pub(crate) fn open(element: Element) -> Change {
    Change::Open(element, LONG)
}

pub(crate) fn all_done(answers: &[Result<(), FirewallError>]) {
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
}

pub(crate) fn structure(place: Place) -> Structure {
    let doors = ["22/tcp", "53/udp", "1500-1510/tcp", "1500-1501/tcp", "1505/tcp"].map(port).to_vec();
    let protected = match place {
        Place::Own | Place::Attach(_) | Place::Iptables => doors.clone(),
        // The admin drops by themselves.
        Place::Fwknop(_) => Vec::new(),
    };
    let stance = Stance { place, protected, knock_port: Some(54154), ..Stance::default() };
    Structure { doors, stance, most_open: 2000, ..Structure::default() }
}

/// The machine, somebody outside, and a back end whose structure stands.
pub(crate) fn machine(ground: &dyn Ground) -> (Bench, Box<dyn Firewall>) {
    let mut bench = Bench::new();
    bench.listen(&[SSH, 80, 1500, 1505]);
    ground.prepare(&bench);
    let mut firewall = ground.back_end();
    firewall.install(&structure(ground.place()), &[]).unwrap();
    (bench, firewall)
}

/// A door opens for one address and one port of one family, and the kernel closes it when nobody is left to.
pub(crate) fn a_door_opens_and_the_kernel_closes_it(ground: &dyn Ground) {
    let (bench, mut firewall) = machine(ground);
    for version in [0, 1] {
        assert_eq!(
            bench.connects(&[SSH, 80, 1505], version, OUTSIDE),
            [false, true, false],
            "{}",
            ground.listing()
        );
        assert_eq!(bench.hears(&[54154, 53], version), [true, false], "only knocks get in");
    }
    all_done(&firewall.change(&[open(door(OUTSIDE[0], "22/tcp")), open(door(OUTSIDE[1], "1505/tcp"))]));
    assert_eq!(bench.connects(&[SSH, 1505], 0, OUTSIDE), [true, false]);
    assert_eq!(bench.connects(&[SSH, 1505], 1, OUTSIDE), [false, true]);
    for version in [0, 1] {
        assert_eq!(bench.connects(&[SSH, 1505], version, OTHER), [false, false]);
    }
    all_done(&firewall.change(&[open(door(OUTSIDE[1], "53/udp"))]));
    assert_eq!((bench.hears(&[53], 0), bench.hears(&[53], 1)), (vec![false], vec![true]));

    let (lasting, began) = (Duration::from_secs(2), Instant::now());
    all_done(&firewall.change(&[Change::Open(door(OTHER[0], "22/tcp"), lasting)]));
    drop(firewall);
    assert_eq!(bench.connects(&[SSH], 0, OTHER), [true]);
    std::thread::sleep((lasting + ground.late()).saturating_sub(began.elapsed()));
    assert_eq!(bench.connects(&[SSH], 0, OTHER), [false], "{}", ground.listing());
    assert!(bench.opens(SSH), "nobody else's door closed with it");
}

/// A renewal counts from now on, and a shorter end is an end too.
pub(crate) fn a_door_is_renewed_shortened_and_closed(ground: &dyn Ground) {
    let (bench, mut firewall) = machine(ground);
    let (mine, began) = (door(OUTSIDE[0], "22/tcp"), Instant::now());
    let lasting = Duration::from_millis(1500);
    all_done(&firewall.change(&[Change::Open(mine, lasting)]));
    std::thread::sleep(Duration::from_secs(1));
    all_done(&firewall.change(&[Change::Open(mine, Duration::from_secs(10))]));
    std::thread::sleep((lasting + ground.late()).saturating_sub(began.elapsed()));
    assert!(bench.opens(SSH), "renewed before its end");
    let left = firewall.open_now().unwrap();
    assert!(left.len() == 1 && left[0].0 == mine && left[0].1 > Duration::from_secs(6), "{left:?}");

    let began = Instant::now();
    all_done(&firewall.change(&[Change::Open(mine, Duration::from_secs(1))]));
    std::thread::sleep((Duration::from_secs(1) + ground.late()).saturating_sub(began.elapsed()));
    assert!(!bench.opens(SSH), "shortened");

    all_done(&firewall.change(&[open(mine)]));
    all_done(&firewall.change(&[Change::Close(mine)]));
    assert!(!bench.opens(SSH), "closed");
    all_done(&firewall.change(&[Change::Close(mine)]));
    assert_eq!(firewall.open_now(), Ok(vec![]));
}

/// The ledger's rule, carried to the kernel: a door that two hold closes when neither does.
pub(crate) fn two_clients_behind_one_address(ground: &dyn Ground) {
    let (bench, mut firewall) = machine(ground);
    let at = |secs: u64| Mono::from_nanos(secs * 1_000_000_000);
    let [alice, bob] = ["alice", "bob"].map(|name| ClientName::new(name).unwrap());
    let (mut ledger, shared) = (Ledger::new(), door(OUTSIDE[0], "22/tcp"));
    let on = |until| Term { until: at(until), grounds: Grounds::default() };
    let mut opened = |client, until| ledger.open(at(0), client, shared, on(until)).change;
    let changes = [opened(&alice, 60), opened(&bob, 30)];
    changes.iter().for_each(|change| all_done(&firewall.change(&[*change])));
    let (_, changes) = ledger.close(at(0), Some(&alice), None);
    all_done(&firewall.change(&changes));
    assert!(bench.opens(SSH), "bob still holds it");
    let left = firewall.open_now().unwrap()[0].1;
    assert!(left <= Duration::from_secs(31), "until bob's end, not alice's: {left:?}");
    let (_, changes) = ledger.close(at(0), Some(&bob), None);
    all_done(&firewall.change(&changes));
    assert!(!bench.opens(SSH));
}

/// Addresses that are prefixes of each other as text, ranges that begin with the same port, a single port within a
/// range: each lives and ends by itself.
pub(crate) fn doors_that_look_alike_are_different(ground: &dyn Ground) {
    let (bench, mut firewall) = machine(ground);
    let (mine, longer) = (door("198.51.100.9", "22/tcp"), door("198.51.100.99", "22/tcp"));
    let (wide, narrow, single) =
        (door(OTHER[1], "1500-1510/tcp"), door(OTHER[1], "1500-1501/tcp"), door(OTHER[1], "1505/tcp"));
    all_done(&firewall.change(&[mine, longer, wide, narrow, single].map(open)));
    all_done(&firewall.change(&[Change::Close(longer), Change::Close(narrow)]));
    assert!(bench.opens(SSH), "the longer address went, not this one");
    assert_eq!(bench.connects(&[SSH], 0, OTHER), [false]);
    assert_eq!(
        bench.connects(&[1500, 1505], 1, OTHER),
        [true, true],
        "the narrow range went, not the wide one"
    );
    all_done(&firewall.change(&[Change::Close(wide)]));
    assert_eq!(bench.connects(&[1500, 1505], 1, OTHER), [false, true], "the range went, not the port within");
    all_done(&firewall.change(&[Change::Close(mine), open(longer)]));
    assert_eq!(bench.connects(&[SSH], 0, OTHER), [true]);
    assert!(!bench.opens(SSH));
    let open: Vec<Element> = firewall.open_now().unwrap().into_iter().map(|(element, _)| element).collect();
    assert_eq!(open.len(), 2);
    assert!(open.contains(&longer) && open.contains(&single), "{open:?}");
}

/// One flow comes in, and nobody else behind the same address.
pub(crate) fn a_door_for_one_source_port(ground: &dyn Ground) {
    let (bench, mut firewall) = machine(ground);
    let place = ground.place();
    firewall.install(&Structure { source_ports: true, ..structure(place.clone()) }, &[]).unwrap();
    for version in [0, 1] {
        let flow = |own| Element { way: Way::From(own), ..door(OUTSIDE[version], "22/tcp") };
        let (one, two) = (flow(40_001), flow(40_002));
        if matches!(place, Place::Fwknop(_)) {
            // The original's chains have no word for it.
            assert_eq!(firewall.change(&[open(one)]), [Err(FirewallError::NoWay(one))]);
            continue;
        }
        all_done(&firewall.change(&[open(one), open(two)]));
        let mut there: Vec<_> = firewall.open_now().unwrap().into_iter().map(|(one, _)| one).collect();
        there.sort();
        assert_eq!(there, [one, two]);
        all_done(&firewall.change(&[Change::Close(two)]));
        let comes = |own| bench.opens_from(own, version, SSH);
        assert_eq!([40_001, 40_002, 40_003].map(comes), [true, false, false], "{}", ground.listing());
        assert_eq!(firewall.standing(), Ok(Standing::Whole));
        all_done(&firewall.change(&[Change::Close(one)]));
        assert!(!comes(40_001));
        all_done(&firewall.change(&[Change::Open(one, Duration::from_secs(1))]));
        std::thread::sleep(Duration::from_secs(1) + ground.late());
        assert!(!comes(40_001), "the kernel closes it");
        // A range has no such place, and nothing is opened wider.
        let range = Element { way: Way::From(40_001), ..door(OUTSIDE[version], "1500-1510/tcp") };
        assert_eq!(firewall.change(&[open(range)]), [Err(FirewallError::NoWay(range))]);
    }
}

/// Whatever expires while a batch is on its way, the batch is carried out.
pub(crate) fn a_door_may_expire_within_the_batch(ground: &dyn Ground) {
    let (_bench, mut firewall) = machine(ground);
    // What has expired takes room until the kernel sweeps it out, and this goes far faster than any gate.
    firewall.install(&Structure { most_open: 100_000, ..structure(ground.place()) }, &[]).unwrap();
    let batch: Vec<Element> =
        (0..64).map(|n| Element::here(Ipv4Addr::new(203, 0, 113, n).into(), port("22/tcp"))).collect();
    let until = Instant::now() + Duration::from_secs(2);
    for round in 0_u32.. {
        if Instant::now() > until {
            break;
        }
        let short = |n: usize| Duration::from_micros(500 + (u64::from(round) * 97 + n as u64 * 131) % 9000);
        let brief: Vec<_> = batch.iter().enumerate().map(|(n, e)| Change::Open(*e, short(n))).collect();
        let answers = firewall.change(&brief);
        // A door that is gone before it is read back may be said to be gone; nothing else may go wrong.
        assert!(answers.iter().all(|a| matches!(a, Ok(()) | Err(FirewallError::NotThere))), "{answers:?}");
        let (renewed, closed) = batch.split_at(32);
        let second: Vec<_> =
            renewed.iter().map(|e| open(*e)).chain(closed.iter().map(|e| Change::Close(*e))).collect();
        all_done(&firewall.change(&second));
    }
    assert_eq!(firewall.open_now().unwrap().len(), 32);
}

/// One change that cannot be is refused by itself, in its place.
pub(crate) fn one_bad_change_does_not_spoil_the_batch(ground: &dyn Ground) {
    let (bench, mut firewall) = machine(ground);
    let none = door(OUTSIDE[0], "80/tcp");
    let mut batch: Vec<Change> =
        (0..63).map(|n| open(Element::here(Ipv4Addr::new(203, 0, 113, n).into(), port("22/tcp")))).collect();
    batch[7] = open(door(OUTSIDE[0], "22/tcp"));
    batch.insert(31, open(none));
    let answers = firewall.change(&batch);
    assert_eq!(answers[31], Err(FirewallError::NoDoor(port("80/tcp"))));
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 63);
    assert!(bench.opens(SSH));
    assert_eq!(firewall.open_now().unwrap().len(), 63);
}

/// There is an end to how many doors can be open, whoever asks.
pub(crate) fn a_full_set_refuses_and_goes_on(ground: &dyn Ground) {
    let (bench, mut firewall) = machine(ground);
    let small = Structure { most_open: 20, ..structure(ground.place()) };
    firewall.install(&small, &[]).unwrap();
    let at = |n: u8| Element::here(Ipv4Addr::new(203, 0, 113, n).into(), port("22/tcp"));
    let many: Vec<Change> = (0..200).map(|n| open(at(n))).collect();
    let answers = firewall.change(&many);
    let taken = answers.iter().filter(|answer| answer.is_ok()).count();
    assert!((20..200).contains(&taken), "{taken}: {answers:?}");
    assert!(answers.iter().all(|a| matches!(a, Ok(()) | Err(FirewallError::Full))), "{answers:?}");
    assert_eq!(firewall.open_now().unwrap().len(), taken);
    // What is open can be renewed, and what is closed makes room.
    let (first, mine) = (answers.iter().position(Result::is_ok).unwrap(), door(OUTSIDE[0], "22/tcp"));
    let first = at(u8::try_from(first).unwrap());
    all_done(&firewall.change(&[open(first)]));
    all_done(&firewall.change(&[Change::Close(first)]));
    all_done(&firewall.change(&[open(mine)]));
    assert!(bench.opens(SSH));
}

/// The admin's rules are the same byte for byte while we stand, and nothing is left of us afterwards.
pub(crate) fn others_rules_are_untouched_and_ours_vanish(ground: &dyn Ground) {
    let mut bench = Bench::new();
    bench.listen(&[SSH, 80]);
    ground.prepare(&bench);
    let before = ground.listing();
    assert_eq!(before, ground.foreign());
    let mut firewall = ground.back_end();
    firewall.teardown().unwrap();
    assert_eq!(before, ground.listing(), "nothing to remove");
    firewall.install(&structure(ground.place()), &[(door(OUTSIDE[0], "22/tcp"), LONG)]).unwrap();
    all_done(&firewall.change(&[open(door(OUTSIDE[1], "1500-1510/tcp"))]));
    assert_ne!(before, ground.listing());
    assert_eq!(before, ground.foreign());
    drop(firewall);
    // Whoever removes it need not be who put it there.
    let mut firewall = ground.back_end();
    firewall.teardown().unwrap();
    assert_eq!(before, ground.listing());
    firewall.teardown().unwrap();
    assert_eq!(bench.connects(&[80], 0, OUTSIDE), [true]);
}

/// Killed, and started again with what the journal holds: nothing is adopted, nothing doubled, nothing lost.
pub(crate) fn a_crash_leaves_nothing_open(ground: &dyn Ground) {
    let (bench, mut firewall) = machine(ground);
    let (mine, others) = (door(OUTSIDE[0], "22/tcp"), door(OTHER[0], "22/tcp"));
    all_done(&firewall.change(&[open(mine), open(others)]));
    let before = shape(&ground.listing());
    drop(firewall);
    assert!(bench.opens(SSH), "the kernel still has it");
    let mut firewall = ground.back_end();
    firewall.install(&structure(ground.place()), &[(mine, LONG)]).unwrap();
    assert!(bench.opens(SSH));
    assert_eq!(bench.connects(&[SSH], 0, OTHER), [false], "a door that the journal does not know is closed");
    assert_eq!(firewall.open_now().unwrap().len(), 1);
    all_done(&firewall.change(&[open(others)]));
    assert_eq!(before, shape(&ground.listing()));
    assert_eq!(firewall.standing(), Ok(Standing::Whole));
}

/// A listing without what moves by itself: handles in names and what is left of each time.
fn shape(listing: &str) -> usize {
    listing.lines().filter(|line| !line.contains("expires")).count()
}

/// Whatever the admin does to us is seen, and what is due stands again after one install.
pub(crate) fn a_flush_is_seen_and_mended(ground: &dyn Ground) {
    let (bench, mut firewall) = machine(ground);
    let mine = (door(OUTSIDE[0], "22/tcp"), LONG);
    all_done(&firewall.change(&[open(mine.0)]));
    assert_eq!(firewall.standing(), Ok(Standing::Whole), "our own changes are none");
    for _ in 0..3 {
        ground.flush();
        ground.prepare(&bench);
        assert_eq!(firewall.standing(), Ok(Standing::Broken));
        firewall.install(&structure(ground.place()), &[mine]).unwrap();
        assert_eq!(firewall.standing(), Ok(Standing::Whole));
        assert!(bench.opens(SSH));
        assert_eq!(bench.connects(&[SSH], 0, OTHER), [false]);
    }
}

/// The admin's own habit: save everything, and load it again later.
pub(crate) fn saving_and_loading_opens_nothing(ground: &dyn Ground) {
    let (bench, mut firewall) = machine(ground);
    let (gone, stays) = (door(OTHER[0], "22/tcp"), door(OUTSIDE[0], "22/tcp"));
    all_done(&firewall.change(&[open(gone), open(stays)]));
    let saved = ground.listing();
    all_done(&firewall.change(&[Change::Close(gone)]));
    ground.load(&saved);
    if firewall.standing() == Ok(Standing::Broken) {
        firewall.install(&structure(ground.place()), &[(stays, LONG)]).unwrap();
    }
    assert_eq!(
        bench.connects(&[SSH], 0, OTHER),
        [false],
        "what was open when it was saved is not opened again"
    );
    assert_eq!(bench.connects(&[SSH, 80], 0, OUTSIDE), [true, true]);
    assert_eq!(firewall.open_now().unwrap().len(), 1);
}

/// A session goes on when its grant ends.
pub(crate) fn the_end_of_a_grant_cuts_no_session(ground: &dyn Ground) {
    let (bench, mut firewall) = machine(ground);
    let mine = door(OUTSIDE[0], "22/tcp");
    all_done(&firewall.change(&[open(mine)]));
    let session = bench.outside(|| TcpStream::connect((MACHINE[0], SSH)).unwrap());
    all_done(&firewall.change(&[Change::Close(mine)]));
    assert!(!bench.opens(SSH));
    assert!(bench.echoes(session));
}

/// Only packets that come in by the named interfaces are accepted or dropped by us, also by one that comes later.
pub(crate) fn an_interface_counts_by_its_name(ground: &dyn Ground) {
    let (bench, mut firewall) = machine(ground);
    let (mine, place) = ([(door(OUTSIDE[0], "22/tcp"), LONG)], ground.place());
    let by = |names: &[&str]| {
        let mut structure = structure(ground.place());
        structure.stance.interfaces = names.iter().map(|name| (*name).to_owned()).collect();
        structure
    };
    firewall.install(&by(&["outer0", "wan7"]), &mine).unwrap();
    assert_eq!((bench.opens(SSH), bench.opens(1505)), (true, false));
    firewall.install(&by(&["wan7"]), &mine).unwrap();
    // Own drops nothing there, so the door stands open; attached, the admin's drop is all that there is.
    let ours = place == Place::Own;
    assert_eq!((bench.opens(SSH), bench.opens(1505)), (ours, ours), "{}", ground.listing());
    crate::bench::run("ip", &["link", "set", "outer0", "down"]);
    crate::bench::run("ip", &["link", "set", "outer0", "name", "wan7"]);
    crate::bench::run("ip", &["link", "set", "wan7", "up"]);
    let comes = (0..50).any(|_| bench.opens(SSH));
    assert_eq!((comes, bench.opens(1505)), (true, false), "{}", ground.listing());
}

/// Idle sessions live on through the first install, where nothing used conntrack before, whoever speaks first.
pub(crate) fn sessions_survive_the_first_install(ground: &dyn Ground) {
    let bench = Bench::new();
    let count = || std::fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count").unwrap();
    let listener = TcpListener::bind(("::", SSH)).unwrap();
    let mut sessions = Vec::new();
    for to in MACHINE.into_iter().chain(MACHINE) {
        let far = bench.outside(move || (0..50).find_map(|_| TcpStream::connect((to, SSH)).ok()).unwrap());
        let near = listener.accept().unwrap().0;
        for end in [&far, &near] {
            end.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
            end.set_nodelay(true).unwrap();
        }
        sessions.push((far, near));
    }
    assert_eq!(count().trim(), "0", "conntrack was used before");
    let mut firewall = ground.back_end();
    firewall.install(&structure(ground.place()), &[]).unwrap();
    assert!(!bench.opens(SSH));
    for (n, (mut far, mut near)) in sessions.into_iter().enumerate() {
        let mut heard = [0; 2];
        if n < 2 {
            let far = bench.outside(move || far.write_all(b"up").map(|()| far).unwrap());
            assert!(near.read_exact(&mut heard).is_ok(), "session {n}, spoken to from outside");
            near.write_all(b"dn").unwrap();
            bench.outside(move || (&far).read_exact(&mut [0; 2]).unwrap());
        } else {
            near.write_all(b"dn").unwrap();
            let (heard_far, mut far) = bench.outside(move || (far.read_exact(&mut [0; 2]).is_ok(), far));
            assert!(heard_far, "session {n}, spoken to from inside");
            bench.outside(move || far.write_all(b"up").map(|()| far).unwrap());
            near.read_exact(&mut heard).unwrap();
        }
    }
}

/// A module of tests on one ground; with what only some back ends promise after a semicolon.
macro_rules! conformance {
    ($ground:ident, $make:expr $(; $($also:ident),*)?) => {
        mod $ground {
            use super::*;
            $crate::conformance::conformance! { @ $make,
                a_door_opens_and_the_kernel_closes_it, a_door_is_renewed_shortened_and_closed,
                two_clients_behind_one_address, a_door_for_one_source_port, doors_that_look_alike_are_different,
                one_bad_change_does_not_spoil_the_batch, a_full_set_refuses_and_goes_on,
                others_rules_are_untouched_and_ours_vanish, a_crash_leaves_nothing_open, a_flush_is_seen_and_mended,
                saving_and_loading_opens_nothing, the_end_of_a_grant_cuts_no_session,
                a_kill_ends_what_is_established_and_nothing_else, a_cut_lasts_as_long_as_was_asked
                $($(, $also)*)?
            }
        }
    };
    // With an inner host behind the machine.
    (through $ground:ident, $make:expr) => {
        mod $ground {
            use super::*;
            $crate::conformance::conformance! { @ nat, $make,
                a_translated_door_leads_to_the_inner_host, the_inner_host_is_shown_another_source,
                a_local_translation_stays_here, everything_goes_through, what_is_not_rewritten_is_only_let_through,
                a_door_at_one_address, of_two_translations_the_later_counts, translations_end_by_the_kernel,
                a_crash_keeps_no_translation, translations_leave_no_trace, a_kill_ends_what_goes_through
            }
        }
    };
    (@ nat, $make:expr, $($name:ident),*) => {
        $(#[test] fn $name() { $crate::conformance::nat::$name(&$make); })*
    };
    (@ $make:expr, $($name:ident),*) => {
        $(#[test] fn $name() { $crate::conformance::$name(&$make); })*
    };
}
pub(crate) use conformance;
