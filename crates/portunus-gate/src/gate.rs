//! The story of a datagram, top to bottom: prefilter, lane, proof, age, claim, policy, grant, verdict.

use std::collections::VecDeque;
use std::time::Duration;

use portunus_dialect::openme::Unsealed;
use portunus_dialect::{Candidate, openme, recognise};
use portunus_model::{
    Claimed, Client, ClientName, Closing, Datagram, Detail, Dialect, Event, Mono, Now, Opened, PortSpec,
    Reason, Rules, Unix,
};

use crate::chain::{Origin, Proven, Refusal};
use crate::clients::{Clients, NOBODY};
use crate::counters::{Counters, Effort};
use crate::grants::{Ended, Grants};
use crate::lane::{Job, Lane, Waste};
use crate::pending::{Asked, Claiming, Overdue, Pending, Waiting, is_meant};
use crate::policy::{self, Decision};
use crate::prefilter::Prefilter;
use crate::sources::Sources;
use crate::{Action, RestoredGrant, Session, Ticket};

/// The server's keys, one a dialect in use.
#[derive(Default)]
pub struct Keyring {
    /// openme v1; `None`: not spoken.
    pub openme: Option<openme::ServerKey>,
}

/// Bounds of memory, work and patience. None of them is about who may open what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuning {
    /// How many datagrams wait in each lane (some 600 bytes each).
    pub queue: usize,
    /// How many addresses are remembered from which clients came (some 150 bytes each).
    pub known_sources: usize,
    /// How many questions to store and grantor may be open at once.
    pub pending: usize,
    /// How long store and grantor may take for an answer.
    pub patience: Duration,
    /// How many units of work a second may be wasted at once on packets that only pretend to come from a known source.
    pub waste_a_second: u32,
    /// How many knocks of one client are accepted a minute: so one client cannot fill the replay store alone.
    pub knocks_a_minute: u32,
    /// What nobody outside should know: who makes room in a full lane. Draw it at random.
    pub seed: u64,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            queue: 1024,
            known_sources: 16_384,
            pending: 16_384,
            patience: Duration::from_secs(2),
            waste_a_second: 2000,
            knocks_a_minute: 300_000,
            seed: 0,
        }
    }
}

/// The gate.
pub struct Gate {
    keys: Keyring,
    prefilter: Prefilter,
    clients: Clients,
    tuning: Tuning,
    sources: Sources,
    /// Known sources' packets, when too many of them turned out not to be from them.
    crowded: Lane,
    waste: Waste,
    unknown: Lane,
    /// The unknown packet that is being tried with one client after the other.
    walk: Option<Walk>,
    pending: Pending,
    grants: Grants,
    actions: VecDeque<Action>,
    counters: Counters,
    effort: Effort,
}

/// An opened packet of an unknown source, and who is still to be tried.
struct Walk {
    job: Job,
    unsealed: Box<Unsealed>,
    order: Vec<u32>,
    next: usize,
}

impl Gate {
    /// A gate with nothing open.
    #[must_use]
    pub fn new(rules: Rules, keys: Keyring, tuning: Tuning) -> Self {
        Self {
            prefilter: Prefilter::of(&keys),
            keys,
            clients: Clients::new(rules),
            tuning,
            sources: Sources::new(tuning.known_sources),
            crowded: Lane::new(tuning.queue, tuning.seed),
            waste: Waste::new(tuning.waste_a_second),
            unknown: Lane::new(tuning.queue, !tuning.seed),
            walk: None,
            pending: Pending::new(tuning.pending, tuning.patience),
            grants: Grants::default(),
            actions: VecDeque::new(),
            counters: Counters::default(),
            effort: Effort::default(),
        }
    }

    /// A datagram came in. A known source's is judged at once; everybody else's waits for [`Gate::work`].
    pub fn handle_datagram(&mut self, now: Now, datagram: Datagram) {
        let job = Job { datagram, unsealed: None };
        let bytes = &job.datagram.bytes;
        if !self.prefilter.admits(bytes.len()) || recognise(bytes).is_none() {
            self.verdict(now, job.origin(), None, None, Reason::Noise);
        } else if self.sources.clients(job.datagram.source.ip().to_canonical()).is_empty() {
            self.enqueue_unknown(now, job);
        } else if self.waste.is_used_up(now.mono) {
            let thrown = self.crowded.push(job);
            self.busy(now, thrown);
        } else {
            self.try_known(now, job);
        }
    }

    /// Works on what waits, for `units` public-key operations at most (30 to 50 us each). True while more waits.
    pub fn work(&mut self, now: Now, units: u32) -> bool {
        // A known source comes first, but a crowd that only pretends to be one must not keep strangers out for good.
        let for_the_crowd = units.div_ceil(2);
        let mut spent = 0;
        while spent < for_the_crowd
            && let Some(job) = self.crowded.pop()
        {
            spent = spent.saturating_add(self.try_known(now, job));
        }
        self.work_on_unknown(now, units.saturating_sub(spent));
        self.walk.is_some() || !self.unknown.is_empty() || !self.crowded.is_empty()
    }

    /// The store has answered.
    pub fn handle_claimed(&mut self, now: Now, ticket: Ticket, answer: Claimed) {
        let Some(Claiming { fresh, origin, dialect }) = self.pending.take_claim(ticket) else { return };
        let number = fresh.client();
        let Some(client) = self.clients.get(number) else {
            return self.verdict(now, origin, Some(dialect), None, Reason::UnknownClient);
        };
        let name = Some(client.name.clone());
        let taken = match fresh.taken(answer) {
            Ok(taken) => taken,
            Err(refusal) => {
                self.waste.charge(2);
                return self.refuse(now, origin, dialect, name, refusal);
            }
        };
        let decision = policy::decide(&taken, client, now);
        // Only now is anything remembered of a packet: before, everything in it could be a replay.
        self.sources.heard(origin.source.ip().to_canonical(), number);
        self.clients.saw(number, now);
        match decision {
            Decision::Refuse(reason, detail) => {
                self.refuse(now, origin, dialect, name, Refusal { reason, detail });
            }
            Decision::Grant(warrant) => {
                let opening = (*warrant).clone();
                let asked = Asked { opening, origin, dialect, revoked: false, stray: false };
                match self.pending.insert(now.mono, Waiting::Open(asked)) {
                    Some(ticket) => self.actions.push_back(Action::Open(ticket, warrant)),
                    None => self.verdict(now, origin, Some(dialect), name, Reason::Busy),
                }
            }
        }
    }

    /// The grantor has answered.
    pub fn handle_opened(&mut self, now: Now, ticket: Ticket, answer: Opened) {
        self.end_overdue(now);
        match self.pending.take_asked(ticket) {
            Some(Waiting::Open(asked)) => self.answered(now, asked, answer),
            Some(Waiting::Abandoned(asked)) if answer == Opened::Open => self.opened_too_late(now, asked),
            Some(Waiting::Abandoned(_) | Waiting::Claim(_)) | None => {}
        }
    }

    /// New rules and keys take the place of the old ones; nothing that waits is lost. Grants of a client that is gone,
    /// has another key, is expired, or has lost one of the ports that are open, are closed; nobody else's is touched.
    pub fn handle_rules(&mut self, now: Now, rules: Rules, keys: Keyring) {
        self.prefilter = Prefilter::of(&keys);
        self.keys = keys;
        let before =
            self.clients.by_name().into_iter().map(|(name, client)| (name.clone(), client.key)).collect();
        let numbers = self.clients.replace(rules);
        let number = |old: u32| numbers.get(old as usize).copied().flatten();
        self.sources.renumber(number);
        self.pending.renumber(|old| number(old).unwrap_or(NOBODY));
        self.unknown.seal_again();
        self.crowded.seal_again();
        if let Some(Walk { mut job, .. }) = self.walk.take() {
            job.unsealed = None;
            self.unknown.put_back(job);
        }
        self.review_grants(now, &before);
    }

    /// Somebody with the right to it closes grants. Gives how many were open.
    pub fn handle_closing(&mut self, now: Now, closing: &Closing) -> u32 {
        // Also when nothing is known to be open: what is on its way to the grantor, or what only it knows, is meant too.
        self.actions.push_back(Action::Close(closing.clone()));
        self.pending.revoke(closing);
        let ended = self.grants.end(|client, address, _| is_meant(closing, client, address));
        let count = u32::try_from(ended.len()).unwrap_or(u32::MAX);
        ended.into_iter().for_each(|ended| self.say_closed(now, ended));
        count
    }

    /// After a restart the grantor tells what it found open. What the rules do not allow any more is closed.
    pub fn handle_restored(&mut self, now: Now, grants: Vec<RestoredGrant>) {
        for grant in grants.into_iter().filter(|grant| grant.until > now.mono) {
            self.grants.restored(grant, now);
        }
        self.review_grants(now, &std::collections::HashMap::new());
    }

    /// When [`Gate::handle_timeout`] is to be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Mono> {
        [self.pending.deadline(), self.grants.deadline()].into_iter().flatten().min()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some(overdue) = self.pending.overdue(now.mono) {
            match overdue {
                Overdue::Claim(Claiming { fresh, origin, dialect }) => {
                    let name = self.clients.name(fresh.client());
                    self.verdict(now, origin, Some(dialect), name, Reason::StoreUnavailable);
                }
                Overdue::Open { client, origin, dialect } => {
                    let detail = Some(Detail::Said("the grantor did not answer in time"));
                    let refusal = Refusal { reason: Reason::FirewallFailed, detail };
                    self.refuse(now, origin, dialect, Some(client), refusal);
                }
            }
        }
        self.end_overdue(now);
    }

    /// What is to be done next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The grants that are open, in no order.
    pub fn sessions(&self, now: Now) -> impl Iterator<Item = Session<'_>> {
        self.grants.sessions(now.mono)
    }

    /// When each client that was seen was seen last, in the rules' order.
    pub fn last_seen(&self) -> impl Iterator<Item = (&ClientName, Unix)> {
        self.clients.last_seen()
    }

    /// How many events there were of each reason.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// The public-key operations that were done.
    #[must_use]
    pub const fn effort(&self) -> Effort {
        self.effort
    }

    /// How many datagrams wait for [`Gate::work`].
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.unknown.len() + self.crowded.len() + usize::from(self.walk.is_some())
    }
}

/// From bytes to a claim.
impl Gate {
    /// A known source's packet is tried with the clients known from there. Gives the units that it took.
    fn try_known(&mut self, now: Now, mut job: Job) -> u32 {
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

    fn enqueue_unknown(&mut self, now: Now, job: Job) {
        let thrown = self.unknown.push(job);
        self.busy(now, thrown);
    }

    fn busy(&mut self, now: Now, thrown: Option<Job>) {
        if let Some(job) = thrown {
            self.verdict(now, job.origin(), Some(Dialect::Openme), None, Reason::Busy);
        }
    }

    /// One X25519: whether it is sealed for us.
    fn unseal(&mut self, job: &Job) -> Option<Box<Unsealed>> {
        let Candidate::Openme(packet) = recognise(&job.datagram.bytes)?;
        self.effort.unsealed += 1;
        self.keys.openme.as_ref()?.unseal(&packet).ok().map(Box::new)
    }

    fn work_on_unknown(&mut self, now: Now, mut units: u32) {
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

    fn begin_walk(&mut self, now: Now, mut job: Job, units: &mut u32, mut order: Vec<u32>) -> Option<Walk> {
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
    fn walk_on(&mut self, now: Now, walk: &mut Walk, units: &mut u32) -> bool {
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

    /// Age first, then the claim.
    fn proven(&mut self, now: Now, proven: Proven) {
        let (origin, dialect, client) = (proven.origin, proven.dialect(), proven.client);
        let fresh = match proven.fresh(now, self.clients.window()) {
            Ok(fresh) => fresh,
            Err(refusal) => {
                self.waste.charge(2);
                return self.refuse(now, origin, dialect, self.clients.name(client), refusal);
            }
        };
        if self.clients.is_over(client, self.tuning.knocks_a_minute, now.mono) {
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

/// From the grantor's answer to the end of a grant.
impl Gate {
    fn answered(&mut self, now: Now, asked: Asked, answer: Opened) {
        let (origin, dialect, name) = (asked.origin, asked.dialect, Some(asked.opening.client.clone()));
        let said = match answer {
            Opened::Open if asked.revoked => {
                let detail = Some(Detail::Said("closed while it was being opened"));
                return self.refuse(now, origin, dialect, name, Refusal { reason: Reason::Closed, detail });
            }
            Opened::Open => return self.granted(now, asked),
            Opened::Refused => "the grantor's own limits do not allow it",
            Opened::Full => "too many grants are open",
            Opened::Failed => "the firewall would not take it",
        };
        let refusal = Refusal { reason: Reason::FirewallFailed, detail: Some(Detail::Said(said)) };
        self.refuse(now, origin, dialect, name, refusal);
        if asked.stray {
            self.opened_too_late(now, asked);
        }
    }

    fn granted(&mut self, now: Now, asked: Asked) {
        let Asked { opening, origin, dialect, .. } = asked;
        let (client, address, lasting) = (opening.client.clone(), opening.address, opening.lasting);
        let detail = Some(Detail::Grant { address, ports: opening.ports.clone(), lasting });
        let reason = self.grants.opened(opening, now);
        self.refuse(now, origin, dialect, Some(client), Refusal { reason, detail });
    }

    /// A door is open whose knock was refused because the answer did not come. It is closed again, unless the same
    /// client's grant for the same address is open or about to be: that one would be closed with it.
    fn opened_too_late(&mut self, now: Now, asked: Asked) {
        let (client, address) = (asked.opening.client.clone(), asked.opening.address);
        if asked.revoked {
            return;
        }
        if let Some(other) = self.pending.open_for(&client, address) {
            other.stray = true;
        } else if self.grants.is_open(&client, address, now.mono) {
            let _ = self.grants.opened(asked.opening, now);
        } else {
            self.actions.push_back(Action::Close(Closing { client: Some(client), address: Some(address) }));
        }
    }

    fn end_overdue(&mut self, now: Now) {
        while let Some(ended) = self.grants.overdue(now.mono) {
            self.say_closed(now, ended);
        }
    }

    /// Closes what the rules do not allow any more. `before`: the keys that the clients had, where they may be others.
    fn review_grants(
        &mut self,
        now: Now,
        before: &std::collections::HashMap<ClientName, portunus_model::ClientKey>,
    ) {
        let clients = self.clients.by_name();
        let stays = |name: &ClientName, ports: &[PortSpec]| {
            let same_key = |client: &Client| before.get(name).is_none_or(|key| *key == client.key);
            let in_time = |client: &Client| client.expires.is_none_or(|expires| expires > now.wall);
            let all_ports = |client: &Client| ports.iter().all(|port| client.ports.contains(port));
            clients.get(name).is_some_and(|client| same_key(client) && in_time(client) && all_ports(client))
        };
        let ended = self.grants.end(|client, _, ports| !stays(client, ports));
        let mut closings: Vec<(ClientName, std::net::IpAddr)> =
            ended.iter().map(|ended| (ended.client.clone(), ended.address)).collect();
        for asked in self.pending.asked().filter(|asked| !asked.revoked) {
            if !stays(&asked.opening.client, &asked.opening.ports) {
                closings.push((asked.opening.client.clone(), asked.opening.address));
            }
        }
        closings.sort_unstable();
        closings.dedup();
        for (client, address) in closings {
            let closing = Closing { client: Some(client), address: Some(address) };
            self.pending.revoke(&closing);
            self.actions.push_back(Action::Close(closing));
        }
        ended.into_iter().for_each(|ended| self.say_closed(now, ended));
    }
}

/// Words.
impl Gate {
    fn say_closed(&mut self, now: Now, ended: Ended) {
        self.counters.count(Reason::Closed);
        let detail = Detail::Grant { address: ended.address, ports: ended.ports, lasting: Duration::ZERO };
        self.actions.push_back(Action::Tell(Event {
            at: now,
            source: None,
            via: None,
            dialect: None,
            client: Some(ended.client),
            reason: Reason::Closed,
            detail: Some(detail),
        }));
    }

    fn verdict(
        &mut self,
        now: Now,
        origin: Origin,
        dialect: Option<Dialect>,
        client: Option<ClientName>,
        reason: Reason,
    ) {
        self.tell(now, origin, dialect, client, Refusal { reason, detail: None });
    }

    fn refuse(
        &mut self,
        now: Now,
        origin: Origin,
        dialect: Dialect,
        client: Option<ClientName>,
        refusal: Refusal,
    ) {
        self.tell(now, origin, Some(dialect), client, refusal);
    }

    fn tell(
        &mut self,
        now: Now,
        origin: Origin,
        dialect: Option<Dialect>,
        client: Option<ClientName>,
        outcome: Refusal,
    ) {
        let Refusal { reason, detail } = outcome;
        self.counters.count(reason);
        let (source, via) = (Some(origin.source), Some(origin.via));
        self.actions.push_back(Action::Tell(Event { at: now, source, via, dialect, client, reason, detail }));
    }
}

#[cfg(test)]
mod tests;
