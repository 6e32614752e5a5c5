//! From what a client has to say to a datagram. All randomness is drawn from the argument.

use portunus_crypto::elligator::{Hidden, HiddenError};
use portunus_crypto::x25519::PrivateKey;
use portunus_crypto::{Entropy, EntropyFailed, LibraryRefused};

use super::answer::Pending;
use super::chain::{Chain, ChainError, Day};
use super::noise::{self, Ephemeral, Initiator, NoiseError};
use super::open::DoorDay;
use super::packet::{LONGEST_TEXT, SHORTEST_TEXT};
use super::payload::{Payload, TooLong};

/// What a client needs to knock at one door.
pub struct ClientKeys<'a> {
    /// The door's public key.
    pub server: [u8; 32],
    /// The client's own key, made for this server.
    pub client: &'a PrivateKey,
    /// The door's chain.
    pub door: &'a Chain,
    /// The chain of this client's link; for an invitation its secret.
    pub link: &'a Chain,
}

/// Why no datagram was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The clock is where no key is.
    #[error("the clock is before 1970, or millions of years ahead: set it")]
    Clock,
    /// The profile has no keys for what the clock says is today.
    #[error(
        "the profile has no key for what this clock calls today ({0}): set the clock, or ask for a new profile where it is right"
    )]
    Chain(#[from] ChainError),
    /// The server's public key is of low order: not a key that a server can have.
    #[error("the server's public key is of low order: no server can have it")]
    ServerKey,
    /// More than a knock carries.
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyFailed),
    /// No memory.
    #[error(transparent)]
    Library(#[from] LibraryRefused),
}

impl From<HiddenError> for SealError {
    fn from(error: HiddenError) -> Self {
        match error {
            HiddenError::Entropy(failed) => Self::Entropy(failed),
            HiddenError::Library(refused) => Self::Library(refused),
        }
    }
}

/// Makes the datagram that says `payload`, with the keys of its timestamp's day; and what its answer is opened with.
///
/// # Errors
/// [`SealError`] says why not.
pub fn seal(
    keys: &ClientKeys<'_>,
    payload: &Payload,
    entropy: &mut dyn Entropy,
) -> Result<(Vec<u8>, Pending), SealError> {
    let day = Day::of(payload.stamp).ok_or(SealError::Clock)?;
    let door = DoorDay::new(day, &keys.door.at(day)?, &keys.server);
    let link = keys.link.at(day)?;
    let mut text = payload.write()?;
    text.resize(drawn_length(SHORTEST_TEXT, LONGEST_TEXT, entropy)?, 0);

    let hidden = Hidden::generate(entropy)?;
    let initiator = Initiator { client: keys.client, server: &keys.server, psk1: &link };
    let ephemeral = Ephemeral { key: hidden.key(), wire: hidden.representative() };
    let written = noise::write_first(door.start(), &initiator, &ephemeral, &text);
    let (message, state) = written.map_err(|error| match error {
        NoiseError::LowOrder | NoiseError::Forged => SealError::ServerKey,
        NoiseError::Library(refused) => SealError::Library(refused),
    })?;
    let datagram = [&door.tag(&message).to_le_bytes()[..], &message].concat();
    Ok((datagram, Pending::new(hidden, state)))
}

/// A length from `shortest` to `longest`, each as likely: no more than 256 of them.
pub(super) fn drawn_length(
    shortest: usize,
    longest: usize,
    entropy: &mut dyn Entropy,
) -> Result<usize, EntropyFailed> {
    let span = longest - shortest;
    let mask = (span + 1).next_power_of_two() - 1;
    // One draw fails in less than half of all cases, so all of them never.
    for _ in 0..128 {
        let mut byte = [0];
        entropy.fill(&mut byte)?;
        let drawn = usize::from(byte[0]) & mask;
        if drawn <= span {
            return Ok(shortest + drawn);
        }
    }
    Err(EntropyFailed)
}
