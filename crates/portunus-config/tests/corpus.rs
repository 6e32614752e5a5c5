//! Replays the committed fuzz corpora of configuration files.
#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../../fuzz/harness/config.rs"]
mod config;
#[path = "../../../fuzz/harness/profile.rs"]
mod profile;

const CORPORA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/");

#[test]
fn fwknop_config() {
    assert!(replay("fwknop_config", config::files) >= 8);
}

#[test]
fn our_config() {
    assert!(replay("our_config", config::ours) >= 8);
}

#[test]
fn openme_config() {
    assert!(replay("openme_config", config::theirs) >= 8);
}

#[test]
fn profiles() {
    assert!(replay("profile", profile::profile) >= 8);
}

#[test]
fn invitations() {
    assert!(replay("invitation", profile::invitation) >= 8);
}

/// Runs `target` with every file of its corpus; how many there were.
#[expect(clippy::disallowed_methods, reason = "a test reads its corpus itself")]
fn replay(corpus: &str, target: fn(&[u8])) -> usize {
    let files = std::fs::read_dir(format!("{CORPORA}{corpus}")).unwrap();
    files.map(|file| target(&std::fs::read(file.unwrap().path()).unwrap())).count()
}
