//! When the grantor does what: strike off what is due, look after our rules, put them back. It reads no clock and speaks
//! with nobody; the simulation (tests/sim) runs this very file.

use std::fs::File;
use std::time::Duration;

use portunus_ctl::frame::Said;
use portunus_fw::{FirewallError, Standing, Structure};
use portunus_model::{Limits, Mono, Now};
use portunus_store::Segment;

use super::book::{Book, Found};
use super::naps::Ahead;

/// Where the kernel holds the timer, what is due is struck off this much later, many at a time.
const LATE: Duration = Duration::from_secs(1);
/// The same where each door is a rule of iptables, whose date lets the whole second pass in which its end lies; and where
/// it has no date.
const SWEPT: Duration = Duration::from_millis(200);
const GATHERED: Duration = Duration::from_millis(100);
/// How often a back end that cannot be watched is asked whether it still stands.
const ASK_EVERY: Duration = Duration::from_secs(2);
/// Against a tool that keeps reloading: at once the first time, then with pauses up to this. A port is open meanwhile, and
/// putting back costs a millisecond.
pub(super) const SHORT_PAUSE: Duration = Duration::from_millis(50);
/// While the kernel takes nothing: up to this.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// So long without a disturbance, and the next one is a first one again.
pub(super) const CALM: Duration = Duration::from_secs(10);
/// The kernel counts an end from when it has done what it is told. Where that took longer than this, a door would stay open too
/// long by as much: all ends are told anew, so often at most, since a machine may be too slow for it always.
const SLOW: Duration = Duration::from_millis(250);
const TOLD_ANEW: u32 = 3;
/// A wall clock that was moved by less changes no end of a door: x_tables counts seconds.
const STEP: Duration = Duration::from_secs(1);

/// The book, and when to do what with it.
pub(super) struct Duty<S = File> {
    pub(super) book: Book<S>,
    /// Doors are rules of x_tables, whose ends are dates: they go by the wall clock.
    pub(super) by_dates: bool,
    /// Whether the back end tells when somebody touches it.
    pub(super) watched: bool,
    /// When a back end that cannot be watched is asked next.
    next_look: Mono,
    disturbed: Disturbed,
    /// The clocks when the dates were written.
    written: Now,
    /// How often in a row the kernel was too slow.
    slow: u32,
}

/// Others' changes, and when we may put back next.
#[derive(Debug, Default)]
pub(super) struct Disturbed {
    pub(super) broken: bool,
    /// Not before then.
    pub(super) next: Mono,
    pub(super) pause: Duration,
    last: Mono,
}

impl Disturbed {
    pub(super) fn notice(&mut self, now: Mono) {
        if self.broken {
            return;
        }
        self.broken = true;
        if now.since(self.last) >= CALM {
            self.pause = Duration::ZERO;
        }
        self.next = now.after(self.pause);
    }

    pub(super) fn tried(&mut self, now: Mono, whole: bool) {
        self.broken = !whole;
        self.last = now;
        let longest = if whole { SHORT_PAUSE } else { LONGEST_PAUSE };
        self.pause = (self.pause * 2).clamp(Duration::from_millis(10), longest);
        self.next = now.after(self.pause);
    }
}

impl<S: Segment> Duty<S> {
    pub(super) fn new(book: Book<S>, by_dates: bool) -> Self {
        Self {
            book,
            by_dates,
            watched: false,
            next_look: Mono::default(),
            disturbed: Disturbed::default(),
            written: Now::default(),
            slow: 0,
        }
    }

    /// Makes the kernel agree with the book, whatever stands there.
    pub(super) fn install(&mut self, now: Now, structure: &Structure) -> Result<(), FirewallError> {
        self.book.install(now.mono, structure)?;
        self.written = now;
        Ok(())
    }

    /// New limits: what no client may have any more ends.
    pub(super) fn change_limits(
        &mut self,
        now: Now,
        limits: Limits,
        structure: &Structure,
    ) -> Result<(), FirewallError> {
        let changed = self.book.change_limits(now.mono, limits, structure);
        if changed.is_ok() {
            self.written = now;
        }
        self.notice_debt(now.mono);
        changed
    }

    /// When [`Self::expire`] is to be called: the kernel's timers stand still in suspend, the alarm that is set by this
    /// does not, so what is due then is struck off at once.
    pub(super) fn alarm(&self) -> Option<Mono> {
        let lateness = match (self.by_dates, self.book.firewall.kernel_closes()) {
            (false, _) => LATE,
            (true, true) => SWEPT,
            (true, false) => GATHERED,
        };
        self.book.deadline().map(|due| due.after(lateness))
    }

    /// How long nothing else is to be done.
    pub(super) fn patience(&self, now: Mono) -> Option<Duration> {
        let again = self.disturbed.broken.then(|| self.disturbed.next.since(now));
        let ask = (!self.watched).then(|| self.next_look.since(now));
        [again, ask].into_iter().flatten().min()
    }

    /// Ends what is due, if that was long enough ago. True: something was.
    pub(super) fn expire(&mut self, now: Mono, ahead: impl FnOnce() -> Ahead) -> bool {
        let due = self.alarm().is_some_and(|due| due <= now);
        if due {
            // What x_tables has closed still stands in its chains.
            self.book.expire(now, ahead(), !self.by_dates);
            self.notice_debt(now);
        }
        due
    }

    /// Carries out what the front says. What is to be answered, and whether our rules were put back for it.
    pub(super) fn hear(&mut self, at: Now, said: Vec<Said>) -> (Vec<Said>, bool) {
        let now = at.mono;
        let may_mend = now >= self.disturbed.next;
        let (answers, found) = self.book.carry_out(now, said, may_mend);
        // Dates of two clocks must not stand side by side: moved back, it would not be seen.
        self.look_at_clock(at);
        match found {
            Found::Whole => (),
            Found::Broken | Found::PutBack => self.disturbed.notice(now),
        }
        if found == Found::PutBack {
            self.disturbed.tried(now, true);
        }
        self.notice_debt(now);
        (answers, found == Found::PutBack)
    }

    /// What was told to the kernel at `began` was done by `ended`: a disk that hung in between, a process that was stopped or a
    /// machine that slept must leave no door open for longer. Dates are none the later for it.
    pub(super) fn took(&mut self, began: Mono, ended: Mono) {
        let took = ended.since(began);
        if self.by_dates || took < SLOW {
            self.slow = 0;
            return;
        }
        self.slow = self.slow.saturating_add(1);
        let again = self.slow <= TOLD_ANEW;
        tracing::warn!(
            took_ms = took.as_millis(),
            again,
            "the firewall was told late: the ends of open doors are seen to"
        );
        self.book.was_late(ended, again);
        self.notice_debt(ended);
    }

    /// What the kernel would not take and must have is written with everything else, as soon as it takes that.
    fn notice_debt(&mut self, now: Mono) {
        if self.book.owes() {
            self.disturbed.notice(now);
        }
    }

    /// Whether a back end that cannot be watched is to be asked now.
    pub(super) fn must_look(&mut self, now: Mono) -> bool {
        let must = !self.watched && now >= self.next_look;
        if must {
            self.next_look = now.after(ASK_EVERY);
        }
        must
    }

    /// Looks whether somebody has touched what is ours, or moved the clock that our dates go by.
    pub(super) fn look(&mut self, now: Now) {
        self.look_at_clock(now);
        match self.book.firewall.standing() {
            Ok(Standing::Whole) => (),
            Ok(Standing::Broken) => self.disturbed.notice(now.mono),
            Err(error) => {
                tracing::warn!(%error, "cannot see whether our rules still stand");
                self.disturbed.notice(now.mono);
            }
        }
    }

    fn look_at_clock(&mut self, now: Now) {
        let expected = self.written.wall.after(now.mono.since(self.written.mono));
        if self.by_dates && expected.distance(now.wall) >= STEP {
            tracing::warn!("the clock was moved: the ends of open doors are written anew");
            self.disturbed.notice(now.mono);
        }
    }

    /// Whether our rules are to be put back now.
    pub(super) fn must_put_back(&self, now: Mono) -> bool {
        self.disturbed.broken && now >= self.disturbed.next
    }

    /// They were put back, or not.
    pub(super) fn tried(&mut self, now: Mono, whole: bool) {
        self.disturbed.tried(now, whole && !self.book.owes());
    }
}
