//! Lines to stanzas. A stanza that nobody asked for is not judged: a mistake in it stands in nobody's way.

use std::fmt;
use std::path::Path;

use zeroize::Zeroizing;

use super::Variable;
use crate::Diagnostic;

/// The stanza that is read before any other.
pub const DEFAULT: &str = "default";

/// One variable with its value.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// Which.
    pub variable: Variable,
    /// Its value, as it stands there: up to the first blank, `;` or `#`.
    pub value: Zeroizing<String>,
    /// Its line, counted from 1.
    pub line: u32,
}

impl fmt::Debug for Entry {
    /// Without a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = if self.variable.secret() { "(not shown)" } else { self.value.as_str() };
        write!(f, "{} {value} (line {})", self.variable.name(), self.line)
    }
}

/// The names of all stanzas but [`DEFAULT`], in the file's order.
pub fn names(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(head).filter(|&name| name != DEFAULT)
}

/// What the stanzas of this name say, in the file's order; `None` when there is none of that name.
///
/// # Errors
/// The first line that says nothing, or names a variable that there is not.
pub fn stanza(text: &str, file: &Path, name: &str) -> Result<Option<Vec<Entry>>, Diagnostic> {
    let mut found = None;
    let mut inside = false;
    for (number, line) in (1..).zip(text.lines()) {
        if let Some(head) = head(line) {
            inside = head == name;
            if inside {
                found.get_or_insert_with(Vec::new);
            }
        } else if inside && let Some(entry) = entry(line, number, file)? {
            found.get_or_insert_with(Vec::new).push(entry);
        }
    }
    Ok(found)
}

/// The name in a line that begins a stanza.
pub(super) fn head(line: &str) -> Option<&str> {
    line.trim_start().strip_prefix('[')?.split_once(']').map(|(name, _)| name.trim())
}

/// Whether a line is empty or for people.
pub(super) fn says_nothing(line: &str) -> bool {
    let line = line.trim_start();
    line.is_empty() || line.starts_with(['#', ';'])
}

/// The words of a line: the name of a variable and, where it has one, its value.
pub(super) fn words(line: &str) -> (&str, Option<&str>) {
    let mut words = line.trim().splitn(2, char::is_whitespace);
    let name = words.next().unwrap_or_default();
    let name = name.strip_suffix(':').unwrap_or(name);
    let value = words.next().unwrap_or_default().trim_start();
    let end = value.find(|c: char| c.is_whitespace() || matches!(c, ';' | '#')).unwrap_or(value.len());
    let value = value.get(..end).unwrap_or_default();
    (name, (!value.is_empty()).then_some(value))
}

fn entry(line: &str, number: u32, file: &Path) -> Result<Option<Entry>, Diagnostic> {
    if says_nothing(line) {
        return Ok(None);
    }
    let wrong = |what: String, mend: &str| Diagnostic {
        file: file.to_owned(),
        line: number,
        column: u32::try_from(line.len() - line.trim_start().len()).unwrap_or(0).saturating_add(1),
        what,
        mend: mend.to_owned(),
    };
    let (name, value) = words(line);
    // A line that is no variable may hold a key all the same, so it is not repeated.
    let Some(value) = value else {
        return Err(wrong(
            "Invalid entry: a variable without a value".to_owned(),
            "write a variable, a blank and its value",
        ));
    };
    let Some(variable) = Variable::named(name) else {
        return Err(wrong(
            format!(
                "Parameter error in {}, line {number}: var={name}: there is no such variable",
                file.display()
            ),
            "the page \"The fwknop client\" of the documentation lists them",
        ));
    };
    Ok(Some(Entry { variable, value: Zeroizing::new(value.to_owned()), line: number }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, name: &str) -> Result<Option<Vec<(Variable, String)>>, String> {
        let plain = |entries: Vec<Entry>| {
            entries.into_iter().map(|entry| (entry.variable, entry.value.to_string())).collect()
        };
        stanza(text, Path::new("rc"), name).map(|found| found.map(plain)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_value_ends_at_a_blank_or_a_remark() {
        let text = "[default]\n  DIGEST_TYPE\tSHA1 ;x\nKEY: abc#def\nACCESS tcp/22 udp/53\r\n#KEY x\n ; y\n";
        let want = vec![
            (Variable::DigestType, "SHA1".to_owned()),
            (Variable::Key, "abc".to_owned()),
            (Variable::Access, "tcp/22".to_owned()),
        ];
        assert_eq!(of(text, DEFAULT), Ok(Some(want)));
    }

    #[test]
    fn a_mistake_counts_only_in_a_stanza_that_is_read() {
        let text = "BOGUS 0\n[default]\nVERBOSE 1\n[home]\nBOGUS 1\n[work]\nKEY\n";
        assert_eq!(of(text, DEFAULT), Ok(Some(vec![(Variable::Verbose, "1".to_owned())])));
        let unknown = of(text, "home").unwrap_err();
        assert!(unknown.starts_with("rc:5:1: Parameter error in rc, line 5: var=BOGUS"), "{unknown}");
        let empty = of(text, "work").unwrap_err();
        assert!(empty.starts_with("rc:7:1: Invalid entry"), "{empty}");
        assert_eq!(of(text, "nobody"), Ok(None));
    }

    #[test]
    fn stanzas_of_one_name_are_one_and_all_but_the_default_are_listed() {
        let text = "[default]\n[a]\nKEY x\n [b]\n[a]\nACCESS tcp/22\n[ c ]\n[d\n";
        assert_eq!(of(text, "a").unwrap().unwrap().len(), 2);
        assert_eq!(names(text).collect::<Vec<_>>(), ["a", "b", "a", "c"]);
        assert_eq!(of(text, "b"), Ok(Some(vec![])));
    }

    #[test]
    fn no_key_is_in_the_debug_text() {
        let entry = stanza("[a]\nKEY sesame\n", Path::new("rc"), "a").unwrap().unwrap();
        assert!(!format!("{entry:?}").contains("sesame"));
    }
}
