//! One capture file that grows, from where we came on, through being cut.
//!
//! A writer that was not told that its file was cut (copytruncate) goes on where it had been, behind a hole, or at the
//! file's new start, and in both cases without a header. The one that we know is kept for that.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use portunus_model::Datagram;
use portunus_sys::files;

use crate::file::{Budget, Next};
use crate::{Capture, CaptureError, Filter, Wanted};

/// A file that is read as far as it goes.
pub(crate) struct Tail {
    file: Arc<File>,
    /// What begins before it was there when we came.
    from: u64,
    state: State,
    /// The header of a classic capture.
    head: Vec<u8>,
}

/// Why it is not read on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TailError {
    /// It is no capture, and is left alone until it is written anew. Said once.
    Broken(CaptureError),
    /// What the system says. It may pass.
    System(String),
}

enum State {
    /// It has no whole header yet.
    New,
    Read(Reading),
    /// It was cut, and nothing shows yet how it goes on.
    Cut(Reading),
    Broken(Mark),
}

struct Reading {
    capture: Capture<'static>,
    /// What the capture's first byte is in the file. Less than nothing where it was given a header of before.
    origin: i64,
}

/// How a file was when it could not be read, to see when it is another.
struct Mark {
    length: u64,
    at: u64,
    bytes: Vec<u8>,
}

/// How a file begins.
enum Start {
    /// Too short to say.
    NotYet,
    Header,
    /// Zeros: a hole.
    Zeros,
    /// A packet, without a header before it.
    Packet,
    Neither,
}

impl Tail {
    /// From its end where it was there before us, else from its start.
    pub(crate) fn new(file: File, from_end: bool) -> io::Result<Self> {
        let from = if from_end { files::length(&file)? } else { 0 };
        Ok(Self { file: Arc::new(file), from, state: State::New, head: Vec::new() })
    }

    /// Whether its writer has come to it.
    pub(crate) const fn has_begun(&self) -> bool {
        !matches!(self.state, State::New)
    }

    /// Another description of the file. The one before.
    #[cfg(test)]
    pub(crate) fn exchange(&mut self, file: File) -> File {
        self.state = State::New;
        Arc::into_inner(std::mem::replace(&mut self.file, Arc::new(file))).unwrap()
    }

    /// To how many bytes a packet in it was shortened, if one was.
    pub(crate) const fn keeps(&self) -> Option<usize> {
        match &self.state {
            State::Read(reading) | State::Cut(reading) => reading.capture.keeps(),
            State::New | State::Broken(_) => None,
        }
    }

    pub(crate) fn want(&mut self, wanted: &Wanted) {
        if let State::Read(reading) | State::Cut(reading) = &mut self.state {
            reading.capture.want(wanted.clone());
        }
    }

    /// Reads what has come, and shows each datagram to `each`. True when that was all.
    pub(crate) fn read(
        &mut self,
        (filter, wanted): (&Filter, &Wanted),
        budget: &mut Budget,
        mut each: impl FnMut(Datagram),
    ) -> Result<bool, TailError> {
        let length = files::length(&self.file).map_err(|error| system(&error))?;
        self.heed_cut(length)?;
        self.begin(length, filter, wanted)?;
        loop {
            let State::Read(reading) = &mut self.state else { return Ok(true) };
            let from = self.from.saturating_add_signed(-reading.origin);
            match reading.capture.go_on(from, budget) {
                Ok(Next::Caught(caught)) => each(caught.datagram),
                Ok(Next::Nothing) => return Ok(true),
                Ok(Next::Spent) => return Ok(false),
                Err(error @ CaptureError::Read) => return Err(TailError::System(error.to_string())),
                Err(CaptureError::Hole) => {
                    if !self.pass_over_hole(length, filter, wanted)? {
                        return Ok(true);
                    }
                }
                Err(
                    error @ (CaptureError::Unknown
                    | CaptureError::Link(_)
                    | CaptureError::TooLong
                    | CaptureError::Damaged
                    | CaptureError::Cut),
                ) => return Err(self.give_up(length, error)),
            }
        }
    }

    /// What is shorter than what was read of it was cut. What was broken is another file when its bytes are others.
    fn heed_cut(&mut self, length: u64) -> Result<(), TailError> {
        let cut = match &self.state {
            State::New | State::Cut(_) => length < self.from,
            State::Read(reading) => length < self.from.max(reading.place(reading.capture.position())),
            State::Broken(mark) => {
                length < mark.length || self.bytes(mark.at, mark.bytes.len())? != mark.bytes
            }
        };
        if !cut {
            return Ok(());
        }
        self.state = match std::mem::replace(&mut self.state, State::New) {
            State::Read(reading) | State::Cut(reading) => State::Cut(reading),
            State::New | State::Broken(_) => {
                self.from = 0;
                State::New
            }
        };
        Ok(())
    }

    /// Finds out how a file that is new, or was cut, goes on.
    fn begin(&mut self, length: u64, filter: &Filter, wanted: &Wanted) -> Result<(), TailError> {
        let known = match &self.state {
            State::New => false,
            State::Cut(_) => true,
            State::Read(_) | State::Broken(_) => return Ok(()),
        };
        match self.start(length, known)? {
            Start::NotYet => Ok(()),
            Start::Header => {
                self.head = Vec::new();
                self.from = if known { 0 } else { self.from };
                let state = self.open(0, length, filter, wanted)?;
                let bytes = self.bytes(0, HEADER)?;
                // The newer format's is not enough to go on with: what its interfaces are stands behind it.
                self.head = if bytes.starts_with(NEWER) { Vec::new() } else { bytes };
                self.state = state;
                Ok(())
            }
            Start::Zeros => {
                if let State::Cut(reading) = std::mem::replace(&mut self.state, State::New) {
                    // As long as its writer has not written behind the hole, there is nothing.
                    let behind = length > self.from.max(reading.place(reading.capture.position()));
                    self.state = if behind { State::Read(reading) } else { State::Cut(reading) };
                }
                Ok(())
            }
            Start::Packet => {
                self.from = 0;
                self.state = self.open(0, length, filter, wanted)?;
                Ok(())
            }
            Start::Neither => Err(self.give_up(length, CaptureError::Unknown)),
        }
    }

    fn start(&self, length: u64, known: bool) -> Result<Start, TailError> {
        let bytes = self.bytes(0, HEADER)?;
        let Some(magic) = bytes.first_chunk::<4>() else { return Ok(Start::NotYet) };
        if magic == NEWER {
            return self.newer_start(&bytes, length);
        }
        if CLASSIC.contains(&u32::from_le_bytes(*magic)) || CLASSIC.contains(&u32::from_be_bytes(*magic)) {
            return Ok(if bytes.len() < HEADER { Start::NotYet } else { Start::Header });
        }
        let Some(record) = bytes.first_chunk::<RECORD>().filter(|_| known) else {
            return Ok(if bytes.len() < RECORD && known { Start::NotYet } else { Start::Neither });
        };
        Ok(if *record == [0; RECORD] {
            Start::Zeros
        } else if self.is_packet(record) {
            Start::Packet
        } else {
            Start::Neither
        })
    }

    /// The newer format's first block says how long it is, in the byte order that it says too.
    fn newer_start(&self, bytes: &[u8], length: u64) -> Result<Start, TailError> {
        let word = |at: usize| bytes.get(at..).and_then(|rest| rest.first_chunk::<4>());
        let (Some(long), Some(order)) = (word(4), word(8)) else { return Ok(Start::NotYet) };
        let little = u32::from_le_bytes(*order) == BYTE_ORDER;
        let long = if little { u32::from_le_bytes(*long) } else { u32::from_be_bytes(*long) };
        Ok(if u64::from(long) > length && long <= MOST_HEADER { Start::NotYet } else { Start::Header })
    }

    /// A capture from here on, behind the header that is known.
    fn open(&mut self, at: u64, length: u64, filter: &Filter, wanted: &Wanted) -> Result<State, TailError> {
        let origin = at.cast_signed() - i64::try_from(self.head.len()).unwrap_or_default();
        let growing = Growing { head: io::Cursor::new(self.head.clone()), file: self.file.clone(), at };
        match Capture::new(growing, Some(filter.clone()), wanted.clone()) {
            Ok(capture) => Ok(State::Read(Reading { capture, origin })),
            Err(error @ CaptureError::Read) => Err(TailError::System(error.to_string())),
            Err(error) => Err(self.give_up(length, error)),
        }
    }

    /// The file was cut when packets in it were not read yet. They are lost; the first one behind the hole is looked for.
    /// False when it is not there yet.
    fn pass_over_hole(&mut self, length: u64, filter: &Filter, wanted: &Wanted) -> Result<bool, TailError> {
        let State::Read(reading) = &self.state else { return Ok(false) };
        let from = reading.place(reading.capture.boundary());
        let bytes = self.bytes(from, MOST_HOLE)?;
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        if bytes.len() < (zeros + RECORD).min(MOST_HOLE) {
            return Ok(false);
        }
        // The time of a packet may begin with zeros too.
        let begins = (zeros.saturating_sub(3)..=zeros).rev().find(|at| {
            let record = bytes.get(*at..).and_then(|rest| rest.first_chunk::<RECORD>());
            record.is_some_and(|record| self.is_packet(record))
        });
        let Some(begins) = begins else { return Err(self.give_up(length, CaptureError::Hole)) };
        self.state = self.open(from + begins as u64, length, filter, wanted)?;
        Ok(true)
    }

    /// Whether a packet of the capture that we know could begin so.
    fn is_packet(&self, record: &[u8; RECORD]) -> bool {
        let Some(magic) = self.head.first_chunk::<4>() else { return false };
        let little = CLASSIC.contains(&u32::from_le_bytes(*magic));
        let mut words = record
            .chunks_exact(4)
            .filter_map(|word| word.first_chunk::<4>())
            .map(|word| if little { u32::from_le_bytes(*word) } else { u32::from_be_bytes(*word) });
        let mut word = || words.next().unwrap_or_default();
        let (seconds, fraction, kept, long) = (word(), word(), word(), word());
        seconds != 0 && fraction < 1_000_000_000 && kept != 0 && kept <= long && kept <= MOST_HEADER
    }

    fn give_up(&mut self, length: u64, error: CaptureError) -> TailError {
        let at = match &self.state {
            State::Read(reading) => reading.place(reading.capture.boundary()),
            State::New | State::Cut(_) | State::Broken(_) => 0,
        };
        match self.bytes(at, RECORD) {
            Ok(bytes) => {
                self.state = State::Broken(Mark { length, at, bytes });
                TailError::Broken(error)
            }
            Err(error) => error,
        }
    }

    /// At most so many bytes of the file.
    fn bytes(&self, at: u64, most: usize) -> Result<Vec<u8>, TailError> {
        let mut bytes = vec![0; most];
        let mut got = 0;
        while let Some(room) = bytes.get_mut(got..).filter(|room| !room.is_empty()) {
            match self.file.read_at(room, at + got as u64) {
                Ok(0) => break,
                Ok(more) => got += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                Err(error) => return Err(system(&error)),
            }
        }
        bytes.truncate(got);
        Ok(bytes)
    }
}

impl Reading {
    /// Where in the file a place of the capture is.
    fn place(&self, of: u64) -> u64 {
        of.saturating_add_signed(self.origin)
    }
}

fn system(error: &io::Error) -> TailError {
    TailError::System(error.to_string())
}

/// The headers of a classic capture and of a packet in it (pcap-savefile(5)).
const HEADER: usize = 24;
const RECORD: usize = 16;
/// What a classic capture begins with: times in microseconds, in nanoseconds, and the form of an old Linux's.
const CLASSIC: [u32; 3] = [0xa1b2_c3d4, 0xa1b2_3c4d, 0xa1b2_cd34];
/// What the newer one begins with, and what tells its byte order.
const NEWER: &[u8; 4] = &[0x0a, 0x0d, 0x0d, 0x0a];
const BYTE_ORDER: u32 = 0x1a2b_3c4d;
/// No block is longer.
const MOST_HEADER: u32 = 1 << 20;
/// The most zeros that are passed over in search of a packet.
const MOST_HOLE: usize = 1 << 20;

/// A header, and a file's bytes so far, by a place of our own: others may hold the same description.
struct Growing {
    head: io::Cursor<Vec<u8>>,
    file: Arc<File>,
    at: u64,
}

impl Read for Growing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let head = self.head.read(buffer)?;
        if head > 0 {
            return Ok(head);
        }
        let got = self.file.read_at(buffer, self.at)?;
        self.at += got as u64;
        Ok(got)
    }
}
