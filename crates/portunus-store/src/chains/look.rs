//! A look at the store beside the daemon, which may be writing it just now: nothing is settled, nothing is written.

use std::collections::BTreeMap;
use std::io;

use zeroize::Zeroizing;

use super::{Entry, Found, JOURNAL, NOTE, READ_AT_ONCE, SLOT, notes, place, read_slot};
use crate::Segment;

/// So often a slot is read that somebody seems to be writing.
const TRIES: u32 = 100;

/// Shows each chain that is there, and changes nothing. A value may be one that was written over meanwhile: that of an
/// earlier day, from which the later one comes.
///
/// # Errors
/// As the system says; `InvalidData` where the file is something else.
pub fn look(disk: &impl Segment, mut each: impl FnMut(Entry<'_>)) -> io::Result<Found> {
    let journal = Journal::read(disk)?;
    let (mut found, mut slots, mut torn) = (Found::default(), 0, Vec::new());
    let mut show = |slot: u32, entry: Option<Entry<'_>>, found: &mut Found| {
        if let Some(entry) = entry.filter(|entry| entry.slot == slot) {
            found.chains += 1;
            each(entry);
        }
    };
    let mut buffer = Zeroizing::new(vec![0; SLOT * READ_AT_ONCE]);
    loop {
        let read = disk.read_at(&mut buffer, place(slots))?;
        for bytes in buffer.get(..read).unwrap_or_default().as_chunks::<SLOT>().0 {
            match read_slot(slots, journal.slot(slots).unwrap_or(bytes)) {
                Some(entry) => show(slots, entry, &mut found),
                None => torn.push(slots),
            }
            slots = slots.saturating_add(1);
        }
        if read < buffer.len() {
            break;
        }
    }
    // What is new lies in the journal alone until it is in its slot.
    for (slot, bytes) in journal.slots().filter(|(slot, _)| *slot >= slots) {
        show(slot, read_slot(slot, bytes).flatten(), &mut found);
    }
    for slot in torn {
        let mut bytes = Zeroizing::new([0; SLOT]);
        let whole = (0..TRIES)
            .try_fold(false, |whole, _| if whole { Ok(true) } else { again(disk, slot, &mut bytes) })?;
        match read_slot(slot, &bytes).filter(|_| whole) {
            Some(entry) => show(slot, entry, &mut found),
            None => found.rotten += 1,
        }
    }
    Ok(found)
}

/// Reads a slot once more, or what the journal has for it by now. Whether it is whole.
fn again(disk: &impl Segment, slot: u32, bytes: &mut [u8; SLOT]) -> io::Result<bool> {
    if disk.read_at(bytes, place(slot))? == SLOT && read_slot(slot, bytes).is_some() {
        return Ok(true);
    }
    let journal = Journal::read(disk)?;
    let Some(there) = journal.slot(slot) else { return Ok(false) };
    *bytes = *there;
    Ok(read_slot(slot, bytes).is_some())
}

/// The last batch, as far as it is whole.
struct Journal {
    notes: Zeroizing<Vec<u8>>,
    /// Where in `notes` a slot's content begins: the last one counts.
    at: BTreeMap<u32, usize>,
}

impl Journal {
    fn read(disk: &impl Segment) -> io::Result<Self> {
        let mut all = Zeroizing::new(vec![0; JOURNAL]);
        let read = disk.read_at(&mut all, 0)?;
        let notes = notes(all.get(..read).unwrap_or_default())?;
        let slot = |note: &[u8; NOTE]| note.first_chunk().map(|slot| u64::from_be_bytes(*slot));
        let at = notes
            .as_chunks::<NOTE>()
            .0
            .iter()
            .enumerate()
            .filter_map(|(n, note)| Some((u32::try_from(slot(note)?).ok()?, n * NOTE + NOTE - SLOT)));
        let at = at.collect();
        Ok(Self { notes, at })
    }

    fn slot(&self, slot: u32) -> Option<&[u8; SLOT]> {
        self.notes.get(*self.at.get(&slot)?..)?.first_chunk()
    }

    fn slots(&self) -> impl Iterator<Item = (u32, &[u8; SLOT])> {
        self.at.keys().filter_map(|slot| Some((*slot, self.slot(*slot)?)))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::super::tests::{Content, link, open, put};
    use super::*;
    use portunus_model::ChainOwner as Owner;

    use crate::chains::{Chains, Change};
    use crate::disk::Disk;

    fn seen(disk: &impl Segment) -> (Content, Found) {
        let mut content = Content::new();
        let found = look(disk, |entry| {
            let before = content.insert(entry.owner, (entry.slot, entry.day, *entry.value));
            assert_eq!(before, None);
        });
        (content, found.unwrap())
    }

    fn three() -> (Disk, Chains<Disk>) {
        let disk = Disk::default();
        let (mut chains, ..) = open(&disk);
        (0..3).for_each(|_| assert!(chains.reserve() < 3));
        let all = [put(0, Owner::Door([9; 32]), 5, &[1; 32]), put(1, link(1), 5, &[2; 32])];
        chains.change(&all).unwrap();
        chains.change(&[put(2, link(2), 6, &[3; 32])]).unwrap();
        (disk, chains)
    }

    #[test]
    fn a_look_sees_what_is_there_and_changes_nothing() {
        assert_eq!(seen(&Disk::default()), (Content::new(), Found::default()));
        let (disk, mut chains) = three();
        chains.change(&[Change::Erase(1)]).unwrap();
        let before = (disk.bytes(), disk.operations());
        let (content, found) = seen(&disk);
        assert_eq!(found, Found { chains: 2, rotten: 0 });
        assert_eq!(content[&Owner::Door([9; 32])], (0, 5, [1; 32]));
        assert_eq!(content[&link(2)], (2, 6, [3; 32]));
        assert_eq!((disk.bytes(), disk.operations()), before);
        let other = Disk::holding(b"[portunus]\n".repeat(9000));
        assert_eq!(look(&other, |_| ()).err().map(|e| e.kind()), Some(io::ErrorKind::InvalidData));
    }

    /// Whenever the daemon is cut off, a look sees what the next start would, and leaves the mending to it.
    #[test]
    fn after_a_cut_a_look_sees_what_the_next_start_would() {
        let mut ahead = 0;
        for operation in 0..24 {
            let (disk, mut chains) = three();
            let slot = chains.reserve();
            disk.fail_after(Some(operation));
            for day in 7..10 {
                let batch = [
                    put(0, Owner::Door([9; 32]), day, &[1; 32]),
                    put(slot, link(3), day, &[4; 32]),
                    Change::Erase(1),
                ];
                if chains.change(&batch).is_err() {
                    break;
                }
            }
            disk.lose_power(|sector| !sector.is_multiple_of(3));
            let before = disk.bytes();
            let looked = seen(&disk);
            assert_eq!(disk.bytes(), before);
            let (_, content, found) = open(&disk);
            assert_eq!(looked, (content, found), "{operation}");
            ahead += u32::from(disk.bytes() != before);
        }
        assert!(ahead > 0, "the journal was never ahead of the slots");
    }

    /// A disk on which somebody is in the middle of writing one slot, for so many reads of it.
    struct Busy {
        disk: Disk,
        slot: u32,
        reads: Cell<u32>,
    }

    impl Segment for Busy {
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            let read = self.disk.read_at(buffer, offset)?;
            let at = place(self.slot).checked_sub(offset).map(|at| usize::try_from(at).unwrap());
            if let Some(byte) = at.and_then(|at| buffer.get_mut(at + 40))
                && let Some(left) = self.reads.get().checked_sub(1)
            {
                *byte ^= 1;
                self.reads.set(left);
            }
            Ok(read)
        }

        fn write_all_at(&self, _: &[u8], _: u64) -> io::Result<()> {
            panic!("a look writes");
        }

        fn empty(&self) -> io::Result<()> {
            panic!("a look empties");
        }

        fn make_durable(&self) -> io::Result<()> {
            panic!("a look has nothing to make durable");
        }
    }

    #[test]
    fn a_slot_that_is_being_written_is_read_again_or_in_the_journal() {
        let busy = |slot, reads| {
            let (disk, _) = three();
            seen(&Busy { disk, slot, reads: Cell::new(reads) })
        };
        let whole = seen(&three().0);
        // The journal has slot 2.
        assert_eq!(busy(2, u32::MAX), whole);
        assert_eq!(busy(1, 30), whole);
        let (content, found) = busy(1, u32::MAX);
        assert_eq!((content.len(), found), (2, Found { chains: 2, rotten: 1 }));
    }
}
