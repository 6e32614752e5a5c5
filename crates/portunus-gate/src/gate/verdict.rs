//! Words: exactly one event a datagram, and one for the end of a grant. Each is counted.

use std::time::Duration;

use portunus_model::{ClientName, Detail, Dialect, Event, Now, Reason};

use super::Gate;
use crate::chain::{Origin, Outcome};
use crate::grants::Ended;
use crate::{Action, Door};

impl Gate {
    pub(super) fn say_closed(&mut self, now: Now, ended: Ended) {
        self.counters.count(Reason::Closed);
        let Door { ports, destination, way } = ended.door;
        let (address, lasting) = (ended.address, Duration::ZERO);
        let detail = Detail::Grant { address, ports, lasting, destination, way };
        self.actions.push_back(Action::Tell(Event {
            at: now,
            source: None,
            via: None,
            dialect: None,
            client: Some(ended.client),
            reason: Reason::Closed,
            detail: Some(detail),
            took: None,
        }));
    }

    /// The one event of a datagram, where there is no more to say.
    pub(super) fn verdict(
        &mut self,
        now: Now,
        origin: Origin,
        dialect: Option<Dialect>,
        client: Option<ClientName>,
        reason: Reason,
    ) {
        self.conclude(now, origin, dialect, client, Outcome { reason, detail: None });
    }

    /// The one event of a datagram. `client` only when proven.
    pub(super) fn conclude(
        &mut self,
        now: Now,
        origin: Origin,
        dialect: Option<Dialect>,
        client: Option<ClientName>,
        outcome: Outcome,
    ) {
        self.answer(now, origin, &outcome);
        let Outcome { reason, detail } = outcome;
        self.counters.count(reason);
        let (source, via) = (Some(origin.source), Some(origin.via));
        let took = Some(now.mono.since(origin.arrived));
        let event = Event { at: now, source, via, dialect, client, reason, detail, took };
        self.actions.push_back(Action::Tell(event));
    }
}
