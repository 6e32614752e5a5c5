//! What fwknop's stanzas say to a packet. Written from the specification ("Receiver pipeline"), not from the gate.

use std::net::IpAddr;
use std::time::Duration;

use portunus_dialect::fwknop::Message;
use portunus_model::{
    Client, ClientKey, KeyId, Nat, NatSource, Now, Opening, PortSpec, Reason, Rules, Stanza, Way, openable,
};

use crate::packets::Packet;
use crate::reference::grounds;

/// The stanzas with these keys, in the order of the files.
pub(crate) fn of<'r>(rules: &'r Rules, keys: &[KeyId]) -> impl Iterator<Item = (&'r Client, &'r Stanza)> {
    let has = |client: &&Client| keys.iter().any(|keys| client.key == ClientKey::Fwknop(*keys));
    let theirs: Vec<&Client> = rules.clients.iter().filter(has).collect();
    let theirs = theirs.into_iter();
    theirs.filter_map(|client| Some((client, client.stanza.as_deref()?)))
}

/// Whether any stanza at all is for packets from there.
pub(crate) fn any_is_for(rules: &Rules, source: IpAddr) -> bool {
    rules.clients.iter().filter_map(|client| client.stanza.as_deref()).any(|stanza| is_for(stanza, source))
}

/// Whether one of those with these keys is.
pub(crate) fn one_is_for(rules: &Rules, keys: &[KeyId], source: IpAddr) -> bool {
    of(rules, keys).any(|(_, stanza)| is_for(stanza, source))
}

fn is_for(stanza: &Stanza, source: IpAddr) -> bool {
    stanza.sources.is_empty() || stanza.sources.iter().any(|net| net.contains(source))
}

/// How old a packet may be: of all its stanzas the most patient counts. `None`: any age.
pub(crate) fn window(rules: &Rules, keys: &[KeyId]) -> Option<Duration> {
    let windows: Vec<_> = of(rules, keys).map(|(_, stanza)| stanza.window).collect();
    if windows.contains(&None) { None } else { windows.into_iter().flatten().max() }
}

/// The first stanza that does not refuse, and what it opens; else the last one's refusal.
pub(crate) fn decide(
    packet: &Packet,
    keys: &[KeyId],
    source: IpAddr,
    rules: &Rules,
    now: Now,
) -> Result<Opening, Reason> {
    let mut refused = Reason::NotAllowed;
    for (client, stanza) in of(rules, keys).filter(|(_, stanza)| is_for(stanza, source)) {
        match judge(packet, source, client, stanza, now) {
            Ok(opening) => return Ok(opening),
            Err(reason) => refused = reason,
        }
    }
    Err(refused)
}

fn judge(
    packet: &Packet,
    source: IpAddr,
    client: &Client,
    stanza: &Stanza,
    now: Now,
) -> Result<Opening, Reason> {
    let Some(wish) = &packet.wish else { return Err(Reason::NotAllowed) };
    if client.expires.is_some_and(|expires| now.wall >= expires) {
        return Err(Reason::Expired);
    }
    if stanza.window.is_some_and(|window| now.wall.distance(packet.stamp) > window) {
        return Err(Reason::Stale);
    }
    let Message::Access { ports, .. } = &wish.message else { return Err(Reason::NotAllowed) };
    let address = openable(packet.target.unwrap_or(source), source).map_err(|_| Reason::NotAllowed)?;
    let inside = |specs: &[PortSpec], port: &(_, u16)| specs.iter().any(|spec| spec.contains(port.0, port.1));
    let may_open = |port| stanza.open_ports.as_deref().is_none_or(|specs| inside(specs, port));
    let allowed = (packet.target.is_some() || !stanza.require_source)
        && (client.any_target || address == source)
        && stanza.username.as_ref().is_none_or(|user| *user == wish.user)
        && (wish.nat.is_none() || stanza.nat.forward)
        && ports.iter().all(|port| may_open(port) && !inside(&stanza.restrict_ports, port));
    if !allowed {
        return Err(Reason::NotAllowed);
    }
    let lasting = match wish.timeout {
        Some(secs @ 1..) => Duration::from_secs(secs.into()).min(stanza.longest),
        Some(0) | None => client.lasting,
    };
    let left = client.expires.map_or(Duration::MAX, |expires| expires.since(now.wall));
    let mut specs: Vec<PortSpec> =
        ports.iter().map(|&(proto, port)| PortSpec::single(proto, port).unwrap()).collect();
    specs.sort_unstable();
    specs.dedup();
    let asked = wish.nat.as_ref().map(|nat| (nat.host.parse().unwrap(), nat.port));
    let way =
        |(host, port)| Way::Nat(Nat { local: false, host, port, rewrite: true, source: NatSource::Kept });
    Ok(Opening {
        client: client.name.clone(),
        address,
        ports: specs.into(),
        lasting: lasting.min(left),
        destination: None,
        way: stanza.nat.force.or(asked).map_or(Way::Here, way),
        grounds: grounds(source),
    })
}
