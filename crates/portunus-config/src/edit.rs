//! What an edit gives back: the new text, or why there is none.

use std::fmt;
use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::Diagnostic;

/// One file to be written or deleted, whole and at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileChange {
    /// Put this text into `path` (make it when it is not there).
    Write {
        /// The file.
        path: PathBuf,
        /// All of its text.
        text: Zeroizing<String>,
    },
    /// Delete `path`.
    Delete {
        /// The file.
        path: PathBuf,
    },
}

/// Why a file was not edited. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EditError {
    /// There is a client, or profile, of that name.
    Exists(String),
    /// There is none of that name.
    Unknown(String),
    /// The file has mistakes; they come first.
    Broken(Vec<Diagnostic>),
    /// It is written in a way that cannot be edited without touching something else.
    ByHand(Diagnostic),
}

impl std::error::Error for EditError {}

impl fmt::Display for EditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists(name) => {
                write!(f, "there is already one named \"{name}\": choose another name, or revoke it first")
            }
            Self::Unknown(name) => write!(f, "there is none named \"{name}\": see `list` for the names"),
            Self::Broken(found) => {
                for (i, one) in found.iter().enumerate() {
                    write!(f, "{}{one}", if i == 0 { "" } else { "\n" })?;
                }
                Ok(())
            }
            Self::ByHand(one) => one.fmt(f),
        }
    }
}
