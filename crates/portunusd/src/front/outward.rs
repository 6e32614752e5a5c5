//! Carrying out what the gate asks for: claims to the store, a batch at a time, and openings to the grantor.

use std::collections::VecDeque;
use std::io;

use portunus_crypto::SystemEntropy;
use portunus_ctl::frame::{Said, Writer};
use portunus_dialect::fwknop::gpg::Answer;
use portunus_gate::{Action, Answering, Enrolment, Gate, Ticket};
use portunus_model::{Accepted, Claim, ClaimKey, Claimed, ClientName, Now, Opened};
use portunus_store::{DigestCache, FileStore, ReplayStore};
use portunus_sys::channel::Channel;
use portunus_sys::poll::{Interest, Poll};

use super::chains::Kept;
use super::control::Desk;
use super::helpers::Helpers;
use super::intake::Intake;
use super::keeper::OF_RULES;
use crate::log;

/// How many messages may wait for the grantor; what comes then is answered as failed, and nothing is opened.
const MOST_WAITING: usize = 256;
/// What marks the numbers under which the gate awaits that the kernel has done what was said before: no ticket of its own has
/// this bit, nor have other numbers.
const OF_KNOCK: u64 = 1 << 62;
/// Bytes on their way to the grantor.
const ROOM: usize = 1 << 20;

/// The way out.
pub(super) struct Outward {
    grantor: Channel,
    store: FileStore,
    /// The store's trouble that was told last.
    fault: Option<io::ErrorKind>,
    claims: Vec<(Ticket, Claim)>,
    pub(super) helpers: Helpers,
    pub(super) chains: Kept,
    /// The file of accepted packets, where one is kept, and the port that knocks go to.
    digests: Option<DigestCache>,
    port: u16,
    accepted: Vec<Accepted>,
    /// Those who came with an invitation, to be told to the keeper.
    pub(super) come: Vec<(Ticket, Box<Enrolment>)>,
    /// Openings that wait for the grantor's answer.
    unanswered: usize,
    writer: Writer,
    waiting: VecDeque<Vec<u8>>,
    /// Whether we wait for room.
    watched: bool,
}

impl Outward {
    pub(super) fn new(
        grantor: Channel,
        store: FileStore,
        helpers: Helpers,
        digests: Option<DigestCache>,
        port: u16,
    ) -> Self {
        grantor.make_room(ROOM);
        Self {
            grantor,
            store,
            fault: None,
            claims: Vec::new(),
            helpers,
            chains: Kept::default(),
            digests,
            port,
            accepted: Vec::new(),
            come: Vec::new(),
            unanswered: 0,
            writer: Writer::default(),
            waiting: VecDeque::new(),
            watched: false,
        }
    }

    pub(super) fn store(&self) -> &FileStore {
        &self.store
    }

    pub(super) fn grantor(&self) -> &Channel {
        &self.grantor
    }

    /// The grantor has answered an opening.
    pub(super) fn answered(&mut self) {
        self.unanswered = self.unanswered.saturating_sub(1);
    }

    /// Whether nothing is on its way.
    pub(super) fn is_idle(&self) -> bool {
        self.unanswered == 0 && self.waiting.is_empty()
    }

    /// Carries out all that the gate asks for, until it asks for nothing: one call of the store for all the claims of a
    /// round, one message to the grantor for as many openings as fit.
    pub(super) fn carry_out(
        &mut self,
        gate: &mut Gate,
        now: Now,
        desk: &mut Desk,
        intake: &Intake,
    ) -> io::Result<()> {
        loop {
            while let Some(action) = gate.poll_action() {
                match action {
                    Action::Claim(ticket, claim) => self.claims.push((ticket, claim)),
                    Action::Open(ticket, warrant) => {
                        desk.goes_on(gate.source_of(ticket), gate.name_of(ticket));
                        let said = Said::Open(ticket.as_u64(), warrant.into_opening());
                        if self.say(&said)? {
                            self.unanswered += 1;
                        } else {
                            gate.handle_opened(now, ticket, Opened::Failed);
                        }
                    }
                    Action::Accept(mut accepted) => {
                        desk.accepted(accepted.listing.take());
                        self.accepted.push(accepted);
                    }
                    Action::Run(ticket, mandate) => {
                        // A command may be what opens, so its packet is written down before it.
                        self.write_down();
                        desk.goes_on(gate.source_of(ticket), gate.name_of(ticket));
                        log::flush();
                        if let Some(ran) = self.helpers.run(ticket, mandate) {
                            gate.handle_ran(now, ticket, ran);
                        }
                    }
                    Action::Resolve(ticket, name) => {
                        desk.waits(gate.source_of(ticket));
                        if let Some(name) = self.helpers.resolve(ticket, name) {
                            gate.handle_resolved(now, ticket, name, None);
                        }
                    }
                    Action::Gpg(question) => {
                        if let Some(failure) = self.helpers.ask_gpg(&question) {
                            gate.handle_gpg(now, question.number, &Answer::Failed(failure));
                        }
                    }
                    Action::Close(closing) => {
                        if !self.say(&Said::Close(closing))? {
                            return Err(io::Error::other("the grantor does not take what must be closed"));
                        }
                    }
                    Action::Settle(ticket) => {
                        if !self.say(&Said::Settle(OF_KNOCK | ticket.as_u64()))? {
                            gate.handle_settled(now, ticket, false);
                        }
                    }
                    Action::Enrol(ticket, enrolment) => self.come.push((ticket, enrolment)),
                    Action::Chains(changes) => self.chains.carry_out(&changes, gate, now),
                    Action::Answer(answering) => answer(intake, *answering),
                    Action::Tell(event) => desk.tell(&event),
                }
            }
            if self.claims.is_empty() {
                break;
            }
            self.claim(gate, now);
        }
        self.send()
    }

    /// Asks for the end of what a client has established, after all that was said before; false when too much waits.
    pub(super) fn kill(&mut self, ticket: u64, client: ClientName) -> io::Result<bool> {
        let said = self.say(&Said::Kill(ticket, client))?;
        self.send()?;
        Ok(said)
    }

    /// The gate's ticket, where it awaits what goes by this number.
    pub(super) fn of_knock(number: u64) -> Option<Ticket> {
        (number & (OF_KNOCK | OF_RULES) == OF_KNOCK).then(|| Ticket::from_u64(number & !OF_KNOCK))
    }

    /// Asks for word that all that was said before is done; false when too much waits.
    pub(super) fn settle(&mut self, ticket: u64) -> io::Result<bool> {
        let said = self.say(&Said::Settle(ticket))?;
        self.send()?;
        Ok(said)
    }

    fn claim(&mut self, gate: &mut Gate, now: Now) {
        // A claim, and by what digest.cache would know its packet.
        let claims: Vec<_> =
            self.claims.iter().map(|(ticket, claim)| (*claim, gate.text_of(*ticket))).collect();
        let answers = self.take(now, &claims);
        self.say_fault();
        for ((ticket, _), answer) in self.claims.drain(..).zip(answers) {
            gate.handle_claimed(now, ticket, answer);
        }
    }

    /// What digest.cache knows was used before us; only what it does not know is the store's to say.
    fn take(&mut self, now: Now, claims: &[(Claim, Option<ClaimKey>)]) -> Vec<Claimed> {
        let Some(digests) = &self.digests else {
            let claims: Vec<Claim> = claims.iter().map(|(claim, _)| *claim).collect();
            return self.store.claim(now, &claims);
        };
        let known =
            |(claim, text): &(Claim, Option<ClaimKey>)| digests.knows(text.as_ref().unwrap_or(&claim.key));
        let new: Vec<Claim> = claims.iter().filter(|one| !known(one)).map(|(claim, _)| *claim).collect();
        let mut answers = self.store.claim(now, &new).into_iter();
        let answer = |claim| {
            if known(claim) { Claimed::Replayed } else { answers.next().unwrap_or(Claimed::Unavailable) }
        };
        claims.iter().map(answer).collect()
    }

    /// Appends what was accepted to digest.cache. The replay store has each already, so nobody comes in twice if this fails.
    fn write_down(&mut self) {
        let accepted = std::mem::take(&mut self.accepted);
        let Some(digests) = self.digests.as_mut() else { return };
        if let Err(error) = digests.append(&accepted, self.port) {
            tracing::error!(%error, "digest.cache cannot be written: is the disk full?");
        }
    }

    /// Why every knock is refused, once; and once that it is over.
    fn say_fault(&mut self) {
        let fault = self.store.fault();
        if fault == self.fault {
            return;
        }
        self.fault = fault;
        match fault {
            Some(kind) => tracing::error!(
                error = %io::Error::from(kind),
                "the replay store cannot be written: nothing is opened until it can; is the disk full?"
            ),
            None => tracing::warn!("the replay store can be written again"),
        }
    }

    /// Adds one thing for the grantor; false when too much waits already.
    fn say(&mut self, said: &Said) -> io::Result<bool> {
        if self.writer.add(said) {
            return Ok(true);
        }
        self.send()?;
        if !self.writer.message().is_empty() {
            return Ok(false);
        }
        Ok(self.writer.add(said))
    }

    /// Sends what there is, as far as there is room; what is left waits in order.
    fn send(&mut self) -> io::Result<()> {
        // Before anything is opened for them, or told by who opens it.
        self.write_down();
        if !self.writer.message().is_empty() {
            log::flush();
        }
        if self.waiting.is_empty() && !self.writer.message().is_empty() && self.try_send()? {
            return Ok(());
        }
        if !self.writer.message().is_empty() && self.waiting.len() < MOST_WAITING {
            self.waiting.push_back(self.writer.message().to_vec());
            self.writer.clear();
        }
        while let Some(message) = self.waiting.front() {
            match self.grantor.try_send(message, &[]) {
                Ok(()) => drop(self.waiting.pop_front()),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// The usual way: there is room, and nothing waits. False when there is none.
    fn try_send(&mut self) -> io::Result<bool> {
        match self.grantor.try_send(self.writer.message(), &[]) {
            Ok(()) => self.writer.clear(),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(e) => return Err(e),
        }
        Ok(true)
    }

    /// Has the poll wake us when there is room again, for as long as something waits.
    pub(super) fn watch_room(&mut self, poll: &Poll, token: u64) -> io::Result<()> {
        let wanted = !self.waiting.is_empty();
        if wanted != self.watched {
            let interest = if wanted { Interest::ReadWrite } else { Interest::Read };
            poll.change(&self.grantor, token, interest)?;
            self.watched = wanted;
        }
        Ok(())
    }
}

/// Seals an answer and sends it. One that is lost is asked for again by a fresh knock.
fn answer(intake: &Intake, answering: Answering) {
    let Answering { to, from, via: _, reply, answer } = answering;
    let sent = reply.seal(&answer, &mut SystemEntropy).map_err(io::Error::other);
    match sent.and_then(|bytes| intake.answer(&bytes, to, from)) {
        Ok(true) => (),
        Ok(false) => tracing::debug!("no answer: the knock came to no socket of ours"),
        Err(error) => tracing::debug!(%error, "an answer was not sent"),
    }
}
