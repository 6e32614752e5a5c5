//! Native knocks: from an admission tag to a proof, what follows from an accepted one, and answers.

use portunus_dialect::native::{self, Answer, Day, Kind, Packet, Reply, Status};
use portunus_dialect::{Ask, Knock};
use portunus_model::{ChainOwner, Claimed, ClientKey, Detail, Dialect, DoorRole, Now, Reason};

use super::Gate;
use crate::chain::{Origin, Outcome, Proven, Taken, Through};
use crate::lane::Job;
use crate::native::{Admitted, Which};
use crate::pending::{Claimant, Coded, Shutting, Waiting};
use crate::{Action, Answering, Ticket};

/// What opening one takes: Elligator and a Diffie-Hellman, or another one for a client that was not heard of before.
const UNITS: u32 = 2;
const CODE_USED: &str = "the one-time code was used before";

impl Gate {
    /// A chain as the store has it, at the start or after it was put there.
    pub fn handle_chain(
        &mut self,
        owner: ChainOwner,
        slot: u32,
        day: Day,
        value: portunus_crypto::Secret<32>,
    ) {
        self.native.learn(owner, slot, day, value);
    }

    /// The store has nothing of this owner any more.
    pub fn forget_chain(&mut self, owner: ChainOwner) {
        self.native.forget(owner);
    }

    /// How many doors have no chain, so that nobody can knock at them; and the clients without a link, who cannot knock.
    #[must_use]
    pub fn without_chains(&self) -> (usize, Vec<&portunus_model::ClientName>) {
        let lacks = |client: &&portunus_model::Client| match client.key {
            ClientKey::Native(public) => self.native.slot_of(ChainOwner::Link(public)).is_none(),
            ClientKey::Openme(_) | ClientKey::Fwknop(_) => false,
        };
        let clients = self.clients.rules().clients.iter().filter(lacks).map(|client| &client.name).collect();
        (self.native.doors.without_chains(), clients)
    }

    /// Where in the store something lies; `None`: nowhere.
    #[must_use]
    pub fn slot_of(&self, owner: ChainOwner) -> Option<u32> {
        self.native.slot_of(owner)
    }

    /// Whether the kernel says that its clock is synchronised, and it agrees with how long the machine has been up.
    pub fn handle_clock(&mut self, trusted: bool) {
        self.native.trust(trusted);
    }

    /// What [`Action::Chains`] asked for is durable, with these slots for those changes that named none, in their order; or
    /// nobody knows whether it is.
    /// The next batch is asked for when [`Gate::poll_timeout`] is due, which is at once: whoever carries out all that is asked
    /// for would else not hear a datagram until a million clients have aged.
    pub fn handle_chains(&mut self, now: Now, slots: Option<&[u32]>) {
        self.native.kept(now, slots);
    }

    pub(super) fn ask_for_chains(&mut self, now: Now) {
        if let Some(batch) = self.native.next_batch(now) {
            self.actions.push_back(Action::Chains(batch));
        }
    }

    /// Whether somebody who was given a door's key has made it.
    pub(super) fn admit_native(&mut self, now: Now, job: &Job) -> Option<Admitted> {
        if self.native.doors.is_empty() {
            return None;
        }
        let packet = Packet::new_checked(&job.datagram.bytes)?;
        self.native.doors.admit(&packet, now)
    }

    /// A known source's is opened at once, everybody else's waits at its door. A copy costs nothing more.
    pub(super) fn handle_native(&mut self, now: Now, job: Job, admitted: Admitted) {
        let Some(packet) = Packet::new_checked(&job.datagram.bytes) else { return };
        if self.native.memory.knows(admitted.day, packet.ephemeral()) {
            self.copied(now, job.origin());
        } else if self.sources.clients(job.address()).is_empty() {
            let thrown = self.native.doors.push(admitted, job);
            self.busy(now, thrown);
        } else if self.waste.is_used_up(now.mono) {
            let thrown = self.crowded.push(job);
            self.busy(now, thrown);
        } else {
            self.try_native(now, &job, admitted);
        }
    }

    /// Opens what waits at the doors, for so many units. Gives how many it took.
    pub(super) fn work_at_doors(&mut self, now: Now, units: u32) -> u32 {
        let mut spent = 0_u32;
        while spent < units
            && let Some(job) = self.native.doors.pop()
        {
            spent = spent.saturating_add(match self.admit_native(now, &job) {
                Some(admitted) => self.try_native(now, &job, admitted),
                None => {
                    // Its day went by while it waited.
                    self.verdict(now, job.origin(), None, None, Reason::Noise);
                    1
                }
            });
        }
        spent
    }

    /// Gives the units that it took.
    pub(super) fn try_native(&mut self, now: Now, job: &Job, admitted: Admitted) -> u32 {
        let origin = job.origin();
        let Some(packet) = Packet::new_checked(&job.datagram.bytes) else { return 0 };
        // Whatever comes of it: it costs no second Diffie-Hellman.
        if self.native.memory.met(admitted.day, packet.ephemeral()) {
            self.copied(now, origin);
            return 1;
        }
        if self.native.doors.role(admitted) == Some(DoorRole::Invitations) {
            // Who was invited has no link, and who has one knocks at another door.
            self.try_enrol(now, origin, (admitted, &packet));
            return UNITS;
        }
        match self.open_native(admitted, &packet) {
            Ok((client, which, opened)) => {
                let (knock, reply) = opened.into_knock();
                self.proven_native(now, (client, which, admitted), (knock, reply), origin);
            }
            Err(reason) => {
                if !self.sources.clients(origin.address()).is_empty() {
                    self.waste.charge(UNITS);
                }
                self.verdict(now, origin, Some(Dialect::Native), None, reason);
            }
        }
        UNITS
    }

    /// Nothing is its client's before the last of the seals is open.
    fn open_native(
        &mut self,
        admitted: Admitted,
        packet: &Packet<'_>,
    ) -> Result<(u32, Which, native::Opened), Reason> {
        self.effort.unsealed += 1;
        let identified = self.native.doors.identify(admitted, packet).map_err(|_| Reason::Unauthentic)?;
        let public = identified.client();
        let client = self.native.links.client(public).ok_or(Reason::UnknownClient)?;
        let door = self.native.doors.number(admitted).ok_or(Reason::Unauthentic)?;
        let known = self.native.links.shared(public, door);
        let shared = match known {
            Some(shared) => shared,
            None => {
                self.effort.unsealed += 1;
                self.native.doors.shared_with(admitted, public).ok_or(Reason::Unauthentic)?
            }
        };
        let links = self.native.links.of_day(public, admitted.day);
        let opened = links.into_iter().find_map(|(which, link)| {
            self.effort.tried += 1;
            Some((which, identified.open(&shared, &link).ok()?))
        });
        let (which, opened) = opened.ok_or(Reason::Unauthentic)?;
        self.native.links.set_shared(public, door, &shared);
        Ok((client, which, opened))
    }

    fn proven_native(
        &mut self,
        now: Now,
        (client, which, admitted): (u32, Which, Admitted),
        (knock, reply): (Knock, Reply),
        origin: Origin,
    ) {
        let wants = matches!(knock.ask(), Ask::Native(asked) if asked.wants_answer);
        let may = self.clients.get(client).is_some_and(|client| client.native.answers);
        let role = self.native.doors.role(admitted).filter(|_| wants && may);
        let reply = role.and_then(|role| self.native.replies.keep(reply, role));
        let through =
            Through { announced: which == Which::Announced, moved: self.native.doors.moved_to(admitted) };
        self.proven(now, Proven::by(client, knock, Origin { reply, ..origin }).through(through));
    }

    fn copied(&mut self, now: Now, origin: Origin) {
        let detail = Some(Detail::Said("a copy of a packet that came before"));
        let outcome = Outcome { reason: Reason::Replayed, detail };
        self.conclude(now, origin, Some(Dialect::Native), None, outcome);
    }

    /// A native knock was proven, and is claimed: what is remembered because of it, whatever policy says.
    pub(super) fn took_native(&mut self, taken: &Taken) {
        let (Ask::Native(asked), Some(public)) = (taken.ask(), taken.native_key()) else { return };
        if let Some(reply) = taken.origin().reply {
            self.native.replies.claim(reply);
        }
        let Some(day) = Day::of(taken.stamp()) else { return };
        self.native.met(day);
        let Through { announced, moved } = taken.through();
        if announced {
            self.native.promote(public);
        }
        if let Some(door) = moved {
            self.native.moved(public, day, door);
        }
        if let (Kind::NewLink, Some(link)) = (asked.kind, &asked.link) {
            self.native.announce(public, day, link.duplicate());
        }
    }

    /// The client closes what is open for it, and nothing that it made before opens anything. It hears so once the kernel has
    /// closed.
    pub(super) fn close_by_client(
        &mut self,
        now: Now,
        taken: &Taken,
        holder: portunus_model::ClientName,
        name: portunus_model::ClientName,
    ) {
        if let Some(public) = taken.native_key() {
            self.native.close(public, taken.stamp());
        }
        let (client, address, cause) = (Some(holder), None, portunus_model::Cause::Close);
        let _ = self.close(now, &portunus_model::Closing { client, address, cause });
        let (origin, dialect) = (taken.origin(), taken.dialect());
        let shutting = Shutting { name: name.clone(), origin, dialect };
        match self.pending.insert(now.mono, Waiting::Close(shutting)) {
            Some(ticket) => self.actions.push_back(Action::Settle(ticket)),
            // It is being closed all the same.
            None => self.verdict(now, origin, Some(dialect), Some(name), Reason::Busy),
        }
    }

    /// The kernel has closed it; not `whole`: nobody says that it has.
    pub(super) fn closed_by_client(&mut self, now: Now, shutting: Shutting, whole: bool) {
        let Shutting { name, origin, dialect } = shutting;
        let outcome = if whole {
            Outcome { reason: Reason::Closed, detail: None }
        } else {
            let detail = Some(Detail::Said("the firewall did not say that it is closed"));
            Outcome { reason: Reason::FirewallFailed, detail }
        };
        self.conclude(now, origin, Some(dialect), Some(name), outcome);
    }

    /// A client that needs a one-time code: each code opens for one attempt, which may come twice (by IPv4 and IPv6, or again
    /// when an answer was lost), also across a restart.
    pub(super) fn look_at_code(&mut self, now: Now, claimant: Claimant) {
        let Claimant { taken, client, .. } = &claimant;
        let (Ask::Native(asked), Some(public)) = (taken.ask(), taken.native_key()) else { return };
        let Some(native::Code { value, attempt }) = asked.code else {
            return self.refuse_code(now, &claimant, "a one-time code is needed");
        };
        if self.native.links.is_guessing(&public, now.mono) {
            return self.refuse_code(now, &claimant, "too many wrong codes: none is looked at for now");
        }
        let Some(step) = self.native.step_of(&public, value, now) else {
            self.native.was_wrong(&public, value, now);
            return self.refuse_code(now, &claimant, "the one-time code is wrong");
        };
        match self.native.links.coded(&public) {
            Some(used) if used == (step, attempt) => self.decide(now, Claimant { passed: true, ..claimant }),
            Some((used, _)) if used >= step => self.refuse_code(now, &claimant, CODE_USED),
            Some(_) | None => {
                let (origin, name) = (taken.origin(), self.clients.name(*client));
                let claim = native::code_claim(&public, step);
                let coded = Coded { claimant, step, attempt };
                match self.pending.insert(now.mono, Waiting::Code(coded)) {
                    Some(ticket) => self.actions.push_back(Action::Claim(ticket, claim)),
                    None => self.verdict(now, origin, Some(Dialect::Native), name, Reason::Busy),
                }
            }
        }
    }

    fn refuse_code(&mut self, now: Now, Claimant { taken, client, .. }: &Claimant, said: &'static str) {
        let outcome = Outcome { reason: Reason::SecondFactor, detail: Some(Detail::Said(said)) };
        self.conclude(now, taken.origin(), Some(Dialect::Native), self.clients.name(*client), outcome);
    }

    /// The store has answered whether a code was used.
    pub(super) fn code_claimed(&mut self, now: Now, ticket: Ticket, answer: Claimed) {
        let Some(Coded { claimant, step, attempt }) = self.pending.take_code(ticket) else { return };
        let Some(public) = claimant.taken.native_key() else { return };
        // Of a pair the first has just been answered.
        let again = self.native.links.coded(&public) == Some((step, attempt));
        match answer {
            Claimed::Fresh => self.native.links.set_coded(&public, step, attempt),
            Claimed::Replayed if again => (),
            Claimed::Replayed | Claimed::BelowHorizon | Claimed::TooFarAhead => {
                return self.refuse_code(now, &claimant, CODE_USED);
            }
            Claimed::Unavailable => {
                let (origin, name) = (claimant.taken.origin(), self.clients.name(claimant.client));
                return self.verdict(now, origin, Some(Dialect::Native), name, Reason::StoreUnavailable);
            }
        }
        self.decide(now, Claimant { passed: true, ..claimant });
    }

    /// The answer to a knock whose verdict falls, where its client may have one.
    pub(super) fn answer(&mut self, now: Now, origin: Origin, outcome: &Outcome) {
        let Some(sealing) = origin.reply.and_then(|reply| self.native.replies.take(reply)) else { return };
        let Some(status) = status_of(outcome.reason) else { return };
        let lasting = match &outcome.detail {
            Some(Detail::Grant { lasting, .. }) => lasting.as_secs(),
            Some(Detail::Ran { .. } | Detail::Refusals(_) | Detail::ClockOffset(_) | Detail::Said(_))
            | None => 0,
        };
        let (client, role) = (*sealing.0.client(), sealing.1);
        // At the door of invitations it would not have been heard else.
        if role == DoorRole::Invitations || self.native.links.may_answer(&client, now.mono) {
            self.answer_with(now, origin, sealing, (status, lasting));
        }
    }

    /// Answers with this status, to whom that may be sent.
    pub(super) fn answer_with(
        &mut self,
        now: Now,
        origin: Origin,
        (reply, role): (Reply, DoorRole),
        (status, lasting): (Status, u64),
    ) {
        // Nobody answers where nobody can be, or where many are.
        let to = origin.source;
        if to.port() == 0 || portunus_model::openable(to.ip(), to.ip()).is_err() {
            return;
        }
        // Who may come in hears where from now on.
        let door = match status {
            Status::Granted | Status::Enrolled => self.native.doors.to_tell(role, now),
            Status::Closed
            | Status::Stale
            | Status::NotAllowed
            | Status::Expired
            | Status::SecondFactor
            | Status::FirewallFailed
            | Status::Busy
            | Status::Unconfirmed => None,
        };
        // Who was invited and is not told where to knock has nothing.
        let status = if status == Status::Enrolled && door.is_none() { Status::Busy } else { status };
        let seconds = u32::try_from(lasting).unwrap_or(u32::MAX);
        let answer = Answer { status, seconds, seen: Some(origin.address()), time: now.wall, door };
        let (from, via) = (origin.destination, origin.via);
        self.actions.push_back(Action::Answer(Box::new(Answering { to, from, via, reply, answer })));
    }
}

/// What a client hears; `None`: nothing.
const fn status_of(reason: Reason) -> Option<Status> {
    match reason {
        Reason::Granted | Reason::Extended => Some(Status::Granted),
        Reason::Closed => Some(Status::Closed),
        Reason::Enrolled => Some(Status::Enrolled),
        Reason::Stale => Some(Status::Stale),
        Reason::Expired => Some(Status::Expired),
        Reason::NotAllowed => Some(Status::NotAllowed),
        Reason::SecondFactor => Some(Status::SecondFactor),
        Reason::Busy | Reason::StoreUnavailable | Reason::RateLimited => Some(Status::Busy),
        Reason::FirewallFailed => Some(Status::FirewallFailed),
        Reason::Noise | Reason::Unauthentic | Reason::Replayed | Reason::UnknownClient => None,
    }
}
