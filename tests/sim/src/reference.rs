//! What should come of each datagram, known from who made it. Written from the specification, not from the gate.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use portunus_dialect::fwknop;
use portunus_model::{
    Claim, ClaimKey, Claimed, Client, ClientKey, ClientName, Event, Grounds, KeyId, Mono, Now, Opened,
    Opening, Reason, Rules, Way, openable,
};

use crate::openings::Openings;
use crate::packets::{GPG_SETS, Maker, Packet, gpg_id, takers};
use crate::stanzas;

mod expected;

/// What the gate was told when it said something.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cause {
    /// A datagram came in, or queued ones were worked on.
    Input,
    /// The store answered for the packet with this id; whether all that it was claimed for were gone from the rules in
    /// between; and which sets of GnuPG's keys took it and are still there.
    Claimed { packet: u64, answer: Claimed, gone: bool, takers: u8 },
    /// gpg answered.
    Gpg,
    /// The grantor answered for it; whether a close for it went out before, and whether its door was open already.
    Opened { packet: u64, answer: Opened, revoked: bool, was_open: bool },
    /// Time passed.
    Timeout,
    /// Rules, closings.
    Order,
}

/// What the world was like at a verdict.
#[derive(Clone, Copy)]
pub(crate) struct About {
    pub(crate) cause: Cause,
    /// Whether the lane of unknown packets was full.
    pub(crate) full: bool,
    /// When gpg had trouble last, or as much to do as may wait.
    pub(crate) strained: Option<Mono>,
}

/// A datagram that was delivered: told from every other by its source's port.
struct Case {
    packet: Packet,
    source: IpAddr,
    at: Mono,
    /// Whether other rules came while it waited.
    reloaded: bool,
    done: bool,
}

/// The reference model.
#[derive(Default)]
pub(crate) struct Reference {
    cases: HashMap<u16, Case>,
    by_stamp: HashMap<i128, u64>,
    by_claim: HashMap<ClaimKey, u64>,
    packets: HashMap<u64, Packet>,
    /// Claims that were answered "fresh", ever.
    fresh: HashSet<ClaimKey>,
    /// Claims that a failing store may or may not have kept.
    perhaps: HashSet<ClaimKey>,
    /// Packets that led to an opening, ever.
    opened: HashSet<u64>,
    pub(crate) reasons: BTreeMap<Reason, u64>,
    pub(crate) openings: Openings,
}

/// What a packet is without a clock: noise, not for us, nobody's, or a client's.
enum Shape {
    Noise,
    Unauthentic,
    Nobodys,
    Of([u8; 32]),
    /// A text by these keys, as it was made.
    By(Vec<KeyId>),
    /// A text that no key fits.
    NoKeys,
}

fn shape(packet: &Packet) -> Shape {
    match (packet.maker, packet.spoiled) {
        (Maker::Keys(_) | Maker::Signer(..), Some(_))
            if fwknop::Packet::new_checked(&packet.bytes).is_none() =>
        {
            Shape::Noise
        }
        (Maker::Keys(_) | Maker::Signer(..), Some(_)) => Shape::NoKeys,
        (Maker::Keys(keys), None) => Shape::By(vec![keys]),
        (Maker::Signer(signer, ring), None) => match takers(signer, ring) {
            none if none.is_empty() => Shape::NoKeys,
            keys => Shape::By(keys),
        },
        (Maker::Noise, _) | (_, Some((0, _))) => Shape::Noise,
        // X25519 does not look at the top bit of a point, so the seal still fits; the signature does not.
        (_, Some((32, 0x80))) => Shape::Nobodys,
        (_, Some((1..101, _))) => Shape::Unauthentic,
        (_, Some(_)) | (Maker::Stranger, None) => Shape::Nobodys,
        (Maker::Client(key), None) => Shape::Of(key),
    }
}

/// Whose it is; of stanzas with the same keys the first.
fn client_of<'a>(packet: &Packet, rules: &'a Rules) -> Option<&'a Client> {
    let keys = match shape(packet) {
        Shape::Of(key) => vec![ClientKey::Openme(key)],
        Shape::By(keys) => keys.into_iter().map(ClientKey::Fwknop).collect(),
        Shape::Noise | Shape::Unauthentic | Shape::Nobodys | Shape::NoKeys => return None,
    };
    rules.clients.iter().find(|client| keys.contains(&client.key))
}

/// What policy says to a packet from `source`.
fn decide(packet: &Packet, source: IpAddr, rules: &Rules, now: Now, mask: u8) -> Result<Opening, Reason> {
    if let Shape::By(mut keys) = shape(packet) {
        if packet.is_of_gpg() {
            keys.retain(|keys| (0..GPG_SETS.len()).any(|set| gpg_id(set) == *keys && mask & 1 << set != 0));
        }
        return stanzas::decide(packet, &keys, source, rules, now);
    }
    let client = client_of(packet, rules).ok_or(Reason::UnknownClient)?;
    let left = client.expires.map_or(Duration::MAX, |expires| expires.since(now.wall));
    if left.is_zero() {
        return Err(Reason::Expired);
    }
    match openable(packet.target.unwrap_or(source), source) {
        Ok(address) if (address == source || client.any_target) && !client.ports.is_empty() => Ok(Opening {
            client: client.name.clone(),
            address,
            ports: client.ports.clone(),
            lasting: client.lasting.min(left),
            destination: None,
            way: Way::Here,
            grounds: grounds(source),
        }),
        Ok(_) | Err(_) => Err(Reason::NotAllowed),
    }
}

/// On what a grant to who knocked from `source` stands.
pub(crate) fn grounds(source: IpAddr) -> Grounds {
    Grounds { source: Some(source.to_canonical()), ..Grounds::default() }
}

/// How old a packet may be.
fn window(packet: &Packet, rules: &Rules) -> Option<Duration> {
    match shape(packet) {
        Shape::By(keys) => stanzas::window(rules, &keys),
        Shape::Of(_) | Shape::Noise | Shape::Unauthentic | Shape::Nobodys | Shape::NoKeys => {
            Some(rules.window)
        }
    }
}

fn is_stale(packet: &Packet, rules: &Rules, now: Now) -> bool {
    window(packet, rules).is_some_and(|window| now.wall.distance(packet.stamp) > window)
}

impl Reference {
    pub(crate) fn made(&mut self, packet: &Packet) {
        match packet.claim {
            Some(claim) => self.by_claim.insert(claim, packet.id),
            None => self.by_stamp.insert(packet.stamp.as_nanos(), packet.id),
        };
        self.packets.insert(packet.id, Packet { spoiled: None, ..packet.clone() });
    }

    pub(crate) fn delivered(&mut self, port: u16, packet: Packet, source: IpAddr, at: Mono) {
        let before = self.cases.insert(port, Case { packet, source, at, reloaded: false, done: false });
        assert!(before.is_none(), "ports are unique");
    }

    /// The daemon was killed: what it was busy with has no verdict.
    pub(crate) fn killed(&mut self) {
        self.cases.values_mut().for_each(|case| case.done = true);
    }

    /// The packet with this id, as it was made.
    pub(crate) fn packet(&self, id: u64) -> &Packet {
        &self.packets[&id]
    }

    /// Other rules are there: who waits is judged by them.
    pub(crate) fn reloaded(&mut self) {
        self.cases.values_mut().for_each(|case| case.reloaded = true);
    }

    /// How many datagrams have no verdict and need no gpg.
    pub(crate) fn waiting_but_for_gpg(&self) -> usize {
        self.cases.values().filter(|case| !case.done && !case.packet.is_of_gpg()).count()
    }

    /// Whose the packet with this id is, by these rules: the first of each set of keys.
    pub(crate) fn owners(&self, id: u64, rules: &Rules) -> Vec<(ClientName, ClientKey)> {
        let packet = &self.packets[&id];
        let mut owners: Vec<(ClientName, ClientKey)> = Vec::new();
        let keys = match shape(packet) {
            Shape::By(keys) => keys.into_iter().map(ClientKey::Fwknop).collect(),
            Shape::Of(key) => vec![ClientKey::Openme(key)],
            Shape::Noise | Shape::Unauthentic | Shape::Nobodys | Shape::NoKeys => Vec::new(),
        };
        for client in rules.clients.iter().filter(|client| keys.contains(&client.key)) {
            if owners.iter().all(|(_, key)| *key != client.key) {
                owners.push((client.name.clone(), client.key));
            }
        }
        owners
    }

    /// The gate wants a claim: for a packet that is proven, fresh and still waiting. Gives the packet's id.
    pub(crate) fn claim(&self, claim: &Claim, rules: &Rules, now: Now, cause: Cause) -> u64 {
        let id =
            self.by_claim.get(&claim.key).copied().unwrap_or_else(|| self.by_stamp[&claim.stamp.as_nanos()]);
        let packet = &self.packets[&id];
        match cause {
            Cause::Input => assert!(!packet.is_of_gpg(), "gpg was not asked about {packet:?}"),
            Cause::Gpg => assert!(packet.is_of_gpg(), "gpg's answer is for no {packet:?}"),
            Cause::Claimed { .. } | Cause::Opened { .. } | Cause::Timeout | Cause::Order => {
                panic!("a claim out of {cause:?}")
            }
        }
        assert!(
            client_of(packet, rules).is_some(),
            "a claim for a packet of nobody in the rules: {packet:?}"
        );
        assert!(!is_stale(packet, rules, now), "a claim for a stale packet");
        assert_eq!(claim.stamp, packet.stamp);
        match window(packet, rules) {
            Some(window) => assert_eq!(claim.keep_until, packet.stamp.after(window)),
            None => assert!(claim.keep_until > now.wall.after(Duration::from_hours(24 * 365 * 50))),
        }
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
            Claimed::TooFarAhead => {
                let kept = claim.keep_until.since(claim.stamp);
                assert!(
                    kept > Duration::from_hours(24 * 365),
                    "a packet that its window allows is too far ahead"
                );
            }
            Claimed::Unavailable => {
                assert!(!healthy, "the store gave up though its disk works");
                self.perhaps.insert(claim.key);
            }
        }
    }

    /// The gate wants something opened.
    pub(crate) fn open(&mut self, opening: &Opening, rules: &Rules, now: Now, cause: Cause) -> u64 {
        let Cause::Claimed { packet: id, answer: Claimed::Fresh, gone: false, takers } = cause else {
            panic!("an opening out of {cause:?}")
        };
        assert!(self.opened.insert(id), "a packet opened twice");
        let packet = &self.packets[&id];
        let allowed = |source: IpAddr| decide(packet, source, rules, now, takers).as_ref() == Ok(opening);
        let mut waiting = self.cases.values().filter(|case| !case.done && case.packet.id == id);
        assert!(
            waiting.any(|case| allowed(case.source)),
            "an opening that policy does not allow: {opening:?} by {packet:?}"
        );
        self.openings.count(opening, packet, client_of(packet, rules));
        id
    }

    /// The gate's word on a datagram.
    pub(crate) fn verdict(&mut self, event: &Event, rules: &Rules, now: Now, about: About) {
        let cause = about.cause;
        let port = event.source.map(|source| source.port()).unwrap_or_default();
        let Some(case) = self.cases.get_mut(&port) else { panic!("a verdict on no datagram: {event:?}") };
        assert!(!case.done, "a second verdict on one datagram: {event:?}");
        case.done = true;
        *self.reasons.entry(event.reason).or_default() += 1;
        let case = &self.cases[&port];
        let expected = expected::expected(case, event, rules, now, about);
        assert!(
            expected.contains(&event.reason),
            "{event:?} of {:?} out of {cause:?}, not {expected:?}",
            case.packet
        );
        let named = event.client.as_ref().map(ClientName::as_str);
        match (named, shape(&case.packet)) {
            (Some(name), Shape::Of(_)) => {
                let owner = client_of(&case.packet, rules).map(|client| client.name.as_str());
                assert!(owner.is_none_or(|owner| owner == name), "{name} is not {owner:?}");
            }
            (Some(name), Shape::By(keys)) => {
                let mut owners = stanzas::of(rules, &keys).map(|(client, _)| client.name.as_str()).peekable();
                let is_one = owners.peek().is_none() || owners.any(|owner| owner == name);
                let reloaded = matches!(cause, Cause::Opened { .. } | Cause::Timeout);
                assert!(is_one || reloaded, "{name} has other keys");
            }
            (named, _) => assert_eq!(named, None, "a name on an unproven packet"),
        }
    }

    /// At the end nothing is left without a verdict.
    pub(crate) fn all_done(&self) {
        let left: Vec<&Packet> =
            self.cases.values().filter(|case| !case.done).map(|case| &case.packet).collect();
        assert!(left.is_empty(), "{} datagrams without a verdict, such as {:?}", left.len(), left[0]);
    }
}

/// The longest that any question may stay without a verdict.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);
