//! What to do about a drop, in one sentence.

use portunus_model::{PortSpec, Seat};

use super::neighbours::{Keeper, keeper};
use super::taken::is_our_rule;
use super::{Blocked, SeatError, Wanted, check_seat};
use crate::ruleset::{Hook, Ruleset, Table, TableFamily};
use crate::walk::{self, IpVersion, Ours, Probe, Site, Source};

/// The mend, starting lower-case, to follow a colon.
pub(super) fn sentence(ruleset: &Ruleset, drop: &Blocked) -> String {
    let (ports, proto) = match drop.wanted {
        Wanted::Knock(port) => (port.to_string(), "udp"),
        // There it has the port that the inner host knows.
        Wanted::Door(spec) if drop.by.hook == Hook::Forward => {
            (sent_on(ruleset, spec, drop.version), spec.proto().as_str())
        }
        Wanted::Door(spec) if spec.is_single() => (spec.first().to_string(), spec.proto().as_str()),
        Wanted::Door(spec) => (format!("{}-{}", spec.first(), spec.last()), spec.proto().as_str()),
        Wanted::AnyPort(proto) => ("PORT".to_owned(), proto.as_str()),
        Wanted::Through(_) => return through(ruleset, &drop.by),
        Wanted::Live(_) => return live(ruleset, &drop.by),
    };
    let site = &drop.by;
    let table = table_of(ruleset, site);
    match table.and_then(keeper) {
        Some(Keeper::Firewalld) => format!(
            "allow it there (`firewall-cmd --permanent --add-port={ports}/{proto} && firewall-cmd --reload`); our own drop stands before firewalld's rules"
        ),
        Some(Keeper::Ufw) => {
            let ports = ports.replace('-', ":");
            format!("allow it there (`ufw allow {ports}/{proto}`); our own drop stands before ufw's rules")
        }
        Some(Keeper::Iptables) => {
            let tool = if site.family == TableFamily::Ip6 { "ip6tables" } else { "iptables" };
            let ports = ports.replace('-', ":");
            // Our place in iptables guards the way to this host only.
            let place = if site.hook == Hook::Forward { "" } else { "use place = \"iptables\", or " };
            format!("{place}allow it there (`{tool} -I {} -p {proto} --dport {ports} -j ACCEPT`)", site.base)
        }
        Some(Keeper::Owner(port)) => {
            format!(
                "allow {ports}/{proto} in the program that owns this table (netlink port {port}); our own drop stands before it"
            )
        }
        Some(Keeper::Docker | Keeper::Libvirt) => {
            format!("allow {ports}/{proto} in the program that made this table")
        }
        None if table.is_some_and(|table| site.hook == Hook::Forward && stands_in(table, &site.base)) => {
            let Site { family, table, base, .. } = site;
            format!(
                "write `forward = true` for its service, or allow it there (`nft insert rule {family} {table} {base} {proto} dport {ports} accept`)"
            )
        }
        None => native(ruleset, site, &ports, proto),
    }
}

/// Whether a rule of ours stands in this chain: a place that is taken already is no mend.
fn stands_in(table: &Table, chain: &str) -> bool {
    table.chain(chain).is_some_and(|chain| chain.rules.iter().any(is_our_rule))
}

/// The port of a door behind the translation that sends it on to another host.
fn sent_on(ruleset: &Ruleset, door: PortSpec, version: IpVersion) -> String {
    let probe = Probe {
        version,
        proto: door.proto(),
        port: Some(door.first()),
        source: Source::Outside,
        destination: None,
        interface: None,
        through: false,
    };
    let known = walk::port_sent_on(ruleset, &probe, Ours::Counted).filter(|_| door.is_single());
    known.map_or_else(|| "PORT".to_owned(), |port| port.to_string())
}

fn table_of<'r>(ruleset: &'r Ruleset, site: &Site) -> Option<&'r Table> {
    ruleset.tables.iter().find(|t| (t.family, t.held) == (site.family, site.held) && t.name == site.table)
}

/// Of what has come in already.
fn live(ruleset: &Ruleset, site: &Site) -> String {
    let Site { family, table, base, .. } = site;
    let tool = if *family == TableFamily::Ip6 { "ip6tables" } else { "iptables" };
    let rule = match table_of(ruleset, site).and_then(keeper) {
        Some(Keeper::Iptables | Keeper::Ufw) => {
            format!("{tool} -I {base} -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT")
        }
        Some(Keeper::Firewalld | Keeper::Docker | Keeper::Libvirt | Keeper::Owner(_)) => {
            return "accept established connections in the program that made this table: sessions end with their grant"
                .to_owned();
        }
        None => format!("nft insert rule {family} {table} {base} ct state established,related accept"),
    };
    format!("sessions end with their grant: accept what is established before it (`{rule}`)")
}

/// Of what goes on to another host.
fn through(ruleset: &Ruleset, site: &Site) -> String {
    let tool = if site.family == TableFamily::Ip6 { "ip6tables" } else { "iptables" };
    match table_of(ruleset, site).and_then(keeper) {
        Some(Keeper::Firewalld) => {
            "allow it there, by a policy of firewalld from the outer zone to the inner one".to_owned()
        }
        Some(Keeper::Ufw) => "allow it there (`ufw route allow from ADDRESS to HOST`)".to_owned(),
        Some(Keeper::Iptables) => format!(
            "leave FIREWALL out, so that fwknop's chains of iptables are used, or allow it there (`{tool} -I {} -d HOST -j ACCEPT`)",
            site.base
        ),
        Some(Keeper::Docker) => {
            format!("allow it there (`{tool} -I DOCKER-USER -d HOST -j ACCEPT`)")
        }
        Some(Keeper::Owner(_) | Keeper::Libvirt) => "allow it in the program that made this table".to_owned(),
        None => {
            let Site { family, table, base, .. } = site;
            format!(
                "name this chain in `place` (attach:{family}/{table}/{base}), or allow it there (`nft insert rule {family} {table} {base} ip daddr HOST accept`)"
            )
        }
    }
}

fn native(ruleset: &Ruleset, site: &Site, ports: &str, proto: &str) -> String {
    let (family, table, chain) = (site.family, &site.table, &site.base);
    let seat = family.seat().map(|family| Seat { family, table: table.clone(), chain: chain.clone() });
    match seat.map(|seat| check_seat(ruleset, &seat)) {
        Some(Ok(())) => format!("use place = \"attach:{family}/{table}/{chain}\""),
        Some(Err(
            SeatError::Missing(_) | SeatError::NotInput(_) | SeatError::Kept { .. } | SeatError::Taken(_),
        ))
        | None => {
            let before = match site.hook {
                Hook::Input => "",
                Hook::Ingress
                | Hook::Prerouting
                | Hook::Forward
                | Hook::Output
                | Hook::Postrouting
                | Hook::Egress
                | Hook::Other(_) => "it stands where we cannot; ",
            };
            format!(
                "{before}allow it there (`nft insert rule {family} {table} {chain} {proto} dport {ports} accept`)"
            )
        }
    }
}
