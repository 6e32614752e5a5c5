//! `askew SECONDS PROGRAM ...`: runs a program, and all that it starts, with its wall clock that far ahead (or behind).
//!
//! A namespace of time does not move `CLOCK_REALTIME`, and a library that is put before libc is not asked by who calls the
//! kernel itself, as the daemon does. So this traces the program: what the kernel writes of the wall clock is changed before
//! it is read, and the page from which a program reads the clock without asking is hidden from it. The program under test is
//! the one that is shipped.
#![expect(clippy::expect_used, clippy::panic, reason = "a test's helper fails by panicking")]

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::{Command, ExitCode};

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// getauxval(3): where the page with the clock is,
const AT_SYSINFO_EHDR: u64 = 33;
/// an entry that says nothing,
const AT_IGNORE: u64 = 1;
/// and prctl(2)'s way to all of them.
const PR_GET_AUXV: u64 = 0x4155_5856;
/// The clocks that tell the time of day.
const WALLS: [libc::clockid_t; 3] = [libc::CLOCK_REALTIME, libc::CLOCK_REALTIME_COARSE, libc::CLOCK_TAI];

#[expect(clippy::zombie_processes, reason = "it is waited for as whoever is traced is")]
fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    let seconds = words.next().and_then(|word| word.to_str()?.parse().ok());
    let seconds = seconds.expect("askew SECONDS PROGRAM ...");
    // It stops itself, so that nothing of it runs untraced.
    let mut command = Command::new("sh");
    command.args(["-c", "kill -STOP $$; exec \"$@\"", "sh"]).args(words);
    let child = command.spawn().expect("sh runs");
    let first = Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
    waitpid(first, Some(WaitPidFlag::WUNTRACED)).expect("a child can be waited for");
    let all = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_EXITKILL;
    ptrace::seize(first, all).expect("a child can be traced");
    kill(first, Signal::SIGCONT).expect("it can go on");
    Askew { seconds, asked: HashMap::new() }.follow(first)
}

/// What is known of who is traced.
struct Askew {
    seconds: i64,
    /// The system call that each thread is in.
    asked: HashMap<Pid, Call>,
}

impl Askew {
    /// Until the first one has ended, as which it ends.
    fn follow(mut self, first: Pid) -> ExitCode {
        loop {
            let status = waitpid(None, Some(WaitPidFlag::__WALL)).expect("there is somebody to wait for");
            let (pid, signal) = match status {
                WaitStatus::Exited(pid, code) if pid == first => {
                    return ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX));
                }
                WaitStatus::Signaled(pid, signal, _) if pid == first => {
                    return ExitCode::from(u8::try_from(128 + signal as i32).unwrap_or(u8::MAX));
                }
                WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, _, _) => {
                    self.asked.remove(&pid);
                    continue;
                }
                WaitStatus::PtraceSyscall(pid) => {
                    self.call(pid);
                    (pid, None)
                }
                WaitStatus::PtraceEvent(pid, _, event) => {
                    if event == libc::PTRACE_EVENT_EXEC {
                        hide_from_stack(pid);
                    }
                    (pid, None)
                }
                WaitStatus::Stopped(pid, signal) => (pid, Some(signal)),
                WaitStatus::Continued(_) | WaitStatus::StillAlive => continue,
            };
            match ptrace::syscall(pid, signal) {
                // It was killed meanwhile.
                Ok(()) | Err(Errno::ESRCH) => (),
                Err(error) => panic!("{pid} does not go on: {error}"),
            }
        }
    }

    fn call(&mut self, pid: Pid) {
        let Ok(info) = ptrace::syscall_info(pid) else { return };
        if info.op == libc::PTRACE_SYSCALL_INFO_ENTRY {
            if let Some(call) = Call::of(pid) {
                self.asked.insert(pid, call);
            }
        } else if let Some(call) = self.asked.remove(&pid) {
            // Who was killed meanwhile has no memory.
            let _ = self.returned(pid, &call);
        }
    }

    fn returned(&self, pid: Pid, call: &Call) -> std::io::Result<()> {
        let memory = Memory::of(pid)?;
        if call.number == libc::SYS_clock_gettime && WALLS.iter().any(|&clock| call.given[0] == clock as u64)
        {
            let seconds = memory.word(call.given[1])?.cast_signed();
            memory.put(call.given[1], (seconds + self.seconds).cast_unsigned())?;
        } else if call.number == libc::SYS_prctl && call.given[0] == PR_GET_AUXV {
            memory.hide_clock(call.given[1], call.given[1] + call.given[2])?;
        }
        Ok(())
    }
}

/// A system call, as proc(5) tells it.
struct Call {
    number: i64,
    given: [u64; 3],
}

impl Call {
    fn of(pid: Pid) -> Option<Self> {
        let told = std::fs::read_to_string(format!("/proc/{pid}/syscall")).ok()?;
        let mut words = told.split_ascii_whitespace();
        let number = words.next()?.parse().ok()?;
        let mut hex = || u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok();
        Some(Self { number, given: [hex()?, hex()?, hex()?] })
    }
}

/// What a program that has just begun finds on its stack: how many words, the words, nothing, its environment, nothing, and
/// then what the kernel tells it.
fn hide_from_stack(pid: Pid) {
    let hidden = || -> std::io::Result<()> {
        let stack = ptrace::syscall_info(pid)?.stack_pointer;
        let memory = Memory::of(pid)?;
        let mut at = stack + 8 * (memory.word(stack)? + 2);
        while memory.word(at)? != 0 {
            at += 8;
        }
        memory.hide_clock(at + 8, u64::MAX)
    };
    hidden().unwrap_or_else(|error| panic!("the stack of {pid} cannot be read: {error}"));
}

/// The memory of who is traced.
struct Memory(File);

impl Memory {
    fn of(pid: Pid) -> std::io::Result<Self> {
        File::options().read(true).write(true).open(format!("/proc/{pid}/mem")).map(Self)
    }

    fn word(&self, at: u64) -> std::io::Result<u64> {
        let mut bytes = [0; 8];
        self.0.read_exact_at(&mut bytes, at)?;
        Ok(u64::from_ne_bytes(bytes))
    }

    fn put(&self, at: u64, word: u64) -> std::io::Result<()> {
        self.0.write_all_at(&word.to_ne_bytes(), at)
    }

    /// Pairs of a name and a value, from `at` to the one that ends them, or to `end`.
    fn hide_clock(&self, mut at: u64, end: u64) -> std::io::Result<()> {
        while at < end {
            match self.word(at)? {
                0 => return Ok(()),
                AT_SYSINFO_EHDR => self.put(at, AT_IGNORE)?,
                _ => (),
            }
            at += 16;
        }
        Ok(())
    }
}
