//! What a stanza of fwknop's access.conf says to a claimed knock. Pure; the order of the questions is the original's
//! (spec: "Receiver pipeline"), so that the first one that refuses is the one that people know.

use std::net::IpAddr;
use std::time::Duration;

use portunus_dialect::fwknop::{Message, Wish};
use portunus_model::{
    Client, CycleFacts, Grounds, Nat, NatRule, NatSource, Net, Now, Opening, Order, PortSpec, Proto, Refusal,
    Stanza, Way, Work, openable,
};

use crate::Door;
use crate::chain::Taken;
use crate::names::{Known, Names};

/// What one stanza says.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Judged {
    /// It may open this.
    Open(Opening),
    /// It may have this run.
    Run(Order),
    /// This name is to be looked up first; then the question is asked again.
    Name(String),
    /// It may not.
    Refuse(Refusal),
}

/// Whether the stanza is for packets from there to there at all; one that is not is not even counted as a refusal.
pub(crate) fn is_for(stanza: &Stanza, source: IpAddr, destination: Option<IpAddr>) -> bool {
    within(&stanza.sources, Some(source)) && within(&stanza.destinations, destination)
}

/// Where nobody can tell the address only a stanza for any of them is for it.
fn within(nets: &[Net], address: Option<IpAddr>) -> bool {
    nets.is_empty() || address.is_some_and(|address| nets.iter().any(|net| net.contains(address)))
}

/// Judges one knock by one stanza.
pub(crate) fn judge(
    knock: &Taken,
    asked: &Wish,
    client: &Client,
    stanza: &Stanza,
    names: &Names,
    now: Now,
) -> Judged {
    match try_judge(knock, asked, client, stanza, names, now) {
        Ok(judged) => judged,
        Err(refusal) => Judged::Refuse(refusal),
    }
}

fn try_judge(
    knock: &Taken,
    asked: &Wish,
    client: &Client,
    stanza: &Stanza,
    names: &Names,
    now: Now,
) -> Result<Judged, Refusal> {
    let left = client.expires.map_or(Duration::MAX, |expires| expires.since(now.wall));
    if left.is_zero() {
        return Err(Refusal::Expired);
    }
    if stanza.window.is_some_and(|window| now.wall.distance(knock.stamp()) > window) {
        return Err(Refusal::Stale);
    }
    let source = knock.source();
    let address = match knock.target() {
        None if stanza.require_source => return Err(Refusal::NoAddress),
        None => source,
        Some(target) => target,
    };
    let address = for_whom(address, source)?;
    if !client.any_target && address != source {
        return Err(Refusal::Address);
    }
    if stanza.username.as_ref().is_some_and(|name| *name != asked.user) {
        return Err(Refusal::Username);
    }
    let ports = match &asked.message {
        Message::Command { text, .. } => return command(client, stanza, source, text),
        Message::Access { ports, .. } => ports,
    };
    allow_nat(asked, &stanza.nat)?;
    if let Some(cycle) = &stanza.cycle {
        allow_ports(stanza, ports)?;
        let lasting = lasting(asked, cycle.timer, stanza.longest).min(left);
        let facts = cycle_facts(knock, asked, address, ports, lasting);
        let work = Work::Cycle(facts.ok_or(Refusal::Port)?);
        return Ok(Judged::Run(order(client, stanza, source, work)));
    }
    allow_ports(stanza, ports)?;
    let way = match way(asked, &stanza.nat, names, now)? {
        Found::Way(way) => way,
        Found::Ask(name) => return Ok(Judged::Name(name)),
    };
    let ports = match way {
        Way::All { .. } => Box::default(),
        Way::Here | Way::From(_) | Way::Nat(_) => specs(ports).ok_or(Refusal::Port)?,
    };
    Ok(Judged::Open(Opening {
        client: client.holder(),
        address,
        ports,
        lasting: lasting(asked, client.lasting, stanza.longest).min(left),
        destination: knock.destination().filter(|_| stanza.destination_rule),
        way,
        grounds: knock.grounds(client),
    }))
}

/// Whether a grant that is open would still be given, after a reload: to a knock from where it came from, to where it went.
pub(crate) fn still_allows(stanza: &Stanza, door: &Door, grounds: &Grounds) -> bool {
    let is_for = within(&stanza.sources, grounds.source) && within(&stanza.destinations, grounds.destination);
    // It would be for the knock's destination only now.
    let wider = stanza.destination_rule && door.destination.is_none() && grounds.destination.is_some();
    is_for && !wider && still_opens(stanza, &door.ports, door.way)
}

fn still_opens(stanza: &Stanza, ports: &[PortSpec], way: Way) -> bool {
    let rule = &stanza.nat;
    // Where nothing is rewritten the inner port is what is open, after a restart; the asked one was allowed.
    let inner =
        |spec: &PortSpec| matches!(way, Way::Nat(Nat { rewrite: false, port, .. }) if port == spec.first());
    let allowed =
        |spec: &PortSpec| inner(spec) || allow_ports(stanza, &[(spec.proto(), spec.first())]).is_ok();
    let turned = match way {
        Way::Here => !rule.unasked,
        // No stanza opens for a source port.
        Way::From(_) => false,
        Way::All { to, source } => {
            let forced = rule.force.map(|(host, _)| host).filter(|_| !rule.keep_destination);
            rule.all && rule.source == source && (to == forced || (rule.force.is_none() && rule.forward))
        }
        Way::Nat(Nat { host, port, local, .. }) => match rule.force {
            Some(forced) => forced == (host, port) && if local { rule.local } else { !rule.all },
            None => {
                if local {
                    rule.local
                } else {
                    rule.forward && !rule.all
                }
            }
        },
    };
    turned && stanza.cycle.is_none() && ports.iter().all(allowed)
}

/// The original's users knock over loopback when they try things, and for loopback addresses: that harms nobody, where the
/// knock itself came over loopback.
fn for_whom(address: IpAddr, source: IpAddr) -> Result<IpAddr, Refusal> {
    let address = address.to_canonical();
    if address.is_loopback() && source.is_loopback() {
        return Ok(address);
    }
    openable(address, source).map_err(|_| Refusal::Address)
}

fn order(client: &Client, stanza: &Stanza, source: IpAddr, work: Work) -> Order {
    Order { client: client.name.clone(), stanza: stanza.number, source, work }
}

fn command(client: &Client, stanza: &Stanza, source: IpAddr, text: &str) -> Result<Judged, Refusal> {
    if stanza.command.is_none() {
        return Err(Refusal::CommandsOff);
    }
    let work = Work::Command(text.to_owned());
    Ok(Judged::Run(order(client, stanza, source, work)))
}

/// A client's own timeout, no longer than MAX_FW_TIMEOUT; else what the stanza gives.
fn lasting(asked: &Wish, given: Duration, longest: Duration) -> Duration {
    match asked.timeout.filter(|&secs| secs > 0) {
        Some(secs) => Duration::from_secs(secs.into()).min(longest),
        None => given,
    }
}

fn allow_nat(asked: &Wish, rule: &NatRule) -> Result<(), Refusal> {
    match &asked.nat {
        None => Ok(()),
        Some(nat) if nat.local && !rule.local => Err(Refusal::LocalNatOff),
        Some(nat) if !nat.local && !rule.forward => Err(Refusal::NatOff),
        Some(_) => Ok(()),
    }
}

fn allow_ports(stanza: &Stanza, ports: &[(Proto, u16)]) -> Result<(), Refusal> {
    let allowed = |&(proto, port): &(Proto, u16)| {
        let within = |specs: &[PortSpec]| specs.iter().any(|spec| spec.contains(proto, port));
        stanza.open_ports.as_deref().is_none_or(within) && !within(&stanza.restrict_ports)
    };
    if ports.is_empty() || !ports.iter().all(allowed) { Err(Refusal::Port) } else { Ok(()) }
}

enum Found {
    Way(Way),
    Ask(String),
}

fn way(asked: &Wish, rule: &NatRule, names: &Names, now: Now) -> Result<Found, Refusal> {
    if asked.nat.is_none() && !rule.unasked {
        return Ok(Found::Way(Way::Here));
    }
    let inner = match (rule.force, &asked.nat) {
        (Some(forced), _) => Some(forced),
        (None, None) => None,
        (None, Some(nat)) => match inner_host(&nat.host, rule, names, now)? {
            Inner::Host(host) => Some((host, nat.port)),
            Inner::Ask(name) => return Ok(Found::Ask(name)),
        },
    };
    let rewrite = !rule.keep_destination;
    // A forced inner host is somewhere else, unless the client asks for the server itself; and who does that never gets
    // everything through.
    let local = asked.nat.as_ref().is_some_and(|nat| nat.local);
    if rule.all && !local {
        let to = inner.map(|(host, _)| host.to_canonical()).filter(|_| rewrite);
        return Ok(Found::Way(Way::All { to, source: rule.source }));
    }
    // Only FORWARD_ALL does without an inner host.
    let Some((host, port)) = inner else { return Ok(Found::Way(Way::Here)) };
    let source = if local { NatSource::Kept } else { rule.source };
    Ok(Found::Way(Way::Nat(Nat { local, host: host.to_canonical(), port, rewrite, source })))
}

enum Inner {
    Host(IpAddr),
    Ask(String),
}

fn inner_host(host: &str, rule: &NatRule, names: &Names, now: Now) -> Result<Inner, Refusal> {
    let checked = |address| if is_host(address) { Ok(Inner::Host(address)) } else { Err(Refusal::Address) };
    if let Ok(address) = host.parse() {
        return checked(address);
    }
    if !rule.names {
        return Err(Refusal::NamesOff);
    }
    if !is_name(host) {
        return Err(Refusal::NotAName);
    }
    match names.look(host, now.mono) {
        Known::As(address) => checked(address),
        Known::Nobody => Err(Refusal::NameUnknown),
        Known::NotYet => Ok(Inner::Ask(host.to_owned())),
    }
}

fn is_host(address: IpAddr) -> bool {
    let address = address.to_canonical();
    address.is_loopback() || openable(address, address).is_ok()
}

/// RFC 1123 section 2.1, and the underscore that some use.
fn is_name(name: &str) -> bool {
    let label = |label: &str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        (1..=63).contains(&label.len()) && label.chars().all(fits) && !label.starts_with('-')
    };
    name.len() <= 253 && name.strip_suffix('.').unwrap_or(name).split('.').all(label)
}

/// As a grant names them: sorted, each once.
fn specs(ports: &[(Proto, u16)]) -> Option<Box<[PortSpec]>> {
    let specs: Option<Vec<PortSpec>> =
        ports.iter().map(|&(proto, port)| PortSpec::single(proto, port).ok()).collect();
    let mut specs = specs?;
    specs.sort_unstable();
    specs.dedup();
    Some(specs.into())
}

fn cycle_facts(
    knock: &Taken,
    asked: &Wish,
    address: IpAddr,
    ports: &[(Proto, u16)],
    lasting: Duration,
) -> Option<CycleFacts> {
    let &(proto, port) = ports.first()?;
    Some(CycleFacts {
        address,
        source: knock.source(),
        destination: knock.destination(),
        proto: proto.number(),
        port,
        ends: knock.stamp().after(lasting),
        client_timeout: asked.timeout.unwrap_or(0),
        lasting,
    })
}

#[cfg(test)]
#[path = "stanza_tests.rs"]
mod tests;
