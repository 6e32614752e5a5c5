//! What is to stand for doors that lead through this host, or to another port of it: maps that turn, sets that let
//! through, and sources that are changed. Pure.
//!
//! In a table of ours are all of them. In a table of the admin's, whose chain drops what goes through, are only the sets
//! that let through, and what lets in to a port that is sent on.

use portunus_model::NatSource;

use super::keys::{Keys, Role};
use super::message::FORWARD_CHAIN;
use super::plan::{ChainPlan, Hooked, TablePlan};
use super::rule::{RulePlan, Then};
use super::sent_on;
use super::sets::{Host, SetPlan, Sets, looked_up, mapped};

/// Adds the sets and chains.
pub(super) fn add(sets: &Sets<'_>, gate: &[RulePlan], plan: &mut TablePlan) {
    let through = through(sets);
    let accepts = through.iter().flat_map(|set| looked_up(sets.family, set, &Then::Accept));
    match sets.host {
        Host::Admin => {
            let granted = sent_on::granted_there(sets, plan);
            let live = sent_on::live_there(sets).into_iter();
            let rules = live.chain(gate.iter().cloned()).chain(granted).chain(accepts).collect();
            plan.chains.push(ChainPlan { name: FORWARD_CHAIN, hooked: None, rules });
        }
        Host::Us => {
            let cut: Vec<SetPlan> = [
                sets.each("cut_through", Role::Cut, Keys::Flow),
                sets.each("cut_all", Role::Cut, Keys::Whole),
            ]
            .concat();
            let local = plan.sets.iter().filter(|set| set.role == Role::Local).cloned().collect::<Vec<_>>();
            let local = if local.is_empty() { sets.local() } else { local };
            // Who is cut off, and what is to stay here but would go through.
            let drops = cut.iter().chain(&local).flat_map(|set| looked_up(sets.family, set, &Then::Drop));
            let rules = gate.iter().cloned().chain(drops).chain(accepts).collect();
            plan.chains.push(ChainPlan { name: "forward", hooked: Some(Hooked::Forward), rules });
            turn(sets, gate, plan);
            show(sets, plan);
            if !plan.sets.iter().any(|set| set.role == Role::Local) {
                plan.sets.extend(local);
            }
            plan.cut_sets.extend(cut);
        }
    }
    plan.sets.extend(through);
}

fn through(sets: &Sets<'_>) -> Vec<SetPlan> {
    let mut through = Vec::new();
    if goes_through(sets) {
        through.extend(sets.each("through", Role::Through, Keys::Turned));
    }
    if has_all(sets) {
        through.extend(sets.each("all", Role::Through, Keys::Whole));
    }
    through
}

/// The narrower first: what came to one of our addresses before what came to any.
fn turn(sets: &Sets<'_>, gate: &[RulePlan], plan: &mut TablePlan) {
    let narrow = sets.structure.destinations;
    let nat = &sets.structure.nat;
    let mut maps = Vec::new();
    if nat.forward || nat.local || !nat.forced.is_empty() {
        if narrow {
            maps.extend(sets.each("turn_at", Role::Turn, Keys::Narrow));
        }
        maps.extend(sets.each("turn", Role::Turn, Keys::Single));
    }
    if nat.all_forward || nat.all.iter().any(Option::is_some) {
        if narrow {
            maps.extend(sets.each("turn_all_at", Role::Turn, Keys::WholeNarrow));
        }
        maps.extend(sets.each("turn_all", Role::Turn, Keys::Whole));
    }
    let turned = maps.iter().flat_map(|map| mapped(sets.family, map, Then::Turn));
    let rules = gate.iter().cloned().chain(turned).collect();
    plan.chains.push(ChainPlan { name: "prerouting", hooked: Some(Hooked::Prerouting), rules });
    plan.sets.extend(maps);
}

/// Which interface a packet came by is not known any more when it leaves; only what was let through is in these sets.
fn show(sets: &Sets<'_>, plan: &mut TablePlan) {
    let shows = |source: fn(&NatSource) -> bool| sets.structure.nat.sources.iter().any(source);
    let fixed = shows(|source| matches!(source, NatSource::Fixed(_)));
    let masquerade = shows(|source| *source == NatSource::Masquerade);
    let mut rules = Vec::new();
    for (role, shown) in [(Role::Source, fixed), (Role::Masquerade, masquerade)] {
        let word = if role == Role::Source { "source" } else { "masquerade" };
        let mut these = Vec::new();
        if shown && goes_through(sets) {
            these.extend(sets.each(word, role, Keys::Turned));
        }
        if shown && has_all(sets) {
            these.extend(sets.each(&format!("{word}_all"), role, Keys::Whole));
        }
        rules.extend(these.iter().flat_map(|set| match role {
            Role::Source => mapped(sets.family, set, Then::Source),
            Role::Masquerade
            | Role::Open
            | Role::Local
            | Role::Through
            | Role::Turn
            | Role::Cut
            | Role::Trial
            | Role::Interfaces => looked_up(sets.family, set, &Then::Masquerade),
        }));
        plan.sets.extend(these);
    }
    if !rules.is_empty() {
        plan.chains.push(ChainPlan { name: "postrouting", hooked: Some(Hooked::Postrouting), rules });
    }
}

fn goes_through(sets: &Sets<'_>) -> bool {
    let nat = &sets.structure.nat;
    nat.forward || !nat.forced.is_empty()
}

fn has_all(sets: &Sets<'_>) -> bool {
    let nat = &sets.structure.nat;
    nat.all_forward || !nat.all.is_empty()
}
