//! What is to stand in one table, as values: sets, a chain, its rules. Pure.
//!
//! The order of the rules is the promise (docs/adr/0005): who has a live connection and the host itself are never cut
//! off; then knocks and grants are accepted; then, and only then, the protected ports are dropped. `rule` has what one rule
//! is, `sets` the sets and the rules that look into them.

use portunus_model::{Family, PortSpec, Proto, Way};

use super::keys::{Keys, Placed, Role};
use super::message::{OURS, OUTPUT_CHAIN};
use super::rule::{If, RulePlan, Then, rule, spans};
use super::sent_on;
use super::sets::{Host, INTERFACES, SetPlan, Sets, answered, looked_up};
use super::through;
use crate::{Element, Structure};

/// Our base chain for what comes in, in our own table.
const INPUT: &str = "input";

/// Where the kernel calls a base chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hooked {
    /// What comes to this host.
    Input,
    /// What goes through it.
    Forward,
    /// Before it is routed, to be turned.
    Prerouting,
    /// When it leaves, to be shown another source.
    Postrouting,
}

/// One chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ChainPlan {
    pub(super) name: &'static str,
    /// `None`: one of the admin's jumps to it.
    pub(super) hooked: Option<Hooked>,
    pub(super) rules: Vec<RulePlan>,
}

/// All that is to stand in one table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct TablePlan {
    /// All but the cut sets.
    pub(super) sets: Vec<SetPlan>,
    /// The sets of who is cut off.
    pub(super) cut_sets: Vec<SetPlan>,
    /// Our chains.
    pub(super) chains: Vec<ChainPlan>,
}

/// Which ways a table is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Ways {
    /// To this host.
    pub(super) input: bool,
    /// Through it: in a table of ours with all translations, in one of the admin's by a chain of theirs.
    pub(super) through: bool,
    /// From it, in answer.
    pub(super) output: bool,
    /// What was to come to it and was sent on, which its own input chains never see: in a table of the admin's together
    /// with `through`.
    pub(super) sent_on: bool,
}

/// The plan for a table of this family.
pub(super) fn table(structure: &Structure, family: Family, host: Host, ways: Ways) -> TablePlan {
    let mut plan = TablePlan::default();
    if !structure.stance.interfaces.is_empty() {
        let name = format!("{}{INTERFACES}", host.prefix());
        plan.sets.push(SetPlan { name, keys: Keys::Interfaces, role: Role::Interfaces });
    }
    let gate = gate(&plan);
    let sets = Sets { structure, family, host };
    if ways.input || ways.output || ways.sent_on {
        plan.sets.extend(sets.open());
    }
    if host == Host::Us && (ways.input || ways.sent_on) {
        plan.cut_sets.extend(sets.cut());
        plan.sets.extend(sets.trial());
    }
    if ways.input {
        input(&sets, &gate, &mut plan);
    }
    if ways.sent_on && host == Host::Us {
        sent_on::guard(&sets, &gate, &mut plan);
    }
    if ways.through {
        through::add(&sets, &gate, &mut plan);
    }
    if ways.output {
        let rules = plan.sets.iter().filter(|set| set.role == Role::Open).map(|set| answered(family, set));
        let rules = rules.collect();
        plan.chains.push(ChainPlan { name: OUTPUT_CHAIN, hooked: None, rules });
    }
    plan
}

/// What comes by another interface is none of our business.
fn gate(plan: &TablePlan) -> Vec<RulePlan> {
    let gate = |set: &SetPlan| rule([If::ComesByNoneOf(set.name.clone())], Then::Return);
    plan.sets.first().map(gate).into_iter().collect()
}

/// The chain by which one comes to this host. Only ours drops: an accept of the admin's, before or behind our jump, cannot
/// overrule a drop in another table.
fn input(sets: &Sets<'_>, gate: &[RulePlan], plan: &mut TablePlan) {
    let Sets { structure, family, host } = *sets;
    let mut rules = gate.to_vec();
    match host {
        Host::Us => {
            rules.push(rule([If::FromLoopback], Then::Accept));
            rules.extend(plan.cut_sets.iter().flat_map(|set| looked_up(family, set, &Then::Drop)));
        }
        Host::Admin => rules.push(rule([If::FromLoopback], Then::Return)),
    }
    rules.extend(live(structure, host));
    if let Some(port) = structure.stance.knock_port {
        rules.push(rule([If::Proto(Proto::Udp), If::ToPorts(vec![(port, port)])], Then::Accept));
    }
    let local = sets.local();
    let open = plan.sets.iter().filter(|set| set.role == Role::Open);
    rules.extend(open.chain(&local).flat_map(|set| looked_up(family, set, &Then::Accept)));
    plan.sets.extend(local);
    plan.chains.push(match host {
        Host::Us => {
            rules.extend(each_proto(&structure.stance.protected, |ifs| rule(sets.for_now(ifs), Then::Drop)));
            ChainPlan { name: INPUT, hooked: Some(Hooked::Input), rules }
        }
        Host::Admin => ChainPlan { name: OURS, hooked: None, rules },
    });
}

/// Whoever is connected, before any drop of a port: the end of a grant never cuts a connection.
fn live(structure: &Structure, host: Host) -> Vec<RulePlan> {
    match host {
        Host::Us => {
            vec![rule([If::OfLiveFlow], Then::Accept)]
        }
        Host::Admin => {
            let guarded: Vec<_> =
                structure.doors.iter().chain(&structure.stance.protected).copied().collect();
            let lives = |ifs: Vec<If>| rule(ifs.into_iter().chain([If::OfLiveFlow]), Then::Accept);
            each_proto(&guarded, lives)
        }
    }
}

/// One rule for each protocol that has any of these ports.
fn each_proto(ports: &[PortSpec], make: impl Fn(Vec<If>) -> RulePlan) -> Vec<RulePlan> {
    let one = |proto| {
        let spans = spans(ports, proto);
        (!spans.is_empty()).then(|| make(vec![If::Proto(proto), If::ToPorts(spans)]))
    };
    [Proto::Tcp, Proto::Udp].into_iter().filter_map(one).collect()
}

/// Whether an element is one of the structure's doors, which are sorted: most are.
pub(super) fn is_door(structure: &Structure, element: &Element) -> bool {
    let plain = element.way == Way::Here && element.destination.is_none();
    plain && element.port.is_some_and(|port| structure.doors.binary_search(&port).is_ok())
}

impl TablePlan {
    /// The set of this role with such keys; `None`: there is none here.
    pub(super) fn set_of(&self, placed: &Placed) -> Option<&str> {
        let sets = if placed.role == Role::Cut { &self.cut_sets } else { &self.sets };
        let is_it = |set: &&SetPlan| set.role == placed.role && set.keys == placed.keys;
        Some(sets.iter().find(is_it)?.name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use portunus_model::Stance;

    use super::super::keys::{self, Meaning};
    use super::super::sets::grants;
    use super::*;

    fn port(text: &str) -> PortSpec {
        PortSpec::parse(text).unwrap()[0]
    }

    const TO_US: Ways = Ways { input: true, through: false, output: false, sent_on: false };

    fn lines(plan: &TablePlan, chain: &str) -> Vec<String> {
        let chain = plan.chains.iter().find(|known| known.name == chain).unwrap();
        chain.rules.iter().map(ToString::to_string).collect()
    }

    fn structure() -> Structure {
        Structure {
            doors: vec![port("22/tcp"), port("8000-8010/tcp"), port("8000-8010/udp"), port("8000-8020/tcp")],
            stance: Stance {
                interfaces: vec!["wan0".into()],
                protected: vec![port("22/tcp"), port("8000-8020/tcp")],
                knock_port: Some(54154),
                ..Stance::default()
            },
            most_open: 100,
            ..Structure::default()
        }
    }

    #[test]
    fn accepts_come_before_drops_and_live_flows_before_both() {
        let plan = table(&structure(), Family::Inet, Host::Us, TO_US);
        assert_eq!(plan.chains.len(), 1);
        let lines = lines(&plan, "input");
        assert_eq!(
            lines,
            [
                "iifname != @interfaces return",
                "iif \"lo\" accept",
                "meta nfproto ipv4 ip saddr . meta l4proto . th dport @cut4 drop",
                "meta nfproto ipv6 ip6 saddr . meta l4proto . th dport @cut6 drop",
                "meta nfproto ipv4 th dport 8000-8010 ip saddr . meta l4proto @cut4_8000_8010 drop",
                "meta nfproto ipv6 th dport 8000-8010 ip6 saddr . meta l4proto @cut6_8000_8010 drop",
                "meta nfproto ipv4 th dport 8000-8020 ip saddr . meta l4proto @cut4_8000_8020 drop",
                "meta nfproto ipv6 th dport 8000-8020 ip6 saddr . meta l4proto @cut6_8000_8020 drop",
                "ct state established,related accept",
                "meta l4proto udp th dport 54154 accept",
                "meta nfproto ipv4 ip saddr . meta l4proto . th dport @open4 accept",
                "meta nfproto ipv6 ip6 saddr . meta l4proto . th dport @open6 accept",
                "meta nfproto ipv4 th dport 8000-8010 ip saddr . meta l4proto @range4_8000_8010 accept",
                "meta nfproto ipv6 th dport 8000-8010 ip6 saddr . meta l4proto @range6_8000_8010 accept",
                "meta nfproto ipv4 th dport 8000-8020 ip saddr . meta l4proto @range4_8000_8020 accept",
                "meta nfproto ipv6 th dport 8000-8020 ip6 saddr . meta l4proto @range6_8000_8020 accept",
                "meta l4proto tcp th dport { 22, 8000-8020 } drop",
            ]
        );
    }

    #[test]
    fn in_a_table_of_the_admins_nothing_is_accepted_but_what_our_doors_are_about() {
        let structure = Structure {
            doors: vec![port("22/tcp"), port("53/udp"), port("8000-8010/tcp")],
            stance: Stance {
                knock_port: Some(54154),
                protected: vec![port("22/tcp"), port("53/udp"), port("8000-8010/tcp")],
                ..Stance::default()
            },
            most_open: 100,
            ..Structure::default()
        };
        let plan = table(&structure, Family::Ip, Host::Admin, TO_US);
        assert!(plan.cut_sets.is_empty(), "who is cut off, and every drop, stands in our own table");
        assert_eq!(
            lines(&plan, OURS),
            [
                "iif \"lo\" return",
                "meta l4proto tcp th dport { 22, 8000-8010 } ct state established,related accept",
                "meta l4proto udp th dport 53 ct state established,related accept",
                "meta l4proto udp th dport 54154 accept",
                "ip saddr . meta l4proto . th dport @portunus_open4 accept",
                "th dport 8000-8010 ip saddr . meta l4proto @portunus_range4_8000_8010 accept",
            ]
        );
    }

    #[test]
    fn a_table_of_one_family_holds_no_set_of_the_other() {
        let names: Vec<_> = table(&structure(), Family::Ip6, Host::Admin, TO_US)
            .sets
            .into_iter()
            .map(|set| set.name)
            .collect();
        assert_eq!(
            names,
            [
                "portunus_interfaces",
                "portunus_open6",
                "portunus_range6_8000_8010",
                "portunus_range6_8000_8020"
            ]
        );
    }

    #[test]
    fn each_element_finds_its_set() {
        let plan = table(&structure(), Family::Inet, Host::Admin, TO_US);
        let set = |address: &str, text: &str, meaning| {
            let element = Element::here(address.parse().unwrap(), port(text));
            keys::places(&element, meaning).next().and_then(|placed| plan.set_of(&placed).map(str::to_owned))
        };
        let name = |name: &str| Some(name.to_owned());
        assert_eq!(set("::1", "8000-8010/udp", Meaning::Open), name("portunus_range6_8000_8010"));
        assert_eq!(set("::1", "8000-8010/udp", Meaning::Cut), None);
        assert_eq!(set("192.0.2.1", "80/tcp", Meaning::Open), name("portunus_open4"));
        assert_eq!(set("192.0.2.1", "1-2/udp", Meaning::Open), None);
        assert!(grants("portunus_open4", false) && grants("range6_1_2", false) && grants("all4", true));
        assert!(!grants("cut4", false) && !grants("portunus_cut6_1_2", true) && !grants("local4", true));
    }

    #[test]
    fn answers_go_back_by_the_same_sets() {
        let ways = Ways { output: true, ..TO_US };
        let plan = table(&Structure { destinations: true, ..structure() }, Family::Ip, Host::Admin, ways);
        assert_eq!(plan.sets.iter().filter(|set| set.name == "portunus_open4").count(), 1);
        assert_eq!(lines(&plan, OUTPUT_CHAIN).len(), 4);
    }
}
