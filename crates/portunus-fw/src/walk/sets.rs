//! Looking for a register's bytes in a set: hash sets, intervals, concatenations, the catch-all.

use super::value::{Byte, Tri, equal, order, within};
use crate::ruleset::{Set, SetElement};

/// What a lookup can find.
pub(super) struct Found<'s> {
    /// Every element that it can be; more than one when we do not know the key.
    pub(super) elements: Vec<&'s SetElement>,
    /// Whether it is found.
    pub(super) is: Tri,
}

/// Looks for `key` in `set`.
pub(super) fn find<'s>(set: &'s Set, key: &[Byte]) -> Found<'s> {
    if set.unread {
        return Found { elements: Vec::new(), is: Tri::Maybe };
    }
    let joined = set.elements.iter().any(|e| e.key_end.is_some());
    let found = if set.interval && !joined { by_bounds(set, key) } else { one_by_one(set, key) };
    with_catch_all(set, found)
}

fn one_by_one<'s>(set: &'s Set, key: &[Byte]) -> Found<'s> {
    let mut elements = Vec::new();
    for element in set.elements.iter().filter(|e| !e.catch_all && !e.interval_end) {
        match holds(set, element, key) {
            Tri::Yes => return Found { elements: vec![element], is: Tri::Yes },
            Tri::Maybe => elements.push(element),
            Tri::No => {}
        }
    }
    let is = if elements.is_empty() { Tri::No } else { Tri::Maybe };
    Found { elements, is }
}

/// Each field of a concatenation lies in its own interval.
fn holds(set: &Set, element: &SetElement, key: &[Byte]) -> Tri {
    let Some(key_end) = &element.key_end else { return equal(key, &element.key) };
    let whole = [u32::try_from(element.key.len()).unwrap_or(0)];
    let fields = if set.fields.is_empty() { &whole[..] } else { &set.fields };
    let mut at = 0;
    let mut all = Tri::Yes;
    for &len in fields {
        let range = at..at + len as usize;
        at = range.end;
        let (Some(key), Some(from), Some(to)) =
            (key.get(range.clone()), element.key.get(range.clone()), key_end.get(range))
        else {
            return Tri::Maybe;
        };
        // The padding behind a field of odd length is zero on both sides.
        all = all.and(if from == to { equal(key, from) } else { within(key, from, to) });
    }
    all
}

/// Intervals that come as two elements each: where one begins, and where it has ended.
fn by_bounds<'s>(set: &'s Set, key: &[Byte]) -> Found<'s> {
    let mut bounds: Vec<&SetElement> = set.elements.iter().filter(|e| !e.catch_all).collect();
    // At the same key an end comes first: the next interval begins there.
    bounds.sort_by(|a, b| a.key.cmp(&b.key).then(b.interval_end.cmp(&a.interval_end)));
    let certain = key.iter().all(|b| matches!(b, Byte::Known(_)));
    if certain {
        let last = bounds.iter().rev().find(|e| order(key, &e.key).is_some_and(std::cmp::Ordering::is_ge));
        return match last {
            Some(element) if !element.interval_end => Found { elements: vec![element], is: Tri::Yes },
            Some(_) | None => Found { elements: Vec::new(), is: Tri::No },
        };
    }
    let begins: Vec<&SetElement> = bounds.iter().copied().filter(|e| !e.interval_end).collect();
    let everything = matches!(begins.as_slice(), [one] if one.key.iter().all(|&b| b == 0))
        && !bounds.iter().any(|e| e.interval_end && e.key.iter().any(|&b| b != 0));
    let is = match key.contains(&Byte::Outside) {
        _ if begins.is_empty() => Tri::No,
        _ if everything => Tri::Yes,
        true => Tri::No,
        false => Tri::Maybe,
    };
    Found { elements: if is == Tri::No { Vec::new() } else { begins }, is }
}

fn with_catch_all<'s>(set: &'s Set, mut found: Found<'s>) -> Found<'s> {
    let catch_all = set.elements.iter().find(|e| e.catch_all);
    if let Some(element) = catch_all.filter(|_| found.is != Tri::Yes) {
        found.elements.push(element);
        found.is = Tri::Yes;
    }
    found
}
