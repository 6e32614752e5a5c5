//! Values out of a tree, each with its mistakes said: what TOML's types and YAML's words have in common.

use std::time::Duration;

use portunus_model::Unix;

use crate::source::{Findings, Source};
use crate::tree::{Kind, Map, Node, Pair, Span, Value};
use crate::{ValueError, parse_date, parse_duration};

/// What becomes of keys that nobody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// A mistake: our own files.
    Refused,
    /// Kept and ignored, with a warning, as openme's own reader does.
    Ignored,
}

/// One mapping that is being read.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a, 't> {
    pub(crate) source: &'a Source<'t>,
    pub(crate) map: &'a Map<'t>,
}

impl<'a, 't> Fields<'a, 't> {
    /// The mapping `node`; `None` when it is none (said, unless it is nothing at all).
    pub(crate) fn of(
        source: &'a Source<'t>,
        node: &'a Node<'t>,
        name: &str,
        findings: &mut Findings,
    ) -> Option<Self> {
        match &node.value {
            Value::Map(map) => Some(Self { source, map }),
            Value::Null => None,
            Value::Scalar(..) | Value::List(_) => {
                let what = format!("{name} is {}, not a mapping of keys to values", kind(node));
                findings.error(source, node.span, what, format!("write its keys below {name}"));
                None
            }
        }
    }

    /// Says every key that is not among `known`.
    pub(crate) fn know(self, known: &[&str], unknown: Unknown, findings: &mut Findings) {
        for pair in self.map.entries.iter().filter(|pair| !known.contains(&&*pair.key)) {
            let near = nearest(&pair.key, known.iter().copied());
            match unknown {
                Unknown::Refused => {
                    let mend = near.map_or_else(
                        || format!("known here: {}", known.join(", ")),
                        |near| format!("did you mean {near:?}?"),
                    );
                    findings.error(self.source, pair.at, format!("unknown key {:?}", pair.key), mend);
                }
                Unknown::Ignored => {
                    let mend = near.map_or_else(
                        || "take it out, or leave it: nothing reads it".to_owned(),
                        |near| format!("did you mean {near:?}?"),
                    );
                    findings.warn(
                        self.source,
                        pair.at,
                        format!("unknown key {:?} is ignored", pair.key),
                        mend,
                    );
                }
            }
        }
    }

    /// The pair of `key`; nothing where its value is YAML's nothing.
    pub(crate) fn pair(self, key: &str) -> Option<&'a Pair<'t>> {
        self.map.get(key).filter(|pair| !matches!(pair.node.value, Value::Null))
    }

    /// A text.
    pub(crate) fn text(self, key: &str, findings: &mut Findings) -> Option<(&'a str, Span)> {
        let pair = self.pair(key)?;
        text_of(self.source, &pair.node, key, findings).map(|text| (text, pair.node.span))
    }

    /// A text that `read` makes a value of.
    pub(crate) fn read<T>(
        self,
        key: &str,
        findings: &mut Findings,
        read: impl FnOnce(&str) -> Result<T, ValueError>,
    ) -> Option<T> {
        let (text, at) = self.text(key, findings)?;
        read(text).map_err(|fault| findings.fault(self.source, at, fault)).ok()
    }

    /// One of a few words.
    pub(crate) fn word<T: Copy>(self, key: &str, words: &[(&str, T)], findings: &mut Findings) -> Option<T> {
        self.read(key, findings, |text| {
            words.iter().find(|(word, _)| *word == text).map(|&(_, value)| value).ok_or_else(|| {
                let known = words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
                ValueError::new(format!("{key} is {text:?}"), format!("use one of: {known}"))
            })
        })
    }

    /// A duration between two bounds.
    pub(crate) fn duration(
        self,
        key: &str,
        least: Duration,
        most: Duration,
        findings: &mut Findings,
    ) -> Option<Duration> {
        self.read(key, findings, |text| {
            let span = parse_duration(text)?;
            if (least..=most).contains(&span) {
                return Ok(span);
            }
            let (least, most) = (crate::render_duration(least), crate::render_duration(most));
            Err(ValueError::new(format!("{key} is {text}"), format!("use a time from {least} to {most}")))
        })
    }

    /// A date; TOML's own, or a text.
    pub(crate) fn date(self, key: &str, findings: &mut Findings) -> Option<Unix> {
        let pair = self.pair(key)?;
        let text = match &pair.node.value {
            Value::Scalar(text, Kind::Date) => text,
            Value::Null | Value::Scalar(..) | Value::List(_) | Value::Map(_) => {
                text_of(self.source, &pair.node, key, findings)?
            }
        };
        parse_date(text).map_err(|fault| findings.fault(self.source, pair.node.span, fault)).ok()
    }

    /// True or false. YAML's older words count, as they do for Go.
    pub(crate) fn flag(self, key: &str, findings: &mut Findings) -> Option<bool> {
        let pair = self.pair(key)?;
        let wrong = match &pair.node.value {
            Value::Scalar(text, Kind::Boolean | Kind::Word) => match &*text.to_ascii_lowercase() {
                "true" | "yes" | "on" | "y" => return Some(true),
                "false" | "no" | "off" | "n" => return Some(false),
                _ => format!("{key} is {text:?}"),
            },
            Value::Null | Value::Scalar(..) | Value::List(_) | Value::Map(_) => {
                format!("{key} is {}, not true or false", kind(&pair.node))
            }
        };
        findings.error(self.source, pair.node.span, wrong, "write true or false, without quotes");
        None
    }

    /// A port.
    pub(crate) fn port(self, key: &str, findings: &mut Findings) -> Option<u16> {
        self.number(key, 1, 65535, findings).and_then(|port| u16::try_from(port).ok())
    }

    /// A whole number between two bounds.
    pub(crate) fn number(self, key: &str, least: u64, most: u64, findings: &mut Findings) -> Option<u64> {
        let pair = self.pair(key)?;
        number_of(self.source, &pair.node, key, least, most, findings)
    }

    /// The items of a list; nothing (said) when it is no list.
    pub(crate) fn list(self, key: &str, example: &str, findings: &mut Findings) -> &'a [Node<'t>] {
        let Some(pair) = self.pair(key) else { return &[] };
        match &pair.node.value {
            Value::List(items) => items,
            Value::Null | Value::Scalar(..) | Value::Map(_) => {
                let what = format!("{key} is {}, not a list", kind(&pair.node));
                findings.error(self.source, pair.node.span, what, format!("write a list, as in {example}"));
                &[]
            }
        }
    }

    /// A list of texts, each with its place.
    pub(crate) fn texts(self, key: &str, example: &str, findings: &mut Findings) -> Vec<(&'a str, Span)> {
        let items = self.list(key, example, findings);
        let one = |item: &'a Node<'t>, findings: &mut Findings| {
            text_of(self.source, item, key, findings).map(|text| (text, item.span))
        };
        items.iter().filter_map(|item| one(item, findings)).collect()
    }
}

/// The whole number that `node` is.
pub(crate) fn number_of(
    source: &Source<'_>,
    node: &Node<'_>,
    key: &str,
    least: u64,
    most: u64,
    findings: &mut Findings,
) -> Option<u64> {
    let mend = format!("use a whole number from {least} to {most}");
    match &node.value {
        Value::Scalar(text, Kind::Integer | Kind::Word | Kind::Float) => {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let number = text.parse().ok().filter(|number| digits && (least..=most).contains(number));
            if number.is_none() {
                findings.error(source, node.span, format!("{key} is {text}"), mend);
            }
            number
        }
        Value::Scalar(_, Kind::Text) => {
            findings.error(source, node.span, format!("{key} is a text"), format!("{mend}, without quotes"));
            None
        }
        Value::Null | Value::Scalar(..) | Value::List(_) | Value::Map(_) => {
            findings.error(source, node.span, format!("{key} is {}", kind(node)), mend);
            None
        }
    }
}

/// The text that `node` is.
pub(crate) fn text_of<'a>(
    source: &Source<'_>,
    node: &'a Node<'_>,
    key: &str,
    findings: &mut Findings,
) -> Option<&'a str> {
    match &node.value {
        Value::Scalar(text, Kind::Text | Kind::Word) => Some(text),
        Value::Scalar(text, Kind::Integer | Kind::Float | Kind::Boolean | Kind::Date) => {
            let what = format!("{key} is {}, not a text", kind(node));
            findings.error(source, node.span, what, format!("put it in quotes: \"{text}\""));
            None
        }
        Value::Null | Value::List(_) | Value::Map(_) => {
            findings.error(
                source,
                node.span,
                format!("{key} is {}, not a text", kind(node)),
                "write one text",
            );
            None
        }
    }
}

/// What a value is, in words.
fn kind(node: &Node<'_>) -> &'static str {
    match &node.value {
        Value::Null => "empty",
        Value::Scalar(_, Kind::Word | Kind::Text) => "a text",
        Value::Scalar(_, Kind::Integer | Kind::Float) => "a number",
        Value::Scalar(_, Kind::Boolean) => "a true-or-false value",
        Value::Scalar(_, Kind::Date) => "a date",
        Value::List(_) => "a list",
        Value::Map(_) => "a mapping",
    }
}

/// The known word that was probably meant.
pub(crate) fn nearest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let most = 1 + word.chars().count() / 4;
    known
        .map(|candidate| (distance(&word.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|&(steps, _)| steps <= most)
        .min_by_key(|&(steps, _)| steps)
        .map(|(_, candidate)| candidate)
}

/// How many letters must be put in, taken out or changed to make `b` of `a` (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, y) in row.iter_mut().skip(1).zip(b.chars()) {
            let here = (diagonal + usize::from(x != y)).min(left + 1).min(*cell + 1);
            diagonal = *cell;
            *cell = here;
            left = here;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_is_recognised_and_another_word_is_not() {
        let known = ["udp_port", "health_port", "host", "firewall"];
        let near = |word: &str| nearest(word, known.into_iter());
        assert_eq!(near("heath_port"), Some("health_port"));
        assert_eq!(near("udpport"), Some("udp_port"));
        assert_eq!(near("Host"), Some("host"));
        assert_eq!(near("firewal"), Some("firewall"));
        assert_eq!(near("colour"), None);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
    }
}
