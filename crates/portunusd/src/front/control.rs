//! The control socket's desk: who may ask, what is answered, who follows. Every buffer and the number of connections
//! is bounded, and one who does not read loses lines, not we time.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::IpAddr;
use std::os::unix::net::{UnixListener, UnixStream};

use portunus_ctl::control::{self, EventLine, Reply, Request, Status};
use portunus_ctl::figures::{Figures, Tally};
use portunus_ctl::frame;
use portunus_gate::Gate;
use portunus_model::{Cause, ClientName, Closing, Event, Now, PortSpec, Reason, Rules};
use portunus_store::audit::Verb;
use portunus_sys::poll::{Interest, Poll};
use portunus_sys::users;

use super::connection::Connection;
use super::few::Tell;
use super::intake::Intake;
use super::kills::{BUSY, Closes, Killing, Kills};
use super::outward::Outward;
use super::tell::Scribe;
use super::{CLAIMS, CONNECTION};
use crate::message::{About, Note};
use crate::witness::Witness;

/// The most connections at once.
const MOST: usize = 64;

/// What is known besides the gate.
pub(super) struct House<'a> {
    pub(super) about: &'a About,
    pub(super) intake: &'a Intake,
    pub(super) outward: &'a Outward,
}

/// The desk.
#[derive(Debug)]
pub(super) struct Desk {
    listener: UnixListener,
    connections: BTreeMap<u64, Connection>,
    next: u64,
    /// The exporter's connection.
    exporter: Option<u64>,
    /// Who waits for a reload, in the order of asking.
    reloads: VecDeque<u64>,
    kills: Kills,
    closes: Closes,
    scribe: Scribe,
    tally: Tally,
    /// For the audit log.
    pub(super) witness: Witness<Note>,
    /// Packets so far that were no noise.
    pub(super) candidates: u64,
    /// Whether somebody came or went since the keeper was told.
    pub(super) changed: bool,
}

impl Desk {
    pub(super) fn new(listener: UnixListener) -> Self {
        Self {
            listener,
            connections: BTreeMap::new(),
            next: 0,
            exporter: None,
            reloads: VecDeque::new(),
            kills: Kills::default(),
            closes: Closes::default(),
            scribe: Scribe::default(),
            tally: Tally::default(),
            witness: Witness::default(),
            candidates: 0,
            changed: true,
        }
    }

    /// The rules that are in force from now on: for what is said of stanzas.
    pub(super) fn learn(&mut self, rules: &Rules, dry: bool) {
        self.scribe.learn(rules, dry);
    }

    pub(super) fn listener(&self) -> &UnixListener {
        &self.listener
    }

    /// Lets one in.
    pub(super) fn accept(&mut self, poll: &Poll) -> io::Result<()> {
        let Ok((stream, _)) = self.listener.accept() else { return Ok(()) };
        if self.connections.len() >= MOST && !self.make_place(poll) {
            return Ok(());
        }
        let (Ok(()), Ok(uid)) = (stream.set_nonblocking(true), users::peer_uid(&stream)) else {
            return Ok(());
        };
        let id = self.next;
        self.next += 1;
        poll.add(&stream, CONNECTION + id, Interest::Read)?;
        self.connections.insert(id, Connection::new(stream, uid));
        Ok(())
    }

    /// Takes in the exporter, which the keeper has connected. It changes nothing: it is of our own user.
    pub(super) fn adopt(&mut self, poll: &Poll, stream: UnixStream) -> io::Result<()> {
        // The one before it has died.
        if let Some(gone) = self.exporter.take().and_then(|id| self.connections.remove(&id)) {
            gone.leave(poll);
        }
        stream.set_nonblocking(true)?;
        let id = self.next;
        self.next += 1;
        poll.add(&stream, CONNECTION + id, Interest::Read)?;
        self.connections.insert(id, Connection::new(stream, users::effective_uid()));
        self.exporter = Some(id);
        Ok(())
    }

    /// Whoever waits for no answer goes for the one who comes, so that tools that hang about keep nobody from closing a
    /// door. The longest there first, and those who follow after the others.
    fn make_place(&mut self, poll: &Poll) -> bool {
        let exporter = self.exporter;
        let waits = |id: &u64| {
            self.reloads.contains(id)
                || self.kills.answers(*id)
                || self.closes.answers(*id)
                || exporter == Some(*id)
        };
        let free = self.connections.iter().filter(|(id, one)| one.is_idle() && !waits(id));
        let Some(id) = free.min_by_key(|(id, one)| (one.follows, **id)).map(|(id, _)| *id) else {
            return false;
        };
        if let Some(gone) = self.connections.remove(&id) {
            gone.leave(poll);
        }
        true
    }

    /// Reads what one asks and answers; returns how often a reload was asked for.
    pub(super) fn read(&mut self, id: u64, now: Now, gate: &mut Gate, house: &House<'_>) -> u32 {
        let connections = self.connections.len() as u64;
        let Some(connection) = self.connections.get_mut(&id) else { return 0 };
        let mut reloads = 0;
        connection.read();
        while let Some(line) = connection.next_line() {
            let asked = control::parse(&line);
            if let Ok(request) = &asked
                && let Some(note) = note_of(request, connection.uid, house.about)
            {
                self.witness.saw(note);
            }
            let answer = match asked {
                Err(why) => Some(Reply::Refused { why }),
                Ok(Request::Status) => Some(Reply::Status(status(now, gate, house))),
                Ok(Request::Sessions) => Some(Reply::Sessions(sessions(now, gate, house))),
                Ok(Request::Figures) => {
                    let counted = (&self.tally, self.scribe.unsaid());
                    Some(Reply::Figures(Box::new(figures(now, gate, house, counted, connections))))
                }
                Ok(Request::Events) => {
                    connection.follows = true;
                    Some(Reply::Following)
                }
                Ok(Request::Close { .. } | Request::Kill { .. } | Request::Reload)
                    if !may_change(connection.uid, house.about) =>
                {
                    Some(Reply::Refused { why: NOT_ALLOWED.to_owned() })
                }
                // Whoever mistypes a name must not believe that a door was closed.
                Ok(Request::Close { client: Some(name), .. }) if !gate.knows(&name) => Some(Reply::Refused {
                    why: format!("no client named {name}: portunus list shows the names"),
                }),
                Ok(Request::Close { client, address }) => {
                    let address = address.map(|address| address.to_canonical());
                    let grants = gate.handle_closing(now, &Closing { client, address, cause: Cause::Close });
                    self.closes.ask(id, grants)
                }
                Ok(Request::Kill { client }) => {
                    let holder = gate.holder(&client);
                    let closing = Closing { client: Some(client), address: None, cause: Cause::Close };
                    let grants = gate.handle_closing(now, &closing);
                    self.kills.ask(id, holder, grants)
                }
                Ok(Request::Reload) => {
                    self.reloads.push_back(id);
                    reloads += 1;
                    None
                }
            };
            if let Some(answer) = answer {
                connection.say(&answer);
            }
        }
        reloads
    }

    /// A packet was accepted, and these are its fields, where they are to be listed.
    pub(super) fn accepted(&mut self, listing: Option<Box<str>>) {
        self.scribe.accepted(listing);
    }

    /// A client's knock, from there, goes on to who opens or runs things; they tell what they did.
    pub(super) fn goes_on(&mut self, source: Option<IpAddr>, client: Option<&ClientName>) {
        self.scribe.goes_on(source, client);
    }

    /// A client's knock, from there, waits for a name.
    pub(super) fn waits(&mut self, source: Option<IpAddr>) {
        self.scribe.waits(source);
    }

    /// A verdict: to the log and to all who follow.
    pub(super) fn tell(&mut self, event: &Event) {
        if event.source.is_some() && event.reason != Reason::Noise {
            self.candidates = self.candidates.saturating_add(1);
        }
        self.tally.count(event);
        let told = self.scribe.write(event);
        if let (Some(client), true, Tell::Yes { unsaid }) = (&event.client, event.reason.refuses(), told) {
            self.witness.saw(Note::Refused {
                client: client.clone(),
                reason: event.reason,
                dialect: event.dialect,
                source: event.source.map(|source| source.ip().to_canonical()),
                unsaid,
            });
        }
        self.changed |= event.client.is_some();
        let mut line = None;
        for connection in self.connections.values_mut().filter(|connection| connection.follows) {
            let line = line.get_or_insert_with(|| control::line(&Reply::Event(EventLine::from(event))));
            connection.follow(line);
        }
    }

    /// The reload that the first `asked` have asked for is in force.
    pub(super) fn reloaded(&mut self, asked: u32, generation: u64, warnings: &[String]) {
        self.answer_reload(asked, &Reply::Reloaded { generation, warnings: warnings.to_vec() });
    }

    /// The same, refused.
    pub(super) fn reload_refused(&mut self, asked: u32, why: &str) {
        self.answer_reload(asked, &Reply::Refused { why: why.to_owned() });
    }

    /// The reload that was asked for last cannot even be asked for; who asked before still waits.
    pub(super) fn reload_not_asked(&mut self, why: &str) {
        let last = self.reloads.pop_back();
        if let Some(connection) = last.and_then(|id| self.connections.get_mut(&id)) {
            connection.say(&Reply::Refused { why: why.to_owned() });
        }
    }

    fn answer_reload(&mut self, asked: u32, answer: &Reply) {
        for _ in 0..asked {
            let Some(id) = self.reloads.pop_front() else { break };
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.say(answer);
            }
        }
    }

    /// The closes that were asked for since the last time, by their tickets.
    pub(super) fn asked_closes(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.closes.asked)
    }

    /// What a close has taken back is out of the kernel; or not all of it yet.
    pub(super) fn closed(&mut self, ticket: u64, whole: bool) {
        self.answer_close(ticket, |grants| {
            if whole { Reply::Closed { grants } } else { Reply::Refused { why: NOT_YET_SHUT.to_owned() } }
        });
    }

    /// A close was not even passed on.
    pub(super) fn close_refused(&mut self, ticket: u64) {
        self.answer_close(ticket, |_| Reply::Refused { why: BUSY.to_owned() });
    }

    fn answer_close(&mut self, ticket: u64, answer: impl FnOnce(u32) -> Reply) {
        let Some((connection, grants)) = self.closes.take(ticket) else { return };
        if let Some(connection) = self.connections.get_mut(&connection) {
            connection.say(&answer(grants));
        }
    }

    /// The kills that were asked for since the last time: each with its ticket.
    pub(super) fn asked_kills(&mut self) -> Vec<(u64, ClientName)> {
        std::mem::take(&mut self.kills.asked)
    }

    /// Something was kept in a kill.
    pub(super) fn kept(&mut self, ticket: u64, client: &ClientName, address: IpAddr, ports: &[PortSpec]) {
        self.kills.kept(ticket, client, address, ports);
    }

    /// A kill is done.
    pub(super) fn killed(&mut self, ticket: u64, killed: frame::Killed) {
        self.answer_kill(ticket, |killing| killing.answer(killed));
    }

    /// The same, refused.
    pub(super) fn kill_refused(&mut self, ticket: u64) {
        self.answer_kill(ticket, |_| Reply::Refused { why: BUSY.to_owned() });
    }

    fn answer_kill(&mut self, ticket: u64, answer: impl FnOnce(Killing) -> Reply) {
        let Some(killing) = self.kills.take(ticket) else { return };
        if let Some(connection) = self.connections.get_mut(&killing.connection) {
            connection.say(&answer(killing));
        }
    }

    /// Writes what waits, as far as there is room, and lets go of who is gone.
    pub(super) fn push(&mut self, poll: &Poll) {
        self.connections.retain(|id, connection| {
            let stays = connection.push() && connection.watch(poll, CONNECTION + id).is_ok();
            if !stays {
                connection.leave(poll);
            }
            stays
        });
    }
}

const NOT_YET_SHUT: &str = "the firewall has not taken all of it back yet, which is tried without end: look again with \
     `portunus sessions`, and at the daemon's log";

const NOT_ALLOWED: &str =
    "only root and the users in `admins` may change anything: run this as root, or add your uid to `admins`";

/// uid 0 and the admins; never the front's own, whatever the file says: who has taken the front over must not gain by it.
fn may_change(uid: u32, about: &About) -> bool {
    uid == 0 || (about.admins.contains(&uid) && uid != users::effective_uid())
}

/// What the audit log hears of a request: of those that change something.
fn note_of(request: &Request, uid: u32, about: &About) -> Option<Note> {
    let (verb, client, address) = match request {
        Request::Status | Request::Sessions | Request::Figures | Request::Events => return None,
        Request::Close { client, address } => (Verb::Close, client.clone(), *address),
        Request::Kill { client } => (Verb::Kill, Some(client.clone()), None),
        Request::Reload => (Verb::Reload, None, None),
    };
    Some(Note::Asked { verb, uid, allowed: may_change(uid, about), client, address })
}

fn status(now: Now, gate: &Gate, house: &House<'_>) -> Status {
    let about = house.about;
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Status {
        version: about.version.clone(),
        pid: about.pid,
        since: about.since.clone(),
        generation: about.generation,
        clients: about.clients,
        open: count(gate.sessions(now).count()),
        listen: about.listen.clone(),
        place: about.place.clone(),
        verdicts: gate.counters().iter().map(|(reason, n)| (reason.as_str().to_owned(), n)).collect(),
        kernel_drops: house.intake.dropped(),
    }
}

fn figures(
    now: Now,
    gate: &Gate,
    house: &House<'_>,
    (tally, unsaid): (&Tally, u64),
    connections: u64,
) -> Figures {
    let (known, unknown) = gate.lanes();
    let (tuning, effort) = (gate.tuning(), gate.effort());
    let store = house.outward.store();
    Figures {
        verdicts: tally.verdicts(),
        opening: *tally.opening(),
        open: gate.sessions(now).count() as u64,
        clients: u64::from(house.about.clients),
        known_sources: gate.known_sources() as u64,
        waiting_known: known as u64,
        waiting_unknown: unknown as u64,
        lane_capacity: tuning.queue as u64,
        questions: gate.questions() as u64,
        questions_capacity: tuning.pending as u64,
        budget: u64::from(gate.budget()),
        budget_a_second: u64::from(tuning.waste_a_second),
        claims: store.len() as u64,
        claims_capacity: CLAIMS as u64,
        store_writable: store.fault().is_none(),
        unsealed: effort.unsealed,
        verified: effort.verified,
        tried: effort.tried,
        receivers: house.intake.figures(),
        connections,
        unsaid,
    }
}

fn sessions(now: Now, gate: &Gate, house: &House<'_>) -> control::Sessions {
    let open = gate.sessions(now).map(|one| control::Session {
        client: one.client.as_str().to_owned(),
        address: one.address,
        ports: one.door.ports.iter().map(ToString::to_string).collect(),
        opened_at: control::when(one.opened),
        expires_at: control::when(now.wall.after(one.left)),
        left_s: one.left.as_secs(),
    });
    let mut sessions: Vec<_> = open.collect();
    sessions.sort_by(|a, b| (&a.client, a.address).cmp(&(&b.client, b.address)));
    let last_seen =
        gate.last_seen().map(|(name, at)| (name.as_str().to_owned(), control::when(at))).collect();
    let receivers = house.intake.figures().into_iter();
    let dropped = receivers.map(|receiver| (receiver.name, receiver.dropped)).collect();
    control::Sessions { sessions, last_seen, dropped }
}
