//! The front: the only process that sees a stranger's byte. It has no capability, can open no file and make no socket;
//! it feeds the gate and carries out its actions. Long because it is one loop over all that can become ready; what stands by
//! itself is in the modules below.

mod chains;
mod connection;
mod control;
mod few;
mod helpers;
mod intake;
mod keyring;
mod kills;
mod outward;
mod tell;
mod vouching;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use portunus_crypto::{Entropy, SystemEntropy};
use portunus_ctl::frame::{self, Said};
use portunus_gate::{Door, Gate, RestoredGrant, Ticket, Tuning};
use portunus_model::{Cause, Closing, Mono, Now, Unix};
use portunus_rx::{Capture, CaptureError, Caught, Filter};
use portunus_store::{BootId, DigestCache, FileStore};
use portunus_sys::channel::{Channel, Received};
use portunus_sys::confine::{self, Confinement};
use portunus_sys::poll::{Interest, Poll};
use portunus_sys::users::{Ids, Keep};
use portunus_sys::{clock, signals, tcp};

use crate::keeper::shed_rights;
use crate::message::{
    self, About, Came, FromFront, FrontSnapshot, Helper, Listening, Session, Sessions, Taken, ToFront,
};
use crate::{log, sandbox_words, witness};
use chains::Kept;
use control::Desk;
use helpers::Helpers;
use intake::{Intake, Outcome};
use outward::Outward;
use vouching::Vouching;

/// How many claims the store remembers before its horizon has to rise (some 30 bytes each).
const CLAIMS: usize = 400_000;
/// Units of work on unknown sources' packets in one round, when nothing else waits: under a millisecond.
const SLICE: u32 = 16;
/// The same while known sources keep us busy, and how often.
const SMALL_SLICE: u32 = 4;
const SLICE_EVERY: Duration = Duration::from_millis(5);
/// How often the keeper is told who is there, when that has changed.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// Connections to the health port that one round answers.
const HEALTH_AT_ONCE: usize = 64;
/// How long the grantor may take to close what new rules took back, before the keeper hears that it has not.
const SHUT_WITHIN: Duration = Duration::from_secs(3);
/// In the tickets of those settlings, which are ours; the desk counts its own from zero.
const OF_RULES: u64 = 1 << 63;
/// Messages of the grantor that one round reads.
const ANSWERS_AT_ONCE: usize = 64;

const KEEPER: u64 = 1;
const GRANTOR: u64 = 2;
const CONTROL: u64 = 3;
const COMMANDS: u64 = 4;
const RESOLVER: u64 = 5;
const ORACLE: u64 = 6;
const HEALTH: u64 = 1 << 8;
/// Packets of a capture that one round takes.
const PLAYED_AT_ONCE: usize = 32;
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

/// A capture that is read in the place of the network, and its time.
struct Played {
    /// `None`: it is no capture.
    capture: Option<Capture<'static>>,
    at: Option<Unix>,
    ended: bool,
    /// Why not all of it was read.
    fault: Option<CaptureError>,
}

impl Front {
    fn set_up(keeper: Channel, mut came: Came<ToFront>, boot: BootId) -> io::Result<Self> {
        let ToFront::Setup { store: place, brought } = &came.value else {
            return Err(io::Error::other("the keeper began with something else than the setup"));
        };
        let (place, brought) = (place.clone(), brought.clone());
        let snapshot: FrontSnapshot = came.beside()?;
        let grantor = Channel::from_descriptor(came.descriptor()?)?;
        let store = [File::from(came.descriptor()?), File::from(came.descriptor()?)];
        let listener = UnixListener::from(came.descriptor()?);
        let channel = |came: &mut Came<ToFront>, has: bool| {
            has.then(|| Channel::from_descriptor(came.descriptor()?)).transpose()
        };
        let commands = channel(&mut came, brought.commands)?;
        let resolver = channel(&mut came, brought.resolver)?;
        let oracle = channel(&mut came, brought.oracle)?;
        let digests = brought.digests.then(|| came.descriptor()).transpose()?.map(File::from);
        let capture = brought.capture.then(|| came.descriptor()).transpose()?.map(File::from);

        let now = clock::now();
        let store = FileStore::open(store, CLAIMS, boot, now).map_err(|e| crate::bad_files(&place, &e))?;
        say_damage(&store, now, &place);
        let FrontSnapshot { rules, keys, interfaces, about, listening, chains: left } = snapshot;
        let digests = digests.map(read_digests).transpose()?;
        let played = capture.map(|file| Played::of(file, &listening)).transpose()?;
        let intake = Intake::of(&mut came, &brought, &listening, interfaces)?;
        let chains = brought.chains.then(|| came.descriptor()).transpose()?.map(File::from);
        let mut desk = Desk::new(listener);
        desk.learn(&rules, listening.dry);
        let helpers = Helpers::new([commands, resolver, oracle]);
        let tuning = Tuning { seed: seed()?, lists_fields: listening.lists_fields, ..Tuning::default() };
        let mut gate = Gate::new(rules, keyring::read(&keys)?, tuning);
        let mut outward = Outward::new(grantor, store, helpers, digests, listening.port);
        if let Some(file) = chains {
            outward.chains.open(file, &mut gate)?;
        }
        let taken_up = outward.chains.take_up(&left, &mut gate);
        Kept::say_missing(&gate);
        let front = Self {
            poll: Poll::new()?,
            gate,
            outward,
            desk,
            intake,
            listening,
            played,
            finished: false,
            health: Vec::new(),
            about,
            unsettled: None,
            taken_up,
            vouching: Vouching::default(),
            restored: Vec::new(),
            buffer: vec![0; frame::LONGEST_MESSAGE],
            last_slice: now.mono,
            last_told: Mono::default(),
            end: false,
            keeper,
        };
        message::send(&front.keeper, &FromFront::Ready { taken_up }, &[])?;
        Ok(front)
    }

    /// Nothing is received before every protected port is guarded.
    fn wait_for_serve(&mut self) -> io::Result<()> {
        loop {
            let Some(came) = message::receive::<ToFront>(&self.keeper)? else {
                self.end = true;
                return Ok(());
            };
            let serve = matches!(came.value, ToFront::Serve { .. });
            self.on_keeper_said(came)?;
            if serve || self.end {
                break;
            }
        }
        self.poll.add(&self.keeper, KEEPER, Interest::Read)?;
        self.poll.add(self.outward.grantor(), GRANTOR, Interest::Read)?;
        self.poll.add(self.desk.listener(), CONTROL, Interest::Read)?;
        self.watch_helpers()?;
        self.intake.watch(&self.poll)
    }

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

    /// A part of a capture, each packet at its own time. True when there is no more.
    fn play(&mut self) -> io::Result<bool> {
        for _ in 0..PLAYED_AT_ONCE {
            let Some(played) = self.played.as_mut().filter(|played| !played.ended) else { return Ok(true) };
            match played.capture.as_mut().and_then(Iterator::next) {
                Some(Ok(Caught { datagram, at })) => {
                    played.at = at.or(played.at);
                    let now = self.now();
                    self.gate.handle_datagram(now, datagram);
                    self.carry_out(now)?;
                    while self.gate.work(now, SLICE) {}
                    self.carry_out(now)?;
                }
                Some(Err(error)) => played.end(Some(error)),
                None => {
                    let cut = played.capture.as_ref().is_some_and(Capture::is_cut);
                    played.end(cut.then_some(CaptureError::Cut));
                }
            }
        }
        Ok(false)
    }

    /// Once all of a capture, or as many packets as were asked for, has been judged and answered.
    fn tell_finished(&mut self) -> io::Result<()> {
        let read = self.played.as_ref().is_some_and(|played| played.ended);
        let full = self.listening.packet_limit.is_some_and(|limit| self.desk.candidates >= limit);
        let idle = self.gate.waiting() == 0 && self.gate.with_gpg() == 0 && self.outward.is_idle();
        if self.finished || !idle || !(read || full) {
            return Ok(());
        }
        self.finished = true;
        log::flush();
        let whole = self.played.as_ref().is_none_or(|played| played.fault.is_none());
        message::send(&self.keeper, &FromFront::Finished { whole }, &[])
    }

    fn carry_out(&mut self, now: Now) -> io::Result<()> {
        self.outward.carry_out(&mut self.gate, now, &mut self.desk, &self.intake)?;
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

    fn on_keeper(&mut self) -> io::Result<()> {
        match message::try_receive::<ToFront>(&self.keeper)? {
            Taken::Message(came) => self.on_keeper_said(came),
            Taken::Nothing => Ok(()),
            Taken::Ended => {
                // It has said why, or was killed.
                tracing::debug!("the keeper is gone");
                self.end = true;
                Ok(())
            }
        }
    }

    fn on_keeper_said(&mut self, mut came: Came<ToFront>) -> io::Result<()> {
        match &mut came.value {
            ToFront::Setup { .. } => Err(io::Error::other("a second setup")),
            ToFront::Serve { place } => {
                self.about.place = std::mem::take(place);
                self.health = came.rest();
                for (socket, number) in self.health.iter().zip(HEALTH..) {
                    self.poll.add(socket, number, Interest::Read)?;
                }
                Ok(())
            }
            ToFront::Reload => {
                let snapshot: FrontSnapshot = came.beside()?;
                self.on_rules(snapshot)
            }
            ToFront::Chains => {
                let file = File::from(came.descriptor()?);
                self.outward.chains.open(file, &mut self.gate)
            }
            ToFront::Helper(helper) => {
                let helper = *helper;
                let channel = Channel::from_descriptor(came.descriptor()?)?;
                let (place, token) = match helper {
                    Helper::Commands => (&mut self.outward.helpers.commands, COMMANDS),
                    Helper::Resolver => (&mut self.outward.helpers.resolver, RESOLVER),
                    Helper::Oracle => (&mut self.outward.helpers.oracle, ORACLE),
                };
                // Of the oracle there is a new one for new keyrings.
                if let Some(old) = place.take() {
                    self.poll.remove(&old)?;
                }
                self.poll.add(&channel, token, Interest::Read)?;
                *place = Some(channel);
                Ok(())
            }
            ToFront::Ear(ear) => {
                let ear = usize::from(*ear);
                self.intake.replace_ear(&self.poll, ear, came.descriptor()?)
            }
            ToFront::Followed { from_end } => {
                let from_end = *from_end;
                let now = self.now();
                let (file, growth) = (came.descriptor()?, came.descriptor()?);
                self.intake.follow(&self.poll, (file, growth), from_end, now.mono)
            }
            ToFront::Exporter => {
                let stream = UnixStream::from(came.descriptor()?);
                self.desk.adopt(&self.poll, stream)
            }
            ToFront::Reloaded { asked, generation, warnings } => {
                self.desk.reloaded(*asked, *generation, warnings);
                self.desk.push(&self.poll);
                Ok(())
            }
            ToFront::ReloadRefused { asked, why } => {
                self.desk.reload_refused(*asked, why);
                self.desk.push(&self.poll);
                Ok(())
            }
            ToFront::End { close } => self.finish(*close),
        }
    }

    fn on_rules(&mut self, snapshot: FrontSnapshot) -> io::Result<()> {
        let FrontSnapshot { rules, keys, interfaces, about, listening, chains: left } = snapshot;
        let now = clock::now();
        self.desk.learn(&rules, listening.dry);
        self.gate.handle_rules(now, rules, keyring::read(&keys)?);
        self.taken_up = self.outward.chains.take_up(&left, &mut self.gate);
        Kept::say_missing(&self.gate);
        self.intake.change(&listening, &interfaces);
        self.listening = listening;
        self.about = about;
        // Grants of clients that are gone are closed, by the kernel, before anybody is told that the rules are in force.
        self.carry_out(now)?;
        let ticket = OF_RULES | self.about.generation;
        if !self.outward.settle(ticket)? {
            return self.say_in_force(false);
        }
        self.unsettled = Some((ticket, now.mono.after(SHUT_WITHIN)));
        self.outward.watch_room(&self.poll, GRANTOR)
    }

    fn say_in_force(&mut self, shut: bool) -> io::Result<()> {
        self.unsettled = None;
        message::send(&self.keeper, &FromFront::InForce { shut, taken_up: self.taken_up }, &[])
    }

    fn finish(&mut self, close: bool) -> io::Result<()> {
        let now = clock::now();
        if close {
            self.gate.handle_closing(now, &Closing { client: None, address: None, cause: Cause::End });
        }
        self.carry_out(now)?;
        self.last_told = Mono::default();
        self.tell_keeper(now);
        self.tell_notes();
        self.end = true;
        Ok(())
    }

    fn on_grantor(&mut self, now: Now) -> io::Result<()> {
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
            Said::Settled(ticket, whole) => {
                self.desk.closed(ticket, whole);
                self.desk.push(&self.poll);
            }
            // Only the front says these.
            Said::Open(..) | Said::Close(_) | Said::Kill(..) | Said::Settle(_) => (),
        }
        Ok(())
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

    /// What the audit log is to know.
    fn tell_notes(&mut self) {
        self.desk.witness.tell(&self.keeper, |notes, lost| FromFront::Notes { notes, lost });
    }

    fn tells(&self) -> bool {
        self.about.tell_sessions && self.desk.changed
    }

    /// Tells the keeper who is there, for the session file.
    fn tell_keeper(&mut self, now: Now) {
        if !self.tells() || now.mono.since(self.last_told) < TELL_EVERY {
            return;
        }
        self.last_told = now.mono;
        let sessions = Sessions {
            open: self.gate.sessions(now).map(|one| session(now, &one)).collect(),
            last_seen: self.gate.last_seen().map(|(name, at)| (name.clone(), at)).collect(),
        };
        let sent = message::beside(&sessions)
            .and_then(|beside| message::try_send(&self.keeper, &FromFront::Sessions, &[beside.as_fd()]));
        // When there is no room now, the next round says it.
        self.desk.changed = sent.is_err();
    }
}

fn session(now: Now, one: &portunus_gate::Session<'_>) -> Session {
    Session {
        client: one.client.clone(),
        address: one.address,
        ports: one.door.ports.to_vec(),
        opened: one.opened,
        expires: now.wall.after(one.left),
    }
}

/// What rot costs, and for how long.
fn say_damage(store: &FileStore, now: Now, place: &str) {
    let Some(horizon) = store.horizon().filter(|_| store.was_damaged()) else { return };
    let until = clock::rfc3339(horizon);
    let seconds = horizon.distance(now.wall).as_secs();
    tracing::error!(
        files = place,
        %until,
        seconds,
        "the replay store was damaged and is mended: which packets were used before is not known any more, so every \
         packet stamped up to then is refused; is the disk failing?"
    );
}

fn read_digests(file: File) -> io::Result<DigestCache> {
    let (cache, read) = DigestCache::open(file)?;
    if read.wrong_lines > 0 {
        tracing::warn!(lines = read.wrong_lines, "digest.cache has lines that are none");
    }
    if read.forgotten > 0 {
        tracing::warn!(
            lines = read.forgotten,
            "digest.cache has more lines than are remembered: its oldest packets are refused by their age only"
        );
    }
    Ok(cache)
}

impl Played {
    fn of(file: File, listening: &Listening) -> io::Result<Self> {
        let filter = Filter::parse(&listening.capture_filter).map_err(io::Error::other)?;
        let mut played = Self { capture: None, at: None, ended: false, fault: None };
        match Capture::new(file, Some(filter), intake::wanted(listening)) {
            Ok(capture) => played.capture = Some(capture),
            Err(error) => played.end(Some(error)),
        }
        Ok(played)
    }

    fn end(&mut self, fault: Option<CaptureError>) {
        if let Some(kept) = self.capture.as_ref().and_then(Capture::keeps) {
            tracing::warn!("the capture keeps only the first {kept} bytes of a packet: tcpdump -s 0");
        }
        if let Some(error) = fault {
            tracing::error!(%error, "not all of the capture was read");
        }
        self.fault = fault;
        self.ended = true;
    }
}

fn seed() -> io::Result<u64> {
    let mut bytes = [0; 8];
    SystemEntropy.fill(&mut bytes).map_err(io::Error::other)?;
    Ok(u64::from_ne_bytes(bytes))
}
