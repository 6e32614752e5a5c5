//! The `portunus` face: our own commands.

mod args;
mod demo;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::say;

/// The word before every message.
pub(crate) const NAME: &str = "portunus";

/// The table of flags.
pub(crate) fn table() -> clap::Command {
    args::Cli::command()
}

/// Runs the face.
pub(crate) fn run(words: Vec<OsString>) -> ExitCode {
    let cli = match args::Cli::try_parse_from(words) {
        Ok(cli) => cli,
        Err(error) => return say::usage(NAME, &error),
    };
    match cli.command {
        args::Command::Demo => demo::run(),
        other => {
            let _ = other;
            ExitCode::SUCCESS
        }
    }
}
