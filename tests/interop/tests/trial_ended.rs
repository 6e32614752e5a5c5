//! A trial that somebody ends, and a second one beside it: nothing is taken for proven that is not, whoever is killed
//! meanwhile.

use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use portunus_interop::{
    Daemon, Firewall, Knocker, SERVER, Try, VICTIMS, Victim, World, closed, connects, open_within, serve_tcp,
    server_processes,
};

const DOOR: &str = "10.90.0.1:22";
const SOON: Duration = Duration::from_secs(1);

/// A server without a firewall, with a client who may open its ssh.
fn world() -> (World, Knocker) {
    let world = World::new(Firewall::None);
    let alice = world.add("alice", &["--ports", "ssh", "--for", "2s"]);
    (world, alice)
}

fn knock_and_connect(world: &World, alice: &Knocker) -> bool {
    alice.knock(&world.client, SERVER);
    open_within(&world.client, DOOR, SOON).is_some()
}

fn open(world: &World) -> bool {
    connects(&world.client, DOOR, SOON)
}

fn said(out: &Output) -> String {
    let of = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", of(&out.stdout), of(&out.stderr))
}

/// What the server wrote down of its trials.
fn written_down(world: &World) -> Vec<String> {
    let all = world.portunus(&["audit"]);
    all.lines().filter(|line| line.contains(" trial-")).map(str::to_owned).collect()
}

/// Nothing of ours is left, and the next start is the administrator's to decide on.
fn as_before(world: &World) {
    assert!(open(world), "the door stays closed: {}", world.server.ruleset());
    assert!(!world.server.ruleset().contains("portunus"), "{}", world.server.ruleset());
    assert!(server_processes(world).is_empty(), "the server runs on");
    assert!(!world.place("state").join("trial").exists());
}

#[test]
fn teardown_ends_a_trial_and_who_waits_for_it_is_told_that_nothing_is_proven() {
    let (world, alice) = world();
    let _listener = serve_tcp(&world.server, DOOR);
    let mut trial = Try::begin(&world, "10m");
    assert!(closed(&world.client, DOOR));
    let out = world.try_portunus(&["teardown"]);
    assert!(out.status.success(), "{}", said(&out));
    assert!(said(&out).contains("the trial of the drops is ended, and nothing is proven"), "{}", said(&out));
    // It has had its say before `teardown` was done.
    assert!(
        trial.shown().contains("the trial was ended by `portunus teardown`: nothing is proven"),
        "{}",
        trial.all_said()
    );
    assert_eq!(trial.end().code(), Some(1), "{}", trial.all_said());
    assert!(!trial.shown().contains("kept           somebody"), "{}", trial.shown());
    as_before(&world);
    let facts = written_down(&world);
    assert!(
        facts.iter().any(|fact| fact.contains("trial-begun") && fact.contains("ports=22/tcp")),
        "{facts:?}"
    );
    assert!(facts.iter().any(|fact| fact.contains("trial-ended why=teardown")), "{facts:?}");
    let daemon = world.serve();
    assert!(closed(&world.client, DOOR));
    assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "granted");
}

#[test]
fn a_trial_whose_file_is_gone_is_not_taken_for_proven() {
    let (world, alice) = world();
    let _listener = serve_tcp(&world.server, DOOR);
    let mut trial = Try::begin(&world, "10m");
    fs::remove_file(world.place("state").join("trial")).expect("a trial has a file");
    alice.knock(&world.client, SERVER);
    assert_eq!(trial.end().code(), Some(1), "{}", trial.all_said());
    assert!(
        trial.shown().contains("nothing is proven") && !trial.shown().contains("kept           somebody"),
        "{}",
        trial.shown()
    );
    as_before(&world);
}

/// The server's own look at the file, when nobody waits with it: what was ended is not made permanent.
#[test]
fn who_comes_in_after_the_trial_was_ended_proves_nothing() {
    let (world, alice) = world();
    let _listener = serve_tcp(&world.server, DOOR);
    let trial = Try::begin(&world, "8s");
    let begun = Instant::now();
    trial.kill(Victim::Init);
    fs::write(world.place("state").join("trial"), "ended\n").expect("the file can be written");
    assert!(knock_and_connect(&world, &alice), "{}", trial.all_said());
    thread::sleep(Duration::from_secs(9).saturating_sub(begun.elapsed()));
    assert!(open(&world), "{}", world.server.ruleset());
    let Err((status, log)) = Daemon::try_start(&world, &["serve"]) else { panic!("it serves") };
    assert_eq!(status.code(), Some(78), "{log}");
    assert!(log.contains("run `portunus teardown` again"), "{log}");
    assert!(world.try_portunus(&["teardown"]).status.success());
    as_before(&world);
}

#[test]
fn a_second_trial_and_a_server_beside_one_are_refused_and_it_goes_on() {
    let (world, alice) = world();
    let _listener = serve_tcp(&world.server, DOOR);
    let mut trial = Try::begin(&world, "60s");
    let runs = format!("process {}", trial.pid());
    let second = world.try_portunus(&["init", "--try", "5m"]);
    assert_eq!(second.status.code(), Some(1), "{}", said(&second));
    for words in ["another trial runs already", &runs, "`portunus teardown`"] {
        assert!(said(&second).contains(words), "{}", said(&second));
    }
    let Err((status, log)) = Daemon::try_start(&world, &["serve"]) else { panic!("it serves") };
    assert_eq!(status.code(), Some(78), "{log}");
    for words in ["a trial of the drops runs here", &runs, "`portunus teardown`"] {
        assert!(log.contains(words), "{log}");
    }
    assert!(closed(&world.client, DOOR), "it has taken the drops away");
    assert!(knock_and_connect(&world, &alice), "{}", trial.all_said());
    assert!(trial.end().success(), "{}", trial.all_said());
    let facts = written_down(&world);
    assert!(
        facts.iter().any(|fact| fact.contains("trial-proven address=10.90.0.2 port=22/tcp")),
        "{facts:?}"
    );
}

/// As they come: two commands at once, again and again.
#[test]
fn of_two_trials_at_once_one_runs() {
    for _ in 0..3 {
        let (world, _) = world();
        let _listener = serve_tcp(&world.server, DOOR);
        let start = || {
            let mut command = world.command(&["init", "--try", "3s"]);
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
            command.spawn().expect("the binary under test runs")
        };
        let both = [start(), start()].map(|one| one.wait_with_output().expect("it ends"));
        let count = |words: &str| both.iter().filter(|out| said(out).contains(words)).count();
        assert_eq!(count("nobody knocked and came in from outside in 3s: given back"), 1, "{both:?}");
        assert_eq!(count("another trial runs already"), 1, "{both:?}");
        as_before(&world);
    }
}

#[test]
fn a_trial_whose_command_is_gone_says_so_and_is_ended_by_teardown() {
    let (world, _) = world();
    let _listener = serve_tcp(&world.server, DOOR);
    let trial = Try::begin(&world, "10m");
    let server = trial.processes(Victim::Keeper);
    trial.kill(Victim::Init);
    let again = world.try_portunus(&["init", "--try", "5m"]);
    assert_eq!(again.status.code(), Some(1), "{}", said(&again));
    let process = format!("its server runs on (process {})", server.first().expect("a server"));
    for words in
        ["whose command is gone", &process, "`portunus teardown`", "then run `portunus init --try 5m` again"]
    {
        assert!(said(&again).contains(words), "{words}: {}", said(&again));
    }
    let Err((_, log)) = Daemon::try_start(&world, &["serve"]) else { panic!("it serves") };
    assert!(log.contains("a trial of the drops runs here") && log.contains("`portunus teardown`"), "{log}");
    let out = world.try_portunus(&["teardown"]);
    assert!(out.status.success(), "{}", said(&out));
    as_before(&world);
}

/// Whoever was killed before, `teardown` ends it; and says so only when it was.
#[test]
fn teardown_ends_it_whoever_was_killed_before() {
    thread::scope(|scope| {
        for victim in VICTIMS {
            scope.spawn(move || {
                let (world, _) = world();
                let _listener = serve_tcp(&world.server, DOOR);
                let trial = Try::begin(&world, "10m");
                trial.kill(victim);
                let out = world.try_portunus(&["teardown"]);
                assert!(out.status.success(), "{victim:?}: {}", said(&out));
                assert!(open(&world), "{victim:?}: {}", world.server.ruleset());
                as_before(&world);
            });
        }
    });
}

/// Between any two of its steps: nothing is proven, and nothing stays dropped.
#[test]
fn teardown_killed_on_its_way_leaves_nothing_proven_and_nothing_dropped() {
    thread::scope(|scope| {
        for after in [0, 2, 5, 10, 20, 40, 80, 160, 320] {
            scope.spawn(move || {
                let (world, _) = world();
                let _listener = serve_tcp(&world.server, DOOR);
                let mut trial = Try::begin(&world, "6s");
                let begun = Instant::now();
                let mut teardown = world.command(&["teardown"]);
                let mut teardown = quiet(&mut teardown).spawn().expect("the binary under test runs");
                thread::sleep(Duration::from_millis(after));
                let _ = teardown.kill();
                let _ = teardown.wait();
                assert_eq!(trial.end().code(), Some(1), "after {after} ms: {}", trial.all_said());
                assert!(
                    !trial.shown().contains("kept           somebody"),
                    "after {after} ms: {}",
                    trial.shown()
                );
                thread::sleep(Duration::from_secs(7).saturating_sub(begun.elapsed()));
                assert!(open(&world), "after {after} ms: {}", world.server.ruleset());
            });
        }
    });
}

/// The same where nobody waits who would give back what is left: the next start drops nothing, and says what to do.
#[test]
fn after_a_teardown_that_was_killed_no_start_drops_what_nobody_proved() {
    thread::scope(|scope| {
        for after in [0, 5, 20, 60, 120, 240] {
            scope.spawn(move || {
                let (world, _) = world();
                let _listener = serve_tcp(&world.server, DOOR);
                let trial = Try::begin(&world, "6s");
                let begun = Instant::now();
                trial.kill(Victim::Init);
                let mut teardown = world.command(&["teardown"]);
                let mut teardown = quiet(&mut teardown).spawn().expect("the binary under test runs");
                thread::sleep(Duration::from_millis(after));
                let _ = teardown.kill();
                let _ = teardown.wait();
                thread::sleep(Duration::from_secs(7).saturating_sub(begun.elapsed()));
                assert!(open(&world), "after {after} ms: {}", world.server.ruleset());
                if world.place("state").join("trial").exists() {
                    // The trial's own server ends by itself, on a busy machine somewhat later.
                    let mut started = Daemon::try_start(&world, &["serve"]);
                    while matches!(&started, Err((_, log)) if log.contains("another daemon is there already"))
                        && begun.elapsed() < Duration::from_secs(30)
                    {
                        thread::sleep(Duration::from_millis(200));
                        started = Daemon::try_start(&world, &["serve"]);
                    }
                    let Err((status, log)) = started else { panic!("after {after} ms: it serves") };
                    assert_eq!(status.code(), Some(78), "after {after} ms: {log}");
                    assert!(log.contains("`portunus teardown`"), "after {after} ms: {log}");
                    assert!(open(&world), "after {after} ms: {}", world.server.ruleset());
                    assert!(world.try_portunus(&["teardown"]).status.success());
                }
                as_before(&world);
            });
        }
    });
}

fn quiet(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())
}

/// Proven or ended, whichever was first, and all say the same.
#[test]
fn teardown_and_the_proof_at_once_come_to_one_end() {
    thread::scope(|scope| {
        for after in [0, 50, 100, 150, 200, 250, 300] {
            scope.spawn(move || {
                let (world, alice) = world();
                let _listener = serve_tcp(&world.server, DOOR);
                let mut trial = Try::begin(&world, "60s");
                assert!(knock_and_connect(&world, &alice), "{}", trial.all_said());
                thread::sleep(Duration::from_millis(after));
                let out = world.try_portunus(&["teardown"]);
                let kept = trial.end().success();
                assert_eq!(kept, trial.shown().contains("kept           somebody"), "{}", trial.all_said());
                assert_ne!(
                    kept,
                    out.status.success(),
                    "after {after} ms: {}\n{}",
                    said(&out),
                    trial.all_said()
                );
                if kept {
                    assert!(said(&out).contains("a server is running"), "{}", said(&out));
                    thread::sleep(Duration::from_millis(2300));
                    assert!(closed(&world.client, DOOR), "{}", world.server.ruleset());
                } else {
                    as_before(&world);
                }
            });
        }
    });
}

/// The line that it prints, but for systemd: the new one starts, and the door is closed all the while.
#[test]
fn the_server_is_handed_over_as_the_command_says() {
    let (world, alice) = world();
    let _listener = serve_tcp(&world.server, DOOR);
    let mut trial = Try::begin(&world, "60s");
    assert!(knock_and_connect(&world, &alice), "{}", trial.all_said());
    assert!(trial.end().success(), "{}", trial.all_said());
    let said = trial.said();
    let line = said.lines().find(|line| line.trim_start().starts_with("kill ")).expect(&said);
    let (first, last) = line.rsplit_once("; ").expect(line);
    assert_eq!(last, "systemctl enable --now portunus");
    world.server.run("sh", &["-c", first]);
    assert!(server_processes(&world).is_empty(), "it runs on");
    let daemon = world.serve();
    assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "granted");
}

#[test]
fn a_trial_that_is_over_and_one_that_is_interrupted_are_written_down() {
    let (world, _) = world();
    let mut trial = Try::begin(&world, "2s");
    assert_eq!(trial.end().code(), Some(1), "{}", trial.all_said());
    drop(trial);
    let facts = written_down(&world);
    assert!(facts.last().is_some_and(|fact| fact.contains("trial-ended why=over")), "{facts:?}");
    let mut trial = Try::begin(&world, "60s");
    portunus_interop::signal(trial.pid(), rustix::process::Signal::INT);
    assert_eq!(trial.end().code(), Some(1), "{}", trial.all_said());
    let facts = written_down(&world);
    assert!(facts.last().is_some_and(|fact| fact.contains("trial-ended why=stopped")), "{facts:?}");
}

#[test]
fn doctor_says_until_when_the_drops_are_on_trial_and_calls_no_dropped_port_open() {
    for firewall in [Firewall::None, Firewall::PolicyDrop] {
        let world = World::new(firewall);
        drop(world.add("alice", &["--ports", "ssh"]));
        let mut trial = Try::begin(&world, "10m");
        let out = world.try_portunus(&["doctor"]);
        let doctor = said(&out);
        let line = doctor.lines().find(|line| line.contains("the drops are on trial until")).expect(&doctor);
        let time = line.split(" until ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_default();
        assert!(time.len() == 8 && time.split(':').count() == 3, "{line}");
        assert!(!doctor.contains("open to everybody") && !doctor.contains("wrong"), "{doctor}");
        assert!(doctor.contains("closed for strangers: "), "{doctor}");
        portunus_interop::signal(trial.pid(), rustix::process::Signal::INT);
        trial.end();
    }
}
