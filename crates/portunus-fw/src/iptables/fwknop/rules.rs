//! Which rules of which chains a door has, in the shape that fwknop's have. Pure.
//!
//! Two are narrower than the original's, and match the same packets of the grant: what goes through is accepted to its
//! inner host only, and what leaves is shown another source only when it is the client's.

use std::fmt;
use std::net::IpAddr;

use portunus_model::{ChainRow, Chains, Element, Nat, NatSource, PortSpec, Unix, Way};

use super::super::text::time_match;

/// What a rule is for, in the words of fwknop's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// To a port of this host.
    Access,
    /// Back from it.
    Output,
    /// Through this host, translated.
    Forward,
    /// The translation of the destination.
    Dnat,
    /// The translation of the source.
    Snat,
    /// To this host, translated.
    LocalNat,
    /// Everything of an address, through this host.
    ForwardAll,
    /// The translation of its destination.
    DnatAll,
    /// The translation of its source.
    SnatAll,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Access => "access",
            Self::Output => "OUTPUT",
            Self::Forward => "FORWARD",
            Self::Dnat => "DNAT",
            Self::Snat => "SNAT",
            Self::LocalNat => "local NAT",
            Self::ForwardAll => "FORWARD ALL",
            Self::DnatAll => "DNAT ALL",
            Self::SnatAll => "SNAT ALL",
        })
    }
}

/// One rule, without its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule<'c> {
    pub(super) kind: Kind,
    pub(super) row: &'c ChainRow,
    /// Only what goes there; where there is no such narrowing, fwknop says `0.0.0.0/0`.
    pub(super) to: Option<IpAddr>,
    matches: String,
    target: String,
}

impl Rule<'_> {
    /// Everything behind `-A CHAIN `, as the tools print it.
    pub(super) fn text(&self, until: Unix, timed: bool) -> String {
        let time = if timed { time_match(until) } else { String::new() };
        let Self { matches, target, .. } = self;
        // Before the comment: monitoring looks for the port at once behind the addresses, and for `to:` at once behind
        // the comment.
        format!("{matches}{time} -m comment --comment _exp_{} -j {target}", until.as_secs())
    }
}

/// The rules of a door, in the order in which fwknop adds them; `None`: there is no chain for one of them.
pub(super) fn rules_of<'c>(chains: &'c Chains, element: &Element) -> Option<Vec<Rule<'c>>> {
    let Element { address, destination, .. } = *element;
    match (element.way, element.port) {
        (Way::Here, Some(port)) => Some(here(chains, address, destination, port)),
        (Way::Nat(nat), Some(port)) => translated(chains, element, &nat, port),
        (Way::All { to, source }, None) => everything(chains, element, to, source),
        (Way::Here | Way::From(_) | Way::Nat(_) | Way::All { .. }, _) => None,
    }
}

/// Drops what comes from a door's address to where it led, whatever lives.
pub(super) fn cuts_of<'c>(chains: &'c Chains, element: &Element) -> Vec<Rule<'c>> {
    let Element { address, port, way, .. } = *element;
    let drop = |row, matches| Rule { kind: Kind::Access, row, to: None, matches, target: "DROP".to_owned() };
    let from = from(Some(address));
    let at = |port: PortSpec| format!("{from}{}", to_port(port));
    let mut cuts = Vec::new();
    match (way, port) {
        (Way::Here | Way::From(_), Some(port)) => cuts.push(drop(&chains.input, at(port))),
        (Way::Nat(nat), Some(port)) => {
            let Some(inner) = inner_port(port, nat.port) else { return cuts };
            cuts.push(drop(&chains.input, at(port)));
            let matches = format!("{from}{}{}", to(Some(nat.host)), to_port(inner));
            let row = if nat.local { Some(&chains.input) } else { chains.forward.as_ref() };
            cuts.extend(row.map(|row| drop(row, matches)));
        }
        (Way::All { .. }, _) => cuts.extend(chains.forward.as_ref().map(|row| drop(row, from.clone()))),
        (Way::Here | Way::From(_) | Way::Nat(_), None) => {}
    }
    // No match begins with a blank.
    for cut in &mut cuts {
        cut.matches = cut.matches.trim_start().to_owned();
    }
    cuts
}

fn here(chains: &Chains, address: IpAddr, destination: Option<IpAddr>, port: PortSpec) -> Vec<Rule<'_>> {
    let matches = format!("{}{}{}", from(Some(address)), to(destination), to_port(port));
    let mut rules = vec![rule(Kind::Access, &chains.input, destination, &matches, "")];
    if let Some(row) = &chains.output {
        let matches = format!("{}{}{}", from(destination), to(Some(address)), ports(port, "--sport"));
        rules.push(rule(Kind::Output, row, destination, &matches, ""));
    }
    rules
}

fn translated<'c>(chains: &'c Chains, element: &Element, nat: &Nat, port: PortSpec) -> Option<Vec<Rule<'c>>> {
    let Element { address, destination, .. } = *element;
    let inner = inner_port(port, nat.port)?;
    let to_host = format!("{}{}{}", from(Some(address)), to(Some(nat.host)), to_port(inner));
    let mut rules = Vec::new();
    if nat.local {
        // It is asked after the translation.
        let end = destination.map(|_| nat.host);
        let matches = format!("{}{}{}", from(Some(address)), to(end), to_port(inner));
        rules.push(rule(Kind::LocalNat, &chains.input, end, &matches, ""));
    } else {
        rules.push(rule(Kind::Forward, chains.forward.as_ref()?, None, &to_host, ""));
    }
    if nat.rewrite {
        let matches = format!("{}{}{}", from(Some(address)), to(destination), to_port(port));
        let end = match nat.host {
            IpAddr::V4(host) => format!(" --to-destination {host}:{}", nat.port),
            IpAddr::V6(host) => format!(" --to-destination [{host}]:{}", nat.port),
        };
        rules.push(rule(Kind::Dnat, chains.dnat.as_ref()?, destination, &matches, &end));
    }
    match nat.source {
        NatSource::Kept => {}
        NatSource::Fixed(source) => {
            let shown = format!(" --to-source {source}");
            rules.push(rule(Kind::Snat, chains.snat.as_ref()?, None, &to_host, &shown));
        }
        NatSource::Masquerade => {
            let shown = format!(" --to-ports {}", port.first());
            rules.push(rule(Kind::Snat, chains.masquerade.as_ref()?, None, &to_host, &shown));
        }
    }
    Some(rules)
}

fn everything<'c>(
    chains: &'c Chains,
    element: &Element,
    host: Option<IpAddr>,
    source: NatSource,
) -> Option<Vec<Rule<'c>>> {
    let from = from(Some(element.address));
    let mut rules = vec![rule(Kind::ForwardAll, chains.forward.as_ref()?, None, &from, "")];
    if let Some(host) = host {
        let matches = format!("{from}{}", to(element.destination));
        let end = format!(" --to-destination {host}");
        rules.push(rule(Kind::DnatAll, chains.dnat.as_ref()?, element.destination, &matches, &end));
    }
    match source {
        NatSource::Kept => {}
        NatSource::Fixed(source) => {
            let shown = format!(" --to-source {source}");
            rules.push(rule(Kind::SnatAll, chains.snat.as_ref()?, None, &from, &shown));
        }
        NatSource::Masquerade => {
            rules.push(rule(Kind::SnatAll, chains.masquerade.as_ref()?, None, &from, ""));
        }
    }
    Some(rules)
}

fn rule<'c>(kind: Kind, row: &'c ChainRow, to: Option<IpAddr>, matches: &str, end: &str) -> Rule<'c> {
    Rule { kind, row, to, matches: matches.trim_start().to_owned(), target: format!("{}{end}", row.target) }
}

fn from(address: Option<IpAddr>) -> String {
    address.map(|address| format!(" -s {address}/{}", width(address))).unwrap_or_default()
}

fn to(address: Option<IpAddr>) -> String {
    address.map(|address| format!(" -d {address}/{}", width(address))).unwrap_or_default()
}

const fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn to_port(port: PortSpec) -> String {
    ports(port, "--dport")
}

fn ports(port: PortSpec, option: &str) -> String {
    let proto = port.proto().as_str();
    let range = match port.is_single() {
        true => port.first().to_string(),
        false => format!("{}:{}", port.first(), port.last()),
    };
    format!(" -p {proto} -m {proto} {option} {range}")
}

fn inner_port(outer: PortSpec, inner: u16) -> Option<PortSpec> {
    PortSpec::single(outer.proto(), inner).ok()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn row(target: &str, table: &str, from: &str, chain: &str) -> ChainRow {
        let [target, table, from, chain] = [target, table, from, chain].map(str::to_owned);
        ChainRow { target, table, from, jump: 1, chain }
    }

    pub(in super::super) fn chains() -> Chains {
        Chains {
            input: row("ACCEPT", "filter", "INPUT", "FWKNOP_INPUT"),
            output: Some(row("ACCEPT", "filter", "OUTPUT", "FWKNOP_OUTPUT")),
            forward: Some(row("ACCEPT", "filter", "FORWARD", "FWKNOP_FORWARD")),
            dnat: Some(row("DNAT", "nat", "PREROUTING", "FWKNOP_PREROUTING")),
            snat: Some(row("SNAT", "nat", "POSTROUTING", "FWKNOP_POSTROUTING")),
            masquerade: Some(row("MASQUERADE", "nat", "POSTROUTING", "FWKNOP_MASQUERADE")),
            prepend: false,
            flush_at_start: true,
            flush_at_end: true,
            program: None,
        }
    }

    pub(in super::super) fn ssh() -> Element {
        Element::here("10.1.1.5".parse().unwrap(), PortSpec::parse("22/tcp").unwrap()[0])
    }

    fn lines(element: &Element) -> Vec<String> {
        let chains = chains();
        let until = Unix::from_secs(1_795_644_428);
        let rules = rules_of(&chains, element).unwrap();
        rules.iter().map(|rule| format!("-A {} {}", rule.row.chain, rule.text(until, false))).collect()
    }

    fn nat(local: bool, source: NatSource) -> Way {
        Way::Nat(Nat { local, host: "10.7.7.7".parse().unwrap(), port: 8022, rewrite: true, source })
    }

    /// What Debian's fwknopd 2.6.10 makes in the same case (`iptables-save`), but for the two narrower rules.
    #[test]
    fn rules_have_the_shape_of_the_originals() {
        let narrow = Some("10.9.9.1".parse().unwrap());
        assert_eq!(
            lines(&ssh()),
            [
                "-A FWKNOP_INPUT -s 10.1.1.5/32 -p tcp -m tcp --dport 22 -m comment --comment _exp_1795644428 -j ACCEPT",
                "-A FWKNOP_OUTPUT -d 10.1.1.5/32 -p tcp -m tcp --sport 22 -m comment --comment _exp_1795644428 -j ACCEPT",
            ]
        );
        assert_eq!(
            lines(&Element { destination: narrow, ..ssh() }),
            [
                "-A FWKNOP_INPUT -s 10.1.1.5/32 -d 10.9.9.1/32 -p tcp -m tcp --dport 22 -m comment --comment _exp_1795644428 -j ACCEPT",
                "-A FWKNOP_OUTPUT -s 10.9.9.1/32 -d 10.1.1.5/32 -p tcp -m tcp --sport 22 -m comment --comment _exp_1795644428 -j ACCEPT",
            ]
        );
        assert_eq!(
            lines(&Element { destination: narrow, way: nat(false, NatSource::Masquerade), ..ssh() }),
            [
                "-A FWKNOP_FORWARD -s 10.1.1.5/32 -d 10.7.7.7/32 -p tcp -m tcp --dport 8022 -m comment --comment _exp_1795644428 -j ACCEPT",
                "-A FWKNOP_PREROUTING -s 10.1.1.5/32 -d 10.9.9.1/32 -p tcp -m tcp --dport 22 -m comment --comment _exp_1795644428 -j DNAT --to-destination 10.7.7.7:8022",
                "-A FWKNOP_MASQUERADE -s 10.1.1.5/32 -d 10.7.7.7/32 -p tcp -m tcp --dport 8022 -m comment --comment _exp_1795644428 -j MASQUERADE --to-ports 22",
            ]
        );
        assert_eq!(
            lines(&Element { way: nat(true, NatSource::Kept), ..ssh() }),
            [
                "-A FWKNOP_INPUT -s 10.1.1.5/32 -p tcp -m tcp --dport 8022 -m comment --comment _exp_1795644428 -j ACCEPT",
                "-A FWKNOP_PREROUTING -s 10.1.1.5/32 -p tcp -m tcp --dport 22 -m comment --comment _exp_1795644428 -j DNAT --to-destination 10.7.7.7:8022",
            ]
        );
        let source = NatSource::Fixed("10.8.8.8".parse().unwrap());
        let all = Way::All { to: Some("10.7.7.7".parse().unwrap()), source };
        assert_eq!(
            lines(&Element { port: None, way: all, ..ssh() }),
            [
                "-A FWKNOP_FORWARD -s 10.1.1.5/32 -m comment --comment _exp_1795644428 -j ACCEPT",
                "-A FWKNOP_PREROUTING -s 10.1.1.5/32 -m comment --comment _exp_1795644428 -j DNAT --to-destination 10.7.7.7",
                "-A FWKNOP_POSTROUTING -s 10.1.1.5/32 -m comment --comment _exp_1795644428 -j SNAT --to-source 10.8.8.8",
            ]
        );
    }

    #[test]
    fn inner_hosts_of_both_families() {
        let host = "2001:db8::2".parse().unwrap();
        let way = Way::Nat(Nat { local: false, host, port: 22, rewrite: true, source: NatSource::Kept });
        let six = Element { address: "2001:db8::1".parse().unwrap(), way, ..ssh() };
        let lines = lines(&six);
        assert!(lines[1].contains("-s 2001:db8::1/128 "), "{lines:?}");
        assert!(lines[1].ends_with("-j DNAT --to-destination [2001:db8::2]:22"), "{lines:?}");
    }

    #[test]
    fn without_a_chain_for_it_there_is_no_such_door() {
        let bare = Chains { forward: None, dnat: None, output: None, ..chains() };
        assert_eq!(rules_of(&bare, &ssh()).unwrap().len(), 1);
        assert_eq!(rules_of(&bare, &Element { way: nat(false, NatSource::Kept), ..ssh() }), None);
        assert_eq!(rules_of(&bare, &Element { way: nat(true, NatSource::Kept), ..ssh() }), None);
        let all = Way::All { to: None, source: NatSource::Kept };
        assert_eq!(rules_of(&bare, &Element { port: None, way: all, ..ssh() }), None);
    }
}
