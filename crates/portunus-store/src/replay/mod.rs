//! The replay store on disk: the packets that were used, kept until nobody can use them again.
//!
//! A claim is remembered as long as there is room, so a clock that runs ahead and is set back lets nothing in twice. When
//! there is none, the older segment is forgotten where each of its packets' own times plus the window is over *and* two
//! hours of BOOTTIME have passed since the claims were made (counted from boot for claims of an earlier boot). Where that
//! is not so the *horizon* rises: three quarters of the older segment's
//! claims are given up, and packets stamped at or before the latest of them are refused from then on. The horizon is
//! durable before anything is given up. It never rises further above the machine's own clock than a packet may be
//! stamped ahead of it, so that no client's clock shuts the others out (docs/adr/0009).

mod half;
mod record;
mod repair;

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::time::Duration;

use portunus_model::{Claim, Claimed, Now, Unix};

use crate::segment::in_this_boot;
use crate::{BootId, ReplayStore, Segment, StoreError};
use half::{Half, unix};
use record::{Content, Header, Mark};

/// For how long of BOOTTIME a claim is remembered at least.
pub(crate) const REMEMBERED: Duration = Duration::from_secs(2 * 60 * 60);

/// So far ahead of ours a client's clock may be, where no window says it: with claims that are kept for ever, or after
/// damage that left nothing to tell. In nanoseconds.
const AHEAD: i64 = 10 * 60 * 1_000_000_000;

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
    mark: Mark,
    /// How many claims are of packets that are stamped further ahead than the horizon may rise, and when they were counted.
    far_ahead: usize,
    counted: i64,
    damaged: bool,
    fault: Option<io::ErrorKind>,
    buffer: Vec<u8>,
}

impl<S: Segment> FileStore<S> {
    /// Reads both segments; room for about `capacity` claims before the horizon has to rise (some 30 bytes of memory
    /// and 64 of disk each). What is damaged is mended, and covered by the horizon ([`Self::was_damaged`]).
    ///
    /// # Errors
    /// [`StoreError`]: a file is something else, or cannot be read or written.
    pub fn open(segments: [S; 2], capacity: usize, boot: BootId, now: Now) -> Result<Self, StoreError> {
        let [one, two] = segments;
        let ((one, found_one), (two, found_two)) = (Half::load(one, boot)?, Half::load(two, boot)?);
        if (found_one.foreign && two.generation == 0) || (found_two.foreign && one.generation == 0) {
            return Err(StoreError::WrongFile { wanted: record::WANTED });
        }
        let twins = one.generation == two.generation && one.generation != 0;
        let (active, older) = if one.generation < two.generation { (two, one) } else { (one, two) };
        let wall = record::nanos(now.wall).unwrap_or(i64::MIN);
        let mut store = Self {
            active,
            older,
            horizon: found_one.horizon.max(found_two.horizon),
            boot,
            turn: (capacity / 2).max(1),
            mark: Mark {
                clock: wall.max(found_one.mark.clock).max(found_two.mark.clock),
                widest: found_one.mark.widest.max(found_two.mark.widest),
            },
            far_ahead: 0,
            counted: i64::MIN,
            damaged: found_one.damaged || found_two.damaged || twins,
            fault: None,
            buffer: Vec::new(),
        };
        let writing = StoreError::io("writing the replay store");
        if store.damaged {
            store.cover_the_damage(&[found_one, found_two]);
            store.repair(now, twins).map_err(writing)?;
        } else if store.active.generation == 0 {
            store.active.begin(Header { generation: 1, horizon: None }).map_err(writing)?;
        } else if found_one.for_ever || found_two.for_ever {
            store.count_far_ahead().map_err(StoreError::io("reading the replay store"))?;
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

    /// Whether something that had been on disk could not be read any more when it was opened. The horizon then stands one
    /// window ahead of that moment, or two of the latest packet that is still known, so nothing that was lost can be
    /// used again. The next opening finds it sound.
    #[must_use]
    pub fn was_damaged(&self) -> bool {
        self.damaged
    }

    /// What the system said when it last answered `Unavailable`; `None` once it works again.
    #[must_use]
    pub fn fault(&self) -> Option<io::ErrorKind> {
        self.fault
    }

    /// The answer to each, provided that what is pushed to `batch` becomes durable.
    fn judge(&mut self, now: Now, claims: &[Claim], batch: &mut Vec<Content>) -> Vec<Claimed> {
        let mut in_batch = HashSet::with_capacity(claims.len());
        let tag = self.boot.tag();
        let mut room_far_ahead = self.room_far_ahead(claims);
        let judge = |claim: &Claim| {
            let key = &claim.key;
            if self.older.keys.contains(key) || self.active.keys.contains(key) || in_batch.contains(key) {
                return Claimed::Replayed;
            }
            if self.horizon.is_some_and(|horizon| claim.stamp <= unix(horizon)) {
                return Claimed::BelowHorizon;
            }
            let Some(content) = Content::of(claim, now.mono, tag) else { return Claimed::Unavailable };
            if self.is_far_ahead(claim) {
                let Some(left) = room_far_ahead.checked_sub(1) else { return Claimed::TooFarAhead };
                room_far_ahead = left;
            }
            in_batch.insert(claim.key);
            batch.push(content);
            Claimed::Fresh
        };
        claims.iter().map(judge).collect()
    }

    /// Makes a batch durable, then remembers it.
    fn keep(&mut self, now: Now, batch: &[Content]) -> io::Result<()> {
        for &content in batch {
            if let Content::Claim { stamp, keep_until, .. } = content {
                self.mark.widest =
                    self.mark.widest.max(record::window(stamp, keep_until).unwrap_or_default());
            }
        }
        self.make_room(now)?;
        self.active.append(batch, self.mark, &mut self.buffer)?;
        let highest = self.highest();
        for &content in batch {
            if let Content::Claim { key, stamp, keep_until, .. } = content {
                self.active.note(key, keep_until, now.mono);
                self.far_ahead += usize::from(stamp > highest);
            }
        }
        Ok(())
    }

    /// Begins a new turn when this one is full, and never before: what there is room for is remembered, so a clock that is
    /// set back after days lets nothing in twice. What the older segment has is then not needed, or given up.
    fn make_room(&mut self, now: Now) -> io::Result<()> {
        if self.active.keys.len() < self.turn {
            return Ok(());
        }
        if !self.older.is_forgettable(now) {
            self.give_up_the_older(now)?;
        }
        if self.older.is_forgettable(now) {
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
        let stamps = self.older.stamps_up_to(self.highest())?;
        let horizon = stamps.get(stamps.len() * 3 / 4).copied().max(self.horizon);
        let mut contents: Vec<Content> = horizon.map(Content::Horizon).into_iter().collect();
        contents.extend(self.older.claims_after(horizon.unwrap_or(i64::MIN))?);
        self.carry_over(now, &contents)?;
        self.horizon = horizon;
        self.older.given_up = true;
        Ok(())
    }

    /// Has the active segment hold these too.
    fn carry_over(&mut self, now: Now, contents: &[Content]) -> io::Result<()> {
        self.active.append(contents, self.mark, &mut self.buffer)?;
        for &content in contents {
            if let Content::Claim { key, keep_until, claimed, boot, .. } = content {
                let claimed = in_this_boot(claimed, boot, self.boot).min(now.mono);
                self.active.note(key, keep_until, claimed);
            }
        }
        Ok(())
    }

    /// The horizon never rises above it. Who has a window can be stamped no further ahead.
    fn highest(&self) -> i64 {
        self.mark.clock.saturating_add(self.mark.widest.max(AHEAD))
    }

    fn is_far_ahead(&self, claim: &Claim) -> bool {
        record::window_of(claim).is_none() && claim.stamp > unix(self.highest())
    }

    /// How many more claims of packets far ahead may be taken: a quarter of a turn has room for them, for the horizon
    /// cannot give them up.
    fn room_far_ahead(&mut self, claims: &[Claim]) -> usize {
        let most = self.turn / 4;
        let asked = claims.iter().any(|claim| self.is_far_ahead(claim));
        // Time has passed, so some of them are not far ahead any more.
        let over = self.far_ahead >= most && self.mark.clock.saturating_sub(self.counted) >= AHEAD;
        if asked && over && self.count_far_ahead().is_err() {
            return 0;
        }
        most.saturating_sub(self.far_ahead)
    }

    fn count_far_ahead(&mut self) -> io::Result<()> {
        let highest = self.highest();
        self.far_ahead = self.active.claims_after(highest)?.len() + self.older.claims_after(highest)?.len();
        self.counted = self.mark.clock;
        Ok(())
    }
}

impl<S: Segment> ReplayStore for FileStore<S> {
    fn claim(&mut self, now: Now, claims: &[Claim]) -> Vec<Claimed> {
        self.mark.clock = self.mark.clock.max(record::nanos(now.wall).unwrap_or(i64::MIN));
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
