//! `init --try`, started and watched: for tests that kill, end and prove trials.
use std::os::fd::OwnedFd;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use rustix::process::{Pid, Signal, kill_process};

use crate::world::World;

/// Far more than anything here takes.
const LONG: Duration = Duration::from_secs(30);

/// A trial that runs.
#[derive(Debug)]
pub struct Try<'w> {
    world: &'w World,
    init: Child,
    said: std::path::PathBuf,
}

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    /// The command that waits.
    Init,
    /// The server's main process.
    Keeper,
    /// Who reads packets.
    Front,
    /// Who changes the firewall.
    Grantor,
    /// All of them at once.
    All,
}

/// Everybody.
pub const VICTIMS: [Victim; 5] = [Victim::Init, Victim::Keeper, Victim::Front, Victim::Grantor, Victim::All];

impl<'w> Try<'w> {
    /// Starts it; nothing is waited for.
    #[must_use]
    pub fn start(world: &'w World, lasting: &str) -> Self {
        let said = world.folder().join("said");
        let to = |name: &str| OwnedFd::from(fs::File::create(world.folder().join(name)).expect("a file"));
        let mut command = world.command(&["init", "--try", lasting]);
        command.stdin(Stdio::null()).stdout(to("said")).stderr(to("complaint"));
        Self { world, init: command.spawn().expect("the binary under test runs"), said }
    }

    /// Starts it and waits until the drops are in, and the server serves.
    ///
    /// # Panics
    /// When it ends before that.
    #[must_use]
    pub fn begin(world: &'w World, lasting: &str) -> Self {
        let mut trial = Self::start(world, lasting);
        let start = Instant::now();
        while !trial.said().contains("on trial") {
            let ended = trial.init.try_wait().expect("a child can be asked");
            assert!(ended.is_none() && start.elapsed() < LONG, "no trial: {}", trial.all_said());
            thread::sleep(Duration::from_millis(5));
        }
        trial
    }

    /// What it says to scripts.
    #[must_use]
    pub fn said(&self) -> String {
        fs::read_to_string(&self.said).unwrap_or_default()
    }

    /// What it and its server say.
    #[must_use]
    pub fn all_said(&self) -> String {
        let of = |path| fs::read_to_string(path).unwrap_or_default();
        let complaint = of(self.world.folder().join("complaint"));
        format!("{}\n{complaint}\n{}", self.said(), of(self.world.place("state").join("trial.log")))
    }

    /// What stands on the screen of whoever waits for it.
    #[must_use]
    pub fn shown(&self) -> String {
        let complaint = fs::read_to_string(self.world.folder().join("complaint")).unwrap_or_default();
        format!("{}\n{complaint}", self.said())
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.init.id()
    }

    /// How it ended.
    ///
    /// # Panics
    /// When it does not.
    pub fn end(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.init.try_wait().expect("a child can be asked") {
                return status;
            }
            assert!(start.elapsed() < LONG, "it does not end: {}", self.all_said());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// The processes of a victim.
    #[must_use]
    pub fn processes(&self, victim: Victim) -> Vec<u32> {
        let named = |word: &str| -> Vec<u32> {
            server_processes(self.world)
                .into_iter()
                .filter(|(_, line)| has(line, word))
                .map(|(pid, _)| pid)
                .collect()
        };
        match victim {
            Victim::Init => vec![self.init.id()],
            Victim::Keeper => named("serve"),
            Victim::Front => named("front"),
            Victim::Grantor => named("grantor"),
            Victim::All => {
                let mut all = vec![self.init.id()];
                all.extend(server_processes(self.world).into_iter().map(|(pid, _)| pid));
                all
            }
        }
    }

    /// Kills a victim, and waits until it is dead.
    ///
    /// # Panics
    /// When there is none.
    pub fn kill(&self, victim: Victim) {
        let processes = self.processes(victim);
        assert!(!processes.is_empty(), "there is no {victim:?}: {}", self.all_said());
        processes.iter().for_each(|&pid| signal(pid, Signal::KILL));
        // A zombie has let go of everything.
        let there = |pid: &&u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
        };
        let start = Instant::now();
        while let Some(pid) = processes.iter().find(there) {
            assert!(start.elapsed() < LONG, "{victim:?} {pid} outlives SIGKILL");
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Try<'_> {
    fn drop(&mut self) {
        let _ = self.init.kill();
        let _ = self.init.wait();
        for (pid, _) in server_processes(self.world) {
            signal(pid, Signal::KILL);
        }
        // Their namespace goes next.
        thread::sleep(Duration::from_millis(50));
    }
}

/// Every process of ours in the server's namespace that is no `init`, with its words.
#[must_use]
pub fn server_processes(world: &World) -> Vec<(u32, Vec<u8>)> {
    let pids = world.server.run("sh", &["-c", "ip netns pids $(ip netns identify $$)"]);
    let pids = pids.lines().filter_map(|line| line.trim().parse::<u32>().ok());
    let with_words = pids.map(|pid| (pid, fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()));
    with_words.filter(|(_, line)| has(line, "serve") || has(line, "--part")).collect()
}

fn has(line: &[u8], word: &str) -> bool {
    line.split(|&byte| byte == 0).any(|one| one == word.as_bytes())
}

/// Sends a signal.
///
/// # Panics
/// When that is no process's number.
pub fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process has a number");
    let _ = kill_process(pid, signal);
}
