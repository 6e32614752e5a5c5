//! `serve` and `check`.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;

use portunus_config::{Diagnostic, FirewallKind, Settings, native};
use portunus_model::Place;
use portunusd::keyrings::{self, Trouble};
use serde_json::json;

use super::NAME;
use super::args::{LogLevel, Serve};
use crate::files::RealFiles;
use crate::places::{Places, USER};
use crate::say::{FAILED, Failure, line, remark};
use crate::{chains, invitations};

/// `portunus serve`.
pub(super) fn serve(places: &Places, serve: &Serve) -> ExitCode {
    let dir = places.config_dir.clone();
    portunusd::serve(&portunusd::Plan {
        program: NAME,
        version: env!("CARGO_PKG_VERSION"),
        load: Box::new(move || native::load(&RealFiles, &dir)),
        still_there: still_there(&places.config_dir),
        state_dir: places.state_dir.clone(),
        run_dir: places.run_dir.clone(),
        session_file: None,
        user: USER.to_owned(),
        log: match serve.log_level {
            LogLevel::Debug => portunusd::LogLevel::Debug,
            LogLevel::Info => portunusd::LogLevel::Info,
            LogLevel::Warn => portunusd::LogLevel::Warn,
            LogLevel::Error => portunusd::LogLevel::Error,
        },
        fwknopd: None,
    })
}

/// A client has a file of its own, or stands in `clients.toml`, which is only searched: it may be what does not load.
fn still_there(dir: &Path) -> portunusd::StillThere {
    let paths = native::Paths::new(dir);
    Box::new(move |name| {
        let nobody = |error: std::io::Error| error.kind() == std::io::ErrorKind::NotFound;
        let own = std::fs::symlink_metadata(paths.client(name)).map_or_else(|e| !nobody(e), |_| true);
        // Without the folder nothing is known of anybody.
        let folder = std::fs::symlink_metadata(paths.clients_dir()).is_ok();
        let shared = std::fs::read_to_string(paths.clients_file());
        own || !folder || shared.map_or_else(|e| !nobody(e), |text| text.contains(name.as_str()))
    })
}

/// `portunus check`: the daemon's own eyes.
pub(super) fn check(places: &Places, json: bool) -> ExitCode {
    let dir = &places.config_dir;
    let loaded = native::load(&RealFiles, dir);
    let rings = loaded.as_ref().map(keyrings::look).unwrap_or_default();
    let mut beside = loaded.as_ref().map(portunusd::alerts::look).unwrap_or_default();
    if let Ok(settings) = &loaded {
        let entries = native::clients(&RealFiles, dir).unwrap_or_default();
        beside.extend(chains::look(&places.state_dir, settings, &entries));
        beside.extend(invitations::look(&places.state_dir, &entries));
    }
    let (mistakes, warnings) = match &loaded {
        Ok(settings) => (&[][..], settings.warnings.as_slice()),
        Err(mistakes) => (mistakes.as_slice(), &[][..]),
    };
    if json {
        let rows = |found: &[Diagnostic]| found.iter().map(row).collect::<Vec<_>>();
        let errors = [rows(mistakes), rings.iter().map(row_of_ring).collect()].concat();
        let warnings = [rows(warnings), beside.iter().map(row_of_ring).collect()].concat();
        line(format_args!("{:#}", json!({ "errors": errors, "warnings": warnings })));
    } else {
        warnings.iter().for_each(|warning| remark(NAME, format_args!("warning: {warning}")));
        for Trouble { what, place, mend } in &beside {
            remark(NAME, format_args!("warning: {}: {what}: {mend}", place.display()));
        }
    }
    match loaded {
        Ok(settings) => {
            for Trouble { what, place, mend } in rings.iter().filter(|_| !json) {
                Failure::new(what, place.display(), mend).tell(NAME);
            }
            if !rings.is_empty() {
                return ExitCode::from(FAILED);
            }
            if !json {
                let clients = settings.rules.clients.len();
                let s = if clients == 1 { "" } else { "s" };
                line(format_args!("{}: no mistake in it, {clients} client{s}", dir.display()));
                let iptables = settings.stance.place.as_ref().is_some_and(Place::is_of_iptables)
                    || settings.stance.firewall == FirewallKind::Iptables;
                let more = settings.runs_with_our_rights(iptables).join(" and ");
                if !more.is_empty() {
                    line(format_args!(
                        "less confined: {more} run with the daemon's own rights (/usr/share/portunus/units)"
                    ));
                }
                tell_keyrings(&settings);
            }
            ExitCode::SUCCESS
        }
        Err(_) if json => ExitCode::from(FAILED),
        Err(mistakes) => Failure::lines(mistakes, FAILED).tell(NAME),
    }
}

/// As whom gpg will run, where there are keyrings.
fn tell_keyrings(settings: &Settings) {
    // What is wrong with them was told.
    let Ok(Some(user)) = keyrings::user(settings) else { return };
    let homes: BTreeSet<&Path> = settings.secrets.gpg.iter().map(|keys| keys.ring().home()).collect();
    for home in homes.iter().map(|home| home.display()) {
        if user == 0 {
            line(format_args!(
                "less confined: gpg runs as root for the keyring {home}, without capabilities and network"
            ));
        } else {
            line(format_args!("gpg runs as uid {user} for the keyring {home}"));
        }
    }
}

/// A keyring or a program stands in no line.
fn row_of_ring(trouble: &Trouble) -> serde_json::Value {
    let Trouble { what, place, mend } = trouble;
    json!({ "file": place.display().to_string(), "line": null, "column": null, "what": what, "mend": mend })
}

fn row(one: &Diagnostic) -> serde_json::Value {
    json!({
        "file": one.file.display().to_string(),
        "line": one.line,
        "column": one.column,
        "what": one.what,
        "mend": one.mend,
    })
}
