//! Verdicts to the log: a proven client's always, a stranger's only for who debugs, and then a few a second.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;

use portunus_model::{ClientName, Detail, Event, Mono, Reason, Rules};

use super::few::{Few, Tell};
use crate::log;
use crate::words::{Words, listing_lines, met, stranger_line, verdict_lines};

/// Strangers' lines a second.
const STRANGERS: u32 = 10;
/// Strangers' lines a minute in fwknopd's words, whose monitors look for them, and of packets that gpg was asked about.
const TOLD_A_MINUTE: u32 = 20;
/// Those that say that too many wait for gpg: in a flood they would be all of them.
const BUSY_A_MINUTE: u32 = 2;

/// Writes verdicts down.
#[derive(Debug, Default)]
pub(super) struct Scribe {
    second: Mono,
    strangers: u32,
    /// The same for fwknopd's words.
    minute: Mono,
    told: u32,
    /// Those of them that only say that too many wait for gpg.
    busy: u32,
    /// Refusals of clients' packets.
    few: Few,
    /// Whose stanza has which number, for the original's words.
    stanzas: HashMap<ClientName, u32>,
    /// Whether nothing is really opened.
    dry: bool,
    /// The fields of the packet that was accepted just now, until it is said whose it is.
    listing: Option<Box<str>>,
}

impl Scribe {
    pub(super) fn learn(&mut self, rules: &Rules, dry: bool) {
        self.dry = dry;
        let numbers = rules.clients.iter().filter_map(|client| {
            let stanza = client.stanza.as_ref()?;
            Some((client.name.clone(), stanza.number))
        });
        self.stanzas = if log::words() == Words::Fwknopd { numbers.collect() } else { HashMap::new() };
    }

    /// The fields of a packet wait for the line that says whose it is: what the gate asks for next is about the same one.
    pub(super) fn accepted(&mut self, listing: Option<Box<str>>) {
        self.listing = listing;
    }

    /// fwknopd says whose packet it is before anything is done for it, and monitors read the lines in that order.
    pub(super) fn goes_on(&mut self, source: Option<IpAddr>, client: Option<&ClientName>) {
        let stanza = client.and_then(|client| self.stanzas.get(client)).copied();
        if let (Words::Fwknopd, Some(source), Some(stanza)) = (log::words(), source, stanza) {
            let (name, line) = (client.map(|client| client.as_str()), met(stanza, source));
            tracing::info!(journal.client = name, journal.source = %source, "{line}");
            self.list(Some(stanza), source);
        }
    }

    /// What its packet says is listed now: others come in between.
    pub(super) fn waits(&mut self, source: Option<IpAddr>) {
        if let Some(source) = source {
            self.list(None, source);
        }
    }

    fn list(&mut self, stanza: Option<u32>, source: IpAddr) {
        let Some(listing) = self.listing.take() else { return };
        for line in listing_lines(stanza, source, &listing) {
            tracing::info!("{line}");
        }
    }

    /// Writes it, if it is to be written; whether a refusal of a client's is to be told elsewhere too.
    pub(super) fn write(&mut self, event: &Event) -> Tell {
        let tell = match &event.client {
            Some(client) if event.reason.refuses() => self.is_told(client, event),
            Some(_) | None => Tell::Yes { unsaid: 0 },
        };
        if tell == Tell::No {
            self.listing = None;
        } else {
            self.write_down(event);
        }
        tell
    }

    /// Refusals of clients' packets that were not written, since the start.
    pub(super) fn unsaid(&self) -> u64 {
        self.few.unsaid_in_all()
    }

    fn is_told(&mut self, client: &ClientName, event: &Event) -> Tell {
        let (tell, unsaid) = self.few.count(client, event.reason, event.at.mono);
        if let Some(unsaid) = unsaid {
            tracing::warn!(
                unsaid,
                "more of clients' packets were refused than are written down: does somebody send recorded ones?"
            );
        }
        tell
    }

    fn write_down(&mut self, event: &Event) {
        let nobodys = event.client.is_none() && event.reason == Reason::NotAllowed;
        if let (Words::Fwknopd, true, Some(source)) = (log::words(), nobodys, event.source) {
            // Proven, or it would not be judged; and from where no stanza has it come.
            say(event, &format!("No access data found for source IP: {}", source.ip().to_canonical()));
            return;
        }
        if event.client.is_none() && event.source.is_some() {
            if log::words() == Words::Fwknopd
                && let Some(line) = self.stranger_as_fwknopd(event)
            {
                say(event, &line);
            } else if let (Words::Ours, Some(Detail::Said(_))) = (log::words(), &event.detail)
                && self.may_tell(event)
            {
                // What gpg says of a packet: who sets it up looks for that, and nobody else sees it.
                write_client(event);
            }
            if self.may_write_stranger(event.at.mono) {
                let (reason, source) = (event.reason.as_str(), event.source.map(tracing::field::display));
                tracing::debug!(reason, source, "stranger");
            }
            return;
        }
        match log::words() {
            Words::Ours => write_client(event),
            Words::Fwknopd => {
                let stanza = event.client.as_ref().and_then(|client| self.stanzas.get(client)).copied();
                for (number, line) in verdict_lines(event, stanza, self.dry).into_iter().enumerate() {
                    say(event, &line);
                    if let (0, Some(source)) = (number, event.source) {
                        self.list(stanza, source.ip().to_canonical());
                    }
                }
            }
        }
    }

    /// Monitors look for these lines. They hold nothing of a packet but where it seems to come from, and are few a minute.
    fn stranger_as_fwknopd(&mut self, event: &Event) -> Option<String> {
        let line = stranger_line(event)?;
        self.may_tell(event).then_some(line)
    }

    fn may_tell(&mut self, event: &Event) -> bool {
        let now = event.at.mono;
        if now.since(self.minute).as_secs() >= 60 {
            (self.minute, self.told, self.busy) = (now, 0, 0);
        }
        if event.reason == Reason::Busy {
            self.busy = self.busy.saturating_add(1);
            return self.busy <= BUSY_A_MINUTE;
        }
        self.told = self.told.saturating_add(1);
        self.told <= TOLD_A_MINUTE
    }

    fn may_write_stranger(&mut self, now: Mono) -> bool {
        if now.since(self.second).as_secs() >= 1 {
            self.second = now;
            self.strangers = 0;
        }
        self.strangers = self.strangers.saturating_add(1);
        self.strangers <= STRANGERS
    }
}

/// A line in fwknopd's words. The journal has its fields all the same.
fn say(event: &Event, line: &str) {
    let client = event.client.as_ref().map(|name| name.as_str());
    let dialect = event.dialect.map(|dialect| dialect.as_str());
    let source = event.source.map(tracing::field::display);
    let reason = event.reason.as_str();
    tracing::info!(
        journal.client = client,
        journal.reason = reason,
        journal.dialect = dialect,
        journal.source = source,
        "{line}"
    );
}

fn write_client(event: &Event) {
    let reason = event.reason.as_str();
    let client = event.client.as_ref().map(|name| name.as_str());
    let dialect = event.dialect.map(|dialect| dialect.as_str());
    let source = event.source.map(tracing::field::display);
    let (mut address, mut ports, mut lasting_s, mut clock_ahead_ms, mut said) =
        (None, None, None, None, None);
    match &event.detail {
        None => (),
        Some(Detail::Grant { address: of, ports: which, lasting, .. }) => {
            address = Some(tracing::field::display(of));
            let which: Vec<String> = which.iter().map(ToString::to_string).collect();
            ports = Some(which.join(","));
            lasting_s = Some(lasting.as_secs()).filter(|secs| *secs > 0);
        }
        Some(Detail::ClockOffset(millis)) => clock_ahead_ms = Some(*millis),
        Some(Detail::Ran { address: of, lasting }) => {
            address = of.as_ref().map(tracing::field::display);
            lasting_s = Some(lasting.as_secs()).filter(|secs| *secs > 0);
            said = Some(Cow::Borrowed("a command was begun"));
        }
        Some(Detail::Refusals(refusals)) => said = Some(Cow::Owned(Detail::refusals_in_words(refusals))),
        Some(Detail::Said(words)) => said = Some(Cow::Borrowed(*words)),
    }
    let (ports, said) = (ports.as_deref(), said.as_deref());
    // The two that are our own fault, not the client's.
    if matches!(event.reason, Reason::FirewallFailed | Reason::StoreUnavailable) {
        tracing::warn!(
            reason,
            client,
            dialect,
            source,
            address,
            ports,
            lasting_s,
            clock_ahead_ms,
            said,
            "knock"
        );
    } else {
        tracing::info!(
            reason,
            client,
            dialect,
            source,
            address,
            ports,
            lasting_s,
            clock_ahead_ms,
            said,
            "knock"
        );
    }
}

#[cfg(test)]
mod tests {
    use portunus_model::{Dialect, Now, Via};

    use super::*;

    #[test]
    fn strangers_write_few_lines_a_minute_in_fwknopds_words() {
        let mut scribe = Scribe::default();
        let mut lines = |from: u64, reason| {
            let mut count = 0;
            for n in 0..10_000 {
                let mono = Mono::from_nanos(from * 1_000_000_000 + n);
                let event = Event {
                    at: Now { mono, ..Now::default() },
                    source: Some(([192, 0, 2, 1], 9).into()),
                    via: Some(Via::Sniffed),
                    dialect: Some(Dialect::Fwknop),
                    client: None,
                    reason,
                    detail: None,
                    took: None,
                };
                count += u32::from(scribe.stranger_as_fwknopd(&event).is_some());
            }
            count
        };
        assert_eq!(lines(100, Reason::Unauthentic), TOLD_A_MINUTE);
        assert_eq!(lines(159, Reason::UnknownClient), 0);
        assert_eq!(lines(160, Reason::UnknownClient), TOLD_A_MINUTE);
        assert_eq!(lines(300, Reason::Noise), 0);
    }
}
