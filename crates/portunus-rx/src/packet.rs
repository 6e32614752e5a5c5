//! Sniffing: knocks are seen on the link, whether or not the firewall lets them in and anything listens.
//!
//! The keeper has a [`Sniffing`] and opens each ear, which needs CAP_NET_RAW; the front has a [`Packet`] over these sockets
//! and needs no right. An interface that is away at the start is waited for like one that goes away.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use portunus_model::{Datagram, Lengths, Mono, Via};
use portunus_sys::memory;
use portunus_sys::packet::{self, BATCH, Batch, Ear};

use crate::frame::TAGS;
use crate::{Echoes, Filter, Frame, Payload, ReceiveError, Received, Wanted};

/// What to sniff.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sniffing {
    /// On which interfaces.
    pub ears: Vec<Ear>,
    /// Which packets.
    pub filter: Filter,
    /// With payloads of which lengths.
    pub lengths: Lengths,
    /// How many bytes of each packet, counted from its IP header (or what stands before that).
    pub snap: u32,
    /// What happens when an interface goes down.
    pub when_gone: WhenGone,
}

/// What happens when an interface goes down or away. The keeper's to heed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenGone {
    /// The daemon ends, and whoever supervises it starts it again (fwknop's EXIT_AT_INTF_DOWN).
    End,
    /// It is waited for.
    Wait,
}

/// Why an ear cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The interface is not there, or down: it may come.
    #[error("{0}: there is no such interface, or it is down: `ip link` lists those that there are")]
    Gone(String),
    /// No right.
    #[error("sniffing needs CAP_NET_RAW: run this as root, or use the UDP server")]
    Denied,
    /// Anything else.
    #[error("a packet socket on {0}: {1}")]
    System(String, String),
}

impl Sniffing {
    /// Opens one ear.
    ///
    /// # Errors
    /// [`OpenError::Gone`] when it may be tried again later.
    pub fn open(&self, ear: &Ear) -> Result<OwnedFd, OpenError> {
        let name = || ear.interface.clone().unwrap_or_else(|| "any".to_owned());
        let program = self.filter.program(&self.lengths, self.snap);
        packet::open(ear, &program).map_err(|error| {
            if packet::is_gone(&error) {
                OpenError::Gone(name())
            } else if error.kind() == io::ErrorKind::PermissionDenied {
                OpenError::Denied
            } else {
                OpenError::System(name(), error.to_string())
            }
        })
    }

    /// Whether one packet can be seen twice: on several interfaces (a bridge and its port), or leaving and arriving.
    #[must_use]
    pub fn may_echo(&self) -> bool {
        self.ears.len() > 1 || self.ears.iter().any(|ear| ear.interface.is_none() || ear.both_directions)
    }
}

/// Receives from any number of packet sockets: the front's part of sniffing.
///
/// When [`Self::receive`] says [`ReceiveError::Gone`], the keeper is told the number of the ear. It ends the daemon or, with
/// [`WhenGone::Wait`], tries [`Sniffing::open`] again at once and at each announcement of a `LinkWatch`, and sends the new
/// socket, which is put in by [`Self::replace`] and waited for under the same number.
#[derive(Debug)]
pub struct Packet {
    sockets: Vec<Option<OwnedFd>>,
    /// The kernel's drop count of each socket, and of those before it.
    dropped: Vec<(u64, u32)>,
    batch: Batch,
    wanted: Wanted,
    echoes: Option<Echoes>,
}

impl Packet {
    /// Over open sockets; `None` stands for an ear whose interface is not there yet. `snap` is that of the [`Sniffing`],
    /// and `may_echo` what it says.
    #[must_use]
    pub fn new(sockets: Vec<Option<OwnedFd>>, snap: u32, wanted: Wanted, may_echo: bool) -> Self {
        Self {
            dropped: vec![(0, 0); sockets.len()],
            sockets,
            batch: Batch::new(usize::try_from(snap).unwrap_or(usize::MAX)),
            wanted,
            echoes: may_echo.then(|| Echoes::within(ECHO)),
        }
    }

    /// The sockets, to wait for, with their numbers.
    pub fn descriptors(&self) -> impl Iterator<Item = (usize, BorrowedFd<'_>)> {
        let all = self.sockets.iter().enumerate();
        all.filter_map(|(number, socket)| Some((number, socket.as_ref()?.as_fd())))
    }

    /// Puts a new socket in the place of one that is gone. A number that there is not is left alone.
    pub fn replace(&mut self, socket: usize, new: OwnedFd) {
        if let Some(place) = self.sockets.get_mut(socket) {
            *place = Some(new);
        }
        if let Some((before, now)) = self.dropped.get_mut(socket) {
            *before += u64::from(std::mem::take(now));
        }
    }

    /// From now on payloads of these lengths, and by these rules.
    pub fn want(&mut self, wanted: Wanted) {
        self.wanted = wanted;
    }

    /// Receives one batch from one socket and shows each datagram to `each`.
    ///
    /// # Errors
    /// [`ReceiveError::Gone`], once, when the interface went down or away; the socket is of no use then.
    pub fn receive(
        &mut self,
        socket: usize,
        now: Mono,
        mut each: impl FnMut(Datagram),
    ) -> Result<Received, ReceiveError> {
        let Some(Some(fd)) = self.sockets.get(socket) else { return Ok(Received::NOTHING) };
        let (wanted, echoes) = (&self.wanted, &mut self.echoes);
        let received = self.batch.receive(fd, |packet| {
            let Some(payload) = payload(packet.protocol, packet.bytes) else { return };
            let Some(datagram) = wanted.datagram(payload, Via::Sniffed) else { return };
            let place = u64::from(packet.interface) << 1 | u64::from(packet.leaving);
            let echo = echoes.as_mut().is_some_and(|echoes| echoes.is_echo(&datagram, place, now));
            if !echo {
                each(datagram);
            }
        });
        let count = received.map_err(|error| {
            if packet::is_gone(&error) { ReceiveError::Gone } else { ReceiveError::of(&error) }
        })?;
        if let Some((_, dropped)) = self.dropped.get_mut(socket)
            && count > 0
        {
            *dropped = (*dropped).max(self.batch.dropped());
        }
        Ok(Received { count, drained: count < BATCH })
    }

    /// How many packets that passed the filter the kernel dropped for want of room.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        let latest = |fd: &OwnedFd| memory::buffer(fd).map_or(0, |buffer| buffer.dropped);
        let sockets = self.sockets.iter().zip(&self.dropped);
        sockets.map(|(fd, (before, now))| before + u64::from(fd.as_ref().map_or(0, latest).max(*now))).sum()
    }
}

/// What a packet carries. Since 6.10 the kernel names the protocol behind all tags, and leaves in the packet those that it
/// did not take off itself; so what is no packet of the protocol is tried as a tagged one.
fn payload(protocol: u16, bytes: &[u8]) -> Option<Payload<'_>> {
    let [tag, ..] = TAGS;
    let as_told = Frame { protocol, tag: None, bytes };
    as_told.payload().or_else(|| Frame { protocol: tag, ..as_told }.payload())
}

/// How long after a packet the same one may be seen elsewhere.
const ECHO: Duration = Duration::from_millis(100);
