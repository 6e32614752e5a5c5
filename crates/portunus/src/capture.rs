//! Datagrams out of a capture: a pcap or pcapng file (portunus-rx reads it), or one datagram's bytes in hex.

use std::fmt;
use std::net::SocketAddr;

use portunus_model::Unix;
use portunus_rx::{Capture, CaptureError, Wanted};

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
    /// A capture that cannot be read.
    Capture(CaptureError),
    /// Nothing in it that could be a knock.
    Empty,
}

impl fmt::Display for NoCapture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("it is neither a pcap or pcapng file nor hex"),
            Self::Capture(error) => error.fmt(f),
            Self::Empty => f.write_str("there is no UDP datagram, TCP payload or ICMP message in it"),
        }
    }
}

/// Reads a capture or hex.
///
/// # Errors
/// [`NoCapture`] says what it is instead.
pub(crate) fn parse(bytes: &[u8]) -> Result<Vec<Caught>, NoCapture> {
    let capture = match Capture::new(bytes, None, Wanted::anything()) {
        Err(CaptureError::Unknown) => return hex(bytes),
        other => other.map_err(NoCapture::Capture)?,
    };
    let caught: Vec<Caught> = capture
        .map(|caught| {
            let caught = caught.map_err(NoCapture::Capture)?;
            let (bytes, source) = (caught.datagram.bytes.into(), Some(caught.datagram.source));
            Ok(Caught { bytes, source, at: caught.at })
        })
        .collect::<Result<_, _>>()?;
    if caught.is_empty() { Err(NoCapture::Empty) } else { Ok(caught) }
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
        // From 192.0.2.1:4000 to 192.0.2.2:54154 (RFC 791, RFC 768).
        let header = [0x45, 0, 0, 33, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
        let packet = [&header[..], &[0x0f, 0xa0, 0xd3, 0x8a, 0, 13, 0, 0], b"knock"].concat();
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
