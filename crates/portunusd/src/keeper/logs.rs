//! The parts' lines on their way to the system's log: they write into a pipe, since none of them may open anything, and
//! the keeper passes on line by line.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use portunus_sys::{poll, process};

use crate::log;

/// The longest line; what is longer is cut there.
const LONGEST: usize = 8192;

/// The reading end, and what of a line is there.
#[derive(Debug)]
pub(super) struct Logs {
    read: File,
    write: OwnedFd,
    line: Vec<u8>,
}

impl Logs {
    pub(super) fn new() -> io::Result<Self> {
        let (read, write) = process::pipe()?;
        Ok(Self { read: File::from(read), write, line: Vec::new() })
    }

    /// What a part gets as its standard error.
    pub(super) fn end(&self) -> io::Result<OwnedFd> {
        self.write.try_clone()
    }

    /// Passes on what is there.
    pub(super) fn pass_on(&mut self) {
        let mut bytes = [0; 4096];
        while poll::readable(&self.read, std::time::Duration::ZERO).unwrap_or(false) {
            let Ok(count @ 1..) = self.read.read(&mut bytes) else { return };
            for byte in bytes.get(..count).unwrap_or_default() {
                if *byte != b'\n' && self.line.len() < LONGEST {
                    self.line.push(*byte);
                    continue;
                }
                log::pass_on(&String::from_utf8_lossy(&self.line));
                self.line.clear();
            }
        }
    }
}

impl AsFd for Logs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.read.as_fd()
    }
}
