//! Adding a table to a TOML file, and taking one out, by cutting and pasting its lines only. What comes out is read
//! again and compared before it is given back.

use std::path::Path;

use crate::quote::toml_key;
use crate::source::{Findings, Source};
use crate::tree::{Node, Pair, Value, same_pairs};
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
    let body = body.replace('\n', eol);
    let after = format!("{text}{joint}[{}]{eol}{body}", toml_key(name));
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
