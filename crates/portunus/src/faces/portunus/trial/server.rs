//! The server that a trial runs: how it is started and ended, and what it says meanwhile.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use portunus_sys::files;
use rustix::process::{Pid, Signal, kill_process};

use super::{NAME, PATIENCE};
use crate::places::Places;
use crate::say::{Failure, remark};

/// Starts the server, out of reach of this terminal's keys: it goes on when the drops are kept.
pub(super) fn start(places: &Places, ear: &Ear) -> Result<Child, Failure> {
    use std::os::unix::process::CommandExt;
    let failed = |error: std::io::Error| Failure::new("the server cannot be started", error, "");
    let log = log(&places.state_dir);
    let _ = std::fs::remove_file(&log);
    let log = files::open_log(&log)?;
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    command.arg("serve");
    let dirs = [
        ("--config-dir", &places.config_dir),
        ("--state-dir", &places.state_dir),
        ("--run-dir", &places.run_dir),
    ];
    for (flag, dir) in dirs {
        command.arg(flag).arg(dir);
    }
    command.env_remove("WATCHDOG_USEC").env("NOTIFY_SOCKET", &ear.path);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).process_group(0);
    command.spawn().map_err(failed)
}

pub(super) fn log(state_dir: &Path) -> PathBuf {
    state_dir.join("trial.log")
}

/// What the server says to its supervisor, which we are: a socket where it can be reached by name.
pub(super) struct Ear {
    path: PathBuf,
    /// `None`: what it would say stands in its log only.
    socket: Option<UnixDatagram>,
}

impl Ear {
    pub(super) fn open(state_dir: &Path) -> Self {
        let path = state_dir.join("trial.sock");
        let _ = std::fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).ok();
        let socket = socket.filter(|socket| socket.set_nonblocking(true).is_ok());
        Self { path, socket }
    }

    /// Shows what is to be shown.
    pub(super) fn show(&self) {
        let Some(socket) = &self.socket else { return };
        let mut bytes = [0; 512];
        while let Ok(length) = socket.recv(&mut bytes) {
            let said = String::from_utf8_lossy(bytes.get(..length).unwrap_or_default()).into_owned();
            let shown =
                said.lines().filter_map(|line| line.strip_prefix(portunusd::ON_TRIAL)?.strip_prefix('='));
            shown.for_each(|shown| remark(NAME, shown));
        }
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Ends the server, if it has not ended.
pub(super) fn finish(server: &mut Child) {
    let pid = i32::try_from(server.id()).ok().and_then(Pid::from_raw);
    if let Ok(None) = server.try_wait()
        && let Some(pid) = pid
    {
        let _ = kill_process(pid, Signal::TERM);
    }
    let since = Instant::now();
    while let Ok(None) = server.try_wait() {
        if since.elapsed() > PATIENCE {
            let _ = server.kill();
            let _ = server.wait();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The last error in a server's log, whatever it said after that or before.
pub(super) fn why_it_ended(log: &str) -> Option<String> {
    let start = |line: &&str| line.strip_prefix(NAME).is_some_and(|rest| rest.starts_with(": "));
    let error = |line: &&str| line.split_ascii_whitespace().any(|word| word == "ERROR");
    let last = log.lines().rev().find(|line| start(line) || error(line))?;
    Some(last.strip_prefix(NAME).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(last).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_the_last_error_and_no_line_that_happens_to_be_last() {
        let log = "T  INFO serving place=\"own\"\nT ERROR a part ended by itself\nT  INFO ended\n";
        assert_eq!(why_it_ended(log).as_deref(), Some("T ERROR a part ended by itself"));
        let refused = "portunus: portunus.toml:3:1: no such key\n";
        assert_eq!(why_it_ended(refused).as_deref(), Some("portunus.toml:3:1: no such key"));
        assert_eq!(why_it_ended("T  INFO serving place=\"own\"\n"), None);
        assert_eq!(why_it_ended(""), None);
    }
}
