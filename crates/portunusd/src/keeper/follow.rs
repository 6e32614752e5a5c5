//! A capture file that grows: opened for the front, and opened again when another file has taken its place.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use portunus_config::Settings;
use portunus_config::fwknop::Receive;
use portunus_sys::watch::{Growth, Watch};

use super::error::StartError;

/// Where it is, and which file was last handed on.
#[derive(Debug)]
pub(super) struct Follower {
    path: PathBuf,
    watch: Watch,
    current: Option<Identity>,
}

/// The device and the number of a file.
type Identity = (u64, u64);

/// What the front follows from now on.
pub(super) struct Leader {
    pub(super) file: File,
    pub(super) growth: Growth,
    /// What is in it already came before us.
    pub(super) from_end: bool,
}

impl Follower {
    /// `None` where nothing is followed. A file that is not there yet is waited for.
    pub(super) fn of(settings: &Settings) -> Result<Option<(Self, Option<Leader>)>, StartError> {
        let Some(Receive::Followed(path)) = settings.fwknop.as_deref().map(|daemon| &daemon.receive) else {
            return Ok(None);
        };
        let wrong = |e: io::Error| StartError::System("PCAP_PKT_FILE", format!("{}: {e}", path.display()));
        if !path.parent().is_some_and(Path::is_dir) {
            return Err(wrong(io::Error::other("its folder is not there: make it, or name another file")));
        }
        let watch = Watch::over(std::slice::from_ref(path)).map_err(wrong)?;
        let mut follower = Self { path: path.clone(), watch, current: None };
        let leader = follower.next(true).map_err(wrong)?;
        if leader.is_none() {
            tracing::warn!("{}: there is no such file yet: it is waited for", path.display());
        }
        Ok(Some((follower, leader)))
    }

    /// Something happened where the file is: the new one, if there is one.
    pub(super) fn changed(&mut self) -> Option<Leader> {
        if !self.watch.changed() {
            return None;
        }
        self.next(false).unwrap_or_else(|error| {
            tracing::error!(%error, "{}: packets are not read from there", self.path.display());
            None
        })
    }

    fn next(&mut self, from_end: bool) -> io::Result<Option<Leader>> {
        // Without O_NONBLOCK a fifo in the file's place would hang us here.
        let opened = OpenOptions::new().read(true).custom_flags(NONBLOCK).open(&self.path);
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        let identity = (meta.dev(), meta.ino());
        if self.current == Some(identity) {
            return Ok(None);
        }
        let growth = Growth::of(&self.path)?;
        self.current = Some(identity);
        Ok(Some(Leader { file, growth, from_end }))
    }
}

/// O_NONBLOCK, as every Linux that Rust runs on here has it (open(2)).
const NONBLOCK: i32 = 0o4000;

impl AsFd for Follower {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }
}
