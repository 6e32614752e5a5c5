//! A ring of short records on disk that wait to be told, by up to three ways, each at its own pace. What a way has no room
//! for any more is counted, and the count outlives a restart too.
//!
//! One file: two heads that are written by turns, then slots. Record number n lies in slot n modulo the slots; a record is
//! told by a way once that way's mark is past its number. So the file does not grow, and nothing has to be moved. For
//! another number of slots a second ring is written beside the first, and then the next head says that it is the one: a
//! crash at any moment leaves either. Who has it open could not put another file in its place, having no right.

use std::collections::BTreeSet;
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
/// What a head of ours can say at most: what says more is none, whatever its sum is.
const MOST_SLOTS: u64 = 100_000;
const MOST_BASE: u64 = 2 * MOST_SLOTS;
const MOST_NUMBER: u64 = u64::MAX / 2;

/// The ring.
#[derive(Debug)]
pub struct Spool<S> {
    disk: S,
    head: Head,
    forgot: u64,
    not_moved: Option<io::Error>,
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
    ways: [Way; WAYS],
}

/// What is known of one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Way {
    /// The first number that is still to be told; [`NOBODY`] for a way that is not there.
    mark: u64,
    /// How many were lost since it last said so.
    lost: u64,
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
    /// wait are written anew, and what has no room there is lost, and counted. Where the disk has no room for that it goes on as it
    /// was, and [`Self::not_moved`] says so.
    ///
    /// # Errors
    /// As the system says.
    pub fn open(disk: S, slots: u64) -> io::Result<Self> {
        let heads = [read_head(&disk, 0), read_head(&disk, 1)];
        let found = heads.into_iter().flatten().max_by_key(|head| head.turn);
        let head = found.unwrap_or(Head { slots, ..Head::default() });
        let mut spool = Self { disk, head, forgot: 0, not_moved: None };
        if found.is_none() {
            // Whose marks nobody knows has nothing to tell.
            let numbers = spool.all_numbers()?;
            spool.forgot = numbers.len() as u64;
            let next = numbers.last().map_or(0, |last| last.saturating_add(1));
            (spool.head.next, spool.head.ways) = (next, [Way { mark: next, lost: 0 }; WAYS]);
            spool.write_head()?;
            return Ok(spool);
        }
        let told = head.there().map(|way| way.mark).max().unwrap_or(0);
        spool.head.next = spool.behind_the_last(head.next.max(told));
        if head.slots != slots {
            spool.not_moved = spool.move_to(slots).err();
        }
        Ok(spool)
    }

    /// Another ring, beside this one; then the head says that it is the one.
    fn move_to(&mut self, slots: u64) -> io::Result<()> {
        let old = self.head;
        let base = if old.base >= slots { 0 } else { old.base.saturating_add(old.slots) };
        let mut new = Head { slots, base, ..old };
        new.keep_from(old.next.saturating_sub(slots));
        let oldest = new.oldest_mark().max(old.next.saturating_sub(old.slots));
        for number in oldest..old.next {
            if let Some(record) = self.read(number) {
                self.disk.write_all_at(&slot(number, &record), new.place(number))?;
            }
        }
        self.disk.make_durable()?;
        self.head = new;
        self.write_head().inspect_err(|_| {
            self.head = old;
            // Some of the other head may be on the disk: in its place.
            let _ = self.write_head();
        })
    }

    /// Keeps a record, durably. Where the ring is full, the oldest goes, and who has not told it has lost it.
    ///
    /// # Errors
    /// As the system says: then it is not kept. One that is too long is cut.
    pub fn add(&mut self, record: &[u8]) -> io::Result<()> {
        let record = record.get(..record.len().min(LONGEST_RECORD)).unwrap_or_default();
        let Head { next, slots, .. } = self.head;
        let full = self.head.ways.iter().any(|way| next.saturating_sub(way.mark) >= slots);
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
        self.head.there_mut().for_each(|way| way.lost = way.lost.saturating_add(count));
        self.write_head()
    }

    /// The same for one way.
    ///
    /// # Errors
    /// As [`Self::lose`].
    pub fn lose_to(&mut self, way: usize, count: u64) -> io::Result<()> {
        if let Some(way) = self.head.ways.get_mut(way).filter(|way| way.mark != NOBODY && count > 0) {
            way.lost = way.lost.saturating_add(count);
            self.write_head()?;
        }
        Ok(())
    }

    /// What a way has to tell, `most` records of it.
    #[must_use]
    pub fn waiting(&self, way: usize, most: usize) -> Waiting {
        self.waiting_before(way, most, self.head.next)
    }

    /// What a way has to tell of what comes before number `end`: what it had to tell when this was its [`Waiting::end`].
    #[must_use]
    pub fn waiting_to(&self, way: usize, end: u64) -> Waiting {
        self.waiting_before(way, usize::MAX, end.min(self.head.next))
    }

    fn waiting_before(&self, way: usize, most: usize, before: u64) -> Waiting {
        let next = self.head.next;
        let Way { mark, lost } = self.way(way);
        let mut waiting = Waiting { lost, end: mark.min(next), ..Waiting::default() };
        while waiting.end < before && waiting.records.len() < most {
            match self.read(waiting.end) {
                Some(record) => waiting.records.push(record),
                None => waiting.rotten += 1,
            }
            waiting.end += 1;
        }
        waiting.more = next - waiting.end;
        waiting
    }

    /// How many a way has to tell, and how many it has lost since it last said so.
    #[must_use]
    pub fn counts(&self, way: usize) -> (u64, u64) {
        let Way { mark, lost } = self.way(way);
        (self.head.next.saturating_sub(mark), lost)
    }

    /// How many are there of which nobody knew, when it was opened, whether they were told: both heads were damaged. They
    /// are not told any more.
    #[must_use]
    pub fn forgot(&self) -> u64 {
        self.forgot
    }

    /// How many places it has.
    #[must_use]
    pub fn slots(&self) -> u64 {
        self.head.slots
    }

    /// Why it has as many as before, and not as many as it was opened with.
    #[must_use]
    pub fn not_moved(&self) -> Option<&io::Error> {
        self.not_moved.as_ref()
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
        self.head.oldest_mark().min(self.head.next)
    }

    /// Whether a way is there, and has nothing to tell.
    #[must_use]
    pub fn is_idle(&self, way: usize) -> bool {
        self.counts(way) == (0, 0) && self.way(way).mark != NOBODY
    }

    /// One that there never is has nothing to tell.
    fn way(&self, way: usize) -> Way {
        self.head.ways.get(way).copied().unwrap_or(Way { mark: NOBODY, lost: 0 })
    }

    /// What some way has still to tell, with its number, as far as it can be read.
    pub fn untold(&self) -> impl Iterator<Item = (u64, Vec<u8>)> {
        let numbers = self.slowest()..self.head.next;
        numbers.filter_map(|number| Some((number, self.read(number)?)))
    }

    /// A way has told everything before `end`, and that it had lost so many.
    ///
    /// # Errors
    /// As the system says: after a restart it is told once more.
    pub fn told(&mut self, way: usize, end: u64, lost: u64) -> io::Result<()> {
        let next = self.head.next;
        if let Some(way) = self.head.ways.get_mut(way) {
            way.mark = way.mark.max(end.min(next));
            way.lost = way.lost.saturating_sub(lost);
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
        for (way, there) in self.head.ways.iter_mut().zip(there) {
            match (there, way.mark == NOBODY) {
                (true, true) => way.mark = before.next,
                (false, _) => *way = Way { mark: NOBODY, lost: 0 },
                (true, false) => (),
            }
        }
        if self.head != before {
            self.write_head()?;
        }
        Ok(cost)
    }

    /// What cannot be read is as rotten as what has another sum: one bad sector is not in the way of the others.
    fn read(&self, number: u64) -> Option<Vec<u8>> {
        let mut slot = [0; SLOT];
        let read = self.disk.read_at(&mut slot, self.head.place(number)).ok()?;
        record(slot.get(..read)?).filter(|(found, _)| *found == number).map(|(_, record)| record)
    }

    /// The number behind the last record that is there, and behind `known` at least. Places behind that which cannot be
    /// read may hold more of them: those are missed then, rather than written over unheard.
    fn behind_the_last(&self, known: u64) -> u64 {
        let slots = self.head.slots.max(1);
        let (mut behind, mut unreadable) = (known, BTreeSet::new());
        let mut slot = [0; SLOT];
        for at in 0..slots {
            match self.disk.read_at(&mut slot, self.head.place(at)) {
                Ok(read) => {
                    let found = record(slot.get(..read).unwrap_or_default()).map(|(number, _)| number);
                    let last = found.filter(|number| number % slots == at);
                    behind = behind.max(last.map_or(0, |last| last.saturating_add(1)));
                }
                Err(_) => drop(unreadable.insert(at)),
            }
        }
        while unreadable.remove(&(behind % slots)) {
            behind += 1;
        }
        behind
    }

    /// The numbers of all records that can be read, wherever a ring was. A disk on which hardly anything can be read is none:
    /// each try on it may take its time.
    fn all_numbers(&self) -> io::Result<BTreeSet<u64>> {
        const MOST_UNREADABLE: u32 = 16;
        let (mut numbers, mut slot, mut unreadable) = (BTreeSet::new(), [0; SLOT], 0);
        for at in HEADS..HEADS + MOST_BASE + MOST_SLOTS {
            match self.disk.read_at(&mut slot, at * SLOT as u64) {
                Ok(0) => break,
                Ok(read) => {
                    numbers.extend(record(slot.get(..read).unwrap_or_default()).map(|(number, _)| number));
                }
                Err(error) => {
                    unreadable += 1;
                    if unreadable >= MOST_UNREADABLE {
                        return Err(error);
                    }
                }
            }
        }
        Ok(numbers)
    }

    /// Where the last one stands stays untouched until this one is on the disk: what failed is written anew in its place.
    fn write_head(&mut self) -> io::Result<()> {
        let head = Head { turn: self.head.turn + 1, ..self.head };
        self.disk.write_all_at(&head.bytes(), head.turn % HEADS * SLOT as u64)?;
        self.disk.make_durable()?;
        self.head = head;
        Ok(())
    }
}

/// The words of a head: four, and two for each way.
const WORDS: usize = 4 + 2 * WAYS;

impl Head {
    fn place(&self, number: u64) -> u64 {
        (HEADS + self.base + number % self.slots.max(1)) * SLOT as u64
    }

    fn there(&self) -> impl Iterator<Item = &Way> {
        self.ways.iter().filter(|way| way.mark != NOBODY)
    }

    fn there_mut(&mut self) -> impl Iterator<Item = &mut Way> {
        self.ways.iter_mut().filter(|way| way.mark != NOBODY)
    }

    fn oldest_mark(&self) -> u64 {
        self.ways.iter().map(|way| way.mark).min().unwrap_or(NOBODY)
    }

    /// What is older than `oldest` is lost to who has not told it.
    fn keep_from(&mut self, oldest: u64) {
        for way in self.there_mut() {
            way.lost = way.lost.saturating_add(oldest.saturating_sub(way.mark));
            way.mark = way.mark.max(oldest);
        }
    }

    /// Whether one of ours can say so: then no sum of these numbers is too large.
    fn is_sane(&self) -> bool {
        (1..=MOST_SLOTS).contains(&self.slots)
            && self.base <= MOST_BASE
            && self.next < MOST_NUMBER
            && self.turn < MOST_NUMBER
            && self.there().all(|way| way.mark < MOST_NUMBER)
    }

    fn bytes(&self) -> Vec<u8> {
        let Self { turn, slots, base, next, ways } = *self;
        let words = [turn, slots, base, next].into_iter();
        let words = words.chain(ways.map(|way| way.mark)).chain(ways.map(|way| way.lost));
        let mut bytes = MAGIC.to_vec();
        bytes.extend(words.flat_map(u64::to_le_bytes));
        let sum = digest::sha256(&[&bytes]);
        bytes.extend(sum.get(..CHECK).unwrap_or_default());
        bytes
    }
}

/// None that can be read, or none of ours.
fn read_head(disk: &impl Segment, which: u64) -> Option<Head> {
    let mut bytes = [0; 8 + WORDS * 8 + CHECK];
    if disk.read_at(&mut bytes, which * SLOT as u64).ok()? < bytes.len() {
        return None;
    }
    let (said, sum) = bytes.split_at(bytes.len() - CHECK);
    if !said.starts_with(MAGIC) || !digest::sha256(&[said]).starts_with(sum) {
        return None;
    }
    let mut words = said.get(8..)?.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word));
    let mut word = || words.next().unwrap_or_default();
    let (turn, slots, base, next) = (word(), word(), word(), word());
    let marks: [u64; WAYS] = std::array::from_fn(|_| word());
    let ways = marks.map(|mark| Way { mark, lost: word() });
    Some(Head { turn, slots, base, next, ways }).filter(Head::is_sane)
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
    (check(number, record) == *sum && number < MOST_NUMBER).then(|| (number, record.to_vec()))
}

#[cfg(test)]
mod tests;
