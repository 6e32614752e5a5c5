//! Names that we need and somebody else has: what lacks our comment is not ours, whatever it is called.

use portunus_model::Place;

use super::seated;
use crate::nft::{self, OURS, THERE};
use crate::ruleset::{Chain, Data, Expr, Rule, RuleVerdict, Ruleset, Set, Table, TableFamily};
use crate::walk;

/// Something of somebody else's in our way. Nothing of it is touched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Taken {
    /// A table.
    #[error(
        "table inet portunus is not ours (it lacks our comment \"portunus\"), and we need its name: rename it"
    )]
    Table,
    /// A chain in a table that we are to stand in.
    #[error(
        "chain {chain} in table {family} {table} is not ours (it lacks our comment \"portunus\"), and we need its name: rename it"
    )]
    Chain {
        /// The table's family.
        family: TableFamily,
        /// The table.
        table: String,
        /// The chain.
        chain: String,
    },
    /// A set or a map there.
    #[error(
        "set {set} in table {family} {table} is not ours (it lacks our comment \"portunus\"), and we need its name: rename it"
    )]
    Set {
        /// The table's family.
        family: TableFamily,
        /// The table.
        table: String,
        /// The set.
        set: String,
    },
    /// A rule that uses a chain of ours.
    #[error(
        "rule `{words}` (handle {handle}) in table {family} {table}, chain {chain} is not ours (it lacks our comment \"portunus\"), and leads to our chain: delete it (`nft delete rule {family} {table} {chain} handle {handle}`)"
    )]
    Rule {
        /// The table's family.
        family: TableFamily,
        /// The table.
        table: String,
        /// The chain that it stands in.
        chain: String,
        /// Its handle.
        handle: u64,
        /// In nft's words.
        words: String,
    },
}

/// What is in the way of standing in this place, as far as that can be told before our sets are named.
pub(super) fn at(ruleset: &Ruleset, place: &Place) -> Vec<Taken> {
    let mut found: Vec<Taken> = match place {
        Place::Own | Place::Attach(_) => own_table(ruleset).into_iter().collect(),
        Place::Iptables | Place::Fwknop(_) => return Vec::new(),
    };
    let Place::Attach(seats) = place else { return found };
    for (table, chain) in seats.iter().filter_map(|seat| seated(ruleset, seat)) {
        let name = nft::chain_for(chain.base.as_ref().map(|base| base.hook));
        found.extend(chain_in(table, name));
        found.extend(caller(table));
    }
    found
}

/// A table of somebody else's with the name of ours.
pub(crate) fn own_table(ruleset: &Ruleset) -> Option<Taken> {
    let table = ruleset.table(TableFamily::Inet, OURS)?;
    (!walk::is_our_table(table)).then_some(Taken::Table)
}

/// A chain of somebody else's with this name.
pub(crate) fn chain_in(table: &Table, name: &str) -> Option<Taken> {
    let chain = table.chain(name).filter(|chain| !walk::is_our_chain(chain))?;
    Some(Taken::Chain { family: table.family, table: table.name.clone(), chain: chain.name.clone() })
}

/// A set of somebody else's with this name.
pub(crate) fn set_in(table: &Table, name: &str) -> Option<Taken> {
    let set = table.set(name).filter(|set| !is_our_set(set))?;
    Some(Taken::Set { family: table.family, table: table.name.clone(), set: set.name.clone() })
}

/// A rule of somebody else's that leads to a chain of ours.
pub(crate) fn caller(table: &Table) -> Option<Taken> {
    let (chain, rule) = jumps(table).find(|(_, rule)| !is_our_rule(rule))?;
    Some(Taken::Rule {
        family: table.family,
        table: table.name.clone(),
        chain: chain.name.clone(),
        handle: rule.handle,
        words: rule.words(table),
    })
}

/// Every rule in a table of the admin's that leads to a chain of ours, with the chain that it stands in.
pub(crate) fn jumps(table: &Table) -> impl Iterator<Item = (&Chain, &Rule)> {
    let ours =
        |name: &String| THERE.contains(&name.as_str()) && table.chain(name).is_some_and(walk::is_our_chain);
    let to_us = move |expr: &Expr| {
        matches!(
            expr,
            Expr::Immediate { data: Data::Verdict(RuleVerdict::Jump(to) | RuleVerdict::Goto(to)), .. } if ours(to)
        )
    };
    let rules = table.chains.iter().flat_map(|chain| chain.rules.iter().map(move |rule| (chain, rule)));
    rules.filter(move |(_, rule)| rule.exprs.iter().any(&to_us))
}

pub(crate) fn is_our_rule(rule: &Rule) -> bool {
    rule.comment.as_deref().is_some_and(walk::is_ours)
}

pub(crate) fn is_our_set(set: &Set) -> bool {
    set.comment.as_deref().is_some_and(walk::is_ours)
}
