//! The gate as the shell sees it: what can be told to it, and what it wants done. The story of a datagram goes on in
//! `knock` (lane, proof, age, claim) and `grant` (policy's yes, the grantor's answer, the end); `verdict` has the words.

mod enrol;
mod gpg;
mod grant;
mod knock;
mod native;
mod verdict;

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use portunus_crypto::{Secret, totp};
use portunus_dialect::fwknop::gpg::{Answer, RingId};
use portunus_dialect::openme::Unsealed;
use portunus_dialect::{fwknop, native as native_dialect, openme};
use portunus_model::{
    ClaimKey, Claimed, ClientKey, ClientName, Closing, Datagram, Detail, DoorRole, Mono, Now, Opened, Ran,
    Reason, Rules, Unix,
};

use crate::chain::Outcome;
use crate::clients::{Allowance, Clients, NOBODY, nobody};
use crate::counters::{Counters, Effort};
use crate::crowd::Crowd;
use crate::grants::Grants;
use crate::keysets::KeySets;
use crate::lane::{Job, Lane, Waste};
use crate::names::Names;
use crate::native::Native;
use crate::oracle::Oracle;
use crate::pending::{Asked, Claimant, Claiming, Coded, Overdue, Pending, Stray, Waiting, is_meant};
use crate::prefilter::Prefilter;
use crate::sources::Sources;
use crate::{Action, Enrolled, Invitation, RestoredGrant, Session, Ticket};

/// The server's keys, one a dialect in use.
#[derive(Default)]
pub struct Keyring {
    /// openme v1; `None`: not spoken.
    pub openme: Option<openme::ServerKey>,
    /// fwknop: the sets of keys of all stanzas, each once; none: not spoken.
    pub fwknop: Vec<fwknop::Keys>,
    /// fwknop with GnuPG: the same.
    pub gpg: Vec<fwknop::gpg::GpgKeys>,
    /// native: the doors, the current one first; none: not spoken.
    pub native: Vec<(DoorRole, native_dialect::Door)>,
    /// native: the secrets of one-time codes, by the public keys of their clients.
    pub codes: Vec<([u8; 32], Secret<{ totp::SECRET }>)>,
    /// native: who was invited, 16 at most.
    pub invitations: Vec<Invitation>,
}

/// Bounds of memory, work and patience. None of them is about who may open what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuning {
    /// How many datagrams wait in each lane (some 600 bytes each).
    pub queue: usize,
    /// How many addresses are remembered from which clients came (some 150 bytes each).
    pub known_sources: usize,
    /// How many packets of known sources, and how many of others, wait for gpg.
    pub gpg_queue: usize,
    /// How many are with gpg at once.
    pub gpg_at_once: usize,
    /// How long gpg may take for one, with all that is around it.
    pub gpg_patience: Duration,
    /// How many questions to store and grantor may be open at once.
    pub pending: usize,
    /// How long store and grantor may take for an answer.
    pub patience: Duration,
    /// How many units of work a second may be wasted at once on packets that only pretend to come from a known source.
    pub waste_a_second: u32,
    /// How many knocks of one client are accepted at once, and how many more a minute: the replay store remembers each
    /// for two hours, and what one client can make it remember in that time must be less than what it has room for.
    pub knocks_at_once: u32,
    /// See `knocks_at_once`.
    pub knocks_a_minute: u32,
    /// Whether the fields of fwknop's packets are listed for people ([`portunus_model::Accepted::listing`]).
    pub lists_fields: bool,
    /// What nobody outside should know: who makes room in a full lane. Draw it at random.
    pub seed: u64,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            queue: 1024,
            known_sources: 16_384,
            gpg_queue: 64,
            gpg_at_once: 2,
            gpg_patience: Duration::from_secs(5),
            pending: 16_384,
            patience: Duration::from_secs(2),
            waste_a_second: 2000,
            knocks_at_once: 200_000,
            knocks_a_minute: 600,
            lists_fields: false,
            seed: 0,
        }
    }
}

/// The gate.
pub struct Gate {
    server: Option<openme::ServerKey>,
    keysets: KeySets,
    prefilter: Prefilter,
    clients: Clients,
    names: Names,
    tuning: Tuning,
    sources: Sources,
    /// Known sources' packets, when too many of them turned out not to be from them.
    crowded: Crowd,
    waste: Waste,
    unknown: Lane,
    /// The unknown packet that is being tried with one client after the other.
    walk: Option<Walk>,
    native: Native,
    doors_first: bool,
    oracle: Oracle,
    pending: Pending,
    grants: Grants,
    actions: VecDeque<Action>,
    counters: Counters,
    effort: Effort,
}

/// A packet of an unknown source, and who is still to be tried.
struct Walk {
    job: Job,
    trial: Trial,
}

enum Trial {
    /// Opened already; clients by their numbers, one Ed25519 each.
    Openme { unsealed: Box<Unsealed>, order: Vec<u32>, next: usize },
    /// Sets of keys in their order, one MAC each; whether any was for packets from there at all; and the keyrings of
    /// GnuPG's that may open it.
    Fwknop { next: u32, met: bool, rings: Vec<RingId> },
}

impl Gate {
    /// A gate with nothing open.
    #[must_use]
    pub fn new(rules: Rules, keys: Keyring, tuning: Tuning) -> Self {
        let Keyring { openme: server, fwknop, gpg, native, codes, invitations } = keys;
        let keysets = KeySets::new(fwknop, gpg, &rules.clients, tuning.lists_fields);
        let mut native = Native::new(native, codes, &rules.clients, &tuning);
        native.invitations.replace(invitations);
        Self {
            prefilter: Prefilter { openme: server.is_some(), fwknop: !keysets.is_empty() },
            server,
            keysets,
            names: Names::default(),
            native,
            doors_first: false,
            clients: Clients::new(rules, Allowance::of(&tuning)),
            tuning,
            sources: Sources::new(tuning.known_sources),
            crowded: Crowd::new(tuning.queue.max(1), tuning.seed),
            waste: Waste::new(tuning.waste_a_second),
            unknown: Lane::new(tuning.queue, !tuning.seed),
            walk: None,
            oracle: Oracle::new(&tuning),
            pending: Pending::new(tuning.pending, tuning.patience),
            grants: Grants::default(),
            actions: VecDeque::new(),
            counters: Counters::default(),
            effort: Effort::default(),
        }
    }

    /// A datagram came in. A known source's is judged at once; everybody else's waits for [`Gate::work`].
    pub fn handle_datagram(&mut self, now: Now, datagram: Datagram) {
        let job = Job::new(datagram, now.mono);
        if let Some(admitted) = self.admit_native(now, &job) {
            self.handle_native(now, job, admitted);
        } else if self.prefilter.admit(&job.datagram.bytes).is_none() {
            self.verdict(now, job.origin(), None, None, Reason::Noise);
        } else if self.sources.clients(job.address()).is_empty() {
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
        let left = units.saturating_sub(spent);
        // Whoever holds a door's key crowds neither the other doors nor the other dialects: of what does not halve each has the
        // rest in turn.
        self.doors_first = !self.doors_first;
        let others_wait = self.walk.is_some() || !self.unknown.is_empty();
        let half = if self.doors_first { left.div_ceil(2) } else { left / 2 };
        let at_doors = self.work_at_doors(now, if others_wait { half } else { left });
        self.work_on_unknown(now, left.saturating_sub(at_doors));
        self.waiting() > 0
    }

    /// The store has answered.
    pub fn handle_claimed(&mut self, now: Now, ticket: Ticket, answer: Claimed) {
        let Some(Claiming { fresh, origin, dialect, invited }) = self.pending.take_claim(ticket) else {
            return self.code_claimed(now, ticket, answer);
        };
        if let Some(name) = invited {
            return self.claimed_by_invited(now, name, fresh, (origin, answer));
        }
        let number = fresh.client();
        let Some(name) = self.clients.name(number) else {
            return self.verdict(now, origin, Some(dialect), None, Reason::UnknownClient);
        };
        match fresh.taken(answer) {
            Ok(taken) => {
                // Only now is anything remembered of a packet: before, everything in it could be a replay.
                self.sources.heard(origin.address(), number);
                self.clients.saw(number, now);
                self.took_native(&taken);
                self.actions.extend(taken.accepted(now).map(Action::Accept));
                self.decide(now, Claimant { taken, client: number, passed: false });
            }
            Err(outcome) => {
                self.charge(origin);
                self.conclude(now, origin, Some(dialect), Some(name), outcome);
            }
        }
    }

    /// A name was looked up; `None`: nobody knows it.
    pub fn handle_resolved(&mut self, now: Now, ticket: Ticket, name: String, answer: Option<IpAddr>) {
        self.names.learn(name, answer, now.mono);
        if let Some(claimant) = self.pending.take_name(ticket) {
            self.decide(now, claimant);
        }
    }

    /// gpg has answered, or cannot.
    pub fn handle_gpg(&mut self, now: Now, number: u64, answer: &Answer) {
        self.heard(now, number, answer);
        self.ask_gpg(now);
    }

    /// Who runs orders has answered.
    pub fn handle_ran(&mut self, now: Now, ticket: Ticket, answer: Ran) {
        let Some(ordered) = self.pending.take_order(ticket) else { return };
        self.ran(now, ordered, answer);
    }

    /// Where the knock came from that waits for this answer.
    #[must_use]
    pub fn source_of(&self, ticket: Ticket) -> Option<IpAddr> {
        self.pending.origin_of(ticket).map(|origin| origin.address())
    }

    /// Whose that knock is, as the rules call it, once it is decided.
    #[must_use]
    pub fn name_of(&self, ticket: Ticket) -> Option<&ClientName> {
        self.pending.name_of(ticket)
    }

    /// The grantor has answered.
    pub fn handle_opened(&mut self, now: Now, ticket: Ticket, answer: Opened) {
        self.end_overdue(now);
        match self.pending.take_asked(ticket) {
            Some(Waiting::Open(asked)) => self.answered(now, asked, answer),
            Some(Waiting::Abandoned(asked)) => {
                let Asked { opening, name, strays, dialect, revoked, .. } = asked;
                let late = Some(Stray { opening, name }).filter(|_| answer == Opened::Open && !revoked);
                strays.into_iter().chain(late).for_each(|late| self.opened_too_late(now, late, dialect));
            }
            Some(
                Waiting::Claim(_)
                | Waiting::Name(_)
                | Waiting::Run(_)
                | Waiting::Code(_)
                | Waiting::Close(_)
                | Waiting::Enrol(_),
            )
            | None => {}
        }
    }

    /// The grantor has done all that was asked for before; not `whole`: something is open that was to be closed.
    pub fn handle_settled(&mut self, now: Now, ticket: Ticket, whole: bool) {
        if let Some(shutting) = self.pending.take_closing(ticket) {
            self.closed_by_client(now, shutting, whole);
        }
    }

    /// New rules and keys take the place of the old ones; nothing that waits is lost. Grants of a client that is gone,
    /// has another key, is expired or will be before they end, may not knock any more from where its knock came, or has lost
    /// one of the ports that are open, are closed; nobody else's is touched.
    pub fn handle_rules(&mut self, now: Now, rules: Rules, keys: Keyring) {
        let Keyring { openme: server, fwknop, gpg, native, codes, invitations } = keys;
        self.native.invitations.replace(invitations);
        for job in self.native.replace(native, codes, &rules.clients, &self.tuning) {
            self.verdict(now, job.origin(), None, None, Reason::Noise);
        }
        self.keysets = KeySets::new(fwknop, gpg, &rules.clients, self.tuning.lists_fields);
        self.prefilter = Prefilter { openme: server.is_some(), fwknop: !self.keysets.is_empty() };
        self.server = server;
        let before = self.clients.keys();
        let numbers = self.clients.replace(rules);
        let number = |old: u32| numbers.get(old as usize).copied().flatten();
        self.sources.renumber(number);
        self.pending.renumber(|old| number(old).unwrap_or(NOBODY));
        self.unknown.seal_again();
        if let Some(Walk { mut job, .. }) = self.walk.take() {
            job.unsealed = None;
            self.unknown.put_back(job);
        }
        self.review_grants(now, &before);
    }

    /// Somebody with the right to it closes grants, by the name that the rules have. Gives how many were open. Stanzas that
    /// share their keys are one holder: what either of them has opened is closed.
    pub fn handle_closing(&mut self, now: Now, closing: &Closing) -> u32 {
        let client = closing.client.as_ref().map(|name| self.clients.holder(name));
        self.close(now, &Closing { client, address: closing.address, cause: closing.cause })
    }

    /// The same, by the holder's name.
    fn close(&mut self, now: Now, closing: &Closing) -> u32 {
        // Also when nothing is known to be open: what is on its way to the grantor, or what only it knows, is meant too.
        self.actions.push_back(Action::Close(closing.clone()));
        self.pending.revoke(closing);
        let ended = match (&closing.client, closing.address) {
            (Some(client), Some(address)) => self.grants.end_one(client, address.to_canonical()),
            _ => self.grants.end(|client, address| is_meant(closing, client, address)),
        };
        let count = u32::try_from(ended.len()).unwrap_or(u32::MAX);
        ended.into_iter().for_each(|ended| self.say_closed(now, ended));
        count
    }

    /// After a restart the grantor tells what it found open. What the rules do not allow any more is closed.
    pub fn handle_restored(&mut self, now: Now, grants: Vec<RestoredGrant>) {
        let clients = self.clients.by_holder();
        for grant in grants.into_iter().filter(|grant| grant.until > now.mono) {
            // It was proven before the restart: its next knock need not wait behind strangers.
            let known = clients.get(&grant.client).and_then(|theirs| theirs.first());
            if let Some(&(number, _)) = known {
                self.sources.heard(grant.grounds.source.unwrap_or(grant.address), number);
            }
            let asked = known.is_some_and(|(_, client)| !matches!(client.key, ClientKey::Openme(_)));
            let name = known.map_or_else(|| nobody(&grant.client), |(_, client)| client.name.clone());
            self.grants.restored(grant, name, asked, now);
        }
        self.review_grants(now, &HashMap::new());
    }

    /// When [`Gate::handle_timeout`] is to be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Mono> {
        let all =
            [self.pending.deadline(), self.grants.deadline(), self.oracle.deadline(), self.native.deadline()];
        all.into_iter().flatten().min()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some(overdue) = self.pending.overdue(now.mono) {
            match overdue {
                Overdue::Claim(Claiming { fresh, origin, dialect, invited }) => {
                    let name = invited.or_else(|| self.clients.name(fresh.client()));
                    self.verdict(now, origin, Some(dialect), name, Reason::StoreUnavailable);
                }
                Overdue::Code(Coded { claimant: Claimant { taken, client, .. }, .. }) => {
                    let name = self.clients.name(client);
                    let (origin, dialect) = (taken.origin(), Some(taken.dialect()));
                    self.verdict(now, origin, dialect, name, Reason::StoreUnavailable);
                }
                Overdue::Name(Claimant { taken, client, .. }) => {
                    let name = self.clients.name(client);
                    let detail =
                        Some(Detail::Said("the inner host's name was not found in time: knock again"));
                    let outcome = Outcome { reason: Reason::Busy, detail };
                    self.conclude(now, taken.origin(), Some(taken.dialect()), name, outcome);
                }
                Overdue::Enrol(enrolling) => self.enrolled(now, enrolling, Enrolled::Failed),
                Overdue::Close(shutting) => self.closed_by_client(now, shutting, false),
                Overdue::Run(ordered) => self.ran(now, ordered, Ran::Failed),
                Overdue::Open { client, origin, dialect } => {
                    let detail = Some(Detail::Said("the grantor did not answer in time"));
                    let outcome = Outcome { reason: Reason::FirewallFailed, detail };
                    self.conclude(now, origin, Some(dialect), Some(client), outcome);
                }
            }
        }
        self.give_gpg_up(now);
        self.end_overdue(now);
        self.ask_for_chains(now);
    }

    /// What is to be done next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The grants that are open, in no order.
    pub fn sessions(&self, now: Now) -> impl Iterator<Item = Session<'_>> {
        self.grants.sessions(now.mono)
    }

    /// Whether the rules have a client of this name.
    #[must_use]
    pub fn knows(&self, name: &ClientName) -> bool {
        self.clients.knows(name)
    }

    /// By which name the grantor knows whom the rules call `name`.
    #[must_use]
    pub fn holder(&self, name: &ClientName) -> ClientName {
        self.clients.holder(name)
    }

    /// What people are told of whom the grantor knows as `holder`.
    #[must_use]
    pub fn shown(&self, holder: &ClientName) -> ClientName {
        self.clients.shown(holder)
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

    /// How many datagrams of known sources wait for [`Gate::work`], and how many of others.
    #[must_use]
    pub fn lanes(&self) -> (usize, usize) {
        (self.crowded.len(), self.waiting() - self.crowded.len())
    }

    /// How many datagrams wait for gpg, or are with it.
    #[must_use]
    pub fn with_gpg(&self) -> usize {
        self.oracle.len()
    }

    /// What the file of packets that were accepted before us calls the packet that waits for this answer.
    #[must_use]
    pub fn text_of(&self, ticket: Ticket) -> Option<ClaimKey> {
        self.pending.text_of(ticket)
    }

    /// How many questions to the store, the grantor and the helpers are open.
    #[must_use]
    pub fn questions(&self) -> usize {
        self.pending.len()
    }

    /// How many addresses are remembered from which clients came.
    #[must_use]
    pub fn known_sources(&self) -> usize {
        self.sources.len()
    }

    /// How many units of work may be wasted just now on packets that only pretend to come from a known source.
    #[must_use]
    pub const fn budget(&self) -> u32 {
        self.waste.left()
    }

    /// The bounds that it works within.
    #[must_use]
    pub const fn tuning(&self) -> &Tuning {
        &self.tuning
    }

    /// How many datagrams wait for [`Gate::work`].
    #[must_use]
    pub fn waiting(&self) -> usize {
        let strangers = self.unknown.len() + usize::from(self.walk.is_some()) + self.native.doors.waiting();
        strangers + self.crowded.len()
    }
}

#[cfg(test)]
mod tests;
