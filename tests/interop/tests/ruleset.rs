//! Other people change the ruleset while we run: flushed, loaded anew, saved and restored.
#![expect(clippy::expect_used, reason = "a test's helper fails by panicking")]

use std::net::TcpStream;
use std::time::{Duration, Instant};

use portunus_interop::{Daemon, Firewall, Lag, SERVER, World, closed, connects, run_with_input, serve_tcp};

const DOOR: &str = "10.90.0.1:22";
const SOON: Duration = Duration::from_secs(1);
/// From the event on, as packets see it; what the machine did meanwhile for others is taken off.
const PUT_BACK_WITHIN: Duration = Duration::from_millis(50);

/// Until packets see it: how long that took.
fn put_back(world: &World, daemon: &Daemon, is_back: impl Fn() -> bool + Sync) -> Duration {
    world.client.inside(|| {
        let (lag, start) = (Lag::begin(daemon), Instant::now());
        while !is_back() {
            assert!(
                start.elapsed() < Duration::from_secs(5),
                "it is not put back:\n{}",
                world.server.ruleset()
            );
        }
        lag.end()
    })
}

/// Whether a door answers a thread that is where it has to be.
fn answers(door: &str) -> bool {
    let door = door.parse().expect("a door is an address and a port");
    TcpStream::connect_timeout(&door, Duration::from_millis(5)).is_ok()
}

#[test]
fn what_somebody_flushes_is_put_back_with_its_grants() {
    let world = World::new(Firewall::None);
    let alice = world.add("alice", &["--ports", "ssh", "--for", "30s"]);
    let daemon = world.serve();
    let _listeners = [DOOR, "[fd90::1]:22"].map(|door| serve_tcp(&world.server, door));
    assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "granted");
    let mut worst = Duration::ZERO;
    for _ in 0..3 {
        world.server.nft("flush ruleset");
        // On a busy machine an open door may take longer than a moment to answer, once.
        worst = worst.max(put_back(&world, &daemon, || (0..3).all(|_| !answers("[fd90::1]:22"))));
        assert!(connects(&world.client, DOOR, SOON), "the grant did not come back");
        assert!(closed(&world.client, "[fd90::1]:22"), "the drops did not come back");
        std::thread::sleep(Duration::from_millis(400));
    }
    println!("flush ruleset put back in {worst:?} at most");
    assert!(worst < PUT_BACK_WITHIN, "it took {worst:?}");
    daemon.until_logged("put back");
}

#[test]
fn the_admins_reload_keeps_our_place_before_the_first_drop() {
    let world = World::new(Firewall::FinalDrop);
    let alice = world.add("alice", &["--ports", "ssh", "--for", "30s"]);
    let rules = world.server.ruleset();
    let daemon = world.serve();
    let _listener = serve_tcp(&world.server, DOOR);
    assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "granted");
    world.server.nft(&format!("flush ruleset\n{rules}"));
    let took = put_back(&world, &daemon, || answers(DOOR));
    println!("reload put back in {took:?}");
    assert!(
        connects(&world.client, DOOR, SOON),
        "the jump stands behind the drop:\n{}",
        world.server.ruleset()
    );
    assert!(took < PUT_BACK_WITHIN, "it took {took:?}");
}

#[test]
fn our_own_listing_loaded_again_opens_nothing() {
    for firewall in [Firewall::None, Firewall::PolicyDrop] {
        let world = World::new(firewall);
        let alice = world.add("alice", &["--ports", "ssh", "--for", "2s"]);
        let daemon = world.serve();
        let _listener = serve_tcp(&world.server, DOOR);
        assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "granted");
        let saved = world.server.ruleset();
        std::thread::sleep(Duration::from_millis(2200));
        assert!(closed(&world.client, DOOR));
        // The listing has the element with its timeout: loaded again it must not live anew.
        world.server.nft(&format!("flush ruleset\n{saved}"));
        std::thread::sleep(Duration::from_millis(300));
        assert!(closed(&world.client, DOOR), "{firewall:?}: a saved ruleset revived a grant");
        assert_eq!(
            daemon.verdict(|| alice.knock(&world.client, SERVER)),
            "granted",
            "{firewall:?}: nothing broke"
        );
        assert!(connects(&world.client, DOOR, SOON));
    }
}

/// Nobody can keep that from being loaded, but it ends by the kernel's clock, and at the next start.
#[test]
fn a_listing_loaded_while_no_daemon_runs_is_cleared_at_the_next_start() {
    for firewall in [Firewall::None, Firewall::PolicyDrop] {
        let world = World::new(firewall);
        let alice = world.add("alice", &["--ports", "ssh", "--for", "60s"]);
        let daemon = world.serve();
        let _listener = serve_tcp(&world.server, DOOR);
        assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "granted");
        let saved = world.server.ruleset();
        world.portunus(&["close", "--all"]);
        assert!(closed(&world.client, DOOR));
        assert!(daemon.stop().success());
        world.server.nft(&format!("flush ruleset\n{saved}"));
        let _daemon = world.serve();
        assert!(closed(&world.client, DOOR), "{firewall:?}: a start left what it knows nothing of");
    }
}

#[test]
fn saved_and_restored_by_iptables_opens_nothing() {
    for firewall in [Firewall::Iptables, Firewall::PolicyDrop, Firewall::None] {
        let world = World::new(firewall);
        let alice = world.add("alice", &["--ports", "ssh", "--for", "3s"]);
        let daemon = world.serve();
        let _listeners = [DOOR, "10.90.0.1:2222"].map(|door| serve_tcp(&world.server, door));
        let other_was_closed = closed(&world.client, "10.90.0.1:2222");
        assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "granted");
        let saved = world.server.run("iptables-save", &[]);
        run_with_input("ip", &["netns", "exec", world.server.name(), "iptables-restore"], &saved);
        std::thread::sleep(Duration::from_millis(300));
        assert!(connects(&world.client, DOOR, SOON), "{firewall:?}: the grant is gone");
        assert_eq!(
            closed(&world.client, "10.90.0.1:2222"),
            other_was_closed,
            "{firewall:?}: a restore changed another port"
        );
        std::thread::sleep(Duration::from_millis(4500));
        assert!(closed(&world.client, DOOR), "{firewall:?}: a restored grant outlives its time");
        run_with_input("ip", &["netns", "exec", world.server.name(), "iptables-restore"], &saved);
        std::thread::sleep(Duration::from_millis(500));
        assert!(closed(&world.client, DOOR), "{firewall:?}: a restore revived a grant");
    }
}

#[test]
fn other_peoples_tables_stay_byte_for_byte() {
    let world = World::new(Firewall::None);
    world.server.nft("table ip mine { set s { type ipv4_addr; elements = { 192.0.2.1 } }\n chain c { type filter hook output priority 0; policy accept; ip daddr @s counter drop comment \"mine\"\n }\n}\n");
    let alice = world.add("alice", &["--ports", "ssh,8000-8010/tcp", "--for", "1s"]);
    let before = world.server.run("nft", &["-a", "list", "table", "ip", "mine"]);
    let daemon = world.serve();
    assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "granted");
    world.portunus(&["close", "--all"]);
    assert_eq!(world.server.run("nft", &["-a", "list", "table", "ip", "mine"]), before, "with handles");
    assert!(daemon.stop().success());
    world.portunus(&["teardown"]);
    assert_eq!(world.server.run("nft", &["-a", "list", "table", "ip", "mine"]), before, "with handles");
}

#[test]
fn only_the_named_interface_is_guarded_and_opened() {
    let world = World::with_init(Firewall::None, &["--interface", "door0"]);
    let alice = world.add("alice", &["--ports", "ssh"]);
    let daemon = world.serve();
    let _listeners = [DOOR, "127.0.0.1:22"].map(|door| serve_tcp(&world.server, door));
    assert!(closed(&world.client, DOOR));
    assert!(connects(&world.server, "127.0.0.1:22", SOON), "lo is never dropped");
    assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "granted");
    assert!(connects(&world.client, DOOR, SOON));
    assert!(world.server.ruleset().contains("door0"), "by name, so that it survives re-creation");
    let log = daemon.log();
    assert!(!log.is_empty(), "the log says where it stands");
    drop(daemon);
    let _ = log.lines().next().expect("a log has a first line");
}

/// The commonest table that is written by hand lets ssh in by a rule of its own. No accept overrules a drop in another table.
#[test]
fn a_rule_that_lets_everybody_in_before_ours_opens_no_door() {
    let world = World::bare(Firewall::None);
    world.server.nft(
        "table inet adm { chain input { type filter hook input priority -300; policy drop; \
         iif lo accept; ct state established,related accept; icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept; \
         tcp dport { 22, 2222 } accept\n}\n}\n",
    );
    let said = world.portunus(&["init", "--host", SERVER]);
    assert!(
        said.contains("22/tcp over IPv4 and IPv6 is open to everybody today; `serve` will drop it"),
        "{said}"
    );
    let alice = world.add("alice", &["--ports", "ssh", "--for", "30s"]);
    let theirs = world.server.run("nft", &["list", "table", "inet", "adm"]);
    let daemon = world.serve();
    daemon.until_logged("attach:inet/adm/input");
    let _listeners = [DOOR, "[fd90::1]:22", "10.90.0.1:2222"].map(|door| serve_tcp(&world.server, door));
    for door in [DOOR, "[fd90::1]:22"] {
        assert!(closed(&world.client, door), "{door} is open:\n{}", world.server.ruleset());
    }
    assert!(
        connects(&world.client, "10.90.0.1:2222", SOON),
        "what is no door of ours is the administrator's business"
    );
    assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "granted");
    assert!(connects(&world.client, DOOR, SOON), "{}", world.server.ruleset());
    assert!(closed(&world.client, "[fd90::1]:22"), "granted is the address that knocked");

    world.server.nft("delete table inet adm");
    assert!(closed(&world.client, "[fd90::1]:22"), "our drops went with somebody else's table");
    world.portunus(&["close", "--all"]);
    assert!(
        closed(&world.client, DOOR),
        "a table of theirs that is gone kept ours open: {}",
        world.server.ruleset()
    );
    world.server.nft("flush ruleset");
    put_back(&world, &daemon, || (0..3).all(|_| !answers("[fd90::1]:22")));
    assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "granted");
    assert!(connects(&world.client, DOOR, SOON), "a granted one is kept out:\n{}", world.server.ruleset());
    assert!(closed(&world.client, "[fd90::1]:22"), "their chain is gone, and the doors are open");
    world.server.nft(&theirs);
    world.portunus(&["close", "--all"]);
    assert!(closed(&world.client, DOOR), "{}", world.server.ruleset());
    daemon.until_logged("put back");
    assert!(daemon.stop().success());
    assert!(closed(&world.client, DOOR), "the drops stay when we stop:\n{}", world.server.ruleset());
    world.portunus(&["teardown"]);
    assert_eq!(world.server.run("nft", &["list", "table", "inet", "adm"]), theirs);
    assert!(connects(&world.client, DOOR, SOON), "as it was before");
}

/// A chain of a table `ip` never sees IPv6.
#[test]
fn a_chain_of_one_family_leaves_no_door_of_the_other_open() {
    let world = World::bare(Firewall::None);
    world.server.nft(
        "table ip adm { chain input { type filter hook input priority 0; policy drop; iif lo accept; }\n}\n",
    );
    world.portunus(&["init", "--host", SERVER]);
    let alice = world.add("alice", &["--ports", "ssh", "--for", "30s"]);
    let daemon = world.serve();
    daemon.until_logged("attach:ip/adm/input");
    let _listeners = [DOOR, "[fd90::1]:22"].map(|door| serve_tcp(&world.server, door));
    for door in [DOOR, "[fd90::1]:22"] {
        assert!(closed(&world.client, door), "{door} is open:\n{}", world.server.ruleset());
    }
    for (server, door) in [(SERVER, DOOR), ("fd90::1", "[fd90::1]:22")] {
        assert_eq!(daemon.verdict(|| alice.knock(&world.client, server)), "granted");
        assert!(connects(&world.client, door, SOON), "{}", world.server.ruleset());
    }
}

/// What a boot can bring: our rules are gone, and somebody else's are not as they were.
#[test]
fn a_start_beside_changed_rules_leaves_no_door_open() {
    let world = World::new(Firewall::PolicyDrop);
    let alice = world.add("alice", &["--ports", "ssh", "--for", "30s"]);
    let rules = world.server.ruleset();
    let _listeners = [DOOR, "[fd90::1]:22"].map(|door| serve_tcp(&world.server, door));
    assert!(world.serve().stop().success());

    // The chain that we are to stand in is not there: a mistake in the administrator's file.
    world.server.nft("flush ruleset");
    let daemon = world.serve();
    daemon.until_logged("of `place` is not there");
    assert!(closed(&world.client, DOOR), "{}", world.server.ruleset());
    assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "granted");
    assert!(connects(&world.client, DOOR, SOON), "{}", world.server.ruleset());
    world.server.nft(&rules);
    assert!(connects(&world.client, DOOR, SOON), "their chain is back, and our accepts are in it");
    daemon.until_logged("put back");
    world.portunus(&["close", "--all"]);
    assert!(daemon.stop().success());

    // A rule drops our knocks: nobody could be let in, so there is no start, and no open door either.
    for drop in ["udp dport 54154 drop", "tcp dport 22 drop"] {
        world.server.nft(&format!(
            "flush ruleset\ntable inet r {{ chain c {{ type filter hook prerouting priority -300; {drop}\n}}\n}}\n{rules}"
        ));
        let Err((status, log)) = Daemon::try_start(&world, &["serve"]) else { panic!("{drop}: it serves") };
        assert_eq!(status.code(), Some(78), "{log}");
        assert!(log.contains("kept closed"), "{log}");
        world.server.nft("delete table inet r");
        world.server.nft("delete table inet filter");
        assert!(closed(&world.client, DOOR), "{drop}: {}", world.server.ruleset());
        assert!(closed(&world.client, "[fd90::1]:22"), "{drop}: {}", world.server.ruleset());
    }
}

/// `systemctl restart nftables` flushes, and loads a moment later.
#[test]
fn a_place_that_nobody_has_pinned_is_found_again_as_often_as_it_goes() {
    let world = World::new(Firewall::PolicyDrop);
    let alice = world.add("alice", &["--ports", "ssh", "--for", "30s"]);
    let file = world.place("etc").join("portunus.toml");
    let text = std::fs::read_to_string(&file).expect("the configuration can be read");
    let text: Vec<&str> = text.lines().filter(|line| !line.starts_with("place")).collect();
    std::fs::write(&file, text.join("\n")).expect("the configuration can be written");
    let rules = world.server.ruleset();
    let daemon = world.serve();
    let _listener = serve_tcp(&world.server, DOOR);
    for _ in 0..2 {
        world.server.nft("flush ruleset");
        std::thread::sleep(Duration::from_millis(200));
        assert!(closed(&world.client, DOOR), "{}", world.server.ruleset());
        world.server.nft(&rules);
        std::thread::sleep(Duration::from_millis(1500));
        assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "granted", "{}", daemon.log());
        assert!(connects(&world.client, DOOR, SOON), "{}\n{}", world.server.ruleset(), daemon.log());
        world.portunus(&["close", "--all"]);
    }
    // A second table that drops: there is a seat in it too.
    world
        .server
        .nft("table inet r { chain c { type filter hook input priority -300; tcp dport 22 drop\n}\n}\n");
    daemon.until_logged("have a place for us now");
    assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "granted");
    assert!(connects(&world.client, DOOR, SOON), "{}\n{}", world.server.ruleset(), daemon.log());
    // One where nobody can sit: nothing can be done about it, but it is said.
    world
        .server
        .nft("table inet s { chain c { type filter hook prerouting priority -300; tcp dport 22 drop\n}\n}\n");
    daemon.until_logged("keep out who has a grant");
    assert!(daemon.log().contains("table inet s"), "{}", daemon.log());
}

/// A table of theirs that we cannot stand in any more, since it has a chain with the name of ours.
#[test]
fn a_name_of_ours_that_somebody_takes_opens_no_door() {
    let world = World::new(Firewall::PolicyDrop);
    let alice = world.add("alice", &["--ports", "ssh", "--for", "30s"]);
    let _listeners = [DOOR, "[fd90::1]:22"].map(|door| serve_tcp(&world.server, door));
    let theirs = |more: &str| {
        format!(
            "flush ruleset\ntable inet filter {{ {more}\nchain input {{ type filter hook input priority 0; policy drop; iif lo accept; \
             ct state established,related accept; icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept; tcp dport 22 accept\n}}\n}}\n"
        )
    };
    let daemon = world.serve();
    world.server.nft(&theirs("chain portunus { counter\n}"));
    daemon.until_logged("our own table stands meanwhile");
    assert!(
        closed(&world.client, "[fd90::1]:22") && closed(&world.client, DOOR),
        "{}",
        world.server.ruleset()
    );
    assert!(world.server.ruleset().contains("chain portunus {\n\t\tcounter"), "theirs was touched");
    drop(daemon);
    world.server.nft(&theirs("chain portunus { counter\n}"));
    let Err((status, log)) = Daemon::try_start(&world, &["serve"]) else { panic!("it serves") };
    assert!(status.code() == Some(78) && log.contains("kept closed"), "{log}");
    assert!(
        closed(&world.client, "[fd90::1]:22") && closed(&world.client, DOOR),
        "{}",
        world.server.ruleset()
    );
    world.server.nft(&theirs(""));
    let daemon = world.serve();
    assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "granted");
    assert!(connects(&world.client, DOOR, SOON), "{}", world.server.ruleset());
    assert!(closed(&world.client, "[fd90::1]:22"), "{}", world.server.ruleset());
}

#[test]
fn a_tool_that_keeps_reloading_opens_no_door_for_longer_than_a_moment() {
    let world = World::new(Firewall::None);
    let _ = world.add("alice", &["--ports", "ssh"]);
    let daemon = world.serve();
    let _listener = serve_tcp(&world.server, DOOR);
    let table =
        "table inet adm { chain input { type filter hook input priority 0; tcp dport 22 accept\n}\n}\n";
    for _ in 0..30 {
        world.server.nft(&format!("flush ruleset\n{table}"));
        std::thread::sleep(Duration::from_millis(100));
    }
    let took = put_back(&world, &daemon, || (0..3).all(|_| !answers(DOOR)));
    println!("after thirty reloads put back in {took:?}");
    assert!(took < Duration::from_millis(250), "it took {took:?}");
    let said = daemon.log().matches("somebody changed our rules").count();
    assert!(said <= 5, "{said} lines:\n{}", daemon.log());
}
