//! Replays the committed fuzz corpus of netlink answers: dumps of real rulesets, and what fuzzing made of them.
#![expect(clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "../../../fuzz/harness/fw.rs"]
mod fw;

#[test]
fn fw_netlink() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/fw_netlink");
    let files = std::fs::read_dir(corpus).unwrap();
    let count = files.map(|file| fw::netlink(&std::fs::read(file.unwrap().path()).unwrap())).count();
    assert!(count >= 8);
}
