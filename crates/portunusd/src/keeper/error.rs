//! Why the daemon does not start, and what its exit asks of whoever supervises it.

use std::net::SocketAddr;

use portunus_config::Diagnostic;
use portunus_rx::OpenError;
use portunus_sys::files;

use crate::keyrings::Trouble;

/// The exit code of what does not mend itself (sysexits.h, EX_CONFIG): the supervisor is told not to try again.
pub(crate) const EX_CONFIG: u8 = 78;
/// The exit code of what may pass by itself: the supervisor tries again.
const EX_PASSING: u8 = 1;

/// Why the daemon does not start. Each says the mend.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("{}", lines(.0))]
    Config(Vec<Diagnostic>),
    #[error(
        "the capability CAP_NET_ADMIN is missing, so no port can be opened: run this as root, or give the service \
         AmbientCapabilities=CAP_NET_ADMIN"
    )]
    MissingCapability,
    #[error("another daemon is there already ({0}): stop that one first")]
    Another(String),
    #[error("cannot listen on {address}/{proto}: {mend}")]
    Listen { address: SocketAddr, proto: &'static str, mend: String, in_use: bool },
    #[error("pcap_open_live() error: {0}")]
    Sniff(OpenError),
    #[error("the configuration names no address to listen on: set `listen`")]
    NoListen,
    #[error("{0}")]
    File(#[from] files::FileError),
    #[error("{0}")]
    Firewall(String),
    #[error(
        "the trial of the drops is over, and nobody had knocked and come in, so nothing is dropped: try again with \
         `portunus init --try 5m`, or run `portunus teardown` to do without a trial"
    )]
    TrialOver,
    #[error(
        "a trial of the drops is being ended by `portunus teardown`, so nothing is dropped: where that was cut short, run \
         `portunus teardown` again"
    )]
    TrialEnded,
    #[error(
        "a trial of the drops runs here{}, and nobody serves beside it: wait for its end, or end it with \
         `portunus teardown`",
        process(*.0)
    )]
    TrialRuns(Option<u32>),
    #[error("no user number between 61184 and 65519 is free to run as: make the user portunus")]
    NoUser,
    #[error("{0}")]
    Keyring(#[from] Trouble),
    #[error("{0}: {1}")]
    System(&'static str, String),
    #[error("the {name} process did not come up: its own words are above")]
    Part { name: &'static str, lasting: bool },
}

impl StartError {
    /// Whoever exits with [`EX_CONFIG`] is not started again, and a server that is not started again lets nobody in. So
    /// only what stays as it is until a person mends it counts as that: not a port that a resolver's query holds just
    /// now (ours lies among those), not a full disk, not a part that somebody killed.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Listen { in_use: true, .. }
            | Self::Sniff(OpenError::Gone(_) | OpenError::System(..))
            | Self::System(..)
            | Self::Part { lasting: false, .. } => EX_PASSING,
            Self::Config(_)
            | Self::Sniff(OpenError::Denied)
            | Self::MissingCapability
            | Self::Another(_)
            | Self::Listen { in_use: false, .. }
            | Self::NoListen
            | Self::File(_)
            | Self::Firewall(_)
            | Self::NoUser
            | Self::Keyring(_)
            | Self::TrialOver
            | Self::TrialEnded
            | Self::TrialRuns(_)
            | Self::Part { lasting: true, .. } => EX_CONFIG,
        }
    }
}

/// Which process it is, where that is known.
pub(super) fn process(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(", process {pid}"))
}

fn lines(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
