//! A client's name: the one word that identifies it in files, logs, grants and messages.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::Mark;

/// A client's name: 1 to 64 bytes of UTF-8, fit to be a file name and to stand in one log line.
///
/// Cheap to clone. Two clients never share one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClientName(Arc<str>);

/// With this begins the name of who is known by keys.
const OF_KEYS: &str = "keys-";

/// Why a text is not a client's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It is empty.
    #[error("a client's name is empty")]
    Empty,
    /// It is longer than 64 bytes.
    #[error("a client's name has {0} bytes: use at most 64")]
    TooLong(usize),
    /// It has a character that a file name or a log line cannot take.
    #[error(
        "a client's name has the character {0:?}: use letters, digits, '-', '_', '.', '@', '+' and inner blanks"
    )]
    Character(char),
    /// It begins with a dot, or begins or ends with a blank.
    #[error("a client's name begins with '.' or begins or ends with a blank")]
    Edge,
}

impl ClientName {
    /// The longest name, in bytes.
    pub const LONGEST: usize = 64;

    /// Checks `text` and makes it a name.
    ///
    /// # Errors
    /// [`NameError`] says what is wrong with it.
    pub fn new(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > Self::LONGEST {
            return Err(NameError::TooLong(text.len()));
        }
        // The last five are for phones that name themselves ("Anna's iPhone (2)"): openme's files have such clients.
        let fits = |c: char| c.is_alphanumeric() || "-_.@+ '\u{2019}(),".contains(c);
        if let Some(c) = text.chars().find(|&c| !fits(c)) {
            return Err(NameError::Character(c));
        }
        if text.starts_with('.') || text.starts_with(' ') || text.ends_with(' ') {
            return Err(NameError::Edge);
        }
        Ok(Self(Arc::from(text)))
    }

    /// The name in the ledger of whoever has these keys, whatever a file calls it.
    #[must_use]
    pub fn of_keys(mark: Mark) -> Self {
        let digits: String = mark.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        Self(Arc::from(format!("{OF_KEYS}{digits}")))
    }

    /// Whether it is one of [`ClientName::of_keys`]: nothing that people are to read.
    #[must_use]
    pub fn is_of_keys(&self) -> bool {
        let digits = self.0.strip_prefix(OF_KEYS).unwrap_or_default();
        digits.len() == 2 * Mark::BYTES && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClientName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ClientName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl TryFrom<String> for ClientName {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        Self::new(&text)
    }
}

impl From<ClientName> for String {
    fn from(name: ClientName) -> Self {
        name.0.as_ref().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_leave_their_folder_or_their_line_are_refused() {
        assert_eq!(ClientName::new("../x"), Err(NameError::Character('/')));
        assert_eq!(ClientName::new("a\nb"), Err(NameError::Character('\n')));
        assert_eq!(ClientName::new(".hidden"), Err(NameError::Edge));
        assert_eq!(ClientName::new(""), Err(NameError::Empty));
        assert_eq!(ClientName::new(&"a".repeat(65)), Err(NameError::TooLong(65)));
        assert!(ClientName::new("Anna's iPhone (2)").is_ok());
        assert!(ClientName::new("Jörg laptop-2").is_ok());
    }

    #[test]
    fn who_is_known_by_keys_has_a_name_like_any_other_that_can_be_told() {
        let name = ClientName::of_keys(Mark::from_bytes([0xa7; 16]).unwrap());
        assert_eq!(name.as_str(), format!("keys-{}", "a7".repeat(16)));
        assert_eq!(ClientName::new(name.as_str()), Ok(name.clone()));
        assert!(name.is_of_keys());
        for other in ["keys-a7", "keys", "stanza-1", &format!("keys-{}", "A7".repeat(16))] {
            assert!(!ClientName::new(other).unwrap().is_of_keys(), "{other}");
        }
    }
}
