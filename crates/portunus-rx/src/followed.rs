//! A capture file that grows: another program (tcpdump -w, ulogd) writes packets into it, and each is a knock when it comes.
//!
//! The keeper opens the file and a [`Growth`] over it; the front reads on whenever that says so. A file that was cut is read
//! anew from its start; one that another has taken the place of is handed over by the keeper.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use portunus_model::{Datagram, Mono};
use portunus_sys::files;
use portunus_sys::watch::Growth;

use crate::{Capture, CaptureError, Filter, ReceiveError, Received, Wanted};

/// Packets that one call takes.
const AT_ONCE: usize = 64;

/// Receives from a capture file that grows: the front's part.
pub struct Followed {
    file: Option<Arc<File>>,
    growth: Option<Growth>,
    capture: Option<Capture<'static>>,
    filter: Filter,
    wanted: Wanted,
    /// What lies before it was there when we came.
    from: u64,
    /// It cannot be read, which was said, and was so long then.
    broken: Option<u64>,
    /// There may be more without a word of the kernel's.
    again: Option<Mono>,
}

impl Followed {
    /// Over no file yet: see [`Self::follow`].
    #[must_use]
    pub fn new(filter: Filter, wanted: Wanted) -> Self {
        Self { file: None, growth: None, capture: None, filter, wanted, from: 0, broken: None, again: None }
    }

    /// From now on this file: from its end where it was there before us, else from its start.
    ///
    /// # Errors
    /// As the system says.
    pub fn follow(&mut self, file: File, growth: Growth, from_end: bool, now: Mono) -> io::Result<()> {
        self.from = if from_end { files::length(&file)? } else { 0 };
        self.file = Some(Arc::new(file));
        self.growth = Some(growth);
        self.begin(now);
        Ok(())
    }

    fn begin(&mut self, now: Mono) {
        self.capture = None;
        self.broken = None;
        self.again = Some(now);
    }

    /// What to wait for.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.growth.as_ref().map(AsFd::as_fd)
    }

    /// From now on payloads of these lengths, and by these rules.
    pub fn want(&mut self, wanted: Wanted) {
        if let Some(capture) = &mut self.capture {
            capture.want(wanted.clone());
        }
        self.wanted = wanted;
    }

    /// When [`Self::receive`] wants to be called, whether or not the file has grown.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Mono> {
        self.again
    }

    /// Reads what has come, a part of it at most, and shows each datagram to `each`.
    ///
    /// # Errors
    /// [`ReceiveError::Broken`], once: the file is no capture. It is waited for until it is cut, or another takes its place.
    pub fn receive(&mut self, now: Mono, each: impl FnMut(Datagram)) -> Result<Received, ReceiveError> {
        self.again = None;
        if let Some(growth) = &self.growth {
            // Before the file is read: what is written from here on is told anew.
            growth.heed();
        }
        let read = self.read(now, each);
        read.inspect_err(|_| {
            let length = self.file.as_ref().and_then(|file| files::length(file).ok());
            self.capture = None;
            self.broken = Some(length.unwrap_or_default());
        })
    }

    fn read(&mut self, now: Mono, mut each: impl FnMut(Datagram)) -> Result<Received, ReceiveError> {
        let Some(file) = self.file.clone() else { return Ok(Received::NOTHING) };
        let length = files::length(&file).map_err(|e| ReceiveError::of(&e))?;
        let at = self.capture.as_ref().map_or(0, Capture::position);
        if length < at.max(self.from).max(self.broken.unwrap_or_default()) {
            // It was cut, and begins anew.
            self.from = 0;
            self.begin(now);
        }
        if self.broken.is_some() {
            return Ok(Received::NOTHING);
        }
        let broken = |error: CaptureError| ReceiveError::Broken(error.to_string());
        if self.capture.is_none() {
            if length < HEADER {
                // Its writer has not come to its header yet.
                return Ok(Received::NOTHING);
            }
            let growing = Growing { file, at: 0 };
            let capture = Capture::new(growing, Some(self.filter.clone()), self.wanted.clone());
            self.capture = Some(capture.map_err(broken)?);
        }
        let Some(capture) = &mut self.capture else { return Ok(Received::NOTHING) };
        let mut count = 0;
        while count < AT_ONCE {
            match capture.go_on(self.from).map_err(broken)? {
                Some(datagram) => each(datagram.datagram),
                None => return Ok(Received { count, drained: true }),
            }
            count += 1;
        }
        self.again = Some(now);
        Ok(Received { count, drained: false })
    }
}

/// A classic capture's header, the shorter one of both.
const HEADER: u64 = 24;

impl std::fmt::Debug for Followed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Followed")
            .field("from", &self.from)
            .field("broken", &self.broken)
            .finish_non_exhaustive()
    }
}

/// A file's bytes so far, by a place of our own: others may hold the same description.
struct Growing {
    file: Arc<File>,
    at: u64,
}

impl Read for Growing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.file.read_at(buffer, self.at)?;
        self.at += got as u64;
        Ok(got)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const LINK_RAW: u32 = 101;

    fn head() -> Vec<u8> {
        [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, LINK_RAW]
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect()
    }

    /// A datagram to port 62201 with 50 letters.
    fn packet(letter: u8) -> Vec<u8> {
        let payload = [letter; 50];
        let ip = [
            &[0x45, 0, 0, 78, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2][..],
            &[0x9c, 0x40, 0xf2, 0xf9, 0, 58, 0, 0],
            &payload,
        ]
        .concat();
        let words = [1_700_000_000_u32, 0, 78, 78].iter().flat_map(|word| word.to_le_bytes());
        words.chain(ip).collect()
    }

    struct Desk {
        path: std::path::PathBuf,
        followed: Followed,
        _folder: tempfile::TempDir,
    }

    impl Desk {
        fn new(before: &[u8]) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("sniff.pcap");
            std::fs::write(&path, before).unwrap();
            let filter = Filter::parse("udp port 62201").unwrap();
            let mut followed = Followed::new(filter, Wanted::anything());
            let (file, growth) = (File::open(&path).unwrap(), Growth::of(&path).unwrap());
            followed.follow(file, growth, true, Mono::default()).unwrap();
            Self { path, followed, _folder: folder }
        }

        fn append(&self, bytes: &[u8]) {
            File::options().append(true).open(&self.path).unwrap().write_all(bytes).unwrap();
        }

        fn heard(&mut self) -> Result<String, ReceiveError> {
            let mut heard = String::new();
            while !self
                .followed
                .receive(Mono::default(), |datagram| heard.push(char::from(datagram.bytes[0])))?
                .drained
            {}
            Ok(heard)
        }
    }

    #[test]
    fn what_comes_is_heard_once_and_what_was_there_is_not() {
        let mut desk = Desk::new(&[head(), packet(b'a')].concat());
        assert_eq!(desk.heard().unwrap(), "");
        desk.append(&[packet(b'b'), packet(b'c')].concat());
        assert_eq!(desk.heard().unwrap(), "bc");
        assert_eq!(desk.heard().unwrap(), "");
        // A packet that is written in two steps is heard when it is whole.
        let two = packet(b'd');
        desk.append(&two[..30]);
        assert_eq!(desk.heard().unwrap(), "");
        desk.append(&two[30..]);
        assert_eq!(desk.heard().unwrap(), "d");
        let many: Vec<u8> = (0..1000).flat_map(|_| packet(b'e')).collect();
        desk.append(&many);
        assert_eq!(desk.heard().unwrap(), "e".repeat(1000));
    }

    #[test]
    fn a_file_that_is_empty_yet_is_waited_for() {
        let mut desk = Desk::new(b"");
        assert_eq!(desk.heard().unwrap(), "");
        desk.append(&head());
        desk.append(&packet(b'a'));
        assert_eq!(desk.heard().unwrap(), "a");
    }

    #[test]
    fn a_file_that_was_cut_is_read_from_its_start() {
        let mut desk = Desk::new(&[head(), packet(b'a'), packet(b'b')].concat());
        desk.append(&packet(b'c'));
        assert_eq!(desk.heard().unwrap(), "c");
        std::fs::write(&desk.path, [head(), packet(b'd')].concat()).unwrap();
        assert_eq!(desk.heard().unwrap(), "d");
    }

    #[test]
    fn what_is_no_capture_is_told_once_and_mends_itself() {
        let mut desk = Desk::new(b"");
        desk.append(&[b'x'; 100]);
        assert!(matches!(desk.heard(), Err(ReceiveError::Broken(_))));
        desk.append(b"more of the same");
        assert_eq!(desk.heard().unwrap(), "");
        File::create(&desk.path).unwrap();
        assert_eq!(desk.heard().unwrap(), "");
        desk.append(&[head(), packet(b'a')].concat());
        assert_eq!(desk.heard().unwrap(), "a");
    }

    #[test]
    fn the_kernel_says_when_it_has_grown() {
        use std::time::Duration;
        let mut desk = Desk::new(&head());
        assert_eq!(desk.heard().unwrap(), "");
        let grown = |desk: &Desk| {
            portunus_sys::poll::readable(desk.followed.descriptor().unwrap(), Duration::from_millis(20))
                .unwrap()
        };
        assert!(!grown(&desk));
        desk.append(&packet(b'a'));
        assert!(grown(&desk));
        assert_eq!(desk.heard().unwrap(), "a");
        assert!(!grown(&desk));
    }
}
