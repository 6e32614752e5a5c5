//! A table that we stand in, and the messages that put us there.

use portunus_model::{Family, Place};

use super::message::{Batch, CUT_CHAIN, OURS, TableName};
use super::plan::{self, Host, Key, Keys, Meaning, TablePlan, Version};
use crate::{Change, Element, Structure};

/// Our base chain in our own table.
const INPUT: &str = "input";

/// A change as it is said to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Keyed {
    pub(super) key: Key,
    /// For so long.
    pub(super) milliseconds: u64,
    /// Whether it is to be there afterwards.
    pub(super) opens: bool,
    /// Whether one add is enough for that.
    pub(super) sure: bool,
    /// Its place among the changes.
    pub(super) place: usize,
}

/// One table.
#[derive(Debug, Clone)]
pub(super) struct Stand {
    pub(super) table: TableName,
    pub(super) plan: TablePlan,
    host: Host,
}

impl Stand {
    /// The tables that we stand in: our own, or each of the admin's that has a seat.
    pub(super) fn all(structure: &Structure) -> Vec<Self> {
        let stand = |family, name: &str, host| Self {
            table: TableName { family, name: name.to_owned() },
            plan: plan::table(structure, family, host),
            host,
        };
        match &structure.stance.place {
            Place::Own => vec![stand(Family::Inet, OURS, Host::Us)],
            Place::Attach(seats) => {
                let mut tables: Vec<_> =
                    seats.iter().map(|seat| (seat.family, seat.table.as_str())).collect();
                tables.sort_unstable();
                tables.dedup();
                tables.into_iter().map(|(family, name)| stand(family, name, Host::Admin)).collect()
            }
            Place::Iptables | Place::Fwknop(_) => Vec::new(),
        }
    }

    /// Sets, chain and rules.
    pub(super) fn write(&self, batch: &mut Batch, structure: &Structure) {
        let chain = match self.host {
            Host::Us => {
                batch.new_table(&self.table);
                batch.new_base_chain(&self.table, INPUT);
                INPUT
            }
            Host::Admin => {
                batch.new_base_chain(&self.table, CUT_CHAIN);
                batch.new_chain(&self.table, OURS);
                OURS
            }
        };
        // What has expired takes room until the kernel sweeps it out, once a second: a full set must be able to expire
        // and be filled again within that time. Who counts grants is the grantor.
        let size = structure.most_open.saturating_mul(2).saturating_add(64);
        for set in self.plan.sets.iter().chain(&self.plan.cut_sets) {
            batch.new_set(&self.table, set, size);
            if set.keys == Keys::Interfaces {
                let names: Vec<_> = structure.stance.interfaces.iter().map(|name| padded(name)).collect();
                batch.new_elements(&self.table, &set.name, names.iter().map(|name| (name.as_slice(), None)));
            }
        }
        for rule in &self.plan.first {
            batch.new_rule(&self.table, CUT_CHAIN, rule, None);
        }
        for rule in &self.plan.rules {
            batch.new_rule(&self.table, chain, rule, None);
        }
    }

    /// Whether packets from this element's address come to this table.
    pub(super) fn sees(&self, element: &Element) -> bool {
        plan::versions(self.table.family).contains(&Version::of(element.address))
    }

    /// The changes of elements that this table sees, by their set. `sure` says of which one add is enough to open them.
    pub(super) fn by_set(
        &self,
        meaning: Meaning,
        changes: impl Iterator<Item = Change>,
        sure: impl Fn(&Element) -> bool,
    ) -> Vec<(&str, Vec<Keyed>)> {
        let mut sets: Vec<(&str, Vec<Keyed>)> = Vec::new();
        for (place, change) in changes.enumerate() {
            let element = change.element();
            let Some(set) = self.plan.set_of(&element, meaning).filter(|_| self.sees(&element)) else {
                continue;
            };
            let keyed = keyed(place, &change, &sure);
            match sets.iter_mut().find(|(name, _)| *name == set) {
                Some((_, elements)) => elements.push(keyed),
                None => sets.push((set, vec![keyed])),
            }
        }
        sets
    }
}

fn keyed(place: usize, change: &Change, sure: impl Fn(&Element) -> bool) -> Keyed {
    let key = Key::of(&change.element());
    match change {
        Change::Open(element, lasting) => {
            // A timeout of 0 would be no timeout at all.
            let milliseconds = u64::try_from(lasting.as_millis()).unwrap_or(u64::MAX).max(1);
            Keyed { key, milliseconds, opens: true, sure: sure(element), place }
        }
        // Any timeout does: it is deleted in the same transaction.
        Change::Close(_) => Keyed { key, milliseconds: 1000, opens: false, sure: false, place },
    }
}

/// An interface's name as the kernel compares it: sixteen bytes (`IFNAMSIZ`).
fn padded(name: &str) -> [u8; 16] {
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(name.bytes().take(15)) {
        *to = from;
    }
    bytes
}
