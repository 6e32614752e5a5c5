//! Enrolment: who was invited comes with a key of its own, and becomes a client once that is written down.

use portunus_dialect::native::{Day, Kind, Packet, Status};
use portunus_dialect::{Ask, Knock};
use portunus_model::{Claimed, ClientName, Detail, Dialect, Now, Reason};

use super::Gate;
use crate::chain::{Fresh, Origin, Outcome, Proven, clock_offset};
use crate::clients::NOBODY;
use crate::native::Admitted;
use crate::pending::{Claiming, Enrolling, Waiting};
use crate::{Action, Enrolled, Enrolment, Ticket};

const ANOTHER: &str =
    "another key came first with this invitation: somebody else has it, or it was used on two machines";

impl Gate {
    /// What became of an enrolment.
    pub fn handle_enrolled(&mut self, now: Now, ticket: Ticket, how: Enrolled) {
        let Some(enrolling) = self.pending.take_enrolling(ticket) else { return };
        self.enrolled(now, enrolling, how);
    }

    /// A packet at the door of invitations: one Diffie-Hellman tells the key that it comes with, another opens the rest with
    /// each secret that is out.
    pub(super) fn try_enrol(
        &mut self,
        now: Now,
        origin: Origin,
        (admitted, packet): (Admitted, &Packet<'_>),
    ) {
        match self.open_enrolment(now, origin, admitted, packet) {
            Ok((name, proven)) => self.proven_invited(now, name, proven),
            Err(reason) => {
                self.charge(origin);
                self.verdict(now, origin, Some(Dialect::Native), None, reason);
            }
        }
    }

    fn open_enrolment(
        &mut self,
        now: Now,
        origin: Origin,
        admitted: Admitted,
        packet: &Packet<'_>,
    ) -> Result<(ClientName, Proven), Reason> {
        if self.native.invitations.is_empty() {
            return Err(Reason::Unauthentic);
        }
        self.effort.unsealed += 2;
        let doors = &self.native.doors;
        let identified = doors.identify(admitted, packet).map_err(|_| Reason::Unauthentic)?;
        let shared = doors.shared_with(admitted, identified.client()).ok_or(Reason::Unauthentic)?;
        let opened = self.native.invitations.open(&identified, &shared).ok_or(Reason::Unauthentic)?;
        let (name, (knock, reply)) = (opened.0.clone(), opened.1.into_knock());
        if !enrols(&knock) {
            return Err(Reason::Unauthentic);
        }
        let role = doors.role(admitted).ok_or(Reason::Unauthentic)?;
        if !self.native.invitations.hears(&name, reply.client(), now.mono) {
            return Err(Reason::RateLimited);
        }
        // Nobody knows the door before there was an answer, so there always is one.
        let reply = self.native.replies.keep(reply, role);
        Ok((name, Proven::by(NOBODY, knock, Origin { reply, ..origin })))
    }

    /// Age first, then the claim, as with every knock.
    fn proven_invited(&mut self, now: Now, name: ClientName, proven: Proven) {
        let (origin, dialect) = (proven.origin, proven.dialect());
        match proven.fresh(now, Some(crate::native::PATIENCE)) {
            Ok(fresh) => {
                let claim = fresh.claim();
                let claiming = Claiming { fresh, origin, dialect, invited: Some(name.clone()) };
                match self.pending.insert(now.mono, Waiting::Claim(claiming)) {
                    Some(ticket) => self.actions.push_back(Action::Claim(ticket, claim)),
                    None => self.verdict(now, origin, Some(dialect), Some(name), Reason::Busy),
                }
            }
            Err(outcome) => self.conclude(now, origin, Some(dialect), Some(name), outcome),
        }
    }

    /// The store has answered whether it was used.
    pub(super) fn claimed_by_invited(
        &mut self,
        now: Now,
        name: ClientName,
        fresh: Fresh,
        (origin, answer): (Origin, Claimed),
    ) {
        let dialect = Some(Dialect::Native);
        let taken = match fresh.taken(answer) {
            Ok(taken) => taken,
            Err(outcome) => return self.conclude(now, origin, dialect, Some(name), outcome),
        };
        if let Some(reply) = origin.reply {
            self.native.replies.claim(reply);
        }
        let refuse = |reason, detail| Some(Outcome { reason, detail });
        let invitation = self.native.invitations.get(&name);
        let refused = match (invitation, taken.native_key()) {
            _ if now.wall.distance(taken.stamp()) > self.clients.window() => {
                refuse(Reason::Stale, Some(clock_offset(taken.stamp(), now)))
            }
            (Some(invitation), _) if invitation.until <= now.wall => {
                refuse(Reason::Expired, Some(Detail::Said("its invitation is over")))
            }
            (Some(invitation), key) if invitation.taken.is_some() && invitation.taken != key => {
                refuse(Reason::NotAllowed, Some(Detail::Said(ANOTHER)))
            }
            (Some(_), Some(_)) => None,
            (None, _) | (_, None) => {
                refuse(Reason::NotAllowed, Some(Detail::Said("its invitation was taken back")))
            }
        };
        if let Some(outcome) = refused {
            return self.conclude(now, origin, dialect, Some(name), outcome);
        }
        let (Ask::Native(asked), Some(public)) = (taken.ask(), taken.native_key()) else { return };
        let (Some(link), Some(day)) = (&asked.link, Day::of(taken.stamp())) else { return };
        let enrolment =
            Enrolment { name: name.clone(), public, day, link: link.duplicate(), source: origin.address() };
        match self.pending.insert(now.mono, Waiting::Enrol(Enrolling { name: name.clone(), public, origin }))
        {
            Some(ticket) => self.actions.push_back(Action::Enrol(ticket, Box::new(enrolment))),
            None => self.verdict(now, origin, dialect, Some(name), Reason::Busy),
        }
    }

    pub(super) fn enrolled(&mut self, now: Now, enrolling: Enrolling, how: Enrolled) {
        let Enrolling { name, public, origin } = enrolling;
        let (reason, said, status) = match how {
            Enrolled::Done => (Reason::Enrolled, None, Status::Enrolled),
            Enrolled::Unconfirmed => {
                (Reason::NotAllowed, Some("the administrator has to confirm its key"), Status::Unconfirmed)
            }
            Enrolled::Another => (Reason::NotAllowed, Some(ANOTHER), Status::NotAllowed),
            Enrolled::Failed => (Reason::Busy, Some("it could not be written down"), Status::Busy),
        };
        match how {
            Enrolled::Done | Enrolled::Unconfirmed => self.native.invitations.take(&name, public),
            Enrolled::Another | Enrolled::Failed => (),
        }
        if let Some(sealing) = origin.reply.and_then(|reply| self.native.replies.take(reply)) {
            self.answer_with(now, origin, sealing, (status, 0));
        }
        let outcome = Outcome { reason, detail: said.map(Detail::Said) };
        let origin = Origin { reply: None, ..origin };
        self.conclude(now, origin, Some(Dialect::Native), Some(name), outcome);
    }
}

fn enrols(knock: &Knock) -> bool {
    match knock.ask() {
        Ask::Native(asked) => asked.kind == Kind::Enrol && asked.link.is_some(),
        Ask::All | Ask::Fwknop(_) => false,
    }
}
