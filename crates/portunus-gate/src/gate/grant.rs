//! From policy's yes to the end of a grant.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use portunus_dialect::Ask;
use portunus_model::{
    Cause, Client, ClientKey, ClientName, Closing, Detail, Dialect, Grounds, Now, Opened, Opening, Ran,
    Reason, Work,
};

use super::Gate;
use crate::chain::{Origin, Outcome};
use crate::grants::Grant;
use crate::pending::{Asked, Claimant, Ordered, Stray, Waiting};
use crate::policy::{self, Decision};
use crate::{Action, Door, Mandate, Warrant, stanza};

impl Gate {
    /// Policy's word on a claimed knock, and what follows from it.
    pub(super) fn decide(&mut self, now: Now, claimant: Claimant) {
        let Claimant { taken, client: number, passed } = &claimant;
        let (origin, dialect) = (taken.origin(), taken.dialect());
        let Some(client) = self.clients.get(*number) else {
            return self.verdict(now, origin, Some(dialect), None, Reason::UnknownClient);
        };
        let closed = taken.native_key().is_some_and(|key| self.native.links.has_closed(&key, taken.stamp()));
        let (name, decision) = match taken.ask() {
            Ask::Native(asked) => {
                let known = policy::Known { closed, passed: *passed };
                let decision = policy::decide_native(taken, asked, client, self.clients.rules(), known, now);
                (Some(client.name.clone()), decision)
            }
            Ask::All => (Some(client.name.clone()), policy::decide(taken, client, now)),
            Ask::Fwknop(asked) => {
                let stanzas = self.stanzas_of(std::iter::once(*number).chain(taken.others()));
                policy::decide_by_stanzas(taken, asked, stanzas.into_iter(), &self.names, now)
            }
        };
        match decision {
            Decision::Refuse(reason, detail) => {
                self.conclude(now, origin, Some(dialect), name, Outcome { reason, detail });
            }
            Decision::Close => {
                let (holder, name) = (client.holder(), client.name.clone());
                self.close_by_client(now, taken, holder, name);
            }
            Decision::Code => self.look_at_code(now, claimant),
            Decision::Grant(warrant) => self.ask_grantor(now, origin, dialect, warrant),
            Decision::Run(mandate) => self.order(now, origin, dialect, mandate),
            Decision::Name(asked) => match self.pending.insert(now.mono, Waiting::Name(claimant)) {
                Some(ticket) => self.actions.push_back(Action::Resolve(ticket, asked)),
                None => self.verdict(now, origin, Some(dialect), name, Reason::Busy),
            },
        }
    }

    fn ask_grantor(&mut self, now: Now, origin: Origin, dialect: Dialect, warrant: Warrant) {
        let (opening, name) = ((*warrant).clone(), warrant.name().clone());
        let asked =
            Asked { opening, name: name.clone(), origin, dialect, revoked: false, strays: Vec::new() };
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
        let (origin, dialect, name) = (asked.origin, asked.dialect, Some(asked.name.clone()));
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
                // openme's strays are the same grant; who names ports may have other doors.
                let others = strays.into_iter().filter(|_| names_ports(dialect));
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
        let Asked { opening, name, origin, dialect, .. } = asked;
        let (address, lasting) = (opening.address, opening.lasting);
        let (destination, way) = (opening.destination, opening.way);
        let detail = Some(Detail::Grant { address, ports: opening.ports.clone(), lasting, destination, way });
        let reason = self.grants.opened(opening, name.clone(), names_ports(dialect), now);
        self.conclude(now, origin, Some(dialect), Some(name), Outcome { reason, detail });
    }

    /// A door is open whose knock was refused because the answer did not come. It is closed again, unless a grant of the
    /// same client for the same address is open or about to be: that one would be closed with it.
    pub(super) fn opened_too_late(&mut self, now: Now, late: Stray, dialect: Dialect) {
        let (client, address) = (late.opening.client.clone(), late.opening.address);
        if let Some(other) = self.pending.open_for(&client, address) {
            other.strays.push(late);
        } else if self.grants.is_open(&client, address, now.mono) {
            let Stray { opening, name } = late;
            let _ = self.grants.opened(opening, name, names_ports(dialect), now);
        } else {
            self.actions.push_back(Action::Close(Closing {
                client: Some(client),
                address: Some(address),
                cause: Cause::Late,
            }));
        }
    }

    pub(super) fn end_overdue(&mut self, now: Now) {
        while let Some(ended) = self.grants.overdue(now.mono) {
            self.say_closed(now, ended);
        }
    }

    /// Closes what the rules do not allow any more, and learns the names that the rules have for the others. `before`: the
    /// keys that the holders had, where they may be others. A grant that would outlast its client, whose end was moved, is
    /// closed too: it can be asked for again, shorter.
    pub(super) fn review_grants(&mut self, now: Now, before: &HashMap<ClientName, ClientKey>) {
        let clients = self.clients.by_holder();
        // Counted from the grantor's answer, the end of a grant may lie this much behind what was decided.
        let review = Review { before, now, late: self.tuning.patience };
        let whose = |held: &Held<'_>| {
            let theirs = clients.get(held.holder).map_or(&[][..], Vec::as_slice);
            let client = theirs.iter().find(|(_, client)| review.allows(client, held));
            client.map(|(_, client)| client.name.clone())
        };
        let mut closings = self.grants.review(|holder, address, grant| {
            let Grant { door, grounds, until, .. } = grant;
            whose(&Held { holder, address, door, grounds, left: until.since(now.mono) })
        });
        for asked in self.pending.asked().filter(|asked| !asked.revoked) {
            let strays = asked.strays.iter_mut().map(|stray| (&stray.opening, &mut stray.name));
            for (opening, name) in strays.chain([(&asked.opening, &mut asked.name)]) {
                let Opening { client: holder, address, ports, lasting, destination, way, grounds } = opening;
                let door = Door { ports: ports.clone(), destination: *destination, way: *way };
                let held = Held { holder, address: *address, door: &door, grounds, left: *lasting };
                match whose(&held) {
                    Some(now) => *name = now,
                    None => drop(closings.insert((holder.clone(), *address))),
                }
            }
        }
        for (holder, address) in closings {
            let (client, address) = (Some(holder), Some(address));
            let _ = self.close(now, &Closing { client, address, cause: Cause::Revoke });
        }
    }
}

/// Whether a knock of this dialect can ask for a part of what its client may open: then each part is a grant of its own.
pub(super) const fn names_ports(dialect: Dialect) -> bool {
    match dialect {
        Dialect::Fwknop | Dialect::Native => true,
        Dialect::Openme => false,
    }
}

/// One grant, open or about to be.
struct Held<'a> {
    holder: &'a ClientName,
    address: IpAddr,
    door: &'a Door,
    grounds: &'a Grounds,
    left: Duration,
}

/// By what grants are held against the rules.
struct Review<'a> {
    before: &'a HashMap<ClientName, ClientKey>,
    now: Now,
    late: Duration,
}

impl Review<'_> {
    fn allows(&self, client: &Client, held: &Held<'_>) -> bool {
        let Held { holder, address, door, grounds, left } = held;
        let wall = self.now.wall;
        // Across a restart only the mark tells.
        let same_key = self.before.get(holder).is_none_or(|key| *key == client.key)
            && grounds.mark.is_none_or(|mark| client.mark == Some(mark));
        let in_time = client
            .expires
            .is_none_or(|expires| expires > wall && wall.after(*left) <= expires.after(self.late));
        let for_itself = client.any_target || grounds.source.is_none_or(|source| source == *address);
        let opens = match &client.stanza {
            Some(stanza) => stanza::still_allows(stanza, door, grounds),
            None => door.ports.iter().all(|port| client.ports.contains(port)),
        };
        same_key && in_time && for_itself && opens
    }
}
