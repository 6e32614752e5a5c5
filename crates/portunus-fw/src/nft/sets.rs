//! The sets of a table, by name, and the rules that look into one. Pure.

use std::net::IpAddr;

use portunus_model::{Family, PortSpec, Proto};

use super::keys::{Keys, Role};
use super::rule::{If, RulePlan, Span, Then, rule};
use crate::Structure;

/// Ours in a table of the admin's begin with this.
pub(super) const PREFIX: &str = "portunus_";

/// Sets of who is cut off begin with this, after the prefix.
const CUT: &str = "cut";

/// The set that the drops of a trial hang on.
const TRIAL: &str = "trial";

/// The set of interfaces that count.
pub(super) const INTERFACES: &str = "interfaces";

/// Whether a set of ours, by its name, lets in whoever has a grant: to this host, or through it.
pub(crate) fn grants(name: &str, through: bool) -> bool {
    let name = name.strip_prefix(PREFIX).unwrap_or(name);
    let to_us = ["open", "range"];
    // What is sent on to another host is let through by what lets in to this one, too.
    let words = if through { &["through", "all", "open", "range"][..] } else { &to_us };
    name == INTERFACES || words.iter().any(|word| name.starts_with(word))
}

/// Whether a set of ours, by its name, is what the drops of a trial hang on.
pub(crate) fn is_trial(name: &str) -> bool {
    name.strip_prefix(PREFIX).unwrap_or(name) == TRIAL
}

/// IPv4 or IPv6, where a table may hold either or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Version {
    V4,
    V6,
}

impl Version {
    pub(super) const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// `NFPROTO_IPV4`, `NFPROTO_IPV6` (linux/netfilter.h).
    pub(super) const fn nfproto(self) -> u8 {
        match self {
            Self::V4 => 2,
            Self::V6 => 10,
        }
    }

    pub(super) const fn digit(self) -> char {
        match self {
            Self::V4 => '4',
            Self::V6 => '6',
        }
    }

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::V4 => "ip",
            Self::V6 => "ip6",
        }
    }
}

/// The versions that a table of this family sees.
pub(super) const fn versions(family: Family) -> &'static [Version] {
    match family {
        Family::Inet => &[Version::V4, Version::V6],
        Family::Ip => &[Version::V4],
        Family::Ip6 => &[Version::V6],
    }
}

/// One set, or map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SetPlan {
    pub(super) name: String,
    pub(super) keys: Keys,
    pub(super) role: Role,
}

/// Whose the table is that we stand in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Host {
    /// Ours: to accept ends our own chain only, and every other table still has its say.
    Us,
    /// The admin's: to accept ends their chain, so we accept nothing but what our doors are about.
    Admin,
}

impl Host {
    /// What keeps our sets apart from theirs.
    pub(super) const fn prefix(self) -> &'static str {
        match self {
            Self::Us => "",
            Self::Admin => PREFIX,
        }
    }
}

/// The sets that a structure asks for in one table.
#[derive(Clone, Copy)]
pub(super) struct Sets<'s> {
    pub(super) structure: &'s Structure,
    pub(super) family: Family,
    pub(super) host: Host,
}

impl Sets<'_> {
    /// One for each version.
    pub(super) fn each(&self, name: &str, role: Role, keys: fn(Version) -> Keys) -> Vec<SetPlan> {
        let prefix = self.host.prefix();
        let one = |version: &Version| SetPlan {
            name: format!("{prefix}{name}{}", version.digit()),
            keys: keys(*version),
            role,
        };
        versions(self.family).iter().map(one).collect()
    }

    fn ranges(&self, name: &str, role: Role) -> Vec<SetPlan> {
        let prefix = self.host.prefix();
        let mut sets = Vec::new();
        for span in ranges(&self.structure.doors) {
            for &version in versions(self.family) {
                let name = format!("{prefix}{name}{}_{}_{}", version.digit(), span.0, span.1);
                sets.push(SetPlan { name, keys: Keys::Range(version, span), role });
            }
        }
        sets
    }

    pub(super) fn open(&self) -> Vec<SetPlan> {
        let mut sets = self.each("open", Role::Open, Keys::Single);
        sets.extend(self.ranges("range", Role::Open));
        if self.structure.destinations {
            sets.extend(self.each("open_at", Role::Open, Keys::Narrow));
        }
        if self.structure.source_ports {
            sets.extend(self.each("open_from", Role::Open, Keys::From));
        }
        sets
    }

    /// Who was cut off by name, before whoever is connected is let in.
    pub(super) fn cut(&self) -> Vec<SetPlan> {
        let mut sets = self.each(CUT, Role::Cut, Keys::Single);
        sets.extend(self.ranges(CUT, Role::Cut));
        sets
    }

    /// What the drops hang on, while they are on trial.
    pub(super) fn trial(&self) -> Option<SetPlan> {
        let name = format!("{}{TRIAL}", self.host.prefix());
        self.structure.trial.map(|_| SetPlan { name, keys: Keys::Proto, role: Role::Trial })
    }

    /// The conditions of a drop of protected ports: while it is on trial, for so long as the kernel has the element.
    pub(super) fn for_now(&self, ifs: Vec<If>) -> Vec<If> {
        let last = self.trial().map(|set| If::InSet(set.keys, set.name));
        ifs.into_iter().chain(last).collect()
    }

    /// What was turned to this host.
    pub(super) fn local(&self) -> Vec<SetPlan> {
        let nat = &self.structure.nat;
        let any = nat.local || !nat.forced.is_empty();
        if any { self.each("local", Role::Local, Keys::Turned) } else { Vec::new() }
    }
}

/// The rule for a set; of what was turned one for each protocol.
pub(super) fn looked_up(family: Family, set: &SetPlan, then: &Then) -> Vec<RulePlan> {
    let ports = set.keys.span().map(|span| If::ToPorts(vec![span]));
    let last = || ports.clone().into_iter().chain([If::InSet(set.keys, set.name.clone())]);
    before_set(family, set).into_iter().map(|ifs| rule(ifs.into_iter().chain(last()), then.clone())).collect()
}

/// What goes back to who is in a set.
pub(super) fn answered(family: Family, set: &SetPlan) -> RulePlan {
    let is = is_version(family, set);
    rule(is.into_iter().chain([If::AnswersSet(set.keys, set.name.clone())]), Then::Accept)
}

/// What a map says is done.
pub(super) fn mapped(family: Family, set: &SetPlan, then: fn(Keys, String) -> Then) -> Vec<RulePlan> {
    before_set(family, set).into_iter().map(|ifs| rule(ifs, then(set.keys, set.name.clone()))).collect()
}

/// What must be known of a packet before a set's fields mean anything: one list a rule.
fn before_set(family: Family, set: &SetPlan) -> Vec<Vec<If>> {
    let is: Vec<If> = is_version(family, set).into_iter().collect();
    match set.keys {
        // The port that a flow came to first has no meaning by itself: nft would not read its own listing.
        Keys::Turned(_) => {
            [Proto::Tcp, Proto::Udp].map(|proto| [is.clone(), vec![If::Proto(proto)]].concat()).into()
        }
        Keys::Single(_)
        | Keys::Range(..)
        | Keys::Narrow(_)
        | Keys::From(_)
        | Keys::Flow(_)
        | Keys::Whole(_)
        | Keys::WholeNarrow(_)
        | Keys::First(_)
        | Keys::Proto
        | Keys::Interfaces => vec![is],
    }
}

pub(super) fn is_version(family: Family, set: &SetPlan) -> Option<If> {
    set.keys.version().filter(|_| versions(family).len() > 1).map(If::Is)
}

/// Each range once, whatever its protocols: the protocol is part of the key.
fn ranges(doors: &[PortSpec]) -> Vec<Span> {
    let mut ranges: Vec<_> =
        doors.iter().filter(|port| !port.is_single()).map(|port| (port.first(), port.last())).collect();
    ranges.sort_unstable();
    ranges.dedup();
    ranges
}
