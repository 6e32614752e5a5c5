//! The parts' lines on their way to the system's log: they write into a pipe, since none of them may open anything, and
//! the keeper passes on line by line.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use portunus_sys::{poll, process};

use crate::log;

/// The longest line; what is longer is cut there, and the rest of it is no line of its own.
const LONGEST: usize = 8192;

/// The reading end, and what has come of it.
#[derive(Debug)]
pub(super) struct Logs {
    read: File,
    write: OwnedFd,
    lines: Lines,
}

/// What of a line is there.
#[derive(Debug, Default)]
struct Lines {
    line: Vec<u8>,
    /// It was passed on as far as it goes; nothing more comes of it.
    cut: bool,
}

impl Logs {
    pub(super) fn new() -> io::Result<Self> {
        let (read, write) = process::pipe()?;
        Ok(Self { read: File::from(read), write, lines: Lines::default() })
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
            self.lines.take(bytes.get(..count).unwrap_or_default(), log::pass_on);
        }
    }
}

impl Lines {
    fn take(&mut self, bytes: &[u8], mut each: impl FnMut(&str)) {
        for &byte in bytes {
            let ends = byte == b'\n';
            if !ends && self.line.len() < LONGEST && !self.cut {
                self.line.push(byte);
                continue;
            }
            if !self.cut {
                each(&String::from_utf8_lossy(&self.line));
                self.line.clear();
            }
            self.cut = !ends;
        }
    }
}

impl AsFd for Logs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.read.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_too_long_is_cut_and_the_rest_of_it_is_no_line() {
        let long = format!("<6>{}<3>level=error somebody came in", "x".repeat(LONGEST - 3));
        let text = format!("<6>one\n{long}{}\n<6>two\n\n<6>three\n", "y".repeat(3 * LONGEST));
        for step in [1, 7, 4096, text.len()] {
            let (mut lines, mut all) = (Lines::default(), Vec::new());
            text.as_bytes().chunks(step).for_each(|some| lines.take(some, |line| all.push(line.to_owned())));
            assert_eq!(all, ["<6>one", &long[..LONGEST], "<6>two", "", "<6>three"], "{step}");
        }
    }
}
