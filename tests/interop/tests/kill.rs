//! `portunus revoke NAME --kill`: what is established ends, of a server that keeps sending too, and nobody else's.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says where it stopped")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use portunus_interop::{CLIENT, Firewall, Knocker, SERVER, SERVER6, World, closed, connects};

const SOON: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(20);
/// A second address of the client's machine.
const BESIDE: &str = "10.90.0.3";
const DOOR: &str = "10.90.0.1:22";
const DOOR6: &str = "[fd90::1]:22";

/// A server that says something every 20 ms to whoever comes in, and tells when one of them is gone.
struct Ticking {
    gone: mpsc::Receiver<(SocketAddr, Instant)>,
}

impl Ticking {
    fn serve(world: &World, port: u16) -> Self {
        let listener = world.server.inside(|| TcpListener::bind(("::", port)).unwrap());
        let (tell, gone) = mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let tell = tell.clone();
                std::thread::spawn(move || tick(stream.unwrap(), &tell));
            }
        });
        Self { gone }
    }

    /// Waits for so many to be gone; how long after `since` the last was.
    fn wait(&self, count: usize, since: Instant) -> Duration {
        let all = (0..count).map(|n| {
            let (_, at) = self.gone.recv_timeout(SOON).unwrap_or_else(|_| panic!("{n} of {count} are gone"));
            at.saturating_duration_since(since)
        });
        all.max().unwrap_or_default()
    }
}

fn tick(mut stream: TcpStream, tell: &mpsc::Sender<(SocketAddr, Instant)>) {
    let peer = stream.peer_addr().unwrap();
    while stream.write_all(b"tick").is_ok() {
        std::thread::sleep(TICK);
    }
    let _ = tell.send((peer, Instant::now()));
}

fn session(world: &World, from: &str, door: &str) -> TcpStream {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};
    let door: SocketAddr = door.parse().unwrap();
    let from = SocketAddr::new(from.parse().unwrap(), 0);
    let stream: TcpStream = world.client.inside(|| {
        let family = if door.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        bind(&socket, &from).unwrap();
        connect(&socket, &door).unwrap();
        socket.into()
    });
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
}

/// Whether bytes come that were sent from now on.
fn lives(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    while matches!(stream.read(&mut [0; 4096]), Ok(1..)) {}
    stream.set_nonblocking(false).unwrap();
    matches!(stream.read(&mut [0; 16]), Ok(1..))
}

fn knock_from(world: &World, who: &Knocker, from: &str) {
    let bytes = who.packet();
    world.client.inside(|| {
        let socket = UdpSocket::bind((from, 0)).unwrap();
        socket.send_to(&bytes, (SERVER, who.port())).unwrap();
    });
}

/// Words of both streams.
fn revoke(world: &World, name: &str, kill: bool) -> String {
    let words = ["revoke", name, "--kill"];
    let out = world.try_portunus(if kill { &words } else { &words[..2] });
    let said = [out.stdout, out.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(out.status.success(), "{said}");
    said
}

fn ends_the_clients_alone(firewall: Firewall) {
    let world = World::new(firewall);
    world.client.run("ip", &["addr", "add", &format!("{BESIDE}/8"), "dev", "door0"]);
    let alice = world.add("alice", &["--ports", "ssh,5353/udp", "--for", "1s"]);
    let bob = world.add("bob", &["--ports", "ssh", "--for", "60s"]);
    let carol = world.add("carol", &["--ports", "8022/tcp", "--for", "60s"]);
    let daemon = world.serve();
    let (ssh, other) = (Ticking::serve(&world, 22), Ticking::serve(&world, 8022));
    let service = world.server.inside(|| UdpSocket::bind((SERVER, 5353)).unwrap());
    for who in [&alice, &carol] {
        assert_eq!(daemon.verdict(|| who.knock(&world.client, SERVER)), "granted");
    }
    assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER6)), "granted");
    assert_eq!(daemon.verdict(|| knock_from(&world, &bob, BESIDE)), "granted");
    let began = Instant::now();
    let mut alices = [session(&world, CLIENT, DOOR), session(&world, "fd90::2", DOOR6)];
    let mut others = [session(&world, BESIDE, DOOR), session(&world, CLIENT, "10.90.0.1:8022")];
    let udp = world.client.inside(|| UdpSocket::bind((CLIENT, 0)).unwrap());
    udp.connect((SERVER, 5353)).unwrap();
    udp.send(b"word").unwrap();
    service.set_read_timeout(Some(SOON)).unwrap();
    let (_, peer) = service.recv_from(&mut [0; 4]).unwrap();
    // Alice's grants are over, and known to be; her connections live on, also when she is revoked.
    std::thread::sleep(Duration::from_millis(2500).saturating_sub(began.elapsed()));
    assert!(closed(&world.client, DOOR));
    let said = revoke(&world, "alice", false);
    assert!(said.contains("alice is revoked"), "{said}");
    assert!(alices.iter_mut().chain(&mut others).all(lives), "a revoke cuts nobody off");
    service.set_read_timeout(Some(TICK)).unwrap();
    let hears = || {
        (0..10).any(|_| {
            let _ = service.send_to(b"tick", peer);
            let _ = udp.send(b"word");
            service.recv(&mut [0; 4]).is_ok()
        })
    };
    assert!(hears());

    let began = Instant::now();
    let said = revoke(&world, "alice", true);
    let took = began.elapsed();
    assert!(said.contains("3 established connections were ended"), "{said}");
    // Carol has the same address: of what the two share (the health port) nothing is ended, and that is said.
    assert!(said.contains("kept what is established from 10.90.0.2 to 54154/tcp: carol"), "{said}");
    let over = ssh.wait(2, began);
    println!("{firewall:?}: the command took {took:?}, the last server was told after {over:?}: {said}");
    assert!(over < SOON);
    assert!(!hears(), "a service that keeps sending is not adopted again");
    for stream in &mut alices {
        assert!(!lives(stream));
    }
    assert!(others.iter_mut().all(lives), "nobody else is cut off: {said}");
    assert!(other.gone.try_recv().is_err());

    // The same address comes in again with another's grant.
    let erin = world.add("erin", &["--ports", "ssh,5353/udp", "--for", "60s"]);
    assert_eq!(daemon.verdict(|| erin.knock(&world.client, SERVER)), "granted");
    assert!(connects(&world.client, DOOR, SOON), "{}", world.server.ruleset());
    assert!(hears());
}

#[test]
fn in_our_own_table() {
    ends_the_clients_alone(Firewall::None);
}

#[test]
fn attached_to_a_chain_that_accepts_live_flows_first() {
    ends_the_clients_alone(Firewall::PolicyDrop);
}

#[test]
fn over_iptables() {
    ends_the_clients_alone(Firewall::Iptables);
}

#[test]
fn what_another_behind_the_address_has_had_is_kept_and_said() {
    let world = World::new(Firewall::None);
    let [alice, dave] = ["alice", "dave"].map(|name| world.add(name, &["--ports", "ssh", "--for", "60s"]));
    let daemon = world.serve();
    let ssh = Ticking::serve(&world, 22);
    for who in [&alice, &dave] {
        assert_eq!(daemon.verdict(|| who.knock(&world.client, SERVER)), "granted");
    }
    let mut stream = session(&world, CLIENT, DOOR);
    let said = revoke(&world, "alice", true);
    assert!(
        said.contains("kept what is established from 10.90.0.2 to 22/tcp, 54154/tcp: dave has or had"),
        "{said}"
    );
    assert!(said.contains("dave still holds the door for 10.90.0.2 (22/tcp, 54154/tcp)"), "{said}");
    assert!(lives(&mut stream));
    let began = Instant::now();
    let said = revoke(&world, "dave", true);
    assert!(said.contains("1 established connection was ended"), "{said}");
    assert!(ssh.wait(1, began) < SOON);
    // Once more: nothing is left to be ended, and nobody has that name.
    let again = world.try_portunus(&["revoke", "dave", "--kill"]);
    assert_eq!(again.status.code(), Some(1), "{again:?}");
    assert!(String::from_utf8_lossy(&again.stderr).contains("no client named dave"), "{again:?}");
}

#[test]
fn without_a_daemon_it_says_that_nothing_was_ended() {
    let world = World::new(Firewall::None);
    let _ = world.add("alice", &["--ports", "ssh"]);
    let out = world.try_portunus(&["revoke", "alice", "--kill"]);
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(said.contains("what it has established was not ended: ") && said.contains("no daemon"), "{said}");
    assert!(!world.portunus(&["list"]).contains("alice"));
}
