//! `connect`: knock, wait for the door, run a command.

use std::process::{Command, ExitCode};

use portunus_client::Whom;

use super::args::Connect;
use crate::knocking::{Knocker, post_knock, run as run_command};
use crate::say::Failure;
use crate::wallet::Wallet;

/// `portunus connect`.
pub(super) fn run(wish: &Connect) -> Result<ExitCode, Failure> {
    let profile = Wallet::mine()?.open(wish.profile.as_deref())?;
    let mut knocker = Knocker::new(profile, wish.family.into())?;
    // What the command will want is the service itself; a health port tells as much where the profile names none.
    let port = wish.port.or_else(|| knocker.door()).map_or_else(|| knocker.telling_port(), Ok)?;
    knocker.knock(Whom::Source)?;
    let name = knocker.profile.name.clone();
    knocker.wait(port, wish.wait)?.map_err(|closed| {
        Failure::new(
            format_args!("the door of {name} did not open ({closed})"),
            "",
            "name a port that it opens with --port, or see `portunus events` on the server",
        )
    })?;
    match (wish.command.split_first(), &knocker.profile.post_knock) {
        (Some((program, words)), _) => {
            run_command(Command::new(program).args(words), &program.to_string_lossy())
        }
        (None, Some(command)) => post_knock(command),
        (None, None) => Ok(ExitCode::SUCCESS),
    }
}
