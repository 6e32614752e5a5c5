//! `connect`: knock, wait for the door, run a command.

use std::process::{Command, ExitCode};

use portunus_client::{Request, Whom};

use super::NAME;
use super::args::Connect;
use crate::knocking::{post_knock, run as run_command};
use crate::say::Failure;
use crate::second_factor::{self, StandardInput};
use crate::wallet::Wallet;

/// `portunus connect`.
pub(super) fn run(wish: &Connect) -> Result<ExitCode, Failure> {
    let wallet = Wallet::mine()?;
    let profile = wallet.open(wish.profile.as_deref())?;
    let code = second_factor::for_profile(&profile, false, StandardInput::Ours)?;
    let request = Request { code, ..Request::default() };
    let mut knocker = wallet.knocker(NAME, profile, wish.family.into(), request)?;
    // What the command will want is the service itself; a health port tells as much where the profile names none.
    let port = wish.port.or_else(|| knocker.door()).map_or_else(|| knocker.telling_port(), Ok)?;
    knocker.look_before(port)?;
    let knocked = knocker.knock(Whom::Source)?;
    let name = knocker.profile.name.clone();
    if let Some(heard) = knocked.heard.filter(|heard| !heard.is_done()) {
        return Err(Failure::new(format_args!("the door of {name} did not open"), heard, ""));
    }
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
