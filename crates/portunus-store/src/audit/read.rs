//! Those who read: a walk through one file, the verification of all of them, and each line for who wants to see it.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde_json::Value;

use super::anchor::{self, Said};
use super::line::{self, LONGEST, Read, hex, unhex};
use super::{ANCHOR, Chain, current, numbered, numbers};

/// A line by its number, and its hash: what somebody has kept elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The line's number.
    pub seq: u64,
    chain: Chain,
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, hex(&self.chain))
    }
}

impl FromStr for Head {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once(':').and_then(|(seq, chain)| Some((seq.parse().ok()?, unhex(chain)?)));
        let (seq, chain) =
            parts.ok_or("write NUMBER:HASH, as `portunus audit verify` prints it, with 64 hex digits")?;
        Ok(Self { seq, chain })
    }
}

/// Why the log does not verify, or could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    /// There is none.
    #[error("{}: there is no audit log", .0.display())]
    Nothing(PathBuf),
    /// The first thing that is wrong. Line 0: about the whole file.
    #[error("{}{}: {what}", .file.display(), at(*.line))]
    Broken {
        /// In which file.
        file: PathBuf,
        /// In which line.
        line: u64,
        /// What.
        what: String,
    },
    /// As the system says.
    #[error("{}: {what}", .file.display())]
    Other {
        /// Which file.
        file: PathBuf,
        /// In the system's words.
        what: String,
    },
}

fn at(line: u64) -> String {
    if line == 0 { String::new() } else { format!(":{line}") }
}

impl AuditError {
    fn other(file: &Path, error: &io::Error) -> Self {
        Self::Other { file: file.to_owned(), what: error.to_string() }
    }

    fn broken(file: &Path, line: u64, what: impl Into<String>) -> Self {
        Self::Broken { file: file.to_owned(), line, what: what.into() }
    }
}

/// A log that verifies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// In how many files.
    pub files: usize,
    /// The number of the first line that is kept.
    pub first: u64,
    /// The last line.
    pub head: Head,
    /// Bytes at the end that are no whole line: the next start cuts them off, and says so.
    pub torn: u64,
}

/// Verifies every line that is kept, and that it goes on to where the anchor knows it. With `kept`, that this line is
/// still the one that it was.
///
/// # Errors
/// The first thing that is wrong, with its file and line.
pub fn verify(dir: &Path, kept: Option<Head>) -> Result<Checked, AuditError> {
    // The daemon may begin a new file while we read: then what was seen is nothing, and is looked at again.
    let mut outcome = verify_once(dir, kept);
    for _ in 0..5 {
        let (files, result) = outcome;
        if files == inodes(dir) {
            return result;
        }
        outcome = verify_once(dir, kept);
    }
    outcome.1
}

/// The files, and what came of them.
fn verify_once(dir: &Path, kept: Option<Head>) -> (Vec<u64>, Result<Checked, AuditError>) {
    let before = inodes(dir);
    // The anchor first: the lines may go on behind it, never the other way round.
    let result = anchor::read(dir)
        .map_err(|e| AuditError::other(&dir.join(ANCHOR), &e))
        .and_then(|said| Verifier { said, kept, ..Verifier::default() }.run(dir));
    (before, result)
}

fn inodes(dir: &Path) -> Vec<u64> {
    let files = files(dir).unwrap_or_default();
    files.iter().filter_map(|file| std::fs::metadata(file).ok()).map(|meta| meta.ino()).collect()
}

/// Every file that there is, the oldest first.
fn files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = numbers(dir)?.into_iter().rev().map(|n| numbered(dir, n)).collect();
    files.extend(Some(current(dir)).filter(|file| file.exists()));
    Ok(files)
}

#[derive(Default)]
struct Verifier {
    said: Option<Said>,
    kept: Option<Head>,
    first: Option<u64>,
    last: Option<(u64, Chain)>,
    wrong: Option<(u64, String)>,
}

impl Verifier {
    fn run(mut self, dir: &Path) -> Result<Checked, AuditError> {
        let files = files(dir).map_err(|e| AuditError::other(dir, &e))?;
        let Some(last_file) = files.last() else {
            return Err(match self.said {
                Some(said) if said.last > 0 => AuditError::broken(
                    &current(dir),
                    0,
                    format!("it is gone, and {} lines with it", said.last),
                ),
                Some(_) | None => AuditError::Nothing(dir.to_owned()),
            });
        };
        let mut torn = 0;
        for file in &files {
            let opened = File::open(file).map_err(|e| AuditError::other(file, &e))?;
            let walked = walk(BufReader::new(opened), |number, read| self.see(number, read));
            let walked = walked.map_err(|e| AuditError::other(file, &e))?;
            let broken = match (self.wrong.take(), walked.broken) {
                (Some(wrong), Some(broken)) => Some(wrong.min(broken)),
                (wrong, broken) => wrong.or(broken),
            };
            if let Some((number, what)) = broken {
                return Err(AuditError::broken(file, number, what));
            }
            torn = walked.torn;
            if torn > 0 && file != last_file {
                return Err(AuditError::broken(file, walked.lines + 1, "it ends in the middle of a line"));
            }
        }
        self.end(dir, last_file, files.len(), torn)
    }

    /// A line that fits its file.
    fn see(&mut self, number: u64, read: &Read) {
        if self.wrong.is_some() {
            return;
        }
        if let Some(what) = self.wrong_with(read) {
            self.wrong = Some((number, what));
        }
        self.first.get_or_insert(read.seq);
        self.last = Some((read.seq, read.chain));
    }

    fn wrong_with(&self, read: &Read) -> Option<String> {
        match (self.last, read.from) {
            (Some((_, chain)), Some(from)) if from != chain => {
                return Some("the file before it does not end where it begins".to_owned());
            }
            (Some((last, _)), _) if read.seq != last + 1 => return Some(gap(last, read.seq)),
            (None, _) => {
                let first = self.said.map_or(1, |said| said.first);
                if read.seq > first {
                    let last = read.seq - 1;
                    let (were, are) = if first == last { ("was", "is") } else { ("were", "are") };
                    return Some(format!("{} {were} kept, and {are} gone", lines(first, last)));
                }
            }
            (Some(_), _) => (),
        }
        if read.value.get("what").and_then(Value::as_str) == Some("damaged") {
            let found = read.value.get("found").and_then(Value::as_str).unwrap_or_default();
            return Some(format!("a start found damage: {found}"));
        }
        if self.said.is_some_and(|said| said.last == read.seq && said.chain != read.chain) {
            return Some(format!("it is not the line that {ANCHOR} knows"));
        }
        if self.kept.is_some_and(|kept| kept.seq == read.seq && kept.chain != read.chain) {
            return Some("it is not the line of the head that was kept".to_owned());
        }
        None
    }

    fn end(self, dir: &Path, file: &Path, files: usize, torn: u64) -> Result<Checked, AuditError> {
        let last = self.last.map_or(0, |(last, _)| last);
        let Some(said) = self.said else {
            return Err(AuditError::broken(&dir.join(ANCHOR), 0, "it is not there, or says nothing"));
        };
        if last < said.last {
            let what = missing(last + 1, said.last, "at the end");
            return Err(AuditError::broken(file, 0, what));
        }
        let first = self.first.unwrap_or(said.first);
        match self.kept {
            Some(kept) if kept.seq > last => {
                let what = missing(last + 1, kept.seq, "at the end");
                return Err(AuditError::broken(file, 0, what));
            }
            Some(kept) if kept.seq < first => {
                let what = format!("line {} is kept no more: the first is {first}", kept.seq);
                return Err(AuditError::broken(file, 0, what));
            }
            Some(_) | None => (),
        }
        let (seq, chain) = self.last.unwrap_or((0, [0; 32]));
        Ok(Checked { files, first, head: Head { seq, chain }, torn })
    }
}

/// Lines by their numbers, as people say it.
#[must_use]
pub fn lines(first: u64, last: u64) -> String {
    if first == last { format!("line {first}") } else { format!("lines {first} to {last}") }
}

pub(super) fn missing(first: u64, last: u64, place: &str) -> String {
    format!("{} {} missing {place}", lines(first, last), if first == last { "is" } else { "are" })
}

fn gap(last: u64, next: u64) -> String {
    if next > last + 1 {
        missing(last + 1, next - 1, "before it")
    } else {
        format!("it has the number {next}, after {last}")
    }
}

/// What a walk through one file came to.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// Bytes of whole lines.
    pub(super) whole: u64,
    pub(super) lines: u64,
    /// Bytes after the last whole line.
    pub(super) torn: u64,
    pub(super) last: Option<(u64, Chain)>,
    /// Whether the last line says that the daemon stopped.
    pub(super) stopped: bool,
    /// The first line that does not fit, and why: nothing after it was looked at.
    pub(super) broken: Option<(u64, String)>,
    /// Before the first line.
    from: Option<(u64, Chain)>,
    chains: Vec<Chain>,
}

impl Walk {
    /// Whether the line that the anchor knows is in it, or just before it.
    pub(super) fn has(&self, said: &Said) -> bool {
        let Some((before, from)) = self.from else { return false };
        if said.last == before {
            return said.chain == from;
        }
        let place = said.last.checked_sub(before + 1).and_then(|place| usize::try_from(place).ok());
        place.and_then(|place| self.chains.get(place)) == Some(&said.chain)
    }
}

/// Goes through one file: each line fits the one before it, and is shown to `each` with its number in the file.
pub(super) fn walk(mut reader: impl BufRead, mut each: impl FnMut(u64, &Read)) -> io::Result<Walk> {
    let mut walked = Walk::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        (&mut reader).take(LONGEST as u64).read_until(b'\n', &mut line)?;
        let Some((b'\n', text)) = line.split_last() else {
            if line.len() < LONGEST {
                walked.torn = line.len() as u64;
            } else {
                walked.broken = Some((walked.lines + 1, "it is longer than any line of ours".to_owned()));
            }
            return Ok(walked);
        };
        let before = walked.last.as_ref().map(|(_, chain)| chain);
        match line::read(text, before) {
            Ok(read) => {
                walked.lines += 1;
                walked.whole += line.len() as u64;
                if let Some(from) = read.from {
                    walked.from = Some((read.seq.saturating_sub(1), from));
                }
                each(walked.lines, &read);
                walked.stopped = read.value.get("what").and_then(Value::as_str) == Some("stopped");
                walked.last = Some((read.seq, read.chain));
                walked.chains.push(read.chain);
            }
            Err(why) => {
                let jumps =
                    walked.last.zip(number_of(text)).filter(|((last, _), number)| *number != last + 1);
                let why = match jumps {
                    Some(((last, _), next)) if next > last + 1 => out_of_place(&mut reader, last + 1, next)?,
                    Some(((last, _), next)) => gap(last, next),
                    None => why,
                };
                walked.broken = Some((walked.lines + 1, why));
                return Ok(walked);
            }
        }
    }
}

/// What a line says its number is.
fn number_of(text: &[u8]) -> Option<u64> {
    serde_json::from_slice::<Value>(text).ok()?.get("seq")?.as_u64()
}

/// Lines from `first` on do not stand where they belong, before the line `next` that stands there: whether they stand in
/// the rest of the file, or nowhere.
fn out_of_place(reader: &mut impl BufRead, first: u64, next: u64) -> io::Result<String> {
    let mut line = Vec::new();
    let (mut found, mut right_after) = (0, false);
    for place in 0_u64.. {
        line.clear();
        if reader.by_ref().take(LONGEST as u64).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let belongs = number_of(&line).is_some_and(|number| (first..next).contains(&number));
        found += u64::from(belongs);
        right_after |= belongs && place == 0;
    }
    let last = next - 1;
    Ok(match (found == next - first, first == last && right_after) {
        (true, true) => format!("lines {first} and {next} are swapped"),
        (true, false) => {
            let stands = if first == last { "stands" } else { "stand" };
            format!("{} {stands} after it and not before it: lines were put elsewhere", lines(first, last))
        }
        (false, _) => gap(first - 1, next),
    })
}

/// The number of a file's first line, as it says.
pub(super) fn first_number(file: &Path) -> Option<u64> {
    let mut line = Vec::new();
    BufReader::new(File::open(file).ok()?).take(LONGEST as u64).read_until(b'\n', &mut line).ok()?;
    number_of(&line)
}

/// A line as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// Its text, without its end.
    pub line: String,
    /// What it says; nothing where it is no JSON.
    pub value: Value,
}

/// Shows every line that is kept, the oldest first, whether or not it verifies; `each` says whether to go on.
///
/// # Errors
/// [`AuditError::Nothing`], or as the system says.
pub fn each(dir: &Path, mut each: impl FnMut(Shown) -> bool) -> Result<(), AuditError> {
    let files = files(dir).map_err(|e| AuditError::other(dir, &e))?;
    if files.is_empty() {
        return Err(AuditError::Nothing(dir.to_owned()));
    }
    for file in files {
        let opened = File::open(&file).map_err(|e| AuditError::other(&file, &e))?;
        let mut reader = BufReader::new(opened);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = (&mut reader).take(LONGEST as u64).read_until(b'\n', &mut line);
            if read.map_err(|e| AuditError::other(&file, &e))? == 0 {
                break;
            }
            let text = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(&line)).into_owned();
            let value = serde_json::from_str(&text).unwrap_or(Value::Null);
            if !each(Shown { line: text, value }) {
                return Ok(());
            }
        }
    }
    Ok(())
}
