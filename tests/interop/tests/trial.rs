//! `init --try`: the drops on trial. Kept only when somebody knocked and came in from outside; given back in every other
//! case, whatever is killed and when.
#![expect(clippy::expect_used, reason = "a test's helper fails by panicking")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use std::{fs, thread};

use portunus_interop::{
    Daemon, Firewall, Knocker, SERVER, Try, VICTIMS, Victim, World, closed, connects, open_within, serve_tcp,
    server_processes, signal,
};
use rustix::process::Signal;

const DOOR: &str = "10.90.0.1:22";
const SOON: Duration = Duration::from_secs(1);
/// A server without a firewall, with a client who may open its ssh.
fn world(firewall: Firewall) -> (World, Knocker) {
    let world = World::new(firewall);
    let alice = world.add("alice", &["--ports", "ssh", "--for", "2s"]);
    (world, alice)
}

/// A connection that was there before.
fn session(world: &World) -> TcpStream {
    let stream = world.client.inside(|| TcpStream::connect(DOOR)).expect("the door is open before");
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a socket can have a time limit");
    stream
}

fn lives(mut stream: &TcpStream) -> bool {
    let mut bytes = [0; 4];
    stream.write_all(b"ping").is_ok() && stream.read_exact(&mut bytes).is_ok() && bytes == *b"ping"
}

fn knock_and_connect(world: &World, alice: &Knocker) -> bool {
    alice.knock(&world.client, SERVER);
    open_within(&world.client, DOOR, SOON).is_some()
}

fn open(world: &World) -> bool {
    connects(&world.client, DOOR, SOON)
}

/// Not proven, and not forgotten.
fn is_on_trial(world: &World) -> bool {
    fs::read_to_string(world.place("state").join("trial")).is_ok_and(|text| text != "proven\n")
}

#[test]
fn a_knock_and_a_connection_from_outside_keep_the_drops() {
    let (world, alice) = world(Firewall::None);
    let _listener = serve_tcp(&world.server, DOOR);
    let session = session(&world);
    let mut trial = Try::begin(&world, "60s");
    assert!(closed(&world.client, DOOR), "nothing is dropped");
    assert!(world.server.ruleset().contains("@trial drop"), "{}", world.server.ruleset());
    assert!(knock_and_connect(&world, &alice), "a grant does not get through: {}", trial.all_said());
    assert!(trial.end().success(), "{}", trial.all_said());
    assert!(trial.said().contains("kept"), "{}", trial.said());
    assert!(!is_on_trial(&world));
    let rules = world.server.ruleset();
    assert!(!rules.contains("trial") && rules.contains("drop"), "they are not permanent: {rules}");
    assert!(lives(&session), "a live session was cut");
    thread::sleep(Duration::from_millis(2300));
    assert!(closed(&world.client, DOOR), "the grant is over");
    assert!(knock_and_connect(&world, &alice), "the server went on");
    trial.kill(Victim::Keeper);
    thread::sleep(Duration::from_millis(2300));
    assert!(closed(&world.client, DOOR), "the drops outlive the server");
    let _daemon = world.serve();
    assert!(closed(&world.client, DOOR));
    assert!(lives(&session));
}

#[test]
fn drops_that_nobody_proved_are_given_back() {
    let (world, alice) = world(Firewall::None);
    let _listener = serve_tcp(&world.server, DOOR);
    let session = session(&world);
    let mut trial = Try::begin(&world, "3s");
    assert!(closed(&world.client, DOOR));
    // Only half of it: nobody connects.
    alice.knock(&world.client, SERVER);
    assert!(lives(&session), "a live session was cut");
    assert_eq!(trial.end().code(), Some(1), "{}", trial.all_said());
    assert!(trial.all_said().contains("given back"), "{}", trial.all_said());
    assert!(open(&world), "the door stays closed");
    assert!(!world.server.ruleset().contains("portunus"), "something stays: {}", world.server.ruleset());
    assert!(!is_on_trial(&world) && server_processes(&world).is_empty());
    assert!(lives(&session));
}

#[test]
fn whoever_is_killed_the_ports_are_given_back_in_time() {
    thread::scope(|scope| {
        for knocks in [false, true] {
            for victim in VICTIMS {
                scope.spawn(move || {
                    let (world, alice) = world(Firewall::None);
                    let _listener = serve_tcp(&world.server, DOOR);
                    let trial = Try::begin(&world, "6s");
                    let begun = Instant::now();
                    if knocks {
                        alice.knock(&world.client, SERVER);
                    }
                    trial.kill(victim);
                    // A connection through the grant would prove it: the time is waited for.
                    thread::sleep(Duration::from_secs(7).saturating_sub(begun.elapsed()));
                    assert!(open(&world), "{victim:?} killed, knocked: {knocks}: {}", world.server.ruleset());
                });
            }
        }
    });
}

#[test]
fn killed_before_and_while_the_drops_are_put_in() {
    thread::scope(|scope| {
        for after in [0, 5, 20, 60, 120, 250] {
            scope.spawn(move || {
                let (world, _) = world(Firewall::None);
                let _listener = serve_tcp(&world.server, DOOR);
                let trial = Try::start(&world, "3s");
                thread::sleep(Duration::from_millis(after));
                trial.kill(Victim::All);
                thread::sleep(Duration::from_millis(3200));
                assert!(open(&world), "killed after {after} ms: {}", world.server.ruleset());
            });
        }
    });
}

/// Between the connection and the word about it either may be: permanent, but then by proof; or as before.
#[test]
fn killed_right_after_the_connection_it_is_proven_or_given_back() {
    thread::scope(|scope| {
        for victim in VICTIMS {
            for after in [0, 100, 250] {
                scope.spawn(move || {
                    let (world, alice) = world(Firewall::None);
                    let _listener = serve_tcp(&world.server, DOOR);
                    let trial = Try::begin(&world, "5s");
                    let begun = Instant::now();
                    assert!(knock_and_connect(&world, &alice), "{}", trial.all_said());
                    thread::sleep(Duration::from_millis(after));
                    trial.kill(victim);
                    thread::sleep(Duration::from_secs(7).saturating_sub(begun.elapsed()));
                    if closed(&world.client, DOOR) {
                        assert!(
                            !is_on_trial(&world),
                            "{victim:?}: closed without proof: {}",
                            trial.all_said()
                        );
                        assert!(!world.server.ruleset().contains("trial"), "{}", world.server.ruleset());
                    }
                });
            }
        }
    });
}

#[test]
fn proven_they_stay_whoever_is_killed() {
    thread::scope(|scope| {
        for victim in [Victim::Keeper, Victim::Front, Victim::Grantor, Victim::All] {
            scope.spawn(move || {
                let (world, alice) = world(Firewall::None);
                let _listener = serve_tcp(&world.server, DOOR);
                let mut trial = Try::begin(&world, "4s");
                let begun = Instant::now();
                assert!(knock_and_connect(&world, &alice), "{}", trial.all_said());
                assert!(trial.end().success(), "{}", trial.all_said());
                trial.kill(victim);
                thread::sleep(Duration::from_millis(4500).saturating_sub(begun.elapsed()));
                assert!(closed(&world.client, DOOR), "{victim:?}: {}", world.server.ruleset());
            });
        }
    });
}

#[test]
fn with_init_killed_the_server_keeps_or_gives_back_by_itself() {
    let (world, alice) = world(Firewall::None);
    let _listener = serve_tcp(&world.server, DOOR);
    let trial = Try::begin(&world, "10s");
    let begun = Instant::now();
    trial.kill(Victim::Init);
    assert!(knock_and_connect(&world, &alice), "{}", trial.all_said());
    thread::sleep(Duration::from_secs(11).saturating_sub(begun.elapsed()));
    assert!(!is_on_trial(&world), "{}", trial.all_said());
    assert!(closed(&world.client, DOOR), "{}", world.server.ruleset());
    assert!(knock_and_connect(&world, &alice), "the server runs on");
}

#[test]
fn who_comes_from_the_server_itself_proves_nothing() {
    let (world, alice) = world(Firewall::None);
    let _listeners = [DOOR, "127.0.0.1:22"].map(|door| serve_tcp(&world.server, door));
    let mut trial = Try::begin(&world, "5s");
    for host in [SERVER, "127.0.0.1"] {
        alice.knock(&world.server, host);
        assert!(connects(&world.server, &format!("{host}:22"), SOON));
    }
    thread::sleep(Duration::from_millis(600));
    assert!(closed(&world.client, DOOR));
    assert!(is_on_trial(&world), "{}", trial.all_said());
    for from in [SERVER, "127.0.0.1"] {
        let words = format!("{from} came in on 22/tcp from this machine itself: that proves nothing");
        assert!(trial.shown().contains(&words), "the screen says nothing of it: {}", trial.all_said());
    }
    assert_eq!(trial.end().code(), Some(1), "{}", trial.all_said());
    assert!(open(&world));
}

#[test]
fn ctrl_c_gives_back_at_once() {
    let (world, _) = world(Firewall::None);
    let _listener = serve_tcp(&world.server, DOOR);
    let mut trial = Try::begin(&world, "10m");
    assert!(closed(&world.client, DOOR));
    signal(trial.pid(), Signal::INT);
    assert_eq!(trial.end().code(), Some(1), "{}", trial.all_said());
    assert!(trial.all_said().contains("interrupted: given back"), "{}", trial.all_said());
    assert!(open(&world) && !world.server.ruleset().contains("portunus"));
    assert!(!is_on_trial(&world) && server_processes(&world).is_empty());
}

/// As a supervisor would, or a boot.
#[test]
fn a_start_after_a_trial_that_nobody_proved_drops_nothing() {
    let (world, alice) = world(Firewall::None);
    let _listener = serve_tcp(&world.server, DOOR);
    // What worked once must not be held either.
    assert!(world.serve().stop().success());
    world.portunus(&["teardown"]);
    let trial = Try::begin(&world, "3s");
    let begun = Instant::now();
    trial.kill(Victim::All);
    // While it runs a start goes on with it, and makes it no longer.
    let daemon = world.serve();
    assert!(closed(&world.client, DOOR), "{}", world.server.ruleset());
    daemon.kill_all();
    thread::sleep(Duration::from_millis(3200).saturating_sub(begun.elapsed()));
    assert!(open(&world), "{}", world.server.ruleset());
    let Err((status, log)) = Daemon::try_start(&world, &["serve"]) else { panic!("it serves") };
    assert_eq!(status.code(), Some(78), "{log}");
    assert!(log.contains("nobody had knocked and come in"), "{log}");
    assert!(open(&world), "{}", world.server.ruleset());
    world.portunus(&["teardown"]);
    let daemon = world.serve();
    assert!(closed(&world.client, DOOR));
    assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "granted");
}

#[test]
fn in_the_admins_own_table_it_is_tried_too_and_leaves_it_as_it_was() {
    let (world, alice) = world(Firewall::PolicyDrop);
    let _listener = serve_tcp(&world.server, DOOR);
    let before = world.server.ruleset();
    let mut trial = Try::begin(&world, "3s");
    assert!(world.server.ruleset().contains("@trial drop"), "{}", world.server.ruleset());
    assert_eq!(trial.end().code(), Some(1));
    assert_eq!(world.server.ruleset(), before);
    drop(trial);
    let mut trial = Try::begin(&world, "60s");
    assert!(knock_and_connect(&world, &alice), "{}", trial.all_said());
    assert!(trial.end().success(), "{}", trial.all_said());
    assert!(!world.server.ruleset().contains("trial"), "{}", world.server.ruleset());
}

#[test]
fn where_there_is_nothing_to_try_or_no_way_to_it_says_so() {
    let refused = |world: &World, words: &str| {
        let out = world.try_portunus(&["init", "--try", "5m"]);
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(1), "{said}");
        assert!(said.contains(words), "{said:?} does not say {words:?}");
    };
    let (without, _) = (World::new(Firewall::None), ());
    refused(&without, "there is no client yet who could knock");
    let (tables, _) = world(Firewall::Iptables);
    refused(&tables, "iptables drops the ports here");
    let (running, _) = world(Firewall::None);
    let daemon = running.serve();
    refused(&running, "a server is running");
    assert!(daemon.stop().success());
    refused(&running, "rules of ours keep ports shut already");
    for word in ["0s", "1s", "2h", "-5s", "999999d", "soon"] {
        let out = running.try_portunus(&["init", "--try", word]);
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(2), "{word}: {said}");
        assert!(said.contains("use a time from 2s to 1h, as in 5m"), "{word}: {said}");
    }
    let bare = World::bare(Firewall::None);
    assert_eq!(bare.try_portunus(&["init", "--try", "5m"]).status.code(), Some(78));
}
