//! The running daemon: started, waited for, watched, killed.

use std::fs::{self, File};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use portunus_ctl::control::{Client, EventLine, Followed};
use rustix::process::{Pid, Signal, kill_process};

use crate::world::World;

/// So long a start may take.
const READY_WITHIN: Duration = Duration::from_secs(10);

/// One of the daemon's processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The main one.
    Keeper,
    /// Who reads packets.
    Front,
    /// Who speaks with the firewall.
    Grantor,
}

/// A running daemon. Dropped, it is ended and waited for.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    log: PathBuf,
    run: PathBuf,
    /// From the start of the program until it said that it is ready.
    pub ready_after: Duration,
}

impl Daemon {
    /// Starts it with `words` and waits for its `READY=1`.
    #[must_use]
    pub fn start(world: &World, words: &[&str]) -> Self {
        match Self::try_start(world, words) {
            Ok(daemon) => daemon,
            Err((status, log)) => {
                panic!("portunus {} ended with {status} before it was ready:\n{log}", words.join(" "))
            }
        }
    }

    /// The same; when it ends instead, how it ended and what it said.
    ///
    /// # Errors
    /// It ended before it was ready.
    pub fn try_start(world: &World, words: &[&str]) -> Result<Self, (ExitStatus, String)> {
        Self::try_start_as(world, world.command(words))
    }

    /// The same by a command of the test's own, which becomes the daemon or waits for it.
    ///
    /// # Errors
    /// It ended before it was ready.
    pub fn try_start_as(world: &World, mut command: Command) -> Result<Self, (ExitStatus, String)> {
        let notify = world.folder().join("notify");
        let _ = fs::remove_file(&notify);
        let socket = UnixDatagram::bind(&notify).expect("a socket can be bound");
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a socket can have a time limit");
        let log = world.folder().join("log");
        let to_log = File::options().create(true).append(true).open(&log).expect("the log can be opened");
        let started = Instant::now();
        command.env("NOTIFY_SOCKET", &notify).stdin(Stdio::null()).stdout(Stdio::null()).stderr(to_log);
        let child = command.spawn().expect("the binary under test runs");
        let mut daemon = Self { child, log, run: world.place("run"), ready_after: Duration::ZERO };
        let mut bytes = [0; 1024];
        while started.elapsed() < READY_WITHIN {
            if let Ok(length) = socket.recv(&mut bytes) {
                let said = String::from_utf8_lossy(bytes.get(..length).unwrap_or_default()).into_owned();
                if said.lines().any(|line| line == "READY=1") {
                    daemon.ready_after = started.elapsed();
                    return Ok(daemon);
                }
            }
            if let Some(status) = daemon.child.try_wait().expect("a child can be asked") {
                return Err((status, daemon.log()));
            }
        }
        panic!("the daemon did not say READY=1 within {READY_WITHIN:?}:\n{}", daemon.log())
    }

    /// All that it wrote so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until it has written these words.
    ///
    /// # Panics
    /// When it has not within ten seconds.
    pub fn until_logged(&self, words: &str) {
        let start = Instant::now();
        while !self.log().contains(words) {
            assert!(
                start.elapsed() < Duration::from_secs(10),
                "the log does not say {words:?}:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The keeper's process id (`ip netns exec` becomes the program that it runs).
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Every process of it, the keeper first.
    #[must_use]
    pub fn processes(&self) -> Vec<u32> {
        family(self.pid())
    }

    /// The process id of a part.
    #[must_use]
    pub fn part(&self, part: Part) -> u32 {
        let word = match part {
            Part::Keeper => return self.pid(),
            Part::Front => "front",
            Part::Grantor => "grantor",
        };
        let is_it = |pid: &u32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.split(|&byte| byte == 0).any(|one| one == word.as_bytes())
        };
        let all = self.processes();
        all.into_iter().skip(1).find(is_it).unwrap_or_else(|| panic!("the daemon has no process {word}"))
    }

    /// Sends a signal to a part.
    pub fn signal(&self, part: Part, signal: Signal) {
        kill(self.part(part), signal);
    }

    /// Kills every process of it at once, as the worst would.
    pub fn kill_all(mut self) {
        let all = self.processes();
        all.iter().for_each(|&pid| kill(pid, Signal::KILL));
        let _ = self.child.wait();
        all.iter().for_each(|&pid| gone(pid));
    }

    /// Waits until it has ended, all of it.
    ///
    /// # Panics
    /// When it goes on for more than ten seconds.
    pub fn wait(&mut self) -> ExitStatus {
        let all = self.processes();
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be asked") {
                all.iter().skip(1).for_each(|&pid| gone(pid));
                return status;
            }
            assert!(start.elapsed() < Duration::from_secs(10), "the daemon goes on:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Ends it as systemd does.
    pub fn stop(mut self) -> ExitStatus {
        kill(self.pid(), Signal::TERM);
        self.wait()
    }

    /// A connection to its control socket.
    #[must_use]
    pub fn control(&self) -> Client {
        Client::connect(&self.run).unwrap_or_else(|e| panic!("{e}\n{}", self.log()))
    }

    /// Does `work` and gives back the first `count` verdicts that fall from then on.
    pub fn verdicts(&self, count: usize, work: impl FnOnce()) -> Vec<EventLine> {
        let mut client = self.control();
        client.status().expect("the daemon says how it is");
        let events = client.events().expect("verdicts can be followed");
        let (send, receive) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for event in events.flatten().filter_map(verdict) {
                if send.send(event).is_err() {
                    return;
                }
            }
        });
        work();
        let mut seen = Vec::new();
        while seen.len() < count {
            match receive.recv_timeout(Duration::from_secs(5)) {
                Ok(event) => seen.push(event),
                Err(_) => panic!("{} of {count} verdicts fell: {seen:?}\n{}", seen.len(), self.log()),
            }
        }
        seen
    }

    /// The one verdict that falls when `work` is done, as a word.
    pub fn verdict(&self, work: impl FnOnce()) -> String {
        self.verdicts(1, work).first().map(|event| event.reason.as_str().to_owned()).unwrap_or_default()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        let all = self.processes();
        kill(self.pid(), Signal::TERM);
        let start = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && start.elapsed() < Duration::from_secs(3) {
            std::thread::sleep(Duration::from_millis(5));
        }
        if matches!(self.child.try_wait(), Ok(None)) {
            all.iter().for_each(|&pid| kill(pid, Signal::KILL));
            let _ = self.child.wait();
        }
    }
}

fn verdict(followed: Followed) -> Option<EventLine> {
    match followed {
        Followed::Event(line) => Some(*line),
        Followed::Missed(_) => None,
    }
}

fn kill(pid: u32, signal: Signal) {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return };
    let _ = kill_process(pid, signal);
}

/// Waits until a process is no more (a zombie is no more).
fn gone(pid: u32) {
    let start = Instant::now();
    let lives = || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
    };
    while lives() {
        assert!(start.elapsed() < Duration::from_secs(5), "process {pid} outlives the daemon");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A process and all that came from it, itself first.
pub(crate) fn family(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut next = 0;
    while let Some(&parent) = all.get(next) {
        all.extend(children(parent));
        next += 1;
    }
    all
}

fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect()
}
