//! The cases.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use portunus_ctl::control::Followed;
use portunus_model::Reason;

use super::world::{SmallDisk, World};

pub(crate) type Case = (&'static str, fn());

pub(crate) const ALL: &[Case] = &[
    ("a_knock_opens_a_replay_does_not_and_the_end_is_clean", a_knock_opens),
    ("a_reload_by_hand_by_file_and_by_signal", reloads),
    ("a_broken_file_changes_nothing_while_it_runs", broken_reload),
    ("when_a_part_dies_all_end", a_part_dies),
    ("when_the_keeper_is_killed_all_end_and_a_restart_knows_what_is_open", keeper_killed),
    ("parts_run_as_nobody_special", rights),
    ("no_part_gets_out_of_its_walls", walls),
    ("strangers_packets_end_nothing", strangers),
    ("the_control_socket_takes_nonsense", nonsense),
    ("what_somebody_flushed_is_back_at_once", flushed),
    ("a_full_disk_opens_nothing_says_why_and_is_got_over", full_disk),
    ("iptables_runs_as_an_errand", iptables),
    ("a_place_in_the_admins_own_chain_is_found", attached),
    ("a_rule_that_nobody_can_stand_before_is_named_and_nothing_is_changed", blocked),
];

fn a_knock_opens() {
    let world = World::new();
    world.configure(&[1, 2], "  knock_timeout: 30s\n");
    let mut daemon = world.start();
    let mut events = daemon.client().events().unwrap();
    let packet = world.knock(1, "192.0.2.7");
    let Some(Ok(Followed::Event(event))) = events.next() else { panic!("{}", daemon.log()) };
    assert_eq!(event.reason, Reason::Granted, "{}", daemon.log());
    assert_eq!(event.client.as_ref().map(|name| name.as_str()), Some("client1"));
    assert_eq!(event.address, Some("192.0.2.7".parse().unwrap()));
    let listed = world.inside("nft", &["list", "ruleset"]);
    assert!(listed.contains("192.0.2.7"), "{listed}");

    world.send(&packet, 1);
    let Some(Ok(Followed::Event(event))) = events.next() else { panic!("{}", daemon.log()) };
    assert_eq!(event.reason, Reason::Replayed);

    let mut client = daemon.client();
    let sessions = client.sessions().unwrap();
    assert_eq!(sessions.sessions.len(), 1);
    assert!(sessions.sessions[0].left_s >= 28);
    assert!(sessions.last_seen.contains_key("client1"));
    let status = client.status().unwrap();
    assert_eq!((status.clients, status.open, status.generation), (2, 1, 1));
    assert_eq!(status.verdicts["granted"], 1);
    assert_eq!(status.verdicts["replayed"], 1);
    daemon.until("the session file", || {
        fs::read_to_string(world.path().join("sessions.json")).is_ok_and(|text| text.contains("client1"))
    });

    assert_eq!(client.close(None, Some("192.0.2.7".parse().unwrap())).unwrap(), 1);
    daemon.until("closed", || !world.inside("nft", &["list", "ruleset"]).contains("192.0.2.7"));

    daemon.signal("TERM");
    daemon.wait_said("STOPPING=1");
    assert_eq!(daemon.wait().code(), Some(0), "{}", daemon.log());
    // The drops stay.
    assert!(world.inside("nft", &["list", "ruleset"]).contains("drop"));
}

fn reloads() {
    let world = World::new();
    world.configure(&[1], "");
    let mut daemon = world.start();
    let mut client = daemon.client();
    world.knock(1, "192.0.2.7");
    daemon.until("granted", || daemon.client().sessions().unwrap().sessions.len() == 1);

    // A client is added: by the file alone it comes into force.
    world.configure(&[1, 2], "");
    daemon.until("two clients", || daemon.client().status().unwrap().clients == 2);
    daemon.wait_said("RELOADING=1");
    assert_eq!(client.sessions().unwrap().sessions.len(), 1);

    // Revoked: the grant ends with the reload, and the reload is over when it is answered.
    world.configure(&[2], "");
    client.reload().unwrap();
    assert_eq!(client.status().unwrap().clients, 1);
    assert_eq!(client.sessions().unwrap().sessions.len(), 0);
    daemon.until("closed", || !world.inside("nft", &["list", "ruleset"]).contains("192.0.2.7"));

    let before = client.status().unwrap().generation;
    daemon.signal("HUP");
    daemon.until("a new generation", || daemon.client().status().unwrap().generation > before);
    world.knock(2, "192.0.2.8");
    daemon.until("granted", || daemon.client().sessions().unwrap().sessions.len() == 1);
}

fn broken_reload() {
    let world = World::new();
    world.configure(&[1], "");
    let daemon = world.start();
    let mut client = daemon.client();
    fs::write(world.path().join("config.yaml"), "clients: [").unwrap();
    let error = client.reload().unwrap_err();
    assert!(error.to_string().contains("config.yaml"), "{error}");
    world.knock(1, "192.0.2.7");
    daemon.until("granted", || daemon.client().sessions().unwrap().sessions.len() == 1);
}

fn a_part_dies() {
    for part in ["front", "grantor"] {
        let world = World::new();
        world.configure(&[1], "");
        let mut daemon = world.start();
        let parts = daemon.parts();
        assert_eq!(parts.len(), 2, "{parts:?}");
        let (pid, _) = parts.iter().find(|(_, title)| title.contains(part)).unwrap();
        std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
        assert_eq!(daemon.wait().code(), Some(1), "{}", daemon.log());
        for (pid, title) in parts {
            daemon.until(&title, || !std::path::Path::new(&format!("/proc/{pid}/exe")).exists());
        }
    }
}

fn keeper_killed() {
    let world = World::new();
    world.configure(&[1], "  knock_timeout: 1m\n");
    let mut daemon = world.start();
    let packet = world.knock(1, "192.0.2.7");
    daemon.until("granted", || daemon.client().sessions().unwrap().sessions.len() == 1);
    let parts = daemon.parts();
    daemon.signal("KILL");
    daemon.wait();
    for (pid, title) in parts {
        daemon.until(&title, || !std::path::Path::new(&format!("/proc/{pid}/exe")).exists());
    }
    assert!(world.inside("nft", &["list", "ruleset"]).contains("192.0.2.7"));
    let again = world.start();
    let sessions = again.client().sessions().unwrap();
    assert_eq!(sessions.sessions.len(), 1, "{}", again.log());
    assert_eq!(sessions.sessions[0].client, "client1");
    assert!(sessions.sessions[0].left_s > 50);
    world.send(&packet, 1);
    again.until("replayed", || again.client().status().unwrap().verdicts["replayed"] == 1);
}

fn rights() {
    let world = World::new();
    world.configure(&[1], "");
    let daemon = world.start();
    for (pid, title) in daemon.parts() {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>()
        };
        assert!(field("Uid:").iter().all(|uid| uid != "0" && uid != "65534"), "{status}");
        assert!(field("Gid:").iter().all(|gid| gid != "0" && gid != "65534"), "{status}");
        assert!(field("Groups:").is_empty(), "{status}");
        assert_eq!(field("NoNewPrivs:"), ["1"]);
        assert_eq!(field("Seccomp:"), ["2"]);
        let net_admin = if title.contains("grantor") { "0000000000001000" } else { "0000000000000000" };
        for set in ["CapEff:", "CapPrm:", "CapBnd:"] {
            assert_eq!(field(set), [net_admin], "{title} {set}");
        }
        for set in ["CapInh:", "CapAmb:"] {
            assert_eq!(field(set), ["0000000000000000"], "{title} {set}");
        }
        // Nothing but what it was handed: no file of the configuration, no terminal.
        let open: Vec<String> = fs::read_dir(format!("/proc/{pid}/fd"))
            .unwrap()
            .map(|entry| fs::read_link(entry.unwrap().path()).unwrap().to_string_lossy().into_owned())
            .collect();
        assert!(open.iter().all(|name| !name.contains("config.yaml")), "{title} {open:?}");
        assert!(open.iter().all(|name| name != super::world::LEAKED), "{title} {open:?}");
        let state = open.iter().filter(|name| name.contains("/state/")).count();
        assert_eq!(state, 2, "{title} {open:?}");
    }
}

fn walls() {
    let world = World::new();
    for part in ["front", "grantor", "resolver", "metrics"] {
        let output = world.run_ourselves(&["--escape", part]);
        assert!(output.status.success(), "{part} cannot do its work: {output:?}");
        for (number, (name, _)) in super::escape::ATTEMPTS.iter().enumerate() {
            let output = world.run_ourselves(&["--escape", part, &number.to_string()]);
            let stopped = output.status.signal() == Some(portunus_sys::process::FORBIDDEN_CALL);
            assert!(output.status.success() || stopped, "{part}: {name}: {output:?}");
        }
    }
}

fn strangers() {
    let world = World::new();
    world.configure(&[1], "");
    let daemon = world.start();
    let good = super::knocker::packet(1, "192.0.2.7".parse().unwrap());
    for at in 0..good.len() {
        let mut bent = good.clone();
        bent[at] ^= 0x55;
        if at % 8 == 0 {
            world.send(&bent, 1);
        }
    }
    let stranger = super::knocker::packet(77, "192.0.2.9".parse().unwrap());
    world.send(&stranger, 200);
    world.send(&[1; 165], 2000);
    world.send(&[0; 1400], 10);
    world.send(&[], 10);
    assert_eq!(daemon.client().sessions().unwrap().sessions, []);
    let began = Instant::now();
    world.send(&good, 1);
    daemon.until("granted", || daemon.client().sessions().unwrap().sessions.len() == 1);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(daemon.client().status().unwrap().kernel_drops >= 20);
    // At info a stranger writes nothing, and few lines at debug.
    let lines = daemon.log().lines().filter(|line| line.contains("stranger")).count();
    assert!(lines < 200, "{lines}");
}

fn nonsense() {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    let world = World::new();
    world.configure(&[1], "");
    let daemon = world.start();
    let path = world.path().join("run/control.sock");
    let ask = |bytes: &[u8]| {
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        // The daemon may close while we still write.
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said);
        String::from_utf8_lossy(&said).into_owned()
    };
    assert!(ask(b"hello\n").contains("refused"));
    assert!(ask(b"{\"ask\":\"dance\"}\n").contains("refused"));
    assert!(ask(&[b'a'; 100_000]).contains("too long"));
    assert!(ask(&[0xff; 5000]).contains("too long"));
    let three = ask(b"{\"ask\":\"status\"}\n{\"ask\":\"sessions\"}\n\n{\"ask\":\"status\"}\n");
    assert_eq!(three.lines().count(), 3, "{three}");
    // Who hangs about, and who only follows, keeps nobody from being answered.
    let mut hang = Vec::new();
    for n in 0..400 {
        let mut stream = UnixStream::connect(&path).unwrap();
        if n % 2 == 0 {
            let _ = stream.write_all(b"{\"ask\":\"events\"}\n");
        }
        hang.push(stream);
    }
    daemon.until("answers", || {
        portunus_ctl::control::Client::connect(&world.path().join("run"))
            .and_then(|mut client| client.status())
            .is_ok()
    });
}

fn flushed() {
    let world = World::new();
    world.configure(&[1], "  knock_timeout: 1m\n");
    let daemon = world.start();
    world.knock(1, "192.0.2.7");
    daemon.until("granted", || daemon.client().sessions().unwrap().sessions.len() == 1);
    for round in 0..3 {
        // The pauses that a tool which keeps reloading is met with are over after so long.
        std::thread::sleep(Duration::from_millis(round * 300));
        let began = Instant::now();
        world.inside("nft", &["flush", "ruleset"]);
        daemon.until("back", || {
            let listed = world.inside("nft", &["list", "ruleset"]);
            listed.contains("192.0.2.7") && listed.contains("drop")
        });
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    }
    assert_eq!(daemon.log().matches("put back").count(), 3, "{}", daemon.log());
}

fn full_disk() {
    let world = World::new();
    world.configure(&[1], "  knock_timeout: 1m\n");
    let state = world.path().join("state");
    fs::create_dir(&state).unwrap();
    let _disk = SmallDisk::over(&state, "256k");
    let daemon = world.start();
    let filler = state.join("filler");
    assert!(fs::write(&filler, vec![1; 1 << 20]).is_err());
    let count = |reason: &str| daemon.client().status().unwrap().verdicts.get(reason).copied().unwrap_or(0);
    // What is left in blocks that the files have already is used up first.
    world.run_ourselves(&["--flood", "1", "1", "600", "2000"]);
    daemon.until("all answered", || {
        ["granted", "extended", "store-unavailable", "firewall-failed"].map(count).iter().sum::<u64>() == 600
    });
    assert!(count("store-unavailable") > 0, "{}", daemon.log());
    daemon.until("said", || daemon.log().contains("the replay store cannot be written"));
    fs::remove_file(&filler).unwrap();
    let before = count("granted") + count("extended");
    daemon.until("got over", || {
        world.knock(1, "192.0.2.7");
        count("granted") + count("extended") > before
    });
    daemon.until("said", || daemon.log().contains("the replay store can be written again"));
}

fn iptables() {
    let world = World::new();
    world.configure(&[1], "  knock_timeout: 2s\n");
    let path = world.path().join("config.yaml");
    let text = fs::read_to_string(&path).unwrap().replace("firewall: nft", "firewall: iptables");
    fs::write(&path, text).unwrap();
    let mut daemon = world.start();
    assert_eq!(daemon.parts().len(), 3, "{:?}", daemon.parts());
    world.knock(1, "192.0.2.7");
    let listed = || world.inside("iptables-save", &[]);
    daemon.until("granted", || daemon.client().status().unwrap().verdicts["granted"] == 1);
    assert!(listed().contains("192.0.2.7"), "{}", listed());
    daemon.until("over", || !listed().contains("192.0.2.7"));
    daemon.signal("TERM");
    assert_eq!(daemon.wait().code(), Some(0), "{}", daemon.log());
    assert!(listed().contains("DROP"), "{}", listed());
}

const ADMINS: &str = "table inet admin {
    chain input {
        type filter hook input priority 0; policy drop;
        iif lo accept
        ct state established,related accept
        udp dport 54154 accept
    }
}
";

fn attached() {
    let world = World::new();
    world.configure(&[1], "  knock_timeout: 30s\n");
    let rules = world.path().join("rules.nft");
    fs::write(&rules, ADMINS).unwrap();
    let rules = rules.to_str().unwrap().to_owned();
    world.inside("nft", &["-f", &rules]);
    let daemon = world.start();
    assert!(daemon.client().status().unwrap().place.contains("inet/admin/input"), "{}", daemon.log());
    world.knock(1, "192.0.2.7");
    daemon.until("granted", || daemon.client().status().unwrap().verdicts["granted"] == 1);
    // The admin loads the rules anew, as every boot script does: ours are back in the new chain.
    fs::write(&rules, format!("flush ruleset\n{ADMINS}")).unwrap();
    world.inside("nft", &["-f", &rules]);
    daemon.until("back", || world.inside("nft", &["list", "ruleset"]).contains("192.0.2.7"));
    daemon.until("said", || daemon.log().contains("put back"));
}

fn blocked() {
    let world = World::new();
    world.configure(&[1], "");
    let rules = world.path().join("rules.nft");
    let early = "table inet admin {
    chain early {
        type filter hook prerouting priority -300
        tcp dport 22 drop
    }
}
";
    fs::write(&rules, early).unwrap();
    world.inside("nft", &["-f", rules.to_str().unwrap()]);
    let before = world.inside("nft", &["list", "ruleset"]);
    let output = world.run_ourselves(&["--serve", world.path().to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("table inet admin, chain early") && said.contains("tcp dport 22 drop"), "{said}");
    assert_eq!(world.inside("nft", &["list", "ruleset"]), before);
}
