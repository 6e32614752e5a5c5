//! What must survive: the replay store, the journal of open grants, fwknop's digest.cache, the audit log, the ring of alerts, and
//! the chains of the native dialect.
//!
//! Here are small file formats over descriptors that the caller has opened: the front and the grantor live in a sandbox and
//! can open nothing (the keeper, which keeps the audit log, can). Not here: locks, clocks, any decision about a knock. The
//! daemon calls it.
//!
//! The first two keep two *segments* in turns: one is appended to, the other is emptied when nothing in it is needed any more.
//! Nothing is ever renamed or created, and every record carries a checksum and the generation of its segment, so what a
//! torn write or an older turn left behind is never taken for a record.

pub mod audit;
pub mod chains;
mod digests;
mod error;
pub mod handover;
pub mod invitations;
mod journal;
mod memory;
mod replay;
mod segment;
pub mod spool;

#[cfg(test)]
mod disk;

pub use digests::{CacheRead, DigestCache, check_digests};
pub use error::StoreError;
pub use journal::{Entry, Journal, Key, Row};
pub use memory::MemoryStore;
pub use replay::FileStore;
pub use segment::{BootId, Segment};

use portunus_model::{Claim, Claimed, Now};

/// Says who is first. Check and insert are one act: there is no way to ask without taking.
///
/// A false `Replayed` costs an honest knock, which is simply sent again; a false `Fresh` would let a recorded packet
/// open a door. So whatever goes wrong is `Unavailable`, and that refuses.
pub trait ReplayStore {
    /// Takes every claim of a batch and answers each, in order. All that are answered `Fresh` are durable by then.
    fn claim(&mut self, now: Now, claims: &[Claim]) -> Vec<Claimed>;
}
