//! Having iptables' tools run by the errand process: we have no right to start anything.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use portunus_fw::iptables::{RunError, Runner, Tool, Variant};
use portunus_sys::channel::Channel;

use crate::errand::{Answer, Errand};
use crate::message::{self, Taken};

/// A little longer than the tool itself may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// Asks the errand process.
#[derive(Debug, Clone)]
pub(super) struct ErrandRunner {
    channel: Arc<Channel>,
    variant: Variant,
}

impl ErrandRunner {
    pub(super) fn new(channel: Channel) -> Self {
        Self { channel: Arc::new(channel), variant: Variant::Default }
    }

    /// The same, with the programs of this implementation.
    pub(super) fn with(self, variant: Variant) -> Self {
        Self { variant, ..self }
    }

    fn ask(&self, tool: Tool, input: &str) -> io::Result<Result<String, RunError>> {
        let beside = message::beside(&input)?;
        message::send(&self.channel, &Errand::new(tool, self.variant), &[beside.as_fd()])?;
        if !portunus_sys::poll::readable(&*self.channel, PATIENCE)? {
            return Ok(Err(RunError::TimedOut(tool)));
        }
        match message::try_receive::<Answer>(&self.channel)? {
            Taken::Message(mut came) => match std::mem::replace(&mut came.value, Answer::Broken) {
                Answer::Printed => Ok(Ok(came.beside()?)),
                Answer::Missing => Ok(Err(RunError::Missing(tool))),
                Answer::TimedOut => Ok(Err(RunError::TimedOut(tool))),
                Answer::Failed(said) => Ok(Err(RunError::Failed { tool, said })),
                Answer::Broken => Ok(Err(RunError::Broken { tool, kind: io::ErrorKind::Other })),
            },
            Taken::Nothing | Taken::Ended => Err(io::Error::from(io::ErrorKind::BrokenPipe)),
        }
    }
}

impl Runner for ErrandRunner {
    fn run(&mut self, tool: Tool, input: &str) -> Result<String, RunError> {
        self.ask(tool, input).unwrap_or_else(|error| Err(RunError::Broken { tool, kind: error.kind() }))
    }
}
