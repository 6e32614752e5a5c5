//! The records of the journal: 256 bytes each, a row that was opened or closed. Two older forms are still read: one of 192
//! bytes, which did not know on what a row stands, and before it one of 128, without destinations and translations.

use std::net::IpAddr;

use portunus_model::{ClientName, Element, Grounds, Mono, PortSpec, Proto, Way};

use super::{Entry, Key, Row};
use crate::BootId;
use crate::segment::{Fields, seal, unseal};

/// The size of a slot; slot 0 of a segment is its header.
pub(super) const SLOT: usize = 256;
/// The same of the forms before.
pub(super) const SLOT_2: usize = 192;
pub(super) const SLOT_1: usize = 128;
/// The first bytes of a segment, with the version of the format.
pub(super) const MAGIC: &[u8; 16] = b"portunus grants3";
pub(super) const MAGIC_2: &[u8; 16] = b"portunus grants2";
pub(super) const MAGIC_1: &[u8; 16] = b"portunus grants1";
/// For messages.
pub(super) const WANTED: &str = "grant journal";

/// Slot 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) generation: u32,
    /// Rows of another boot are nothing: the kernel's sets went with it.
    pub(super) boot: BootId,
}

impl Header {
    pub(super) fn encode(self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&self.generation.to_be_bytes());
        out.extend_from_slice(self.boot.as_bytes());
        seal(&mut out, 0, SLOT);
        out
    }

    pub(super) fn decode<const SIZE: usize>(block: &[u8; SIZE]) -> Option<Self> {
        let mut fields = unseal(block)?;
        fields.take::<16>()?;
        let generation = fields.u32().filter(|&generation| generation != 0)?;
        Some(Self { generation, boot: BootId::from_bytes(fields.take()?) })
    }
}

const OPEN: u8 = 1;
const CLOSE: u8 = 2;
const TCP: u8 = 6;
const UDP: u8 = 17;

pub(super) fn encode(entry: &Entry, generation: u32, out: &mut Vec<u8>) {
    let start = out.len();
    let (kind, client, element, until, grounds) = match entry {
        Entry::Open(row) => (OPEN, &row.client, row.element, row.until.as_nanos(), row.grounds),
        Entry::Close(key) => (CLOSE, &key.client, key.element, 0, Grounds::default()),
    };
    let Element { address, port, destination, way } = element;
    out.extend_from_slice(&generation.to_be_bytes());
    out.extend_from_slice(&until.to_be_bytes());
    let address = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    out.extend_from_slice(&address.octets());
    let (first, last, proto) = match port {
        Some(port) => (port.first(), port.last(), port.proto().number()),
        None => (0, 0, 0),
    };
    out.extend_from_slice(&first.to_be_bytes());
    out.extend_from_slice(&last.to_be_bytes());
    let name = client.as_str().as_bytes();
    out.extend_from_slice(&[kind, proto, u8::try_from(name.len()).unwrap_or(u8::MAX)]);
    out.extend_from_slice(&way.to_bytes(destination));
    out.extend_from_slice(&grounds.to_bytes());
    out.extend_from_slice(name);
    seal(out, start, SLOT);
}

/// `None`: torn, never written, or of an earlier turn of this segment.
pub(super) fn decode(slot: &[u8], generation: u32) -> Option<Entry> {
    entry(slot, generation, |fields| {
        let (destination, way) = Way::from_bytes(&fields.take()?)?;
        Some((destination, way, Grounds::from_bytes(&fields.take()?)?))
    })
}

/// The same of the forms before.
pub(super) fn decode_2(slot: &[u8], generation: u32) -> Option<Entry> {
    entry(slot, generation, |fields| {
        let (destination, way) = Way::from_bytes(&fields.take()?)?;
        Some((destination, way, Grounds::default()))
    })
}

pub(super) fn decode_1(slot: &[u8], generation: u32) -> Option<Entry> {
    entry(slot, generation, |_| Some((None, Way::Here, Grounds::default())))
}

fn entry(
    slot: &[u8],
    generation: u32,
    more: impl FnOnce(&mut Fields<'_>) -> Option<(Option<IpAddr>, Way, Grounds)>,
) -> Option<Entry> {
    let mut fields = unseal(slot)?;
    if fields.u32()? != generation {
        return None;
    }
    let until = Mono::from_nanos(fields.u64()?);
    let address = IpAddr::from(fields.take::<16>()?).to_canonical();
    let (first, last) = (u16::from_be_bytes(fields.take()?), u16::from_be_bytes(fields.take()?));
    let [kind, proto, length] = fields.take()?;
    let (destination, way, grounds) = more(&mut fields)?;
    let element = Element { address, port: port(proto, first, last, way)?, destination, way };
    let client = name(&fields, length)?;
    match kind {
        OPEN => Some(Entry::Open(Row { client, element, until, grounds })),
        CLOSE => Some(Entry::Close(Key { client, element })),
        _ => None,
    }
}

/// The outer `None`: these are no ports, or not those of such a way.
fn port(proto: u8, first: u16, last: u16, way: Way) -> Option<Option<PortSpec>> {
    let proto = match (proto, way) {
        (TCP, Way::Here | Way::From(_) | Way::Nat(_)) => Proto::Tcp,
        (UDP, Way::Here | Way::From(_) | Way::Nat(_)) => Proto::Udp,
        (0, Way::All { .. }) if first == 0 && last == 0 => return Some(None),
        _ => return None,
    };
    PortSpec::range(proto, first, last).ok().map(Some)
}

fn name(fields: &Fields<'_>, length: u8) -> Option<ClientName> {
    let bytes = fields.0.get(..usize::from(length))?;
    ClientName::new(std::str::from_utf8(bytes).ok()?).ok()
}
