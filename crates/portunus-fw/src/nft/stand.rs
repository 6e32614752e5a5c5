//! A table that we stand in, and the messages that put us there.

use std::collections::BTreeMap;
use std::time::Instant;

use portunus_model::{Family, Proto, Seat};

use super::keys::{self, Bytes, Meaning, Placed, Role};
use super::message::{Batch, OURS, One, TableName};
use super::plan::{self, TablePlan, Ways};
use super::sets::{self, Host, SetPlan, Version};
use crate::place::{Taken, taken};
use crate::ruleset::{Chain, Hook, Ruleset, Table};
use crate::{Change, Element, Structure};

/// A change as it is said to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Keyed {
    pub(super) key: Bytes,
    /// What a map gives for it; empty in a set.
    pub(super) value: Bytes,
    /// For so long.
    pub(super) milliseconds: u64,
    /// Whether it is to be there afterwards.
    pub(super) opens: bool,
    /// Whether one add is enough for that.
    pub(super) sure: bool,
    /// Its place among the changes.
    pub(super) place: usize,
}

impl Keyed {
    /// With its end; `named`: with what is left of it too.
    pub(super) fn on_its_way(&self, named: bool) -> One<'_> {
        let (key, value) = (self.key.as_bytes(), self.value.as_bytes());
        One { key, value, timeout: Some(self.milliseconds), named }
    }

    pub(super) fn is_mapped(&self) -> bool {
        !self.value.as_bytes().is_empty()
    }
}

/// One table.
#[derive(Debug, Clone)]
pub(super) struct Stand {
    pub(super) table: TableName,
    pub(super) plan: TablePlan,
}

impl Stand {
    /// The tables that we stand in: our own, which drops wherever else we are, and each of the admin's that has a seat.
    /// What a seat is about the hook of its chain says.
    pub(super) fn all(structure: &Structure, seats: &[(&Seat, &Table, &Chain)]) -> Vec<Self> {
        if structure.stance.place.is_of_iptables() {
            return Vec::new();
        }
        let sent_on = !structure.stance.sent_on.is_empty();
        let mut theirs: BTreeMap<(Family, &str), Ways> = BTreeMap::new();
        for (seat, _, chain) in seats {
            let ways = theirs.entry((seat.family, seat.table.as_str())).or_default();
            match chain.base.as_ref().map_or(Hook::Input, |base| base.hook) {
                Hook::Forward => (ways.through, ways.sent_on) = (true, sent_on),
                Hook::Output => ways.output = true,
                Hook::Input
                | Hook::Ingress
                | Hook::Prerouting
                | Hook::Postrouting
                | Hook::Egress
                | Hook::Other(_) => ways.input = true,
            }
        }
        let ours = Ways { input: true, through: !structure.nat.is_empty(), output: false, sent_on };
        let plan = plan::table(structure, Family::Inet, Host::Us, ours);
        let mut stands =
            vec![Self { table: TableName { family: Family::Inet, name: OURS.to_owned() }, plan }];
        for ((family, name), ways) in theirs {
            let plan = plan::table(structure, family, Host::Admin, ways);
            stands.push(Self { table: TableName { family, name: name.to_owned() }, plan });
        }
        stands
    }

    /// What has a name that we need here and is not ours.
    pub(super) fn taken(&self, ruleset: &Ruleset) -> Option<Taken> {
        if self.is_ours() {
            return taken::own_table(ruleset);
        }
        let is_it = |t: &&Table| t.family.seat() == Some(self.table.family) && t.name == self.table.name;
        let table = ruleset.tables.iter().find(is_it)?;
        let chain = self.plan.chains.iter().find_map(|chain| taken::chain_in(table, chain.name));
        let set = || self.plan.sets.iter().find_map(|set| taken::set_in(table, &set.name));
        chain.or_else(set).or_else(|| taken::caller(table))
    }

    /// Sets, chains and rules.
    pub(super) fn write(&self, batch: &mut Batch, structure: &Structure) {
        if self.is_ours() {
            batch.new_table(&self.table);
        }
        for chain in &self.plan.chains {
            match chain.hooked {
                Some(hooked) => batch.new_base_chain(&self.table, chain.name, hooked),
                None => batch.new_chain(&self.table, chain.name),
            }
        }
        // What has expired takes room until the kernel sweeps it out, once a second: a full set must be able to expire
        // and be filled again within that time. Who counts grants is the grantor.
        let size = structure.most_open.saturating_mul(2).saturating_add(64);
        for set in self.plan.sets.iter().chain(&self.plan.cut_sets) {
            batch.new_set(&self.table, set, size);
            if set.role == Role::Interfaces {
                let names: Vec<_> = structure.stance.interfaces.iter().map(|name| padded(name)).collect();
                batch.new_elements(&self.table, &set.name, names.iter().map(|name| One::key(name)));
            }
            if let Some(until) = structure.trial.filter(|_| set.role == Role::Trial) {
                self.begin_trial(batch, set, until);
            }
        }
        for chain in &self.plan.chains {
            for rule in &chain.rules {
                batch.new_rule(&self.table, chain.name, rule, None);
            }
        }
    }

    /// What the drops hang on: the kernel forgets both at the same moment. Of a trial that is over there is nothing.
    fn begin_trial(&self, batch: &mut Batch, set: &SetPlan, until: Instant) {
        let left = until.saturating_duration_since(Instant::now()).as_millis();
        let timeout = u64::try_from(left).ok().filter(|milliseconds| *milliseconds > 0);
        if timeout.is_some() {
            let keys = [Proto::Tcp, Proto::Udp].map(|proto| [proto.number()]);
            let elements = keys.iter().map(|key| One { timeout, ..One::key(key) });
            batch.new_elements(&self.table, &set.name, elements);
        }
    }

    pub(super) fn is_ours(&self) -> bool {
        self.table.family == Family::Inet && self.table.name == OURS
    }

    /// Whether packets from this element's address come to this table.
    pub(super) fn sees(&self, element: &Element) -> bool {
        sets::versions(self.table.family).contains(&Version::of(element.address))
    }

    /// Whether there is a set for one place of an element.
    pub(super) fn holds(&self, element: &Element, placed: &Placed) -> bool {
        self.sees(element) && self.plan.set_of(placed).is_some()
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
            if !self.sees(&element) {
                continue;
            }
            for placed in keys::places(&element, meaning) {
                let Some(set) = self.plan.set_of(&placed) else { continue };
                let keyed = keyed(place, &change, &placed, &sure);
                match sets.iter_mut().find(|(name, _)| *name == set) {
                    Some((_, elements)) => elements.push(keyed),
                    None => sets.push((set, vec![keyed])),
                }
            }
        }
        sets
    }
}

fn keyed(place: usize, change: &Change, placed: &Placed, sure: impl Fn(&Element) -> bool) -> Keyed {
    let Placed { key, value, .. } = *placed;
    match change {
        Change::Open(element, lasting) => {
            // A timeout of 0 would be no timeout at all.
            let milliseconds = u64::try_from(lasting.as_millis()).unwrap_or(u64::MAX).max(1);
            Keyed { key, value, milliseconds, opens: true, sure: sure(element), place }
        }
        // Any timeout does: it is deleted in the same transaction.
        Change::Close(_) => Keyed { key, value, milliseconds: 1000, opens: false, sure: false, place },
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
