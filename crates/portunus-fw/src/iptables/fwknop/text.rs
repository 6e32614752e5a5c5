//! What goes into `iptables-restore`, given what stands. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use portunus_model::{ChainRow, Chains, Unix};

use super::super::runner::Table;
use super::chain::{Line, Saved, Shape, Wanted, shape};
use super::note::Note;
use super::rules::Rule;
use super::{rows, table_of};
use crate::walk::IpVersion;

/// What must be known to write the chains of one family anew.
pub(super) struct View<'a> {
    pub(super) chains: &'a Chains,
    pub(super) saved: &'a BTreeMap<Table, Saved<'a>>,
    /// Of which family.
    pub(super) version: IpVersion,
    /// In seconds since 1970.
    pub(super) now: i64,
    /// Whatever stood in the chains goes.
    pub(super) fresh: bool,
    /// Rules that must come first: chain and text.
    pub(super) cuts: BTreeSet<(String, String)>,
}

/// Every chain of ours anew, and the jumps that are missing; and what of rules is to be told.
pub(super) fn whole(view: &View<'_>, wanted: &mut Wanted) -> (String, Vec<Note>) {
    let mut notes = Vec::new();
    let mut text = String::new();
    for (table, saved) in view.saved {
        let rows: Vec<&ChainRow> = rows(view.chains).filter(|row| table_of(row) == Some(*table)).collect();
        if rows.is_empty() {
            continue;
        }
        text += &format!("*{}\n", table.as_str());
        let mut chains: Vec<&str> = Vec::new();
        for row in &rows {
            if !chains.contains(&row.chain.as_str()) {
                chains.push(&row.chain);
                text += &format!(":{} - [0:0]\n", row.chain);
            }
        }
        for chain in chains {
            text += &one_chain(view, *table, saved, chain, wanted, &mut notes);
        }
        let mut came: HashMap<&str, usize> = HashMap::new();
        for row in rows.iter().filter(|row| saved.jumps(row) == 0) {
            let more = came.entry(&row.from).or_default();
            // Behind the last rule there is one more place, and no other.
            let last = saved.of(&row.from).count() + *more + 1;
            let place = usize::try_from(row.jump).unwrap_or(usize::MAX).clamp(1, last);
            text += &format!("-I {} {place} -j {}\n", row.from, row.chain);
            let (from, chain) = (row.from.clone(), row.chain.clone());
            notes.push(Note::Jumped { from, chain, version: view.version });
            *more += 1;
        }
        text += "COMMIT\n";
    }
    (text, notes)
}

fn one_chain(
    view: &View<'_>,
    table: Table,
    saved: &Saved<'_>,
    chain: &str,
    wanted: &mut Wanted,
    notes: &mut Vec<Note>,
) -> String {
    let (mut head, mut body) = (String::new(), String::new());
    for (number, line) in (1..).zip(saved.of(chain)) {
        let over = line.end().filter(|end| *end <= view.now);
        if view.fresh {
            continue;
        }
        match wanted.take(line) {
            Some(text) if view.cuts.contains(&(chain.to_owned(), text.clone())) => head += &line.with(&text),
            Some(text) => body += &line.with(&text),
            None if over.is_some() || wanted.was_ours(line) => {
                let until = line.end().unwrap_or_default();
                notes.push(Note::Removed { chain: chain.to_owned(), number, until });
            }
            None => body += &line.again(),
        }
    }
    let mut new = String::new();
    for text in wanted.rest(table, chain) {
        let line = format!("[0:0] -A {chain} {text}\n");
        if view.cuts.contains(&(chain.to_owned(), text)) {
            head += &line;
        } else if view.chains.prepend {
            new = line + &new;
        } else {
            new += &line;
        }
    }
    if view.chains.prepend { head + &new + &body } else { head + &body + &new }
}

/// New rules, behind or before the others of their chains.
pub(super) fn appended(rules: &BTreeMap<Table, Vec<(String, String)>>, prepend: bool) -> String {
    let verb = if prepend { "-I" } else { "-A" };
    let mut text = String::new();
    for (table, rules) in rules {
        text += &format!("*{}\n", table.as_str());
        for (chain, rule) in rules {
            text += &format!("{verb} {chain} {rule}\n");
        }
        text += "COMMIT\n";
    }
    text
}

/// The first of these rules that does not stand, or the jump to its chain.
pub(super) fn not_there(saved: &str, rows: &[&ChainRow], rules: &[(String, String)]) -> Option<String> {
    // Mostly the tool prints what it was given.
    let lines: HashSet<&str> =
        saved.lines().map(|line| line.split_once("] ").map_or(line, |(_, rule)| rule)).collect();
    let is_used = |row: &&&ChainRow| rules.iter().any(|(chain, _)| *chain == row.chain);
    let mut jumps = rows.iter().filter(is_used).map(|row| format!("-A {} -j {}", row.from, row.chain));
    if let Some(gone) = jumps.find(|jump| !lines.contains(jump.as_str())) {
        return Some(gone);
    }
    let unseen: Vec<_> =
        rules.iter().filter(|(chain, rule)| !lines.contains(format!("-A {chain} {rule}").as_str())).collect();
    if unseen.is_empty() {
        return None;
    }
    let saved = Saved::read(saved);
    let there: HashSet<(Shape, Option<i64>)> =
        saved.lines.iter().map(|line| (line.shape(), line.end())).collect();
    let end = |rule: &str| rule.split("_exp_").nth(1)?.split(' ').next()?.parse::<i64>().ok();
    let gone = unseen.into_iter().find(|(chain, rule)| !there.contains(&(shape(chain, rule), end(rule))));
    gone.map(|(chain, rule)| format!("-A {chain} {rule}"))
}

/// Takes the chains away, with the jumps to them; `None` when there is nothing.
pub(super) fn removed(chains: &Chains, saved: &BTreeMap<Table, Saved<'_>>) -> Option<String> {
    let mut text = String::new();
    for (table, saved) in saved {
        let of_table = rows(chains).filter(|row| table_of(row) == Some(*table) && saved.has(&row.chain));
        let there: Vec<&ChainRow> = of_table.collect();
        if there.is_empty() {
            continue;
        }
        text += &format!("*{}\n", table.as_str());
        for row in &there {
            text += &format!("-D {} -j {}\n", row.from, row.chain).repeat(saved.jumps(row));
        }
        let mut chains: Vec<&str> = there.iter().map(|row| row.chain.as_str()).collect();
        chains.dedup();
        for chain in &chains {
            text += &format!("-F {chain}\n");
        }
        // A chain that somebody else's rule leads to cannot go, and is empty now.
        for row in there.iter().filter(|row| !saved.is_used_elsewhere(row)) {
            if let Some(place) = chains.iter().position(|chain| *chain == row.chain) {
                text += &format!("-X {}\n", row.chain);
                chains.remove(place);
            }
        }
        text += "COMMIT\n";
    }
    (!text.is_empty()).then_some(text)
}

/// The chains by name, to see whether they are others than before.
pub(super) fn names(chains: &Chains) -> Vec<(&str, &str, &str)> {
    rows(chains).map(|row| (row.table.as_str(), row.from.as_str(), row.chain.as_str())).collect()
}

/// Every rule that stands, each to be taken once.
pub(super) struct Stands(HashMap<(Shape, Option<i64>), usize>);

impl Stands {
    pub(super) fn of(saved: &BTreeMap<Table, Saved<'_>>) -> Self {
        let mut rules = HashMap::new();
        for line in saved.values().flat_map(|saved| &saved.lines) {
            *rules.entry(key(line)).or_default() += 1;
        }
        Self(rules)
    }

    pub(super) fn takes(&mut self, rule: &Rule<'_>, until: Unix, timed: bool) -> bool {
        let shape = shape(&rule.row.chain, &rule.text(until, timed));
        match self.0.get_mut(&(shape, Some(until.as_secs()))) {
            Some(left) if *left > 0 => {
                *left -= 1;
                true
            }
            Some(_) | None => false,
        }
    }
}

fn key(line: &Line<'_>) -> (Shape, Option<i64>) {
    (line.shape(), line.end())
}
