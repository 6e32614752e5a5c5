//! On what a grant stands: kept with it for as long as it is open, over restarts too, so that a change of the
//! configuration can be held against it.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::way::{address, some_address};

/// What stands for a client's key wherever grants are written down: a MAC of it under a secret of the daemon's own. Whoever
/// has marks and not that secret can try no passphrase against them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Mark([u8; Mark::BYTES]);

impl Mark {
    /// Its length.
    pub const BYTES: usize = 16;

    /// From its bytes; `None` for all zeros, which stand for no mark.
    #[must_use]
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Option<Self> {
        (bytes != [0; Self::BYTES]).then_some(Self(bytes))
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }
}

impl fmt::Debug for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mark(..)")
    }
}

/// On what a grant stands: the knock that it came from, as far as the rules ask about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Grounds {
    /// Which key had proven the knock; `None`: nobody knows any more (a journal of an older version).
    pub mark: Option<Mark>,
    /// Where the knock came from, which may be another address than the granted one; canonical. `None` as above.
    pub source: Option<IpAddr>,
    /// Where it had gone to; canonical. `None`: the receiver could not tell, or as above.
    pub destination: Option<IpAddr>,
}

impl Grounds {
    /// How many bytes [`Grounds::to_bytes`] gives.
    pub const BYTES: usize = Mark::BYTES + 2 * 17;

    /// The bytes that mean them. All zero: nothing is known.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mark = self.mark.map_or([0; Mark::BYTES], |mark| mark.0);
        let ((from, source), (to, destination)) = (address(self.source), address(self.destination));
        let parts = mark.iter().chain([&from]).chain(&source).chain([&to]).chain(&destination);
        let mut bytes = [0; Self::BYTES];
        bytes.iter_mut().zip(parts).for_each(|(byte, part)| *byte = *part);
        bytes
    }

    /// Reads what [`Grounds::to_bytes`] wrote, and nothing else.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Option<Self> {
        let (mark, rest) = bytes.split_first_chunk::<{ Mark::BYTES }>()?;
        let (source, destination) = rest.split_at_checked(17)?;
        let one = |part: &[u8]| {
            let (kind, bytes) = part.split_first()?;
            some_address(*kind, bytes.try_into().ok()?)
        };
        Some(Self { mark: Mark::from_bytes(*mark), source: one(source)?, destination: one(destination)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_mean_what_was_written_and_nothing_else() {
        let source = "2001:db8::7".parse().ok();
        let known =
            Grounds { mark: Mark::from_bytes([7; 16]), source, destination: "192.0.2.1".parse().ok() };
        for grounds in [Grounds::default(), known, Grounds { source: None, ..known }] {
            assert_eq!(Grounds::from_bytes(&grounds.to_bytes()), Some(grounds));
        }
        assert_eq!(Grounds::default().to_bytes(), [0; Grounds::BYTES]);
        let mut wrong = known.to_bytes();
        wrong[Mark::BYTES] = 9;
        assert_eq!(Grounds::from_bytes(&wrong), None);
        assert!(format!("{known:?}").contains("Mark(..)"));
    }
}
