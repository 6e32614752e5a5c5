//! Which doors stand, and who has not been seen at the new one: from the files and the store, so it works without a daemon.

use std::collections::{BTreeMap, HashSet};
use std::process::ExitCode;
use std::time::Duration;

use portunus_config::{Entry, fingerprint, render_date};
use portunus_ctl::control::Client;
use portunus_model::{ChainOwner, ClientKey, DoorRole};
use serde_json::json;

use super::standing::{Doors, Standing};
use super::{MOST_NAMED, load, native_clients};
use crate::chains;
use crate::places::Places;
use crate::say::{FAILED, Failure, Table, line, out};

/// How long a daemon is waited for that only adds when somebody was seen.
const PATIENCE: Duration = Duration::from_secs(2);

/// `portunus rotate --status`: 0 when nobody is left, 1 while somebody is.
pub(super) fn run(places: &Places, json: bool) -> Result<ExitCode, Failure> {
    let settings = load(places)?;
    let doors = Standing::of(places, &settings)?;
    super::speaks_native(&settings)?;
    let clients = native_clients(places)?;
    let moved = doors.new_door().map(|new| at(places, new)).transpose()?;
    let left: Vec<&Entry> =
        moved.as_ref().map_or(Vec::new(), |moved| clients.iter().filter(|one| !is_in(moved, one)).collect());
    let seen = if left.is_empty() { BTreeMap::new() } else { last_seen(places) };
    if json {
        line(format_args!("{:#}", in_json(&doors, clients.len(), moved.is_some(), &left, &seen)));
    } else {
        in_tables(&doors, clients.len(), moved.is_some(), &left, &seen);
    }
    Ok(if left.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// Who has not been seen at the new door.
pub(super) fn left(places: &Places, new: &Standing) -> Result<Vec<Entry>, Failure> {
    let moved = at(places, new)?;
    let mut clients = native_clients(places)?;
    clients.retain(|one| !is_in(&moved, one));
    Ok(clients)
}

/// The public keys of the clients that have knocked at this door since it is the new one.
fn at(places: &Places, door: &Standing) -> Result<HashSet<[u8; 32]>, Failure> {
    let mut moved = HashSet::new();
    chains::each(&places.state_dir, |owner, chain| {
        if let ChainOwner::Moved(client) = owner
            && chain().value().expose() == &door.public
        {
            moved.insert(client);
        }
    })?;
    Ok(moved)
}

fn is_in(moved: &HashSet<[u8; 32]>, entry: &Entry) -> bool {
    match entry.key {
        Some(ClientKey::Native(public)) => moved.contains(&public),
        Some(ClientKey::Openme(_) | ClientKey::Fwknop(_)) => false,
        // Who was invited and has not come is told the new door when it does.
        None => true,
    }
}

/// When each client was proven last, where a daemon runs and tells us.
fn last_seen(places: &Places) -> BTreeMap<String, String> {
    let daemon = Client::connect_for(&places.run_dir, PATIENCE);
    daemon.and_then(|mut daemon| daemon.sessions()).map(|all| all.last_seen).unwrap_or_default()
}

const fn word(role: DoorRole) -> &'static str {
    match role {
        DoorRole::Current => "current",
        DoorRole::Next => "next",
        DoorRole::Apart => "apart",
        DoorRole::Invitations => "invitations",
        DoorRole::Another => "another",
    }
}

fn in_tables(
    doors: &Doors,
    clients: usize,
    rotating: bool,
    left: &[&Entry],
    seen: &BTreeMap<String, String>,
) {
    let mut table = Table::new(&["DOOR", "FINGERPRINT", "SINCE"]);
    for door in &doors.0 {
        let since = door.since.map_or_else(|| "-".to_owned(), render_date);
        table.row([word(door.role).to_owned(), fingerprint(&door.public), since]);
    }
    out(format_args!("{table}\n"));
    if !rotating {
        line("no new door stands, so nobody is to move: portunus rotate makes one");
        return;
    }
    let moved = clients.saturating_sub(left.len());
    line(format_args!("{moved} of {clients} clients have been seen at the new door"));
    if left.is_empty() {
        line("next: portunus rotate --retire");
        return;
    }
    let mut table = Table::new(&["NOT SEEN THERE", "ANSWERS", "LAST SEEN"]);
    for entry in left.iter().take(MOST_NAMED) {
        let answers = if entry.native.answers { "yes" } else { "no" };
        let seen = seen.get(entry.name.as_str()).cloned().unwrap_or_else(|| "-".to_owned());
        table.row([entry.name.to_string(), answers.to_owned(), seen]);
    }
    out(format_args!("\n{table}"));
    let more = left.len().saturating_sub(MOST_NAMED);
    if more > 0 {
        line(format_args!("and {more} more: portunus rotate --status --json names all"));
    }
}

fn in_json(
    doors: &Doors,
    clients: usize,
    rotating: bool,
    left: &[&Entry],
    seen: &BTreeMap<String, String>,
) -> serde_json::Value {
    let doors: Vec<_> = doors
        .0
        .iter()
        .map(|door| {
            json!({
                "role": word(door.role),
                "fingerprint": fingerprint(&door.public),
                "since": door.since.map(render_date),
            })
        })
        .collect();
    let left: Vec<_> = left
        .iter()
        .map(|entry| {
            json!({
                "name": entry.name.as_str(),
                "answers": entry.native.answers,
                "last_seen": seen.get(entry.name.as_str()),
            })
        })
        .collect();
    json!({
        "rotating": rotating,
        "doors": doors,
        "clients": clients,
        "moved": clients.saturating_sub(left.len()),
        "left": left,
    })
}
