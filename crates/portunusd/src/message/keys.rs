//! The private keys that the front judges by, on their way to it.

use portunus_model::{ClientName, DoorRole, Unix};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

/// The private keys on their way from the keeper to the front.
#[derive(Serialize, Deserialize)]
pub(crate) struct Keys {
    pub(crate) openme: Option<[u8; 32]>,
    pub(crate) fwknop: Vec<FwknopKeys>,
    pub(crate) gpg: Vec<GpgKeys>,
    /// The native doors, the current one first.
    pub(crate) native: Vec<(DoorRole, [u8; 32])>,
    /// Secrets of one-time codes, by their clients' public keys.
    pub(crate) codes: Vec<([u8; 32], [u8; 20])>,
    pub(crate) invited: Vec<Invited>,
}

/// Somebody who was invited.
#[derive(Serialize, Deserialize)]
pub(crate) struct Invited {
    pub(crate) name: ClientName,
    pub(crate) secret: Zeroizing<[u8; 32]>,
    pub(crate) until: Unix,
    /// The key that came first.
    pub(crate) taken: Option<[u8; 32]>,
}

/// What judges GnuPG's packets: the front never has the passphrase.
#[derive(Serialize, Deserialize)]
pub(crate) struct GpgKeys {
    pub(crate) id: [u8; 32],
    pub(crate) ring: [u8; 32],
    pub(crate) signed: bool,
    pub(crate) any_validity: bool,
    pub(crate) ids: Vec<String>,
    pub(crate) fingerprints: Vec<String>,
    pub(crate) decrypts: Option<String>,
    pub(crate) hmac: Option<(String, Vec<u8>)>,
}

impl Drop for GpgKeys {
    fn drop(&mut self) {
        self.hmac.iter_mut().for_each(|(_, key)| key.zeroize());
    }
}

/// A set of fwknop's keys: the encryption key and its mode's word, the HMAC's word and its key.
#[derive(Serialize, Deserialize)]
pub(crate) struct FwknopKeys {
    pub(crate) encryption: Vec<u8>,
    pub(crate) mode: String,
    pub(crate) hmac: Option<(String, Vec<u8>)>,
}

impl Drop for FwknopKeys {
    fn drop(&mut self) {
        self.encryption.zeroize();
        self.hmac.iter_mut().for_each(|(_, key)| key.zeroize());
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.openme.zeroize();
        self.native.iter_mut().for_each(|(_, key)| key.zeroize());
        self.codes.iter_mut().for_each(|(_, secret)| secret.zeroize());
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(not shown)")
    }
}
