//! `make bench`: the whole system in two namespaces, as a table. The sender runs on the same machine; the CPU of all
//! the daemon's processes is counted from /proc. With words only those parts are measured: `openings`, `knocks` (or
//! `1`, `100`, `10000` clients), `native`, `grants`, `store`, `memory`, `sniffing`, `fwknop` (against Debian's;
//! `fwknop-rates` for a part of that).
#![expect(clippy::expect_used, reason = "a measurement that cannot be made ends with what was missing")]

mod cost;
mod fwknop;
mod grants;
mod known;
mod machine;
mod native;
mod sniff;
mod store;

use std::time::{Duration, Instant};

use portunus_interop::{
    Daemon, Firewall, Member, SERVER, World, crowd, honoured, in_bursts, probe, serve_tcp, settle,
};

/// Samples of send-to-open.
const OPENINGS: usize = 300;
/// Knocks for the cost of one, how many come at once, and how many a second: as a server sees them that is busy but
/// keeps up.
const KNOCKS: u64 = 32_000;
const BURST: u64 = 64;
const RATE: u64 = 8_000;

fn main() {
    println!("{}\n", machine::name());
    println!("| what | measured | to be reached |\n| --- | --- | --- |");
    let words: Vec<String> = std::env::args().skip(1).collect();
    let wanted = |part: &str| words.is_empty() || words.iter().any(|word| word == part);
    if wanted("openings") {
        openings(Firewall::PolicyDrop, "nftables", "< 2 ms median");
        openings(Firewall::Iptables, "iptables", "");
    }
    for clients in [1, 100, 10_000] {
        if wanted("knocks") || wanted(&clients.to_string()) {
            knocks(clients);
        }
    }
    if wanted("native") {
        native::all();
    }
    if wanted("grants") {
        grants::all();
    }
    if wanted("store") {
        store::claims();
        claimed_by_knocks();
    }
    if wanted("memory") {
        memory_and_start();
    }
    if wanted("sniffing") {
        sniff::sniffing();
    }
    if wanted("fwknop") {
        fwknop::all();
    } else if wanted("fwknop-rates") {
        fwknop::rates();
    }
}

fn row(what: &str, measured: &str, wanted: &str) {
    println!("| {what} | {measured} | {wanted} |");
}

/// From the client's `sendto` until a TCP connect succeeds.
fn openings(firewall: Firewall, name: &str, wanted: &str) {
    let world = World::new(firewall);
    let alice = world.add("alice", &["--ports", "ssh", "--for", "60s"]);
    let daemon = world.serve();
    let _listener = serve_tcp(&world.server, "10.90.0.1:22");
    let door = "10.90.0.1:22".parse().expect("an address");
    let count = if firewall == Firewall::Iptables { OPENINGS / 5 } else { OPENINGS };
    let mut took: Vec<Duration> = (0..count).map(|_| one_opening(&world, &daemon, &alice, door)).collect();
    took.sort();
    let at = |share: usize| millis(took.get(took.len() * share / 100).copied().unwrap_or_default());
    row(
        &format!("send to open, {name}, {count} times"),
        &format!("median {}, p99 {}", at(50), at(99)),
        wanted,
    );
}

fn one_opening(
    world: &World,
    daemon: &Daemon,
    alice: &portunus_interop::Knocker,
    door: std::net::SocketAddr,
) -> Duration {
    let _ = daemon.control().close(None, None).expect("grants can be closed");
    // Only a door that is seen closed can be seen to open. Who looks too often fills the listener's queue, and takes
    // that for a closed door.
    loop {
        std::thread::sleep(Duration::from_millis(5));
        if world.client.inside(|| probe(door, Duration::from_millis(20))).is_none() {
            break;
        }
    }
    let packet = alice.packet();
    let measured = world.client.inside(|| {
        let socket = std::net::UdpSocket::bind("10.90.0.2:0").expect("a socket can be bound");
        socket.connect((SERVER, alice.port())).expect("the server has a route");
        let start = Instant::now();
        socket.send(&packet).expect("a datagram can be sent");
        probe(door, Duration::from_secs(2)).map(|_| start.elapsed())
    });
    measured.expect("the door opens within two seconds")
}

/// What a knock of a known source costs, all processes counted. Each client has an address of its own.
fn knocks(clients: u32) {
    let world = World::new(Firewall::None);
    let crowd = crowd(&world, clients, clients);
    known::before_a_restart(&world, &crowd);
    let daemon = world.serve();
    let turns = crowd.iter().cycle().take(usize::try_from(KNOCKS).expect("it is small"));
    let sealed: Vec<(&Member, _)> = turns.map(|member| (member, member.knocker.packet())).collect();
    let (before, known) = (cost::cpu(&daemon.processes()), honoured(&daemon));
    let mut next = sealed.iter();
    in_bursts(KNOCKS, RATE, BURST, |_| {
        if let Some((member, packet)) = next.next() {
            member.send(packet);
        }
    });
    let done = settle(&daemon, known + KNOCKS) - known;
    let after = cost::cpu(&daemon.processes());
    let spent: Vec<Duration> = after.iter().zip(&before).map(|(after, before)| *after - *before).collect();
    let per_core = cost::ratio(done, spent.iter().sum());
    let each: Vec<String> =
        spent.iter().map(|part| format!("{}", part.as_micros() / u128::from(done.max(1)))).collect();
    let lost = if done == KNOCKS { String::new() } else { lost(&daemon, KNOCKS - done) };
    let measured = format!("{per_core:.0} ({} us a knock: keeper, grantor, front{lost})", each.join(" + "));
    row(&format!("knocks a second and core, known sources, {clients} clients"), &measured, "10,000");
}

/// The same by the whole way: knocks through the socket, each proven, claimed, decided and opened, as fast as they are
/// taken.
fn claimed_by_knocks() {
    let world = World::new(Firewall::None);
    let crowd = crowd(&world, 24, 24);
    known::before_a_restart(&world, &crowd);
    let daemon = world.serve();
    let turns = crowd.iter().cycle().take(usize::try_from(KNOCKS).expect("it is small"));
    let sealed: Vec<(&Member, _)> = turns.map(|member| (member, member.knocker.packet())).collect();
    let known = honoured(&daemon);
    let mut next = sealed.iter();
    let start = Instant::now();
    in_bursts(KNOCKS, 20_000, BURST, |_| {
        if let Some((member, packet)) = next.next() {
            member.send(packet);
        }
    });
    let done = settle(&daemon, known + KNOCKS) - known;
    // `settle` sees that nothing comes any more by waiting; the wait counts here.
    let seconds = start.elapsed().as_secs_f64();
    let per_second = cost::ratio(done, Duration::from_secs_f64(seconds));
    let lost = if done == KNOCKS { String::new() } else { lost(&daemon, KNOCKS - done) };
    row(
        "knocks a second through socket, store on disk and nftables, wall clock, sender on the same cores",
        &format!("{per_second:.0} ({done} in {seconds:.2} s{lost})"),
        ">= 5,000",
    );
}

/// How many were not honoured, and what the daemon says became of them.
fn lost(daemon: &Daemon, count: u64) -> String {
    let status = daemon.control().status().expect("the daemon says how it is");
    let verdicts: Vec<String> =
        status.verdicts.iter().filter(|(_, n)| **n > 0).map(|(word, n)| format!("{word} {n}")).collect();
    format!("; {count} not honoured: {}, dropped by the kernel {}", verdicts.join(", "), status.kernel_drops)
}

fn memory_and_start() {
    let world = World::new(Firewall::None);
    let _alice = world.add("alice", &["--ports", "ssh"]);
    let daemon = world.serve();
    std::thread::sleep(Duration::from_millis(500));
    row("memory idle, PSS of all processes", &cost::pss(&daemon.processes()), "< 12 MB");
    drop(daemon);

    let _members = crowd(&world, 10_000, 1);
    let mut starts = Vec::new();
    for _ in 0..5 {
        let daemon = world.serve();
        starts.push(daemon.ready_after);
        if starts.len() == 5 {
            std::thread::sleep(Duration::from_millis(500));
            row(
                "memory with 10,000 clients, PSS of all processes",
                &cost::pss(&daemon.processes()),
                "< 24 MB",
            );
        }
        assert!(daemon.stop().success(), "the daemon ends well");
    }
    starts.sort();
    let median = starts.get(2).copied().unwrap_or_default();
    row("start with 10,000 clients, until READY=1", &format!("median {}", millis(median)), "< 300 ms");
}

fn millis(span: Duration) -> String {
    format!("{:.2} ms", span.as_secs_f64() * 1000.0)
}
