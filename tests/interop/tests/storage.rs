//! Recorded packets of fwknop's own client, after the server was killed: refused, whatever its window is.

#![expect(clippy::expect_used, reason = "a test's helper fails by panicking")]

use std::fs;
use std::net::UdpSocket;
use std::time::Duration;

use portunus_interop::fwknop::{Fwknopd, Whose, fwknop, within};
use portunus_interop::{CLIENT, Firewall, SERVER, World};
use rustix::process::{Pid, Signal, kill_process};

/// A packet of Debian's client, made and not sent.
fn recorded(world: &World, key: &str, hmac: &str) -> Vec<u8> {
    let path = world.folder().join("packet");
    let file = path.to_str().expect("a plain path");
    let words = ["-A", "tcp/22", "-a", CLIENT, "--key-base64-rijndael", key, "--key-base64-hmac", hmac];
    let out = fwknop(world, Whose::Theirs, &[&words[..], &["--use-hmac", "--test", "-B", file]].concat());
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = fs::read(&path).expect("the packet was kept");
    text.trim_ascii().to_vec()
}

fn send(world: &World, packet: &[u8], port: u16) {
    world.client.inside(|| {
        let socket = UdpSocket::bind((CLIENT, 0)).expect("a socket can be bound");
        socket.send_to(packet, (SERVER, port)).expect("a datagram can be sent");
    });
}

#[test]
fn fwknops_bytes_are_refused_after_kill_9_and_restart() {
    let world = World::with_init(Firewall::PolicyDrop, &["--dialects", "openme,fwknop"]);
    let printed = world.portunus(&["add", "dora", "--dialect", "fwknop", "--ports", "ssh"]);
    let value = |name: &str| {
        let mut lines = printed.lines().filter_map(|line| line.trim().split_once(char::is_whitespace));
        let found = lines.find(|(word, _)| *word == name);
        found.unwrap_or_else(|| panic!("no {name} in {printed}")).1.trim().to_owned()
    };
    let packet = recorded(&world, &value("KEY_BASE64"), &value("HMAC_KEY_BASE64"));
    let daemon = world.serve();
    assert_eq!(daemon.verdict(|| send(&world, &packet, 54154)), "granted");
    for _ in 0..2 {
        assert_eq!(daemon.verdict(|| send(&world, &packet, 54154)), "replayed");
    }
    daemon.kill_all();
    let daemon = world.serve();
    assert_eq!(daemon.verdict(|| send(&world, &packet, 54154)), "replayed");
}

/// Where fwknopd looks at no packet's time and keeps no file of digests, the store alone remembers.
#[test]
fn without_aging_and_without_digests_a_replay_is_refused_after_kill_9() {
    let world = World::bare(Firewall::None);
    let conf = "ENABLE_UDP_SERVER Y;\nUDPSERV_PORT 62201;\nENABLE_SPA_PACKET_AGING N;\nENABLE_DIGEST_PERSISTENCE N;\n";
    let access = "SOURCE ANY\nKEY_BASE64 YW4gZW5jcnlwdGlvbiBrZXk=\nHMAC_KEY_BASE64 YW4gSE1BQyBrZXk=\n";
    let packet = recorded(&world, "YW4gZW5jcnlwdGlvbiBrZXk=", "YW4gSE1BQyBrZXk=");
    let server = Fwknopd::start(&world, Whose::Ours, conf, access, &[]);
    send(&world, &packet, 62201);
    assert!(server.says("Added access rule"), "{}", server.log());
    for pid in server.processes() {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process has a number");
        let _ = kill_process(pid, Signal::KILL);
    }
    let gone = || {
        server
            .processes()
            .iter()
            .all(|pid| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.is_empty()))
    };
    assert!(within(Duration::from_secs(5), gone));
    drop(server);
    let server = Fwknopd::start(&world, Whose::Ours, conf, access, &[]);
    send(&world, &packet, 62201);
    assert!(server.says("Replay detected"), "{}", server.log());
    assert!(!server.log().contains("Added access rule"), "{}", server.log());
}
