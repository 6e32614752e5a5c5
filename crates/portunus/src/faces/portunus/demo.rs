//! `portunus demo`.

use std::process::ExitCode;

/// Runs the demo.
pub(crate) fn run() -> ExitCode {
    ExitCode::SUCCESS
}
