//! The helpers that the front asks: who runs commands, and who looks names up. Neither has to answer: what waits for them
//! in the gate has a time of its own.

use std::collections::HashMap;
use std::io;

use portunus_ctl::{names, order};
use portunus_gate::{Gate, Mandate, Ticket};
use portunus_model::{Now, Ran};
use portunus_sys::channel::{Channel, Received};

/// Answers that one round reads.
const AT_ONCE: usize = 64;
/// Names that are being looked up at once.
const MOST_NAMES: usize = 64;

/// The channels, where there are such processes.
pub(super) struct Helpers {
    pub(super) commands: Option<Channel>,
    pub(super) resolver: Option<Channel>,
    /// The names whose answers are awaited.
    asked: HashMap<u64, String>,
}

impl Helpers {
    pub(super) fn new(commands: Option<Channel>, resolver: Option<Channel>) -> Self {
        Self { commands, resolver, asked: HashMap::new() }
    }

    /// Has an order carried out; the answer when it is known at once.
    pub(super) fn run(&self, ticket: Ticket, mandate: Mandate) -> Option<Ran> {
        let Some(commands) = &self.commands else { return Some(Ran::Refused) };
        let sent = order::write(ticket.as_u64(), &mandate.into_order())
            .map_err(io::Error::other)
            .and_then(|message| commands.try_send(&message, &[]));
        match sent {
            Ok(()) => None,
            Err(error) => {
                tracing::warn!(%error, "a command could not be passed on");
                Some(Ran::Busy)
            }
        }
    }

    /// Has a name looked up; the name back when nobody will answer.
    pub(super) fn resolve(&mut self, ticket: Ticket, name: String) -> Option<String> {
        let ticket = ticket.as_u64();
        let sent = self.resolver.as_ref().filter(|_| self.asked.len() < MOST_NAMES).is_some_and(|resolver| {
            names::write(ticket, &name).is_some_and(|message| resolver.try_send(&message, &[]).is_ok())
        });
        if !sent {
            return Some(name);
        }
        self.asked.insert(ticket, name);
        None
    }

    pub(super) fn on_commands(&self, gate: &mut Gate, now: Now) -> io::Result<()> {
        let mut buffer = [0; order::LONGEST];
        for _ in 0..AT_ONCE {
            let Some(message) = next(self.commands.as_ref(), &mut buffer)? else { break };
            let (ticket, ran) = order::read_answer(message).map_err(io::Error::other)?;
            gate.handle_ran(now, Ticket::from_u64(ticket), ran);
        }
        Ok(())
    }

    pub(super) fn on_resolver(&mut self, gate: &mut Gate, now: Now) -> io::Result<()> {
        let mut buffer = [0; names::LONGEST];
        for _ in 0..AT_ONCE {
            let Some(message) = next(self.resolver.as_ref(), &mut buffer)? else { break };
            let (ticket, address) = names::read_answer(message).map_err(io::Error::other)?;
            if let Some(name) = self.asked.remove(&ticket) {
                gate.handle_resolved(now, Ticket::from_u64(ticket), name, address);
            }
        }
        Ok(())
    }
}

fn next<'b>(channel: Option<&Channel>, buffer: &'b mut [u8]) -> io::Result<Option<&'b [u8]>> {
    let Some(channel) = channel else { return Ok(None) };
    match channel.try_receive_bytes(buffer)? {
        Received::Message(message) => Ok(Some(buffer.get(..message.length).unwrap_or_default())),
        Received::Nothing => Ok(None),
        Received::Ended => Err(io::Error::from(io::ErrorKind::BrokenPipe)),
    }
}
