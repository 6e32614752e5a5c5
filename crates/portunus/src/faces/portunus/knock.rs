//! `knock` and `status`.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use portunus_client::{Families, Sent};
use serde_json::json;

use super::NAME;
use super::args::{FamilyFlags, Knock, Status};
use crate::knocking::{Knocker, took};
use crate::say::{FAILED, Failure, line, remark};
use crate::wallet::Wallet;

/// How long a door may take to open after a knock, before it is called closed.
const PATIENCE: Duration = Duration::from_secs(4);

impl From<FamilyFlags> for Families {
    fn from(flags: FamilyFlags) -> Self {
        match (flags.four, flags.six) {
            (true, _) => Self::V4,
            (false, true) => Self::V6,
            (false, false) => Self::All,
        }
    }
}

/// `portunus knock`.
pub(super) fn knock(wish: &Knock) -> Result<ExitCode, Failure> {
    let profile = Wallet::mine()?.open(wish.profile.as_deref())?;
    let mut knocker = Knocker::new(profile, wish.family.into())?;
    let say = wish.verbose || std::io::stdout().is_terminal();
    let rounds = if wish.continuous { None } else { Some(wish.count.unwrap_or(1)) };
    let mut done: u32 = 0;
    let mut failed: u32 = 0;
    loop {
        match knocker.knock(wish.ip) {
            Ok(sent) if say => sent.iter().for_each(tell),
            Ok(_) => (),
            // A laptop without a network knocks again when it has one; a single knock that fails is a failure.
            Err(failure) if rounds == Some(1) => return Err(failure),
            Err(failure) => {
                failed = failed.saturating_add(1);
                remark(NAME, failure);
            }
        }
        done = done.saturating_add(1);
        if rounds.is_some_and(|rounds| done >= rounds) {
            break;
        }
        std::thread::sleep(wish.interval);
    }
    if failed > 0 {
        return Err(not_sent(failed, done));
    }
    if wish.check { check(&knocker, knocker.telling_port()?, say) } else { Ok(ExitCode::SUCCESS) }
}

/// A script that asked for several knocks hears that some of them never left this machine.
fn not_sent(failed: u32, of: u32) -> Failure {
    Failure::new(format_args!("{failed} of {of} knocks were not sent"), "", "see the reasons above")
}

fn tell(sent: &Sent) {
    line(format_args!("knocked at {} from {} ({} bytes)", sent.to, sent.from, sent.bytes));
}

fn check(knocker: &Knocker, port: u16, say: bool) -> Result<ExitCode, Failure> {
    let name = &knocker.profile.name;
    let (to, after) = knocker.wait(port, PATIENCE)?.map_err(|closed| {
        Failure::new(
            format_args!("{name} is not reachable ({closed})"),
            "",
            "see `portunus events` on the server, and this machine's clock",
        )
    })?;
    if say {
        line(format_args!("{name} is reachable at {to} ({})", took(after)));
    }
    Ok(ExitCode::SUCCESS)
}

/// `portunus status`.
pub(super) fn status(wish: &Status) -> Result<ExitCode, Failure> {
    let profile = Wallet::mine()?.open(wish.profile.as_deref())?;
    let mut knocker = Knocker::new(profile, wish.family.into())?;
    let port = wish.port.map_or_else(|| knocker.telling_port(), Ok)?;
    let looked = if wish.knock {
        knocker.knock(portunus_client::Whom::Source)?;
        knocker.wait(port, PATIENCE)?
    } else {
        knocker.look(port, Duration::from_secs(2))?
    };
    let name = &knocker.profile.name;
    if wish.json {
        let (open, at, ms, why) = match &looked {
            Ok((at, took)) => (true, Some(at.to_string()), Some(took.as_secs_f64() * 1000.0), None),
            Err(closed) => (false, None, None, Some(closed.to_string())),
        };
        line(
            json!({ "profile": name, "open": open, "address": at, "took_ms": ms, "why": why, "port": port }),
        );
        return Ok(ExitCode::from(if open { 0 } else { FAILED }));
    }
    match looked {
        Ok((to, after)) => {
            line(format_args!("{name} is open: {to} answered in {}", took(after)));
            Ok(ExitCode::SUCCESS)
        }
        Err(closed) => {
            line(format_args!("{name} is closed: {closed}"));
            if !wish.knock {
                line(format_args!("knock first: portunus knock {name}"));
            }
            Ok(ExitCode::from(FAILED))
        }
    }
}
