//! Ending what a client has established: which of its doors nobody else has had, and what is said of the others.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use portunus_ctl::frame::{Killed, Said};
use portunus_fw::{Element, Ledger};
use portunus_model::{ClientName, PortSpec};
use portunus_store::Segment;

use super::book::Book;
use super::facts;
use super::past::Past;

/// How long a killed address stays cut off from its doors, live flows too: longer than a server goes on sending to one
/// that is silent. A new grant for the address ends it at once.
const CUT: Duration = Duration::from_hours(24);

/// Kills of one batch; a front that asks for more is not ours.
pub(super) const MOST_KILLS: usize = 64;

/// Others' grants that are told by name.
const MOST_KEPT: usize = 64;

/// What may be ended, and what not, by whose grant.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sorted {
    meant: Vec<Element>,
    kept: BTreeMap<(ClientName, IpAddr), Vec<PortSpec>>,
}

impl<S: Segment> Book<S> {
    /// Ends what `client` has established; its rows are struck off already. The answers.
    pub(super) fn kill(&mut self, ticket: u64, client: &ClientName) -> Vec<Said> {
        let held = self.past.take(client);
        let Sorted { meant, kept } = sort(&held, client, &self.ledger, &self.past);
        let killed = self.end_flows(client, &meant);
        self.facts.push(facts::killed(self.names.shown(client), killed));
        let told = kept.into_iter().take(MOST_KEPT).map(|((other, address), ports)| {
            tracing::info!(
                client = self.names.shown(client),
                %address,
                other = self.names.shown(&other),
                "what is established was kept: another client has had a grant for it too"
            );
            Said::Kept { ticket, client: other, address, ports: ports.into() }
        });
        told.chain([Said::Killed(ticket, killed)]).collect()
    }

    fn end_flows(&mut self, client: &ClientName, meant: &[Element]) -> Killed {
        if meant.is_empty() {
            return Killed::Done { sockets: 0, flows: 0 };
        }
        match self.firewall.end_flows(meant, CUT) {
            Ok(ended) => {
                let (sockets, flows) = (ended.sockets, ended.flows);
                tracing::info!(
                    client = self.names.shown(client),
                    sockets,
                    flows,
                    "ended what was established"
                );
                if ended.sockets_stay { Killed::SocketsStay } else { Killed::Done { sockets, flows } }
            }
            Err(error) => {
                tracing::error!(client = self.names.shown(client), %error, "not everything that was established was ended");
                Killed::Failed
            }
        }
    }
}

/// The kernel cannot tell two clients behind one address apart, so a door that another one holds, or held when its
/// session began, is not touched.
fn sort(held: &[Element], client: &ClientName, ledger: &Ledger, past: &Past) -> Sorted {
    let addresses: BTreeSet<IpAddr> = held.iter().map(|element| element.address).collect();
    let mut sorted = Sorted::default();
    if addresses.is_empty() {
        return sorted;
    }
    let rows = ledger.rows().map(|row| (row.client, row.element));
    let over = past.all().map(|(name, element)| (name.clone(), element));
    let near: BTreeSet<(ClientName, Element)> =
        rows.chain(over).filter(|(_, element)| addresses.contains(&element.address)).collect();
    for element in held {
        let mut free = true;
        for (name, _) in near.iter().filter(|(_, other)| other.overlaps(element)) {
            free = false;
            // Its own: it has knocked again since.
            if name != client {
                let ports = sorted.kept.entry((name.clone(), element.address)).or_default();
                if let Some(port) = element.port.filter(|port| !ports.contains(port)) {
                    ports.push(port);
                }
            }
        }
        if free {
            sorted.meant.push(*element);
        }
    }
    sorted
}

#[cfg(test)]
mod tests {
    use portunus_fw::{Row, Term};
    use portunus_model::{Grounds, Mono};

    use super::*;

    fn element(address: &str, port: &str) -> Element {
        Element::here(address.parse().unwrap(), PortSpec::parse(port).unwrap()[0])
    }

    fn later() -> Term {
        Term { until: Mono::from_nanos(u64::MAX / 2), grounds: Grounds::default() }
    }

    fn name(text: &str) -> ClientName {
        ClientName::new(text).unwrap()
    }

    #[test]
    fn a_door_that_another_has_or_had_is_kept_with_the_others_name() {
        let (mut ledger, mut past) = (Ledger::new(), Past::default());
        let now = Mono::default();
        ledger.open(now, &name("bob"), element("192.0.2.1", "8005/tcp"), later());
        let over = |client: &str, element| Row {
            client: name(client),
            element,
            until: now,
            grounds: Grounds::default(),
        };
        past.note(&[over("carol", element("192.0.2.2", "22/tcp"))]);
        let held = [
            element("192.0.2.1", "22/tcp"),
            element("192.0.2.1", "8000-8010/tcp"),
            element("192.0.2.2", "22/tcp"),
            element("192.0.2.11", "22/tcp"),
        ];
        let sorted = sort(&held, &name("alice"), &ledger, &past);
        assert_eq!(sorted.meant, [held[0], held[3]]);
        let kept: Vec<_> = sorted.kept.iter().map(|((n, a), p)| (n.as_str(), *a, p.clone())).collect();
        assert_eq!(
            kept,
            [
                ("bob", held[1].address, held[1].port.into_iter().collect()),
                ("carol", held[2].address, held[2].port.into_iter().collect())
            ]
        );
    }

    #[test]
    fn a_door_that_it_has_opened_again_since_is_not_cut() {
        let mut ledger = Ledger::new();
        let mine = element("192.0.2.1", "22/tcp");
        ledger.open(Mono::default(), &name("alice"), mine, later());
        assert_eq!(sort(&[mine], &name("alice"), &ledger, &Past::default()), Sorted::default());
    }
}
