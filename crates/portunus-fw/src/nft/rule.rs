//! One rule as a value: what must be so of a packet, and what is done with it then; in words as nft writes them. Pure.

use std::fmt;

use portunus_model::{PortSpec, Proto};

use super::keys::Keys;
use super::sets::Version;

/// The ports `first..=last`.
pub(super) type Span = (u16, u16);

/// One condition of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum If {
    /// The packet came in by none of the interfaces in this set.
    ComesByNoneOf(String),
    /// It comes from this host itself.
    FromLoopback,
    /// It belongs to a connection that lives, or is related to one.
    OfLiveFlow,
    /// It is of this version.
    Is(Version),
    /// It is of this protocol.
    Proto(Proto),
    /// Its destination port lies in one of these; sorted, and none touches the next.
    ToPorts(Vec<Span>),
    /// It belongs to a flow whose first packet came to a port in one of these.
    FirstPorts(Vec<Span>),
    /// It belongs to a flow that was sent on to another address or port.
    Turned,
    /// What these fields of it are is in this set.
    InSet(Keys, String),
    /// It goes back to where somebody in this set comes from.
    AnswersSet(Keys, String),
}

/// What a rule does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Then {
    Accept,
    Drop,
    Return,
    Jump(String),
    /// Its destination becomes what this map gives for these fields of it.
    Turn(Keys, String),
    /// Its source does.
    Source(Keys, String),
    /// Its source becomes the address of the interface by which it leaves.
    Masquerade,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RulePlan {
    pub(super) ifs: Vec<If>,
    pub(super) then: Then,
}

pub(super) fn rule(ifs: impl IntoIterator<Item = If>, then: Then) -> RulePlan {
    RulePlan { ifs: ifs.into_iter().collect(), then }
}

/// The ports of one protocol, as few spans as can be.
pub(super) fn spans(ports: &[PortSpec], proto: Proto) -> Vec<Span> {
    let mut sorted: Vec<Span> =
        ports.iter().filter(|port| port.proto() == proto).map(|port| (port.first(), port.last())).collect();
    sorted.sort_unstable();
    let mut merged: Vec<Span> = Vec::new();
    for (first, last) in sorted {
        match merged.last_mut() {
            Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
            Some(_) | None => merged.push((first, last)),
        }
    }
    merged
}

fn span_words(spans: &[Span]) -> String {
    let span = |&(first, last): &Span| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    let all: Vec<_> = spans.iter().map(span).collect();
    match all.as_slice() {
        [one] => one.clone(),
        all => format!("{{ {} }}", all.join(", ")),
    }
}

impl fmt::Display for If {
    /// As nft writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ComesByNoneOf(set) => write!(f, "iifname != @{set}"),
            Self::FromLoopback => f.write_str("iif \"lo\""),
            Self::OfLiveFlow => f.write_str("ct state established,related"),
            Self::Is(Version::V4) => f.write_str("meta nfproto ipv4"),
            Self::Is(Version::V6) => f.write_str("meta nfproto ipv6"),
            Self::Proto(proto) => write!(f, "meta l4proto {}", proto.as_str()),
            Self::ToPorts(spans) => write!(f, "th dport {}", span_words(spans)),
            Self::FirstPorts(spans) => write!(f, "ct original proto-dst {}", span_words(spans)),
            Self::Turned => f.write_str("ct status dnat"),
            Self::InSet(keys, set) => write!(f, "{keys} @{set}"),
            Self::AnswersSet(keys, set) => match keys.span() {
                Some((first, last)) => write!(f, "th sport {first}-{last} @{set} in answer"),
                None => write!(f, "{keys} @{set} in answer"),
            },
        }
    }
}

impl fmt::Display for RulePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for condition in &self.ifs {
            write!(f, "{condition} ")?;
        }
        match &self.then {
            Then::Accept => f.write_str("accept"),
            Then::Drop => f.write_str("drop"),
            Then::Return => f.write_str("return"),
            Then::Jump(chain) => write!(f, "jump {chain}"),
            Then::Turn(keys, map) => write!(f, "dnat to {keys} map @{map}"),
            Then::Source(keys, map) => write!(f, "snat to {keys} map @{map}"),
            Then::Masquerade => f.write_str("masquerade"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(text: &str) -> PortSpec {
        PortSpec::parse(text).unwrap()[0]
    }

    #[test]
    fn spans_that_touch_are_one() {
        let ports: Vec<_> =
            ["22/tcp", "23/tcp", "5-9/tcp", "7-30/udp", "8-12/tcp", "65535/tcp"].map(port).into();
        assert_eq!(spans(&ports, Proto::Tcp), [(5, 12), (22, 23), (65535, 65535)]);
        assert_eq!(spans(&ports, Proto::Udp), [(7, 30)]);
    }
}
