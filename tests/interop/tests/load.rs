//! Many at once: 5,000 knocks a second from 1,000 addresses, and strangers in between.
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use std::fmt::Write as _;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use portunus_crypto::ed25519::SigningKey;
use portunus_crypto::{Secret, SystemEntropy};
use portunus_interop::{Daemon, Firewall, Knocker, PACKET, SERVER, World, probe, run_with_input};

/// A client of a crowd: its keys, and a socket at its own address.
struct Member {
    knocker: Knocker,
    socket: UdpSocket,
}

/// So many clients, each at an address of its own, all with `ssh`; written as one `clients.toml`.
fn crowd(world: &World, count: u32) -> Vec<Member> {
    let sample = world.add("sample", &["--ports", "ssh"]);
    let mut file = String::new();
    let mut addresses = String::new();
    let mut keys = Vec::new();
    for n in 0..count {
        let seed = Secret::generate(&mut SystemEntropy).expect("the system has randomness");
        let key = SigningKey::new(&seed).expect("a seed makes a key");
        let public = portunus_crypto::text::encode(key.public());
        writeln!(file, "[client{n}]\npublic_key = \"{public}\"\nservices = [\"ssh\"]\ngrant = \"60s\"").expect("text grows");
        writeln!(addresses, "addr add {}/8 dev door0", address(n)).expect("text grows");
        keys.push(key);
    }
    std::fs::write(world.place("etc").join("clients.toml"), file).expect("the file can be written");
    run_with_input("ip", &["netns", "exec", world.client.name(), "ip", "-batch", "-"], &addresses);
    let join = |(n, key)| {
        let socket = UdpSocket::bind((address(n), 0)).expect("the address is there");
        socket.connect((SERVER, sample.port())).expect("the server has a route");
        Member { knocker: sample.with_key(key), socket }
    };
    world.client.inside(|| (0..).zip(keys).map(join).collect())
}

fn address(n: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 91, 0, 1)) + n)
}

/// How many datagrams have had a verdict that opens.
fn honoured(daemon: &Daemon) -> u64 {
    let verdicts = daemon.control().status().expect("it answers").verdicts;
    verdicts.get("granted").unwrap_or(&0) + verdicts.get("extended").unwrap_or(&0)
}

/// Waits until so many are honoured, or until nothing has changed for two seconds.
fn settle(daemon: &Daemon, wanted: u64) -> u64 {
    let mut last = (honoured(daemon), Instant::now());
    while last.0 < wanted && last.1.elapsed() < Duration::from_secs(2) {
        std::thread::sleep(Duration::from_millis(50));
        let now = honoured(daemon);
        if now != last.0 {
            last = (now, Instant::now());
        }
    }
    last.0
}

#[test]
fn five_thousand_knocks_a_second_for_ten_seconds_are_all_honoured() {
    const RATE: u64 = 5_000;
    const SECONDS: u64 = 10;
    let world = World::new(Firewall::None);
    let crowd = crowd(&world, 1000);
    let daemon = world.serve();
    // Each has knocked once: from then on its address is known.
    for member in &crowd {
        member.socket.send(&member.knocker.packet()).expect("a datagram can be sent");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(settle(&daemon, 1000), 1000, "the first knocks: {:?}", daemon.control().status());

    let start = Instant::now();
    for n in 0..RATE * SECONDS {
        let due = Duration::from_nanos(n * 1_000_000_000 / RATE);
        if let Some(early) = due.checked_sub(start.elapsed()).filter(|early| *early > Duration::from_micros(200)) {
            std::thread::sleep(early);
        }
        let member = &crowd[usize::try_from(n % 1000).expect("it is small")];
        member.socket.send(&member.knocker.packet()).expect("a datagram can be sent");
    }
    let took = start.elapsed();
    let all = 1000 + RATE * SECONDS;
    assert_eq!(settle(&daemon, all), all, "{:?}", daemon.control().status());
    println!("{} knocks in {took:?}, all honoured", RATE * SECONDS);
    assert!(took < Duration::from_secs(SECONDS) + Duration::from_millis(500), "the sender could not keep the rate: {took:?}");
}

#[test]
fn a_flood_of_strangers_delays_no_known_source() {
    let world = World::new(Firewall::None);
    let crowd = crowd(&world, 100);
    let daemon = world.serve();
    let alice = &crowd[0];
    alice.socket.send(&alice.knocker.packet()).expect("a datagram can be sent");
    assert_eq!(settle(&daemon, 1), 1);

    // Sealed for the server, signed by nobody it knows: the dearest kind of junk.
    let seed = Secret::generate(&mut SystemEntropy).expect("the system has randomness");
    let stranger = alice.knocker.with_key(SigningKey::new(&seed).expect("a seed makes a key"));
    let sealed: Vec<[u8; PACKET]> = (0..2000).map(|_| stranger.packet()).collect();
    let end = Instant::now() + Duration::from_secs(4);
    let mut waits = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            world.client.inside(|| {
                let socket = UdpSocket::bind("10.90.0.2:0").expect("a socket can be bound");
                for packet in sealed.iter().cycle() {
                    if Instant::now() > end {
                        return;
                    }
                    let _ = socket.send_to(packet, (SERVER, alice.knocker.port()));
                    std::thread::sleep(Duration::from_micros(100));
                }
            });
        });
        let mut wanted = 1;
        while Instant::now() < end - Duration::from_millis(500) {
            std::thread::sleep(Duration::from_millis(100));
            let start = Instant::now();
            alice.socket.send(&alice.knocker.packet()).expect("a datagram can be sent");
            wanted += 1;
            while honoured(&daemon) < wanted && start.elapsed() < Duration::from_secs(2) {}
            waits.push(start.elapsed());
        }
    });
    waits.sort();
    let (median, worst) = (waits[waits.len() / 2], waits[waits.len() - 1]);
    println!("under a flood of sealed junk: median {median:?}, worst {worst:?} of {}", waits.len());
    assert!(median < Duration::from_millis(10) && worst < Duration::from_millis(100), "median {median:?}, worst {worst:?}");
}

#[test]
fn the_last_of_ten_thousand_opens_from_a_new_address_within_two_seconds() {
    let world = World::new(Firewall::None);
    let crowd_file = {
        let sample = world.add("sample", &["--ports", "ssh"]);
        let mut file = String::new();
        let mut last = None;
        for n in 0..10_000 {
            let seed = Secret::generate(&mut SystemEntropy).expect("the system has randomness");
            let key = SigningKey::new(&seed).expect("a seed makes a key");
            let public = portunus_crypto::text::encode(key.public());
            writeln!(file, "[client{n}]\npublic_key = \"{public}\"\nservices = [\"ssh\"]").expect("text grows");
            last = Some(sample.with_key(key));
        }
        std::fs::write(world.place("etc").join("clients.toml"), file).expect("the file can be written");
        last.expect("there are clients")
    };
    let daemon = world.serve();
    println!("ready with 10,000 clients after {:?}", daemon.ready_after);
    let _listener = portunus_interop::serve_tcp(&world.server, "10.90.0.1:22");
    let start = Instant::now();
    crowd_file.knock(&world.client, SERVER);
    let door = "10.90.0.1:22".parse().expect("an address");
    let opened = world.client.inside(|| probe(door, Duration::from_secs(4)));
    println!("the last of 10,000 opened after {:?}", start.elapsed());
    assert!(opened.is_some_and(|took| took < Duration::from_secs(2)), "{opened:?}");
}
