//! One of the two segments of the replay store, and what is known of it in memory.

use std::collections::HashSet;
use std::io;

use portunus_model::{ClaimKey, Mono, Now, Unix};

use super::record::{Content, Header, MAGIC, Mark, Record, SLOT, Slot};
use super::{REMEMBERED, record};
use crate::segment::{self, Opening, in_this_boot};
use crate::{BootId, Segment, StoreError};

/// How many slots are read at a time.
const CHUNK: usize = 1024;

/// A segment and its claims.
pub(super) struct Half<S> {
    segment: S,
    /// 0: not in use.
    pub(super) generation: u32,
    /// The slot that is written next.
    tail: u32,
    pub(super) keys: HashSet<ClaimKey>,
    /// The latest of its claims' times: it is forgotten as a whole.
    keep_until: i64,
    last_claimed: Mono,
    /// What it held is covered by the horizon, or carried over.
    pub(super) given_up: bool,
    /// Slots that had been durable and cannot be read.
    holes: Vec<u32>,
    /// Its first block cannot be read.
    headless: bool,
}

/// What was found in a segment besides its claims.
pub(super) struct Found {
    pub(super) horizon: Option<i64>,
    /// Something that had been durable cannot be read.
    pub(super) damaged: bool,
    /// It begins as no file of ours does, and nothing in it is ours.
    pub(super) foreign: bool,
    /// Some claim is kept for ever.
    pub(super) for_ever: bool,
    /// What the claims and the mark say, as if it were written now.
    pub(super) mark: Mark,
    /// The latest stamp of any claim that is not kept for ever.
    pub(super) latest: i64,
}

impl<S: Segment> Half<S> {
    /// Reads everything that is in `segment`.
    pub(super) fn load(segment: S, boot: BootId) -> Result<(Self, Found), StoreError> {
        let reading = StoreError::io("reading the replay store");
        let opening = segment::open(&segment, MAGIC, Header::decode).map_err(&reading)?;
        let mut half = Self {
            segment,
            generation: 0,
            tail: 1,
            keys: HashSet::new(),
            keep_until: i64::MIN,
            last_claimed: Mono::default(),
            given_up: false,
            holes: Vec::new(),
            headless: false,
        };
        let mut found = Found {
            horizon: None,
            damaged: false,
            foreign: false,
            for_ever: false,
            mark: Mark { clock: i64::MIN, widest: 0 },
            latest: i64::MIN,
        };
        match &opening {
            Opening::Unused => return Ok((half, found)),
            Opening::InUse(header) => {
                half.generation = header.generation;
                found.horizon = header.horizon;
            }
            // Nothing is written behind a first block before that is durable.
            Opening::Headless | Opening::Damaged | Opening::Foreign => {
                half.headless = true;
                // Its records say which turn it is.
                half.generation = half.latest_turn().map_err(&reading)?;
                found.foreign = matches!(opening, Opening::Foreign) && half.generation == 0;
            }
        }
        if half.generation != 0 {
            half.scan(boot, &mut found).map_err(&reading)?;
        }
        found.damaged = half.headless || !half.holes.is_empty();
        Ok((half, found))
    }

    /// The latest turn of any record; 0: there is none.
    fn latest_turn(&self) -> io::Result<u32> {
        let mut latest = 0;
        each_slot(&self.segment, |_, bytes| {
            latest = latest.max(Record::decode(bytes).map_or(0, |record| record.generation));
        })?;
        Ok(latest)
    }

    fn scan(&mut self, boot: BootId, found: &mut Found) -> io::Result<()> {
        let (mut durable, mut next, mut marked) = (1, 1, u32::MAX);
        let mut holes = Vec::new();
        let (segment, generation) = (&self.segment, self.generation);
        let mut claims = Vec::new();
        each_slot(segment, |slot, bytes| {
            next = slot.saturating_add(1);
            let record = match Record::read(bytes, generation) {
                // No batch begins behind its own records.
                Slot::Record(record) if record.base <= slot => record,
                Slot::Record(_) | Slot::Stale | Slot::Unreadable => return holes.push(slot),
            };
            durable = durable.max(record.base);
            match record.content {
                Content::Claim { key, stamp, keep_until, claimed, boot: tag } => {
                    match record::window(stamp, keep_until) {
                        Some(window) => {
                            found.mark.widest = found.mark.widest.max(window);
                            found.latest = found.latest.max(stamp);
                        }
                        None => found.for_ever = true,
                    }
                    claims.push((key, keep_until, in_this_boot(claimed, tag, boot)));
                }
                Content::Horizon(horizon) => found.horizon = found.horizon.max(Some(horizon)),
                Content::Mark(Mark { clock, widest }) => {
                    marked = slot;
                    found.mark.clock = found.mark.clock.max(clock);
                    found.mark.widest = found.mark.widest.max(widest);
                }
            }
        })?;
        self.keys.reserve(claims.len());
        for (key, keep_until, claimed) in claims {
            self.note(key, keep_until, claimed);
        }
        // A hole of a torn batch is written over: what lies behind it was never acknowledged either.
        let torn = holes.iter().copied().find(|&slot| slot >= durable).unwrap_or(next);
        self.tail = if marked == durable { marked } else { torn };
        holes.retain(|&slot| slot < durable);
        self.holes = holes;
        Ok(())
    }

    /// The stamps of its claims up to `highest`, as they are on disk, in order of time.
    pub(super) fn stamps_up_to(&self, highest: i64) -> io::Result<Vec<i64>> {
        let mut stamps = Vec::with_capacity(self.keys.len());
        self.each_claim(|_, stamp| stamps.extend(Some(stamp).filter(|&stamp| stamp <= highest)))?;
        stamps.sort_unstable();
        Ok(stamps)
    }

    /// Its claims of packets stamped after `horizon`, as they are on disk.
    pub(super) fn claims_after(&self, horizon: i64) -> io::Result<Vec<Content>> {
        let mut claims = Vec::new();
        self.each_claim(|content, stamp| claims.extend(Some(content).filter(|_| stamp > horizon)))?;
        Ok(claims)
    }

    fn each_claim(&self, mut each: impl FnMut(Content, i64)) -> io::Result<()> {
        each_slot(&self.segment, |_, bytes| {
            if let Slot::Record(Record { content: content @ Content::Claim { stamp, .. }, .. }) =
                Record::read(bytes, self.generation)
            {
                each(content, stamp);
            }
        })
    }

    /// Appends `contents` and comes back when they are durable. After a failure nothing has changed: the next batch
    /// is written over what this one may have left.
    pub(super) fn append(
        &mut self,
        contents: &[Content],
        mark: Mark,
        buffer: &mut Vec<u8>,
    ) -> io::Result<()> {
        buffer.clear();
        for &content in contents {
            Record { content, base: self.tail, generation: self.generation }.encode(buffer);
        }
        self.segment.write_all_at(buffer, place(self.tail))?;
        self.segment.make_durable()?;
        self.tail = self.tail.saturating_add(u32::try_from(contents.len()).unwrap_or(u32::MAX));
        // Without it rot in this batch looks like a batch that was torn. Not worth a wait: the kernel writes it soon.
        buffer.clear();
        Record { content: Content::Mark(mark), base: self.tail, generation: self.generation }.encode(buffer);
        let _ = self.segment.write_all_at(buffer, place(self.tail));
        Ok(())
    }

    /// Remembers a claim of this segment.
    pub(super) fn note(&mut self, key: ClaimKey, keep_until: i64, claimed: Mono) {
        self.keys.insert(key);
        self.keep_until = self.keep_until.max(keep_until);
        self.last_claimed = self.last_claimed.max(claimed);
    }

    /// Begins a new turn with nothing in it.
    pub(super) fn begin(&mut self, header: Header) -> io::Result<()> {
        self.segment.empty()?;
        self.segment.write_all_at(&header.encode(), 0)?;
        self.segment.make_durable()?;
        self.forget(header.generation);
        Ok(())
    }

    /// Puts `horizon` in the place of all that is lost here, so that the next start finds it sound. Where power goes in
    /// the middle of it, what is not yet written is still found damaged.
    pub(super) fn mend(&mut self, horizon: Option<i64>) -> io::Result<()> {
        let mut bytes = Vec::new();
        let content = Content::Horizon(horizon.unwrap_or(i64::MIN));
        Record { content, base: 1, generation: self.generation }.encode(&mut bytes);
        for &slot in &self.holes {
            self.segment.write_all_at(&bytes, place(slot))?;
        }
        if self.headless {
            self.segment.write_all_at(&Header { generation: self.generation, horizon }.encode(), 0)?;
        }
        self.segment.make_durable()?;
        (self.holes, self.headless) = (Vec::new(), false);
        Ok(())
    }

    /// Leaves nothing in it.
    pub(super) fn wipe(&mut self) -> io::Result<()> {
        self.segment.empty()?;
        self.segment.make_durable()?;
        self.forget(0);
        Ok(())
    }

    fn forget(&mut self, generation: u32) {
        self.generation = generation;
        self.tail = 1;
        // Not `clear`: a burst's memory is given back.
        self.keys = HashSet::new();
        self.keep_until = i64::MIN;
        self.last_claimed = Mono::default();
        self.given_up = false;
        (self.holes, self.headless) = (Vec::new(), false);
    }

    /// Whether nothing in it can ever be fresh again: by the wall clock, and by the one that nobody can set back.
    pub(super) fn is_forgettable(&self, now: Now) -> bool {
        let over = record::nanos(now.wall).is_some_and(|wall| wall > self.keep_until);
        self.given_up || self.keys.is_empty() || (over && now.mono.since(self.last_claimed) >= REMEMBERED)
    }
}

/// Gives every whole slot from 1 on, in order.
fn each_slot<S: Segment>(segment: &S, mut each: impl FnMut(u32, &[u8])) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK * SLOT];
    let mut slot: u32 = 1;
    loop {
        let read = segment.read_at(&mut buffer, place(slot))?;
        for bytes in buffer.get(..read).unwrap_or_default().chunks_exact(SLOT) {
            each(slot, bytes);
            slot = slot.saturating_add(1);
        }
        if read < buffer.len() {
            return Ok(());
        }
    }
}

fn place(slot: u32) -> u64 {
    u64::from(slot) * SLOT as u64
}

/// The time that a record's number stands for.
pub(super) fn unix(nanos: i64) -> Unix {
    Unix::from_nanos(i128::from(nanos))
}
