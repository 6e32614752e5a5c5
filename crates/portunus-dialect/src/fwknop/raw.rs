//! Keys as they are written down: what a configuration holds, and hands to the process that opens packets.

use portunus_crypto::hash::HashType;
use portunus_model::KeyId;
use zeroize::Zeroizing;

use super::{Keys, KeysError, Mode};

/// A set of keys, checked, and not yet worked in. Wiped when dropped, and without `Debug`.
pub struct RawKeys {
    encryption: Zeroizing<Vec<u8>>,
    mode: Mode,
    hmac: Option<(HashType, Zeroizing<Vec<u8>>)>,
    id: KeyId,
}

impl RawKeys {
    /// Keys of these bytes (decode base64 before).
    ///
    /// # Errors
    /// [`KeysError`] says what is wrong with them.
    pub fn new(encryption: &[u8], mode: Mode, hmac: Option<(HashType, &[u8])>) -> Result<Self, KeysError> {
        let id = Keys::new(encryption, mode, hmac)?.id();
        let own = |bytes: &[u8]| Zeroizing::new(bytes.to_vec());
        Ok(Self { encryption: own(encryption), mode, hmac: hmac.map(|(hash, key)| (hash, own(key))), id })
    }

    /// The same, ready to open packets.
    ///
    /// # Errors
    /// [`KeysError::Library`] only: the rest was checked.
    pub fn worked_in(&self) -> Result<Keys, KeysError> {
        Keys::new(&self.encryption, self.mode, self.hmac())
    }

    /// The same passphrase as clients before 2.5 used it, ready to open packets; nothing where it could not have been.
    #[must_use]
    pub fn as_legacy(&self) -> Option<Keys> {
        let could = self.mode == Mode::Cbc && self.hmac.is_none();
        could.then(|| Keys::new(&self.encryption, Mode::Legacy, None).ok()).flatten()
    }

    /// What names these keys in rules.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// The encryption key.
    #[must_use]
    pub fn encryption(&self) -> &[u8] {
        &self.encryption
    }

    /// How packets are encrypted.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// The HMAC and its key.
    #[must_use]
    pub fn hmac(&self) -> Option<(HashType, &[u8])> {
        self.hmac.as_ref().map(|(hash, key)| (*hash, key.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_the_same_keys() {
        let hmac = Some((HashType::Sha256, b"hmac key".as_slice()));
        let raw = RawKeys::new(b"key", Mode::Ctr, hmac).unwrap();
        let keys = raw.worked_in().unwrap();
        assert_eq!((keys.id(), keys.mode()), (raw.id(), raw.mode()));
        assert_eq!((raw.encryption(), raw.hmac()), (b"key".as_slice(), hmac));
        assert!(RawKeys::new(b"", Mode::Cbc, None).is_err());
    }
}
