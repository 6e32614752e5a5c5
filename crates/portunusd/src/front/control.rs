//! The control socket's desk: who may ask, what is answered, who follows. Every buffer and the number of connections
//! is bounded, and one who does not read loses lines, not we time.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::unix::net::{UnixListener, UnixStream};

use portunus_ctl::control::{self, EventLine, LONGEST_REQUEST, Reply, Request, Status};
use portunus_ctl::frame;
use portunus_gate::Gate;
use portunus_model::{ClientName, Closing, Event, Now, PortSpec};
use portunus_rx::Udp;
use portunus_sys::poll::{Interest, Poll};
use portunus_sys::users;

use super::CONNECTION;
use super::kills::{Killing, Kills};
use super::tell::Scribe;
use crate::message::About;

/// The most connections at once.
const MOST: usize = 64;
/// Bytes that wait for one who follows; beyond them events are missed, and counted.
const FOLLOWED: usize = 256 << 10;
/// Bytes that wait for anyone: one answer with every session fits.
const WAITING: usize = 32 << 20;

/// What is known besides the gate.
pub(super) struct House<'a> {
    pub(super) about: &'a About,
    pub(super) udp: &'a Udp,
}

/// The desk.
#[derive(Debug)]
pub(super) struct Desk {
    listener: UnixListener,
    connections: BTreeMap<u64, Connection>,
    next: u64,
    /// Who waits for a reload, in the order of asking.
    reloads: VecDeque<u64>,
    kills: Kills,
    scribe: Scribe,
    /// Whether somebody came or went since the keeper was told.
    pub(super) changed: bool,
}

#[derive(Debug)]
struct Connection {
    stream: UnixStream,
    uid: u32,
    /// What came and is not yet a whole line.
    begun: Vec<u8>,
    out: Vec<u8>,
    follows: bool,
    missed: u64,
    /// Closed by the other side, or by us after what waits is written.
    ending: bool,
    writable_watched: bool,
}

impl Desk {
    pub(super) fn new(listener: UnixListener) -> Self {
        Self {
            listener,
            connections: BTreeMap::new(),
            next: 0,
            reloads: VecDeque::new(),
            kills: Kills::default(),
            scribe: Scribe::default(),
            changed: true,
        }
    }

    pub(super) fn listener(&self) -> &UnixListener {
        &self.listener
    }

    /// Lets one in.
    pub(super) fn accept(&mut self, poll: &Poll) -> io::Result<()> {
        let Ok((stream, _)) = self.listener.accept() else { return Ok(()) };
        if self.connections.len() >= MOST {
            return Ok(());
        }
        let (Ok(()), Ok(uid)) = (stream.set_nonblocking(true), users::peer_uid(&stream)) else {
            return Ok(());
        };
        let id = self.next;
        self.next += 1;
        poll.add(&stream, CONNECTION + id, Interest::Read)?;
        let connection = Connection {
            stream,
            uid,
            begun: Vec::new(),
            out: Vec::new(),
            follows: false,
            missed: 0,
            ending: false,
            writable_watched: false,
        };
        self.connections.insert(id, connection);
        Ok(())
    }

    /// Reads what one asks and answers; returns how often a reload was asked for.
    pub(super) fn read(&mut self, id: u64, now: Now, gate: &mut Gate, house: &House<'_>) -> u32 {
        let Some(connection) = self.connections.get_mut(&id) else { return 0 };
        let mut reloads = 0;
        for line in connection.lines() {
            let answer = match control::parse(&line) {
                Err(why) => Some(Reply::Refused { why }),
                Ok(Request::Status) => Some(Reply::Status(status(now, gate, house))),
                Ok(Request::Sessions) => Some(Reply::Sessions(sessions(now, gate))),
                Ok(Request::Events) => {
                    connection.follows = true;
                    Some(Reply::Following)
                }
                Ok(Request::Close { .. } | Request::Kill { .. } | Request::Reload)
                    if !may_change(connection.uid, house.about) =>
                {
                    Some(Reply::Refused { why: NOT_ALLOWED.to_owned() })
                }
                Ok(Request::Close { client, address }) => {
                    let address = address.map(|address| address.to_canonical());
                    let grants = gate.handle_closing(now, &Closing { client, address });
                    Some(Reply::Closed { grants })
                }
                Ok(Request::Kill { client }) => {
                    let closing = Closing { client: Some(client.clone()), address: None };
                    let grants = gate.handle_closing(now, &closing);
                    self.kills.ask(id, client, grants)
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

    /// A verdict: to the log and to all who follow.
    pub(super) fn tell(&mut self, event: &Event) {
        self.scribe.write(event);
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

    fn answer_reload(&mut self, asked: u32, answer: &Reply) {
        for _ in 0..asked {
            let Some(id) = self.reloads.pop_front() else { break };
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.say(answer);
            }
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
    pub(super) fn kill_refused(&mut self, ticket: u64, why: &str) {
        self.answer_kill(ticket, |_| Reply::Refused { why: why.to_owned() });
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
                let _ = poll.remove(&connection.stream);
            }
            stays
        });
    }
}

const NOT_ALLOWED: &str =
    "only root and the users in `admins` may change anything: run this as root, or add your uid to `admins`";

/// uid 0 and the admins; never the front's own, whatever the file says: who has taken the front over must not gain by it.
fn may_change(uid: u32, about: &About) -> bool {
    uid == 0 || (about.admins.contains(&uid) && uid != users::effective_uid())
}

impl Connection {
    /// Reads what is there, and gives the whole lines of it.
    fn lines(&mut self) -> Vec<Vec<u8>> {
        let mut room = [0; LONGEST_REQUEST];
        match self.stream.read(&mut room) {
            Ok(0) => self.ending = true,
            Ok(count) => self.begun.extend_from_slice(room.get(..count).unwrap_or_default()),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock || e.kind() == io::ErrorKind::Interrupted => (),
            Err(_) => self.ending = true,
        }
        let mut lines: Vec<Vec<u8>> = self.begun.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        self.begun = lines.pop().unwrap_or_default();
        if self.begun.len() > LONGEST_REQUEST {
            self.say(&Reply::Refused { why: "the line is too long: 4096 bytes at most".to_owned() });
            self.begun.clear();
            self.ending = true;
        }
        lines.retain(|line| !line.is_empty());
        lines
    }

    fn say(&mut self, reply: &Reply) {
        if self.out.len() < WAITING {
            self.out.extend_from_slice(&control::line(reply));
        } else {
            self.ending = true;
        }
    }

    fn follow(&mut self, line: &[u8]) {
        if self.out.len() + line.len() > FOLLOWED {
            self.missed += 1;
            return;
        }
        if self.missed > 0 {
            let events = std::mem::take(&mut self.missed);
            self.out.extend_from_slice(&control::line(&Reply::Missed { events }));
        }
        self.out.extend_from_slice(line);
    }

    /// Writes; false when this is over.
    fn push(&mut self) -> bool {
        while !self.out.is_empty() {
            match self.stream.write(&self.out) {
                Ok(count) => drop(self.out.drain(..count)),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return true,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => (),
                Err(_) => return false,
            }
        }
        self.out.shrink_to(LONGEST_REQUEST);
        !self.ending
    }

    fn watch(&mut self, poll: &Poll, token: u64) -> io::Result<()> {
        let wanted = !self.out.is_empty();
        if wanted == self.writable_watched {
            return Ok(());
        }
        self.writable_watched = wanted;
        let interest = if wanted { Interest::ReadWrite } else { Interest::Read };
        poll.change(&self.stream, token, interest)
    }
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
        kernel_drops: house.udp.dropped(),
    }
}

fn sessions(now: Now, gate: &Gate) -> control::Sessions {
    let open = gate.sessions(now).map(|one| control::Session {
        client: one.client.as_str().to_owned(),
        address: one.address,
        ports: one.ports.iter().map(ToString::to_string).collect(),
        opened_at: control::when(one.opened),
        expires_at: control::when(now.wall.after(one.left)),
        left_s: one.left.as_secs(),
    });
    let mut sessions: Vec<_> = open.collect();
    sessions.sort_by(|a, b| (&a.client, a.address).cmp(&(&b.client, b.address)));
    let last_seen =
        gate.last_seen().map(|(name, at)| (name.as_str().to_owned(), control::when(at))).collect();
    control::Sessions { sessions, last_seen }
}
