//! The lines of `fwknopd`, ours, that people's monitors read: which ones, when, and in which order; beside Debian's where
//! both say the same.

#![expect(clippy::unwrap_used, reason = "a helper of a test may fail as the test itself")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use portunus_interop::fwknop::{Fwknopd, Whose, fwknop, grants, within};
use portunus_interop::{Firewall, World, binary};
use rustix::process::{Signal, kill_process};

const KEYS: [&str; 5] = ["--key-rijndael", "an encryption key", "--key-hmac", "an HMAC key", "--use-hmac"];
const STANZA: &str = "SOURCE ANY\nKEY_BASE64 YW4gZW5jcnlwdGlvbiBrZXk=\nHMAC_KEY_BASE64 YW4gSE1BQyBrZXk=\n";
const SSH: [&str; 4] = ["-A", "tcp/22", "-a", "10.90.0.2"];
const MET: &str = "(stanza #1) SPA Packet from IP: 10.90.0.2 received with access source match";
const ADDED: &str = "Added access rule to ";
const LONG: Duration = Duration::from_secs(10);

fn knock(world: &World, words: &[&str]) {
    let out = fwknop(world, Whose::Theirs, &[&KEYS, words].concat());
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

fn file(world: &World, name: &str) -> PathBuf {
    world.folder().join("fwknop").join(name)
}

/// Ours once more, with the files of the one that was started in this world; what it says, and its exit.
fn says(world: &World, words: &[&str]) -> (String, i32) {
    let mut command = world.server.command(binary());
    command
        .arg("fwknopd")
        .arg("-c")
        .arg(file(world, "fwknopd.conf"))
        .arg("-a")
        .arg(file(world, "access.conf"));
    command.args(words).env("PORTUNUS_STATE_DIR", file(world, "state")).stdin(Stdio::null());
    let out = command.output().unwrap();
    let said = [out.stdout, out.stderr].concat();
    (String::from_utf8_lossy(&said).into_owned(), out.status.code().unwrap())
}

/// Files for one that is not started.
fn write(world: &World, conf: &str, access: &str) {
    use std::os::unix::fs::PermissionsExt;
    fs::create_dir_all(world.folder().join("fwknop")).unwrap();
    let head = format!("PCAP_INTF door0;\nFWKNOP_RUN_DIR {};\n", file(world, "run").display());
    for (name, text) in [("fwknopd.conf", head + conf), ("access.conf", access.to_owned())] {
        fs::write(file(world, name), text).unwrap();
        fs::set_permissions(file(world, name), fs::Permissions::from_mode(0o600)).unwrap();
    }
}

fn has_table(world: &World) -> bool {
    world.server.run("nft", &["list", "tables"]).contains("inet portunus")
}

fn count(daemon: &Fwknopd, words: &str) -> usize {
    daemon.log().matches(words).count()
}

/// Where a line begins that is there.
fn at(log: &str, words: &str) -> usize {
    let found = log.find(words);
    assert!(found.is_some(), "no {words:?} in\n{log}");
    found.unwrap()
}

#[test]
fn with_nftables_grants_are_told_and_nothing_is_left() {
    let world = World::bare(Firewall::PolicyDrop);
    let daemon = Fwknopd::start(&world, Whose::Ours, "FIREWALL nft;\n", STANZA, &[]);
    knock(&world, &[&SSH[..], &["-f", "2"]].concat());
    assert!(daemon.says("Added access rule to portunus for 10.90.0.2 -> 0.0.0.0/0 tcp/22, expires at "));
    let log = daemon.log();
    let end = log[at(&log, "expires at ")..].split_whitespace().nth(2).unwrap().to_owned();
    let gone = format!("Removed rule 1 from portunus with expire time of {end}\n");
    assert!(within(LONG, || daemon.log().contains(&gone)), "{gone:?} in\n{}", daemon.log());
    knock(&world, &[&SSH[..], &["-f", "100"]].concat());
    assert!(within(LONG, || count(&daemon, ADDED) == 2), "{}", daemon.log());
    // The ports are dropped in a table of the administrator's, so what is open stands there.
    let (listed, _) = says(&world, &["--fw-list"]);
    assert!(listed.contains("10.90.0.2 . tcp . 22"), "{listed}");
    assert_eq!(says(&world, &["-K"]).1, 0);
    assert!(!world.server.ruleset().contains("portunus"), "FLUSH_IPT_AT_EXIT: {}", world.server.ruleset());
}

#[test]
fn a_flush_without_a_server_removes_what_a_killed_one_left() {
    let world = World::bare(Firewall::None);
    let conf = "FIREWALL nft;\nENABLE_IPT_FORWARDING Y;\nENABLE_IPT_LOCAL_NAT Y;\n";
    let daemon = Fwknopd::start(&world, Whose::Ours, conf, STANZA, &[]);
    kill_process(daemon.pid(), Signal::KILL).unwrap();
    let all = daemon.processes();
    drop(daemon);
    assert!(within(LONG, || all.iter().all(|pid| !Path::new(&format!("/proc/{pid}/fd/0")).exists())));
    assert!(has_table(&world));
    let (said, code) = says(&world, &["--fw-flush"]);
    assert_eq!((code, has_table(&world)), (0, false), "{said}");
}

/// The drops of a configuration of ours are no fwknopd's to flush.
#[test]
fn a_flush_opens_no_port_that_a_configuration_of_ours_keeps_shut() {
    let world = World::new(Firewall::None);
    drop(world.serve());
    write(&world, "FIREWALL nft;\n", STANZA);
    assert!(has_table(&world), "its drops stay");
    let (said, code) = says(&world, &["--fw-flush"]);
    assert!(code != 0 && said.contains("keep ports shut") && said.contains("portunus teardown"), "{said}");
    assert!(has_table(&world));
}

#[test]
fn nft_beside_iptables_is_refused_in_one_sentence() {
    let world = World::bare(Firewall::Iptables);
    for nat in ["", "ENABLE_IPT_FORWARDING Y;\n"] {
        write(&world, &format!("FIREWALL nft;\n{nat}"), STANZA);
        let (said, code) = says(&world, &["-f"]);
        let place = format!("{}:3:10: FIREWALL is nft", file(&world, "fwknopd.conf").display());
        assert!(code != 0 && said.contains(&place) && said.contains("take FIREWALL out"), "{said}");
        assert_eq!(said.lines().filter(|line| line.starts_with("fwknopd:")).count(), 1, "{said}");
    }
}

#[test]
fn a_filter_that_is_none_is_found_without_a_start() {
    let world = World::bare(Firewall::None);
    write(&world, "PCAP_FILTER udp prot 5;\n", STANZA);
    let place = format!("{}:3:13: Error compiling pcap filter: ", file(&world, "fwknopd.conf").display());
    for words in [&["--exit-parse-config"][..], &["-D", "--exit-parse-config"], &["-f"]] {
        let (said, code) = says(&world, words);
        assert!(code != 0 && said.contains(&place) && said.contains("write "), "{words:?}: {said}");
    }
    let (said, code) = says(&world, &["-U", "--exit-parse-config"]);
    assert_eq!(code, 0, "a UDP server has no use for it: {said}");
}

/// The same bytes are seen on the link and read from the connection: one knock.
#[test]
fn a_knock_to_the_tcp_server_that_is_sniffed_too_is_one() {
    let world = World::bare(Firewall::None);
    let conf = "ENABLE_TCP_SERVER Y;\nPCAP_FILTER tcp port 62201 or udp port 62201;\n";
    let daemon = Fwknopd::start(&world, Whose::Ours, conf, STANZA, &[]);
    for port in ["tcp/22", "tcp/23", "tcp/24"] {
        knock(&world, &["-A", port, "-a", "10.90.0.2", "-P", "tcp", "-f", "100"]);
    }
    assert!(within(LONG, || grants(&world).len() == 3), "{}", daemon.log());
    // A second sight would come by the end of the connection's time.
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!((count(&daemon, "Replay"), count(&daemon, MET)), (0, 3), "{}", daemon.log());
    let cache = fs::read_to_string(file(&world, "run/digest.cache")).unwrap();
    assert_eq!(cache.lines().filter(|line| !line.starts_with('#')).count(), 3, "{cache}");
}

#[test]
fn an_edit_and_its_restart_signal_are_one_reload_in_order() {
    let world = World::bare(Firewall::None);
    let daemon = Fwknopd::start(&world, Whose::Ours, "", STANZA, &[]);
    for round in 1..=3 {
        let access = file(&world, "access.conf");
        let text = fs::read_to_string(&access).unwrap();
        fs::write(&access, format!("{text}# {round}\n")).unwrap();
        assert_eq!(says(&world, &["-R"]).1, 0);
        assert!(within(LONG, || count(&daemon, "\nreloaded ") == round), "{}", daemon.log());
        // Longer than the files are left to settle.
        std::thread::sleep(Duration::from_millis(1500));
        let told = (count(&daemon, "\nreloaded "), count(&daemon, "Got SIGHUP. Re-reading configs."));
        assert_eq!(told, (round, round), "{}", daemon.log());
    }
    let log = daemon.log();
    assert!(at(&log, "Got SIGHUP. Re-reading configs.") < at(&log, "\nreloaded "), "{log}");
    // Who sends no signal is heard all the same.
    fs::write(file(&world, "access.conf"), STANZA.replace("ANY", "10.0.0.0/8")).unwrap();
    assert!(within(LONG, || count(&daemon, "\nreloaded ") == 4), "{}", daemon.log());
}

#[test]
fn whose_packet_it_is_comes_before_what_it_opened() {
    for conf in ["", "FIREWALL nft;\n"] {
        let world = World::bare(Firewall::None);
        let daemon = Fwknopd::start(&world, Whose::Ours, conf, STANZA, &[]);
        for port in 1..=20 {
            knock(&world, &["-A", &format!("tcp/{port}"), "-a", "10.90.0.2", "-f", "100"]);
        }
        assert!(within(LONG, || count(&daemon, ADDED) == 20), "{}", daemon.log());
        let (mut met, mut added) = (0, 0);
        for line in daemon.log().lines() {
            met += u32::from(line == MET);
            added += u32::from(line.starts_with(ADDED));
            assert!(added <= met, "{line:?} too early in\n{}", daemon.log());
        }
        assert_eq!(met, 20, "each once");
    }
}

/// The number is the stanza's that has the packet's keys, whoever stands before it.
#[test]
fn each_stanza_is_told_by_its_own_number() {
    for conf in ["", "FIREWALL nft;\n"] {
        let world = World::bare(Firewall::None);
        let other = "SOURCE ANY\nKEY another key\nHMAC_KEY another HMAC key\n\n";
        let daemon = Fwknopd::start(&world, Whose::Ours, conf, &format!("{other}{STANZA}"), &[]);
        knock(&world, &SSH);
        assert!(daemon.says(ADDED), "{}", daemon.log());
        assert_eq!(count(&daemon, &MET.replace("#1", "#2")), 1, "{}", daemon.log());
        assert_eq!(count(&daemon, "received with access source match"), 1, "{}", daemon.log());
    }
}

/// What a server of either says of one packet, field by field, and at its start.
#[test]
fn fields_and_the_start_are_told_as_the_original_tells_them() {
    let listing = |whose| {
        let world = World::bare(Firewall::None);
        let daemon = Fwknopd::start(&world, whose, "", STANZA, &["-v"]);
        let log = daemon.log();
        let jump = at(&log, "Added jump rule from chain: INPUT to chain: FWKNOP_INPUT");
        let comments = at(&log, "iptables 'comment' match is available");
        assert!(jump < comments && comments < at(&log, "Sniffing interface: door0"), "{log}");
        knock(&world, &[&SSH[..], &["-f", "7"]].concat());
        assert!(within(LONG, || daemon.log().contains(ADDED)), "{}", daemon.log());
        let log = daemon.log();
        assert!(at(&log, MET) < at(&log, "[10.90.0.2] (stanza #1) SPA Decode (res=0):"), "{log}");
        assert!(at(&log, " Final SPA Data: ") < at(&log, ADDED), "{log}");
        for secret in ["an encryption key", "an HMAC key", "YW4gZW5jcnlwdGlvbiBrZXk", "YW4gSE1BQyBrZXk"] {
            assert!(!log.contains(secret), "{secret} in\n{log}");
        }
        let lines = log[at(&log, "SPA Field Values:")..].lines().skip(2);
        let fields: Vec<(String, String)> = lines
            .map_while(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .take(17)
            .collect();
        fields
    };
    let (ours, theirs) = (listing(Whose::Ours), listing(Whose::Theirs));
    let names = |fields: &[(String, String)]| fields.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&ours), names(&theirs));
    let changes = ["Random Value", "Timestamp", "Encoded Data", "SPA Data Digest", "HMAC", "Final SPA Data"];
    for ((name, ours), (_, theirs)) in ours.iter().zip(&theirs) {
        if changes.contains(&name.trim()) {
            assert_eq!(ours.len(), theirs.len(), "{name}");
        } else {
            assert_eq!(ours, theirs, "{name}");
        }
    }
}

#[test]
fn the_cache_says_how_a_packet_came_as_the_originals_does() {
    let columns = |whose| {
        let world = World::bare(Firewall::None);
        let filter = "icmp or tcp port 62201 or udp port 1234";
        let daemon = Fwknopd::start(&world, whose, "", STANZA, &["-P", filter]);
        for words in [&["-P", "icmp"][..], &["-P", "tcpraw", "-Q", "10.90.0.2"], &["-p", "1234"]] {
            let before = count(&daemon, MET);
            knock(&world, &[&SSH[..], words].concat());
            assert!(within(LONG, || count(&daemon, MET) == before + 1), "{}", daemon.log());
        }
        let cache = file(&world, "run/digest.cache");
        let read = || fs::read_to_string(&cache).unwrap_or_default();
        assert!(within(LONG, || read().lines().count() == 4), "{}", read());
        let line = |line: &str| {
            let fields: Vec<&str> = line.split(' ').collect();
            [1, 2, 4, 5].map(|field: usize| fields[field].to_owned())
        };
        read().lines().skip(1).map(line).collect::<Vec<_>>()
    };
    let ours = columns(Whose::Ours);
    assert_eq!(ours, columns(Whose::Theirs));
    assert_eq!(ours[0], ["1", "10.90.0.2", "10.90.0.1", "0"]);
}

#[test]
fn lines_of_commands_say_who_sent_them() {
    for whose in [Whose::Ours, Whose::Theirs] {
        let world = World::bare(Firewall::None);
        let daemon = Fwknopd::start(&world, whose, "", &format!("{STANZA}ENABLE_CMD_EXEC Y\n"), &[]);
        knock(&world, &["-C", "/bin/true", "-a", "10.90.0.2"]);
        let done = "[10.90.0.2] (stanza #1) CMD_EXEC: command returned 0, pid_status: 0\n";
        assert!(within(LONG, || daemon.log().contains(done)), "{whose:?}:\n{}", daemon.log());
        let log = daemon.log();
        let processing = "[10.90.0.2] (stanza #1) Processing SPA Command message: command='/bin/true'.\n";
        let running = "[10.90.0.2] (stanza #1) Running command '/bin/true'\n";
        assert!(at(&log, MET) < at(&log, processing) && at(&log, processing) < at(&log, running), "{log}");
    }
}
