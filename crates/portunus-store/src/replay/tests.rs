//! What the replay store promises, on a disk that fails and loses power.

use std::time::Duration;

use portunus_model::{Claim, ClaimKey, Claimed, Mono, Now, Unix};

use super::record::SLOT;
use super::*;
use crate::disk::Disk;

mod clock;
mod crash;
mod for_ever;
mod rot;

const WINDOW: Duration = Duration::from_secs(60);
const BOOT: BootId = BootId::from_bytes([1; 16]);
const NEXT_BOOT: BootId = BootId::from_bytes([2; 16]);
const WALL: i64 = 1_800_000_000;

fn at(secs: u64) -> Now {
    Now { mono: Mono::from_nanos(secs * 1_000_000_000), wall: Unix::from_secs(WALL + secs as i64) }
}

/// The `n`-th packet, stamped `secs`.
fn claim(n: u32, secs: i64) -> Claim {
    let mut key = [0; 16];
    key[..4].copy_from_slice(&n.to_be_bytes());
    let stamp = Unix::from_secs(WALL + secs);
    Claim { key: ClaimKey(key), stamp, keep_until: stamp.after(WINDOW) }
}

fn disks() -> [Disk; 2] {
    [Disk::default(), Disk::default()]
}

fn open(disks: &[Disk; 2], capacity: usize) -> FileStore<Disk> {
    FileStore::open(disks.clone(), capacity, BOOT, at(0)).unwrap()
}

fn take(store: &mut FileStore<Disk>, now: Now, claim: Claim) -> Claimed {
    store.claim(now, &[claim])[0]
}

#[test]
fn the_first_one_has_it_also_after_a_restart() {
    let disks = disks();
    let mut store = open(&disks, 100);
    assert_eq!(
        store.claim(at(0), &[claim(1, 0), claim(2, 0), claim(1, 0)]),
        [Claimed::Fresh, Claimed::Fresh, Claimed::Replayed]
    );
    let mut store = open(&disks, 100);
    assert_eq!(store.len(), 2);
    assert_eq!(store.claim(at(1), &[claim(2, 0), claim(3, 0)]), [Claimed::Replayed, Claimed::Fresh]);
}

#[test]
fn one_sync_a_batch_and_none_for_replays() {
    let disks = disks();
    let mut store = open(&disks, 1000);
    let before = disks[0].syncs();
    let batch: Vec<Claim> = (0..64).map(|n| claim(n, 0)).collect();
    assert!(store.claim(at(0), &batch).iter().all(|&answer| answer == Claimed::Fresh));
    assert_eq!(disks[0].syncs(), before + 1);
    assert!(store.claim(at(0), &batch).iter().all(|&answer| answer == Claimed::Replayed));
    assert_eq!(disks[0].syncs(), before + 1);
    assert_eq!(disks[1].syncs(), 0);
}

#[test]
fn cut_at_every_byte_no_acknowledged_claim_is_lost() {
    let disks = disks();
    let mut store = open(&disks, 1000);
    let _ = store.claim(at(0), &[claim(0, 0), claim(1, 0), claim(2, 0)]);
    let acknowledged = disks[0].bytes().len();
    let _ = store.claim(at(0), &[claim(3, 0), claim(4, 0), claim(5, 0)]);
    let whole = disks[0].bytes();
    for cut in 0..=whole.len() {
        let left = [Disk::holding(whole[..cut].to_vec()), Disk::default()];
        let mut store = open(&left, 1000);
        assert!(!store.was_damaged(), "cut at {cut}");
        for n in 0..6 {
            let there = cut >= (n as usize + 2) * SLOT;
            let expected = if there { Claimed::Replayed } else { Claimed::Fresh };
            assert_eq!(
                take(&mut store, at(1), claim(n, 0)),
                expected,
                "claim {n}, cut at {cut} of {acknowledged}"
            );
        }
        let mut store = open(&left, 1000);
        assert!((0..6).all(|n| take(&mut store, at(1), claim(n, 0)) == Claimed::Replayed), "cut at {cut}");
    }
}

#[test]
fn torn_at_every_byte_with_older_bytes_behind() {
    let disks = disks();
    let mut store = open(&disks, 1000);
    let _ = store.claim(at(0), &[claim(0, 0), claim(1, 0)]);
    let before = disks[0].bytes().len() - SLOT;
    disks[0].fail_after(Some(1)); // the write goes through, the sync does not: nobody is told
    assert_eq!(store.claim(at(0), &[claim(2, 0), claim(3, 0)]), [Claimed::Unavailable; 2]);
    let whole = disks[0].bytes();
    for from in before..whole.len() {
        // The tail arrived and what lies before it did not.
        let mut torn = whole.clone();
        torn[before..from].fill(0xa5);
        let left = [Disk::holding(torn), Disk::default()];
        let mut store = open(&left, 1000);
        assert!(!store.was_damaged());
        assert_eq!(take(&mut store, at(1), claim(1, 0)), Claimed::Replayed);
        assert_eq!(take(&mut store, at(1), claim(9, 0)), Claimed::Fresh);
        let mut store = open(&left, 1000);
        assert!(!store.was_damaged(), "from {from}");
        for n in [0, 1, 9] {
            assert_eq!(take(&mut store, at(1), claim(n, 0)), Claimed::Replayed, "from {from}");
        }
    }
}

#[test]
fn power_cuts_that_keep_any_sectors_lose_nothing_acknowledged() {
    for pattern in 0_u32..256 {
        let disks = disks();
        let mut store = open(&disks, 1000);
        let first: Vec<Claim> = (0..20).map(|n| claim(n, 0)).collect();
        assert!(store.claim(at(0), &first).iter().all(|&answer| answer == Claimed::Fresh));
        disks[0].fail_after(Some(1)); // the write goes through, the sync does not
        let second: Vec<Claim> = (20..40).map(|n| claim(n, 0)).collect();
        assert!(store.claim(at(0), &second).iter().all(|&answer| answer == Claimed::Unavailable));
        disks.iter().for_each(|disk| disk.lose_power(|sector| pattern >> (sector % 8) & 1 == 1));
        let mut store = open(&disks, 1000);
        assert!(!store.was_damaged(), "pattern {pattern:b}");
        assert!(first.iter().all(|&claim| take(&mut store, at(1), claim) == Claimed::Replayed));
        assert_eq!(take(&mut store, at(1), claim(77, 0)), Claimed::Fresh);
        let mut store = open(&disks, 1000);
        assert!(!store.was_damaged());
        assert_eq!(take(&mut store, at(1), claim(77, 0)), Claimed::Replayed, "pattern {pattern:b}");
    }
}

#[test]
fn a_disk_that_fails_refuses_and_recovers() {
    for working in 0..2 {
        let disks = disks();
        let mut store = open(&disks, 100);
        disks[0].fail_after(Some(working));
        assert_eq!(store.claim(at(0), &[claim(1, 0), claim(2, 0)]), [Claimed::Unavailable; 2]);
        assert_eq!(store.fault(), Some(io::ErrorKind::StorageFull));
        disks[0].fail_after(None);
        assert_eq!(take(&mut store, at(0), claim(1, 0)), Claimed::Fresh);
        assert_eq!(store.fault(), None);
        assert_eq!(take(&mut open(&disks, 100), at(1), claim(1, 0)), Claimed::Replayed);
    }
}

#[test]
fn forgotten_only_when_both_clocks_say_so() {
    let disks = disks();
    let mut store = open(&disks, 4);
    let _ = store.claim(at(0), &[claim(1, 55), claim(2, 0)]);
    let _ = store.claim(at(7000), &[claim(3, 7000)]); // the first turn is full: the second begins
    let _ = store.claim(at(7100), &[claim(4, 7100), claim(5, 7100)]);
    // The wall clock ran on by a day, BOOTTIME did not: kept.
    let ahead = Now { mono: at(7150).mono, wall: Unix::from_secs(WALL + 86_400) };
    assert_eq!(take(&mut store, ahead, claim(1, 55)), Claimed::Replayed);
    // Set back, the packet would be fresh again: kept.
    let back = Now { mono: at(7190).mono, wall: Unix::from_secs(WALL + 50) };
    assert_eq!(take(&mut store, back, claim(1, 55)), Claimed::Replayed);
    // Two hours of BOOTTIME and the window are over: gone at the next turn, without a horizon.
    assert_eq!(take(&mut store, at(7300), claim(6, 7300)), Claimed::Fresh);
    assert_eq!(store.horizon(), None);
    assert_eq!(take(&mut store, at(7300), claim(1, 55)), Claimed::Fresh, "its age is the gate's to judge");
    assert_eq!(take(&mut store, at(7300), claim(4, 7100)), Claimed::Replayed);
}

#[test]
fn a_new_boot_counts_two_hours_of_its_own() {
    let disks = disks();
    let mut store = open(&disks, 2);
    let _ = store.claim(at(50_000), &[claim(1, 50_000)]);
    let mut store = FileStore::open(disks.clone(), 2, NEXT_BOOT, at(1)).unwrap();
    let soon = Now { mono: at(7000).mono, wall: at(58_000).wall };
    let _ = store.claim(soon, &[claim(2, 58_000)]);
    let _ = store.claim(soon, &[claim(3, 58_001)]);
    assert!(store.horizon().is_some(), "what is not two hours old goes only under the horizon");
    let later = Now { mono: at(7200).mono, wall: at(58_200).wall };
    let mut store = FileStore::open(disks, 2, NEXT_BOOT, later).unwrap();
    assert_eq!(take(&mut store, later, claim(1, 50_000)), Claimed::BelowHorizon);
}

#[test]
fn at_capacity_the_horizon_rises_and_stays() {
    let disks = disks();
    let mut store = open(&disks, 16);
    for n in 0..17 {
        assert_eq!(take(&mut store, at(u64::from(n)), claim(n, i64::from(n))), Claimed::Fresh, "{n}");
    }
    assert_eq!(store.horizon(), Some(Unix::from_secs(WALL + 6)), "the seventh of the older eight");
    for reopened in [false, true] {
        if reopened {
            store = open(&disks, 16);
        }
        for n in 0..17 {
            let expected = if n <= 6 { Claimed::BelowHorizon } else { Claimed::Replayed };
            assert_eq!(take(&mut store, at(20), claim(n, i64::from(n))), expected, "{n} {reopened}");
        }
    }
}

#[test]
fn a_client_whose_clock_runs_ahead_does_not_shut_the_others_out() {
    let mut store = open(&disks(), 200);
    for n in 0..1000 {
        let ahead = n % 50 == 0;
        let stamp = i64::from(n / 100) + if ahead { 55 } else { 0 };
        assert_eq!(take(&mut store, at(u64::from(n) / 100), claim(n, stamp)), Claimed::Fresh, "{n}");
    }
    assert!(store.len() < 300, "{} are remembered", store.len());
}

#[test]
fn another_file_is_refused_and_left_alone() {
    let other = Disk::holding(b"-----BEGIN OPENSSH PRIVATE KEY-----\n and so on".to_vec());
    let opened = FileStore::open([Disk::default(), other.clone()], 10, BOOT, at(0));
    assert_eq!(opened.err(), Some(StoreError::WrongFile { wanted: "replay store" }));
    assert!(other.bytes().starts_with(b"-----BEGIN"));
}

#[test]
fn stamps_that_no_disk_can_hold_are_refused() {
    let far = Unix::from_nanos(i128::from(i64::MAX) + 1);
    let claim = Claim { key: ClaimKey([9; 16]), stamp: far, keep_until: far };
    assert_eq!(take(&mut open(&disks(), 10), at(0), claim), Claimed::Unavailable);
}

#[test]
fn what_was_claimed_while_the_clock_ran_a_day_ahead_is_kept_for_that_day() {
    const DAY: i64 = 86_400;
    let mut store = open(&disks(), 4);
    let ahead = Now { wall: at(DAY as u64).wall, ..at(0) };
    let _ = store.claim(ahead, &[claim(1, DAY), claim(2, DAY)]);
    // Set right again. Three hours of BOOTTIME later there are turns to be had, but not this one.
    let _ = store.claim(at(10), &[claim(3, 10)]);
    let _ = store.claim(at(10_800), &[claim(4, 10_800)]);
    assert_eq!(take(&mut store, at(10_800), claim(1, DAY)), Claimed::Replayed);
}
