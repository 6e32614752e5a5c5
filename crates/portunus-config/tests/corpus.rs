//! Replays the committed fuzz corpus of fwknop's files.

#[path = "../../../fuzz/harness/config.rs"]
mod config;

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/fwknop_config");

#[test]
#[expect(clippy::disallowed_methods, reason = "a test reads its corpus itself")]
fn fwknop_config() {
    let files = std::fs::read_dir(CORPUS).unwrap();
    let count = files.map(|file| config::files(&std::fs::read(file.unwrap().path()).unwrap())).count();
    assert!(count >= 8);
}
