//! The `fwknopd` face: the server's flags, files and words, as Debian's fwknopd 2.6.10 and 2.6.11 have them.
//!
//! Here is which flag does what. Words that people's scripts look for stand where the original has them.

mod args;
mod digests;
mod era;
mod firewall;
mod keygen;
mod process;
mod serve;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use portunus_config::fwknop::{self, CommandLine, Daemon};
use portunus_config::{Diagnostic, Settings};
use portunus_sys::channel::Channel;
use portunusd::keyrings::{self, Trouble};

use crate::files::RealFiles;
use crate::here::Here;
use crate::say::{self, FAILED, Failure, line, remark};
use args::Cli;

/// The word before every message.
pub(crate) const NAME: &str = "fwknopd";
/// The release whose flags, files and words these are.
const COMPATIBLE: &str = "2.6.11";

/// The table of flags.
pub(crate) fn table() -> clap::Command {
    Cli::command()
}

/// Runs the face. Every failure ends with 1, as the original's do.
pub(crate) fn run(words: Vec<OsString>) -> ExitCode {
    let (words, old) = era::in_todays_words(words);
    for said in old {
        remark(NAME, said);
    }
    let cli = match Cli::try_parse_from(words.iter()) {
        Ok(cli) => cli,
        Err(error) => {
            let code = say::usage(NAME, &error);
            return if error.use_stderr() { ExitCode::from(FAILED) } else { code };
        }
    };
    if let Some(code) = at_once(&cli) {
        return code;
    }
    // Before any path is looked at: it may be relative to the folder of whoever started us.
    let waits = match cli.in_background.as_deref().map(serve::settle).transpose() {
        Ok(waits) => waits,
        Err(failure) => return failure.tell(NAME),
    };
    let wish = cli.command_line();
    let read = |found: Result<Daemon, Vec<Diagnostic>>| found.map_err(|mistakes| complain(&mistakes));
    let daemon = match read(fwknop::daemon(&RealFiles, &wish)) {
        Ok(daemon) => daemon,
        Err(code) => return code,
    };
    if cli.kill || cli.restart || cli.status {
        return process::run(&cli, &daemon.pid_file);
    }
    if cli.dump_config {
        let code = dump(&wish);
        let checked = if cli.exit_parse_config { portunusd::check(&daemon) } else { Ok(()) };
        return checked.map_or_else(|mistake| complain(&[mistake]), |()| code);
    }
    with_settings(&cli, &wish, &words, waits)
}

/// What needs no file.
fn at_once(cli: &Cli) -> Option<ExitCode> {
    let version = format!(
        "{NAME} server {} (Portunus), compatible with fwknop {COMPATIBLE}",
        env!("CARGO_PKG_VERSION")
    );
    if cli.version {
        line(version);
        return Some(ExitCode::SUCCESS);
    }
    if cli.key_gen || cli.key_gen_file.is_some() {
        let done = keygen::run(cli);
        return Some(done.map_or_else(|failure| failure.tell(NAME), |()| ExitCode::SUCCESS));
    }
    if cli.dump_serv_err_codes {
        for (code, words) in ERRORS {
            line(format_args!("err code: {code}, err string: '{words}'"));
        }
        return Some(ExitCode::SUCCESS);
    }
    let refused = [
        (
            cli.nfq_capture,
            "-n",
            "packets are not taken from a queue of netfilter's: listen on an interface (-i), or use the UDP server (-U)",
        ),
        (
            cli.afl_fuzzing || cli.afl_pkt_file.is_some(),
            "-A",
            "plain packets on standard input are for the original's own tests: fuzz/ has ours",
        ),
        (
            cli.fault_injection_tag.is_some(),
            "--fault-injection-tag",
            "faults are injected by the original's own tests only: leave it out",
        ),
    ];
    if let Some((_, flag, mend)) = refused.into_iter().find(|(wanted, ..)| *wanted) {
        remark(NAME, format_args!("{flag}: {mend}"));
        return Some(ExitCode::from(FAILED));
    }
    let commands = [cli.dump_config, cli.kill, cli.restart, cli.status];
    if commands.into_iter().filter(|wanted| *wanted).count() > 1 {
        remark(NAME, "The -D, -K, -R, and -S options are mutually exclusive.  Pick only one.");
        return Some(ExitCode::from(FAILED));
    }
    None
}

/// The numbers by which the original's test suite knows what went wrong; ours go by words.
const ERRORS: [(u32, &str); 8] = [
    (4096, "Data is not a valid SPA message format"),
    (4097, "too few bytes for a packet"),
    (4098, "no packet"),
    (4103, "used before"),
    (4104, "its timestamp is outside the window"),
    (4105, "no stanza allows it"),
    (4106, "its command was not run"),
    (8192, "the firewall did not take it"),
];

fn with_settings(cli: &Cli, wish: &CommandLine, words: &[OsString], waits: Option<Channel>) -> ExitCode {
    let settings = match load(wish) {
        Ok(settings) => settings,
        Err(mistakes) => return complain(&mistakes),
    };
    let Some(daemon) = settings.fwknop.as_deref() else { return ExitCode::from(FAILED) };
    if cli.in_background.is_none() && (cli.exit_parse_config || cli.exit_parse_digest_cache) {
        warn(&settings.warnings);
    }
    if cli.rotate_digest_cache && cli.in_background.is_none() {
        // Who serves has the file open, and would go on writing into the one that was put aside.
        if let Err(code) = serve::nobody_serves(daemon) {
            return code;
        }
        if let Err(failure) = digests::rotate(daemon) {
            return failure.tell(NAME);
        }
    }
    if cli.exit_parse_config {
        let rings = keyrings::look(&settings);
        for Trouble { what, place, mend } in &rings {
            Failure::new(what, place.display(), mend).tell(NAME);
        }
        if !rings.is_empty() {
            return ExitCode::from(FAILED);
        }
        eprintln!("Configs parsed, exiting.");
        return ExitCode::SUCCESS;
    }
    if cli.exit_parse_digest_cache {
        return digests::check(daemon);
    }
    if cli.fw_list || cli.fw_list_all || cli.fw_flush {
        return firewall::run(cli, &settings);
    }
    serve::run(cli, wish, daemon, words, waits)
}

/// Reads the files, as the daemon does.
fn load(wish: &CommandLine) -> Result<Settings, Vec<Diagnostic>> {
    let settings = fwknop::load(&RealFiles, &Here, wish)?;
    settings.fwknop.as_deref().map_or(Ok(()), portunusd::check).map_err(|mistake| vec![mistake])?;
    Ok(settings)
}

fn dump(wish: &CommandLine) -> ExitCode {
    match fwknop::dump(&RealFiles, &Here, wish) {
        Ok((text, warnings)) => {
            warn(&warnings);
            say::out(text);
            ExitCode::SUCCESS
        }
        Err(mistakes) => complain(&mistakes),
    }
}

fn warn(warnings: &[Diagnostic]) {
    for warning in warnings {
        eprintln!("{warning}");
    }
}

fn complain(mistakes: &[Diagnostic]) -> ExitCode {
    for mistake in mistakes {
        eprintln!("[*] {mistake}");
    }
    ExitCode::from(FAILED)
}
