//! `portunus demo`: the story, in time, without a trace; and not when the firewall does not do its part.
#![expect(clippy::expect_used, reason = "a test's helper fails by panicking")]

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use portunus_interop::{binary, run};

fn demo(break_it: Option<&str>) -> (Output, Duration) {
    let start = Instant::now();
    let mut command = Command::new(binary());
    command.arg("demo");
    if let Some(what) = break_it {
        command.env("PORTUNUS_DEMO_BREAK", what);
    }
    (command.output().expect("the binary under test runs"), start.elapsed())
}

/// The demo's namespaces, and the rules of the machine itself. Whoever else makes namespaces is no concern of ours.
fn left_behind() -> (Vec<String>, String) {
    let all = run("ip", &["netns", "list"]);
    let ours = all.lines().filter(|name| name.starts_with("portunus-demo")).map(str::to_owned);
    (ours.collect(), run("nft", &["list", "ruleset"]))
}

#[test]
fn the_demo_tells_the_story_and_leaves_no_trace() {
    let before = left_behind();
    let (out, took) = demo(None);
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{said}\n{}", String::from_utf8_lossy(&out.stderr));
    assert!(took < Duration::from_secs(30), "it took {took:?}");
    for words in [
        "closed (timeout)",
        "granted to alice, tcp/22, 5 s",
        "open in ",
        "refused: replayed",
        "the kernel still closes it",
    ] {
        assert!(said.contains(words), "no line says {words}:\n{said}");
    }
    assert_eq!(left_behind(), before);
}

#[test]
fn the_demo_fails_when_the_firewall_step_is_broken() {
    let before = left_behind();
    let (out, _) = demo(Some("firewall"));
    assert_eq!(out.status.code(), Some(1), "{}", String::from_utf8_lossy(&out.stdout));
    assert_eq!(left_behind(), before);
}
