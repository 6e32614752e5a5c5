//! A whole IP packet, for a raw socket: so its source can be any, and no connection comes before it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{Icmpv4Type, Icmpv6Type, PacketBuilder, PacketBuilderStep};

/// As far as a packet can go.
const HOPS: u8 = 255;
/// What a SYN says that it would take.
const WINDOW: u16 = 1024;

/// What is in the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RawKind {
    /// A datagram.
    Udp,
    /// A SYN that has a payload already.
    Tcp {
        /// Its sequence number.
        sequence: u32,
    },
    /// A message of ICMP, or of ICMPv6 between IPv6 addresses.
    Icmp {
        /// Its type.
        kind: u8,
        /// Its code.
        code: u8,
    },
}

/// From where to where; ICMP has no ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flight {
    /// The source address in the packet, anybody's.
    pub from: IpAddr,
    /// The source port.
    pub source_port: u16,
    /// The server.
    pub to: IpAddr,
    /// Its port.
    pub port: u16,
}

/// Why there is no packet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RawError {
    /// One address is IPv4, the other is IPv6.
    #[error(
        "the source {from} and the destination {to} are of two families: name a source of the destination's"
    )]
    Families {
        /// The source.
        from: IpAddr,
        /// The destination.
        to: IpAddr,
    },
    /// The payload does not fit.
    #[error("the packet could not be built: {0}")]
    Build(String),
}

/// The packet that carries `payload`, from its IP header on, checksums included.
///
/// # Errors
/// [`RawError`] says why not.
pub fn whole_packet(flight: Flight, kind: RawKind, payload: &[u8]) -> Result<Vec<u8>, RawError> {
    let mut packet = Vec::with_capacity(payload.len() + 64);
    let built = match (flight.from, flight.to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => four(flight, from, to, kind, payload, &mut packet),
        (IpAddr::V6(from), IpAddr::V6(to)) => six(flight, from, to, kind, payload, &mut packet),
        (from, to) => return Err(RawError::Families { from, to }),
    };
    built.map_err(|error| RawError::Build(error.to_string()))?;
    Ok(packet)
}

type Built = Result<(), etherparse::err::packet::BuildWriteError>;

fn four(
    flight: Flight,
    from: Ipv4Addr,
    to: Ipv4Addr,
    kind: RawKind,
    payload: &[u8],
    packet: &mut Vec<u8>,
) -> Built {
    let start = PacketBuilder::ipv4(from.octets(), to.octets(), HOPS);
    match kind {
        RawKind::Icmp { kind, code } => start
            .icmpv4(Icmpv4Type::Unknown { type_u8: kind, code_u8: code, bytes5to8: [0; 4] })
            .write(packet, payload),
        RawKind::Udp | RawKind::Tcp { .. } => with_ports(start, flight, kind, payload, packet),
    }
}

fn six(
    flight: Flight,
    from: Ipv6Addr,
    to: Ipv6Addr,
    kind: RawKind,
    payload: &[u8],
    packet: &mut Vec<u8>,
) -> Built {
    let start = PacketBuilder::ipv6(from.octets(), to.octets(), HOPS);
    match kind {
        RawKind::Icmp { kind, code } => start
            .icmpv6(Icmpv6Type::Unknown { type_u8: kind, code_u8: code, bytes5to8: [0; 4] })
            .write(packet, payload),
        RawKind::Udp | RawKind::Tcp { .. } => with_ports(start, flight, kind, payload, packet),
    }
}

fn with_ports(
    start: PacketBuilderStep<etherparse::IpHeaders>,
    flight: Flight,
    kind: RawKind,
    payload: &[u8],
    packet: &mut Vec<u8>,
) -> Built {
    match kind {
        RawKind::Tcp { sequence } => {
            start.tcp(flight.source_port, flight.port, sequence, WINDOW).syn().write(packet, payload)
        }
        RawKind::Udp | RawKind::Icmp { .. } => {
            start.udp(flight.source_port, flight.port).write(packet, payload)
        }
    }
}

#[cfg(test)]
mod tests {
    use etherparse::{SlicedPacket, TransportSlice};

    use super::*;

    fn flight(from: &str, to: &str) -> Flight {
        Flight { from: from.parse().unwrap(), source_port: 4000, to: to.parse().unwrap(), port: 62201 }
    }

    const BOTH: [(&str, &str); 2] = [("198.51.100.7", "203.0.113.1"), ("2001:db8::7", "2001:db8::1")];

    #[test]
    fn a_datagram_has_any_source() {
        for (from, to) in BOTH {
            let packet = whole_packet(flight(from, to), RawKind::Udp, b"knock").unwrap();
            let sliced = SlicedPacket::from_ip(&packet).unwrap();
            let Some(TransportSlice::Udp(udp)) = &sliced.transport else { panic!("no datagram") };
            assert_eq!(
                (udp.source_port(), udp.destination_port(), udp.payload()),
                (4000, 62201, &b"knock"[..])
            );
            let source: IpAddr = match sliced.net.unwrap() {
                etherparse::NetSlice::Ipv4(ip) => ip.header().source_addr().into(),
                etherparse::NetSlice::Ipv6(ip) => ip.header().source_addr().into(),
                other => panic!("{other:?}"),
            };
            assert_eq!(source.to_string(), from);
        }
    }

    #[test]
    fn a_syn_carries_the_payload() {
        for (from, to) in BOTH {
            let packet = whole_packet(flight(from, to), RawKind::Tcp { sequence: 7 }, b"knock").unwrap();
            let sliced = SlicedPacket::from_ip(&packet).unwrap();
            let Some(TransportSlice::Tcp(tcp)) = &sliced.transport else { panic!("no segment") };
            assert!(tcp.syn() && !tcp.ack());
            assert_eq!(
                (tcp.destination_port(), tcp.sequence_number(), tcp.payload()),
                (62201, 7, &b"knock"[..])
            );
        }
    }

    #[test]
    fn a_ping_has_the_payload_behind_its_eight_bytes() {
        let packet =
            whole_packet(flight("198.51.100.7", "203.0.113.1"), RawKind::Icmp { kind: 8, code: 0 }, b"knock");
        let packet = packet.unwrap();
        assert_eq!((packet[20], packet[21], &packet[28..]), (8, 0, &b"knock"[..]));
        assert_eq!(packet[8], 255);
        let six = whole_packet(
            flight("2001:db8::7", "2001:db8::1"),
            RawKind::Icmp { kind: 128, code: 0 },
            b"knock",
        );
        let six = six.unwrap();
        assert_eq!((six[40], &six[48..]), (128, &b"knock"[..]));
    }

    #[test]
    fn two_families_make_no_packet() {
        let mixed = whole_packet(flight("198.51.100.7", "2001:db8::1"), RawKind::Udp, b"x");
        assert!(matches!(mixed, Err(RawError::Families { .. })));
    }
}
