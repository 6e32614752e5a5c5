//! Replays the committed fuzz corpora, so that what fuzzing once found stays found without a fuzzer.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail where it stands")]

#[path = "../../../fuzz/harness/store.rs"]
mod store;

const CORPORA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/");

#[test]
fn replay_stores() {
    assert!(replay("store_replay", store::replay) >= 14);
}

#[test]
fn journals() {
    assert!(replay("store_journal", store::journal) >= 12);
}

#[test]
fn what_is_handed_over() {
    assert!(replay("store_handed_over", store::handed_over) >= 8);
}

/// Runs `target` with every file of its corpus; how many there were.
fn replay(corpus: &str, target: fn(&[u8])) -> usize {
    let files = std::fs::read_dir(format!("{CORPORA}{corpus}")).unwrap();
    files.map(|file| target(&std::fs::read(file.unwrap().path()).unwrap())).count()
}
