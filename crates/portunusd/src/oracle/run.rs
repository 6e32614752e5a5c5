//! One run of gpg: the message by standard input, the passphrase by a descriptor, the text and the report back. Whoever runs
//! it, it is bounded in time, output and memory, and asks nobody anything.

use std::io::{self, PipeReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use portunus_ctl::oracle::{LONGEST_REPORT, LONGEST_TEXT};
use portunus_sys::clock;
use portunus_sys::poll::{Interest, Poll};
use portunus_sys::process::{self, ChildEnd};
use portunus_sys::users::Ids;
use zeroize::Zeroizing;

use crate::message::Ring;

/// How long one may run on what a stranger sent.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);
/// Bytes of addresses for each, and for the process that runs them for the front: a message of two thousand letters can make
/// it take a hundred times as much in three seconds as a knock needs.
pub(super) const MOST_MEMORY: u64 = 512 << 20;
/// The only path that it sees.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The most that is kept of its own words.
const WORDS: usize = 2048;

/// The most letters of them that are told.
pub(super) const MOST_WORDS: usize = 400;

/// The descriptors of the report and of the passphrase, as it sees them.
const STATUS: i32 = 100;
const PASSPHRASE: i32 = 101;

/// A gpg and the keyring that it is to use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gpg<'r> {
    pub(crate) home: &'r Path,
    pub(crate) program: &'r Path,
    /// As whom, where we are another.
    pub(crate) ids: Option<Ids>,
}

impl<'r> Gpg<'r> {
    /// This ring's, as who we are.
    pub(super) fn of(ring: &'r Ring) -> Self {
        Self { home: &ring.home, program: &ring.program, ids: None }
    }
}

/// What one may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) time: Duration,
    /// Bytes of what it prints.
    pub(super) text: usize,
}

/// What it said.
#[derive(Debug)]
pub(super) struct Spoken {
    pub(super) text: Zeroizing<Vec<u8>>,
    pub(super) report: Vec<u8>,
    /// Its own words, for who looks after the keyring.
    pub(super) words: Vec<u8>,
    /// Whether it ended without an error.
    pub(super) well: bool,
}

impl Spoken {
    /// Its own words, as one line of plain text.
    pub(super) fn own_words(&self) -> String {
        let text = String::from_utf8_lossy(&self.words);
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let all = if lines.is_empty() { "it gave no reason".to_owned() } else { lines.join("; ") };
        all.chars().filter(|c| !c.is_control()).take(MOST_WORDS).collect()
    }
}

/// Why it said nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error("{0}")]
    NotRun(io::Error),
    #[error("it did not end within {} s", .0.as_secs())]
    TooSlow(Duration),
    #[error("what was encrypted, or what gpg says of it, is longer than any knock")]
    TooMuch,
    #[error("it was ended by signal {0}")]
    Killed(i32),
}

/// Opens a message.
pub(super) fn open(ring: &Ring, message: &[u8]) -> Result<Spoken, RunError> {
    // More than a knock has, so that what is too long is seen to be: at its own bound gpg writes nothing at all.
    let most = (32 * LONGEST_TEXT).to_string();
    let bounds = Bounds { time: PATIENCE, text: LONGEST_TEXT };
    let what = ["--max-output", &most, "--decrypt"];
    run(&Gpg::of(ring), ring.passphrase.as_deref(), &what, message, bounds)
}

/// Runs it with these words.
pub(super) fn run(
    gpg: &Gpg<'_>,
    passphrase: Option<&[u8]>,
    what: &[&str],
    input: &[u8],
    bounds: Bounds,
) -> Result<Spoken, RunError> {
    let mut command = Command::new(gpg.program);
    command.arg("--homedir").arg(gpg.home);
    // Quiet it would not report why a key cannot be used.
    command.args(["--batch", "--no-tty", "--status-fd", "100"]);
    // Nothing that a stranger sends makes it ask a keyserver.
    command.args(["--disable-dirmngr", "--no-auto-key-retrieve", "--no-auto-key-locate"]);
    let (report, to_report) = io::pipe().map_err(RunError::NotRun)?;
    let mut hand = vec![(OwnedFd::from(to_report), STATUS)];
    match passphrase {
        Some(passphrase) => {
            let (read, mut write) = io::pipe().map_err(RunError::NotRun)?;
            // A pipe takes more than a line of the configuration has.
            write.write_all(passphrase).and_then(|()| write.write_all(b"\n")).map_err(RunError::NotRun)?;
            hand.push((OwnedFd::from(read), PASSPHRASE));
            command.args(["--pinentry-mode", "loopback", "--passphrase-fd", "101"]);
        }
        // An agent that knows the passphrase is asked; nobody else is.
        None => drop(command.args(["--pinentry-mode", "error"])),
    }
    command.args(what);
    command.env_clear().env("PATH", PATH).env("LC_ALL", "C").env("HOME", gpg.home).current_dir("/");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    if let Some(Ids { uid, gid }) = gpg.ids {
        command.uid(uid).gid(gid);
    }
    process::bound_child(&mut command, MOST_MEMORY);
    process::hand_on(&mut command, hand).map_err(RunError::NotRun)?;
    let mut child = command.spawn().map_err(RunError::NotRun)?;
    // Ours of the ends that it has now are closed, so that each reaches its end with it.
    drop(command);
    let heard = talk(&mut child, report, input, bounds);
    if heard.is_err() {
        let _ = child.kill();
    }
    let ended = child.wait();
    let (spoken, ended) = (heard?, ended.map_err(RunError::NotRun)?);
    match ended.signal() {
        Some(signal) => Err(RunError::Killed(signal)),
        None => Ok(Spoken { well: ended.success(), ..spoken }),
    }
}

const TEXT: u64 = 0;
const REPORT: u64 = 1;
const OWN_WORDS: u64 = 2;
const END: u64 = 3;

/// Feeds it and listens until it has ended, or its time is up.
fn talk(child: &mut Child, report: PipeReader, input: &[u8], bounds: Bounds) -> Result<Spoken, RunError> {
    let end = ChildEnd::of(child).map_err(RunError::NotRun)?;
    let none = || RunError::NotRun(io::Error::other("no pipe to it"));
    // A pipe takes more than the longest message. One that ends early says why itself.
    let _ = child.stdin.take().ok_or_else(none)?.write_all(input);
    let (stdout, stderr) = (child.stdout.take().ok_or_else(none)?, child.stderr.take().ok_or_else(none)?);
    let mut ears = [
        Ear { from: Box::new(stdout), heard: Zeroizing::new(Vec::new()), most: bounds.text, open: true },
        Ear { from: Box::new(report), heard: Zeroizing::new(Vec::new()), most: LONGEST_REPORT, open: true },
        Ear { from: Box::new(stderr), heard: Zeroizing::new(Vec::new()), most: usize::MAX, open: true },
    ];
    let outcome = listen(&mut ears, &end, bounds.time);
    if let Err(error) = outcome {
        end.kill_group();
        return Err(error);
    }
    let [text, report, words] = ears.map(|ear| ear.heard);
    Ok(Spoken { text, report: report.to_vec(), words: words.to_vec(), well: false })
}

fn listen(ears: &mut [Ear; 3], end: &ChildEnd, time: Duration) -> Result<(), RunError> {
    let until = clock::mono().after(time);
    let mut poll = Poll::new().map_err(RunError::NotRun)?;
    for (ear, token) in ears.iter().zip([TEXT, REPORT, OWN_WORDS]) {
        poll.add(&ear.from, token, Interest::Read).map_err(RunError::NotRun)?;
    }
    poll.add(end, END, Interest::Read).map_err(RunError::NotRun)?;
    let mut ended = false;
    loop {
        let left = until.since(clock::mono());
        if left.is_zero() {
            return Err(RunError::TooSlow(time));
        }
        // Once it has ended, what it has said lies there; an agent that it has started keeps no end of ours open for long.
        let patience = if ended { Duration::ZERO } else { left };
        let mut heard = false;
        for ready in poll.wait(Some(patience)).map_err(RunError::NotRun)? {
            if ready.token == END {
                ended = true;
                let _ = poll.remove(end);
                heard = true;
                continue;
            }
            let Some(ear) = usize::try_from(ready.token).ok().and_then(|n| ears.get_mut(n)) else { continue };
            heard = true;
            if !ear.listen()? {
                let _ = poll.remove(&ear.from);
            }
        }
        if ears.iter().all(|ear| !ear.open) || (ended && !heard) {
            return Ok(());
        }
    }
}

/// One of its outputs.
struct Ear {
    from: Box<dyn Output>,
    heard: Zeroizing<Vec<u8>>,
    most: usize,
    open: bool,
}

trait Output: Read + AsFd {}
impl<T: Read + AsFd> Output for T {}

impl Ear {
    /// Takes what is there. False: that was all.
    fn listen(&mut self) -> Result<bool, RunError> {
        let mut room = Zeroizing::new([0; 4096]);
        let count = self.from.read(room.as_mut_slice()).map_err(RunError::NotRun)?;
        if count == 0 {
            self.open = false;
            return Ok(false);
        }
        let kept = if self.most == usize::MAX { WORDS.saturating_sub(self.heard.len()) } else { count };
        self.heard.extend_from_slice(room.get(..count.min(kept)).unwrap_or_default());
        if self.heard.len() > self.most {
            return Err(RunError::TooMuch);
        }
        Ok(true)
    }
}
