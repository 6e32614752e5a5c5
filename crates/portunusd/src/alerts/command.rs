//! A program that is told by its standard input, in JSON.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{ChildStdin, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use portunus_sys::process::ChildEnd;

use super::PATIENCE;
use super::text::Batch;

/// Runs it, without a shell; its exit says whether it has told.
pub(super) fn run(words: &[String], batch: &Batch<'_>) -> Result<(), String> {
    let (program, arguments) = words.split_first().ok_or("there is no command")?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").current_dir("/");
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let text = format!("{}\n", batch.json());
    finish(command, PATIENCE, move |mut input| input.write_all(text.as_bytes()))
}

/// Runs a program with this input and waits for its end, which comes in time: with what it has started, then.
pub(super) fn finish(
    mut command: Command,
    patience: Duration,
    feed: impl FnOnce(ChildStdin) -> io::Result<()>,
) -> Result<(), String> {
    let end = Instant::now() + patience;
    let program = command.get_program().display().to_string();
    let not_run = |error: io::Error| format!("{program}: {error}");
    let mut child = command.process_group(0).spawn().map_err(not_run)?;
    let group = ChildEnd::of(&child).map_err(not_run)?;
    if let Some(input) = child.stdin.take() {
        // Less than a pipe holds, so this does not wait; one that ends without reading says by its end what that means.
        let _ = feed(input);
    }
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(format!("the program ended with {status}")),
            Ok(None) if Instant::now() < end => thread::sleep(Duration::from_millis(20)),
            Ok(None) => {
                group.kill_group();
                let _ = child.wait();
                return Err(format!("the program did not end within {} s", patience.as_secs()));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Result<(), String> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).stdin(Stdio::piped());
        finish(command, Duration::from_millis(500), |mut input| input.write_all(b"hello\n"))
    }

    #[test]
    fn a_program_is_told_by_its_input_and_says_by_its_end_whether_it_could() {
        assert_eq!(sh("read word; test \"$word\" = hello"), Ok(()));
        assert!(sh("exit 3").unwrap_err().contains("exit status: 3"));
        assert!(sh("exec sleep 60").unwrap_err().contains("did not end"));
    }

    #[test]
    fn what_a_program_has_started_ends_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let number = folder.path().join("number");
        let script = format!("sleep 600 & echo $! > {}; wait", number.display());
        assert!(sh(&script).unwrap_err().contains("did not end"));
        let child = std::fs::read_to_string(&number).unwrap();
        let place = format!("/proc/{}/stat", child.trim());
        // It is nobody's child any more: gone, or dead and not yet waited for.
        let start = Instant::now();
        while std::fs::read_to_string(&place).is_ok_and(|stat| !stat.contains(") Z ")) {
            assert!(start.elapsed() < Duration::from_secs(5), "it goes on");
            thread::sleep(Duration::from_millis(10));
        }
    }
}
