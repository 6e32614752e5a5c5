//! Edits by many at once, secrets on disk, and the carried stream: what no single session at a prompt shows.

#![expect(clippy::unwrap_used, reason = "a helper of a test may fail as the test itself")]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;

const PROGRAM: &str = env!("CARGO_BIN_EXE_portunus");

fn command(home: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command
        .env_clear()
        .env("HOME", home)
        .env("PORTUNUS_CONFIG_DIR", home.join("etc"))
        .env("PORTUNUS_STATE_DIR", home.join("state"))
        .env("PORTUNUS_RUN_DIR", home.join("run"))
        .current_dir(home);
    command
}

fn run(home: &Path, words: &[&str]) -> Output {
    command(home).args(words).output().unwrap()
}

fn good(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn eight_at_once_leave_eight_clients() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path();
    good(&run(home, &["init", "--host", "127.0.0.1", "--place", "own"]));
    good(&run(home, &["openme", "--config", "openme.yaml", "init", "--server", "127.0.0.1"]));
    let names: Vec<String> = (0..8).map(|n| format!("client{n}")).collect();
    thread::scope(|scope| {
        for name in &names {
            scope.spawn(move || good(&run(home, &["add", name])));
            scope.spawn(move || good(&run(home, &["openme", "--config", "openme.yaml", "add", name])));
        }
    });
    let ours = good(&run(home, &["list"]));
    let theirs = good(&run(home, &["openme", "--config", "openme.yaml", "list"]));
    for name in &names {
        assert!(ours.contains(name.as_str()), "{ours}");
        assert!(theirs.contains(name.as_str()), "{theirs}");
    }
    assert_eq!(mode(&home.join("openme.yaml")), 0o600);
    assert_eq!(mode(&home.join("etc/keys/openme.key")), 0o600);
    assert_eq!(mode(&home.join("etc/keys")), 0o700);
    assert_eq!(mode(&home.join("etc/clients/client0.toml")), 0o600);
}

#[test]
fn comments_and_unknown_keys_stay_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path();
    let file = home.join("c.yaml");
    good(&run(home, &["openme", "--config", "c.yaml", "init", "--server", "h"]));
    let text = fs::read_to_string(&file).unwrap() + "# the end\nextra:   {kept: yes}   # odd\n";
    fs::write(&file, &text).unwrap();
    good(&run(home, &["openme", "--config", "c.yaml", "add", "alice"]));
    assert_ne!(fs::read_to_string(&file).unwrap(), text);
    good(&run(home, &["openme", "--config", "c.yaml", "revoke", "alice"]));
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
}

#[test]
fn a_profile_goes_into_no_file_that_others_can_read() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path();
    good(&run(home, &["init", "--host", "127.0.0.1", "--place", "own"]));
    good(&run(home, &["openme", "--config", "openme.yaml", "init", "--server", "127.0.0.1"]));
    for (file, words) in
        [("a", &["add", "alice"][..]), ("b", &["openme", "--config", "openme.yaml", "add", "bob"])]
    {
        let path = home.join(file);
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let into = fs::File::options().write(true).open(&path).unwrap();
        let out = command(home).args(words).stdout(into).output().unwrap();
        good(&out);
        assert!(String::from_utf8_lossy(&out.stderr).contains("its mode is 0600 now"));
        assert_eq!(mode(&path), 0o600);
        assert!(fs::read_to_string(&path).unwrap().contains("private_key"));
    }
}

#[test]
fn a_secret_that_others_can_read_is_refused_with_the_mend() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path();
    good(&run(home, &["init", "--host", "127.0.0.1", "--place", "own"]));
    let key = home.join("etc/keys/openme.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let output = run(home, &["check"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("chmod 600"), "{said}");
    // A profile of a person likewise.
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let profile = good(&run(home, &["add", "alice"]));
    fs::write(home.join("alice.toml"), profile).unwrap();
    good(&run(home, &["join", "alice.toml", "--as", "home"]));
    let saved = home.join(".config/portunus/profiles/home.toml");
    assert_eq!(mode(&saved), 0o600);
    fs::set_permissions(&saved, fs::Permissions::from_mode(0o640)).unwrap();
    let output = run(home, &["knock", "home"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78));
    assert!(said.contains("chmod 600"), "{said}");
}

/// A server's stand-in: tells when a knock came, and has something listening behind it.
fn server(at: &str) -> (UdpSocket, TcpListener) {
    let gate = UdpSocket::bind((at, 0)).unwrap();
    let door = TcpListener::bind((at, 0)).unwrap();
    (gate, door)
}

fn profile_for(home: &Path, host: &str, port: u16) {
    let port = port.to_string();
    let words =
        ["init", "--host", host, "--port", &port, "--place", "own", "--force", "--dialects", "openme"];
    good(&run(home, &words));
    let profile = good(&run(home, &["add", "alice"]));
    fs::write(home.join("alice.toml"), profile).unwrap();
    good(&run(home, &["join", "alice.toml", "--as", "home"]));
}

fn carried(host: &str) {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path();
    let (gate, door) = server(host);
    profile_for(home, host, gate.local_addr().unwrap().port());
    let port = door.local_addr().unwrap().port().to_string();
    let far = thread::spawn(move || {
        let mut knock = [0; 2048];
        let (length, from): (usize, SocketAddr) = gate.recv_from(&mut knock).unwrap();
        assert_eq!((length, knock[0]), (165, 1));
        let (mut stream, peer) = door.accept().unwrap();
        // The connection comes from the very address that knocked.
        assert_eq!(peer.ip(), from.ip());
        // Our end of input is the far side's end of file, and its answer comes all the same.
        let mut question = Vec::new();
        stream.read_to_end(&mut question).unwrap();
        stream.write_all(b"answer to ").unwrap();
        stream.write_all(&question).unwrap();
    });
    let mut proxy = command(home)
        .args(["proxy", host, &port])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    proxy.stdin.take().unwrap().write_all(b"a question").unwrap();
    let output = proxy.wait_with_output().unwrap();
    assert_eq!(good(&output), "answer to a question");
    far.join().unwrap();
}

#[test]
fn proxy_knocks_and_carries_the_stream_over_ipv4() {
    carried("127.0.0.1");
}

#[test]
fn proxy_knocks_and_carries_the_stream_over_ipv6() {
    carried("::1");
}

#[test]
fn the_far_side_s_last_word_closes_our_output_and_leaves_our_input_flowing() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path();
    let (gate, door) = server("127.0.0.1");
    profile_for(home, "127.0.0.1", gate.local_addr().unwrap().port());
    let port = door.local_addr().unwrap().port().to_string();
    let mut proxy = command(home)
        .args(["proxy", "--profile", "home", "127.0.0.1", &port])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stream, _) = door.accept().unwrap();
    stream.write_all(b"last word").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut heard = String::new();
    proxy.stdout.take().unwrap().read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "last word");
    let mut input = proxy.stdin.take().unwrap();
    input.write_all(b"and mine").unwrap();
    drop(input);
    let mut question = String::new();
    stream.read_to_string(&mut question).unwrap();
    assert_eq!(question, "and mine");
    assert!(proxy.wait().unwrap().success());
}

#[test]
fn status_and_connect_see_an_open_door() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path();
    let (gate, door) = server("127.0.0.1");
    profile_for(home, "127.0.0.1", gate.local_addr().unwrap().port());
    let port = door.local_addr().unwrap().port().to_string();
    let said = good(&run(home, &["status", "home", "--knock", "--port", &port]));
    assert!(said.starts_with("home is open: 127.0.0.1:"), "{said}");
    let said = good(&run(home, &["connect", "home", "--port", &port, "--", "echo", "in"]));
    assert_eq!(said, "in\n");
    let code = run(home, &["connect", "home", "--port", &port, "--", "sh", "-c", "exit 7"]).status.code();
    assert_eq!(code, Some(7));
}

#[test]
fn man_pages_of_every_command_are_made() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path();
    good(&run(home, &["man", "man1"]));
    for page in ["portunus", "portunus-knock", "portunus-import", "openme", "openme-serve"] {
        let text = fs::read_to_string(home.join(format!("man1/{page}.1"))).unwrap();
        assert!(text.contains(".SH EXAMPLE") || text.contains("Example"), "{page}");
    }
    assert!(!home.join("man1/portunus-man.1").exists());
}

#[test]
fn a_reader_that_has_gone_ends_it_quietly() {
    for words in ["completion bash", "--help", "knock --help"] {
        let piped = format!("{PROGRAM} {words} | true");
        let output = Command::new("/bin/sh").arg("-c").arg(&piped).env_clear().output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{words}");
    }
}

#[test]
fn knocks_that_never_left_make_the_whole_a_failure() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path();
    profile_for(home, "192.0.2.1", 4);
    // A host with the other family only: no knock has an address to go to.
    let output = run(home, &["knock", "-6", "--count", "2", "--interval", "1ms"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.ends_with("2 of 2 knocks were not sent: see the reasons above\n"), "{said}");
}

#[test]
fn one_broken_profile_hides_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path();
    profile_for(home, "192.0.2.1", 4);
    let broken = home.join(".config/portunus/profiles/broken.toml");
    fs::write(&broken, "host = 1\n").unwrap();
    fs::set_permissions(&broken, fs::Permissions::from_mode(0o600)).unwrap();
    let output = run(home, &["profiles"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&output.stdout).contains("192.0.2.1"));
    assert!(String::from_utf8_lossy(&output.stderr).contains("broken.toml:1:"));
}

#[test]
fn init_over_an_existing_file_keeps_what_was_written_by_hand() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path();
    good(&run(home, &["init", "--host", "h", "--place", "own"]));
    let file = home.join("etc/portunus.toml");
    let text = fs::read_to_string(&file).unwrap() + "# mine\n";
    fs::write(&file, &text).unwrap();
    good(&run(home, &["init", "--host", "i", "--place", "own", "--force"]));
    assert_eq!(fs::read_to_string(home.join("etc/portunus.toml.old")).unwrap(), text);
    // The next one takes no other's place.
    good(&run(home, &["init", "--host", "j", "--place", "own", "--force"]));
    assert_eq!(fs::read_to_string(home.join("etc/portunus.toml.old")).unwrap(), text);
    assert!(fs::read_to_string(home.join("etc/portunus.toml.old.1")).unwrap().contains("host = \"i\""));
}

#[test]
fn init_that_cannot_make_a_door_leaves_what_was_there() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path();
    good(&run(home, &["init", "--host", "h", "--place", "own", "--dialects", "openme"]));
    let before = fs::read_to_string(home.join("etc/portunus.toml")).unwrap();
    // No chain can be left where the state folder is to be.
    fs::write(home.join("state"), "").unwrap();
    let output = run(home, &["init", "--host", "i", "--place", "own", "--force"]);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(fs::read_to_string(home.join("etc/portunus.toml")).unwrap(), before);
    assert!(!home.join("etc/portunus.toml.old").exists() && !home.join("etc/keys/native.key").exists());
    fs::remove_file(home.join("state")).unwrap();
    good(&run(home, &["init", "--host", "i", "--place", "own", "--force"]));
    good(&run(home, &["check"]));
}

#[test]
fn a_secret_is_added_to_no_file_that_others_can_read() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path();
    good(&run(home, &["init", "--host", "h", "--place", "own", "--dialects", "native,fwknop"]));
    let many = home.join("etc/clients.toml");
    fs::write(&many, "# all of them\n").unwrap();
    fs::set_permissions(&many, fs::Permissions::from_mode(0o644)).unwrap();
    for words in [&["add", "alice", "--totp"][..], &["add", "alice", "--dialect", "fwknop"]] {
        let output = run(home, words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("it holds a secret and others can reach it (mode 0644): chmod 600 "), "{said}");
        assert!(output.stdout.is_empty(), "no profile of a client that is none");
        assert_eq!(fs::read_to_string(&many).unwrap(), "# all of them\n");
    }
    // One without a secret goes there; and so does this one into a file that is shut.
    good(&run(home, &["add", "bob"]));
    fs::set_permissions(&many, fs::Permissions::from_mode(0o600)).unwrap();
    good(&run(home, &["add", "alice", "--totp"]));
    assert!(good(&run(home, &["show", "alice"])).contains("\ntotp         yes\n"));
}

#[test]
fn a_client_whose_profile_gets_lost_is_not_added() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path();
    good(&run(home, &["init", "--host", "h", "--place", "own", "--dialects", "native,openme,fwknop"]));
    for dialect in ["native", "openme", "fwknop"] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let words = ["add", "alice", "--dialect", dialect, "--qr-out", "alice.svg"];
        let output = command(home).args(words).stdout(full).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.contains("it could not be printed (No space left on device")
                && said.ends_with(": standard output: nothing was added: mend that, and do it again\n"),
            "{said}"
        );
        assert!(!home.join("alice.svg").exists(), "{dialect}");
        let left = fs::read_dir(home.join("state/chains.new")).unwrap();
        assert_eq!(left.count(), 1, "the door's chain, and no link");
        assert!(!good(&run(home, &["list"])).contains("alice"), "{dialect}");
    }
    good(&run(home, &["add", "alice"]));
}

#[test]
fn no_command_at_all_is_answered_with_help() {
    let dir = tempfile::tempdir().unwrap();
    for words in [&[][..], &["openme"]] {
        let output = run(dir.path(), words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2));
        assert!(said.contains("\nCommands:\n") && !said.contains("  man"), "{said}");
    }
}

#[test]
fn an_empty_profile_is_said_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let output = command(dir.path()).arg("join").stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        said,
        "portunus: it is empty: standard input: give it what the server's `portunus add` printed\n"
    );
}

#[test]
fn a_forced_profile_does_not_inherit_a_mode_that_was_too_open() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path();
    profile_for(home, "192.0.2.1", 4);
    let saved = home.join(".config/portunus/profiles/home.toml");
    fs::set_permissions(&saved, fs::Permissions::from_mode(0o644)).unwrap();
    let before = fs::read(&saved).unwrap();
    let output = run(home, &["join", "alice.toml", "--as", "home", "--force"]);
    good(&output);
    assert_eq!(mode(&saved), 0o600);
    // The one before may hold the only link that its server knows.
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said, "portunus: the old profile is in ~/.config/portunus/profiles/home.toml.old\n");
    let old = saved.with_extension("toml.old");
    assert_eq!((fs::read(&old).unwrap(), mode(&old)), (before, 0o600));
    assert!(!good(&run(home, &["profiles"])).contains("home.toml"), "it is no profile");
}

#[test]
fn a_client_that_is_not_written_is_refused_without_a_place_in_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path();
    good(&run(home, &["init", "--host", "h", "--place", "own"]));
    let output = run(home, &["add", "alice", "--for", "100000h"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said, "portunus: grant is 100000h: use a time from 1s to 24h\n");
    assert!(!home.join("etc/clients/alice.toml").exists());
}
