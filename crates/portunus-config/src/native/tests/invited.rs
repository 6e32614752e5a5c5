//! Clients that bring their own keys: what those are is not the administrator's mistake, and keeps nobody else out.

use portunus_crypto::x25519::PrivateKey;
use portunus_model::NativeRule;

use super::*;

fn brought(n: u8) -> [u8; 32] {
    *PrivateKey::new(&Secret::from_bytes([n; 32])).unwrap().public()
}

/// A client whose key lies in a file of its own, with the key or without.
fn invited(files: Memory, name: &str, key: Option<[u8; 32]>) -> Memory {
    let path = format!("/var/lib/portunus/enrolled/{name}");
    let client = NewClient {
        key_file: Some(path.clone().into()),
        native: Some(NativeRule::default()),
        ..new(name, 9)
    };
    let files = files.with(&format!("/etc/portunus/clients/{name}.toml"), client_text(&client));
    match key {
        Some(key) => files.with(&path, format!("{}\n", text::encode(&key))),
        None => files,
    }
}

/// As `init` makes it, with two clients of openme's.
fn house() -> Memory {
    let words = "dialects = [\"native\", \"openme\"]";
    folder()
        .with("/etc/portunus/portunus.toml", server_text(&init()).replace("# dialects = [\"openme\"]", words))
        .with("/etc/portunus/keys/native.key", key_text(&Secret::from_bytes([4; 32])).as_str())
}

fn names(settings: &Settings) -> Vec<&str> {
    settings.rules.clients.iter().map(|client| client.name.as_str()).collect()
}

#[test]
fn a_key_that_was_brought_and_is_anothers_lets_nobody_in_and_refuses_no_files() {
    let both = invited(invited(house(), "dave", Some(brought(5))), "erin", Some(brought(5)));
    let settings = loaded(&both).unwrap();
    assert_eq!(names(&settings), ["alice", "bob", "dave"]);
    let said: Vec<_> = settings.warnings.iter().map(ToString::to_string).collect();
    assert!(
        said.iter().any(|line| line.contains(
            "the key of \"erin\" is also that of \"dave\", so \"erin\" is let in as nobody: revoke it"
        )),
        "{said:?}"
    );
    assert!(settings.key_files.iter().all(|file| file.name.as_str() != "erin"));
    // Also where the administrator wrote the other one down.
    let native = NewClient { key: brought(5), native: Some(NativeRule::default()), ..new("zoe", 1) };
    let before = invited(house(), "dave", Some(brought(5)))
        .with("/etc/portunus/clients/zoe.toml", client_text(&native));
    assert_eq!(names(&loaded(&before).unwrap()), ["alice", "bob", "dave"]);
}

#[test]
fn who_was_invited_has_room_when_it_comes() {
    let few = |files: Memory| {
        let text = files.read(Path::new("/etc/portunus/portunus.toml"), Secrecy::Public).unwrap();
        files.with("/etc/portunus/portunus.toml", text.replace("# clients = 100000", "clients = 3"))
    };
    assert!(loaded(&few(invited(house(), "dave", None))).is_ok());
    let refused = loaded(&few(invited(invited(house(), "dave", None), "erin", None))).unwrap_err();
    assert!(refused[0].contains("there are more than 3 clients"), "{refused:?}");
}

#[test]
fn what_the_disk_has_made_of_a_key_keeps_nobody_else_out() {
    for rubbish in ["", "xx\n", "AAAA"] {
        let files = invited(house(), "dave", None).with("/var/lib/portunus/enrolled/dave", rubbish);
        let settings = loaded(&files).unwrap();
        assert_eq!(names(&settings), ["alice", "bob"]);
        let said: Vec<_> = settings.warnings.iter().map(ToString::to_string).collect();
        assert!(said.iter().any(|line| line.contains("so its client is let in as nobody")), "{said:?}");
        // Nor does anybody else come in its place.
        assert!(settings.key_files.is_empty());
    }
}
