//! The records of the replay store: 64 bytes each, so none ever crosses a sector of the disk.

use portunus_model::{Claim, ClaimKey, Mono, Unix};

use crate::segment::{Fields, seal, unseal};

/// The size of a slot; slot 0 of a segment is its header.
pub(super) const SLOT: usize = 64;
/// The first bytes of a segment, with the version of the format.
pub(super) const MAGIC: &[u8; 16] = b"portunus claims1";
/// For messages.
pub(super) const WANTED: &str = "replay store";
/// The numbers that turns have; there is always a next one.
const TURNS: std::ops::Range<u32> = 1..u32::MAX / 2;
/// No window that can be configured is as wide: a claim that is kept for longer is kept for ever.
const WIDEST: i64 = 365 * 24 * 3600 * 1_000_000_000;

/// Slot 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// The turn: the segment with the larger one is appended to.
    pub(super) generation: u32,
    /// Packets stamped at or before it are refused: claims of them may have been forgotten.
    pub(super) horizon: Option<i64>,
}

impl Header {
    pub(super) fn encode(self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&self.generation.to_be_bytes());
        out.extend_from_slice(&self.horizon.unwrap_or(i64::MIN).to_be_bytes());
        seal(&mut out, 0, SLOT);
        out
    }

    pub(super) fn decode(block: &[u8; SLOT]) -> Option<Self> {
        let mut fields = unseal(block)?;
        fields.take::<16>()?;
        let generation = fields.u32().filter(|generation| TURNS.contains(generation))?;
        let horizon = fields.i64().filter(|&horizon| horizon != i64::MIN);
        Some(Self { generation, horizon })
    }
}

/// What a slot holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// A claim that was taken.
    Claim {
        key: ClaimKey,
        stamp: i64,
        keep_until: i64,
        /// Of the boot `boot`.
        claimed: Mono,
        boot: u32,
    },
    /// The horizon rose to this.
    Horizon(i64),
    /// All before it is durable. Written after each batch and not synced; the next batch is written over it.
    Mark(Mark),
}

/// What is known when a batch is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Mark {
    /// The latest time that the machine's own clock has shown.
    pub(super) clock: i64,
    /// The widest window that any claim was made with, but for those that are kept for ever.
    pub(super) widest: i64,
}

/// What a slot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    /// A record of this turn.
    Record(Record),
    /// One of an earlier turn of this segment.
    Stale,
    /// Torn, never written, or rotten.
    Unreadable,
}

/// A slot from 1 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) content: Content,
    /// The slot at which its batch begins. Whatever lies before it was durable when the batch was written, so a
    /// damaged slot there is a lost claim, and one at or behind it only a batch that nobody was told of. A mark's own place.
    pub(super) base: u32,
    pub(super) generation: u32,
}

const CLAIM: u32 = 1;
const HORIZON: u32 = 2;
const MARK: u32 = 3;

impl Content {
    /// `None`: its times do not fit 64 bits of nanoseconds (year 2262); no store can keep it.
    pub(super) fn of(claim: &Claim, claimed: Mono, boot: u32) -> Option<Self> {
        Some(Self::Claim {
            key: claim.key,
            stamp: nanos(claim.stamp)?,
            keep_until: nanos(claim.keep_until)?,
            claimed,
            boot,
        })
    }
}

/// How far its packet's time could be off; `None`: as far as it liked, and it is kept for ever.
pub(super) fn window(stamp: i64, keep_until: i64) -> Option<i64> {
    Some(keep_until.saturating_sub(stamp)).filter(|&window| window <= WIDEST)
}

/// The same of a claim that is not yet written.
pub(super) fn window_of(claim: &Claim) -> Option<i64> {
    window(nanos(claim.stamp)?, nanos(claim.keep_until)?)
}

impl Record {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        let (kind, key, stamp, keep_until, claimed, boot) = match self.content {
            Content::Claim { key, stamp, keep_until, claimed, boot } => {
                (CLAIM, key.0, stamp, keep_until, claimed.as_nanos(), boot)
            }
            Content::Horizon(horizon) => (HORIZON, [0; 16], horizon, 0, 0, 0),
            Content::Mark(Mark { clock, widest }) => (MARK, [0; 16], clock, widest, 0, 0),
        };
        out.extend_from_slice(&key);
        out.extend_from_slice(&stamp.to_be_bytes());
        out.extend_from_slice(&keep_until.to_be_bytes());
        out.extend_from_slice(&claimed.to_be_bytes());
        for number in [boot, self.base, self.generation, kind] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        seal(out, start, SLOT);
    }

    /// Reads a slot of the turn `generation`.
    pub(super) fn read(slot: &[u8], generation: u32) -> Slot {
        match Self::decode(slot) {
            Some(record) if record.generation == generation => Slot::Record(record),
            Some(_) => Slot::Stale,
            None => Slot::Unreadable,
        }
    }

    /// A record of whichever turn.
    pub(super) fn decode(slot: &[u8]) -> Option<Self> {
        Self::fields(unseal(slot)?).filter(|record| TURNS.contains(&record.generation))
    }

    fn fields(mut fields: Fields<'_>) -> Option<Self> {
        let key = ClaimKey(fields.take()?);
        let (stamp, keep_until) = (fields.i64()?, fields.i64()?);
        let claimed = Mono::from_nanos(fields.u64()?);
        let (boot, base, generation) = (fields.u32()?, fields.u32()?, fields.u32()?);
        let content = match fields.u32()? {
            CLAIM => Content::Claim { key, stamp, keep_until, claimed, boot },
            HORIZON => Content::Horizon(stamp),
            MARK => Content::Mark(Mark { clock: stamp, widest: keep_until }),
            _ => return None,
        };
        Some(Self { content, base, generation })
    }
}

pub(super) fn nanos(time: Unix) -> Option<i64> {
    i64::try_from(time.as_nanos()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let claim = Content::Claim {
            key: ClaimKey([7; 16]),
            stamp: -5,
            keep_until: 60,
            claimed: Mono::from_nanos(9),
            boot: 3,
        };
        for content in [claim, Content::Horizon(77), Content::Mark(Mark { clock: -1, widest: 60 })] {
            let record = Record { content, base: 4, generation: 2 };
            let mut slot = Vec::new();
            record.encode(&mut slot);
            assert_eq!(slot.len(), SLOT);
            assert_eq!(Record::read(&slot, 2), Slot::Record(record));
            assert_eq!(Record::read(&slot, 1), Slot::Stale, "an earlier turn's record");
            slot[3] ^= 1;
            assert_eq!(Record::read(&slot, 2), Slot::Unreadable);
        }
        for horizon in [None, Some(5)] {
            let header = Header { generation: 9, horizon };
            assert_eq!(Header::decode(header.encode().as_slice().try_into().unwrap()), Some(header));
        }
    }
}
