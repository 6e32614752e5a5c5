//! What the keys of our sets are made of, and which sets an element lives in. Pure.
//!
//! A door of this host is one element of one set. A translation is several: in a map that turns its packets, in a set
//! that lets them in or through, and where their source is changed in one more. Each key names the port that the
//! flow came to first, so no two doors share an element.

use std::fmt;
use std::net::IpAddr;

use portunus_model::{Nat, NatSource, PortSpec, Proto, Way};

use super::rule::Span;
use super::sets::Version;
use crate::Element;

/// One field of a key, in the packet as it is when the rule looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Source,
    Destination,
    Proto,
    /// The destination port.
    Port,
    /// The source port.
    SourcePort,
    /// The port that the flow's first packet came to, before anything was turned.
    FirstPort,
    /// The name of the interface that it came by.
    Interface,
}

/// What a set's keys are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keys {
    /// A source and a port.
    Single(Version),
    /// A source; the range of ports stands in the rule.
    Range(Version, Span),
    /// A source, one of our addresses, and a port.
    Narrow(Version),
    /// A source, a port, and the port that it comes from.
    From(Version),
    /// A source, where a flow of it ends, and the port that it came to first.
    Turned(Version),
    /// A source, and where a flow of it ends.
    Flow(Version),
    /// A source, whatever it sends.
    Whole(Version),
    /// A source and one of our addresses, whatever it sends there.
    WholeNarrow(Version),
    /// A source, and the port that a flow of it came to first: one of a set of [`Self::Single`] keys, looked up for a flow
    /// that was sent on.
    First(Version),
    /// A protocol.
    Proto,
    /// Names of interfaces.
    Interfaces,
}

impl Keys {
    pub(super) const fn fields(self) -> &'static [Field] {
        use Field::{Destination, FirstPort, Interface, Port, Proto, Source, SourcePort};
        match self {
            Self::Single(_) => &[Source, Proto, Port],
            Self::Range(..) => &[Source, Proto],
            Self::Narrow(_) => &[Source, Destination, Proto, Port],
            Self::From(_) => &[Source, Proto, Port, SourcePort],
            // nft reads its own listing only so: it must know the protocol before the first port.
            Self::Turned(_) => &[Source, Proto, Destination, Port, FirstPort],
            Self::Flow(_) => &[Source, Proto, Destination, Port],
            Self::Whole(_) => &[Source],
            Self::WholeNarrow(_) => &[Source, Destination],
            Self::First(_) => &[Source, Proto, FirstPort],
            Self::Proto => &[Proto],
            Self::Interfaces => &[Interface],
        }
    }

    /// The ports that a rule for them says, where these keys say none.
    pub(super) const fn span(self) -> Option<Span> {
        match self {
            Self::Range(_, span) => Some(span),
            Self::Single(_)
            | Self::Narrow(_)
            | Self::From(_)
            | Self::Turned(_)
            | Self::Flow(_)
            | Self::Whole(_)
            | Self::WholeNarrow(_)
            | Self::First(_)
            | Self::Proto
            | Self::Interfaces => None,
        }
    }

    /// `None`: it has none.
    pub(super) const fn version(self) -> Option<Version> {
        match self {
            Self::Single(version)
            | Self::Range(version, _)
            | Self::Narrow(version)
            | Self::From(version)
            | Self::Turned(version)
            | Self::Flow(version)
            | Self::Whole(version)
            | Self::WholeNarrow(version)
            | Self::First(version) => Some(version),
            Self::Proto | Self::Interfaces => None,
        }
    }

    /// The element that a key of such a set is alone about; `None`: more is to be known of it.
    pub(super) fn element(self, key: &[u8]) -> Option<Element> {
        let version = self.version()?;
        let mut rest = key;
        let from = address(version, &mut rest)?;
        let end = |rest: &mut &[u8]| {
            let proto = take(rest, 4)?.first().copied();
            [Proto::Tcp, Proto::Udp].into_iter().find(|known| Some(known.number()) == proto)
        };
        match self {
            Self::Single(_) => {
                let proto = end(&mut rest)?;
                Some(Element::here(from, PortSpec::single(proto, port(&mut rest)?).ok()?))
            }
            Self::Range(_, (first, last)) => {
                Some(Element::here(from, PortSpec::range(end(&mut rest)?, first, last).ok()?))
            }
            Self::Narrow(_) => {
                let destination = Some(address(version, &mut rest)?);
                let proto = end(&mut rest)?;
                let here = Element::here(from, PortSpec::single(proto, port(&mut rest)?).ok()?);
                Some(Element { destination, ..here })
            }
            Self::From(_) => {
                let proto = end(&mut rest)?;
                let here = Element::here(from, PortSpec::single(proto, port(&mut rest)?).ok()?);
                Some(Element { way: Way::From(port(&mut rest)?), ..here })
            }
            // Whatever of it was asked for; only who was cut off is known so.
            Self::Flow(_) => {
                let proto = end(&mut rest)?;
                let host = address(version, &mut rest)?;
                let port = port(&mut rest)?;
                let (local, rewrite, source) = (false, false, NatSource::Kept);
                let way = Way::Nat(Nat { local, host, port, rewrite, source });
                Some(Element { way, ..Element::here(from, PortSpec::single(proto, port).ok()?) })
            }
            Self::Whole(_) => {
                let way = Way::All { to: None, source: NatSource::Kept };
                Some(Element { address: from, port: None, destination: None, way })
            }
            Self::Turned(_) | Self::WholeNarrow(_) | Self::First(_) | Self::Proto | Self::Interfaces => None,
        }
    }
}

/// What an element of a set means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// This source may come in.
    Open,
    /// What was turned may come in.
    Local,
    /// It may go through.
    Through,
    /// A map: it is turned to there.
    Turn,
    /// A map: its source is changed to this.
    Source,
    /// Its source is changed to the address of the interface by which it leaves.
    Masquerade,
    /// Nothing of this source comes in or through any more, not even of a live connection.
    Cut,
    /// The drops are on, for so long as there is an element.
    Trial,
    /// Which interfaces count.
    Interfaces,
}

/// What a map gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    /// An address.
    Host(Version),
    /// An address and a port.
    HostPort(Version),
}

impl Value {
    /// `None`: a set with such a role is no map.
    pub(super) const fn of(role: Role, keys: Keys) -> Option<Self> {
        match (role, keys) {
            (Role::Turn, Keys::Single(version) | Keys::Narrow(version)) => Some(Self::HostPort(version)),
            (
                Role::Turn | Role::Source,
                Keys::Whole(version) | Keys::WholeNarrow(version) | Keys::Turned(version),
            ) => Some(Self::Host(version)),
            _ => None,
        }
    }
}

/// Which elements are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Those that open a door.
    Open,
    /// Those that cut off.
    Cut,
}

/// One element of one set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) role: Role,
    pub(super) keys: Keys,
    pub(super) key: Bytes,
    /// Empty where the set is no map.
    pub(super) value: Bytes,
}

/// Where an element lives: in up to three sets. The first place is the one that most have.
pub(super) fn places(element: &Element, meaning: Meaning) -> impl Iterator<Item = Placed> + use<> {
    let places = match meaning {
        Meaning::Open => opened(element),
        Meaning::Cut => cut(element),
    };
    places.into_iter().flatten()
}

fn opened(element: &Element) -> [Option<Placed>; 3] {
    let Element { address, port, destination, way } = *element;
    let version = Version::of(address);
    match (way, port) {
        (Way::Here, Some(port)) => {
            let keys = match destination {
                Some(_) => Keys::Narrow(version),
                None if port.is_single() => Keys::Single(version),
                None => Keys::Range(version, (port.first(), port.last())),
            };
            [Some(placed(Role::Open, keys, Bytes::outer(address, destination, Some(port)))), None, None]
        }
        (Way::From(from), Some(port)) => {
            let mut key = Bytes::outer(address, None, Some(port));
            key.port(from);
            [Some(placed(Role::Open, Keys::From(version), key)), None, None]
        }
        (Way::Nat(nat), Some(port)) => turned(element, &nat, port),
        (Way::All { to, source }, None) => everything(element, to, source),
        (Way::Here | Way::From(_) | Way::Nat(_) | Way::All { .. }, _) => [None; 3],
    }
}

fn turned(element: &Element, nat: &Nat, port: PortSpec) -> [Option<Placed>; 3] {
    let Element { address, destination, .. } = *element;
    let version = Version::of(address);
    let mut key = Bytes::default();
    key.address(address);
    key.proto(port.proto());
    key.address(nat.host);
    key.port(nat.port);
    key.port(port.first());
    let role = if nat.local { Role::Local } else { Role::Through };
    let let_in = placed(role, Keys::Turned(version), key);
    let turn = nat.rewrite.then(|| {
        let keys = if destination.is_some() { Keys::Narrow(version) } else { Keys::Single(version) };
        let mut value = Bytes::default();
        value.address(nat.host);
        value.port(nat.port);
        Placed { value, ..placed(Role::Turn, keys, Bytes::outer(address, destination, Some(port))) }
    });
    // What stays here leaves by no interface.
    let source = if nat.local { NatSource::Kept } else { nat.source };
    [Some(let_in), turn, shown(source, Keys::Turned(version), key)]
}

fn everything(element: &Element, to: Option<IpAddr>, source: NatSource) -> [Option<Placed>; 3] {
    let Element { address, destination, .. } = *element;
    let version = Version::of(address);
    let key = Bytes::outer(address, None, None);
    let through = placed(Role::Through, Keys::Whole(version), key);
    let turn = to.map(|host| {
        let keys = if destination.is_some() { Keys::WholeNarrow(version) } else { Keys::Whole(version) };
        let mut value = Bytes::default();
        value.address(host);
        Placed { value, ..placed(Role::Turn, keys, Bytes::outer(address, destination, None)) }
    });
    [Some(through), turn, shown(source, Keys::Whole(version), key)]
}

fn shown(source: NatSource, keys: Keys, key: Bytes) -> Option<Placed> {
    match source {
        NatSource::Kept => None,
        NatSource::Masquerade => Some(placed(Role::Masquerade, keys, key)),
        NatSource::Fixed(fixed) => {
            let mut value = Bytes::default();
            value.address(fixed);
            Some(Placed { value, ..placed(Role::Source, keys, key) })
        }
    }
}

/// To the port that it came to, and to where it led.
fn cut(element: &Element) -> [Option<Placed>; 3] {
    let Element { address, port, way, .. } = *element;
    let version = Version::of(address);
    let at = |port: PortSpec| {
        let keys = match port.is_single() {
            true => Keys::Single(version),
            false => Keys::Range(version, (port.first(), port.last())),
        };
        placed(Role::Cut, keys, Bytes::outer(address, None, Some(port)))
    };
    match (way, port) {
        // Who is cut off is cut off whole: the set has no source ports.
        (Way::Here | Way::From(_), Some(port)) => [Some(at(port)), None, None],
        (Way::Nat(nat), Some(port)) => {
            let inner = PortSpec::single(port.proto(), nat.port).ok().filter(|_| nat.local).map(at);
            let mut key = Bytes::default();
            key.address(address);
            key.proto(port.proto());
            key.address(nat.host);
            key.port(nat.port);
            [Some(at(port)), inner, Some(placed(Role::Cut, Keys::Flow(version), key))]
        }
        (Way::All { .. }, _) => {
            let key = Bytes::outer(address, None, None);
            [Some(placed(Role::Cut, Keys::Whole(version), key)), None, None]
        }
        (Way::Here | Way::From(_) | Way::Nat(_), None) => [None; 3],
    }
}

fn placed(role: Role, keys: Keys, key: Bytes) -> Placed {
    Placed { role, keys, key, value: Bytes::default() }
}

/// A key or a value, as the rules load it: each field padded to four bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Bytes {
    bytes: [u8; LONGEST],
    length: u8,
}

/// Two IPv6 addresses, a protocol, two ports.
const LONGEST: usize = 16 + 4 + 4 + 16 + 4;

impl Default for Bytes {
    fn default() -> Self {
        Self { bytes: [0; LONGEST], length: 0 }
    }
}

impl Bytes {
    fn outer(address: IpAddr, destination: Option<IpAddr>, port: Option<PortSpec>) -> Self {
        let mut key = Self::default();
        key.address(address);
        if let Some(destination) = destination {
            key.address(destination);
        }
        if let Some(port) = port {
            key.proto(port.proto());
            if port.is_single() {
                key.port(port.first());
            }
        }
        key
    }

    fn address(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.push(&address.octets()),
            IpAddr::V6(address) => self.push(&address.octets()),
        }
    }

    fn proto(&mut self, proto: Proto) {
        self.push(&[proto.number(), 0, 0, 0]);
    }

    fn port(&mut self, port: u16) {
        let [high, low] = port.to_be_bytes();
        self.push(&[high, low, 0, 0]);
    }

    fn push(&mut self, field: &[u8]) {
        for (to, from) in self.bytes.iter_mut().skip(self.length.into()).zip(field) {
            *to = *from;
        }
        self.length = self.length.saturating_add(u8::try_from(field.len()).unwrap_or(u8::MAX));
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length.into()).unwrap_or_default()
    }
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (field, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(field)
}

fn address(version: Version, rest: &mut &[u8]) -> Option<IpAddr> {
    match version {
        Version::V4 => take(rest, 4)?.try_into().ok().map(|octets: [u8; 4]| octets.into()),
        Version::V6 => take(rest, 16)?.try_into().ok().map(|octets: [u8; 16]| octets.into()),
    }
}

fn port(rest: &mut &[u8]) -> Option<u16> {
    take(rest, 4)?.first_chunk().map(|octets| u16::from_be_bytes(*octets))
}

impl fmt::Display for Keys {
    /// As nft writes the fields.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ip = self.version().map_or("", Version::word);
        for (number, field) in self.fields().iter().enumerate() {
            if number > 0 {
                f.write_str(" . ")?;
            }
            match field {
                Field::Source => write!(f, "{ip} saddr")?,
                Field::Destination => write!(f, "{ip} daddr")?,
                Field::Proto => f.write_str("meta l4proto")?,
                Field::Port => f.write_str("th dport")?,
                Field::SourcePort => f.write_str("th sport")?,
                Field::FirstPort => f.write_str("ct original proto-dst")?,
                Field::Interface => f.write_str("iifname")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(address: &str, port: &str) -> Element {
        Element::here(address.parse().unwrap(), PortSpec::parse(port).unwrap()[0])
    }

    fn turned(way: Way) -> Element {
        Element { way, ..element("192.0.2.1", "22/tcp") }
    }

    fn nat(source: NatSource) -> Nat {
        Nat { local: false, host: "10.0.0.2".parse().unwrap(), port: 8022, rewrite: true, source }
    }

    #[test]
    fn keys_are_what_the_rules_load() {
        let key = |address, port| {
            let places: Vec<Placed> = places(&element(address, port), Meaning::Open).collect();
            assert_eq!(places.len(), 1);
            places[0].key.as_bytes().to_vec()
        };
        assert_eq!(key("192.0.2.1", "22/tcp"), [192, 0, 2, 1, 6, 0, 0, 0, 0, 22, 0, 0]);
        assert_eq!(key("192.0.2.1", "1-2/udp"), [192, 0, 2, 1, 17, 0, 0, 0]);
        assert_eq!(key("2001:db8::1", "22/tcp").len(), 24);
    }

    #[test]
    fn a_translation_is_turned_let_through_and_shown_another_source() {
        let source = NatSource::Fixed("198.51.100.1".parse().unwrap());
        let there: Vec<Placed> = places(&turned(Way::Nat(nat(source))), Meaning::Open).collect();
        let inner = [192, 0, 2, 1, 6, 0, 0, 0, 10, 0, 0, 2, 31, 86, 0, 0, 0, 22, 0, 0];
        let outer = [192, 0, 2, 1, 6, 0, 0, 0, 0, 22, 0, 0];
        let what: Vec<_> =
            there.iter().map(|p| (p.role, p.keys, p.key.as_bytes(), p.value.as_bytes())).collect();
        assert_eq!(
            what,
            [
                (Role::Through, Keys::Turned(Version::V4), &inner[..], &[][..]),
                (Role::Turn, Keys::Single(Version::V4), &outer[..], &[10, 0, 0, 2, 31, 86, 0, 0]),
                (Role::Source, Keys::Turned(Version::V4), &inner[..], &[198, 51, 100, 1]),
            ]
        );
        let local = Nat { local: true, ..nat(NatSource::Masquerade) };
        let roles: Vec<Role> = places(&turned(Way::Nat(local)), Meaning::Open).map(|p| p.role).collect();
        assert_eq!(roles, [Role::Local, Role::Turn]);
        let kept = Nat { rewrite: false, ..nat(NatSource::Kept) };
        let roles: Vec<Role> = places(&turned(Way::Nat(kept)), Meaning::Open).map(|p| p.role).collect();
        assert_eq!(roles, [Role::Through]);
    }

    #[test]
    fn what_a_key_is_alone_about_is_read_from_it() {
        let narrow =
            Element { destination: Some("198.51.100.1".parse().unwrap()), ..element("192.0.2.1", "22/tcp") };
        for one in [element("192.0.2.1", "22/tcp"), element("2001:db8::1", "1-2/udp"), narrow] {
            for place in places(&one, Meaning::Open) {
                assert_eq!(place.keys.element(place.key.as_bytes()), Some(one));
            }
        }
        let all = Element { port: None, ..turned(Way::All { to: None, source: NatSource::Kept }) };
        let [cut] = places(&all, Meaning::Cut).collect::<Vec<_>>().try_into().unwrap();
        assert_eq!(cut.keys.element(cut.key.as_bytes()), Some(all));
        let cuts: Vec<_> = places(&turned(Way::Nat(nat(NatSource::Kept))), Meaning::Cut).collect();
        let flow = cuts[1].keys.element(cuts[1].key.as_bytes()).unwrap();
        assert!(flow.overlaps(&turned(Way::Nat(nat(NatSource::Kept)))), "a grant lifts it");
        assert_eq!(Keys::Single(Version::V4).element(&[192, 0, 2]), None);
    }
}
