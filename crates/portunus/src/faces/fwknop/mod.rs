//! The `fwknop` face: the client's flags, files and words, as Debian's fwknop 2.6.10 and 2.6.11 have them.
//!
//! Here is one story, top to bottom: read the line, read the stanzas, make the packet, show it, send it. Words that
//! people's scripts look for stand where the original has them; all other words are ours.

mod args;
mod era;
mod flags;
mod gather;
mod gpg;
pub(crate) mod keygen;
mod keys;
mod last;
mod line;
mod own;
mod rc;
mod send;
mod settings;
mod values;
mod wish;

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;

use clap::error::ContextKind;
use portunus_crypto::SystemEntropy;
use portunus_dialect::Ask;
use portunus_dialect::fwknop::{Fields, Keys, Packet, Sealed, seal};

use crate::say::{Done, FAILED, Failure, line, out, remark};
use args::Typed;
use line::{Line, Task};
use rc::RcFile;
use send::Departure;
use settings::{Allow, Settings};

/// The word before every message.
pub(crate) const NAME: &str = "fwknop";
/// The release whose flags, files and words these are.
pub(crate) const COMPATIBLE: &str = "2.6.11";
/// Who asks by HTTP.
const AGENT: &str = "Fwknop/2.6.11";

/// The table of flags.
pub(crate) fn table() -> clap::Command {
    args::table()
}

/// Runs the face. Every failure ends with 1, as the original's do.
pub(crate) fn run(words: Vec<OsString>) -> ExitCode {
    match read(words) {
        Ok(given) => story(&given).map_or_else(|failure| failure.tell(NAME), |()| ExitCode::SUCCESS),
        Err(code) => code,
    }
}

/// The words, sorted. `--last-cmd` puts those of the last time in their place.
fn read(words: Vec<OsString>) -> Result<Line, ExitCode> {
    let given = sort(words)?;
    if !given.task.last_cmd {
        return Ok(given);
    }
    let last = last::words(&given.task).map_err(|failure| failure.tell(NAME))?;
    if given.assignments.iter().any(|assignment| assignment.flag == "--verbose") {
        let words: Vec<_> = last.iter().map(|word| word.to_string_lossy()).collect();
        line(format_args!("Executing: {}", words.join(" ")));
    }
    let mut given = sort(last)?;
    // Else a line that asks for the last line would be run for ever.
    given.task.last_cmd = false;
    Ok(given)
}

fn sort(words: Vec<OsString>) -> Result<Line, ExitCode> {
    let (words, old) = era::in_todays_words(words);
    let given = match args::parse(words) {
        Ok(Typed::Given(given)) => given,
        Ok(Typed::Help) => {
            // A reader that has gone wanted no more of it.
            let _ = table().print_help();
            return Err(ExitCode::SUCCESS);
        }
        Ok(Typed::Version) => {
            out(table().render_version());
            return Err(ExitCode::SUCCESS);
        }
        Err(error) => {
            let flag = error.get(ContextKind::InvalidArg).map(ToString::to_string).unwrap_or_default();
            if let Some(mend) = era::mend_of(&flag) {
                remark(NAME, format_args!("{flag} is a flag of fwknop 1.9: {mend}"));
                return Err(ExitCode::from(FAILED));
            }
            crate::say::usage(NAME, &error);
            return Err(ExitCode::from(FAILED));
        }
    };
    old.iter().for_each(|said| remark(NAME, said));
    Line::of(&given).map_err(|failure| failure.tell(NAME))
}

fn story(given: &Line) -> Done {
    let task = &given.task;
    if task.fault_injection {
        let what = "fault injection is of the original's tests, and not supported";
        return Err(Failure::new(what, "--fault-injection-tag", "leave it out"));
    }
    if task.show_last {
        return last::show(task);
    }
    let mut file = None;
    if let Some(path) = rc::place(task)? {
        if task.stanza_list {
            return rc::list(&path);
        }
        file = Some(rc::open(&path)?);
    }
    let settings = stanzas(given, &mut file)?;
    if task.key_gen {
        return keygen::run(given, &settings, file.as_mut());
    }
    validate(&settings, task)?;
    if !settings.no_save_args {
        last::remember(task, &given.remembered, settings.verbose)?;
    }
    knock(&settings, task)
}

/// The settings, after what is to be saved was saved.
fn stanzas(given: &Line, file: &mut Option<RcFile>) -> Result<Settings, Failure> {
    // A value that is none is told before anything is written.
    let mut typed = Settings::default();
    gather::command_line(&mut typed, given)?;
    let saving = given.task.save_rc_stanza;
    if given.task.key_gen && saving {
        // Its stanza may not be there yet; it is written together with the keys.
        return Ok(typed);
    }
    if let Some(file) = file.as_mut().filter(|_| saving) {
        rc::save(file, given, &[], typed.verbose)?;
    }
    gather::gather(given, file.as_ref(), typed.verbose)
}

/// What cannot become a packet, in the order in which the original says so.
fn validate(settings: &Settings, task: &Task) -> Done {
    if settings.server.is_none() && !task.test {
        return Err(Failure::new(
            "Must use --destination unless --test mode is used",
            "",
            "name the server with -D",
        ));
    }
    if settings.wants_gpg() {
        gpg::check(settings)?;
    }
    if settings.allow.is_none() {
        let what = "Invalid allow IP: there is none, and a knock Must use one of [-s|-R|-a]";
        return Err(Failure::new(what, "", "say for whom to open"));
    }
    if settings.spoof.is_some() && !settings.way.is_raw() {
        let what = "Must set -P <udpraw|tcpraw|icmp> with a spoofed source IP";
        return Err(Failure::new(what, "", "other packets have the source that the system gives them"));
    }
    if settings.allow == Some(Allow::Source) && settings.verbose > 0 && !task.test {
        remark(NAME, "WARNING: -s opens for whoever the packet seems to come from: -a or -R are safer");
    }
    Ok(())
}

fn knock(settings: &Settings, task: &Task) -> Done {
    let target = match settings.allow {
        Some(Allow::Address(address)) => Some(address),
        Some(Allow::Resolve) => Some(own::resolve(settings)?),
        Some(Allow::Source) | None => None,
    };
    let wish = wish::wish(settings, task, target)?;
    // What cannot be said is told before anybody is asked for a key.
    wish.check().map_err(|error| wish::refused(error.into()))?;
    let stamp = || wish::stamp(portunus_sys::clock::now().wall, settings.offset);
    if settings.wants_gpg() {
        let wire = gpg::seal(settings, task, wish, stamp()?)?;
        keep(task, &wire);
        return deliver(settings, task, target, &wire);
    }
    let keys = keys::keys(settings, task)?;
    let stamp = stamp()?;
    let sealed = seal(&keys, wish, stamp, &mut SystemEntropy).map_err(wish::refused)?;
    if task.test || settings.verbose > 0 {
        out(Fields::sealed(&sealed.asked, &sealed, &keys));
    }
    keep(task, &sealed.wire);
    deliver(settings, task, target, &sealed.wire)?;
    if settings.verbose > 0 {
        return again(&keys, &sealed);
    }
    Ok(())
}

fn keep(task: &Task, wire: &str) {
    if let Some(path) = &task.save_packet
        && let Err(error) = save_packet(path, task.append_packet, wire)
    {
        remark(NAME, format_args!("the packet was not written: {error}: {}", path.display()));
    }
}

fn deliver(settings: &Settings, task: &Task, target: Option<IpAddr>, wire: &str) -> Done {
    let departure = Departure::new(settings, task, target)?;
    if settings.verbose > 0 {
        departure.announce();
    }
    let mut bytes = 0;
    if task.test {
        send::stay(departure.request(wire).as_deref(), settings.verbose);
    } else {
        bytes = departure.send(wire)?;
    }
    if settings.verbose > 0 {
        line(format_args!("send_spa_packet: bytes sent: {bytes}"));
    }
    Ok(())
}

/// Opens the packet as a server would, and shows what came out.
fn again(keys: &Keys, sealed: &Sealed) -> Done {
    let failed = |why: &dyn std::fmt::Display| {
        Failure::new(
            format_args!("the packet cannot be opened again: {why}"),
            "",
            "this is a mistake of ours",
        )
    };
    let packet = Packet::new_checked(sealed.wire.as_bytes()).ok_or_else(|| failed(&"it is no packet"))?;
    let knock = keys.open(&packet).map_err(|error| failed(&error))?;
    let Ask::Fwknop(asked) = knock.ask() else { return Err(failed(&"it is another's")) };
    line("\nDump of the Decoded Data");
    out(Fields::sealed(asked, sealed, keys));
    Ok(())
}

fn save_packet(path: &Path, append: bool, wire: &str) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    // Whoever has a packet before it was sent can send it first.
    options.create(true).mode(0o600).append(append).write(true).truncate(!append);
    options.open(path)?.write_all(format!("{wire}\n").as_bytes())
}

fn agent(settings: &Settings) -> &str {
    settings.agent.as_deref().unwrap_or(AGENT)
}
