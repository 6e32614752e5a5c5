//! What a knock says, behind its client's own seal. Big endian:
//!
//! ```text
//! version 1 · kind 1 · flags 1 · timestamp 8 (ms) · target 16 · seconds 4 · source port 2 · count 1
//! · count times (length 1, name) · types and lengths (2 + 2) with what they say · zeros
//! ```

use std::net::{IpAddr, Ipv6Addr};

use portunus_crypto::Secret;
use portunus_model::Unix;
use zeroize::Zeroizing;

/// What a client may say at most; the rest of a knock is there to hide how much it was.
pub const LONGEST_PAYLOAD: usize = 152;

const VERSION: u8 = 1;
const WANTS_ANSWER: u8 = 1;
const CODE: u16 = 1;
const ATTEMPT: u16 = 2;
const LINK: u16 = 3;
pub(super) const DOOR: u16 = 4;
/// An unknown type with this bit must be understood, so the knock is refused.
const MUST_BE_KNOWN: u16 = 0x8000;
const NANOS_A_MILLI: i128 = 1_000_000;

/// What a knock is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// To be let in.
    Knock,
    /// To close what is open for this client, and to refuse all that it said before.
    Close,
    /// To become a client, by an invitation.
    Enrol,
    /// To be let in, with a link that nobody has seen from the next knock on.
    NewLink,
}

/// A one-time code, and which attempt it is: a copy of the same attempt may come again, another may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// The code as a number.
    pub value: u32,
    /// Drawn at random for each attempt.
    pub attempt: [u8; 8],
}

/// What a knock says.
#[derive(PartialEq, Eq)]
pub struct Payload {
    /// What it is for.
    pub kind: Kind,
    /// Whether an answer is awaited; whether there is one the server says.
    pub wants_answer: bool,
    /// When it was made, to the millisecond.
    pub stamp: Unix,
    /// For whom the door is wanted; `None`: for where the datagram comes from.
    pub target: Option<IpAddr>,
    /// For how long; 0: as the server likes.
    pub seconds: u32,
    /// For connections from this port only; 0: from any.
    pub source_port: u16,
    /// For these services; none: for all that this client may have.
    pub services: Vec<Box<str>>,
    /// The second factor.
    pub code: Option<Code>,
    /// The link that begins here, with [`Kind::Enrol`] and [`Kind::NewLink`].
    pub link: Option<Secret<32>>,
}

/// What was sealed is no payload of this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what is sealed in it is nothing that this version can say")]
pub struct Malformed;

/// More was to be said than a knock can carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a knock carries {LONGEST_PAYLOAD} bytes, and this would be {0}: name fewer services, or shorter ones"
)]
pub struct TooLong(pub usize);

impl Payload {
    /// A knock that asks for all that its client may have, for wherever it comes from.
    #[must_use]
    pub const fn knock(stamp: Unix) -> Self {
        Self {
            kind: Kind::Knock,
            wants_answer: false,
            stamp,
            target: None,
            seconds: 0,
            source_port: 0,
            services: Vec::new(),
            code: None,
            link: None,
        }
    }

    /// Its bytes, not yet filled up.
    ///
    /// # Errors
    /// [`TooLong`]: a knock cannot carry them.
    pub fn write(&self) -> Result<Zeroizing<Vec<u8>>, TooLong> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(2 * LONGEST_PAYLOAD));
        let flags = if self.wants_answer { WANTS_ANSWER } else { 0 };
        bytes.extend_from_slice(&[VERSION, self.kind.number(), flags]);
        bytes.extend_from_slice(&millis(self.stamp).to_be_bytes());
        bytes.extend_from_slice(&address_bytes(self.target));
        bytes.extend_from_slice(&self.seconds.to_be_bytes());
        bytes.extend_from_slice(&self.source_port.to_be_bytes());
        let wanted = 1 + self.services.iter().map(|name| 1 + name.len()).sum::<usize>();
        if bytes.len() + wanted > LONGEST_PAYLOAD {
            return Err(TooLong(bytes.len() + wanted));
        }
        // None of these numbers is over 152 now.
        bytes.push(u8::try_from(self.services.len()).unwrap_or(u8::MAX));
        for name in &self.services {
            bytes.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
            bytes.extend_from_slice(name.as_bytes());
        }
        if let Some(code) = self.code {
            write_more(&mut bytes, CODE, &code.value.to_be_bytes());
            write_more(&mut bytes, ATTEMPT, &code.attempt);
        }
        if let Some(link) = &self.link {
            write_more(&mut bytes, LINK, link.expose());
        }
        if bytes.len() > LONGEST_PAYLOAD { Err(TooLong(bytes.len())) } else { Ok(bytes) }
    }

    /// Reads all of `bytes`, to the last zero.
    ///
    /// # Errors
    /// [`Malformed`]: this version cannot say that.
    pub fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut rest = Rest(bytes);
        let [version, kind, flags] = rest.array()?;
        if version != VERSION || flags & !WANTS_ANSWER != 0 {
            return Err(Malformed);
        }
        let kind = Kind::from_number(kind).ok_or(Malformed)?;
        let stamp = rest.stamp()?;
        let target = address(rest.array()?);
        let seconds = u32::from_be_bytes(rest.array()?);
        let source_port = u16::from_be_bytes(rest.array()?);
        let services = rest.services()?;
        let (mut value, mut attempt, mut link) = (None, None, None);
        while let Some((kind, text)) = rest.more()? {
            match kind {
                CODE => put(&mut value, u32::from_be_bytes(exactly(text)?))?,
                ATTEMPT => put(&mut attempt, exactly::<8>(text)?)?,
                LINK => put(&mut link, Secret::from_bytes(exactly(text)?))?,
                DOOR => return Err(Malformed),
                other if other & MUST_BE_KNOWN != 0 => return Err(Malformed),
                _ => (),
            }
        }
        let code = match (value, attempt) {
            (Some(value), Some(attempt)) => Some(Code { value, attempt }),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => return Err(Malformed),
        };
        if link.is_some() != matches!(kind, Kind::Enrol | Kind::NewLink) {
            return Err(Malformed);
        }
        let wants_answer = flags & WANTS_ANSWER != 0;
        Ok(Self { kind, wants_answer, stamp, target, seconds, source_port, services, code, link })
    }
}

impl Kind {
    const fn number(self) -> u8 {
        match self {
            Self::Knock => 0,
            Self::Close => 1,
            Self::Enrol => 2,
            Self::NewLink => 3,
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        [Self::Knock, Self::Close, Self::Enrol, Self::NewLink]
            .into_iter()
            .find(|kind| kind.number() == number)
    }
}

/// What of a payload is not yet read.
pub(super) struct Rest<'a>(pub(super) &'a [u8]);

impl<'a> Rest<'a> {
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (first, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*first)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (first, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(first)
    }

    pub(super) fn stamp(&mut self) -> Result<Unix, Malformed> {
        let millis = u64::from_be_bytes(self.array()?);
        Ok(Unix::from_nanos(i128::from(millis) * NANOS_A_MILLI))
    }

    fn services(&mut self) -> Result<Vec<Box<str>>, Malformed> {
        let [count] = self.array()?;
        let name = |_| {
            let [length] = self.array()?;
            let name = std::str::from_utf8(self.take(usize::from(length))?).map_err(|_| Malformed)?;
            if name.is_empty() { Err(Malformed) } else { Ok(name.into()) }
        };
        (0..count).map(name).collect()
    }

    /// The next type and what it says; `None` at the end, where all is zero.
    pub(super) fn more(&mut self) -> Result<Option<(u16, &'a [u8])>, Malformed> {
        if self.0.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let kind = u16::from_be_bytes(self.array()?);
        let length = u16::from_be_bytes(self.array()?);
        // An end with something behind it.
        if kind == 0 {
            return Err(Malformed);
        }
        self.take(usize::from(length)).map(|text| Some((kind, text)))
    }
}

pub(super) fn write_more(bytes: &mut Vec<u8>, kind: u16, text: &[u8]) {
    bytes.extend_from_slice(&kind.to_be_bytes());
    bytes.extend_from_slice(&u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
    bytes.extend_from_slice(text);
}

/// Milliseconds since the epoch; what is before it becomes its start, which no server takes.
pub(super) fn millis(at: Unix) -> u64 {
    u64::try_from(at.as_nanos().div_euclid(NANOS_A_MILLI)).unwrap_or(0)
}

pub(super) fn address_bytes(address: Option<IpAddr>) -> [u8; 16] {
    address.map_or([0; 16], |address| match address {
        IpAddr::V4(four) => four.to_ipv6_mapped().octets(),
        IpAddr::V6(six) => six.octets(),
    })
}

/// In canonical form: a mapped address is one of IPv4. All zero is none.
pub(super) fn address(bytes: [u8; 16]) -> Option<IpAddr> {
    let address = Ipv6Addr::from(bytes);
    (!address.is_unspecified()).then(|| address.to_canonical())
}

pub(super) fn exactly<const N: usize>(text: &[u8]) -> Result<[u8; N], Malformed> {
    text.try_into().map_err(|_| Malformed)
}

/// What stands twice means nothing.
pub(super) fn put<T>(slot: &mut Option<T>, value: T) -> Result<(), Malformed> {
    if slot.replace(value).is_some() { Err(Malformed) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn full() -> Payload {
        Payload {
            kind: Kind::NewLink,
            wants_answer: true,
            stamp: Unix::from_nanos(1_795_676_400_123_000_000),
            target: Some([192, 0, 2, 7].into()),
            seconds: 30,
            source_port: 40_001,
            services: vec!["ssh".into(), "web".into()],
            code: Some(Code { value: 12_345, attempt: *b"attempt!" }),
            link: Some(Secret::from_bytes([9; 32])),
        }
    }

    fn filled(payload: &Payload) -> Vec<u8> {
        let mut bytes = payload.write().unwrap().to_vec();
        bytes.resize(200, 0);
        bytes
    }

    #[test]
    fn reads_what_it_writes() {
        let bytes = filled(&full());
        assert!(Payload::read(&bytes) == Ok(full()));
        assert_eq!(bytes[..11], [1, 3, 1, 0, 0, 1, 0xa2, 0x16, 0xa7, 0x69, 0xfb]);
        let least = Payload::knock(Unix::from_secs(1));
        assert!(Payload::read(&filled(&least)) == Ok(least));
    }

    #[test]
    fn what_stands_behind_the_end_is_refused() {
        let length = full().write().unwrap().len();
        let bytes = filled(&full());
        for place in length..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[place] = 1;
            // At the first places a type is begun, which is unknown, or too long.
            assert!(Payload::read(&bytes).is_err() || place < length + 2, "{place}");
        }
    }

    #[test]
    fn what_this_version_does_not_know_is_refused_or_passed_over() {
        let plain = Payload::knock(Unix::from_secs(1)).write().unwrap().to_vec();
        let with = |kind: u16, text: &[u8]| {
            let mut bytes = plain.clone();
            write_more(&mut bytes, kind, text);
            bytes.resize(152, 0);
            Payload::read(&bytes).map(|payload| payload == Payload::knock(Unix::from_secs(1)))
        };
        assert_eq!(with(5, b"later"), Ok(true));
        assert_eq!(with(0x8005, b"later"), Err(Malformed));
        assert_eq!(with(DOOR, &[0; 68]), Err(Malformed));
        assert_eq!(with(CODE, &[0; 4]), Err(Malformed), "a code without an attempt");
        assert_eq!(with(LINK, &[1; 32]), Err(Malformed), "a link in a plain knock");
        for (place, value) in [(0, 2), (1, 4), (2, 2)] {
            let mut bytes = plain.clone();
            bytes[place] = value;
            assert_eq!(Payload::read(&bytes).err(), Some(Malformed), "{place}");
        }
    }

    #[test]
    fn twice_the_same_means_nothing() {
        let mut bytes = full().write().unwrap().to_vec();
        write_more(&mut bytes, ATTEMPT, b"attempt!");
        assert_eq!(Payload::read(&bytes).err(), Some(Malformed));
    }

    #[test]
    fn too_much_is_said_so() {
        let mut payload = Payload::knock(Unix::from_secs(1));
        payload.services = vec!["a".repeat(117).into()];
        assert_eq!(payload.write().map(|bytes| bytes.len()), Ok(152));
        payload.services = vec!["a".repeat(118).into()];
        assert_eq!(payload.write().err(), Some(TooLong(153)));
        payload.services = vec!["a".into(); 300];
        assert_eq!(payload.write().err(), Some(TooLong(634)));
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..320)) {
            let _ = Payload::read(&bytes);
        }
    }
}
