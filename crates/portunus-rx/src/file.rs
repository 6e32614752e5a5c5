//! Capture files, of the classic format and of the newer one: datagrams with the time at which they were captured.
//!
//! Bounded in memory, whatever the file says. Called by the front (a file in an interface's place) and by `explain`.

use std::io::Read;

use pcap_parser::traits::{PcapNGPacketBlock, PcapReaderIterator};
use pcap_parser::{Block, LegacyPcapBlock, PcapBlockOwned, PcapError, create_reader};
use portunus_model::{Datagram, Unix, Via};

use crate::{Filter, Link, Wanted};

/// Room for one block to begin with, and at most.
const ROOM: usize = 64 << 10;
const MOST_ROOM: usize = 1 << 20;
/// The most interfaces of one section.
const MOST_INTERFACES: usize = 4096;

/// A capture file that is being read.
pub struct Capture<'r> {
    reader: Box<dyn PcapReaderIterator + Send + 'r>,
    room: usize,
    /// Whether it is of the newer format.
    newer: bool,
    interfaces: Vec<Interface>,
    filter: Option<Filter>,
    wanted: Wanted,
    /// How many bytes of the file lie behind us.
    done: u64,
    ended: bool,
    /// To how many bytes a packet that passed the filter was shortened (a snap length), if one was.
    keeps: Option<usize>,
}

/// How much of a file that grows one call may read: whoever calls has other things to do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    blocks: usize,
    bytes: usize,
}

/// A datagram that is caught costs whoever called as much as so many blocks that are passed over.
const CAUGHT: usize = 16;

/// What a file that grows has next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    /// A datagram.
    Caught(Caught),
    /// Nothing that is whole, yet.
    Nothing,
    /// There may be more, but the budget is used up.
    Spent,
}

/// A datagram out of a capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caught {
    /// The datagram.
    pub datagram: Datagram,
    /// When it was captured. A simple packet block has no time.
    pub at: Option<Unix>,
}

/// Why a capture cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CaptureError {
    /// Neither format.
    #[error("it is neither a pcap nor a pcapng file")]
    Unknown,
    /// A kind of link that is not read here.
    #[error("its link type {0} is not read here")]
    Link(i32),
    /// A block that is too long.
    #[error("a block in it is longer than 1 MiB")]
    TooLong,
    /// A block that contradicts itself.
    #[error("it is damaged")]
    Damaged,
    /// Nothing but zeros in a packet's place: it was cut, and its writer went on where it had been.
    #[error("there is a hole in it")]
    Hole,
    /// It ends in a packet's midst.
    #[error("it ends in the midst of a packet")]
    Cut,
    /// The file cannot be read.
    #[error("it cannot be read to its end")]
    Read,
}

/// What a capture says of the interface that a packet came by.
#[derive(Debug, Clone, Copy)]
struct Interface {
    link: Result<Link, i32>,
    /// Units of time in a second, and seconds to add.
    units: u64,
    offset: i64,
}

impl<'r> Capture<'r> {
    /// Begins to read. Only what passes `filter` and is `wanted` is told.
    ///
    /// # Errors
    /// [`CaptureError`] when it is no capture.
    pub fn new(
        file: impl Read + Send + 'r,
        filter: Option<Filter>,
        wanted: Wanted,
    ) -> Result<Self, CaptureError> {
        let reader = create_reader(ROOM, file).map_err(|error| match error {
            PcapError::ReadError => CaptureError::Read,
            PcapError::Eof
            | PcapError::BufferTooSmall
            | PcapError::UnexpectedEof
            | PcapError::Incomplete(_)
            | PcapError::HeaderNotRecognized
            | PcapError::NomError(..)
            | PcapError::OwnedNomError(..) => CaptureError::Unknown,
        })?;
        let newer = reader.data().starts_with(SECTION_HEADER);
        Ok(Self {
            reader,
            room: ROOM,
            newer,
            interfaces: Vec::new(),
            filter,
            wanted,
            done: 0,
            ended: false,
            keeps: None,
        })
    }

    /// What a file that grows has more, as far as it is whole. What begins before `from` is passed over.
    ///
    /// # Errors
    /// [`CaptureError`] when it is no capture any more. After [`CaptureError::Read`] it can be tried again.
    pub(crate) fn go_on(&mut self, from: u64, budget: &mut Budget) -> Result<Next, CaptureError> {
        if self.reader.reader_exhausted() {
            self.refill()?;
        }
        self.advance(from, Some(budget))
    }

    /// Whether what was read ends in the midst of a packet. To be asked at the end.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        !self.reader.data().is_empty()
    }

    /// To how many bytes whoever captured shortened a packet that passes the filter, if there was one such.
    #[must_use]
    pub const fn keeps(&self) -> Option<usize> {
        self.keeps
    }

    /// How many bytes of the file were read.
    pub(crate) fn position(&self) -> u64 {
        self.done + self.reader.data().len() as u64
    }

    /// Where the next block begins.
    pub(crate) const fn boundary(&self) -> u64 {
        self.done
    }

    /// From now on payloads of these lengths, and by these rules.
    pub(crate) fn want(&mut self, wanted: Wanted) {
        self.wanted = wanted;
    }

    fn advance(&mut self, from: u64, mut budget: Option<&mut Budget>) -> Result<Next, CaptureError> {
        loop {
            if budget.as_ref().is_some_and(|budget| budget.is_spent()) {
                return Ok(Next::Spent);
            }
            if self.newer && contradicts_itself(self.reader.data()) {
                return Err(CaptureError::Damaged);
            }
            // One that grows would be waited for until such a block is whole.
            if budget.is_some() && self.done > 0 && is_too_long(self.reader.data(), self.newer) {
                return Err(CaptureError::TooLong);
            }
            match self.reader.next() {
                // Nobody catches such a packet: only one that grows has a use for the reason.
                Ok((_, PcapBlockOwned::Legacy(packet))) if budget.is_some() && is_hole(&packet) => {
                    return Err(CaptureError::Hole);
                }
                Ok((length, block)) => {
                    let new = self.done >= from;
                    let caught = told(&block, &mut self.interfaces).and_then(|told| {
                        let told = told.filter(|_| new);
                        let short = told.as_ref().filter(|told| told.is_short());
                        if let Some(told) =
                            short.filter(|told| self.filter.as_ref().is_none_or(|filter| told.passes(filter)))
                        {
                            self.keeps = Some(told.bytes.len());
                        }
                        told.map_or(Ok(None), |told| told.caught(self.filter.as_ref(), &self.wanted))
                    });
                    self.reader.consume(length);
                    self.done += length as u64;
                    if let Some(budget) = &mut budget {
                        budget.spend(length, matches!(caught, Ok(Some(_))));
                    }
                    if let Some(caught) = caught? {
                        return Ok(Next::Caught(caught));
                    }
                }
                Err(PcapError::Eof | PcapError::UnexpectedEof) => return Ok(Next::Nothing),
                Err(PcapError::Incomplete(_)) => self.refill()?,
                Err(PcapError::BufferTooSmall) => self.grow()?,
                Err(PcapError::ReadError) => return Err(CaptureError::Read),
                Err(
                    PcapError::HeaderNotRecognized | PcapError::NomError(..) | PcapError::OwnedNomError(..),
                ) => return Err(CaptureError::Damaged),
            }
        }
    }

    fn refill(&mut self) -> Result<(), CaptureError> {
        self.reader.refill().map_err(|_| CaptureError::Read)
    }

    fn grow(&mut self) -> Result<(), CaptureError> {
        if self.room >= MOST_ROOM {
            return Err(CaptureError::TooLong);
        }
        self.room = (self.room * 2).min(MOST_ROOM);
        self.reader.grow(self.room);
        self.refill()
    }
}

/// Each datagram, up to the end or the first error. A file that is cut, as one that is still being written, ends there.
impl Iterator for Capture<'_> {
    type Item = Result<Caught, CaptureError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = match self.advance(0, None) {
            Ok(Next::Caught(caught)) => Some(Ok(caught)),
            Ok(Next::Nothing | Next::Spent) => None,
            Err(error) => Some(Err(error)),
        };
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

impl Budget {
    /// So many blocks and bytes, and what the last of them has more.
    pub(crate) const fn new(blocks: usize, bytes: usize) -> Self {
        Self { blocks, bytes }
    }

    pub(crate) const fn is_spent(&self) -> bool {
        self.blocks == 0 || self.bytes == 0
    }

    const fn spend(&mut self, bytes: usize, caught: bool) {
        self.blocks = self.blocks.saturating_sub(if caught { CAUGHT } else { 1 });
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

impl std::fmt::Debug for Capture<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Capture").field("interfaces", &self.interfaces).finish_non_exhaustive()
    }
}

/// A packet in a capture.
struct Told<'a> {
    link: Result<Link, i32>,
    bytes: &'a [u8],
    at: Option<Unix>,
    /// How long the packet was when it was captured.
    long: u32,
}

impl Told<'_> {
    fn is_short(&self) -> bool {
        self.bytes.len() < usize::try_from(self.long).unwrap_or(usize::MAX)
    }

    fn passes(&self, filter: &Filter) -> bool {
        let frame = self.link.ok().and_then(|link| link.strip(self.bytes));
        frame.is_some_and(|frame| filter.admits(frame))
    }

    fn caught(&self, filter: Option<&Filter>, wanted: &Wanted) -> Result<Option<Caught>, CaptureError> {
        let Some(frame) = self.link.map_err(CaptureError::Link)?.strip(self.bytes) else { return Ok(None) };
        if filter.is_some_and(|filter| !filter.admits(frame)) {
            return Ok(None);
        }
        let datagram = frame.payload().and_then(|payload| wanted.datagram(payload, Via::Pcap));
        Ok(datagram.map(|datagram| Caught { datagram, at: self.at }))
    }
}

/// A packet of no length at no time.
const fn is_hole(packet: &LegacyPcapBlock<'_>) -> bool {
    packet.ts_sec == 0 && packet.ts_usec == 0 && packet.caplen == 0 && packet.origlen == 0
}

/// The packet that a block is, if it is one; else what it says is remembered.
fn told<'b>(
    block: &'b PcapBlockOwned<'_>,
    interfaces: &mut Vec<Interface>,
) -> Result<Option<Told<'b>>, CaptureError> {
    let interface = |interfaces: &[Interface], number: u32| {
        let known = usize::try_from(number).ok().and_then(|number| interfaces.get(number).copied());
        known.ok_or(CaptureError::Damaged)
    };
    match block {
        PcapBlockOwned::LegacyHeader(header) => {
            let units = if header.is_nanosecond_precision() { 1_000_000_000 } else { 1_000_000 };
            // The upper bits say other things than the kind of link (pcap-savefile(5)).
            let link = link(header.network.0 & 0x0fff_ffff);
            *interfaces = vec![Interface { link, units, offset: 0 }];
            Ok(None)
        }
        PcapBlockOwned::Legacy(packet) => {
            let interface = interface(interfaces, 0)?;
            let at = i128::from(packet.ts_sec) * NANOS + nanos(packet.ts_usec.into(), interface.units);
            Ok(Some(Told {
                link: interface.link,
                bytes: packet.data,
                at: Some(Unix::from_nanos(at)),
                long: packet.origlen,
            }))
        }
        PcapBlockOwned::NG(Block::SectionHeader(_)) => {
            interfaces.clear();
            Ok(None)
        }
        PcapBlockOwned::NG(Block::InterfaceDescription(told)) => {
            if interfaces.len() >= MOST_INTERFACES {
                return Err(CaptureError::Damaged);
            }
            let units = units(told.if_tsresol).ok_or(CaptureError::Damaged)?;
            // The library reads it as if every file were of a little-endian machine.
            let big_endian = told.block_type != INTERFACE_DESCRIPTION;
            let offset = if big_endian { told.if_tsoffset.swap_bytes() } else { told.if_tsoffset };
            interfaces.push(Interface { link: link(told.linktype.0), units, offset });
            Ok(None)
        }
        PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
            let interface = interface(interfaces, packet.if_id)?;
            let stamp = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
            let at = nanos(stamp, interface.units) + i128::from(interface.offset) * NANOS;
            let at = Some(Unix::from_nanos(at));
            Ok(Some(Told { link: interface.link, bytes: packet.packet_data(), at, long: packet.origlen }))
        }
        PcapBlockOwned::NG(Block::SimplePacket(packet)) => {
            let interface = interface(interfaces, 0)?;
            Ok(Some(Told {
                link: interface.link,
                bytes: packet.packet_data(),
                at: None,
                long: packet.origlen,
            }))
        }
        // Statistics, names, and what others put in.
        PcapBlockOwned::NG(_) => Ok(None),
    }
}

/// Where a file of the newer format begins.
const SECTION_HEADER: &[u8] = &[0x0a, 0x0d, 0x0d, 0x0a];

/// Whether the next block says that it is shorter than what it says that with, in either byte order (in the other one, a
/// true length of that kind would be beyond all bounds). The library reckons with such a length.
fn contradicts_itself(block: &[u8]) -> bool {
    let length = block.get(4..).and_then(|rest| rest.first_chunk::<4>());
    length.is_some_and(|length| u32::from_le_bytes(*length).min(u32::from_be_bytes(*length)) < 12)
}

/// Whether the next block says that it is longer than there is ever room for, whatever its byte order. A classic file's
/// header has no length where its packets have theirs.
fn is_too_long(block: &[u8], newer: bool) -> bool {
    let length = block.get(if newer { 4 } else { 8 }..).and_then(|rest| rest.first_chunk::<4>());
    let least = length.map(|length| u32::from_le_bytes(*length).min(u32::from_be_bytes(*length)));
    least.is_some_and(|least| least as usize > MOST_ROOM)
}

/// The number of an interface's block; the library keeps it as a little-endian machine reads it.
const INTERFACE_DESCRIPTION: u32 = 1;

/// Units of time in a second: a power of 10, or of 2 where the highest bit is set (if_tsresol).
fn units(resolution: u8) -> Option<u64> {
    let power = u32::from(resolution & 0x7f);
    if resolution & 0x80 == 0 { 10_u64.checked_pow(power) } else { 1_u64.checked_shl(power) }
}

const NANOS: i128 = 1_000_000_000;

fn nanos(stamp: u64, units: u64) -> i128 {
    i128::from(stamp) * NANOS / i128::from(units.max(1))
}

fn link(number: i32) -> Result<Link, i32> {
    u32::try_from(number).ok().and_then(Link::from_number).ok_or(number)
}
