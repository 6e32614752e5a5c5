//! Why a store cannot be opened or written.

use std::io;

/// Why a store or journal cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It holds something else.
    #[error("it is not a {wanted}: is it the right file? move it away and start again")]
    WrongFile {
        /// What was expected.
        wanted: &'static str,
    },
    /// Something in it does not fit its checksum. Only of the journal: the replay store mends what is damaged.
    #[error("the {wanted} is damaged")]
    Damaged {
        /// What was expected.
        wanted: &'static str,
    },
    /// The system refused.
    #[error("{what} failed: {}", io::Error::from(*kind))]
    Io {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        kind: io::ErrorKind,
    },
}

impl StoreError {
    pub(crate) fn io(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |error| Self::Io { what, kind: error.kind() }
    }
}
