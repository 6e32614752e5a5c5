//! What of a ruleset is ours: how to strike it out, how to know it again, and hearing of others' changes.

use portunus_model::Place;
use portunus_sys::netlink::NetlinkSocket;

use super::message::{Batch, OURS, THERE, TableName};
use super::sets::PREFIX;
use super::talk::{failed, messages};
use crate::FirewallError;
use crate::place::{self, taken};
use crate::ruleset::{Base, Chain, Data, Expr, Held, Rule, RuleVerdict, Ruleset, Set, Table};
use crate::walk;

/// What the kernel's names of sets without one begin with.
const NAMELESS: &str = "__";

/// Announcements read at one look: the rest waits for the next, so that a tool that keeps reloading cannot hold us.
const MOST_HEARD: usize = 10_000;

/// `NFT_MSG_NEWSETELEM`, `NFT_MSG_DELSETELEM` with nf_tables' subsystem.
const ELEMENTS: [u16; 2] = [10 << 8 | 12, 10 << 8 | 14];

/// `NFT_MSG_NEW*` and `NFT_MSG_DEL*` of tables, chains, rules and sets.
const STRUCTURE: [u16; 8] = [0, 2, 3, 5, 6, 8, 9, 11];

/// Strikes everything of ours out of a ruleset, wherever it stands; whether there was anything.
pub(super) fn strike(ruleset: &Ruleset, batch: &mut Batch) -> bool {
    let mut found = false;
    for (table, name) in tables(ruleset) {
        if walk::is_our_table(table) {
            batch.delete_table(&name);
            found = true;
            continue;
        }
        for (chain, handle) in jumps(table) {
            batch.delete_rules(&name, chain, Some(handle));
            found = true;
        }
        let called = taken::caller(table).is_some();
        for chain in chains(table) {
            batch.delete_rules(&name, &chain.name, None);
            // What somebody else's rule jumps to cannot go.
            if !called {
                batch.delete_chain(&name, &chain.name);
            }
            found = true;
        }
        for set in sets(table) {
            batch.delete_set(&name, &set.name);
            found = true;
        }
    }
    found
}

/// Whether a rule of ours drops what has no grant. A drop of those whose addresses stand in a set of ours (who was cut
/// off, or has a way elsewhere) is no such thing; the ports of a guard stand in the rule or in a set without a name.
pub(super) fn guard(ruleset: &Ruleset) -> bool {
    let drops = |rule: &Rule| {
        let verdict = |expr: &Expr| {
            matches!(
                expr,
                Expr::Immediate { data: Data::Verdict(RuleVerdict::Drop), .. } | Expr::Reject { .. }
            )
        };
        let named = |expr: &Expr| matches!(expr, Expr::Lookup { set, .. } if !set.starts_with(NAMELESS));
        rule.exprs.iter().any(verdict) && !rule.exprs.iter().any(named)
    };
    tables(ruleset).any(|(table, _)| chains(table).flat_map(|chain| &chain.rules).any(drops))
}

/// What of ours stands, down to the handles: equal traces are an untouched structure.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Traces(Vec<Trace>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Trace {
    Table {
        name: TableName,
        dormant: bool,
    },
    Chain {
        name: TableName,
        chain: String,
        handle: u64,
        base: Option<Base>,
        rules: Vec<u64>,
    },
    Set {
        name: TableName,
        set: String,
    },
    /// A jump to ours, and whether it comes before the first drop.
    Jump {
        name: TableName,
        chain: String,
        handle: u64,
        early: bool,
    },
}

impl Traces {
    /// Ours, as it stands in this ruleset.
    pub(super) fn of(ruleset: &Ruleset) -> Self {
        let mut traces = Vec::new();
        for (table, name) in tables(ruleset) {
            if walk::is_our_table(table) || chains(table).next().is_some() {
                traces.push(Trace::Table { name: name.clone(), dormant: table.dormant });
            }
            for chain in chains(table) {
                let rules = chain.rules.iter().map(|rule| rule.handle).collect();
                let (base, handle, chain) = (chain.base.clone(), chain.handle, chain.name.clone());
                traces.push(Trace::Chain { name: name.clone(), chain, handle, base, rules });
            }
            for set in sets(table) {
                traces.push(Trace::Set { name: name.clone(), set: set.name.clone() });
            }
            for (chain, handle) in jumps(table) {
                let (early, chain) = (is_early(table, chain, handle), chain.to_owned());
                traces.push(Trace::Jump { name: name.clone(), chain, handle, early });
            }
        }
        Self(traces)
    }

    /// Whether all that a place needs is there: so many chains, and a jump for each seat.
    pub(super) fn are_complete(&self, place: &Place, wanted: usize) -> bool {
        let jumps = self.0.iter().filter(|trace| matches!(trace, Trace::Jump { early: true, .. })).count();
        let chains = self.0.iter().filter(|trace| matches!(trace, Trace::Chain { .. })).count();
        match place {
            Place::Own => chains == wanted && jumps == 0,
            Place::Attach(seats) => chains == wanted && jumps == seats.len(),
            Place::Iptables | Place::Fwknop(_) => false,
        }
    }
}

/// What the announcements told.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Heard {
    /// Somebody changed tables, chains, rules or sets: perhaps ours.
    pub(super) structure: bool,
    /// Somebody changed elements of ours; or announcements were lost, so that nobody knows.
    pub(super) our_elements: bool,
}

/// Takes the announcements that wait. Those of our own changes never come here.
pub(super) fn hear(announcements: &NetlinkSocket) -> Result<Heard, FirewallError> {
    const ENOBUFS: i32 = 105;
    let mut heard = Heard::default();
    let mut buffer = vec![0; 65_536];
    for _ in 0..MOST_HEARD {
        match announcements.receive(&mut buffer) {
            Ok(None) => break,
            Ok(Some(length)) => {
                let bytes = buffer.get(..length).unwrap_or_default();
                for message in messages(bytes) {
                    heard.structure |= STRUCTURE.iter().any(|kind| 10 << 8 | kind == message.kind);
                    heard.our_elements |= ELEMENTS.contains(&message.kind) && names_ours(message.body);
                }
            }
            Err(error) if error.raw_os_error() == Some(ENOBUFS) => {
                heard = Heard { structure: true, our_elements: true };
            }
            Err(error) => return Err(failed("hearing of changes of the firewall", &error)),
        }
    }
    Ok(heard)
}

/// Whether an announcement of elements is about a table or a set with our name.
fn names_ours(body: &[u8]) -> bool {
    body.windows(OURS.len()).any(|window| window == OURS.as_bytes())
}

/// The tables of nf_tables that we could stand in.
fn tables(ruleset: &Ruleset) -> impl Iterator<Item = (&Table, TableName)> {
    ruleset.tables.iter().filter(|table| table.held == Held::Nftables).filter_map(|table| {
        let family = table.family.seat()?;
        Some((table, TableName { family, name: table.name.clone() }))
    })
}

/// Our chains: all of our own table's, and those with our name and comment in one of the admin's.
fn chains(table: &Table) -> impl Iterator<Item = &Chain> {
    let own = walk::is_our_table(table);
    let there = |chain: &Chain| THERE.contains(&chain.name.as_str()) && walk::is_our_chain(chain);
    table.chains.iter().filter(move |chain| own || there(chain))
}

/// Our sets, in the same way.
fn sets(table: &Table) -> impl Iterator<Item = &Set> {
    let own = walk::is_our_table(table);
    table.sets.iter().filter(move |set| own || (set.name.starts_with(PREFIX) && taken::is_our_set(set)))
}

/// Every rule of ours that jumps to our chain: chain and handle.
fn jumps(table: &Table) -> impl Iterator<Item = (&str, u64)> {
    let ours = taken::jumps(table).filter(|(_, rule)| taken::is_our_rule(rule));
    ours.map(|(chain, rule)| (chain.name.as_str(), rule.handle))
}

fn is_early(table: &Table, chain: &str, jump: u64) -> bool {
    let Some(chain) = table.chain(chain) else { return false };
    let place_of = |handle| chain.rules.iter().position(|rule| rule.handle == handle);
    match (place_of(jump), place::first_drop(table, chain).and_then(place_of)) {
        (Some(jump), Some(drop)) => jump < drop,
        (Some(_), None) => true,
        (None, _) => false,
    }
}
