//! Datagrams out of a capture: a pcap file, or one datagram's bytes in hex.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use portunus_model::Unix;

/// A datagram that somebody wrote down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caught {
    /// Its payload.
    pub(crate) bytes: Vec<u8>,
    /// Where it came from, where the capture says so.
    pub(crate) source: Option<SocketAddr>,
    /// When, where the capture says so.
    pub(crate) at: Option<Unix>,
}

/// Why there is no datagram in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoCapture {
    /// Neither a capture nor hex.
    Unknown,
    /// The newer format of Wireshark.
    Pcapng,
    /// A capture of a kind of link that is not read here.
    Link(u32),
    /// No UDP datagram in it.
    Empty,
}

impl fmt::Display for NoCapture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("it is neither a pcap file nor hex"),
            Self::Pcapng => f.write_str("it is a pcapng file (convert it: editcap -F pcap IN OUT)"),
            Self::Link(link) => write!(f, "its link type {link} is not read here"),
            Self::Empty => f.write_str("there is no UDP datagram in it"),
        }
    }
}

/// Reads a pcap or hex.
///
/// # Errors
/// [`NoCapture`] says what it is instead.
pub(crate) fn parse(bytes: &[u8]) -> Result<Vec<Caught>, NoCapture> {
    match bytes.first_chunk::<4>() {
        Some([0xd4, 0xc3, 0xb2, 0xa1]) => pcap(bytes, u32::from_le_bytes, 1000),
        Some([0x4d, 0x3c, 0xb2, 0xa1]) => pcap(bytes, u32::from_le_bytes, 1),
        Some([0xa1, 0xb2, 0xc3, 0xd4]) => pcap(bytes, u32::from_be_bytes, 1000),
        Some([0xa1, 0xb2, 0x3c, 0x4d]) => pcap(bytes, u32::from_be_bytes, 1),
        Some([0x0a, 0x0d, 0x0d, 0x0a]) => Err(NoCapture::Pcapng),
        Some(_) | None => hex(bytes),
    }
}

/// The classic format: a header of 24 bytes, then records of a header of 16 bytes and the frame
/// (pcap-savefile(5)). `unit` is how many nanoseconds the smaller part of a time counts.
fn pcap(bytes: &[u8], number: fn([u8; 4]) -> u32, unit: i128) -> Result<Vec<Caught>, NoCapture> {
    let word = |at: usize| bytes.get(at..at.checked_add(4)?)?.try_into().ok().map(number);
    let link = word(20).ok_or(NoCapture::Empty)? & 0x0fff_ffff;
    let mut caught = Vec::new();
    let mut at = 24;
    while let (Some(secs), Some(part), Some(length)) = (word(at), word(at + 4), word(at + 8)) {
        let length = usize::try_from(length).map_err(|_| NoCapture::Unknown)?;
        let begin = at + 16;
        let Some(frame) = begin.checked_add(length).and_then(|end| bytes.get(begin..end)) else { break };
        let stamp = Unix::from_nanos(i128::from(secs) * 1_000_000_000 + i128::from(part) * unit);
        if let Some((source, bytes)) = udp(frame, link)? {
            caught.push(Caught { bytes, source: Some(source), at: Some(stamp) });
        }
        at = begin + length;
    }
    if caught.is_empty() { Err(NoCapture::Empty) } else { Ok(caught) }
}

/// The payload of a frame's UDP datagram and its source.
fn udp(frame: &[u8], link: u32) -> Result<Option<(SocketAddr, Vec<u8>)>, NoCapture> {
    // tcpdump.org, "Link-layer header types".
    let sliced = match link {
        1 => SlicedPacket::from_ethernet(frame),
        12 | 14 | 101 | 228 | 229 => SlicedPacket::from_ip(frame),
        113 => SlicedPacket::from_linux_sll(frame),
        // SLL2 (`tcpdump -i any` today) has the IP packet after 20 bytes, whose first two say so.
        276 => SlicedPacket::from_ip(frame.get(20..).unwrap_or_default()),
        other => return Err(NoCapture::Link(other)),
    };
    let Ok(sliced) = sliced else { return Ok(None) };
    let from: IpAddr = match &sliced.net {
        Some(NetSlice::Ipv4(ip)) => ip.header().source_addr().into(),
        Some(NetSlice::Ipv6(ip)) => ip.header().source_addr().into(),
        Some(NetSlice::Arp(_)) | None => return Ok(None),
    };
    Ok(match &sliced.transport {
        Some(TransportSlice::Udp(udp)) => {
            Some((SocketAddr::new(from, udp.source_port()), udp.payload().to_vec()))
        }
        Some(
            TransportSlice::Tcp(_)
            | TransportSlice::Icmpv4(_)
            | TransportSlice::Icmpv6(_)
            | TransportSlice::Igmp(_),
        )
        | None => None,
    })
}

/// Hex with blanks, line ends or colons between its digits, as tools print it.
fn hex(bytes: &[u8]) -> Result<Vec<Caught>, NoCapture> {
    let text = std::str::from_utf8(bytes).map_err(|_| NoCapture::Unknown)?;
    let text = text.trim();
    let text = text.strip_prefix("0x").unwrap_or(text);
    let mut digits = Vec::new();
    for letter in text.chars().filter(|c| !c.is_whitespace() && *c != ':') {
        digits.push(letter.to_digit(16).ok_or(NoCapture::Unknown)?);
    }
    let (pairs, []) = digits.as_chunks::<2>() else { return Err(NoCapture::Unknown) };
    if pairs.is_empty() {
        return Err(NoCapture::Unknown);
    }
    let bytes = pairs.iter().filter_map(|[high, low]| u8::try_from(high << 4 | low).ok()).collect();
    Ok(vec![Caught { bytes, source: None, at: None }])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_read_as_tools_print_it() {
        let read = |text: &str| parse(text.as_bytes()).map(|mut all| all.remove(0).bytes);
        assert_eq!(read("0x0102ff\n"), Ok(vec![1, 2, 255]));
        assert_eq!(read("01:02 ff"), Ok(vec![1, 2, 255]));
        assert_eq!(read("012"), Err(NoCapture::Unknown));
        assert_eq!(read("hello"), Err(NoCapture::Unknown));
        assert_eq!(read(""), Err(NoCapture::Unknown));
    }

    #[test]
    fn a_pcap_gives_payload_source_and_time() {
        let mut file =
            vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 101, 0, 0, 0];
        let mut packet = Vec::new();
        etherparse::PacketBuilder::ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64)
            .udp(4000, 54154)
            .write(&mut packet, b"knock")
            .unwrap();
        let length = u32::try_from(packet.len()).unwrap().to_le_bytes();
        file.extend(7_u32.to_le_bytes());
        file.extend(5_u32.to_le_bytes());
        file.extend(length);
        file.extend(length);
        file.extend(&packet);
        let at = Some(Unix::from_nanos(7_000_005_000));
        let source = Some("192.0.2.1:4000".parse().unwrap());
        assert_eq!(parse(&file), Ok(vec![Caught { bytes: b"knock".to_vec(), source, at }]));
        assert_eq!(parse(&file[..30]), Err(NoCapture::Empty));
    }
}
