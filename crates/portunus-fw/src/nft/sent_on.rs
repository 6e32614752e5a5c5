//! What came to a guarded port and goes on to a container or another host: its rules. Pure.
//!
//! Only flows that were turned are our business here: what this host merely routes has the same ports. They are known by
//! the port that they came to first.

use portunus_model::{Family, PortSpec, Proto};

use super::keys::{Keys, Role};
use super::plan::{ChainPlan, Hooked, TablePlan};
use super::rule::{If, RulePlan, Span, Then, rule, spans};
use super::sets::{SetPlan, Sets, is_version};

/// Our base chain for what was sent on.
const SENT_ON: &str = "sent_on";

const EACH: [Proto; 2] = [Proto::Tcp, Proto::Udp];

/// The chain in our own table, which drops what has no grant.
pub(super) fn guard(sets: &Sets<'_>, gate: &[RulePlan], plan: &mut TablePlan) {
    let cuts = plan.cut_sets.iter().flat_map(|set| came_first(sets.family, set, None, &Then::Drop));
    let mut rules: Vec<RulePlan> = gate.iter().cloned().chain(cuts).collect();
    rules.push(rule([If::OfLiveFlow], Then::Accept));
    rules.extend(open(plan).flat_map(|set| came_first(sets.family, set, None, &Then::Accept)));
    for (proto, spans) in guarded(sets) {
        let ifs = vec![If::Turned, If::Proto(proto), If::FirstPorts(spans)];
        rules.push(rule(sets.for_now(ifs), Then::Drop));
    }
    plan.chains.push(ChainPlan { name: SENT_ON, hooked: Some(Hooked::Forward), rules });
}

/// The rules in a chain of the admin's that drops what goes through: to accept ends that chain, so they accept nothing
/// but what came to a guarded port first. Before the gate, as answers come by the inner interface.
pub(super) fn live_there(sets: &Sets<'_>) -> Vec<RulePlan> {
    let live = |(proto, spans)| {
        rule([If::Turned, If::Proto(proto), If::FirstPorts(spans), If::OfLiveFlow], Then::Accept)
    };
    guarded(sets).map(live).collect()
}

/// See [`live_there`]: who has a grant.
pub(super) fn granted_there(sets: &Sets<'_>, plan: &TablePlan) -> Vec<RulePlan> {
    let guarded = Some(sets.structure.stance.sent_on.as_slice());
    open(plan).flat_map(|set| came_first(sets.family, set, guarded, &Then::Accept)).collect()
}

fn open(plan: &TablePlan) -> impl Iterator<Item = &SetPlan> {
    plan.sets.iter().filter(|set| set.role == Role::Open)
}

/// The ports that are guarded on this way, by protocol.
fn guarded(sets: &Sets<'_>) -> impl Iterator<Item = (Proto, Vec<Span>)> {
    let spans = EACH.map(|proto| (proto, spans(&sets.structure.stance.sent_on, proto)));
    spans.into_iter().filter(|(_, spans)| !spans.is_empty())
}

/// The rules for a set of doors, looked up by the port that a turned flow came to first, which is one of `only` where
/// they are named. A grant for one of our addresses only has none: past the translation nobody knows to which of them the
/// flow came.
fn came_first(family: Family, set: &SetPlan, only: Option<&[PortSpec]>, then: &Then) -> Vec<RulePlan> {
    let one = |proto: Proto| {
        let (span, keys) = match set.keys {
            Keys::Single(version) => (None, Keys::First(version)),
            Keys::Range(_, span) => (Some(span), set.keys),
            // Which port a sent on flow came from is not looked at: such a grant is for this host alone.
            Keys::From(_)
            | Keys::Narrow(_)
            | Keys::Turned(_)
            | Keys::Flow(_)
            | Keys::Whole(_)
            | Keys::WholeNarrow(_)
            | Keys::First(_)
            | Keys::Proto
            | Keys::Interfaces => return None,
        };
        let ports = match only {
            None => span.map(|span| vec![span]),
            Some(only) => Some(within(&spans(only, proto), span.unwrap_or((0, u16::MAX)))),
        };
        if ports.as_ref().is_some_and(Vec::is_empty) {
            return None;
        }
        let is = is_version(family, set).into_iter().chain([If::Turned, If::Proto(proto)]);
        let ifs = is.chain(ports.map(If::FirstPorts)).chain([If::InSet(keys, set.name.clone())]);
        Some(rule(ifs, then.clone()))
    };
    EACH.into_iter().filter_map(one).collect()
}

/// What of these spans lies in another.
fn within(spans: &[Span], (first, last): Span) -> Vec<Span> {
    let cut = spans.iter().map(|&(from, to)| (from.max(first), to.min(last)));
    cut.filter(|(from, to)| from <= to).collect()
}

#[cfg(test)]
mod tests {
    use portunus_model::Stance;

    use super::super::message::FORWARD_CHAIN;
    use super::super::plan::{self, Ways};
    use super::super::sets::Host;
    use super::*;
    use crate::Structure;

    fn ports(all: &[&str]) -> Vec<PortSpec> {
        all.iter().flat_map(|text| PortSpec::parse(text).unwrap()).collect()
    }

    fn lines(structure: &Structure, family: Family) -> Vec<String> {
        let ways = Ways { through: true, sent_on: !structure.stance.sent_on.is_empty(), ..Ways::default() };
        let plan = plan::table(structure, family, Host::Admin, ways);
        assert!(plan.cut_sets.is_empty(), "every drop stands in our own table");
        let [chain] = plan.chains.as_slice() else { panic!("{:?}", plan.chains) };
        assert_eq!((chain.name, chain.hooked), (FORWARD_CHAIN, None));
        chain.rules.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn in_a_chain_of_the_admins_only_what_came_to_a_guarded_port_first_is_accepted() {
        let structure = Structure {
            doors: ports(&["22/tcp", "443/tcp", "5000/udp", "8700-8799/tcp"]),
            stance: Stance {
                interfaces: vec!["wan0".into()],
                sent_on: ports(&["443/tcp", "5000/udp", "8730-8739/tcp"]),
                ..Stance::default()
            },
            most_open: 100,
            ..Structure::default()
        };
        assert_eq!(
            lines(&structure, Family::Ip),
            [
                "ct status dnat meta l4proto tcp ct original proto-dst { 443, 8730-8739 } ct state established,related accept",
                "ct status dnat meta l4proto udp ct original proto-dst 5000 ct state established,related accept",
                "iifname != @portunus_interfaces return",
                "ct status dnat meta l4proto tcp ct original proto-dst { 443, 8730-8739 } ip saddr . meta l4proto . ct original proto-dst @portunus_open4 accept",
                "ct status dnat meta l4proto udp ct original proto-dst 5000 ip saddr . meta l4proto . ct original proto-dst @portunus_open4 accept",
                "ct status dnat meta l4proto tcp ct original proto-dst 8730-8739 ip saddr . meta l4proto @portunus_range4_8700_8799 accept",
            ]
        );
    }

    #[test]
    fn without_a_guarded_port_nothing_is_accepted_there() {
        let structure = Structure { doors: ports(&["22/tcp"]), most_open: 100, ..Structure::default() };
        assert_eq!(lines(&structure, Family::Inet), [""; 0]);
    }
}
