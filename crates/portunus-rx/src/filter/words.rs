//! A filter as words, each with its column.

use super::{Fault, FilterError};

/// One word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Word<'a> {
    pub(super) text: &'a str,
    /// Counted in letters from 1.
    pub(super) column: usize,
}

impl Word<'_> {
    pub(super) fn wrong(self, why: Fault) -> FilterError {
        // A word may be as long as the whole text; its beginning is enough to find it.
        FilterError { column: self.column, word: self.text.chars().take(40).collect(), why }
    }
}

/// The words of a text. A last, empty one stands for its end.
pub(super) fn words(text: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut rest = text;
    let mut column = 1;
    while let Some(first) = rest.chars().next() {
        let length = if first.is_whitespace() { first.len_utf8() } else { length(rest, first) };
        let (word, behind) = rest.split_at_checked(length).unwrap_or((rest, ""));
        if !first.is_whitespace() {
            words.push(Word { text: word, column });
        }
        column += word.chars().count();
        rest = behind;
    }
    words.push(Word { text: "", column });
    words
}

/// Signs stand alone or in pairs; all else goes on to the next blank or sign.
fn length(rest: &str, first: char) -> usize {
    if rest.starts_with("&&") || rest.starts_with("||") {
        2
    } else if is_sign(first) {
        first.len_utf8()
    } else {
        rest.find(|c: char| c.is_whitespace() || is_sign(c)).unwrap_or(rest.len())
    }
}

fn is_sign(c: char) -> bool {
    "()!&|[]<>=+*".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_has_its_column() {
        let all: Vec<(&str, usize)> =
            words("udp  port 1&&!(ü or a-b/8)").iter().map(|w| (w.text, w.column)).collect();
        let wanted = [
            ("udp", 1),
            ("port", 6),
            ("1", 11),
            ("&&", 12),
            ("!", 14),
            ("(", 15),
            ("ü", 16),
            ("or", 18),
            ("a-b/8", 21),
            (")", 26),
            ("", 27),
        ];
        assert_eq!(all, wanted);
    }
}
