//! The packet on its way, by one of six ways.

use std::net::{IpAddr, SocketAddr};

use portunus_client::carrier::{
    Flight, Proxy, RawKind, Request, datagram, one_address, over_http, over_tcp, whole_packet,
};
use portunus_client::{Families, source_towards};
use portunus_crypto::{Entropy, SystemEntropy};
use zeroize::Zeroizing;

use super::agent;
use super::line::Task;
use super::settings::Settings;
use super::values::Way;
use super::wish::draw_port;
use crate::say::{Failure, line, out};

/// What a ping asks (RFC 792, RFC 4443).
const ECHO: u8 = 8;
const ECHO_SIX: u8 = 128;

/// A packet that is ready to go.
pub(super) struct Departure<'a> {
    settings: &'a Settings,
    task: &'a Task,
    proxy: Option<Proxy>,
    /// Whom the packet asks to open for: its family is preferred.
    target: Option<IpAddr>,
    port: u16,
    source_port: Option<u16>,
}

impl<'a> Departure<'a> {
    /// Draws what is drawn by lot.
    ///
    /// # Errors
    /// A proxy that is none; no randomness.
    pub(super) fn new(
        settings: &'a Settings,
        task: &'a Task,
        target: Option<IpAddr>,
    ) -> Result<Self, Failure> {
        let proxy = task.proxy.as_deref().map(str::parse::<Proxy>).transpose();
        let proxy = proxy.map_err(|error| not_sent(&error, "-H"))?;
        let drawn = || draw_port(&mut SystemEntropy).map_err(|error| not_sent(&error, ""));
        let port = if settings.rand_port { drawn()? } else { settings.port() };
        let source_port = match settings.source_port.filter(|&port| port != 0) {
            // Nobody else chooses one for a raw packet.
            None if settings.way.is_raw() => Some(drawn()?),
            chosen => chosen,
        };
        Ok(Self { settings, task, proxy, target, port, source_port })
    }

    /// What is about to be done.
    pub(super) fn announce(&self) {
        let source = self.source_port.map_or_else(|| "<OS assigned>".to_owned(), |port| port.to_string());
        out(format_args!(
            "Generating SPA packet:\n            protocol: {}\n         source port: {source}\n    \
             destination port: {}\n             IP/host: {}\n",
            self.settings.way.as_str(),
            self.port,
            self.server(),
        ));
    }

    /// Sends it, and says how many bytes went out.
    ///
    /// # Errors
    /// Nothing went out.
    pub(super) fn send(&self, wire: &str) -> Result<usize, Failure> {
        match self.settings.way {
            Way::Udp => datagram(self.address(self.server(), self.port)?, self.source_port, wire.as_bytes())
                .map_err(|error| not_sent(&error, "")),
            Way::Tcp => over_tcp(self.address(self.server(), self.port)?, self.source_port, wire.as_bytes())
                .map_err(|error| not_sent(&error, "")),
            Way::Http => self.by_http(wire),
            Way::UdpRaw => self.raw(RawKind::Udp, wire),
            Way::TcpRaw => self.raw(RawKind::Tcp { sequence: sequence()? }, wire),
            Way::Icmp => self.ping(wire),
        }
    }

    /// The request that would carry it, where there is one.
    pub(super) fn request(&self, wire: &str) -> Option<String> {
        let request =
            Request { server: self.server(), agent: agent(self.settings), proxy: self.proxy.as_ref() };
        (self.settings.way == Way::Http).then(|| over_http(wire, request))
    }

    fn by_http(&self, wire: &str) -> Result<usize, Failure> {
        let (host, port) = match &self.proxy {
            Some(proxy) => (proxy.host.as_str(), proxy.port.unwrap_or(self.port)),
            None => (self.server(), self.port),
        };
        let request = self.request(wire).unwrap_or_default();
        over_tcp(self.address(host, port)?, self.source_port, request.as_bytes())
            .map_err(|error| not_sent(&error, ""))
    }

    fn ping(&self, wire: &str) -> Result<usize, Failure> {
        let to = self.address(self.server(), self.port)?;
        let usual = if to.is_ipv6() { ECHO_SIX } else { ECHO };
        let kind = self.task.icmp_type.unwrap_or(usual);
        self.raw(RawKind::Icmp { kind, code: self.task.icmp_code.unwrap_or_default() }, wire)
    }

    fn raw(&self, kind: RawKind, wire: &str) -> Result<usize, Failure> {
        let to = self.address(self.server(), self.port)?;
        let from = match self.settings.spoof {
            Some(spoof) => spoof,
            None => source_towards(to).map_err(|error| not_sent(&error, ""))?,
        };
        let source_port = self.source_port.unwrap_or_default();
        let flight = Flight { from, source_port, to: to.ip(), port: to.port() };
        let packet = whole_packet(flight, kind, wire.as_bytes()).map_err(|error| not_sent(&error, ""))?;
        portunus_sys::raw::send(to.ip(), &packet).map_err(|error| {
            let mend = "raw sockets need root or CAP_NET_RAW: run as root, or leave -P out";
            not_sent(&error, mend)
        })
    }

    fn server(&self) -> &str {
        self.settings.server.as_deref().unwrap_or_default()
    }

    fn address(&self, host: &str, port: u16) -> Result<SocketAddr, Failure> {
        let families = if self.settings.ipv4_only { Families::V4 } else { Families::All };
        // A spoofed source decides the family; else it is whom the packet asks to open for.
        let prefer = self.settings.spoof.or(self.target);
        one_address(host, port, families, prefer).map_err(|error| not_sent(&error, ""))
    }
}

/// What becomes of a packet that stays here.
pub(super) fn stay(request: Option<&str>, verbose: u8) {
    match request {
        Some(request) if verbose > 0 => line(Zeroizing::new(request.replace('\r', "")).as_str()),
        Some(_) | None => {}
    }
    line("test mode enabled, SPA packet not actually sent.");
}

fn not_sent(error: &dyn std::fmt::Display, mend: &str) -> Failure {
    Failure::new(format_args!("packet not sent: {error}"), "", mend)
}

fn sequence() -> Result<u32, Failure> {
    let mut bytes = [0; 4];
    SystemEntropy.fill(&mut bytes).map_err(|error| not_sent(&error, ""))?;
    Ok(u32::from_be_bytes(bytes))
}
