//! What the keeper and the grantor say to each other.

use std::net::IpAddr;

use portunus_config::{FirewallKind, StanceWish};
use portunus_model::{HolderNames, Limits, Mono, Place, PortSpec, Stance};
use portunus_store::audit::Fact;
use serde::{Deserialize, Serialize};

/// What the grantor runs by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GrantorSnapshot {
    pub(crate) limits: Limits,
    pub(crate) wish: Wish,
}

/// What the grantor is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GrantorBrief {
    pub(crate) snapshot: GrantorSnapshot,
    pub(crate) names: HolderNames,
}

/// [`StanceWish`], as it crosses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wish {
    pub(crate) place: Option<Place>,
    pub(crate) interfaces: Vec<String>,
    pub(crate) protected: Vec<PortSpec>,
    pub(crate) sent_on: Vec<PortSpec>,
    pub(crate) knock_port: Option<u16>,
    pub(crate) listen_port: Option<u16>,
    pub(crate) firewall: Backend,
    /// The drops are on trial.
    pub(crate) trial: Option<Trial>,
}

/// Drops that end by themselves, unless somebody comes in before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Trial {
    pub(crate) until: Mono,
    /// Who comes in by one of these has proven it: all that is protected but the health port, behind which is nothing.
    pub(crate) proves: Vec<PortSpec>,
}

/// [`FirewallKind`], as it crosses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Backend {
    Auto,
    Nft,
    Iptables,
    /// None: what would be opened is only remembered (fwknopd's --test).
    Nothing,
}

impl Wish {
    pub(crate) fn of(wish: &StanceWish, listen_port: Option<u16>) -> Self {
        Self {
            place: wish.place.clone(),
            interfaces: wish.interfaces.clone(),
            protected: wish.protected.clone(),
            sent_on: wish.sent_on.clone(),
            knock_port: wish.knock_port,
            listen_port,
            firewall: match wish.firewall {
                FirewallKind::Auto => Backend::Auto,
                FirewallKind::Nft => Backend::Nft,
                FirewallKind::Iptables => Backend::Iptables,
            },
            trial: None,
        }
    }

    /// The stance at a place.
    pub(crate) fn at(&self, place: Place) -> Stance {
        Stance {
            place,
            interfaces: self.interfaces.clone(),
            protected: self.protected.clone(),
            sent_on: self.sent_on.clone(),
            knock_port: self.knock_port,
        }
    }
}

/// Keeper to grantor.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToGrantor {
    /// With: the brief, the channel to the front, two journal files (and how to name them).
    Setup { journal: String, holding: bool },
    /// With: the channel to the errand process.
    Errand,
    /// With: the brief.
    Reload,
    /// End now; with `close`, take every grant back first.
    End { close: bool },
}

/// Grantor to keeper.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromGrantor {
    /// iptables it is: somebody must run its tools.
    NeedErrand,
    /// The kernel has our rules.
    InForce { place: String },
    /// The journal of grants cannot be had, and why: where the doors are only held, somebody may begin without it.
    NoJournal { why: String },
    /// It does not, and why, with the mend; nothing was changed.
    Refused { why: String },
    /// For the audit log: what was done, and how much there was no room to say.
    Facts { facts: Vec<Fact>, lost: u64 },
    /// While the drops are on trial: somebody at this address, which may be one of ours, came in through a grant.
    Came { address: IpAddr, port: PortSpec },
    /// The trial is over, and nothing of ours is in the firewall any more.
    TrialOver,
}
