//! `knock`, `status`, and the client's `close`.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use portunus_client::{Closed, Families, Heard, Request, Seal, Sent, Whom};
use portunus_config::profile::{Keys, Profile};
use serde_json::json;

use super::NAME;
use super::args::{FamilyFlags, Knock, Status};
use crate::knocking::{Knocker, took};
use crate::say::{Done, FAILED, Failure, USAGE, line, remark};
use crate::second_factor::{self, StandardInput};
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
    let wallet = Wallet::mine()?;
    let profile = wallet.open(wish.profile.as_deref())?;
    let request = request(wish, &profile)?;
    let mut knocker = wallet.knocker(NAME, profile, wish.family.into(), request)?;
    let say = wish.verbose || std::io::stdout().is_terminal();
    let rounds = if wish.continuous { None } else { Some(wish.count.unwrap_or(1)) };
    if wish.check {
        let port = knocker.telling_port();
        port.map_or(Ok(()), |port| knocker.look_before(port))?;
    }
    let mut tally = Tally::default();
    let last = loop {
        let heard = match round(&mut knocker, wish, say) {
            Ok(heard) => heard,
            // A laptop without a network knocks again when it has one; a single knock that fails is a failure.
            Err(wrong) if rounds == Some(1) => return Err(wrong.into()),
            Err(wrong) => {
                tally.count(&wrong);
                remark(NAME, Failure::from(wrong));
                None
            }
        };
        tally.done = tally.done.saturating_add(1);
        if rounds.is_some_and(|rounds| tally.done >= rounds) {
            break heard;
        }
        std::thread::sleep(wish.interval);
    };
    tally.verdict()?;
    if !wish.check || last.is_some() {
        return Ok(ExitCode::SUCCESS);
    }
    let port = knocker.telling_port()?;
    let reached = check(&mut knocker, port, say)?;
    if knocker.sealer.listens() {
        // What is open may be so for another client behind the same address.
        let name = &knocker.profile.name;
        remark(
            NAME,
            format_args!("{name}: no answer came, so it may be another's knock that opened it: {UNANSWERED}"),
        );
    }
    Ok(reached)
}

/// What is asked for besides.
fn request(wish: &Knock, profile: &Profile) -> Result<Request, Failure> {
    let seconds = wish.lasting.map_or(0, |span| span.as_secs().max(1));
    let seconds = u32::try_from(seconds).map_err(|_| {
        Failure::new("that is longer than a knock can say", "--for", "use a shorter time").code(USAGE)
    })?;
    if second_factor::needed(profile, wish.totp) {
        once(wish)?;
    }
    Ok(Request {
        close: false,
        seconds,
        services: wish.services.iter().map(|name| name.as_str().into()).collect(),
        code: second_factor::for_profile(profile, wish.totp, StandardInput::Ours)?,
    })
}

/// A code opens once: each further knock with it would count as a wrong one, and the server looks at few of those.
fn once(wish: &Knock) -> Done {
    let flag = match (wish.continuous, wish.count) {
        (true, _) => "--continuous",
        (false, Some(2..)) => "--count",
        (false, Some(_) | None) => return Ok(()),
    };
    Err(Failure::new(
        "a one-time code opens for one knock",
        flag,
        "knock once, and ask for as long as you need with --for",
    )
    .code(USAGE))
}

/// Why a round came to nothing.
enum Wrong {
    NotSent(Failure),
    NotHonoured(Failure),
}

impl From<Wrong> for Failure {
    fn from(wrong: Wrong) -> Self {
        match wrong {
            Wrong::NotSent(failure) | Wrong::NotHonoured(failure) => failure,
        }
    }
}

/// One round of knocks; what the server said to it, where it answers. Without an answer the door may still be looked at.
fn round(knocker: &mut Knocker, wish: &Knock, say: bool) -> Result<Option<Heard>, Wrong> {
    let knocked = knocker.knock(wish.ip).map_err(Wrong::NotSent)?;
    if say {
        knocked.sent.iter().for_each(tell);
    }
    let name = &knocker.profile.name;
    match knocked.heard {
        Some(heard) if heard.is_done() => {
            if say {
                line(format_args!("{name}: {heard}"));
            }
            Ok(Some(heard))
        }
        Some(heard) => Err(Wrong::NotHonoured(Failure::new(name, heard, ""))),
        None if knocker.sealer.listens() && !wish.check => {
            Err(Wrong::NotHonoured(unanswered(name, knocked.sent.len())))
        }
        None => Ok(None),
    }
}

/// Why a server that answers may say nothing.
const UNANSWERED: &str = "the profile (somebody else may use a copy of it: ask for a new one), this machine's clock or the way there is wrong";

/// No answer came where one was to come.
fn unanswered(name: &str, knocks: usize) -> Failure {
    let s = if knocks == 1 { "" } else { "s" };
    Failure::new(
        format_args!("no answer to {knocks} knock{s}"),
        name,
        format_args!("{UNANSWERED}; or answers are lost: add --check to look at the door"),
    )
}

/// How often it came to nothing.
#[derive(Default)]
struct Tally {
    done: u32,
    not_sent: u32,
    not_honoured: u32,
}

impl Tally {
    fn count(&mut self, wrong: &Wrong) {
        match wrong {
            Wrong::NotSent(_) => self.not_sent = self.not_sent.saturating_add(1),
            Wrong::NotHonoured(_) => self.not_honoured = self.not_honoured.saturating_add(1),
        }
    }

    /// A script that asked for several knocks hears that some of them never left this machine, or opened nothing.
    fn verdict(&self) -> Done {
        let Self { done, not_sent, not_honoured } = self;
        let what = match (not_sent, not_honoured) {
            (0, 0) => return Ok(()),
            (_, 0) => format!("{not_sent} of {done} knocks were not sent"),
            (0, _) => format!("{not_honoured} of {done} knocks opened nothing"),
            (_, _) => {
                format!("of {done} knocks {not_sent} were not sent, and {not_honoured} opened nothing")
            }
        };
        Err(Failure::new(what, "", "see the reasons above"))
    }
}

fn tell(sent: &Sent) {
    line(format_args!("knocked at {} from {} ({} bytes)", sent.to, sent.from, sent.bytes));
}

fn check(knocker: &mut Knocker, port: u16, say: bool) -> Result<ExitCode, Failure> {
    let waited = knocker.wait(port, PATIENCE)?;
    let name = &knocker.profile.name;
    let (to, after) = waited.map_err(|closed| {
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

/// `portunus close`, of what this person opened.
pub(super) fn close(profile: Option<&str>) -> Done {
    let wallet = Wallet::mine()?;
    let profile = wallet.open(profile)?;
    if let Keys::Openme { .. } = profile.keys {
        return Err(Failure::new(
            "a knock of openme's dialect cannot close",
            &profile.name,
            "wait until the grant is over, or ask for a profile of the native dialect",
        ));
    }
    // Whoever closes what is theirs needs no second factor for it.
    let request = Request { close: true, ..Request::default() };
    let mut knocker = wallet.knocker(NAME, profile, Families::All, request)?;
    let knocked = knocker.knock(Whom::Source)?;
    let name = &knocker.profile.name;
    match knocked.heard {
        Some(heard) if heard.is_done() => line(format_args!("{name}: {heard}")),
        Some(heard) => return Err(Failure::new(name, heard, "")),
        None if knocker.sealer.listens() => return Err(unanswered_close(name)),
        None => line(format_args!("{name} was asked to close what is open for you")),
    }
    Ok(())
}

fn unanswered_close(name: &str) -> Failure {
    Failure::new(
        "no answer to a knock that closes",
        name,
        "look with `portunus status`, and wait until the grant is over",
    )
}

/// `portunus status`.
pub(super) fn status(wish: &Status) -> Result<ExitCode, Failure> {
    let wallet = Wallet::mine()?;
    let profile = wallet.open(wish.profile.as_deref())?;
    let asked = wish.knock.then(|| second_factor::for_profile(&profile, false, StandardInput::Ours));
    let code = asked.transpose()?.flatten();
    let request = Request { code, ..Request::default() };
    let mut knocker = wallet.knocker(NAME, profile, wish.family.into(), request)?;
    let port = wish.port.map_or_else(|| knocker.telling_port(), Ok)?;
    let looked = if wish.knock {
        knocker.look_before(port)?;
        match knocker.knock(Whom::Source)?.heard {
            Some(heard) if !heard.is_done() => Err(Closed::Answered(heard)),
            Some(_) | None => knocker.wait(port, PATIENCE)?,
        }
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
