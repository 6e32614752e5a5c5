//! The packet on its way: what its headers hold, and what rules have changed of it.

use std::net::IpAddr;

use portunus_model::Proto;

use super::value::{Byte, known};
use super::{IpVersion, Probe, Site, Source};
use crate::ruleset::{Base, Hook, PayloadBase, TableFamily};

/// The source port of a client: any of Linux's ephemeral range does, as no rule in use tells them apart.
const SOURCE_PORT: u16 = 49_213;

/// TCP's SYN, and nothing else, in its flags.
const SYN: u8 = 0x02;

/// Its ACK, and nothing else: as everything after the first two packets is.
const ACK: u8 = 0x10;

/// Where a packet is sent on to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SentOn {
    /// To another host.
    pub(super) elsewhere: bool,
    /// The new port; `None`: the same. `Some(None)`: one that we do not know.
    pub(super) port: Option<Option<u16>>,
}

pub(super) struct Packet<'p> {
    probe: &'p Probe,
    /// Where it is.
    pub(super) hook: Hook,
    /// Whether conntrack has seen it when this chain does.
    pub(super) tracked: bool,
    /// `notrack` was met.
    pub(super) untracked: bool,
    /// Its mark, and its connection's, in host order.
    pub(super) mark: [Byte; 4],
    pub(super) connection_mark: [Byte; 4],
    /// The rule that sent it to another host, and so for certain.
    pub(super) sent_on: Option<Site>,
    /// A rule that sends it to another host, or not.
    pub(super) may_be_sent_on: Option<Site>,
    port: Option<u16>,
    /// It belongs to a connection that lives.
    pub(super) live: bool,
}

impl<'p> Packet<'p> {
    pub(super) fn new(probe: &'p Probe) -> Self {
        let zero = [Byte::Known(0); 4];
        Self {
            probe,
            hook: Hook::Input,
            tracked: true,
            untracked: false,
            mark: zero,
            connection_mark: zero,
            sent_on: None,
            may_be_sent_on: None,
            port: probe.port,
            live: false,
        }
    }

    pub(super) fn granted(&self) -> bool {
        self.probe.source == Source::Granted
    }

    pub(super) fn goes_through(&self) -> bool {
        self.probe.through || self.sent_on.is_some()
    }

    pub(super) const fn port(&self) -> Option<u16> {
        self.port
    }

    /// The port that it was sent to, in network order.
    pub(super) fn first_port(&self) -> [Byte; 2] {
        self.probe.port.map_or([Byte::Unknown; 2], |port| port.to_be_bytes().map(Byte::Known))
    }

    pub(super) const fn source_port() -> u16 {
        SOURCE_PORT
    }

    /// Whether it enters a base chain of this family: for certain, perhaps (`Some(false)`) or not.
    pub(super) fn enters(&self, family: TableFamily, base: &Base) -> Option<bool> {
        let version = match (family, self.probe.version) {
            (TableFamily::Inet | TableFamily::Netdev, _) => true,
            (TableFamily::Ip, version) => version == IpVersion::V4,
            (TableFamily::Ip6, version) => version == IpVersion::V6,
            // A bridge's chains see frames that it carries, not what ends at this host's address by itself.
            (TableFamily::Arp | TableFamily::Bridge | TableFamily::Other(_), _) => false,
        };
        if !version {
            return None;
        }
        match &self.probe.interface {
            _ if base.devices.is_empty() => Some(true),
            Some(interface) => base.devices.contains(&interface.name).then_some(true),
            None => base.devices.iter().any(|d| d != "lo").then_some(false),
        }
    }

    pub(super) fn send_on(&mut self, to: SentOn, by: Site, sure: bool) {
        match (sure, to.port) {
            (true, Some(port)) => self.port = port,
            // Here or there: what stays here keeps its port.
            (false, Some(_)) if !to.elsewhere => self.port = None,
            (_, Some(_) | None) => {}
        }
        match (to.elsewhere, sure) {
            (true, true) => self.sent_on = Some(by),
            (true, false) => self.may_be_sent_on = Some(by),
            (false, _) => {}
        }
    }

    pub(super) fn version(&self) -> IpVersion {
        self.probe.version
    }

    pub(super) fn proto(&self) -> Proto {
        self.probe.proto
    }

    /// `ct state`, as `NF_CT_STATE_BIT` makes it: established 2, new 8, invalid 1 where conntrack has not been,
    /// untracked 64.
    pub(super) fn state(&self) -> u32 {
        match (self.untracked, self.tracked) {
            (true, _) => 64,
            (false, true) if self.live => 2,
            (false, true) => 8,
            (false, false) => 1,
        }
    }

    pub(super) fn interface_name(&self) -> Vec<Byte> {
        let padded = |name: &str| {
            let mut bytes = name.as_bytes().to_vec();
            bytes.resize(16, 0);
            bytes
        };
        match &self.probe.interface {
            Some(interface) => known(&padded(&interface.name)),
            None => padded("lo").into_iter().map(Byte::NotLoopback).collect(),
        }
    }

    pub(super) fn interface_index(&self) -> Vec<Byte> {
        match &self.probe.interface {
            Some(i) if i.name == "lo" => known(&1_u32.to_ne_bytes()),
            Some(i) if i.index.is_some() => known(&i.index.unwrap_or(0).to_ne_bytes()),
            // The loopback is the first interface of every namespace.
            Some(_) | None => 1_u32.to_ne_bytes().into_iter().map(Byte::NotLoopback).collect(),
        }
    }

    /// Bytes of a header.
    pub(super) fn header(&self, base: PayloadBase, offset: usize, len: usize) -> Vec<Byte> {
        let header = match (base, self.probe.version) {
            (PayloadBase::Network, IpVersion::V4) => self.ipv4(),
            (PayloadBase::Network, IpVersion::V6) => self.ipv6(),
            (PayloadBase::Transport, _) => self.transport(),
            (PayloadBase::Link | PayloadBase::Other(_), _) => Vec::new(),
        };
        (offset..offset.saturating_add(len.min(64)))
            .map(|at| header.get(at).copied().unwrap_or(Byte::Unknown))
            .collect()
    }

    fn ipv4(&self) -> Vec<Byte> {
        // RFC 791: version and length, service, total length, id, "don't fragment", ttl, protocol, checksum.
        let mut header = known(&[0x45, 0]);
        header.extend([Byte::Unknown; 4]);
        header.extend(known(&[0x40, 0]));
        header.extend([Byte::Unknown, Byte::Known(self.proto().number()), Byte::Unknown, Byte::Unknown]);
        header.extend(self.source(4));
        header.extend(self.destination(4));
        header
    }

    fn ipv6(&self) -> Vec<Byte> {
        // RFC 8200: version, class and label, length, next header, hop limit.
        let mut header = vec![Byte::Unknown; 6];
        header.extend([Byte::Known(self.proto().number()), Byte::Unknown]);
        header.extend(self.source(16));
        header.extend(self.destination(16));
        header
    }

    fn transport(&self) -> Vec<Byte> {
        let mut header = known(&SOURCE_PORT.to_be_bytes());
        header.extend(self.port_bytes());
        if self.proto() == Proto::Tcp {
            header.extend([Byte::Unknown; 9]);
            header.push(Byte::Known(if self.live { ACK } else { SYN }));
        }
        header
    }

    fn port_bytes(&self) -> [Byte; 2] {
        self.port.map_or([Byte::Unknown; 2], |p| p.to_be_bytes().map(Byte::Known))
    }

    fn source(&self, len: usize) -> Vec<Byte> {
        match self.probe.source {
            Source::Outside | Source::Granted => vec![Byte::Outside; len],
            Source::Anyone => vec![Byte::Unknown; len],
            Source::At(address) => octets(address, len),
        }
    }

    fn destination(&self, len: usize) -> Vec<Byte> {
        self.probe.destination.map_or_else(|| vec![Byte::Unknown; len], |address| octets(address, len))
    }
}

fn octets(address: IpAddr, len: usize) -> Vec<Byte> {
    match (address, len) {
        (IpAddr::V4(a), 4) => known(&a.octets()),
        (IpAddr::V6(a), 16) => known(&a.octets()),
        (IpAddr::V4(_) | IpAddr::V6(_), _) => vec![Byte::Unknown; len],
    }
}
