//! Packets that only gpg can open: they wait here, apart from all others, and a few are with it at once. What waits is
//! bounded, a queue an address, so that nobody else waits behind who sends many.

use std::time::Duration;

use portunus_dialect::fwknop::gpg::RingId;
use portunus_model::Mono;

use crate::Tuning;
use crate::crowd::Crowd;
use crate::lane::Job;

#[derive(Debug)]
pub(crate) struct Oracle {
    known: Crowd,
    strangers: Crowd,
    /// Whether a stranger's is next, where both wait.
    strangers_turn: bool,
    asked: Vec<Asked>,
    at_once: usize,
    patience: Duration,
    next: u64,
}

/// A packet that is with gpg.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) number: u64,
    pub(crate) job: Job,
    /// The keyring that is being tried.
    pub(crate) ring: RingId,
    until: Mono,
}

impl Oracle {
    pub(crate) fn new(tuning: &Tuning) -> Self {
        let queue = tuning.gpg_queue.max(1);
        Self {
            known: Crowd::new(queue, tuning.seed.rotate_left(7)),
            strangers: Crowd::new(queue, tuning.seed.rotate_left(13)),
            strangers_turn: false,
            asked: Vec::new(),
            at_once: tuning.gpg_at_once.max(1),
            patience: tuning.gpg_patience,
            next: 1,
        }
    }

    /// Puts `job` in; gives the one that has to go, which may be `job` itself.
    #[must_use]
    pub(crate) fn push(&mut self, job: Job) -> Option<Job> {
        if job.known { self.known.push(job) } else { self.strangers.push(job) }
    }

    /// The next to ask about, if there is room.
    pub(crate) fn pop(&mut self) -> Option<Job> {
        if self.asked.len() >= self.at_once {
            return None;
        }
        let strangers_first = self.strangers_turn;
        self.strangers_turn = !strangers_first;
        let [first, second] = if strangers_first {
            [&mut self.strangers, &mut self.known]
        } else {
            [&mut self.known, &mut self.strangers]
        };
        first.pop().or_else(|| second.pop())
    }

    /// It is asked now; by which number the answer is known.
    pub(crate) fn ask(&mut self, now: Mono, job: Job, ring: RingId) -> u64 {
        let number = self.next;
        self.next += 1;
        self.asked.push(Asked { number, job, ring, until: now.after(self.patience) });
        number
    }

    /// An answer has come; an answer to what was given up is none.
    pub(crate) fn answered(&mut self, number: u64) -> Option<Asked> {
        let at = self.asked.iter().position(|asked| asked.number == number)?;
        Some(self.asked.swap_remove(at))
    }

    /// One whose time is up.
    pub(crate) fn overdue(&mut self, now: Mono) -> Option<Asked> {
        let at = self.asked.iter().position(|asked| asked.until <= now)?;
        Some(self.asked.swap_remove(at))
    }

    pub(crate) fn deadline(&self) -> Option<Mono> {
        self.asked.iter().map(|asked| asked.until).min()
    }

    /// For how long a packet may wait before it is asked about.
    pub(crate) fn too_old(&self, now: Mono, job: &Job) -> bool {
        now.since(job.arrived) > self.patience.saturating_mul(2)
    }

    pub(crate) fn len(&self) -> usize {
        self.known.len() + self.strangers.len() + self.asked.len()
    }
}
