//! The files that survive, under a daemon that runs: rotten, read-only, shared.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::cases::Case;
use super::starts::start_in_vain;
use super::world::{Daemon, SmallDisk, World};

pub(crate) const ALL: &[Case] = &[
    ("a_rotten_replay_store_refuses_for_a_window_and_says_so", rotten),
    ("a_read_only_disk_is_named_and_started_on_once_it_can_be_written", read_only),
    ("a_second_daemon_on_the_same_state_names_the_first", shared),
];

fn count(daemon: &Daemon, reason: &str) -> u64 {
    daemon.client().status().unwrap().verdicts.get(reason).copied().unwrap_or(0)
}

fn kill(mut daemon: Daemon) {
    daemon.signal("KILL");
    daemon.wait();
}

fn in_use(world: &World) -> PathBuf {
    let paths = ["a", "b"].map(|letter| world.path().join(format!("state/replay.{letter}")));
    paths.into_iter().find(|path| fs::metadata(path).unwrap().len() > 0).unwrap()
}

fn rotten() {
    // A byte of the claim, and one of the first block.
    for place in [70, 20] {
        let world = World::new();
        world.configure(&[1], "  replay_window: 3s\n");
        let daemon = world.start();
        let packet = world.knock(1, "192.0.2.7");
        daemon.until("granted", || count(&daemon, "granted") == 1);
        kill(daemon);
        let path = in_use(&world);
        let mut bytes = fs::read(&path).unwrap();
        bytes[place] ^= 1;
        fs::write(&path, bytes).unwrap();
        let daemon = world.start();
        daemon.until("said", || daemon.log().contains("the replay store was damaged and is mended"));
        world.send(&packet, 1);
        daemon.until("refused", || count(&daemon, "stale") + count(&daemon, "replayed") == 1);
        // The window is over at some time, also for who keeps knocking.
        daemon.until("granted", || {
            world.knock(1, "192.0.2.8");
            count(&daemon, "granted") > 0
        });
        assert!(count(&daemon, "stale") > 0, "byte {place}: {}", daemon.log());
        world.send(&packet, 1);
        kill(daemon);
        let daemon = world.start();
        assert!(!daemon.log().contains("damaged"), "byte {place}: {}", daemon.log());
        world.knock(1, "192.0.2.9");
        daemon.until("granted", || count(&daemon, "granted") == 1);
    }
}

fn read_only() {
    let world = World::new();
    world.configure(&[1], "");
    let state = world.path().join("state");
    fs::create_dir(&state).unwrap();
    let _disk = SmallDisk::over(&state, "256k");
    let daemon = world.start();
    let packet = world.knock(1, "192.0.2.7");
    daemon.until("granted", || count(&daemon, "granted") == 1);
    kill(daemon);
    let remount = |how: &str| {
        let mut command = Command::new("mount");
        let status = command.args(["-o", &format!("remount,{how}")]).arg(&state).status();
        assert!(status.unwrap().success());
    };
    remount("ro");
    let (code, said) = start_in_vain(&world, &["--serve", world.path().to_str().unwrap()]);
    assert!(code != 0 && said.contains("ead-only") && said.contains("state"), "{code}: {said}");
    remount("rw");
    let daemon = world.start();
    world.send(&packet, 1);
    daemon.until("refused", || count(&daemon, "replayed") == 1);
    world.knock(1, "192.0.2.7");
    daemon.until("granted", || count(&daemon, "granted") + count(&daemon, "extended") == 1);
}

fn shared() {
    let (first, second) = (World::new(), World::new());
    let daemon = {
        first.configure(&[1], "");
        first.start()
    };
    second.configure(&[1], "");
    // Another network namespace and another run folder: only the state is the same.
    std::os::unix::fs::symlink(first.path().join("state"), second.path().join("state")).unwrap();
    let (code, said) = start_in_vain(&second, &["--serve", second.path().to_str().unwrap()]);
    assert_eq!(code, 78, "{said}");
    let pid = format!("process {}", daemon.keeper());
    assert!(said.contains("another daemon") && said.contains("state") && said.contains(&pid), "{said}");
    // The same words for one run folder, and for one network namespace.
    let (_, said) = start_in_vain(&first, &["--serve", first.path().to_str().unwrap()]);
    assert!(said.contains(&pid), "{said}");
    let packet = first.knock(1, "192.0.2.7");
    daemon.until("granted", || count(&daemon, "granted") == 1);
    first.send(&packet, 1);
    daemon.until("refused", || count(&daemon, "replayed") == 1);
}
