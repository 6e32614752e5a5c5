//! The replay store on disk: the packets that were used, kept until nobody can use them again.
//!
//! A claim is forgotten only when the packet's own time plus the window is over *and* two hours of BOOTTIME have
//! passed since it was made (counted from boot for claims of an earlier boot). So a clock that runs ahead and is set
//! back lets nothing in twice. When there is no more room the *horizon* rises: three quarters of the older segment's
//! claims are given up, and packets stamped at or before the latest of them are refused from then on. The horizon is
//! durable before anything is given up.

mod half;
mod record;

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::time::Duration;

use portunus_model::{Claim, Claimed, Now, Unix};

use crate::segment::in_this_boot;
use crate::{BootId, ReplayStore, Segment, StoreError};
use half::{Found, Half, unix};
use record::{Content, Header};

/// For how long of BOOTTIME a claim is remembered at least.
pub(crate) const REMEMBERED: Duration = Duration::from_secs(2 * 60 * 60);

/// The replay store over two files that the caller has opened for reading and writing.
///
/// One fdatasync a batch that has a fresh claim in it, none for a batch of replays.
pub struct FileStore<S = File> {
    active: Half<S>,
    older: Half<S>,
    horizon: Option<i64>,
    boot: BootId,
    /// How many claims begin a new turn.
    turn: usize,
    damaged: bool,
    fault: Option<io::ErrorKind>,
    buffer: Vec<u8>,
}

impl<S: Segment> FileStore<S> {
    /// Reads both segments; room for about `capacity` claims before the horizon has to rise (some 30 bytes of memory
    /// and 64 of disk each).
    ///
    /// # Errors
    /// [`StoreError`]: a file is something else, damaged in its first block, or cannot be read or written.
    pub fn open(segments: [S; 2], capacity: usize, boot: BootId, now: Now) -> Result<Self, StoreError> {
        let [one, two] = segments;
        let ((one, found_one), (two, found_two)) = (Half::load(one, boot)?, Half::load(two, boot)?);
        let unused = one.generation == 0 && two.generation == 0;
        if one.generation == two.generation && !unused {
            return Err(StoreError::Damaged { wanted: record::WANTED });
        }
        let (active, older) = if one.generation < two.generation { (two, one) } else { (one, two) };
        let mut store = Self {
            active,
            older,
            horizon: found_one.horizon.max(found_two.horizon),
            boot,
            turn: (capacity / 2).max(1),
            damaged: found_one.damaged || found_two.damaged,
            fault: None,
            buffer: Vec::new(),
        };
        if unused {
            let header = Header { generation: 1, horizon: None };
            store.active.begin(header).map_err(StoreError::io("writing the replay store"))?;
        }
        if store.damaged {
            store.cover_the_damage(now, &[found_one, found_two]);
        }
        Ok(store)
    }

    /// How many claims it remembers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.active.keys.len() + self.older.keys.len()
    }

    /// Whether it remembers none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Packets stamped at or before it are refused.
    #[must_use]
    pub fn horizon(&self) -> Option<Unix> {
        self.horizon.map(unix)
    }

    /// Whether a claim that had been on disk could not be read any more when it was opened. The horizon then stands
    /// one window ahead of that moment, or two of the latest packet that is still known, so nothing that was lost can be
    /// used again (and so at each opening, until the damaged segment's turn is over).
    #[must_use]
    pub fn was_damaged(&self) -> bool {
        self.damaged
    }

    /// What the system said when it last answered `Unavailable`; `None` once it works again.
    #[must_use]
    pub fn fault(&self) -> Option<io::ErrorKind> {
        self.fault
    }

    /// A lost claim's packet was stamped one window ahead of its claim at most. The clock may be behind where it was then
    /// (a machine that starts without one), but one that is left was made later, and stamped one window behind at most.
    fn cover_the_damage(&mut self, now: Now, found: &[Found]) {
        let widest = found.iter().map(|found| found.widest).max().unwrap_or(0);
        let now = record::nanos(now.wall).unwrap_or(i64::MAX);
        let latest = found.iter().map(|found| found.latest.saturating_add(widest)).fold(now, i64::max);
        self.horizon = self.horizon.max(Some(latest.saturating_add(widest)));
    }

    /// The answer to each, provided that what is pushed to `batch` becomes durable.
    fn judge(&mut self, now: Now, claims: &[Claim], batch: &mut Vec<Content>) -> Vec<Claimed> {
        let mut in_batch = HashSet::with_capacity(claims.len());
        let tag = self.boot.tag();
        let judge = |claim: &Claim| {
            let key = &claim.key;
            if self.older.keys.contains(key) || self.active.keys.contains(key) || in_batch.contains(key) {
                return Claimed::Replayed;
            }
            if self.horizon.is_some_and(|horizon| claim.stamp <= unix(horizon)) {
                return Claimed::BelowHorizon;
            }
            let Some(content) = Content::of(claim, now.mono, tag) else { return Claimed::Unavailable };
            in_batch.insert(claim.key);
            batch.push(content);
            Claimed::Fresh
        };
        claims.iter().map(judge).collect()
    }

    /// Makes a batch durable, then remembers it.
    fn keep(&mut self, now: Now, batch: &[Content]) -> io::Result<()> {
        self.make_room(now)?;
        self.active.append(batch, &mut self.buffer)?;
        for &content in batch {
            if let Content::Claim { key, keep_until, .. } = content {
                self.active.note(key, keep_until, now.mono);
            }
        }
        Ok(())
    }

    /// Begins a new turn when the older segment is not needed, or must be given up.
    fn make_room(&mut self, now: Now) -> io::Result<()> {
        let full = self.active.keys.len() >= self.turn;
        if full && !self.older.is_forgettable(now) {
            self.give_up_the_older(now)?;
        }
        if (full || self.active.is_aged(now)) && self.older.is_forgettable(now) {
            let generation = self.active.generation.saturating_add(1);
            self.older.begin(Header { generation, horizon: self.horizon })?;
            std::mem::swap(&mut self.active, &mut self.older);
        }
        Ok(())
    }

    /// Raises the horizon over three quarters of the older segment's claims and carries the others over, durably:
    /// after that the older segment holds nothing that is needed. The latest stamps are carried, so that one client
    /// whose clock runs ahead does not shut everybody else out.
    fn give_up_the_older(&mut self, now: Now) -> io::Result<()> {
        let stamps = self.older.stamps()?;
        let Some(horizon) = stamps.get(stamps.len() * 3 / 4).copied().max(self.horizon) else {
            return Ok(());
        };
        let mut contents = vec![Content::Horizon(horizon)];
        contents.extend(self.older.claims_after(horizon)?);
        self.active.append(&contents, &mut self.buffer)?;
        for content in contents {
            if let Content::Claim { key, keep_until, claimed, boot, .. } = content {
                let claimed = in_this_boot(claimed, boot, self.boot).min(now.mono);
                self.active.note(key, keep_until, claimed);
            }
        }
        self.horizon = Some(horizon);
        self.older.given_up = true;
        Ok(())
    }
}

impl<S: Segment> ReplayStore for FileStore<S> {
    fn claim(&mut self, now: Now, claims: &[Claim]) -> Vec<Claimed> {
        let mut batch = Vec::with_capacity(claims.len());
        let mut answers = self.judge(now, claims, &mut batch);
        if batch.is_empty() {
            return answers;
        }
        let kept = self.keep(now, &batch);
        self.fault = kept.err().map(|error| error.kind());
        if self.fault.is_some() {
            for answer in answers.iter_mut().filter(|answer| **answer == Claimed::Fresh) {
                *answer = Claimed::Unavailable;
            }
        }
        answers
    }
}

#[cfg(test)]
mod tests;
