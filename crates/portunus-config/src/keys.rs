//! Keys as text, and their fingerprint.

use portunus_crypto::digest;

/// Why a text is not the key that it should be. Never repeats the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {mend}")]
pub struct KeyTextError {
    /// What is wrong.
    pub what: String,
    /// The mend.
    pub mend: String,
}

/// The first 8 bytes of the SHA-256 of a public key, in hex: what `add` and `list` show.
#[must_use]
pub fn fingerprint(public: &[u8; 32]) -> String {
    digest::sha256(&[public]).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
