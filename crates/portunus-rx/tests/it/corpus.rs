//! Replays the committed fuzz corpora, so that what fuzzing once found stays found without a fuzzer.

#[path = "../../../../fuzz/harness/rx.rs"]
mod rx;

const CORPORA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/");

#[test]
fn frames() {
    assert!(replay("rx_frame", rx::frame) >= 10);
}

#[test]
fn requests() {
    assert!(replay("rx_http", rx::http) >= 10);
}

#[test]
fn filters() {
    assert!(replay("rx_filter", rx::filter) >= 10);
}

#[test]
fn captures() {
    assert!(replay("rx_capture", rx::capture) >= 5);
}

/// Runs `target` with every file of its corpus; how many there were.
fn replay(corpus: &str, target: fn(&[u8])) -> usize {
    let files = std::fs::read_dir(format!("{CORPORA}{corpus}")).unwrap();
    files.map(|file| target(&std::fs::read(file.unwrap().path()).unwrap())).count()
}
