//! The openme face and openme's own packets: its getting-started as written, and what its programs made.
#![expect(clippy::expect_used, reason = "a test's helper fails by panicking")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;
use std::time::Duration;

use portunus_crypto::ed25519::SigningKey;
use portunus_interop::{Daemon, Firewall, Knocker, SERVER, World, closed, open_within, serve_tcp};

const DOOR: &str = "10.90.0.1:22";
const SOON: Duration = Duration::from_secs(1);

/// The `openme` face with files of this world's own.
fn openme(world: &World, on_client: bool, words: &[&str]) -> Output {
    let (server, client) = (path(world, "config.yaml"), path(world, "client.yaml"));
    let all = [&["openme", "--config", &server, "--client-config", &client], words].concat();
    let side = if on_client { &world.client } else { &world.server };
    world.command_on(side, &all).output().expect("the binary under test runs")
}

fn path(world: &World, name: &str) -> String {
    world.folder().join(name).to_str().expect("a path of ours is text").to_owned()
}

fn said(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

fn well(out: &Output) -> String {
    assert!(out.status.success(), "{}", said(out));
    said(out)
}

/// The profile YAML that `add` prints between rules.
fn printed_profile(said: &str) -> String {
    let from = said.find("profiles:").expect("add prints a profile");
    let lines = said[from..].lines();
    lines
        .take_while(|line| line.starts_with("profiles:") || line.starts_with(' '))
        .collect::<Vec<_>>()
        .join("\n")
        + "\n"
}

/// Writes it where the client looks for it, for nobody else to read.
fn keep_profile(world: &World, said: &str) {
    let file = world.folder().join("client.yaml");
    fs::write(&file, printed_profile(said)).expect("a file can be written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("its mode can be set");
}

fn serve(world: &World) -> Daemon {
    Daemon::start(
        world,
        &[
            "openme",
            "--config",
            &path(world, "config.yaml"),
            "serve",
            "--state-file",
            &path(world, "run-openme/sessions.json"),
        ],
    )
}

#[test]
fn the_getting_started_of_openme_works_as_written() {
    let world = World::bare(Firewall::PolicyDrop);
    well(&openme(&world, false, &["init", "--server", SERVER]));
    let again = openme(&world, false, &["init", "--server", SERVER]);
    assert_eq!(again.status.code(), Some(1), "init overwrites without --force: {}", said(&again));
    let added = well(&openme(&world, false, &["add", "alice", "--ports", "22/tcp"]));
    assert!(added.contains("Client \"alice\" added to server config."), "{added}");
    keep_profile(&world, &added);
    assert!(well(&openme(&world, false, &["list"])).contains("alice"));

    let daemon = serve(&world);
    let _listener = serve_tcp(&world.server, DOOR);
    assert!(closed(&world.client, DOOR));
    let profiles = well(&openme(&world, true, &["profiles"]));
    assert!(!profiles.contains("private_key: "), "a private key is shown: {profiles}");
    let name = if profiles.contains("alice") { "alice" } else { "default" };
    let knocked = well(&openme(&world, true, &["knock", name]));
    assert!(knocked.contains("Knocking 10.90.0.1:54154 ...") && knocked.contains("Knock sent."), "{knocked}");
    assert!(open_within(&world.client, DOOR, SOON).is_some());
    well(&openme(&world, true, &["status", name]));
    // The file is written soon after a change, not within it.
    std::thread::sleep(Duration::from_millis(1500));
    let sessions = well(&openme(
        &world,
        false,
        &["sessions", "--state-file", &path(&world, "run-openme/sessions.json")],
    ));
    assert!(sessions.contains("ACTIVE SESSIONS") && sessions.contains("alice"), "{sessions}");

    well(&openme(&world, false, &["revoke", "alice"]));
    std::thread::sleep(Duration::from_millis(300));
    assert!(closed(&world.client, DOOR), "revoke leaves the grant open");
    drop(daemon);
}

#[test]
fn adding_and_revoking_leave_the_file_byte_for_byte() {
    let world = World::bare(Firewall::PolicyDrop);
    well(&openme(&world, false, &["init", "--server", SERVER]));
    let file = world.folder().join("config.yaml");
    let mut text = fs::read_to_string(&file).expect("init made it");
    text.push_str("# a last word\nunknown_key: {kept: yes}   # with its comment\n");
    fs::write(&file, &text).expect("a file can be written");
    well(&openme(&world, false, &["add", "alice", "--ports", "22/tcp"]));
    let with_alice = fs::read_to_string(&file).expect("it is there");
    assert!(with_alice.contains("unknown_key: {kept: yes}   # with its comment"), "{with_alice}");
    well(&openme(&world, false, &["add", "bob"]));
    well(&openme(&world, false, &["revoke", "bob"]));
    assert_eq!(fs::read_to_string(&file).expect("it is there"), with_alice);
}

/// Every packet of the original's programs, sent to a daemon that has its server's key and its client's: they are
/// years old, so the verdict is `stale`, which is said only of what was opened and whose signature fits.
#[test]
fn packets_of_the_originals_programs_are_known_for_whose_they_are() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors/openme");
    let mut tried = 0;
    for file in fs::read_dir(&folder).expect("vectors/openme is there").flatten() {
        let text = fs::read_to_string(file.path()).expect("a vector can be read");
        let header =
            |name: &str| text.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")).map(str::trim));
        let (Some("open"), Some(server), Some(client)) =
            (header("kind"), header("server-private"), header("client-public"))
        else {
            continue;
        };
        tried += 1;
        let hex: String =
            text.split_once("\n\n").map(|(_, body)| body.split_whitespace().collect()).unwrap_or_default();
        let packet: Vec<u8> = (0..hex.len() / 2)
            .map(|n| u8::from_str_radix(&hex[2 * n..2 * n + 2], 16).expect("hex"))
            .collect();
        let world = World::bare(Firewall::PolicyDrop);
        well(&openme(&world, false, &["init", "--server", SERVER]));
        let yaml = world.folder().join("config.yaml");
        let made = fs::read_to_string(&yaml).expect("init made it");
        let with_keys: Vec<String> = made.lines().map(|line| with_key(line, server)).collect();
        let clients =
            format!("clients:\n  theirs:\n    ed25519_pubkey: {client}\n    allowed_ports: [22/tcp]\n");
        let without = with_keys
            .iter()
            .filter(|line| !line.starts_with("clients:"))
            .cloned()
            .collect::<Vec<_>>()
            .join("\n");
        fs::write(&yaml, format!("{without}\n{clients}")).expect("a file can be written");
        let daemon = serve(&world);
        let sender = Knocker::from_keys(
            [9; 32],
            SigningKey::new(&portunus_crypto::Secret::from_bytes([7; 32])).expect("a key"),
        );
        let seen = daemon.verdicts(1, || sender.send(&world.client, SERVER, &packet));
        assert_eq!(seen[0].reason.as_str(), "stale", "{}: {seen:?}", file.path().display());
        assert_eq!(seen[0].client.as_ref().map(ToString::to_string).as_deref(), Some("theirs"));
    }
    assert!(tried >= 4, "vectors/openme has fewer than four packets made by the CLI");
}

/// The server's key of a vector in the place of the one that `init` made.
fn with_key(line: &str, private: &str) -> String {
    let Some(at) = line.find("private_key:") else {
        return if line.trim_start().starts_with("public_key:") { String::new() } else { line.to_owned() };
    };
    format!("{}private_key: {private}", &line[..at])
}

#[test]
fn import_takes_a_server_over_with_its_clients() {
    let world = World::bare(Firewall::PolicyDrop);
    well(&openme(&world, false, &["init", "--server", SERVER]));
    let added = well(&openme(&world, false, &["add", "alice", "--ports", "22/tcp"]));
    keep_profile(&world, &added);
    world.portunus(&["import", "openme", &path(&world, "config.yaml")]);
    let _daemon = world.serve();
    let _listener = serve_tcp(&world.server, DOOR);
    world.laptop(&["join", &path(&world, "client.yaml"), "--as", "home"]);
    world.laptop(&["knock", "home"]);
    assert!(open_within(&world.client, DOOR, SOON).is_some(), "the same profile opens the same door");
}
