//! Power cut after every single operation on the disk, through rotations and givings up; and a store that does not sync, to
//! show that this would be seen.

use super::*;

/// A disk that says that it has synced, and has not.
#[derive(Clone)]
struct Hasty(Disk);

impl Segment for Hasty {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn empty(&self) -> io::Result<()> {
        self.0.empty()
    }

    fn make_durable(&self) -> io::Result<()> {
        Ok(())
    }
}

/// What became of a run.
struct Ran {
    /// What was said to be taken.
    taken: Vec<Claim>,
    /// How often the disks were asked.
    operations: usize,
}

/// Opens, claims through three rotations and two givings up, opens again, claims. From operation `works` on, counted over
/// both disks, nothing works.
fn run<S: Segment + Clone>(
    segments: &[S; 2],
    disks: &[Disk; 2],
    works: usize,
    span: impl Fn(u32) -> i64,
) -> Ran {
    disks[0].share_failing(&disks[1], Some(works));
    let mut taken = Vec::new();
    for life in 0..2 {
        let Ok(mut store) = FileStore::open(segments.clone(), 8, BOOT, at(0)) else { break };
        for n in 0..9 {
            let n = life * 20 + 2 * n;
            let batch = [claim(n, span(n)), claim(n + 1, span(n))];
            let answers = store.claim(at(u64::from(n)), &batch);
            let fresh = batch.iter().zip(answers).filter(|&(_, answer)| answer == Claimed::Fresh);
            taken.extend(fresh.map(|(claim, _)| *claim));
        }
    }
    Ran { taken, operations: disks[0].operations() }
}

/// Cuts the power after every operation, with every pattern of sectors that had arrived; gives how many cuts there were, and
/// how many claims were fresh again after one.
fn cut_everywhere<S: Segment + Clone>(over: impl Fn(Disk) -> S) -> (usize, usize) {
    let (mut cuts, mut twice) = (0, 0);
    for span in [|n: u32| i64::from(n), |n: u32| i64::from(n / 4)] {
        for works in 0.. {
            let mut operations = 0;
            for sectors in [0_u32, u32::MAX, 0x5555_5555, 0xaaaa_aaaa, 1, u32::MAX - 1] {
                let disks = disks();
                let ran = run(&disks.clone().map(&over), &disks, works, span);
                operations = ran.operations;
                disks.iter().for_each(|disk| disk.lose_power(|sector| sectors >> (sector % 32) & 1 == 1));
                let mut store = FileStore::open(disks.clone().map(&over), 8, NEXT_BOOT, at(70)).unwrap();
                assert!(!store.was_damaged() || twice > 0, "{works} operations, sectors {sectors:x}");
                cuts += 1;
                let again = |claim: &&Claim| take_from(&mut store, **claim) == Claimed::Fresh;
                twice += ran.taken.iter().filter(again).count();
                // And nobody is shut out by it.
                assert_eq!(take_from(&mut store, claim(999, 75)), Claimed::Fresh);
            }
            if operations < works {
                break;
            }
        }
    }
    (cuts, twice)
}

fn take_from<S: Segment>(store: &mut FileStore<S>, claim: Claim) -> Claimed {
    store.claim(at(70), &[claim])[0]
}

#[test]
fn nothing_opens_twice_wherever_the_power_is_cut() {
    let (cuts, twice) = cut_everywhere(|disk| disk);
    println!("{cuts} power cuts");
    assert!(cuts > 500, "{cuts}");
    assert_eq!(twice, 0);
}

/// Without this one the test above might see nothing.
#[test]
fn a_store_that_does_not_sync_is_found_out() {
    let (cuts, twice) = cut_everywhere(Hasty);
    println!("{cuts} power cuts, {twice} claims fresh again");
    assert!(twice > 100, "{twice}");
}
