//! One of the two segments of the replay store, and what is known of it in memory.

use std::collections::HashSet;
use std::io;

use portunus_model::{ClaimKey, Mono, Now, Unix};

use super::record::{Content, Header, MAGIC, Record, SLOT, WANTED};
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
    first_claimed: Option<Mono>,
    /// What it held is covered by the horizon, or carried over.
    pub(super) given_up: bool,
}

/// What was found in a segment besides its claims.
pub(super) struct Found {
    pub(super) horizon: Option<i64>,
    /// A slot that had been durable cannot be read.
    pub(super) damaged: bool,
    /// The widest window that any claim was made with, in nanoseconds.
    pub(super) widest: i64,
    /// The latest stamp of any claim.
    pub(super) latest: i64,
}

impl<S: Segment> Half<S> {
    /// Reads everything that is in `segment`.
    pub(super) fn load(segment: S, boot: BootId) -> Result<(Self, Found), StoreError> {
        let opening = segment::open(&segment, MAGIC, WANTED, Header::decode)?;
        let mut half = Self {
            segment,
            generation: 0,
            tail: 1,
            keys: HashSet::new(),
            keep_until: i64::MIN,
            last_claimed: Mono::default(),
            first_claimed: None,
            given_up: false,
        };
        let mut found = Found { horizon: None, damaged: false, widest: 0, latest: i64::MIN };
        let Opening::InUse(header) = opening else { return Ok((half, found)) };
        half.generation = header.generation;
        found.horizon = header.horizon;
        half.scan(boot, &mut found).map_err(StoreError::io("reading the replay store"))?;
        Ok((half, found))
    }

    fn scan(&mut self, boot: BootId, found: &mut Found) -> io::Result<()> {
        let (mut durable, mut next) = (1, 1);
        let mut holes = Vec::new();
        let (segment, generation) = (&self.segment, self.generation);
        let mut claims = Vec::new();
        each_slot(segment, generation, |slot, record| {
            next = slot.saturating_add(1);
            let Some(record) = record else { return holes.push(slot) };
            durable = durable.max(record.base);
            match record.content {
                Content::Claim { key, stamp, keep_until, claimed, boot: tag } => {
                    found.widest = found.widest.max(keep_until.saturating_sub(stamp));
                    found.latest = found.latest.max(stamp);
                    claims.push((key, keep_until, in_this_boot(claimed, tag, boot)));
                }
                Content::Horizon(horizon) => found.horizon = found.horizon.max(Some(horizon)),
            }
        })?;
        self.keys.reserve(claims.len());
        for (key, keep_until, claimed) in claims {
            self.note(key, keep_until, claimed);
        }
        found.damaged = holes.iter().any(|&slot| slot < durable);
        // A hole of a torn batch is written over: what lies behind it was never acknowledged either.
        self.tail = holes.into_iter().find(|&slot| slot >= durable).unwrap_or(next);
        Ok(())
    }

    /// The stamps of its claims, as they are on disk, in order of time.
    pub(super) fn stamps(&self) -> io::Result<Vec<i64>> {
        let mut stamps = Vec::with_capacity(self.keys.len());
        each_slot(&self.segment, self.generation, |_, record| match record.map(|record| record.content) {
            Some(Content::Claim { stamp, .. }) => stamps.push(stamp),
            Some(Content::Horizon(_)) | None => {}
        })?;
        stamps.sort_unstable();
        Ok(stamps)
    }

    /// Its claims of packets stamped after `horizon`, as they are on disk.
    pub(super) fn claims_after(&self, horizon: i64) -> io::Result<Vec<Content>> {
        let mut claims = Vec::new();
        each_slot(&self.segment, self.generation, |_, record| match record.map(|record| record.content) {
            Some(content @ Content::Claim { stamp, .. }) if stamp > horizon => claims.push(content),
            Some(Content::Claim { .. } | Content::Horizon(_)) | None => {}
        })?;
        Ok(claims)
    }

    /// Appends `contents` and comes back when they are durable. After a failure nothing has changed: the next batch
    /// is written over what this one may have left.
    pub(super) fn append(&mut self, contents: &[Content], buffer: &mut Vec<u8>) -> io::Result<()> {
        buffer.clear();
        for &content in contents {
            Record { content, base: self.tail, generation: self.generation }.encode(buffer);
        }
        self.segment.write_all_at(buffer, place(self.tail))?;
        self.segment.make_durable()?;
        self.tail = self.tail.saturating_add(u32::try_from(contents.len()).unwrap_or(u32::MAX));
        Ok(())
    }

    /// Remembers a claim of this segment.
    pub(super) fn note(&mut self, key: ClaimKey, keep_until: i64, claimed: Mono) {
        self.keys.insert(key);
        self.keep_until = self.keep_until.max(keep_until);
        self.last_claimed = self.last_claimed.max(claimed);
        self.first_claimed = Some(self.first_claimed.map_or(claimed, |first| first.min(claimed)));
    }

    /// Begins a new turn with nothing in it.
    pub(super) fn begin(&mut self, header: Header) -> io::Result<()> {
        self.segment.empty()?;
        self.segment.write_all_at(&header.encode(), 0)?;
        self.segment.make_durable()?;
        self.generation = header.generation;
        self.tail = 1;
        // Not `clear`: a burst's memory is given back.
        self.keys = HashSet::new();
        self.keep_until = i64::MIN;
        self.last_claimed = Mono::default();
        self.first_claimed = None;
        self.given_up = false;
        Ok(())
    }

    /// Whether nothing in it can ever be fresh again: by the wall clock, and by the one that nobody can set back.
    pub(super) fn is_forgettable(&self, now: Now) -> bool {
        let over = record::nanos(now.wall).is_some_and(|wall| wall > self.keep_until);
        self.given_up || self.keys.is_empty() || (over && now.mono.since(self.last_claimed) >= REMEMBERED)
    }

    /// Whether its first claim is so old that it is worth beginning a new turn.
    pub(super) fn is_aged(&self, now: Now) -> bool {
        self.first_claimed.is_some_and(|first| now.mono.since(first) >= REMEMBERED)
    }
}

/// Gives every whole slot from 1 on, in order; `None` for one that holds no record of this turn.
fn each_slot<S: Segment>(
    segment: &S,
    generation: u32,
    mut each: impl FnMut(u32, Option<Record>),
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK * SLOT];
    let mut slot: u32 = 1;
    loop {
        let read = segment.read_at(&mut buffer, place(slot))?;
        for bytes in buffer.get(..read).unwrap_or_default().chunks_exact(SLOT) {
            each(slot, Record::decode(bytes, generation));
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
