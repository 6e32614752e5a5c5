//! The kernel's side of a grant: it lives on when everybody is dead.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::time::Duration;

use portunus_fw::{Change, Ended, Firewall, FirewallError, Standing, Structure};
use portunus_model::{Element, Mono, Now, Unix};

use super::fuse::{Fuse, Who};
use super::naps::Ahead;

/// What is wrong with the firewall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// Nothing is done.
    Refuses,
    /// Every other change of a transaction is refused.
    Picks,
    /// It is done, and nobody hears of it.
    Mumbles,
}

/// The clocks of the machine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clocks {
    pub(super) now: Now,
    /// How long it has slept since it was started: CLOCK_BOOTTIME went on, CLOCK_MONOTONIC and jiffies did not.
    pub(super) asleep: Duration,
}

impl Clocks {
    fn timer(&self) -> Mono {
        Mono::from_nanos(self.now.mono.since(Mono::default().after(self.asleep)).as_nanos() as u64)
    }

    pub(super) fn ahead(&self) -> Ahead {
        let timer = self.timer().since(Mono::default());
        Ahead::between(timer, self.now.mono, timer)
    }

    fn offset(&self) -> i128 {
        self.now.wall.as_nanos() - i128::from(self.now.mono.as_nanos())
    }
}

/// An element, with its end, and the clocks when that was set.
#[derive(Debug, Clone, Copy)]
struct Held {
    timer: Mono,
    date: Unix,
    set: Clocks,
    /// How long the kernel took until it was set: it counts from then.
    late: Duration,
}

/// The kernel. Clones are the same one.
#[derive(Clone)]
pub(super) struct Kernel(Rc<RefCell<State>>);

struct State {
    clocks: Clocks,
    by_dates: bool,
    structure: Option<Structure>,
    held: BTreeMap<Element, Held>,
    fault: Fault,
    fuse: Fuse,
    /// So long the next install takes.
    stall: Duration,
    /// When it was done the last time that it took long.
    stalled: Mono,
}

impl Kernel {
    pub(super) fn new(clocks: Clocks, by_dates: bool, fuse: Fuse) -> Self {
        let (held, fault) = (BTreeMap::new(), Fault::None);
        Self(Rc::new(RefCell::new(State {
            clocks,
            by_dates,
            structure: None,
            held,
            fault,
            fuse,
            stall: Duration::ZERO,
            stalled: Mono::default(),
        })))
    }

    pub(super) fn clocks(&self) -> Clocks {
        self.0.borrow().clocks
    }

    pub(super) fn set_clocks(&self, clocks: Clocks) {
        self.0.borrow_mut().clocks = clocks;
    }

    pub(super) fn fault(&self) -> Fault {
        self.0.borrow().fault
    }

    pub(super) fn set_fault(&self, fault: Fault) {
        self.0.borrow_mut().fault = fault;
    }

    /// The next install takes so long.
    pub(super) fn set_stall(&self, span: Duration) {
        self.0.borrow_mut().stall = span;
    }

    /// Until when it was at something for long: nobody could mend anything meanwhile.
    pub(super) fn stalled(&self) -> Mono {
        self.0.borrow().stalled
    }

    /// Somebody's `flush ruleset`.
    pub(super) fn flush(&self) {
        let mut state = self.0.borrow_mut();
        state.structure = None;
        state.held.clear();
    }

    pub(super) fn is_whole(&self) -> bool {
        self.0.borrow().structure.is_some()
    }

    /// What lets packets in now.
    pub(super) fn open(&self) -> Vec<Element> {
        let state = self.0.borrow();
        state.held.iter().filter(|(_, held)| state.is_open(held)).map(|(element, _)| *element).collect()
    }

    /// By how much the clock that this element ends by has fallen behind ours since its end was set; and the other way.
    pub(super) fn drift(&self, element: &Element) -> (Duration, Duration) {
        let state = self.0.borrow();
        let Some(held) = state.held.get(element) else { return (Duration::ZERO, Duration::ZERO) };
        if !state.by_dates {
            return (state.clocks.asleep - held.set.asleep + held.late, Duration::ZERO);
        }
        let moved = state.clocks.offset() - held.set.offset();
        let span = Duration::from_nanos(moved.unsigned_abs() as u64);
        if moved < 0 { (span, Duration::ZERO) } else { (Duration::ZERO, span) }
    }

    /// Whether the wall clock was moved since any end was written as a date.
    pub(super) fn was_moved(&self) -> bool {
        let all: Vec<Element> = self.0.borrow().held.keys().copied().collect();
        self.0.borrow().by_dates
            && all.iter().any(|element| self.drift(element) != (Duration::ZERO, Duration::ZERO))
    }

    /// When the next element ends, by our clock.
    pub(super) fn next_end(&self) -> Option<Mono> {
        let state = self.0.borrow();
        let end = |held: &Held| {
            let left = if state.by_dates {
                held.date.since(state.clocks.now.wall)
            } else {
                held.timer.since(state.clocks.timer())
            };
            (!left.is_zero()).then(|| state.clocks.now.mono.after(left))
        };
        state.held.values().filter_map(end).min()
    }
}

impl State {
    fn is_open(&self, held: &Held) -> bool {
        if self.by_dates { held.date > self.clocks.now.wall } else { held.timer > self.clocks.timer() }
    }

    fn hold(&mut self, element: Element, left: Duration, late: Duration) {
        let (timer, date) = (self.clocks.timer().after(left), self.clocks.now.wall.after(left));
        self.held.insert(element, Held { timer, date, set: self.clocks, late });
    }

    fn one(&mut self, number: usize, change: Change) -> Result<(), FirewallError> {
        if self.fault == Fault::Picks && number.is_multiple_of(2) {
            return Err(FirewallError::Full);
        }
        match change {
            Change::Open(element, left) => self.hold(element, left, Duration::ZERO),
            Change::Close(element) => drop(self.held.remove(&element)),
        }
        if self.fault == Fault::Mumbles { Err(FirewallError::NotThere) } else { Ok(()) }
    }
}

impl Firewall for Kernel {
    fn install(&mut self, structure: &Structure, open: &[(Element, Duration)]) -> Result<(), FirewallError> {
        let mut state = self.0.borrow_mut();
        if !state.fuse.step(Who::Grantor) || matches!(state.fault, Fault::Refuses | Fault::Picks) {
            return Err(FirewallError::NotThere);
        }
        let late = std::mem::take(&mut state.stall);
        if !state.by_dates && !late.is_zero() {
            state.clocks.now.mono = state.clocks.now.mono.after(late);
            state.clocks.now.wall = state.clocks.now.wall.after(late);
            state.stalled = state.clocks.now.mono;
        }
        state.structure = Some(structure.clone());
        state.held.clear();
        open.iter().for_each(|&(element, left)| state.hold(element, left, late));
        if state.fault == Fault::Mumbles { Err(FirewallError::NotThere) } else { Ok(()) }
    }

    fn change(&mut self, changes: &[Change]) -> Vec<Result<(), FirewallError>> {
        let mut state = self.0.borrow_mut();
        let lives = state.fuse.step(Who::Grantor);
        if !lives || state.fault == Fault::Refuses || state.structure.is_none() {
            return vec![Err(FirewallError::NotThere); changes.len()];
        }
        changes.iter().enumerate().map(|(number, change)| state.one(number, *change)).collect()
    }

    fn end_flows(&mut self, _: &[Element], _: Duration) -> Result<Ended, FirewallError> {
        Ok(Ended::default())
    }

    fn open_now(&mut self) -> Result<Vec<(Element, Duration)>, FirewallError> {
        Ok(Vec::new())
    }

    fn standing(&mut self) -> Result<Standing, FirewallError> {
        Ok(if self.is_whole() { Standing::Whole } else { Standing::Broken })
    }

    fn watch(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn teardown(&mut self) -> Result<(), FirewallError> {
        self.flush();
        Ok(())
    }
}
