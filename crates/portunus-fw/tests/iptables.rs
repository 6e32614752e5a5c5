//! The iptables back end on the real kernel, with both implementations of the tools: what every back end must do.
//! Needs root, iptables and ip; it touches no rule of the host.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on says where it stopped"
)]

mod bench;

use std::time::{Duration, Instant};

use bench::{Bench, OTHER, OUTSIDE, load, pipe, run};
use portunus_fw::iptables::{Iptables, Programs, Variant};
use portunus_fw::{Change, Element, Firewall, FirewallError, Standing, Structure};
use portunus_model::{Place, PortSpec, Proto, Stance};
use portunus_sys::clock;

const SSH: u16 = 22;
const RANGE: u16 = 1500;
const LONG: Duration = Duration::from_secs(60);

fn port(first: u16, last: u16) -> PortSpec {
    PortSpec::range(Proto::Tcp, first, last).unwrap()
}

fn door(address: &str, port: PortSpec) -> Element {
    Element { address: address.parse().unwrap(), port }
}

fn open(element: Element) -> Change {
    Change::Open(element, LONG)
}

fn structure() -> Structure {
    let (ssh, wide) = (port(SSH, SSH), port(1500, 1510));
    let stance = Stance {
        place: Place::Iptables,
        knock_port: Some(54154),
        protected: vec![ssh, wide],
        interfaces: Vec::new(),
    };
    Structure { doors: vec![ssh, wide, port(1500, 1501)], stance, most_open: 2000 }
}

fn back_end(variant: Variant) -> Iptables<Programs> {
    Iptables::new(Programs::new(variant), clock::wall)
}

fn all_done(answers: &[Result<(), FirewallError>]) {
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
}

/// A machine whose admin drops everything with these tools, and our back end for it.
fn machine(variant: Variant) -> (Bench, Iptables<Programs>) {
    let mut bench = Bench::new();
    bench.listen(&[SSH, 80, RANGE]);
    for tool in tools(variant) {
        load(&format!(
            "#!/bin/sh\n{tool} -P INPUT DROP\n{tool} -A INPUT -p tcp --dport 80 -m comment --comment \"the admin's\" -j ACCEPT\n"
        ));
    }
    let [_, six] = tools(variant);
    run(six, &["-A", "INPUT", "-p", "ipv6-icmp", "-j", "ACCEPT"]);
    (bench, back_end(variant))
}

fn tools(variant: Variant) -> [&'static str; 2] {
    match variant {
        Variant::Nft | Variant::Default => ["iptables-nft", "ip6tables-nft"],
        Variant::Legacy => ["iptables-legacy", "ip6tables-legacy"],
    }
}

/// Both families' rules as the admin's tool saves them, without dates and counters.
fn saved(variant: Variant) -> String {
    let all: String = tools(variant).iter().map(|tool| run(&format!("{tool}-save"), &[])).collect();
    let lines = all.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| format!("{}\n", line.split(" [").next().unwrap())).collect()
}

fn opens_renews_overlaps_closes(variant: Variant) {
    let (bench, mut iptables) = machine(variant);
    iptables.install(&structure(), &[]).unwrap();
    assert!(iptables.kernel_closes());
    assert!(
        !bench.opens(SSH) && bench.opens(80),
        "drops what is protected, and leaves the admin's ports alone"
    );
    assert_eq!(
        (bench.hears(&[54154], 0), bench.hears(&[54154], 1)),
        (vec![true], vec![true]),
        "knocks get in"
    );

    let (four, six) = (door(OUTSIDE[0], port(SSH, SSH)), door(OUTSIDE[1], port(SSH, SSH)));
    // Addresses that are prefixes of each other as text, and ranges that begin with the same port.
    let prefix = door("198.51.100.90", port(SSH, SSH));
    let (wide, narrow) = (door(OTHER[0], port(1500, 1510)), door(OTHER[0], port(1500, 1501)));
    all_done(&iptables.change(&[four, six, prefix, wide, narrow].map(open)));
    assert!(bench.opens(SSH));
    assert_eq!(bench.connects(&[SSH], 1, OUTSIDE), [true]);
    assert_eq!(bench.connects(&[SSH, RANGE], 0, OTHER), [false, true]);

    all_done(&iptables.change(&[prefix, narrow].map(Change::Close)));
    assert!(bench.opens(SSH), "the longer address went, not this one");
    assert_eq!(bench.connects(&[RANGE], 0, OTHER), [true], "the narrower range went, not this one");
    all_done(&iptables.change(&[Change::Open(four, 2 * LONG), Change::Close(wide)]));
    let mut there = iptables.open_now().unwrap();
    there.sort();
    let elements: Vec<Element> = there.iter().map(|(element, _)| *element).collect();
    assert_eq!(elements, [four, six]);
    assert!(there[0].1 > LONG + Duration::from_secs(30) && there[1].1 <= LONG, "{there:?}");

    all_done(&iptables.change(&[four, six].map(Change::Close)));
    all_done(&iptables.change(&[Change::Close(six)]));
    assert!(!bench.opens(SSH));
    assert_eq!(iptables.open_now().unwrap(), []);
}

fn what_is_no_door_or_has_no_room_is_refused(variant: Variant) {
    let (bench, mut iptables) = machine(variant);
    iptables.install(&Structure { most_open: 1, ..structure() }, &[]).unwrap();
    let no_door = door(OUTSIDE[0], port(80, 80));
    let (first, second) = (door(OUTSIDE[0], port(SSH, SSH)), door(OTHER[0], port(SSH, SSH)));
    let answers = iptables.change(&[no_door, first, second].map(open));
    assert_eq!(answers, [Err(FirewallError::NoDoor(no_door.port)), Ok(()), Err(FirewallError::Full)]);
    assert!(bench.opens(SSH));
    all_done(&iptables.change(&[Change::Close(first), open(second)]));
}

/// What lives before the drop comes, and while a door closes, goes on.
fn live_sessions_survive(variant: Variant) {
    let (bench, mut iptables) = machine(variant);
    let mine = door(OUTSIDE[0], port(SSH, SSH));
    iptables.install(&structure(), &[(mine, LONG)]).unwrap();
    let session = bench.outside(|| std::net::TcpStream::connect((bench::MACHINE[0], SSH)).unwrap());
    all_done(&iptables.change(&[Change::Close(mine)]));
    assert!(!bench.opens(SSH));
    assert!(bench.echoes(session), "the session went on");
}

fn the_kernel_closes_when_we_are_dead(variant: Variant) {
    let (bench, mut iptables) = machine(variant);
    iptables.install(&structure(), &[]).unwrap();
    let lasting = Duration::from_millis(2500);
    let began = Instant::now();
    all_done(&iptables.change(&[Change::Open(door(OUTSIDE[0], port(SSH, SSH)), lasting)]));
    drop(iptables);
    assert!(bench.opens(SSH));
    // Its last second may pass whole: xt_time counts in seconds.
    std::thread::sleep((lasting + Duration::from_secs(1)).saturating_sub(began.elapsed()));
    assert!(!bench.opens(SSH), "{}", saved(variant));
    assert!(bench.opens(80));
}

fn others_rules_are_untouched_and_ours_vanish(variant: Variant) {
    let (bench, mut iptables) = machine(variant);
    let before = saved(variant);
    let doors = [(door(OUTSIDE[0], port(SSH, SSH)), LONG), (door(OUTSIDE[1], port(SSH, SSH)), LONG)];
    iptables.install(&structure(), &doors).unwrap();
    let during = saved(variant);
    let foreign: String =
        during.lines().filter(|line| !line.contains("PORTUNUS")).map(|line| format!("{line}\n")).collect();
    assert_eq!(before, foreign);
    iptables.teardown().unwrap();
    assert_eq!(before, saved(variant));
    iptables.teardown().unwrap();
    assert!(!bench.opens(SSH) && bench.opens(80), "the admin's own policy still drops");
}

fn a_crash_a_flush_and_a_reload_are_mended(variant: Variant) {
    let (bench, mut iptables) = machine(variant);
    let mine = (door(OUTSIDE[0], port(SSH, SSH)), LONG);
    iptables.install(&structure(), &[mine]).unwrap();
    assert_eq!(iptables.standing(), Ok(Standing::Whole));
    drop(iptables);

    // Killed, and started again with what the journal holds: nothing adopted, nothing doubled.
    let mut iptables = back_end(variant);
    iptables.install(&structure(), &[]).unwrap();
    assert!(!bench.opens(SSH), "a door that the journal does not know is closed");
    iptables.install(&structure(), &[mine]).unwrap();
    assert!(bench.opens(SSH));
    assert_eq!(saved(variant).matches("-j PORTUNUS_INPUT").count(), 2, "one jump a family");

    let tool = tools(variant)[0];
    run(tool, &["-F"]);
    assert_eq!(iptables.standing(), Ok(Standing::Broken), "flushed");
    for _ in 0..2 {
        run(tool, &["-I", "INPUT", "-p", "tcp", "--dport", "22", "-j", "DROP"]);
        assert_eq!(iptables.standing(), Ok(Standing::Broken), "something came before us");
        iptables.install(&structure(), &[mine]).unwrap();
        assert_eq!(iptables.standing(), Ok(Standing::Whole));
        assert!(bench.opens(SSH));
    }
}

/// The admin's own habit: save, and restore later.
fn saving_and_restoring_opens_nothing(variant: Variant) {
    let (bench, mut iptables) = machine(variant);
    iptables
        .install(&structure(), &[(door(OUTSIDE[0], port(SSH, SSH)), Duration::from_millis(1500))])
        .unwrap();
    assert!(bench.opens(SSH));
    let tool = tools(variant)[0];
    let text = run(&format!("{tool}-save"), &[]);
    std::thread::sleep(Duration::from_millis(2600));
    assert!(!bench.opens(SSH));
    pipe(&format!("{tool}-restore"), &[], &text);
    assert!(!bench.opens(SSH), "what was open when it was saved is not open when it is restored");
    assert!(bench.opens(80));
}

/// Not a bound, a figure: what a batch of so many costs (`cargo test -- --ignored --nocapture`).
fn cost(variant: Variant) {
    let (_bench, mut iptables) = machine(variant);
    iptables.install(&structure(), &[]).unwrap();
    for standing in [0_u8, 3] {
        for many in [1_u8, 16, 64] {
            let at = |third: u8, last: u8| open(door(&format!("203.0.{third}.{last}"), port(SSH, SSH)));
            let old: Vec<_> = (0..standing).flat_map(|t| (0..=255).map(move |l| at(t, l))).collect();
            all_done(&iptables.change(&old));
            let batch: Vec<_> = (0..many).map(|l| at(9, l)).collect();
            let began = Instant::now();
            all_done(&iptables.change(&batch));
            println!("{variant:?}: {many} doors beside {}: {:?}", old.len(), began.elapsed());
        }
    }
}

macro_rules! conformance {
    ($($name:ident),*) => {
        mod nft {
            use super::*;
            $(#[test] fn $name() { super::$name(Variant::Nft); })*
            #[test]
            #[ignore = "a measurement"]
            fn cost() { super::cost(Variant::Nft); }
        }
        mod legacy {
            use super::*;
            $(#[test] fn $name() { super::$name(Variant::Legacy); })*
            #[test]
            #[ignore = "a measurement"]
            fn cost() { super::cost(Variant::Legacy); }
        }
    };
}

conformance! {
    opens_renews_overlaps_closes,
    what_is_no_door_or_has_no_room_is_refused,
    live_sessions_survive,
    the_kernel_closes_when_we_are_dead,
    others_rules_are_untouched_and_ours_vanish,
    a_crash_a_flush_and_a_reload_are_mended,
    saving_and_restoring_opens_nothing
}
