//! Log records: one line each on standard error, `key=value`, with the priority that journald reads where it listens.
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

use crate::LogLevel;

/// What one process holds back at most before it writes.
const HELD: usize = 32 << 10;

/// The lines that are not yet written.
static WAITING: Mutex<Waiting> = Mutex::new(Waiting { text: String::new(), hold: false, lost: 0 });

struct Waiting {
    text: String,
    /// Write when somebody says so, not at each line.
    hold: bool,
    lost: u64,
}

/// Sets up logging for this process; a second call changes nothing.
pub(crate) fn start(level: LogLevel, part: &'static str) {
    let lines = Lines { level, part, journal: journal_listens() };
    // Fails only where a program that has us as a library has set its own: then that one counts.
    let _ = tracing::subscriber::set_global_default(lines);
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
        if self.text.is_empty() {
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
    journal: bool,
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
        let text = &mut waiting.text;
        // Writing to a String cannot fail.
        if self.journal {
            let _ = write!(text, "<{}>", priority(level));
        } else {
            let _ = write!(text, "{} ", clock::rfc3339(clock::wall()));
        }
        let _ = write!(text, "level={} part={}", level.as_str(), self.part);
        event.record(&mut Pairs { text });
        text.push('\n');
        if !waiting.hold || waiting.text.len() > HELD {
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
