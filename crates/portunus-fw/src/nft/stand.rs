//! A table that we stand in, and the messages that put us there.

use std::collections::BTreeMap;
use std::time::Duration;

use portunus_model::{Family, Place};

use super::message::{Batch, CUT_CHAIN, OURS, TableName};
use super::plan::{self, Host, Keys, Meaning, TablePlan, Version};
use crate::{Element, Structure};

/// Our base chain in our own table.
const INPUT: &str = "input";

/// Keys and timeouts (in milliseconds) of the elements of one set.
pub(super) type Keyed = Vec<(Vec<u8>, Option<u64>)>;

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

    /// The set of an element.
    pub(super) fn set_of(&self, element: &Element, meaning: Meaning) -> String {
        plan::set_of(element, meaning, self.host.prefix())
    }

    /// The elements that this table sees, by their set.
    pub(super) fn by_set(
        &self,
        meaning: Meaning,
        elements: &[(Element, Duration)],
    ) -> BTreeMap<String, Keyed> {
        let mut sets: BTreeMap<String, Keyed> = BTreeMap::new();
        for (element, lasting) in elements.iter().filter(|(element, _)| self.sees(element)) {
            // A timeout of 0 would be no timeout at all.
            let milliseconds = u64::try_from(lasting.as_millis()).unwrap_or(u64::MAX).max(1);
            let set = sets.entry(self.set_of(element, meaning)).or_default();
            set.push((plan::key_of(element), Some(milliseconds)));
        }
        sets
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
