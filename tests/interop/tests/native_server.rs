//! The native dialect at the real daemon: doors open, answers come back, chains survive and are forgotten.

#![expect(clippy::expect_used, reason = "a test's helper fails by panicking")]

use std::fs;
use std::time::Duration;

use portunus_crypto::{Secret, totp};
use portunus_dialect::native::{Chain, Code, Kind, Payload, Status};
use portunus_interop::fwknop::within;
use portunus_interop::native::{NativeKnocker, add, send, speaks_native, today, wall};
use portunus_interop::{
    Daemon, Firewall, SERVER, SERVER6, World, closed, connects, open_for_their_time, serve_tcp,
};

const SOON: Duration = Duration::from_secs(1);
const DOOR: &str = "10.90.0.1:22";

fn house(firewall: Firewall, lines: &str) -> (World, NativeKnocker) {
    let world = World::new(firewall);
    let door = speaks_native(&world);
    let alice = add(&world, &door, "alice", lines);
    (world, alice)
}

fn story(firewall: Firewall) {
    let (world, alice) = house(firewall, "services = [\"ssh\"]\ngrant = \"2s\"\n");
    let openme = world.add("bob", &["--ports", "ssh", "--for", "2s", "--dialect", "openme"]);
    let daemon = world.serve();
    open_for_their_time(&world, &daemon, |host| alice.knock(&world.client, host));
    // The others are heard as before.
    assert_eq!(daemon.verdict(|| openme.knock(&world.client, SERVER)), "granted");
    let log = daemon.log();
    assert!(log.contains("dialect=native") && log.contains("client=alice"), "{log}");
}

#[test]
fn a_native_knock_opens_the_door_with_nftables() {
    story(Firewall::PolicyDrop);
}

#[test]
fn a_native_knock_opens_the_door_with_iptables() {
    story(Firewall::Iptables);
}

#[test]
fn what_is_no_knock_or_a_copy_opens_nothing() {
    let (world, alice) = house(Firewall::None, "services = [\"ssh\"]\n");
    let daemon = world.serve();
    let _listener = serve_tcp(&world.server, DOOR);
    let good = alice.packet();
    for place in (0..good.len()).step_by(7) {
        let mut bytes = good.clone();
        bytes[place] ^= 0x40;
        assert_eq!(daemon.verdict(|| send(&world.client, SERVER, &bytes)), "noise", "{place}");
    }
    let wrong = NativeKnocker { link: Chain::new(today(), alice.door.value().duplicate()), ..alice };
    assert_eq!(daemon.verdict(|| wrong.knock(&world.client, SERVER)), "unauthentic");
    assert!(closed(&world.client, DOOR));
    assert_eq!(daemon.verdict(|| send(&world.client, SERVER, &good)), "granted");
    assert_eq!(daemon.verdict(|| send(&world.client, SERVER, &good)), "replayed");
    // Also after a restart, which has forgotten whose ephemeral key it was.
    drop(daemon);
    let daemon = world.serve();
    assert_eq!(daemon.verdict(|| send(&world.client, SERVER, &good)), "replayed");
}

#[test]
fn an_answer_comes_from_where_the_knock_went_and_tells_what_became_of_it() {
    let (world, alice) =
        house(Firewall::PolicyDrop, "services = [\"ssh\"]\ngrant = \"30s\"\nanswers = true\n");
    // The server has a second address, and answers from the one that was asked.
    world.server.run("ip", &["addr", "add", "10.90.7.7/8", "dev", "door0"]);
    let daemon = world.serve();
    let asking = || Payload { wants_answer: true, ..Payload::knock(wall()) };
    for host in [SERVER, "10.90.7.7", SERVER6] {
        let (answer, length) = alice.ask(&world.client, host, &asking(), SOON).expect("an answer");
        assert_eq!((answer.status, answer.seconds), (Status::Granted, 30), "{host}");
        let own = if host == SERVER6 { "fd90::2" } else { "10.90.0.2" };
        assert_eq!(answer.seen, own.parse().ok());
        assert!((160..=256).contains(&length), "{length}");
        assert!(answer.time.distance(wall()) < Duration::from_secs(5));
        std::thread::sleep(Duration::from_millis(1100));
    }
    let mut late = asking();
    late.stamp = wall().before(Duration::from_secs(93));
    let (answer, _) = alice.ask(&world.client, SERVER, &late, SOON).expect("an answer");
    assert_eq!(answer.status, Status::Stale);
    std::thread::sleep(Duration::from_millis(1100));
    let other = Payload { services: vec!["nothing".into()], ..asking() };
    let (answer, _) = alice.ask(&world.client, SERVER, &other, SOON).expect("an answer");
    assert_eq!(answer.status, Status::NotAllowed);
    std::thread::sleep(Duration::from_millis(1100));
    // Who did not ask hears nothing, and nobody else either.
    assert!(alice.ask(&world.client, SERVER, &Payload::knock(wall()), SOON).is_none());
    assert!(daemon.log().contains("reason=stale"));
}

#[test]
fn a_client_that_may_have_no_answer_gets_none() {
    let (world, alice) = house(Firewall::None, "services = [\"ssh\"]\n");
    let daemon = world.serve();
    let asking = Payload { wants_answer: true, ..Payload::knock(wall()) };
    let verdict = daemon.verdict(|| {
        assert!(alice.ask(&world.client, SERVER, &asking, SOON).is_none());
    });
    assert_eq!(verdict, "granted");
}

#[test]
fn a_client_closes_what_is_open_for_it() {
    let (world, alice) = house(Firewall::None, "services = [\"ssh\"]\ngrant = \"60s\"\nanswers = true\n");
    let daemon = world.serve();
    let _listener = serve_tcp(&world.server, DOOR);
    let withheld = alice.packet();
    assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "granted");
    assert!(connects(&world.client, DOOR, SOON));
    let close = Payload { kind: Kind::Close, wants_answer: true, ..Payload::knock(wall()) };
    let (answer, _) = alice.ask(&world.client, SERVER, &close, SOON).expect("an answer");
    assert_eq!(answer.status, Status::Closed);
    assert!(closed(&world.client, DOOR));
    // Not even after a restart does an earlier knock undo it.
    assert_eq!(daemon.verdict(|| send(&world.client, SERVER, &withheld)), "not-allowed");
    let earlier = close.stamp.before(Duration::from_millis(5));
    let earlier = alice.sealed(&Payload::knock(earlier)).0;
    drop(daemon);
    let daemon = world.serve();
    assert_eq!(daemon.verdict(|| send(&world.client, SERVER, &earlier)), "not-allowed");
    assert!(closed(&world.client, DOOR));
    assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "granted");
}

#[test]
fn who_is_added_while_it_runs_can_knock_and_who_is_revoked_cannot() {
    let (world, alice) = house(Firewall::None, "services = [\"ssh\"]\n");
    let daemon = world.serve();
    let waiting = || fs::read_dir(world.place("state").join("chains.new")).map_or(0, Iterator::count);
    assert_eq!(waiting(), 0, "what was left is in the store");
    let carol = add(
        &world,
        &(alice.server, Chain::new(alice.door.day(), alice.door.value().duplicate())),
        "carol",
        "",
    );
    daemon.until_logged("clients=2");
    assert!(within(SOON, || waiting() == 0));
    assert_eq!(daemon.verdict(|| carol.knock(&world.client, SERVER)), "granted");
    fs::remove_file(world.place("etc").join("clients/alice.toml")).expect("a client's file");
    daemon.until_logged("clients=1");
    assert!(within(SOON, || daemon.control().status().is_ok_and(|status| status.clients == 1)));
    assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "unknown-client");
    // All of it is there after a restart, with the file of chains closed to others.
    drop(daemon);
    let daemon = world.serve();
    assert_eq!(daemon.verdict(|| carol.knock(&world.client, SERVER)), "extended");
    let meta = fs::metadata(world.place("state").join("chains")).expect("the store");
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&meta.permissions()) & 0o777, 0o600);
}

#[test]
fn chains_that_cannot_be_taken_up_are_told_and_stay() {
    let (world, alice) = house(Firewall::None, "services = [\"ssh\"]\n");
    let cut = world.place("state").join("chains.new/link-cut");
    fs::write(&cut, "link AAAA").expect("a file");
    fs::set_permissions(&cut, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("closed");
    let daemon = world.serve();
    daemon.until_logged("cannot be taken up");
    assert!(cut.exists());
    assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "granted");
}

/// The others are served on, and a restart would shut them out too.
#[test]
fn a_reload_that_would_speak_native_with_a_file_that_is_no_store_is_refused_and_ends_nothing() {
    let world = World::new(Firewall::None);
    let openme = world.add("bob", &["--ports", "ssh", "--for", "1s", "--dialect", "openme"]);
    let daemon = world.serve();
    let chains = world.place("state").join("chains");
    fs::write(&chains, "something else\n".repeat(4000)).expect("a file");
    fs::set_permissions(&chains, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("closed");
    let door = speaks_native(&world);
    let alice = add(&world, &door, "alice", "services = [\"ssh\"]\n");
    daemon.until_logged("it is not a store of chains");
    daemon.until_logged("restore the file, or move it away");
    daemon.until_logged("not reloaded");
    assert_eq!(daemon.verdict(|| openme.knock(&world.client, SERVER)), "granted", "{}", daemon.log());
    fs::remove_file(&chains).expect("a file");
    let reload = || daemon.control().reload().is_ok_and(|_| true);
    assert!(within(Duration::from_secs(10), reload), "{}", daemon.log());
    assert!(!daemon.log().contains("a part ended"), "{}", daemon.log());
    // The lengths of its packets are received from the next start on; by then all of it is in the store.
    drop(daemon);
    let daemon = world.serve();
    assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "granted", "{}", daemon.log());
}

#[test]
fn a_client_with_a_second_factor_needs_a_code_which_opens_once_also_over_a_restart() {
    let secret = Secret::from_bytes([9; 20]);
    let lines = format!("services = [\"ssh\"]\nanswers = true\ntotp = \"{}\"\n", *totp::to_base32(&secret));
    let (world, alice) = house(Firewall::None, &lines);
    let codes = totp::Codes::new(&secret);
    let now = || u64::try_from(wall().as_secs()).expect("it is after 1970");
    let code = |seconds: u64, attempt: u8| {
        let value = codes.at(seconds).parse().expect("six digits");
        Payload { code: Some(Code { value, attempt: [attempt; 8] }), ..Payload::knock(wall()) }
    };
    let daemon = world.serve();
    let verdict = |daemon: &Daemon, payload: &Payload| {
        daemon.verdict(|| send(&world.client, SERVER, &alice.sealed(payload).0))
    };
    assert_eq!(verdict(&daemon, &Payload::knock(wall())), "second-factor");
    let asking = Payload { wants_answer: true, ..Payload::knock(wall()) };
    let (answer, _) = alice.ask(&world.client, SERVER, &asking, SOON).expect("an answer");
    assert_eq!(answer.status, Status::SecondFactor);
    assert_eq!(verdict(&daemon, &code(now() + 3600, 1)), "second-factor");
    let then = now();
    assert_eq!(verdict(&daemon, &code(then, 1)), "granted", "{}", daemon.log());
    assert_eq!(verdict(&daemon, &code(then, 1)), "extended", "a retry");
    assert_eq!(verdict(&daemon, &code(then, 2)), "second-factor", "somebody who read along");
    drop(daemon);
    let daemon = world.serve();
    assert_eq!(verdict(&daemon, &code(then, 3)), "second-factor");
    assert_eq!(verdict(&daemon, &code(then + 30, 4)), "extended", "the next code");
    let log = daemon.log();
    assert!(!log.contains(&*totp::to_base32(&secret)) && log.contains("reason=second-factor"), "{log}");
}

#[test]
fn explain_tells_whose_a_native_packet_is_from_the_chains_as_they_are() {
    let (world, alice) = house(Firewall::None, "services = [\"ssh\"]\n");
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let file = world.folder().join("packet");
    let path = file.to_str().expect("a path");
    fs::write(&file, hex(&alice.packet())).expect("a file");
    // Before the daemon has taken the chains up, and after.
    let before = world.portunus(&["explain", path]);
    let daemon = world.serve();
    let after = world.portunus(&["explain", path]);
    assert_eq!(before, after);
    for words in ["native: its tag was made", "alice's", "granted: 22/tcp, 54154/tcp for 192.0.2.1"] {
        assert!(after.contains(words), "{words}: {after}");
    }
    // It has used nothing.
    assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "granted");
    let wrong = NativeKnocker { link: Chain::new(today(), alice.door.value().duplicate()), ..alice };
    fs::write(&file, hex(&wrong.packet())).expect("a file");
    let out = world.command(&["explain", path]).output().expect("it runs");
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(!out.status.success() && said.contains("none that are here open it"), "{said}");
}

fn one_flow_alone(firewall: Firewall) {
    let (world, alice) = house(firewall, "services = [\"ssh\"]\ngrant = \"10s\"\n");
    let daemon = world.serve();
    let _listener = serve_tcp(&world.server, DOOR);
    let from = |port: u16| {
        world.client.inside(|| {
            let socket =
                rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None)
                    .expect("a socket");
            rustix::net::sockopt::set_socket_reuseaddr(&socket, true).expect("a port that was used just now");
            let own: std::net::SocketAddr = ([10, 90, 0, 2], port).into();
            rustix::net::bind(&socket, &own).expect("a port of ours");
            let patience = Some(Duration::from_millis(700));
            rustix::net::sockopt::set_socket_timeout(&socket, rustix::net::sockopt::Timeout::Send, patience)
                .expect("a socket can wait");
            let to: std::net::SocketAddr = DOOR.parse().expect("an address");
            rustix::net::connect(&socket, &to).is_ok()
        })
    };
    let knock = Payload { source_port: 40_001, seconds: 3, ..Payload::knock(wall()) };
    assert_eq!(
        daemon.verdict(|| send(&world.client, SERVER, &alice.sealed(&knock).0)),
        "granted",
        "{}",
        daemon.log()
    );
    assert!(!from(40_002), "another flow behind the same address");
    assert!(closed(&world.client, DOOR));
    assert!(from(40_001), "{}", world.server.ruleset());
    std::thread::sleep(Duration::from_millis(3400));
    assert!(!from(40_001), "its time is up");
    // Over a restart it is no wider.
    let knock = Payload { source_port: 40_005, ..Payload::knock(wall()) };
    assert_eq!(daemon.verdict(|| send(&world.client, SERVER, &alice.sealed(&knock).0)), "granted");
    drop(daemon);
    let _daemon = world.serve();
    assert!(!from(40_006) && from(40_005));
}

#[test]
fn a_door_for_one_source_port_lets_one_flow_in_with_nftables() {
    one_flow_alone(Firewall::PolicyDrop);
    one_flow_alone(Firewall::None);
}

#[test]
fn a_door_for_one_source_port_lets_one_flow_in_with_iptables() {
    one_flow_alone(Firewall::Iptables);
}

#[test]
fn chains_that_are_gone_cut_or_open_to_others_are_told_at_once() {
    let (world, alice) = house(Firewall::None, "services = [\"ssh\"]\n");
    let chains = world.place("state").join("chains");
    drop(world.serve());
    fs::set_permissions(&chains, std::os::unix::fs::PermissionsExt::from_mode(0o644)).expect("a mode");
    let daemon = world.serve();
    daemon.until_logged("others could read it");
    let meta = fs::metadata(&chains).expect("the store");
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&meta.permissions()) & 0o777, 0o600);
    assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "granted");
    assert!(!daemon.log().contains("cannot knock"), "{}", daemon.log());
    drop(daemon);
    // What the last batch wrote is made good from its journal; of what lies before that is lost: whose it was is named.
    let door = (alice.server, Chain::new(alice.door.day(), alice.door.value().duplicate()));
    let _carol = add(&world, &door, "carol", "");
    drop(world.serve());
    let whole = fs::read(&chains).expect("the store");
    fs::write(&chains, &whole[..whole.len() - 87]).expect("a file");
    let daemon = world.serve();
    daemon.until_logged("chains of the native dialect are damaged");
    daemon.until_logged("these cannot knock");
    daemon.until_logged("names=alice");
    drop(daemon);
    fs::remove_file(&chains).expect("a file");
    let daemon = world.serve();
    daemon.until_logged("nobody can knock in the native dialect");
    drop(daemon);
    // What is no store at all is no reason to begin another one over it.
    fs::write(&chains, "something else\n".repeat(4000)).expect("a file");
    let out = world.command(&["serve"]).output().expect("it runs");
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(!out.status.success() && said.contains("it is not a store of chains"), "{said}");
    assert!(said.contains("restore the file"), "{said}");
}
