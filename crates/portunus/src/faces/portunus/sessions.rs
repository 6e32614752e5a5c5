//! `sessions`, `close` and `events`: the running daemon's view.

use std::io::IsTerminal;
use std::net::IpAddr;
use std::time::Duration;

use portunus_ctl::control::{Client, EventLine, Followed, Sessions as Seen};
use portunus_model::ClientName;
use serde_json::json;

use super::NAME;
use super::args::{Close, Sessions};
use crate::places::Places;
use crate::say::{Done, Failure, Table, USAGE, line, out, remark};

/// `portunus sessions`.
pub(super) fn sessions(places: &Places, wish: &Sessions) -> Done {
    loop {
        let seen = Client::connect(&places.run_dir)?.sessions()?;
        let text = if wish.json { in_json(&seen)? } else { in_tables(&seen) };
        if !wish.watch {
            out(text);
            return Ok(());
        }
        // Home and clear; where it is no terminal, one listing after the other.
        let clear = if std::io::stdout().is_terminal() && !wish.json { "\x1b[H\x1b[2J" } else { "" };
        out(format_args!("{clear}{text}"));
        std::thread::sleep(Duration::from_secs(1));
    }
}

fn in_json(seen: &Seen) -> Result<String, Failure> {
    serde_json::to_string(seen)
        .map(|text| text + "\n")
        .map_err(|error| Failure::new(format_args!("the answer could not be written ({error})"), "", ""))
}

fn in_tables(seen: &Seen) -> String {
    let mut open = Table::new(&["CLIENT", "ADDRESS", "PORTS", "LEFT"]);
    for session in &seen.sessions {
        open.row([
            session.client.clone(),
            session.address.to_string(),
            session.ports.join(","),
            left(session.left_s),
        ]);
    }
    let mut last = Table::new(&["CLIENT", "LAST SEEN"]);
    for (name, at) in &seen.last_seen {
        last.row([name.clone(), at.clone()]);
    }
    let open = if open.is_empty() { "nothing is open\n".to_owned() } else { open.to_string() };
    let mut text = if last.is_empty() { open } else { format!("{open}\n{last}") };
    for (receiver, count) in seen.dropped.iter().filter(|(_, count)| **count > 0) {
        text.push_str(&format!(
            "\n{count} packets dropped by the kernel before they were read ({receiver})\n"
        ));
    }
    text
}

fn left(seconds: u64) -> String {
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m{s:02}s"),
        (h, m, s) => format!("{h}h{m:02}m{s:02}s"),
    }
}

/// `portunus close`.
pub(super) fn close(places: &Places, wish: &Close) -> Done {
    let (mut client, mut address) = (None, None);
    if let Some(whose) = &wish.whose {
        match whose.parse::<IpAddr>() {
            Ok(parsed) => address = Some(parsed.to_canonical()),
            Err(_) => {
                let name = ClientName::new(whose);
                client = Some(name.map_err(|error| Failure::new(error, "", "").code(USAGE))?);
            }
        }
    }
    let closed = Client::connect(&places.run_dir)?.close(client, address)?;
    let s = if closed == 1 { "" } else { "s" };
    line(format_args!("{closed} grant{s} closed"));
    Ok(())
}

/// `portunus events`.
pub(super) fn events(places: &Places, json: bool) -> Done {
    for followed in Client::connect(&places.run_dir)?.events()? {
        match followed? {
            Followed::Event(event) if json => {
                let text = serde_json::to_string(&event);
                line(text.map_err(|error| {
                    Failure::new(format_args!("an event could not be written ({error})"), "", "")
                })?);
            }
            Followed::Event(event) => line(in_words(&event)),
            Followed::Missed(events) if json => line(json!({ "missed": events })),
            Followed::Missed(events) => remark(NAME, format_args!("{events} events went by unread here")),
        }
    }
    Ok(())
}

fn in_words(event: &EventLine) -> String {
    let mut words = vec![event.at.clone(), format!("{:<17}", event.reason.as_str())];
    words.extend(event.client.as_ref().map(ToString::to_string));
    words.extend(event.source.as_ref().map(|source| format!("from {source}")));
    words.extend(event.address.map(|address| format!("for {address}")));
    if !event.ports.is_empty() {
        words.push(event.ports.join(","));
    }
    words.extend(event.lasting_s.filter(|&s| s > 0).map(|s| format!("for {}", left(s))));
    words.extend(event.clock_offset_ms.map(|ms| format!("its clock is {ms} ms from ours")));
    words.extend(event.said.clone());
    words.join(" ").trim_end().to_owned()
}
