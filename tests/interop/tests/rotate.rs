//! A new door beside the old one, with the real daemon and the real client: who moves by itself, who is handed it, who stays; and
//! that nobody is locked out by what gets lost on the way.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's helper fails by panicking"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use portunus_config::profile::{Keys, NativeKeys, native};
use portunus_crypto::{Secret, x25519::PrivateKey};
use portunus_interop::fwknop::within;
use portunus_interop::native::NativeKnocker;
use portunus_interop::{Daemon, Firewall, SERVER, World};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(5);
/// A server answers a client once a second.
const NEXT_ANSWER: Duration = Duration::from_millis(1200);

struct House(World);

impl House {
    /// A server of the native dialect alone.
    fn new() -> Self {
        Self(World::with_init(Firewall::None, &["--dialects", "native"]))
    }

    /// A client, and its profile on the laptop.
    fn client(&self, name: &str, more: &[&str]) {
        let profile = self.0.portunus(&[&["add", name, "--ports", "ssh", "--for", "1h"], more].concat());
        let file = self.write("p.toml", &profile);
        self.0.laptop(&["join", &file, "--as", name]);
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.folder().join(name);
        fs::write(&path, text).expect("a file can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("it can be closed to others");
        path.to_str().expect("a path of letters").to_owned()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.place("home/.config/portunus/profiles").join(format!("{name}.toml"))
    }

    fn profile(&self, name: &str) -> NativeKeys {
        let path = self.path(name);
        let text = fs::read_to_string(&path).expect("a profile");
        match native::parse(&text, &path).expect("it is one").keys {
            Keys::Native(keys) => *keys,
            Keys::Openme { .. } => panic!("{name} is of the native dialect"),
        }
    }

    /// A client with answers knocks; whether the server said that it opened.
    fn opens(&self, name: &str) -> bool {
        thread::sleep(NEXT_ANSWER);
        self.0.try_laptop(&["knock", name]).status.success()
    }

    /// The same, twice: then its link is its own.
    fn settle(&self, name: &str) {
        for _ in 0..2 {
            assert!(self.opens(name), "{name}");
        }
        assert!(!fs::read_to_string(self.path(name)).expect("a profile").contains("old_link"));
    }

    /// The verdict on a knock of the client as its profile is; nothing of it changes.
    fn verdict(&self, daemon: &Daemon, name: &str) -> String {
        let NativeKeys { server, secret, door, link, .. } = self.profile(name);
        let key = PrivateKey::new(&secret).expect("a key");
        let knocker = NativeKnocker { server, door, key, link };
        daemon.verdict(|| knocker.knock(&self.0.client, SERVER))
    }

    fn comes_in(&self, daemon: &Daemon, name: &str) {
        let verdict = self.verdict(daemon, name);
        assert!(["granted", "extended"].contains(&verdict.as_str()), "{name}: {verdict}\n{}", daemon.log());
    }

    /// Whose name `rotate --status` has, and how it ends.
    fn left(&self) -> (Vec<String>, Option<i32>) {
        let out = self.0.try_portunus(&["rotate", "--status", "--json"]);
        let said: Value = serde_json::from_slice(&out.stdout).expect("JSON");
        let left = said["left"].as_array().expect("a list");
        (left.iter().map(|one| one["name"].as_str().expect("a name").to_owned()).collect(), out.status.code())
    }

    fn until_left(&self, names: &[&str]) {
        assert!(within(SOON, || self.left().0 == names), "{:?}", self.left());
    }

    fn door(&self, file: &str) -> [u8; 32] {
        let key = fs::read_to_string(self.0.place("etc/keys").join(file)).expect("a key");
        let key = Secret::from_base64(key.trim_end()).expect("a key");
        *PrivateKey::new(&key).expect("a key").public()
    }

    /// Nothing that the server says comes to the client until it is taken away again.
    fn lose_answers(&self, lost: bool) {
        if lost {
            self.0.client.nft(
                "table inet lost { chain in { type filter hook input priority 0; udp sport 54154 drop; }; }",
            );
        } else {
            self.0.client.nft("delete table inet lost");
        }
    }
}

#[test]
fn clients_move_by_answers_or_by_hand_and_who_stays_comes_in_until_the_old_door_is_ended() {
    let house = House::new();
    for (name, more) in [("alice", &["--answers"][..]), ("bob", &[]), ("carol", &["--answers"])] {
        house.client(name, more);
    }
    let daemon = house.0.serve();
    house.settle("alice");
    let said = house.0.portunus(&["rotate"]);
    assert!(said.contains("2 clients are told") && said.contains("for want of answers: bob"), "{said}");
    let (old, new) = (house.door("native.key"), house.door("native-next.key"));
    house.until_left(&["alice", "bob", "carol"]);
    assert!(house.opens("alice"));
    let told = house.profile("alice");
    assert!(told.server == new && told.old_door.is_some_and(|door| door.server == old));
    house.until_left(&["alice", "bob", "carol"]);
    assert!(house.opens("alice"));
    assert!(house.profile("alice").old_door.is_none());
    house.until_left(&["bob", "carol"]);
    // Bob is told by nobody but the administrator.
    house.comes_in(&daemon, "bob");
    let door = house.0.folder().join("door.toml");
    let door = door.to_str().expect("a path of letters");
    house.0.portunus(&["rotate", "--print", "--out", door]);
    house.0.laptop(&["join", door, "--as", "bob"]);
    house.comes_in(&daemon, "bob");
    house.until_left(&["carol"]);
    assert_eq!(house.left().1, Some(1));
    let refused = house.0.try_portunus(&["rotate", "--retire"]);
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && words.contains("carol") && !words.contains("bob"), "{words}");
    // All of it is known after the worst.
    daemon.kill_all();
    let daemon = house.0.serve();
    house.until_left(&["carol"]);
    for name in ["alice", "bob", "carol"] {
        house.comes_in(&daemon, name);
    }
    house.0.portunus(&["rotate", "--retire", "--force"]);
    assert!(house.door("native.key") == new && house.left() == (vec![], Some(0)));
    assert_eq!(house.verdict(&daemon, "carol"), "noise");
    let chains = || fs::read(house.0.place("state/chains")).expect("the store");
    assert!(
        within(SOON, || !chains().windows(32).any(|bytes| bytes == old)),
        "the old door's chain is erased"
    );
    for name in ["alice", "bob"] {
        house.comes_in(&daemon, name);
    }
    daemon.kill_all();
    let daemon = house.0.serve();
    for name in ["alice", "bob"] {
        house.comes_in(&daemon, name);
    }
    assert_eq!(house.verdict(&daemon, "carol"), "noise");
}

#[test]
fn who_is_shut_out_by_a_new_door_is_noise_there_and_no_answer_tells_of_it() {
    let house = House::new();
    for name in ["alice", "bob", "mallory"] {
        house.client(name, &["--answers"]);
    }
    let daemon = house.0.serve();
    for name in ["alice", "bob", "mallory"] {
        house.settle(name);
    }
    // She is told of this one, so it is none to shut her out.
    house.0.portunus(&["rotate"]);
    let burnt = house.door("native-next.key");
    assert!(house.opens("alice") && house.opens("alice"));
    assert!(house.opens("mallory") && house.profile("mallory").server == burnt);
    let made = house.0.try_portunus(&["rotate", "--without", "mallory"]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    // The doors that she knows admit, and open nothing.
    assert_eq!(house.verdict(&daemon, "mallory"), "unknown-client");
    let before = house.profile("bob");
    assert!(house.opens("bob"));
    let after = house.profile("bob");
    assert!(after.server == before.server && after.old_door.is_none(), "no answer tells of a door");
    assert!(house.opens("alice") && house.profile("alice").server == burnt, "who had moved comes in");
    let door = house.write("door.toml", &String::from_utf8_lossy(&made.stdout));
    for name in ["alice", "bob"] {
        house.0.laptop(&["join", &door, "--as", name]);
        assert!(house.opens(name));
    }
    house.until_left(&[]);
    house.0.portunus(&["rotate", "--retire"]);
    assert!(house.opens("alice") && house.opens("bob"));
    assert_eq!(house.verdict(&daemon, "mallory"), "noise");
}

/// Killed, or out of room on the disk, after the door that answers told of is put aside and before the other is made.
#[test]
fn who_has_moved_to_a_door_that_is_put_aside_is_not_shut_out_before_there_is_another() {
    let house = House::new();
    house.client("alice", &["--answers"]);
    let daemon = house.0.serve();
    house.settle("alice");
    house.0.portunus(&["rotate"]);
    assert!(house.opens("alice") && house.opens("alice"));
    let burnt = house.door("native-next.key");
    let keys = house.0.place("etc/keys");
    fs::rename(keys.join("native-next.key"), keys.join("native-burnt.key")).expect("it is put aside");
    for force in [&[][..], &["--force"]] {
        let out = house.0.try_portunus(&[&["rotate", "--retire"], force].concat());
        assert!(!out.status.success() && String::from_utf8_lossy(&out.stderr).contains("rotate --apart"));
    }
    assert!(house.opens("alice") && house.profile("alice").server == burnt, "{}", daemon.log());
    let made = house.0.try_portunus(&["rotate", "--apart"]);
    let door = house.write("door.toml", &String::from_utf8_lossy(&made.stdout));
    house.0.laptop(&["join", &door, "--as", "alice"]);
    assert!(house.opens("alice"));
    house.until_left(&[]);
    house.0.portunus(&["rotate", "--retire"]);
    assert!(house.opens("alice") && !keys.join("native-burnt.key").exists());
}

#[test]
fn after_a_theft_of_all_that_the_server_has_the_door_and_the_links_are_new() {
    let house = House::new();
    house.client("alice", &["--answers"]);
    let _daemon = house.0.serve();
    house.settle("alice");
    let stolen = house.profile("alice");
    let door = house.0.folder().join("door.toml");
    let door = door.to_str().expect("a path of letters");
    house.0.portunus(&["rotate", "--apart", "--out", door]);
    house.0.laptop(&["join", door, "--as", "alice"]);
    // The new link is announced under the old one, sealed for a door whose keys the thief has not.
    house.settle("alice");
    let now = house.profile("alice");
    assert!(now.server == house.door("native-apart.key"));
    let day = now.link.day();
    assert!(now.link.at(day).ok() != stolen.link.at(day).ok());
    house.0.portunus(&["rotate", "--retire"]);
    assert!(house.opens("alice"));
}

#[test]
fn answers_that_are_lost_at_every_step_lock_nobody_out() {
    let house = House::new();
    house.client("alice", &["--answers"]);
    let daemon = house.0.serve();
    house.settle("alice");
    house.0.portunus(&["rotate"]);
    let (old, new) = (house.door("native.key"), house.door("native-next.key"));
    // The one that tells of the door.
    house.lose_answers(true);
    assert!(!house.opens("alice"));
    assert_eq!(house.profile("alice").server, old);
    house.lose_answers(false);
    assert!(house.opens("alice"));
    assert_eq!(house.profile("alice").server, new);
    // The first one of the new door.
    house.lose_answers(true);
    assert!(!house.opens("alice"));
    let between = house.profile("alice");
    assert!(between.server == new && between.old_door.is_some());
    house.until_left(&[]);
    house.lose_answers(false);
    assert!(house.opens("alice"));
    assert!(house.profile("alice").old_door.is_none());
    drop(daemon);
}

#[test]
fn a_rotation_that_is_taken_back_locks_nobody_out_who_has_kept_the_old_door() {
    let house = House::new();
    house.client("alice", &["--answers"]);
    let daemon = house.0.serve();
    house.settle("alice");
    house.0.portunus(&["rotate"]);
    let old = house.door("native.key");
    assert!(house.opens("alice"));
    fs::remove_file(house.0.place("etc/keys/native-next.key")).expect("a key");
    assert!(daemon.control().reload().is_ok());
    // Without the door beside nobody would hear this client.
    let kept = fs::read_to_string(house.path("alice")).expect("a profile");
    let without: String =
        kept.lines().filter(|line| !line.starts_with("old_")).map(|line| format!("{line}\n")).collect();
    fs::write(house.path("alice"), without).expect("a profile");
    assert!(!house.opens("alice"));
    fs::write(house.path("alice"), kept).expect("a profile");
    assert!(house.opens("alice"), "{}", daemon.log());
    let back = house.profile("alice");
    assert!(back.server == old && back.old_door.is_none());
    assert!(house.opens("alice"));
}
