//! A program that is told by its standard input, in JSON.

use std::io::{self, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::PATIENCE;
use super::text::Batch;

/// Runs it, without a shell; its exit says whether it has told.
pub(super) fn run(words: &[String], batch: &Batch<'_>) -> Result<(), String> {
    let (program, arguments) = words.split_first().ok_or("there is no command")?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").current_dir("/");
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn().map_err(|error| format!("{program}: {error}"))?;
    let text = format!("{}\n", batch.json());
    finish(child, PATIENCE, move |mut input| input.write_all(text.as_bytes()))
}

/// Gives a child its input and waits for its end, which comes in time.
pub(super) fn finish(
    mut child: Child,
    patience: Duration,
    feed: impl FnOnce(ChildStdin) -> io::Result<()>,
) -> Result<(), String> {
    let end = Instant::now() + patience;
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
                let _ = child.kill();
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
        let child = Command::new("/bin/sh").args(["-c", script]).stdin(Stdio::piped()).spawn().unwrap();
        finish(child, Duration::from_millis(500), |mut input| input.write_all(b"hello\n"))
    }

    #[test]
    fn a_program_is_told_by_its_input_and_says_by_its_end_whether_it_could() {
        assert_eq!(sh("read word; test \"$word\" = hello"), Ok(()));
        assert!(sh("exit 3").unwrap_err().contains("exit status: 3"));
        assert!(sh("exec sleep 60").unwrap_err().contains("did not end"));
    }
}
