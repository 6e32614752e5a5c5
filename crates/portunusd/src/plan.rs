//! What a face asks of the daemon: everything that differs between `portunus serve` and `openme serve`.

use std::fmt;
use std::path::PathBuf;

use portunus_config::{Diagnostic, Settings};
use portunus_model::ClientName;

use crate::words::Words;

/// Reads the configuration. Called at start and at each reload, by the keeper only.
pub type Loader = Box<dyn Fn() -> Result<Settings, Vec<Diagnostic>>>;

/// Whether the files have a client still.
pub type StillThere = Box<dyn Fn(&ClientName) -> bool>;

/// How to run.
pub struct Plan {
    /// The word before each message to people: `portunus`, `openme`.
    pub program: &'static str,
    /// The version that `status` says.
    pub version: &'static str,
    /// Reads the configuration. Its [`Settings::sources`] are watched, and a change means a reload.
    pub load: Loader,
    /// Whether a client is in the files still, as far as can be told where they do not load as a whole. In doubt: yes.
    pub still_there: StillThere,
    /// Replay store, grant journal, last known stance. Made (0700) when it is not there.
    pub state_dir: PathBuf,
    /// Control socket and lock. Made (0755) when it is not there.
    pub run_dir: PathBuf,
    /// Where to write the session state file of openme, if at all.
    pub session_file: Option<PathBuf>,
    /// The user to run the parts as, when started as root; where there is no such user, an unused number is taken.
    pub user: String,
    /// What to log.
    pub log: LogLevel,
    /// How to be fwknopd; `None`: somebody else.
    pub fwknopd: Option<Fwknopd>,
}

/// What a daemon that stands in for fwknopd does besides.
pub struct Fwknopd {
    /// Lines go to the system's log, under this name and facility; `None`: to standard error.
    pub syslog: Option<(String, String)>,
    /// Whether they go to standard error too, and with them what commands print.
    pub shows: bool,
    /// After so many packets that are no noise it ends.
    pub packet_limit: Option<u64>,
    /// Packets are judged, and nothing is opened or run.
    pub dry: bool,
    /// Called once, when it serves.
    pub ready: Box<dyn Fn()>,
}

impl Plan {
    /// In whose words it speaks.
    pub(crate) fn words(&self) -> Words {
        if self.fwknopd.is_some() { Words::Fwknopd } else { Words::Ours }
    }

    /// Whether nothing is really opened.
    pub(crate) fn dry(&self) -> bool {
        self.fwknopd.as_ref().is_some_and(|fwknopd| fwknopd.dry)
    }

    /// Whether what commands print goes where we log.
    pub(crate) fn shows(&self) -> bool {
        self.fwknopd.as_ref().is_none_or(|fwknopd| fwknopd.shows)
    }
}

/// From where on records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum LogLevel {
    /// Everything, a stranger's packets too.
    Debug,
    /// What happened.
    #[default]
    Info,
    /// What should be looked at.
    Warn,
    /// What does not work.
    Error,
}

impl LogLevel {
    /// Reads the word of a flag.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "debug" => Some(Self::Debug),
            "info" => Some(Self::Info),
            "warn" => Some(Self::Warn),
            "error" => Some(Self::Error),
            _ => None,
        }
    }

    /// The word of a flag.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("program", &self.program)
            .field("state_dir", &self.state_dir)
            .field("run_dir", &self.run_dir)
            .field("session_file", &self.session_file)
            .field("user", &self.user)
            .field("log", &self.log)
            .finish_non_exhaustive()
    }
}
