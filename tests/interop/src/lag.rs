//! How long the machine kept our threads waiting for a core that others had: a bound of ours is not missed by that. On
//! an idle machine it is next to nothing.

use std::fs;
use std::time::{Duration, Instant};

use crate::daemon::Daemon;

/// Measures a span of time without that.
#[derive(Debug)]
pub struct Lag {
    parts: Vec<u32>,
    before: Duration,
    start: Instant,
}

impl Lag {
    /// Begins, for a running daemon and the thread that calls this (and that must be the one to end it).
    #[must_use]
    pub fn begin(daemon: &Daemon) -> Self {
        let parts = daemon.processes();
        Self { before: waited(&parts), parts, start: Instant::now() }
    }

    /// The time since, without what was spent waiting for a core.
    #[must_use]
    pub fn end(self) -> Duration {
        self.start.elapsed().saturating_sub(self.waited())
    }

    /// What was spent waiting for a core since.
    #[must_use]
    pub fn waited(&self) -> Duration {
        waited(&self.parts).saturating_sub(self.before)
    }
}

/// In all, so far (proc_pid_schedstat(5): the second number, in nanoseconds).
fn waited(parts: &[u32]) -> Duration {
    let own = "/proc/thread-self/schedstat".to_owned();
    let all = parts.iter().map(|pid| format!("/proc/{pid}/schedstat")).chain([own]);
    let nanos =
        all.filter_map(|path| fs::read_to_string(path).ok()?.split_whitespace().nth(1)?.parse::<u64>().ok());
    Duration::from_nanos(nanos.sum())
}
