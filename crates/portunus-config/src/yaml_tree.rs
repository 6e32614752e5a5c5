//! YAML text to a [`Node`]. Aliases and merge keys are followed, as Go's reader does; a bound on the whole stops a
//! file that grows from a few lines into millions of nodes.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use granit_parser::{Event, Parser, ScalarStyle, ScanError, StructureStyle};

use crate::source::{Findings, Source};
use crate::tree::{Kind, Map, Node, Pair, Span, Value};

/// The most nodes that aliases may add.
const MOST_COPIES: usize = 100_000;

/// Reads the one document of a file; `None` when it is none, which `findings` then says. An empty file is `Null`.
pub(crate) fn parse<'t>(source: &Source<'t>, findings: &mut Findings) -> Option<Node<'t>> {
    let text = source.text.strip_prefix('\u{feff}').unwrap_or(source.text);
    let shift = source.text.len() - text.len();
    let mut builder =
        Builder { source, findings, ids: HashMap::new(), copies: 0, root: None, open: Vec::new() };
    for event in Parser::new_from_str(text) {
        match event {
            Ok((event, span)) => {
                let at = Span::new(offset(span.start) + shift, offset(span.end) + shift);
                builder.take(event, at)?;
            }
            Err(error) => {
                say(source, builder.findings, &error, shift);
                return None;
            }
        }
    }
    let whole = Span::new(0, source.text.len());
    Some(builder.root.unwrap_or(Node { span: whole, value: Value::Null }))
}

fn offset(marker: granit_parser::Marker) -> usize {
    marker.byte_offset().unwrap_or_default()
}

fn say(source: &Source<'_>, findings: &mut Findings, error: &ScanError, shift: usize) {
    let at = offset(*error.marker()) + shift;
    let (line, _) = source.position(at);
    let whole_line = source.text.lines().nth(line.saturating_sub(1) as usize).unwrap_or("");
    let blank = whole_line.len() - whole_line.trim_start().len();
    if whole_line.get(..blank).is_some_and(|lead| lead.contains('\t')) {
        findings.error(
            source,
            Span::new(at, at),
            "a tab indents this line",
            "use blanks: YAML takes no tabs there",
        );
        return;
    }
    let said = error.kind().to_string();
    findings.error(
        source,
        Span::new(at, at),
        format!("this is not YAML: {}", said.lines().next().unwrap_or_default()),
        "look at the indentation, colons and quotes around here",
    );
}

/// A list or mapping that is not closed yet.
struct Open<'t> {
    start: Span,
    flow: bool,
    anchor: usize,
    value: Value<'t>,
    key: Option<Key<'t>>,
    /// The keys that are written here, once there are many of them.
    seen: HashSet<Cow<'t, str>>,
    /// How many entries came by a merge key: those may be written over.
    merged: usize,
}

struct Key<'t> {
    text: Cow<'t, str>,
    at: Span,
    /// It stood here before, which was said: its value goes nowhere.
    again: bool,
}

struct Builder<'s, 'f, 't> {
    source: &'s Source<'t>,
    findings: &'f mut Findings,
    ids: HashMap<usize, Node<'t>>,
    copies: usize,
    root: Option<Node<'t>>,
    open: Vec<Open<'t>>,
}

impl<'t> Builder<'_, '_, 't> {
    /// `None` stops the reading; what is wrong was said.
    fn take(&mut self, event: Event<'t>, at: Span) -> Option<()> {
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let nothing = matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let plain = style == ScalarStyle::Plain;
                let value = if plain && nothing { Value::Null } else { Value::Scalar(text, Kind::Word) };
                self.put(Node { span: at, value }, anchor)
            }
            Event::SequenceStart(style, anchor, _) => {
                self.push(at, style, anchor, Value::List(Vec::new()));
                Some(())
            }
            Event::MappingStart(style, anchor, _) => {
                let flow = style == StructureStyle::Flow;
                self.push(at, style, anchor, Value::Map(Map { flow, entries: Vec::new() }));
                Some(())
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(at),
            Event::Alias(id) => self.copy(id, at),
            Event::DocumentStart(..) if self.root.is_some() => {
                self.findings.error(
                    self.source,
                    at,
                    "a second document begins here",
                    "keep one: nothing reads this one",
                );
                None
            }
            Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(..)
            | Event::DocumentEnd
            | Event::Anchor(..)
            | Event::UnresolvedAlias(_)
            // The list is open: what comes later is presentation, as anchors and comments are.
            | _ => Some(()),
        }
    }

    fn push(&mut self, start: Span, style: StructureStyle, anchor: usize, value: Value<'t>) {
        let flow = style == StructureStyle::Flow;
        self.open.push(Open { start, flow, anchor, value, key: None, seen: HashSet::new(), merged: 0 });
    }

    /// In braces a value ends where they close; in lines it ends where its last part ends, not where the next key is
    /// found to begin.
    fn close(&mut self, at: Span) -> Option<()> {
        let mut done = self.open.pop()?;
        // The readers of 10,000 clients keep 10,000 of these: no spare room.
        match &mut done.value {
            Value::List(items) => items.shrink_to_fit(),
            Value::Map(map) => map.entries.shrink_to_fit(),
            Value::Null | Value::Scalar(..) => {}
        }
        let last = match &done.value {
            Value::List(items) => items.last().map(|item| item.span.end),
            Value::Map(map) => map.entries.last().map(|pair| pair.node.span.end.max(pair.at.end)),
            Value::Null | Value::Scalar(..) => None,
        };
        let end = if done.flow { at.end } else { last.unwrap_or(done.start.start) };
        self.put(Node { span: Span { start: done.start.start, end }, value: done.value }, done.anchor)
    }

    fn copy(&mut self, id: usize, at: Span) -> Option<()> {
        let Some(node) = self.ids.get(&id).cloned() else {
            self.findings.error(
                self.source,
                at,
                "an alias stands inside what it names",
                "write the value out",
            );
            return None;
        };
        self.copies += count(&node);
        if self.copies > MOST_COPIES {
            self.findings.error(
                self.source,
                at,
                "the aliases here grow without bound",
                "write the values out",
            );
            return None;
        }
        self.put(Node { span: at, value: node.value }, 0)
    }

    fn put(&mut self, mut node: Node<'t>, anchor: usize) -> Option<()> {
        if anchor != 0 {
            self.ids.insert(anchor, node.clone());
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Some(());
        };
        // Nothing at all stands right behind its key, not where the reader noticed that nothing came.
        if let (Value::Null, Some(key)) = (&node.value, &open.key)
            && node.span.start == node.span.end
        {
            node.span = Span { start: key.at.end, end: key.at.end };
        }
        match &mut open.value {
            Value::List(items) => items.push(node),
            Value::Map(map) => match open.key.take() {
                None => return self.key(node),
                Some(key) if key.again => {}
                Some(key) if key.text == "<<" => open.merged += merge(map, node),
                Some(key) => write(map, open.merged, Pair { key: key.text, at: key.at, node }),
            },
            Value::Null | Value::Scalar(..) => {}
        }
        Some(())
    }

    fn key(&mut self, node: Node<'t>) -> Option<()> {
        let at = node.span;
        let key = match node.value {
            Value::Scalar(text, _) => text,
            Value::Null => Cow::Borrowed(self.source.text.get(at.first()..at.last()).unwrap_or("")),
            Value::List(_) | Value::Map(_) => {
                self.findings.error(
                    self.source,
                    at,
                    "a list or mapping stands where a key should",
                    "write a name there",
                );
                return None;
            }
        };
        let open = self.open.last_mut()?;
        let before = open.written_before(&key);
        let again = before.is_some();
        if let Some(first) = before {
            let (line, _) = self.source.position(first.first());
            let what = format!("{key:?} stands twice, first on line {line}");
            self.findings.error(self.source, at, what, "keep one of them");
        }
        open.key = Some(Key { text: key, at, again });
        Some(())
    }
}

impl<'t> Open<'t> {
    /// Where `key` was written in this mapping before, if it was. A set takes over from the walk where mappings get
    /// long: 10,000 clients are one mapping.
    #[expect(
        clippy::ptr_arg,
        reason = "what it keeps must live as long as the text, which a &str of the Cow does not"
    )]
    fn written_before(&mut self, key: &Cow<'t, str>) -> Option<Span> {
        const LONG: usize = 16;
        let Value::Map(map) = &self.value else { return None };
        if self.merged == 0 && map.entries.len() >= LONG {
            if self.seen.is_empty() {
                self.seen.extend(map.entries.iter().map(|pair| pair.key.clone()));
            }
            if self.seen.insert(key.clone()) {
                return None;
            }
        }
        map.entries.iter().skip(self.merged).find(|pair| pair.key == *key).map(|pair| pair.at)
    }
}

/// Follows `<<: *other`: what is written here already stays. The merged entries come first; says how many.
fn merge<'t>(map: &mut Map<'t>, node: Node<'t>) -> usize {
    match node.value {
        Value::Map(other) => {
            let new: Vec<_> = other.entries.into_iter().filter(|pair| map.get(&pair.key).is_none()).collect();
            let count = new.len();
            map.entries.splice(0..0, new);
            count
        }
        Value::List(items) => items.into_iter().map(|item| merge(map, item)).sum(),
        Value::Null | Value::Scalar(..) => 0,
    }
}

/// Adds what is written, over what was merged.
fn write<'t>(map: &mut Map<'t>, merged: usize, pair: Pair<'t>) {
    match map.entries.iter_mut().take(merged).find(|known| known.key == pair.key) {
        Some(known) => *known = pair,
        None => map.entries.push(pair),
    }
}

fn count(node: &Node<'_>) -> usize {
    1 + match &node.value {
        Value::Null | Value::Scalar(..) => 0,
        Value::List(items) => items.iter().map(count).sum(),
        Value::Map(map) => map.entries.iter().map(|pair| count(&pair.node)).sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn said(text: &str) -> Vec<String> {
        let mut findings = Findings::default();
        let _ = parse(&Source::new(Path::new("c.yaml"), text), &mut findings);
        findings.verdict().err().unwrap_or_default().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn knows_where_everything_stands() {
        let text =
            "\u{feff}# Jörg\r\nserver:\r\n    host: \"ö.example\"   # here\r\nclients: {a: [x, y]}\r\n";
        let source = Source::new(Path::new("c.yaml"), text);
        let node = parse(&source, &mut Findings::default()).unwrap();
        let map = node.as_map().unwrap();
        let host =
            map.get("server").and_then(|pair| pair.node.as_map()).and_then(|map| map.get("host")).unwrap();
        assert_eq!(&text[host.node.span.first()..host.node.span.last()], "\"ö.example\"");
        assert_eq!(source.position(host.at.first()), (3, 5));
        let clients = map.get("clients").unwrap();
        assert_eq!(&text[clients.node.span.first()..clients.node.span.last()], "{a: [x, y]}");
        assert!(clients.node.as_map().unwrap().flow);
    }

    #[test]
    fn follows_aliases_and_merge_keys() {
        let text = "base: &b {x: 1, y: 2}\na:\n  <<: *b\n  y: 3\nc:\n  y: 4\n  <<: *b\nd: *b\n";
        let source = Source::new(Path::new("c.yaml"), text);
        let node = parse(&source, &mut Findings::default()).unwrap();
        let get = |outer: &str, inner: &str| {
            let map = node.as_map().unwrap().get(outer).unwrap().node.as_map().unwrap();
            let Value::Scalar(text, _) = &map.get(inner).unwrap().node.value else { panic!("a scalar") };
            text.to_string()
        };
        assert_eq!((get("a", "x"), get("a", "y")), ("1".into(), "3".into()));
        assert_eq!((get("c", "x"), get("c", "y")), ("1".into(), "4".into()));
        assert_eq!(get("d", "y"), "2");
    }

    #[test]
    fn says_where_it_is_no_yaml() {
        assert_eq!(
            said("a: 1\nb: 2\na: 3\n"),
            ["c.yaml:3:1: \"a\" stands twice, first on line 1: keep one of them"]
        );
        assert_eq!(
            said("server:\n\thost: x\n"),
            ["c.yaml:2:2: a tab indents this line: use blanks: YAML takes no tabs there"]
        );
        assert_eq!(
            said("a: 1\n---\nb: 2\n"),
            ["c.yaml:2:1: a second document begins here: keep one: nothing reads this one"]
        );
        assert!(said("a: [1\n")[0].contains("this is not YAML"), "{:?}", said("a: [1\n"));
        assert!(said("a: \"1\n")[0].contains("this is not YAML"));
        assert!(said("a: *nobody\n")[0].contains("this is not YAML"));
        assert!(!said("a: &x [*x]\n").is_empty());
    }

    #[test]
    fn a_laughing_file_is_stopped() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for i in 1..9 {
            let row = vec![format!("*a{}", i - 1); 10].join(", ");
            text.push_str(&format!("a{i}: &a{i} [{row}]\n"));
        }
        assert_eq!(
            said(&text).iter().map(|line| line.split(": ").skip(1).collect::<String>()).collect::<Vec<_>>(),
            ["the aliases here grow without boundwrite the values out"]
        );
    }

    #[test]
    fn many_keys_are_still_each_looked_at() {
        let mut text: String = (0..100).map(|i| format!("k{i}: 1\n")).collect();
        text.push_str("k50: 2\nk99: 2\n");
        assert_eq!(
            said(&text),
            [
                "c.yaml:101:1: \"k50\" stands twice, first on line 51: keep one of them",
                "c.yaml:102:1: \"k99\" stands twice, first on line 100: keep one of them"
            ]
        );
    }
}
