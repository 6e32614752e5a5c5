//! Many clients: written as one `clients.toml`, some of them with a socket at an address of their own.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use portunus_crypto::ed25519::SigningKey;
use portunus_crypto::{Secret, SystemEntropy};

use crate::daemon::Daemon;
use crate::knocker::Knocker;
use crate::world::{SERVER, World};

/// A client of a crowd: its keys, and a socket at its own address.
pub struct Member {
    /// What the daemon knows it by.
    pub name: String,
    /// Where it knocks from.
    pub address: Ipv4Addr,
    /// Its keys.
    pub knocker: Knocker,
    /// Bound to its address, connected to the server's knock port.
    pub socket: UdpSocket,
}

impl Member {
    /// Sends a fresh knock.
    pub fn knock(&self) {
        self.send(&self.knocker.packet());
    }

    /// Sends these bytes.
    pub fn send(&self, bytes: &[u8]) {
        self.socket.send(bytes).expect("a datagram can be sent");
    }
}

/// Writes `count` clients with the service `ssh` beside those that are there; the last `members` of them get an
/// address and a socket. The daemon is not yet running, or sees the new file by itself.
#[must_use]
pub fn crowd(world: &World, count: u32, members: u32) -> Vec<Member> {
    let sample = world.add("sample", &["--ports", "ssh"]);
    let mut file = String::new();
    let mut keys = Vec::new();
    for n in 0..count {
        let key = new_key();
        let public = portunus_crypto::text::encode(key.public());
        writeln!(file, "[client{n}]\npublic_key = \"{public}\"\nservices = [\"ssh\"]\ngrant = \"60s\"")
            .expect("text grows");
        if n >= count - members {
            keys.push((n, key));
        }
    }
    std::fs::write(world.place("etc").join("clients.toml"), file).expect("the file can be written");
    // Every address of this network is the client's own: one route instead of ten thousand addresses.
    world.client.run("ip", &["route", "add", "local", "10.91.0.0/16", "dev", "lo"]);
    let member = |(n, key)| {
        let address = address(n);
        let socket = UdpSocket::bind((address, 0)).expect("the address is there");
        socket.connect((SERVER, sample.port())).expect("the server has a route");
        Member { name: format!("client{n}"), address, knocker: sample.with_key(key), socket }
    };
    world.client.inside(|| keys.into_iter().map(member).collect())
}

/// A key that nobody has.
#[must_use]
pub fn new_key() -> SigningKey {
    let seed = Secret::generate(&mut SystemEntropy).expect("the system has randomness");
    SigningKey::new(&seed).expect("a seed makes a key")
}

fn address(n: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 91, 0, 0)) + n + 1)
}

/// How many datagrams have had a verdict that opens.
#[must_use]
pub fn honoured(daemon: &Daemon) -> u64 {
    let verdicts = daemon.control().status().expect("the daemon says how it is").verdicts;
    verdicts.get("granted").unwrap_or(&0) + verdicts.get("extended").unwrap_or(&0)
}

/// Waits until so many are honoured, or until nothing has changed for two seconds; how many are.
#[must_use]
pub fn settle(daemon: &Daemon, wanted: u64) -> u64 {
    let mut last = (honoured(daemon), Instant::now());
    while last.0 < wanted && last.1.elapsed() < Duration::from_secs(2) {
        std::thread::sleep(Duration::from_millis(20));
        let now = honoured(daemon);
        if now != last.0 {
            last = (now, Instant::now());
        }
    }
    last.0
}

/// Calls `send` `count` times, `rate` times a second; how long that took.
pub fn paced(count: u64, rate: u64, send: impl FnMut(u64)) -> Duration {
    in_bursts(count, rate, 1, send)
}

/// The same, `burst` calls at once and then a pause.
pub fn in_bursts(count: u64, rate: u64, burst: u64, mut send: impl FnMut(u64)) -> Duration {
    let start = Instant::now();
    for n in 0..count {
        let due = Duration::from_nanos(n / burst * burst * 1_000_000_000 / rate);
        if let Some(early) =
            due.checked_sub(start.elapsed()).filter(|early| *early > Duration::from_micros(200))
        {
            std::thread::sleep(early);
        }
        send(n);
    }
    start.elapsed()
}
