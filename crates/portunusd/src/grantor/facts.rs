//! Rows of the ledger as facts of the audit log: one a client and address, with all its ports.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use portunus_ctl::frame;
use portunus_fw::{Element, Row, Term};
use portunus_model::{Cause, ClientName, HolderNames, PortSpec, Way};
use portunus_store::audit::Fact;

/// What the kernel has taken, each element with the row that was there before.
pub(super) fn opened(client: &str, lasting: Duration, rows: &[(Element, Option<Term>)]) -> Option<Fact> {
    let (first, _) = rows.first()?;
    let turned = first.destination.is_some() || first.way != Way::Here;
    Some(Fact::Opened {
        client: client.to_owned(),
        address: first.address,
        ports: ports(rows.iter().map(|(element, _)| element.port)),
        lasting_s: lasting.as_secs(),
        way: turned.then(|| first.to_string()),
        extended: rows.iter().all(|(_, before)| before.is_some()),
    })
}

/// What it would not take.
pub(super) fn failed(client: &str, rows: &[(Element, Option<Term>)]) -> Option<Fact> {
    let (first, _) = rows.first()?;
    let ports = ports(rows.iter().map(|(element, _)| element.port));
    Some(Fact::OpenFailed { client: client.to_owned(), address: first.address, ports })
}

/// What has ended.
pub(super) fn closed(names: &HolderNames, rows: &[Row], why: Cause) -> Vec<Fact> {
    let one = |client, address, ports| Fact::Closed { client, address, ports, why };
    by_grant(names, rows, one)
}

/// What the journal has open.
pub(super) fn restored(names: &HolderNames, rows: &[Row]) -> Vec<Fact> {
    by_grant(names, rows, |client, address, ports| Fact::Restored { client, address, ports })
}

fn by_grant(names: &HolderNames, rows: &[Row], fact: impl Fn(String, IpAddr, String) -> Fact) -> Vec<Fact> {
    let mut grants: BTreeMap<(&ClientName, IpAddr), Vec<Option<PortSpec>>> = BTreeMap::new();
    for row in rows {
        grants.entry((&row.client, row.element.address)).or_default().push(row.element.port);
    }
    let one = |((client, address), these): ((&ClientName, IpAddr), Vec<_>)| {
        fact(names.shown(client).to_owned(), address, ports(these.into_iter()))
    };
    grants.into_iter().map(one).collect()
}

pub(super) fn killed(client: &str, killed: frame::Killed) -> Fact {
    let (sockets, flows, whole) = match killed {
        frame::Killed::Done { sockets, flows } => (sockets, flows, true),
        frame::Killed::SocketsStay | frame::Killed::Failed => (0, 0, false),
    };
    Fact::Killed { client: client.to_owned(), sockets, flows, whole }
}

fn ports(ports: impl Iterator<Item = Option<PortSpec>>) -> String {
    let words = ports.map(|port| port.map_or_else(|| "all".to_owned(), |port| port.to_string()));
    words.collect::<Vec<_>>().join(",")
}
