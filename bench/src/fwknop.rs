//! Ours against Debian's fwknopd, in one run: the same configuration, the same packets.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use portunus_crypto::SystemEntropy;
use portunus_dialect::fwknop::{HashType, Keys, Message, Mode, Wish, read_ports, seal};
use portunus_interop::fwknop::{Fwknopd, Whose, grants, within};
use portunus_interop::{Firewall, SERVER, World, probe, serve_tcp};
use portunus_model::Unix;

use crate::{cost, millis, row};

const PORT: u16 = 62201;
/// Both programs take a moment between two knocks, so that each meets them idle.
const PAUSE: Duration = Duration::from_millis(150);

/// Send-to-open, packets a second and core, a thousand grants.
pub(crate) fn all() {
    for (conf, way) in [("", "sniffing"), ("ENABLE_UDP_SERVER Y;\n", "UDP server")] {
        openings(Whose::Theirs, "", conf, &format!("theirs, iptables, {way}"), "");
        openings(Whose::Ours, "", conf, &format!("ours, iptables, {way}"), "< 8 ms median");
        openings(Whose::Ours, "FIREWALL nft;\n", conf, &format!("ours, nftables, {way}"), "< 2 ms median");
    }
    rates();
    thousand_grants(Whose::Theirs, "theirs", "");
    thousand_grants(Whose::Ours, "ours", "all opened, all closed within 2 s of their time");
}

/// Packets a second and core, by the number of stanzas.
pub(crate) fn rates() {
    for (stanzas, packets) in [(1, 2000), (100, 1000), (10_000, 60)] {
        let theirs = packets_a_second(Whose::Theirs, stanzas, packets);
        let ours = packets_a_second(Whose::Ours, stanzas, if stanzas == 10_000 { 1000 } else { packets });
        let wanted = if stanzas == 10_000 { "ours at least 20 times theirs" } else { "" };
        let measured = format!("ours {ours:.0}, theirs {theirs:.0}: {:.1} times", ours / theirs.max(0.001));
        row(&format!("fwknop packets a second and core, {stanzas} stanzas of SOURCE ANY"), &measured, wanted);
    }
}

/// How many packets the stanza has refused. Theirs writes a line for each; ours, for a client, few a minute, and counts all.
fn refused(daemon: &Fwknopd, whose: Whose) -> usize {
    match whose {
        Whose::Theirs => daemon.log().matches("One or more requested protocol/ports was denied").count(),
        Whose::Ours => {
            let status = daemon.control().status().expect("the daemon says how it is");
            let count = status.verdicts.get("not-allowed").copied().unwrap_or_default();
            usize::try_from(count).unwrap_or(usize::MAX)
        }
    }
}

fn openings(whose: Whose, firewall: &str, conf: &str, name: &str, wanted: &str) {
    let ground = if firewall.is_empty() { Firewall::Iptables } else { Firewall::PolicyDrop };
    let world = World::bare(ground);
    if conf.contains("UDP_SERVER") {
        accept_knocks(&world, ground);
    }
    let _listener = serve_tcp(&world.server, "10.90.0.1:22");
    let stanza = stanza(0) + "FW_ACCESS_TIMEOUT 1\n";
    // The pauses of fwknopd's own default, not those of the tests.
    let conf = format!("{firewall}{conf}PCAP_LOOP_SLEEP 100000;\nUDPSERV_SELECT_TIMEOUT 500000;\n");
    let daemon = Fwknopd::start(&world, whose, &conf, &stanza, &[]);
    let door = SocketAddr::from(([10, 90, 0, 1], 22));
    let mut took: Vec<Duration> = (0..30).filter_map(|_| one_opening(&world, door)).collect();
    took.sort();
    let at = |share: usize| millis(took.get(took.len() * share / 100).copied().unwrap_or_default());
    let measured = format!("median {}, p95 {} ({} of 30 opened)", at(50), at(95), took.len());
    row(&format!("fwknop, send to open, {name}"), &measured, wanted);
    drop(daemon);
}

fn accept_knocks(world: &World, ground: Firewall) {
    if ground == Firewall::Iptables {
        world.server.run("iptables", &["-A", "INPUT", "-p", "udp", "--dport", "62201", "-j", "ACCEPT"]);
    } else {
        world.server.nft("insert rule inet filter input udp dport 62201 accept\n");
    }
}

fn one_opening(world: &World, door: SocketAddr) -> Option<Duration> {
    let closed = || world.client.inside(|| probe(door, Duration::from_millis(20))).is_none();
    assert!(within(Duration::from_secs(20), closed), "the door closes again");
    std::thread::sleep(PAUSE);
    let packet = packet(0);
    world.client.inside(|| {
        let socket = UdpSocket::bind("10.90.0.2:0").expect("a socket can be bound");
        socket.connect((SERVER, PORT)).expect("the server has a route");
        let start = Instant::now();
        socket.send(packet.as_bytes()).expect("a datagram can be sent");
        probe(door, Duration::from_secs(3)).map(|_| start.elapsed())
    })
}

/// Packets of the last stanza, each from an address that was never seen: how many a second of CPU. What is opened for
/// them is part of it in both.
fn packets_a_second(whose: Whose, stanzas: u32, packets: u32) -> f64 {
    let world = World::bare(Firewall::Iptables);
    accept_knocks(&world, Firewall::Iptables);
    world.client.run("ip", &["route", "add", "local", "10.91.0.0/16", "dev", "lo"]);
    let access: String = (0..stanzas).map(|n| stanza(n) + "OPEN_PORTS tcp/22\n\n").collect();
    let conf = "ENABLE_UDP_SERVER Y;\nUDPSERV_PORT 62201;\nRULES_CHECK_THRESHOLD 0;\n";
    let daemon = Fwknopd::start(&world, whose, conf, &access, &[]);
    let pids = daemon.processes();
    // Refused by the stanza: what the firewall's tools cost is not what is compared here.
    let sealed: Vec<String> = (0..packets).map(|_| sealed(stanzas - 1, "tcp/23")).collect();
    let before: Duration = cost::cpu(&pids).iter().sum();
    world.client.inside(|| {
        for (n, packet) in (1..).zip(&sealed) {
            let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 91, 0, 0)) + n);
            let socket = UdpSocket::bind((address, 0)).expect("a socket can be bound");
            socket.send_to(packet.as_bytes(), (SERVER, PORT)).expect("a datagram can be sent");
            std::thread::sleep(Duration::from_micros(if stanzas == 10_000 { 4000 } else { 500 }));
        }
    });
    let done = || refused(&daemon, whose);
    // Not often: to be asked costs ours something that no packet does.
    let until = Instant::now() + Duration::from_secs(60);
    while done() < sealed.len() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(200));
    }
    let spent = cost::cpu(&pids).iter().sum::<Duration>() - before;
    cost::ratio(u64::try_from(done()).unwrap_or_default(), spent)
}

/// A thousand grants asked for within five seconds, for five seconds each.
fn thousand_grants(whose: Whose, name: &str, wanted: &str) {
    let world = World::bare(Firewall::Iptables);
    world.client.run("ip", &["route", "add", "local", "10.91.0.0/16", "dev", "lo"]);
    let conf = "PCAP_LOOP_SLEEP 100000;\n";
    let daemon = Fwknopd::start(&world, whose, conf, &(stanza(0) + "FW_ACCESS_TIMEOUT 15\n"), &[]);
    let start = Instant::now();
    world.client.inside(|| {
        for n in 1..=1000_u32 {
            let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 91, 0, 0)) + n);
            let socket = UdpSocket::bind((address, 0)).expect("a socket can be bound");
            socket.send_to(packet(0).as_bytes(), (SERVER, PORT)).expect("a datagram can be sent");
            std::thread::sleep((Duration::from_millis(5) * n).saturating_sub(start.elapsed()));
        }
    });
    let opened = || daemon.log().matches("Added access rule to FWKNOP_INPUT").count();
    within(Duration::from_secs(8), || opened() >= 1000);
    let (opened, asked) = (opened(), start.elapsed());
    let last_due = Duration::from_secs(5 + 15);
    let all_closed = within(Duration::from_secs(90), || grants(&world).is_empty());
    let late = start.elapsed().saturating_sub(last_due);
    let closed = if all_closed {
        format!("the last closed {} late", millis(late))
    } else {
        "not all closed".to_owned()
    };
    let measured = format!("{opened} opened after {}, {closed}", millis(asked));
    row(&format!("fwknop, 1,000 grants in five seconds, {name}"), &measured, wanted);
}

fn stanza(n: u32) -> String {
    format!("SOURCE ANY\nKEY key-number{n}\nHMAC_KEY hmac-key-number{n}\n")
}

fn packet(n: u32) -> String {
    sealed(n, "tcp/22")
}

fn sealed(n: u32, ports: &str) -> String {
    let (key, hmac) = (format!("key-number{n}"), format!("hmac-key-number{n}"));
    let keys =
        Keys::new(key.as_bytes(), Mode::Cbc, Some((HashType::Sha256, hmac.as_bytes()))).expect("good keys");
    let ports = read_ports(ports).expect("ports");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_secs();
    let stamp = Unix::from_secs(i64::try_from(now).expect("a clock"));
    let wish = Wish::new("bench", Message::Access { address: None, ports });
    seal(&keys, wish, stamp, &mut SystemEntropy).expect("a packet").wire
}
