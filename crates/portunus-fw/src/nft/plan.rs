//! What is to stand in one table, as values: sets, a chain, its rules. Pure.
//!
//! The order of the rules is the promise (docs/adr/0005): who has a live connection and the host itself are never cut
//! off; then knocks and grants are accepted; then, and only then, the protected ports are dropped.

use std::fmt;
use std::net::IpAddr;

use portunus_model::{Family, PortSpec, Proto, Way};

use crate::{Element, Structure};

/// Ours in a table of the admin's begin with this.
pub(super) const PREFIX: &str = "portunus_";

/// Sets of who is cut off begin with this, after the prefix.
const CUT: &str = "cut";

/// Whether a set of ours holds who is cut off, by its name.
pub(crate) fn is_cut_set(name: &str) -> bool {
    name.strip_prefix(PREFIX).unwrap_or(name).starts_with(CUT)
}

/// IPv4 or IPv6, where a table may hold either or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Version {
    V4,
    V6,
}

impl Version {
    pub(super) const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// `NFPROTO_IPV4`, `NFPROTO_IPV6` (linux/netfilter.h).
    pub(super) const fn nfproto(self) -> u8 {
        match self {
            Self::V4 => 2,
            Self::V6 => 10,
        }
    }

    const fn digit(self) -> char {
        match self {
            Self::V4 => '4',
            Self::V6 => '6',
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::V4 => "ip",
            Self::V6 => "ip6",
        }
    }
}

/// The versions that a table of this family sees.
pub(super) const fn versions(family: Family) -> &'static [Version] {
    match family {
        Family::Inet => &[Version::V4, Version::V6],
        Family::Ip => &[Version::V4],
        Family::Ip6 => &[Version::V6],
    }
}

/// The ports `first..=last`.
pub(super) type Span = (u16, u16);

/// What a set's keys are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keys {
    /// `address . protocol . port`, each with a timeout.
    Single(Version),
    /// `address . protocol`, each with a timeout; the range stands in the rule.
    Range(Version, Span),
    /// Names of interfaces.
    Interfaces,
}

impl Keys {
    fn of(element: &Element) -> Option<Self> {
        let version = Version::of(element.address);
        let port = element.port.filter(|_| element.way == Way::Here && element.destination.is_none())?;
        Some(match port.is_single() {
            true => Self::Single(version),
            false => Self::Range(version, (port.first(), port.last())),
        })
    }

    const fn version(self) -> Option<Version> {
        match self {
            Self::Single(version) | Self::Range(version, _) => Some(version),
            Self::Interfaces => None,
        }
    }
}

/// What an element of a set means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// This source may come in.
    Open,
    /// Nothing of this source comes in any more, not even of a live connection.
    Cut,
}

/// One set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SetPlan {
    pub(super) name: String,
    pub(super) keys: Keys,
}

/// One condition of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum If {
    /// The packet came in by none of the interfaces in this set.
    ComesByNoneOf(String),
    /// It comes from this host itself.
    FromLoopback,
    /// It belongs to a connection that lives, or is related to one.
    OfLiveFlow,
    /// It is of this version.
    Is(Version),
    /// It is of this protocol.
    Proto(Proto),
    /// Its destination port lies in one of these; sorted, and none touches the next.
    ToPorts(Vec<Span>),
    /// Its source, protocol and port are in this set.
    InSet(Keys, String),
}

/// What a rule does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Then {
    Accept,
    Drop,
    Return,
    Jump(String),
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RulePlan {
    pub(super) ifs: Vec<If>,
    pub(super) then: Then,
}

/// All that is to stand in one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TablePlan {
    /// All but the cut sets.
    pub(super) sets: Vec<SetPlan>,
    /// The sets of who is cut off.
    pub(super) cut_sets: Vec<SetPlan>,
    /// The rules of our base chain, or of the chain that the admin's jumps to.
    pub(super) rules: Vec<RulePlan>,
    /// The rules of a base chain of our own in the admin's table: theirs accepts live connections before it jumps to
    /// us. Empty in our own table, where [`Self::rules`] has them.
    pub(super) first: Vec<RulePlan>,
}

/// Whose the table is that we stand in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Host {
    /// Ours: to accept ends our own chain only, and every other table still has its say.
    Us,
    /// The admin's: to accept ends their chain, so we accept nothing but what our doors are about.
    Admin,
}

impl Host {
    /// What keeps our sets apart from theirs.
    pub(super) const fn prefix(self) -> &'static str {
        match self {
            Self::Us => "",
            Self::Admin => PREFIX,
        }
    }
}

/// The plan for a table of this family.
pub(super) fn table(structure: &Structure, family: Family, host: Host) -> TablePlan {
    let versions = versions(family);
    let prefix = host.prefix();
    let stance = &structure.stance;
    let mut sets = Vec::new();
    let mut rules = Vec::new();
    if !stance.interfaces.is_empty() {
        let name = format!("{prefix}interfaces");
        rules.push(rule([If::ComesByNoneOf(name.clone())], Then::Return));
        sets.push(SetPlan { name, keys: Keys::Interfaces });
    }
    let (cut_sets, cuts) = cuts(structure, family, host);
    let mut first = Vec::new();
    match host {
        Host::Us => {
            rules.push(rule([If::FromLoopback], Then::Accept));
            rules.extend(cuts);
        }
        Host::Admin => {
            first.clone_from(&rules);
            first.push(rule([If::FromLoopback], Then::Return));
            first.extend(cuts);
            rules.push(rule([If::FromLoopback], Then::Return));
        }
    }
    rules.extend(live(structure, host));
    if let Some(port) = stance.knock_port {
        rules.push(rule([If::Proto(Proto::Udp), If::ToPorts(vec![(port, port)])], Then::Accept));
    }
    for &version in versions {
        let set = SetPlan { name: single(Meaning::Open, prefix, version), keys: Keys::Single(version) };
        rules.push(looked_up(family, version, &set, Then::Accept));
        sets.push(set);
    }
    for span in ranges(&structure.doors) {
        for &version in versions {
            let name = range(Meaning::Open, prefix, version, span);
            let set = SetPlan { name, keys: Keys::Range(version, span) };
            rules.push(looked_up(family, version, &set, Then::Accept));
            sets.push(set);
        }
    }
    rules.extend(each_proto(&stance.protected, |ifs| rule(ifs, Then::Drop)));
    TablePlan { sets, cut_sets, rules, first }
}

/// Who was cut off by name, before whoever is connected is let in.
fn cuts(structure: &Structure, family: Family, host: Host) -> (Vec<SetPlan>, Vec<RulePlan>) {
    let prefix = host.prefix();
    let mut sets = Vec::new();
    for &version in versions(family) {
        let name = single(Meaning::Cut, prefix, version);
        sets.push(SetPlan { name, keys: Keys::Single(version) });
    }
    for span in ranges(&structure.doors) {
        for &version in versions(family) {
            let name = range(Meaning::Cut, prefix, version, span);
            sets.push(SetPlan { name, keys: Keys::Range(version, span) });
        }
    }
    let rules = sets.iter().filter_map(|set| Some(looked_up(family, set.keys.version()?, set, Then::Drop)));
    let rules = rules.collect();
    (sets, rules)
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

/// The ports of one protocol, as few spans as can be.
fn spans(ports: &[PortSpec], proto: Proto) -> Vec<Span> {
    let mut sorted: Vec<Span> =
        ports.iter().filter(|port| port.proto() == proto).map(|port| (port.first(), port.last())).collect();
    sorted.sort_unstable();
    let mut merged: Vec<Span> = Vec::new();
    for (first, last) in sorted {
        match merged.last_mut() {
            Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
            Some(_) | None => merged.push((first, last)),
        }
    }
    merged
}

/// Whether an element is one of the structure's doors, which are sorted: most are.
pub(super) fn is_door(structure: &Structure, element: &Element) -> bool {
    let plain = element.way == Way::Here && element.destination.is_none();
    plain && element.port.is_some_and(|port| structure.doors.binary_search(&port).is_ok())
}

impl TablePlan {
    /// The set that such an element lives in; `None`: there is none for a range that is no door.
    pub(super) fn set_of(&self, element: &Element, meaning: Meaning) -> Option<&str> {
        let sets = match meaning {
            Meaning::Open => &self.sets,
            Meaning::Cut => &self.cut_sets,
        };
        let keys = Keys::of(element)?;
        Some(sets.iter().find(|set| set.keys == keys)?.name.as_str())
    }
}

/// The bytes of an element's key, as the rules load them: each field padded to four bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    bytes: [u8; LONGEST_KEY],
    length: usize,
}

/// An IPv6 address, a protocol, a port.
const LONGEST_KEY: usize = 16 + 4 + 4;

impl Key {
    pub(super) fn of(element: &Element) -> Self {
        let mut key = Self { bytes: [0; LONGEST_KEY], length: 0 };
        match element.address {
            IpAddr::V4(address) => key.push(&address.octets()),
            IpAddr::V6(address) => key.push(&address.octets()),
        }
        if let Some(port) = element.port {
            key.push(&[port.proto().number(), 0, 0, 0]);
            if port.is_single() {
                let [high, low] = port.first().to_be_bytes();
                key.push(&[high, low, 0, 0]);
            }
        }
        key
    }

    fn push(&mut self, field: &[u8]) {
        for (to, from) in self.bytes.iter_mut().skip(self.length).zip(field) {
            *to = *from;
        }
        self.length += field.len();
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

fn rule(ifs: impl IntoIterator<Item = If>, then: Then) -> RulePlan {
    RulePlan { ifs: ifs.into_iter().collect(), then }
}

fn looked_up(family: Family, version: Version, set: &SetPlan, then: Then) -> RulePlan {
    let both = versions(family).len() > 1;
    let ports = match set.keys {
        Keys::Range(_, span) => Some(If::ToPorts(vec![span])),
        Keys::Single(_) | Keys::Interfaces => None,
    };
    let is = both.then_some(If::Is(version));
    rule(is.into_iter().chain(ports).chain([If::InSet(set.keys, set.name.clone())]), then)
}

/// Each range once, whatever its protocols: the protocol is part of the key.
fn ranges(doors: &[PortSpec]) -> Vec<Span> {
    let mut ranges: Vec<_> =
        doors.iter().filter(|port| !port.is_single()).map(|port| (port.first(), port.last())).collect();
    ranges.sort_unstable();
    ranges.dedup();
    ranges
}

fn single(meaning: Meaning, prefix: &str, version: Version) -> String {
    let word = match meaning {
        Meaning::Open => "open",
        Meaning::Cut => CUT,
    };
    format!("{prefix}{word}{}", version.digit())
}

fn range(meaning: Meaning, prefix: &str, version: Version, (first, last): Span) -> String {
    let word = match meaning {
        Meaning::Open => "range",
        Meaning::Cut => CUT,
    };
    format!("{prefix}{word}{}_{first}_{last}", version.digit())
}

impl fmt::Display for If {
    /// As nft writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ComesByNoneOf(set) => write!(f, "iifname != @{set}"),
            Self::FromLoopback => f.write_str("iif \"lo\""),
            Self::OfLiveFlow => f.write_str("ct state established,related"),
            Self::Is(Version::V4) => f.write_str("meta nfproto ipv4"),
            Self::Is(Version::V6) => f.write_str("meta nfproto ipv6"),
            Self::Proto(proto) => write!(f, "meta l4proto {}", proto.as_str()),
            Self::ToPorts(spans) => {
                let span = |&(first, last): &Span| match first == last {
                    true => first.to_string(),
                    false => format!("{first}-{last}"),
                };
                let all: Vec<_> = spans.iter().map(span).collect();
                match all.as_slice() {
                    [one] => write!(f, "th dport {one}"),
                    all => write!(f, "th dport {{ {} }}", all.join(", ")),
                }
            }
            Self::InSet(Keys::Single(version), set) => {
                write!(f, "{} saddr . meta l4proto . th dport @{set}", version.word())
            }
            Self::InSet(Keys::Range(version, _), set) => {
                write!(f, "{} saddr . meta l4proto @{set}", version.word())
            }
            Self::InSet(Keys::Interfaces, set) => write!(f, "iifname @{set}"),
        }
    }
}

impl fmt::Display for RulePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for condition in &self.ifs {
            write!(f, "{condition} ")?;
        }
        match &self.then {
            Then::Accept => f.write_str("accept"),
            Then::Drop => f.write_str("drop"),
            Then::Return => f.write_str("return"),
            Then::Jump(chain) => write!(f, "jump {chain}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use portunus_model::Stance;

    use super::*;

    fn port(text: &str) -> PortSpec {
        PortSpec::parse(text).unwrap()[0]
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
        let lines: Vec<_> =
            table(&structure(), Family::Inet, Host::Us).rules.iter().map(ToString::to_string).collect();
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
            stance: Stance { knock_port: Some(54154), ..Stance::default() },
            most_open: 100,
            ..Structure::default()
        };
        let plan = table(&structure, Family::Ip, Host::Admin);
        let lines: Vec<_> = plan.rules.iter().map(ToString::to_string).collect();
        let first: Vec<_> = plan.first.iter().map(ToString::to_string).collect();
        assert_eq!(
            first,
            [
                "iif \"lo\" return",
                "ip saddr . meta l4proto . th dport @portunus_cut4 drop",
                "th dport 8000-8010 ip saddr . meta l4proto @portunus_cut4_8000_8010 drop",
            ]
        );
        assert_eq!(
            lines,
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
    fn spans_that_touch_are_one() {
        let ports: Vec<_> =
            ["22/tcp", "23/tcp", "5-9/tcp", "7-30/udp", "8-12/tcp", "65535/tcp"].map(port).into();
        assert_eq!(spans(&ports, Proto::Tcp), [(5, 12), (22, 23), (65535, 65535)]);
        assert_eq!(spans(&ports, Proto::Udp), [(7, 30)]);
    }

    #[test]
    fn a_table_of_one_family_holds_no_set_of_the_other() {
        let names: Vec<_> =
            table(&structure(), Family::Ip6, Host::Admin).sets.into_iter().map(|set| set.name).collect();
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
    fn keys_are_what_the_rules_load() {
        let element = |address: &str, text: &str| Element::here(address.parse().unwrap(), port(text));
        let key = |address, text| Key::of(&element(address, text)).as_bytes().to_vec();
        assert_eq!(key("192.0.2.1", "22/tcp"), [192, 0, 2, 1, 6, 0, 0, 0, 0, 22, 0, 0]);
        assert_eq!(key("192.0.2.1", "1-2/udp"), [192, 0, 2, 1, 17, 0, 0, 0]);
        assert_eq!(key("2001:db8::1", "22/tcp").len(), 24);
        let plan = table(&structure(), Family::Inet, Host::Admin);
        let set = |address, text, meaning| plan.set_of(&element(address, text), meaning);
        assert_eq!(set("::1", "8000-8010/udp", Meaning::Open), Some("portunus_range6_8000_8010"));
        assert_eq!(set("::1", "8000-8010/udp", Meaning::Cut), Some("portunus_cut6_8000_8010"));
        assert_eq!(set("192.0.2.1", "80/tcp", Meaning::Open), Some("portunus_open4"));
        assert_eq!(set("192.0.2.1", "1-2/udp", Meaning::Open), None);
        assert!(is_cut_set("cut4") && is_cut_set("portunus_cut6_1_2") && !is_cut_set("portunus_open4"));
    }
}
