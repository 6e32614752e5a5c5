//! What the front and the grantor say to each other: frames of one fixed size, many to a message.
//!
//! The grantor must not trust a byte of it: the front has read strangers' packets. So reading a frame is total, makes
//! only valid values, and whatever does not fit is a [`FrameError`], never a guess.
//!
//! Here is what can be said and where it stands in a frame; `write` and `read` follow the same order of kinds, and the
//! tests hold them against each other.

mod read;
#[cfg(test)]
mod tests;
mod write;

use std::net::IpAddr;

use portunus_model::{ClientName, Closing, Grounds, Mono, Opened, Opening, PortSpec, Way};

pub use read::read;
pub use write::Writer;

/// The size of one frame, in bytes.
pub const SIZE: usize = 290;

/// The most frames in one message.
pub const MOST: usize = 128;

/// The longest message, in bytes.
pub const LONGEST_MESSAGE: usize = SIZE * MOST;

/// How many ports one frame holds. An opening of more takes several frames in a row, of one message.
pub const PORTS: usize = 16;

/// The most ports of one opening: what fits into one message. The keeper refuses a client that has more.
pub const MOST_PORTS: usize = PORTS * MOST;

/// The places of a frame's fields. Numbers are little endian.
mod field {
    use std::ops::Range;

    pub(super) const KIND: usize = 0;
    pub(super) const MORE: usize = 1;
    pub(super) const NAME_LENGTH: usize = 2;
    pub(super) const FAMILY: usize = 3;
    pub(super) const PORT_COUNT: usize = 4;
    pub(super) const RESULT: usize = 5;
    pub(super) const TICKET: Range<usize> = 8..16;
    pub(super) const NANOS: Range<usize> = 16..24;
    pub(super) const ADDRESS: Range<usize> = 24..40;
    pub(super) const NAME: Range<usize> = 40..104;
    pub(super) const PORTS: Range<usize> = 104..184;
    pub(super) const PORT: usize = 5;
    pub(super) const WAY: Range<usize> = 184..240;
    pub(super) const GROUNDS: Range<usize> = 240..290;
}

/// One thing said, in either direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// To the grantor: please open, and answer with the ticket.
    Open(u64, Opening),
    /// To the grantor: please close.
    Close(Closing),
    /// To the grantor: end what this client has established where nobody else has a grant, and answer with the ticket.
    /// Its grants are to be closed before.
    Kill(u64, ClientName),
    /// To the grantor: answer with the ticket when all that was said before is done.
    Settle(u64),
    /// To the front: what became of the opening.
    Opened(u64, Opened),
    /// To the front: what was said before this [`Said::Settle`] is done; false: the firewall has refused some of it, and it
    /// is tried again.
    Settled(u64, bool),
    /// To the front, before [`Said::Killed`]: this was kept, because this other client has or had a grant for it too.
    Kept {
        /// Of which killing.
        ticket: u64,
        /// Whose grant it is.
        client: ClientName,
        /// For which address.
        address: IpAddr,
        /// Which ports; none: everything through this host.
        ports: Box<[PortSpec]>,
    },
    /// To the front: what became of the killing.
    Killed(u64, Killed),
    /// To the front, after a start: this is still open, until then.
    Restored {
        /// Whose.
        client: ClientName,
        /// For which address.
        address: IpAddr,
        /// Which ports; none: everything through this host.
        ports: Box<[PortSpec]>,
        /// For packets to this address of ours only.
        destination: Option<IpAddr>,
        /// By which way.
        way: Way,
        /// Until when.
        until: Mono,
        /// On what it stands.
        grounds: Grounds,
    },
    /// To the front, after the last [`Said::Restored`].
    RestoredAll,
}

/// What became of a [`Said::Kill`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Killed {
    /// It is done.
    Done {
        /// How many sockets of this host were ended.
        sockets: u32,
        /// How many other flows.
        flows: u32,
    },
    /// The peers are cut off, but this kernel cannot end sockets: they end by their own timeouts.
    SocketsStay,
    /// It was done in part at most; the grantor's log says why.
    Failed,
}

/// What is wrong with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Its length is no whole number of frames, or more than [`MOST`].
    #[error("a message of {0} bytes is no row of frames")]
    Length(usize),
    /// A kind that nobody sends.
    #[error("a frame of the unknown kind {0}")]
    Kind(u8),
    /// A name that is no client's name.
    #[error("a frame with a name that is none")]
    Name,
    /// An address family other than 4 and 6, or none where one is needed.
    #[error("a frame with no address")]
    Address,
    /// Not a port, or none, or more than fit.
    #[error("a frame with ports that are none")]
    Ports,
    /// A destination or a translation that is none, or one that does not go with the ports.
    #[error("a frame with a way that is none")]
    Way,
    /// Grounds that are none.
    #[error("a frame with grounds that are none")]
    Grounds,
    /// A result that nobody gives.
    #[error("a frame with the unknown result {0}")]
    Result(u8),
    /// Bytes where there must be none, or a row of frames that is broken off.
    #[error("a frame with something in a place that must be empty")]
    Filling,
}

const OPEN: u8 = 1;
const CLOSE: u8 = 2;
const OPENED: u8 = 3;
const RESTORED: u8 = 4;
const RESTORED_ALL: u8 = 5;
const KILL: u8 = 6;
const KEPT: u8 = 7;
const KILLED: u8 = 8;
const SETTLE: u8 = 9;
const SETTLED: u8 = 10;
