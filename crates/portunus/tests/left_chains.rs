//! What commands leave of the native dialect for the daemon: keys, chains, and nothing of it to others.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a helper of a test may fail as the test itself")]

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use portunus_crypto::x25519::PrivateKey;
use portunus_crypto::{Secret, text};
use portunus_dialect::native::{Chain, Day};
use portunus_model::ChainOwner as Owner;
use portunus_store::chains::{Chains, Change, Entry};
use portunus_store::handover::{Handover, NewChain};
use portunus_sys::clock;

struct Server(tempfile::TempDir);

impl Server {
    fn bare() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn new() -> Self {
        let server = Self::bare();
        server.good(&["init", "--host", "127.0.0.1", "--place", "own"]);
        server
    }

    fn path(&self, below: &str) -> PathBuf {
        self.0.path().join(below)
    }

    fn run(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portunus"));
        command.env_clear().env("HOME", self.0.path()).current_dir(self.0.path());
        for (name, below) in
            [("PORTUNUS_CONFIG_DIR", "etc"), ("PORTUNUS_STATE_DIR", "state"), ("PORTUNUS_RUN_DIR", "run")]
        {
            command.env(name, self.path(below));
        }
        command.args(words).output().unwrap()
    }

    fn good(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// What was said of a refusal.
    fn bad(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert!(!output.status.success(), "{words:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn init_again(&self) -> String {
        let output = self.run(&["init", "--host", "127.0.0.1", "--place", "own", "--force"]);
        assert!(output.status.success());
        String::from_utf8(output.stderr).unwrap()
    }

    /// What lies there for the daemon, in the order of the names.
    fn left(&self) -> Vec<Handover> {
        let mut paths: Vec<_> =
            fs::read_dir(self.path("state/chains.new")).unwrap().map(|e| e.unwrap().path()).collect();
        paths.sort();
        paths
            .iter()
            .map(|path| {
                assert_eq!(mode(path), 0o600, "{}", path.display());
                let left = Handover::parse(&fs::read_to_string(path).unwrap()).unwrap();
                assert_eq!(path.file_name().unwrap().to_str(), Some(left.file_name().as_str()));
                left
            })
            .collect()
    }

    fn door(&self) -> NewChain {
        match self.left().remove(0) {
            Handover::Door(door) => door,
            other @ (Handover::Link(_) | Handover::Gone(_)) => panic!("{other:?}"),
        }
    }

    /// Puts the door's chain into the store, as the daemon would, so many days on.
    fn store(&self, ahead: i64) -> Chain {
        let door = self.door();
        let day = u32::try_from(i64::from(door.day) + ahead).unwrap();
        let file =
            File::options().read(true).write(true).create_new(true).open(self.path("state/chains")).unwrap();
        let (mut chains, _) = Chains::open(file, |_| ()).unwrap();
        let slot = chains.reserve();
        let entry = Entry { slot, owner: Owner::Door(door.public), day, value: door.value.expose() };
        chains.change(&[Change::Put(entry)]).unwrap();
        fs::remove_dir_all(self.path("state/chains.new")).unwrap();
        Chain::new(Day::from_number(day), door.value)
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn public(secret: &str) -> [u8; 32] {
    *PrivateKey::new(&Secret::from_base64(secret).unwrap()).unwrap().public()
}

/// The value behind `key = ` in a file of ours, without its quotes.
fn value(file: &str, key: &str) -> String {
    let line = file.lines().find_map(|line| line.strip_prefix(&format!("{key} = ")));
    line.unwrap_or_else(|| panic!("no {key} in {file}")).trim_matches('"').to_owned()
}

fn today() -> Day {
    Day::of(clock::wall()).unwrap()
}

#[test]
fn init_makes_a_door_with_a_chain_and_a_second_one_keeps_both() {
    let (before, server) = (today(), Server::new());
    let key = server.path("etc/keys/native.key");
    assert_eq!((mode(&key), mode(&server.path("state/chains.new"))), (0o600, 0o700));
    let (text, door) = (fs::read_to_string(&key).unwrap(), server.door());
    assert_eq!(door.public, public(text.trim_end()));
    assert!((before..=today()).contains(&Day::from_number(door.day)));
    assert!(server.good(&["check"]).contains("no mistake in it"));
    assert!(!server.init_again().contains("useless"));
    assert!(fs::read_to_string(&key).unwrap() == text && server.door() == door);
    // Taken up by the daemon: the chain is in the store, and no other is made.
    server.store(0);
    assert!(!server.init_again().contains("useless"));
    assert!(!server.path("state/chains.new").exists());
    // Lost: said, and made anew.
    fs::remove_file(server.path("state/chains")).unwrap();
    assert!(server.init_again().contains("profiles of before are useless"));
    assert!(server.door().public == door.public && server.door().value != door.value);
}

#[test]
fn init_makes_the_keys_of_the_dialects_that_it_is_asked_for() {
    for (dialects, keys) in [("openme", &["openme.key"][..]), ("native", &["native.key"]), ("fwknop", &[])] {
        let server = Server::bare();
        server.good(&["init", "--host", "h", "--place", "own", "--dialects", dialects]);
        let mut made: Vec<_> =
            fs::read_dir(server.path("etc/keys")).unwrap().map(|e| e.unwrap().file_name()).collect();
        made.sort();
        assert_eq!(made, keys, "{dialects}");
        assert_eq!(server.path("state/chains.new").exists(), dialects == "native");
        let toml = fs::read_to_string(server.path("etc/portunus.toml")).unwrap();
        assert!(toml.contains(&format!("dialects = [\"{dialects}\"]")), "{toml}");
    }
}

#[test]
fn a_profile_and_what_is_left_for_the_daemon_fit() {
    let server = Server::new();
    let door = server.door();
    let profile = server.good(&["add", "alice", "--ports", "ssh", "--answers", "--bind", "must"]);
    assert_eq!(value(&profile, "dialect"), "native");
    assert_eq!(value(&profile, "server_pubkey"), text::encode(&door.public));
    assert_eq!(value(&profile, "day"), today().number().to_string());
    let first = Chain::new(Day::from_number(door.day), door.value);
    assert_eq!(value(&profile, "door_chain"), *first.at(today()).unwrap().to_base64());
    for (key, said) in [("fresh", "true"), ("answers", "true"), ("bind", "must")] {
        assert_eq!(value(&profile, key), said);
    }
    let Some(Handover::Link(link)) = server.left().pop() else { panic!("no link") };
    let client = fs::read_to_string(server.path("etc/clients/alice.toml")).unwrap();
    assert_eq!(value(&client, "public_key"), text::encode(&link.public));
    assert_eq!(public(&value(&profile, "private_key")), link.public);
    assert_eq!(value(&profile, "link_chain"), *link.value.to_base64());
    assert_eq!(link.day, today().number());
    assert!(!client.contains(&value(&profile, "private_key")));
}

/// The daemon has taken the chain up and advanced it, or has not for some days: the profile has today's value.
#[test]
fn a_profile_begins_with_todays_value_of_the_stored_chain() {
    let server = Server::new();
    let chain = server.store(-3);
    let profile = server.good(&["add", "alice"]);
    assert_eq!(value(&profile, "door_chain"), *chain.at(today()).unwrap().to_base64());
    assert!(chain.at(today()).unwrap() != *chain.value());
}

#[test]
fn where_no_key_of_today_can_be_made_nobody_is_added() {
    let server = Server::new();
    server.store(9);
    let said = server.bad(&["add", "alice"]);
    assert!(said.contains("this machine's clock is behind"), "{said}");
    fs::remove_file(server.path("state/chains")).unwrap();
    let said = server.bad(&["add", "alice"]);
    assert!(said.contains("the server's door has no chain") && said.contains("portunus init"), "{said}");
    assert!(!server.path("etc/clients/alice.toml").exists() && !server.path("state/chains.new").exists());
}

#[test]
fn of_a_revoked_client_only_the_order_to_erase_is_left() {
    let server = Server::new();
    server.good(&["add", "alice"]);
    let Some(Handover::Link(link)) = server.left().pop() else { panic!("no link") };
    // Nobody must stay in because of a mistake somewhere else.
    fs::write(server.path("etc/clients/bob.toml"), "dialect = \"nativ\"\n").unwrap();
    server.good(&["revoke", "alice"]);
    let left = server.left();
    assert!(matches!(&left[..], [Handover::Door(_), Handover::Gone(key)] if *key == link.public), "{left:?}");
}

#[test]
fn check_warns_of_a_client_or_a_door_without_a_chain() {
    let server = Server::new();
    server.good(&["add", "alice"]);
    let said = |server: &Server| String::from_utf8(server.run(&["check"]).stderr).unwrap();
    assert_eq!(said(&server), "");
    server.store(0);
    let told = said(&server);
    assert!(
        told.contains("client \"alice\" has no link chain, so it cannot knock") && told.lines().count() == 1
    );
    fs::remove_file(server.path("state/chains")).unwrap();
    let told = said(&server);
    assert!(
        told.contains("a door of the native dialect has no chain") && told.lines().count() == 2,
        "{told}"
    );
    for n in 0..9 {
        server.good(&["add", &format!("o{n}"), "--dialect", "openme"]);
    }
    assert_eq!(said(&server).lines().count(), 2);
}
