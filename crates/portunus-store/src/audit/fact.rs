//! What can stand in the audit log: one list, and who can say what.

use std::net::IpAddr;

use portunus_model::{Cause, ClientName, Dialect, Reason};
use serde::{Deserialize, Serialize};

/// Who says it. A process can speak in its own name only: the keeper knows each by its channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// The main process, which never sees a stranger's byte.
    Keeper,
    /// Who changes the firewall. What it says was done.
    Grantor,
    /// Who reads strangers' packets: its word is as good as it is.
    Front,
    /// Who runs commands.
    Commands,
}

impl By {
    /// The word in the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Keeper => "keeper",
            Self::Grantor => "grantor",
            Self::Front => "front",
            Self::Commands => "commands",
        }
    }
}

/// What somebody asked for at the control socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// Close grants.
    Close,
    /// End what a client has established.
    Kill,
    /// Read the configuration again.
    Reload,
}

/// One thing that happened. In a line its name is `what`, in kebab-case, and its fields stand beside that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fact {
    /// A file begins; the chain goes on from `from`. The first line of each, and only that.
    Continued {
        /// The chain's last hash in the file before.
        from: String,
    },
    /// A start cut off a line that was not written whole.
    Repaired {
        /// Of how many bytes.
        bytes: u64,
    },
    /// The files are not what was written: the anchor knew of lines that are not there, or a line does not fit.
    Damaged {
        /// What was found.
        found: String,
    },
    /// Lines could not be written, or there was no room for them on their way.
    Lost {
        /// How many.
        entries: u64,
        /// Whose.
        of: By,
    },
    /// The daemon serves.
    Started {
        /// The program's version.
        version: String,
        /// The process id.
        pid: u32,
        /// Where it stands in the firewall.
        place: String,
        /// Where it listens.
        listen: String,
        /// How many clients there are.
        clients: u64,
        /// Whether the one before it ended in order.
        after_clean_end: bool,
    },
    /// A start failed after the firewall was touched.
    StartFailed {
        /// Why.
        why: String,
    },
    /// The drops are on trial. Said by each start in that time.
    TrialBegun {
        /// The kernel takes them back then.
        until: String,
        /// Which ports.
        ports: String,
    },
    /// While they were, somebody came in without proving anything: from this machine itself.
    TrialNotProven {
        /// From there.
        address: IpAddr,
        /// To this port.
        port: String,
    },
    /// Somebody knocked and came in from outside: the drops are for good.
    TrialProven {
        /// From there.
        address: IpAddr,
        /// To this port.
        port: String,
    },
    /// It has ended, and nothing is proven.
    TrialEnded {
        /// `over`: nobody came in in time; `teardown`; `stopped`: the daemon was told to end, or a part of it died; `somebody`: its file was taken away.
        why: String,
    },
    /// The daemon ends.
    Stopped {
        /// Whether open grants are closed with it.
        grants_closed: bool,
        /// Whether it was asked to; else a part died.
        asked: bool,
    },
    /// A part ended by itself, so all end.
    PartDied {
        /// Which.
        part: String,
        /// How it ended.
        how: String,
    },
    /// A new configuration is in force.
    Reloaded {
        /// Its generation.
        generation: u64,
        /// How many clients it has.
        clients: u64,
    },
    /// A new configuration has mistakes; the old one stays in force.
    ReloadRefused {
        /// The first.
        why: String,
        /// Clients that are let in no more all the same.
        let_go: String,
    },
    /// The kernel has it, and it was read back.
    Opened {
        /// Whose.
        client: String,
        /// For which address.
        address: IpAddr,
        /// Which ports, with commas; `all` for everything through this host.
        ports: String,
        /// For how long.
        lasting_s: u64,
        /// Where it is turned to, or to which of our addresses it is bound.
        way: Option<String>,
        /// Whether it was open for this client before.
        extended: bool,
    },
    /// The kernel would not take it.
    OpenFailed {
        /// Whose.
        client: String,
        /// For which address.
        address: IpAddr,
        /// Which ports.
        ports: String,
    },
    /// It is closed.
    Closed {
        /// Whose.
        client: String,
        /// For which address.
        address: IpAddr,
        /// Which ports.
        ports: String,
        /// Why.
        why: Cause,
    },
    /// What the journal still had open when the daemon started.
    Restored {
        /// Whose.
        client: String,
        /// For which address.
        address: IpAddr,
        /// Which ports.
        ports: String,
    },
    /// What a client had established was ended.
    Killed {
        /// Whose.
        client: String,
        /// Sockets of this host.
        sockets: u32,
        /// Other flows.
        flows: u32,
        /// Whether all of it is.
        whole: bool,
    },
    /// Somebody changed our rules, and they were put back with every grant that is due.
    PutBack {
        /// Where.
        place: String,
        /// How long that took.
        took_us: u64,
    },
    /// The same, and they could not be.
    NotPutBack {
        /// Why.
        why: String,
    },
    /// The front asked for more than the configuration allows: it is broken, or somebody else's.
    BeyondLimits {
        /// For which client.
        client: String,
        /// For which address.
        address: IpAddr,
        /// What is beyond.
        why: String,
    },
    /// A client's knock was proven, and refused.
    Refused {
        /// Whose.
        client: ClientName,
        /// Why.
        reason: Reason,
        /// In which dialect.
        dialect: Option<Dialect>,
        /// Where its packet seems to come from.
        source: Option<IpAddr>,
        /// So many more like it were not written down since the last that was.
        unsaid: u64,
    },
    /// Somebody who was invited is a client from now on.
    Enrolled {
        /// By which name.
        client: ClientName,
        /// Of its public key.
        fingerprint: String,
        /// From where it came.
        source: IpAddr,
    },
    /// Somebody asked for a change at the control socket.
    Asked {
        /// What.
        verb: Verb,
        /// Who.
        uid: u32,
        /// Whether it may.
        allowed: bool,
        /// About which client.
        client: Option<ClientName>,
        /// About which address.
        address: Option<IpAddr>,
    },
    /// A command was begun.
    CommandBegun {
        /// Of which stanza.
        stanza: u32,
        /// `command`, `open` or `close`.
        which: String,
        /// What is run.
        command: String,
        /// As whom, where not as root.
        user: Option<String>,
    },
    /// A command ended, or could not be begun.
    CommandEnded {
        /// Of which stanza.
        stanza: u32,
        /// As above.
        which: String,
        /// Its exit; `None`: it was not begun.
        code: Option<i32>,
        /// Whether it was killed because its time was up.
        killed: bool,
    },
}
