//! `-K`, `-R` and `-S`: the running server, by its pid file.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use portunus_sys::pidfile::{self, Word};

use super::NAME;
use super::args::Cli;
use crate::say::{FAILED, Failure, line};

/// How long `-K` waits for the end of the server, so that another one can be started at once.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(20);

pub(super) fn run(cli: &Cli, file: &Path) -> ExitCode {
    let holder = match pidfile::holder(file) {
        Ok(holder) => holder,
        Err(error) => return Failure::file(error, file, "run this as root").tell(NAME),
    };
    let Some(pid) = holder else {
        line("No running fwknopd detected.");
        return ExitCode::from(FAILED);
    };
    if cli.status {
        line(format_args!("Detected fwknopd is running (pid={pid})."));
        return ExitCode::SUCCESS;
    }
    let (word, said) = if cli.kill {
        (Word::End, format!("Killed fwknopd (pid={pid}) via SIGTERM"))
    } else {
        (Word::Reload, format!("Sent restart signal to fwknopd (pid={pid})"))
    };
    if let Err(error) = pidfile::say(pid, word) {
        return Failure::new(format_args!("Unable to send a signal to fwknopd (pid={pid}): {error}"), "", "")
            .tell(NAME);
    }
    line(said);
    if cli.kill {
        wait_for_end(file, pid);
    }
    ExitCode::SUCCESS
}

fn wait_for_end(file: &Path, pid: u32) {
    let looks = PATIENCE.as_millis() / LOOK_EVERY.as_millis();
    for _ in 0..looks {
        if !pidfile::holder(file).is_ok_and(|holder| holder == Some(pid)) {
            return;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}
