//! fwknop's two programs and ours that take their places: the same configuration, the same words, four ways to pair them.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use portunus_ctl::control::Client;
use rustix::process::{Pid, Signal, kill_process};

use crate::namespace::Namespace;
use crate::tool::binary;
use crate::world::World;

/// Whose program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// Ours, by its face.
    Ours,
    /// Debian's.
    Theirs,
}

/// The four pairs (client, server).
pub const PAIRS: [(Whose, Whose); 4] = [
    (Whose::Theirs, Whose::Theirs),
    (Whose::Ours, Whose::Theirs),
    (Whose::Theirs, Whose::Ours),
    (Whose::Ours, Whose::Ours),
];

/// A running `fwknopd` in the foreground. Dropped, it is ended by SIGTERM and waited for.
#[derive(Debug)]
pub struct Fwknopd {
    child: Child,
    log: PathBuf,
    run: PathBuf,
}

impl Fwknopd {
    /// Starts it with these two files and waits until it says that it listens.
    ///
    /// `conf` gets the interface, a run folder of this world and short pauses before its own lines.
    #[must_use]
    pub fn start(world: &World, whose: Whose, conf: &str, access: &str, more: &[&str]) -> Self {
        let folder = world.folder().join("fwknop");
        fs::create_dir_all(&folder).expect("a folder can be made");
        let run = folder.join("run");
        let head = format!(
            "PCAP_INTF door0;\nPCAP_LOOP_SLEEP 1000;\nUDPSERV_SELECT_TIMEOUT 20000;\nFWKNOP_RUN_DIR {};\n",
            run.display()
        );
        let (conf_path, access_path) = (folder.join("fwknopd.conf"), folder.join("access.conf"));
        private(&conf_path, &(head + conf));
        private(&access_path, access);
        let log = folder.join("log");
        let to_log = File::create(&log).expect("the log can be made");
        let mut command = program(&world.server, whose, "fwknopd");
        command.arg("-f").arg("-c").arg(&conf_path).arg("-a").arg(&access_path).args(more);
        command.env("PORTUNUS_STATE_DIR", folder.join("state")).env("HOME", &folder);
        command.stdin(Stdio::null()).stderr(to_log.try_clone().expect("a file can be shared")).stdout(to_log);
        let child = command.spawn().expect("fwknopd runs: `make test` installs fwknop-server");
        let mut started = Self { child, log, run };
        let ready = |log: &str| log.contains("fwknopd main event loop") || log.contains("Kicking off UDP");
        let until = Instant::now() + Duration::from_secs(20);
        while !ready(&started.log()) {
            let ended = started.child.try_wait().expect("a child can be asked");
            assert!(ended.is_none(), "{whose:?} fwknopd ended with {ended:?}:\n{}", started.log());
            assert!(Instant::now() < until, "{whose:?} fwknopd did not begin:\n{}", started.log());
            std::thread::sleep(Duration::from_millis(5));
        }
        started
    }

    /// All that it wrote so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// A connection to the control socket of ours; theirs has none.
    #[must_use]
    pub fn control(&self) -> Client {
        Client::connect(&self.run.join("portunus")).unwrap_or_else(|e| panic!("{e}\n{}", self.log()))
    }

    /// Waits until it has written `words`, three seconds at most.
    #[must_use]
    pub fn says(&self, words: &str) -> bool {
        within(Duration::from_secs(3), || self.log().contains(words))
    }

    /// Every process of it, the first one first.
    #[must_use]
    pub fn processes(&self) -> Vec<u32> {
        crate::daemon::family(self.child.id())
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Fwknopd {
    fn drop(&mut self) {
        let _ = kill_process(self.pid(), Signal::TERM);
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- fwknopd\n{}", self.log());
        }
    }
}

/// Runs a client of fwknop's in the client's namespace; the world's folder is its home, and it reads no rc file.
#[must_use]
pub fn fwknop(world: &World, whose: Whose, words: &[&str]) -> Output {
    let mut command = program(&world.client, whose, "fwknop");
    command.args(["--no-rc-file", "--no-save-args", "-D", crate::SERVER]).args(words);
    command.env("HOME", world.folder()).stdin(Stdio::null());
    command.output().expect("fwknop runs: `make test` installs fwknop-client")
}

/// The rules in fwknop's chains, one a line, without what differs from run to run: `CHAIN SOURCE PROTO ... TARGET`.
#[must_use]
pub fn grants(world: &World) -> Vec<String> {
    let all = ["filter", "nat"].map(|table| world.server.run("iptables-save", &["-t", table])).concat();
    let rules = all.lines().filter_map(|line| line.strip_prefix("-A FWKNOP_"));
    let mut grants: Vec<String> = rules.map(plain).collect();
    grants.sort();
    grants
}

/// Without the comment, the implied match of the protocol, and the end that ours gives to the kernel too.
fn plain(rule: &str) -> String {
    let mut words = rule.split_whitespace().peekable();
    let mut out: Vec<&str> = Vec::new();
    while let Some(word) = words.next() {
        match (word, words.peek().copied()) {
            ("-m", Some("comment")) => words.by_ref().take(3).for_each(drop),
            ("-m", Some("time")) => {
                words.next();
                while let Some("--datestop" | "--datestart" | "--kerneltz" | "--utc") = words.peek().copied()
                {
                    words.by_ref().take(2).for_each(drop);
                }
            }
            ("-m", Some("tcp" | "udp")) => drop(words.next()),
            _ => out.push(word),
        }
    }
    out.join(" ")
}

/// Waits until `done`, at most `limit`.
pub fn within(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + limit;
    loop {
        if done() {
            return true;
        }
        if Instant::now() >= until {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn program(side: &Namespace, whose: Whose, name: &str) -> Command {
    match whose {
        Whose::Theirs => side.command(name),
        Whose::Ours => {
            let mut command = side.command(binary());
            command.arg(name);
            command
        }
    }
}

fn private(path: &PathBuf, text: &str) {
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(path);
    let file = file.as_mut().expect("a file can be written");
    file.write_all(text.as_bytes()).expect("a file can be written");
}
