//! Figures as Prometheus reads them: its text format, version 0.0.4. Every label's values are words of ours, so how many
//! series there are is fixed, whatever strangers send (docs/adr/0011-metrics.md says why this is written by hand).

use std::fmt::{Display, Write as _};

use portunus_ctl::figures::{DIALECTS, Figures, Histogram, KeeperFigures, Receiver, dialect_word};

/// The page. A part that did not answer is left out, and `portunus_part_answers` says so.
pub(super) fn page(front: Option<&Figures>, keeper: Option<&KeeperFigures>) -> String {
    let mut page = Page(String::with_capacity(16 << 10));
    page.family("portunus_part_answers", "gauge", "Whether this part of the daemon answers the exporter.");
    page.sample("portunus_part_answers", &[("part", "front")], u8::from(front.is_some()));
    page.sample("portunus_part_answers", &[("part", "keeper")], u8::from(keeper.is_some()));
    if let Some(keeper) = keeper {
        of_keeper(&mut page, keeper);
    }
    if let Some(front) = front {
        of_front(&mut page, front);
    }
    page.0
}

struct Page(String);

impl Page {
    // Writing to a String cannot fail.
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (n, (label, word)) in labels.iter().enumerate() {
            let _ = write!(self.0, "{}{label}=\"{}\"", if n == 0 { '{' } else { ',' }, escaped(word));
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "gauge", help);
        self.sample(name, &[], value);
    }

    fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "counter", help);
        self.sample(name, &[], value);
    }
}

/// A label's value as the format wants it.
fn escaped(word: &str) -> String {
    word.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn of_keeper(page: &mut Page, keeper: &KeeperFigures) {
    page.family("portunus_build_info", "gauge", "The version that runs; always 1.");
    page.sample("portunus_build_info", &[("version", &keeper.version)], 1);
    page.gauge("portunus_start_time_seconds", "When the daemon began to serve, since 1970.", keeper.started);
    page.gauge("portunus_uptime_seconds", "For how long it has.", keeper.uptime);
    page.counter("portunus_starts_total", "Starts with this state folder.", keeper.starts);
    page.family(
        "portunus_part_deaths_total",
        "counter",
        "How often a part died by itself; but for the exporter that ends the daemon, to be started again.",
    );
    for (part, count) in &keeper.deaths {
        page.sample("portunus_part_deaths_total", &[("part", part)], count);
    }
    page.gauge("portunus_config_generation", "The generation of the rules in force.", keeper.generation);
    page.family("portunus_reloads_total", "counter", "Reloads of the configuration.");
    page.sample("portunus_reloads_total", &[("outcome", "in-force")], keeper.reloads);
    page.sample("portunus_reloads_total", &[("outcome", "refused")], keeper.reloads_refused);
    page.gauge(
        "portunus_last_reload_success",
        "Whether the last reload came into force; 1 where there was none.",
        u8::from(keeper.last_reload.is_none_or(|(outcome, _)| outcome)),
    );
    page.gauge(
        "portunus_last_reload_time_seconds",
        "When that was, since 1970; 0 where there was none.",
        keeper.last_reload.map_or(0, |(_, at)| at),
    );
    page.counter(
        "portunus_rules_put_back_total",
        "How often somebody else's change to our firewall rules was put back.",
        keeper.put_back,
    );
    page.counter("portunus_audit_lines_total", "Lines written into the audit log.", keeper.audit_lines);
    page.counter("portunus_audit_lost_total", "What should stand there and does not.", keeper.audit_lost);
    page.gauge("portunus_audit_writable", "Whether it can be written.", u8::from(keeper.audit_writable));
    if let Some(overflow) = keeper.namespace_overflow {
        page.counter(
            "portunus_namespace_udp_overflow_total",
            "Datagrams dropped for want of room at any UDP socket of this network namespace, ours among them.",
            overflow,
        );
    }
}

fn of_front(page: &mut Page, front: &Figures) {
    page.family("portunus_verdicts_total", "counter", "What became of each packet, and the ends of grants.");
    for verdicts in &front.verdicts {
        for (dialect, count) in DIALECTS.iter().zip(verdicts.counts) {
            let labels = [("reason", verdicts.reason.as_str()), ("dialect", dialect_word(*dialect))];
            page.sample("portunus_verdicts_total", &labels, count);
        }
    }
    histogram(page, &front.opening);
    page.gauge("portunus_grants_open", "Open grants.", front.open);
    page.gauge("portunus_clients", "Clients of the configuration.", front.clients);
    page.gauge(
        "portunus_known_sources",
        "Addresses from which clients were proven lately: these do not wait behind strangers.",
        front.known_sources,
    );
    page.family("portunus_lane_packets", "gauge", "Packets that wait to be looked at.");
    page.sample("portunus_lane_packets", &[("lane", "known")], front.waiting_known);
    page.sample("portunus_lane_packets", &[("lane", "unknown")], front.waiting_unknown);
    page.gauge("portunus_lane_capacity", "How many can wait in each lane.", front.lane_capacity);
    page.gauge(
        "portunus_spoof_budget_units",
        "Work left for packets that only pretend to come from a known source; at 0 these wait too.",
        front.budget,
    );
    page.gauge(
        "portunus_spoof_budget_units_a_second",
        "How much comes back a second.",
        front.budget_a_second,
    );
    page.gauge(
        "portunus_questions_open",
        "Questions to the replay store, the grantor and the helpers.",
        front.questions,
    );
    page.gauge("portunus_questions_capacity", "How many there can be.", front.questions_capacity);
    page.gauge("portunus_replay_claims", "Used packets that the replay store remembers.", front.claims);
    page.gauge(
        "portunus_replay_capacity",
        "How many before its horizon has to rise, and older packets are refused unseen.",
        front.claims_capacity,
    );
    page.gauge(
        "portunus_replay_writable",
        "Whether the replay store can be written; if not, nothing is opened.",
        u8::from(front.store_writable),
    );
    page.family("portunus_operations_total", "counter", "Cryptographic work on packets.");
    page.sample("portunus_operations_total", &[("operation", "unseal")], front.unsealed);
    page.sample("portunus_operations_total", &[("operation", "verify")], front.verified);
    page.sample("portunus_operations_total", &[("operation", "try-keys")], front.tried);
    of_receivers(page, &front.receivers);
    page.gauge("portunus_control_connections", "Connections to the control socket.", front.connections);
    page.counter(
        "portunus_log_unsaid_total",
        "Refusals of clients' packets that were not written into the log, for their number.",
        front.unsaid,
    );
}

fn histogram(page: &mut Page, opening: &Histogram) {
    let name = "portunus_opening_seconds";
    page.family(name, "histogram", "From a knock's arrival to the kernel's word that its door is open.");
    for (end, count) in opening.cumulated() {
        let end = end.map_or_else(|| "+Inf".to_owned(), seconds);
        page.sample("portunus_opening_seconds_bucket", &[("le", &end)], count);
    }
    page.sample("portunus_opening_seconds_sum", &[], seconds(opening.micros()));
    page.sample("portunus_opening_seconds_count", &[], opening.count());
}

/// Microseconds as seconds, exactly: `0.00025`, `1`.
fn seconds(micros: u64) -> String {
    let (whole, part) = (micros / 1_000_000, micros % 1_000_000);
    let text = format!("{whole}.{part:06}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn of_receivers(page: &mut Page, receivers: &[Receiver]) {
    type Value = fn(&Receiver) -> u64;
    let families: [(&str, &str, &str, Value); 4] = [
        (
            "portunus_received_packets_total",
            "counter",
            "Packets that the kernel handed over, or connections.",
            |one| one.received,
        ),
        (
            "portunus_dropped_packets_total",
            "counter",
            "Packets that the kernel dropped: for want of room and, at udp, for a length that no dialect has.",
            |one| one.dropped,
        ),
        ("portunus_receive_buffer_bytes", "gauge", "Bytes of the receive buffers in use.", |one| {
            one.buffer_used
        }),
        ("portunus_receive_buffer_limit_bytes", "gauge", "Bytes that they have.", |one| one.buffer_size),
    ];
    for (name, kind, help, value) in families {
        page.family(name, kind, help);
        for receiver in receivers {
            page.sample(name, &[("receiver", &receiver.name)], value(receiver));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use portunus_ctl::figures::Tally;
    use prometheus_parse::{Scrape, Value};

    use super::*;

    fn figures() -> (Figures, KeeperFigures) {
        let receivers =
            ["udp", "tcp"].map(|name| Receiver { name: name.into(), received: 7, ..Receiver::default() });
        let mut opening = Histogram::default();
        opening.add(std::time::Duration::from_micros(300));
        let front = Figures {
            verdicts: Tally::default().verdicts(),
            opening,
            receivers: receivers.into(),
            open: 3,
            ..Figures::default()
        };
        let keeper = KeeperFigures {
            version: "1\"2\\3".into(),
            deaths: BTreeMap::from([("front".to_owned(), 2)]),
            namespace_overflow: Some(9),
            ..KeeperFigures::default()
        };
        (front, keeper)
    }

    /// By a parser that is not ours.
    #[test]
    fn another_parser_reads_every_line() {
        let (front, keeper) = figures();
        let text = page(Some(&front), Some(&keeper));
        let scrape = Scrape::parse(text.lines().map(|line| Ok(line.to_owned()))).unwrap();
        let helped = text.lines().filter(|line| line.starts_with("# HELP")).count();
        assert_eq!(scrape.docs.len(), helped);
        let value = |name: &str| {
            let sample = scrape.samples.iter().find(|sample| sample.metric == name);
            sample.unwrap_or_else(|| panic!("no {name} in {text}")).value.clone()
        };
        assert_eq!(value("portunus_grants_open"), Value::Gauge(3.0));
        assert_eq!(value("portunus_namespace_udp_overflow_total"), Value::Counter(9.0));
        assert!(matches!(value("portunus_opening_seconds"), Value::Histogram(steps) if steps.len() == 14));
        let verdicts = scrape.samples.iter().filter(|sample| sample.metric == "portunus_verdicts_total");
        let labels: BTreeSet<_> =
            verdicts.map(|sample| (sample.labels.get("reason"), sample.labels.get("dialect"))).collect();
        assert_eq!(labels.len(), portunus_model::Reason::ALL.len() * 4);
        // No line was left over: each is a comment, or a sample with a value.
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            assert!(line.rsplit_once(' ').unwrap().1.parse::<f64>().is_ok(), "{line}");
        }
    }

    #[test]
    fn a_part_that_is_silent_is_said_so() {
        let (front, _) = figures();
        let text = page(Some(&front), None);
        assert!(text.contains("portunus_part_answers{part=\"keeper\"} 0\n"), "{text}");
        assert!(text.contains("portunus_part_answers{part=\"front\"} 1\n"));
        assert!(!text.contains("portunus_build_info"));
    }

    #[test]
    fn seconds_are_exact() {
        assert_eq!(
            [100, 250, 1_000_000, 0, 1_500_001].map(seconds),
            ["0.0001", "0.00025", "1", "0", "1.500001"]
        );
    }
}
