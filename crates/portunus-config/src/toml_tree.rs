//! TOML text to a [`Node`].

use std::borrow::Cow;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::source::{Findings, Source};
use crate::tree::{Kind, Map, Node, Pair, Span, Value};

/// Reads a document; `None` when it is none, which `findings` then says.
pub(crate) fn parse<'t>(source: &Source<'t>, findings: &mut Findings) -> Option<Node<'t>> {
    let start = if source.text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    part(source, Span::new(start, source.text.len())).map_err(|errors| errors.say(source, findings)).ok()
}

/// Reads a document table by table, so that a file of 10,000 of them is never in memory as a whole tree: `take` gets
/// each piece as a mapping. A line that begins with a bracket begins a table, unless it stands in the middle of a
/// value; then the piece before it does not parse, and it and all that follows are read as one.
pub(crate) fn each_table<'t>(
    source: &Source<'t>,
    findings: &mut Findings,
    take: &mut dyn FnMut(&Node<'t>, &mut Findings),
) {
    let text = source.text;
    let mut from = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    while from < text.len() {
        let next =
            text.get(from + 1..).and_then(|rest| rest.find("\n[")).map_or(text.len(), |at| from + at + 2);
        let read = match part(source, Span::new(from, next)) {
            Ok(node) => Ok((node, next)),
            Err(_) => part(source, Span::new(from, text.len())).map(|node| (node, text.len())),
        };
        match read {
            Ok((node, end)) => {
                take(&node, findings);
                from = end;
            }
            Err(errors) => return errors.say(source, findings),
        }
    }
}

struct Errors(Vec<toml::de::Error>, usize);

impl Errors {
    fn say(&self, source: &Source<'_>, findings: &mut Findings) {
        let Self(errors, shift) = self;
        let place = |error: &toml::de::Error| {
            error.span().map_or(Span::default(), |span| Span::new(span.start + shift, span.end + shift))
        };
        // The library's own words. All that it finds besides follows from where it gave up.
        if let Some(deep) = errors.iter().find(|error| error.message().contains("recurs")) {
            let what = "this is not TOML that we read: values stand in each other too deeply";
            findings.error(source, place(deep), what, "look at the brackets and dots around here");
            return;
        }
        for error in errors {
            say(source, findings, place(error), error.message());
        }
    }
}

fn part<'t>(source: &Source<'t>, at: Span) -> Result<Node<'t>, Errors> {
    let text = source.text.get(at.first()..at.last()).unwrap_or_default();
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return Err(Errors(errors, at.first()));
    }
    Ok(Node { span: at, value: Value::Map(map_of(table.into_inner(), at.first())) })
}

fn say(source: &Source<'_>, findings: &mut Findings, at: Span, message: &str) {
    let first = message.lines().next().unwrap_or("it cannot be read");
    if first == "duplicate key" {
        let key = source.text.get(at.first()..at.last()).unwrap_or("").trim_matches(['[', ']', ' ']);
        findings.error(source, at, format!("{key} stands twice"), "keep one of them");
    } else {
        findings.error(
            source,
            at,
            format!("this is not TOML: {first}"),
            "look at the quotes, brackets and equals signs around here",
        );
    }
}

/// The library keeps a table's keys in the alphabet's order; the spans bring back the file's.
fn map_of(table: DeTable<'_>, shift: usize) -> Map<'_> {
    let mut entries: Vec<_> = table
        .into_iter()
        .map(|(key, value)| {
            let at = span_of(&key, shift);
            Pair { key: key.into_inner(), at, node: node_of(value, shift) }
        })
        .collect();
    entries.sort_by_key(|pair| pair.at.start);
    Map { flow: false, entries }
}

fn node_of(value: Spanned<DeValue<'_>>, shift: usize) -> Node<'_> {
    let span = span_of(&value, shift);
    let value = match value.into_inner() {
        DeValue::String(text) => Value::Scalar(text, Kind::Text),
        DeValue::Integer(number) if number.radix() == 10 => {
            Value::Scalar(Cow::Owned(number.as_str().to_owned()), Kind::Integer)
        }
        // Ports and users are decimal numbers in every other place that people see them.
        DeValue::Integer(number) => Value::Scalar(Cow::Owned(number.to_string()), Kind::Float),
        DeValue::Float(number) => Value::Scalar(Cow::Owned(number.as_str().to_owned()), Kind::Float),
        DeValue::Boolean(on) => {
            Value::Scalar(Cow::Borrowed(if on { "true" } else { "false" }), Kind::Boolean)
        }
        DeValue::Datetime(date) => Value::Scalar(Cow::Owned(date.to_string()), Kind::Date),
        DeValue::Array(items) => Value::List(items.into_iter().map(|item| node_of(item, shift)).collect()),
        DeValue::Table(table) => Value::Map(map_of(table, shift)),
    };
    Node { span, value }
}

fn span_of<T>(spanned: &Spanned<T>, shift: usize) -> Span {
    let span = spanned.span();
    Span::new(span.start + shift, span.end + shift)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn said(text: &str) -> Vec<String> {
        let mut findings = Findings::default();
        let _ = parse(&Source::new(Path::new("p.toml"), text), &mut findings);
        findings.verdict().err().unwrap_or_default().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn keeps_the_files_order_and_places() {
        let text = "\u{feff}zeta = 1\nalpha = [\"x\", \"y\"]\n[b]\nc = true\n";
        let source = Source::new(Path::new("p.toml"), text);
        let mut findings = Findings::default();
        let node = parse(&source, &mut findings).unwrap();
        let map = node.as_map().unwrap();
        assert_eq!(map.entries.iter().map(|pair| &*pair.key).collect::<Vec<_>>(), ["zeta", "alpha", "b"]);
        let alpha = map.get("alpha").unwrap();
        assert_eq!(source.position(alpha.at.first()), (2, 1));
        assert_eq!(source.position(alpha.node.span.first()), (2, 9));
    }

    #[test]
    fn tables_are_read_one_by_one_as_if_at_once() {
        let text =
            "\u{feff}top = 1\n[a]\nx = \"\"\"\n[no table]\n\"\"\"\ny = [\n[1],\n]\n[b]\nz = 1\n[\"c d\"]\n";
        let source = Source::new(Path::new("p.toml"), text);
        let mut found = Vec::new();
        each_table(&source, &mut Findings::default(), &mut |node, _| {
            for pair in node.as_map().map(|map| map.entries.as_slice()).unwrap_or_default() {
                found.push((pair.key.to_string(), source.position(pair.at.first())));
            }
        });
        let key = |name: &str, line, column| (name.to_owned(), (line, column));
        assert_eq!(found, [key("top", 1, 1), key("a", 2, 2), key("b", 9, 2), key("c d", 11, 2)]);
        let mut findings = Findings::default();
        each_table(&Source::new(Path::new("p.toml"), "[a]\nx = 1\n[b\n"), &mut findings, &mut |_, _| {});
        assert!(findings.verdict().unwrap_err()[0].to_string().starts_with("p.toml:3:"));
    }

    #[test]
    fn says_where_it_is_no_toml() {
        assert_eq!(said("a = 1\na = 2\n"), ["p.toml:2:1: a stands twice: keep one of them"]);
        assert!(said("a = \n")[0].starts_with("p.toml:1:"), "{:?}", said("a = \n"));
        assert!(!said("a = [1\n").is_empty());
    }
}
