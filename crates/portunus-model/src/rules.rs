//! Compiled policy: what the front decides by, and what the grantor allows.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{ClientName, PortSpec, Unix};

/// What the front decides by. Made by portunus-config, swapped whole on reload.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Rules {
    /// Grows with each reload.
    pub generation: u64,
    /// How far a packet's timestamp may be from our clock, either way.
    pub window: Duration,
    /// The clients, in the files' order. Names and keys are unique.
    pub clients: Vec<Client>,
}

/// One client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// Its name.
    pub name: ClientName,
    /// By what it proves itself.
    pub key: ClientKey,
    /// Every port that it may open, health port included; sorted, no duplicates.
    pub ports: Box<[PortSpec]>,
    /// From then on it is refused.
    pub expires: Option<Unix>,
    /// How long a grant lasts.
    pub lasting: Duration,
    /// Whether it may open for an address other than its own.
    pub any_target: bool,
}

/// By what a client proves itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ClientKey {
    /// openme: an Ed25519 public key (checked at load: a point on the curve, not of small order).
    Openme([u8; 32]),
}

/// What the grantor allows, whatever the front says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Limits {
    /// Every port or range that some client may open. Sorted, no duplicates. Each range has a set of its own.
    pub doors: Vec<PortSpec>,
    /// The longest grant.
    pub longest: Duration,
    /// How many grants (client, address, port) may be open at once.
    pub most_open: u32,
}

/// How we stand in the firewall.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Stance {
    /// Where.
    pub place: Place,
    /// Only packets that come in by one of these interfaces are accepted or dropped by our rules, and received; empty: all.
    pub interfaces: Vec<String>,
    /// Ports that are dropped for whoever has no grant. Ranges allowed. Empty: somebody else drops them.
    pub protected: Vec<PortSpec>,
    /// The UDP knock port, where it is to be accepted by our rules; `None`: somebody else accepts it.
    pub knock_port: Option<u16>,
}

/// The place of our rules.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Place {
    /// Table `inet portunus` of our own: sets, accepts, and the drops.
    #[default]
    Own,
    /// In the admin's own nft chains, by a jump before the first drop.
    Attach(Vec<Seat>),
    /// iptables and ip6tables.
    Iptables,
}

/// One chain of the admin's that we stand in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Seat {
    /// The table's family.
    pub family: Family,
    /// The table.
    pub table: String,
    /// The base chain.
    pub chain: String,
}

/// An nftables family that a seat can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4 and IPv6 in one table.
    Inet,
    /// IPv4 only.
    Ip,
    /// IPv6 only.
    Ip6,
}

impl Family {
    /// The word of nft's language.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inet => "inet",
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
        }
    }
}
