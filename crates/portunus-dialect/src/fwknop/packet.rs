//! The shape of a packet: its length and its letters. Whose it is, and whether it is canonical, needs keys.

use portunus_crypto::digest;
use portunus_model::ClaimKey;

use super::gpg::{Form, LONGEST_GPG};

/// The shortest packet, in characters.
pub const SHORTEST: usize = 36;
/// The longest symmetric packet, in characters.
pub const LONGEST: usize = 1500;

/// What the sender leaves out of a symmetric packet: base64 of `Salted__`, as far as the salt has no part in a letter.
pub(super) const PREFIX: &str = "U2FsdGVkX1";

/// Whether these bytes begin with what senders have left out but in the oldest releases of 1.9. Such text is no packet.
#[must_use]
pub fn has_prefix(bytes: &[u8]) -> bool {
    bytes.starts_with(PREFIX.as_bytes())
}

/// What the sender leaves out of a GnuPG packet.
const GPG_PREFIX: &str = "hQ";
/// Up to here a packet may begin with [`GPG_PREFIX`].
const GPG_LONGER: usize = 400;

/// Text of the right length and letters; its content is anybody's.
///
/// Nothing on the wire says where the HMAC begins, so only [`super::Keys::open`] can tell whether its two parts are
/// canonical base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    text: &'a [u8],
}

impl<'a> Packet<'a> {
    /// The packet that `bytes` are, when they can be one: letters, digits, `+` and `/` only, and no prefix that the
    /// sender should have left out: with it a packet that was used before would look like a new one.
    #[must_use]
    pub fn new_checked(bytes: &'a [u8]) -> Option<Self> {
        let long = (LONGEST + 1..=LONGEST_GPG).contains(&bytes.len()) && Form::of(bytes).is_some();
        let fits = ((SHORTEST..=LONGEST).contains(&bytes.len()) || long)
            && !bytes.starts_with(PREFIX.as_bytes())
            && !(bytes.len() > GPG_LONGER && bytes.starts_with(GPG_PREFIX.as_bytes()))
            && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'));
        fits.then_some(Self { text: bytes })
    }

    /// Whether it begins as an OpenPGP message for one public key; no symmetric packet does.
    #[must_use]
    pub fn may_be_gpg(&self) -> bool {
        Form::of(self.text).is_some()
    }

    /// The text, as it came.
    #[must_use]
    pub const fn text(&self) -> &'a [u8] {
        self.text
    }

    /// The one right to use this text: the first half of its SHA-256, so that the lines of a `digest.cache` (base64 of
    /// the whole) name claims too.
    #[must_use]
    pub fn claim_key(&self) -> ClaimKey {
        Self::claim_key_of(&self.sha256())
    }

    /// The SHA-256 of the text.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        digest::sha256(&[self.text])
    }

    /// The claim of a packet whose text has this SHA-256.
    #[must_use]
    pub fn claim_key_of(sha256: &[u8; 32]) -> ClaimKey {
        let (half, _) = sha256.split_first_chunk().unwrap_or((&[0; 16], &[]));
        ClaimKey(*half)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(text: &str) -> bool {
        Packet::new_checked(text.as_bytes()).is_some()
    }

    #[test]
    fn only_length_and_letters_are_looked_at() {
        assert!(!fits(&"a".repeat(35)));
        assert!(fits(&"a".repeat(36)));
        assert!(fits(&"a".repeat(1500)));
        assert!(!fits(&"a".repeat(1501)));
        for letter in ['=', ':', '-', '_', ' ', '\n', '\0', 'é'] {
            assert!(!fits(&format!("{}{letter}", "a".repeat(60))), "{letter:?}");
        }
        assert!(fits(&"+/09azAZ".repeat(20)));
    }

    #[test]
    fn only_a_message_of_gnupgs_may_be_longer() {
        let message = |length: usize| format!("EMAzxhJB43BDKs{}", "A".repeat(length - 14));
        assert!(fits(&message(1501)) && fits(&message(2880)) && !fits(&message(2881)));
        for symmetric in ['8', '9', '+', '/'] {
            let text = format!("{symmetric}MAzxhJB43BDKs{}", "A".repeat(200));
            let packet = Packet::new_checked(text.as_bytes()).unwrap();
            assert!(!packet.may_be_gpg(), "its session key would have 3840 bytes and more");
        }
    }

    #[test]
    fn a_prefix_that_was_put_back_is_refused() {
        assert!(!fits(&format!("U2FsdGVkX1{}", "8".repeat(160))));
        assert!(fits(&format!("hQ{}", "a".repeat(398))));
        assert!(!fits(&format!("hQ{}", "a".repeat(399))));
    }

    /// Existing caches are taken over, so this may never become another.
    #[test]
    fn a_claim_is_half_of_the_texts_digest() {
        let text = b"abc".repeat(20);
        let claim = Packet::new_checked(&text).unwrap().claim_key();
        let whole = portunus_crypto::hash::HashType::Sha256.digest(&text);
        assert_eq!(claim.0[..], whole.as_bytes()[..16]);
    }
}
