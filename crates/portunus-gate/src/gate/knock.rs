//! From bytes to a claim: who is tried, in which order, and how old a knock may be.

use portunus_dialect::openme::Unsealed;
use portunus_dialect::{Candidate, recognise};
use portunus_model::{Dialect, Now, Reason};

use super::{Gate, Walk};
use crate::Action;
use crate::chain::{Origin, Proven};
use crate::lane::Job;
use crate::pending::{Claiming, Waiting};

impl Gate {
    /// A known source's packet is tried with the clients known from there. Gives the units that it took.
    pub(super) fn try_known(&mut self, now: Now, mut job: Job) -> u32 {
        let origin = job.origin();
        let Some(unsealed) = self.unseal(&job) else {
            self.waste.charge(1);
            self.verdict(now, origin, Some(Dialect::Openme), None, Reason::Unauthentic);
            return 1;
        };
        let mut units = 1;
        for &client in self.sources.clients(origin.source.ip().to_canonical()) {
            units += 1;
            self.effort.verified += 1;
            if let Some(knock) = self.clients.verify(client, &unsealed) {
                self.proven(now, Proven::by(client, knock, origin));
                return units;
            }
        }
        self.waste.charge(units);
        job.unsealed = Some(unsealed);
        self.enqueue_unknown(now, job);
        units
    }

    pub(super) fn enqueue_unknown(&mut self, now: Now, job: Job) {
        let thrown = self.unknown.push(job);
        self.busy(now, thrown);
    }

    pub(super) fn busy(&mut self, now: Now, thrown: Option<Job>) {
        if let Some(job) = thrown {
            self.verdict(now, job.origin(), Some(Dialect::Openme), None, Reason::Busy);
        }
    }

    /// One X25519: whether it is sealed for us.
    pub(super) fn unseal(&mut self, job: &Job) -> Option<Box<Unsealed>> {
        let Candidate::Openme(packet) = recognise(&job.datagram.bytes)?;
        self.effort.unsealed += 1;
        self.keys.openme.as_ref()?.unseal(&packet).ok().map(Box::new)
    }

    pub(super) fn work_on_unknown(&mut self, now: Now, mut units: u32) {
        let mut order = Vec::new();
        while units > 0 {
            let mut walk = match self.walk.take() {
                Some(walk) => walk,
                None => match self.unknown.pop() {
                    Some(job) => match self.begin_walk(now, job, &mut units, std::mem::take(&mut order)) {
                        Some(walk) => walk,
                        None => continue,
                    },
                    None => return,
                },
            };
            if self.walk_on(now, &mut walk, &mut units) {
                order = walk.order;
            } else {
                self.walk = Some(walk);
            }
        }
    }

    pub(super) fn begin_walk(
        &mut self,
        now: Now,
        mut job: Job,
        units: &mut u32,
        mut order: Vec<u32>,
    ) -> Option<Walk> {
        let unsealed = match job.unsealed.take() {
            Some(unsealed) => unsealed,
            None => {
                *units = units.saturating_sub(1);
                let unsealed = self.unseal(&job);
                if unsealed.is_none() {
                    self.verdict(now, job.origin(), Some(Dialect::Openme), None, Reason::Unauthentic);
                }
                unsealed?
            }
        };
        // Fixed at the beginning: who is seen meanwhile moves to the front, and nobody may be passed over.
        self.clients.by_recency(&mut order);
        Some(Walk { job, unsealed, order, next: 0 })
    }

    /// Tries clients while there are units. True: the packet has found its client, or has none.
    pub(super) fn walk_on(&mut self, now: Now, walk: &mut Walk, units: &mut u32) -> bool {
        loop {
            let Some(&client) = walk.order.get(walk.next) else {
                self.verdict(now, walk.job.origin(), Some(Dialect::Openme), None, Reason::UnknownClient);
                return true;
            };
            if *units == 0 {
                return false;
            }
            *units -= 1;
            walk.next += 1;
            self.effort.verified += 1;
            if let Some(knock) = self.clients.verify(client, &walk.unsealed) {
                self.proven(now, Proven::by(client, knock, walk.job.origin()));
                return true;
            }
        }
    }

    /// A proven packet that is of no use, such as a replay: waste, when it came by the known sources' lane.
    pub(super) fn charge(&mut self, origin: Origin) {
        if !self.sources.clients(origin.source.ip().to_canonical()).is_empty() {
            self.waste.charge(2);
        }
    }

    /// Age first, then the claim.
    pub(super) fn proven(&mut self, now: Now, proven: Proven) {
        let (origin, dialect, client) = (proven.origin, proven.dialect(), proven.client);
        let fresh = match proven.fresh(now, self.clients.window()) {
            Ok(fresh) => fresh,
            Err(outcome) => {
                self.charge(origin);
                return self.conclude(now, origin, Some(dialect), self.clients.name(client), outcome);
            }
        };
        if self.clients.is_over(client, now.mono) {
            self.charge(origin);
            let name = self.clients.name(client);
            return self.verdict(now, origin, Some(dialect), name, Reason::RateLimited);
        }
        let claim = fresh.claim();
        match self.pending.insert(now.mono, Waiting::Claim(Claiming { fresh, origin, dialect })) {
            Some(ticket) => self.actions.push_back(Action::Claim(ticket, claim)),
            None => self.verdict(now, origin, Some(dialect), self.clients.name(client), Reason::Busy),
        }
    }
}
