//! A ring of short records on disk that wait to be told, by up to three ways, each at its own pace. What a way has no room
//! for any more is counted, and the count outlives a restart too.
//!
//! One file: two heads that are written by turns, then slots. Record number n lies in slot n modulo the slots; a record is
//! told by a way once that way's mark is past its number. So the file never grows, and nothing has to be moved.

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
const MAGIC: &[u8; 8] = b"PTSPOOL1";
const HEADS: u64 = 2;
/// Nothing waits for a way with this mark, and nothing is lost to it.
const NOBODY: u64 = u64::MAX;

/// The ring.
#[derive(Debug)]
pub struct Spool<S> {
    disk: S,
    slots: u64,
    /// The number of the next record.
    next: u64,
    head: Head,
}

/// What is known of each way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Head {
    /// How often it was written: the higher one of both counts.
    turn: u64,
    slots: u64,
    /// The first number that is still to be told; [`NOBODY`] for a way that is not there.
    marks: [u64; WAYS],
    /// How many were lost since a way last said so.
    lost: [u64; WAYS],
}

/// A record that waits, and its number.
pub type Waiting = (u64, Vec<u8>);

impl<S: Segment> Spool<S> {
    /// Takes up what is there; `slots` is how many records there is room for. With another number than before, those that
    /// wait are written anew.
    ///
    /// # Errors
    /// As the system says. What has rotted is passed over: a record that is not whole was never told to be kept.
    pub fn open(disk: S, slots: u64) -> io::Result<Self> {
        let heads = [read_head(&disk, 0)?, read_head(&disk, 1)?];
        let head = heads.into_iter().flatten().max_by_key(|head| head.turn).unwrap_or_default();
        let fresh = Head { turn: head.turn, slots, ..Head::default() };
        let mut spool = Self { disk, slots: head.slots, next: 0, head };
        let told = head.marks.into_iter().filter(|mark| *mark != NOBODY).max();
        spool.next = spool.last_number()?.map_or(0, |last| last + 1).max(told.unwrap_or(0));
        if head.slots == slots {
            return Ok(spool);
        }
        let waiting: Vec<Vec<Waiting>> =
            (0..WAYS).map(|way| spool.waiting(way, usize::MAX)).collect::<io::Result<_>>()?;
        let most = waiting.iter().max_by_key(|all| all.len()).cloned().unwrap_or_default();
        let lost = spool.head.lost;
        // Before they are written: what a way has told already is not lost to it.
        let mut marks = spool.head.marks;
        for (mark, all) in marks.iter_mut().zip(&waiting).filter(|(mark, _)| **mark != NOBODY) {
            *mark = most.len().saturating_sub(all.len()) as u64;
        }
        spool.disk.empty()?;
        (spool.slots, spool.next, spool.head) = (slots, 0, Head { lost, marks, ..fresh });
        for (_, record) in &most {
            spool.add(record)?;
        }
        spool.write_head()?;
        Ok(spool)
    }

    /// Keeps a record, durably. Where the ring is full, the oldest goes, and who has not told it has lost it.
    ///
    /// # Errors
    /// As the system says: then it is not kept. One that is too long is cut.
    pub fn add(&mut self, record: &[u8]) -> io::Result<()> {
        let record = record.get(..record.len().min(LONGEST_RECORD)).unwrap_or_default();
        let full = self.head.marks.iter().any(|&mark| self.next.saturating_sub(mark) >= self.slots);
        if full {
            self.make_room();
            self.write_head()?;
        }
        let mut slot = Vec::with_capacity(SLOT);
        slot.extend(self.next.to_le_bytes());
        slot.extend(u16::try_from(record.len()).unwrap_or(0).to_le_bytes());
        slot.extend(check(self.next, record));
        slot.extend(record);
        slot.resize(SLOT, 0);
        self.disk.write_all_at(&slot, self.place(self.next))?;
        self.disk.make_durable()?;
        self.next += 1;
        Ok(())
    }

    fn make_room(&mut self) {
        let oldest = self.next.saturating_sub(self.slots.saturating_sub(1));
        let ways = self.head.marks.iter_mut().zip(&mut self.head.lost);
        for (mark, lost) in ways.filter(|(mark, _)| **mark != NOBODY) {
            *lost += oldest.saturating_sub(*mark);
            *mark = (*mark).max(oldest);
        }
    }

    /// So many never came here.
    pub fn lose(&mut self, count: u64) {
        let ways = self.head.marks.iter().zip(&mut self.head.lost);
        for (_, lost) in ways.filter(|(mark, _)| **mark != NOBODY) {
            *lost = lost.saturating_add(count);
        }
    }

    /// What a way has still to tell, the oldest first.
    ///
    /// # Errors
    /// As the system says.
    pub fn waiting(&self, way: usize, most: usize) -> io::Result<Vec<Waiting>> {
        let mark = self.head.marks.get(way).copied().unwrap_or(self.next);
        let mut waiting = Vec::new();
        for number in mark..self.next {
            if waiting.len() >= most {
                break;
            }
            if let Some(record) = self.read(number)? {
                waiting.push((number, record));
            }
        }
        Ok(waiting)
    }

    /// How many a way has to tell, and how many it has lost since it last said so.
    #[must_use]
    pub fn counts(&self, way: usize) -> (u64, u64) {
        let mark = self.head.marks.get(way).copied().unwrap_or(self.next);
        (self.next.saturating_sub(mark), self.head.lost.get(way).copied().unwrap_or(0))
    }

    /// A way has told everything before `number`, and that it had lost so many.
    ///
    /// # Errors
    /// As the system says: after a restart it is told once more.
    pub fn told(&mut self, way: usize, number: u64, lost: u64) -> io::Result<()> {
        if let (Some(mark), Some(left)) = (self.head.marks.get_mut(way), self.head.lost.get_mut(way)) {
            *mark = (*mark).max(number.min(self.next));
            *left = left.saturating_sub(lost);
        }
        self.write_head()
    }

    /// Which ways are there from now on. Nothing waits for the others; one that was not there begins with what comes next.
    ///
    /// # Errors
    /// As the system says.
    pub fn only(&mut self, there: [bool; WAYS]) -> io::Result<()> {
        let before = self.head;
        for ((mark, lost), there) in self.head.marks.iter_mut().zip(&mut self.head.lost).zip(there) {
            match (there, *mark == NOBODY) {
                (true, true) => *mark = self.next,
                (false, _) => (*mark, *lost) = (NOBODY, 0),
                (true, false) => (),
            }
        }
        if self.head == before { Ok(()) } else { self.write_head() }
    }

    fn place(&self, number: u64) -> u64 {
        (HEADS + number % self.slots.max(1)) * SLOT as u64
    }

    fn read(&self, number: u64) -> io::Result<Option<Vec<u8>>> {
        let mut slot = [0; SLOT];
        let read = self.disk.read_at(&mut slot, self.place(number))?;
        Ok(record(slot.get(..read).unwrap_or_default())
            .filter(|(found, _)| *found == number)
            .map(|(_, record)| record))
    }

    fn last_number(&self) -> io::Result<Option<u64>> {
        let mut last = None;
        let mut slot = [0; SLOT];
        for at in 0..self.slots {
            let read = self.disk.read_at(&mut slot, (HEADS + at) * SLOT as u64)?;
            last = last.max(record(slot.get(..read).unwrap_or_default()).map(|(number, _)| number));
        }
        Ok(last)
    }

    fn write_head(&mut self) -> io::Result<()> {
        self.head.turn += 1;
        let numbers =
            [self.head.turn, self.head.slots].into_iter().chain(self.head.marks).chain(self.head.lost);
        let mut bytes = MAGIC.to_vec();
        bytes.extend(numbers.flat_map(u64::to_le_bytes));
        let sum = digest::sha256(&[&bytes]);
        bytes.extend(sum.get(..CHECK).unwrap_or_default());
        self.disk.write_all_at(&bytes, self.head.turn % HEADS * SLOT as u64)?;
        self.disk.make_durable()
    }
}

/// The words of a head: the turn, the slots, and two for each way.
const WORDS: usize = 2 + 2 * WAYS;

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
    let mut next = || words.next().unwrap_or_default();
    let (turn, slots) = (next(), next());
    let marks = std::array::from_fn(|_| next());
    let lost = std::array::from_fn(|_| next());
    Ok(Some(Head { turn, slots, marks, lost }))
}

fn check(number: u64, record: &[u8]) -> [u8; CHECK] {
    let sum = digest::sha256(&[&number.to_le_bytes(), record]);
    sum.first_chunk().copied().unwrap_or_default()
}

fn record(slot: &[u8]) -> Option<(u64, Vec<u8>)> {
    let number = u64::from_le_bytes(*slot.first_chunk()?);
    let length = usize::from(u16::from_le_bytes(*slot.get(8..)?.first_chunk()?));
    let sum: &[u8; CHECK] = slot.get(10..)?.first_chunk()?;
    let record = slot.get(RECORD_HEAD..)?.get(..length)?;
    (check(number, record) == *sum).then(|| (number, record.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Disk;

    fn letters(spool: &Spool<Disk>, way: usize) -> String {
        let waiting = spool.waiting(way, usize::MAX).unwrap();
        waiting.iter().map(|(_, record)| char::from(record[0])).collect()
    }

    fn open(disk: &Disk, slots: u64) -> Spool<Disk> {
        Spool::open(disk.clone(), slots).unwrap()
    }

    #[test]
    fn what_waits_outlives_a_restart_and_each_way_goes_at_its_own_pace() {
        let disk = Disk::default();
        let mut spool = open(&disk, 8);
        for letter in b"abc" {
            spool.add(&[*letter; 10]).unwrap();
        }
        let (number, _) = spool.waiting(1, usize::MAX).unwrap()[1];
        spool.told(1, number + 1, 0).unwrap();
        spool.only([true, true, false]).unwrap();
        for spool in [&spool, &open(&disk, 8)] {
            assert_eq!(
                (letters(spool, 0), letters(spool, 1), letters(spool, 2)),
                ("abc".into(), "c".into(), String::new())
            );
        }
        let mut again = open(&disk, 8);
        again.add(b"d").unwrap();
        assert_eq!((letters(&again, 0), letters(&again, 2)), ("abcd".into(), String::new()));
        // A way that comes later hears nothing old.
        let mut again = open(&disk, 8);
        again.only([true; WAYS]).unwrap();
        again.add(b"e").unwrap();
        assert_eq!((letters(&again, 0), letters(&again, 2)), ("abcde".into(), "e".into()));
        assert_eq!(again.waiting(0, 2).unwrap().len(), 2);
    }

    #[test]
    fn a_full_ring_counts_what_it_loses_and_says_it_once() {
        let disk = Disk::default();
        let mut spool = open(&disk, 4);
        for letter in b"abcdefg" {
            spool.add(&[*letter]).unwrap();
            spool.told(1, u64::MAX, 0).unwrap();
        }
        assert_eq!((letters(&spool, 0), spool.counts(0), spool.counts(1)), ("defg".into(), (4, 3), (0, 0)));
        let mut again = open(&disk, 4);
        assert_eq!((letters(&again, 0), again.counts(0)), ("defg".into(), (4, 3)));
        again.lose(2);
        again.told(0, u64::MAX, 3).unwrap();
        assert_eq!((letters(&again, 0), again.counts(0)), (String::new(), (0, 2)));
        assert_eq!(disk.bytes().len(), (2 + 4) * SLOT, "it never grows");
    }

    #[test]
    fn nothing_is_lost_to_a_way_that_is_not_there() {
        let disk = Disk::default();
        let mut spool = open(&disk, 4);
        spool.only([true, false, false]).unwrap();
        for letter in b"abcdefghij" {
            spool.add(&[*letter]).unwrap();
            spool.told(0, u64::MAX, 0).unwrap();
        }
        spool.lose(1);
        let counts = |spool: &Spool<Disk>| [0, 1, 2].map(|way| spool.counts(way));
        assert_eq!(counts(&spool), [(0, 1), (0, 0), (0, 0)]);
        spool.told(0, u64::MAX, 1).unwrap();
        for slots in [4, 8, 2] {
            assert_eq!(counts(&open(&disk, slots)), [(0, 0); WAYS], "{slots}");
        }
    }

    #[test]
    fn another_size_keeps_what_waits() {
        let disk = Disk::default();
        let mut spool = open(&disk, 4);
        for letter in b"abcdef" {
            spool.add(&[*letter]).unwrap();
        }
        let (number, _) = spool.waiting(1, usize::MAX).unwrap()[2];
        spool.told(1, number + 1, 0).unwrap();
        let larger = open(&disk, 8);
        assert_eq!(
            (letters(&larger, 0), letters(&larger, 1), larger.counts(0)),
            ("cdef".into(), "f".into(), (4, 2))
        );
        let smaller = open(&disk, 2);
        assert_eq!(
            (letters(&smaller, 0), letters(&smaller, 1), smaller.counts(0)),
            ("ef".into(), "f".into(), (2, 4))
        );
        assert_eq!((larger.counts(1), smaller.counts(1)), ((1, 2), (1, 2)), "what it has told is not lost");
    }

    #[test]
    fn a_cut_at_any_write_loses_nothing_that_was_kept() {
        for stop in 0..30 {
            let disk = Disk::default();
            let mut spool = open(&disk, 4);
            disk.fail_after(Some(stop));
            let mut kept = String::new();
            for letter in b"abcdefgh" {
                if spool.add(&[*letter]).is_ok() {
                    kept.push(char::from(*letter));
                }
            }
            disk.fail_after(None);
            disk.lose_power(|sector| sector % 2 == 0);
            let again = open(&disk, 4);
            let (waiting, lost) = again.counts(0);
            let last: String = kept
                .chars()
                .rev()
                .take(letters(&again, 0).len())
                .collect::<Vec<_>>()
                .into_iter()
                .rev()
                .collect();
            let shown = letters(&again, 0);
            // One more may have come to the disk than was said.
            assert!(
                shown.starts_with(&last) || shown.contains(&kept[kept.len().saturating_sub(3)..]),
                "{stop}: {kept} {shown}"
            );
            assert!(lost + waiting >= kept.len() as u64, "{stop}: {kept}: {waiting} {lost}");
        }
    }

    #[test]
    fn rot_and_nonsense_are_passed_over() {
        let disk = Disk::default();
        let mut spool = open(&disk, 4);
        for letter in b"abc" {
            spool.add(&[*letter; 20]).unwrap();
        }
        let mut bytes = disk.bytes();
        bytes[3 * SLOT + RECORD_HEAD] ^= 1;
        assert_eq!(letters(&open(&Disk::holding(bytes), 4), 0), "ac");
        assert_eq!(letters(&open(&Disk::holding(vec![7; 5000]), 4), 0), "");
        spool.add(&[b'x'; 5000]).unwrap();
        assert_eq!(spool.waiting(0, 9).unwrap()[3].1.len(), LONGEST_RECORD);
    }
}
