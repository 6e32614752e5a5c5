//! What the keeper says to the gpg process.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

/// What the gpg process runs by.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OracleSnapshot {
    pub(crate) rings: Vec<Ring>,
}

/// A keyring.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ring {
    pub(crate) id: [u8; 32],
    pub(crate) home: PathBuf,
    pub(crate) program: PathBuf,
    pub(crate) passphrase: Option<Vec<u8>>,
    /// Who must sign, for each set of keys that has this keyring.
    pub(crate) signers: Vec<Named>,
}

/// Keys by the ends of their fingerprints, and by their fingerprints.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Named {
    pub(crate) ids: Vec<String>,
    pub(crate) fingerprints: Vec<String>,
}

impl Drop for Ring {
    fn drop(&mut self) {
        self.passphrase.zeroize();
    }
}

/// Keeper to the gpg process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToOracle {
    /// With: the snapshot, and the channel to the front.
    Setup,
}
