//! The journal of open grants: what a grantor that was killed needs to know when it is started again.
//!
//! Rows are appended as they open and close; [`Journal::compact`] begins a new turn in the other segment with the live
//! ones. Nothing is synced: what a killed process has written, the kernel keeps, and a power cut or a reboot takes the
//! firewall's elements with it. So the journal is never behind the kernel by more than what was not yet said.

mod record;
#[cfg(test)]
mod rot;

use std::collections::HashMap;
use std::fs::File;

use portunus_model::{ClientName, Element, Grounds, Mono};

use crate::segment::{self, Opening};
use crate::{BootId, Segment, StoreError};
use record::{Header, MAGIC, MAGIC_1, MAGIC_2, SLOT, SLOT_1, SLOT_2, WANTED};

/// How many slots are read at a time.
const CHUNK: usize = 512;
/// Below this many entries nobody compacts.
const SMALL: u32 = 4096;

/// A row of the ledger: a door that is open for a client.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Row {
    /// Whose grant it is.
    pub client: ClientName,
    /// What is open; its addresses are canonical (never v4-mapped).
    pub element: Element,
    /// Until when.
    pub until: Mono,
    /// On what it stands.
    pub grounds: Grounds,
}

impl Row {
    /// What tells it from every other row.
    #[must_use]
    pub fn key(&self) -> Key {
        Key { client: self.client.clone(), element: self.element }
    }
}

/// What tells a row from every other.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// Whose grant it is.
    pub client: ClientName,
    /// What is open.
    pub element: Element,
}

/// What is written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// It is open until then; also for a row whose deadline or grounds changed. Written *before* the kernel is asked, so that no
    /// element of ours is ever unknown.
    Open(Row),
    /// It was closed before its time. A row whose time is up needs no entry.
    Close(Key),
}

/// The journal over two files that the caller has opened for reading and writing.
pub struct Journal<S = File> {
    active: S,
    other: S,
    generation: u32,
    boot: BootId,
    /// The slot that is written next.
    tail: u32,
    /// How many entries a compacted turn began with.
    began_with: u32,
    /// Its turn was given up; only a new one counts.
    void: bool,
    buffer: Vec<u8>,
}

impl<S: Segment> Journal<S> {
    /// Opens it and gives the rows of this boot that still have time left, in no order.
    ///
    /// # Errors
    /// [`StoreError`]: a file is something else, damaged in its first block, or cannot be read or written.
    pub fn open(segments: [S; 2], boot: BootId, now: Mono) -> Result<(Self, Vec<Row>), StoreError> {
        let turns = match segments.each_ref().map(|segment| turn(segment, boot)) {
            // Beside a file of ours lies what was one.
            [Err(StoreError::WrongFile { wanted }), Ok((1.., _))]
            | [Ok((1.., _)), Err(StoreError::WrongFile { wanted })] => {
                return Err(StoreError::Damaged { wanted });
            }
            [one, two] => [one?, two?],
        };
        let [one, two] = segments;
        let (active, other) = if turns[0] < turns[1] { (two, one) } else { (one, two) };
        let (generation, form) = turns[0].max(turns[1]);
        let mut journal = Self {
            active,
            other,
            generation,
            boot,
            tail: 1,
            began_with: 0,
            void: false,
            buffer: Vec::with_capacity(SLOT),
        };
        let rows = if generation == 0 { Vec::new() } else { journal.load(now, form)? };
        // A new turn at each start: torn tails and rows of other boots are gone with the old one.
        journal.compact(&rows)?;
        Ok((journal, rows))
    }

    /// Begins with nothing open, whatever the files hold: for a journal that [`Journal::open`] found damaged.
    ///
    /// # Errors
    /// What the system says.
    pub fn begin_anew(segments: [S; 2], boot: BootId) -> Result<(Self, Vec<Row>), StoreError> {
        for segment in &segments {
            segment.empty().map_err(writing())?;
        }
        Self::open(segments, boot, Mono::default())
    }

    /// Writes `entries` down, in order.
    ///
    /// # Errors
    /// What the system says; nothing of it counts as written then, and what is written next takes its place.
    pub fn append(&mut self, entries: &[Entry]) -> Result<(), StoreError> {
        self.buffer.clear();
        for entry in entries {
            record::encode(entry, self.generation, &mut self.buffer);
        }
        if let Err(error) = self.active.write_all_at(&self.buffer, place(self.tail)) {
            // What of it was written must not be found by who is started next: blanked, as far as it went.
            let blank = |&slot: &u32| self.active.write_all_at(&[0; SLOT], place(slot)).is_ok();
            let _ = (self.tail..).take(entries.len()).take_while(blank).count();
            return Err(writing()(error));
        }
        self.tail = self.tail.saturating_add(count(entries.len()));
        Ok(())
    }

    /// Gives the whole turn up: for an end that could not be appended (a full disk), since a row that is not known to
    /// have ended would be opened again after a restart. Until [`Journal::compact`] has room for a new turn a grantor
    /// that is started again finds nothing open. Cutting files off needs no room.
    ///
    /// # Errors
    /// What the system says. A journal that cannot even be cut off cannot be opened again either.
    pub fn give_up(&mut self) -> Result<(), StoreError> {
        self.void = true;
        // The turn before first: without this one it would count again.
        self.other.empty().map_err(writing())?;
        self.active.empty().map_err(writing())
    }

    /// Whether it is time for [`Journal::compact`]: it has grown so much, or its turn was given up.
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        self.void || self.tail >= self.began_with.saturating_mul(2).saturating_add(SMALL)
    }

    /// Begins a new turn with `rows` alone: those of the ledger that have time left. Killed in the middle of it, the
    /// turn before still counts, for the header is written last.
    ///
    /// # Errors
    /// What the system says; the turn before goes on then.
    pub fn compact(&mut self, rows: &[Row]) -> Result<(), StoreError> {
        let generation = self.generation.saturating_add(1);
        self.other.empty().map_err(writing())?;
        let mut slot = 1;
        for some in rows.chunks(CHUNK) {
            self.buffer.clear();
            for row in some {
                record::encode(&Entry::Open(row.clone()), generation, &mut self.buffer);
            }
            self.other.write_all_at(&self.buffer, place(slot)).map_err(writing())?;
            slot = slot.saturating_add(count(some.len()));
        }
        let header = Header { generation, boot: self.boot };
        self.other.write_all_at(&header.encode(), 0).map_err(writing())?;
        std::mem::swap(&mut self.active, &mut self.other);
        // So that nobody goes back to the turn before if this one is ever lost. If it fails, this one has the larger number.
        let _ = self.other.empty();
        self.generation = generation;
        self.tail = slot;
        self.began_with = slot;
        self.void = false;
        Ok(())
    }

    fn load(&self, now: Mono, form: Form) -> Result<Vec<Row>, StoreError> {
        let mut rows: HashMap<Key, (Mono, Grounds)> = HashMap::new();
        let (size, decode) = form.slots();
        let mut buffer = vec![0; CHUNK * size];
        let mut slot = 1_u64;
        loop {
            let read = self
                .active
                .read_at(&mut buffer, slot * size as u64)
                .map_err(StoreError::io("reading the journal"))?;
            for bytes in buffer.get(..read).unwrap_or_default().chunks_exact(size) {
                match decode(bytes, self.generation) {
                    Some(Entry::Open(row)) => {
                        rows.insert(row.key(), (row.until, row.grounds));
                    }
                    Some(Entry::Close(key)) => {
                        rows.remove(&key);
                    }
                    None if is_rotten(bytes) => return Err(StoreError::Damaged { wanted: WANTED }),
                    None => {}
                }
                slot = slot.saturating_add(1);
            }
            if read < buffer.len() {
                break;
            }
        }
        let row = |(key, (until, grounds)): (Key, _)| {
            let Key { client, element } = key;
            Row { client, element, until, grounds }
        };
        Ok(rows.into_iter().map(row).filter(|row| row.until > now).collect())
    }
}

/// Which form a segment is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Form {
    /// Without destinations and translations: read, never written.
    First,
    /// Without what rows stand on: likewise.
    Second,
    Current,
}

/// Neither blank nor a record of an earlier turn: an end may have stood there, so no row can be believed.
fn is_rotten(slot: &[u8]) -> bool {
    segment::unseal(slot).is_none() && slot.iter().any(|&byte| byte != 0)
}

/// Reads a slot of a turn.
type Decode = fn(&[u8], u32) -> Option<Entry>;

impl Form {
    fn slots(self) -> (usize, Decode) {
        match self {
            Self::First => (SLOT_1, record::decode_1),
            Self::Second => (SLOT_2, record::decode_2),
            Self::Current => (SLOT, record::decode),
        }
    }
}

/// Its turn, and the form; 0 when it is not in use or of another boot.
fn turn<S: Segment>(segment: &S, boot: BootId) -> Result<(u32, Form), StoreError> {
    let mut start = [0; MAGIC.len()];
    let reading = |error| StoreError::io("reading the journal")(error);
    segment.read_at(&mut start, 0).map_err(reading)?;
    let (form, header) = match &start {
        MAGIC_1 => (Form::First, segment::open(segment, MAGIC_1, Header::decode::<SLOT_1>).map_err(reading)?),
        MAGIC_2 => {
            (Form::Second, segment::open(segment, MAGIC_2, Header::decode::<SLOT_2>).map_err(reading)?)
        }
        _ => (Form::Current, segment::open(segment, MAGIC, Header::decode::<SLOT>).map_err(reading)?),
    };
    match header {
        Opening::InUse(header) if header.boot == boot => Ok((header.generation, form)),
        // A turn that was not begun to its end has no first block yet.
        Opening::InUse(_) | Opening::Unused | Opening::Headless => Ok((0, form)),
        Opening::Damaged => Err(StoreError::Damaged { wanted: WANTED }),
        Opening::Foreign if holds_a_record(segment).map_err(reading)? => {
            Err(StoreError::Damaged { wanted: WANTED })
        }
        Opening::Foreign => Err(StoreError::WrongFile { wanted: WANTED }),
    }
}

/// Whether its first slots have anything that we wrote.
fn holds_a_record<S: Segment>(segment: &S) -> std::io::Result<bool> {
    let mut buffer = vec![0; CHUNK * SLOT];
    let read = segment.read_at(&mut buffer, 0)?;
    let mut slots = buffer.get(..read).unwrap_or_default().chunks_exact(SLOT);
    Ok(slots.any(|slot| segment::unseal(slot).is_some()))
}

fn writing() -> impl Fn(std::io::Error) -> StoreError {
    StoreError::io("writing the journal")
}

fn place(slot: u32) -> u64 {
    u64::from(slot) * SLOT as u64
}

fn count(entries: usize) -> u32 {
    u32::try_from(entries).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use portunus_model::{Nat, NatSource, PortSpec, Proto, Way};

    use super::*;
    use crate::disk::Disk;

    const BOOT: BootId = BootId::from_bytes([1; 16]);

    fn grounds() -> Grounds {
        let mark = portunus_model::Mark::from_bytes([7; 16]);
        Grounds { mark, source: "2001:db8::9".parse().ok(), destination: "192.0.2.99".parse().ok() }
    }

    pub(super) fn row(client: &str, address: &str, port: u16, until: u64) -> Row {
        Row {
            client: ClientName::new(client).unwrap(),
            element: Element::here(
                address.parse().unwrap(),
                PortSpec::range(Proto::Tcp, port, port + 3).unwrap(),
            ),
            until: Mono::from_nanos(until),
            grounds: grounds(),
        }
    }

    fn sorted(mut rows: Vec<Row>) -> Vec<Row> {
        rows.sort_by_key(|row| (row.client.clone(), row.element));
        rows
    }

    fn reopen(disks: &[Disk; 2], now: u64) -> Vec<Row> {
        sorted(Journal::open(disks.clone(), BOOT, Mono::from_nanos(now)).unwrap().1)
    }

    #[test]
    fn a_killed_grantor_finds_what_is_still_open() {
        let disks = [Disk::default(), Disk::default()];
        let (mut journal, rows) = Journal::open(disks.clone(), BOOT, Mono::default()).unwrap();
        assert_eq!(rows, []);
        let (alice, bob) = (row("alice", "192.0.2.1", 22, 50), row("bob", "2001:db8::1", 80, 60));
        let longer = row("alice", "192.0.2.1", 22, 90);
        let short = row("carol", "192.0.2.9", 22, 20);
        journal.append(&[Entry::Open(alice), Entry::Open(bob.clone()), Entry::Open(short)]).unwrap();
        journal.append(&[Entry::Open(longer.clone())]).unwrap();
        assert_eq!(reopen(&disks, 30), [longer.clone(), bob.clone()]);
        let (mut journal, _) = Journal::open(disks.clone(), BOOT, Mono::from_nanos(30)).unwrap();
        journal.append(&[Entry::Close(bob.key())]).unwrap();
        assert_eq!(reopen(&disks, 31), [longer]);
        assert_eq!(disks[0].syncs() + disks[1].syncs(), 0);
    }

    #[test]
    fn a_turn_that_was_given_up_opens_nothing_again() {
        let disks = [Disk::default(), Disk::default()];
        let (mut journal, _) = Journal::open(disks.clone(), BOOT, Mono::default()).unwrap();
        let (alice, bob) = (row("alice", "192.0.2.1", 22, 50), row("bob", "192.0.2.2", 22, 50));
        journal.append(&[Entry::Open(alice.clone()), Entry::Open(bob.clone())]).unwrap();
        journal.give_up().unwrap();
        assert!(journal.is_crowded());
        journal.append(&[Entry::Open(alice)]).unwrap();
        assert_eq!(reopen(&disks, 1), []);
        let (mut journal, _) = Journal::open(disks.clone(), BOOT, Mono::default()).unwrap();
        journal.give_up().unwrap();
        journal.compact(std::slice::from_ref(&bob)).unwrap();
        assert!(!journal.is_crowded());
        assert_eq!(reopen(&disks, 1), [bob]);
    }

    #[test]
    fn a_turn_that_cannot_be_given_up_whole_does_not_let_the_one_before_count() {
        for broken in 0..2 {
            let disks = [Disk::default(), Disk::default()];
            let (mut journal, _) = Journal::open(disks.clone(), BOOT, Mono::default()).unwrap();
            let (alice, bob) = (row("alice", "192.0.2.1", 22, 50), row("bob", "192.0.2.2", 22, 50));
            journal.append(&[Entry::Open(alice.clone()), Entry::Open(bob.clone())]).unwrap();
            journal.append(&[Entry::Close(bob.key())]).unwrap();
            journal.compact(std::slice::from_ref(&alice)).unwrap();
            disks[broken].fail_after(Some(0));
            assert!(journal.give_up().is_err());
            disks[broken].fail_after(None);
            assert!(!reopen(&disks, 1).contains(&bob), "bob's grant had ended");
        }
    }

    #[test]
    fn another_boot_has_nothing_open() {
        let disks = [Disk::default(), Disk::default()];
        let (mut journal, _) = Journal::open(disks.clone(), BOOT, Mono::default()).unwrap();
        journal.append(&[Entry::Open(row("alice", "192.0.2.1", 22, 50))]).unwrap();
        let (_, rows) = Journal::open(disks, BootId::from_bytes([2; 16]), Mono::default()).unwrap();
        assert_eq!(rows, []);
    }

    #[test]
    fn killed_at_every_operation_of_a_compaction() {
        for works in 0..4 {
            let disks = [Disk::default(), Disk::default()];
            let (mut journal, _) = Journal::open(disks.clone(), BOOT, Mono::default()).unwrap();
            let alice = row("alice", "192.0.2.1", 22, 50);
            journal.append(&[Entry::Open(alice.clone())]).unwrap();
            for disk in &disks {
                disk.fail_after(Some(works));
            }
            let compacted = journal.compact(std::slice::from_ref(&alice)).is_ok();
            assert_eq!(compacted, works >= 3);
            for disk in &disks {
                disk.fail_after(None);
            }
            journal.append(&[Entry::Open(row("bob", "192.0.2.1", 22, 50))]).unwrap();
            assert_eq!(reopen(&disks, 0), [alice, row("bob", "192.0.2.1", 22, 50)], "{works} operations");
        }
    }

    #[test]
    fn cut_at_every_byte_every_whole_row_is_found() {
        let disks = [Disk::default(), Disk::default()];
        let (mut journal, _) = Journal::open(disks.clone(), BOOT, Mono::default()).unwrap();
        let rows: Vec<Row> = (0..3).map(|n| row("alice", "192.0.2.1", 100 + n, 50)).collect();
        journal.append(&rows.iter().cloned().map(Entry::Open).collect::<Vec<_>>()).unwrap();
        let used = if disks[0].bytes().is_empty() { 1 } else { 0 };
        let whole = disks[used].bytes();
        for cut in 0..=whole.len() {
            let left = [Disk::default(), Disk::holding(whole[..cut].to_vec())];
            assert_eq!(reopen(&left, 0), rows[..(cut / SLOT).saturating_sub(1)], "cut at {cut}");
        }
    }

    #[test]
    fn says_when_it_is_crowded() {
        let disks = [Disk::default(), Disk::default()];
        let (mut journal, _) = Journal::open(disks, BOOT, Mono::default()).unwrap();
        let alice = row("alice", "192.0.2.1", 22, 50);
        while !journal.is_crowded() {
            journal.append(&vec![Entry::Open(alice.clone()); 500]).unwrap();
        }
        journal.compact(&[alice]).unwrap();
        assert!(!journal.is_crowded());
    }

    #[test]
    fn the_longest_name_fits() {
        let long = row(&"x".repeat(ClientName::LONGEST), "2001:db8::1", 60_000, 50);
        for element in [long.element, turned(long.element), everything(long.element)] {
            let mut out = Vec::new();
            let row = Row { element, ..long.clone() };
            record::encode(&Entry::Open(row.clone()), 1, &mut out);
            assert_eq!(out.len(), SLOT);
            assert_eq!(record::decode(&out, 1), Some(Entry::Open(row)));
        }
    }

    fn turned(plain: Element) -> Element {
        let host = "2001:db8::2".parse().unwrap();
        let way = Way::Nat(Nat { local: true, host, port: 22, rewrite: true, source: NatSource::Masquerade });
        Element { destination: Some("2001:db8::3".parse().unwrap()), way, ..plain }
    }

    fn everything(plain: Element) -> Element {
        let source = NatSource::Fixed("2001:db8::4".parse().unwrap());
        Element { port: None, way: Way::All { to: None, source }, ..plain }
    }

    #[test]
    fn translations_of_one_port_are_rows_of_their_own() {
        let disks = [Disk::default(), Disk::default()];
        let (mut journal, _) = Journal::open(disks.clone(), BOOT, Mono::default()).unwrap();
        let plain = row("alice", "2001:db8::1", 22, 50);
        let rows = [plain.element, turned(plain.element), everything(plain.element)]
            .map(|element| Row { element, ..plain.clone() });
        journal.append(&rows.clone().map(Entry::Open)).unwrap();
        journal.append(&[Entry::Close(rows[1].key())]).unwrap();
        let [one, _, three] = rows;
        assert_eq!(reopen(&disks, 0), sorted(vec![one, three]));
    }

    /// What older versions wrote: a header and an open row of 128 or 192 bytes.
    #[test]
    fn the_forms_before_this_one_are_read_and_written_anew() {
        old_form(MAGIC_1, SLOT_1, &[]);
        old_form(MAGIC_2, SLOT_2, &Way::Here.to_bytes(None));
    }

    fn old_form(magic: &[u8], slot: usize, way: &[u8]) {
        let alice = Row { grounds: Grounds::default(), ..row("alice", "192.0.2.1", 22, 50) };
        let mut old = magic.to_vec();
        old.extend_from_slice(&7_u32.to_be_bytes());
        old.extend_from_slice(BOOT.as_bytes());
        segment::seal(&mut old, 0, slot);
        let start = old.len();
        old.extend_from_slice(&7_u32.to_be_bytes());
        old.extend_from_slice(&50_u64.to_be_bytes());
        old.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1]);
        old.extend_from_slice(&[0, 22, 0, 25, 1, 6, 5]);
        old.extend_from_slice(way);
        old.extend_from_slice(b"alice");
        segment::seal(&mut old, start, slot);
        let disks = [Disk::default(), Disk::holding(old)];
        assert_eq!(reopen(&disks, 1), std::slice::from_ref(&alice));
        assert!(disks[0].bytes().starts_with(MAGIC));
        assert_eq!(reopen(&disks, 2), [alice]);
        assert!(disks[1].bytes().starts_with(MAGIC), "at the second start nothing old is left");
    }
}
