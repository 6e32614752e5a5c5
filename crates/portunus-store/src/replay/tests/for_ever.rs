//! Claims that are kept for ever, as where fwknop's ENABLE_SPA_PACKET_AGING is N: rot is no lock-out, a full store goes on, and
//! no client's clock shuts the others out.

use super::*;

const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
const YEAR: i64 = 365 * 24 * 3600;

/// As the gate makes them where it looks at no time.
fn lasting(n: u32, secs: i64) -> Claim {
    let plain = claim(n, secs);
    Claim { keep_until: plain.stamp.after(CENTURY), ..plain }
}

#[test]
fn rot_is_a_matter_of_minutes() {
    // With one claim left or none, and one of a client whose clock is far ahead.
    for left in [&[][..], &[lasting(7, 5)], &[lasting(7, 80 * YEAR), lasting(8, -50 * YEAR)]] {
        let disks = disks();
        let mut store = open(&disks, 100);
        assert_eq!(take(&mut store, at(10), lasting(1, 10)), Claimed::Fresh);
        let _ = store.claim(at(20), left);
        let mut rotten = disks[0].bytes();
        rotten[SLOT + 5] ^= 1;
        let disks = [Disk::holding(rotten), Disk::default()];
        for opening in 0..2 {
            let mut store = FileStore::open(disks.clone(), 100, NEXT_BOOT, at(30)).unwrap();
            assert_eq!(store.was_damaged(), opening == 0);
            assert_eq!(store.horizon(), Some(Unix::from_secs(WALL + 30 + 600)));
            assert_eq!(take(&mut store, at(40), lasting(1, 10)), Claimed::BelowHorizon, "the lost one");
            assert_eq!(take(&mut store, at(40), lasting(50, 40)), Claimed::BelowHorizon);
            for claim in left {
                assert_ne!(take(&mut store, at(40), *claim), Claimed::Fresh, "what is left is known");
            }
            assert_eq!(take(&mut store, at(631), lasting(60 + opening, 631)), Claimed::Fresh);
        }
    }
}

/// A machine without a clock of its own starts in 1970: what its clock had shown before counts.
#[test]
fn rot_is_covered_where_the_clock_begins_anew() {
    let disks = disks();
    let mut store = open(&disks, 100);
    let _ = store.claim(at(10), &[lasting(1, 10), lasting(2, -YEAR)]);
    let mut rotten = disks[0].bytes();
    rotten[SLOT + 5] ^= 1;
    let epoch = Now { mono: Mono::default(), wall: Unix::from_secs(0) };
    let disks = [Disk::holding(rotten), Disk::default()];
    let mut store = FileStore::open(disks, 100, NEXT_BOOT, epoch).unwrap();
    assert_eq!(take(&mut store, epoch, lasting(1, 10)), Claimed::BelowHorizon);
    assert_eq!(store.horizon(), Some(Unix::from_secs(WALL + 10 + 600)));
}

#[test]
fn a_full_store_goes_on_and_gives_up_the_oldest() {
    let disks = disks();
    let mut store = open(&disks, 40);
    for n in 0..500 {
        let now = at(u64::from(n) * 86_400);
        assert_eq!(take(&mut store, now, lasting(n, i64::from(n) * 86_400)), Claimed::Fresh, "{n}");
        assert!(store.len() <= 50, "{} are remembered", store.len());
    }
    let sizes = disks.iter().map(|disk| disk.bytes().len()).max().unwrap();
    assert!(sizes <= 50 * SLOT, "{sizes} bytes");
    for reopened in [false, true] {
        if reopened {
            store = open(&disks, 40);
        }
        for n in 0..500 {
            let answer = take(&mut store, at(500 * 86_400), lasting(n, i64::from(n) * 86_400));
            assert!(matches!(answer, Claimed::Replayed | Claimed::BelowHorizon), "{n}: {answer:?}");
        }
    }
    // Who is two months behind is below the horizon now, and is told so; who is a day behind is not.
    assert_eq!(take(&mut store, at(500 * 86_400), lasting(600, 440 * 86_400)), Claimed::BelowHorizon);
    assert_eq!(take(&mut store, at(500 * 86_400), lasting(601, 499 * 86_400)), Claimed::Fresh);
}

#[test]
fn who_is_years_ahead_fills_a_quarter_and_shuts_nobody_out() {
    let disks = disks();
    let mut store = open(&disks, 40);
    let mut far = Vec::new();
    for n in 0..1000_u32 {
        let now = at(u64::from(n) * 60);
        if n == 500 {
            store = FileStore::open(disks.clone(), 40, NEXT_BOOT, now).unwrap();
        }
        let ahead = lasting(10_000 + n, 50 * YEAR + i64::from(n));
        let answer = take(&mut store, now, ahead);
        if answer == Claimed::Fresh {
            far.push(ahead);
        } else {
            assert_eq!(answer, Claimed::TooFarAhead);
        }
        assert_eq!(take(&mut store, now, lasting(n, i64::from(n) * 60)), Claimed::Fresh, "{n}");
        assert!(store.horizon() <= Some(now.wall.after(Duration::from_secs(600))));
        assert!(store.len() <= 60, "{} are remembered", store.len());
        for claim in &far {
            assert_eq!(take(&mut store, now, *claim), Claimed::Replayed);
        }
    }
    assert_eq!(far.len(), 5, "a quarter of a turn of twenty");
    // Their time has come: there is room for others.
    let then = Now { wall: Unix::from_secs(WALL + 51 * YEAR), ..at(70_000) };
    assert_eq!(take(&mut store, then, lasting(20_000, 60 * YEAR)), Claimed::Fresh);
}
