//! The `portunus` face: our own commands.

mod alerts;
mod args;
mod audit;
mod clients;
mod clients_fwknop;
mod clients_native;
mod connect;
mod demo;
mod doctor;
mod enrol;
mod explain;
mod explain_config;
mod import;
mod import_fwknop;
mod init;
mod invite;
mod join_door;
mod knock;
mod profiles;
mod proxy;
mod rotate;
mod server;
mod sessions;
mod teardown;
mod trial;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use crate::paper;
use crate::say::{self, Failure};
use args::{Cli, Command};

/// The word before every message.
pub(crate) const NAME: &str = "portunus";

const EXIT_CODES: &str = "Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 78 bad configuration.";

/// The table of flags.
pub(crate) fn table() -> clap::Command {
    let table = Cli::command();
    let example = table.get_after_help().map(ToString::to_string).unwrap_or_default();
    table.after_help(format!("{example}\n\n{}\n{EXIT_CODES}", super::others()))
}

/// Runs the face.
pub(crate) fn run(words: Vec<OsString>) -> ExitCode {
    let parsed = table().try_get_matches_from(words).and_then(|words| Cli::from_arg_matches(&words));
    let cli = match parsed {
        Ok(cli) => cli,
        // clap takes a place from the environment for a word of the command line, and then names hidden commands.
        Err(error) if error.kind() == clap::error::ErrorKind::MissingSubcommand => {
            return say::without_a_word(&table().render_help());
        }
        Err(error) => return say::usage(NAME, &error),
    };
    dispatch(cli).unwrap_or_else(|failure| failure.tell(NAME))
}

fn dispatch(cli: Cli) -> Result<ExitCode, Failure> {
    let places = &cli.places;
    let done = match cli.command {
        Command::Serve(serve) => return Ok(server::serve(places, &serve)),
        Command::Check(check) => return Ok(server::check(places, check.json)),
        Command::Connect(connect) => return connect::run(&connect),
        Command::Knock(knock) => return knock::knock(&knock),
        Command::Status(status) => return knock::status(&status),
        Command::Doctor(doctor) => return doctor::run(places, &doctor),
        Command::Explain(explain) => return explain::run(places, &explain),
        Command::ExplainConfig(explain) => return explain_config::run(explain.of),
        Command::Demo => return Ok(demo::run()),
        Command::Init(init) => init::run(places, &init),
        Command::Add(add) => clients::add(places, add),
        Command::Invite(invite) => invite::invite(places, &invite),
        Command::Confirm(confirm) => invite::confirm(places, &confirm),
        Command::List(list) => clients::list(places, list.json),
        Command::Show(show) => clients::show_one(places, &show),
        Command::Revoke(revoke) => clients::revoke(places, &revoke.name, revoke.kill),
        Command::Rotate(wish) => return rotate::run(places, &wish),
        Command::Teardown(teardown) => teardown::run(places, teardown.force),
        Command::Sessions(sessions) => sessions::sessions(places, &sessions),
        Command::Close(close) => match &close.client {
            Some(profile) => knock::close(profile.as_deref()),
            None => sessions::close(places, &close),
        },
        Command::Events(events) => sessions::events(places, events.json),
        Command::Alerts(wish) => return alerts::run(places, &wish),
        Command::Audit(audit) => audit::run(places, &audit),
        Command::Import(import) => import::run(places, import.from),
        Command::Join(join) => profiles::join(&join),
        Command::Proxy(proxy) => proxy::run(&proxy),
        Command::SshConfig(ssh) => profiles::ssh_config(&ssh),
        Command::Profiles(profiles) => profiles::profiles(&profiles),
        Command::Completion(completion) => {
            paper::completion((completion.face.table)(), completion.shell);
            Ok(())
        }
        Command::Man(man) => paper::pages(&man.dir),
    };
    done.map(|()| ExitCode::SUCCESS)
}
