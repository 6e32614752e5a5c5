//! What waits outlives a restart, a cut and another size, or is counted.

use super::*;
use crate::disk::Disk;

fn letters(spool: &Spool<Disk>, way: usize) -> String {
    let waiting = spool.waiting(way, usize::MAX).unwrap();
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
    let two = spool.waiting(1, 2).unwrap();
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
    let end = spool.waiting(1, 3).unwrap().end;
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
            let end = spool.waiting(1, from as usize - 1).unwrap().end;
            spool.told(1, end, 0).unwrap();
            let (before, lost) = (letters(&spool, 0), spool.counts(0).1);
            disk.fail_after(Some(stop));
            let done = Spool::open(disk.clone(), to).is_ok();
            disk.lose_power(left);
            assert!(!done || stop > 2, "{from} {to} {stop}: it takes more steps than these");
            // As it was, by who knows the old size; then as it is to be.
            let again = open(&disk, to);
            let kept = &before[before.len() - before.len().min(to as usize)..];
            let gone = (before.len() - kept.len()) as u64;
            assert_eq!(letters(&again, 0), kept, "{from} {to} {stop}");
            assert_eq!(again.counts(0), (kept.len() as u64, lost + gone), "{from} {to} {stop}");
            assert_eq!((letters(&again, 1), letters(&again, 2)), ("j".into(), String::new()));
            assert_eq!(again.waiting(0, 99).unwrap().rotten, 0);
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
            assert_eq!(again.waiting(0, 99).unwrap().rotten, 0, "{first} {cut} {last}");
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
        let waiting = again.waiting(0, 9).unwrap();
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
    assert_eq!(spool.waiting(0, 9).unwrap().records[3].len(), LONGEST_RECORD);
}
