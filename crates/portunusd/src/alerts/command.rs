//! A program that is told by its standard input, in JSON.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use portunus_sys::poll;
use portunus_sys::process::{self, ChildEnd};

use super::PATIENCE;
use super::failed::{Failed, Handed};
use super::text::Batch;

/// What runs for this process.
pub(super) static RUNNING: Running = Running::new();

/// Runs it, without a shell; its exit says whether it has told.
pub(super) fn run(words: &[String], batch: &Batch<'_>) -> Result<(), Failed> {
    let (path, arguments) = words.split_first().ok_or_else(|| "there is no command".to_owned())?;
    let mut command = program(Path::new(path));
    command.args(arguments);
    let text = format!("{}\n", batch.json());
    RUNNING.finish(command, PATIENCE, text.as_bytes())
}

/// A program that is to be told by its standard input, and says nothing.
pub(super) fn program(path: &Path) -> Command {
    let mut command = Command::new(path);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").current_dir("/");
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Programs that run. They end with us, with what they have started.
pub(super) struct Running {
    all: Mutex<All>,
    kill: fn(&ChildEnd),
}

struct All {
    /// Nothing begins any more.
    over: bool,
    groups: Vec<(u32, ChildEnd)>,
    /// Those that were killed and did not end: they wait for a disk, or have become another user's. One of each program at
    /// most, since no second one of it begins meanwhile.
    stuck: Vec<(String, Child)>,
}

/// How long a program that was killed is waited for.
const DYING: Duration = Duration::from_secs(2);

impl Running {
    pub(super) const fn new() -> Self {
        let all = All { over: false, groups: Vec::new(), stuck: Vec::new() };
        Self { all: Mutex::new(all), kill: ChildEnd::kill_group }
    }

    /// Runs a program with this input and waits for its end, which comes in time: with what it has started, then. One that is
    /// ended may have told all the same.
    pub(super) fn finish(&self, mut command: Command, patience: Duration, text: &[u8]) -> Result<(), Failed> {
        let end = Instant::now() + patience;
        let program = command.get_program().display().to_string();
        self.wait_for_the_last(&program)?;
        let mut child = self.start(&mut command).map_err(|error| format!("{program}: {error}"))?;
        let mut input = child.stdin.take().map(|input| (input, text));
        loop {
            // One that ends without reading says by its end what that means.
            input = input.and_then(|(pipe, text)| feed(pipe, text));
            match self.ended(&mut child) {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(format!("the program ended with {status}").into()),
                Ok(None) if Instant::now() < end => thread::sleep(Duration::from_millis(20)),
                Ok(None) => {
                    self.kill(child.id());
                    let end = Instant::now() + DYING;
                    while matches!(self.ended(&mut child), Ok(None)) {
                        if Instant::now() >= end {
                            self.lock().stuck.push((program.clone(), child));
                            let why = format!("{program} did not end in time, and {CANNOT_BE_ENDED}");
                            return Err(Failed::Unanswered(Handed::Message, why));
                        }
                        thread::sleep(Duration::from_millis(1));
                    }
                    let why = format!("the program did not end within {} s", patience.as_secs());
                    return Err(Failed::Unanswered(Handed::Message, why));
                }
                Err(error) => return Err(error.to_string().into()),
            }
        }
    }

    /// One that could not be ended is asked for again; while it is there no other begins.
    fn wait_for_the_last(&self, program: &str) -> Result<(), String> {
        let All { groups, stuck, .. } = &mut *self.lock();
        stuck.retain_mut(|(_, child)| matches!(ended(groups, child), Ok(None)));
        let there = stuck.iter().any(|(name, _)| name == program);
        if there { Err(format!("{program} of the last time {CANNOT_BE_ENDED}")) } else { Ok(()) }
    }

    /// Ends all of them; nothing begins after this.
    pub(super) fn end(&self) {
        let mut all = self.lock();
        all.over = true;
        all.groups.iter().for_each(|(_, group)| (self.kill)(group));
    }

    fn start(&self, command: &mut Command) -> io::Result<Child> {
        let mut all = self.lock();
        if all.over {
            return Err(io::Error::other("it is not begun: we end"));
        }
        process::as_child(command);
        let mut child = command.process_group(0).spawn()?;
        match ChildEnd::of(&child) {
            Ok(group) => all.groups.push((child.id(), group)),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(error);
            }
        }
        Ok(child)
    }

    /// Under the lock, so that nobody ends a group whose number may be another's by then.
    fn ended(&self, child: &mut Child) -> io::Result<Option<ExitStatus>> {
        ended(&mut self.lock().groups, child)
    }

    fn kill(&self, number: u32) {
        let all = self.lock();
        all.groups.iter().filter(|(one, _)| *one == number).for_each(|(_, group)| (self.kill)(group));
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ended(groups: &mut Vec<(u32, ChildEnd)>, child: &mut Child) -> io::Result<Option<ExitStatus>> {
    let status = child.try_wait();
    if !matches!(status, Ok(None)) {
        let number = child.id();
        groups.retain(|(one, _)| *one != number);
    }
    status
}

const CANNOT_BE_ENDED: &str = "cannot be ended: nothing is told by it until it has ended by itself";

/// As much as there is room for; what is left then. A program that does not read keeps nobody waiting here.
fn feed(mut pipe: ChildStdin, mut text: &[u8]) -> Option<(ChildStdin, &[u8])> {
    /// What a pipe takes at once where it takes anything (PIPE_BUF).
    const ROOM: usize = 4096;
    while !text.is_empty() {
        match poll::writable(&pipe) {
            Ok(true) => (),
            Ok(false) => return Some((pipe, text)),
            Err(_) => return None,
        }
        let (now, later) = text.split_at(text.len().min(ROOM));
        pipe.write_all(now).ok()?;
        text = later;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Result<(), String> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).stdin(Stdio::piped());
        let patience = Duration::from_millis(500);
        Running::new().finish(command, patience, b"hello\n").map_err(|failed| failed.to_string())
    }

    /// Whether it may have told what it was to tell.
    #[test]
    fn a_program_that_was_ended_is_one_that_may_have_told() {
        let told = |script: &str| {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", script]).stdin(Stdio::piped());
            Running::new().finish(command, Duration::from_millis(500), b"hello\n").unwrap_err()
        };
        assert!(matches!(told("cat; exec sleep 60"), Failed::Unanswered(Handed::Message, _)));
        assert!(matches!(told("cat; exit 1"), Failed::NotTold(_)));
        let mut none = Command::new("/nowhere/at/all");
        none.stdin(Stdio::piped());
        let none = Running::new().finish(none, Duration::from_millis(500), b"");
        assert!(matches!(none, Err(Failed::NotTold(_))));
    }

    #[test]
    fn who_looks_at_the_same_moment_sees_one_that_cannot_be_ended_too() {
        let running = Running { kill: |_| (), ..Running::new() };
        let mut sleep = Command::new("/bin/sleep");
        sleep.arg("600").stdin(Stdio::piped());
        running.finish(sleep, Duration::from_millis(10), b"").unwrap_err();
        thread::scope(|scope| {
            for _ in 0..4 {
                let looks = || (0..20_000).all(|_| running.wait_for_the_last("/bin/sleep").is_err());
                scope.spawn(move || assert!(looks(), "a second one would begin"));
            }
        });
        let _ = running.lock().stuck.iter_mut().try_for_each(|(_, child)| child.kill());
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

    /// Its number is all there is of it, wherever it has gone.
    #[test]
    fn a_program_that_leaves_its_group_ends_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let number = folder.path().join("number");
        let script = format!(
            "my $p = fork; if (!$p) {{ setpgrp(0, 0); sleep 600; exit }} sleep 1 until getpgrp($p) == $p; \
             setpgrp(0, $p); open my $f, '>', '{}'; print $f $p; close $f; sleep 600",
            number.display()
        );
        let mut command = Command::new("/usr/bin/perl");
        command.args(["-e", &script]).stdin(Stdio::piped());
        let start = Instant::now();
        let why = Running::new().finish(command, Duration::from_secs(4), b"").unwrap_err().to_string();
        assert!(why.contains("did not end within 4 s"), "{why}");
        assert!(start.elapsed() < Duration::from_secs(30));
        let other = std::fs::read_to_string(&number).unwrap();
        let _ = Command::new("/bin/kill").args(["-9", other.trim()]).status();
    }

    #[test]
    fn a_program_that_cannot_be_ended_holds_nobody_and_no_second_one_begins() {
        let folder = tempfile::tempdir().unwrap();
        let number = folder.path().join("number");
        let running = Running { kill: |_| (), ..Running::new() };
        let script = format!("echo $$ >> {}; exec sleep 600", number.display());
        let run = |name: &str| {
            let mut command = Command::new(name);
            command.args(["-c", &script]).stdin(Stdio::piped());
            running.finish(command, Duration::from_millis(500), b"").map_err(|failed| failed.to_string())
        };
        let begun = || std::fs::read_to_string(&number).unwrap();
        let start = Instant::now();
        assert!(run("/bin/sh").unwrap_err().contains("cannot be ended"));
        assert!(start.elapsed() < Duration::from_secs(30));
        for _ in 0..3 {
            assert!(run("/bin/sh").unwrap_err().contains("/bin/sh of the last time cannot be ended"));
        }
        assert_eq!(begun().lines().count(), 1);
        // Once it has ended by itself another one begins.
        let _ = Command::new("/bin/kill").args(["-9", begun().trim()]).status();
        while run("/bin/sh").unwrap_err().contains("of the last time") {
            assert!(start.elapsed() < Duration::from_secs(30));
        }
        let numbers = begun();
        assert_eq!(numbers.lines().count(), 2);
        let _ = Command::new("/bin/kill").args(["-9", numbers.lines().last().unwrap()]).status();
    }

    #[test]
    fn a_program_that_does_not_read_has_no_longer_than_another() {
        let (start, text) = (Instant::now(), vec![b'x'; 1 << 20]);
        let run = |script: &str| {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", script]).stdin(Stdio::piped());
            Running::new().finish(command, Duration::from_secs(2), &text).map_err(|failed| failed.to_string())
        };
        assert!(run("exec sleep 60").unwrap_err().contains("did not end"));
        assert!(start.elapsed() < Duration::from_secs(30));
        assert_eq!(run("test $(wc -c) = 1048576"), Ok(()));
    }

    #[test]
    fn what_runs_ends_with_us_and_nothing_begins_then() {
        let (running, start) = (Running::new(), Instant::now());
        let sleep = || {
            let mut command = Command::new("/bin/sleep");
            command.arg("600").stdin(Stdio::piped());
            running.finish(command, Duration::from_secs(60), b"").map_err(|failed| failed.to_string())
        };
        thread::scope(|scope| {
            let told = scope.spawn(sleep);
            while running.lock().groups.is_empty() {
                thread::sleep(Duration::from_millis(1));
            }
            running.end();
            assert!(told.join().unwrap().unwrap_err().contains("signal: 9"));
        });
        assert!(start.elapsed() < Duration::from_secs(30));
        assert!(sleep().unwrap_err().contains("it is not begun"));
    }
}
