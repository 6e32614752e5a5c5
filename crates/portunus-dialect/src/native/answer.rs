//! The second message, from the server to a client that may have one: as much noise as the knock, and never longer.
//!
//! ```text
//! status 1 · flags 1 · seconds 4 · the address that the server saw 16 · the server's time 8 (ms)
//! · types and lengths (2 + 2) with what they say · zeros
//! ```

use std::fmt;
use std::net::IpAddr;

use portunus_crypto::elligator::{self, Hidden, HiddenError};
use portunus_crypto::x25519::PrivateKey;
use portunus_crypto::{Entropy, EntropyFailed, LibraryRefused, Secret, aead};
use portunus_model::Unix;
use zeroize::Zeroizing;

use super::chain::Day;
use super::noise::{self, Ephemeral, NoiseError, Symmetric};
use super::packet::SHORTEST;
use super::payload::{DOOR, Malformed, Rest, address, address_bytes, exactly, millis, put, write_more};
use super::seal::drawn_length;

/// The shortest answer; the longest is as long as the shortest knock.
pub const SHORTEST_ANSWER: usize = 160;

const HEAD: usize = 32 + aead::TAG;
const DOOR_LENGTH: usize = 32 + 32 + 4;

/// What became of a knock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// The kernel has opened the door.
    Granted,
    /// What was open is closed.
    Closed,
    /// The client is known from now on.
    Enrolled,
    /// The clocks are too far apart.
    Stale,
    /// There is no such service, or not for this client.
    NotAllowed,
    /// The client may not come any more.
    Expired,
    /// The second factor is missing or wrong.
    SecondFactor,
    /// The firewall did not do it.
    FirewallFailed,
    /// The server is too busy, or cannot write down what it did.
    Busy,
    /// The administrator has to confirm the client first.
    Unconfirmed,
}

/// A door to knock at from now on.
#[derive(PartialEq, Eq)]
pub struct NewDoor {
    /// Its public key.
    pub server: [u8; 32],
    /// Its chain's first day,
    pub day: Day,
    /// and that day's value.
    pub value: Secret<32>,
}

/// What the server says.
#[derive(PartialEq, Eq)]
pub struct Answer {
    /// What became of the knock.
    pub status: Status,
    /// For how long the door is open.
    pub seconds: u32,
    /// Where the server saw the knock come from.
    pub seen: Option<IpAddr>,
    /// The server's time, to the millisecond: to be shown, never to set a clock by.
    pub time: Unix,
    /// Where to knock from now on.
    pub door: Option<NewDoor>,
}

impl fmt::Debug for Answer {
    /// Of a new door only that there is one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut answer = f.debug_struct("Answer");
        answer.field("status", &self.status).field("seconds", &self.seconds).field("seen", &self.seen);
        answer.field("time", &self.time).field("door", &self.door.is_some()).finish()
    }
}

/// Why there is no answer, or none that is to be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Not as long as an answer.
    #[error("it is not as long as an answer")]
    Length,
    /// Not from whom was knocked at, or not to this knock.
    #[error("it is no answer to this knock")]
    Forged,
    /// Nothing that this version can say.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyFailed),
    /// No memory.
    #[error(transparent)]
    Library(#[from] LibraryRefused),
}

impl From<NoiseError> for AnswerError {
    fn from(error: NoiseError) -> Self {
        match error {
            NoiseError::LowOrder | NoiseError::Forged => Self::Forged,
            NoiseError::Library(refused) => Self::Library(refused),
        }
    }
}

impl From<HiddenError> for AnswerError {
    fn from(error: HiddenError) -> Self {
        match error {
            HiddenError::Entropy(failed) => Self::Entropy(failed),
            HiddenError::Library(refused) => Self::Library(refused),
        }
    }
}

/// What a client needs to open the answer to one knock.
pub struct Pending {
    ephemeral: Hidden,
    state: Symmetric,
}

impl Pending {
    pub(super) const fn new(ephemeral: Hidden, state: Symmetric) -> Self {
        Self { ephemeral, state }
    }

    /// What the server says, if `bytes` are its answer to this knock. What somebody else sends changes nothing, so the
    /// true one may still come.
    ///
    /// # Errors
    /// [`AnswerError`] says why it is not.
    pub fn open(&self, client: &PrivateKey, bytes: &[u8]) -> Result<Answer, AnswerError> {
        if !(SHORTEST_ANSWER..=SHORTEST).contains(&bytes.len()) {
            return Err(AnswerError::Length);
        }
        let (wire, sealed) = bytes.split_first_chunk::<32>().ok_or(AnswerError::Length)?;
        let point = elligator::decode(wire);
        let keys = (self.ephemeral.key(), client);
        let plain = noise::read_second(self.state.duplicate(), keys, (wire, &point), sealed)?;
        Ok(Answer::read(&plain)?)
    }
}

pub(super) fn seal(
    state: Symmetric,
    (client, point): (&[u8; 32], &[u8; 32]),
    answer: &Answer,
    entropy: &mut dyn Entropy,
) -> Result<Vec<u8>, AnswerError> {
    let mut text = answer.write();
    text.resize(drawn_length(SHORTEST_ANSWER - HEAD, SHORTEST - HEAD, entropy)?, 0);
    let hidden = Hidden::generate(entropy)?;
    let ephemeral = Ephemeral { key: hidden.key(), wire: hidden.representative() };
    Ok(noise::write_second(state, (client, point), &ephemeral, &text)?)
}

impl Answer {
    /// Its bytes, not yet filled up.
    #[must_use]
    pub fn write(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(SHORTEST));
        bytes.extend_from_slice(&[self.status.number(), 0]);
        bytes.extend_from_slice(&self.seconds.to_be_bytes());
        bytes.extend_from_slice(&address_bytes(self.seen));
        bytes.extend_from_slice(&millis(self.time).to_be_bytes());
        if let Some(door) = &self.door {
            let mut text = Zeroizing::new(Vec::with_capacity(DOOR_LENGTH));
            text.extend_from_slice(&door.server);
            text.extend_from_slice(&door.day.number().to_be_bytes());
            text.extend_from_slice(door.value.expose());
            write_more(&mut bytes, DOOR, &text);
        }
        bytes
    }

    /// Reads all of `bytes`, to the last zero.
    ///
    /// # Errors
    /// [`Malformed`]: this version cannot say that.
    pub fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut rest = Rest(bytes);
        let [status, _flags] = rest.array()?;
        let status = Status::from_number(status).ok_or(Malformed)?;
        let seconds = u32::from_be_bytes(rest.array()?);
        let seen = address(rest.array()?);
        let time = rest.stamp()?;
        let mut door = None;
        while let Some((kind, text)) = rest.more()? {
            // A newer server may say more than we know: of an answer nothing has to be understood.
            if kind == DOOR {
                put(&mut door, NewDoor::read(text)?)?;
            }
        }
        Ok(Self { status, seconds, seen, time, door })
    }
}

impl NewDoor {
    fn read(text: &[u8]) -> Result<Self, Malformed> {
        let mut rest = Rest(text);
        let server = rest.array()?;
        let day = Day::from_number(u32::from_be_bytes(rest.array()?));
        Ok(Self { server, day, value: Secret::from_bytes(exactly(rest.0)?) })
    }
}

impl Status {
    const ALL: [Self; 10] = [
        Self::Granted,
        Self::Closed,
        Self::Enrolled,
        Self::Stale,
        Self::NotAllowed,
        Self::Expired,
        Self::SecondFactor,
        Self::FirewallFailed,
        Self::Busy,
        Self::Unconfirmed,
    ];

    const fn number(self) -> u8 {
        match self {
            Self::Granted => 0,
            Self::Closed => 1,
            Self::Enrolled => 2,
            Self::Stale => 3,
            Self::NotAllowed => 4,
            Self::Expired => 5,
            Self::SecondFactor => 6,
            Self::FirewallFailed => 7,
            Self::Busy => 8,
            Self::Unconfirmed => 9,
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.number() == number)
    }
}
