//! A part as the keeper sees it: a child process and the channel to it.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use portunus_sys::channel::Channel;
use portunus_sys::process;
use portunus_sys::users::{Ids, Keep};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{EX_CONFIG, LAST_PATIENCE};
use crate::message::{self, Taken};
use crate::{PART_FLAG, Plan};

/// What a part inherits of the environment.
const VARIABLES: [&str; 2] = ["JOURNAL_STREAM", "RUST_BACKTRACE"];

/// How long one that was killed is waited for.
const DYING: Duration = Duration::from_secs(1);

/// A part that runs.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) name: &'static str,
    pub(super) channel: Channel,
    child: Child,
}

impl Part {
    /// Starts it, as the user `ids` and with no more than `keep` in the end; without `keep` with our rights.
    pub(super) fn start(
        plan: &Plan,
        name: &'static str,
        (ids, keep): (Option<Ids>, Option<Keep>),
        stderr: Option<OwnedFd>,
    ) -> io::Result<Self> {
        let (ours, theirs) = Channel::pair()?;
        let title = format!("{}: {name}", plan.program);
        // Who reads a pipe of ours wants to know each line's priority.
        let marked = if stderr.is_some() { "+" } else { "" };
        let speech = format!("{}{marked}", plan.words().as_str());
        let ids = ids.map(|ids| format!("{}:{}", ids.uid, ids.gid));
        let mut words =
            vec![OsStr::new(PART_FLAG), OsStr::new(name), OsStr::new(plan.log.as_str()), OsStr::new(&speech)];
        words.extend(ids.as_ref().map(OsStr::new));
        let child = process::start_again(&title, &words, theirs, stderr, &VARIABLES, keep)?;
        Ok(Self { name, channel: ours, child })
    }

    /// Says something to it.
    pub(super) fn say<T: Serialize>(&self, value: &T, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        message::send(&self.channel, value, descriptors)
    }

    /// Waits for its next word, for a while.
    pub(super) fn hear<T: DeserializeOwned>(&self, patience: Duration) -> io::Result<Taken<T>> {
        if !portunus_sys::poll::readable(&self.channel, patience)? {
            return Ok(Taken::Nothing);
        }
        message::try_receive(&self.channel)
    }

    /// Has it end because the start failed; whether it says that its trouble does not mend itself.
    pub(super) fn end_now(&mut self) -> bool {
        // Both directions: it hears that nobody is there any more.
        let _ = self.channel.shut();
        self.finish(LAST_PATIENCE);
        self.ended().and_then(|status| status.code()) == Some(i32::from(EX_CONFIG))
    }

    /// Whether it has ended.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits until it has ended by itself, for a while; then kills it.
    pub(super) fn finish(&mut self, patience: Duration) {
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if self.ended().is_some() {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        // Without CAP_KILL this may fail; then the closed channel ends it.
        if self.child.kill().is_ok() {
            // What it held is free once it is gone: the next of its kind may have the same file.
            let deadline = Instant::now() + DYING;
            while self.ended().is_none() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }
}

/// How a part came to its end, for the log. The confinement ends what does something that no part of ours ever does.
pub(super) fn how_it_ended(status: ExitStatus) -> String {
    match status.signal() {
        Some(signal) if signal == process::FORBIDDEN_CALL => {
            "the kernel stopped a system call that it never makes (SIGSYS): somebody may have taken it over"
                .to_owned()
        }
        Some(_) | None => status.to_string(),
    }
}

/// Starts the process that runs iptables' tools with our rights, and makes the channel by which the grantor alone asks it.
pub(super) fn start_errand(plan: &Plan, stderr: Option<OwnedFd>) -> io::Result<(Part, Channel)> {
    let (grantor_end, errand_end) = Channel::pair()?;
    let errand = Part::start(plan, "errand", (None, None), stderr)?;
    errand.channel.send(b"s", &[errand_end.as_fd()])?;
    Ok((errand, grantor_end))
}
