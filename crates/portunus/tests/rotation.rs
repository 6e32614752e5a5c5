//! A new door on the command line: made, said, handed over, and put in the old one's place. What the daemon does is written into
//! the store here; the whole of it is tested where both run.

#![expect(clippy::unwrap_used, reason = "a helper of a test may fail as the test itself")]

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use portunus_config::profile::{Keys, NativeKeys, Renewal, native};
use portunus_crypto::x25519::PrivateKey;
use portunus_crypto::{Secret, text};
use portunus_model::ChainOwner as Owner;
use portunus_store::chains::{Chains, Change, Entry};
use portunus_store::handover::Handover;

struct Server(tempfile::TempDir);

impl Server {
    fn new() -> Self {
        let server = Self(tempfile::tempdir().unwrap());
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
        assert!(output.status.success(), "{words:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// What was said of a refusal.
    fn bad(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert!(!output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stdout));
        said(&output)
    }

    /// The profile of a new client, in the client's own folder under its name.
    fn client(&self, name: &str, more: &[&str]) -> NativeKeys {
        let profile = self.good(&[&["add", name], more].concat());
        fs::write(self.path("p.toml"), profile).unwrap();
        self.good(&["join", "p.toml", "--as", name]);
        self.profile(name)
    }

    fn profile_path(&self, name: &str) -> PathBuf {
        self.path(&format!(".config/portunus/profiles/{name}.toml"))
    }

    fn profile(&self, name: &str) -> NativeKeys {
        let path = self.profile_path(name);
        match native::parse(&fs::read_to_string(&path).unwrap(), &path).unwrap().keys {
            Keys::Native(keys) => *keys,
            Keys::Openme { .. } => unreachable!("{name} is of the native dialect"),
        }
    }

    /// The public key of the door whose key lies in this file.
    fn door(&self, name: &str) -> [u8; 32] {
        let key = fs::read_to_string(self.path("etc/keys").join(name)).unwrap();
        *PrivateKey::new(&Secret::from_base64(key.trim_end()).unwrap()).unwrap().public()
    }

    /// This client has knocked at that door, as the daemon writes it down.
    fn moved(&self, client: &NativeKeys, door: [u8; 32]) {
        let path = self.path("state/chains");
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path).unwrap();
        let (mut chains, _) = Chains::open(file, |_| ()).unwrap();
        let slot = chains.reserve();
        let entry = Entry { slot, owner: Owner::Moved(client.public), day: 20_000, value: &door };
        chains.change(&[Change::Put(entry)]).unwrap();
    }

    /// Whether the daemon is to erase what there is of this public key, and has no order to take it up.
    fn is_to_go(&self, public: [u8; 32]) -> bool {
        let left = fs::read_dir(self.path("state/chains.new")).unwrap().map(|entry| entry.unwrap().path());
        let left: Vec<_> =
            left.map(|path| Handover::parse(&fs::read_to_string(path).unwrap()).unwrap()).collect();
        let of: Vec<_> = left.iter().filter(|one| *one.public() == public).collect();
        matches!(&of[..], [Handover::Gone(_)])
    }

    fn keys(&self) -> Vec<String> {
        let keys = fs::read_dir(self.path("etc/keys")).unwrap();
        let mut names: Vec<_> = keys.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| name.starts_with("native"));
        names.sort();
        names
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_new_door_is_made_once_said_to_whom_it_concerns_and_given_to_new_clients() {
    let server = Server::new();
    let alice = server.client("alice", &["--answers"]);
    server.client("bob", &[]);
    let told = server.good(&["rotate"]);
    assert!(told.contains("1 client is told of it by the answer"), "{told}");
    assert!(told.contains("1 client is not, for want of answers: bob"), "{told}");
    assert_eq!(mode(&server.path("etc/keys/native-next.key")), 0o600);
    assert_eq!(server.door("native.key"), alice.server);
    let next = server.door("native-next.key");
    let (carol, dora) = (server.client("carol", &[]), server.profile("alice"));
    assert!(carol.server == next && dora.server == alice.server);
    let again = server.bad(&["rotate"]);
    assert!(again.contains("a new door stands already, since 20") && again.contains("--retire"), "{again}");
    assert_eq!(server.keys(), ["native-next.key", "native.key"]);
    assert!(server.good(&["check"]).contains("no mistake in it"));
}

#[test]
fn status_tells_from_the_store_who_has_not_been_seen_at_the_new_door() {
    let server = Server::new();
    let (alice, bob) = (server.client("alice", &["--answers"]), server.client("bob", &[]));
    server.good(&["add", "dora", "--dialect", "openme"]);
    assert!(server.good(&["rotate", "--status"]).contains("no new door stands"));
    server.good(&["rotate"]);
    let next = server.door("native-next.key");
    server.moved(&alice, next);
    // Of a rotation that was before this one.
    server.moved(&bob, [9; 32]);
    let status = server.run(&["rotate", "--status"]);
    let table = String::from_utf8_lossy(&status.stdout).into_owned();
    assert_eq!(status.status.code(), Some(1));
    assert!(table.contains("1 of 2 clients have been seen at the new door"), "{table}");
    assert!(table.contains("bob             no"), "{table}");
    assert!(!table.contains("alice") && !table.contains("dora"), "{table}");
    let json = server.run(&["rotate", "--status", "--json"]).stdout;
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(
        (&json["clients"], &json["moved"], &json["left"][0]["name"]),
        (&2.into(), &1.into(), &"bob".into())
    );
    assert_eq!((&json["doors"][0]["role"], &json["doors"][1]["role"]), (&"current".into(), &"next".into()));
    server.moved(&bob, next);
    assert!(server.good(&["rotate", "--status"]).contains("2 of 2"));
}

#[test]
fn the_new_door_takes_the_old_ones_place_when_all_have_moved_or_by_force() {
    for force in [false, true] {
        let server = Server::new();
        let (alice, bob) = (server.client("alice", &["--answers"]), server.client("bob", &[]));
        let nothing = server.bad(&["rotate", "--retire"]);
        assert!(
            nothing.contains("no new door stands") && nothing.contains("portunus rotate makes one"),
            "{nothing}"
        );
        server.good(&["rotate"]);
        let (old, next) = (server.door("native.key"), server.door("native-next.key"));
        server.moved(&alice, next);
        let refused = server.bad(&["rotate", "--retire"]);
        assert!(
            refused.contains("1 client has not been seen at the new door") && refused.contains("bob"),
            "{refused}"
        );
        assert_eq!(server.keys(), ["native-next.key", "native.key"]);
        if force {
            server.good(&["rotate", "--retire", "--force"]);
        } else {
            server.moved(&bob, next);
            server.good(&["rotate", "--retire"]);
        }
        assert_eq!(server.keys(), ["native.key"]);
        assert!(server.door("native.key") == next && server.is_to_go(old) && !server.is_to_go(next));
        assert!(server.good(&["check"]).contains("no mistake in it"));
    }
}

#[test]
fn a_retirement_that_was_killed_after_its_rename_is_said_again_and_ends() {
    let server = Server::new();
    server.good(&["rotate"]);
    let (old, next) = (server.door("native.key"), server.door("native-next.key"));
    fs::rename(server.path("etc/keys/native-next.key"), server.path("etc/keys/native.key")).unwrap();
    server.good(&["rotate", "--retire"]);
    assert!(server.door("native.key") == next && server.is_to_go(old) && !server.is_to_go(next));
}

#[test]
fn who_is_shut_out_is_revoked_and_the_new_door_is_printed_for_the_others() {
    let server = Server::new();
    let (alice, bob) = (server.client("alice", &["--answers"]), server.client("bob", &[]));
    let made = server.run(&["rotate", "--without", "alice"]);
    assert!(made.status.success(), "{}", said(&made));
    let beside = said(&made);
    assert!(beside.contains("alice is revoked") && beside.contains("no answer tells of it"), "{beside}");
    assert!(!server.path("etc/clients/alice.toml").exists() && server.is_to_go(alice.public));
    assert_eq!(server.keys(), ["native-apart.key", "native.key"]);
    // Standard output is the door alone.
    let paper = server.path("door.toml");
    fs::write(&paper, &made.stdout).unwrap();
    let joined = server.good(&["join", "door.toml", "--as", "bob"]);
    assert!(joined.contains("knocks at the new door from now on"), "{joined}");
    let now = server.profile("bob");
    assert!(
        now.server == server.door("native-apart.key") && now.old_door.is_none() && now.public == bob.public
    );
    assert!(!String::from_utf8_lossy(&made.stdout).contains("fresh"), "she knows nobody else's link");
    // Another one is revoked at once; the door may be known to her, and that is said.
    server.client("carol", &[]);
    let again = server.bad(&["rotate", "--without", "carol"]);
    assert!(again.contains("carol is revoked") && again.contains("stands already"), "{again}");
    assert!(!server.path("etc/clients/carol.toml").exists());
}

#[test]
fn a_door_that_answers_told_of_is_no_door_for_who_is_shut_out() {
    let server = Server::new();
    server.client("alice", &["--answers"]);
    server.client("bob", &["--answers"]);
    server.good(&["rotate"]);
    let (old, told) = (server.door("native.key"), server.door("native-next.key"));
    // Who was revoked before.
    server.good(&["revoke", "alice"]);
    let made = server.run(&["rotate", "--without", "alice", "--out", "door.toml"]);
    assert!(
        made.status.success() && said(&made).contains("no client is named alice (any more)"),
        "{}",
        said(&made)
    );
    assert_eq!(mode(&server.path("door.toml")), 0o600);
    assert_eq!(server.keys(), ["native-apart.key", "native-burnt.key", "native.key"]);
    assert_eq!(server.door("native-burnt.key"), told);
    server.good(&["rotate", "--retire", "--force"]);
    assert_eq!(server.keys(), ["native.key"]);
    assert!(server.is_to_go(old) && server.is_to_go(told) && !server.is_to_go(server.door("native.key")));
}

#[test]
fn after_a_theft_who_is_handed_the_door_draws_a_new_link_too() {
    let server = Server::new();
    for name in ["alice", "bob"] {
        server.client(name, &[]);
        // It was used for long.
        let path = server.profile_path(name);
        fs::write(&path, fs::read_to_string(&path).unwrap().replace("fresh = true\n", "")).unwrap();
        assert!(matches!(server.profile(name).renewal, Renewal::Done));
    }
    server.good(&["rotate", "--apart", "--out", "stolen.toml"]);
    server.good(&["rotate", "--print", "--out", "door.toml"]);
    server.good(&["join", "stolen.toml", "--as", "alice"]);
    server.good(&["join", "door.toml", "--as", "bob"]);
    assert!(matches!(server.profile("alice").renewal, Renewal::Due));
    assert!(matches!(server.profile("bob").renewal, Renewal::Done));
}

#[test]
fn a_client_of_another_dialect_knows_no_door() {
    let server = Server::new();
    server.good(&["add", "dora", "--dialect", "openme"]);
    let refused = server.bad(&["rotate", "--without", "dora"]);
    assert!(
        refused.contains("dora is a client of openme, and knows no door: portunus revoke dora"),
        "{refused}"
    );
    assert!(server.path("etc/clients/dora.toml").exists() && server.keys() == ["native.key"]);
}

#[test]
fn a_door_by_itself_goes_into_the_profile_that_it_is_for_and_nothing_else_changes() {
    let server = Server::new();
    let before = server.client("alice", &[]);
    let path = server.profile_path("alice");
    let text = format!("# mine\n{}# end\n", fs::read_to_string(&path).unwrap());
    fs::write(&path, &text).unwrap();
    server.good(&["rotate"]);
    server.good(&["rotate", "--print", "--out", "door.toml", "--qr-out", "door.png"]);
    assert_eq!((mode(&server.path("door.toml")), mode(&server.path("door.png"))), (0o600, 0o600));
    let said = server.good(&["join", "door.toml"]);
    assert!(said.contains("alice (127.0.0.1) knocks at the new door from now on"), "{said}");
    let after = server.profile("alice");
    assert!(after.server == server.door("native-next.key") && after.server != before.server);
    assert!(after.link.value() == before.link.value() && mode(&path) == 0o600);
    let rest = |text: &str| {
        let moving = |line: &&str| !line.starts_with("server_pubkey") && !line.starts_with("door_chain");
        text.lines().filter(moving).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(rest(&fs::read_to_string(&path).unwrap()), rest(&text));
    assert!(server.good(&["join", "door.toml"]).contains("knocks at that door already"));
    // Which one, where two are of one server; and where none is.
    server.client("bob", &[]);
    let several = server.bad(&["join", "door.toml"]);
    assert!(
        several.contains("several profiles are of 127.0.0.1, port 54154: alice, bob")
            && several.contains("--as")
    );
    let other = fs::read_to_string(server.path("door.toml")).unwrap().replace("127.0.0.1", "h.example");
    fs::write(server.path("other.toml"), other).unwrap();
    let none = server.bad(&["join", "other.toml"]);
    assert!(none.contains("no profile of the native dialect is of h.example, port 54154"), "{none}");
    server.good(&["join", "other.toml", "--as", "bob"]);
    assert_eq!(server.profile("bob").server, after.server);
}

#[test]
fn check_names_a_new_door_that_nobody_can_knock_at_and_two_of_which_one_counts() {
    let server = Server::new();
    server.good(&["rotate"]);
    let folder = server.path("state/chains.new");
    for path in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
        let Handover::Door(door) = Handover::parse(&fs::read_to_string(&path).unwrap()).unwrap() else {
            continue;
        };
        if door.public == server.door("native-next.key") {
            fs::remove_file(path).unwrap();
        }
    }
    let warned = said(&server.run(&["check"]));
    assert!(
        warned.contains("keys/native-next.key")
            && warned.contains("the new door has no chain")
            && warned.contains("take the file away"),
        "{warned}"
    );
    let walked = String::from_utf8(server.run(&["doctor"]).stdout).unwrap();
    assert!(walked.contains("wrong  keys/native-next.key: the new door has no chain"), "{walked}");
    let refused = server.bad(&["rotate", "--retire", "--force"]);
    assert!(refused.contains("the new door has no chain"), "{refused}");
    fs::copy(server.path("etc/keys/native-next.key"), server.path("kept")).unwrap();
    fs::remove_file(server.path("etc/keys/native-next.key")).unwrap();
    server.good(&["rotate", "--apart", "--out", "door.toml"]);
    fs::copy(server.path("kept"), server.path("etc/keys/native-next.key")).unwrap();
    let warned = said(&server.run(&["check"]));
    assert!(warned.contains("two new doors stand") && warned.contains("native-burnt.key"), "{warned}");
    assert!(server.bad(&["rotate", "--retire", "--force"]).contains("two new doors stand"));
}

#[test]
fn where_no_door_can_be_made_none_is() {
    let server = Server::new();
    for n in 0..3 {
        let key = text::encode(&[n + 1; 32]);
        let path = server.path(&format!("etc/keys/native-x{n}.key"));
        fs::write(&path, key).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let refused = server.bad(&["rotate"]);
    assert!(refused.contains("4 doors stand, and no more can"), "{refused}");
    assert_eq!(server.keys().len(), 4);
    let other = Server(tempfile::tempdir().unwrap());
    other.good(&["init", "--host", "h", "--place", "own", "--dialects", "openme"]);
    for words in [&["rotate"][..], &["rotate", "--print"], &["rotate", "--apart"], &["rotate", "--status"]] {
        let refused = other.bad(words);
        assert!(
            refused.contains("the server does not speak native, so it has no door"),
            "{words:?}: {refused}"
        );
    }
}
