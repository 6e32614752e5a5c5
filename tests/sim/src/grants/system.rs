//! Everything put together: front, grantor, journal and kernel, who can die at each step, and what holds all the same.

use std::collections::{HashSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use portunus_ctl::frame::Said;
use portunus_fw::{Row, Structure};
use portunus_model::{ClaimKey, Closing, Mono, Now, Unix};
use portunus_store::{BootId, Journal, StoreError};

use super::book::Book;
use super::duty::Duty;
use super::front::{self, Front, Site};
use super::fuse::{Fuse, MortalDisk, Victim, Who};
use super::kernel::{Clocks, Fault, Kernel};
use super::limits::has_room_for;
use super::truth::Truth;
use crate::dice::Dice;
use crate::disk::Disk;
use crate::packets::Workshop;

pub(super) const BOOT: BootId = BootId::from_bytes([7; 16]);
/// Everything that there is.
pub(super) struct System {
    pub(super) dice: Dice,
    pub(super) kernel: Kernel,
    pub(super) fuse: Fuse,
    pub(super) disks: [Disk; 2],
    pub(super) by_dates: bool,
    pub(super) site: Site,
    pub(super) workshop: Workshop,
    pub(super) claims: HashSet<ClaimKey>,
    pub(super) front: Option<Front>,
    pub(super) duty: Option<Duty<MortalDisk>>,
    pub(super) to_grantor: VecDeque<Said>,
    pub(super) to_front: VecDeque<Said>,
    pub(super) truth: Truth,
    /// The journal could not be written since the last start.
    pub(super) disk_failed: bool,
    pub(super) disk_broken: bool,
    /// The grantor that died last had something undone.
    pub(super) died_owing: bool,
    /// Since when something is amiss that a living grantor can mend.
    pub(super) amiss: Option<Mono>,
    pub(super) restarts: u64,
    pub(super) doors: u64,
}

impl System {
    pub(super) fn new(seed: u64, by_dates: bool) -> Self {
        let now = Now { mono: Mono::from_nanos(1 << 42), wall: Unix::from_secs(1_800_000_000) };
        let fuse = Fuse::default();
        let kernel = Kernel::new(Clocks { now, asleep: Duration::ZERO }, by_dates, fuse.clone());
        Self {
            dice: Dice::new(seed),
            kernel,
            fuse,
            disks: [Disk::default(), Disk::default()],
            by_dates,
            site: Site { without: None, narrow: false },
            workshop: Workshop::new(),
            claims: HashSet::new(),
            front: None,
            duty: None,
            to_grantor: VecDeque::new(),
            to_front: VecDeque::new(),
            truth: Truth::default(),
            disk_failed: false,
            disk_broken: false,
            died_owing: false,
            amiss: None,
            restarts: 0,
            doors: 0,
        }
    }

    pub(super) fn now(&self) -> Now {
        self.kernel.clocks().now
    }

    fn structure(&self) -> Structure {
        let limits = self.site.limits();
        Structure {
            doors: limits.doors,
            most_open: limits.most_open,
            nat: limits.nat,
            ..Structure::default()
        }
    }

    // What can happen.

    pub(super) fn knock(&mut self, number: usize, ports: &[u16], timeout: Option<u32>, from: IpAddr) {
        let now = self.now();
        let packet = front::packet(&mut self.workshop, number, ports, timeout, now, &mut self.dice);
        if let Some(front) = &mut self.front {
            front.knock(now, &packet, from);
        }
        self.pump();
    }

    pub(super) fn close(&mut self, closing: &Closing) {
        let now = self.now();
        if let Some(front) = &mut self.front {
            front.close(now, closing);
        }
        self.pump();
    }

    /// As the keeper does it: the grantor first, then the front.
    pub(super) fn reload(&mut self, site: Site) {
        let (before, now) = (self.site, self.now());
        self.site = site;
        let (limits, structure) = (site.limits(), self.structure());
        if let Some(duty) = &mut self.duty {
            let changed = duty.change_limits(now, limits.clone(), &structure);
            duty.took(now.mono, self.kernel.clocks().now.mono);
            if changed.is_err() && self.fuse.lives(Who::Grantor) {
                self.site = before;
                return self.pump();
            }
        }
        self.truth.only(|element| has_room_for(&limits, element));
        let rules = site.rules(&mut self.workshop);
        if let Some(front) = &mut self.front {
            front.reload(now, rules);
        }
        self.pump();
    }

    pub(super) fn flush(&mut self) {
        self.kernel.flush();
        self.look();
        self.pump();
    }

    pub(super) fn fault(&mut self, fault: Fault) {
        self.kernel.set_fault(fault);
    }

    /// The next time that all is told to the kernel takes so long: a disk that hangs, a process that is stopped.
    pub(super) fn stall(&mut self, span: Duration) {
        self.kernel.set_stall(span);
    }

    pub(super) fn fill_disk(&mut self, works: usize) {
        (self.disk_failed, self.disk_broken) = (true, true);
        self.disks.iter().for_each(|disk| disk.fail_after(Some(works)));
    }

    pub(super) fn heal_disk(&mut self) {
        self.disk_broken = false;
        self.disks.iter().for_each(|disk| disk.fail_after(None));
    }

    /// The machine sleeps.
    pub(super) fn sleep(&mut self, span: Duration) {
        let Clocks { now, asleep } = self.kernel.clocks();
        let now = Now { mono: now.mono.after(span), wall: now.wall.after(span) };
        self.kernel.set_clocks(Clocks { now, asleep: asleep + span });
        // Asleep nobody mends anything.
        self.amiss = None;
        self.happen();
    }

    pub(super) fn move_wall(&mut self, span: Duration, back: bool) {
        let mut clocks = self.kernel.clocks();
        let wall = clocks.now.wall;
        clocks.now.wall = if back { wall.before(span) } else { wall.after(span) };
        self.kernel.set_clocks(clocks);
        self.check();
    }

    pub(super) fn pass(&mut self, span: Duration) {
        let end = self.now().mono.after(span);
        loop {
            let now = self.now().mono;
            // Who died in between was given time too.
            if now >= end {
                return;
            }
            let duty = self.duty.as_ref();
            let due = [
                self.kernel.next_end(),
                self.front.as_ref().and_then(Front::poll_timeout),
                duty.and_then(Duty::alarm),
                duty.and_then(|duty| duty.patience(now)).map(|patience| now.after(patience)),
            ];
            let next = due.into_iter().flatten().min().unwrap_or(end).clamp(now, end);
            // What is due now and not done is tried again a little later.
            let next = if next == now { now.after(Duration::from_millis(1)).min(end) } else { next };
            let mut clocks = self.kernel.clocks();
            clocks.now = Now { mono: next, wall: clocks.now.wall.after(next.since(now)) };
            self.kernel.set_clocks(clocks);
            self.happen();
        }
    }

    // The shell.

    /// What is due at this moment, as the daemon's loops do it.
    fn happen(&mut self) {
        let clocks = self.kernel.clocks();
        if let Some(front) = &mut self.front {
            front.handle_timeout(clocks.now);
        }
        if let Some(duty) = &mut self.duty {
            duty.expire(clocks.now.mono, || clocks.ahead());
        }
        self.put_back();
        if self.duty.as_mut().is_some_and(|duty| duty.must_look(clocks.now.mono)) {
            self.look();
        }
        self.pump();
    }

    fn look(&mut self) {
        let now = self.now();
        if let Some(duty) = &mut self.duty {
            duty.look(now);
        }
        self.put_back();
    }

    fn put_back(&mut self) {
        let (now, structure) = (self.now(), self.structure());
        let Some(duty) = self.duty.as_mut().filter(|duty| duty.must_put_back(now.mono)) else { return };
        let whole = duty.install(now, &structure).is_ok();
        let done = self.kernel.clocks().now.mono;
        duty.took(now.mono, done);
        duty.tried(done, whole);
    }

    /// Lets everything that was said be heard, and buries who died of it.
    fn pump(&mut self) {
        loop {
            let now = self.now();
            let (said, closings) = match &mut self.front {
                Some(front) => front.carry_out(now, &mut self.claims),
                None => Default::default(),
            };
            closings.iter().for_each(|closing| self.truth.ends(closing));
            self.to_grantor.extend(said);
            let answers: Vec<Said> = self.to_front.drain(..).collect();
            if self.to_grantor.is_empty() && answers.is_empty() {
                break;
            }
            if let Some(front) = self.front.as_mut().filter(|_| self.fuse.step(Who::Front)) {
                front.hear(now, answers);
            }
            self.grantor_hears();
            if self.fuse.is_burnt() {
                break;
            }
        }
        self.bury();
        self.settle();
        self.check();
    }

    fn grantor_hears(&mut self) {
        let at = self.now();
        let now = at.mono;
        let most = 1 + self.dice.roll(16) as usize;
        let said: Vec<Said> = self.to_grantor.drain(..most.min(self.to_grantor.len())).collect();
        let Some(duty) = self.duty.as_mut().filter(|_| !said.is_empty() && self.fuse.lives(Who::Grantor))
        else {
            return;
        };
        for one in &said {
            if let Said::Open(ticket, opening) = one {
                self.truth.asked(now, *ticket, opening);
            }
        }
        let (answers, _) = duty.hear(at, said.clone());
        duty.took(now, self.kernel.clocks().now.mono);
        // Nobody keeps an audit log here.
        duty.book.facts.clear();
        // Of a grantor that died in the middle nobody knows how far it came.
        if !self.fuse.lives(Who::Grantor) {
            return;
        }
        // An end that could not even be written down is told in the log, and a restart may not know of it.
        let sure = !duty.book.owes() && !self.disk_broken;
        let answer_to = |ticket: u64| {
            let mut opened = answers.iter().filter_map(|answer| {
                if let Said::Opened(one, answer) = answer { Some((*one, *answer)) } else { None }
            });
            opened.find(|(one, _)| *one == ticket).unwrap().1
        };
        for one in said {
            if let Said::Open(ticket, _) = one {
                self.truth.answered(ticket, answer_to(ticket), sure);
            } else if let Said::Close(closing) = one
                && sure
            {
                self.truth.ended(&closing);
            }
        }
        if self.fuse.step(Who::Grantor) {
            self.to_front.extend(answers);
        }
        self.put_back();
    }

    /// When one has died the others end, and the supervisor starts all anew some time later.
    fn bury(&mut self) {
        let Some(victim) = self.fuse.take_burnt() else { return };
        self.kill(victim);
        let dead = *self.dice.pick(&[0, 0, 100, 3000, 30_000]);
        self.pass(Duration::from_millis(dead));
        self.revive();
    }

    pub(super) fn kill(&mut self, victim: Victim) {
        self.front = None;
        self.to_front.clear();
        if victim == Victim::Front {
            // The keeper lets the grantor hear what was said last.
            while !self.to_grantor.is_empty() {
                self.grantor_hears();
            }
        }
        self.died_owing |= self.duty.take().is_some_and(|duty| duty.book.owes());
        self.to_grantor.clear();
        self.to_front.clear();
    }

    /// Tries until it starts; after a while somebody has mended what is broken.
    pub(super) fn revive(&mut self) {
        let mut tries = 0;
        while self.front.is_none() {
            if !self.start() {
                self.fuse.take_burnt();
                self.duty = None;
                self.to_front.clear();
                tries += 1;
                if tries > 3 {
                    self.heal_disk();
                    self.kernel.set_fault(Fault::None);
                }
                self.pass(Duration::from_secs(1));
            }
        }
    }

    pub(super) fn start(&mut self) -> bool {
        let clocks = self.kernel.clocks();
        let segments = || self.disks.clone().map(|disk| MortalDisk { disk, fuse: self.fuse.clone() });
        let opened = match Journal::open(segments(), BOOT, clocks.now.mono) {
            Err(StoreError::Damaged { .. }) => Journal::begin_anew(segments(), BOOT),
            other => other,
        };
        let Ok((journal, rows)) = opened else { return false };
        let at = (clocks.now.mono, clocks.ahead());
        let book = Book::take_up(at, self.site.limits(), journal, rows, Box::new(self.kernel.clone()));
        let mut duty = Duty::new(book, self.by_dates);
        duty.watched = !self.by_dates;
        if duty.install(clocks.now, &self.structure()).is_err() || self.fuse.is_burnt() {
            return false;
        }
        duty.took(clocks.now.mono, self.kernel.clocks().now.mono);
        let rows: Vec<Row> = duty.book.ledger.rows().collect();
        if std::mem::take(&mut self.disk_failed) {
            self.truth.forget_all_but(&rows);
        }
        self.disk_failed = self.disk_broken;
        self.to_front.extend(duty.book.restored());
        self.to_front.push_back(Said::RestoredAll);
        self.duty = Some(duty);
        self.front = Some(Front::new(self.site.rules(&mut self.workshop), self.fuse.clone()));
        self.restarts += 1;
        self.died_owing = false;
        self.amiss = None;
        self.pump();
        // What was due meanwhile is still to be struck off.
        let at_once = self.now().mono == clocks.now.mono;
        if at_once && self.front.is_some() && self.is_settled() {
            self.sessions_are_right();
        }
        true
    }
}
