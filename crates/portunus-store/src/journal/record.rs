//! The records of the journal: 128 bytes each, a row that was opened or closed.

use std::net::IpAddr;

use portunus_model::{ClientName, Mono, PortSpec, Proto};

use super::{Entry, Key, Row};
use crate::BootId;
use crate::segment::{Fields, seal, unseal};

/// The size of a slot; slot 0 of a segment is its header.
pub(super) const SLOT: usize = 128;
/// The first bytes of a segment, with the version of the format.
pub(super) const MAGIC: &[u8; 16] = b"portunus grants1";
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

    pub(super) fn decode(block: &[u8; SLOT]) -> Option<Self> {
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
    let (kind, key, until) = match entry {
        Entry::Open(row) => (OPEN, row.key(), row.until.as_nanos()),
        Entry::Close(key) => (CLOSE, key.clone(), 0),
    };
    out.extend_from_slice(&generation.to_be_bytes());
    out.extend_from_slice(&until.to_be_bytes());
    let address = match key.address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    out.extend_from_slice(&address.octets());
    out.extend_from_slice(&key.port.first().to_be_bytes());
    out.extend_from_slice(&key.port.last().to_be_bytes());
    let name = key.client.as_str().as_bytes();
    out.extend_from_slice(&[kind, key.port.proto().number(), u8::try_from(name.len()).unwrap_or(u8::MAX)]);
    out.extend_from_slice(name);
    seal(out, start, SLOT);
}

/// `None`: torn, never written, or of an earlier turn of this segment.
pub(super) fn decode(slot: &[u8], generation: u32) -> Option<Entry> {
    let mut fields = unseal(slot)?;
    if fields.u32()? != generation {
        return None;
    }
    let until = Mono::from_nanos(fields.u64()?);
    let address = IpAddr::from(fields.take::<16>()?).to_canonical();
    let (first, last) = (u16::from_be_bytes(fields.take()?), u16::from_be_bytes(fields.take()?));
    let [kind, proto, length] = fields.take()?;
    let proto = match proto {
        TCP => Proto::Tcp,
        UDP => Proto::Udp,
        _ => return None,
    };
    let key =
        Key { client: name(&fields, length)?, address, port: PortSpec::range(proto, first, last).ok()? };
    match kind {
        OPEN => Some(Entry::Open(Row { client: key.client, address, port: key.port, until })),
        CLOSE => Some(Entry::Close(key)),
        _ => None,
    }
}

fn name(fields: &Fields<'_>, length: u8) -> Option<ClientName> {
    let bytes = fields.0.get(..usize::from(length))?;
    ClientName::new(std::str::from_utf8(bytes).ok()?).ok()
}
