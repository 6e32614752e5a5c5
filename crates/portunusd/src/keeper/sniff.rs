//! Interfaces that are listened on: opened at the start, and again when they come back.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use portunus_config::fwknop::{Daemon, Receive};
use portunus_config::{Diagnostic, Settings};
use portunus_model::Lengths;
use portunus_rx::{Ear, Filter, OpenError, Sniffing, WhenGone};
use portunus_sys::links::LinkWatch;

use super::error::StartError;

/// What is sniffed, and which ears are away.
#[derive(Debug)]
pub(super) struct Sniffer {
    pub(super) sniffing: Sniffing,
    away: BTreeSet<u16>,
    links: Option<LinkWatch>,
}

/// A socket for each ear that is there.
pub(super) type Sockets = Vec<Option<OwnedFd>>;

/// What follows from an interface that went away.
pub(super) enum Gone {
    /// The daemon ends.
    End,
    /// It is there again, with this socket.
    Back(OwnedFd),
    /// It is waited for.
    Wait,
}

impl Sniffer {
    /// Opens every ear; `None` where nothing is sniffed.
    pub(super) fn open(settings: &Settings, lengths: Lengths) -> Result<Option<(Self, Sockets)>, StartError> {
        let Some(daemon) = settings.fwknop.as_deref().filter(|daemon| daemon.receive == Receive::Sniffed)
        else {
            return Ok(None);
        };
        let sniffing = sniffing(daemon, lengths)?;
        let links = LinkWatch::new().ok();
        let mut sniffer = Self { sniffing, away: BTreeSet::new(), links };
        let mut sockets = Vec::new();
        for (ear, number) in sniffer.sniffing.ears.iter().zip(0..) {
            match sniffer.sniffing.open(ear) {
                Ok(socket) => sockets.push(Some(socket)),
                Err(error @ OpenError::Gone(_)) if sniffer.sniffing.when_gone == WhenGone::Wait => {
                    tracing::warn!(%error, "it is waited for");
                    sniffer.away.insert(number);
                    sockets.push(None);
                }
                Err(error) => return Err(StartError::Sniff(error)),
            }
        }
        Ok(Some((sniffer, sockets)))
    }

    /// An interface went away.
    pub(super) fn gone(&mut self, ear: u16) -> Gone {
        let name = self.name(ear);
        if self.sniffing.when_gone == WhenGone::End {
            tracing::error!(
                "Fatal error from pcap_dispatch: the interface {name} went down (EXIT_AT_INTF_DOWN)"
            );
            return Gone::End;
        }
        tracing::warn!("Error from pcap_dispatch: the interface {name} went down: it is waited for");
        self.away.insert(ear);
        self.try_again(ear).map_or(Gone::Wait, Gone::Back)
    }

    /// Something about the interfaces has changed: those that are back, with their sockets.
    pub(super) fn changed(&mut self) -> Vec<(u16, OwnedFd)> {
        if let Some(links) = &self.links {
            let _ = links.changed();
        }
        let away: Vec<u16> = self.away.iter().copied().collect();
        away.into_iter().filter_map(|ear| Some((ear, self.try_again(ear)?))).collect()
    }

    fn try_again(&mut self, ear: u16) -> Option<OwnedFd> {
        let socket = self.sniffing.open(self.sniffing.ears.get(usize::from(ear))?).ok()?;
        self.away.remove(&ear);
        tracing::info!("Sniffing interface: {}", self.name(ear));
        Some(socket)
    }

    fn name(&self, ear: u16) -> String {
        let ear = self.sniffing.ears.get(usize::from(ear));
        ear.and_then(|ear| ear.interface.clone()).unwrap_or_else(|| "any".to_owned())
    }

    /// Whether there is a change to hear of.
    pub(super) fn watch(&self) -> Option<BorrowedFd<'_>> {
        self.links.as_ref().filter(|_| !self.away.is_empty()).map(AsFd::as_fd)
    }

    /// The interfaces, by name.
    pub(super) fn names(&self) -> String {
        let names = self.sniffing.ears.iter().map(|ear| ear.interface.as_deref().unwrap_or("any"));
        names.collect::<Vec<_>>().join(",")
    }
}

fn sniffing(daemon: &Daemon, lengths: Lengths) -> Result<Sniffing, StartError> {
    let capture = &daemon.capture;
    let ears = capture.interfaces.iter().map(|name| Ear {
        interface: Some(name.clone()).filter(|name| name != "any"),
        promiscuous: capture.promiscuous,
        both_directions: capture.outgoing,
    });
    Ok(Sniffing {
        ears: ears.collect(),
        filter: filter(daemon).map_err(|mistake| StartError::Config(vec![mistake]))?,
        lengths,
        snap: capture.longest,
        when_gone: if capture.ends_when_down { WhenGone::End } else { WhenGone::Wait },
    })
}

/// PCAP_FILTER, compiled.
fn filter(daemon: &Daemon) -> Result<Filter, Diagnostic> {
    // The fault says its mend.
    Filter::parse(&daemon.capture.filter)
        .map_err(|fault| daemon.filter_at.diagnostic("Error compiling pcap filter", fault.to_string()))
}

/// Whether PCAP_FILTER is one, where it is used.
pub(crate) fn check(daemon: &Daemon) -> Result<(), Diagnostic> {
    match daemon.receive {
        Receive::Sniffed | Receive::File(_) | Receive::Followed(_) => filter(daemon).map(drop),
        Receive::Udp(_) | Receive::Nflog(_) => Ok(()),
    }
}

/// The socket for what a rule logs, where one does.
pub(super) fn nflog(settings: &Settings) -> Result<Option<OwnedFd>, StartError> {
    let Some(group) = settings.nflog else { return Ok(None) };
    let wrong = |e: io::Error| {
        // We have the right to ask: the kernel says so of a group that another socket has.
        let taken = matches!(e.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ResourceBusy);
        let words = "another program listens to it, as ulogd does: use another group".to_owned();
        let words = if taken { words } else { e.to_string() };
        StartError::System("packets that a rule logs", format!("group {group}: {words}"))
    };
    portunus_rx::open_nflog(group).map(Some).map_err(wrong)
}

/// The capture file, where one is read.
pub(super) fn capture(settings: &Settings) -> Result<Option<std::fs::File>, StartError> {
    let Some(Receive::File(path)) = settings.fwknop.as_deref().map(|daemon| &daemon.receive) else {
        return Ok(None);
    };
    let wrong = |e: io::Error| StartError::System("PCAP_FILE", format!("{}: {e}", path.display()));
    let file = std::fs::File::open(path).map_err(wrong)?;
    if file.metadata().is_ok_and(|meta| meta.is_dir()) {
        return Err(wrong(io::Error::other("it is a folder: name the capture in it")));
    }
    Ok(Some(file))
}
