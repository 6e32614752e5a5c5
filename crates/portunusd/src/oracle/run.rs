//! One run of gpg: the message by standard input, the passphrase by a descriptor, the text and the report back.

use std::io::{self, PipeReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use portunus_ctl::oracle::{LONGEST_REPORT, LONGEST_TEXT};
use portunus_model::Mono;
use portunus_sys::clock;
use portunus_sys::poll::{Interest, Poll};
use portunus_sys::process::{self, ChildEnd};
use zeroize::Zeroizing;

use crate::message::Ring;

/// How long one may run.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);
/// The most that is read of a list of public keys.
const LONGEST_LIST: usize = 4 << 20;
/// The only path that it sees.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The most that is kept of its own words.
const WORDS: usize = 2048;

/// The descriptors of the report and of the passphrase, as it sees them.
const STATUS: i32 = 100;
const PASSPHRASE: i32 = 101;

/// What it said.
#[derive(Debug)]
pub(super) struct Spoken {
    pub(super) text: Zeroizing<Vec<u8>>,
    pub(super) report: Vec<u8>,
    /// Its own words, for who looks after the keyring.
    pub(super) words: Vec<u8>,
}

/// Why it said nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum RunError {
    #[error("{0}")]
    NotRun(io::Error),
    #[error("it did not end within {} s", PATIENCE.as_secs())]
    TooSlow,
    #[error("it had more to say than any knock has")]
    TooMuch,
    #[error("it was ended by signal {0}")]
    Killed(i32),
}

/// Opens a message.
pub(super) fn open(ring: &Ring, message: &[u8]) -> Result<Spoken, RunError> {
    // More than a knock has, so that what is too long is seen to be: at its own bound gpg writes nothing at all.
    let most = (32 * LONGEST_TEXT).to_string();
    run(ring, &["--max-output", &most, "--decrypt"], message, LONGEST_TEXT)
}

/// Lists the secret keys.
pub(super) fn list(ring: &Ring) -> Result<Spoken, RunError> {
    run(ring, &["--with-colons", "--list-secret-keys"], b"", LONGEST_TEXT)
}

/// Lists the public keys.
pub(super) fn list_public(ring: &Ring) -> Result<Spoken, RunError> {
    run(ring, &["--with-colons", "--no-auto-check-trustdb", "--list-keys"], b"", LONGEST_LIST)
}

fn run(ring: &Ring, what: &[&str], input: &[u8], most: usize) -> Result<Spoken, RunError> {
    let mut command = Command::new(&ring.program);
    command.arg("--homedir").arg(&ring.home);
    // Quiet it would not report why a key cannot be used.
    command.args(["--batch", "--no-tty", "--status-fd", "100"]);
    // Nothing that a stranger sends makes it ask a keyserver.
    command.args(["--disable-dirmngr", "--no-auto-key-retrieve", "--no-auto-key-locate"]);
    let (report, to_report) = io::pipe().map_err(RunError::NotRun)?;
    let mut hand = vec![(OwnedFd::from(to_report), STATUS)];
    match &ring.passphrase {
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
    command.env_clear().env("PATH", PATH).env("LC_ALL", "C").env("HOME", &ring.home).current_dir("/");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    process::hand_on(&mut command, hand).map_err(RunError::NotRun)?;
    let mut child = command.spawn().map_err(RunError::NotRun)?;
    // Ours of the ends that it has now are closed, so that each reaches its end with it.
    drop(command);
    let heard = talk(&mut child, report, input, most);
    if heard.is_err() {
        let _ = child.kill();
    }
    let ended = child.wait();
    let spoken = heard?;
    match ended.ok().and_then(|status| status.signal()) {
        Some(signal) => Err(RunError::Killed(signal)),
        None => Ok(spoken),
    }
}

const TEXT: u64 = 0;
const REPORT: u64 = 1;
const OWN_WORDS: u64 = 2;
const END: u64 = 3;

/// Feeds it and listens until it has ended, or its time is up.
fn talk(child: &mut Child, report: PipeReader, input: &[u8], most: usize) -> Result<Spoken, RunError> {
    let end = ChildEnd::of(child).map_err(RunError::NotRun)?;
    let none = || RunError::NotRun(io::Error::other("no pipe to it"));
    // A pipe takes more than the longest message. One that ends early says why itself.
    let _ = child.stdin.take().ok_or_else(none)?.write_all(input);
    let (stdout, stderr) = (child.stdout.take().ok_or_else(none)?, child.stderr.take().ok_or_else(none)?);
    let mut ears = [
        Ear { from: Box::new(stdout), heard: Zeroizing::new(Vec::new()), most, open: true },
        Ear { from: Box::new(report), heard: Zeroizing::new(Vec::new()), most: LONGEST_REPORT, open: true },
        Ear { from: Box::new(stderr), heard: Zeroizing::new(Vec::new()), most: usize::MAX, open: true },
    ];
    let outcome = listen(&mut ears, &end, clock::mono().after(PATIENCE));
    if let Err(error) = outcome {
        end.kill_group();
        return Err(error);
    }
    let [text, report, words] = ears.map(|ear| ear.heard);
    Ok(Spoken { text, report: report.to_vec(), words: words.to_vec() })
}

fn listen(ears: &mut [Ear; 3], end: &ChildEnd, until: Mono) -> Result<(), RunError> {
    let mut poll = Poll::new().map_err(RunError::NotRun)?;
    for (ear, token) in ears.iter().zip([TEXT, REPORT, OWN_WORDS]) {
        poll.add(&ear.from, token, Interest::Read).map_err(RunError::NotRun)?;
    }
    poll.add(end, END, Interest::Read).map_err(RunError::NotRun)?;
    let mut ended = false;
    loop {
        let left = until.since(clock::mono());
        if left.is_zero() {
            return Err(RunError::TooSlow);
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
