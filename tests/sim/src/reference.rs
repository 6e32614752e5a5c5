//! What should come of each datagram, known from who made it. Written from the specification, not from the gate.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use portunus_model::{
    Claim, ClaimKey, Claimed, Client, ClientKey, Detail, Event, Now, Opened, Opening, Reason, Rules, openable,
};

use crate::packets::{Maker, Packet};

/// What the gate was told when it said something.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cause {
    /// A datagram came in, or queued ones were worked on.
    Input,
    /// The store answered for the packet with this id; whether its client was gone from the rules in between.
    Claimed { packet: u64, answer: Claimed, gone: bool },
    /// The grantor answered for it; whether a close for it went out before, and whether its door was open already.
    Opened { packet: u64, answer: Opened, revoked: bool, was_open: bool },
    /// Time passed.
    Timeout,
    /// Rules, closings.
    Order,
}

/// A datagram that was delivered: told from every other by its source's port.
struct Case {
    packet: Packet,
    source: IpAddr,
    done: bool,
}

/// The reference model.
#[derive(Default)]
pub(crate) struct Reference {
    cases: HashMap<u16, Case>,
    by_stamp: HashMap<i128, u64>,
    packets: HashMap<u64, Packet>,
    /// Claims that were answered "fresh", ever.
    fresh: HashSet<ClaimKey>,
    /// Claims that a failing store may or may not have kept.
    perhaps: HashSet<ClaimKey>,
    /// Packets that led to an opening, ever.
    opened: HashSet<u64>,
    pub(crate) reasons: BTreeMap<Reason, u64>,
    pub(crate) openings: u64,
}

/// What a packet is without a clock: noise, not for us, nobody's, or a client's.
enum Shape {
    Noise,
    Unauthentic,
    Nobodys,
    Of([u8; 32]),
}

fn shape(packet: &Packet) -> Shape {
    match (packet.maker, packet.spoiled) {
        (Maker::Noise, _) | (_, Some((0, _))) => Shape::Noise,
        // X25519 does not look at the top bit of a point, so the seal still fits; the signature does not.
        (_, Some((32, 0x80))) => Shape::Nobodys,
        (_, Some((1..101, _))) => Shape::Unauthentic,
        (_, Some(_)) | (Maker::Stranger, None) => Shape::Nobodys,
        (Maker::Client(key), None) => Shape::Of(key),
    }
}

fn client_of<'a>(packet: &Packet, rules: &'a Rules) -> Option<&'a Client> {
    let Shape::Of(key) = shape(packet) else { return None };
    rules.clients.iter().find(|client| client.key == ClientKey::Openme(key))
}

impl Reference {
    pub(crate) fn made(&mut self, packet: &Packet) {
        self.by_stamp.insert(packet.stamp.as_nanos(), packet.id);
        self.packets.insert(packet.id, Packet { spoiled: None, ..packet.clone() });
    }

    pub(crate) fn delivered(&mut self, port: u16, packet: Packet, source: IpAddr) {
        let before = self.cases.insert(port, Case { packet, source, done: false });
        assert!(before.is_none(), "ports are unique");
    }

    /// The daemon was killed: what it was busy with has no verdict.
    pub(crate) fn killed(&mut self) {
        self.cases.values_mut().for_each(|case| case.done = true);
    }

    /// Whether the rules have the client of the packet with this id.
    pub(crate) fn has_client(&self, id: u64, rules: &Rules) -> bool {
        client_of(&self.packets[&id], rules).is_some()
    }

    /// The gate wants a claim: for a packet that is proven, fresh and still waiting. Gives the packet's id.
    pub(crate) fn claim(&self, claim: &Claim, rules: &Rules, now: Now, cause: Cause) -> u64 {
        assert!(matches!(cause, Cause::Input), "a claim out of {cause:?}");
        let id = self.by_stamp[&claim.stamp.as_nanos()];
        let packet = &self.packets[&id];
        assert!(
            client_of(packet, rules).is_some(),
            "a claim for a packet of nobody in the rules: {packet:?}"
        );
        assert!(now.wall.distance(packet.stamp) <= rules.window, "a claim for a stale packet");
        assert_eq!(claim.keep_until, packet.stamp.after(rules.window));
        let intact = |case: &&Case| !case.done && case.packet.id == id && case.packet.spoiled.is_none();
        assert!(self.cases.values().any(|case| intact(&case)), "a claim for no datagram");
        id
    }

    /// The store answered.
    pub(crate) fn answered(&mut self, claim: &Claim, answer: Claimed, healthy: bool) {
        match answer {
            Claimed::Fresh => assert!(self.fresh.insert(claim.key), "the store let a packet in twice"),
            Claimed::Replayed => {
                let known = self.fresh.contains(&claim.key) || self.perhaps.contains(&claim.key);
                assert!(known, "the store refused a packet that was never seen");
            }
            Claimed::BelowHorizon => {}
            Claimed::TooFarAhead => panic!("every claim here has a window"),
            Claimed::Unavailable => {
                assert!(!healthy, "the store gave up though its disk works");
                self.perhaps.insert(claim.key);
            }
        }
    }

    /// The gate wants something opened.
    pub(crate) fn open(&mut self, opening: &Opening, rules: &Rules, now: Now, cause: Cause) -> u64 {
        let Cause::Claimed { packet: id, answer: Claimed::Fresh, gone: false } = cause else {
            panic!("an opening out of {cause:?}")
        };
        assert!(self.opened.insert(id), "a packet opened twice");
        let packet = &self.packets[&id];
        let Some(client) = client_of(packet, rules) else { panic!("an opening for nobody in the rules") };
        let allowed = |source: IpAddr| verdict_of_policy(packet, source, client, now) == Ok(opening.address);
        let mut waiting = self.cases.values().filter(|case| !case.done && case.packet.id == id);
        assert!(
            waiting.any(|case| allowed(case.source)),
            "an opening that policy does not allow: {opening:?}"
        );
        assert_eq!((&opening.client, &opening.ports), (&client.name, &client.ports));
        let left = client.expires.map(|expires| expires.since(now.wall));
        assert_eq!(opening.lasting, left.map_or(client.lasting, |left| left.min(client.lasting)));
        self.openings += 1;
        id
    }

    /// The gate's word on a datagram.
    pub(crate) fn verdict(&mut self, event: &Event, rules: &Rules, now: Now, cause: Cause, full: bool) {
        let port = event.source.map(|source| source.port()).unwrap_or_default();
        let Some(case) = self.cases.get_mut(&port) else { panic!("a verdict on no datagram: {event:?}") };
        assert!(!case.done, "a second verdict on one datagram: {event:?}");
        case.done = true;
        *self.reasons.entry(event.reason).or_default() += 1;
        let case = &self.cases[&port];
        let expected = expected(case, event, rules, now, cause, full);
        assert!(
            expected.contains(&event.reason),
            "{event:?} of {:?} out of {cause:?}, not {expected:?}",
            case.packet
        );
        let named = event.client.as_ref().map(portunus_model::ClientName::as_str);
        if let (Some(name), Shape::Of(_)) = (named, shape(&case.packet)) {
            let owner = client_of(&case.packet, rules).map(|client| client.name.as_str());
            assert!(owner.is_none_or(|owner| owner == name), "{name} is not {owner:?}");
        } else {
            assert_eq!(named, None, "a name on an unproven packet");
        }
    }

    /// At the end nothing is left without a verdict.
    pub(crate) fn all_done(&self) {
        let left: Vec<&Packet> =
            self.cases.values().filter(|case| !case.done).map(|case| &case.packet).collect();
        assert!(left.is_empty(), "{} datagrams without a verdict, such as {:?}", left.len(), left[0]);
    }
}

/// What policy says to a packet from `source`.
fn verdict_of_policy(packet: &Packet, source: IpAddr, client: &Client, now: Now) -> Result<IpAddr, Reason> {
    if client.expires.is_some_and(|expires| now.wall >= expires) {
        return Err(Reason::Expired);
    }
    let wanted = packet.target.unwrap_or(source);
    match openable(wanted, source) {
        Ok(address) if (address == source || client.any_target) && !client.ports.is_empty() => Ok(address),
        Ok(_) | Err(_) => Err(Reason::NotAllowed),
    }
}

/// Which words are right for a datagram, given what the gate was told.
fn expected(case: &Case, event: &Event, rules: &Rules, now: Now, cause: Cause, full: bool) -> Vec<Reason> {
    let packet = &case.packet;
    let client = client_of(packet, rules);
    match cause {
        Cause::Input => {
            let mut expected = match shape(packet) {
                Shape::Noise => return vec![Reason::Noise],
                Shape::Unauthentic => vec![Reason::Unauthentic],
                Shape::Nobodys => vec![Reason::UnknownClient],
                Shape::Of(_) if client.is_none() => vec![Reason::UnknownClient],
                Shape::Of(_) if now.wall.distance(packet.stamp) > rules.window => {
                    let ahead = (packet.stamp.as_nanos() - now.wall.as_nanos()) / 1_000_000;
                    if event.reason == Reason::Stale {
                        assert_eq!(event.detail, Some(Detail::ClockOffset(ahead as i64)));
                    }
                    vec![Reason::Stale]
                }
                Shape::Of(_) => vec![],
            };
            expected.extend(full.then_some(Reason::Busy));
            expected
        }
        Cause::Claimed { packet: id, answer, gone } => {
            assert_eq!(packet.id, id, "a verdict on another packet");
            match (client.filter(|_| !gone), answer) {
                (None, _) => vec![Reason::UnknownClient],
                (Some(client), Claimed::Fresh) => {
                    verdict_of_policy(packet, case.source, client, now).err().into_iter().collect()
                }
                (Some(_), Claimed::Replayed) => vec![Reason::Replayed],
                (Some(_), Claimed::BelowHorizon | Claimed::TooFarAhead) => vec![Reason::Stale],
                (Some(_), Claimed::Unavailable) => vec![Reason::StoreUnavailable],
            }
        }
        Cause::Opened { packet: id, answer, revoked, was_open } => {
            assert_eq!(packet.id, id, "a verdict on another packet");
            match answer {
                Opened::Open if revoked => vec![Reason::Closed],
                Opened::Open if was_open => vec![Reason::Extended],
                Opened::Open => vec![Reason::Granted],
                Opened::Refused | Opened::Full | Opened::Failed => vec![Reason::FirewallFailed],
            }
        }
        Cause::Timeout => vec![Reason::StoreUnavailable, Reason::FirewallFailed],
        Cause::Order => vec![],
    }
}

/// The longest that any question may stay without a verdict.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);
