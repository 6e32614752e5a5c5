//! Packets, written byte by byte from a description, so that nothing of what is tested helps to make them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a packet is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Packet {
    /// The tag that the kernel has taken off.
    pub(crate) taken_off: Option<u16>,
    /// Tags in the packet, outermost first: Ethernet type and VLAN.
    pub(crate) tags: Vec<(u16, u16)>,
    pub(crate) session: Option<u16>,
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    /// Extension headers of an IPv6 packet (type, length in units of 8 bytes less one); words of options of an IPv4 one.
    pub(crate) extensions: Vec<(u8, u8)>,
    /// Fragment: offset in units of 8 bytes, and whether more come.
    pub(crate) fragment: Option<(u16, bool)>,
    pub(crate) proto: u8,
    pub(crate) ports: (u16, u16),
    pub(crate) payload: Vec<u8>,
}

impl Packet {
    pub(crate) fn udp(source: &str, destination: &str, ports: (u16, u16), payload: &[u8]) -> Self {
        Self {
            taken_off: None,
            tags: Vec::new(),
            session: None,
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            extensions: Vec::new(),
            fragment: None,
            proto: 17,
            ports,
            payload: payload.to_vec(),
        }
    }

    pub(crate) fn is_v6(&self) -> bool {
        self.source.is_ipv6()
    }

    /// The Ethernet type behind all tags.
    fn kind(&self) -> u16 {
        match (self.session, self.is_v6()) {
            (Some(_), _) => 0x8864,
            (None, false) => 0x0800,
            (None, true) => 0x86dd,
        }
    }

    /// The Ethernet type of what [`Self::bytes`] begins with.
    pub(crate) fn protocol(&self) -> u16 {
        self.tags.first().map_or_else(|| self.kind(), |(kind, _)| *kind)
    }

    /// The packet as it lies behind an Ethernet header.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut all = Vec::new();
        for (n, (_, vlan)) in self.tags.iter().enumerate() {
            let behind = self.tags.get(n + 1).map_or_else(|| self.kind(), |(kind, _)| *kind);
            all.extend((vlan | 0x6000).to_be_bytes());
            all.extend(behind.to_be_bytes());
        }
        let carried = self.carried();
        let ip = match (self.source, self.destination) {
            (IpAddr::V4(from), IpAddr::V4(to)) => self.v4(from, to, &carried),
            (IpAddr::V6(from), IpAddr::V6(to)) => self.v6(from, to, &carried),
            mixed => panic!("{mixed:?}"),
        };
        if let Some(session) = self.session {
            all.extend([0x11, 0]);
            all.extend(session.to_be_bytes());
            all.extend(u16::try_from(ip.len() + 2).unwrap().to_be_bytes());
            all.extend(if self.is_v6() { [0, 0x57] } else { [0, 0x21] });
        }
        all.extend(ip);
        all
    }

    /// A whole Ethernet frame, the tag that the kernel takes off included.
    pub(crate) fn ethernet(&self) -> Vec<u8> {
        let mut all = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
        if let Some(vlan) = self.taken_off {
            all.extend([0x81, 0x00]);
            all.extend(vlan.to_be_bytes());
        }
        all.extend(self.protocol().to_be_bytes());
        all.extend(self.bytes());
        all
    }

    fn carried(&self) -> Vec<u8> {
        let ports = [self.ports.0.to_be_bytes(), self.ports.1.to_be_bytes()].concat();
        let mut header = match self.proto {
            17 => {
                let length = u16::try_from(self.payload.len() + 8).unwrap().to_be_bytes();
                [ports, length.to_vec(), vec![0, 0]].concat()
            }
            // 20 bytes and 12 of options; SYN.
            6 => [ports, vec![0; 8], vec![0x80, 2, 4, 0, 0, 0, 0, 0], vec![1; 12]].concat(),
            1 => vec![8, 0, 0, 0, 0, 1, 0, 1],
            58 => vec![128, 0, 0, 0, 0, 1, 0, 1],
            _ => Vec::new(),
        };
        let checksum_at = match self.proto {
            17 => 6,
            6 => 16,
            1 | 58 => 2,
            _ => return [header, self.payload.clone()].concat(),
        };
        header.extend(&self.payload);
        let pseudo = match (self.source, self.destination) {
            _ if self.proto == 1 => Vec::new(),
            (IpAddr::V4(from), IpAddr::V4(to)) => [from.octets(), to.octets()].concat(),
            (IpAddr::V6(from), IpAddr::V6(to)) => [from.octets(), to.octets()].concat(),
            mixed => panic!("{mixed:?}"),
        };
        let tail = if self.proto == 1 {
            Vec::new()
        } else {
            let length = u16::try_from(header.len()).unwrap().to_be_bytes();
            [&length[..], &[0, self.proto]].concat()
        };
        let sum = checksum(&[pseudo, tail, header.clone()].concat());
        header[checksum_at..checksum_at + 2].copy_from_slice(&sum.to_be_bytes());
        header
    }

    fn v4(&self, from: Ipv4Addr, to: Ipv4Addr, carried: &[u8]) -> Vec<u8> {
        let options = self.extensions.len() * 4;
        let (offset, more) = self.fragment.unwrap_or_default();
        let mut header = vec![0x45 + u8::try_from(self.extensions.len()).unwrap(), 0];
        header.extend(u16::try_from(20 + options + carried.len()).unwrap().to_be_bytes());
        header.extend([0, 7]);
        header.extend((offset | u16::from(more) << 13).to_be_bytes());
        header.extend([64, self.proto, 0, 0]);
        header.extend(from.octets());
        header.extend(to.octets());
        header.extend(vec![1; options]);
        let sum = checksum(&header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        [&header, carried].concat()
    }

    fn v6(&self, from: Ipv6Addr, to: Ipv6Addr, carried: &[u8]) -> Vec<u8> {
        let mut kinds: Vec<u8> = self.extensions.iter().map(|(kind, _)| *kind).collect();
        if self.fragment.is_some() {
            kinds.push(44);
        }
        kinds.push(self.proto);
        let mut extensions = Vec::new();
        for (n, (_, units)) in self.extensions.iter().enumerate() {
            extensions.extend([kinds[n + 1], *units, 1]);
            let padding = usize::from(*units) * 8 + 4;
            extensions.push(u8::try_from(padding).unwrap());
            extensions.extend(vec![0; padding]);
        }
        if let Some((offset, more)) = self.fragment {
            extensions.extend([self.proto, 0]);
            extensions.extend((offset << 3 | u16::from(more)).to_be_bytes());
            extensions.extend([0, 0, 0, 9]);
        }
        let mut header = vec![0x60, 0, 0, 0];
        header.extend(u16::try_from(extensions.len() + carried.len()).unwrap().to_be_bytes());
        header.extend([kinds[0], 64]);
        header.extend(from.octets());
        header.extend(to.octets());
        [header, extensions, carried.to_vec()].concat()
    }
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u32::from);
    let mut sum: u32 = bytes.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap()
}

/// A capture file of Ethernet frames; the n-th has the time n.
pub(crate) fn pcap<'a>(frames: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut file = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0];
    for (n, frame) in frames.into_iter().enumerate() {
        let length = u32::try_from(frame.len()).unwrap();
        for word in [u32::try_from(n).unwrap(), 0, length, length] {
            file.extend(word.to_le_bytes());
        }
        file.extend(frame);
    }
    file
}
