//! The main story on each kind of ruleset: closed, a knock, open, closed again; and what must not open anything.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use portunus_interop::{
    CLIENT, Daemon, Firewall, Knocker, PACKET, SERVER, World, closed, connects, open_for_their_time,
    serve_tcp,
};

const SOON: Duration = Duration::from_secs(1);

/// The story, for both families, on a server with `firewall`.
fn story(firewall: Firewall) {
    let world = World::new(firewall);
    let alice = world.add("alice", &["--ports", "ssh", "--for", "2s"]);
    let daemon = world.serve();
    open_for_their_time(&world, &daemon, |host| alice.knock(&world.client, host));
}

#[test]
fn a_knock_opens_the_door_in_a_table_of_our_own() {
    story(Firewall::None);
}

#[test]
fn a_knock_opens_the_door_in_the_admins_chain_with_policy_drop() {
    story(Firewall::PolicyDrop);
}

#[test]
fn a_knock_opens_the_door_in_the_admins_chain_with_a_final_drop() {
    story(Firewall::FinalDrop);
}

#[test]
fn a_knock_opens_the_door_in_the_admins_chain_with_a_final_reject() {
    story(Firewall::FinalReject);
}

#[test]
fn a_knock_opens_the_door_in_iptables() {
    story(Firewall::Iptables);
}

#[test]
fn an_established_connection_outlives_its_grant() {
    let world = World::new(Firewall::PolicyDrop);
    let alice = world.add("alice", &["--ports", "ssh", "--for", "1s"]);
    let daemon = world.serve();
    let _listener = serve_tcp(&world.server, "10.90.0.1:22");
    assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "granted");
    let mut stream = world.client.inside(|| TcpStream::connect("10.90.0.1:22")).expect("the door is open");
    std::thread::sleep(Duration::from_millis(1500));
    assert!(closed(&world.client, "10.90.0.1:22"), "the grant is over");
    stream.set_read_timeout(Some(SOON)).expect("a stream can have a time limit");
    stream.write_all(b"still here").expect("the connection lives");
    let mut bytes = [0; 10];
    stream.read_exact(&mut bytes).expect("the connection lives");
}

#[test]
fn a_second_knock_extends() {
    let world = World::new(Firewall::PolicyDrop);
    let alice = world.add("alice", &["--ports", "ssh", "--for", "2s"]);
    let daemon = world.serve();
    let _listener = serve_tcp(&world.server, "10.90.0.1:22");
    assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "granted");
    std::thread::sleep(Duration::from_millis(1200));
    assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "extended");
    std::thread::sleep(Duration::from_millis(1200));
    assert!(connects(&world.client, "10.90.0.1:22", SOON), "2.4 s after the first, 1.2 s after the second");
    std::thread::sleep(Duration::from_millis(1200));
    assert!(closed(&world.client, "10.90.0.1:22"));
}

#[test]
fn a_range_is_open_from_end_to_end_and_not_beyond() {
    let world = World::new(Firewall::PolicyDrop);
    let alice = world.add("alice", &["--ports", "8000-8010/tcp"]);
    let daemon = world.serve();
    let doors = ["10.90.0.1:7999", "10.90.0.1:8000", "10.90.0.1:8010", "10.90.0.1:8011"];
    let _listeners = doors.map(|door| serve_tcp(&world.server, door));
    assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "granted");
    let open = doors.map(|door| connects(&world.client, door, Duration::from_millis(250)));
    assert_eq!(open, [false, true, true, false]);
}

#[test]
fn two_clients_behind_one_address_hold_the_door_each_for_itself() {
    let world = World::new(Firewall::PolicyDrop);
    let alice = world.add("alice", &["--ports", "ssh", "--for", "1s"]);
    let bob = world.add("bob", &["--ports", "ssh,8000-8010/tcp", "--for", "3s"]);
    let daemon = world.serve();
    let _listener = serve_tcp(&world.server, "10.90.0.1:22");
    assert_eq!(daemon.verdict(|| bob.knock(&world.client, SERVER)), "granted");
    assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "granted");
    std::thread::sleep(Duration::from_millis(1500));
    assert!(connects(&world.client, "10.90.0.1:22", SOON), "alice's end took bob's door away");
    std::thread::sleep(Duration::from_millis(2000));
    assert!(closed(&world.client, "10.90.0.1:22"));
}

#[test]
fn a_corrupted_copy_burns_no_knock() {
    let world = World::new(Firewall::PolicyDrop);
    let alice = world.add("alice", &["--ports", "ssh"]);
    let daemon = world.serve();
    let packet = alice.packet();
    for place in [1, 40, 60, 100, 101, 164] {
        let mut copy = packet;
        copy[place] ^= 1;
        let word = daemon.verdict(|| alice.send(&world.client, SERVER, &copy));
        assert!(["unauthentic", "unknown-client"].contains(&word.as_str()), "byte {place}: {word}");
    }
    assert_eq!(daemon.verdict(|| alice.send(&world.client, SERVER, &packet)), "granted");
    assert_eq!(daemon.verdict(|| alice.send(&world.client, SERVER, &packet)), "replayed");
}

#[test]
fn what_a_client_may_not_ask_for_is_refused() {
    let world = World::new(Firewall::PolicyDrop);
    let alice = world.add("alice", &["--ports", "ssh"]);
    let bob = world.add("bob", &["--ports", "ssh", "--any-target"]);
    let daemon = world.serve();
    let ask = |who: &Knocker, target: &str| {
        let target = Some(target.parse().expect("a target is an address"));
        let packet = who.packet_for(target, Duration::ZERO);
        daemon.verdict(|| who.send(&world.client, SERVER, &packet))
    };
    assert_eq!(ask(&alice, "198.51.100.9"), "not-allowed", "alice has no any_target");
    assert_eq!(ask(&alice, CLIENT), "granted", "her own address she may name");
    assert_eq!(ask(&bob, "198.51.100.9"), "granted");
    for never in ["127.0.0.1", "::1", "224.0.0.1", "ff02::1", "255.255.255.255", "::192.0.2.1", "fe80::1"] {
        assert_eq!(ask(&bob, never), "not-allowed", "{never}");
    }
    let old = alice.packet_for(None, Duration::from_secs(61));
    assert_eq!(daemon.verdict(|| alice.send(&world.client, SERVER, &old)), "stale");
}

#[test]
fn a_stranger_gets_no_answer() {
    let world = World::new(Firewall::PolicyDrop);
    let alice = world.add("alice", &["--ports", "ssh"]);
    let daemon = world.serve();
    let knock = alice.packet();
    let heard = world.client.inside(|| {
        let socket = std::net::UdpSocket::bind("10.90.0.2:0").expect("a socket can be bound");
        // Connected, so that an ICMP answer would be heard as an error.
        socket.connect((SERVER, alice.port())).expect("the server has a route");
        socket.set_read_timeout(Some(Duration::from_millis(300))).expect("a socket can have a time limit");
        let mut heard = Vec::new();
        for bytes in [&b""[..], b"hello", &[1; PACKET], &knock, &[0; 1400]] {
            socket.send(bytes).expect("a datagram can be sent");
            heard.push(socket.recv(&mut [0; 64]).map_err(|e| e.kind()));
        }
        heard
    });
    assert_eq!(
        heard,
        [const { Err(std::io::ErrorKind::WouldBlock) }; 5],
        "silence is the only answer, also to a good knock"
    );
    drop(daemon);
}

#[test]
fn a_packet_can_never_end_the_process() {
    let world = World::new(Firewall::PolicyDrop);
    let alice = world.add("alice", &["--ports", "ssh"]);
    let daemon = world.serve();
    let before = (daemon.processes(), strangers_lines(&daemon));
    world.client.inside(|| {
        let socket = std::net::UdpSocket::bind("10.90.0.2:0").expect("a socket can be bound");
        let mut state = 1_u32;
        let mut junk = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        for round in 0..4000_usize {
            let length = if round % 2 == 0 { PACKET } else { round % 1473 };
            let mut bytes: Vec<u8> = (0..length).map(|_| junk()).collect();
            if let Some(first) = bytes.first_mut() {
                *first = 1;
            }
            socket.send_to(&bytes, (SERVER, alice.port())).expect("a datagram can be sent");
        }
    });
    let granted = || daemon.verdicts(1, || alice.knock(&world.client, SERVER));
    let mut seen = granted();
    // Junk that is still worked through may have its verdicts in between.
    while seen.last().is_none_or(|event| event.client.is_none()) {
        seen = granted();
    }
    assert_eq!(daemon.processes(), before.0, "a process was replaced");
    let after = strangers_lines(&daemon);
    assert!(after <= before.1 + 12, "4,000 strangers' packets wrote {} lines", after - before.1);
}

/// The lines of the log that are no client's outcome: how often one knocks to be heard after junk is nobody's promise.
fn strangers_lines(daemon: &Daemon) -> usize {
    daemon.log().lines().filter(|line| !line.contains(" client=")).count()
}
