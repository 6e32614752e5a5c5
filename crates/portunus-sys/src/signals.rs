//! Signals as something to read.

use std::fs::File;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM or SIGINT: end cleanly.
    End,
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGCHLD: a child ended.
    Child,
}

/// The signals that the keeper reads, instead of being interrupted by them.
#[derive(Debug)]
pub struct Signals(File);

impl Signals {
    /// Blocks the signals and opens the descriptor. Children that are started with `std::process` get them unblocked.
    ///
    /// # Errors
    /// When the system has no descriptors left.
    pub fn open() -> io::Result<Self> {
        let set = block(&[libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGCHLD])?;
        // SAFETY: `set` is an initialised set of ours.
        let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel just gave us this descriptor; nobody else knows it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self(fd.into()))
    }

    /// The next signal, if one came.
    pub fn read(&mut self) -> Option<Signal> {
        let mut record = [0; size_of::<libc::signalfd_siginfo>()];
        self.0.read_exact(&mut record).ok()?;
        // The number is the record's first field (signalfd(2)).
        let number = record.first_chunk::<4>().copied().map(u32::from_ne_bytes)?;
        match i32::try_from(number) {
            Ok(libc::SIGTERM | libc::SIGINT) => Some(Signal::End),
            Ok(libc::SIGHUP) => Some(Signal::Reload),
            Ok(libc::SIGCHLD) => Some(Signal::Child),
            Ok(_) | Err(_) => None,
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Makes a part deaf to what a terminal or a supervisor says to the whole group: only the keeper ends it.
///
/// # Errors
/// As the system says.
pub fn leave_to_keeper() -> io::Result<()> {
    block(&[libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGPIPE]).map(drop)
}

fn block(numbers: &[libc::c_int]) -> io::Result<libc::sigset_t> {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the set, and the other calls get it initialised; all pointers are to our stack.
    let (rc, set) = unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for number in numbers {
            libc::sigaddset(set.as_mut_ptr(), *number);
        }
        let set = set.assume_init();
        (libc::sigprocmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut()), set)
    };
    if rc != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(set)
}
