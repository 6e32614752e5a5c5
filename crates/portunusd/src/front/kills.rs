//! Closes and kills that somebody has asked for at the control socket, until the grantor has answered.

use std::collections::BTreeMap;
use std::net::IpAddr;

use portunus_ctl::control::{self, Kept, Reply};
use portunus_ctl::frame;
use portunus_model::{ClientName, PortSpec};

/// Kills, and closes, that wait for the grantor at once.
const MOST: usize = 16;

/// To whom too many ask.
pub(super) const BUSY: &str = "the daemon is busy: ask again";

/// What waits for the grantor, by its tickets.
#[derive(Debug)]
struct Waiting<T> {
    by_ticket: BTreeMap<u64, T>,
    next: u64,
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self { by_ticket: BTreeMap::new(), next: 0 }
    }
}

impl<T> Waiting<T> {
    /// Its ticket; `None` when too many wait.
    fn add(&mut self, one: T) -> Option<u64> {
        if self.by_ticket.len() >= MOST {
            return None;
        }
        let ticket = self.next;
        self.next += 1;
        self.by_ticket.insert(ticket, one);
        Some(ticket)
    }
}

/// Every close that waits: doors are shut when the kernel says so, not when we have asked.
#[derive(Debug, Default)]
pub(super) struct Closes {
    /// To be sent.
    pub(super) asked: Vec<u64>,
    /// Who asked, and how many grants end.
    waiting: Waiting<(u64, u32)>,
}

impl Closes {
    /// Takes one in; an answer when there is no room.
    pub(super) fn ask(&mut self, connection: u64, grants: u32) -> Option<Reply> {
        match self.waiting.add((connection, grants)) {
            Some(ticket) => self.asked.push(ticket),
            None => return Some(Reply::Refused { why: BUSY.to_owned() }),
        }
        None
    }

    /// Whether this connection waits for one.
    pub(super) fn answers(&self, connection: u64) -> bool {
        self.waiting.by_ticket.values().any(|(asker, _)| *asker == connection)
    }

    pub(super) fn take(&mut self, ticket: u64) -> Option<(u64, u32)> {
        self.waiting.by_ticket.remove(&ticket)
    }
}

/// Every kill that waits.
#[derive(Debug, Default)]
pub(super) struct Kills {
    /// To be sent, by the names in the ledger.
    pub(super) asked: Vec<(u64, ClientName)>,
    waiting: Waiting<Killing>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Killing {
    /// Who asked.
    pub(super) connection: u64,
    killed: control::Killed,
}

impl Kills {
    /// Takes one in, by the name in the ledger; an answer when there is no room.
    pub(super) fn ask(&mut self, connection: u64, client: ClientName, grants: u32) -> Option<Reply> {
        let killed = control::Killed { grants, ..control::Killed::default() };
        match self.waiting.add(Killing { connection, killed }) {
            Some(ticket) => self.asked.push((ticket, client)),
            None => return Some(Reply::Refused { why: BUSY.to_owned() }),
        }
        None
    }

    /// Whether this connection waits for one.
    pub(super) fn answers(&self, connection: u64) -> bool {
        self.waiting.by_ticket.values().any(|killing| killing.connection == connection)
    }

    pub(super) fn kept(&mut self, ticket: u64, client: &ClientName, address: IpAddr, ports: &[PortSpec]) {
        if let Some(killing) = self.waiting.by_ticket.get_mut(&ticket) {
            let ports = ports.iter().map(ToString::to_string).collect();
            killing.killed.kept.push(Kept { client: client.as_str().to_owned(), address, ports });
        }
    }

    pub(super) fn take(&mut self, ticket: u64) -> Option<Killing> {
        self.waiting.by_ticket.remove(&ticket)
    }
}

impl Killing {
    pub(super) fn answer(self, how: frame::Killed) -> Reply {
        let mut killed = self.killed;
        match how {
            frame::Killed::Done { sockets, flows } => (killed.sockets, killed.flows) = (sockets, flows),
            frame::Killed::SocketsStay => killed.sockets_stay = true,
            frame::Killed::Failed => {
                let why = "the grants are closed, but not everything that was established was ended: see the daemon's log";
                return Reply::Refused { why: why.to_owned() };
            }
        }
        Reply::Killed(killed)
    }
}
