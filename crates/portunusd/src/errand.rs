//! The errand process: runs iptables' tools with the keeper's rights, for the grantor only. It is started only where
//! iptables is the back end. It can do a handful of things, and nobody who reads strangers' packets can ask it.

use std::io;
use std::os::fd::AsFd;

use portunus_fw::iptables::{Programs, RunError, Runner, Tool, Variant};
use portunus_fw::walk::IpVersion;
use portunus_sys::channel::{Channel, Received};
use portunus_sys::poll::{Interest, Poll};
use portunus_sys::users::Ids;
use portunus_sys::{process, signals};
use serde::{Deserialize, Serialize};

use crate::message::{self, Came, Taken};

/// What may be asked. With: the tool's standard input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Errand {
    Save4,
    Save6,
    SaveAll4,
    SaveAll6,
    Restore4,
    Restore6,
}

impl From<Tool> for Errand {
    fn from(tool: Tool) -> Self {
        match tool {
            Tool::Save(IpVersion::V4) => Self::Save4,
            Tool::Save(IpVersion::V6) => Self::Save6,
            Tool::SaveAll(IpVersion::V4) => Self::SaveAll4,
            Tool::SaveAll(IpVersion::V6) => Self::SaveAll6,
            Tool::Restore(IpVersion::V4) => Self::Restore4,
            Tool::Restore(IpVersion::V6) => Self::Restore6,
        }
    }
}

impl From<Errand> for Tool {
    fn from(errand: Errand) -> Self {
        match errand {
            Errand::Save4 => Self::Save(IpVersion::V4),
            Errand::Save6 => Self::Save(IpVersion::V6),
            Errand::SaveAll4 => Self::SaveAll(IpVersion::V4),
            Errand::SaveAll6 => Self::SaveAll(IpVersion::V6),
            Errand::Restore4 => Self::Restore(IpVersion::V4),
            Errand::Restore6 => Self::Restore(IpVersion::V6),
        }
    }
}

/// What came of it; the one who asked knows for which tool.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// With: what the tool printed.
    Printed,
    Missing,
    TimedOut,
    Failed(String),
    Broken,
}

const KEEPER: u64 = 1;
const GRANTOR: u64 = 2;

/// Runs errands until the keeper is gone.
pub(crate) fn run(_: Option<Ids>) -> io::Result<()> {
    let keeper = Channel::inherited()?;
    signals::leave_to_keeper()?;
    process::die_with_parent()?;
    process::hide_memory()?;
    let mut word = [0; 16];
    let Received::Message(mut first) = keeper.receive(&mut word)? else { return Ok(()) };
    let channel = first.descriptors.pop().ok_or_else(|| io::Error::other("no channel to the grantor"))?;
    let grantor = Channel::from_descriptor(channel)?;
    let mut poll = Poll::new()?;
    poll.add(&keeper, KEEPER, Interest::Read)?;
    poll.add(&grantor, GRANTOR, Interest::Read)?;
    loop {
        for ready in poll.wait(None)? {
            // The keeper says nothing more; that it can be read means that it is gone.
            if ready.token == KEEPER {
                return Ok(());
            }
            match message::try_receive::<Errand>(&grantor)? {
                Taken::Message(came) => answer(&grantor, came)?,
                Taken::Nothing => (),
                Taken::Ended => return Ok(()),
            }
        }
    }
}

fn answer(grantor: &Channel, mut came: Came<Errand>) -> io::Result<()> {
    let input: String = came.beside()?;
    let tool = Tool::from(came.value);
    let answer = match Programs::new(Variant::Default).run(tool, &input) {
        Ok(printed) => {
            let beside = message::beside(&printed)?;
            return message::send(grantor, &Answer::Printed, &[beside.as_fd()]);
        }
        Err(RunError::Missing(_)) => Answer::Missing,
        Err(RunError::TimedOut(_)) => Answer::TimedOut,
        Err(RunError::Failed { said, .. }) => Answer::Failed(said.chars().take(1000).collect()),
        Err(RunError::Broken { .. }) => Answer::Broken,
    };
    message::send(grantor, &answer, &[])
}
