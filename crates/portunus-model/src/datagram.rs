//! A datagram: the bytes, who seems to have sent them, and how they came.

use std::net::SocketAddr;

/// The longest datagram that any dialect can use, in bytes. A receiver delivers nothing longer.
pub const LONGEST: usize = 1500;

/// One packet, owned. The bytes that were verified are the bytes that are used: nobody can change them in between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    /// The payload, at most [`LONGEST`] bytes.
    pub bytes: Box<[u8]>,
    /// The source that the header claims; anybody can write anything there.
    pub source: SocketAddr,
    /// How it came in.
    pub via: Via,
}

/// The way by which a datagram came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Via {
    /// A UDP socket of ours.
    Udp,
}

impl Via {
    /// The word in logs and events.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
        }
    }
}
