//! The metrics of the real daemon: what they count, who can have them, and that nobody who fetches them is in anybody's way.

#![expect(clippy::unwrap_used, reason = "a test's helper fails by panicking")]

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use portunus_interop::{CLIENT, Daemon, Firewall, Part, SERVER, World};
use prometheus_parse::{Scrape, Value};
use rustix::process::{Pid, Signal, kill_process};

const LISTEN: &str = "127.0.0.1:9154";
const GET: &str = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn configure(world: &World, listen: &str) {
    let path = world.place("etc/portunus.toml");
    let text = fs::read_to_string(&path).unwrap();
    let text = text.split("\n[metrics]").next().unwrap().to_owned();
    fs::write(path, format!("{text}\n[metrics]\nlisten = \"{listen}\"\n")).unwrap();
}

/// What comes for a request.
fn fetch(mut stream: impl Read + Write, request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text);
    text
}

fn ask(world: &World, request: &str) -> String {
    world.server.inside(|| fetch(TcpStream::connect(LISTEN).unwrap(), request))
}

/// A page that is fresh: after a second the last one is old.
fn scrape(world: &World) -> Scrape {
    std::thread::sleep(Duration::from_millis(1100));
    parse(&ask(world, GET))
}

fn parse(answer: &str) -> Scrape {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("Content-Type: text/plain; version=0.0.4"), "{head}");
    assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
    Scrape::parse(body.lines().map(|line| Ok(line.to_owned()))).unwrap()
}

/// The sum of all samples of this name that have these labels.
fn value(scrape: &Scrape, name: &str, labels: &[(&str, &str)]) -> f64 {
    let fits = |sample: &&prometheus_parse::Sample| {
        sample.metric == name && labels.iter().all(|(label, word)| sample.labels.get(label) == Some(*word))
    };
    let mut found = scrape.samples.iter().filter(fits).peekable();
    assert!(found.peek().is_some(), "no {name} with {labels:?}");
    found
        .map(|sample| match &sample.value {
            Value::Counter(value) | Value::Gauge(value) | Value::Untyped(value) => *value,
            Value::Histogram(steps) => steps.last().unwrap().count,
            Value::Summary(_) => f64::NAN,
        })
        .sum()
}

fn verdicts(scrape: &Scrape, reason: &str) -> f64 {
    value(scrape, "portunus_verdicts_total", &[("reason", reason)])
}

fn exporter(daemon: &Daemon) -> u32 {
    let is_it = |pid: &u32| {
        fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default().windows(7).any(|w| w == b"metrics")
    };
    daemon.processes().into_iter().find(is_it).unwrap()
}

fn check_file(world: &World) -> String {
    let out = world.try_portunus(&["check"]);
    format!("{:?} {}", out.status.code(), String::from_utf8_lossy(&out.stderr))
}

#[test]
fn metrics_count_what_happens_and_are_for_this_host() {
    let world = World::new(Firewall::PolicyDrop);
    let alice = world.add("alice", &["--ports", "ssh", "--for", "60s"]);
    configure(&world, LISTEN);
    let daemon = world.serve();
    let packet = alice.packet();
    assert_eq!(daemon.verdict(|| alice.send(&world.client, SERVER, &packet)), "granted");
    assert_eq!(daemon.verdict(|| alice.send(&world.client, SERVER, &packet)), "replayed");
    assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "extended");
    let page = scrape(&world);
    for (reason, count) in [("granted", 1.0), ("replayed", 1.0), ("extended", 1.0), ("noise", 0.0)] {
        assert_eq!(verdicts(&page, reason), count, "{reason}");
    }
    let openme = [("reason", "granted"), ("dialect", "openme")];
    assert_eq!(value(&page, "portunus_verdicts_total", &openme), 1.0);
    assert_eq!(value(&page, "portunus_opening_seconds", &[]), 2.0);
    assert_eq!(value(&page, "portunus_grants_open", &[]), 1.0);
    assert_eq!(value(&page, "portunus_clients", &[]), 1.0);
    assert_eq!(value(&page, "portunus_known_sources", &[]), 1.0);
    assert_eq!(value(&page, "portunus_replay_claims", &[]), 2.0);
    assert_eq!(value(&page, "portunus_replay_writable", &[]), 1.0);
    assert_eq!(value(&page, "portunus_received_packets_total", &[("receiver", "udp")]), 3.0);
    assert_eq!(value(&page, "portunus_part_answers", &[]), 2.0);
    assert_eq!(value(&page, "portunus_starts_total", &[]), 1.0);
    assert!(value(&page, "portunus_audit_lines_total", &[]) >= 4.0);
    assert_eq!(value(&page, "portunus_audit_writable", &[]), 1.0);
    let took = page.samples.iter().find(|sample| sample.metric == "portunus_opening_seconds_sum").unwrap();
    assert!(
        matches!(took.value, Value::Untyped(sum) | Value::Gauge(sum) if sum > 0.0 && sum < 5.0),
        "{took:?}"
    );

    // Nothing of a client or a stranger is in it, and whatever strangers send, there are no more lines.
    let text = ask(&world, GET);
    assert!(!text.contains("alice") && !text.contains(CLIENT), "{text}");
    world.client.inside(|| {
        let socket = UdpSocket::bind((CLIENT, 0)).unwrap();
        for n in 0..500_u32 {
            let mut packet = [7; 165];
            packet[0] = 1;
            packet[1..5].copy_from_slice(&n.to_be_bytes());
            socket.send_to(&packet, (SERVER, alice.port())).unwrap();
        }
    });
    let again = scrape(&world);
    assert_eq!(again.samples.len(), page.samples.len());
    assert!(value(&again, "portunus_received_packets_total", &[("receiver", "udp")]) > 3.0);

    // A reload, in force and refused.
    let services = world.place("etc/services.toml");
    let kept = fs::read_to_string(&services).unwrap();
    fs::write(&services, "ssh = 7\n").unwrap();
    daemon.until_logged("not reloaded");
    let refused = scrape(&world);
    assert_eq!(value(&refused, "portunus_last_reload_success", &[]), 0.0);
    assert_eq!(value(&refused, "portunus_reloads_total", &[("outcome", "refused")]), 1.0);
    fs::write(&services, kept).unwrap();
    daemon.until_logged("msg=reloaded");
    assert_eq!(value(&scrape(&world), "portunus_last_reload_success", &[]), 1.0);

    // From another machine nobody listens.
    let from_outside = world.client.inside(|| {
        TcpStream::connect_timeout(&format!("{SERVER}:9154").parse().unwrap(), Duration::from_millis(500))
    });
    assert!(from_outside.is_err());
    // What dies is counted over the daemon's life.
    let mut daemon = daemon;
    daemon.signal(Part::Grantor, Signal::KILL);
    assert!(!daemon.wait().success());
    let daemon = world.serve();
    let page = scrape(&world);
    assert_eq!(value(&page, "portunus_part_deaths_total", &[("part", "grantor")]), 1.0);
    assert_eq!(value(&page, "portunus_starts_total", &[]), 2.0);
    drop(daemon);
}

#[test]
fn metrics_answer_nothing_else_and_slow_scrapers_are_in_nobodys_way() {
    let world = World::new(Firewall::None);
    let alice = world.add("alice", &["--ports", "ssh", "--for", "1s"]);
    configure(&world, LISTEN);
    let daemon = world.serve();
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", "404"),
        ("POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", "405"),
        ("\u{16}\u{3}\u{1}\r\n\r\n", "400"),
        (&format!("GET /metrics HTTP/1.1\r\nX: {}", "y".repeat(5000)), "431"),
    ] {
        let answer = ask(&world, request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request:.40}: {answer}");
    }
    // Who says nothing, or never reads, is let go; the others have their page, and knocks are as quick as ever.
    let held: Vec<TcpStream> =
        world.server.inside(|| (0..60).map(|_| TcpStream::connect(LISTEN).unwrap()).collect());
    world.server.inside(|| {
        for mut stream in &held {
            let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\n");
        }
    });
    let start = Instant::now();
    parse(&ask(&world, GET));
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "granted");
    let mut silent = held.last().unwrap();
    silent.set_read_timeout(Some(Duration::from_secs(8))).unwrap();
    assert_eq!(silent.read(&mut [0; 16]).unwrap_or(0), 0, "it was not let go");
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());

    // An exporter that is killed costs no door, and comes back.
    assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "granted");
    let before = exporter(&daemon);
    kill_process(Pid::from_raw(before.cast_signed()).unwrap(), Signal::KILL).unwrap();
    daemon.until_logged("the exporter ended by itself");
    let start = Instant::now();
    while daemon.processes().len() < 4 {
        assert!(start.elapsed() < Duration::from_secs(10), "it does not come back: {}", daemon.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    let page = scrape(&world);
    assert_eq!(value(&page, "portunus_part_deaths_total", &[("part", "metrics")]), 1.0);
    assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "granted");
    assert!(daemon.stop().success());
}

#[test]
fn metrics_by_a_socket_file_are_for_the_daemons_group_and_a_reload_moves_them() {
    let world = World::new(Firewall::None);
    let _alice = world.add("alice", &["--ports", "ssh"]);
    let daemon = world.serve();
    let no_exporter = daemon.processes().len();
    let path = world.place("run").join("metrics.sock");
    configure(&world, &format!("unix:{}", path.display()));
    daemon.until_logged("msg=reloaded");
    let connect = || UnixStream::connect(&path);
    let until = Instant::now() + Duration::from_secs(5);
    while connect().is_err() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(10));
    }
    let page = parse(&fetch(connect().unwrap(), GET));
    assert_eq!(value(&page, "portunus_clients", &[]), 1.0);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    // Its process holds no right.
    let status = fs::read_to_string(format!("/proc/{}/status", exporter(&daemon))).unwrap();
    let line = |name: &str| status.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert!(line("CapEff").ends_with("0000000000000000") && line("Seccomp:").ends_with('2'), "{status}");
    assert!(!line("Uid:").contains("\t0\t"), "{status}");

    configure(&world, LISTEN);
    let start = Instant::now();
    while world.server.inside(|| TcpStream::connect(LISTEN)).is_err() {
        assert!(start.elapsed() < Duration::from_secs(5), "{}", daemon.log());
        std::thread::sleep(Duration::from_millis(10));
    }
    while Path::new(&path).exists() {
        assert!(start.elapsed() < Duration::from_secs(5), "the old socket stays");
        std::thread::sleep(Duration::from_millis(10));
    }
    let toml = world.place("etc/portunus.toml");
    let text = fs::read_to_string(&toml).unwrap();
    fs::write(&toml, text.split("\n[metrics]").next().unwrap()).unwrap();
    let start = Instant::now();
    while daemon.processes().len() > no_exporter {
        assert!(start.elapsed() < Duration::from_secs(5), "{}", daemon.log());
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(world.server.inside(|| TcpStream::connect(LISTEN)).is_err());
    // Elsewhere it is refused, with the place and the mend.
    configure(&world, "0.0.0.0:9154");
    let said = check_file(&world);
    assert!(said.contains("is no loopback address: use 127.0.0.1:PORT or a unix: socket"), "{said}");
    assert!(said.contains("portunus.toml:") && said.starts_with("Some(1)"), "{said}");
    assert!(daemon.stop().success());
}

/// The front stands still, and more comes than its socket holds.
#[test]
fn metrics_and_sessions_tell_what_the_receive_buffer_had_no_room_for() {
    let world = World::new(Firewall::None);
    let alice = world.add("alice", &["--ports", "ssh", "--for", "1s"]);
    configure(&world, LISTEN);
    let daemon = world.serve();
    daemon.signal(Part::Front, Signal::STOP);
    world.client.inside(|| {
        let socket = UdpSocket::bind((CLIENT, 0)).unwrap();
        let mut packet = [7; 165];
        packet[0] = 1;
        for _ in 0..150_000 {
            let _ = socket.send_to(&packet, (SERVER, alice.port()));
        }
    });
    // A front that is silent is said so, and the page comes all the same.
    let page = parse(&ask(&world, GET));
    assert_eq!(value(&page, "portunus_part_answers", &[("part", "front")]), 0.0);
    assert!(value(&page, "portunus_namespace_udp_overflow_total", &[]) > 0.0);
    daemon.signal(Part::Front, Signal::CONT);
    let start = Instant::now();
    let page = loop {
        let page = scrape(&world);
        if value(&page, "portunus_part_answers", &[("part", "front")]) > 0.0 {
            break page;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "the front stays silent");
    };
    assert!(value(&page, "portunus_dropped_packets_total", &[("receiver", "udp")]) > 0.0);
    assert!(value(&page, "portunus_receive_buffer_limit_bytes", &[("receiver", "udp")]) > 100_000.0);
    let sessions = world.portunus(&["sessions"]);
    assert!(sessions.contains("packets dropped by the kernel before they were read (udp)"), "{sessions}");
}
