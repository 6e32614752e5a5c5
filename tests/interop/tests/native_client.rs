//! The native dialect with the client that people have: the built binary knocks, connects and proxies, with profiles that
//! `add` printed, at the real daemon; behind routers that change ports and such that do not, and with clocks that are wrong.

#![expect(clippy::expect_used, reason = "a test's helper fails by panicking")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use portunus_interop::{Daemon, Firewall, Namespace, SERVER, World, closed, connects, run, serve_tcp};

const SOON: Duration = Duration::from_secs(1);
const DOOR: &str = "10.90.0.1:22";
const DAY: i64 = 86_400;

/// A server that speaks the native dialect alone, and its client's profile, which is taken up as `home`.
fn house(firewall: Firewall, more: &[&str]) -> World {
    let world = World::with_init(firewall, &["--dialects", "native"]);
    let profile = world.portunus(&[&["add", "alice", "--ports", "22/tcp"], more].concat());
    fs::write(world.folder().join("printed"), profile).expect("a file can be written");
    take_up(&world, "home");
    world
}

/// Takes up the printed profile.
fn take_up(world: &World, name: &str) {
    let printed = world.folder().join("printed");
    world.laptop(&["join", printed.to_str().expect("a path of ours is text"), "--as", name]);
}

fn profile(world: &World) -> PathBuf {
    world.place("home/.config/portunus/profiles/home.toml")
}

fn said(out: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (out.status.code(), text(&out.stdout), text(&out.stderr))
}

#[test]
fn check_tells_by_the_answer() {
    let world = house(Firewall::PolicyDrop, &["--answers"]);
    let daemon = world.serve();
    // Nobody listens behind the service.
    let (code, told, words) = said(&world.try_laptop(&["knock", "-v", "home", "--check"]));
    assert_eq!((code, words.as_str()), (Some(0), ""), "{told}{}", daemon.log());
    assert!(told.ends_with("home: the server opened for 30 s, seen from 10.90.0.2\n"), "{told}");
    std::thread::sleep(Duration::from_millis(1100));
    let (code, _, words) = said(&world.try_laptop(&["knock", "home", "--check", "--service", "other"]));
    assert!(code == Some(1) && words.contains("the server does not open that for you"), "{words}");
}

#[test]
fn check_tells_without_answers_by_the_health_port() {
    let world = house(Firewall::PolicyDrop, &[]);
    let unreachable = || {
        let (code, _, words) = said(&world.try_laptop(&["knock", "home", "--check"]));
        assert!(code == Some(1) && words.contains("home is not reachable"), "{words}");
    };
    unreachable();
    let daemon = world.serve();
    let (code, told, words) = said(&world.try_laptop(&["knock", "-v", "home", "--check"]));
    assert_eq!((code, words.as_str()), (Some(0), ""), "{told}{}", daemon.log());
    assert!(told.contains("home is reachable at 10.90.0.1:54154"), "{told}");
    world.portunus(&["revoke", "alice"]);
    daemon.until_logged("clients=0");
    unreachable();
}

#[test]
fn connect_runs_its_command_once_the_door_is_open() {
    let world = house(Firewall::FinalDrop, &[]);
    let _daemon = world.serve();
    let _listener = serve_tcp(&world.server, DOOR);
    assert!(closed(&world.client, DOOR));
    let script = "exec 3<>/dev/tcp/10.90.0.1/22 && echo through >&3 && head -n1 <&3; exit 7";
    let start = Instant::now();
    let out = world.try_laptop(&["connect", "home", "--", "bash", "-c", script]);
    // A SYN that meets a closed door is repeated after a second only.
    assert_eq!(said(&out), (Some(7), "through\n".to_owned(), String::new()), "{:?}", start.elapsed());
    // A door that stays shut runs nothing.
    let out = world.try_laptop(&["connect", "home", "--port", "2222", "--wait", "1s", "--", "echo", "ran"]);
    let (code, told, words) = said(&out);
    assert!(code == Some(1) && told.is_empty() && words.contains("the door of home did not open"), "{words}");
}

/// Two hosts behind the client's machine, which is their router: to the server all three are one address.
struct Behind {
    laptop: Namespace,
    neighbour: Namespace,
}

impl Behind {
    /// `masquerade` is nft's statement.
    fn new(world: &World, masquerade: &str) -> Self {
        let (laptop, neighbour) = (Namespace::new("l"), Namespace::new("n"));
        let router = &world.client;
        for (host, link, net) in [(&laptop, "in0", "10.92.0"), (&neighbour, "in1", "10.93.0")] {
            let veth = ["link", "add", link, "netns", router.name(), "type", "veth"];
            run("ip", &[&veth[..], &["peer", "name", "out0", "netns", host.name()]].concat());
            for (side, name, last) in [(router, link, 1), (host, "out0", 2)] {
                side.run("ip", &["addr", "add", &format!("{net}.{last}/24"), "dev", name]);
                side.run("ip", &["link", "set", name, "up"]);
            }
            host.run("ip", &["route", "add", "default", "via", &format!("{net}.1")]);
        }
        router.run("sysctl", &["-q", "-w", "net.ipv4.ip_forward=1"]);
        router.nft(&format!(
            "table ip router {{\n chain out {{\n type nat hook postrouting priority srcnat;\n oifname \"door0\" {masquerade}\n }}\n}}\n"
        ));
        Self { laptop, neighbour }
    }
}

/// A `proxy` that runs, to talk through.
struct Through(Child);

impl Through {
    fn start(world: &World, side: &Namespace) -> Self {
        let mut command = world.command_on(side, &["proxy", "--profile", "home", SERVER, "22"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(command.spawn().expect("the binary under test runs"))
    }

    /// Says a line, and hears it said back.
    fn echoes(&mut self) -> bool {
        let stdin = self.0.stdin.as_mut().expect("stdin is piped");
        // Who has ended by now reads nothing, and says why at the end.
        let _ = stdin.write_all(b"hello\n");
        let mut line = String::new();
        let stdout = self.0.stdout.as_mut().expect("stdout is piped");
        BufReader::new(stdout).read_line(&mut line).expect("it writes");
        line == "hello\n"
    }

    /// A connection stands, and what is said comes back.
    fn stands(mut self) -> Self {
        if self.echoes() {
            return self;
        }
        unreachable!("no connection: {}", self.end())
    }

    /// Ends it; what it said to its user.
    fn end(mut self) -> String {
        drop(self.0.stdin.take());
        let out = self.0.wait_with_output().expect("it ends once nobody speaks");
        said(&out).2
    }
}

#[test]
fn behind_a_router_that_keeps_ports_a_proxy_lets_its_own_flow_in_and_no_neighbour() {
    let world = house(Firewall::PolicyDrop, &["--answers"]);
    let behind = Behind::new(&world, "masquerade");
    let _daemon = world.serve();
    let _listener = serve_tcp(&world.server, DOOR);
    let mut through = Through::start(&world, &behind.laptop).stands();
    for side in [&behind.neighbour, &behind.laptop, &world.client] {
        assert!(closed(side, DOOR), "{}", world.server.ruleset());
    }
    assert!(through.echoes());
    assert_eq!(through.end(), "");
}

#[test]
fn behind_a_router_that_changes_ports_a_proxy_falls_back_and_says_so() {
    for answers in [&["--answers"][..], &[]] {
        let world = house(Firewall::PolicyDrop, answers);
        let behind = Behind::new(&world, "masquerade fully-random");
        let _daemon = world.serve();
        let _listener = serve_tcp(&world.server, DOOR);
        let through = Through::start(&world, &behind.laptop).stands();
        // This is what the word is about.
        assert!(connects(&behind.neighbour, DOOR, SOON));
        let words = through.end();
        assert!(
            words.starts_with("portunus: a door for this connection alone did not open: a router on the way"),
            "{answers:?}: {words}"
        );
    }
}

#[test]
fn a_profile_that_is_read_only_opens_the_door_each_time_with_one_warning() {
    let world = house(Firewall::None, &["--answers"]);
    let daemon = world.serve();
    fs::set_permissions(profile(&world), fs::Permissions::from_mode(0o400)).expect("its mode can be set");
    let before = fs::read(profile(&world)).expect("it was taken up");
    for verdict in ["granted", "extended"] {
        let mut out = None;
        let fell = daemon.verdict(|| out = Some(world.try_laptop(&["knock", "home", "--count", "1"])));
        let (code, _, words) = said(&out.expect("it ran"));
        assert_eq!((fell.as_str(), code, words.lines().count()), (verdict, Some(0), 1), "{words}");
        assert!(words.contains("was not written anew") && words.contains("make it writable"), "{words}");
        // A server answers once a second.
        std::thread::sleep(Duration::from_millis(1100));
    }
    assert_eq!(fs::read(profile(&world)).expect("it is there"), before);
}

#[test]
fn the_printed_copy_of_a_profile_opens_nothing_once_its_owner_has_knocked_twice() {
    for answers in [&["--answers"][..], &[]] {
        let world = house(Firewall::None, &[&["--for", "1s"], answers].concat());
        let daemon = world.serve();
        let _listener = serve_tcp(&world.server, DOOR);
        for n in 0..2 {
            // Without answers it is the door that tells.
            let (code, _, words) = said(&world.try_laptop(&["connect", "home", "--", "true"]));
            assert_eq!(code, Some(0), "{answers:?}, knock {n}: {words}\n{}", daemon.log());
            std::thread::sleep(Duration::from_millis(1400));
            assert!(closed(&world.client, DOOR));
        }
        take_up(&world, "copy");
        let log = daemon.log().len();
        let (code, _, words) = said(&world.try_laptop(&["knock", "copy"]));
        if !answers.is_empty() {
            assert!(code == Some(1) && words.contains("somebody else may use a copy of it"), "{words}");
        }
        let counted = || daemon.control().status().expect("it says how it is").verdicts;
        assert!(
            counted().get("unauthentic").is_some_and(|n| *n > 0),
            "{:?}\n{}",
            counted(),
            &daemon.log()[log..]
        );
        assert!(closed(&world.client, DOOR), "{answers:?}");
        let (code, _, words) = said(&world.try_laptop(&["connect", "home", "--", "true"]));
        assert_eq!(code, Some(0), "its owner goes on: {words}");
    }
}

/// The same command with its wall clock so many seconds ahead.
fn askew(plain: &Command, seconds: i64) -> Command {
    let mut command = Command::new(plain.get_program());
    let mut words = plain.get_args();
    // `ip netns exec NAME`, and what runs there.
    command
        .args(words.by_ref().take(3))
        .arg(env!("CARGO_BIN_EXE_askew"))
        .arg(seconds.to_string())
        .args(words);
    for (name, value) in plain.get_envs() {
        command.env(name, value.expect("none is taken away"));
    }
    command
}

fn serve_askew(world: &World, seconds: i64) -> Daemon {
    let command = askew(&world.command(&["serve"]), seconds);
    Daemon::try_start_as(world, command).unwrap_or_else(|(status, log)| {
        unreachable!("a daemon whose clock is off by {seconds} s ended with {status}: {log}")
    })
}

/// Knocks; whether the server said that it opened, and what was said else. Nobody waits for ever.
fn knocks(world: &World, seconds: i64) -> (bool, String) {
    let start = Instant::now();
    let out = askew(&world.command_on(&world.client, &["knock", "home"]), seconds).output();
    let (code, _, words) = said(&out.expect("the binary under test runs"));
    assert!(start.elapsed() < Duration::from_secs(20), "{seconds}: it took {:?}", start.elapsed());
    (code == Some(0), words)
}

/// What the other tests of clocks rest on: all of the daemon's parts write the time that their clock shows.
#[test]
fn a_clock_is_off_for_the_program_that_is_run_so_and_for_all_of_its_parts() {
    let world = house(Firewall::None, &[]);
    let daemon = serve_askew(&world, 400 * DAY);
    let (opened, words) = knocks(&world, 400 * DAY);
    assert!(opened, "{words}");
    daemon.until_logged("part=front");
    let log = daemon.log();
    let ahead = run("date", &["-u", "-d", "400 days", "+%Y-"]);
    assert!(log.contains("part=keeper") && log.lines().all(|line| line.starts_with(ahead.trim())), "{log}");
    assert_ne!(run("date", &["-u", "+%Y-"]), ahead);
    daemon.kill_all();
}

fn a_servers_clock_was_off(seconds: i64) {
    let world = house(Firewall::None, &["--answers"]);
    drop(world.serve());
    let daemon = serve_askew(&world, seconds);
    let (opened, words) = knocks(&world, 0);
    assert!(!opened && words.contains("this machine's clock"), "{words}\n{}", daemon.log());
    daemon.kill_all();
    let daemon = world.serve();
    let (opened, words) = knocks(&world, 0);
    assert!(opened, "{words}\n{}", daemon.log());
}

#[test]
fn a_servers_clock_20_days_ahead_and_right_again_locks_nobody_out() {
    a_servers_clock_was_off(20 * DAY);
}

#[test]
fn a_servers_clock_20_days_behind_and_right_again_locks_nobody_out() {
    a_servers_clock_was_off(-20 * DAY);
}

#[test]
fn a_clients_clock_20_days_off_and_right_again_locks_nobody_out() {
    let world = house(Firewall::None, &["--answers"]);
    let daemon = world.serve();
    // Before the first good knock, and after.
    for (seconds, said) in [
        (20 * DAY, "this machine's clock"),
        (-20 * DAY, "what this clock calls today"),
        (20 * DAY, "this machine's clock"),
    ] {
        let (opened, words) = knocks(&world, seconds);
        assert!(!opened && words.contains(said), "{seconds}: {words}");
        let (opened, words) = knocks(&world, 0);
        assert!(opened, "{seconds}: {words}\n{}", daemon.log());
    }
}

#[test]
fn a_clients_clock_in_local_time_locks_nobody_out() {
    let world = house(Firewall::None, &["--answers"]);
    let daemon = world.serve();
    // One of the two is in another day of UTC half of the time.
    for hours in [12, -11] {
        let (opened, words) = knocks(&world, hours * 3600);
        // A profile that is younger than a day has no key of the day before.
        assert!(!opened && words.contains("clock"), "{hours}: {words}");
        let (opened, words) = knocks(&world, 0);
        assert!(opened, "{hours}: {words}\n{}", daemon.log());
    }
}

/// A minute and a half is so little that the server tells it.
#[test]
fn a_clients_clock_that_is_93_seconds_behind_is_told_so() {
    let world = house(Firewall::None, &["--answers"]);
    let _daemon = world.serve();
    let (opened, words) = knocks(&world, -93);
    let told = words.split_once("your clock is ").and_then(|(_, rest)| rest.split_once(" s behind"));
    let seconds: u64 = told.and_then(|(number, _)| number.parse().ok()).unwrap_or_default();
    // A machine under load takes its time to hear of it.
    assert!(!opened && (60..=93).contains(&seconds), "{words}");
}
