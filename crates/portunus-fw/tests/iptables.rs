//! The iptables back end on the real kernel, with both implementations of the tools: what every back end must do.
//! Needs root, iptables and ip; it touches no rule of the host.

mod bench;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bench::{Bench, OTHER, OUTSIDE, load, pipe, run};
use portunus_fw::iptables::{Door, Iptables, Programs, Turn, Variant};
use portunus_model::{PortSpec, Proto, Stance, Unix};

const SSH: u16 = 22;
const RANGE: u16 = 1500;

fn now() -> Unix {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Unix::from_nanos(i128::try_from(since.as_nanos()).unwrap())
}

fn port(first: u16, last: u16) -> PortSpec {
    PortSpec::range(Proto::Tcp, first, last).unwrap()
}

fn door(address: &str, port: PortSpec, lasting: Duration) -> Door {
    Door { address: address.parse().unwrap(), port, until: now().after(lasting) }
}

fn close(door: Door) -> Turn {
    Turn::Close { address: door.address, port: door.port }
}

const LONG: Duration = Duration::from_secs(60);

/// A machine whose admin drops everything with these tools, and our back end in it.
fn machine(variant: Variant) -> (Bench, Iptables<Programs>) {
    let mut bench = Bench::new();
    bench.listen(&[SSH, 80, RANGE]);
    // Neighbours first: the admin's rules below drop IPv6's questions for them.
    assert_eq!(bench.connects(&[SSH], 0, OUTSIDE), [true]);
    assert_eq!(bench.connects(&[SSH], 1, OUTSIDE), [true]);
    for tool in tools(variant) {
        load(&format!(
            "#!/bin/sh\n{tool} -P INPUT DROP\n{tool} -A INPUT -p tcp --dport 80 -m comment --comment \"the admin's\" -j ACCEPT\n"
        ));
    }
    load("#!/bin/sh\nip6tables-nft -A INPUT -p ipv6-icmp -j ACCEPT || true\n");
    let stance = Stance { knock_port: Some(54154), protected: vec![port(SSH, SSH), port(1500, 1510)], ..Stance::default() };
    (bench, Iptables::new(Programs::new(variant), stance))
}

fn tools(variant: Variant) -> [&'static str; 2] {
    match variant {
        Variant::Nft | Variant::Default => ["iptables-nft", "ip6tables-nft"],
        Variant::Legacy => ["iptables-legacy", "ip6tables-legacy"],
    }
}

/// Both families' rules as the admin's tool saves them, without dates.
fn saved(variant: Variant) -> String {
    let all: String = tools(variant).iter().map(|tool| run(&format!("{tool}-save"), &[])).collect();
    all.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect()
}

fn opens_renews_overlaps_closes(variant: Variant) {
    let (bench, mut iptables) = machine(variant);
    iptables.install(&[]).unwrap();
    assert!(iptables.kernel_closes());
    assert!(!bench.opens(SSH) && bench.opens(80), "drops what is protected, and leaves the admin's ports alone");
    assert!(bench.hears(54154, 0) && bench.hears(54154, 1), "knocks get in");

    let four = door(OUTSIDE[0], port(SSH, SSH), LONG);
    let six = door(OUTSIDE[1], port(SSH, SSH), LONG);
    // Addresses that are prefixes of each other as text, and ranges that begin with the same port.
    let prefix = door("198.51.100.90", port(SSH, SSH), LONG);
    let (wide, narrow) = (door(OTHER[0], port(1500, 1510), LONG), door(OTHER[0], port(1500, 1501), LONG));
    let all = [four, six, prefix, wide, narrow];
    assert!(iptables.turn(&all.map(Turn::Open)).iter().all(Result::is_ok));
    assert!(bench.opens(SSH));
    assert_eq!(bench.connects(&[SSH], 1, OUTSIDE), [true]);
    assert_eq!(bench.connects(&[SSH, RANGE], 0, OTHER), [false, true]);

    assert!(iptables.turn(&[close(prefix), close(narrow)]).iter().all(Result::is_ok));
    assert!(bench.opens(SSH), "the longer address went, not this one");
    assert_eq!(bench.connects(&[RANGE], 0, OTHER), [true], "the narrower range went, not this one");
    let renewed = Door { until: four.until.after(LONG), ..four };
    assert!(iptables.turn(&[Turn::Open(renewed), close(wide)]).iter().all(Result::is_ok));
    let mut there: Vec<_> = iptables.doors().unwrap().iter().map(|d| (d.address, d.port, d.until.as_secs())).collect();
    there.sort();
    assert_eq!(there, [renewed, six].map(|d| (d.address, d.port, d.until.as_secs())));

    assert!(iptables.turn(&[close(four), close(six), close(six)]).iter().all(Result::is_ok));
    assert!(!bench.opens(SSH));
    assert_eq!(iptables.doors().unwrap(), []);
}

/// What lives before the drop comes, and while a door closes, goes on.
fn live_sessions_survive(variant: Variant) {
    let (bench, mut iptables) = machine(variant);
    let open = door(OUTSIDE[0], port(SSH, SSH), LONG);
    iptables.install(&[open]).unwrap();
    let session = bench.outside(|| std::net::TcpStream::connect((bench::MACHINE[0], SSH)).unwrap());
    let _ = iptables.turn(&[close(open)]);
    assert!(!bench.opens(SSH));
    let said = bench.outside(move || std::io::Write::write_all(&mut { session }, b"still here"));
    assert!(said.is_ok());
}

fn the_kernel_closes_when_we_are_dead(variant: Variant) {
    let (bench, mut iptables) = machine(variant);
    iptables.install(&[]).unwrap();
    let open = door(OUTSIDE[0], port(SSH, SSH), Duration::from_millis(2500));
    assert!(iptables.turn(&[Turn::Open(open)])[0].is_ok());
    drop(iptables);
    assert!(bench.opens(SSH));
    // Its last second may pass whole (xt_time counts in seconds).
    while now() < open.until.after(Duration::from_secs(1)) {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(!bench.opens(SSH), "{}", saved(variant));
    assert!(bench.opens(80));
}

fn others_rules_are_untouched_and_ours_vanish(variant: Variant) {
    let (bench, mut iptables) = machine(variant);
    let before = saved(variant);
    iptables.install(&[door(OUTSIDE[0], port(SSH, SSH), LONG), door(OUTSIDE[1], port(SSH, SSH), LONG)]).unwrap();
    let ours = |line: &&str| !line.contains("PORTUNUS");
    let during = saved(variant);
    assert_eq!(strip(&before), strip(&during.lines().filter(ours).map(|l| format!("{l}\n")).collect::<String>()));
    iptables.teardown().unwrap();
    assert_eq!(strip(&before), strip(&saved(variant)));
    iptables.teardown().unwrap();
    assert!(!bench.opens(SSH) && bench.opens(80), "the admin's own policy still drops");
}

/// Counters in brackets aside.
fn strip(saved: &str) -> String {
    saved.lines().map(|line| format!("{}\n", line.split(" [").next().unwrap())).collect()
}

fn a_crash_a_flush_and_a_reload_are_mended(variant: Variant) {
    let (bench, mut iptables) = machine(variant);
    let open = door(OUTSIDE[0], port(SSH, SSH), LONG);
    iptables.install(&[open]).unwrap();
    assert!(iptables.stands().unwrap());
    drop(iptables);

    // Killed, and started again with what the journal holds: nothing adopted, nothing doubled.
    let stance = Stance { protected: vec![port(SSH, SSH)], ..Stance::default() };
    let mut iptables = Iptables::new(Programs::new(variant), stance);
    iptables.install(&[]).unwrap();
    assert!(!bench.opens(SSH), "a door that the journal does not know is closed");
    iptables.install(&[open]).unwrap();
    assert!(bench.opens(SSH));
    assert_eq!(saved(variant).matches("-j PORTUNUS_INPUT").count(), 2, "one jump a family");

    let tool = tools(variant)[0];
    run(tool, &["-F"]);
    assert!(!iptables.stands().unwrap(), "flushed");
    run(tool, &["-I", "INPUT", "-p", "tcp", "--dport", "22", "-j", "DROP"]);
    iptables.install(&[open]).unwrap();
    assert!(iptables.stands().unwrap() && bench.opens(SSH));
    run(tool, &["-I", "INPUT", "-p", "tcp", "--dport", "22", "-j", "DROP"]);
    assert!(!iptables.stands().unwrap(), "something came before us");
    iptables.install(&[open]).unwrap();
    assert!(iptables.stands().unwrap() && bench.opens(SSH));
}

/// The admin's own habit: save, and restore later.
fn saving_and_restoring_opens_nothing(variant: Variant) {
    let (bench, mut iptables) = machine(variant);
    iptables.install(&[door(OUTSIDE[0], port(SSH, SSH), Duration::from_millis(900))]).unwrap();
    assert!(bench.opens(SSH));
    let tool = tools(variant)[0];
    let text = run(&format!("{tool}-save"), &[]);
    std::thread::sleep(Duration::from_secs(2));
    assert!(!bench.opens(SSH));
    pipe(&format!("{tool}-restore"), &[], &text);
    assert!(!bench.opens(SSH), "what was open when it was saved is not open when it is restored");
    assert!(bench.opens(80));
}

/// Not a bound, a figure: what a batch of so many costs (`cargo test -- --ignored --nocapture`).
fn cost(variant: Variant) {
    let (_bench, mut iptables) = machine(variant);
    iptables.install(&[]).unwrap();
    for standing in [0_u8, 3] {
        for many in [1_u8, 16, 64] {
            let at = |third: u8, last: u8| door(&format!("203.0.{third}.{last}"), port(SSH, SSH), LONG);
            let old: Vec<_> = (0..standing).flat_map(|t| (0..=255).map(move |l| Turn::Open(at(t, l)))).collect();
            let _ = iptables.turn(&old);
            let batch: Vec<_> = (0..many).map(|l| Turn::Open(at(9, l))).collect();
            let began = std::time::Instant::now();
            assert!(iptables.turn(&batch).iter().all(Result::is_ok));
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
    live_sessions_survive,
    the_kernel_closes_when_we_are_dead,
    others_rules_are_untouched_and_ours_vanish,
    a_crash_a_flush_and_a_reload_are_mended,
    saving_and_restoring_opens_nothing
}
