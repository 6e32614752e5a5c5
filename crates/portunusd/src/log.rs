//! Log records: one line each on standard error, `key=value`; where journald listens, a record with fields of its own.
//!
//! A stranger's words never get in: what is logged is ours, names are checked, and anything odd is escaped all the same.

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use portunus_sys::clock;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span;
use tracing::{Level, Metadata, Subscriber};

use crate::journal::{Journal, Record};
use crate::{LogLevel, Words};

/// What one process holds back at most before it writes.
const HELD: usize = 32 << 10;
const RECORDS: usize = 64;
/// Fields that begin so are for the journal alone: a line in another's words has no place for them.
const ONLY_FIELDS: &str = "journal.";

/// The lines that are not yet written.
static WAITING: Mutex<Waiting> = Mutex::new(Waiting {
    text: String::new(),
    words: Words::Ours,
    sink: None,
    journal: None,
    records: Vec::new(),
    hold: false,
    lost: 0,
});

/// Takes a line with its priority (syslog(3)).
type Sink = Box<dyn Fn(u8, &str) + Send>;

struct Waiting {
    text: String,
    words: Words,
    /// Where lines go besides, or instead of, standard error: the keeper's way to syslog.
    sink: Option<Sink>,
    /// The journal's own socket, where standard error is the journal's.
    journal: Option<Journal>,
    /// Records for it, each with its line: what it does not take goes to standard error.
    records: Vec<(Record, String)>,
    /// Write when somebody says so, not at each line.
    hold: bool,
    lost: u64,
}

/// Sets up logging for this process; a second call changes nothing. `marked`: each line says its priority, because who
/// reads standard error wants to know it.
pub(crate) fn start(level: LogLevel, part: &'static str, words: Words, marked: bool) {
    let journal = !marked && journal_listens();
    let mut waiting = waiting();
    waiting.words = words;
    waiting.journal = if journal { Journal::connect() } else { None };
    drop(waiting);
    let lines = Lines { level, part, marked: marked || journal };
    // Fails only where a program that has us as a library has set its own: then that one counts.
    let _ = tracing::subscriber::set_global_default(lines);
}

/// Whose words this process speaks.
pub(crate) fn words() -> Words {
    waiting().words
}

/// The program's name, by which the journal knows our records.
pub(crate) fn name(program: &str) {
    if let Some(journal) = &mut waiting().journal {
        journal.name(program);
    }
}

/// From now on lines go there, each with its priority, and no more to standard error.
pub(crate) fn divert(sink: impl Fn(u8, &str) + Send + 'static) {
    let mut waiting = waiting();
    waiting.flush();
    waiting.journal = None;
    waiting.sink = Some(Box::new(sink));
}

/// Passes on what a part wrote: lines, each with its priority in front.
pub(crate) fn pass_on(line: &str) {
    let (priority, text) = match line.strip_prefix('<').and_then(|rest| rest.split_once('>')) {
        Some((priority, text)) => (priority.parse().unwrap_or(6), text),
        None => (6, line),
    };
    let clean = shown(text);
    if let Some(sink) = &waiting().sink {
        sink(priority, &clean);
    }
}

/// Somebody's words as a line of a log, or of a terminal, can have them: they end no line and give no orders.
pub(crate) fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// From now on lines are held until [`flush`]: one write for all that one round has to say.
pub(crate) fn hold() {
    waiting().hold = true;
}

/// Writes what is held.
pub(crate) fn flush() {
    waiting().flush();
}

fn waiting() -> MutexGuard<'static, Waiting> {
    WAITING.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Waiting {
    fn flush(&mut self) {
        for (record, line) in self.records.drain(..) {
            if !self.journal.as_ref().is_some_and(|journal| journal.send(&record)) {
                self.text.push_str(&line);
            }
        }
        if self.text.is_empty() {
            return;
        }
        if let Some(sink) = &self.sink {
            for line in self.text.lines() {
                let marked = line.strip_prefix('<').and_then(|rest| rest.split_once('>'));
                let (priority, text) = marked.unwrap_or(("6", line));
                sink(priority.parse().unwrap_or(6), text);
            }
            self.text.clear();
            return;
        }
        // A reader that stands still (a stopped terminal, a full pipe) must not stop the daemon.
        if !portunus_sys::poll::writable(std::io::stderr()).unwrap_or(false) {
            if self.text.len() > HELD {
                self.lost += self.text.lines().count() as u64;
                self.text.clear();
            }
            return;
        }
        if self.lost > 0 {
            let _ = writeln!(self.text, "level=warn msg=\"log lines were lost\" lines={}", self.lost);
            self.lost = 0;
        }
        let _ = std::io::stderr().write_all(self.text.as_bytes());
        self.text.clear();
        self.text.shrink_to(HELD);
    }
}

/// Whether standard error is the journal's stream (systemd.exec(5), JOURNAL_STREAM is `device:inode`).
fn journal_listens() -> bool {
    let Some(stream) = std::env::var("JOURNAL_STREAM").ok() else { return false };
    let Ok(meta) = std::fs::metadata("/proc/self/fd/2") else { return false };
    stream == format!("{}:{}", meta.dev(), meta.ino())
}

/// The subscriber.
struct Lines {
    level: LogLevel,
    part: &'static str,
    /// Whether each line says its priority.
    marked: bool,
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        level_of(metadata.level()) >= self.level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(match self.level {
            LogLevel::Debug => LevelFilter::DEBUG,
            LogLevel::Info => LevelFilter::INFO,
            LogLevel::Warn => LevelFilter::WARN,
            LogLevel::Error => LevelFilter::ERROR,
        })
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let level = level_of(event.metadata().level());
        let mut waiting = waiting();
        let words = waiting.words;
        let marked = self.marked || waiting.sink.is_some();
        let mut line = String::new();
        let text = &mut line;
        // Writing to a String cannot fail.
        if marked {
            let _ = write!(text, "<{}>", priority(level));
        }
        let start = text.len();
        match words {
            Words::Ours => {
                if !marked {
                    let _ = write!(text, "{} ", clock::rfc3339(clock::wall()));
                }
                let _ = write!(text, "level={} part={}", level.as_str(), self.part);
                event.record(&mut Pairs { text });
            }
            Words::Fwknopd => {
                event.record(&mut Plain { text });
                one_line(text, start);
            }
        }
        let record = waiting.journal.as_ref().map(|journal| {
            let message = line.get(start..).unwrap_or_default();
            let mut record = journal.record(priority(level), self.part, message);
            event.record(&mut Fields { record: &mut record });
            record
        });
        line.push('\n');
        match record {
            Some(record) => waiting.records.push((record, line)),
            None => waiting.text.push_str(&line),
        }
        if !waiting.hold || waiting.text.len() > HELD || waiting.records.len() > RECORDS {
            waiting.flush();
        }
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

fn level_of(level: &Level) -> LogLevel {
    match *level {
        Level::ERROR => LogLevel::Error,
        Level::WARN => LogLevel::Warn,
        Level::INFO => LogLevel::Info,
        Level::DEBUG | Level::TRACE => LogLevel::Debug,
    }
}

/// syslog(3)'s numbers.
fn priority(level: LogLevel) -> u8 {
    match level {
        LogLevel::Error => 3,
        LogLevel::Warn => 4,
        LogLevel::Info => 6,
        LogLevel::Debug => 7,
    }
}

/// What a record has besides its message.
struct Fields<'a> {
    record: &'a mut Record,
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let name = field.name();
        if name != "message" {
            self.record.field(name.strip_prefix(ONLY_FIELDS).unwrap_or(name), &format!("{value:?}"));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

/// The message as it is, and what else there is behind it.
struct Plain<'a> {
    text: &'a mut String,
}

impl Visit for Plain<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.text, "{value:?}");
            return;
        }
        if field.name().starts_with(ONLY_FIELDS) {
            return;
        }
        let _ = write!(self.text, " {}=", field.name());
        let start = self.text.len();
        let _ = write!(self.text, "{value:?}");
        quote_from(self.text, start);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

/// Whatever was written since `start` is one line.
fn one_line(text: &mut String, start: usize) {
    let Some(line) = text.get(start..) else { return };
    if line.chars().any(char::is_control) {
        let clean = shown(line);
        text.truncate(start);
        text.push_str(&clean);
    }
}

struct Pairs<'a> {
    text: &'a mut String,
}

impl Visit for Pairs<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let name = if field.name() == "message" { "msg" } else { field.name() };
        let _ = write!(self.text, " {name}=");
        let start = self.text.len();
        let _ = write!(self.text, "{value:?}");
        quote_from(self.text, start);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

/// Puts quotes around what was written since `start` unless it is one plain word.
fn quote_from(text: &mut String, start: usize) {
    let plain = |c: char| c.is_ascii_graphic() && c != '"' && c != '=' && c != '\\';
    let Some(value) = text.get(start..) else { return };
    if !value.is_empty() && value.chars().all(plain) {
        return;
    }
    let quoted = format!("{value:?}");
    text.truncate(start);
    text.push_str(&quoted);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_one_word_or_quoted_and_never_two_lines() {
        let quoted = |value: &str| {
            let mut text = format!("k={value}");
            quote_from(&mut text, 2);
            text
        };
        assert_eq!(quoted("alice"), "k=alice");
        assert_eq!(quoted("two words"), "k=\"two words\"");
        assert_eq!(quoted(""), "k=\"\"");
        assert_eq!(quoted("a\nlevel=error"), "k=\"a\\nlevel=error\"");
        assert_eq!(quoted("a\"b"), "k=\"a\\\"b\"");
    }
}
