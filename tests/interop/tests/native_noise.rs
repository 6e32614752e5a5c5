//! What travels of the native dialect is noise: knocks of the built client and answers of the built daemon, caught on the
//! wire and looked at as the dialect's own tests look at theirs (crates/portunus-dialect/tests/noise).
//!
//! The randomness is the system's here, so that in one of some hundred runs noise does not look like it by the bounds for one
//! statistic: then as many are caught again. What is no noise is none twice.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a test may fail where it stands"
)]

use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use std::{fs, io::BufRead, io::BufReader};

use etherparse::{SlicedPacket, TransportSlice};
use portunus_crypto::SystemEntropy;
use portunus_dialect::native::{LONGEST, Payload, SHORTEST, SHORTEST_ANSWER};
use portunus_interop::native::{NativeKnocker, add, speaks_native, wall};
use portunus_interop::{Daemon, Firewall, Namespace, SERVER, World, settle};
use statistics::{Verdict, look, look_at_representatives};

#[path = "../../../crates/portunus-dialect/tests/noise/statistics.rs"]
mod statistics;

const MANY: usize = 2000;
/// Each is answered once a second.
const CLIENTS: usize = 500;
const PORT: u16 = 54154;

/// tcpdump, that catches what goes to or comes from the knock port.
struct Net {
    tcpdump: Child,
    file: PathBuf,
}

impl Net {
    fn cast(world: &World, side: &Namespace, filter: &str) -> Self {
        let file = world.folder().join("caught");
        let _ = fs::remove_file(&file);
        let path = file.to_str().expect("a path of ours is text");
        let mut command = side.command("tcpdump");
        command.args(["-i", "door0", "-n", "-U", "-B", "16384", "-Z", "root", "-w", path, filter]);
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        let mut tcpdump = command.spawn().expect("tcpdump runs: `make test` installs it");
        let mut said = BufReader::new(tcpdump.stderr.take().expect("it is piped")).lines();
        assert!(said.by_ref().flatten().any(|line| line.contains("listening on")), "tcpdump does not listen");
        // It goes on to read what tcpdump says, so that tcpdump is not ended by that.
        std::thread::spawn(move || said.for_each(drop));
        Self { tcpdump, file }
    }

    /// What was caught, once it is `count`.
    fn haul(mut self, count: usize) -> Vec<Vec<u8>> {
        let start = Instant::now();
        let mut caught = self.look();
        while caught.len() < count && start.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(50));
            caught = self.look();
        }
        let _ = self.tcpdump.kill();
        let _ = self.tcpdump.wait();
        assert!(caught.len() >= count, "{} of {count} were caught", caught.len());
        caught
    }

    /// The file is libpcap's: 24 bytes, then 16 before each packet, of which the third word is its length.
    fn look(&self) -> Vec<Vec<u8>> {
        let bytes = fs::read(&self.file).unwrap_or_default();
        let mut rest = bytes.get(24..).unwrap_or_default();
        let mut all = Vec::new();
        while let Some(length) = rest.get(8..12) {
            let end = 16 + u32::from_ne_bytes(length.try_into().unwrap()) as usize;
            let Some(frame) = rest.get(16..end) else { break };
            let packet = SlicedPacket::from_ethernet(frame).expect("a frame");
            let Some(TransportSlice::Udp(udp)) = packet.transport else {
                panic!("something else was caught")
            };
            all.push(udp.payload().to_vec());
            rest = &rest[end..];
        }
        all
    }
}

/// Whether packets of this kind are noise; what is not is caught again once.
fn is_noise(mut catch: impl FnMut() -> Vec<Vec<u8>>, lengths: std::ops::RangeInclusive<usize>, at: usize) {
    let mut verdicts = || {
        let all = catch();
        let representatives: Vec<_> = all.iter().map(|one| one[at..at + 32].try_into().unwrap()).collect();
        [look(&all, lengths.clone()), look_at_representatives(&representatives)]
    };
    let first = verdicts();
    if first != [Verdict::Noise; 2] {
        assert_eq!(verdicts(), [Verdict::Noise; 2], "and before: {first:?}");
    }
}

#[test]
fn knocks_of_the_built_client_are_noise_on_the_wire() {
    let world = World::with_init(Firewall::None, &["--dialects", "native"]);
    let profile = world.folder().join("printed");
    fs::write(&profile, world.portunus(&["add", "alice", "--ports", "22/tcp"]))
        .expect("a file can be written");
    world.laptop(&["join", profile.to_str().expect("a path of ours is text"), "--as", "home"]);
    let daemon = world.serve();
    let mut knocks = 0;
    let catch = || {
        let net = Net::cast(&world, &world.client, "udp dst port 54154");
        world.laptop(&["knock", "home", "-4", "--count", &MANY.to_string(), "--interval", "1ms"]);
        knocks += MANY as u64;
        assert_eq!(settle(&daemon, knocks), knocks, "all of them were knocks: {}", daemon.log());
        net.haul(MANY)
    };
    is_noise(catch, SHORTEST..=LONGEST, 8);
}

#[test]
fn answers_of_the_built_daemon_are_noise_on_the_wire() {
    let world = World::new(Firewall::None);
    let door = speaks_native(&world);
    let clients: Vec<NativeKnocker> = (0..CLIENTS)
        .map(|n| add(&world, &door, &format!("client{n}"), "services = [\"ssh\"]\nanswers = true\n"))
        .collect();
    let daemon = world.serve();
    let catch = || {
        let net = Net::cast(&world, &world.client, "udp src port 54154");
        ask_all(&world, &daemon, &clients);
        net.haul(MANY)
    };
    is_noise(catch, SHORTEST_ANSWER..=SHORTEST, 0);
}

/// Each client asks as often as it takes, and no sooner than it is answered again.
fn ask_all(world: &World, daemon: &Daemon, clients: &[NativeKnocker]) {
    let socket = world.client.inside(|| UdpSocket::bind("0.0.0.0:0").expect("a socket can be bound"));
    socket.connect((SERVER, PORT)).expect("there is a way to the server");
    socket.set_read_timeout(Some(Duration::from_secs(2))).expect("a socket can wait");
    let mut answered = vec![None::<Instant>; clients.len()];
    for round in 0..MANY / CLIENTS {
        for ((n, client), answered) in clients.iter().enumerate().zip(&mut answered) {
            let since = answered.map_or(Duration::MAX, |at| at.elapsed());
            std::thread::sleep(Duration::from_millis(1100).saturating_sub(since));
            let asking = Payload { wants_answer: true, ..Payload::knock(wall()) };
            socket.send(&client.sealed(&asking).0).expect("a knock can be sent");
            let came = socket.recv(&mut [0; 512]);
            assert!(came.is_ok(), "no answer to client {n} in round {round}: {}", daemon.log());
            *answered = Some(Instant::now());
        }
    }
}

/// The test sees: a byte of the captures that is the same each time is told from noise, with as few packets.
#[test]
fn as_few_packets_show_what_is_no_noise() {
    let mut entropy = SystemEntropy;
    let mut noise = || {
        let mut bytes = vec![0; 300];
        portunus_crypto::Entropy::fill(&mut entropy, &mut bytes).unwrap();
        bytes
    };
    // One bit of a byte is set in 58 of 100.
    let few: Vec<_> = (0..MANY)
        .map(|n| {
            let mut one = noise();
            if n % 6 == 0 {
                one[77] |= 1;
            }
            one
        })
        .collect();
    assert!(matches!(look(&few, 300..=300), Verdict::Bit { offset: 77, bit: 0, .. }));
}
