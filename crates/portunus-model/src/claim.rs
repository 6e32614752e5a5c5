//! A claim: the one right to use a packet, taken once.

use serde::{Deserialize, Serialize};

use crate::Unix;

/// What identifies a packet for ever: made by the dialect from canonical bytes under the client's key, never from
/// the source address. 128 bits, so two honest packets never meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClaimKey(pub [u8; 16]);

/// A request to be the first with this key. Check and insert are one act in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Claim {
    /// Whose packet it is.
    pub key: ClaimKey,
    /// The packet's own timestamp.
    pub stamp: Unix,
    /// The packet's timestamp plus the window: until then nobody may forget it, however early it came.
    pub keep_until: Unix,
}

/// What the store says. Only `Fresh` lets a knock go on, and it is said after the claim is durable.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claimed {
    /// Nobody had it before; it is on disk now.
    Fresh,
    /// It was taken before.
    Replayed,
    /// Its timestamp lies below what the store had to forget for want of room.
    BelowHorizon,
    /// It is kept for ever, stamped far ahead of the server's clock, and there is no more room for such.
    TooFarAhead,
    /// The store cannot answer; the knock is refused.
    Unavailable,
}
