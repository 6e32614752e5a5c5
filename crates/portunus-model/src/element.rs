//! One door as the ledger, the journal and the firewall know it: what of a grant is opened and closed by itself.

use std::fmt;
use std::net::IpAddr;

use crate::{Nat, NatSource, Opening, PortSpec, Proto, Way};

/// One open door: this address may come in (or through) by this way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Element {
    /// Who; canonical (never v4-mapped).
    pub address: IpAddr,
    /// To which port or range its packets come here; `None` just with [`Way::All`]: to any, by any protocol.
    pub port: Option<PortSpec>,
    /// Only what comes to this address of ours; `None`: to any.
    pub destination: Option<IpAddr>,
    /// By which way it goes on.
    pub way: Way,
}

impl Element {
    /// To a port of this host itself, at any address of it.
    #[must_use]
    pub const fn here(address: IpAddr, port: PortSpec) -> Self {
        Self { address, port: Some(port), destination: None, way: Way::Here }
    }

    /// What is to be opened for a grant, sorted and each once. Where nothing is rewritten its packets come to the inner
    /// port, whatever port was asked for.
    #[must_use]
    pub fn all_of(opening: &Opening) -> Vec<Self> {
        let Opening { address, destination, way, .. } = *opening;
        let one = |port| Self { address, port, destination, way };
        let ports = opening.ports.iter();
        let mut all: Vec<Self> = match way {
            Way::Here | Way::From(_) | Way::Nat(Nat { rewrite: true, .. }) => {
                ports.map(|port| one(Some(*port))).collect()
            }
            Way::Nat(Nat { rewrite: false, port: inner, .. }) => ports
                .filter_map(|port| PortSpec::single(port.proto(), inner).ok())
                .map(|port| one(Some(port)))
                .collect(),
            Way::All { .. } => vec![one(None)],
        };
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Its protocol; `None`: any.
    #[must_use]
    pub fn proto(&self) -> Option<Proto> {
        self.port.map(PortSpec::proto)
    }

    /// Whether both may be about one packet, before or after its destination is rewritten.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        if self.address != other.address {
            return false;
        }
        let (Some(a), Some(b)) = (self.port, other.port) else { return true };
        let meet = a.first() <= b.last() && b.first() <= a.last();
        a.proto() == b.proto() && (meet || self.nat().zip(other.nat()).is_some_and(|(a, b)| same_end(a, b)))
    }

    /// Whether the kernel could carry out only one of the two: they differ, and would turn the same packets to different
    /// places, or the same translated packets need different treatment.
    #[must_use]
    pub fn rivals(&self, other: &Self) -> bool {
        if self == other || self.address != other.address || self.proto() != other.proto() {
            return false;
        }
        match (self.way, other.way) {
            (Way::Nat(a), Way::Nat(b)) => {
                let turned = a.rewrite && b.rewrite && self.destination == other.destination;
                (turned && self.port == other.port)
                    || (self.port == other.port && same_end(a, b) && a.local == b.local)
            }
            (Way::All { .. }, Way::All { .. }) => true,
            (Way::Here | Way::From(_), _)
            | (_, Way::Here | Way::From(_))
            | (Way::Nat(_), Way::All { .. })
            | (Way::All { .. }, Way::Nat(_)) => false,
        }
    }

    /// Whether every address of it is of one family: nothing is turned from one to the other.
    #[must_use]
    pub fn is_of_one_family(&self) -> bool {
        let source = |source| match source {
            NatSource::Fixed(address) => Some(address),
            NatSource::Kept | NatSource::Masquerade => None,
        };
        let way = match self.way {
            Way::Here | Way::From(_) => [None, None],
            Way::Nat(nat) => [Some(nat.host), source(nat.source)],
            Way::All { to, source: from } => [to, source(from)],
        };
        way.into_iter().chain([self.destination]).flatten().all(|a| a.is_ipv4() == self.address.is_ipv4())
    }

    /// Its translation, where it has one of single ports.
    #[must_use]
    pub const fn nat(&self) -> Option<Nat> {
        match self.way {
            Way::Nat(nat) => Some(nat),
            Way::Here | Way::From(_) | Way::All { .. } => None,
        }
    }
}

fn same_end(a: Nat, b: Nat) -> bool {
    (a.host, a.port) == (b.host, b.port)
}

impl fmt::Display for Element {
    /// `192.0.2.7 to 22/tcp`, `192.0.2.7 to 22/tcp, on to 10.0.0.2 port 22`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)?;
        if let Way::From(port) = self.way {
            write!(f, " port {port}")?;
        }
        f.write_str(" to ")?;
        match self.port {
            Some(port) => write!(f, "{port}")?,
            None => f.write_str("everything")?,
        }
        if let Some(destination) = self.destination {
            write!(f, " at {destination}")?;
        }
        match self.way {
            Way::Nat(Nat { host, port, .. }) => write!(f, ", on to {host} port {port}"),
            Way::All { to: Some(host), .. } => write!(f, ", on to {host}"),
            Way::Here | Way::From(_) | Way::All { to: None, .. } => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ClientName;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn port(text: &str) -> PortSpec {
        PortSpec::parse(text).unwrap()[0]
    }

    fn nat(host: &str, inner: u16, rewrite: bool) -> Way {
        Way::Nat(Nat { local: false, host: address(host), port: inner, rewrite, source: NatSource::Kept })
    }

    fn opening(ports: &[&str], way: Way) -> Opening {
        Opening {
            client: ClientName::new("alice").unwrap(),
            address: address("192.0.2.7"),
            ports: ports.iter().map(|text| port(text)).collect(),
            lasting: Duration::from_secs(30),
            destination: None,
            way,
            grounds: crate::Grounds::default(),
        }
    }

    fn turned(outer: &str, way: Way) -> Element {
        Element { port: Some(port(outer)), way, ..Element::here(address("192.0.2.7"), port("1/tcp")) }
    }

    #[test]
    fn a_grant_is_as_many_doors_as_it_has_ways_in() {
        let here = Element::all_of(&opening(&["53/udp", "22/tcp"], Way::Here));
        assert_eq!(here, ["22/tcp", "53/udp"].map(|text| Element::here(address("192.0.2.7"), port(text))));
        let way = nat("10.0.0.2", 8022, true);
        assert_eq!(Element::all_of(&opening(&["22/tcp"], way)), [turned("22/tcp", way)]);
        // Not rewritten: whatever was asked for, the packets come to the inner port.
        let way = nat("10.0.0.2", 8022, false);
        assert_eq!(Element::all_of(&opening(&["22/tcp", "23/tcp"], way)), [turned("8022/tcp", way)]);
        let way = Way::All { to: None, source: NatSource::Kept };
        assert_eq!(Element::all_of(&opening(&[], way))[0].port, None);
    }

    #[test]
    fn packets_of_a_translation_are_met_at_either_end() {
        let a = turned("22/tcp", nat("10.0.0.2", 8022, true));
        assert!(a.overlaps(&Element::here(a.address, port("20-30/tcp"))));
        assert!(!a.overlaps(&Element::here(a.address, port("22/udp"))));
        assert!(a.overlaps(&turned("2222/tcp", nat("10.0.0.2", 8022, true))));
        assert!(!a.overlaps(&turned("2222/tcp", nat("10.0.0.3", 8022, true))));
        let all = Element { port: None, way: Way::All { to: None, source: NatSource::Kept }, ..a };
        assert!(a.overlaps(&all) && all.overlaps(&a));
    }

    #[test]
    fn rivals_are_those_of_which_the_kernel_can_carry_out_one() {
        let a = turned("22/tcp", nat("10.0.0.2", 8022, true));
        let other_host = turned("22/tcp", nat("10.0.0.3", 8022, true));
        assert!(a.rivals(&other_host) && other_host.rivals(&a) && !a.rivals(&a));
        assert!(!a.rivals(&turned("23/tcp", nat("10.0.0.2", 8022, true))));
        assert!(!a.rivals(&turned("22/udp", nat("10.0.0.3", 8022, true))));
        assert!(!a.rivals(&Element { address: address("192.0.2.8"), ..other_host }));
        // One destination differs from any: each has its own entry, but only one way on.
        let narrow = Element { destination: Some(address("198.51.100.1")), ..a };
        assert!(a.rivals(&narrow));
        assert!(!a.rivals(&Element { destination: narrow.destination, ..other_host }));
        let all = |to| Element { port: None, way: Way::All { to, source: NatSource::Kept }, ..a };
        assert!(all(None).rivals(&all(Some(address("10.0.0.2")))));
        assert!(!all(None).rivals(&a));
    }

    #[test]
    fn nothing_goes_from_one_family_to_the_other() {
        let a = turned("22/tcp", nat("10.0.0.2", 8022, true));
        let six = Some(address("2001:db8::1"));
        assert!(a.is_of_one_family());
        assert!(!Element { destination: six, ..a }.is_of_one_family());
        assert!(!turned("22/tcp", nat("2001:db8::1", 8022, true)).is_of_one_family());
        let all = |to, source| Element { port: None, way: Way::All { to, source }, ..a };
        assert!(!all(six, NatSource::Kept).is_of_one_family());
        assert!(!all(None, NatSource::Fixed(address("2001:db8::1"))).is_of_one_family());
        assert!(all(None, NatSource::Masquerade).is_of_one_family());
    }
}
