//! Commands that a proven knock has run: a command message of fwknop's, or a stanza's CMD_CYCLE.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{ClientName, Unix};

/// "Please run this". Who runs it looks the stanza up in its own copy of the configuration, and refuses what that does not
/// allow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// For whom.
    pub client: ClientName,
    /// The number of the stanza that allows it.
    pub stanza: u32,
    /// Where the knock came from.
    pub source: IpAddr,
    /// What.
    pub work: Work,
}

/// What is to be run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Work {
    /// This text, which the client sent (at most 255 bytes, printable ASCII).
    Command(String),
    /// The stanza's CMD_CYCLE_OPEN, and its CMD_CYCLE_CLOSE when the time is up, with these in the places of variables.
    Cycle(CycleFacts),
}

/// What stands for the variables of a CMD_CYCLE command (spec: "CMD_CYCLE variables").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CycleFacts {
    /// `$IP`, `$SRC`: for which address; canonical.
    pub address: IpAddr,
    /// `$PKT_SRC`: where the packet came from; canonical.
    pub source: IpAddr,
    /// `$DST`: where it went to; `None` when the receiver could not tell.
    pub destination: Option<IpAddr>,
    /// `$PROTO`: of the first port that was asked for, as a number.
    pub proto: u8,
    /// `$PORT`: the first port that was asked for.
    pub port: u16,
    /// `$TIMEOUT`: the packet's own time plus `lasting`.
    pub ends: Unix,
    /// `$CLIENT_TIMEOUT`: how long the client asked for, in seconds; 0: it did not.
    pub client_timeout: u32,
    /// How long until the closing command runs.
    pub lasting: Duration,
}

/// What became of an [`Order`].
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ran {
    /// It was begun; how it ends is told by who runs it.
    Begun,
    /// The configuration of who runs it does not allow it.
    Refused,
    /// Too many run already.
    Busy,
    /// It could not be begun.
    Failed,
}
