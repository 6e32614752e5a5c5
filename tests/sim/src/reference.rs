//! What should come of each datagram, known from who made it. Written from the specification, not from the gate.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use portunus_dialect::fwknop;
use portunus_model::{
    Claim, ClaimKey, Claimed, Client, ClientKey, Detail, Event, Grounds, KeyId, Now, Opened, Opening, Reason,
    Rules, Way, openable,
};

use crate::packets::{Maker, Packet};
use crate::stanzas;

/// What the gate was told when it said something.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cause {
    /// A datagram came in, or queued ones were worked on.
    Input,
    /// The store answered for the packet with this id; whether the client that it was claimed for was gone from the rules
    /// in between.
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

/// How many openings there were, and of which sort.
#[derive(Debug, Default)]
pub(crate) struct Openings {
    pub(crate) openme: u64,
    pub(crate) fwknop: u64,
    /// By a stanza whose keys an earlier one has too.
    pub(crate) later: u64,
    /// To another host.
    pub(crate) turned: u64,
    /// For as long as the client said.
    pub(crate) timed: u64,
}

/// What a packet is without a clock: noise, not for us, nobody's, or a client's.
enum Shape {
    Noise,
    Unauthentic,
    Nobodys,
    Of([u8; 32]),
    /// A text by these keys, as it was made.
    By(KeyId),
    /// A text that no key fits.
    NoKeys,
}

fn shape(packet: &Packet) -> Shape {
    match (packet.maker, packet.spoiled) {
        (Maker::Keys(_), Some(_)) if fwknop::Packet::new_checked(&packet.bytes).is_none() => Shape::Noise,
        (Maker::Keys(_), Some(_)) => Shape::NoKeys,
        (Maker::Keys(keys), None) => Shape::By(keys),
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
    let key = match shape(packet) {
        Shape::Of(key) => ClientKey::Openme(key),
        Shape::By(keys) => ClientKey::Fwknop(keys),
        Shape::Noise | Shape::Unauthentic | Shape::Nobodys | Shape::NoKeys => return None,
    };
    rules.clients.iter().find(|client| client.key == key)
}

/// What policy says to a packet from `source`.
fn decide(packet: &Packet, source: IpAddr, rules: &Rules, now: Now) -> Result<Opening, Reason> {
    if let Shape::By(keys) = shape(packet) {
        return stanzas::decide(packet, keys, source, rules, now);
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
        Shape::By(keys) => stanzas::window(rules, keys),
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

    pub(crate) fn delivered(&mut self, port: u16, packet: Packet, source: IpAddr) {
        let before = self.cases.insert(port, Case { packet, source, done: false });
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

    /// Whose the packet with this id is, by these rules.
    pub(crate) fn client<'a>(&self, id: u64, rules: &'a Rules) -> Option<&'a Client> {
        client_of(&self.packets[&id], rules)
    }

    /// The gate wants a claim: for a packet that is proven, fresh and still waiting. Gives the packet's id.
    pub(crate) fn claim(&self, claim: &Claim, rules: &Rules, now: Now, cause: Cause) -> u64 {
        assert!(matches!(cause, Cause::Input), "a claim out of {cause:?}");
        let id =
            self.by_claim.get(&claim.key).copied().unwrap_or_else(|| self.by_stamp[&claim.stamp.as_nanos()]);
        let packet = &self.packets[&id];
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
        let Cause::Claimed { packet: id, answer: Claimed::Fresh, gone: false } = cause else {
            panic!("an opening out of {cause:?}")
        };
        assert!(self.opened.insert(id), "a packet opened twice");
        let packet = &self.packets[&id];
        let allowed = |source: IpAddr| decide(packet, source, rules, now).as_ref() == Ok(opening);
        let mut waiting = self.cases.values().filter(|case| !case.done && case.packet.id == id);
        assert!(
            waiting.any(|case| allowed(case.source)),
            "an opening that policy does not allow: {opening:?} by {packet:?}"
        );
        self.openings.count(opening, packet, client_of(packet, rules));
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
        match (named, shape(&case.packet)) {
            (Some(name), Shape::Of(_)) => {
                let owner = client_of(&case.packet, rules).map(|client| client.name.as_str());
                assert!(owner.is_none_or(|owner| owner == name), "{name} is not {owner:?}");
            }
            (Some(name), Shape::By(keys)) => {
                let mut owners = stanzas::of(rules, keys).map(|(client, _)| client.name.as_str()).peekable();
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

impl Openings {
    fn count(&mut self, opening: &Opening, packet: &Packet, first: Option<&Client>) {
        let fwknop = u64::from(packet.wish.is_some());
        self.fwknop += fwknop;
        self.openme += 1 - fwknop;
        self.later += u64::from(first.is_some_and(|first| first.name != opening.client));
        self.turned += u64::from(opening.way != Way::Here);
        self.timed +=
            u64::from(packet.wish.as_ref().is_some_and(|wish| wish.timeout.is_some_and(|secs| secs > 0)));
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.openme += other.openme;
        self.fwknop += other.fwknop;
        self.later += other.later;
        self.turned += other.turned;
        self.timed += other.timed;
    }

    pub(crate) fn fewest(&self) -> u64 {
        let Self { openme, fwknop, later, turned, timed } = self;
        *openme.min(fwknop).min(later).min(turned).min(timed)
    }
}

/// What nobody's text is: where no stanza is for packets from there, nobody has even looked at it.
fn stranger(source: IpAddr, rules: &Rules) -> Vec<Reason> {
    if rules.clients.iter().all(|client| client.stanza.is_none()) {
        return vec![Reason::Noise];
    }
    vec![if stanzas::any_is_for(rules, source) { Reason::Unauthentic } else { Reason::UnknownClient }]
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
                Shape::NoKeys => stranger(case.source, rules),
                Shape::By(_) if client.is_none() => stranger(case.source, rules),
                Shape::Of(_) if client.is_none() => vec![Reason::UnknownClient],
                Shape::Of(_) | Shape::By(_) if is_stale(packet, rules, now) => {
                    let ahead = (packet.stamp.as_nanos() - now.wall.as_nanos()) / 1_000_000;
                    if event.reason == Reason::Stale {
                        assert_eq!(event.detail, Some(Detail::ClockOffset(ahead as i64)));
                    }
                    vec![Reason::Stale]
                }
                Shape::Of(_) | Shape::By(_) => vec![],
            };
            // By the lane of known sources it is proven before anybody asks whether a stanza is for packets from there.
            if matches!(shape(packet), Shape::By(keys) if !stanzas::one_is_for(rules, keys, case.source)) {
                expected.extend(stranger(case.source, rules));
            }
            expected.extend(full.then_some(Reason::Busy));
            expected
        }
        Cause::Claimed { packet: id, answer, gone } => {
            assert_eq!(packet.id, id, "a verdict on another packet");
            match (client.filter(|_| !gone), answer) {
                (None, _) => vec![Reason::UnknownClient],
                (Some(_), Claimed::Fresh) => {
                    decide(packet, case.source, rules, now).err().into_iter().collect()
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
