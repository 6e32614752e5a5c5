//! What rot costs: the horizon rises over everything that may have been lost, and what is damaged is written anew.

use std::io;

use portunus_model::Now;

use super::half::Found;
use super::record::{Content, Header};
use super::{AHEAD, FileStore};
use crate::Segment;

impl<S: Segment> FileStore<S> {
    /// A lost claim's packet was stamped one window ahead of its claim at most. The clock may be behind where it was then
    /// (a machine that starts without one), but it was no later than the mark says, and one that is left was stamped one
    /// window behind at most. A claim that is kept for ever says neither: for them a client's clock counts as ten minutes
    /// ahead at most, for a horizon that follows the furthest of their stamps would shut everybody out.
    pub(super) fn cover_the_damage(&mut self, found: &[Found]) {
        let widest = found.iter().map(|found| found.mark.widest).max().unwrap_or(0);
        let unknown = widest == 0 || found.iter().any(|found| found.for_ever);
        let ahead = if unknown { widest.max(AHEAD) } else { widest };
        let clock = self.mark.clock;
        let latest = found.iter().map(|found| found.latest.saturating_add(widest)).fold(clock, i64::max);
        self.horizon = self.horizon.max(Some(latest.saturating_add(ahead)));
    }

    /// Writes the horizon into every place where something is lost. It is durable in the active segment before anything
    /// in the other one is taken away, so whatever fails in the middle, the next opening covers the damage again.
    pub(super) fn repair(&mut self, now: Now, twins: bool) -> io::Result<()> {
        let horizon = self.horizon;
        if self.active.generation == 0 {
            self.active.begin(Header { generation: 1, horizon })?;
        } else {
            let mut contents = vec![Content::Horizon(horizon.unwrap_or(i64::MIN))];
            if twins {
                // Somebody copied one over the other.
                contents.extend(self.older.claims_after(i64::MIN)?);
            }
            self.carry_over(now, &contents)?;
            self.active.mend(horizon)?;
        }
        if twins || self.older.generation == 0 {
            self.older.wipe()?;
        } else {
            self.older.mend(horizon)?;
        }
        self.count_far_ahead()
    }
}
