//! Replays the committed fuzz corpora, so that what fuzzing once found stays found without a fuzzer.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "../../../fuzz/harness/ctl.rs"]
mod ctl;

const CORPORA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/");

#[test]
fn ctl_control() {
    assert!(replay("ctl_control", ctl::control) >= 8);
}

#[test]
fn ctl_parts() {
    assert!(replay("ctl_parts", ctl::parts) >= 8);
}

/// Runs `target` with every file of its corpus; how many there were.
fn replay(corpus: &str, target: fn(&[u8])) -> usize {
    let files = std::fs::read_dir(format!("{CORPORA}{corpus}")).unwrap();
    files.map(|file| target(&std::fs::read(file.unwrap().path()).unwrap())).count()
}
