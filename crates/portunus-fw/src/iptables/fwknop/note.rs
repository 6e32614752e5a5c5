//! What fwknop's log says of rules that come and go: facts for whoever speaks its words.

use std::fmt;
use std::net::IpAddr;

use portunus_model::{ChainRow, Chains, Element, Unix};

use super::rules::{Kind, Rule, rules_of};
use crate::walk::IpVersion;

/// Something came, or went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// The way into a chain was put in.
    Jumped {
        /// From which chain.
        from: String,
        /// Into which.
        chain: String,
        /// Of which family.
        version: IpVersion,
    },
    /// All stands, so rules can say their end in a comment.
    Comments,
    /// It was added.
    Added {
        /// What for.
        kind: Kind,
        /// To which chain.
        chain: String,
        /// For which door.
        element: Element,
        /// What the rule itself narrows its destination to.
        to: Option<IpAddr>,
        /// Until when, in seconds since 1970.
        until: i64,
    },
    /// It was over and is gone.
    Removed {
        /// From which chain.
        chain: String,
        /// Which rule of it, from 1 on, before any was removed.
        number: usize,
        /// What its comment said, in seconds since 1970.
        until: i64,
    },
}

impl Note {
    pub(super) fn added(rule: &Rule<'_>, element: &Element, until: Unix) -> Self {
        let (kind, chain, to) = (rule.kind, rule.row.chain.clone(), rule.to);
        Self::Added { kind, chain, element: *element, to, until: until.as_secs() }
    }

    /// What fwknop would say of a grant that stands elsewhere than in its chains: a rule for each step of its way, all of
    /// them in `place`.
    #[must_use]
    pub fn all_added(place: &str, element: &Element, until: Unix) -> Vec<Self> {
        let row = ChainRow {
            target: String::new(),
            table: String::new(),
            from: String::new(),
            jump: 1,
            chain: place.to_owned(),
        };
        let chains = Chains {
            input: row.clone(),
            output: None,
            forward: Some(row.clone()),
            dnat: Some(row.clone()),
            snat: Some(row.clone()),
            masquerade: Some(row),
            prepend: false,
            flush_at_start: false,
            flush_at_end: false,
            program: None,
        };
        let rules = rules_of(&chains, element).unwrap_or_default();
        rules.iter().map(|rule| Self::added(rule, element, until)).collect()
    }
}

impl fmt::Display for Note {
    /// As fwknopd writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jumped { from, chain, version } => {
                write!(f, "Added jump rule from chain: {from} to chain: {chain}")?;
                if *version == IpVersion::V6 { f.write_str(" (IPv6)") } else { Ok(()) }
            }
            Self::Comments => f.write_str("iptables 'comment' match is available"),
            Self::Added { kind, chain, element, to, until } => {
                write!(f, "Added {kind} rule to {chain} for {} -> ", element.address)?;
                match to {
                    Some(to) => write!(f, "{to} ")?,
                    None if element.address.is_ipv4() => f.write_str("0.0.0.0/0 ")?,
                    None => f.write_str("::/0 ")?,
                }
                let what = match element.port {
                    Some(port) if port.is_single() => {
                        format!("{}/{}", port.proto().as_str(), port.first())
                    }
                    Some(port) => format!("{}/{}-{}", port.proto().as_str(), port.first(), port.last()),
                    None => "*/*".to_owned(),
                };
                write!(f, "{what}, expires at {until}")
            }
            Self::Removed { chain, number, until } => {
                write!(f, "Removed rule {number} from {chain} with expire time of {until}")
            }
        }
    }
}
