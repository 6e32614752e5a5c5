//! The one who writes. It holds what it was told until [`AuditLog::flush`], which is one write and one sync for all of it.
//!
//! A disk that takes nothing ends nothing: what could not be written is counted, and the next line that can be says how many
//! are missing. Whoever has to mend the disk may be somebody who knocks.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use portunus_model::Unix;
use portunus_sys::files;

use super::anchor::{Anchor, Said};
use super::line::hex;
use super::read::{Walk, first_number, missing, walk};
use super::{Bounds, By, Chain, FILE, Fact, current, line, numbered, numbers};

/// Facts that wait for one flush; what comes then is lost, and counted.
const MOST_WAITING: usize = 8192;
/// How often losses are told.
const LOSSES_EVERY: Duration = Duration::from_secs(60);

/// The audit log, open for writing.
#[derive(Debug)]
pub struct AuditLog {
    dir: PathBuf,
    bounds: Bounds,
    file: File,
    anchor: Anchor,
    /// Bytes of the current file that are whole and on the disk.
    length: u64,
    /// The last line's number and hash.
    seq: u64,
    chain: Chain,
    /// The number of the first line that is kept.
    first: u64,
    waiting: Vec<(Unix, By, Fact)>,
    /// Whose facts were lost, and not yet said so.
    lost: BTreeMap<&'static str, (By, u64)>,
    /// When that was said last: a flood of losses must not push out what was not lost.
    lost_said: Option<Unix>,
    /// Since the start.
    lost_in_all: u64,
    written: u64,
}

/// How a start found the log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// Bytes of a line that was not written whole; they were cut off.
    pub torn: u64,
    /// What is not as it was written.
    pub damage: Option<String>,
    /// Whether there is nothing in it, or the last line says that the daemon stopped.
    pub clean_end: bool,
}

impl AuditLog {
    /// Opens the log in `dir`, which only we write to, and makes it when it is not there. What is wrong with it is
    /// written into it, so that it stays known.
    ///
    /// # Errors
    /// As the system says.
    pub fn open(dir: &Path, bounds: Bounds, at: Unix) -> io::Result<(Self, Found)> {
        let mut anchor = Anchor::open(dir)?;
        let file = files::open_log(&current(dir)).map_err(io::Error::other)?;
        let walked = walk(BufReader::new(&file), |_, _| ())?;
        if anchor.said().is_none() && file.metadata()?.len() == 0 && numbers(dir)?.is_empty() {
            // Before the first line: so there is never a line without an anchor.
            anchor.say(0, [0; 32], 1)?;
        }
        let said = anchor.said();
        let mut log = Self {
            dir: dir.to_owned(),
            bounds,
            length: file.metadata()?.len(),
            file,
            anchor,
            seq: said.map_or(0, |said| said.last),
            chain: said.map_or([0; 32], |said| said.chain),
            first: said.map_or(1, |said| said.first),
            waiting: Vec::new(),
            lost: BTreeMap::new(),
            lost_said: None,
            lost_in_all: 0,
            written: 0,
        };
        let found = log.take_up(walked, said)?;
        if found.torn > 0 {
            log.add(at, By::Keeper, Fact::Repaired { bytes: found.torn });
        }
        if let Some(damage) = &found.damage {
            log.add(at, By::Keeper, Fact::Damaged { found: damage.clone() });
        }
        Ok((log, found))
    }

    /// Where it goes on.
    fn take_up(&mut self, walked: Walk, said: Option<Said>) -> io::Result<Found> {
        let mut found = Found { torn: walked.torn, damage: None, clean_end: walked.stopped };
        if let Some((number, why)) = walked.broken {
            // It stays as it is, beside the new one.
            found = Found { torn: 0, damage: Some(format!("{FILE}:{number}: {why}")), clean_end: false };
            self.rotate()?;
            return Ok(found);
        }
        if walked.torn > 0 {
            self.file.set_len(walked.whole)?;
            self.file.sync_data()?;
            self.length = walked.whole;
        }
        let Some(said) = said else {
            found.damage = Some("audit.head is not there, or says nothing".to_owned());
            (self.seq, self.chain) = walked.last.unwrap_or((0, [0; 32]));
            return Ok(found);
        };
        match walked.last {
            None => {
                found.clean_end = said.last == 0 || self.latest_full_stopped(&said)?;
                if said.last > 0 && !self.latest_full_ends_with(&said)? {
                    found.damage =
                        Some(format!("{FILE} is not there, and lines up to {} were written", said.last));
                }
            }
            Some((last, _)) if last < said.last => {
                found.damage = Some(missing(last + 1, said.last, "at the end"));
                // Their numbers are not used again, so the gap stays to be seen.
                self.chain = walked.last.map_or(self.chain, |(_, chain)| chain);
            }
            Some((last, chain)) => {
                (self.seq, self.chain) = (last, chain);
                if !walked.has(&said) {
                    found.damage = Some(format!("line {} is not the one that audit.head knows", said.last));
                }
            }
        }
        found.clean_end &= found.damage.is_none();
        Ok(found)
    }

    fn latest_full(&self) -> io::Result<Option<Walk>> {
        let Some(latest) = numbers(&self.dir)?.first().copied() else { return Ok(None) };
        let file = File::open(numbered(&self.dir, latest))?;
        Ok(Some(walk(BufReader::new(file), |_, _| ())?))
    }

    fn latest_full_ends_with(&self, said: &Said) -> io::Result<bool> {
        Ok(self.latest_full()?.is_some_and(|walked| walked.last == Some((said.last, said.chain))))
    }

    fn latest_full_stopped(&self, said: &Said) -> io::Result<bool> {
        let full = self.latest_full()?;
        Ok(full.is_some_and(|walked| walked.stopped && walked.last == Some((said.last, said.chain))))
    }

    /// Other bounds, from the next file on.
    pub fn set_bounds(&mut self, bounds: Bounds) {
        self.bounds = bounds;
    }

    /// One fact. It is on the disk after the next [`Self::flush`].
    pub fn add(&mut self, at: Unix, by: By, fact: Fact) {
        if self.waiting.len() < MOST_WAITING {
            self.waiting.push((at, by, fact));
        } else {
            self.lose(by, 1);
        }
    }

    /// Facts of somebody's that got lost on their way here.
    pub fn lose(&mut self, of: By, entries: u64) {
        self.lost_in_all = self.lost_in_all.saturating_add(entries);
        let lost = self.lost.entry(of.as_str()).or_insert((of, 0));
        lost.1 = lost.1.saturating_add(entries);
    }

    /// How many lines were written since the start, and how many facts were lost.
    #[must_use]
    pub const fn counts(&self) -> (u64, u64) {
        (self.written, self.lost_in_all)
    }

    /// The last line's number and its hash: what to keep elsewhere.
    #[must_use]
    pub fn head(&self) -> String {
        format!("{}:{}", self.seq, hex(&self.chain))
    }

    /// Writes all that waits, durably; whether there was anything.
    ///
    /// # Errors
    /// As the system says; what waited is lost then, and counted.
    pub fn flush(&mut self, at: Unix) -> io::Result<bool> {
        let facts = std::mem::take(&mut self.waiting);
        let tells_losses = self.tells_losses(at, &facts);
        if facts.is_empty() && !tells_losses {
            return Ok(false);
        }
        let written = self.write(at, &facts, tells_losses);
        if written.is_err() {
            // A part of a line must not stay; where it cannot be cut off now, the next write does it first.
            let _ = self.file.set_len(self.length);
            facts.iter().for_each(|(_, by, _)| self.lose(*by, 1));
        }
        written?;
        // An anchor that is behind is no harm: it is caught up with at the next flush.
        self.anchor.say(self.seq, self.chain, self.first)?;
        Ok(true)
    }

    /// At once the first time, then once a minute, and at the end.
    fn tells_losses(&self, at: Unix, facts: &[(Unix, By, Fact)]) -> bool {
        let ends = || facts.iter().any(|(_, _, fact)| matches!(fact, Fact::Stopped { .. }));
        let due = self.lost_said.is_none_or(|said| at.distance(said) >= LOSSES_EVERY);
        !self.lost.is_empty() && (due || ends())
    }

    fn write(&mut self, at: Unix, facts: &[(Unix, By, Fact)], tells_losses: bool) -> io::Result<()> {
        let meta = self.file.metadata()?;
        if meta.nlink() == 0 {
            // Somebody has removed it under us. What follows goes into a new one, and the gap shows.
            self.begin_file()?;
        } else if self.length >= self.bounds.size {
            self.rotate()?;
        } else if meta.len() > self.length {
            self.file.set_len(self.length)?;
        }
        let (mut text, mut seq, mut chain) = (Vec::new(), self.seq, self.chain);
        let mut put = |at: Unix, by: By, fact: &Fact| {
            seq += 1;
            let (line, next) = line::write(&chain, seq, at, by, fact);
            text.extend_from_slice(&line);
            chain = next;
        };
        if self.length == 0 {
            put(at, By::Keeper, &Fact::Continued { from: hex(&self.chain) });
        }
        for (of, entries) in self.lost.values().filter(|_| tells_losses) {
            put(at, By::Keeper, &Fact::Lost { entries: *entries, of: *of });
        }
        facts.iter().for_each(|(at, by, fact)| put(*at, *by, fact));
        self.file.write_all(&text)?;
        self.file.sync_data()?;
        self.written += seq - self.seq;
        (self.seq, self.chain) = (seq, chain);
        self.length += text.len() as u64;
        if tells_losses {
            self.lost.clear();
            self.lost_said = Some(at);
        }
        Ok(())
    }

    /// The full file gets a number, and the oldest goes. The anchor knows first what will be the first line, so that a
    /// crash in between looks like nothing that somebody took away.
    fn rotate(&mut self) -> io::Result<()> {
        let most = self.bounds.files.max(2) - 1;
        let (stay, go): (Vec<u32>, Vec<u32>) = numbers(&self.dir)?.into_iter().partition(|n| *n < most);
        if !go.is_empty() {
            let oldest = stay.last().map_or_else(|| current(&self.dir), |n| numbered(&self.dir, *n));
            self.first = first_number(&oldest).unwrap_or(self.first).max(self.first);
            self.anchor.say(self.seq, self.chain, self.first)?;
        }
        for number in go {
            fs::remove_file(numbered(&self.dir, number))?;
        }
        for number in stay.into_iter().rev() {
            fs::rename(numbered(&self.dir, number), numbered(&self.dir, number + 1))?;
        }
        fs::rename(current(&self.dir), numbered(&self.dir, 1))?;
        self.begin_file()
    }

    fn begin_file(&mut self) -> io::Result<()> {
        self.file = files::open_log(&current(&self.dir)).map_err(io::Error::other)?;
        self.length = self.file.metadata()?.len();
        File::open(&self.dir)?.sync_all()
    }
}
