//! The keys that a stanza has: what makes packets and what opens them.

use portunus_crypto::aes256::{Chaining, Cipher};
use portunus_crypto::evp::{Passphrase, SALT};
use portunus_crypto::hash::HashType;
use portunus_crypto::hmac::MacKey;
use portunus_crypto::{LibraryRefused, digest};
use portunus_model::KeyId;

use super::packet::PREFIX;

/// The longest encryption key, in bytes.
pub const LONGEST_KEY: usize = 32;
/// The longest HMAC key, in bytes.
pub const LONGEST_HMAC_KEY: usize = 128;

/// What is used of a legacy key, in bytes: a longer one is cut, a shorter one filled up.
pub const LEGACY_KEY: usize = 16;
/// The longest legacy key, in bytes, before it is cut.
pub const LONGEST_LEGACY_KEY: usize = 128;

/// How a packet is encrypted. It is not on the wire: both ends must be configured alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Mode {
    /// Cipher block chaining; what everybody has who never chose.
    #[default]
    Cbc,
    /// Each block for itself.
    Ecb,
    /// Cipher feedback.
    Cfb,
    /// Output feedback.
    Ofb,
    /// Counter.
    Ctr,
    /// CBC with a key of exactly 16 bytes: cut, or filled up with the digit 0, as fwknop did before 2.5.
    Legacy,
}

impl Mode {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Cbc, Self::Ecb, Self::Cfb, Self::Ofb, Self::Ctr, Self::Legacy];

    /// The word in files and on command lines.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cbc => "cbc",
            Self::Ecb => "ecb",
            Self::Cfb => "cfb",
            Self::Ofb => "ofb",
            Self::Ctr => "ctr",
            Self::Legacy => "legacy",
        }
    }

    /// The one that this word names, in capitals or not.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.as_str().eq_ignore_ascii_case(word))
    }

    pub(super) const fn chaining(self) -> Chaining {
        match self {
            Self::Cbc | Self::Legacy => Chaining::Cbc,
            Self::Ecb => Chaining::Ecb,
            Self::Cfb => Chaining::Cfb,
            Self::Ofb => Chaining::Ofb,
            Self::Ctr => Chaining::Ctr,
        }
    }
}

/// An encryption key and its mode, and an HMAC key where there is one. Wiped when dropped, and without `Debug`.
pub struct Keys {
    passphrase: Passphrase,
    mode: Mode,
    hmac: Option<Hmac>,
    id: KeyId,
}

/// The HMAC's key, worked in, with the prefix that every message begins with.
struct Hmac {
    hash: HashType,
    key: MacKey,
}

/// Why these are no keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// The encryption key is empty.
    #[error("the encryption key is empty: use 1 to {LONGEST_KEY} bytes")]
    Empty,
    /// The encryption key is too long.
    #[error("the encryption key has {0} bytes: use 1 to {LONGEST_KEY}")]
    TooLong(usize),
    /// The encryption key is too long even to be cut.
    #[error("the encryption key has {0} bytes: use 1 to {LONGEST_LEGACY_KEY} in legacy mode")]
    LegacyTooLong(usize),
    /// The HMAC key is empty.
    #[error("the HMAC key is empty: use 1 to {LONGEST_HMAC_KEY} bytes")]
    HmacEmpty,
    /// The HMAC key is too long.
    #[error("the HMAC key has {0} bytes: use 1 to {LONGEST_HMAC_KEY}")]
    HmacTooLong(usize),
    /// Both keys are the same.
    #[error("the encryption key and the HMAC key are the same: make two with --key-gen")]
    Equal,
    /// Legacy mode has no HMAC.
    #[error("legacy mode is incompatible with HMAC: leave one of them out")]
    LegacyWithHmac,
    /// No memory.
    #[error(transparent)]
    Library(#[from] LibraryRefused),
}

impl Keys {
    /// Keys of these raw bytes (decode base64 before).
    ///
    /// # Errors
    /// [`KeysError`] says what is wrong with them.
    pub fn new(encryption: &[u8], mode: Mode, hmac: Option<(HashType, &[u8])>) -> Result<Self, KeysError> {
        let passphrase = passphrase(encryption, mode)?;
        let id = id(encryption, mode, hmac);
        let hmac = hmac.map(|(hash, key)| Hmac::new(hash, key, encryption, mode)).transpose()?;
        Ok(Self { passphrase, mode, hmac, id })
    }

    /// What names these keys in rules.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// How they encrypt.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// Which HMAC they have; a packet without it is then nobody's.
    #[must_use]
    pub fn hmac_type(&self) -> Option<HashType> {
        self.hmac.as_ref().map(|hmac| hmac.hash)
    }

    pub(super) fn cipher(&self, salt: &[u8; SALT]) -> Cipher {
        self.passphrase.cipher(salt)
    }

    /// The body of the packet `text` and whether the HMAC behind it fits; the whole where there is no HMAC.
    pub(super) fn authentic<'a>(&self, text: &'a [u8]) -> Option<&'a [u8]> {
        let Some(hmac) = &self.hmac else { return Some(text) };
        let (body, tag) = text.split_at_checked(text.len().checked_sub(hmac.hash.bare_length())?)?;
        hmac.key.tag(body).is_bare(tag).then_some(body)
    }

    /// The text of the HMAC of a packet with this body.
    pub(super) fn hmac_text(&self, body: &[u8]) -> Option<String> {
        self.hmac.as_ref().map(|hmac| hmac.key.tag(body).to_bare())
    }
}

fn passphrase(encryption: &[u8], mode: Mode) -> Result<Passphrase, KeysError> {
    match (mode, encryption.len()) {
        (_, 0) => Err(KeysError::Empty),
        (Mode::Legacy, ..=LONGEST_LEGACY_KEY) => Ok(Passphrase::of_length(encryption, LEGACY_KEY, b'0')),
        (Mode::Legacy, length) => Err(KeysError::LegacyTooLong(length)),
        (Mode::Cbc | Mode::Ecb | Mode::Cfb | Mode::Ofb | Mode::Ctr, ..=LONGEST_KEY) => {
            Ok(Passphrase::new(encryption))
        }
        (Mode::Cbc | Mode::Ecb | Mode::Cfb | Mode::Ofb | Mode::Ctr, length) => {
            Err(KeysError::TooLong(length))
        }
    }
}

impl Hmac {
    fn new(hash: HashType, key: &[u8], encryption: &[u8], mode: Mode) -> Result<Self, KeysError> {
        if mode == Mode::Legacy {
            return Err(KeysError::LegacyWithHmac);
        }
        match key.len() {
            0 => return Err(KeysError::HmacEmpty),
            1..=LONGEST_HMAC_KEY => {}
            length => return Err(KeysError::HmacTooLong(length)),
        }
        if key == encryption {
            return Err(KeysError::Equal);
        }
        Ok(Self { hash, key: MacKey::new(hash, key, PREFIX.as_bytes())? })
    }
}

/// What names the keys: nobody can work back from it to a good key.
fn id(encryption: &[u8], mode: Mode, hmac: Option<(HashType, &[u8])>) -> KeyId {
    let (hash, key) = hmac.map_or(("none", [].as_slice()), |(hash, key)| (hash.as_str(), key));
    // Words and keys have many lengths, so the lengths stand before them: no two sets of keys have one text.
    let parts = [mode.as_str().as_bytes(), hash.as_bytes(), encryption, key];
    let lengths = parts.map(|part| part.len().to_be_bytes()).concat();
    let [mode, hash, encryption, key] = parts;
    KeyId(digest::sha256(&[b"portunus fwknop key id", &lengths, mode, hash, encryption, key]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(encryption: &[u8], mode: Mode, hmac: Option<&[u8]>) -> Option<KeysError> {
        Keys::new(encryption, mode, hmac.map(|key| (HashType::Sha256, key))).err()
    }

    #[test]
    fn keys_have_limits() {
        for mode in Mode::ALL {
            assert_eq!(refused(&[], mode, None), Some(KeysError::Empty));
            assert_eq!(refused(&[1], mode, None), None);
            assert_eq!(refused(&[1; 32], mode, None), None);
            let longer = (mode != Mode::Legacy).then_some(KeysError::TooLong(33));
            assert_eq!(refused(&[1; 33], mode, None), longer);
        }
        assert_eq!(refused(&[1; 128], Mode::Legacy, None), None);
        assert_eq!(refused(&[1; 129], Mode::Legacy, None), Some(KeysError::LegacyTooLong(129)));
        assert_eq!(refused(&[1], Mode::Cbc, Some(&[])), Some(KeysError::HmacEmpty));
        assert_eq!(refused(&[1], Mode::Cbc, Some(&[2; 128])), None);
        assert_eq!(refused(&[1], Mode::Cbc, Some(&[2; 129])), Some(KeysError::HmacTooLong(129)));
        assert_eq!(refused(&[1; 20], Mode::Cbc, Some(&[1; 20])), Some(KeysError::Equal));
        assert_eq!(refused(&[1; 20], Mode::Legacy, Some(&[2; 20])), Some(KeysError::LegacyWithHmac));
    }

    #[test]
    fn an_id_is_of_every_part() {
        let id = |encryption: &[u8], mode, hmac| Keys::new(encryption, mode, hmac).unwrap().id();
        let ids = [
            id(b"ab", Mode::Cbc, None),
            id(b"ab", Mode::Legacy, None),
            id(b"abc", Mode::Cbc, None),
            id(b"ab", Mode::Cbc, Some((HashType::Sha256, b"c"))),
            id(b"ab", Mode::Cbc, Some((HashType::Sha3_256, b"c"))),
            id(b"a", Mode::Cbc, Some((HashType::Sha256, b"bc"))),
        ];
        for (n, one) in ids.iter().enumerate() {
            assert!(ids.iter().skip(n + 1).all(|other| one != other), "{n}");
        }
        assert_eq!(format!("{:?}", ids[0]), "KeyId(..)");
    }
}
