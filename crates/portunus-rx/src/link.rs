//! The link headers of capture files: what lies before the packet, for each kind of link that is read here.

use crate::frame::{Frame, IPV4, IPV6, ppp};

/// A kind of link (tcpdump.org, "Link-layer header types").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// Ethernet.
    Ethernet,
    /// IP with nothing before it.
    Raw,
    /// What `tcpdump -i any` writes on Linux.
    Sll,
    /// What it writes today.
    Sll2,
    /// BSD loopback: a family, in the byte order of whoever captured.
    Null,
    /// OpenBSD loopback: the same in network order.
    Loop,
    /// PPP, with or without address and control bytes.
    Ppp,
    /// PPPoE, from its header on.
    Pppoe,
}

impl Link {
    /// By its number in a capture file.
    #[must_use]
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::Null),
            1 => Some(Self::Ethernet),
            9 | 50 => Some(Self::Ppp),
            51 => Some(Self::Pppoe),
            // 12 and 14 are what some systems write for 101; 228 and 229 are each for one family.
            12 | 14 | 101 | 228 | 229 => Some(Self::Raw),
            108 => Some(Self::Loop),
            113 => Some(Self::Sll),
            276 => Some(Self::Sll2),
            _ => None,
        }
    }

    /// The packet behind the header; `None` when it is cut, or no packet of a protocol that we know.
    #[must_use]
    pub fn strip(self, bytes: &[u8]) -> Option<Frame<'_>> {
        let (protocol, bytes) = match self {
            Self::Ethernet => (half(bytes, 12)?, bytes.get(14..)?),
            Self::Raw => (by_version(bytes)?, bytes),
            Self::Sll => (half(bytes, 14)?, bytes.get(16..)?),
            Self::Sll2 => (half(bytes, 0)?, bytes.get(20..)?),
            Self::Null | Self::Loop => {
                // The families have other numbers on each system: the version of the packet itself is as good.
                let bytes = bytes.get(4..)?;
                (by_version(bytes)?, bytes)
            }
            Self::Ppp => {
                // RFC 1662: address 0xff and control 3 may be left out.
                let bytes = if bytes.starts_with(&[0xff, 3]) { bytes.get(2..)? } else { bytes };
                (ppp(half(bytes, 0)?)?, bytes.get(2..)?)
            }
            Self::Pppoe => (crate::frame::PPPOE_SESSION, bytes),
        };
        Some(Frame { protocol, tag: None, bytes })
    }
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn by_version(bytes: &[u8]) -> Option<u16> {
    match bytes.first()? >> 4 {
        4 => Some(IPV4),
        6 => Some(IPV6),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_before_the_packet() {
        let ip = [0x45, 1, 2, 3];
        let cases: [(Link, &[u8]); 9] = [
            (Link::Ethernet, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 8, 0]),
            (Link::Raw, &[]),
            (Link::Sll, &[0, 0, 0, 1, 0, 6, 1, 2, 3, 4, 5, 6, 0, 0, 8, 0]),
            (Link::Sll2, &[8, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 6, 1, 2, 3, 4, 5, 6, 0, 0]),
            (Link::Null, &[2, 0, 0, 0]),
            (Link::Loop, &[0, 0, 0, 2]),
            (Link::Ppp, &[0xff, 3, 0, 0x21]),
            (Link::Ppp, &[0, 0x21]),
            (Link::Pppoe, &[]),
        ];
        for (link, header) in cases {
            let bytes = [header, &ip].concat();
            let frame = link.strip(&bytes).unwrap();
            assert_eq!(frame.bytes, ip, "{link:?}");
            assert_eq!(frame.protocol == IPV4, link != Link::Pppoe, "{link:?}");
            assert!((0..header.len()).all(|end| link.strip(&header[..end]).is_none()), "{link:?}");
        }
    }
}
