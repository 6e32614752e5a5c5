//! Kills that somebody has asked for at the control socket, until the grantor has answered.

use std::collections::BTreeMap;
use std::net::IpAddr;

use portunus_ctl::control::{self, Kept, Reply};
use portunus_ctl::frame;
use portunus_model::{ClientName, PortSpec};

/// Kills that wait for the grantor at once.
const MOST: usize = 16;

/// Every kill that waits.
#[derive(Debug, Default)]
pub(super) struct Kills {
    /// To be sent, by the names in the ledger.
    pub(super) asked: Vec<(u64, ClientName)>,
    waiting: BTreeMap<u64, Killing>,
    next: u64,
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
        if self.waiting.len() >= MOST {
            return Some(Reply::Refused { why: "the daemon is busy: ask again".to_owned() });
        }
        let ticket = self.next;
        self.next += 1;
        let killed = control::Killed { grants, ..control::Killed::default() };
        self.waiting.insert(ticket, Killing { connection, killed });
        self.asked.push((ticket, client));
        None
    }

    /// Whether this connection waits for one.
    pub(super) fn answers(&self, connection: u64) -> bool {
        self.waiting.values().any(|killing| killing.connection == connection)
    }

    pub(super) fn kept(&mut self, ticket: u64, client: &ClientName, address: IpAddr, ports: &[PortSpec]) {
        if let Some(killing) = self.waiting.get_mut(&ticket) {
            let ports = ports.iter().map(ToString::to_string).collect();
            killing.killed.kept.push(Kept { client: client.as_str().to_owned(), address, ports });
        }
    }

    pub(super) fn take(&mut self, ticket: u64) -> Option<Killing> {
        self.waiting.remove(&ticket)
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
