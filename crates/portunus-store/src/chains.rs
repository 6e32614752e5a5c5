//! The chains of the native dialect: for each door and each client's link the first day that there still is a key for, and
//! that day's value. A value that is advanced is written over the one before it, so that yesterday's is gone.
//!
//! One file: a journal of a fixed size, then slots of 80 bytes. A batch of changes is written into the journal, then into the
//! slots, each durable before the next begins: a crash at any moment leaves all of a batch or nothing of it, and no slot is
//! ever half old and half new. The journal holds the last batch only, and nothing of one before it.
//!
//! What an SSD, a snapshot or a backup keeps of what was written over is beyond a file.

mod look;

use std::collections::BTreeSet;
use std::io;

pub use look::look;
use portunus_model::ChainOwner as Owner;
use zeroize::{Zeroize, Zeroizing};

use crate::Segment;
use crate::segment::checksum;

/// How many changes one batch takes.
pub const BATCH: usize = 512;

const MAGIC: &[u8; 8] = b"PTCHAIN1";
const JOURNAL: usize = 48 * 1024;
const JOURNAL_HEAD: usize = 3 * 8;
const _: () = assert!(JOURNAL_HEAD + BATCH * NOTE <= JOURNAL);
const NOTE: usize = 8 + SLOT;
const SLOT: usize = 80;
const CHECK: usize = 8;
const READ_AT_ONCE: usize = 4096;

/// One chain, as it lies on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its slot.
    pub slot: u32,
    /// Whose.
    pub owner: Owner,
    /// The first day that there is a key for.
    pub day: u32,
    /// That day's value.
    pub value: &'a [u8; 32],
}

/// What is to become of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change<'a> {
    /// This is in it.
    Put(Entry<'a>),
    /// Nothing is.
    Erase(u32),
}

/// The store.
pub struct Chains<S> {
    disk: S,
    slots: u32,
    free: BTreeSet<u32>,
    /// A batch that is in the journal, and of which nobody knows whether it is in the slots.
    owed: Zeroizing<Vec<u8>>,
}

/// What was found at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Found {
    /// Chains.
    pub chains: u32,
    /// Slots whose content nobody can read any more: whose they are is not known either.
    pub rotten: u32,
}

impl<S: Segment> Chains<S> {
    /// Takes up what is there, and shows each chain.
    ///
    /// # Errors
    /// As the system says; `InvalidData` where the file is something else.
    pub fn open(disk: S, mut each: impl FnMut(Entry<'_>)) -> io::Result<(Self, Found)> {
        let owed = read_journal(&disk)?;
        let mut chains = Self { disk, slots: 0, free: BTreeSet::new(), owed };
        chains.settle()?;
        let mut found = Found::default();
        let mut buffer = Zeroizing::new(vec![0; SLOT * READ_AT_ONCE]);
        loop {
            let read = chains.disk.read_at(&mut buffer, place(chains.slots))?;
            let (whole, cut) = buffer.get(..read).unwrap_or_default().as_chunks::<SLOT>();
            found.rotten += u32::from(!cut.is_empty());
            for bytes in whole {
                let slot = chains.slots;
                chains.slots = chains.slots.saturating_add(1);
                match read_slot(slot, bytes) {
                    Some(Some(entry)) => {
                        found.chains += 1;
                        each(entry);
                    }
                    Some(None) => drop(chains.free.insert(slot)),
                    None => found.rotten += 1,
                }
            }
            if read < buffer.len() {
                return Ok((chains, found));
            }
        }
    }

    /// A slot for a new chain. It is taken once something is put into it, and may be given back by erasing it.
    pub fn reserve(&mut self) -> u32 {
        self.free.pop_first().unwrap_or_else(|| {
            self.slots = self.slots.saturating_add(1);
            self.slots - 1
        })
    }

    /// A reserved slot is not needed after all.
    pub fn give_back(&mut self, slot: u32) {
        self.free.insert(slot);
    }

    /// Makes all of these changes, [`BATCH`] at most, durably, or none of them.
    ///
    /// # Errors
    /// As the system says. Whether they are made is then not known: the next call makes up for it first, and a restart
    /// finds all of them made or none.
    pub fn change(&mut self, changes: &[Change<'_>]) -> io::Result<()> {
        if changes.len() > BATCH {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "more changes than a batch takes"));
        }
        self.settle()?;
        if changes.is_empty() {
            return Ok(());
        }
        let mut notes = Zeroizing::new(Vec::with_capacity(changes.len() * NOTE));
        changes.iter().for_each(|change| write_note(&mut notes, change));
        self.disk.write_all_at(&journal(&notes), 0)?;
        self.disk.make_durable()?;
        self.owed = notes;
        self.settle()?;
        for change in changes {
            match change {
                Change::Put(entry) => drop(self.free.remove(&entry.slot)),
                Change::Erase(slot) => drop(self.free.insert(*slot)),
            }
        }
        Ok(())
    }

    /// Brings what is in the journal into the slots.
    fn settle(&mut self) -> io::Result<()> {
        if self.owed.is_empty() {
            return Ok(());
        }
        for note in self.owed.as_chunks::<NOTE>().0 {
            let Some((slot, content)) = note.split_first_chunk::<8>() else { continue };
            let slot = u32::try_from(u64::from_be_bytes(*slot)).unwrap_or(u32::MAX);
            self.disk.write_all_at(content, place(slot))?;
        }
        self.disk.make_durable()?;
        self.owed.zeroize();
        self.owed.clear();
        Ok(())
    }
}

/// The whole journal with these notes: also over what a longer batch before left there.
fn journal(notes: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut journal = Zeroizing::new(Vec::with_capacity(JOURNAL));
    journal.extend_from_slice(MAGIC);
    journal.extend_from_slice(&u64::try_from(notes.len()).unwrap_or(u64::MAX).to_be_bytes());
    journal.extend_from_slice(&checksum(notes).to_be_bytes());
    journal.extend_from_slice(notes);
    journal.resize(JOURNAL, 0);
    journal
}

/// The notes of the last batch. A journal that was not written to its end is none: of its batch nothing is in a slot. What it
/// then still has of an older batch is written over at once.
fn read_journal(disk: &impl Segment) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut found = Zeroizing::new(vec![0; JOURNAL]);
    let read = disk.read_at(&mut found, 0)?;
    let all = found.get(..read).unwrap_or_default();
    let notes = notes(all)?;
    if !notes.is_empty() && **found != **journal(&notes) {
        disk.write_all_at(&journal(&notes), 0)?;
        disk.make_durable()?;
    }
    Ok(notes)
}

fn notes(journal: &[u8]) -> io::Result<Zeroizing<Vec<u8>>> {
    let none = Ok(Zeroizing::new(Vec::new()));
    let Some((magic, rest)) = journal.split_first_chunk::<8>() else { return none };
    // The very first one never came to an end.
    if *magic == [0; 8] {
        return none;
    }
    if magic != MAGIC {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is not a store of chains"));
    }
    let Some((length, rest)) = rest.split_first_chunk::<8>() else { return none };
    let Some((sum, notes)) = rest.split_first_chunk::<8>() else { return none };
    let length = usize::try_from(u64::from_be_bytes(*length)).unwrap_or(usize::MAX);
    match notes.get(..length) {
        Some(notes) if checksum(notes).to_be_bytes() == *sum => Ok(Zeroizing::new(notes.to_vec())),
        Some(_) | None => none,
    }
}

fn place(slot: u32) -> u64 {
    JOURNAL as u64 + u64::from(slot) * SLOT as u64
}

fn write_note(notes: &mut Vec<u8>, change: &Change<'_>) {
    match change {
        Change::Put(entry) => {
            notes.extend_from_slice(&u64::from(entry.slot).to_be_bytes());
            let from = notes.len();
            let (kind, owner) = owner_parts(entry.owner);
            notes.extend_from_slice(&[kind, 0, 0, 0]);
            notes.extend_from_slice(&entry.day.to_be_bytes());
            notes.extend_from_slice(&owner);
            notes.extend_from_slice(entry.value);
            let sum = slot_sum(entry.slot, notes.get(from..).unwrap_or_default());
            notes.extend_from_slice(&sum);
        }
        Change::Erase(slot) => {
            notes.extend_from_slice(&u64::from(*slot).to_be_bytes());
            notes.extend_from_slice(&[0; SLOT]);
        }
    }
}

/// `Some(None)`: it is free; `None`: it is rotten.
fn read_slot(slot: u32, bytes: &[u8; SLOT]) -> Option<Option<Entry<'_>>> {
    if bytes.iter().all(|byte| *byte == 0) {
        return Some(None);
    }
    let (content, sum) = bytes.split_last_chunk::<CHECK>()?;
    if slot_sum(slot, content) != *sum {
        return None;
    }
    let (head, rest) = content.split_first_chunk::<4>()?;
    let (day, rest) = rest.split_first_chunk()?;
    let (owner, rest) = rest.split_first_chunk()?;
    let owner = owner_of(head[0], *owner)?;
    let value = rest.first_chunk()?;
    Some(Some(Entry { slot, owner, day: u32::from_be_bytes(*day), value }))
}

/// With its number, so that a slot in another's place is nobody's.
fn slot_sum(slot: u32, content: &[u8]) -> [u8; CHECK] {
    (checksum(content) ^ u64::from(slot).rotate_left(32)).to_be_bytes()
}

const fn owner_parts(owner: Owner) -> (u8, [u8; 32]) {
    match owner {
        Owner::Door(key) => (1, key),
        Owner::Link(key) => (2, key),
        Owner::Announced(key) => (3, key),
        Owner::Closed(key) => (4, key),
        Owner::Moved(key) => (5, key),
    }
}

fn owner_of(kind: u8, key: [u8; 32]) -> Option<Owner> {
    let all =
        [Owner::Door(key), Owner::Link(key), Owner::Announced(key), Owner::Closed(key), Owner::Moved(key)];
    all.into_iter().find(|owner| owner_parts(*owner).0 == kind)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::disk::Disk;

    pub(super) type Content = BTreeMap<Owner, (u32, u32, [u8; 32])>;

    pub(super) fn open(disk: &Disk) -> (Chains<Disk>, Content, Found) {
        let mut content = Content::new();
        let (chains, found) = Chains::open(disk.clone(), |entry| {
            let before = content.insert(entry.owner, (entry.slot, entry.day, *entry.value));
            assert_eq!(before, None);
        })
        .unwrap();
        (chains, content, found)
    }

    pub(super) fn link(n: u8) -> Owner {
        Owner::Link([n; 32])
    }

    pub(super) fn put(slot: u32, owner: Owner, day: u32, value: &[u8; 32]) -> Change<'_> {
        Change::Put(Entry { slot, owner, day, value })
    }

    #[test]
    fn what_is_put_is_found_and_what_is_erased_is_not() {
        let disk = Disk::default();
        let (mut chains, content, _) = open(&disk);
        assert!(content.is_empty());
        let slots = [0; 3].map(|_| chains.reserve());
        assert_eq!(slots, [0, 1, 2]);
        let door = Owner::Door([9; 32]);
        chains.change(&[put(0, door, 5, &[1; 32]), put(1, link(1), 5, &[2; 32])]).unwrap();
        chains.change(&[put(2, Owner::Announced([1; 32]), 6, &[3; 32])]).unwrap();
        chains.change(&[Change::Erase(1), put(0, door, 6, &[4; 32])]).unwrap();
        let (mut chains, content, found) = open(&disk);
        assert_eq!(found, Found { chains: 2, rotten: 0 });
        assert_eq!(content[&door], (0, 6, [4; 32]));
        assert_eq!(content[&Owner::Announced([1; 32])], (2, 6, [3; 32]));
        assert_eq!((chains.reserve(), chains.reserve()), (1, 3));
    }

    /// Whatever was written over is nowhere in the file any more, not in the journal either.
    #[test]
    fn a_value_that_was_written_over_is_gone() {
        let disk = Disk::default();
        let (mut chains, ..) = open(&disk);
        let values: Vec<_> = (0..100).map(|n| [n + 100; 32]).collect();
        let first: Vec<_> =
            (0..100).map(|n| put(u32::from(n), link(n), 1, &values[usize::from(n)])).collect();
        (0..100).for_each(|_| assert!(chains.reserve() < 100));
        chains.change(&first).unwrap();
        let second: Vec<_> = (0..100).map(|n| put(u32::from(n), link(n), 2, &[7; 32])).collect();
        second.chunks(9).for_each(|some| chains.change(some).unwrap());
        let bytes = disk.bytes();
        for value in values {
            assert!(!bytes.windows(32).any(|window| window == value), "{}", value[0]);
        }
    }

    /// The power goes, or the disk refuses, after each operation; of what was under way any sector may be there or not.
    #[test]
    fn a_cut_at_any_operation_leaves_all_of_a_batch_or_nothing() {
        let turn = |day: u8| -> Vec<[u8; 32]> { (0..40).map(|n| [day.wrapping_mul(50) + n; 32]).collect() };
        let mut cuts = 0;
        for lost in 0..4_u32 {
            for operation in 0..24 {
                let disk = Disk::default();
                let (mut chains, ..) = open(&disk);
                let mut made = 0;
                disk.fail_after(Some(operation));
                for day in 1..=4 {
                    let values = turn(day);
                    let batch: Vec<_> = (0..40)
                        .map(|n| put(u32::from(n), link(n), u32::from(day), &values[usize::from(n)]))
                        .collect();
                    if chains.change(&batch).is_err() {
                        break;
                    }
                    made = day;
                }
                cuts += u32::from(made < 4);
                disk.lose_power(|sector| (sector as u32).wrapping_mul(2_654_435_761) >> 30 >= lost);
                let (_, content, found) = open(&disk);
                assert_eq!(found.rotten, 0);
                let day = content.values().next().map_or(0, |(_, day, _)| *day);
                assert!(day == u32::from(made) || day == u32::from(made) + 1, "{day} after {made}");
                let values = turn(u8::try_from(day).unwrap());
                assert!(day == 0 || content.len() == 40);
                for n in 0..content.len() {
                    let n = u8::try_from(n).unwrap();
                    assert_eq!(content[&link(n)], (u32::from(n), day, values[usize::from(n)]));
                }
            }
        }
        assert!(cuts >= 40, "{cuts}");
    }

    /// The power goes when a short batch is written over a long one, and the disk has only its beginning: what the long one
    /// had before is gone after the next start.
    #[test]
    fn what_a_cut_leaves_of_an_older_batch_is_gone_after_the_next_start() {
        let disk = Disk::default();
        let (mut chains, ..) = open(&disk);
        let values: Vec<_> = (0..40).map(|n| [n + 100; 32]).collect();
        let long: Vec<_> = (0..40).map(|n| put(u32::from(n), link(n), 1, &values[usize::from(n)])).collect();
        chains.change(&long).unwrap();
        (0..40).for_each(|n| chains.change(&[put(n, link(n as u8), 2, &[7; 32])]).unwrap());
        // The long one again, beyond the first sector of the journal.
        let mut bytes = disk.bytes();
        bytes[512..1024].fill(107);
        let (_, content, _) = open(&Disk::holding(bytes.clone()));
        assert!(content.values().all(|(_, day, _)| *day == 2));
        let disk = Disk::holding(bytes);
        drop(open(&disk));
        assert!(!disk.bytes().windows(32).any(|window| window == [107; 32]));
    }

    /// A disk that fails in the middle of a batch and works again: the next batch makes up for it first.
    #[test]
    fn a_batch_that_failed_is_made_up_for_before_the_next() {
        for operation in 0..50 {
            let disk = Disk::default();
            let (mut chains, ..) = open(&disk);
            let all: Vec<_> = (0..40).map(|n| put(u32::from(n), link(n), 1, &[1; 32])).collect();
            chains.change(&all).unwrap();
            let next: Vec<_> = (0..40).map(|n| put(u32::from(n), link(n), 2, &[2; 32])).collect();
            disk.fail_after(Some(operation));
            let failed = chains.change(&next).is_err();
            disk.fail_after(None);
            chains.change(&[put(0, link(0), 3, &[3; 32])]).unwrap();
            disk.lose_power(|_| false);
            let (_, content, _) = open(&disk);
            assert_eq!(content[&link(0)], (0, 3, [3; 32]));
            let days: BTreeSet<_> = content.values().skip(1).map(|(_, day, _)| *day).collect();
            assert!(days.len() == 1 && (failed || days.contains(&2)), "{operation}: {days:?}");
        }
    }

    #[test]
    fn a_rotten_slot_is_counted_and_what_is_no_store_is_refused() {
        let disk = Disk::default();
        let (mut chains, ..) = open(&disk);
        chains.change(&[put(0, link(0), 1, &[1; 32]), put(1, link(1), 1, &[2; 32])]).unwrap();
        // A later batch: the journal would mend what it has itself.
        chains.change(&[put(1, link(1), 2, &[2; 32])]).unwrap();
        let good = disk.bytes();
        for at in 0..SLOT {
            let mut bytes = good.clone();
            bytes[JOURNAL + at] ^= 1;
            let (_, content, found) = open(&Disk::holding(bytes));
            assert_eq!((found.rotten, content.len()), (1, 1), "{at}");
        }
        let other = Disk::holding(b"[portunus]\n".repeat(9000));
        assert_eq!(Chains::open(other, |_| ()).err().map(|e| e.kind()), Some(io::ErrorKind::InvalidData));
    }

    #[test]
    fn more_than_a_batch_is_refused() {
        let (mut chains, ..) = open(&Disk::default());
        let many = vec![Change::Erase(0); BATCH + 1];
        assert!(chains.change(&many).is_err());
        const { assert!(JOURNAL_HEAD + BATCH * NOTE <= JOURNAL) };
    }
}
