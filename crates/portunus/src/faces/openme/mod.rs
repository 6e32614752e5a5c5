//! The `openme` face: its commands, flags, files and words.

mod args;
mod client;
mod server;
mod sessions;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::paper;
use crate::say::{self, Failure};
use args::{Cli, Command};

/// The word before every message.
pub(crate) const NAME: &str = "openme";

/// The table of flags.
pub(crate) fn table() -> clap::Command {
    Cli::command()
}

/// Runs the face.
pub(crate) fn run(words: Vec<OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(words) {
        Ok(cli) => cli,
        Err(error) => return say::usage(NAME, &error),
    };
    dispatch(cli).unwrap_or_else(|failure| failure.tell(NAME))
}

fn dispatch(cli: Cli) -> Result<ExitCode, Failure> {
    let config = &cli.config;
    let profiles = cli.client_config;
    let done = match cli.command {
        Command::Serve(serve) => return Ok(server::serve(config.clone(), serve, cli.log_level)),
        Command::Knock(knock) => return client::knock(profiles, &knock),
        Command::Status(status) => return client::status(profiles, &status),
        Command::Init(init) => server::init(config, &init),
        Command::Add(add) => server::add(config, add),
        Command::List => server::list(config),
        Command::Revoke(revoke) => server::revoke(config, &revoke.name),
        Command::Sessions(wish) => sessions::sessions(&wish),
        Command::Profiles(wish) => client::profiles(profiles, wish.name.as_deref()),
        Command::Completion(completion) => {
            paper::completion(table(), completion.shell);
            Ok(())
        }
    };
    done.map(|()| ExitCode::SUCCESS)
}
