//! Enrolment by invitation: the built binary on both sides, real packets, and whatever can go wrong on the way.
#![expect(clippy::expect_used, reason = "a test's helper fails by panicking")]

use std::fs;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use portunus_interop::fwknop::within;
use portunus_interop::{Daemon, Firewall, World, closed, connects, serve_tcp};

const SOON: Duration = Duration::from_secs(2);
const DOOR: &str = "10.90.0.1:22";

/// A server that speaks native, and its code for alice.
fn house(words: &[&str]) -> (World, Daemon, String) {
    let world = World::with_init(Firewall::None, &["--dialects", "native,openme"]);
    let daemon = world.serve();
    let code = invite(&world, "alice", words);
    (world, daemon, code)
}

fn invite(world: &World, name: &str, words: &[&str]) -> String {
    let code = world.portunus(&[&["invite", name], words].concat());
    assert!(code.starts_with("portunus-invite:"), "{code}");
    code.trim().to_owned()
}

/// `portunus join` on a laptop of this name.
fn join(world: &World, whose: &str, code: &str, more: &[&str]) -> Command {
    let mut command = world.command_on(&world.client, &[&["join", code], more].concat());
    command.env("HOME", world.folder().join(whose)).env_remove("XDG_CONFIG_HOME");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn joined(world: &World, whose: &str, code: &str, more: &[&str]) -> Output {
    join(world, whose, code, more).output().expect("it runs")
}

fn said(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

fn ended(child: Child) -> Output {
    child.wait_with_output().expect("it ends")
}

/// A knock of that laptop.
fn knock(world: &World, whose: &str) -> Output {
    let mut command = world.command_on(&world.client, &["knock", "home"]);
    command.env("HOME", world.folder().join(whose)).env_remove("XDG_CONFIG_HOME");
    command.output().expect("it runs")
}

/// The word behind `fingerprint of its key is`.
fn fingerprint(words: &str) -> String {
    let behind = words.split_once("fingerprint of its key is ").map(|(_, rest)| rest).unwrap_or_default();
    behind.chars().take_while(char::is_ascii_hexdigit).collect()
}

#[test]
fn who_was_invited_makes_its_own_keys_and_comes_in() {
    let (world, daemon, code) = house(&["--ports", "ssh", "--for", "2s", "--answers"]);
    let _listener = serve_tcp(&world.server, DOOR);
    assert!(world.portunus(&["list"]).contains("invited until"), "{}", world.portunus(&["list"]));
    let out = joined(&world, "alice", &code, &["--as", "home"]);
    let words = said(&out);
    assert!(out.status.success(), "{words}\n{}", daemon.log());
    let print = fingerprint(&words);
    assert!(print.len() == 16 && world.portunus(&["show", "alice"]).contains(&print), "{words}");
    assert!(
        daemon.log().contains(&format!("msg=enrolled client=alice fingerprint={print}")),
        "{}",
        daemon.log()
    );
    let profile =
        fs::read_to_string(world.folder().join("alice/.config/portunus/profiles/home.toml")).expect("it");
    assert!(profile.contains("opens = [\"22/tcp\"]") && !profile.contains("fresh"), "{profile}");
    // Nor does a copy of the link, which the store of chains overwrites each day.
    let left = fs::read_dir(world.place("state/invitations")).expect("a folder");
    let left: Vec<_> = left.map(|entry| entry.expect("an entry").file_name()).collect();
    assert!(left.len() == 1 && !left[0].to_string_lossy().contains('.'), "{left:?}");
    // No draft with the same keys stays, and the private key is in no file of the server's.
    let mut left = fs::read_dir(world.folder().join("alice/.config/portunus/profiles")).expect("a folder");
    assert!(left.all(|entry| !entry.expect("an entry").file_name().to_string_lossy().contains("joining")));
    let private = profile.lines().find_map(|line| line.strip_prefix("private_key = ")).expect("a key");
    for folder in ["etc", "state"] {
        let found =
            Command::new("grep").args(["-rlF", private.trim_matches('"')]).arg(world.place(folder)).output();
        assert!(found.expect("grep runs").stdout.is_empty(), "{folder}");
    }
    assert!(closed(&world.client, DOOR));
    assert_eq!(daemon.verdict(|| drop(knock(&world, "alice"))), "granted", "{}", daemon.log());
    assert!(connects(&world.client, DOOR, SOON));
    // Over a restart it is a client, and in the audit log.
    drop(daemon);
    let daemon = world.serve();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(daemon.verdict(|| drop(knock(&world, "alice"))), "granted");
    assert!(world.portunus(&["audit"]).contains("enrolled"));
    assert!(world.command(&["check"]).status().expect("it runs").success());
}

#[test]
fn another_one_with_the_same_code_is_refused_aloud_and_the_first_hears_the_same_again() {
    let (world, daemon, code) = house(&[]);
    assert!(joined(&world, "alice", &code, &["--as", "home"]).status.success());
    let out = joined(&world, "mallory", &code, &["--as", "home"]);
    assert!(!out.status.success() && said(&out).contains("another key came first"), "{}", said(&out));
    daemon.until_logged("another key came first");
    // Whoever says the same again has the profile already, and loses nothing.
    let again = joined(&world, "alice", &code, &["--as", "home"]);
    assert_eq!(
        (again.status.code(), said(&again).contains("it exists already")),
        (Some(2), true),
        "{}",
        said(&again)
    );
    assert_eq!(daemon.verdict(|| drop(knock(&world, "alice"))), "granted");
}

/// Its answer is lost, and the client ends: the keys are on its disk, and the server knows them.
#[test]
fn an_answer_that_is_lost_costs_nothing() {
    let (world, daemon, code) = house(&[]);
    let deaf = [
        "add table inet deaf",
        "add chain inet deaf in { type filter hook input priority 0; }",
        "add rule inet deaf in udp sport 54154 drop",
    ];
    world.client.nft(&deaf.join("\n"));
    let out = joined(&world, "alice", &code, &["--as", "home"]);
    assert!(!out.status.success() && said(&out).contains("no answer from the server"), "{}", said(&out));
    daemon.until_logged("msg=enrolled client=alice");
    assert!(!world.folder().join("alice/.config/portunus/profiles/home.toml").exists());
    world.client.nft("delete table inet deaf");
    let before = world.portunus(&["show", "alice", "--json"]);
    let out = joined(&world, "alice", &code, &["--as", "home"]);
    assert!(out.status.success(), "{}", said(&out));
    assert_eq!(world.portunus(&["show", "alice", "--json"]), before, "the same key");
    assert_eq!(daemon.verdict(|| drop(knock(&world, "alice"))), "granted");
}

#[test]
fn of_two_at_once_one_is_in_and_the_other_hears_why_not() {
    let (world, daemon, code) = house(&[]);
    let both = ["alice", "mallory"]
        .map(|whose| join(&world, whose, &code, &["--as", "home"]).spawn().expect("it runs"));
    let both = both.map(ended);
    let done = both.each_ref().map(|out| out.status.success());
    assert!(done[0] != done[1], "{}\n{}\n{}", said(&both[0]), said(&both[1]), daemon.log());
    let (first, second) = if done[0] { ("alice", &both[1]) } else { ("mallory", &both[0]) };
    assert!(said(second).contains("another key came first"), "{}", said(second));
    assert_eq!(daemon.verdict(|| drop(knock(&world, first))), "granted");
}

#[test]
fn nobody_comes_in_before_the_administrator_has_confirmed() {
    let (world, daemon, code) = house(&["--confirm", "--expires", "1h"]);
    let child = join(&world, "alice", &code, &["--as", "home"]).spawn().expect("it runs");
    daemon.until_logged("is to be confirmed");
    // It has no door yet, and is no client.
    assert!(world.portunus(&["list"]).contains("(to be confirmed)"));
    assert!(world.portunus(&["list", "--json"]).contains("\"enrolled\": false"));
    // Killed and started again it is the same: the keys are on the disk.
    drop(daemon);
    let daemon = world.serve();
    let listed = world.portunus(&["list"]);
    let print = listed.split_whitespace().find(|word| word.len() == 16).expect("a fingerprint").to_owned();
    let wrong =
        world.command(&["confirm", "alice", "--fingerprint", "0123456789abcdef"]).output().expect("it runs");
    assert!(!wrong.status.success() && said(&wrong).contains("do not confirm it"), "{}", said(&wrong));
    let bare = world.command(&["confirm", "alice"]).stdin(Stdio::null()).output().expect("it runs");
    assert!(bare.status.code() == Some(2) && said(&bare).contains(&print), "{}", said(&bare));
    world.portunus(&["confirm", "alice", "--fingerprint", &print]);
    let out = ended(child);
    assert!(out.status.success() && said(&out).contains(&print), "{}", said(&out));
    assert_eq!(daemon.verdict(|| drop(knock(&world, "alice"))), "granted");
}

#[test]
fn an_invitation_that_is_over_taken_back_or_mistyped_lets_nobody_in() {
    let (world, daemon, code) = house(&["--expires", "1s"]);
    std::thread::sleep(Duration::from_millis(1100));
    let out = joined(&world, "alice", &code, &[]);
    assert!(!out.status.success() && said(&out).contains("the invitation is over"), "{}", said(&out));
    assert!(world.portunus(&["list"]).contains("invitation over"));
    let checked = world.try_portunus(&["check"]);
    assert!(said(&checked).contains("its invitation is over"), "{}", said(&checked));
    // One whose client's file was renamed is nobody's.
    let _code = invite(&world, "bob", &[]);
    let clients = world.place("etc/clients");
    fs::rename(clients.join("bob.toml"), clients.join("robert.toml")).expect("it is renamed");
    assert_eq!(world.portunus(&["list"]).matches("invitation over").count(), 2);
    // The name is free again once it is taken back, and the old code is worth nothing then.
    world.portunus(&["revoke", "alice"]);
    let code = invite(&world, "alice", &[]);
    world.portunus(&["revoke", "alice"]);
    let out = joined(&world, "alice", &code, &[]);
    assert!(!out.status.success() && said(&out).contains("no answer from the server"), "{}", said(&out));
    world.portunus(&["revoke", "robert"]);
    let left = fs::read_dir(world.place("state").join("invitations")).expect("a folder");
    assert_eq!(left.count(), 0);
    let out = joined(&world, "alice", &code[..code.len() - 1], &[]);
    assert!(out.status.code() == Some(78) && said(&out).contains("cut or mistyped"), "{}", said(&out));
    assert!(!daemon.log().contains("msg=enrolled"), "{}", daemon.log());
}

#[test]
fn who_is_revoked_is_out_and_the_code_brings_nobody_back() {
    let (world, daemon, code) = house(&[]);
    assert!(joined(&world, "alice", &code, &["--as", "home"]).status.success());
    world.portunus(&["revoke", "alice"]);
    assert_eq!(daemon.verdict(|| drop(knock(&world, "alice"))), "unknown-client");
    let again = invite(&world, "alice", &[]);
    let out = joined(&world, "alice", &code, &["--as", "old"]);
    assert!(!out.status.success() && said(&out).contains("no answer"), "{}", said(&out));
    assert!(joined(&world, "alice", &again, &["--as", "new"]).status.success());
    assert_eq!(daemon.verdict(|| drop(knock(&world, "alice"))), "unknown-client", "the old key stays out");
}

/// The disk refuses what is to follow, and the daemon dies: who came first is written down, and it goes on from there.
#[test]
fn a_daemon_that_dies_on_the_way_goes_on_from_there() {
    let (world, daemon, code) = house(&[]);
    let (chains, enrolled) = (world.place("state/chains.new"), world.place("state/enrolled"));
    assert!(within(SOON, || fs::remove_dir(&chains).is_ok()), "what was left for it is taken up");
    fs::write(&chains, "").expect("a file in its way");
    let out = joined(&world, "alice", &code, &["--as", "home"]);
    assert!(!out.status.success() && said(&out).contains("say the same again"), "{}", said(&out));
    assert!(daemon.log().contains("who came with an invitation is not taken in"), "{}", daemon.log());
    daemon.kill_all();
    assert!(!enrolled.exists());
    fs::remove_file(&chains).expect("it goes");
    let daemon = world.serve();
    assert!(fs::read_dir(&enrolled).expect("a folder").count() == 1, "{}", daemon.log());
    let out = joined(&world, "mallory", &code, &["--as", "home"]);
    assert!(said(&out).contains("another key came first"), "{}", said(&out));
    assert!(joined(&world, "alice", &code, &["--as", "home"]).status.success(), "{}", daemon.log());
    assert_eq!(daemon.verdict(|| drop(knock(&world, "alice"))), "granted");
}

/// Those who have come take no place of those who are still to come.
#[test]
fn more_than_sixteen_come_in_on_one_day() {
    let (world, daemon, _) = house(&["--expires", "1s"]);
    for number in 1..=17 {
        let name = format!("phone{number:02}");
        let code = invite(&world, &name, &[]);
        let out = joined(&world, &name, &code, &["--as", "home"]);
        assert!(out.status.success(), "{name}: {}\n{}", said(&out), daemon.log());
    }
}

/// Somebody who is a client is invited by another name, and brings the key that he has; and somebody copies a client's file.
#[test]
fn a_key_that_is_somebodys_already_locks_nobody_out() {
    let (world, daemon, code) = house(&[]);
    let clients = world.place("etc/clients");
    fs::copy(clients.join("alice.toml"), clients.join("copy.toml")).expect("a copy");
    assert!(joined(&world, "alice", &code, &["--as", "home"]).status.success(), "{}", daemon.log());
    let code = invite(&world, "second", &[]);
    world
        .client
        .nft("table inet deaf { chain in { type filter hook input priority 0; udp sport 54154 drop; }; }");
    world
        .server
        .nft("table inet deaf { chain in { type filter hook input priority 0; udp dport 54154 drop; }; }");
    assert!(!joined(&world, "alice", &code, &["--as", "other"]).status.success());
    let profiles = world.folder().join("alice/.config/portunus/profiles");
    let files = fs::read_dir(&profiles).expect("a folder").map(|entry| entry.expect("an entry").path());
    let draft = files.into_iter().find(|path| path.extension().is_some_and(|end| end == "draft"));
    fs::copy(profiles.join("home.toml"), draft.expect("a draft")).expect("it is written over");
    world.client.nft("delete table inet deaf");
    world.server.nft("delete table inet deaf");
    let out = joined(&world, "alice", &code, &["--as", "other"]);
    assert!(!out.status.success() && said(&out).contains("could not take it in"), "{}", said(&out));
    daemon.until_logged("it came with a key that cannot be its own");
    let checked = world.try_portunus(&["check"]);
    assert!(checked.status.success() && said(&checked).contains("let in as nobody"), "{}", said(&checked));
    drop(daemon);
    let daemon = world.serve();
    assert_eq!(daemon.verdict(|| drop(knock(&world, "alice"))), "granted");
}

/// A mistake in another file: she is busy, not every packet has all files read anew, and once it is mended she is in.
#[test]
fn while_the_files_do_not_load_nobody_is_taken_in_and_nothing_is_lost() {
    let (world, daemon, code) = house(&[]);
    let wrong = world.place("etc/clients/wrong.toml");
    let refused = || daemon.log().matches("not reloaded; what was in force").count();
    fs::write(&wrong, "rubbish").expect("it is written");
    assert!(within(SOON, || refused() > 0));
    std::thread::sleep(Duration::from_millis(300));
    let before = refused();
    let out = joined(&world, "alice", &code, &["--as", "home"]);
    assert!(!out.status.success() && said(&out).contains("could not take it in"), "{}", said(&out));
    assert_eq!(refused(), before + 1, "{}", daemon.log());
    fs::remove_file(&wrong).expect("it goes");
    daemon.until_logged("msg=reloaded clients=1");
    assert!(joined(&world, "alice", &code, &["--as", "home"]).status.success(), "{}", daemon.log());
    assert_eq!(daemon.verdict(|| drop(knock(&world, "alice"))), "granted");
}

/// Whoever is asked for a yes has not locked the files meanwhile.
#[test]
fn a_question_that_nobody_answers_keeps_nobody_from_revoking() {
    let (world, daemon, code) = house(&["--confirm"]);
    let mut waiting = join(&world, "alice", &code, &["--as", "home"]).spawn().expect("it runs");
    daemon.until_logged("is to be confirmed");
    let confirm = world.command(&["confirm", "alice"]);
    let words: Vec<_> = std::iter::once(confirm.get_program()).chain(confirm.get_args()).collect();
    let words = words.join(std::ffi::OsStr::new(" "));
    let mut terminal = Command::new("script");
    terminal.arg("-qec").arg(&words).arg("/dev/null");
    terminal.envs(confirm.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let asked = world.folder().join("asked");
    terminal.stdin(Stdio::piped()).stdout(fs::File::create(&asked).expect("a file"));
    let mut terminal = terminal.spawn().expect("script runs");
    let question = || fs::read_to_string(&asked).expect("what it says");
    assert!(within(SOON, || question().contains("[y/N]")), "{}", question());
    let revoked = world.command(&["revoke", "alice"]).spawn().expect("it runs");
    daemon.until_logged("msg=reloaded clients=0");
    assert!(ended(revoked).status.success());
    std::io::Write::write_all(&mut terminal.stdin.take().expect("its input"), b"y\n").expect("it is said");
    assert!(!terminal.wait().expect("it ends").success(), "{}", question());
    assert!(question().contains("no client named alice"), "{}", question());
    waiting.kill().expect("it ends");
    let _ = waiting.wait();
}

/// The code is all that there is of an invitation: where it cannot be printed nobody is invited.
#[test]
fn a_code_that_cannot_be_printed_invites_nobody() {
    let world = World::with_init(Firewall::None, &["--dialects", "native"]);
    let full = fs::File::options().write(true).open("/dev/full").expect("a device");
    let out = world.command(&["invite", "alice"]).stdout(full).output().expect("it runs");
    assert!(out.status.code() == Some(1) && said(&out).contains("could not be printed"), "{}", said(&out));
    let left = fs::read_dir(world.place("state/invitations")).expect("a folder");
    assert_eq!((left.count(), world.portunus(&["list"]).as_str()), (0, ""));
    let _code = invite(&world, "alice", &[]);
}

/// Under the shipped unit the state belongs to the daemon's own user, and root runs the commands: the daemon is down here, so what
/// each has left is still there for the next.
#[test]
fn root_invites_where_the_state_is_another_users() {
    let world = World::with_init(Firewall::None, &["--dialects", "native"]);
    let state = world.place("state");
    let chown = Command::new("chown").args(["-R", "65534:65534"]).arg(&state).status().expect("chown runs");
    assert!(chown.success());
    for name in ["alice", "bob"] {
        let _code = invite(&world, name, &["--confirm"]);
    }
    world.portunus(&["add", "carl"]);
    world.portunus(&["add", "dora"]);
    let listed = world.portunus(&["list"]);
    assert_eq!(listed.matches("invited until").count(), 2, "{listed}");
    let nobody = world.try_portunus(&["confirm", "alice"]);
    assert!(said(&nobody).contains("nobody has come yet"), "{}", said(&nobody));
    let checked = world.try_portunus(&["check"]);
    assert!(checked.status.success() && !said(&checked).contains("warning"), "{}", said(&checked));
    world.portunus(&["revoke", "alice"]);
    assert_eq!(fs::read_dir(state.join("invitations")).expect("a folder").count(), 1);
}

/// Whoever was invited once knows the door of then, and not that of those who are invited when he is long in, or gone.
#[test]
fn who_was_invited_once_knows_no_door_of_later() {
    let (world, daemon, _) = house(&[]);
    let key = || fs::read_to_string(world.place("etc").join("keys/native-invite.key")).expect("a key");
    let first = key();
    world.portunus(&["revoke", "alice"]);
    let bobs = invite(&world, "bob", &[]);
    let second = key();
    assert_ne!(first, second);
    // Somebody is to come at this one.
    let carols = invite(&world, "carol", &[]);
    assert_eq!(key(), second);
    for (whose, code) in [("bob", &bobs), ("carol", &carols)] {
        let out = joined(&world, whose, code, &["--as", "home"]);
        assert!(out.status.success(), "{}\n{}", said(&out), daemon.log());
        assert_eq!(daemon.verdict(|| drop(knock(&world, whose))), "granted");
        world.portunus(&["close", "--all"]);
    }
}
