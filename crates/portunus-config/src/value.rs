//! A single value that is wrong: what and the mend. Here is the type that every scalar's reader answers with.

/// Why a text is not the value that it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {mend}")]
pub struct ValueError {
    /// What is wrong: lower-case start, no full stop. Never repeats a text that may be a private key.
    pub what: String,
    /// What to do about it.
    pub mend: String,
}

impl ValueError {
    pub(crate) fn new(what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { what: what.into(), mend: mend.into() }
    }
}
