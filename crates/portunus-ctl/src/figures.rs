//! Figures: how much of everything, as the front tells them by the control socket. No field is a client's, an address or
//! anything else that a stranger chooses.

use std::collections::BTreeMap;
use std::time::Duration;

use portunus_model::{Dialect, Event, Reason};
use serde::{Deserialize, Serialize};

/// What the front knows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Figures {
    /// How often each reason was the verdict, by dialect.
    pub verdicts: Vec<Verdicts>,
    /// From a knock's arrival to the kernel's word that its door is open.
    pub opening: Histogram,
    /// Open grants.
    pub open: u64,
    /// Clients of the configuration.
    pub clients: u64,
    /// Addresses from which clients came lately: these do not wait.
    pub known_sources: u64,
    /// Datagrams of known sources that wait.
    pub waiting_known: u64,
    /// Datagrams of others that wait.
    pub waiting_unknown: u64,
    /// How many can wait in each lane.
    pub lane_capacity: u64,
    /// Questions to store, grantor and helpers that are open.
    pub questions: u64,
    /// How many there can be.
    pub questions_capacity: u64,
    /// What may be wasted just now on packets that only pretend to come from a known source.
    pub budget: u64,
    /// What may be wasted a second.
    pub budget_a_second: u64,
    /// Claims that the replay store remembers.
    pub claims: u64,
    /// How many before its horizon has to rise.
    pub claims_capacity: u64,
    /// Whether the replay store can be written.
    pub store_writable: bool,
    /// Seals opened, or tried.
    pub unsealed: u64,
    /// Signatures verified, or tried.
    pub verified: u64,
    /// Sets of keys tried.
    pub tried: u64,
    /// What is received from.
    pub receivers: Vec<Receiver>,
    /// Connections to the control socket.
    pub connections: u64,
    /// Refusals of clients' packets that were not written into the log, for their number.
    pub unsaid: u64,
}

/// One way to receive.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Receiver {
    /// `udp`, `sniffed` or `tcp`.
    pub name: String,
    /// Packets that the kernel handed over.
    pub received: u64,
    /// Those that it dropped: for want of room and, at UDP sockets, because no dialect has packets of that length.
    pub dropped: u64,
    /// Bytes of the receive buffers in use.
    pub buffer_used: u64,
    /// Bytes that they have.
    pub buffer_size: u64,
}

/// The dialects that a verdict can have, and none: what was no packet of any.
pub const DIALECTS: [Option<Dialect>; 4] =
    [Some(Dialect::Openme), Some(Dialect::Fwknop), Some(Dialect::Native), None];

/// The word for a dialect, or for none.
#[must_use]
pub fn dialect_word(dialect: Option<Dialect>) -> &'static str {
    dialect.map_or("none", Dialect::as_str)
}

/// How often one reason was the verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdicts {
    /// Why.
    pub reason: Reason,
    /// In the order of [`DIALECTS`].
    pub counts: [u64; DIALECTS.len()],
}

/// Counts verdicts: two additions an event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tally {
    counts: [[u64; DIALECTS.len()]; Reason::ALL.len()],
    opening: Histogram,
}

impl Tally {
    /// Counts one event.
    pub fn count(&mut self, event: &Event) {
        let dialect = match event.dialect {
            Some(Dialect::Openme) => 0,
            Some(Dialect::Fwknop) => 1,
            Some(Dialect::Native) => 2,
            None => 3,
        };
        let place = self.counts.get_mut(event.reason as usize).and_then(|row| row.get_mut(dialect));
        if let Some(count) = place {
            *count += 1;
        }
        if let (Reason::Granted | Reason::Extended, Some(took)) = (event.reason, event.took) {
            self.opening.add(took);
        }
    }

    /// Every reason, in the order of the docs.
    #[must_use]
    pub fn verdicts(&self) -> Vec<Verdicts> {
        let rows = Reason::ALL.into_iter().zip(self.counts);
        rows.map(|(reason, counts)| Verdicts { reason, counts }).collect()
    }

    /// How long openings took.
    #[must_use]
    pub const fn opening(&self) -> &Histogram {
        &self.opening
    }
}

/// The upper ends of a histogram's steps, in microseconds; behind them one step more.
pub const STEPS: [u64; 13] =
    [100, 250, 500, 1000, 2500, 5000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000];

/// How many took how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Histogram {
    counts: [u64; STEPS.len() + 1],
    micros: u64,
}

impl Histogram {
    /// Counts one.
    pub fn add(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let step = STEPS.iter().position(|end| micros <= *end).unwrap_or(STEPS.len());
        if let Some(count) = self.counts.get_mut(step) {
            *count += 1;
        }
        self.micros = self.micros.saturating_add(micros);
    }

    /// For each step its upper end (`None`: there is none) and how many took no longer.
    pub fn cumulated(&self) -> impl Iterator<Item = (Option<u64>, u64)> + '_ {
        let ends = STEPS.into_iter().map(Some).chain([None]);
        ends.zip(self.counts.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        }))
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All their times together, in microseconds.
    #[must_use]
    pub const fn micros(&self) -> u64 {
        self.micros
    }
}

/// What the keeper knows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct KeeperFigures {
    /// The program's version.
    pub version: String,
    /// Since when it runs, in seconds of the clock on the wall.
    pub started: i64,
    /// For how long, in seconds.
    pub uptime: u64,
    /// The generation of the rules.
    pub generation: u64,
    /// How often the daemon was started with this state.
    pub starts: u64,
    /// How often each part died by itself, which ended the daemon; `metrics` does not.
    pub deaths: BTreeMap<String, u64>,
    /// Reloads that came into force.
    pub reloads: u64,
    /// Reloads that were refused.
    pub reloads_refused: u64,
    /// Whether the last one came into force, and when it was; `None`: there was none.
    pub last_reload: Option<(bool, i64)>,
    /// How often somebody else's change to our rules was put back.
    pub put_back: u64,
    /// Lines of the audit log that were written.
    pub audit_lines: u64,
    /// What could not be.
    pub audit_lost: u64,
    /// Whether it can be written.
    pub audit_writable: bool,
    /// Datagrams that the kernel dropped for want of room at any UDP socket of the network namespace; `None`: it does
    /// not say.
    pub namespace_overflow: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_falls_into_its_step() {
        let mut histogram = Histogram::default();
        for micros in [1, 100, 101, 999_999, 1_000_000, 1_000_001, u64::MAX] {
            histogram.add(Duration::from_micros(micros));
        }
        let steps: Vec<_> = histogram.cumulated().collect();
        assert_eq!(steps.first(), Some(&(Some(100), 2)));
        assert_eq!(steps.get(1), Some(&(Some(250), 3)));
        assert_eq!(steps.get(12), Some(&(Some(1_000_000), 5)));
        assert_eq!(steps.last(), Some(&(None, 7)));
        assert_eq!(histogram.count(), 7);
    }
}
