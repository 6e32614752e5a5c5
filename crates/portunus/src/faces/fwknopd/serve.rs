//! Serving: in the foreground, or in the background in a session of its own.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use portunus_config::fwknop::{CommandLine, Daemon};
use portunus_sys::channel::{Channel, Received};
use portunus_sys::pidfile::{PidFile, Taken};
use portunus_sys::{files, pidfile, process};

use super::NAME;
use super::args::Cli;
use crate::places::{self, Places};
use crate::say::{Done, FAILED, Failure};

/// What the process in the background inherits of the environment.
const VARIABLES: [&str; 8] = [
    "PATH",
    "TZ",
    "LANG",
    "LC_ALL",
    "RUST_BACKTRACE",
    "PORTUNUS_STATE_DIR",
    "PORTUNUS_RUN_DIR",
    "PORTUNUS_CONFIG_DIR",
];

/// Where the original keeps its things while it runs; who says nothing else gets our own places, which outlive a reboot.
const USUAL: [&str; 2] = ["/run/fwknop", "/var/run/fwknop"];

pub(super) fn run(
    cli: &Cli,
    wish: &CommandLine,
    daemon: &Daemon,
    words: &[OsString],
    waits: Option<Channel>,
) -> ExitCode {
    if let Err(failure) = nobody_serves(daemon) {
        return failure;
    }
    if !cli.foreground && cli.in_background.is_none() {
        return go_to_background(words).unwrap_or_else(|failure| failure.tell(NAME));
    }
    serve(cli, wish.clone(), daemon, waits)
}

/// Says who serves already.
pub(super) fn nobody_serves(daemon: &Daemon) -> Result<(), ExitCode> {
    match pidfile::holder(&daemon.pid_file) {
        Ok(Some(pid)) => Err(another(pid)),
        Ok(None) => Ok(()),
        Err(error) => Err(Failure::file(error, &daemon.pid_file, "run this as root").tell(NAME)),
    }
}

fn another(pid: u32) -> ExitCode {
    eprintln!("[*] An instance of fwknopd is already running: (PID={pid}).");
    ExitCode::from(FAILED)
}

/// Starts ourselves again, and waits until that one serves or has failed: its words come on our standard error.
fn go_to_background(words: &[OsString]) -> Result<ExitCode, Failure> {
    let wrong =
        |error: std::io::Error| Failure::new("the process in the background was not started", error, "");
    let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    let (ours, theirs) = Channel::pair().map_err(wrong)?;
    let mut again: Vec<&OsStr> = vec![OsStr::new(NAME)];
    again.extend(words.iter().skip(1).map(OsString::as_os_str));
    again.extend([OsStr::new("--in-background"), here.as_os_str()]);
    let mut child = process::start_again(NAME, &again, theirs, None, &VARIABLES, None).map_err(wrong)?;
    let mut word = [0; 16];
    match ours.receive(&mut word) {
        Ok(Received::Message(_)) => Ok(ExitCode::SUCCESS),
        Ok(Received::Ended | Received::Nothing) | Err(_) => {
            let code = child.wait().ok().and_then(|status| status.code()).unwrap_or(1);
            Ok(ExitCode::from(u8::try_from(code).unwrap_or(FAILED)))
        }
    }
}

/// Leaves the terminal of whoever started us, for whose folder the words are meant; gives the channel to who waits.
pub(super) fn settle(from: &Path) -> Result<Channel, Failure> {
    let wrong = |error: std::io::Error| Failure::new("cannot go to the background", error, "");
    let waits = Channel::inherited().map_err(wrong)?;
    std::env::set_current_dir(from).map_err(wrong)?;
    process::leave_session().map_err(wrong)?;
    Ok(waits)
}

fn serve(cli: &Cli, wish: CommandLine, daemon: &Daemon, waits: Option<Channel>) -> ExitCode {
    let limit = match limit(cli) {
        Ok(limit) => limit,
        Err(failure) => return failure.tell(NAME),
    };
    if let Err(failure) = make_folders(daemon) {
        return failure.tell(NAME);
    }
    let _pid_file = match PidFile::take(&daemon.pid_file) {
        Ok(Taken::Ours(file)) => file,
        Ok(Taken::Held(pid)) => return another(pid),
        Err(error) => return Failure::file(error, &daemon.pid_file, "run this as root").tell(NAME),
    };
    // No folder is kept in use; every path is whole by now.
    let _ = std::env::set_current_dir("/");
    let Places { state_dir, run_dir, .. } = places(daemon);
    let in_background = waits.is_some();
    let syslog = (in_background || cli.syslog_enable)
        .then(|| (daemon.syslog_identity.clone(), daemon.syslog_facility.clone()));
    let ready = move || {
        if let Some(waits) = &waits {
            // Who does not wait any more needs no word. From now on nobody reads what we print.
            process::silence();
            let _ = waits.send(b"ready", &[]);
        }
    };
    portunusd::serve(&portunusd::Plan {
        program: NAME,
        version: env!("CARGO_PKG_VERSION"),
        load: Box::new(move || super::load(&wish)),
        // Stanzas have no names: where the files do not load, nothing is known of any.
        still_there: Box::new(|_| true),
        state_dir,
        run_dir,
        session_file: None,
        user: places::USER.to_owned(),
        log: if cli.verbose > 0 { portunusd::LogLevel::Debug } else { portunusd::LogLevel::Info },
        fwknopd: Some(portunusd::Fwknopd {
            syslog,
            shows: !in_background,
            packet_limit: limit,
            dry: cli.test,
            ready: Box::new(ready),
        }),
    })
}

fn limit(cli: &Cli) -> Result<Option<u64>, Failure> {
    let Some(text) = &cli.packet_limit else { return Ok(None) };
    let limit: u64 = text
        .parse()
        .map_err(|_| Failure::new(format_args!("{text:?} is no number"), "-C", "write one from 1 on"))?;
    // None, as the original has it.
    Ok(Some(limit).filter(|limit| *limit > 0))
}

fn make_folders(daemon: &Daemon) -> Done {
    files::make_folder(&daemon.run_dir, 0o755)?;
    for file in [&daemon.pid_file, &daemon.digest_file] {
        if let Some(folder) = file.parent() {
            files::make_folder(folder, 0o755)?;
        }
    }
    Ok(())
}

/// Where the daemon keeps its state. Who moves fwknop's own folder moves ours with it.
fn places(daemon: &Daemon) -> Places {
    let ours = places::daemon();
    if USUAL.iter().any(|usual| daemon.run_dir == Path::new(usual)) {
        return ours;
    }
    let below = daemon.run_dir.join("portunus");
    Places { state_dir: below.clone(), run_dir: below, ..ours }
}

/// The folder of the control socket of a running server.
pub(super) fn control_dir(daemon: &Daemon) -> PathBuf {
    places(daemon).run_dir
}
