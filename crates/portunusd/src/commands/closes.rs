//! The closing commands that are still to run, kept in a file: whoever kills us, they run when their time has come, or
//! when we are back.
//!
//! A line a record, JSON: `close` says what is to run, `done` that it was begun. Only root's folder has the file, so what
//! stands in it is believed; it was the configuration's own text when it was written.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use portunus_model::{Mono, Now, Unix};
use portunus_sys::files::{self, FileError, Secrecy};
use serde::{Deserialize, Serialize};

/// How many may wait. What comes then is refused before anything is run.
pub(super) const MOST: usize = 10_000;

/// When so many lines are of no more use, the file is written anew.
const DEAD: usize = 1000;

/// One command that is to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Close {
    /// By the clock on the wall, for after a reboot, in seconds.
    due: i64,
    /// By BOOTTIME of the boot `boot`, in nanoseconds.
    mono: u64,
    boot: [u8; 16],
    /// Whose.
    pub(super) client: String,
    pub(super) stanza: u32,
    pub(super) source: IpAddr,
    /// What, its variables filled in.
    pub(super) text: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Record {
    Close(u64, Close),
    Done(u64),
}

/// What waits.
#[derive(Debug)]
pub(super) struct Closes {
    path: PathBuf,
    file: File,
    boot: [u8; 16],
    waiting: BTreeMap<u64, (Mono, Close)>,
    /// The same by the time.
    order: BTreeMap<(Mono, u64), ()>,
    next: u64,
    dead: usize,
}

impl Closes {
    /// Takes up what the file says; the number of lines that say nothing.
    pub(super) fn open(path: &Path, boot: [u8; 16], now: Now) -> Result<(Self, usize), FileError> {
        let text = match files::read_bytes(path, Secrecy::Secret) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(FileError::Missing(_)) => String::new(),
            Err(error) => return Err(error),
        };
        let mut left: BTreeMap<u64, Close> = BTreeMap::new();
        let mut odd = 0;
        for line in text.lines() {
            match serde_json::from_str(line) {
                Ok(Record::Close(id, close)) => drop(left.insert(id, close)),
                Ok(Record::Done(id)) => drop(left.remove(&id)),
                Err(_) => odd += 1,
            }
        }
        let next = left.keys().last().map_or(0, |last| last.saturating_add(1));
        let file = write_all(path, &left)?;
        let mut closes = Self {
            path: path.to_owned(),
            file,
            boot,
            waiting: BTreeMap::new(),
            order: BTreeMap::new(),
            next,
            dead: 0,
        };
        for (id, close) in left.into_iter().take(MOST) {
            let due = due_again(&close, boot, now);
            closes.insert(id, due, close);
        }
        Ok((closes, odd))
    }

    /// Whether another one may wait.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() < MOST
    }

    /// Writes down that this is to run after `lasting`. It is on the disk when this returns.
    pub(super) fn add(&mut self, now: Now, lasting: Duration, what: What) -> io::Result<u64> {
        let What { client, stanza, source, text } = what;
        let (due, mono) = (now.wall.after(lasting).as_secs(), now.mono.after(lasting));
        let close = Close { due, mono: mono.as_nanos(), boot: self.boot, client, stanza, source, text };
        let id = self.next;
        self.next += 1;
        self.append(&Record::Close(id, close.clone()))?;
        self.insert(id, mono, close);
        Ok(id)
    }

    /// When the next one is due.
    pub(super) fn deadline(&self) -> Option<Mono> {
        self.order.first_key_value().map(|((due, _), ())| *due)
    }

    /// The next one that is due. It stays in the file until [`Self::done`] is said.
    pub(super) fn take_due(&mut self, now: Mono) -> Option<(u64, Close)> {
        let (due, id) = self.order.first_key_value().map(|(key, ())| *key)?;
        if due > now {
            return None;
        }
        self.order.remove(&(due, id));
        self.waiting.remove(&id).map(|(_, close)| (id, close))
    }

    /// It was begun, or is not to be run any more.
    pub(super) fn done(&mut self, id: u64) -> io::Result<()> {
        if let Some((due, _)) = self.waiting.remove(&id) {
            self.order.remove(&(due, id));
        }
        self.dead += 2;
        if self.dead > DEAD && self.dead > self.waiting.len() {
            let left = self.waiting.iter().map(|(id, (_, close))| (*id, close.clone())).collect();
            self.file = write_all(&self.path, &left).map_err(io::Error::other)?;
            self.dead = 0;
            return Ok(());
        }
        self.append(&Record::Done(id))
    }

    fn insert(&mut self, id: u64, due: Mono, close: Close) {
        self.waiting.insert(id, (due, close));
        self.order.insert((due, id), ());
    }

    fn append(&mut self, record: &Record) -> io::Result<()> {
        let mut line = serde_json::to_string(record)?;
        line.push('\n');
        self.file.write_all(line.as_bytes())?;
        self.file.sync_data()
    }
}

/// What is to run, for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct What {
    pub(super) client: String,
    pub(super) stanza: u32,
    pub(super) source: IpAddr,
    pub(super) text: String,
}

/// The time that was meant, as far as it can still be told: by the same boot's clock, which nobody can set; else by the
/// clock on the wall.
fn due_again(close: &Close, boot: [u8; 16], now: Now) -> Mono {
    if close.boot == boot {
        return Mono::from_nanos(close.mono);
    }
    now.mono.after(Unix::from_secs(close.due).since(now.wall))
}

fn write_all(path: &Path, left: &BTreeMap<u64, Close>) -> Result<File, FileError> {
    let mut text = String::new();
    for (id, close) in left {
        let line = serde_json::to_string(&Record::Close(*id, close.clone()))
            .map_err(|e| FileError::Other { path: path.to_owned(), what: e.to_string() })?;
        text.push_str(&line);
        text.push('\n');
    }
    files::replace(path, text.as_bytes(), 0o600)?;
    OpenOptions::new()
        .append(true)
        .open(path)
        .map_err(|e| FileError::Other { path: path.to_owned(), what: e.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOT: [u8; 16] = [1; 16];

    fn at(secs: u64) -> Now {
        let wall = Unix::from_secs(1_000_000 + i64::try_from(secs).unwrap());
        Now { mono: Mono::from_nanos(secs * 1_000_000_000), wall }
    }

    fn what(text: &str) -> What {
        What { client: "stanza-1".into(), stanza: 1, source: "10.77.0.2".parse().unwrap(), text: text.into() }
    }

    fn texts(closes: &mut Closes, now: Mono) -> Vec<String> {
        std::iter::from_fn(|| closes.take_due(now)).map(|(_, close)| close.text).collect()
    }

    #[test]
    fn what_was_not_run_is_there_after_a_restart_and_what_was_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("closes");
        let (mut closes, _) = Closes::open(&path, BOOT, at(0)).unwrap();
        for (text, secs) in [("late", 50), ("soon", 5), ("given up", 7)] {
            let id = closes.add(at(0), Duration::from_secs(secs), what(text)).unwrap();
            if text == "given up" {
                closes.done(id).unwrap();
            }
        }
        assert_eq!(closes.deadline(), Some(at(5).mono));
        let (soon, _) = closes.take_due(at(6).mono).unwrap();
        assert_eq!(closes.take_due(at(6).mono), None);
        // Killed before it was begun: it is due again at once.
        drop(closes);
        let (mut again, odd) = Closes::open(&path, BOOT, at(8)).unwrap();
        assert_eq!((texts(&mut again, at(8).mono), odd), (vec!["soon".to_owned()], 0));
        again.done(soon).unwrap();
        drop(again);
        // After a reboot only the clock on the wall is known.
        let rebooted = Now { mono: Mono::from_nanos(3), wall: at(40).wall };
        std::fs::write(&path, format!("{}torn", std::fs::read_to_string(&path).unwrap())).unwrap();
        let (mut again, odd) = Closes::open(&path, [2; 16], rebooted).unwrap();
        assert_eq!(again.deadline(), Some(rebooted.mono.after(Duration::from_secs(10))));
        assert_eq!(odd, 1);
        assert_eq!(texts(&mut again, at(60).mono).len(), 1);
    }

    #[test]
    fn the_file_does_not_grow_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("closes");
        let (mut closes, _) = Closes::open(&path, BOOT, at(0)).unwrap();
        closes.add(at(0), Duration::from_secs(9), what("stays")).unwrap();
        for _ in 0..DEAD {
            let id = closes.add(at(0), Duration::ZERO, what("x")).unwrap();
            closes.done(id).unwrap();
        }
        assert!(std::fs::read_to_string(&path).unwrap().lines().count() < DEAD + 10);
        let (mut again, _) = Closes::open(&path, BOOT, at(10)).unwrap();
        assert_eq!(texts(&mut again, at(10).mono), ["stays"]);
    }
}
