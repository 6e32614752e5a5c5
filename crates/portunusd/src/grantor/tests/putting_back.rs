//! What somebody else's flush took, and its putting back.

use super::*;

#[test]
fn a_tool_that_keeps_reloading_is_met_with_pauses() {
    let at = |millis: u64| Mono::from_nanos(3_600_000_000_000 + millis * 1_000_000);
    let mut disturbed = Disturbed::default();
    disturbed.notice(at(0));
    assert_eq!(disturbed.next, at(0));
    let mut now = at(0);
    for _ in 0..20 {
        disturbed.tried(now, true);
        disturbed.notice(now);
        assert!(disturbed.next > now);
        now = disturbed.next;
    }
    assert_eq!(disturbed.pause, SHORT_PAUSE);
    disturbed.tried(now, false);
    assert!(disturbed.pause > SHORT_PAUSE, "what fails by itself is not tried so often");
    disturbed.tried(now, true);
    let calm = now.after(CALM);
    disturbed.notice(calm);
    assert_eq!(disturbed.next, calm);
}

#[test]
fn a_knock_just_after_a_flush_is_put_back_with_the_rules() {
    let (firewall, folder) = (Shared::default(), tempfile::tempdir().unwrap());
    let mut book = book(&firewall, &folder);
    let ask = |n: u64| vec![opening(n, "alice", &format!("192.0.2.{n}"), &["22/tcp"], 30)];
    let flush = || {
        let mut record = firewall.0.lock().unwrap();
        (record.structure, record.broken) = (None, true);
        record.open.clear();
    };
    assert_eq!(
        book.carry_out(clock::mono(), ask(1), true),
        (vec![Said::Opened(1, Opened::Open)], Found::Whole)
    );
    flush();
    // In a pause against a tool that keeps reloading it fails, as it must.
    assert_eq!(
        book.carry_out(clock::mono(), ask(2), false),
        (vec![Said::Opened(2, Opened::Failed)], Found::Broken)
    );
    assert_eq!(
        book.carry_out(clock::mono(), ask(3), true),
        (vec![Said::Opened(3, Opened::Open)], Found::PutBack)
    );
    let open: Vec<Element> = firewall.0.lock().unwrap().open.keys().copied().collect();
    assert_eq!(open, [element("192.0.2.1", "22/tcp"), element("192.0.2.3", "22/tcp")]);
}
