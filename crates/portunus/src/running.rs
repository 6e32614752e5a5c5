//! The running daemon, asked through its control socket.

use std::path::Path;
use std::time::Duration;

use portunus_ctl::control::{Client, ControlError, GONE, UNSHUT};
use portunus_model::ClientName;

use crate::say::{Failure, remark};

/// Longer than the daemon itself waits for its firewall, which it then says better than we.
const TAKEN_UP_WITHIN: Duration = Duration::from_secs(5);

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
    if let Err(refusal) = try_take_up(face, run_dir) {
        remark(face, format_args!("the running daemon has not taken it up: {refusal}"));
    }
}

/// The same for a client that was just taken out: done when the kernel has closed what it held. A daemon that refuses the
/// files as they are now still lets it in; what it holds open is closed then, and the command fails.
pub(crate) fn let_go(face: &str, run_dir: &Path, name: &ClientName) -> Result<(), Failure> {
    let said = match reload(run_dir) {
        Ok(warnings) => {
            for warning in warnings.iter().filter(|warning| *warning != UNSHUT) {
                remark(face, warning);
            }
            return if warnings.iter().any(|warning| warning == UNSHUT) {
                Err(may_be_open(name, &UNSHUT))
            } else {
                Ok(())
            };
        }
        Err(ControlError::NotRunning(_)) => return Ok(()),
        Err(ControlError::Refused(said)) => said,
        Err(
            error @ (ControlError::Denied(_)
            | ControlError::Slow(_)
            | ControlError::Closed
            | ControlError::Strange
            | ControlError::Other { .. }),
        ) => return Err(may_be_open(name, &error)),
    };
    let shut = said.lines().all(|line| line != UNSHUT);
    let refusal = said.lines().filter(|line| *line != UNSHUT).collect::<Vec<_>>().join("\n");
    let gone = said.lines().filter_map(|line| line.split_once(GONE)).flat_map(|(_, names)| names.split(", "));
    if gone.into_iter().any(|gone| gone == name.as_str()) {
        remark(
            face,
            format_args!("the running daemon refuses {name}, and has taken up nothing else: {refusal}"),
        );
        return if shut { Ok(()) } else { Err(may_be_open(name, &UNSHUT)) };
    }
    if let Err(error) = Client::connect(run_dir).and_then(|mut daemon| daemon.close(Some(name.clone()), None))
    {
        remark(face, format_args!("what {name} holds open was not closed: {error}"));
    }
    Err(Failure::new(
        format_args!("{name} is in no file any more, but the running daemon still lets it in"),
        refusal,
        "mend that, and the daemon takes it up by itself",
    ))
}

fn may_be_open(name: &ClientName, why: &dyn std::fmt::Display) -> Failure {
    Failure::new(
        format_args!("{name} is in no file any more, but what it holds open may not be closed yet"),
        why,
        "restart the daemon, whose start closes it; if nothing does, it closes when its time is up",
    )
}

/// Whether a daemon that runs has refused the files as they are now.
fn try_take_up(face: &str, run_dir: &Path) -> Result<(), ControlError> {
    match reload(run_dir) {
        Ok(warnings) => {
            warnings.iter().for_each(|warning| remark(face, warning));
            Ok(())
        }
        Err(error @ ControlError::Refused(_)) => Err(error),
        Err(
            ControlError::NotRunning(_)
            | ControlError::Denied(_)
            | ControlError::Slow(_)
            | ControlError::Closed
            | ControlError::Strange
            | ControlError::Other { .. },
        ) => Ok(()),
    }
}

/// What was noticed on the way.
fn reload(run_dir: &Path) -> Result<Vec<String>, ControlError> {
    let (_, warnings) = Client::connect_for(run_dir, TAKEN_UP_WITHIN)?.reload()?;
    Ok(warnings)
}
