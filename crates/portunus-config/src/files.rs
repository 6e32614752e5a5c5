//! How files come in: through a trait, so that this crate opens nothing and a test or an edit can show it any text.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::Diagnostic;

/// Whether a file holds a secret. A secret file that others can read is refused by the real [`Files`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrecy {
    /// Anyone may read it.
    Public,
    /// It holds a private key.
    Secret,
}

/// A source of files.
pub trait Files {
    /// The whole text of a file.
    ///
    /// # Errors
    /// [`FileError`] says why there is none.
    fn read(&self, path: &Path, secrecy: Secrecy) -> Result<String, FileError>;

    /// The same of a file of bytes, which need not be text.
    ///
    /// # Errors
    /// [`FileError`] says why there is none.
    fn read_bytes(&self, path: &Path, secrecy: Secrecy) -> Result<Vec<u8>, FileError> {
        self.read(path, secrecy).map(String::into_bytes)
    }

    /// The entries of a folder, as full paths, in any order.
    ///
    /// # Errors
    /// [`FileError`] says why there are none.
    fn list(&self, dir: &Path) -> Result<Vec<PathBuf>, FileError>;
}

/// Why a file cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// It is not there.
    #[error("there is no such file")]
    Missing,
    /// We may not read it.
    #[error("we may not read it")]
    Denied,
    /// The same, where we are the daemon's own user.
    #[error("the user portunus may not read it")]
    NotShared,
    /// It holds a secret and others can read or write it; the mode is what `stat` says.
    #[error("it holds a secret and others can reach it (mode {mode:04o})")]
    TooOpen {
        /// Its permission bits.
        mode: u32,
    },
    /// It belongs to somebody who is neither root nor us.
    #[error("it belongs to user {uid}, who is neither root nor the one who runs this")]
    ForeignOwner {
        /// Its owner.
        uid: u32,
    },
    /// It is larger than we read.
    #[error("it has more than {0} bytes")]
    TooLarge(u64),
    /// It is not UTF-8.
    #[error("it is not UTF-8 text")]
    NotText,
    /// It is a folder, a device or something else that is no file (or, for a folder, no folder).
    #[error("it is not what it should be: {0}")]
    WrongKind(&'static str),
    /// Something else, in the system's words.
    #[error("{0}")]
    Other(String),
}

impl FileError {
    /// The same for people: what is wrong with `path` and the mend.
    #[must_use]
    pub fn at(&self, path: &Path) -> Diagnostic {
        let shown = path.display();
        let mend = match self {
            Self::Missing => "make it, or name another folder or file".to_owned(),
            Self::Denied => format!("run this as root, or as the owner of {shown}"),
            Self::NotShared => format!("chgrp portunus {shown} && chmod g+rX {shown}"),
            Self::TooOpen { .. } => format!("chmod 600 {shown}"),
            Self::ForeignOwner { .. } => format!("chown root {shown}"),
            Self::TooLarge(_) => "make it smaller".to_owned(),
            Self::NotText => "save it as UTF-8".to_owned(),
            Self::WrongKind(_) => "put the right one in its place".to_owned(),
            Self::Other(_) => "see what the system says of it".to_owned(),
        };
        Diagnostic::of_file(path, self.to_string(), mend)
    }
}

/// Files as they would be after a change: what is laid over hides what lies below. So an edit is checked with the
/// daemon's own eyes before a byte is written.
pub struct Overlay<'a> {
    below: &'a dyn Files,
    laid: BTreeMap<PathBuf, Option<String>>,
}

impl<'a> Overlay<'a> {
    /// Nothing laid over `below` yet.
    #[must_use]
    pub fn new(below: &'a dyn Files) -> Self {
        Self { below, laid: BTreeMap::new() }
    }

    /// The same, with `path` holding `text`.
    #[must_use]
    pub fn with(mut self, path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        self.laid.insert(path.into(), Some(text.into()));
        self
    }

    /// The same, with `path` gone.
    #[must_use]
    pub fn without(mut self, path: impl Into<PathBuf>) -> Self {
        self.laid.insert(path.into(), None);
        self
    }

    /// A file that is replaced keeps its mode: a secret does not go into one that others can read.
    fn stays_closed(&self, path: &Path, secrecy: Secrecy) -> Result<(), FileError> {
        match secrecy {
            Secrecy::Public => Ok(()),
            Secrecy::Secret => match self.below.read_bytes(path, secrecy).map(Zeroizing::new) {
                Ok(_) | Err(FileError::Missing) => Ok(()),
                Err(error) => Err(error),
            },
        }
    }
}

impl Files for Overlay<'_> {
    fn read(&self, path: &Path, secrecy: Secrecy) -> Result<String, FileError> {
        match self.laid.get(path) {
            Some(Some(text)) => {
                self.stays_closed(path, secrecy)?;
                Ok(text.clone())
            }
            Some(None) => Err(FileError::Missing),
            None => self.below.read(path, secrecy),
        }
    }

    fn list(&self, dir: &Path) -> Result<Vec<PathBuf>, FileError> {
        let mut laid =
            self.laid.iter().filter(|(path, text)| text.is_some() && path.parent() == Some(dir)).peekable();
        let mut entries = match self.below.list(dir) {
            Ok(entries) => entries,
            Err(FileError::Missing) if laid.peek().is_some() => Vec::new(),
            Err(error) => return Err(error),
        };
        entries.retain(|path| !self.laid.contains_key(path));
        entries.extend(laid.map(|(path, _)| path.clone()));
        Ok(entries)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Files in memory.
    #[derive(Default)]
    pub(crate) struct Memory(pub(crate) BTreeMap<PathBuf, String>);

    impl Memory {
        pub(crate) fn with(mut self, path: &str, text: impl Into<String>) -> Self {
            self.0.insert(path.into(), text.into());
            self
        }
    }

    impl Files for Memory {
        fn read(&self, path: &Path, _: Secrecy) -> Result<String, FileError> {
            self.0.get(path).cloned().ok_or(FileError::Missing)
        }

        fn list(&self, dir: &Path) -> Result<Vec<PathBuf>, FileError> {
            let found: Vec<_> = self.0.keys().filter(|p| p.parent() == Some(dir)).cloned().collect();
            if found.is_empty() { Err(FileError::Missing) } else { Ok(found) }
        }
    }

    #[test]
    fn an_overlay_shows_the_change_before_it_is_made() {
        let below = Memory::default().with("/c/a.toml", "old").with("/c/b.toml", "b");
        let over = Overlay::new(&below).with("/c/a.toml", "new").with("/c/n.toml", "n").without("/c/b.toml");
        assert_eq!(over.read(Path::new("/c/a.toml"), Secrecy::Public), Ok("new".into()));
        assert_eq!(over.read(Path::new("/c/b.toml"), Secrecy::Public), Err(FileError::Missing));
        let mut listed = over.list(Path::new("/c")).unwrap();
        listed.sort();
        assert_eq!(listed, [PathBuf::from("/c/a.toml"), PathBuf::from("/c/n.toml")]);
        assert_eq!(over.list(Path::new("/d")), Err(FileError::Missing));
    }

    #[test]
    fn a_secret_is_laid_over_no_file_that_others_can_read() {
        struct Open(Memory);
        impl Files for Open {
            fn read(&self, path: &Path, secrecy: Secrecy) -> Result<String, FileError> {
                let text = self.0.read(path, secrecy)?;
                if secrecy == Secrecy::Secret { Err(FileError::TooOpen { mode: 0o644 }) } else { Ok(text) }
            }

            fn list(&self, dir: &Path) -> Result<Vec<PathBuf>, FileError> {
                self.0.list(dir)
            }
        }
        let below = Open(Memory::default().with("/c/a.toml", "old"));
        let over = Overlay::new(&below).with("/c/a.toml", "new").with("/c/n.toml", "n");
        let (there, not_there) = (Path::new("/c/a.toml"), Path::new("/c/n.toml"));
        assert_eq!(over.read(there, Secrecy::Public), Ok("new".into()));
        assert_eq!(over.read(there, Secrecy::Secret), Err(FileError::TooOpen { mode: 0o644 }));
        assert_eq!(over.read(not_there, Secrecy::Secret), Ok("n".into()));
        // The last change counts, whatever is between it and the file.
        let twice = Overlay::new(&over).with("/c/a.toml", "newer");
        assert_eq!(twice.read(there, Secrecy::Secret), Err(FileError::TooOpen { mode: 0o644 }));
    }

    #[test]
    fn each_file_error_has_its_mend() {
        let path = Path::new("/etc/portunus/keys/openme.key");
        assert_eq!(
            FileError::TooOpen { mode: 0o644 }.at(path).to_string(),
            "/etc/portunus/keys/openme.key: it holds a secret and others can reach it (mode 0644): \
             chmod 600 /etc/portunus/keys/openme.key"
        );
        assert_eq!(
            FileError::ForeignOwner { uid: 1000 }.at(path).to_string(),
            "/etc/portunus/keys/openme.key: it belongs to user 1000, who is neither root nor the one who runs this: \
             chown root /etc/portunus/keys/openme.key"
        );
    }
}
