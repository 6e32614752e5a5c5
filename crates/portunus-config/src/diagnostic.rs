//! A mistake in a file: where, what, and the mend. Here is its form only; each mistake is made where it is found.

use std::fmt;
use std::path::{Path, PathBuf};

/// One mistake (or, among warnings, one thing to know) in one file, in one sentence.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Diagnostic {
    /// The file it stands in.
    pub file: PathBuf,
    /// The line, counted from 1; 0 when it is about the whole file.
    pub line: u32,
    /// The column in characters, counted from 1; 0 when it is about the whole file.
    pub column: u32,
    /// What is wrong: lower-case start, no full stop.
    pub what: String,
    /// What to do about it.
    pub mend: String,
}

impl fmt::Display for Diagnostic {
    /// `file:line:col: what: mend`; `file: what: mend` for a whole file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if self.line > 0 {
            write!(f, "{}:{}:", self.line, self.column)?;
        }
        write!(f, " {}", self.sentence())
    }
}

impl std::error::Error for Diagnostic {}

impl Diagnostic {
    /// What is wrong and the mend, without the place. Words of another program's may end with a full stop.
    #[must_use]
    pub fn sentence(&self) -> String {
        format!("{}: {}", self.what.strip_suffix('.').unwrap_or(&self.what), self.mend)
    }

    /// One about a whole file.
    #[must_use]
    pub fn of_file(file: &Path, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: 0, column: 0, what: what.into(), mend: mend.into() }
    }
}
