//! Carrying out what the gate asks for: claims to the store, a batch at a time, and openings to the grantor.

use std::collections::VecDeque;
use std::io;

use portunus_ctl::frame::{Said, Writer};
use portunus_gate::{Action, Gate, Ticket};
use portunus_model::{Claim, ClientName, Event, Now, Opened, Ran};
use portunus_store::{FileStore, ReplayStore};
use portunus_sys::channel::Channel;
use portunus_sys::poll::{Interest, Poll};

/// How many messages may wait for the grantor; what comes then is answered as failed, and nothing is opened.
const MOST_WAITING: usize = 256;
/// Bytes on their way to the grantor.
const ROOM: usize = 1 << 20;

/// The way out.
pub(super) struct Outward {
    grantor: Channel,
    store: FileStore,
    /// The store's trouble that was told last.
    fault: Option<io::ErrorKind>,
    claims: Vec<(Ticket, Claim)>,
    writer: Writer,
    waiting: VecDeque<Vec<u8>>,
    /// Whether we wait for room.
    watched: bool,
}

impl Outward {
    pub(super) fn new(grantor: Channel, store: FileStore) -> Self {
        grantor.make_room(ROOM);
        Self {
            grantor,
            store,
            fault: None,
            claims: Vec::new(),
            writer: Writer::default(),
            waiting: VecDeque::new(),
            watched: false,
        }
    }

    pub(super) fn grantor(&self) -> &Channel {
        &self.grantor
    }

    /// Carries out all that the gate asks for, until it asks for nothing: one call of the store for all the claims of a
    /// round, one message to the grantor for as many openings as fit.
    pub(super) fn carry_out(
        &mut self,
        gate: &mut Gate,
        now: Now,
        mut tell: impl FnMut(&Event),
    ) -> io::Result<()> {
        loop {
            while let Some(action) = gate.poll_action() {
                match action {
                    Action::Claim(ticket, claim) => self.claims.push((ticket, claim)),
                    Action::Open(ticket, warrant) => {
                        let said = Said::Open(ticket.as_u64(), warrant.into_opening());
                        if !self.say(&said)? {
                            gate.handle_opened(now, ticket, Opened::Failed);
                        }
                    }
                    Action::Accept(_) => (),
                    // Nobody is there yet who runs or looks up anything.
                    Action::Run(ticket, _) => gate.handle_ran(now, ticket, Ran::Failed),
                    Action::Resolve(ticket, name) => gate.handle_resolved(now, ticket, name, None),
                    Action::Close(closing) => {
                        if !self.say(&Said::Close(closing))? {
                            return Err(io::Error::other("the grantor does not take what must be closed"));
                        }
                    }
                    Action::Tell(event) => tell(&event),
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

    fn claim(&mut self, gate: &mut Gate, now: Now) {
        let claims: Vec<Claim> = self.claims.iter().map(|(_, claim)| *claim).collect();
        let answers = self.store.claim(now, &claims);
        self.say_fault();
        for ((ticket, _), answer) in self.claims.drain(..).zip(answers) {
            gate.handle_claimed(now, ticket, answer);
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
