//! Journals that are cut off or changed: what is still there is found, what was closed stays closed, and what does not fit
//! its checksum makes the whole turn count for nothing, which closes doors and opens none.

use super::tests::row;
use super::*;
use crate::disk::Disk;

const BOOT: BootId = BootId::from_bytes([1; 16]);

/// The disks at some moment, and what stands in the turn that counts, slot by slot.
struct Moment {
    files: [Vec<u8>; 2],
    entries: Vec<Entry>,
}

/// The rows that so many entries leave open.
fn open_after(entries: &[Entry]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for entry in entries {
        match entry {
            Entry::Open(row) => {
                rows.retain(|one| one.key() != row.key());
                rows.push(row.clone());
            }
            Entry::Close(key) => rows.retain(|one| one.key() != *key),
        }
    }
    sorted(rows)
}

fn sorted(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort_by_key(|row| (row.client.clone(), row.element));
    rows
}

/// A grantor's life: doors open, are prolonged, close, and the journal is compacted; killed after every operation.
fn moments() -> Vec<Moment> {
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| row(name, "192.0.2.1", 22, 50));
    let longer = row("alice", "192.0.2.1", 22, 90);
    let steps = [
        vec![Entry::Open(alice.clone()), Entry::Open(bob.clone())],
        vec![Entry::Open(longer)],
        vec![Entry::Close(bob.key())],
        vec![Entry::Open(carol), Entry::Open(bob)],
        vec![Entry::Close(alice.key())],
    ];
    let mut moments = Vec::new();
    for works in 3.. {
        let disks = [Disk::default(), Disk::default()];
        disks[0].share_failing(&disks[1], Some(works));
        let Ok((mut journal, _)) = Journal::open(disks.clone(), BOOT, Mono::default()) else { continue };
        let mut entries: Vec<Entry> = Vec::new();
        for (n, step) in steps.iter().enumerate() {
            if journal.append(step).is_err() {
                break;
            }
            entries.extend_from_slice(step);
            let rows = open_after(&entries);
            if n == 2 && journal.compact(&rows).is_ok() {
                entries = rows.into_iter().map(Entry::Open).collect();
            }
        }
        let over = disks[0].operations() < works;
        moments.push(Moment { files: disks.map(|disk| disk.bytes()), entries });
        if over {
            break;
        }
    }
    moments
}

fn reopen(files: &[Vec<u8>; 2]) -> Result<Vec<Row>, StoreError> {
    let disks = files.clone().map(Disk::holding);
    Journal::open(disks, BOOT, Mono::default()).map(|(_, rows)| sorted(rows))
}

/// Which file counts: the one with the later turn.
fn counting(files: &[Vec<u8>; 2]) -> usize {
    let generation =
        |file: &Vec<u8>| file.first_chunk().and_then(Header::decode::<SLOT>).map(|h| h.generation);
    usize::from(generation(&files[0]) < generation(&files[1]))
}

#[test]
fn cut_at_every_byte_at_every_moment() {
    let mut cuts = 0;
    for moment in moments() {
        let which = counting(&moment.files);
        // Killed before it was emptied, the turn before is there yet; it says the same.
        let before = moment.files[1 - which].first_chunk().and_then(Header::decode::<SLOT>).is_some();
        for cut in 0..=moment.files[which].len() {
            let mut files = moment.files.clone();
            files[which].truncate(cut);
            let all = moment.entries.len();
            let there = if before && cut < SLOT { all } else { (cut / SLOT).saturating_sub(1).min(all) };
            assert_eq!(reopen(&files).unwrap(), open_after(&moment.entries[..there]), "cut at {cut}");
            cuts += 1;
        }
    }
    println!("{cuts} cuts");
    assert!(cuts > 5_000, "{cuts}");
}

#[test]
fn changed_at_every_byte_at_every_moment() {
    let (mut changes, mut refused) = (0, 0);
    for moment in moments() {
        let right = open_after(&moment.entries);
        assert_eq!(reopen(&moment.files).as_ref(), Ok(&right));
        for which in 0..2 {
            for place in 0..moment.files[which].len() {
                for bits in [1 << (place % 8), 0xff] {
                    let mut files = moment.files.clone();
                    files[which][place] ^= bits;
                    changes += 1;
                    match reopen(&files) {
                        Ok(rows) => assert_eq!(rows, right, "byte {place} of file {which}"),
                        Err(error) => {
                            refused += 1;
                            assert_eq!(error, StoreError::Damaged { wanted: WANTED });
                            let disks = files.map(Disk::holding);
                            let (mut journal, rows) = Journal::begin_anew(disks, BOOT).unwrap();
                            assert_eq!(rows, []);
                            journal.append(&moment.entries).unwrap();
                        }
                    }
                }
            }
        }
    }
    println!("{changes} changes, {refused} of them are seen and close every door");
    assert!(refused > 5_000, "{refused}");
}
