//! Hears of interfaces that come, go, or change.
//!
//! Called by the keeper, which opens a packet socket anew when its interface is back. Which interface it was is not told: to
//! try again costs little, and says more.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use crate::netlink::NetlinkSocket;

/// The most announcements that one look reads: more have the same meaning.
const AT_ONCE: usize = 256;

/// A socket that becomes readable with each change of an interface.
#[derive(Debug)]
pub struct LinkWatch(NetlinkSocket);

impl LinkWatch {
    /// From now on.
    ///
    /// # Errors
    /// As the system says.
    pub fn new() -> io::Result<Self> {
        Ok(Self(NetlinkSocket::link_announcements()?))
    }

    /// Whether anything has changed since the last look.
    ///
    /// # Errors
    /// As the system says. Lost announcements are a change and no error.
    pub fn changed(&self) -> io::Result<bool> {
        // What does not fit is cut off; nothing of it is read anyway.
        let mut buffer = [0; 16];
        let mut changed = false;
        for _ in 0..AT_ONCE {
            match self.0.receive(&mut buffer) {
                Ok(Some(_)) => changed = true,
                Ok(None) => break,
                Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => changed = true,
                Err(e) => return Err(e),
            }
        }
        Ok(changed)
    }
}

impl AsFd for LinkWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
