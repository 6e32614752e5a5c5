//! The front: the gate as it is, with the rules of a small site.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use portunus_ctl::frame::Said;
use portunus_dialect::fwknop::{Message, Wish};
use portunus_gate::{Action, Door, Gate, Keyring, RestoredGrant, Session, Ticket, Tuning};
use portunus_model::{
    ClaimKey, Claimed, Client, ClientKey, ClientName, Closing, Datagram, Element, Grounds, Limits, NatLimits,
    NatRule, Now, Opening, PortSpec, Proto, Rules, Stanza, Via,
};

use super::fuse::{Fuse, Who};
use crate::packets::{Packet, Workshop, fwknop_keys, server_key};

/// How the site is set up: who is in, and whether port 80 is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Site {
    pub(super) without: Option<usize>,
    pub(super) narrow: bool,
}

/// Who there is: two of openme, three stanzas of which the last forces a translation.
pub(super) const CLIENTS: usize = 5;

fn tcp(port: u16) -> PortSpec {
    PortSpec::single(Proto::Tcp, port).unwrap()
}

pub(super) fn name(number: usize) -> ClientName {
    ClientName::new(&if number < 2 { format!("client {number}") } else { format!("stanza {number}") })
        .unwrap()
}

impl Site {
    fn ports(self) -> Vec<PortSpec> {
        if self.narrow { vec![tcp(22)] } else { vec![tcp(22), tcp(80)] }
    }

    pub(super) fn rules(self, workshop: &mut Workshop) -> Rules {
        let mut clients = Vec::new();
        for number in (0..CLIENTS).filter(|number| self.without != Some(*number)) {
            let openme = number < 2;
            let key = if openme {
                ClientKey::Openme(workshop.public(number as u64))
            } else {
                ClientKey::Fwknop(fwknop_keys(number as u64).id())
            };
            let inner = ("10.0.0.2".parse().unwrap(), 8022);
            let nat = NatRule { force: Some(inner), unasked: true, ..NatRule::default() };
            let stanza = Stanza {
                number: number as u32,
                open_ports: Some(self.ports()),
                longest: Duration::from_secs(40),
                window: Some(Duration::from_hours(24 * 30)),
                nat: if number == 4 { nat } else { NatRule { forward: true, ..NatRule::default() } },
                ..Stanza::default()
            };
            let ports = if openme { self.ports().into() } else { Box::default() };
            let lasting = Duration::from_secs(8 + 4 * number as u64);
            let stanza = (!openme).then(|| Box::new(stanza));
            clients.push(Client { stanza, ..Client::new(name(number), key, ports, lasting) });
        }
        Rules { generation: 1, window: Duration::from_hours(24 * 30), clients, ..Rules::default() }
    }

    pub(super) fn limits(self) -> Limits {
        let nat = NatLimits {
            forward: true,
            forced: vec![("10.0.0.2".parse().unwrap(), 8022)],
            ..NatLimits::default()
        };
        Limits {
            doors: self.ports(),
            longest: Duration::from_mins(1),
            most_open: 100,
            nat,
            ..Limits::default()
        }
    }
}

/// The front while it lives.
pub(super) struct Front {
    gate: Gate,
    fuse: Fuse,
}

fn keyring() -> Keyring {
    Keyring {
        openme: Some(server_key()),
        fwknop: (0..CLIENTS as u64).map(fwknop_keys).collect(),
        ..Keyring::default()
    }
}

impl Front {
    pub(super) fn new(rules: Rules, fuse: Fuse) -> Self {
        Self { gate: Gate::new(rules, keyring(), Tuning::default()), fuse }
    }

    /// A knock of this client from there: for all its ports, or those that it names.
    pub(super) fn knock(&mut self, now: Now, packet: &Packet, from: IpAddr) {
        let datagram = Datagram::new(packet.bytes.clone(), SocketAddr::new(from, 4000), Via::Udp);
        self.gate.handle_datagram(now, datagram);
        while self.gate.work(now, 1000) {}
    }

    pub(super) fn reload(&mut self, now: Now, rules: Rules) {
        self.gate.handle_rules(now, rules, keyring());
    }

    pub(super) fn close(&mut self, now: Now, closing: &Closing) {
        self.gate.handle_closing(now, closing);
    }

    pub(super) fn hear(&mut self, now: Now, said: Vec<Said>) {
        let mut restored = Vec::new();
        for one in said {
            match one.clone() {
                Said::Opened(ticket, answer) => {
                    self.gate.handle_opened(now, Ticket::from_u64(ticket), answer);
                }
                Said::Restored { client, address, ports, destination, way, until, grounds } => {
                    let door = Door { ports, destination, way };
                    restored.push(RestoredGrant { client, address, door, until, grounds });
                }
                Said::RestoredAll => self.gate.handle_restored(now, std::mem::take(&mut restored)),
                Said::Open(..)
                | Said::Close(_)
                | Said::Settle(_)
                | Said::Settled(..)
                | Said::Kill(..)
                | Said::Kept { .. }
                | Said::Killed(..) => {
                    panic!("the grantor says {one:?}")
                }
            }
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Now) {
        self.gate.handle_timeout(now);
    }

    pub(super) fn poll_timeout(&self) -> Option<portunus_model::Mono> {
        self.gate.poll_timeout()
    }

    /// What goes to the grantor, and what was said to be closed.
    pub(super) fn carry_out(
        &mut self,
        now: Now,
        claims: &mut HashSet<ClaimKey>,
    ) -> (Vec<Said>, Vec<Closing>) {
        let (mut said, mut closings) = (Vec::new(), Vec::new());
        while let Some(action) = self.gate.poll_action() {
            let one = match action {
                Action::Claim(ticket, claim) => {
                    let fresh = claims.insert(claim.key);
                    let answer = if fresh { Claimed::Fresh } else { Claimed::Replayed };
                    self.gate.handle_claimed(now, ticket, answer);
                    continue;
                }
                Action::Open(ticket, warrant) => Said::Open(ticket.as_u64(), warrant.into_opening()),
                Action::Close(closing) => {
                    closings.push(closing.clone());
                    Said::Close(closing)
                }
                Action::Accept(_) | Action::Tell(_) => continue,
                Action::Run(..)
                | Action::Resolve(..)
                | Action::Gpg(_)
                | Action::Chains(_)
                | Action::Settle(_)
                | Action::Enrol(..)
                | Action::Answer(_) => {
                    panic!("nothing here asks for that")
                }
            };
            if self.fuse.step(Who::Front) {
                said.push(one);
            }
        }
        (said, closings)
    }

    pub(super) fn sessions(&self, now: Now) -> impl Iterator<Item = Session<'_>> {
        self.gate.sessions(now)
    }
}

/// A packet of client `number`; a stanza's names the ports and the time.
pub(super) fn packet(
    workshop: &mut Workshop,
    number: usize,
    ports: &[u16],
    timeout: Option<u32>,
    now: Now,
    dice: &mut crate::dice::Dice,
) -> Packet {
    if number < 2 {
        return workshop.knock(number as u64, now.wall, None, dice);
    }
    let ports = ports.iter().map(|port| (Proto::Tcp, *port)).collect();
    let wish = Wish { timeout, ..Wish::new("alice", Message::Access { address: None, ports }) };
    workshop.text(number as u64, now.wall, wish, dice)
}

/// The doors of a session, one by one.
pub(super) fn elements(session: &Session<'_>) -> Vec<Element> {
    let Door { ports, destination, way } = session.door.clone();
    let (client, address, lasting) = (session.client.clone(), session.address, session.left);
    let grounds = Grounds::default();
    Element::all_of(&Opening { client, address, ports, lasting, destination, way, grounds })
}
