//! A grant ends on its time and not before, on the real kernel, whoever of the daemon dies meanwhile: nft and iptables.

use std::time::{Duration, Instant};

use portunus_interop::{Daemon, Firewall, Part, SERVER, World, closed, connects, serve_tcp};
use rustix::process::Signal;

const DOOR: &str = "10.90.0.1:22";
const SOON: Duration = Duration::from_secs(1);
/// Long enough for a kill and a start on a busy machine.
const LASTING: Duration = Duration::from_secs(6);
/// What the kernel and a second's dates may take off or add.
const ABOUT: Duration = Duration::from_millis(1500);

/// Who dies.
#[derive(Debug, Clone, Copy)]
enum Victim {
    One(Part),
    All,
}

fn sessions(daemon: &Daemon) -> usize {
    daemon.control().sessions().map_or(0, |sessions| sessions.sessions.len())
}

fn kill(mut daemon: Daemon, victim: Victim) {
    match victim {
        Victim::One(part) => {
            daemon.signal(part, Signal::KILL);
            assert!(!daemon.wait().success(), "{part:?} killed: nobody would start it again");
        }
        Victim::All => daemon.kill_all(),
    }
}

/// Twice somebody dies while the door is open, once before and once after everybody's rules were flushed.
fn lives_its_time(firewall: Firewall, victims: [Victim; 2]) {
    let world = World::new(firewall);
    let alice = world.add("alice", &["--ports", "ssh", "--for", "6s"]);
    let daemon = world.serve();
    let _listener = serve_tcp(&world.server, DOOR);
    let before = Instant::now();
    assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "granted");
    let opened = Instant::now();
    kill(daemon, victims[0]);
    assert!(connects(&world.client, DOOR, SOON), "{victims:?}: closed with the first death");
    let daemon = world.serve();
    assert_eq!(sessions(&daemon), 1, "{victims:?}: the session is not known after a restart");
    assert!(connects(&world.client, DOOR, SOON), "{victims:?}: a restart took the door away");
    kill(daemon, victims[1]);
    if matches!(firewall, Firewall::None) {
        world.server.nft("flush ruleset");
    }
    let daemon = world.serve();
    let early = before.elapsed() < LASTING.saturating_sub(ABOUT);
    assert!(
        !early || sessions(&daemon) == 1,
        "{victims:?}: the session is not known after the second restart"
    );
    assert!(
        connects(&world.client, DOOR, SOON) || before.elapsed() > LASTING.saturating_sub(ABOUT),
        "{victims:?}: closed early"
    );
    // A reload that changes nothing of it.
    daemon.signal(Part::Keeper, Signal::HUP);
    std::thread::sleep((LASTING + ABOUT).saturating_sub(opened.elapsed()));
    assert!(closed(&world.client, DOOR), "{victims:?}: open after its time\n{}", world.server.ruleset());
    assert_eq!(sessions(&daemon), 0);
}

#[test]
fn in_nftables_whoever_dies() {
    lives_its_time(Firewall::None, [Victim::One(Part::Front), Victim::One(Part::Grantor)]);
    lives_its_time(Firewall::None, [Victim::One(Part::Keeper), Victim::All]);
}

#[test]
fn in_iptables_whoever_dies() {
    lives_its_time(Firewall::Iptables, [Victim::One(Part::Front), Victim::One(Part::Grantor)]);
    lives_its_time(Firewall::Iptables, [Victim::One(Part::Keeper), Victim::All]);
}

#[test]
fn each_grant_of_a_shared_door_keeps_its_own_end_over_a_restart() {
    let world = World::new(Firewall::None);
    let alice = world.add("alice", &["--ports", "ssh", "--for", "3s"]);
    let bob = world.add("bob", &["--ports", "ssh", "--for", "30s"]);
    let daemon = world.serve();
    let _listener = serve_tcp(&world.server, DOOR);
    for who in [&alice, &bob] {
        assert_eq!(daemon.verdict(|| who.knock(&world.client, SERVER)), "granted");
    }
    daemon.kill_all();
    let daemon = world.serve();
    std::thread::sleep(Duration::from_millis(3500));
    assert_eq!(sessions(&daemon), 1, "alice's is over, bob's goes on");
    world.portunus(&["close", "bob"]);
    assert!(closed(&world.client, DOOR));
}

/// "closed" is the kernel's word: said any earlier, a death of the grantor would make it a lie, since the next start puts back
/// what its journal has.
#[test]
fn nobody_is_told_closed_before_the_kernel_has_closed() {
    let world = World::new(Firewall::None);
    let alice = world.add("alice", &["--ports", "ssh", "--for", "60s"]);
    let mut daemon = world.serve();
    let _listener = serve_tcp(&world.server, DOOR);
    assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "granted");
    daemon.signal(Part::Grantor, Signal::STOP);
    std::thread::scope(|scope| {
        let close = scope.spawn(|| world.try_portunus(&["close", "--all"]));
        std::thread::sleep(Duration::from_millis(500));
        assert!(!close.is_finished(), "it answered though nobody has closed anything");
        daemon.signal(Part::Grantor, Signal::KILL);
        let close = close.join().unwrap_or_else(|_| panic!("the command runs"));
        assert!(!close.status.success(), "{close:?}");
    });
    assert!(!daemon.wait().success());
    let daemon = world.serve();
    assert_eq!(sessions(&daemon), 1, "it was never closed, and nobody was told so");
    world.portunus(&["close", "--all"]);
    assert!(closed(&world.client, DOOR));
    assert!(daemon.stop().success());
}

/// The same of "revoked": with the last client of its ports, whose limits the grantor has to take, and with one beside it; with
/// a mistake in another file; and with the process that reads packets asleep.
#[test]
fn nobody_is_told_revoked_before_the_kernel_has_closed() {
    for (asleep, beside, mistake, wanted) in [
        (Part::Grantor, true, false, "the firewall has not closed yet"),
        (Part::Grantor, true, true, "the firewall has not closed yet"),
        (Part::Grantor, false, false, "did not answer within"),
        (Part::Front, true, false, "did not answer within"),
    ] {
        let world = World::new(Firewall::None);
        let alice = world.add("alice", &["--ports", "ssh", "--for", "60s"]);
        if beside {
            let _ = world.add("bob", &["--ports", "ssh", "--for", "60s"]);
        }
        let daemon = world.serve();
        let _listener = serve_tcp(&world.server, DOOR);
        assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "granted");
        let other = world.place("etc").join("clients/carol.toml");
        if mistake {
            std::fs::write(&other, "no mark of equality\n").expect("it can be written");
        }
        daemon.signal(asleep, Signal::STOP);
        let out = world.try_portunus(&["revoke", "alice"]);
        let open = connects(&world.client, DOOR, SOON);
        // Before anything is judged: what sleeps would not end.
        daemon.kill_all();
        let said = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(1), "{out:?}");
        assert!(!String::from_utf8_lossy(&out.stdout).contains("revoked"), "{out:?}");
        assert!(said.contains("what it holds open may not be closed yet") && said.contains(wanted), "{said}");
        assert!(open, "nobody has closed it");
        // What it advises to.
        let _ = std::fs::remove_file(&other);
        let daemon = world.serve();
        let start = Instant::now();
        while !closed(&world.client, DOOR) {
            assert!(start.elapsed() < Duration::from_secs(5), "its start closes it\n{}", daemon.log());
        }
        assert!(daemon.stop().success());
    }
}
