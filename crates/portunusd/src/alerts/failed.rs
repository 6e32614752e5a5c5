//! Why a message is not told, in words that the log has room for.

use std::fmt;
use std::time::Duration;

use crate::log;

/// Why a message is not told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failed {
    /// Nobody has it.
    NotTold(String),
    /// It was handed over, and nobody has said whether it was taken: it may be told.
    Unanswered(Handed, String),
}

/// What is handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Handed {
    Mail,
    Message,
}

impl Failed {
    /// The same, for a reason that is better known.
    pub(super) fn because(self, why: String) -> Self {
        match self {
            Self::NotTold(_) => Self::NotTold(why),
            Self::Unanswered(what, _) => Self::Unanswered(what, why),
        }
    }

    /// The same, of a mail.
    pub(super) fn of_a_mail(self) -> Self {
        match self {
            Self::NotTold(why) => Self::NotTold(why),
            Self::Unanswered(_, why) => Self::Unanswered(Handed::Mail, why),
        }
    }
}

impl From<String> for Failed {
    fn from(why: String) -> Self {
        Self::NotTold(why)
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotTold(why) => f.write_str(why),
            Self::Unanswered(what, why) => {
                let what = match what {
                    Handed::Mail => "mail",
                    Handed::Message => "message",
                };
                write!(f, "{why}: whether the {what} was taken nobody knows")
            }
        }
    }
}

/// What somebody else says at most, in letters: he may go on for as long as he likes.
const LONGEST_WORDS: usize = 200;

/// So much of what somebody else says, as a log and a terminal can show it.
pub(super) fn cut(words: &str) -> String {
    let words = log::shown(words);
    match words.char_indices().nth(LONGEST_WORDS) {
        Some((end, _)) => format!("{}…", words.get(..end).unwrap_or_default()),
        None => words,
    }
}

/// The first of many, and how many more there are.
pub(super) fn a_few(all: &[String]) -> String {
    const FEW: usize = 5;
    let mut words = all.get(..FEW.min(all.len())).unwrap_or_default().join("; ");
    if all.len() > FEW {
        words.push_str(&format!("; and {} more", all.len() - FEW));
    }
    words
}

/// A mail server that is too slow.
pub(super) fn late(patience: Duration) -> String {
    format!("the mail server did not answer within {} s", patience.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_say_is_short_and_of_many_there_are_a_few() {
        assert_eq!(cut("ö"), "ö");
        assert_eq!(cut("\x1b]0;x\x07 554\r\n\u{9b}2J"), "?]0;x? 554???2J");
        assert_eq!(cut(&"ö".repeat(200)), "ö".repeat(200));
        assert_eq!(cut(&"ö".repeat(100_000)), format!("{}…", "ö".repeat(200)));
        let all: Vec<String> = (0..9).map(|n| n.to_string()).collect();
        assert_eq!(a_few(&all), "0; 1; 2; 3; 4; and 4 more");
        assert_eq!((a_few(&all[..5]), a_few(&[])), ("0; 1; 2; 3; 4".to_owned(), String::new()));
    }
}
