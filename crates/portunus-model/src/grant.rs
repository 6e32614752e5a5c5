//! Grants, as the gate asks for them and the grantor answers.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{ClientName, Grounds, PortSpec};

/// "Please open this": to be opened now, and closed by the kernel after `lasting`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// For whom, by the name in the ledger ([`crate::Client::holder`]): it keeps each client's grants apart, also behind one
    /// address.
    pub client: ClientName,
    /// The one address; canonical (never v4-mapped).
    pub address: IpAddr,
    /// The ports; each must be among [`crate::Limits::doors`], or the grantor refuses the whole.
    pub ports: Box<[PortSpec]>,
    /// How long; more than [`crate::Limits::longest`] is refused.
    pub lasting: Duration,
    /// Only what goes to this address of ours is let in; `None`: to any. Canonical.
    pub destination: Option<IpAddr>,
    /// By which way. With [`Way::All`] there are no ports.
    pub way: Way,
    /// On what it stands, to be kept with it.
    pub grounds: Grounds,
}

/// By which way a granted packet goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub enum Way {
    /// To this host itself.
    #[default]
    Here,
    /// The same, from this source port only (never 0): one flow behind an address, not everybody there.
    From(u16),
    /// To another host or another port, by rewriting its destination or source.
    Nat(Nat),
    /// Everything of this address through this host, whatever the protocol and port: fwknop's FORWARD_ALL.
    All {
        /// To which host everything is turned; `None`: where it was going (DISABLE_DNAT).
        to: Option<IpAddr>,
        /// What the inner host sees as the source.
        source: NatSource,
    },
}

/// Network address translation of one grant (docs: "fwknop", NAT).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Nat {
    /// Whether what was turned stays on this host (local NAT: it is accepted on its way in) or goes through it.
    pub local: bool,
    /// The host where it ends; canonical.
    pub host: IpAddr,
    /// The port where it ends: what is accepted, after the destination was rewritten.
    pub port: u16,
    /// Whether the destination is rewritten from [`Opening::ports`] to `host` and `port`; false: only accepted.
    pub rewrite: bool,
    /// What the inner host sees as the source.
    pub source: NatSource,
}

/// What the inner host sees as the source of a translated flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub enum NatSource {
    /// The client's own address.
    #[default]
    Kept,
    /// This address.
    Fixed(IpAddr),
    /// The address of the interface by which it leaves.
    Masquerade,
}

/// "Please close these now": every grant that matches both; `None` matches all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closing {
    /// Of this client only.
    pub client: Option<ClientName>,
    /// For this address only.
    pub address: Option<IpAddr>,
    /// Why: for the audit log, nothing is decided by it.
    pub cause: Cause,
}

/// Why a grant ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// Somebody with the right to it closed it.
    #[default]
    Close,
    /// The rules do not allow it any more: its client was revoked or changed.
    Revoke,
    /// It was opened so late that its knock had been refused by then.
    Late,
    /// The daemon ended, and was to close what was open.
    End,
    /// Its time was up.
    Expiry,
    /// Somebody with the right to it ended what its client had established.
    Kill,
    /// The limits of a new configuration do not allow it.
    Reload,
    /// A later grant turns the same packets elsewhere.
    Outdone,
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
