//! Replays the committed fuzz corpora, so that what fuzzing once found stays found without a fuzzer.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail where it stands")]

#[path = "../../../fuzz/harness/fwknop.rs"]
mod fwknop;
#[path = "../../../fuzz/harness/gpg.rs"]
mod gpg;
#[path = "../../../fuzz/harness/native.rs"]
mod native;
#[path = "../../../fuzz/harness/openme.rs"]
mod openme;

const CORPORA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/");

#[test]
fn native_open() {
    assert!(replay("native_open", native::open) >= 3);
    native::open(&native::packet());
}

#[test]
fn native_said() {
    assert!(replay("native_said", native::said) >= 4);
}

#[test]
fn openme_open() {
    assert!(replay("openme_open", openme::open) >= 3);
    openme::open(&openme::packet());
}

#[test]
fn openme_round_trip() {
    assert!(replay("openme_round_trip", openme::round_trip) >= 3);
}

#[test]
fn fwknop_open() {
    assert!(replay("fwknop_open", fwknop::open) >= 3);
    for packet in fwknop::packets() {
        fwknop::open(packet);
    }
}

#[test]
fn fwknop_text() {
    assert!(replay("fwknop_text", fwknop::text) >= 30);
}

#[test]
fn fwknop_gpg() {
    assert!(replay("fwknop_gpg", gpg::judge) >= 8);
    for good in gpg::good() {
        gpg::judge(&good);
    }
}

/// Runs `target` with every file of its corpus; how many there were.
#[expect(clippy::disallowed_methods, reason = "a test reads its corpus itself")]
fn replay(corpus: &str, target: fn(&[u8])) -> usize {
    let files = std::fs::read_dir(format!("{CORPORA}{corpus}")).unwrap();
    files.map(|file| target(&std::fs::read(file.unwrap().path()).unwrap())).count()
}
