//! Grants, as the gate asks for them and the grantor answers.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{ClientName, PortSpec};

/// "Please open this": to be opened now, and closed by the kernel after `lasting`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// For whom: the ledger keeps each client's grants apart, also behind one address.
    pub client: ClientName,
    /// The one address; canonical (never v4-mapped).
    pub address: IpAddr,
    /// The ports; each must be among [`crate::Limits::doors`], or the grantor refuses the whole.
    pub ports: Box<[PortSpec]>,
    /// How long; more than [`crate::Limits::longest`] is refused.
    pub lasting: Duration,
}

/// "Please close these now": every grant that matches both; `None` matches all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closing {
    /// Of this client only.
    pub client: Option<ClientName>,
    /// For this address only.
    pub address: Option<IpAddr>,
}

/// What became of an [`Opening`].
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Opened {
    /// The kernel has it, and it was read back.
    Open,
    /// The grantor's own limits do not allow it: nothing was changed.
    Refused,
    /// The limit of open grants, or the size of a kernel set, is reached.
    Full,
    /// The firewall would not take it, or it was not there when read back.
    Failed,
}
