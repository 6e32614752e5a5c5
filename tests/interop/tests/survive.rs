//! Killed at the worst moment, ended well, started in vain, taken away: what the ports are then.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use portunus_interop::{Daemon, Firewall, Part, SERVER, World, closed, connects, serve_tcp};
use rustix::process::Signal;

const DOOR: &str = "10.90.0.1:22";
const SOON: Duration = Duration::from_secs(1);

#[test]
fn kill_9_of_each_process_leaves_the_door_closed() {
    for part in [Part::Keeper, Part::Front, Part::Grantor] {
        let world = World::new(Firewall::None);
        let alice = world.add("alice", &["--ports", "ssh", "--for", "2s"]);
        let mut daemon = world.serve();
        let _listener = serve_tcp(&world.server, DOOR);
        assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "granted");
        assert!(connects(&world.client, DOOR, SOON));
        daemon.signal(part, Signal::KILL);
        let status = daemon.wait();
        assert!(
            !status.success(),
            "{part:?} killed: the daemon ended with {status}, so nobody would start it again"
        );
        assert!(connects(&world.client, DOOR, SOON), "{part:?} killed: an open grant ended early");
        std::thread::sleep(Duration::from_millis(2300));
        assert!(closed(&world.client, DOOR), "{part:?} killed: the door is open after its time");

        let daemon = world.serve();
        assert!(closed(&world.client, DOOR), "{part:?} killed: a restart opened the door");
        assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "granted", "{part:?}");
    }
}

#[test]
fn killed_in_iptables_the_door_closes_too() {
    let world = World::new(Firewall::Iptables);
    let alice = world.add("alice", &["--ports", "ssh", "--for", "3s"]);
    let daemon = world.serve();
    let _listener = serve_tcp(&world.server, DOOR);
    assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "granted");
    daemon.kill_all();
    std::thread::sleep(Duration::from_millis(4500));
    assert!(
        closed(&world.client, DOOR),
        "the door is open after its time: {}",
        world.server.run("iptables-save", &[])
    );
}

#[test]
fn the_same_bytes_are_refused_after_kill_9_and_restart() {
    let world = World::new(Firewall::PolicyDrop);
    let alice = world.add("alice", &["--ports", "ssh", "--for", "1s"]);
    let packet = alice.packet();
    let daemon = world.serve();
    assert_eq!(daemon.verdict(|| alice.send(&world.client, SERVER, &packet)), "granted");
    daemon.kill_all();
    let daemon = world.serve();
    assert_eq!(daemon.verdict(|| alice.send(&world.client, SERVER, &packet)), "replayed");
    std::thread::sleep(Duration::from_millis(1200));
    assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "granted");
}

#[test]
fn open_grants_are_found_again_after_a_restart() {
    let world = World::new(Firewall::PolicyDrop);
    let alice = world.add("alice", &["--ports", "ssh", "--for", "20s"]);
    let daemon = world.serve();
    let _listener = serve_tcp(&world.server, DOOR);
    assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "granted");
    daemon.kill_all();
    let daemon = world.serve();
    assert!(connects(&world.client, DOOR, SOON), "a restart took the grant away");
    assert_eq!(daemon.control().sessions().expect("it answers").sessions.len(), 1);
    world.portunus(&["close", "alice"]);
    assert!(closed(&world.client, DOOR));
}

/// A restart holds what it finds against the files as a reload does.
#[test]
fn what_was_taken_away_while_nobody_ran_is_closed_by_the_start() {
    let world = World::new(Firewall::PolicyDrop);
    let [alice, bob] = ["alice", "bob"].map(|name| world.add(name, &["--ports", "ssh", "--for", "100s"]));
    let carol = world.add("carol", &["--ports", "ssh", "--for", "100s", "--any-target"]);
    let _ = world.add("another", &["--ports", "ssh"]);
    let daemon = world.serve();
    let for_another = carol.packet_for("10.90.0.77".parse().ok(), Duration::ZERO);
    assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "granted");
    assert_eq!(daemon.verdict(|| bob.knock(&world.client, SERVER)), "granted");
    assert_eq!(daemon.verdict(|| carol.send(&world.client, SERVER, &for_another)), "granted");
    daemon.kill_all();
    let file = |name: &str| world.place("etc").join(format!("clients/{name}.toml"));
    // Another's key under her name, and no right to open for others any more.
    std::fs::rename(file("another"), file("alice")).expect("a file can be renamed");
    let text = std::fs::read_to_string(file("carol")).expect("her file can be read");
    let less = text.replace("any_target = true\n", "");
    assert_ne!(less, text);
    std::fs::write(file("carol"), less).expect("her file can be written");
    let daemon = world.serve();
    let mut left: Vec<String> = Vec::new();
    for _ in 0..200 {
        let open = daemon.control().sessions().expect("it answers").sessions;
        left = open.into_iter().map(|one| one.client).collect();
        if left == ["bob"] {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("open are {left:?}");
}

#[test]
fn after_sigterm_the_drops_stay() {
    let world = World::new(Firewall::None);
    let _alice = world.add("alice", &["--ports", "ssh"]);
    let daemon = world.serve();
    let _listener = serve_tcp(&world.server, DOOR);
    let status = daemon.stop();
    assert!(status.success(), "SIGTERM is a clean end: {status}");
    assert!(closed(&world.client, DOOR));
    let said = world.portunus(&["doctor"]);
    assert!(said.contains("22/tcp over IPv4 and IPv6 is kept closed by rules of ours"), "{said}");
}

#[test]
fn teardown_leaves_no_trace() {
    for firewall in [Firewall::None, Firewall::PolicyDrop, Firewall::FinalReject, Firewall::Iptables] {
        let world = World::bare(firewall);
        let before = listing(&world);
        world.portunus(&["init", "--host", SERVER]);
        assert_eq!(listing(&world), before, "init changed a rule");
        let alice = world.add("alice", &["--ports", "ssh,8000-8010/tcp"]);
        let daemon = world.serve();
        assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "granted");
        assert_ne!(listing(&world), before);
        assert!(daemon.stop().success());
        let said = world.portunus(&["teardown"]);
        assert_eq!(listing(&world), before, "{firewall:?}: teardown left something, or took something");
        if firewall == Firewall::None {
            assert!(said.contains("22/tcp"), "teardown does not say that 22/tcp is open now: {said}");
        }
    }
}

/// All that nft and iptables list, without the counters that packets move.
fn listing(world: &World) -> String {
    let all = [
        world.server.ruleset(),
        world.server.run("iptables-save", &[]),
        world.server.run("ip6tables-save", &[]),
    ];
    let still = |line: &&str| !line.starts_with('#') && !line.contains("counter packets");
    let chains = |line: &str| line.split(" [").next().unwrap_or_default().to_owned();
    all.join("\n").lines().filter(still).map(chains).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_rule_in_the_way_is_named_and_nothing_is_dropped() {
    let world = World::new(Firewall::None);
    let _alice = world.add("alice", &["--ports", "ssh"]);
    world.server.nft("table inet later {\n chain guard {\n type filter hook input priority 50; policy accept;\n tcp dport 22 drop\n }\n}\n");
    let before = world.server.ruleset();
    let (status, log) = Daemon::try_start(&world, &["serve"])
        .err()
        .unwrap_or_else(|| panic!("it serves behind a rule that drops"));
    assert_eq!(status.code(), Some(78), "{log}");
    for word in ["later", "guard", "tcp dport 22 drop"] {
        assert!(log.contains(word), "the log does not name {word}: {log}");
    }
    assert_eq!(world.server.ruleset(), before, "a start in vain changed the ruleset");
    let doctor = world.try_portunus(&["doctor"]);
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(said.contains("guard"), "doctor does not name the chain: {said}");
}

/// The connection of whoever sets this up must live on: also when the server speaks first, after a silence, and the
/// kernel has tracked nothing so far.
#[test]
fn an_idle_connection_lives_on_when_the_daemon_starts() {
    let world = World::new(Firewall::None);
    let _alice = world.add("alice", &["--ports", "ssh"]);
    let listener = world.server.inside(|| TcpListener::bind(DOOR)).expect("the port is free");
    let mut ours = world.client.inside(|| TcpStream::connect(DOOR)).expect("nothing drops yet");
    let (mut theirs, _) = listener.accept().expect("the connection is there");
    let _daemon = world.serve();
    std::thread::sleep(Duration::from_millis(300));
    ours.set_read_timeout(Some(Duration::from_secs(3))).expect("a stream can have a time limit");
    theirs.set_read_timeout(Some(Duration::from_secs(3))).expect("a stream can have a time limit");
    let mut bytes = [0; 4];
    theirs.write_all(b"ping").expect("the server can speak");
    ours.read_exact(&mut bytes).expect("the server's words arrive");
    ours.write_all(b"pong").expect("the client can speak");
    theirs.read_exact(&mut bytes).expect("the client's words arrive");
    assert!(closed(&world.client, DOOR), "new connections are dropped");
}

/// The unit starts before the network is up: a server that gave up then would let nobody in after any boot.
#[test]
fn an_address_that_comes_later_is_listened_on_then() {
    let world = World::new(Firewall::None);
    let alice = world.add("alice", &["--ports", "ssh"]);
    let file = world.place("etc").join("portunus.toml");
    let text = std::fs::read_to_string(&file).expect("init made it");
    let listens = text.lines().find(|line| line.contains("listen = [")).expect("init writes listen");
    let text = text.replace(listens, "listen = [\"10.90.0.9:54154\", \"[fd90::9]:54154\"]");
    std::fs::write(&file, text).expect("the file can be written");
    let daemon = world.serve();
    daemon.until_logged("no interface has this address yet");
    for (address, length) in [("10.90.0.9", "8"), ("fd90::9", "64")] {
        let with_length = format!("{address}/{length}");
        world.server.run("ip", &["addr", "add", &with_length, "dev", "door0", "nodad"]);
        assert_eq!(daemon.verdict(|| alice.knock(&world.client, address)), "granted", "{address}");
    }
    let _listener = serve_tcp(&world.server, DOOR);
    assert!(connects(&world.client, DOOR, SOON));
}

#[test]
fn a_second_daemon_in_one_namespace_is_refused() {
    let world = World::new(Firewall::PolicyDrop);
    let _alice = world.add("alice", &["--ports", "ssh"]);
    let daemon = world.serve();
    let second = world.try_portunus(&["serve"]);
    assert_eq!(second.status.code(), Some(78), "{}", String::from_utf8_lossy(&second.stderr));
    drop(daemon);
}
