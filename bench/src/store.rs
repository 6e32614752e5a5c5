//! The replay store on this machine's disk: what a claim costs that is durable before it is answered.

use std::time::{Duration, Instant};

use portunus_model::{Claim, ClaimKey, Claimed, Mono, Now, Unix};
use portunus_store::{BootId, FileStore, ReplayStore};
use portunus_sys::{clock, files};

use crate::{millis, row};

/// Batches of each size.
const BATCHES: u32 = 2_000;

/// One claim alone, and as many as come together under load: one fdatasync a batch. Below `target`, which is on a disk.
pub(crate) fn claims() {
    for (size, wanted) in [(1, "< 10 ms median"), (8, ">= 5,000 a second"), (64, ">= 5,000 a second")] {
        let (mut took, spent) = batches(size);
        took.sort();
        let at = |share: usize| millis(took.get(took.len() * share / 100).copied().unwrap_or_default());
        let per_second = f64::from(size * BATCHES) / spent.as_secs_f64();
        row(
            &format!("claims made durable on the disk, {size} at once"),
            &format!("{per_second:.0} a second; a batch: median {}, p99 {}", at(50), at(99)),
            wanted,
        );
    }
}

fn batches(size: u32) -> (Vec<Duration>, Duration) {
    let folder = std::env::current_exe().expect("the program has a place");
    let folder = folder.with_file_name(format!("bench-store-{}", std::process::id()));
    files::make_folder(&folder, 0o700).expect("a folder can be made");
    let open =
        |letter| files::open_state(&folder.join(format!("replay.{letter}"))).expect("a file can be made");
    let boot = BootId::from_bytes(clock::boot_id().expect("the kernel has a boot id"));
    let mut store = FileStore::open([open("a"), open("b")], 400_000, boot, now()).expect("the store opens");
    let start = Instant::now();
    let took = (0..BATCHES)
        .map(|batch| {
            let claims: Vec<Claim> = (0..size).map(|n| claim(batch * size + n)).collect();
            let began = Instant::now();
            let answers = store.claim(now(), &claims);
            assert!(answers.iter().all(|&answer| answer == Claimed::Fresh), "every claim is fresh");
            began.elapsed()
        })
        .collect();
    let spent = start.elapsed();
    std::fs::remove_dir_all(&folder).expect("the folder can be removed");
    (took, spent)
}

fn now() -> Now {
    Now { mono: Mono::from_nanos(1_000_000_000), wall: Unix::from_secs(1_800_000_000) }
}

fn claim(n: u32) -> Claim {
    let mut key = [0; 16];
    let number = u64::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for (to, from) in key.iter_mut().zip(number.to_be_bytes()) {
        *to = from;
    }
    let stamp = now().wall;
    Claim { key: ClaimKey(key), stamp, keep_until: stamp.after(Duration::from_secs(60)) }
}
