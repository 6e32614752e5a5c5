//! Memory files: one to work on, and sealed ones, which are how a value too long for a message crosses to another process, with nobody able to change it
//! afterwards.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;

use rustix::fs::{MemfdFlags, SealFlags};

const SEALS: SealFlags =
    SealFlags::WRITE.union(SealFlags::SHRINK).union(SealFlags::GROW).union(SealFlags::SEAL);

/// A memory file with these bytes, read and written from its beginning, that nobody else sees.
///
/// # Errors
/// As [`sealed`].
pub fn scratch(name: &str, bytes: &[u8]) -> io::Result<File> {
    let mut file = File::from(rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}

/// Puts bytes into a memory file and seals it.
///
/// # Errors
/// When the system has no memory or descriptors left.
pub fn sealed(name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut file = File::from(rustix::fs::memfd_create(name, flags)?);
    file.write_all(bytes)?;
    rustix::fs::fcntl_add_seals(&file, SEALS)?;
    Ok(file.into())
}

/// Reads a sealed memory file of at most `most` bytes.
///
/// # Errors
/// When it is not sealed (then it could change while we look at it), or longer.
pub fn read(fd: OwnedFd, most: usize) -> io::Result<Vec<u8>> {
    if !rustix::fs::fcntl_get_seals(&fd)?.contains(SEALS) {
        return Err(io::Error::from_raw_os_error(libc::EPERM));
    }
    let mut file = File::from(fd);
    let length = usize::try_from(file.seek(SeekFrom::End(0))?).unwrap_or(usize::MAX);
    if length > most {
        return Err(io::Error::from_raw_os_error(libc::E2BIG));
    }
    file.rewind()?;
    let mut bytes = Vec::with_capacity(length);
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_is_read_and_cannot_be_changed() {
        let fd = sealed("test", b"hello").unwrap();
        let mut writer = File::from(fd.try_clone().unwrap());
        assert!(writer.write_all(b"x").is_err());
        assert_eq!(read(fd.try_clone().unwrap(), 5).unwrap(), b"hello");
        assert!(read(fd, 4).is_err());
    }

    #[test]
    fn what_is_not_sealed_is_not_read() {
        let fd = rustix::fs::memfd_create("open", MemfdFlags::ALLOW_SEALING).unwrap();
        assert!(read(fd, 10).is_err());
    }
}
