//! Whether there can be a trial here, and what would be tried.

use std::time::Duration;

use portunus_config::{Settings, render_duration};
use portunus_ctl::control::Client;
use portunus_model::{Mono, Place, PortSpec};
use portunus_sys::clock;
use portunus_sys::files::{FileError, Lock};
use portunusd::trial::{self, Stage};

use super::NAME;
use crate::places::Places;
use crate::ruleset;
use crate::say::{Failure, remark};

/// What is tried.
pub(super) struct Tried {
    /// Dropped, so that whoever comes in by them proves it.
    pub(super) ports: Vec<PortSpec>,
    /// Protected ports that no drop of ours guards, each with why.
    pub(super) past: Vec<String>,
}

/// The last words of a mend.
fn again(lasting: Duration) -> String {
    format!("then run `portunus init --try {}` again", render_duration(lasting))
}

/// When a trial ends, as people read it.
pub(in super::super) fn at(until: Mono) -> String {
    let whole = clock::rfc3339(trial::in_wall_time(until));
    format!("{} UTC", whole.get(11..19).unwrap_or(&whole))
}

/// There is one trial at a time, and whoever runs it says when it is over.
pub(super) fn the_only_one(places: &Places, lasting: Duration) -> Result<Lock, Failure> {
    trial::claim(&places.state_dir).map_err(|error| {
        if !matches!(error, FileError::Locked(_)) {
            return error.into();
        }
        Failure::new(
            format_args!("another trial runs already{}", process(trial::whose(&places.state_dir))),
            places.state_dir.display(),
            format_args!("wait for its end, or end it with `portunus teardown`, {}", again(lasting)),
        )
    })
}

/// A server that runs drops already; while what comes back is held none can start.
pub(super) fn nobody_serves(places: &Places, lasting: Duration) -> Result<Lock, Failure> {
    let (state, again) = (&places.state_dir, again(lasting));
    let there = match trial::keep_daemons_out(state) {
        Ok(_) if Client::connect(&places.run_dir).is_ok() => None,
        Ok(held) => return Ok(held),
        Err(FileError::Locked(_)) => trial::daemon(state),
        Err(other) => return Err(other.into()),
    };
    Err(match trial::stage(state) {
        Stage::Until(until) => Failure::new(
            format_args!(
                "a trial runs until {} whose command is gone: its server runs on{}",
                at(until),
                process(there)
            ),
            state.display(),
            format_args!("wait for its end, or end it with `portunus teardown`, {again}"),
        ),
        Stage::None | Stage::Proven | Stage::Over | Stage::Ended => Failure::new(
            format_args!("a server is running{}, and its drops are in force already", process(there)),
            "",
            format_args!("stop it and run `portunus teardown`, {again}"),
        ),
    })
}

fn process(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
}

/// Whether there is anything to try here, and whether it can be: the ports that would be dropped.
pub(super) fn may_be_tried(settings: &Settings, lasting: Duration) -> Result<Tried, Failure> {
    let again = again(lasting);
    if ruleset::keeps_shut()? {
        let mend = format!("run `portunus teardown`, {again}");
        return Err(Failure::new("rules of ours keep ports shut already", "", mend));
    }
    if settings.rules.clients.is_empty() {
        let mend = format!(
            "`portunus add NAME --ports ssh > NAME.toml`, take that to another machine (`portunus join < NAME.toml`), {again}"
        );
        return Err(Failure::new("there is no client yet who could knock", "", mend));
    }
    let look = ruleset::look(settings)?;
    if look.place.as_ref().is_some_and(Place::is_of_iptables) {
        return Err(Failure::new(
            "iptables drops the ports here, and has no drops that the kernel ends by itself",
            "",
            "start the server without a trial, and keep a second session open meanwhile",
        ));
    }
    look.blocked.iter().for_each(|blocked| remark(NAME, blocked));
    let past = ruleset::sent_past(settings)?;
    let mut ports = settings.served();
    ports.retain(|port| past.iter().all(|(other, _)| other != port));
    let past: Vec<String> = past.into_iter().map(|(port, why)| format!("{port} {why}")).collect();
    match (ports.is_empty(), past.first()) {
        (true, None) => {
            Err(Failure::new("the configuration drops no port, so there is nothing to try", "", ""))
        }
        (true, Some(why)) => {
            Err(Failure::new("no port would be dropped, so there is nothing to try", why, ""))
        }
        (false, _) => Ok(Tried { ports, past }),
    }
}
