//! The audit log of the real daemon: what is in it, that nobody but the keeper can write it, and that it verifies whatever
//! happens to the daemon.

#![expect(clippy::unwrap_used, reason = "a test's helper fails by panicking")]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use portunus_interop::{CLIENT, Daemon, Firewall, Part, SERVER, World};
use rustix::process::Signal;
use serde_json::Value;

fn log(world: &World) -> PathBuf {
    world.place("state").join("audit.log")
}

fn lines(world: &World) -> Vec<Value> {
    let text = world.portunus(&["audit", "--json"]);
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn of(world: &World, what: &str) -> Vec<Value> {
    lines(world).into_iter().filter(|line| line["what"] == what).collect()
}

/// Waits until there are so many.
fn until(world: &World, what: &str, count: usize) -> Vec<Value> {
    let start = Instant::now();
    loop {
        let found = of(world, what);
        if found.len() >= count {
            return found;
        }
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "{} of {count} lines say {what}: {}",
            found.len(),
            world.portunus(&["audit"])
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn verified(world: &World) -> String {
    let out = world.try_portunus(&["audit", "verify"]);
    let said = String::from_utf8_lossy(&out.stderr).into_owned() + &String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{said}");
    said
}

#[test]
fn the_audit_log_tells_the_story_and_who_says_so() {
    let world = World::new(Firewall::None);
    let alice = world.add("alice", &["--ports", "ssh", "--for", "1s"]);
    let bob = world.add("bob", &["--ports", "ssh", "--for", "60s"]);
    let carol = world.add("carol", &["--ports", "ssh", "--for", "60s"]);
    let daemon = world.serve();
    let packet = alice.packet();
    assert_eq!(daemon.verdict(|| alice.send(&world.client, SERVER, &packet)), "granted");
    assert_eq!(daemon.verdict(|| alice.send(&world.client, SERVER, &packet)), "replayed");
    until(&world, "closed", 1);
    assert_eq!(daemon.verdict(|| bob.knock(&world.client, SERVER)), "granted");
    assert_eq!(daemon.verdict(|| bob.knock(&world.client, SERVER)), "extended");
    world.portunus(&["close", "bob"]);
    assert_eq!(daemon.verdict(|| bob.knock(&world.client, SERVER)), "granted");
    world.portunus(&["revoke", "bob"]);
    assert_eq!(daemon.verdict(|| carol.knock(&world.client, SERVER)), "granted");
    world.portunus(&["revoke", "carol", "--kill"]);
    world.server.run("nft", &["flush", "ruleset"]);
    daemon.until_logged(": put back");
    let etc = world.place("etc/services.toml");
    let services = fs::read_to_string(&etc).unwrap();
    fs::write(&etc, "ssh = 7\n").unwrap();
    until(&world, "reload-refused", 1);
    fs::write(&etc, services).unwrap();
    until(&world, "reloaded", 3);
    assert!(daemon.stop().success());

    let field = |line: &Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
    let closed: Vec<_> = of(&world, "closed")
        .iter()
        .map(|line| format!("{} {} {}", field(line, "by"), field(line, "client"), field(line, "why")))
        .collect();
    assert_eq!(
        closed,
        ["grantor alice expiry", "grantor bob close", "grantor bob revoke", "grantor carol revoke"],
        "{}",
        world.portunus(&["audit"])
    );
    let opened = of(&world, "opened");
    assert_eq!(opened.len(), 5);
    let first = opened.first().unwrap();
    assert_eq!(field(first, "address"), CLIENT);
    assert_eq!((field(first, "ports").as_str(), &first["lasting_s"]), ("22/tcp,54154/tcp", &Value::from(1)));
    assert_eq!(opened.iter().filter(|line| line["extended"] == true).count(), 1);
    let refused = of(&world, "refused");
    assert_eq!(refused.len(), 1);
    let refusal = refused.first().unwrap();
    assert_eq!((field(refusal, "by"), field(refusal, "reason")), ("front".into(), "replayed".into()));
    assert_eq!((field(refusal, "dialect"), field(refusal, "source")), ("openme".into(), CLIENT.into()));
    let asked: Vec<_> = of(&world, "asked").iter().map(|line| field(line, "verb")).collect();
    assert!(asked.contains(&"close".to_owned()) && asked.contains(&"kill".to_owned()), "{asked:?}");
    assert!(of(&world, "asked").iter().all(|line| line["uid"] == 0 && line["allowed"] == true));
    assert_eq!(of(&world, "put-back").len(), 1);
    assert!(field(of(&world, "reload-refused").first().unwrap(), "why").contains("services.toml:1:7"));
    assert_eq!(of(&world, "started").first().unwrap()["after_clean_end"], true);
    assert_eq!(of(&world, "stopped").first().unwrap()["asked"], true);
    let said = verified(&world);
    assert!(said.contains("whole, and nothing is missing"), "{said}");

    // Since when, and in words.
    let recent = world.portunus(&["audit", "--since", "1h"]);
    assert!(recent.contains(" grantor  opened address=10.90.0.2 client=alice"), "{recent}");
    assert_eq!(world.portunus(&["audit", "--since", "2099-01-01"]), "");
    // Nothing secret.
    let text = fs::read_to_string(log(&world)).unwrap();
    let key = fs::read_to_string(world.place("etc/keys/openme.key")).unwrap();
    assert!(!text.contains(key.trim()));

    // A start after that goes on in the same chain; a changed byte is named.
    let daemon = world.serve();
    daemon.kill_all();
    let daemon = world.serve();
    assert_eq!(of(&world, "started").last().unwrap()["after_clean_end"], false);
    verified(&world);
    let head = verified(&world);
    let head = head.lines().find_map(|line| line.strip_prefix("head ")).unwrap().to_owned();
    world.portunus(&["audit", "verify", "--head", &head]);
    assert!(daemon.stop().success());
    let changed = fs::read_to_string(log(&world)).unwrap().replacen("alice", "malory", 1);
    fs::write(log(&world), changed).unwrap();
    let out = world.try_portunus(&["audit", "verify"]);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(1), "{said}");
    let line = text.lines().position(|line| line.contains("alice")).unwrap() + 1;
    assert!(said.contains(&format!("audit.log:{line}: it does not fit the chain")), "{said}");
    // And the next start says so, and serves all the same.
    let daemon = world.serve();
    assert!(daemon.log().contains("the audit log is not what was written"), "{}", daemon.log());
    assert!(!world.try_portunus(&["audit", "verify"]).status.success());
}

#[test]
fn the_audit_log_is_out_of_the_fronts_reach() {
    let world = World::new(Firewall::PolicyDrop);
    let daemon = world.serve();
    let meta = fs::metadata(log(&world)).unwrap();
    assert_eq!((meta.uid(), meta.permissions().mode() & 0o777), (0, 0o600));
    for part in [Part::Front, Part::Grantor] {
        let pid = daemon.part(part);
        let open = |entry: fs::DirEntry| fs::read_link(entry.path()).unwrap_or_default();
        let files = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().map(|entry| open(entry.unwrap()));
        let files: Vec<PathBuf> = files.collect();
        assert!(!files.iter().any(|file| file.to_string_lossy().contains("audit")), "{part:?}: {files:?}");
        // Nor can whoever runs as its user, without any wall around it.
        let uid = fs::metadata(format!("/proc/{pid}")).unwrap().uid();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let real: u32 = status
            .lines()
            .find_map(|line| line.strip_prefix("Uid:\t")?.split('\t').next()?.parse().ok())
            .unwrap_or(uid);
        assert_ne!(real, 0, "{part:?} runs as root");
        for name in ["audit.log", "audit.head"] {
            let file = world.place("state").join(name);
            for tried in ["cat \"$0\"", "echo x >> \"$0\"", ": > \"$0\"", "rm -f \"$0\" && test ! -e \"$0\""]
            {
                let mut command = Command::new("sh");
                command.args(["-c", tried]).arg(&file).uid(real).gid(real);
                let out = command.output().unwrap();
                assert!(!out.status.success(), "{part:?}: {tried} {name} worked");
            }
        }
    }
    verified(&world);
}

/// Each kill at another moment, with grants being written all the time.
#[test]
fn the_audit_log_verifies_after_kill_9_whenever_it_comes() {
    let world = World::new(Firewall::None);
    let alice = world.add("alice", &["--ports", "ssh", "--for", "30s"]);
    let rounds = std::env::var("LONG_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(12);
    for round in 0..rounds {
        let daemon = world.serve();
        let start = Instant::now();
        let span = Duration::from_millis(20 + 13 * (round % 16));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                world.client.inside(|| {
                    let socket = std::net::UdpSocket::bind((CLIENT, 0)).unwrap();
                    while start.elapsed() < span + Duration::from_millis(30) {
                        let _ = socket.send_to(&alice.packet(), (SERVER, alice.port()));
                    }
                });
            });
            std::thread::sleep(span.saturating_sub(start.elapsed()));
            daemon.kill_all();
        });
        let said = verified(&world);
        assert!(said.contains("whole, and nothing is missing"), "round {round}: {said}");
    }
    let daemon = world.serve();
    let opened = of(&world, "opened").len();
    assert!(opened > usize::try_from(rounds).unwrap(), "only {opened} lines were written");
    assert!(of(&world, "damaged").is_empty(), "{}", world.portunus(&["audit"]));
    assert!(daemon.stop().success());
    verified(&world);
}

/// The keeper alone is killed, or a part: the others end, and the next start goes on.
#[test]
fn the_audit_log_names_the_part_that_died() {
    let world = World::new(Firewall::None);
    for part in [Part::Front, Part::Grantor] {
        let mut daemon: Daemon = world.serve();
        daemon.signal(part, Signal::KILL);
        assert!(!daemon.wait().success());
        verified(&world);
    }
    let died: Vec<_> = of(&world, "part-died").iter().map(|line| line["part"].clone()).collect();
    assert_eq!(died, ["front", "grantor"]);
    assert!(of(&world, "stopped").iter().all(|line| line["asked"] == false));
}

#[test]
fn a_full_disk_ends_nothing_and_the_gap_is_told() {
    let world = World::new(Firewall::None);
    let alice = world.add("alice", &["--ports", "ssh", "--for", "1s"]);
    let (state, unmount) = small_disk(&world);
    let daemon = world.serve();
    assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "granted");
    until(&world, "closed", 1);
    let filler = state.join("filler");
    // To the last byte: the audit log's own block too.
    let _ = fs::write(&filler, vec![0; 4 << 20]);
    for _ in 0..40 {
        world.portunus(&["close", "--all"]);
    }
    daemon.until_logged("the audit log cannot be written");
    assert!(world.portunus(&["sessions"]).contains("nothing is open"), "it goes on");
    fs::remove_file(&filler).unwrap();
    world.portunus(&["close", "--all"]);
    daemon.until_logged("the audit log can be written again");
    let lost = until(&world, "lost", 1);
    assert!(lost.first().unwrap()["entries"].as_u64().unwrap() > 0);
    verified(&world);
    drop(daemon);
    drop(unmount);
}

/// After a boot nothing of ours stands in the kernel, and the disk takes no byte: nobody is let in, and nothing stands open.
#[test]
fn a_full_disk_at_a_boot_leaves_no_protected_port_open() {
    let world = World::new(Firewall::None);
    let (state, unmount) = small_disk(&world);
    let _listener = portunus_interop::serve_tcp(&world.server, "10.90.0.1:22");
    assert!(world.serve().stop().success());
    let _ = fs::write(state.join("filler"), vec![0; 4 << 20]);
    world.server.nft("flush ruleset");
    assert!(!portunus_interop::closed(&world.client, "10.90.0.1:22"), "as after a boot");
    let out = world.command(&["serve"]).output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(!out.status.success() && said.contains("are kept closed"), "{said}");
    let held = said.lines().find(|line| line.contains("are kept closed")).unwrap();
    assert!(
        held.contains("without the grants that were open: ") && held.contains("no storage space"),
        "{said}"
    );
    assert!(portunus_interop::closed(&world.client, "10.90.0.1:22"), "{said}");
    drop(unmount);
}

/// The state on a disk of its own, in the daemon's mount namespace as in ours.
fn small_disk(world: &World) -> (PathBuf, Unmount) {
    let state = world.place("state");
    fs::create_dir_all(&state).unwrap();
    portunus_interop::run(
        "mount",
        &["-t", "tmpfs", "-o", "size=2m,mode=700", "none", state.to_str().unwrap()],
    );
    (state.clone(), Unmount(state))
}

struct Unmount(PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
