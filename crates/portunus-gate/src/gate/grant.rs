//! From policy's yes to the end of a grant.

use std::collections::HashMap;
use std::time::Duration;

use portunus_dialect::Ask;
use portunus_model::{
    Client, ClientKey, ClientName, Closing, Detail, Dialect, Now, Opened, Opening, PortSpec, Ran, Reason,
    Way, Work,
};

use super::Gate;
use crate::chain::{Origin, Outcome};
use crate::clients::NOBODY;
use crate::pending::{Asked, Claimant, Ordered, Waiting};
use crate::policy::{self, Decision};
use crate::{Action, Mandate, Warrant, stanza};

impl Gate {
    /// Policy's word on a claimed knock, and what follows from it.
    pub(super) fn decide(&mut self, now: Now, claimant: Claimant) {
        let Claimant { taken, client: number } = &claimant;
        let (origin, dialect) = (taken.origin(), taken.dialect());
        let Some(client) = self.clients.get(*number) else {
            return self.verdict(now, origin, Some(dialect), None, Reason::UnknownClient);
        };
        let (name, decision) = match taken.ask() {
            Ask::All => (Some(client.name.clone()), policy::decide(taken, client, now)),
            Ask::Fwknop(asked) => {
                let set = self.keysets.of(client).unwrap_or(NOBODY);
                let stanzas = self.keysets.stanzas(set).iter().filter_map(|&one| self.clients.get(one));
                policy::decide_by_stanzas(taken, asked, stanzas, &self.names, now)
            }
        };
        match decision {
            Decision::Refuse(reason, detail) => {
                self.conclude(now, origin, Some(dialect), name, Outcome { reason, detail });
            }
            Decision::Grant(warrant) => self.ask_grantor(now, origin, dialect, warrant),
            Decision::Run(mandate) => self.order(now, origin, dialect, mandate),
            Decision::Name(asked) => match self.pending.insert(now.mono, Waiting::Name(claimant)) {
                Some(ticket) => self.actions.push_back(Action::Resolve(ticket, asked)),
                None => self.verdict(now, origin, Some(dialect), name, Reason::Busy),
            },
        }
    }

    fn ask_grantor(&mut self, now: Now, origin: Origin, dialect: Dialect, warrant: Warrant) {
        let (opening, name) = ((*warrant).clone(), warrant.client.clone());
        let asked = Asked { opening, origin, dialect, revoked: false, strays: Vec::new() };
        match self.pending.insert(now.mono, Waiting::Open(asked)) {
            Some(ticket) => self.actions.push_back(Action::Open(ticket, warrant)),
            None => self.verdict(now, origin, Some(dialect), Some(name), Reason::Busy),
        }
    }

    fn order(&mut self, now: Now, origin: Origin, dialect: Dialect, mandate: Mandate) {
        let client = mandate.client.clone();
        let (address, lasting) = match &mandate.work {
            Work::Command(_) => (None, Duration::ZERO),
            Work::Cycle(facts) => (Some(facts.address), facts.lasting),
        };
        let ordered = Ordered { client: client.clone(), address, lasting, origin, dialect };
        match self.pending.insert(now.mono, Waiting::Run(ordered)) {
            Some(ticket) => self.actions.push_back(Action::Run(ticket, mandate)),
            None => self.verdict(now, origin, Some(dialect), Some(client), Reason::Busy),
        }
    }

    pub(super) fn ran(&mut self, now: Now, ordered: Ordered, answer: Ran) {
        let Ordered { client, address, lasting, origin, dialect } = ordered;
        let (reason, detail) = match answer {
            Ran::Begun => (Reason::Granted, Detail::Ran { address, lasting }),
            Ran::Refused => (Reason::NotAllowed, Detail::Said("who runs commands does not allow it")),
            Ran::Busy => (Reason::Busy, Detail::Said("too many commands run already")),
            Ran::Failed => (Reason::Busy, Detail::Said("the command could not be begun")),
        };
        self.conclude(now, origin, Some(dialect), Some(client), Outcome { reason, detail: Some(detail) });
    }

    pub(super) fn answered(&mut self, now: Now, mut asked: Asked, answer: Opened) {
        let strays = std::mem::take(&mut asked.strays);
        let (origin, dialect, name) = (asked.origin, asked.dialect, Some(asked.opening.client.clone()));
        let said = match answer {
            Opened::Open if asked.revoked => {
                let detail = Some(Detail::Said("closed while it was being opened"));
                return self.conclude(
                    now,
                    origin,
                    Some(dialect),
                    name,
                    Outcome { reason: Reason::Closed, detail },
                );
            }
            Opened::Open => {
                let dialect = asked.dialect;
                self.granted(now, asked);
                // openme's strays are the same grant; fwknop's may be other doors.
                let others = strays.into_iter().filter(|_| dialect == Dialect::Fwknop);
                return others.for_each(|late| self.opened_too_late(now, late, dialect));
            }
            Opened::Refused => "the grantor's own limits do not allow it",
            Opened::Full => "too many grants are open",
            Opened::Failed => "the firewall would not take it",
        };
        let outcome = Outcome { reason: Reason::FirewallFailed, detail: Some(Detail::Said(said)) };
        self.conclude(now, origin, Some(dialect), name, outcome);
        strays.into_iter().for_each(|late| self.opened_too_late(now, late, dialect));
    }

    pub(super) fn granted(&mut self, now: Now, asked: Asked) {
        let Asked { opening, origin, dialect, .. } = asked;
        let (client, address, lasting) = (opening.client.clone(), opening.address, opening.lasting);
        let (destination, way) = (opening.destination, opening.way);
        let detail = Some(Detail::Grant { address, ports: opening.ports.clone(), lasting, destination, way });
        let reason = self.grants.opened(opening, dialect == Dialect::Fwknop, now);
        self.conclude(now, origin, Some(dialect), Some(client), Outcome { reason, detail });
    }

    /// A door is open whose knock was refused because the answer did not come. It is closed again, unless a grant of the
    /// same client for the same address is open or about to be: that one would be closed with it.
    pub(super) fn opened_too_late(&mut self, now: Now, late: Opening, dialect: Dialect) {
        let (client, address) = (late.client.clone(), late.address);
        if let Some(other) = self.pending.open_for(&client, address) {
            other.strays.push(late);
        } else if self.grants.is_open(&client, address, now.mono) {
            let _ = self.grants.opened(late, dialect == Dialect::Fwknop, now);
        } else {
            self.actions.push_back(Action::Close(Closing { client: Some(client), address: Some(address) }));
        }
    }

    pub(super) fn end_overdue(&mut self, now: Now) {
        while let Some(ended) = self.grants.overdue(now.mono) {
            self.say_closed(now, ended);
        }
    }

    /// Closes what the rules do not allow any more. `before`: the keys that the clients had, where they may be others.
    /// A grant that would outlast its client, whose end was moved, is closed too: it can be asked for again, shorter.
    pub(super) fn review_grants(&mut self, now: Now, before: &HashMap<ClientName, ClientKey>) {
        let clients = self.clients.by_name();
        // Counted from the grantor's answer, the end of a grant may lie this much behind what was decided.
        let late = self.tuning.patience;
        let stays = |name: &ClientName, ports: &[PortSpec], way: Way, left: Duration| {
            let same_key = |client: &Client| before.get(name).is_none_or(|key| *key == client.key);
            let in_time = |client: &Client| {
                client
                    .expires
                    .is_none_or(|expires| expires > now.wall && now.wall.after(left) <= expires.after(late))
            };
            let all_ports = |client: &Client| match &client.stanza {
                Some(stanza) => stanza::still_allows(stanza, ports, way),
                None => ports.iter().all(|port| client.ports.contains(port)),
            };
            clients
                .get(name)
                .is_some_and(|(_, client)| same_key(client) && in_time(client) && all_ports(client))
        };
        let mut closings = self.grants.pairs(|client, grant| {
            let door = &grant.door;
            !stays(client, &door.ports, door.way, grant.until.since(now.mono))
        });
        for asked in self.pending.asked().filter(|asked| !asked.revoked) {
            let Opening { client, address, ports, lasting, way, .. } = &asked.opening;
            if !stays(client, ports, *way, *lasting) {
                closings.insert((client.clone(), *address));
            }
        }
        for (client, address) in closings {
            let _ = self.handle_closing(now, &Closing { client: Some(client), address: Some(address) });
        }
    }
}
