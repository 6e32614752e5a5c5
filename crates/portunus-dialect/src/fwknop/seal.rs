//! From a wish to a packet. All randomness is drawn from the argument, so a packet can be made twice.

use portunus_crypto::aes256::BLOCK;
use portunus_crypto::evp::SALT;
use portunus_crypto::hash::HashType;
use portunus_crypto::{Entropy, EntropyFailed, text};
use portunus_model::Unix;

use super::field::FieldError;
use super::keys::Keys;
use super::packet::PREFIX;
use super::plain::{Asked, TOO_LONG};
use super::wish::Wish;

/// The last second that the field of the timestamp can hold.
const LAST_STAMP: u64 = 999_999_999_999;
/// How many random values there are: sixteen digits.
const RANDOMS: u64 = 10_000_000_000_000_000;

/// A packet, and what it was made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// What it says.
    pub asked: Asked,
    /// The text before encryption, without its digest.
    pub encoded: String,
    /// The digest of that.
    pub digest: String,
    /// The encrypted text, with the prefix that is left out on the wire.
    pub encrypted: String,
    /// The HMAC of that.
    pub hmac: Option<String>,
    /// What is sent.
    pub wire: String,
}

/// From so many characters on the original takes a packet for one of GnuPG's.
const TAKEN_FOR_GPG: usize = 400;

impl Sealed {
    /// Whether only ours opens it: it names an IPv6 address, or has 400 characters and more, which the original takes
    /// for a GnuPG packet.
    #[must_use]
    pub fn only_for_ours(&self) -> bool {
        // With an HMAC the original has put the prefix back when it looks, without one it has not.
        let counted = self.encrypted.len() - if self.hmac.is_some() { 0 } else { PREFIX.len() };
        counted >= TAKEN_FOR_GPG || self.asked.wish.message.address().is_some_and(|address| address.is_ipv6())
    }
}

/// Why no packet was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The wish has something that no packet can say.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// The clock is outside what a packet can say.
    #[error("the clock is before 1970, or after the year 33658, which a knock cannot name")]
    Clock,
    /// The packet would be too long.
    #[error("the packet would have {0} characters, and {max} are the most: ask for less", max = TOO_LONG - 1)]
    TooLong(usize),
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyFailed),
}

/// Makes the packet that says `wish` at the time `stamp`.
///
/// Drawn from `entropy`, in this order: 8 bytes for the random value (again, once in some 2000 packets), 8 of salt.
///
/// # Errors
/// [`SealError`] says why not.
pub fn seal(keys: &Keys, wish: Wish, stamp: Unix, entropy: &mut dyn Entropy) -> Result<Sealed, SealError> {
    let Encoded { asked, encoded, .. } = encode(wish, stamp, entropy)?;
    let mut salt = [0; SALT];
    entropy.fill(&mut salt)?;
    let Envelope { digest, encrypted, hmac, wire } = envelope(keys, &encoded, asked.wish.digest, salt);
    let longest = encrypted.len().max(wire.len());
    if longest >= TOO_LONG {
        return Err(SealError::TooLong(longest));
    }
    Ok(Sealed { asked, encoded, digest, encrypted, hmac, wire })
}

/// A text, ready to be encrypted: by [`seal`], or by who runs gpg.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// What it says.
    pub asked: Asked,
    /// The text without its digest.
    pub encoded: String,
    /// The digest of that.
    pub digest: String,
}

impl Encoded {
    /// The whole text, for gpg.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}:{}", self.encoded, self.digest)
    }
}

/// Makes the text that says `wish` at the time `stamp`. Drawn from `entropy`: 8 bytes, or more, as with [`seal`].
///
/// # Errors
/// [`SealError`] says why not.
pub fn encode(wish: Wish, stamp: Unix, entropy: &mut dyn Entropy) -> Result<Encoded, SealError> {
    wish.check()?;
    let stamp = u64::try_from(stamp.as_secs()).ok().filter(|&stamp| stamp <= LAST_STAMP);
    let stamp = stamp.ok_or(SealError::Clock)?;
    let random = format!("{:016}", random(entropy)?);
    let asked = Asked { random, stamp, wish };
    let encoded = asked.encode();
    let digest = asked.wish.digest.digest(encoded.as_bytes()).to_bare();
    if encoded.len() + 1 + digest.len() >= TOO_LONG {
        return Err(SealError::TooLong(encoded.len() + 1 + digest.len()));
    }
    Ok(Encoded { asked, encoded, digest })
}

/// What is around a text.
pub struct Envelope {
    /// The digest of the text.
    pub digest: String,
    /// Text and digest, encrypted, with the prefix that is left out on the wire.
    pub encrypted: String,
    /// The HMAC of that.
    pub hmac: Option<String>,
    /// What is sent.
    pub wire: String,
}

/// Puts any text into a packet, whether it says something or not. [`seal`] is for clients; this is also for tests of
/// what receivers refuse.
#[must_use]
pub fn envelope(keys: &Keys, text: &str, digest: HashType, salt: [u8; SALT]) -> Envelope {
    let digest = digest.digest(text.as_bytes()).to_bare();
    let encrypted = keys.encrypt(&format!("{text}:{digest}"), &salt);
    let body = encrypted.get(PREFIX.len()..).unwrap_or_default();
    let hmac = keys.hmac_text(body.as_bytes());
    let wire = format!("{body}{}", hmac.as_deref().unwrap_or_default());
    Envelope { digest, encrypted, hmac, wire }
}

impl Keys {
    /// Base64 of `Salted__`, salt, and the padded text in cipher.
    fn encrypt(&self, text: &str, salt: &[u8; SALT]) -> String {
        let padding = BLOCK - text.len() % BLOCK;
        let mut blocks = text.as_bytes().to_vec();
        blocks.resize(text.len() + padding, u8::try_from(padding).unwrap_or_default());
        self.cipher(salt).encrypt(self.mode().chaining(), &mut blocks);
        text::encode_bare(&[b"Salted__".as_slice(), salt, &blocks].concat())
    }
}

/// Every value as likely as any other.
fn random(entropy: &mut dyn Entropy) -> Result<u64, EntropyFailed> {
    loop {
        let mut bytes = [0; 8];
        entropy.fill(&mut bytes)?;
        let drawn = u64::from_be_bytes(bytes);
        if drawn < u64::MAX - u64::MAX % RANDOMS {
            return Ok(drawn % RANDOMS);
        }
    }
}
