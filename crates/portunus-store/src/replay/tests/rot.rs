//! Files that are cut off, changed and mixed up: nothing that is still there or was there passes twice, the horizon covers
//! what is lost, for a while that has an end, and the next start finds the files sound.

use super::super::record::Record;
use super::*;

/// What was on the disks at some moment, and what had been said to be taken until then.
struct Moment {
    files: [Vec<u8>; 2],
    taken: Vec<Claim>,
    /// Taken too, and killed before the mark behind it was written: what rots then looks torn.
    unmarked: Vec<Claim>,
    clock: u64,
}

/// The disks after every single operation of a life with rotations, givings up and a restart.
fn moments() -> Vec<Moment> {
    let mut moments: Vec<Moment> = Vec::new();
    for works in 0.. {
        let disks = disks();
        disks[0].share_failing(&disks[1], Some(works));
        let (mut taken, mut unmarked, mut clock) = (Vec::new(), Vec::new(), 0);
        for life in 0..2 {
            let Ok(mut store) = FileStore::open(disks.clone(), 8, BOOT, at(clock)) else { break };
            for n in 0..7 {
                let n = life * 20 + 2 * n;
                let batch = [claim(n, i64::from(n)), claim(n + 1, i64::from(n) + 30)];
                let answers = store.claim(at(u64::from(n)), &batch);
                if answers.contains(&Claimed::Unavailable) {
                    break;
                }
                clock = u64::from(n);
                let marked = disks[0].operations() <= works;
                if marked { &mut taken } else { &mut unmarked }.extend(batch);
            }
        }
        let over = disks[0].operations() < works;
        moments.push(Moment { files: disks.map(|disk| disk.bytes()), taken, unmarked, clock });
        if over {
            return moments;
        }
    }
    moments
}

fn holding(files: &[Vec<u8>; 2]) -> [Disk; 2] {
    files.clone().map(Disk::holding)
}

/// Whether a file says of a claim that it was taken, or that it is below the horizon.
fn knows(file: &[u8], claim: &Claim) -> bool {
    let stamp = record::nanos(claim.stamp);
    let header = file.first_chunk().and_then(Header::decode);
    let below = header.is_some_and(|header| header.horizon >= stamp);
    below
        || file.chunks_exact(SLOT).filter_map(Record::decode).any(|record| match record.content {
            Content::Claim { key, .. } => key == claim.key,
            Content::Horizon(horizon) => Some(horizon) >= stamp,
            Content::Mark(_) => false,
        })
}

#[test]
fn cut_at_every_byte_at_every_moment() {
    let mut cuts = 0;
    for moment in moments() {
        for (which, file) in moment.files.iter().enumerate() {
            for cut in 0..file.len() {
                let mut files = moment.files.clone();
                files[which].truncate(cut);
                let mut store = FileStore::open(holding(&files), 8, BOOT, at(moment.clock)).unwrap();
                cuts += 1;
                for claim in moment.taken.iter().chain(&moment.unmarked) {
                    let fresh = take(&mut store, at(moment.clock), *claim) == Claimed::Fresh;
                    let known = files.iter().any(|file| knows(file, claim));
                    assert!(!fresh || !known, "cut at {cut} of {}", file.len());
                }
                let answer = take(&mut store, at(200), claim(999, 200));
                assert_eq!(answer, Claimed::Fresh, "cut at {cut} of {}", file.len());
            }
        }
    }
    println!("{cuts} cuts");
    assert!(cuts > 10_000, "{cuts}");
}

/// What is done to a file at some place.
type Harm = fn(&mut [u8], usize);

#[test]
fn changed_at_every_byte_at_every_moment() {
    let mut changes = 0;
    let flip: Harm = |file, at| file[at] ^= 1 << (at % 8);
    let blank: Harm = |file, at| file[at] = !file[at];
    for moment in moments() {
        for which in 0..2 {
            for place in 0..moment.files[which].len() {
                for harm in [flip, blank] {
                    changes += 1;
                    let mut files = moment.files.clone();
                    harm(&mut files[which], place);
                    survives(&moment, &files, &format!("byte {place} of file {which}"));
                }
            }
        }
    }
    println!("{changes} changes");
    assert!(changes > 20_000, "{changes}");
}

#[test]
fn lost_sectors_and_ends_full_of_nothing() {
    let zero: Harm = |file, at| file[at..].iter_mut().take(512).for_each(|byte| *byte = 0);
    let noise: Harm =
        |file, at| file[at..].iter_mut().zip(1_u32..=512).for_each(|(byte, n)| *byte = ((n * 37) >> 3) as u8);
    for moment in moments() {
        for which in 0..2 {
            for place in (0..moment.files[which].len()).step_by(512) {
                for harm in [zero, noise] {
                    let mut files = moment.files.clone();
                    harm(&mut files[which], place);
                    // Of a file that is one sector there is nothing left that would be ours, or would ever have been.
                    if moment.files[which].len() > 512 || files[1 - which].len() > SLOT {
                        survives(&moment, &files, &format!("sector at {place} of file {which}"));
                    }
                }
            }
        }
    }
}

/// Opens what is left, three times, and tries everything that was taken.
fn survives(moment: &Moment, files: &[Vec<u8>; 2], what: &str) {
    let disks = holding(files);
    let now = at(moment.clock);
    let mut damaged = false;
    for opening in 0..3 {
        let mut store =
            FileStore::open(disks.clone(), 8, BOOT, now).unwrap_or_else(|e| panic!("{what}: {e}"));
        if opening > 0 {
            assert!(!store.was_damaged(), "{what}: it is mended at once");
        }
        damaged |= store.was_damaged();
        for claim in &moment.taken {
            assert_ne!(take(&mut store, now, *claim), Claimed::Fresh, "{what}, opening {opening}");
        }
        if damaged {
            // Refused, with an end: two windows after the latest packet, or ten minutes where nothing is left to tell.
            let end = store.horizon().unwrap();
            assert!(end <= now.wall.after(Duration::from_secs(600)), "{what}: {end:?}");
        } else {
            assert_eq!(take(&mut store, now, claim(900 + opening, 60)), Claimed::Fresh, "{what}");
        }
    }
    let mut store = FileStore::open(disks, 8, BOOT, now).unwrap();
    assert_eq!(take(&mut store, at(moment.clock + 601), claim(999, 660)), Claimed::Fresh, "{what}");
}

#[test]
fn one_file_copied_over_the_other() {
    for moment in moments() {
        for from in 0..2 {
            let mut files = moment.files.clone();
            files[1 - from] = files[from].clone();
            let there: Vec<Claim> =
                moment.taken.iter().filter(|claim| knows(&files[from], claim)).copied().collect();
            survives(&Moment { taken: there, ..moment_of(&files, moment.clock) }, &files, "copied");
        }
    }
}

fn moment_of(files: &[Vec<u8>; 2], clock: u64) -> Moment {
    Moment { files: files.clone(), taken: Vec::new(), unmarked: Vec::new(), clock }
}

/// As a version before this one wrote them: without marks.
#[test]
fn files_without_marks_are_read() {
    let disks = disks();
    let mut store = open(&disks, 100);
    let _ = store.claim(at(0), &[claim(0, 0), claim(1, 5)]);
    let mut old = disks[0].bytes();
    old.truncate(3 * SLOT);
    let mut store = open(&[Disk::holding(old), Disk::default()], 100);
    assert!(!store.was_damaged());
    assert_eq!(store.claim(at(1), &[claim(1, 5), claim(2, 0)]), [Claimed::Replayed, Claimed::Fresh]);
}

#[test]
fn a_claim_lost_to_rot_is_covered_by_the_horizon() {
    let disks = disks();
    let mut store = open(&disks, 100);
    for n in 0..4 {
        let _ = take(&mut store, at(0), claim(n, 0));
    }
    let mut rotten = disks[0].bytes();
    rotten[2 * SLOT + 5] ^= 1;
    let mut store = open(&[Disk::holding(rotten), Disk::default()], 100);
    assert!(store.was_damaged());
    assert_eq!(take(&mut store, at(0), claim(1, 0)), Claimed::BelowHorizon);
    assert_eq!(take(&mut store, at(121), claim(50, 121)), Claimed::Fresh);
}

#[test]
fn rot_is_covered_also_where_the_clock_is_behind_at_the_start() {
    let disks = disks();
    let mut store = open(&disks, 100);
    // The lost one was made at 0 by a client 60 s ahead, the one that is left by one 60 s behind.
    let _ = take(&mut store, at(0), claim(1, 60));
    let _ = take(&mut store, at(0), claim(2, -60));
    let mut rotten = disks[0].bytes();
    rotten[SLOT + 5] ^= 1;
    let year_before = Now { wall: at(0).wall.before(Duration::from_secs(31_536_000)), ..at(0) };
    let disks = [Disk::holding(rotten), Disk::default()];
    let mut store = FileStore::open(disks, 100, BOOT, year_before).unwrap();
    assert!(store.was_damaged());
    assert_eq!(take(&mut store, at(5), claim(1, 60)), Claimed::BelowHorizon, "once the clock is right");
}
