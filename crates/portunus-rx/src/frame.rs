//! From a packet as it lies on a link to what it carries: tags and PPPoE are looked through, IP and its options or
//! extension headers are walked by etherparse, fragments are refused.
//!
//! Pure. Called by the sniffing and the capture receivers, and by a fuzz target. Not here: link headers of capture
//! files (link.rs), and which packets are wanted (filter/).

use std::net::{IpAddr, SocketAddr};

use etherparse::{IpSlice, TcpSlice, UdpSlice, ip_number};
use portunus_model::Carried;

pub(crate) const IPV4: u16 = 0x0800;
pub(crate) const IPV6: u16 = 0x86dd;
/// 802.1Q, 802.1ad, and what stood for the latter before it was one.
pub(crate) const TAGS: [u16; 3] = [0x8100, 0x88a8, 0x9100];
pub(crate) const PPPOE_SESSION: u16 = 0x8864;
/// IP within PPP (RFC 1332, RFC 5072).
pub(crate) const PPP_IPV4: u16 = 0x0021;
pub(crate) const PPP_IPV6: u16 = 0x0057;
/// How many tags are looked through, beside one that the kernel has taken off.
pub(crate) const MOST_TAGS: usize = 2;
/// Bytes of a tag, and of a PPPoE header with the PPP protocol behind it (RFC 2516).
const TAG: usize = 4;
const PPPOE: usize = 8;
/// Bytes before the payload of an ICMP message, of either family.
const ICMP: usize = 8;

/// A packet behind its link header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What `bytes` are, as an Ethernet type.
    pub protocol: u16,
    /// The tag that the kernel took off before we saw the packet (802.1Q: priority, flag, VLAN).
    pub tag: Option<u16>,
    /// The packet from there on.
    pub bytes: &'a [u8],
}

/// How a payload was carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// A UDP datagram.
    Udp,
    /// One TCP segment.
    Tcp,
    /// An ICMP or ICMPv6 message, behind its first 8 bytes.
    Icmp,
}

/// What a packet carries, and what its headers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payload<'a> {
    /// The source address and port; port 0 for ICMP.
    pub source: SocketAddr,
    /// Where it was sent to.
    pub destination: SocketAddr,
    /// How it was carried.
    pub carrier: Carrier,
    /// The payload itself, without padding of the link.
    pub bytes: &'a [u8],
}

impl Payload<'_> {
    /// The protocol and the port, as numbers.
    #[must_use]
    pub const fn carried(&self) -> Carried {
        let proto = match self.carrier {
            Carrier::Udp => ip_number::UDP,
            Carrier::Tcp => ip_number::TCP,
            Carrier::Icmp if self.source.is_ipv4() => ip_number::ICMP,
            Carrier::Icmp => ip_number::IPV6_ICMP,
        };
        Carried { proto: proto.0, port: self.destination.port() }
    }
}

impl<'a> Frame<'a> {
    /// The payload of a whole UDP datagram, TCP segment or ICMP message; `None` for everything else: another protocol,
    /// a fragment, a packet that is cut or contradicts itself.
    #[must_use]
    pub fn payload(self) -> Option<Payload<'a>> {
        let inner = self.inner()?;
        let ip = IpSlice::from_slice(inner.bytes).ok()?;
        let family = match &ip {
            IpSlice::Ipv4(_) => IPV4,
            IpSlice::Ipv6(_) => IPV6,
        };
        let carried = ip.payload();
        if family != inner.protocol || carried.fragmented {
            return None;
        }
        let (carrier, ports, bytes) = match carried.ip_number {
            ip_number::UDP => udp(carried.payload)?,
            ip_number::TCP => tcp(carried.payload)?,
            ip_number::ICMP if family == IPV4 => icmp(carried.payload)?,
            ip_number::IPV6_ICMP if family == IPV6 => icmp(carried.payload)?,
            _ => return None,
        };
        let source = SocketAddr::new(on_the_wire(ip.source_addr())?, ports.0);
        let destination = SocketAddr::new(on_the_wire(ip.destination_addr())?, ports.1);
        Some(Payload { source, destination, carrier, bytes })
    }

    /// The same without tags and without PPPoE.
    fn inner(mut self) -> Option<Self> {
        for _ in 0..MOST_TAGS {
            if !TAGS.contains(&self.protocol) {
                break;
            }
            let (tag, rest) = self.bytes.split_first_chunk::<TAG>()?;
            let [_, _, high, low] = *tag;
            self = Self { protocol: u16::from_be_bytes([high, low]), bytes: rest, ..self };
        }
        if self.protocol == PPPOE_SESSION {
            let (header, rest) = self.bytes.split_first_chunk::<PPPOE>()?;
            let [version_and_type, code, _, _, _, _, high, low] = *header;
            if (version_and_type, code) != (0x11, 0) {
                return None;
            }
            let protocol = ppp(u16::from_be_bytes([high, low]))?;
            self = Self { protocol, bytes: rest, ..self };
        }
        Some(self)
    }
}

/// The Ethernet type of a PPP protocol that is IP.
pub(crate) const fn ppp(protocol: u16) -> Option<u16> {
    match protocol {
        PPP_IPV4 => Some(IPV4),
        PPP_IPV6 => Some(IPV6),
        _ => None,
    }
}

type Parts<'a> = (Carrier, (u16, u16), &'a [u8]);

fn udp(bytes: &[u8]) -> Option<Parts<'_>> {
    let udp = UdpSlice::from_slice(bytes).ok()?;
    // Length 0 is for packets beyond 64 kB (RFC 2675).
    let sound = udp.length() != 0;
    sound.then(|| (Carrier::Udp, (udp.source_port(), udp.destination_port()), udp.payload()))
}

fn tcp(bytes: &[u8]) -> Option<Parts<'_>> {
    let tcp = TcpSlice::from_slice(bytes).ok()?;
    Some((Carrier::Tcp, (tcp.source_port(), tcp.destination_port()), tcp.payload()))
}

fn icmp(bytes: &[u8]) -> Option<Parts<'_>> {
    Some((Carrier::Icmp, (0, 0), bytes.get(ICMP..)?))
}

/// A v4-mapped address is never on a wire, and everywhere else we take it for the IPv4 address: whoever writes one into an
/// IPv6 header would pass for that.
fn on_the_wire(address: IpAddr) -> Option<IpAddr> {
    (address.to_canonical() == address).then_some(address)
}

#[cfg(test)]
mod tests {
    use etherparse::{IpFragOffset, Ipv4Header, Ipv6FragmentHeader, Ipv6Header, PacketBuilder};

    use super::*;

    const PAYLOAD: &[u8] = b"a knock of some length";

    fn v4() -> Vec<u8> {
        let mut packet = Vec::new();
        let builder = PacketBuilder::ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64).udp(4000, 62201);
        builder.write(&mut packet, PAYLOAD).unwrap();
        packet
    }

    fn v6() -> Vec<u8> {
        let (from, to) = ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap());
        let header = Ipv6Header {
            source: std::net::Ipv6Addr::octets(&from),
            destination: std::net::Ipv6Addr::octets(&to),
            hop_limit: 64,
            ..Ipv6Header::default()
        };
        let mut packet = Vec::new();
        let ip = etherparse::IpHeaders::Ipv6(header, etherparse::Ipv6Extensions::default());
        PacketBuilder::ip(ip).udp(4000, 62201).write(&mut packet, PAYLOAD).unwrap();
        packet
    }

    fn of(protocol: u16, bytes: &[u8]) -> Option<Payload<'_>> {
        Frame { protocol, tag: None, bytes }.payload()
    }

    fn wrapped(outer: &[u8], inner: &[u8]) -> Vec<u8> {
        [outer, inner].concat()
    }

    #[test]
    fn both_families_with_padding_behind() {
        for (protocol, packet, source) in [(IPV4, v4(), "192.0.2.1:4000"), (IPV6, v6(), "[2001:db8::1]:4000")]
        {
            let padded = wrapped(&packet, &[0; 9]);
            let payload = of(protocol, &padded).unwrap();
            assert_eq!(payload.bytes, PAYLOAD);
            assert_eq!(payload.source, source.parse().unwrap());
            assert_eq!(payload.destination.port(), 62201);
            assert_eq!(payload.carrier, Carrier::Udp);
            // Cut anywhere it is nothing.
            assert!((0..packet.len()).all(|end| of(protocol, &packet[..end]).is_none()));
            let other = if protocol == IPV4 { IPV6 } else { IPV4 };
            assert_eq!(of(other, &packet), None);
        }
    }

    #[test]
    fn tags_and_pppoe_are_looked_through() {
        let q = wrapped(&[0, 10, 0x08, 0x00], &v4());
        assert_eq!(of(0x8100, &q).unwrap().bytes, PAYLOAD);
        let qinq = wrapped(&[0, 9, 0x81, 0x00], &q);
        assert_eq!(of(0x88a8, &qinq).unwrap().bytes, PAYLOAD);
        assert_eq!(of(0x8100, &wrapped(&[0, 8, 0x88, 0xa8], &qinq)), None);
        let session = |code, ppp: u16, inner: &[u8]| {
            let [high, low] = ppp.to_be_bytes();
            wrapped(&[0x11, code, 0, 7, 0, 60, high, low], inner)
        };
        assert_eq!(of(PPPOE_SESSION, &session(0, PPP_IPV4, &v4())).unwrap().bytes, PAYLOAD);
        assert_eq!(of(PPPOE_SESSION, &session(0, PPP_IPV6, &v6())).unwrap().bytes, PAYLOAD);
        assert_eq!(of(PPPOE_SESSION, &session(0, 0xc021, &v4())), None);
        assert_eq!(of(PPPOE_SESSION, &session(9, PPP_IPV4, &v4())), None);
        let both = wrapped(&[0, 10, 0x88, 0x64], &session(0, PPP_IPV4, &v4()));
        assert_eq!(of(0x8100, &both).unwrap().bytes, PAYLOAD);
    }

    #[test]
    fn options_and_extension_headers_are_walked() {
        let plain = v4();
        let mut header = Ipv4Header::from_slice(&plain).unwrap().0;
        header.options = [1; 8].as_slice().try_into().unwrap();
        let mut packet = Vec::new();
        let ip = etherparse::IpHeaders::Ipv4(header, etherparse::Ipv4Extensions::default());
        PacketBuilder::ip(ip).udp(1, 2).write(&mut packet, PAYLOAD).unwrap();
        assert_eq!(packet.len(), plain.len() + 8);
        assert_eq!(of(IPV4, &packet).unwrap().bytes, PAYLOAD);

        // Hop-by-hop and destination options, each of 8 bytes, before the UDP header.
        let mut packet = v6();
        let extensions = [60, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0];
        packet.splice(40..40, extensions);
        packet[6] = 0;
        let length = u16::from_be_bytes([packet[4], packet[5]]) + 16;
        packet[4..6].copy_from_slice(&length.to_be_bytes());
        assert_eq!(of(IPV6, &packet).unwrap().bytes, PAYLOAD);
    }

    #[test]
    fn an_ipv4_address_in_an_ipv6_header_is_nobodys() {
        for at in [8, 24] {
            let mut packet = v6();
            packet[at..at + 16]
                .copy_from_slice(&"::ffff:192.0.2.1".parse::<std::net::Ipv6Addr>().unwrap().octets());
            assert_eq!(of(IPV6, &packet), None);
        }
    }

    #[test]
    fn fragments_are_refused() {
        for (more, offset) in [(true, 0), (false, 3), (true, 3)] {
            let mut packet = v4();
            let mut header = Ipv4Header::from_slice(&packet).unwrap().0;
            header.more_fragments = more;
            header.fragment_offset = IpFragOffset::try_new(offset).unwrap();
            packet[..20].copy_from_slice(&header.to_bytes());
            assert_eq!(of(IPV4, &packet), None);

            let mut packet = v6();
            let offset = IpFragOffset::try_new(offset).unwrap();
            let fragment = Ipv6FragmentHeader::new(ip_number::UDP, offset, more, 7).to_bytes();
            packet.splice(40..40, fragment);
            packet[6] = 44;
            let length = u16::from_be_bytes([packet[4], packet[5]]) + 8;
            packet[4..6].copy_from_slice(&length.to_be_bytes());
            assert_eq!(of(IPV6, &packet), None);
        }
    }

    #[test]
    fn segments_and_messages() {
        let ip = || PacketBuilder::ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64);
        let mut packet = Vec::new();
        ip().tcp(5, 80, 1, 1024).options_raw(&[1; 12]).unwrap().write(&mut packet, PAYLOAD).unwrap();
        let payload = of(IPV4, &packet).unwrap();
        assert_eq!((payload.carrier, payload.bytes), (Carrier::Tcp, PAYLOAD));
        assert_eq!(payload.destination.port(), 80);
        // A timestamp request (type 13) has longer headers of its own, which a knock does not care for.
        for kind in [8, 0, 13, 42] {
            let mut packet = Vec::new();
            ip().icmpv4_raw(kind, 0, [0; 4]).write(&mut packet, PAYLOAD).unwrap();
            let payload = of(IPV4, &packet).unwrap();
            assert_eq!((payload.carrier, payload.bytes), (Carrier::Icmp, PAYLOAD));
            assert_eq!(payload.source, "192.0.2.1:0".parse().unwrap());
        }
        let mut packet = Vec::new();
        PacketBuilder::ipv6([1; 16], [2; 16], 64)
            .icmpv6_echo_request(1, 2)
            .write(&mut packet, PAYLOAD)
            .unwrap();
        assert_eq!(of(IPV6, &packet).unwrap().bytes, PAYLOAD);
    }
}
