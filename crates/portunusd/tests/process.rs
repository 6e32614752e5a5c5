//! The daemon as processes, in a network namespace of its own. This test program is the daemon too: it starts itself
//! again, as the real one does.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test program without the harness: the lints do not know it for one"
)]

mod stage;

use std::ffi::OsString;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    match words.get(1).and_then(|word| word.to_str()) {
        Some(portunusd::PART_FLAG) => portunusd::part_main(words.get(2..).unwrap_or_default()),
        Some("--serve") => stage::daemon::serve(&words[2]),
        Some("--serve-with-no-rights") => {
            portunus_sys::users::become_user(None, portunus_sys::users::Keep::Nothing).unwrap();
            stage::daemon::serve(&words[2])
        }
        Some("--flood") => stage::knocker::flood(&words[2..]),
        Some("--knock") => stage::knocker::knock(&words[2..]),
        Some("--escape") => {
            let number = words.get(3).map(|word| word.to_str().unwrap().parse().unwrap());
            stage::escape::attempt(words[2].to_str().unwrap(), number)
        }
        _ => libtest_mimic::run(&Arguments::from_args(), trials()).exit_code(),
    }
}

fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for (name, test) in stage::cases::ALL.iter().chain(stage::starts::ALL).chain(stage::storage::ALL) {
        trials.push(Trial::test(*name, move || {
            test();
            Ok(())
        }));
    }
    // Not a test but figures, for whoever asks: `cargo test --release -p portunusd --test process -- --ignored --nocapture`.
    let figures = Trial::test("figures", || {
        stage::figures::all();
        Ok(())
    });
    trials.push(figures.with_ignored_flag(true));
    trials
}
