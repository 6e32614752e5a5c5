//! What strangers can make the real daemon write, in every face's words: thousands of packets of each kind, few lines.

#![expect(clippy::unwrap_used, reason = "a test's helper fails by panicking")]

use std::net::UdpSocket;
use std::time::Duration;

use portunus_crypto::text;
use portunus_interop::fwknop::{Fwknopd, Whose, fwknop, within};
use portunus_interop::{CLIENT, Firewall, SERVER, World, in_bursts, new_key, settle};

/// Packets of each kind.
const EACH: u64 = 4000;
/// Strangers' lines a minute in fwknopd's words; refusals of one client's packets for one reason; and one line that says
/// how many were not written (docs/observe.md).
const STRANGERS: usize = 20;
const REFUSALS: usize = 20;

/// Bytes that look like nothing in particular, other ones for each number.
fn junk(length: usize, number: u64) -> Vec<u8> {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(byte).take(length).collect()
}

/// Base64 text of a length that fwknop's packets have.
fn lookalike(number: u64) -> Vec<u8> {
    text::encode_bare(&junk(120, number)).into_bytes()
}

/// Sends them as fast as they are taken, and not faster.
fn send(world: &World, port: u16, packet: impl Fn(u64) -> Vec<u8> + Send + Sync) {
    world.client.inside(|| {
        let socket = UdpSocket::bind((CLIENT, 0)).unwrap();
        in_bursts(EACH, 20_000, 100, |n| {
            let _ = socket.send_to(&packet(n), (SERVER, port));
        });
    });
}

#[test]
fn strangers_write_no_line_and_recorded_knocks_few_in_our_words() {
    let world = World::with_init(Firewall::None, &["--dialects", "openme,fwknop"]);
    let alice = world.add("alice", &["--ports", "ssh", "--for", "60s"]);
    let daemon = world.serve();
    let knock = alice.packet();
    assert_eq!(daemon.verdict(|| alice.send(&world.client, SERVER, &knock)), "granted");
    // The line about it is written beside the verdict, not before it.
    daemon.until_logged("reason=granted");
    let before = daemon.log().lines().count();
    let port = alice.port();
    send(&world, port, |n| junk(usize::try_from(n % 1400).unwrap(), n));
    send(&world, port, |n| [&[1][..], &junk(164, n)].concat());
    send(&world, port, lookalike);
    let stranger = alice.with_key(new_key());
    let sealed = stranger.packet();
    send(&world, port, |n| if n % 10 == 0 { stranger.packet().to_vec() } else { sealed.to_vec() });
    let _ = settle(&daemon, 2);
    assert_eq!(daemon.log().lines().count(), before, "{}", daemon.log());
    // A recorded knock is its client's, whoever sends it.
    send(&world, port, |_| knock.to_vec());
    let old = alice.packet_for(None, Duration::from_secs(600));
    send(&world, port, |_| old.to_vec());
    let replayed = || {
        let verdicts = daemon.control().status().unwrap().verdicts;
        verdicts["replayed"] > 1000 && verdicts["stale"] > 1000
    };
    assert!(within(Duration::from_secs(20), replayed), "{:?}", daemon.control().status());
    let of =
        |reason: &str| daemon.log().lines().filter(|line| line.contains(&format!("reason={reason}"))).count();
    assert!(
        within(Duration::from_secs(10), || (of("replayed"), of("stale")) == (REFUSALS, REFUSALS)),
        "{}",
        daemon.log()
    );
    let log = daemon.log();
    assert!(log.lines().count() <= before + 2 * REFUSALS + 1, "{log}");
    // And in the audit log.
    let audit = world.portunus(&["audit"]);
    let refused = audit.lines().filter(|line| line.contains(" refused ")).count();
    assert!((2..=2 * REFUSALS).contains(&refused), "{audit}");
    // The client itself is still heard.
    alice.knock(&world.client, SERVER);
    assert_eq!(settle(&daemon, 2), 2, "{}", daemon.log());
}

#[test]
fn strangers_and_recorded_packets_write_few_lines_a_minute_where_fwknopd_is_meant() {
    let world = World::bare(Firewall::Iptables);
    let stanza = "SOURCE ANY\nKEY_BASE64 YW4gZW5jcnlwdGlvbiBrZXk=\nHMAC_KEY_BASE64 YW4gSE1BQyBrZXk=\n";
    let daemon = Fwknopd::start(&world, Whose::Ours, "", stanza, &[]);
    let saved = world.folder().join("packet");
    let words = ["--key-rijndael", "an encryption key", "--key-hmac", "an HMAC key", "--use-hmac"];
    let more = ["-A", "tcp/22", "-a", CLIENT, "-B", saved.to_str().unwrap()];
    let out = fwknop(&world, Whose::Theirs, &[&words[..], &more].concat());
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert!(daemon.says("received with access source match"), "{}", daemon.log());
    let before = daemon.log().lines().count();
    send(&world, 62201, |n| junk(usize::try_from(n % 1400).unwrap(), n));
    send(&world, 62201, lookalike);
    let packet = std::fs::read_to_string(&saved).unwrap().trim().as_bytes().to_vec();
    send(&world, 62201, |_| packet.clone());
    let replays = |log: &str| log.lines().filter(|line| line.contains("Replay detected")).count();
    assert!(within(Duration::from_secs(10), || replays(&daemon.log()) >= REFUSALS), "{}", daemon.log());
    std::thread::sleep(Duration::from_secs(1));
    let log = daemon.log();
    assert_eq!(replays(&log), REFUSALS, "{log}");
    let strangers = log.lines().filter(|line| line.contains("Decryption failed")).count();
    assert!((1..=STRANGERS).contains(&strangers), "{strangers}: {log}");
    assert!(log.lines().count() <= before + STRANGERS + REFUSALS + 1, "{log}");
}
