//! The configuration's files as they lie on this machine, with owner and mode checked.

use std::path::{Path, PathBuf};

use portunus_config::{FileError, Files, Secrecy};
use portunus_sys::files;

/// The real files.
pub(crate) struct RealFiles;

impl Files for RealFiles {
    fn read(&self, path: &Path, secrecy: Secrecy) -> Result<String, FileError> {
        files::read(path, of(secrecy)).map_err(|error| plain(&error))
    }

    fn read_bytes(&self, path: &Path, secrecy: Secrecy) -> Result<Vec<u8>, FileError> {
        files::read_bytes(path, of(secrecy)).map_err(|error| plain(&error))
    }

    fn list(&self, dir: &Path) -> Result<Vec<PathBuf>, FileError> {
        files::list(dir).map_err(|error| plain(&error))
    }
}

fn of(secrecy: Secrecy) -> files::Secrecy {
    match secrecy {
        Secrecy::Public => files::Secrecy::Public,
        Secrecy::Secret => files::Secrecy::Secret,
    }
}

/// The same error without its path, which the configuration's messages put where it belongs.
fn plain(error: &files::FileError) -> FileError {
    match error {
        files::FileError::Missing(_) => FileError::Missing,
        files::FileError::Denied(_) => FileError::Denied,
        files::FileError::NotShared(_) => FileError::NotShared,
        files::FileError::NotAFile(_) => FileError::WrongKind("a regular file was expected"),
        files::FileError::NotAFolder(_) => FileError::WrongKind("a folder was expected"),
        files::FileError::Link(_) => FileError::WrongKind("a symbolic link is not followed here"),
        files::FileError::TooOpen { mode, .. } => FileError::TooOpen { mode: *mode },
        files::FileError::Foreign { owner, .. } => FileError::ForeignOwner { uid: *owner },
        files::FileError::TooLong(_) => FileError::TooLarge(files::LONGEST_FILE),
        files::FileError::NotText { .. } => FileError::NotText,
        files::FileError::Locked(_) => FileError::Other("somebody else holds its lock".to_owned()),
        files::FileError::Exists(_) => FileError::Other("it exists already".to_owned()),
        files::FileError::Other { what, .. } => FileError::Other(what.clone()),
    }
}
