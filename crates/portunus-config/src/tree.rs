//! A file as a tree of values that know where they stand: the one shape that both TOML and YAML are read into, so that
//! everything above is written once. It borrows the text.

use std::borrow::Cow;

/// Bytes `start..end` of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Span {
    pub(crate) fn new(start: usize, end: usize) -> Self {
        let cut = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Self { start: cut(start), end: cut(end) }
    }

    pub(crate) fn first(self) -> usize {
        self.start as usize
    }

    pub(crate) fn last(self) -> usize {
        self.end as usize
    }
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Node<'t> {
    pub(crate) span: Span,
    pub(crate) value: Value<'t>,
}

#[derive(Debug, Clone)]
pub(crate) enum Value<'t> {
    /// YAML's nothing.
    Null,
    Scalar(Cow<'t, str>, Kind),
    List(Vec<Node<'t>>),
    Map(Map<'t>),
}

/// What a scalar was written as. YAML's scalars are words: what they mean is the reader's question, as in Go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Word,
    Text,
    Integer,
    Float,
    Boolean,
    Date,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Map<'t> {
    /// Written in braces on the value's own lines, not as lines of its own.
    pub(crate) flow: bool,
    /// In the file's order; no key twice.
    pub(crate) entries: Vec<Pair<'t>>,
}

#[derive(Debug, Clone)]
pub(crate) struct Pair<'t> {
    pub(crate) key: Cow<'t, str>,
    pub(crate) at: Span,
    pub(crate) node: Node<'t>,
}

impl<'t> Map<'t> {
    pub(crate) fn get(&self, key: &str) -> Option<&Pair<'t>> {
        self.entries.iter().find(|pair| pair.key == key)
    }
}

impl<'t> Node<'t> {
    pub(crate) fn as_map(&self) -> Option<&Map<'t>> {
        match &self.value {
            Value::Map(map) => Some(map),
            Value::Null | Value::Scalar(..) | Value::List(_) => None,
        }
    }

    /// Whether both say the same, wherever and however they are written. Order counts: it is what a file shows.
    pub(crate) fn same(&self, other: &Self) -> bool {
        match (&self.value, &other.value) {
            (Value::Null, Value::Null) => true,
            (Value::Scalar(a, x), Value::Scalar(b, y)) => a == b && x == y,
            (Value::List(a), Value::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same(b)),
            (Value::Map(a), Value::Map(b)) => same_pairs(&a.entries, &b.entries),
            (Value::Null | Value::Scalar(..) | Value::List(_) | Value::Map(_), _) => false,
        }
    }
}

/// Whether two runs of pairs say the same.
pub(crate) fn same_pairs(a: &[Pair<'_>], b: &[Pair<'_>]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.key == b.key && a.node.same(&b.node))
}
