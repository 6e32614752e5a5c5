//! One way to receive, whatever the source: what the front's loop waits for and reads.

use std::io;
use std::os::fd::BorrowedFd;

use portunus_model::{Datagram, Mono};
use portunus_sys::{memory, udp};

use crate::{Followed, Nflog, Packet, Tcp, Udp};

/// A source of datagrams.
#[derive(Debug)]
pub enum Receiver {
    /// UDP sockets of ours.
    Udp(Udp),
    /// Packet sockets: sniffing.
    Packet(Packet),
    /// TCP sockets of ours, with HTTP or without.
    Tcp(Tcp),
    /// Packets that a rule logs to a group.
    Nflog(Nflog),
    /// A capture file that grows.
    Followed(Box<Followed>),
}

/// What a call received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// How many packets the kernel handed over, wanted or not.
    pub count: usize,
    /// Whether that was all that there was.
    pub drained: bool,
}

impl Received {
    pub(crate) const NOTHING: Self = Self { count: 0, drained: true };
}

/// Why nothing was received.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiveError {
    /// The interface of this ear went down or away: see [`Packet`].
    #[error("its interface went down or away")]
    Gone,
    /// What is read is no such thing: said once, and waited for.
    #[error("{0}")]
    Broken(String),
    /// Whoever captures keeps only so many bytes of a packet: said once a file.
    #[error("the capture keeps only the first {0} bytes of a packet: tcpdump -s 0")]
    Short(usize),
    /// A file that cannot be read just now: said once, and tried again.
    #[error("{0}")]
    Unreadable(String),
    /// What the system says; the next packet may be fine.
    #[error("{0}")]
    System(String),
}

impl ReceiveError {
    pub(crate) fn of(error: &io::Error) -> Self {
        Self::System(error.to_string())
    }
}

impl Receiver {
    /// What to wait for, with the number that [`Self::receive`] wants.
    #[must_use]
    pub fn descriptors(&self) -> Vec<(usize, BorrowedFd<'_>)> {
        match self {
            Self::Udp(udp) => udp.descriptors().enumerate().collect(),
            Self::Packet(packet) => packet.descriptors().collect(),
            Self::Tcp(tcp) => vec![(0, tcp.descriptor())],
            Self::Nflog(nflog) => vec![(0, nflog.descriptor())],
            Self::Followed(followed) => followed.descriptors().map(|fd| (0, fd)).collect(),
        }
    }

    /// Receives what is there, a batch at most, and shows each datagram to `each`.
    ///
    /// # Errors
    /// [`ReceiveError::Gone`] wants something done.
    pub fn receive(
        &mut self,
        index: usize,
        now: Mono,
        each: impl FnMut(Datagram),
    ) -> Result<Received, ReceiveError> {
        match self {
            Self::Udp(sockets) => {
                let count = sockets.receive(index, now, each).map_err(|e| ReceiveError::of(&e))?;
                Ok(Received { count, drained: count < udp::BATCH })
            }
            Self::Packet(packet) => packet.receive(index, now, each),
            Self::Tcp(tcp) => tcp.receive(now, each).map_err(|e| ReceiveError::of(&e)),
            Self::Nflog(nflog) => nflog.receive(now, each),
            Self::Followed(followed) => followed.receive(now, each),
        }
    }

    /// When [`Self::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Mono> {
        match self {
            Self::Udp(_) | Self::Packet(_) | Self::Nflog(_) => None,
            Self::Tcp(tcp) => tcp.poll_timeout(),
            Self::Followed(followed) => followed.poll_timeout(),
        }
    }

    /// The time of [`Self::poll_timeout`] has come.
    ///
    /// # Errors
    /// As of [`Self::receive`].
    pub fn handle_timeout(
        &mut self,
        now: Mono,
        each: impl FnMut(Datagram),
    ) -> Result<Received, ReceiveError> {
        match self {
            Self::Udp(_) | Self::Packet(_) | Self::Nflog(_) => Ok(Received::NOTHING),
            Self::Tcp(tcp) => {
                tcp.handle_timeout(now, each);
                Ok(Received::NOTHING)
            }
            Self::Followed(followed) => {
                let due = followed.poll_timeout().is_some_and(|due| due <= now);
                if due { followed.receive(now, each) } else { Ok(Received::NOTHING) }
            }
        }
    }

    /// The word for it in metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Udp(_) => "udp",
            Self::Packet(_) => "sniffed",
            Self::Tcp(_) => "tcp",
            Self::Nflog(_) => "nflog",
            Self::Followed(_) => "followed",
        }
    }

    /// How many bytes its sockets' buffers hold now, and how many they can. A TCP server's are its connections'.
    #[must_use]
    pub fn buffers(&self) -> (u64, u64) {
        match self {
            Self::Udp(_) | Self::Packet(_) | Self::Nflog(_) => {
                let sockets = self.descriptors();
                let told = sockets.into_iter().filter_map(|(_, fd)| memory::buffer(fd).ok());
                told.fold((0, 0), |(used, size), one| {
                    (used + u64::from(one.used), size + u64::from(one.size))
                })
            }
            Self::Tcp(_) | Self::Followed(_) => (0, 0),
        }
    }

    /// How many packets were dropped before we saw them, or connections before they said anything.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        match self {
            Self::Udp(udp) => udp.dropped(),
            Self::Packet(packet) => packet.dropped(),
            Self::Tcp(tcp) => tcp.dropped(),
            Self::Nflog(nflog) => nflog.dropped(),
            Self::Followed(_) => 0,
        }
    }
}
