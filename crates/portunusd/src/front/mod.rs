//! The front: the only process that sees a stranger's byte. It has no capability, can open no file and make no socket;
//! it feeds the gate and carries out its actions. Here is the loop over all that can become ready; what each of them says is
//! taken up in the modules below.

mod answers;
mod chains;
mod connection;
mod control;
mod few;
mod helpers;
mod intake;
mod keeper;
mod keyring;
mod kills;
mod outward;
mod played;
mod setup;
mod tell;
mod vouching;

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use portunus_gate::{Gate, RestoredGrant};
use portunus_model::{Mono, Now};
use portunus_store::BootId;
use portunus_sys::channel::Channel;
use portunus_sys::confine::{self, Confinement};
use portunus_sys::poll::{Interest, Poll};
use portunus_sys::users::{Ids, Keep};
use portunus_sys::{clock, signals, tcp};

use crate::keeper::shed_rights;
use crate::message::{self, About, FromFront, Listening, ToFront};
use crate::{log, sandbox_words, witness};
use control::Desk;
use helpers::Helpers;
use intake::{Intake, Outcome};
use keeper::TELL_EVERY;
use outward::Outward;
use played::Played;
use vouching::Vouching;

/// How many claims the store remembers before its horizon has to rise (some 30 bytes each).
const CLAIMS: usize = 400_000;
/// Units of work on unknown sources' packets in one round, when nothing else waits: under a millisecond.
const SLICE: u32 = 16;
/// The same while known sources keep us busy, and how often.
const SMALL_SLICE: u32 = 4;
const SLICE_EVERY: Duration = Duration::from_millis(5);
/// Connections to the health port that one round answers.
const HEALTH_AT_ONCE: usize = 64;

const KEEPER: u64 = 1;
const GRANTOR: u64 = 2;
const CONTROL: u64 = 3;
const COMMANDS: u64 = 4;
const RESOLVER: u64 = 5;
const ORACLE: u64 = 6;
const HEALTH: u64 = 1 << 8;
const CONNECTION: u64 = 1 << 32;

/// Runs the front until the keeper says otherwise.
pub(crate) fn run(ids: Option<Ids>) -> io::Result<()> {
    let keeper = Channel::inherited()?;
    signals::leave_to_keeper()?;
    // /proc is out of reach later.
    let boot = BootId::from_bytes(clock::boot_id().unwrap_or_default());
    let Some(came) = message::receive::<ToFront>(&keeper)? else { return Ok(()) };
    shed_rights(ids, Keep::Nothing)?;
    let landlock = confine::confine(Confinement::Front).map_err(io::Error::other)?;
    tracing::debug!(landlock = sandbox_words(landlock), "confined");
    let mut front = Front::set_up(keeper, came, boot)?;
    log::hold();
    front.wait_for_serve()?;
    front.serve()
}

struct Front {
    keeper: Channel,
    poll: Poll,
    gate: Gate,
    outward: Outward,
    desk: Desk,
    intake: Intake,
    listening: Listening,
    played: Option<Played>,
    /// Whether the keeper knows that all was received.
    finished: bool,
    health: Vec<OwnedFd>,
    about: About,
    /// The rules came into force, and the grantor has not said yet that what they took back is closed: its ticket, and
    /// how long the keeper waits.
    unsettled: Option<(u64, Mono)>,
    /// Whether all that commands had left for the store of chains is in it.
    taken_up: bool,
    vouching: Vouching,
    /// What the grantor found open at its start, until it has said all.
    restored: Vec<RestoredGrant>,
    /// For one message of the grantor's, used again and again.
    buffer: Vec<u8>,
    last_slice: Mono,
    last_told: Mono,
    end: bool,
}

impl Front {
    /// The loop. In each round: what others answered, what has become due, one batch of input a socket, what the gate
    /// asks for, and, when that is all, a slice of the work on unknown sources.
    fn serve(&mut self) -> io::Result<()> {
        while !self.end {
            log::flush();
            let patience = self.patience(clock::mono());
            let ready = self.poll.wait(patience)?;
            let now = self.now();
            let mut sockets = Vec::new();
            for one in ready {
                match one.token {
                    KEEPER => self.on_keeper()?,
                    GRANTOR => self.on_grantor(now)?,
                    CONTROL => self.desk.accept(&self.poll)?,
                    COMMANDS => self.outward.helpers.on_commands(&mut self.gate, now)?,
                    RESOLVER => self.outward.helpers.on_resolver(&mut self.gate, now)?,
                    ORACLE => self.outward.helpers.on_oracle(&mut self.gate, now)?,
                    token if token >= CONNECTION => {
                        self.on_connection(now, token - CONNECTION)?;
                    }
                    token if token >= intake::FIRST => sockets.push(token),
                    token => self.on_health(token - HEALTH)?,
                }
            }
            if self.vouching.is_due(now.mono) {
                self.gate.handle_clock(self.vouching.look(now));
            }
            if self.gate.poll_timeout().is_some_and(|due| due <= now.mono) {
                self.gate.handle_timeout(now);
            }
            if self.unsettled.is_some_and(|(_, until)| until <= now.mono) {
                self.say_in_force(false)?;
            }
            let gate = &mut self.gate;
            self.intake.handle_timeout(now.mono, |datagram| gate.handle_datagram(now, datagram));
            let drained = self.receive(now, &sockets)? & self.play()?;
            self.carry_out(now)?;
            self.work(now, drained)?;
            self.tell_keeper(now);
            self.tell_notes();
            self.tell_finished()?;
        }
        log::flush();
        Ok(())
    }

    /// The time by which packets are judged: that of the capture, where one is read.
    fn now(&self) -> Now {
        let now = clock::now();
        let at = self.played.as_ref().and_then(|played| played.at);
        Now { wall: at.unwrap_or(now.wall), ..now }
    }

    fn watch_helpers(&self) -> io::Result<()> {
        let Helpers { commands, resolver, oracle, .. } = &self.outward.helpers;
        for (channel, token) in [(commands, COMMANDS), (resolver, RESOLVER), (oracle, ORACLE)] {
            if let Some(channel) = channel {
                self.poll.add(channel, token, Interest::Read)?;
            }
        }
        Ok(())
    }

    fn patience(&self, now: Mono) -> Option<Duration> {
        if self.gate.waiting() > 0 || self.played.as_ref().is_some_and(|played| !played.ended) {
            return Some(Duration::ZERO);
        }
        let tell = self.tells().then(|| self.last_told.after(TELL_EVERY));
        let notes = self.desk.witness.waits().then(|| now.after(witness::AGAIN));
        let unsettled = self.unsettled.map(|(_, until)| until);
        let due = [self.gate.poll_timeout(), self.intake.poll_timeout(), tell, notes, unsettled];
        Some(due.into_iter().flatten().min()?.since(now))
    }

    /// One batch from each socket that has something. True when all are drained.
    fn receive(&mut self, now: Now, sockets: &[u64]) -> io::Result<bool> {
        let mut drained = true;
        for socket in sockets {
            let gate = &mut self.gate;
            let outcome =
                self.intake.receive(*socket, now.mono, |datagram| gate.handle_datagram(now, datagram));
            match outcome {
                Outcome::Received(received) => drained &= received.drained,
                Outcome::Gone(ear) => {
                    self.intake.forget_ear(&self.poll, ear);
                    let ear = u16::try_from(ear).unwrap_or(u16::MAX);
                    message::send(&self.keeper, &FromFront::EarGone(ear), &[])?;
                }
            }
        }
        Ok(drained)
    }

    fn carry_out(&mut self, now: Now) -> io::Result<()> {
        self.outward.carry_out(&mut self.gate, now, &mut self.desk, &self.intake)?;
        if !self.outward.come.is_empty() {
            self.tell_who_came(now);
            self.outward.carry_out(&mut self.gate, now, &mut self.desk, &self.intake)?;
        }
        self.outward.watch_room(&self.poll, GRANTOR)?;
        self.desk.push(&self.poll);
        Ok(())
    }

    fn work(&mut self, now: Now, drained: bool) -> io::Result<()> {
        if self.gate.waiting() == 0 {
            return Ok(());
        }
        let overdue = now.mono.since(self.last_slice) >= SLICE_EVERY;
        let units = match (drained, overdue) {
            (true, _) => SLICE,
            (false, true) => SMALL_SLICE,
            (false, false) => return Ok(()),
        };
        self.last_slice = now.mono;
        let _ = self.gate.work(now, units);
        self.carry_out(now)
    }

    fn on_health(&mut self, index: u64) -> io::Result<()> {
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        let Some(socket) = self.health.get(index) else { return Ok(()) };
        for _ in 0..HEALTH_AT_ONCE {
            match tcp::accept_and_close(socket) {
                Ok(true) => (),
                Ok(false) => break,
                // Out of descriptors or memory: whoever waits is served later.
                Err(e) => {
                    tracing::debug!(error = %e, "the health port");
                    break;
                }
            }
        }
        Ok(())
    }

    fn on_connection(&mut self, now: Now, id: u64) -> io::Result<()> {
        let house = control::House { about: &self.about, intake: &self.intake, outward: &self.outward };
        let asks = self.desk.read(id, now, &mut self.gate, &house);
        for _ in 0..asks {
            if message::try_send(&self.keeper, &FromFront::PleaseReload, &[]).is_err() {
                self.desk.reload_not_asked("the daemon is busy: ask again");
            }
        }
        for ticket in self.desk.asked_closes() {
            // What the gate has taken back goes first.
            self.carry_out(now)?;
            if !self.outward.settle(ticket)? {
                self.desk.close_refused(ticket);
            }
            self.outward.watch_room(&self.poll, GRANTOR)?;
        }
        for (ticket, client) in self.desk.asked_kills() {
            // What the gate has on its way for this client goes first.
            self.carry_out(now)?;
            if !self.outward.kill(ticket, client)? {
                self.desk.kill_refused(ticket);
            }
            self.outward.watch_room(&self.poll, GRANTOR)?;
        }
        self.desk.push(&self.poll);
        Ok(())
    }
}
