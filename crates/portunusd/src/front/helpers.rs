//! The helpers that the front asks: who runs commands, who looks names up, and who runs gpg. None has to answer: what waits for them
//! in the gate has a time of its own.

use std::collections::HashMap;
use std::io;

use portunus_ctl::{names, oracle, order};
use portunus_dialect::fwknop::gpg::{Answer, Failure, Spoken};
use portunus_gate::{Gate, Mandate, Question, Ticket};
use portunus_model::{Now, Ran};
use portunus_sys::channel::{Channel, Received};
use zeroize::Zeroizing;

/// Answers that one round reads.
const AT_ONCE: usize = 64;
/// Names that are being looked up at once.
const MOST_NAMES: usize = 64;

/// The channels, where there are such processes.
pub(super) struct Helpers {
    pub(super) commands: Option<Channel>,
    pub(super) resolver: Option<Channel>,
    pub(super) oracle: Option<Channel>,
    /// The names whose answers are awaited.
    asked: HashMap<u64, String>,
}

impl Helpers {
    pub(super) fn new([commands, resolver, oracle]: [Option<Channel>; 3]) -> Self {
        Self { commands, resolver, oracle, asked: HashMap::new() }
    }

    /// Asks gpg; why not, when nobody will answer.
    pub(super) fn ask_gpg(&self, question: &Question) -> Option<Failure> {
        let Some(oracle) = &self.oracle else { return Some(Failure::NotRun) };
        let Question { number, ring, message } = question;
        let question = oracle::Question { number: *number, ring: ring.0, message };
        let sent = oracle::write(&question).is_some_and(|message| oracle.try_send(&message, &[]).is_ok());
        (!sent).then_some(Failure::Busy)
    }

    pub(super) fn on_oracle(&mut self, gate: &mut Gate, now: Now) -> io::Result<()> {
        let mut buffer = Zeroizing::new([0; oracle::LONGEST_ANSWER]);
        for _ in 0..AT_ONCE {
            let message = match next(self.oracle.as_ref(), buffer.as_mut_slice()) {
                // A reload with other keyrings: the next one is on its way here.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    self.oracle = None;
                    break;
                }
                message => message?,
            };
            let Some(message) = message else { break };
            let (number, answer) = oracle::read_answer(message).map_err(io::Error::other)?;
            gate.handle_gpg(now, number, &spoken(answer));
        }
        Ok(())
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

fn spoken(answer: oracle::Answer<'_>) -> Answer {
    match answer {
        oracle::Answer::Spoken { text, report } => {
            Answer::Spoken(Spoken { text: Zeroizing::new(text.to_vec()), report: report.to_vec() })
        }
        oracle::Answer::NotRun => Answer::Failed(Failure::NotRun),
        oracle::Answer::TooSlow => Answer::Failed(Failure::TooSlow),
        oracle::Answer::Busy => Answer::Failed(Failure::Busy),
        oracle::Answer::TooMuch => Answer::Failed(Failure::TooMuch),
        oracle::Answer::Killed => Answer::Failed(Failure::Killed),
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
