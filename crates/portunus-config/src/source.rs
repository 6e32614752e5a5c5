//! One file's text while it is read, and the mistakes that are found in it.

use std::cell::OnceCell;
use std::path::Path;

use crate::tree::Span;
use crate::{Diagnostic, ValueError};

/// The most mistakes that are told at once: a file of 10,000 wrong lines is not read to its end by anybody.
const MOST: usize = 50;

/// A file's text.
pub(crate) struct Source<'t> {
    pub(crate) file: &'t Path,
    pub(crate) text: &'t str,
    lines: OnceCell<Vec<u32>>,
}

impl<'t> Source<'t> {
    pub(crate) fn new(file: &'t Path, text: &'t str) -> Self {
        Self { file, text, lines: OnceCell::new() }
    }

    /// Line and column (in characters) of a byte, both from 1.
    pub(crate) fn position(&self, at: usize) -> (u32, u32) {
        let lines = self.lines.get_or_init(|| line_starts(self.text));
        let offset = u32::try_from(at.min(self.text.len())).unwrap_or(u32::MAX);
        let line = lines.partition_point(|&start| start <= offset).max(1);
        let start = lines.get(line - 1).copied().unwrap_or(0);
        let before = self.text.get(start as usize..offset as usize).unwrap_or("");
        let column = before.trim_start_matches('\u{feff}').chars().count() + 1;
        (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
    }

    pub(crate) fn diagnostic(
        &self,
        at: Span,
        what: impl Into<String>,
        mend: impl Into<String>,
    ) -> Diagnostic {
        let (line, column) = self.position(at.first());
        Diagnostic { file: self.file.to_owned(), line, column, what: what.into(), mend: mend.into() }
    }
}

fn line_starts(text: &str) -> Vec<u32> {
    let after = text.bytes().enumerate().filter(|&(_, byte)| byte == b'\n').map(|(at, _)| at + 1);
    std::iter::once(0).chain(after).map(|at| u32::try_from(at).unwrap_or(u32::MAX)).collect()
}

/// Every mistake that was found so far.
#[derive(Default)]
pub(crate) struct Findings {
    errors: Vec<Diagnostic>,
    untold: usize,
    pub(crate) warnings: Vec<Diagnostic>,
    /// Warnings that may be the reason of a mistake: told before the mistakes too.
    hints: Vec<Diagnostic>,
}

impl Findings {
    pub(crate) fn error(
        &mut self,
        source: &Source<'_>,
        at: Span,
        what: impl Into<String>,
        mend: impl Into<String>,
    ) {
        self.tell(|| source.diagnostic(at, what, mend));
    }

    /// One that was found where no text is at hand any more.
    pub(crate) fn tell(&mut self, error: impl FnOnce() -> Diagnostic) {
        if self.errors.len() < MOST {
            self.errors.push(error());
        } else {
            self.untold += 1;
        }
    }

    /// The same for a warning.
    pub(crate) fn remark(&mut self, warning: impl FnOnce() -> Diagnostic) {
        if self.warnings.len() < MOST {
            self.warnings.push(warning());
        }
    }

    /// A warning that is told beside mistakes too, for it may be their reason.
    pub(crate) fn hint(&mut self, warning: impl FnOnce() -> Diagnostic) {
        if self.hints.len() < MOST {
            let warning = warning();
            self.hints.push(warning.clone());
            self.remark(|| warning);
        }
    }

    pub(crate) fn fault(&mut self, source: &Source<'_>, at: Span, fault: ValueError) {
        self.error(source, at, fault.what, fault.mend);
    }

    pub(crate) fn warn(
        &mut self,
        source: &Source<'_>,
        at: Span,
        what: impl Into<String>,
        mend: impl Into<String>,
    ) {
        self.remark(|| source.diagnostic(at, what, mend));
    }

    pub(crate) fn push(&mut self, error: Diagnostic) {
        self.errors.push(error);
    }

    pub(crate) fn clean(&self) -> bool {
        self.errors.is_empty()
    }

    /// The errors, in order; nothing when there are none. The warnings stay.
    pub(crate) fn verdict(&mut self) -> Result<(), Vec<Diagnostic>> {
        if self.errors.is_empty() {
            return Ok(());
        }
        let mut errors = std::mem::take(&mut self.hints);
        errors.append(&mut self.errors);
        if self.untold > 0
            && let Some(file) = errors.last().map(|last| last.file.clone())
        {
            let what = format!("{} more mistakes are not shown", self.untold);
            errors.push(Diagnostic::of_file(&file, what, "mend those above first"));
        }
        Err(errors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_not_the_mark_at_the_start() {
        let source = Source::new(Path::new("f"), "\u{feff}ab\nJörg: x\r\nlast");
        assert_eq!(source.position(3), (1, 1));
        assert_eq!(source.position(6), (2, 1));
        assert_eq!(source.position(source.text.find(": x").unwrap()), (2, 5));
        assert_eq!(source.position(source.text.find("last").unwrap()), (3, 1));
        assert_eq!(source.position(usize::MAX), (3, 5));
    }

    #[test]
    fn a_thousand_mistakes_are_not_told_one_by_one() {
        let mut findings = Findings::default();
        let source = Source::new(Path::new("f"), "x");
        for _ in 0..1000 {
            findings.error(&source, Span::default(), "wrong", "mend it");
        }
        let told = findings.verdict().unwrap_err();
        assert_eq!(told.len(), MOST + 1);
        assert_eq!(told[MOST].to_string(), "f: 950 more mistakes are not shown: mend those above first");
    }
}
