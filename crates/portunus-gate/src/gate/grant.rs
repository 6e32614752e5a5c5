//! From policy's yes to the end of a grant.

use std::collections::HashMap;
use std::time::Duration;

use portunus_model::{Client, ClientKey, ClientName, Closing, Detail, Now, Opened, PortSpec, Reason};

use super::Gate;
use crate::Action;
use crate::chain::Outcome;
use crate::pending::Asked;

impl Gate {
    pub(super) fn answered(&mut self, now: Now, asked: Asked, answer: Opened) {
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
            Opened::Open => return self.granted(now, asked),
            Opened::Refused => "the grantor's own limits do not allow it",
            Opened::Full => "too many grants are open",
            Opened::Failed => "the firewall would not take it",
        };
        let outcome = Outcome { reason: Reason::FirewallFailed, detail: Some(Detail::Said(said)) };
        self.conclude(now, origin, Some(dialect), name, outcome);
        if asked.stray {
            self.opened_too_late(now, asked);
        }
    }

    pub(super) fn granted(&mut self, now: Now, asked: Asked) {
        let Asked { opening, origin, dialect, .. } = asked;
        let (client, address, lasting) = (opening.client.clone(), opening.address, opening.lasting);
        let detail = Some(Detail::Grant { address, ports: opening.ports.clone(), lasting });
        let reason = self.grants.opened(opening, now);
        self.conclude(now, origin, Some(dialect), Some(client), Outcome { reason, detail });
    }

    /// A door is open whose knock was refused because the answer did not come. It is closed again, unless the same
    /// client's grant for the same address is open or about to be: that one would be closed with it.
    pub(super) fn opened_too_late(&mut self, now: Now, asked: Asked) {
        let (client, address) = (asked.opening.client.clone(), asked.opening.address);
        if asked.revoked {
            return;
        }
        if let Some(other) = self.pending.open_for(&client, address) {
            other.stray = true;
        } else if self.grants.is_open(&client, address, now.mono) {
            let _ = self.grants.opened(asked.opening, now);
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
        let stays = |name: &ClientName, ports: &[PortSpec], left: Duration| {
            let same_key = |client: &Client| before.get(name).is_none_or(|key| *key == client.key);
            let in_time = |client: &Client| {
                client
                    .expires
                    .is_none_or(|expires| expires > now.wall && now.wall.after(left) <= expires.after(late))
            };
            let all_ports = |client: &Client| ports.iter().all(|port| client.ports.contains(port));
            clients
                .get(name)
                .is_some_and(|(_, client)| same_key(client) && in_time(client) && all_ports(client))
        };
        let mut closings =
            self.grants.pairs(|client, grant| !stays(client, &grant.ports, grant.until.since(now.mono)));
        for asked in self.pending.asked().filter(|asked| !asked.revoked) {
            if !stays(&asked.opening.client, &asked.opening.ports, asked.opening.lasting) {
                closings.insert((asked.opening.client.clone(), asked.opening.address));
            }
        }
        for (client, address) in closings {
            let _ = self.handle_closing(now, &Closing { client: Some(client), address: Some(address) });
        }
    }
}
