//! The rules that stand in the kernel now, as plain values: every table, chain, rule and set, whoever made them.
//!
//! Here is what the kernel's messages say, decoded ([`Ruleset::read`], without any program's help), and each rule
//! in nft's words ([`Rule::words`]). Not here: what the rules do to a packet ([`crate::walk`]) and where we may
//! stand among them ([`crate::place`]).

mod attr;
mod decode;
mod dump;
mod expr;
mod interfaces;
mod legacy;
mod values;
mod words;
mod xt;

use std::fmt;

pub use dump::{ReadError, Wire};
pub use expr::{CmpOp, CtKey, Data, Expr, Fib, MetaKey, Nat, PayloadBase, Register, RuleVerdict};
pub use interfaces::interfaces;
pub use xt::{Multiport, Xt, XtTarget};

/// Everything that netfilter holds in this network namespace, as far as it can touch a packet that comes in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ruleset {
    /// In the kernel's order.
    pub tables: Vec<Table>,
}

/// A table's family, with those that a packet to this host can never meet left in: a listing names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TableFamily {
    /// IPv4 and IPv6.
    Inet,
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
    /// One device's ingress or egress.
    Netdev,
    /// ARP.
    Arp,
    /// A bridge's frames.
    Bridge,
    /// Another number.
    Other(u8),
}

impl TableFamily {
    /// The word of nft's language.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inet => "inet",
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Netdev => "netdev",
            Self::Arp => "arp",
            Self::Bridge => "bridge",
            Self::Other(_) => "unknown",
        }
    }

    /// The model's family, where a seat can be in it.
    #[must_use]
    pub const fn seat(self) -> Option<portunus_model::Family> {
        match self {
            Self::Inet => Some(portunus_model::Family::Inet),
            Self::Ip => Some(portunus_model::Family::Ip),
            Self::Ip6 => Some(portunus_model::Family::Ip6),
            Self::Netdev | Self::Arp | Self::Bridge | Self::Other(_) => None,
        }
    }

    // `NFPROTO_*` of linux/netfilter.h.
    pub(crate) const fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Inet,
            2 => Self::Ip,
            3 => Self::Arp,
            5 => Self::Netdev,
            7 => Self::Bridge,
            10 => Self::Ip6,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for TableFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which program's kernel interface holds a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// nf_tables (nft, iptables-nft, firewalld, …).
    Nftables,
    /// The old x_tables (iptables-legacy).
    Legacy,
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its family.
    pub family: TableFamily,
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub held: Held,
    /// Switched off: none of its chains sees a packet.
    pub dormant: bool,
    /// The netlink port of the one process that may change it (`flags owner`).
    pub owner: Option<u32>,
    /// Its comment.
    pub comment: Option<String>,
    /// Its chains.
    pub chains: Vec<Chain>,
    /// Its sets and maps, the anonymous ones (`__set0`) too.
    pub sets: Vec<Set>,
}

/// A chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Its name.
    pub name: String,
    /// Its handle.
    pub handle: u64,
    /// Where packets enter it; `None` for a chain that is only jumped to.
    pub base: Option<Base>,
    /// Its comment.
    pub comment: Option<String>,
    /// Its rules, in order.
    pub rules: Vec<Rule>,
}

/// What makes a chain a base chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// `filter`, `nat` or `route`.
    pub kind: String,
    /// The hook.
    pub hook: Hook,
    /// The lower, the earlier.
    pub priority: i32,
    /// What becomes of a packet that no rule decides: `true` is `policy drop`.
    pub drops: bool,
    /// The devices of an ingress or egress hook; empty elsewhere.
    pub devices: Vec<String>,
}

/// A place on a packet's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hook {
    /// On a device, before IP.
    Ingress,
    /// Before routing.
    Prerouting,
    /// To this host.
    Input,
    /// Through this host.
    Forward,
    /// From this host.
    Output,
    /// After routing.
    Postrouting,
    /// Out of a device.
    Egress,
    /// Another number.
    Other(u32),
}

impl Hook {
    /// The word of nft's language.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Prerouting => "prerouting",
            Self::Input => "input",
            Self::Forward => "forward",
            Self::Output => "output",
            Self::Postrouting => "postrouting",
            Self::Egress => "egress",
            Self::Other(_) => "unknown",
        }
    }

    // `NF_INET_*` and `NF_NETDEV_*` of linux/netfilter.h.
    pub(crate) const fn from_number(family: TableFamily, number: u32) -> Self {
        match (family, number) {
            (TableFamily::Netdev, 0) | (TableFamily::Inet, 5) => Self::Ingress,
            (TableFamily::Netdev, 1) => Self::Egress,
            (_, 0) => Self::Prerouting,
            (_, 1) => Self::Input,
            (_, 2) => Self::Forward,
            (_, 3) => Self::Output,
            (_, 4) => Self::Postrouting,
            (_, other) => Self::Other(other),
        }
    }
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its handle; 0 in the old x_tables, which has none.
    pub handle: u64,
    /// Its comment.
    pub comment: Option<String>,
    /// What it does, in order; an expression that does not match ends the rule.
    pub exprs: Vec<Expr>,
    /// How the program that holds it writes it; only the old x_tables come with it.
    pub written: Option<String>,
}

/// A set or a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// Its name.
    pub name: String,
    /// Made by nft for one rule's `{ … }`.
    pub anonymous: bool,
    /// Its keys are intervals.
    pub interval: bool,
    /// It maps keys to data.
    pub map: bool,
    /// The data are verdicts.
    pub verdicts: bool,
    /// nft's number for the type of its keys.
    pub key_type: u32,
    /// Bytes of a key.
    pub key_len: u32,
    /// The lengths of a concatenation's fields, each as it lies in the key (padded to 4); empty otherwise.
    pub fields: Vec<u32>,
    /// Its comment.
    pub comment: Option<String>,
    /// What is in it now.
    pub elements: Vec<SetElement>,
    /// Its elements were not asked for: whatever is looked up in it may be there, or not.
    pub unread: bool,
}

/// An element of a set or a map.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SetElement {
    /// The key, or the first of an interval; empty for the catch-all.
    pub key: Vec<u8>,
    /// The last key of an interval that comes as one element.
    pub key_end: Option<Vec<u8>>,
    /// This key is the first one *after* an interval.
    pub interval_end: bool,
    /// `*`: what no other element matches.
    pub catch_all: bool,
    /// What it maps to.
    pub data: Option<Data>,
}

impl Ruleset {
    /// The table with this family and name.
    #[must_use]
    pub fn table(&self, family: TableFamily, name: &str) -> Option<&Table> {
        self.tables.iter().find(|t| t.family == family && t.name == name && t.held == Held::Nftables)
    }
}

impl Table {
    /// The chain of this name.
    #[must_use]
    pub fn chain(&self, name: &str) -> Option<&Chain> {
        self.chains.iter().find(|c| c.name == name)
    }

    /// The set of this name.
    #[must_use]
    pub fn set(&self, name: &str) -> Option<&Set> {
        self.sets.iter().find(|s| s.name == name)
    }
}
