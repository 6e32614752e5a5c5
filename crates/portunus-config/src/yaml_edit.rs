//! Adding an entry to a mapping of a YAML file, and taking one out, by cutting and pasting its bytes only. Whatever
//! else stands in the file is never written anew, so it stays as it is; and what comes out is read again and compared
//! before it is given back.

use std::path::Path;

use zeroize::Zeroizing;

use crate::quote::{quoted, yaml_word};
use crate::source::{Findings, Source};
use crate::tree::{Map, Node, Pair, Value, same_pairs};
use crate::{Diagnostic, EditError, yaml_tree};

/// How far Go's writer indents.
const GO_INDENT: usize = 4;

/// One line of a new entry.
pub(crate) enum Field<'a> {
    /// A text, quoted.
    Text(&'static str, &'a str),
    /// A number or a word that is written bare.
    Bare(&'static str, String),
    /// A list of texts.
    List(&'static str, &'a [String]),
}

/// `text` with the entry `name` more in the top-level mapping `section`.
pub(crate) fn add(
    text: &str,
    path: &Path,
    section: &str,
    name: &str,
    fields: &[Field<'_>],
) -> Result<Zeroizing<String>, EditError> {
    let source = Source::new(path, text);
    let root = read(&source)?;
    let style = Style::of(text, &root, section);
    let map = top(&source, &root)?;
    let after = match map.and_then(|map| map.get(section)) {
        None => new_section(text, map, section, name, fields, &style),
        Some(pair) => match &pair.node.value {
            Value::Null => first_entry(text, pair, name, fields, &style),
            Value::Map(entries) => {
                if entries.get(name).is_some() {
                    return Err(EditError::Exists(name.to_owned()));
                }
                one_more(text, pair, entries, name, fields, &style)
            }
            Value::Scalar(..) | Value::List(_) => return Err(no_mapping(&source, pair, section)),
        },
    };
    check(&source, &root, after, section, |before, after| {
        let Some((last, rest)) = after.split_last() else { return false };
        last.key == name && last.node.as_map().is_some() && same_pairs(before, rest)
    })
}

/// One entry of a new file, laid out as Go does.
pub(crate) fn entry(name: &str, fields: &[Field<'_>]) -> Zeroizing<String> {
    Style { eol: "\n", key: GO_INDENT, step: GO_INDENT, braces: false }.lines(name, fields)
}

/// `text` with the entry `name` less in the top-level mapping `section`.
pub(crate) fn remove(
    text: &str,
    path: &Path,
    section: &str,
    name: &str,
) -> Result<Zeroizing<String>, EditError> {
    let unknown = || EditError::Unknown(name.to_owned());
    let source = Source::new(path, text);
    let root = read(&source)?;
    let pair = top(&source, &root)?.and_then(|map| map.get(section)).ok_or_else(unknown)?;
    let entries = match &pair.node.value {
        Value::Map(map) => map,
        Value::Null => return Err(unknown()),
        Value::Scalar(..) | Value::List(_) => return Err(no_mapping(&source, pair, section)),
    };
    let index = entries.entries.iter().position(|pair| pair.key == name).ok_or_else(unknown)?;
    let after =
        if entries.flow { flow_cut(text, entries, index) } else { block_cut(text, pair, entries, index) };
    check(&source, &root, after, section, |before, after| {
        let (head, tail) = before.split_at_checked(index).unwrap_or((before, &[]));
        let (first, last) = after.split_at_checked(index).unwrap_or((after, &[]));
        same_pairs(head, first) && same_pairs(tail.get(1..).unwrap_or_default(), last)
    })
}

fn read<'t>(source: &Source<'t>) -> Result<Node<'t>, EditError> {
    let mut findings = Findings::default();
    let root = yaml_tree::parse(source, &mut findings);
    findings.verdict().map_err(EditError::Broken)?;
    root.ok_or_else(|| EditError::Broken(Vec::new()))
}

/// The top's mapping; `None` for an empty file.
fn top<'a, 't>(source: &Source<'t>, root: &'a Node<'t>) -> Result<Option<&'a Map<'t>>, EditError> {
    match &root.value {
        Value::Null => Ok(None),
        Value::Map(map) => Ok(Some(map)),
        Value::Scalar(..) | Value::List(_) => {
            let mend = "write its keys, such as `server:`, at the start of lines";
            Err(EditError::Broken(vec![source.diagnostic(
                root.span,
                "the file is no mapping of keys to values",
                mend,
            )]))
        }
    }
}

fn no_mapping(source: &Source<'_>, pair: &Pair<'_>, section: &str) -> EditError {
    let mend = format!("write each name below `{section}:`, indented");
    let what = format!("{section} is not a mapping of names");
    EditError::Broken(vec![source.diagnostic(pair.node.span, what, mend)])
}

/// Reads the outcome and compares it with what it came from: the rest of the file must say the same.
fn check(
    source: &Source<'_>,
    before: &Node<'_>,
    after: Zeroizing<String>,
    section: &str,
    expected: impl FnOnce(&[Pair<'_>], &[Pair<'_>]) -> bool,
) -> Result<Zeroizing<String>, EditError> {
    let new = Source::new(source.file, &after);
    let good = yaml_tree::parse(&new, &mut Findings::default()).is_some_and(|root| {
        let (old_head, old, old_tail) = parts(before, section);
        let (new_head, new, new_tail) = parts(&root, section);
        same_pairs(old_head, new_head) && same_pairs(old_tail, new_tail) && expected(old, new)
    });
    if good {
        return Ok(after);
    }
    let what =
        format!("`{section}` is written in a way that cannot be edited without touching something else");
    let mend = format!("edit it by hand, or write each name below `{section}:` on lines of its own");
    Err(EditError::ByHand(Diagnostic::of_file(source.file, what, mend)))
}

/// What stands before `section`, in it and after it.
fn parts<'a, 't>(root: &'a Node<'t>, section: &str) -> (&'a [Pair<'t>], &'a [Pair<'t>], &'a [Pair<'t>]) {
    let all = root.as_map().map(|map| map.entries.as_slice()).unwrap_or_default();
    let at = all.iter().position(|pair| pair.key == section).unwrap_or(all.len());
    let (head, rest) = all.split_at_checked(at).unwrap_or((all, &[]));
    match rest.split_first() {
        None => (head, &[], &[]),
        Some((pair, tail)) => {
            (head, pair.node.as_map().map(|map| map.entries.as_slice()).unwrap_or_default(), tail)
        }
    }
}

/// How this file is laid out, so that what is new looks like the rest.
struct Style {
    /// The end of a line.
    eol: &'static str,
    /// Blanks before a name of the section.
    key: usize,
    /// How many more before its fields.
    step: usize,
    /// The whole file is in braces.
    braces: bool,
}

impl Style {
    fn of(text: &str, root: &Node<'_>, section: &str) -> Self {
        let crlf = text.find('\n').is_some_and(|at| text.get(..at).is_some_and(|line| line.ends_with('\r')));
        let all = root.as_map();
        let lines = |map: &&Map<'_>| !map.flow && !map.entries.is_empty();
        let entries = all.and_then(|map| map.get(section)).and_then(|pair| pair.node.as_map()).filter(lines);
        let other =
            all.into_iter().flat_map(|map| &map.entries).filter_map(|pair| pair.node.as_map()).find(lines);
        let key = entries.or(other).and_then(|map| first_column(text, map)).filter(|&column| column > 0);
        let key = key.unwrap_or(GO_INDENT);
        let inner = entries
            .into_iter()
            .flat_map(|map| &map.entries)
            .filter_map(|pair| pair.node.as_map())
            .find(lines);
        let step = inner.and_then(|map| first_column(text, map)).and_then(|column| column.checked_sub(key));
        Self {
            eol: if crlf { "\r\n" } else { "\n" },
            key,
            step: step.filter(|&step| step > 0).unwrap_or(key),
            braces: all.is_some_and(|map| map.flow),
        }
    }

    /// The entry on lines of its own.
    fn lines(&self, name: &str, fields: &[Field<'_>]) -> Zeroizing<String> {
        let (eol, at, inner) = (self.eol, " ".repeat(self.key), " ".repeat(self.key + self.step));
        let mut out = Zeroizing::new(format!("{at}{}:{eol}", yaml_word(name)));
        for field in fields {
            match field {
                Field::Text(key, text) => {
                    out.push_str(&Zeroizing::new(format!("{inner}{key}: {}{eol}", quoted(text))));
                }
                Field::Bare(key, word) => out.push_str(&format!("{inner}{key}: {word}{eol}")),
                Field::List(key, items) => {
                    out.push_str(&format!("{inner}{key}:{eol}"));
                    for item in *items {
                        out.push_str(&format!("{inner}{}- {}{eol}", " ".repeat(self.step), yaml_word(item)));
                    }
                }
            }
        }
        out
    }
}

/// The entry in braces.
fn braces(name: &str, fields: &[Field<'_>]) -> Zeroizing<String> {
    let mut out = Zeroizing::new(format!("{}: {{", quoted(name)));
    for (i, field) in fields.iter().enumerate() {
        out.push_str(if i == 0 { "" } else { ", " });
        match field {
            Field::Text(key, text) => {
                out.push_str(&Zeroizing::new(format!("{}: {}", quoted(key), quoted(text))));
            }
            Field::Bare(key, word) => out.push_str(&format!("{}: {word}", quoted(key))),
            Field::List(key, items) => {
                let items: Vec<_> = items.iter().map(|item| quoted(item)).collect();
                out.push_str(&format!("{}: [{}]", quoted(key), items.join(", ")));
            }
        }
    }
    out.push('}');
    out
}

/// There is no such section yet: it comes last.
fn new_section(
    text: &str,
    map: Option<&Map<'_>>,
    section: &str,
    name: &str,
    fields: &[Field<'_>],
    style: &Style,
) -> Zeroizing<String> {
    if let Some(map) = map.filter(|_| style.braces) {
        let entry = format!("{}: {{{}}}", quoted(section), &*braces(name, fields));
        return into_braces(text, map, &Zeroizing::new(entry));
    }
    let entry = Zeroizing::new(format!("{section}:{}{}", style.eol, &*style.lines(name, fields)));
    insert_lines(text, text.len(), &entry, style)
}

/// The section is there and empty: `clients:`, `clients: ~`.
fn first_entry(
    text: &str,
    pair: &Pair<'_>,
    name: &str,
    fields: &[Field<'_>],
    style: &Style,
) -> Zeroizing<String> {
    if style.braces {
        let entry = Zeroizing::new(format!(" {{{}}}", &*braces(name, fields)));
        let (from, to) = (pair.node.span.first().max(after_colon(text, pair)), pair.node.span.last());
        return spliced(text, from, to.max(from), &entry);
    }
    replace_empty(text, pair, name, fields, style)
}

/// What stands for nothing after the colon goes; the first entry comes below, after comments that are indented there.
fn replace_empty(
    text: &str,
    pair: &Pair<'_>,
    name: &str,
    fields: &[Field<'_>],
    style: &Style,
) -> Zeroizing<String> {
    let colon = after_colon(text, pair);
    let nothing = pair.node.span.first() >= colon && pair.node.span.last() > pair.node.span.first();
    let gone = if nothing { pair.node.span.last() } else { colon };
    let without = spliced(text, colon, gone, "");
    let at = trailing(&without, line_end(&without, colon), column(&without, pair.at.first()));
    insert_lines(&without, at, &style.lines(name, fields), style)
}

fn one_more(
    text: &str,
    pair: &Pair<'_>,
    map: &Map<'_>,
    name: &str,
    fields: &[Field<'_>],
    style: &Style,
) -> Zeroizing<String> {
    match map.entries.last() {
        // `clients: {}`, as Go writes it.
        None if !style.braces => replace_empty(text, pair, name, fields, style),
        None => spliced(text, pair.node.span.first() + 1, pair.node.span.first() + 1, &braces(name, fields)),
        Some(_) if map.flow => into_braces(text, map, &braces(name, fields)),
        Some(last) => {
            let at = trailing(text, line_end(text, content_end(text, last)), column(text, last.at.first()));
            insert_lines(text, at, &style.lines(name, fields), style)
        }
    }
}

fn into_braces(text: &str, map: &Map<'_>, entry: &str) -> Zeroizing<String> {
    match map.entries.last() {
        Some(last) => {
            let at = content_end(text, last);
            spliced(text, at, at, &Zeroizing::new(format!(", {entry}")))
        }
        None => {
            let at = text.find('{').map_or(text.len(), |at| at + 1);
            spliced(text, at, at, entry)
        }
    }
}

/// Puts whole lines at the start of a line, or at the end of a text that may lack its last line break.
fn insert_lines(text: &str, at: usize, lines: &str, style: &Style) -> Zeroizing<String> {
    let broken = text.get(..at).is_some_and(|before| before.is_empty() || before.ends_with('\n'));
    if broken {
        return spliced(text, at, at, lines);
    }
    let lines = Zeroizing::new(format!("{}{}", style.eol, lines.trim_end_matches(['\r', '\n'])));
    spliced(text, at, at, &lines)
}

/// The lines of one entry: from its name's to the last that says anything, and the comments below that are indented
/// deeper than the name. The last entry leaves `{}` behind.
fn block_cut(text: &str, section: &Pair<'_>, map: &Map<'_>, index: usize) -> Zeroizing<String> {
    let Some(pair) = map.entries.get(index) else { return Zeroizing::new(text.to_owned()) };
    let from = line_start(text, pair.at.first());
    let to = trailing(text, line_end(text, content_end(text, pair)), column(text, pair.at.first()));
    let cut = spliced(text, from, to, "");
    if map.entries.len() > 1 {
        return cut;
    }
    let at = after_properties(text, after_colon(text, section));
    spliced(&cut, at, at, " {}")
}

/// One entry in braces, with the comma that it no longer needs.
fn flow_cut(text: &str, map: &Map<'_>, index: usize) -> Zeroizing<String> {
    let Some(pair) = map.entries.get(index) else { return Zeroizing::new(text.to_owned()) };
    let (from, to) = (pair.at.first(), content_end(text, pair));
    let comment = |from: usize, to: usize| text.get(from..to).is_some_and(|between| between.contains('#'));
    let comma = text.get(to..).and_then(|rest| rest.find(',')).map_or(to, |at| to + at + 1);
    let previous =
        index.checked_sub(1).and_then(|before| map.entries.get(before)).map(|pair| content_end(text, pair));
    match (map.entries.get(index + 1), previous) {
        (Some(next), _) if !comment(to, next.at.first()) => spliced(text, from, next.at.first(), ""),
        (Some(_), _) => spliced(text, from, comma, ""),
        (None, Some(previous)) if !comment(previous, from) => spliced(text, previous, to, ""),
        (None, _) if text.get(to..comma).is_some_and(|between| between.trim() == ",") => {
            spliced(text, from, comma, "")
        }
        (None, _) => spliced(text, from, to, ""),
    }
}

fn spliced(text: &str, from: usize, to: usize, new: &str) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::with_capacity(text.len() + new.len()));
    out.push_str(text.get(..from).unwrap_or(text));
    out.push_str(new);
    out.push_str(text.get(to..).unwrap_or(""));
    out
}

/// Where the last byte that says something of an entry ends.
fn content_end(text: &str, pair: &Pair<'_>) -> usize {
    let end = pair.node.span.last().max(pair.at.last());
    text.get(..end).map_or(end, |before| before.trim_end().len())
}

/// The byte behind the colon of a key.
fn after_colon(text: &str, pair: &Pair<'_>) -> usize {
    let end = pair.at.last();
    text.get(end..).and_then(|rest| rest.find(':')).map_or(end, |at| end + at + 1)
}

/// Behind the anchor and the tag that stand at `at`, where there are any.
fn after_properties(text: &str, at: usize) -> usize {
    let rest = text.get(at..).unwrap_or("");
    let next = rest.trim_start_matches([' ', '\t']);
    if !next.starts_with(['&', '!']) {
        return at;
    }
    let property = next.find(char::is_whitespace).unwrap_or(next.len());
    after_properties(text, at + rest.len() - next.len() + property)
}

fn line_start(text: &str, at: usize) -> usize {
    text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1)
}

/// The start of the next line.
fn line_end(text: &str, at: usize) -> usize {
    text.get(at..).and_then(|rest| rest.find('\n')).map_or(text.len(), |found| at + found + 1)
}

/// By how many blanks the line of `at` is indented: an anchor, or the mark at the file's start, may stand before a key.
fn column(text: &str, at: usize) -> usize {
    let line = text.get(line_start(text, at)..at).unwrap_or("");
    line.len() - line.trim_start_matches([' ', '\t']).len()
}

/// The column of a mapping's first key.
fn first_column(text: &str, map: &Map<'_>) -> Option<usize> {
    map.entries.first().map(|pair| column(text, pair.at.first()))
}

/// Walks on from the line start `at` over the comments that are indented deeper than `indent`; blank lines count when
/// such a comment follows them.
fn trailing(text: &str, at: usize, indent: usize) -> usize {
    let mut end = at;
    let mut here = at;
    while here < text.len() {
        let next = line_end(text, here);
        let line = text.get(here..next).unwrap_or("");
        let said = line.trim_start_matches([' ', '\t']);
        if said.starts_with('#') && line.len() - said.len() > indent {
            end = next;
        } else if !said.trim().is_empty() {
            break;
        }
        here = next;
    }
    end
}
