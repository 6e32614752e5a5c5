//! The daemon as a library: keeper, front and grantor (ARCHITECTURE.md, "Processes").
//!
//! Here is the shell: it reads clocks and sockets, feeds the gate and carries out its actions. Not here: any decision
//! about a packet. Called by the faces: [`serve`] for the daemon, [`part_main`] for the processes that it starts.

mod plan;

use std::ffi::OsString;
use std::process::ExitCode;

pub use plan::{Loader, LogLevel, Plan};

/// Runs the daemon in the foreground until SIGTERM, SIGINT or an error.
///
/// Exit codes: 0 ended as asked, 1 failed while running, 78 could not start (configuration, rights, a port in use);
/// the words and the mend go to standard error.
#[must_use]
pub fn serve(plan: Plan) -> ExitCode {
    let _ = plan;
    ExitCode::FAILURE
}

/// The hidden first word by which the binary is started again as a part: `PROGRAM --part front`.
pub const PART_FLAG: &str = "--part";

/// Runs a part. `main` calls this before it looks at anything else, with the words after [`PART_FLAG`].
#[must_use]
pub fn part_main(args: &[OsString]) -> ExitCode {
    let _ = args;
    ExitCode::FAILURE
}
