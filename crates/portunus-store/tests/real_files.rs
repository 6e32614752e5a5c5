//! Store and journal over the system's own files: on a disk and in memory, full, read-only, cut off, and with the process
//! killed in the middle of a batch. What a power cut leaves is tried on a simulated disk, beside the code.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail where it stands")]

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use portunus_model::{Claim, ClaimKey, Claimed, ClientName, Element, Grounds, Mono, Now, PortSpec, Unix};
use portunus_store::{BootId, Entry, FileStore, Journal, ReplayStore, Row, StoreError};

const BOOT: BootId = BootId::from_bytes([7; 16]);
const BATCH: u64 = 64;
const CAPACITY: usize = 400_000;

/// A folder that goes away again.
struct Folder(PathBuf);

impl Folder {
    fn on(disk: &str, name: &str) -> Self {
        let path = Path::new(disk).join(format!("portunus-store-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn on_disk(name: &str) -> Self {
        Self::on(env!("CARGO_TARGET_TMPDIR"), name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn segments(folder: &Path) -> [File; 2] {
    ["one", "two"].map(|name| {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).open(folder.join(name)).unwrap()
    })
}

fn now() -> Now {
    Now { mono: Mono::from_nanos(1_000_000_000), wall: Unix::from_secs(1_800_000_000) }
}

fn claim(n: u64) -> Claim {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&n.to_be_bytes());
    let stamp = now().wall;
    Claim { key: ClaimKey(key), stamp, keep_until: stamp.after(Duration::from_secs(60)) }
}

fn batch(n: u64) -> Vec<Claim> {
    (n * BATCH..(n + 1) * BATCH).map(claim).collect()
}

fn store(folder: &Path) -> FileStore {
    let store = FileStore::open(segments(folder), CAPACITY, BOOT, now()).unwrap();
    assert!(!store.was_damaged(), "nothing that was acknowledged is lost");
    store
}

fn row(n: u64) -> Row {
    Row {
        client: ClientName::new(&format!("client-{n}")).unwrap(),
        element: Element::here([192, 0, 2, 1].into(), PortSpec::parse("22/tcp").unwrap()[0]),
        until: Mono::from_nanos(u64::MAX),
        grounds: Grounds::default(),
    }
}

fn rows(folder: &Path) -> Vec<String> {
    let (_, rows) = Journal::open(segments(folder), BOOT, now().mono).unwrap();
    let mut names: Vec<String> = rows.into_iter().map(|row| row.client.to_string()).collect();
    names.sort();
    names
}

#[test]
fn latency_of_one_durable_batch() {
    for disk in [env!("CARGO_TARGET_TMPDIR"), "/dev/shm"] {
        for size in [1, 64] {
            let folder = Folder::on(disk, "latency");
            let mut store = store(&folder.0);
            let mut took: Vec<Duration> = (0..200)
                .map(|n| {
                    let claims: Vec<Claim> = (n * size..(n + 1) * size).map(claim).collect();
                    let began = Instant::now();
                    assert!(store.claim(now(), &claims).iter().all(|&answer| answer == Claimed::Fresh));
                    began.elapsed()
                })
                .collect();
            took.sort_unstable();
            println!(
                "{disk}: {size} claims, fdatasync and all: median {:?}, 99 % {:?}",
                took[100], took[198]
            );
        }
    }
}

/// Run by the two tests below, as a process of its own; by itself it does nothing.
#[test]
fn writer() {
    let Some(folder) = std::env::var_os("PORTUNUS_STORE_WRITER").map(PathBuf::from) else { return };
    let mut out = std::io::stdout();
    let mut say =
        |n: u64| out.write_all(format!("done {n}\n").as_bytes()).and_then(|()| out.flush()).unwrap();
    if folder.ends_with("journal") {
        let (mut journal, rows) = Journal::open(segments(&folder), BOOT, now().mono).unwrap();
        let (mut all, first) = (rows.clone(), rows.len() as u64);
        for n in first.. {
            journal.append(&[Entry::Open(row(n))]).unwrap();
            all.push(row(n));
            say(n);
            if n % 50 == 49 {
                journal.compact(&all).unwrap();
            }
        }
    }
    let mut store = store(&folder);
    let first = store.len() as u64 / BATCH + 1;
    for n in first.. {
        assert!(store.claim(now(), &batch(n)).iter().all(|&answer| answer != Claimed::Unavailable));
        say(n);
    }
}

/// Starts a writer, lets it say `lines` batches, kills it; gives the numbers that it said.
fn killed_writer(folder: &Path, lines: usize) -> Vec<u64> {
    let mut child: Child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "writer", "--nocapture"])
        .env("PORTUNUS_STORE_WRITER", folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut said = Vec::new();
    let number = |line: &str| line.rsplit_once("done ").and_then(|(_, n)| n.trim().parse::<u64>().ok());
    let mut line = String::new();
    while said.len() < lines && out.read_line(&mut line).unwrap() > 0 {
        said.extend(number(&line));
        line.clear();
    }
    // In the middle of whatever it does now; what it said until then counts too.
    child.kill().unwrap();
    child.wait().unwrap();
    said.extend(out.lines().map_while(Result::ok).filter_map(|line| number(&line)));
    said
}

#[test]
fn killed_in_the_middle_of_a_batch_nothing_is_taken_twice() {
    let folder = Folder::on_disk("killed");
    let mut acknowledged = Vec::new();
    for turn in 0..15 {
        acknowledged.extend(killed_writer(&folder.0, 1 + turn % 7));
        let mut store = store(&folder.0);
        for &n in &acknowledged {
            let answers = store.claim(now(), &batch(n));
            assert!(
                answers.iter().all(|&answer| answer == Claimed::Replayed),
                "batch {n} after {turn} kills"
            );
        }
    }
    println!("{} batches acknowledged, 15 kills", acknowledged.len());
}

#[test]
fn a_killed_grantor_finds_every_row_that_was_written() {
    let parent = Folder::on_disk("rows");
    let folder = parent.0.join("journal");
    fs::create_dir(&folder).unwrap();
    let mut said = 0;
    for turn in 0..15 {
        said = killed_writer(&folder, 20 + 7 * turn).last().map_or(said, |n| n + 1);
        let found = rows(&folder);
        assert!((0..said).all(|n| found.contains(&format!("client-{n}"))), "{said} rows after {turn} kills");
    }
}

#[test]
fn cut_off_anywhere_every_whole_batch_before_is_known() {
    let folder = Folder::on_disk("cut");
    assert_eq!(store(&folder.0).claim(now(), &batch(0)).len(), 64);
    assert_eq!(store(&folder.0).claim(now(), &batch(1)).len(), 64);
    let whole = fs::read(folder.0.join("one")).unwrap();
    for cut in (64 + 64 * 64..=whole.len()).rev().step_by(37) {
        File::options().write(true).open(folder.0.join("one")).unwrap().set_len(cut as u64).unwrap();
        let mut store = store(&folder.0);
        let first = store.claim(now(), &batch(0));
        assert!(first.iter().all(|&answer| answer == Claimed::Replayed), "cut at {cut}");
        assert_eq!(store.len(), (cut / 64 - 1).min(128), "what is whole is known");
    }
}

#[test]
fn descriptors_that_cannot_be_written_refuse_and_say_why() {
    let folder = Folder::on_disk("read-only");
    let reading = || ["one", "two"].map(|name| File::open(folder.0.join(name)).unwrap());
    drop(segments(&folder.0));
    let error = FileStore::open(reading(), CAPACITY, BOOT, now()).err().unwrap();
    assert!(matches!(error, StoreError::Io { what: "writing the replay store", .. }), "{error}");
    assert!(Journal::open(reading(), BOOT, now().mono).is_err());

    let _ = store(&folder.0).claim(now(), &batch(0));
    let mut store = FileStore::open(reading(), CAPACITY, BOOT, now()).unwrap();
    assert_eq!(store.claim(now(), &[claim(1), claim(99)]), [Claimed::Replayed, Claimed::Unavailable]);
    assert!(store.fault().is_some());
}

/// In a tmpfs of 64 kB, in a mount namespace of its own, so that it ends with the process.
#[test]
fn a_full_disk_refuses_until_there_is_room() {
    if std::env::var_os("PORTUNUS_STORE_FULL").is_some() {
        return on_a_small_disk(Path::new("/mnt"));
    }
    let script = "mount -t tmpfs -o size=64k portunus-test /mnt && exec \"$0\" --exact \
                  a_full_disk_refuses_until_there_is_room --nocapture";
    let out = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "--propagation", "private", "sh", "-c", script])
        .arg(std::env::current_exe().unwrap())
        .env("PORTUNUS_STORE_FULL", "yes")
        .output()
        .expect("this test needs `unshare` (util-linux)");
    let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "unshare and mount must be allowed here: {said}");
    assert!(said.contains("1 passed"), "{said}");
}

fn on_a_small_disk(folder: &Path) {
    let filler = folder.join("filler");
    fs::write(&filler, [0; 40_000]).unwrap();
    let mut replays = store(folder);
    let [one, two] = segments(folder);
    let acknowledged =
        (0..).find(|&n| replays.claim(now(), &batch(n)).contains(&Claimed::Unavailable)).unwrap();
    assert!(acknowledged >= 1);
    assert_eq!(replays.fault(), Some(ErrorKind::StorageFull));
    let known = |store: &mut FileStore| {
        (0..acknowledged).all(|n| store.claim(now(), &batch(n)).iter().all(|&a| a == Claimed::Replayed))
    };
    assert!(known(&mut replays), "what was taken is still known");
    assert!(
        replays.claim(now(), &batch(acknowledged)).contains(&Claimed::Unavailable),
        "and asking again is no way in"
    );
    // Killed and started again on the full disk.
    let mut again = FileStore::open([one, two], CAPACITY, BOOT, now()).unwrap();
    assert!(!again.was_damaged() && known(&mut again));
    fs::remove_file(&filler).unwrap();
    assert_eq!(again.claim(now(), &[claim(1 << 40)]), [Claimed::Fresh], "there is room again");
    assert!(known(&mut store(folder)));
    println!("{acknowledged} batches fitted");
    drop((replays, again));
    full_journal(folder);
}

fn full_journal(folder: &Path) {
    ["one", "two"].iter().for_each(|name| fs::remove_file(folder.join(name)).unwrap());
    let (mut journal, _) = Journal::open(segments(folder), BOOT, now().mono).unwrap();
    journal.append(&[Entry::Open(row(0))]).unwrap();
    fs::write(folder.join("filler"), [0; 48_000]).unwrap();
    let many: Vec<Entry> = (1..400).map(|n| Entry::Open(row(n))).collect();
    assert!(journal.append(&many).is_err());
    let live: Vec<Row> = (1..400).map(row).collect();
    assert!(journal.compact(&live).is_err(), "the turn before goes on");
    fs::remove_file(folder.join("filler")).unwrap();
    assert_eq!(rows(folder), ["client-0"], "nothing of what failed counts");
    let (mut journal, _) = Journal::open(segments(folder), BOOT, now().mono).unwrap();
    journal.append(&[Entry::Close(row(0).key()), Entry::Open(row(1000))]).unwrap();
    let found = rows(folder);
    assert!(
        !found.contains(&"client-0".to_owned()) && found.contains(&"client-1000".to_owned()),
        "{found:?}"
    );
}
