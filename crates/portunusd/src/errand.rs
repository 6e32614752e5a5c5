//! The errand process: runs iptables' tools with the keeper's rights, for the grantor only. It is started only where
//! iptables is the back end. It can do a handful of things, and nobody who reads strangers' packets can ask it.

use std::io;
use std::os::fd::AsFd;

use portunus_fw::iptables::{self, RunError, Runner, Table, Tool, Variant};
use portunus_fw::walk::IpVersion;
use portunus_sys::channel::{Channel, Received};
use portunus_sys::poll::{Interest, Poll};
use portunus_sys::users::Ids;
use portunus_sys::{process, signals};
use serde::{Deserialize, Serialize};

use crate::message::{self, Came, Taken};

/// What may be asked. With: the tool's standard input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Errand {
    work: Work,
    six: bool,
    programs: Programs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Work {
    Save,
    SaveFilter,
    SaveNat,
    SaveMangle,
    SaveRaw,
    SaveSecurity,
    SaveAll,
    Restore,
    RestoreCounted,
}

/// [`Variant`], as it crosses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Programs {
    Default,
    Nft,
    Legacy,
}

impl Errand {
    pub(crate) fn new(tool: Tool, variant: Variant) -> Self {
        let work = match tool {
            Tool::Save(_) => Work::Save,
            Tool::SaveCounted(_, Table::Filter) => Work::SaveFilter,
            Tool::SaveCounted(_, Table::Nat) => Work::SaveNat,
            Tool::SaveCounted(_, Table::Mangle) => Work::SaveMangle,
            Tool::SaveCounted(_, Table::Raw) => Work::SaveRaw,
            Tool::SaveCounted(_, Table::Security) => Work::SaveSecurity,
            Tool::SaveAll(_) => Work::SaveAll,
            Tool::Restore(_) => Work::Restore,
            Tool::RestoreCounted(_) => Work::RestoreCounted,
        };
        let programs = match variant {
            Variant::Default => Programs::Default,
            Variant::Nft => Programs::Nft,
            Variant::Legacy => Programs::Legacy,
        };
        Self { work, six: tool.version() == IpVersion::V6, programs }
    }

    fn tool(self) -> Tool {
        let version = if self.six { IpVersion::V6 } else { IpVersion::V4 };
        match self.work {
            Work::Save => Tool::Save(version),
            Work::SaveFilter => Tool::SaveCounted(version, Table::Filter),
            Work::SaveNat => Tool::SaveCounted(version, Table::Nat),
            Work::SaveMangle => Tool::SaveCounted(version, Table::Mangle),
            Work::SaveRaw => Tool::SaveCounted(version, Table::Raw),
            Work::SaveSecurity => Tool::SaveCounted(version, Table::Security),
            Work::SaveAll => Tool::SaveAll(version),
            Work::Restore => Tool::Restore(version),
            Work::RestoreCounted => Tool::RestoreCounted(version),
        }
    }

    const fn variant(self) -> Variant {
        match self.programs {
            Programs::Default => Variant::Default,
            Programs::Nft => Variant::Nft,
            Programs::Legacy => Variant::Legacy,
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
    let errand = came.value;
    let answer = match iptables::Programs::new(errand.variant()).run(errand.tool(), &input) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_what_is_run() {
        let mut tools = Vec::new();
        for version in [IpVersion::V4, IpVersion::V6] {
            tools.extend([Tool::Save(version), Tool::SaveAll(version), Tool::Restore(version)]);
            tools.push(Tool::RestoreCounted(version));
            tools.extend(Table::ALL.map(|table| Tool::SaveCounted(version, table)));
        }
        for tool in tools {
            for variant in [Variant::Default, Variant::Nft, Variant::Legacy] {
                let errand = Errand::new(tool, variant);
                assert_eq!((errand.tool(), errand.variant()), (tool, variant));
            }
        }
    }
}
