//! Seeing that files changed.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};

/// Watches files and folders by name. A file is watched through its folder, so that one that is replaced (as every
/// careful editor does) or comes later is seen too.
#[derive(Debug)]
pub struct Watch {
    fd: OwnedFd,
    /// Per folder: what in it counts.
    folders: BTreeMap<i32, Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    /// Everything in it: it was named itself.
    all: bool,
    /// These names only.
    names: Vec<OsString>,
}

impl Watch {
    /// Watches `paths`; what does not exist yet is seen when it comes, if its folder exists.
    ///
    /// # Errors
    /// When the system has no descriptors or watches left.
    pub fn over(paths: &[PathBuf]) -> io::Result<Self> {
        let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let mut watch = Self { fd, folders: BTreeMap::new() };
        for path in paths {
            if path.is_dir() {
                watch.counts(path)?.all = true;
            }
            let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { continue };
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            if folder.is_dir() {
                watch.counts(folder)?.names.push(name.to_owned());
            }
        }
        Ok(watch)
    }

    fn counts(&mut self, folder: &Path) -> io::Result<&mut Counts> {
        let flags = WatchFlags::CLOSE_WRITE
            | WatchFlags::MOVE
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::ATTRIB
            | WatchFlags::ONLYDIR;
        let number = inotify::add_watch(&self.fd, folder, flags)?;
        Ok(self.folders.entry(number).or_default())
    }

    /// Reads what happened since; true when something that counts did.
    pub fn changed(&mut self) -> bool {
        let mut space = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(&self.fd, &mut space);
        let mut seen = false;
        while let Ok(event) = reader.next() {
            // More happened than the kernel remembers: look again at everything.
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                seen = true;
                continue;
            }
            let Some(counts) = self.folders.get(&event.wd()) else { continue };
            let name = event.file_name().map_or(&b""[..], |name| name.to_bytes());
            // Drafts (ours and editors') begin with a dot; the rename that follows is what counts.
            let hidden = name.starts_with(b".");
            seen |= (counts.all && !hidden) || counts.names.iter().any(|known| known.as_bytes() == name);
        }
        seen
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Sees that one file grows. Whoever has it needs no right to the file, and no path.
#[derive(Debug)]
pub struct Growth {
    fd: OwnedFd,
}

impl Growth {
    /// Of the file that has this name now.
    ///
    /// # Errors
    /// When it is not there, or the system has no descriptors or watches left.
    pub fn of(path: &Path) -> io::Result<Self> {
        let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        inotify::add_watch(&fd, path, WatchFlags::MODIFY)?;
        Ok(Self { fd })
    }

    /// Takes what was said, so that the descriptor is quiet until more is written.
    pub fn heed(&self) {
        let mut space = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(&self.fd, &mut space);
        while reader.next().is_ok() {}
    }
}

impl From<OwnedFd> for Growth {
    fn from(fd: OwnedFd) -> Self {
        Self { fd }
    }
}

impl AsFd for Growth {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn sees_a_replaced_file_a_new_one_and_no_stranger() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.toml");
        let folder = dir.path().join("clients");
        fs::create_dir(&folder).unwrap();
        let mut watch = Watch::over(&[file.clone(), folder.clone(), dir.path().join("none/x")]).unwrap();
        assert!(!watch.changed());
        fs::write(dir.path().join("other"), "x").unwrap();
        fs::write(folder.join(".draft"), "x").unwrap();
        assert!(!watch.changed());
        crate::files::replace(&file, b"x", 0o600).unwrap();
        assert!(watch.changed());
        fs::write(folder.join("alice.toml"), "x").unwrap();
        assert!(watch.changed());
        fs::remove_file(folder.join("alice.toml")).unwrap();
        assert!(watch.changed());
        assert!(!watch.changed());
    }
}
