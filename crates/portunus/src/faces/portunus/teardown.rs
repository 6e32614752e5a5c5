//! `teardown`: the one command that opens doors to everybody, so it says which. A trial that runs is ended first.

use std::path::Path;
use std::time::{Duration, Instant};

use portunus_config::native;
use portunus_ctl::control::Client;
use portunus_sys::files::{FileError, Lock};
use portunusd::trial;
use rustix::process::{Pid, Signal, kill_process};

use crate::files::RealFiles;
use crate::places::Places;
use crate::ruleset;
use crate::say::{Done, Failure, line};

/// How often is looked whether somebody has ended, and for how long.
const EVERY: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(20);

/// `portunus teardown`. In this order: from the first step on nothing can be proven any more, and until the last one no
/// start drops anything, so that it can be killed between any two.
pub(super) fn run(places: &Places, force: bool) -> Done {
    let state = &places.state_dir;
    let on_trial = trial::stop(state)?;
    if !on_trial && !force && Client::connect(&places.run_dir).is_ok() {
        return Err(Failure::new(
            "a server is running and would put its rules back",
            places.run_dir.display(),
            "stop it first (systemctl stop portunus), or use --force",
        ));
    }
    let alone = if on_trial { Some(end_server(state)?) } else { None };
    ruleset::remove_all()?;
    trial::forget(state)?;
    if on_trial {
        await_command(state);
        line("the trial of the drops is ended, and nothing is proven");
    }
    drop(alone);
    line("nothing of ours is in the firewall any more");
    // Without a configuration nobody knows which ports were meant.
    let Ok(settings) = native::load(&RealFiles, &places.config_dir) else { return Ok(()) };
    ruleset::open_now(&settings)?.into_iter().for_each(line);
    Ok(())
}

/// Ends the server of a trial, and keeps every other from starting.
fn end_server(state_dir: &Path) -> Result<Lock, Failure> {
    let since = Instant::now();
    let (mut seen, mut told) = (None, None);
    while since.elapsed() < PATIENCE {
        match trial::keep_daemons_out(state_dir) {
            Err(FileError::Locked(_)) => (),
            held => return Ok(held?),
        }
        // Seen twice: whoever has just taken the lock may not have said yet who it is.
        let pid = trial::daemon(state_dir);
        if pid.is_some() && pid == seen && pid != told {
            told = pid;
            let pid = pid.and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
            let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
        }
        seen = pid;
        std::thread::sleep(EVERY);
    }
    let which = trial::daemon(state_dir).map_or_else(String::new, |pid| format!(", process {pid}"));
    Err(Failure::new(
        format_args!("the server of the trial{which} does not end"),
        state_dir.display(),
        "end it by `kill -9`, and run `portunus teardown` again; the kernel ends the drops by itself",
    ))
}

/// The command that waits for the trial's end has its say before we are done, and changes nothing after us.
fn await_command(state_dir: &Path) {
    let since = Instant::now();
    while trial::runs(state_dir) && since.elapsed() < PATIENCE {
        std::thread::sleep(EVERY);
    }
}
