//! By which way a grant goes, in bytes of a fixed number: for frames between processes and for the journal.
//!
//! Reading is total: what is not exactly as it is written here is no way.

use std::net::{IpAddr, Ipv6Addr};

use crate::{Nat, NatSource, Way};

/// How many bytes it is.
const LENGTH: usize = Way::BYTES;

/// The places within the part. Numbers are little endian.
mod field {
    use std::ops::Range;

    pub(super) const DESTINATION_KIND: usize = 0;
    pub(super) const WAY: usize = 1;
    /// Of a translation: [`super::LOCAL`], [`super::REWRITE`].
    pub(super) const FLAGS: usize = 2;
    pub(super) const HOST_KIND: usize = 3;
    pub(super) const SOURCE_KIND: usize = 4;
    pub(super) const PORT: Range<usize> = 6..8;
    pub(super) const DESTINATION: Range<usize> = 8..24;
    pub(super) const HOST: Range<usize> = 24..40;
    pub(super) const SOURCE: Range<usize> = 40..56;
}

/// Kinds of addresses: none, or their version.
const NONE: u8 = 0;
const V4: u8 = 4;
const V6: u8 = 6;
/// Besides these, a source can be this.
const MASQUERADE: u8 = 1;

const HERE: u8 = 0;
const NAT: u8 = 1;
const ALL: u8 = 2;
const FROM: u8 = 3;

const LOCAL: u8 = 1;
const REWRITE: u8 = 2;

impl Way {
    /// How many bytes [`Way::to_bytes`] gives.
    pub const BYTES: usize = 56;

    /// The bytes that mean it, with the destination that its packets must have. All zero: [`Way::Here`], to any address.
    #[must_use]
    pub fn to_bytes(self, destination: Option<IpAddr>) -> [u8; Self::BYTES] {
        write(destination, self)
    }

    /// Reads what [`Way::to_bytes`] wrote, and nothing else.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Option<(Option<IpAddr>, Self)> {
        read(bytes)
    }
}

fn write(destination: Option<IpAddr>, way: Way) -> [u8; LENGTH] {
    let mut part = [0; LENGTH];
    let mut put = |start: usize, bytes: &[u8]| {
        for (to, from) in part.iter_mut().skip(start).zip(bytes) {
            *to = *from;
        }
    };
    let (kind, bytes) = address(destination);
    put(field::DESTINATION_KIND, &[kind]);
    put(field::DESTINATION.start, &bytes);
    let (word, flags, host, port, source) = match way {
        Way::Here => (HERE, 0, None, 0, NatSource::Kept),
        Way::From(port) => (FROM, 0, None, port, NatSource::Kept),
        Way::Nat(Nat { local, host, port, rewrite, source }) => {
            let flags = u8::from(local) * LOCAL + u8::from(rewrite) * REWRITE;
            (NAT, flags, Some(host), port, source)
        }
        Way::All { to, source } => (ALL, 0, to, 0, source),
    };
    put(field::WAY, &[word, flags]);
    let (kind, bytes) = address(host);
    put(field::HOST_KIND, &[kind]);
    put(field::HOST.start, &bytes);
    put(field::PORT.start, &port.to_le_bytes());
    let (kind, bytes) = match source {
        NatSource::Kept => address(None),
        NatSource::Fixed(fixed) => address(Some(fixed)),
        NatSource::Masquerade => (MASQUERADE, [0; 16]),
    };
    put(field::SOURCE_KIND, &[kind]);
    put(field::SOURCE.start, &bytes);
    part
}

fn read(part: &[u8; LENGTH]) -> Option<(Option<IpAddr>, Way)> {
    let byte = |at: usize| part.get(at).copied().unwrap_or(u8::MAX);
    let room =
        |range: std::ops::Range<usize>| part.get(range).and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
    let destination = some_address(byte(field::DESTINATION_KIND), room(field::DESTINATION)?)?;
    let host = some_address(byte(field::HOST_KIND), room(field::HOST)?)?;
    let source = match (byte(field::SOURCE_KIND), room(field::SOURCE)?) {
        (MASQUERADE, rest) => (rest == [0; 16]).then_some(NatSource::Masquerade)?,
        (kind, rest) => some_address(kind, rest)?.map_or(NatSource::Kept, NatSource::Fixed),
    };
    let port = u16::from_le_bytes(part.get(field::PORT)?.try_into().ok()?);
    let way = match (byte(field::WAY), byte(field::FLAGS), host, port) {
        (HERE, 0, None, 0) if source == NatSource::Kept => Way::Here,
        (FROM, 0, None, port @ 1..) if source == NatSource::Kept => Way::From(port),
        (NAT, flags @ 0..=3, Some(host), 1..) => {
            Way::Nat(Nat { local: flags & LOCAL != 0, host, port, rewrite: flags & REWRITE != 0, source })
        }
        (ALL, 0, to, 0) => Way::All { to, source },
        _ => return None,
    };
    // What is read must be what would be written: nothing may hide between the fields.
    (write(destination, way) == *part).then_some((destination, way))
}

pub(crate) fn address(address: Option<IpAddr>) -> (u8, [u8; 16]) {
    match address {
        None => (NONE, [0; 16]),
        Some(IpAddr::V4(a)) => (V4, a.to_ipv6_mapped().octets()),
        Some(IpAddr::V6(a)) => (V6, a.octets()),
    }
}

/// The outer `None`: it is no address. A mapped one is the IPv4 address that it is, and must say so.
pub(crate) fn some_address(kind: u8, bytes: [u8; 16]) -> Option<Option<IpAddr>> {
    let address = Ipv6Addr::from(bytes);
    match (kind, address.to_ipv4_mapped()) {
        (NONE, _) if address.is_unspecified() => Some(None),
        (V4, Some(v4)) => Some(Some(IpAddr::V4(v4))),
        (V6, None) => Some(Some(IpAddr::V6(address))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ways() -> Vec<(Option<IpAddr>, Way)> {
        let at = |text: &str| text.parse::<IpAddr>().unwrap();
        let sources = [
            NatSource::Kept,
            NatSource::Masquerade,
            NatSource::Fixed(at("192.0.2.9")),
            NatSource::Fixed(at("2001:db8::9")),
        ];
        let mut ways = vec![Way::Here, Way::From(1), Way::From(u16::MAX)];
        for source in sources {
            for (local, rewrite) in [(false, false), (false, true), (true, false), (true, true)] {
                let (host, port) = (at("10.0.0.2"), 65535);
                ways.push(Way::Nat(Nat { local, host, port, rewrite, source }));
            }
            ways.extend([None, Some(at("2001:db8::2"))].map(|to| Way::All { to, source }));
        }
        let destinations = [None, Some(at("198.51.100.1")), Some(at("2001:db8::1"))];
        destinations.into_iter().flat_map(|to| ways.clone().into_iter().map(move |way| (to, way))).collect()
    }

    #[test]
    fn each_way_comes_back() {
        let all = ways();
        assert_eq!(all.len(), 3 * (3 + 4 * 6));
        for (destination, way) in all {
            assert_eq!(read(&write(destination, way)), Some((destination, way)));
        }
        assert_eq!(write(None, Way::Here), [0; LENGTH], "a plain grant fills nothing");
    }

    #[test]
    fn an_inner_host_without_a_port_is_none() {
        let (_, nat) = ways()[1];
        let mut part = write(None, nat);
        part[6..8].fill(0);
        assert_eq!(read(&part), None);
    }

    #[test]
    fn no_changed_byte_hides() {
        for (destination, way) in ways() {
            let written = write(destination, way);
            for at in 0..LENGTH {
                for byte in 0..=u8::MAX {
                    let mut part = written;
                    part[at] = byte;
                    if let Some((destination, way)) = read(&part) {
                        assert_eq!(write(destination, way), part);
                    }
                }
            }
        }
    }
}
