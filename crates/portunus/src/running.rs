//! The running daemon, asked through its control socket.

use std::path::Path;

use portunus_ctl::control::{Client, ControlError};

use crate::say::{Failure, remark};

impl From<ControlError> for Failure {
    fn from(error: ControlError) -> Self {
        let text = error.to_string();
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default().to_owned();
        Self::lines(std::iter::once(first).chain(lines.map(str::to_owned)), crate::say::FAILED)
    }
}

/// Has a running daemon take up what was just written. One that is not there, or not ours to ask, sees the changed
/// file by itself; only its refusal is worth a word.
pub(crate) fn take_up(face: &str, run_dir: &Path) {
    let Ok(mut daemon) = Client::connect(run_dir) else { return };
    match daemon.reload() {
        Ok((_, warnings)) => warnings.iter().for_each(|warning| remark(face, warning)),
        Err(error @ ControlError::Refused(_)) => {
            remark(face, format_args!("the running daemon has not taken it up: {error}"));
        }
        Err(
            ControlError::NotRunning(_)
            | ControlError::Denied(_)
            | ControlError::Slow(_)
            | ControlError::Closed
            | ControlError::Strange
            | ControlError::Other { .. },
        ) => (),
    }
}
