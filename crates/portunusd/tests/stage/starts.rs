//! Starts that fail: what is said, what the exit asks of the supervisor, what the ports are then.

use std::fs;

use super::cases::Case;
use super::world::{SmallDisk, World};

pub(crate) const ALL: &[Case] = &[
    ("what_cannot_start_says_why_and_exits_78", cannot_start),
    ("what_may_pass_by_itself_exits_1_so_that_it_is_tried_again", may_pass),
    ("a_failed_start_holds_the_doors_shut", a_failed_start_holds_the_doors_shut),
    ("a_failed_start_holds_the_doors_shut_in_iptables", failed_start_in_iptables),
    ("a_damaged_journal_opens_nothing_and_keeps_nobody_out", damaged_journal),
];

fn cannot_start() {
    let world = World::new();
    let folder = world.path().to_str().unwrap().to_owned();
    let refused = |words: &[&str], wanted: &str| {
        let (code, said) = start_in_vain(&world, words);
        assert_eq!(code, 78, "{said}");
        assert!(said.contains(wanted), "{said}");
        // Nothing was dropped that was not before.
        assert_eq!(world.inside("nft", &["list", "ruleset"]), "");
    };
    refused(&["--serve", &folder], "config.yaml");
    world.configure(&[1], "");
    refused(&["--serve-with-no-rights", &folder], "CAP_NET_ADMIN");
    let daemon = world.start();
    let (code, said) = start_in_vain(&world, &["--serve", &folder]);
    assert_eq!(code, 78, "{said}");
    assert!(said.contains("another daemon"), "{said}");
    assert!(daemon.client().status().is_ok());
}

/// The exit code and the words.
pub(crate) fn start_in_vain(world: &World, words: &[&str]) -> (i32, String) {
    let output = world.run_ourselves(words);
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn serve_in_vain(world: &World) -> (i32, String) {
    start_in_vain(world, &["--serve", world.path().to_str().unwrap()])
}

/// A supervisor that does not try again after these would keep everybody out for good.
fn may_pass() {
    let world = World::new();
    world.configure(&[1], "");
    let squatter = world.path().join("squat.sh");
    fs::write(&squatter, "exec python3 -c \"import socket,time; s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.bind(('0.0.0.0',54154)); print('up',flush=True); time.sleep(60)\"\n").unwrap();
    let mut held = world.start_squatter(&squatter);
    let (code, said) = serve_in_vain(&world);
    held.kill().unwrap();
    held.wait().unwrap();
    assert!(code == 1 && said.contains("port is in use"), "{code} {said}");

    let state = world.path().join("state");
    fs::create_dir_all(&state).unwrap();
    let disk = SmallDisk::over(&state, "4k");
    fs::write(state.join("filler"), [1; 4096]).unwrap();
    let (code, said) = serve_in_vain(&world);
    assert!(code == 1 && said.contains("no storage space"), "{code} {said}");
    assert!(!said.contains("is gone"), "one thing is wrong, and one thing is said: {said}");
    drop(disk);
    let _ = world.start();
}

fn a_failed_start_holds_the_doors_shut() {
    let world = World::new();
    world.configure(&[1], "");
    stop_after_a_good_start(&world);
    let good = fs::read(world.path().join("config.yaml")).unwrap();
    let fails = |what: &str| {
        // As after a boot: no rules.
        world.inside("nft", &["flush", "ruleset"]);
        let (code, said) = serve_in_vain(&world);
        assert_eq!(code, 78, "{what}: {said}");
        assert!(said.contains(what) && said.contains("kept closed"), "{said}");
        assert!(world.inside("nft", &["list", "ruleset"]).contains("drop"), "{what}");
    };
    fs::write(world.path().join("config.yaml"), "clients: [").unwrap();
    fails("config.yaml");
    fs::write(world.path().join("config.yaml"), good).unwrap();
    let used = ["a", "b"].map(|letter| world.path().join(format!("state/replay.{letter}")));
    let used = used.into_iter().find(|path| fs::metadata(path).unwrap().len() > 0).unwrap();
    fs::write(&used, "somebody's notes, which are no packets at all").unwrap();
    fails("state/replay.a and .b: it is not a replay store");
    fs::remove_file(&used).unwrap();
    fs::create_dir(&used).unwrap();
    fails(used.to_str().unwrap());
}

fn failed_start_in_iptables() {
    let world = World::new();
    world.configure(&[1], "");
    let path = world.path().join("config.yaml");
    let text = fs::read_to_string(&path).unwrap().replace("firewall: nft", "firewall: iptables");
    fs::write(&path, text).unwrap();
    stop_after_a_good_start(&world);
    world.inside("nft", &["flush", "ruleset"]);
    fs::write(&path, "clients: [").unwrap();
    let (code, said) = serve_in_vain(&world);
    assert_eq!(code, 78, "{said}");
    assert!(said.contains("kept closed"), "{said}");
    for tool in ["iptables-save", "ip6tables-save"] {
        let listed = world.inside(tool, &[]);
        assert!(listed.contains("--dport 22 -m comment --comment portunus -j DROP"), "{listed}");
    }
}

fn damaged_journal() {
    let world = World::new();
    world.configure(&[1], "  knock_timeout: 1m\n");
    let mut daemon = world.start();
    world.knock(1, "192.0.2.7");
    daemon.until("granted", || daemon.client().sessions().unwrap().sessions.len() == 1);
    daemon.signal("TERM");
    daemon.wait();
    for letter in ["a", "b"] {
        let path = world.path().join(format!("state/grants.{letter}"));
        if fs::metadata(&path).unwrap().len() > 0 {
            spoil(&path);
        }
    }
    let daemon = world.start();
    daemon.until("said", || daemon.log().contains("the journal of open grants is damaged"));
    assert_eq!(daemon.client().sessions().unwrap().sessions, []);
    assert!(!world.inside("nft", &["list", "ruleset"]).contains("192.0.2.7"));
    world.knock(1, "192.0.2.7");
    daemon.until("granted", || daemon.client().sessions().unwrap().sessions.len() == 1);
}

fn stop_after_a_good_start(world: &World) {
    let mut daemon = world.start();
    daemon.signal("TERM");
    assert_eq!(daemon.wait().code(), Some(0), "{}", daemon.log());
}

/// Changes a byte in the first block.
fn spoil(path: &std::path::Path) {
    let mut bytes = fs::read(path).unwrap();
    bytes[20] ^= 1;
    fs::write(path, bytes).unwrap();
}
