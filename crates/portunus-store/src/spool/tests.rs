//! What waits outlives a restart, a cut and another size, or is counted.

use super::*;
use crate::disk::Disk;

fn letters(spool: &Spool<Disk>, way: usize) -> String {
    let waiting = spool.waiting(way, usize::MAX);
    waiting.records.iter().map(|record| char::from(record[0])).collect()
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
    let two = spool.waiting(1, 2);
    assert_eq!((two.records.len(), two.more), (2, 1));
    spool.told(1, two.end, 0).unwrap();
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
    again.lose(2).unwrap();
    // What never came is known after a restart too, whatever happens before it.
    let mut again = open(&disk, 4);
    assert_eq!(again.counts(0), (4, 5));
    again.told(0, u64::MAX, 3).unwrap();
    assert_eq!((letters(&again, 0), again.counts(0)), (String::new(), (0, 2)));
    assert_eq!(disk.bytes().len(), (2 + 4) * SLOT, "it does not grow");
}

#[test]
fn without_both_heads_it_is_known_how_many_nobody_knows_of() {
    let disk = Disk::default();
    let mut spool = open(&disk, 4);
    assert_eq!((spool.forgot(), spool.room()), (0, 6 * SLOT as u64));
    for letter in b"abc" {
        spool.add(&[*letter]).unwrap();
    }
    spool.told(0, 1, 0).unwrap();
    for (damaged, forgot) in [(&[0][..], 0), (&[1], 0), (&[0, 1], 3)] {
        let mut bytes = disk.bytes();
        damaged.iter().for_each(|head| bytes[head * SLOT + 20] ^= 1);
        assert_eq!(open(&Disk::holding(bytes), 4).forgot(), forgot, "{damaged:?}");
    }
}

#[test]
fn a_way_that_is_taken_out_says_what_that_costs() {
    let disk = Disk::default();
    let mut spool = open(&disk, 4);
    for letter in b"abcdef" {
        spool.add(&[*letter]).unwrap();
    }
    spool.told(1, u64::MAX, 2).unwrap();
    // Four waited and two were lost before; the other had told everything; the third stays.
    assert_eq!(spool.only([false, false, true]).unwrap(), [6, 0, 0]);
    assert_eq!(open(&disk, 4).only([false, false, true]).unwrap(), [0; WAYS], "it is said once");
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
    spool.lose(1).unwrap();
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
    let end = spool.waiting(1, 3).end;
    spool.told(1, end, 0).unwrap();
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
    // Each of many sizes goes on where the last one was, and the file holds two rings and a gap at most.
    for (slots, letter) in [3, 9, 4, 10, 11, 12, 13, 2, 13, 12, 3].into_iter().zip(b'g'..) {
        let mut spool = open(&disk, slots);
        let before = letters(&spool, 0);
        spool.add(&[letter]).unwrap();
        let all = before + &char::from(letter).to_string();
        let kept = &all[all.len().saturating_sub(slots as usize)..];
        assert_eq!(letters(&open(&disk, slots), 0), kept, "{slots}");
        assert!(disk.bytes().len() <= (2 + 3 * 13) * SLOT, "{slots}");
    }
}

/// What a power cut may leave of the sectors that were not yet made durable.
const LEFT: [fn(usize) -> bool; 5] = [
    |_| false,
    |_| true,
    |sector| sector.is_multiple_of(2),
    |sector| !sector.is_multiple_of(2),
    |sector| sector < 2,
];

#[test]
fn a_cut_at_any_step_of_another_size_leaves_the_old_ring_or_the_new_one() {
    for (from, to) in [(4, 8), (8, 2), (4, 3), (8, 9)] {
        for (stop, left) in (0..20).flat_map(|stop| LEFT.map(|left| (stop, left))) {
            let disk = Disk::default();
            let mut spool = open(&disk, from);
            spool.only([true, true, false]).unwrap();
            for letter in b"abcdefghij" {
                spool.add(&[*letter]).unwrap();
            }
            let end = spool.waiting(1, from as usize - 1).end;
            spool.told(1, end, 0).unwrap();
            let (before, lost) = (letters(&spool, 0), spool.counts(0).1);
            disk.fail_after(Some(stop));
            let done = Spool::open(disk.clone(), to).is_ok_and(|spool| spool.slots() == to);
            disk.lose_power(left);
            assert!(!done || stop > 2, "{from} {to} {stop}: it takes more steps than these");
            // As it was, by who knows the old size; then as it is to be.
            let again = open(&disk, to);
            let kept = &before[before.len() - before.len().min(to as usize)..];
            let gone = (before.len() - kept.len()) as u64;
            assert_eq!(letters(&again, 0), kept, "{from} {to} {stop}");
            assert_eq!(again.counts(0), (kept.len() as u64, lost + gone), "{from} {to} {stop}");
            assert_eq!((letters(&again, 1), letters(&again, 2)), ("j".into(), String::new()));
            assert_eq!(again.waiting(0, 99).rotten, 0);
        }
    }
}

/// A disk that is full by the time that somebody wants a larger ring.
#[test]
fn where_there_is_no_room_for_another_size_the_old_ring_goes_on() {
    // Each step fails for the first time; then all of them, or that one alone.
    for (stop, mended) in (0..).flat_map(|stop| [(stop, false), (stop, true)]) {
        let disk = Disk::default();
        let mut spool = open(&disk, 4);
        spool.only([true, false, false]).unwrap();
        b"abcde".iter().for_each(|letter| spool.add(&[*letter]).unwrap());
        disk.fail_after(Some(stop));
        let mut spool = Spool::open(disk.clone(), 9).unwrap();
        let moved = spool.not_moved().is_none();
        assert_eq!(spool.slots(), if moved { 9 } else { 4 });
        assert_eq!((letters(&spool, 0), spool.counts(0)), ("bcde".into(), (4, 1)), "{stop}");
        if moved {
            assert!(stop > 2, "it takes more steps than these");
            break;
        }
        if mended {
            disk.fail_after(None);
            spool.add(b"f").unwrap();
            disk.lose_power(|_| false);
            let again = open(&disk, 4);
            assert_eq!((letters(&again, 0), again.counts(0)), ("cdef".into(), (4, 2)), "{stop}");
        }
    }
}

#[test]
fn a_cut_at_any_write_loses_nothing_that_was_kept() {
    for (stop, left) in (0..30).flat_map(|stop| LEFT.map(|left| (stop, left))) {
        let disk = Disk::default();
        let mut spool = open(&disk, 4);
        disk.fail_after(Some(stop));
        let (mut kept, mut next) = (String::new(), None);
        for letter in b"abcdefgh" {
            match spool.add(&[*letter]) {
                Ok(()) => kept.push(char::from(*letter)),
                Err(_) => next = next.or(Some(char::from(*letter))),
            }
        }
        disk.lose_power(left);
        let again = open(&disk, 4);
        let (shown, (waiting, lost)) = (letters(&again, 0), again.counts(0));
        // One more may have come to the disk than was said.
        let all = if next.is_some_and(|next| shown.ends_with(next)) {
            format!("{kept}{}", next.unwrap_or_default())
        } else {
            kept
        };
        assert!(all.ends_with(&shown), "{stop}: {all} {shown}");
        assert_eq!(
            (waiting, waiting + lost),
            (shown.len() as u64, all.len() as u64),
            "{stop}: {all} {shown}"
        );
        assert!(waiting >= (all.len() as u64).min(3), "{stop}: {all} {shown}");
    }
}

#[test]
fn a_record_or_a_head_that_is_cut_at_any_byte_is_there_or_not() {
    let disk = Disk::default();
    let mut spool = open(&disk, 4);
    for letter in b"abcde" {
        spool.add(&[*letter; 300]).unwrap();
    }
    spool.only([true, false, false]).unwrap();
    // Two writes into a full ring: the head that makes room, then the record.
    let before = disk.bytes();
    disk.fail_after(Some(2));
    spool.add(&[b'f'; 300]).unwrap_err();
    disk.fail_after(None);
    let room = disk.bytes();
    let mut spool = open(&disk, 4);
    spool.add(&[b'f'; 300]).unwrap();
    let after = disk.bytes();
    for (old, new, shown) in [(&before, &room, ["bcde", "cde"]), (&room, &after, ["cde", "cdef"])] {
        let changed: Vec<usize> = (0..new.len()).filter(|&at| old[at] != new[at]).collect();
        let (first, last) = (changed[0], changed[changed.len() - 1]);
        for cut in first..=last + 1 {
            let mut bytes = old.clone();
            bytes[first..cut].copy_from_slice(&new[first..cut]);
            let mut again = open(&Disk::holding(bytes), 4);
            let is = letters(&again, 0);
            assert_eq!(is, shown[usize::from(cut > last)], "{first} {cut} {last}");
            assert_eq!(again.waiting(0, 99).rotten, 0, "{first} {cut} {last}");
            assert_eq!(
                again.counts(0),
                (is.len() as u64, 5 + u64::from(is.ends_with('f')) - is.len() as u64)
            );
            again.add(b"g").unwrap();
            let all = format!("{is}g");
            assert_eq!(letters(&again, 0), all[all.len().saturating_sub(4)..], "{cut}");
        }
    }
}

#[test]
fn rot_and_nonsense_are_passed_over_and_counted() {
    let disk = Disk::default();
    let mut spool = open(&disk, 4);
    for letter in b"abc" {
        spool.add(&[*letter; 20]).unwrap();
    }
    // Known to be three, so that the last one is missed too.
    spool.told(1, 1, 0).unwrap();
    for (rotten, left) in [(0, "bc"), (1, "ac"), (2, "ab")] {
        let mut bytes = disk.bytes();
        bytes[(2 + rotten) * SLOT + RECORD_HEAD] ^= 1;
        let mut again = open(&Disk::holding(bytes), 4);
        assert_eq!(letters(&again, 0), left);
        let waiting = again.waiting(0, 9);
        assert_eq!((waiting.rotten, waiting.more), (1, 0), "{rotten}");
        // It is not in the way for ever.
        again.told(0, waiting.end, 0).unwrap();
        assert_eq!(again.counts(0), (0, 0), "{rotten}");
    }
    for nonsense in [vec![7; 5000], vec![0; 5000], Vec::new()] {
        let mut again = open(&Disk::holding(nonsense), 4);
        again.add(b"x").unwrap();
        assert_eq!((letters(&again, 0), again.counts(0)), ("x".into(), (1, 0)));
    }
    spool.add(&[b'x'; 5000]).unwrap();
    assert_eq!(spool.waiting(0, 9).records[3].len(), LONGEST_RECORD);
}

/// A disk with sectors that cannot be read.
#[derive(Clone)]
struct Bad(Disk, Vec<u64>);

impl Segment for Bad {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        if self.1.iter().any(|sector| (offset..offset + buffer.len() as u64).contains(&(sector * 512))) {
            return Err(io::Error::from_raw_os_error(5));
        }
        self.0.read_at(buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn empty(&self) -> io::Result<()> {
        self.0.empty()
    }

    fn make_durable(&self) -> io::Result<()> {
        self.0.make_durable()
    }
}

#[test]
fn one_sector_that_cannot_be_read_is_in_nobodys_way() {
    let disk = Disk::default();
    let mut spool = open(&disk, 4);
    for letter in b"abc" {
        spool.add(&[*letter]).unwrap();
    }
    spool.told(1, 1, 0).unwrap();
    let shown = |waiting: &Waiting| -> String {
        waiting.records.iter().map(|record| char::from(record[0])).collect()
    };
    for (sector, left) in [(2, "bc"), (3, "ac"), (4, "ab")] {
        let disk = Disk::holding(disk.bytes());
        let mut again = Spool::open(Bad(disk, vec![sector]), 4).unwrap();
        let waiting = again.waiting(0, 9);
        assert_eq!((shown(&waiting), waiting.rotten, waiting.more), (left.into(), 1, 0), "{sector}");
        again.add(b"d").unwrap();
        assert_eq!(shown(&again.waiting(0, 9)), format!("{left}d"));
        again.told(0, u64::MAX, 0).unwrap();
        assert_eq!(again.counts(0), (0, 0), "{sector}");
    }
    // Nor is a head, while the other one is there; and another size is taken up all the same.
    for sector in [0, 1, 3] {
        for slots in [4, 8, 2] {
            let disk = Disk::holding(disk.bytes());
            let again = Spool::open(Bad(disk, vec![sector]), slots).unwrap();
            let waiting = again.waiting(0, 9);
            assert_eq!(shown(&waiting).len() as u64 + waiting.rotten + waiting.lost, 3, "{sector} {slots}");
            assert!(shown(&waiting).ends_with('c'), "{sector} {slots}");
        }
    }
}

/// A disk that is gone: each try takes its time.
struct Dead(std::rc::Rc<std::cell::Cell<u32>>);

impl Segment for Dead {
    fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
        self.0.update(|reads| reads + 1);
        Err(io::Error::from_raw_os_error(5))
    }

    fn write_all_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(io::Error::from_raw_os_error(5))
    }

    fn empty(&self) -> io::Result<()> {
        Err(io::Error::from_raw_os_error(5))
    }

    fn make_durable(&self) -> io::Result<()> {
        Err(io::Error::from_raw_os_error(5))
    }
}

#[test]
fn a_disk_that_is_gone_is_not_read_for_ever() {
    let reads = std::rc::Rc::default();
    assert!(Spool::open(Dead(std::rc::Rc::clone(&reads)), 1000).is_err());
    assert!(reads.get() < 50, "{}", reads.get());
}

#[test]
fn the_newest_that_cannot_be_read_is_missed_though_no_head_knows_of_it() {
    let disk = Disk::default();
    let mut spool = open(&disk, 4);
    spool.add(b"a").unwrap();
    spool.add(b"b").unwrap();
    let mut again = Spool::open(Bad(disk, vec![3]), 4).unwrap();
    assert_eq!((again.waiting(0, 9).rotten, again.counts(0)), (1, (2, 0)));
    again.add(b"c").unwrap();
    assert_eq!(again.waiting(0, 9).records, [b"a".to_vec(), b"c".to_vec()]);
}

/// A write that failed may have left anything in its place; the next one must not go over the other head.
#[test]
fn a_head_that_could_not_be_written_leaves_the_last_one_alone_until_another_is_whole() {
    let disk = Disk::default();
    let mut spool = open(&disk, 4);
    spool.add(b"a").unwrap();
    spool.told(1, 1, 0).unwrap();
    spool.lose(1).unwrap();
    for failed in 1..4 {
        disk.fail_after(Some(0));
        (0..failed).for_each(|_| drop(spool.lose(1).unwrap_err()));
        disk.fail_after(None);
        let before = disk.bytes();
        let known = open(&Disk::holding(before.clone()), 4).counts(0);
        spool.lose(1).unwrap();
        let mut torn = disk.bytes();
        let head = (0..2).find(|head| before[head * SLOT..][..SLOT] != torn[head * SLOT..][..SLOT]).unwrap();
        torn[head * SLOT + 30] ^= 1;
        assert_eq!(open(&Disk::holding(torn), 4).counts(0), known, "{failed}");
    }
}

#[test]
fn without_both_heads_what_lies_in_a_second_ring_is_known_too() {
    let disk = Disk::default();
    let mut spool = open(&disk, 4);
    for letter in b"abc" {
        spool.add(&[*letter]).unwrap();
    }
    let mut spool = open(&disk, 8);
    for letter in b"defghi" {
        spool.add(&[*letter]).unwrap();
    }
    let mut bytes = disk.bytes();
    [0, 1].into_iter().for_each(|head| bytes[head * SLOT + 20] ^= 1);
    let mut again = open(&Disk::holding(bytes), 8);
    assert_eq!((again.forgot(), again.next_number()), (9, 9));
    again.add(b"j").unwrap();
    assert_eq!((letters(&again, 0), again.counts(0)), ("j".into(), (1, 0)));
}

/// Whatever somebody has written there with a good sum: no number of it makes us count without end, or beyond the last.
#[test]
fn a_head_that_none_of_ours_would_say_is_none() {
    let good = Head { turn: 7, slots: 4, base: 0, next: 9, ways: [Way { mark: 9, lost: 0 }; WAYS] };
    let read = |head: Head| {
        let mut bytes = vec![0; 6 * SLOT];
        bytes[..head.bytes().len()].copy_from_slice(&head.bytes());
        read_head(&Disk::holding(bytes), 0)
    };
    assert_eq!(read(good), Some(good));
    let nobody = Head { ways: [Way { mark: u64::MAX, lost: 0 }; WAYS], ..good };
    assert_eq!(read(nobody), Some(nobody));
    for said in [(100_000, 200_000), (1, 0)] {
        let head = Head { slots: said.0, base: said.1, ..good };
        assert_eq!(read(head), Some(head));
    }
    for wrong in [
        Head { slots: 0, ..good },
        Head { slots: 100_001, ..good },
        Head { base: 200_001, ..good },
        Head { turn: u64::MAX / 2, ..good },
        Head { next: u64::MAX / 2, ..good },
        Head { ways: [Way { mark: u64::MAX - 1, lost: 0 }; WAYS], ..good },
    ] {
        assert_eq!(read(wrong), None, "{wrong:?}");
    }
}
