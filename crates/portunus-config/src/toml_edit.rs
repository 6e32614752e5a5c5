//! Adding a table to a TOML file, taking one out, and setting keys, by cutting and pasting its lines only. What comes
//! out is read again and compared before it is given back.

use std::path::Path;

use zeroize::Zeroizing;

use crate::quote::toml_key;
use crate::source::{Findings, Source};
use crate::tree::{Map, Node, Pair, Value, same_pairs};
use crate::{Diagnostic, EditError, toml_tree};

/// `text` with the table `name` at its end; `body` are its lines.
pub(crate) fn add(text: &str, path: &Path, name: &str, body: &str) -> Result<String, EditError> {
    let source = Source::new(path, text);
    let root = read(&source)?;
    let before = pairs(&root);
    if before.iter().any(|pair| pair.key == name) {
        return Err(EditError::Exists(name.to_owned()));
    }
    let eol = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let joint = match text {
        "" => String::new(),
        whole if whole.ends_with('\n') => eol.to_owned(),
        _ => eol.repeat(2),
    };
    let body = Zeroizing::new(body.replace('\n', eol));
    let after = format!("{text}{joint}[{}]{eol}{}", toml_key(name), *body);
    check(&source, after, |pairs| {
        pairs.split_last().is_some_and(|(last, rest)| last.key == name && same_pairs(before, rest))
    })
}

/// `text` without the table `name`, and without the blank line before it.
pub(crate) fn remove(text: &str, path: &Path, name: &str) -> Result<String, EditError> {
    let source = Source::new(path, text);
    let root = read(&source)?;
    let before = pairs(&root);
    let index = before.iter().position(|pair| pair.key == name);
    let found = index.and_then(|index| before.get(index).map(|pair| (index, pair)));
    let (index, pair) = found.ok_or_else(|| EditError::Unknown(name.to_owned()))?;
    let line = text.get(..pair.at.first()).and_then(|head| head.rfind('\n')).map_or(0, |at| at + 1);
    let head = text.get(..line).unwrap_or_default();
    let blank = if head.ends_with("\n\r\n") { 2 } else { usize::from(head.ends_with("\n\n")) };
    let end = content_end(pair);
    let end = text.get(end..).and_then(|rest| rest.find('\n')).map_or(text.len(), |at| end + at + 1);
    let kept = head.get(..head.len() - blank).unwrap_or(head);
    let after = format!("{kept}{}", text.get(end..).unwrap_or_default());
    check(&source, after, |pairs| {
        let (head, tail) = before.split_at_checked(index).unwrap_or((before, &[]));
        let (first, last) = pairs.split_at_checked(index).unwrap_or((pairs, &[]));
        same_pairs(head, first) && same_pairs(tail.get(1..).unwrap_or_default(), last)
    })
}

/// `text` with these keys set to these values (as TOML writes them), and those without one taken out. A key that was not
/// there comes behind the last of `changes` before it that is.
pub(crate) fn set(
    text: &str,
    path: &Path,
    changes: &[(&str, Option<Zeroizing<String>>)],
) -> Result<Zeroizing<String>, EditError> {
    let source = Source::new(path, text);
    let root = read(&source)?;
    let map = root.as_map().ok_or_else(|| EditError::Broken(Vec::new()))?;
    let eol = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let mut cuts: Vec<(usize, usize, Zeroizing<String>)> = Vec::new();
    // Where a new key's line goes: behind all that its predecessor's line says.
    let mut behind = 0;
    for (key, value) in changes {
        match (map.get(key), value) {
            (Some(pair), Some(value)) => {
                cuts.push((pair.node.span.first(), pair.node.span.last(), value.clone()));
                behind = line_after(text, content_end(pair));
            }
            (Some(pair), None) => {
                let line =
                    text.get(..pair.at.first()).and_then(|head| head.rfind('\n')).map_or(0, |at| at + 1);
                cuts.push((line, line_after(text, content_end(pair)), Zeroizing::default()));
            }
            (None, Some(value)) => {
                let joint = if text.get(..behind).is_some_and(|head| head.ends_with('\n') || head.is_empty())
                {
                    ""
                } else {
                    eol
                };
                let mut line = Zeroizing::new(String::with_capacity(96));
                line.extend([joint, key, " = ", value.as_str(), eol]);
                cuts.push((behind, behind, line));
            }
            (None, None) => (),
        }
    }
    let after = spliced(text, cuts);
    if sets(path, &after, map, changes) {
        return Ok(after);
    }
    let what = "its keys are written in a way that cannot be edited without touching something else";
    Err(EditError::ByHand(Diagnostic::of_file(path, what, "write each key on a line of its own")))
}

/// The start of the line behind the one that `at` is on.
fn line_after(text: &str, at: usize) -> usize {
    text.get(at..).and_then(|rest| rest.find('\n')).map_or(text.len(), |end| at + end + 1)
}

/// `text` with each piece from the first to the second number replaced.
fn spliced(text: &str, mut cuts: Vec<(usize, usize, Zeroizing<String>)>) -> Zeroizing<String> {
    // Stable: what comes to one place stays in its order.
    cuts.sort_by_key(|&(first, last, _)| (first, last));
    // Never grown, so that no half of it is left behind in memory.
    let room = text.len() + cuts.iter().map(|(_, _, new)| new.len()).sum::<usize>();
    let mut out = Zeroizing::new(String::with_capacity(room));
    let mut from = 0;
    for (first, last, new) in &cuts {
        out.push_str(text.get(from..*first).unwrap_or_default());
        out.push_str(new);
        from = (*last).max(from);
    }
    out.push_str(text.get(from..).unwrap_or_default());
    out
}

/// Whether `after` says what `before` says but for the changes.
fn sets(path: &Path, after: &str, before: &Map<'_>, changes: &[(&str, Option<Zeroizing<String>>)]) -> bool {
    let source = Source::new(path, after);
    let root = toml_tree::parse(&source, &mut Findings::default());
    let Some(map) = root.as_ref().and_then(Node::as_map) else { return false };
    let changed = |key: &str| changes.iter().any(|(changed, _)| *changed == key);
    let rest = |map: &Map<'_>| map.entries.iter().filter(|pair| !changed(&pair.key)).count();
    let kept = before
        .entries
        .iter()
        .filter(|pair| !changed(&pair.key))
        .all(|pair| map.get(&pair.key).is_some_and(|now| now.node.same(&pair.node)));
    let set = changes.iter().all(|(key, value)| {
        let now = map.get(key).map(|pair| source.text.get(pair.node.span.first()..pair.node.span.last()));
        now == value.as_ref().map(|value| Some(value.as_str()))
    });
    kept && set && rest(map) == rest(before)
}

fn read<'t>(source: &Source<'t>) -> Result<Node<'t>, EditError> {
    let mut findings = Findings::default();
    let root = toml_tree::parse(source, &mut findings);
    findings.verdict().map_err(EditError::Broken)?;
    root.ok_or_else(|| EditError::Broken(Vec::new()))
}

fn pairs<'a, 't>(root: &'a Node<'t>) -> &'a [Pair<'t>] {
    root.as_map().map(|map| map.entries.as_slice()).unwrap_or_default()
}

/// Where the last value below a key ends: a table's own span is its header.
fn content_end(pair: &Pair<'_>) -> usize {
    let own = pair.node.span.last().max(pair.at.last());
    match &pair.node.value {
        Value::Map(map) => map.entries.iter().map(content_end).fold(own, usize::max),
        Value::Null | Value::Scalar(..) | Value::List(_) => own,
    }
}

fn check(
    source: &Source<'_>,
    after: String,
    expected: impl FnOnce(&[Pair<'_>]) -> bool,
) -> Result<String, EditError> {
    let good = {
        let new = Source::new(source.file, &after);
        toml_tree::parse(&new, &mut Findings::default()).is_some_and(|root| expected(pairs(&root)))
    };
    if good {
        return Ok(after);
    }
    let what = "a client is written in a way that cannot be edited without touching something else";
    let mend = "edit it by hand, or write each client as a table of its own, [NAME] and its keys below";
    Err(EditError::ByHand(Diagnostic::of_file(source.file, what, mend)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# our people\n\n# alice, laptop\n[alice]\npublic_key = \"A\" # hers\nservices = [\n  \"ssh\",\n]\n\n\
                        # bob\n[\"bob b\"]\npublic_key = \"B\"\n\n[carol]\npublic_key = \"C\"";

    fn add(text: &str, name: &str) -> String {
        super::add(text, Path::new("c.toml"), name, "public_key = \"X\"\n").unwrap()
    }

    fn remove(text: &str, name: &str) -> String {
        super::remove(text, Path::new("c.toml"), name).unwrap()
    }

    #[test]
    fn a_table_comes_and_goes_and_the_rest_stays() {
        for file in [format!("{FILE}\n"), format!("{FILE}\n").replace('\n', "\r\n"), String::new()] {
            assert_eq!(remove(&add(&file, "dave d"), "dave d"), file);
            assert!(add(&file, "dave d").contains("[\"dave d\"]"));
        }
        assert!(add(FILE, "dave").starts_with(FILE));
        assert_eq!(remove(FILE, "bob b"), FILE.replace("[\"bob b\"]\npublic_key = \"B\"\n", ""));
        assert_eq!(
            remove(FILE, "alice"),
            FILE.replace("[alice]\npublic_key = \"A\" # hers\nservices = [\n  \"ssh\",\n]\n", "")
        );
        assert_eq!(remove(FILE, "carol"), FILE.replace("\n[carol]\npublic_key = \"C\"", ""));
        let inline = "alice = { public_key = \"A\" }\nbob = { public_key = \"B\" }\n";
        assert_eq!(remove(inline, "alice"), "bob = { public_key = \"B\" }\n");
    }

    #[test]
    fn what_cannot_be_cut_out_is_left_to_people() {
        let dotted = "alice.public_key = \"A\"\nbob.public_key = \"B\"\nalice.grant = \"1s\"\n";
        let error = super::remove(dotted, Path::new("c.toml"), "alice").unwrap_err();
        assert_eq!(
            error.to_string(),
            "c.toml: a client is written in a way that cannot be edited without touching something else: edit it by \
             hand, or write each client as a table of its own, [NAME] and its keys below"
        );
        let add = |text: &str| super::add(text, Path::new("c.toml"), "carol", "public_key = \"X\"\n");
        assert_eq!(add(FILE), Err(EditError::Exists("carol".into())));
        assert_eq!(super::remove(FILE, Path::new("c.toml"), "eve"), Err(EditError::Unknown("eve".into())));
        assert!(matches!(add("[a\n"), Err(EditError::Broken(_))));
    }
}
