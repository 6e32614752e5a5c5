//! Whether somebody who has a grant really came in: for drops that are on trial until that is seen.
//!
//! While protected ports are dropped, a flow to one of them that was not there before has come through a grant, or from
//! this host itself. conntrack, which our chains ask about every packet, knows each flow, also one that a translation
//! sends on, and whether both sides have spoken. Called by the grantor; not here: whether an address is this host's own.

use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;

use portunus_model::{PortSpec, Way};
use portunus_sys::netlink::NetlinkSocket;

use crate::kill::{Tuple, each_flow};
use crate::nft::failed;
use crate::{Element, FirewallError};

/// `IPS_SEEN_REPLY`, `IPS_ASSURED` (linux/netfilter/nf_conntrack_common.h).
const SEEN_REPLY: u32 = 1 << 1;
const ASSURED: u32 = 1 << 2;

const TCP: u8 = 6;
const STEP: &str = "looking who came in";

/// Somebody came in through a grant; or from this host itself, which proves nothing, and is told since whoever tries it so
/// waits for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Came {
    /// From there.
    pub address: IpAddr,
    /// To this port.
    pub port: PortSpec,
}

/// What is known of flows to the ports that count.
#[derive(Debug)]
pub struct Proof {
    socket: NetlinkSocket,
    ports: Vec<PortSpec>,
    /// Flows that prove nothing, as they were there before, or have been told already.
    known: HashSet<Tuple>,
    /// Every grant that was seen open, also one that is over: its flow may be seen after it.
    granted: BTreeSet<Element>,
}

impl Proof {
    /// Begins: what flows now proves nothing.
    ///
    /// # Errors
    /// [`FirewallError`], when the flows cannot be listed.
    pub fn begin(ports: Vec<PortSpec>) -> Result<Self, FirewallError> {
        let socket = NetlinkSocket::netfilter().map_err(|error| failed(STEP, &error))?;
        let mut proof = Self { socket, ports, known: HashSet::new(), granted: BTreeSet::new() };
        let known = proof.flows()?.into_iter().map(|(tuple, _)| tuple).collect();
        proof.known = known;
        Ok(proof)
    }

    /// Who came in since the last look; `open` is what is open now. Each is told once.
    ///
    /// # Errors
    /// [`FirewallError`], when the flows cannot be listed.
    pub fn look(&mut self, open: impl Iterator<Item = Element>) -> Result<Vec<Came>, FirewallError> {
        self.granted.extend(open.filter(|element| element.way == Way::Here));
        let flows = self.flows()?;
        Ok(flows.into_iter().filter_map(|(tuple, status)| self.judge(tuple, status)).collect())
    }

    fn judge(&mut self, tuple: Tuple, status: u32) -> Option<Came> {
        if self.known.contains(&tuple) {
            return None;
        }
        let (address, to) = (tuple.from.0, tuple.to.1);
        let lets_in = |element: &&Element| {
            element.address == address && element.port.is_some_and(|port| is_of(port, &tuple))
        };
        let from_itself = address.is_loopback() || address == tuple.to.0;
        let counts = from_itself || self.granted.iter().any(|element| lets_in(&element));
        // Half a handshake, or a question without an answer: perhaps the next look sees more.
        if counts && !is_answered(&tuple, status) {
            return None;
        }
        self.known.insert(tuple);
        let proto = self.ports.iter().find(|port| is_of(**port, &tuple))?.proto();
        let port = PortSpec::single(proto, to).ok().filter(|_| counts)?;
        Some(Came { address, port })
    }

    /// The flows to our ports, each with its status.
    fn flows(&self) -> Result<Vec<(Tuple, u32)>, FirewallError> {
        let mut flows = Vec::new();
        each_flow(&self.socket, STEP, |tuple, status| {
            if self.ports.iter().any(|port| is_of(*port, &tuple)) {
                flows.push((tuple, status));
            }
        })?;
        Ok(flows)
    }
}

fn is_of(port: PortSpec, tuple: &Tuple) -> bool {
    port.proto().number() == tuple.proto && (port.first()..=port.last()).contains(&tuple.to.1)
}

/// A TCP connection is assured when its three-way handshake is done.
const fn is_answered(tuple: &Tuple, status: u32) -> bool {
    let wanted = if tuple.proto == TCP { ASSURED } else { SEEN_REPLY };
    status & wanted != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(text: &str) -> PortSpec {
        PortSpec::parse(text).unwrap()[0]
    }

    fn flow(from: &str, source: u16, proto: u8) -> Tuple {
        let address = |text: &str| text.parse().unwrap();
        Tuple { from: (address(from), source), to: (address("192.0.2.1"), 22), proto, zone: None }
    }

    fn proof() -> Proof {
        let mut proof = Proof {
            socket: NetlinkSocket::netfilter().unwrap(),
            ports: vec![port("22/tcp"), port("22/udp")],
            known: HashSet::new(),
            granted: BTreeSet::new(),
        };
        for text in ["22/tcp", "22/udp"] {
            proof.granted.insert(Element::here("192.0.2.9".parse().unwrap(), port(text)));
        }
        proof
    }

    #[test]
    fn a_granted_address_that_was_answered_is_told_once() {
        let mut proof = proof();
        let came = Some(Came { address: "192.0.2.9".parse().unwrap(), port: port("22/tcp") });
        assert_eq!(proof.judge(flow("192.0.2.9", 1000, 6), SEEN_REPLY), None, "half a handshake");
        assert_eq!(proof.judge(flow("192.0.2.9", 1000, 6), SEEN_REPLY | ASSURED), came);
        assert_eq!(proof.judge(flow("192.0.2.9", 1000, 6), SEEN_REPLY | ASSURED), None, "once");
        assert_eq!(proof.judge(flow("192.0.2.9", 1000, 17), 0), None, "no answer");
        assert!(proof.judge(flow("192.0.2.9", 1000, 17), SEEN_REPLY).is_some());
    }

    #[test]
    fn what_flowed_before_its_grant_and_what_has_none_proves_nothing() {
        let mut proof = proof();
        let granted = std::mem::take(&mut proof.granted);
        assert_eq!(proof.judge(flow("192.0.2.9", 1000, 6), ASSURED), None);
        proof.granted = granted;
        assert_eq!(proof.judge(flow("192.0.2.9", 1000, 6), ASSURED), None, "it was there before");
        assert_eq!(proof.judge(flow("192.0.2.8", 1000, 6), ASSURED), None, "another address");
        assert!(proof.judge(flow("192.0.2.9", 1001, 6), ASSURED).is_some());
    }

    #[test]
    fn who_comes_from_this_host_is_told_without_a_grant() {
        let mut proof = proof();
        for from in ["127.0.0.1", "192.0.2.1"] {
            let came = Some(Came { address: from.parse().unwrap(), port: port("22/tcp") });
            assert_eq!(proof.judge(flow(from, 1000, 6), SEEN_REPLY), None, "half a handshake");
            assert_eq!(proof.judge(flow(from, 1000, 6), ASSURED), came);
            assert_eq!(proof.judge(flow(from, 1000, 6), ASSURED), None, "once");
        }
    }
}
