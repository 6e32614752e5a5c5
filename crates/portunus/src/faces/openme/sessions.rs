//! `sessions`: the state file that a running server writes.

use std::io::IsTerminal;
use std::time::Duration;

use portunus_config::sessions::{Session, State, parse};
use portunus_config::{FileError, Files, Secrecy, render_date, render_duration};
use portunus_model::Unix;

use super::args::Sessions;
use crate::files::RealFiles;
use crate::say::{CONFIG, Done, Failure, Table, out};

/// `openme sessions`.
pub(super) fn sessions(wish: &Sessions) -> Done {
    loop {
        let text = in_tables(&read(wish)?, portunus_sys::clock::now().wall);
        if !wish.watch {
            out(text);
            return Ok(());
        }
        let clear = if std::io::stdout().is_terminal() { "\x1b[H\x1b[2J" } else { "" };
        out(format_args!("{clear}{text}"));
        std::thread::sleep(Duration::from_secs(1));
    }
}

fn read(wish: &Sessions) -> Result<State, Failure> {
    let path = &wish.state_file;
    let text = RealFiles.read(path, Secrecy::Public).map_err(|error| match error {
        FileError::Missing => Failure::file("no session file", path, "start the server: openme serve"),
        FileError::Denied
        | FileError::NotShared
        | FileError::TooOpen { .. }
        | FileError::ForeignOwner { .. }
        | FileError::TooLarge(_)
        | FileError::NotText
        | FileError::WrongKind(_)
        | FileError::Other(_) => Failure::lines([error.at(path)], CONFIG),
    })?;
    parse(&text).map_err(|error| Failure::file(error, path, "is it a session file of a running server?"))
}

fn in_tables(state: &State, now: Unix) -> String {
    let mut open = Table::new(&["CLIENT", "IP", "PORTS", "OPENED", "EXPIRES IN"]);
    // A server that was killed left its last state behind; what is over is over.
    for session in state.sessions.iter().filter(|session| session.expires > now) {
        open.row(row(session, now));
    }
    let mut seen = Table::new(&["CLIENT", "LAST SEEN"]);
    for (name, at) in &state.last_seen {
        seen.row([name.to_string(), render_date(*at)]);
    }
    let or_none = |table: Table| if table.is_empty() { "(none)\n".to_owned() } else { table.to_string() };
    format!("ACTIVE SESSIONS\n{}\nLAST SEEN\n{}", or_none(open), or_none(seen))
}

fn row(session: &Session, now: Unix) -> [String; 5] {
    let ports: Vec<String> = session.ports.iter().map(ToString::to_string).collect();
    let left = Duration::from_secs(session.expires.since(now).as_secs());
    [
        session.client.to_string(),
        session.address.to_string(),
        ports.join(","),
        render_date(session.opened),
        render_duration(left),
    ]
}
