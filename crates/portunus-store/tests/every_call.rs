//! A real process, ended by SIGKILL at each of its system calls, before and after it: what it had said to be taken stays taken,
//! and what it had said to be open or closed is so.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail where it stands"
)]

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::ptrace::{self, Options};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use portunus_model::{Claim, ClaimKey, Claimed, ClientName, Element, Grounds, Mono, Now, PortSpec, Unix};
use portunus_store::{BootId, Entry, FileStore, Journal, ReplayStore, Row};

const BOOT: BootId = BootId::from_bytes([7; 16]);
/// So small that a few batches make it rotate and give up.
const CAPACITY: usize = 8;
const BATCHES: u64 = 14;

fn segments(folder: &Path) -> [File; 2] {
    ["one", "two"].map(|name| {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).open(folder.join(name)).unwrap()
    })
}

fn now() -> Now {
    Now { mono: Mono::from_nanos(1_000_000_000), wall: Unix::from_secs(1_800_000_000) }
}

fn batch(n: u64) -> [Claim; 2] {
    [2 * n, 2 * n + 1].map(|n| {
        let mut key = [0; 16];
        key[..8].copy_from_slice(&n.to_be_bytes());
        let stamp = now().wall.after(Duration::from_secs(n / 8));
        Claim { key: ClaimKey(key), stamp, keep_until: stamp.after(Duration::from_secs(60)) }
    })
}

fn row(name: &str) -> Row {
    Row {
        client: ClientName::new(name).unwrap(),
        element: Element::here([192, 0, 2, 1].into(), PortSpec::parse("22/tcp").unwrap()[0]),
        until: Mono::from_nanos(u64::MAX),
        grounds: Grounds::default(),
    }
}

/// Run by the tests below, as a process of its own: waits for a word, works, and says what is done. By itself it does nothing.
#[test]
fn worker() {
    let Some(folder) = std::env::var_os("PORTUNUS_STORE_WORKER").map(PathBuf::from) else { return };
    println!("here");
    std::io::stdin().read_exact(&mut [0]).unwrap();
    let say = |word: String| {
        std::io::stdout().write_all(format!("said {word}\n").as_bytes()).unwrap();
    };
    if folder.ends_with("journal") { grant(&folder, say) } else { take(&folder, say) }
}

fn take(folder: &Path, mut say: impl FnMut(String)) {
    let mut store = FileStore::open(segments(folder), CAPACITY, BOOT, now()).unwrap();
    for n in 0..BATCHES {
        assert_eq!(store.claim(now(), &batch(n)), [Claimed::Fresh; 2]);
        say(n.to_string());
    }
    drop(store);
    say("closed".to_owned());
}

fn grant(folder: &Path, mut say: impl FnMut(String)) {
    let (mut journal, _) = Journal::open(segments(folder), BOOT, now().mono).unwrap();
    for n in 0..6 {
        let name = format!("client-{n}");
        journal.append(&[Entry::Open(row(&name))]).unwrap();
        say(format!("+{name}"));
        if n % 2 == 0 {
            journal.append(&[Entry::Close(row(&name).key())]).unwrap();
            say(format!("-{name}"));
        }
        if n == 3 {
            journal.compact(&[row("client-1"), row("client-3")]).unwrap();
        }
    }
}

/// Lets a worker run until it has come to its `stop`th stop before or after a system call, and kills it there. What it had
/// said, and whether it came to its end before.
fn killed_at(folder: &Path, stop: usize) -> (Vec<String>, bool) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "worker", "--nocapture"])
        .env("PORTUNUS_STORE_WORKER", folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.ends_with("here\n") {
        assert_ne!(out.read_line(&mut line).unwrap(), 0, "{line}");
    }
    let ended = step(&mut child, stop);
    let said = out.lines().map_while(Result::ok);
    let said = said.filter_map(|line| Some(line.split_once("said ")?.1.to_owned())).collect();
    (said, ended)
}

fn step(child: &mut Child, stop: usize) -> bool {
    let pid = at_work(child.id());
    let wait = || waitpid(pid, Some(WaitPidFlag::__WALL)).unwrap();
    ptrace::seize(pid, Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_EXITKILL).unwrap();
    // It waits in a read; from there on it is led from call to call.
    ptrace::interrupt(pid).unwrap();
    assert!(matches!(wait(), WaitStatus::PtraceEvent(..)));
    child.stdin.take().unwrap().write_all(b"!").unwrap();
    let mut stops = 0;
    ptrace::syscall(pid, None).unwrap();
    loop {
        match wait() {
            WaitStatus::PtraceSyscall(_) if stops == stop => {
                child.kill().unwrap();
                // Who leads a thread has to see its end before anybody sees the process's.
                while !matches!(wait(), WaitStatus::Signaled(..)) {}
                child.wait().unwrap();
                return false;
            }
            WaitStatus::PtraceSyscall(_) => {
                stops += 1;
                ptrace::syscall(pid, None).unwrap();
            }
            WaitStatus::Exited(_, code) => {
                assert_eq!(code, 0);
                assert!(child.wait().unwrap().success());
                return true;
            }
            other @ (WaitStatus::Stopped(..)
            | WaitStatus::Signaled(..)
            | WaitStatus::PtraceEvent(..)
            | WaitStatus::Continued(_)
            | WaitStatus::StillAlive) => panic!("{other:?}"),
        }
    }
}

/// The thread that runs the worker; the other one only waits for it.
fn at_work(process: u32) -> Pid {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let names = tasks.map(|task| task.unwrap().file_name().into_string().unwrap().parse::<u32>().unwrap());
    Pid::from_raw(i32::try_from(names.max().unwrap()).unwrap())
}

/// Kills at every stop; gives how many there were, and the most that was said.
fn at_every_call(name: &str, holds: impl Fn(&Path, &[String])) -> (usize, usize) {
    let mut most = 0;
    for stop in 0.. {
        let parent = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let folder = parent.path().join(name);
        fs::create_dir(&folder).unwrap();
        let (said, ended) = killed_at(&folder, stop);
        holds(&folder, &said);
        most = most.max(said.len());
        if ended {
            return (stop, most);
        }
    }
    unreachable!("it ends")
}

#[test]
fn nothing_is_taken_twice_whichever_call_is_the_last() {
    let (stops, said) = at_every_call("replay", |folder, said| {
        for _ in 0..2 {
            let mut store = FileStore::open(segments(folder), CAPACITY, BOOT, now()).unwrap();
            assert!(!store.was_damaged());
            for n in 0..said.len().min(14) as u64 {
                let answers = store.claim(now(), &batch(n));
                assert!(!answers.contains(&Claimed::Fresh), "batch {n} of {said:?}: {answers:?}");
            }
        }
        let mut store = FileStore::open(segments(folder), CAPACITY, BOOT, now()).unwrap();
        assert_eq!(store.claim(now(), &batch(100)), [Claimed::Fresh; 2]);
    });
    println!(
        "killed at {stops} points: before and after each system call of open, claim, rotate, give up, close"
    );
    assert_eq!(said, 15);
    assert!(stops > 150, "{stops}");
}

#[test]
fn what_was_open_is_open_and_what_was_closed_is_closed() {
    let (stops, said) = at_every_call("journal", |folder, said| {
        let (_, rows) = Journal::open(segments(folder), BOOT, now().mono).unwrap();
        let open = |name: &str| rows.iter().any(|row| row.client.as_str() == name);
        for word in said {
            let name = &word[1..];
            let closed = said.contains(&format!("-{name}"));
            // Of the last one the end may have been written and not yet said.
            let last = said.last().is_some_and(|last| last[1..] == *name);
            assert!(open(name) != closed || (last && !closed), "{name} of {said:?}: {rows:?}");
        }
    });
    println!("killed at {stops} points: before and after each system call of open, append, compact, close");
    assert_eq!(said, 9);
    assert!(stops > 60, "{stops}");
}
