//! Replays the committed fuzz corpus of keys.

#[path = "../../../fuzz/harness/keys.rs"]
mod keys;

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/keys");

#[test]
#[expect(clippy::disallowed_methods, reason = "a test reads its corpus itself")]
fn keys() {
    let files = std::fs::read_dir(CORPUS).unwrap();
    let count = files.map(|file| keys::keys(&std::fs::read(file.unwrap().path()).unwrap())).count();
    assert!(count >= 3, "the corpus is missing");
}
