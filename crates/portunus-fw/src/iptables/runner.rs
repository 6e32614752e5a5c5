//! Running the tools. The real one starts programs; the daemon gives one that asks its errand process to.

use std::io::{self, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::walk::IpVersion;

/// As long as a tool may take: it may have to wait for somebody else's transaction.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a tool itself waits for the lock of x_tables, in seconds.
const LOCK_WAIT: &str = "5";

/// Where the tools are; the environment's own PATH is not asked.
const PATH: &str = "/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/sbin";

/// The most that a tool may print.
const MOST_OUTPUT: u64 = 64 << 20;

/// A table of x_tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Who may come in, go out and go through.
    Filter,
    /// Translations of addresses.
    Nat,
    /// Changes of packets.
    Mangle,
    /// Before connections are tracked.
    Raw,
    /// For security modules.
    Security,
}

impl Table {
    /// Every one.
    pub const ALL: [Self; 5] = [Self::Filter, Self::Nat, Self::Mangle, Self::Raw, Self::Security];

    /// Its name, as the tools know it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Nat => "nat",
            Self::Mangle => "mangle",
            Self::Raw => "raw",
            Self::Security => "security",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.as_str() == name)
    }
}

/// A tool, by what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// `iptables-save -t filter`
    Save(IpVersion),
    /// `iptables-save -c -t TABLE`: with the counters of each rule.
    SaveCounted(IpVersion, Table),
    /// `iptables-save`: every table.
    SaveAll(IpVersion),
    /// `iptables-restore --noflush`: one transaction a table, on its standard input.
    Restore(IpVersion),
    /// The same, with counters.
    RestoreCounted(IpVersion),
}

impl Tool {
    /// What people call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match (self.saves(), self.version()) {
            (true, IpVersion::V4) => "iptables-save",
            (true, IpVersion::V6) => "ip6tables-save",
            (false, IpVersion::V4) => "iptables-restore",
            (false, IpVersion::V6) => "ip6tables-restore",
        }
    }

    /// For which family.
    #[must_use]
    pub const fn version(self) -> IpVersion {
        match self {
            Self::Save(version)
            | Self::SaveCounted(version, _)
            | Self::SaveAll(version)
            | Self::Restore(version)
            | Self::RestoreCounted(version) => version,
        }
    }

    /// Whether it only reads.
    #[must_use]
    pub const fn saves(self) -> bool {
        match self {
            Self::Save(_) | Self::SaveCounted(..) | Self::SaveAll(_) => true,
            Self::Restore(_) | Self::RestoreCounted(_) => false,
        }
    }

    /// What stands behind its name.
    fn arguments(self) -> Vec<&'static str> {
        match self {
            Self::Save(_) => vec!["-t", "filter"],
            Self::SaveCounted(_, table) => vec!["-c", "-t", table.as_str()],
            Self::SaveAll(_) => Vec::new(),
            Self::Restore(_) => vec!["--noflush", "--wait", LOCK_WAIT],
            Self::RestoreCounted(_) => vec!["--noflush", "--counters", "--wait", LOCK_WAIT],
        }
    }
}

/// Why a tool did not do its work. The text does not name it: whoever shows it does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// It is not there.
    #[error("it is not installed: install the package iptables, or use nftables")]
    Missing(Tool),
    /// It took too long.
    #[error("it did not end within {secs} s: does somebody else hold the lock of iptables?", secs = PATIENCE.as_secs())]
    TimedOut(Tool),
    /// It said no.
    #[error("{said}")]
    Failed {
        /// The tool.
        tool: Tool,
        /// Its own words, the first line of them.
        said: String,
    },
    /// It could not be run.
    #[error("it could not be run: {}", io::Error::from(*.kind))]
    Broken {
        /// The tool.
        tool: Tool,
        /// What kind of mistake it was.
        kind: io::ErrorKind,
    },
}

impl RunError {
    /// Which tool.
    #[must_use]
    pub const fn tool(&self) -> Tool {
        match self {
            Self::Missing(tool)
            | Self::TimedOut(tool)
            | Self::Failed { tool, .. }
            | Self::Broken { tool, .. } => *tool,
        }
    }
}

/// Runs a tool with something on its standard input; what it printed.
pub trait Runner {
    /// See the trait.
    ///
    /// # Errors
    /// Why the tool did not do its work: then nothing was changed.
    fn run(&mut self, tool: Tool, input: &str) -> Result<String, RunError>;
}

/// Which of the two implementations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Variant {
    /// Whatever `iptables` means on this machine.
    #[default]
    Default,
    /// iptables-nft.
    Nft,
    /// iptables-legacy.
    Legacy,
}

impl Variant {
    /// The one that a program belongs to, by the last part of its path: `/sbin/iptables-legacy`.
    #[must_use]
    pub fn of(program: &str) -> Self {
        match program.rsplit('/').next() {
            Some("iptables-nft") => Self::Nft,
            Some("iptables-legacy") => Self::Legacy,
            Some(_) | None => Self::Default,
        }
    }
}

/// The programs of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Programs {
    variant: Variant,
}

impl Programs {
    /// Those of this implementation.
    #[must_use]
    pub const fn new(variant: Variant) -> Self {
        Self { variant }
    }

    fn program(self, tool: Tool) -> String {
        let family = match tool.version() {
            IpVersion::V4 => "iptables",
            IpVersion::V6 => "ip6tables",
        };
        let verb = if tool.saves() { "save" } else { "restore" };
        match self.variant {
            Variant::Default => format!("{family}-{verb}"),
            Variant::Nft => format!("{family}-nft-{verb}"),
            Variant::Legacy => format!("{family}-legacy-{verb}"),
        }
    }
}

impl Runner for Programs {
    fn run(&mut self, tool: Tool, input: &str) -> Result<String, RunError> {
        let program = self.program(tool);
        let broken = |error: io::Error| {
            let kind = error.kind();
            if kind == io::ErrorKind::NotFound {
                RunError::Missing(tool)
            } else {
                RunError::Broken { tool, kind }
            }
        };
        let mut child = Command::new(locate(&program))
            .args(tool.arguments())
            .env_clear()
            .env("PATH", PATH)
            .env("LC_ALL", "C")
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(broken)?;
        let (printed, said) = talk(&mut child, input).ok_or_else(|| {
            // It is ours, and it hangs.
            let _ = child.kill();
            let _ = child.wait();
            RunError::TimedOut(tool)
        })?;
        if child.wait().map_err(broken)?.success() {
            return Ok(printed);
        }
        let said =
            said.lines().find(|line| !line.trim().is_empty()).unwrap_or("it gave no reason").to_owned();
        Err(RunError::Failed { tool, said })
    }
}

/// The first place on [`PATH`] that has it, or its bare name, so that the error is "not found".
fn locate(program: &str) -> String {
    let places = PATH.split(':').map(|place| format!("{place}/{program}"));
    places.into_iter().find(|path| std::path::Path::new(path).exists()).unwrap_or_else(|| program.to_owned())
}

/// Feeds it and listens to both its outputs at once, so that neither side can wait for the other; `None` when it
/// does not end.
fn talk(child: &mut Child, input: &str) -> Option<(String, String)> {
    let (stdin, stdout, stderr) = (child.stdin.take()?, child.stdout.take()?, child.stderr.take()?);
    let input = input.to_owned();
    thread::spawn(move || {
        let mut stdin = stdin;
        // A tool that ends early says why itself.
        let _ = stdin.write_all(input.as_bytes());
    });
    let (printed, said) = (listen(stdout), listen(stderr));
    Some((printed.recv_timeout(PATIENCE).ok()?, said.recv_timeout(PATIENCE).ok()?))
}

fn listen(from: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (heard, hear) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.take(MOST_OUTPUT).read_to_end(&mut bytes);
        // Nobody waits any longer when the time was up.
        let _ = heard.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    hear
}
