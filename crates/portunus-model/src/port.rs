//! Ports as policy names them: a protocol and a range, mostly of one.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A transport protocol that a port belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Proto {
    /// Protocol 6.
    Tcp,
    /// Protocol 17.
    Udp,
}

impl Proto {
    /// The number in an IP header (IANA protocol numbers).
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }

    /// The word in files and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// The ports `first..=last` of one protocol. Always `1 <= first <= last`, and at most 1000 ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PortSpec {
    proto: Proto,
    first: u16,
    last: u16,
}

/// Why a text or a pair of numbers is not a port or a range of ports.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// Not a number from 1 to 65535.
    #[error("{0:?} is not a port: use a number from 1 to 65535")]
    Number(String),
    /// The protocol is neither tcp nor udp.
    #[error("unknown protocol {0:?}: use tcp or udp, as in 22/tcp, or leave it out for both")]
    Proto(String),
    /// The range runs backwards.
    #[error("the range {0}-{1} runs backwards: write the smaller port first")]
    Backwards(u16, u16),
    /// More than 1000 ports.
    #[error("the range {0}-{1} has more than 1000 ports: split it")]
    Wide(u16, u16),
}

impl PortSpec {
    /// The most ports that one range may span.
    pub const WIDEST: u16 = 1000;

    /// The range `first..=last`.
    ///
    /// # Errors
    /// A port of 0, a range that runs backwards, or one of more than 1000 ports.
    pub fn range(proto: Proto, first: u16, last: u16) -> Result<Self, PortError> {
        if first == 0 || last == 0 {
            return Err(PortError::Number("0".to_owned()));
        }
        if last < first {
            return Err(PortError::Backwards(first, last));
        }
        if last - first >= Self::WIDEST {
            return Err(PortError::Wide(first, last));
        }
        Ok(Self { proto, first, last })
    }

    /// One port.
    ///
    /// # Errors
    /// A port of 0.
    pub fn single(proto: Proto, port: u16) -> Result<Self, PortError> {
        Self::range(proto, port, port)
    }

    /// Reads `PORT[-END][/PROTO]` (shared by `portunus.toml` and openme's file). Without a protocol it is both.
    ///
    /// # Errors
    /// [`PortError`] names the part that is wrong and the mend.
    pub fn parse(text: &str) -> Result<Vec<Self>, PortError> {
        let text = text.trim();
        let (ports, protos) = match text.split_once('/') {
            None => (text, vec![Proto::Tcp, Proto::Udp]),
            Some((ports, word)) if word.eq_ignore_ascii_case("tcp") => (ports, vec![Proto::Tcp]),
            Some((ports, word)) if word.eq_ignore_ascii_case("udp") => (ports, vec![Proto::Udp]),
            Some((_, word)) => return Err(PortError::Proto(word.to_owned())),
        };
        let (first, last) = match ports.split_once('-') {
            None => (number(ports)?, number(ports)?),
            Some((first, last)) => (number(first)?, number(last)?),
        };
        protos.into_iter().map(|proto| Self::range(proto, first, last)).collect()
    }

    /// Its protocol.
    #[must_use]
    pub const fn proto(self) -> Proto {
        self.proto
    }

    /// Its first port.
    #[must_use]
    pub const fn first(self) -> u16 {
        self.first
    }

    /// Its last port, the same as the first for a single one.
    #[must_use]
    pub const fn last(self) -> u16 {
        self.last
    }

    /// Whether it is one port only.
    #[must_use]
    pub const fn is_single(self) -> bool {
        self.first == self.last
    }

    /// Whether `port` of `proto` is in it.
    #[must_use]
    pub fn contains(self, proto: Proto, port: u16) -> bool {
        self.proto == proto && (self.first..=self.last).contains(&port)
    }
}

impl fmt::Display for PortSpec {
    /// `22/tcp` or `8000-8010/udp`: what [`PortSpec::parse`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_single() {
            write!(f, "{}/{}", self.first, self.proto.as_str())
        } else {
            write!(f, "{}-{}/{}", self.first, self.last, self.proto.as_str())
        }
    }
}

fn number(text: &str) -> Result<u16, PortError> {
    let text = text.trim();
    let bad = || PortError::Number(text.to_owned());
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(bad());
    }
    text.parse().ok().filter(|&port| port != 0).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_prints() {
        for text in ["22/tcp", "53/udp", "8000-8010/tcp", "1-1000/udp"] {
            let specs = PortSpec::parse(text).unwrap();
            assert_eq!(specs.len(), 1);
            assert_eq!(specs[0].to_string(), text);
        }
        assert_eq!(PortSpec::parse("53").unwrap().len(), 2);
    }

    #[test]
    fn names_the_mistake() {
        assert_eq!(PortSpec::parse("0/tcp"), Err(PortError::Number("0".into())));
        assert_eq!(PortSpec::parse("70000"), Err(PortError::Number("70000".into())));
        assert_eq!(PortSpec::parse("+22"), Err(PortError::Number("+22".into())));
        assert_eq!(PortSpec::parse("ssh"), Err(PortError::Number("ssh".into())));
        assert_eq!(PortSpec::parse("22/icmp"), Err(PortError::Proto("icmp".into())));
        assert_eq!(PortSpec::parse("30-20"), Err(PortError::Backwards(30, 20)));
        assert_eq!(PortSpec::parse("1-1001"), Err(PortError::Wide(1, 1001)));
    }
}
