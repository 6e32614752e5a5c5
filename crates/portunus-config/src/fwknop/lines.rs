//! The lines of fwknopd.conf and access.conf: `NAME  value`, the value up to the first `;` (docs: "fwknop").

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::Diagnostic;

/// The longest line, in bytes: the original reads 1023 and takes the rest for a line of its own.
const LONGEST: usize = 1023;

/// One line that is neither empty nor a comment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line<'t> {
    /// From 1 on.
    pub(super) number: u32,
    /// What it says.
    pub(super) body: Body<'t>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body<'t> {
    Entry {
        name: &'t str,
        value: &'t str,
        /// Where they begin, in characters from 1 on.
        name_at: u32,
        value_at: u32,
        /// Where something stands behind the value's end that is no comment: nobody reads it.
        unread_at: Option<u32>,
    },
    /// It is no name with a value: the word that it begins with.
    Broken(&'t str),
    /// It has more than 1023 bytes.
    Long,
}

/// The lines of `text`. A comment begins in the first column; lines of blanks are none.
pub(super) fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let numbered = (1..).zip(text.split('\n'));
    numbered.filter_map(|(number, line)| {
        let empty = line.trim_matches(blank).is_empty();
        let skipped = empty || line.starts_with(['#', ';', '\r']);
        (!skipped).then(|| Line { number, body: body(line) })
    })
}

fn body(line: &str) -> Body<'_> {
    if line.len() > LONGEST {
        return Body::Long;
    }
    let column = |rest: &str| {
        let before = line.len().checked_sub(rest.len()).and_then(|at| line.get(..at)).unwrap_or_default();
        u32::try_from(before.chars().count()).unwrap_or(u32::MAX).saturating_add(1)
    };
    let start = line.trim_start_matches(blank);
    let Some((name, rest)) = named(start) else { return Body::Broken(word(start)) };
    let (value, behind) = rest.split_at(rest.find([';', '\r']).unwrap_or(rest.len()));
    let value = value.trim_end_matches(blank);
    // A NUL would end the text for whoever hands it on to the system.
    if value.is_empty() || line.contains('\0') {
        return Body::Broken(word(start));
    }
    let behind = behind.trim_start_matches(|c| c == ';' || blank(c));
    let unread_at = (!behind.is_empty() && !behind.starts_with('#')).then(|| column(behind));
    Body::Entry { name, value, name_at: column(start), value_at: column(rest), unread_at }
}

/// What could be a variable's name, at the beginning.
pub(super) fn word(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}

/// The name, with a colon that ends it, and what stands behind it and its blanks: `NAME value`, and 1.9's `NAME: value`,
/// `NAME:value` and `NAME : value`. Two colons say nothing, but before an address of IPv6 (`NAME:::1`).
fn named(line: &str) -> Option<(&str, &str)> {
    let end = line.find(|c| c == ':' || blank(c))?;
    let (name, rest) = line.split_at_checked(end)?;
    if rest.starts_with("::") && !rest.starts_with(":::") {
        return None;
    }
    let behind = rest.trim_start_matches(blank);
    let value = match behind.strip_prefix(':') {
        Some(value) if rest.starts_with(':') || value.starts_with(blank) => value,
        Some(_) | None => return Some((name, behind)),
    };
    let name = line.get(..line.len() - value.len())?;
    Some((name, value.trim_start_matches(blank)))
}

/// A name of access.conf's: with a colon behind it or without.
pub(super) fn without_colon(name: &str) -> &str {
    name.strip_suffix(':').map_or(name, |name| name.trim_end_matches(blank))
}

impl Spot {
    /// Of what [`Body::Entry::unread_at`] tells.
    pub(super) fn unread(&self) -> Diagnostic {
        let what = "a ';' ends the value, and what stands behind it is not read";
        self.diagnostic(what, "put it on a line of its own, or a # before it")
    }

    /// Of a variable that must not be passed over, in a line that says nothing.
    pub(super) fn unclear(&self, name: &str) -> Diagnostic {
        let mend = format!("write {name}, a blank and the value, or take the line out");
        self.diagnostic(format!("this line of {name} cannot be read"), mend)
    }
}

/// C's `isspace`.
const fn blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\x0b' | '\x0c' | '\r' | '\n')
}

/// Where something stands, for a diagnostic once the text is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spot {
    pub(super) file: Arc<Path>,
    /// 0: the whole file, or the command line.
    pub(super) line: u32,
    pub(super) column: u32,
}

impl Spot {
    /// What is wrong there, and the mend.
    #[must_use]
    pub fn diagnostic(&self, what: impl Into<String>, mend: impl Into<String>) -> Diagnostic {
        Diagnostic {
            file: self.file.to_path_buf(),
            line: self.line,
            column: self.column,
            what: what.into(),
            mend: mend.into(),
        }
    }
}

impl fmt::Display for Spot {
    /// `file:line:column`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 { write!(f, ":{}:{}", self.line, self.column) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(u32, Option<(&str, &str)>)> {
        let one = |line: Line<'static>| match line.body {
            Body::Entry { name, value, .. } => (line.number, Some((without_colon(name), value))),
            Body::Broken(_) | Body::Long => (line.number, None),
        };
        lines(text.to_owned().leak()).map(one).collect()
    }

    #[test]
    fn a_value_ends_at_a_semicolon_and_loses_its_blanks() {
        assert_eq!(read("A  b c \t; d\r\n\tB\tx\r\n"), [(1, Some(("A", "b c"))), (2, Some(("B", "x")))]);
        assert_eq!(read("A a#b # c"), [(1, Some(("A", "a#b # c")))]);
        assert_eq!(read("\u{feff}A = b"), [(1, Some(("A", "= b")))]);
    }

    #[test]
    fn a_colon_ends_a_name_wherever_it_stands() {
        for text in ["A: b;", "A:b", "A : b ;", "\tA\t:\tb;;\r", "A: b; # A: c"] {
            assert_eq!(read(text), [(1, Some(("A", "b")))], "{text:?}");
        }
        for (text, value) in
            [("A ::1", "::1"), ("A: ::1", "::1"), ("A :b", ":b"), ("A: : b", ": b"), ("A b:c", "b:c")]
        {
            assert_eq!(read(text), [(1, Some(("A", value)))], "{text:?}");
        }
        assert_eq!(read("A:: b;\nA::b\nA:::1"), [(1, None), (2, None), (3, Some(("A", "::1")))]);
        assert_eq!(read("A:;\nA: ;\nA :"), [(1, None), (2, None), (3, Some(("A", ":")))]);
    }

    #[test]
    fn what_nobody_reads_is_seen() {
        let unread = |text: &str| match lines(text).next().unwrap().body {
            Body::Entry { unread_at, .. } => unread_at,
            Body::Broken(_) | Body::Long => None,
        };
        for text in ["A b", "A b;", "A b;;  ;\r", "A b; # c", "A b;#c", "A b;; ### c; d"] {
            assert_eq!(unread(text), None, "{text:?}");
        }
        assert_eq!(unread("A: b; C: d;"), Some(7));
        assert_eq!(unread("A b;c"), Some(5));
    }

    #[test]
    fn comments_begin_in_the_first_column() {
        assert_eq!(read("# A b\n;A b\n\r\n\n  \t\n"), []);
        assert_eq!(read(" # A b"), [(1, Some(("#", "A b")))]);
        assert_eq!(read(" #A"), [(1, None)]);
    }

    #[test]
    fn what_has_no_value_is_broken() {
        for text in ["A", "A ", "A ;", "A=b", "A \0b", ":"] {
            assert_eq!(read(text), [(1, None)], "{text:?}");
        }
    }

    #[test]
    fn a_line_has_at_most_1023_bytes() {
        let fits = format!("A {}", "x".repeat(1021));
        assert!(matches!(lines(&fits).next().unwrap().body, Body::Entry { .. }));
        let long = format!("{fits}x");
        assert_eq!(lines(&long).next().unwrap().body, Body::Long);
        let comment = format!("#{long}");
        assert_eq!(lines(&comment).next(), None);
    }

    #[test]
    fn columns_count_characters() {
        let Body::Entry { name_at, value_at, .. } = lines("\t\u{e9}\u{e9}  x").next().unwrap().body else {
            panic!("an entry")
        };
        assert_eq!((name_at, value_at), (2, 6));
    }
}
