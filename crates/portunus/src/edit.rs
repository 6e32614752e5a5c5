//! Edits of files that others edit too: one lock a configuration, one atomic replacement a file.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use portunus_config::{EditError, FileChange};
use portunus_sys::files::{self, FileError, Lock};

use crate::places;
use crate::say::{CONFIG, Failure};

/// The mode of a file that holds a secret, and of any client's file (who may come in is nobody's business).
pub(crate) const PRIVATE: u32 = 0o600;
/// So many files of one name are put aside at most.
const MOST_ASIDE: u32 = 1000;

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        // What the system says has its mend in it only where there is one mend.
        let mend = match error {
            FileError::Missing(_) => "make it, or name another",
            FileError::NotAFile(_) => "name a file",
            FileError::TooLong(_) => "name another",
            FileError::NotText { .. } => "save it as UTF-8",
            FileError::Locked(_) => "wait until it is done",
            FileError::Exists(_) => "name another",
            FileError::NotAFolder(_) | FileError::Link(_) => "",
            FileError::Other { .. } => "nothing was changed: mend that, and do it again",
            FileError::Denied(_)
            | FileError::NotShared(_)
            | FileError::TooOpen { .. }
            | FileError::Foreign { .. } => "",
        };
        Self::new(error, "", mend)
    }
}

impl From<EditError> for Failure {
    fn from(error: EditError) -> Self {
        match error {
            EditError::Broken(found) => Self::lines(found, CONFIG),
            EditError::Exists(_) | EditError::Unknown(_) | EditError::ByHand(_) => Self::new(error, "", ""),
        }
    }
}

/// Takes the lock of a configuration folder; eight at a time come one after the other.
///
/// # Errors
/// The folder is missing, or not ours to write.
pub(crate) fn lock_folder(dir: &Path) -> Result<Lock, Failure> {
    let lock = Lock::wait(&dir.join(".lock")).map_err(|error| {
        if matches!(error, FileError::Missing(_)) { places::no_server(dir) } else { error.into() }
    })?;
    // Only who holds the lock makes drafts here: what lies about was left by one that was interrupted, and may hold a key.
    for folder in [dir.to_owned(), dir.join("keys"), dir.join("clients")] {
        files::sweep_drafts(&folder);
    }
    Ok(lock)
}

/// Takes the lock of one file.
///
/// # Errors
/// Its folder is missing, or not ours to write.
pub(crate) fn lock_file(path: &Path) -> Result<Lock, Failure> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Ok(Lock::wait(&path.with_file_name(format!(".{name}.lock")))?)
}

/// Does what an edit came to.
///
/// # Errors
/// The file system refused; nothing was changed then.
pub(crate) fn apply(change: &FileChange) -> Result<(), Failure> {
    match change {
        FileChange::Write { path, text } => {
            if let Some(dir) = path.parent() {
                files::make_folder(dir, 0o755)?;
            }
            Ok(files::replace(path, text.as_bytes(), PRIVATE)?)
        }
        FileChange::Delete { path } => std::fs::remove_file(path).map_err(|error| {
            Failure::file(format_args!("it was not removed ({error})"), path, "run this as its owner")
        }),
    }
}

/// Writes a secret file that must not be there yet, unless `force`.
///
/// # Errors
/// It is there, or the file system refused.
pub(crate) fn write_new(path: &Path, text: &str, mode: u32, force: bool) -> Result<(), Failure> {
    if force {
        // A replaced file keeps its mode; where that was too open, the new secret would be too.
        if mode == PRIVATE {
            shut(path)?;
        }
        return Ok(files::replace(path, text.as_bytes(), mode)?);
    }
    files::create(path, text.as_bytes(), mode).map_err(|error| match error {
        FileError::Exists(path) => Failure::file("it exists already", &path, "use --force to overwrite it"),
        FileError::Missing(_)
        | FileError::Denied(_)
        | FileError::NotShared(_)
        | FileError::NotAFile(_)
        | FileError::TooOpen { .. }
        | FileError::Foreign { .. }
        | FileError::TooLong(_)
        | FileError::NotText { .. }
        | FileError::Locked(_)
        | FileError::NotAFolder(_)
        | FileError::Link(_)
        | FileError::Other { .. } => error.into(),
    })
}

/// Takes from others what they may do with a file, if it is there.
///
/// # Errors
/// The file system refused.
pub(crate) fn shut(path: &Path) -> Result<(), Failure> {
    if !path.exists() {
        return Ok(());
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(PRIVATE)).map_err(|error| {
        Failure::file(format_args!("its mode was not changed ({error})"), path, "run this as its owner")
    })
}

/// Puts an existing file aside as NAME.old, or NAME.old.1 and so on where there is one already, so that --force loses nothing.
///
/// # Errors
/// The file system refused.
pub(crate) fn keep_aside(path: &Path) -> Result<Option<PathBuf>, Failure> {
    if !path.exists() {
        return Ok(None);
    }
    let failed = |error: &std::io::Error, mend: &str| {
        Failure::file(format_args!("it was not put aside ({error})"), path, mend)
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let more = (1..MOST_ASIDE).map(|number| format!("{name}.old.{number}"));
    for name in std::iter::once(format!("{name}.old")).chain(more) {
        let aside = path.with_file_name(name);
        // A hard link, unlike a rename, refuses to take the place of another file.
        match std::fs::hard_link(path, &aside) {
            Ok(()) => {
                std::fs::remove_file(path).map_err(|error| failed(&error, "run this as its owner"))?;
                return Ok(Some(aside));
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => (),
            Err(error) => return Err(failed(&error, "run this as its owner")),
        }
    }
    let what = format_args!("it was not put aside, for {MOST_ASIDE} of its kind are");
    Err(Failure::file(what, path, "take the old ones away that nobody needs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_aside_takes_no_other_s_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.toml");
        assert_eq!(keep_aside(&path), Ok(None));
        let kept: Vec<_> = (0..3)
            .map(|n| {
                std::fs::write(&path, n.to_string()).unwrap();
                let aside = keep_aside(&path).unwrap().unwrap();
                assert!(!path.exists());
                aside.file_name().unwrap().to_string_lossy().into_owned()
            })
            .collect();
        assert_eq!(kept, ["a.toml.old", "a.toml.old.1", "a.toml.old.2"]);
        for (n, name) in kept.iter().enumerate() {
            assert_eq!(std::fs::read_to_string(dir.path().join(name)).unwrap(), n.to_string());
        }
    }
}
