//! A datagram: the bytes, who seems to have sent them, and how they came.

use std::net::{IpAddr, SocketAddr};

/// The longest datagram that any dialect can use, in bytes (fwknop's, sealed by GnuPG). A receiver delivers nothing longer.
pub const LONGEST: usize = 2880;

/// One packet, owned. The bytes that were verified are the bytes that are used: nobody can change them in between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    /// The payload, at most [`LONGEST`] bytes.
    pub bytes: Box<[u8]>,
    /// The source that the header claims; anybody can write anything there. A sniffed ICMP message has port 0.
    pub source: SocketAddr,
    /// The address that it was sent to, where the receiver knows it.
    pub destination: Option<IpAddr>,
    /// By which protocol it came, and to which port; `None` where the receiver is a socket that has only one of each.
    pub carried: Option<Carried>,
    /// The address that a proxy names as its client (X-Forwarded-For). A receiver takes it from a trusted proxy only,
    /// so it is as good as that proxy's word; `source` is then the proxy itself.
    pub claimed: Option<IpAddr>,
    /// How it came in.
    pub via: Via,
}

/// How a datagram was carried, as its headers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Carried {
    /// The protocol's number within IP.
    pub proto: u8,
    /// The port that it was sent to; 0 where the protocol has none.
    pub port: u16,
}

impl Datagram {
    /// One with nothing known of where it was sent to, and no proxy's word.
    #[must_use]
    pub fn new(bytes: impl Into<Box<[u8]>>, source: SocketAddr, via: Via) -> Self {
        Self { bytes: bytes.into(), source, destination: None, carried: None, claimed: None, via }
    }

    /// The same, carried so.
    #[must_use]
    pub fn carried_by(self, carried: Carried) -> Self {
        Self { carried: Some(carried), ..self }
    }

    /// The same, sent to this address.
    #[must_use]
    pub fn sent_to(self, destination: Option<IpAddr>) -> Self {
        Self { destination, ..self }
    }

    /// The same, with the address that a trusted proxy names.
    #[must_use]
    pub fn claiming(self, claimed: Option<IpAddr>) -> Self {
        Self { claimed, ..self }
    }
}

/// The way by which a datagram came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Via {
    /// A UDP socket of ours.
    Udp,
    /// Seen on an interface, whether or not the firewall lets it in.
    Sniffed,
    /// A capture file.
    Pcap,
    /// A TCP connection to a socket of ours: the handshake shows that its source is real.
    Tcp,
    /// An HTTP request, on a TCP socket of ours or seen on an interface.
    Http,
}

impl Via {
    /// Every way.
    pub const ALL: [Self; 5] = [Self::Udp, Self::Sniffed, Self::Pcap, Self::Tcp, Self::Http];

    /// The word in logs and events.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Sniffed => "sniffed",
            Self::Pcap => "pcap",
            Self::Tcp => "tcp",
            Self::Http => "http",
        }
    }
}
