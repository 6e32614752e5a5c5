//! The `openme` face: its commands, flags, files and words.

mod args;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::say;

pub(crate) const NAME: &str = "openme";

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
    let _ = cli;
    ExitCode::SUCCESS
}
