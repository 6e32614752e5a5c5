//! The file that says which process serves: its number, locked for as long as it lives, as fwknop's scripts know it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::FlockOperation;
use rustix::process::{Pid, Signal};

/// Our own, while we serve. The kernel gives the lock back when the process ends, however it ends.
#[derive(Debug)]
pub struct PidFile {
    _file: File,
}

/// What came of taking it.
#[derive(Debug)]
pub enum Taken {
    /// It is ours.
    Ours(PidFile),
    /// That process has it.
    Held(u32),
}

impl PidFile {
    /// Takes the file and writes our number into it.
    ///
    /// # Errors
    /// As the system says.
    pub fn take(path: &Path) -> io::Result<Taken> {
        let mut file = open(path, true)?;
        if !lock(&file)? {
            return Ok(Taken::Held(number(&mut file)?));
        }
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0))?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Taken::Ours(Self { _file: file }))
    }
}

/// Who serves by this file; `None`: nobody, whatever number stands in it.
///
/// # Errors
/// As the system says.
pub fn holder(path: &Path) -> io::Result<Option<u32>> {
    let mut file = match open(path, false) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    if lock(&file)? {
        return Ok(None);
    }
    number(&mut file).map(Some)
}

/// What to say to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// End cleanly (SIGTERM).
    End,
    /// Read your files again (SIGHUP).
    Reload,
}

/// Says it.
///
/// # Errors
/// As the system says.
pub fn say(pid: u32, word: Word) -> io::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    let signal = match word {
        Word::End => Signal::TERM,
        Word::Reload => Signal::HUP,
    };
    Ok(rustix::process::kill_process(pid, signal)?)
}

fn open(path: &Path, make: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .create(make)
        .mode(0o600)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_NOFOLLOW);
    options.open(path)
}

/// A lock as lockf(3) takes it: one that the original's program sees too. False when somebody has it.
fn lock(file: &File) -> io::Result<bool> {
    match rustix::fs::fcntl_lock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

fn number(file: &mut File) -> io::Result<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text)?;
    text.trim().parse().map_err(|_| io::Error::other("there is no number in it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_holds_a_file_that_only_has_a_number() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        assert_eq!(holder(&path).unwrap(), None);
        std::fs::write(&path, "1\n").unwrap();
        assert_eq!(holder(&path).unwrap(), None);
        let Taken::Ours(ours) = PidFile::take(&path).unwrap() else { panic!("it is free") };
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        drop(ours);
    }
}
