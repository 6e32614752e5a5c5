//! A ring of short records on disk that wait to be told, by up to three ways, each at its own pace. What a way has no room
//! for any more is counted, and the count outlives a restart too.
//!
//! One file: two heads that are written by turns, then slots. Record number n lies in slot n modulo the slots; a record is
//! told by a way once that way's mark is past its number. So the file does not grow, and nothing has to be moved. For
//! another number of slots a second ring is written beside the first, and then the next head says that it is the one: a
//! crash at any moment leaves either. Who has it open could not put another file in its place, having no right.

use std::io;

use portunus_crypto::digest;

use crate::Segment;

/// How many ways there are.
pub const WAYS: usize = 3;
/// The longest record.
pub const LONGEST_RECORD: usize = SLOT - RECORD_HEAD;

const SLOT: usize = 512;
const RECORD_HEAD: usize = 8 + 2 + CHECK;
const CHECK: usize = 8;
/// To be changed with what the head or a record holds: what begins otherwise, or was checked otherwise, is nobody's.
const MAGIC: &[u8; 8] = b"PTSPOOL2";
const HEADS: u64 = 2;
/// Nothing waits for a way with this mark, and nothing is lost to it.
const NOBODY: u64 = u64::MAX;

/// The ring.
#[derive(Debug)]
pub struct Spool<S> {
    disk: S,
    head: Head,
    forgot: u64,
}

/// What is known of the ring, and of each way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Head {
    /// How often it was written: the higher one of both counts.
    turn: u64,
    slots: u64,
    /// Where the ring begins, in slots behind the heads.
    base: u64,
    /// The number of the next record; on disk that of a while ago. No number is given twice.
    next: u64,
    /// The first number that is still to be told; [`NOBODY`] for a way that is not there.
    marks: [u64; WAYS],
    /// How many were lost since a way last said so.
    lost: [u64; WAYS],
}

/// What a way has to tell, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Waiting {
    /// The records.
    pub records: Vec<Vec<u8>>,
    /// How many among them could not be read any more.
    pub rotten: u64,
    /// How many were lost before.
    pub lost: u64,
    /// How many are behind them.
    pub more: u64,
    /// What [`Spool::told`] is to be told afterwards.
    pub end: u64,
}

impl<S: Segment> Spool<S> {
    /// Takes up what is there; `slots` is how many records there is room for. With another number than before, those that
    /// wait are written anew, and what has no room there is lost, and counted.
    ///
    /// # Errors
    /// As the system says: then it is as it was.
    pub fn open(disk: S, slots: u64) -> io::Result<Self> {
        let heads = [read_head(&disk, 0)?, read_head(&disk, 1)?];
        let found = heads.into_iter().flatten().max_by_key(|head| head.turn);
        let head = found.unwrap_or(Head { slots, ..Head::default() });
        let mut spool = Self { disk, head, forgot: 0 };
        let told = head.marks.into_iter().filter(|mark| *mark != NOBODY).max().unwrap_or(0);
        let behind = spool.last_number()?.map_or(0, |last| last.saturating_add(1));
        spool.head.next = head.next.max(behind).max(told);
        if found.is_none() {
            // Whose marks nobody knows has nothing to tell.
            spool.forgot = behind.min(slots);
            spool.head.marks = [spool.head.next; WAYS];
            spool.write_head()?;
        } else if head.slots != slots {
            spool.move_to(slots)?;
        }
        Ok(spool)
    }

    /// Another ring, beside this one; then the head says that it is the one.
    fn move_to(&mut self, slots: u64) -> io::Result<()> {
        let old = self.head;
        let base = if old.base >= slots { 0 } else { old.base.saturating_add(old.slots) };
        let mut new = Head { slots, base, ..old };
        new.keep_from(old.next.saturating_sub(slots));
        let oldest = new.marks.into_iter().min().unwrap_or(NOBODY).max(old.next.saturating_sub(old.slots));
        for number in oldest..old.next {
            if let Some(record) = self.read(number)? {
                self.disk.write_all_at(&slot(number, &record), new.place(number))?;
            }
        }
        self.disk.make_durable()?;
        self.head = new;
        self.write_head()
    }

    /// Keeps a record, durably. Where the ring is full, the oldest goes, and who has not told it has lost it.
    ///
    /// # Errors
    /// As the system says: then it is not kept. One that is too long is cut.
    pub fn add(&mut self, record: &[u8]) -> io::Result<()> {
        let record = record.get(..record.len().min(LONGEST_RECORD)).unwrap_or_default();
        let Head { next, slots, .. } = self.head;
        let full = self.head.marks.iter().any(|&mark| next.saturating_sub(mark) >= slots);
        if full {
            self.head.keep_from(next.saturating_sub(slots.saturating_sub(1)));
            self.write_head()?;
        }
        self.disk.write_all_at(&slot(next, record), self.head.place(next))?;
        self.disk.make_durable()?;
        self.head.next += 1;
        Ok(())
    }

    /// So many never came here.
    ///
    /// # Errors
    /// As the system says: they are counted, and after a restart it is not known any more.
    pub fn lose(&mut self, count: u64) -> io::Result<()> {
        if count == 0 {
            return Ok(());
        }
        let ways = self.head.marks.iter().zip(&mut self.head.lost);
        for (_, lost) in ways.filter(|(mark, _)| **mark != NOBODY) {
            *lost = lost.saturating_add(count);
        }
        self.write_head()
    }

    /// What a way has to tell, `most` records of it.
    ///
    /// # Errors
    /// As the system says.
    pub fn waiting(&self, way: usize, most: usize) -> io::Result<Waiting> {
        let next = self.head.next;
        let mark = self.head.marks.get(way).copied().unwrap_or(next);
        let mut waiting = Waiting { lost: self.counts(way).1, end: mark.min(next), ..Waiting::default() };
        while waiting.end < next && waiting.records.len() < most {
            match self.read(waiting.end)? {
                Some(record) => waiting.records.push(record),
                None => waiting.rotten += 1,
            }
            waiting.end += 1;
        }
        waiting.more = next - waiting.end;
        Ok(waiting)
    }

    /// How many a way has to tell, and how many it has lost since it last said so.
    #[must_use]
    pub fn counts(&self, way: usize) -> (u64, u64) {
        let next = self.head.next;
        let mark = self.head.marks.get(way).copied().unwrap_or(next);
        (next.saturating_sub(mark), self.head.lost.get(way).copied().unwrap_or(0))
    }

    /// How many are there of which nobody knew, when it was opened, whether they were told: both heads were damaged. They
    /// are not told any more.
    #[must_use]
    pub fn forgot(&self) -> u64 {
        self.forgot
    }

    /// How long the file is at most with this ring.
    #[must_use]
    pub fn room(&self) -> u64 {
        HEADS.saturating_add(self.head.base).saturating_add(self.head.slots).saturating_mul(SLOT as u64)
    }

    /// The number of the next record.
    #[must_use]
    pub fn next_number(&self) -> u64 {
        self.head.next
    }

    /// The first number that some way has still to tell.
    #[must_use]
    pub fn slowest(&self) -> u64 {
        self.head.marks.into_iter().min().unwrap_or(NOBODY).min(self.head.next)
    }

    /// Whether a way is there, and has nothing to tell.
    #[must_use]
    pub fn is_idle(&self, way: usize) -> bool {
        self.counts(way) == (0, 0) && self.head.marks.get(way).is_some_and(|mark| *mark != NOBODY)
    }

    /// What some way has still to tell, with its number, as far as it can be read.
    pub fn untold(&self) -> impl Iterator<Item = (u64, Vec<u8>)> {
        let numbers = self.slowest()..self.head.next;
        numbers.filter_map(|number| Some((number, self.read(number).ok().flatten()?)))
    }

    /// A way has told everything before `end`, and that it had lost so many.
    ///
    /// # Errors
    /// As the system says: after a restart it is told once more.
    pub fn told(&mut self, way: usize, end: u64, lost: u64) -> io::Result<()> {
        let next = self.head.next;
        if let (Some(mark), Some(left)) = (self.head.marks.get_mut(way), self.head.lost.get_mut(way)) {
            *mark = (*mark).max(end.min(next));
            *left = left.saturating_sub(lost);
        }
        self.write_head()
    }

    /// Which ways are there from now on. Nothing waits for the others; one that was not there begins with what comes next.
    /// How many that costs each way that is taken out: those that waited for it, and those that it had not said were lost.
    ///
    /// # Errors
    /// As the system says.
    pub fn only(&mut self, there: [bool; WAYS]) -> io::Result<[u64; WAYS]> {
        let before = self.head;
        let mut cost = [0; WAYS];
        for (way, (cost, there)) in cost.iter_mut().zip(there).enumerate() {
            let (waiting, lost) = self.counts(way);
            *cost = if there { 0 } else { waiting.saturating_add(lost) };
        }
        for ((mark, lost), there) in self.head.marks.iter_mut().zip(&mut self.head.lost).zip(there) {
            match (there, *mark == NOBODY) {
                (true, true) => *mark = before.next,
                (false, _) => (*mark, *lost) = (NOBODY, 0),
                (true, false) => (),
            }
        }
        if self.head != before {
            self.write_head()?;
        }
        Ok(cost)
    }

    fn read(&self, number: u64) -> io::Result<Option<Vec<u8>>> {
        let mut slot = [0; SLOT];
        let read = self.disk.read_at(&mut slot, self.head.place(number))?;
        Ok(record(slot.get(..read).unwrap_or_default())
            .filter(|(found, _)| *found == number)
            .map(|(_, record)| record))
    }

    fn last_number(&self) -> io::Result<Option<u64>> {
        let mut last = None;
        let mut slot = [0; SLOT];
        for at in 0..self.head.slots {
            let read = self.disk.read_at(&mut slot, self.head.place(at))?;
            let number = record(slot.get(..read).unwrap_or_default()).map(|(number, _)| number);
            last = last.max(number.filter(|number| number % self.head.slots == at));
        }
        Ok(last)
    }

    fn write_head(&mut self) -> io::Result<()> {
        self.head.turn += 1;
        self.disk.write_all_at(&self.head.bytes(), self.head.turn % HEADS * SLOT as u64)?;
        self.disk.make_durable()
    }
}

/// The words of a head: four, and two for each way.
const WORDS: usize = 4 + 2 * WAYS;

impl Head {
    fn place(&self, number: u64) -> u64 {
        (HEADS + self.base + number % self.slots.max(1)) * SLOT as u64
    }

    /// What is older than `oldest` is lost to who has not told it.
    fn keep_from(&mut self, oldest: u64) {
        let ways = self.marks.iter_mut().zip(&mut self.lost);
        for (mark, lost) in ways.filter(|(mark, _)| **mark != NOBODY) {
            *lost = lost.saturating_add(oldest.saturating_sub(*mark));
            *mark = (*mark).max(oldest);
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let Self { turn, slots, base, next, marks, lost } = *self;
        let words = [turn, slots, base, next].into_iter().chain(marks).chain(lost);
        let mut bytes = MAGIC.to_vec();
        bytes.extend(words.flat_map(u64::to_le_bytes));
        let sum = digest::sha256(&[&bytes]);
        bytes.extend(sum.get(..CHECK).unwrap_or_default());
        bytes
    }
}

fn read_head(disk: &impl Segment, which: u64) -> io::Result<Option<Head>> {
    let mut bytes = [0; 8 + WORDS * 8 + CHECK];
    if disk.read_at(&mut bytes, which * SLOT as u64)? < bytes.len() {
        return Ok(None);
    }
    let (said, sum) = bytes.split_at(bytes.len() - CHECK);
    if !said.starts_with(MAGIC) || !digest::sha256(&[said]).starts_with(sum) {
        return Ok(None);
    }
    let mut words =
        said.get(8..).unwrap_or_default().as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word));
    let mut word = || words.next().unwrap_or_default();
    let (turn, slots, base, next) = (word(), word(), word(), word());
    let marks = std::array::from_fn(|_| word());
    let lost = std::array::from_fn(|_| word());
    Ok(Some(Head { turn, slots, base, next, marks, lost }))
}

fn check(number: u64, record: &[u8]) -> [u8; CHECK] {
    let sum = digest::sha256(&[MAGIC, &number.to_le_bytes(), record]);
    sum.first_chunk().copied().unwrap_or_default()
}

fn slot(number: u64, record: &[u8]) -> Vec<u8> {
    let mut slot = Vec::with_capacity(SLOT);
    slot.extend(number.to_le_bytes());
    slot.extend(u16::try_from(record.len()).unwrap_or(0).to_le_bytes());
    slot.extend(check(number, record));
    slot.extend(record);
    slot.resize(SLOT, 0);
    slot
}

fn record(slot: &[u8]) -> Option<(u64, Vec<u8>)> {
    let number = u64::from_le_bytes(*slot.first_chunk()?);
    let length = usize::from(u16::from_le_bytes(*slot.get(8..)?.first_chunk()?));
    let sum: &[u8; CHECK] = slot.get(10..)?.first_chunk()?;
    let record = slot.get(RECORD_HEAD..)?.get(..length)?;
    (check(number, record) == *sum).then(|| (number, record.to_vec()))
}

#[cfg(test)]
mod tests;
