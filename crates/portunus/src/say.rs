//! How we speak: failures in one sentence with the place and the mend, tables, and lines that a closed pipe ends.

use std::fmt;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::ExitCode;

/// Refused or failed.
pub(crate) const FAILED: u8 = 1;
/// Wrong usage.
pub(crate) const USAGE: u8 = 2;
/// Bad configuration (EX_CONFIG of sysexits.h).
pub(crate) const CONFIG: u8 = 78;

/// Why a command could not do its work: what went wrong, where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    what: String,
    place: String,
    mend: String,
    code: u8,
    /// More lines of the same kind, each a whole sentence (a configuration has many mistakes at once).
    more: Vec<String>,
}

impl Failure {
    /// A failure that ends with 1. An empty place or mend is left out.
    pub(crate) fn new(what: impl fmt::Display, place: impl fmt::Display, mend: impl fmt::Display) -> Self {
        Self {
            what: what.to_string(),
            place: place.to_string(),
            mend: mend.to_string(),
            code: FAILED,
            more: Vec::new(),
        }
    }

    /// What went wrong with a file.
    pub(crate) fn file(what: impl fmt::Display, path: &Path, mend: impl fmt::Display) -> Self {
        Self::new(what, path.display(), mend)
    }

    /// Several mistakes of one kind, each a whole line.
    pub(crate) fn lines(lines: impl IntoIterator<Item = impl fmt::Display>, code: u8) -> Self {
        let mut lines = lines.into_iter().map(|line| line.to_string());
        let what = lines.next().unwrap_or_default();
        Self { what, place: String::new(), mend: String::new(), code, more: lines.collect() }
    }

    /// The same, ending with another code.
    pub(crate) fn code(self, code: u8) -> Self {
        Self { code, ..self }
    }

    /// Says it on standard error in the name of `face`.
    pub(crate) fn tell(&self, face: &str) -> ExitCode {
        let mut err = std::io::stderr().lock();
        // When even standard error is gone there is nobody left to tell.
        let _ = writeln!(err, "{face}: {self}");
        for line in &self.more {
            let _ = writeln!(err, "{face}: {line}");
        }
        ExitCode::from(self.code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [&self.what, &self.place, &self.mend];
        for (i, part) in parts.into_iter().filter(|part| !part.is_empty()).enumerate() {
            let gap = if i == 0 { "" } else { ": " };
            write!(f, "{gap}{part}")?;
        }
        Ok(())
    }
}

/// What every command comes to.
pub(crate) type Done = Result<(), Failure>;

/// Writes to standard output. A reader that has gone (`| head`) ends the program as it ends any other.
pub(crate) fn out(text: impl fmt::Display) {
    let mut out = std::io::stdout().lock();
    let written = write!(out, "{text}").and_then(|()| out.flush());
    if let Err(error) = written {
        let code = if error.kind() == ErrorKind::BrokenPipe { 0 } else { FAILED };
        std::process::exit(i32::from(code));
    }
}

/// Writes what must not get lost to standard output: that nobody takes it is a failure, too.
///
/// # Errors
/// It did not all go out.
pub(crate) fn hand_over(text: &str) -> Done {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| {
        let mend = "nothing was added: mend that, and do it again";
        Failure::new(format_args!("it could not be printed ({error})"), "standard output", mend)
    })
}

/// Where standard output is a file that others can read (`> alice.toml` makes one), takes that from them before a
/// private key goes there, and says so. A terminal, a pipe, a device stay as they are.
pub(crate) fn shut_to_others(face: &str) {
    use rustix::fs::{FileType, Mode, fchmod, fstat};
    let out = rustix::stdio::stdout();
    let Ok(stat) = fstat(out) else { return };
    let file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    if file && stat.st_mode & 0o077 != 0 && fchmod(out, Mode::RUSR | Mode::WUSR).is_ok() {
        remark(face, "others could read the file that this goes to: its mode is 0600 now, for the key in it");
    }
}

/// Writes one line to standard output.
pub(crate) fn line(text: impl fmt::Display) {
    out(format_args!("{text}\n"));
}

/// Writes a remark to standard error, for people; standard output stays for what scripts read.
pub(crate) fn remark(face: &str, text: impl fmt::Display) {
    let _ = writeln!(std::io::stderr().lock(), "{face}: {text}");
}

/// A table with a head, columns as wide as their widest cell.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table under these heads.
    pub(crate) fn new(heads: &[&str]) -> Self {
        Self { rows: vec![heads.iter().map(|&head| head.to_owned()).collect()] }
    }

    /// One more row.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }

    /// Whether it has nothing but its head.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.len() < 2
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            let padded: Vec<String> =
                row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}")).collect();
            writeln!(f, "{}", padded.join("  ").trim_end())?;
        }
        Ok(())
    }
}

/// Says what clap says of wrong usage, in our form, or prints help and version.
pub(crate) fn usage(face: &str, error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // In colour only on a terminal, and not with NO_COLOR. A reader that has gone wanted no more of it.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let text = error.render().to_string();
    if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return without_a_word(&error.render());
    }
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let _ = write!(std::io::stderr().lock(), "{face}: {text}");
    ExitCode::from(USAGE)
}

/// Help for whoever typed no command at all.
pub(crate) fn without_a_word(help: &clap::builder::StyledStr) -> ExitCode {
    let _ = write!(std::io::stderr().lock(), "{help}");
    ExitCode::from(USAGE)
}

/// A client that could never knock is a mistake, not a wish.
pub(crate) fn in_the_future(flag: &str, expires: Option<portunus_model::Unix>) -> Done {
    match expires {
        Some(expires) if expires <= portunus_sys::clock::now().wall => Err(Failure::new(
            format_args!("{} is over already", portunus_config::render_date(expires)),
            flag,
            "name a date to come",
        )
        .code(USAGE)),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_sentence_with_place_and_mend() {
        let all = Failure::new("no such profile", "home", "portunus profiles lists them");
        assert_eq!(all.to_string(), "no such profile: home: portunus profiles lists them");
        assert_eq!(Failure::new("HOME is not set", "", "").to_string(), "HOME is not set");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["NAME", "PORTS"]);
        assert!(table.is_empty());
        table.row(["alice".into(), "22/tcp".into()]);
        assert_eq!(table.to_string(), "NAME   PORTS\nalice  22/tcp\n");
    }
}
