//! What the grantor answers to the front.

use std::io;

use portunus_ctl::frame::{self, Said};
use portunus_gate::{Door, RestoredGrant, Ticket};
use portunus_model::Now;
use portunus_sys::channel::Received;

use super::Front;
use super::outward::Outward;

/// Messages of the grantor that one round reads.
const ANSWERS_AT_ONCE: usize = 64;

impl Front {
    pub(super) fn on_grantor(&mut self, now: Now) -> io::Result<()> {
        for _ in 0..ANSWERS_AT_ONCE {
            let length = match self.outward.grantor().try_receive_bytes(&mut self.buffer)? {
                Received::Message(message) => message.length,
                Received::Nothing => break,
                Received::Ended => return Err(io::Error::other("the grantor is gone")),
            };
            let message = self.buffer.get(..length).unwrap_or_default();
            for said in frame::read(message).map_err(io::Error::other)? {
                self.on_answer(now, said)?;
            }
        }
        Ok(())
    }

    fn on_answer(&mut self, now: Now, said: Said) -> io::Result<()> {
        match said {
            Said::Opened(ticket, answer) => {
                self.outward.answered();
                self.gate.handle_opened(now, Ticket::from_u64(ticket), answer);
            }
            Said::Restored { client, address, ports, destination, way, until, grounds } => {
                let door = Door { ports, destination, way };
                self.restored.push(RestoredGrant { client, address, door, until, grounds });
            }
            Said::RestoredAll => {
                self.gate.handle_restored(now, std::mem::take(&mut self.restored));
            }
            Said::Kept { ticket, client, address, ports } => {
                self.desk.kept(ticket, &self.gate.shown(&client), address, &ports);
            }
            Said::Killed(ticket, killed) => {
                self.desk.killed(ticket, killed);
                self.desk.push(&self.poll);
            }
            Said::Settled(ticket, whole) if self.unsettled.is_some_and(|(rules, _)| rules == ticket) => {
                self.say_in_force(whole)?;
            }
            Said::Settled(number, whole) if let Some(ticket) = Outward::of_knock(number) => {
                self.gate.handle_settled(now, ticket, whole);
            }
            Said::Settled(ticket, whole) => {
                self.desk.closed(ticket, whole);
                self.desk.push(&self.poll);
            }
            // Only the front says these.
            Said::Open(..) | Said::Close(_) | Said::Kill(..) | Said::Settle(_) => (),
        }
        Ok(())
    }
}
