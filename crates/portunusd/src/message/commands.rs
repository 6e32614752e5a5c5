//! What the keeper and the commands process say to each other.

use std::path::PathBuf;
use std::time::Duration;

use portunus_model::{ClientName, CommandRule, Cycle, Rules};
use portunus_store::audit::Fact;
use serde::{Deserialize, Serialize};

/// What the commands process runs by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CommandsSnapshot {
    pub(crate) stanzas: Vec<StanzaCommands>,
    /// How long one may run (CMD_EXEC_TIMEOUT).
    pub(crate) longest: Option<Duration>,
    /// Whether what they print goes where we log: in the foreground.
    pub(crate) shows: bool,
}

/// The commands of one stanza.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StanzaCommands {
    pub(crate) client: ClientName,
    pub(crate) number: u32,
    pub(crate) command: Option<CommandRule>,
    pub(crate) cycle: Option<Cycle>,
}

impl CommandsSnapshot {
    /// The commands of a configuration.
    pub(crate) fn of(rules: &Rules, longest: Option<Duration>, shows: bool) -> Self {
        let stanzas: Vec<_> = rules
            .clients
            .iter()
            .filter_map(|client| Some((client, client.stanza.as_ref()?)))
            .filter(|(_, stanza)| stanza.command.is_some() || stanza.cycle.is_some())
            .map(|(client, stanza)| StanzaCommands {
                client: client.name.clone(),
                number: stanza.number,
                command: stanza.command.clone(),
                cycle: stanza.cycle.clone(),
            })
            .collect();
        Self { stanzas, longest, shows }
    }
}

/// Keeper to the commands process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToCommands {
    /// With: the snapshot, the channel to the front.
    Setup { state_dir: PathBuf },
    /// With: the snapshot.
    Reload,
    /// End now. What runs goes on; what is still to run stays in the file.
    End,
}

/// The commands process to the keeper: for the audit log.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct FromCommands {
    pub(crate) facts: Vec<Fact>,
    pub(crate) lost: u64,
}
