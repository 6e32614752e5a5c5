//! Changes to a running daemon: added, revoked, closed, reloaded, eight at once.

use std::time::{Duration, Instant};

use portunus_interop::{Firewall, Part, SERVER, World, closed, connects, open_within, serve_tcp};
use rustix::process::Signal;

const DOOR: &str = "10.90.0.1:22";
const SOON: Duration = Duration::from_secs(1);

#[test]
fn revoke_closes_at_once() {
    let world = World::new(Firewall::PolicyDrop);
    let alice = world.add("alice", &["--ports", "ssh", "--for", "60s"]);
    let bob = world.add("bob", &["--ports", "8443/tcp", "--for", "60s"]);
    let daemon = world.serve();
    let _listener = serve_tcp(&world.server, DOOR);
    assert_eq!(daemon.verdict(|| bob.knock(&world.client, SERVER)), "granted");
    assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "granted");
    assert!(connects(&world.client, DOOR, SOON));
    world.portunus(&["revoke", "alice"]);
    assert!(closed(&world.client, DOOR), "an open grant outlives its client");
    assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "unknown-client");
    let left = daemon.control().sessions().expect("it answers").sessions;
    assert_eq!(
        left.iter().map(|s| s.client.as_str()).collect::<Vec<_>>(),
        ["bob"],
        "nobody else's grant was touched"
    );
}

#[test]
fn a_mistake_in_anothers_file_keeps_no_door_open_for_who_was_revoked() {
    let world = World::new(Firewall::PolicyDrop);
    let alice = world.add("alice", &["--ports", "ssh", "--for", "60s"]);
    let daemon = world.serve();
    let _listener = serve_tcp(&world.server, DOOR);
    assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "granted");
    std::fs::write(world.place("etc").join("clients/bob.toml"), "no mark of equality\n")
        .expect("it can be written");
    let out = world.try_portunus(&["revoke", "alice"]);
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(said.contains("the running daemon refuses alice, and has taken up nothing else"), "{said}");
    assert!(closed(&world.client, DOOR), "an open grant outlives its client");
    assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "unknown-client");
}

#[test]
fn added_while_it_runs_a_client_knocks_at_once() {
    let world = World::new(Firewall::PolicyDrop);
    let daemon = world.serve();
    let alice = world.add("alice", &["--ports", "ssh"]);
    assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "granted");
}

#[test]
fn eight_adds_at_once_leave_eight_clients() {
    let world = World::new(Firewall::PolicyDrop);
    let names: Vec<String> = (0..8).map(|n| format!("client{n}")).collect();
    std::thread::scope(|scope| {
        for name in &names {
            let world = &world;
            scope.spawn(move || world.portunus(&["add", name, "--ports", "ssh"]));
        }
    });
    let listed = world.portunus(&["list"]);
    assert!(names.iter().all(|name| listed.contains(name.as_str())), "{listed}");
    world.portunus(&["check"]);
}

#[test]
fn sessions_show_and_close_ends() {
    let world = World::new(Firewall::PolicyDrop);
    let alice = world.add("alice", &["--ports", "ssh", "--for", "60s"]);
    let daemon = world.serve();
    let _listener = serve_tcp(&world.server, DOOR);
    assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "granted");
    let shown = world.portunus(&["sessions", "--json"]);
    assert!(shown.contains("alice") && shown.contains("10.90.0.2") && shown.contains("22/tcp"), "{shown}");
    world.portunus(&["close", "alice"]);
    assert!(closed(&world.client, DOOR));
    assert!(daemon.control().sessions().expect("it answers").sessions.is_empty());
}

#[test]
fn a_mistyped_name_is_not_told_that_something_was_closed() {
    let world = World::new(Firewall::PolicyDrop);
    let _alice = world.add("alice", &["--ports", "ssh"]);
    let _daemon = world.serve();
    let out = world.try_portunus(&["close", "alcie"]);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(said.contains("no client named alcie"), "{said}");
    assert_eq!(world.portunus(&["close", "alice"]), "0 grants closed\n");
}

#[test]
fn a_server_without_a_health_port_is_asked_at_its_own_door() {
    let world = World::new(Firewall::PolicyDrop);
    let file = world.place("etc").join("portunus.toml");
    let text = std::fs::read_to_string(&file).expect("init made it");
    std::fs::write(&file, text.replace("# health = true", "health = false"))
        .expect("the file can be written");
    let _daemon = world.serve();
    let _listener = serve_tcp(&world.server, DOOR);
    for (name, ports) in [("alice", "ssh"), ("bob", "5353/udp")] {
        let profile = world.folder().join(format!("{name}.toml"));
        std::fs::write(&profile, world.portunus(&["add", name, "--ports", ports]))
            .expect("it can be written");
        world.laptop(&["join", profile.to_str().expect("a path of ours is text"), "--as", name]);
    }
    assert_eq!(world.try_laptop(&["status", "alice"]).status.code(), Some(1));
    world.laptop(&["knock", "alice", "--check"]);
    assert!(world.laptop(&["status", "alice"]).contains("10.90.0.1:22 answered"));
    for words in [&["status", "bob"][..], &["knock", "bob", "--check"]] {
        let out = world.try_laptop(words);
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(1), "{said}");
        assert!(said.contains("the server has no health port"), "it blames something else: {said}");
    }
}

#[test]
fn a_reload_neither_loses_a_packet_nor_touches_a_grant() {
    let world = World::new(Firewall::PolicyDrop);
    let alice = world.add("alice", &["--ports", "ssh", "--for", "60s"]);
    let daemon = world.serve();
    let _listener = serve_tcp(&world.server, DOOR);
    let words = daemon.verdicts(30, || {
        for round in 0..30 {
            if round % 3 == 0 {
                daemon.signal(Part::Keeper, Signal::HUP);
            }
            alice.knock(&world.client, SERVER);
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    let good = words.iter().filter(|event| ["granted", "extended"].contains(&event.reason.as_str())).count();
    assert_eq!(good, 30, "{words:?}");
    assert!(connects(&world.client, DOOR, SOON));
    assert_eq!(daemon.control().sessions().expect("it answers").sessions.len(), 1);
}

#[test]
fn a_broken_file_leaves_the_old_rules_in_force() {
    let world = World::new(Firewall::PolicyDrop);
    let alice = world.add("alice", &["--ports", "ssh"]);
    let daemon = world.serve();
    std::fs::write(world.place("etc").join("clients/broken.toml"), "nonsense = [")
        .expect("the file can be written");
    let check = world.try_portunus(&["check"]);
    let said = String::from_utf8_lossy(&[check.stdout, check.stderr].concat()).into_owned();
    assert_eq!(check.status.code(), Some(1), "{said}");
    assert!(said.contains("broken.toml:1:"), "no place in: {said}");
    daemon.signal(Part::Keeper, Signal::HUP);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "granted");
}

#[test]
fn the_health_port_answers_only_after_a_knock() {
    let world = World::new(Firewall::PolicyDrop);
    let profile = world.portunus(&["add", "alice", "--ports", "ssh", "--for", "60s"]);
    let _daemon = world.serve();
    let file = world.folder().join("alice.toml");
    std::fs::write(&file, profile).expect("the profile can be written");
    world.laptop(&["join", file.to_str().expect("a path of ours is text"), "--as", "home"]);
    assert_eq!(world.try_laptop(&["status", "home"]).status.code(), Some(1), "reachable before any knock");
    world.laptop(&["status", "home", "--knock"]);
    world.laptop(&["status", "home"]);
}

#[test]
fn the_commands_of_a_client_open_the_door() {
    let world = World::new(Firewall::PolicyDrop);
    let profile = world.portunus(&["add", "alice", "--ports", "ssh", "--for", "60s"]);
    let _daemon = world.serve();
    let _listener = serve_tcp(&world.server, DOOR);
    let file = world.folder().join("alice.toml");
    std::fs::write(&file, profile).expect("the profile can be written");
    world.laptop(&["join", file.to_str().expect("a path of ours is text"), "--as", "home"]);
    let start = Instant::now();
    world.laptop(&["connect", "home", "--port", "22", "--", "true"]);
    assert!(start.elapsed() < Duration::from_secs(2), "connect took {:?}", start.elapsed());
    assert!(connects(&world.client, DOOR, SOON));
    world.portunus(&["close", "--all"]);
    world.laptop(&["knock", "home"]);
    assert!(open_within(&world.client, DOOR, SOON).is_some());
}
