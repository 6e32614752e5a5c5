//! What the keeper and the front say to each other.

use std::net::IpAddr;

use portunus_model::{ClientName, Dialect, Lengths, Net, PortSpec, Reason, Rules, Unix};
use portunus_store::audit::{Fact, Verb};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::Keys;

/// What the front runs by.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct FrontSnapshot {
    pub(crate) rules: Rules,
    pub(crate) keys: Keys,
    pub(crate) interfaces: Vec<String>,
    pub(crate) about: About,
    pub(crate) listening: Listening,
    /// What commands have left for the store of chains.
    pub(crate) chains: Vec<NewChain>,
}

/// A chain of the native dialect that is new, or a key that is gone, as a command has left it.
#[derive(Serialize, Deserialize)]
pub(crate) struct NewChain {
    pub(crate) kind: NewKind,
    /// Whose: a public key.
    pub(crate) public: [u8; 32],
    /// The first day that there is a value for.
    pub(crate) day: u32,
    /// That day's value.
    pub(crate) value: Zeroizing<[u8; 32]>,
}

/// Who was invited, and has come with a key.
#[derive(Serialize, Deserialize)]
pub(crate) struct Enrolling {
    /// By which the gate knows it.
    pub(crate) ticket: u64,
    pub(crate) name: ClientName,
    pub(crate) public: [u8; 32],
    /// The day on which its link begins,
    pub(crate) day: u32,
    /// and that day's value.
    pub(crate) link: Zeroizing<[u8; 32]>,
    pub(crate) source: IpAddr,
}

impl std::fmt::Debug for Enrolling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Enrolling({}, {})", self.name, self.source)
    }
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum TakenIn {
    /// It is a client.
    Done,
    /// It is written down, and the administrator has to confirm it.
    Unconfirmed,
    /// Another key came first.
    Another,
    /// It could not be written down, or there is no such invitation.
    Failed,
}

/// What it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum NewKind {
    /// A door's chain.
    Door,
    /// A client's link.
    Link,
    /// Everything of this key is to be gone.
    Gone,
}

impl std::fmt::Debug for NewChain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NewChain({:?})", self.kind)
    }
}

/// How knocks are received.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Listening {
    /// Which lengths a packet can have.
    pub(crate) lengths: Lengths,
    /// Packets in HTTP requests: whether from any program, and the proxies that are believed.
    pub(crate) http: Option<(bool, Vec<Net>)>,
    /// How many bytes of a sniffed packet are looked at.
    pub(crate) snap: u32,
    /// Whether one packet can be seen twice.
    pub(crate) may_echo: bool,
    /// The port that knocks go to, for the file of accepted packets.
    pub(crate) port: u16,
    /// The filter that a capture is read with.
    pub(crate) capture_filter: String,
    /// After so many packets that are no noise the daemon ends.
    pub(crate) packet_limit: Option<u64>,
    /// Whether nothing is really opened.
    pub(crate) dry: bool,
    /// Whether the fields of each proven packet are written to the log (fwknopd's -v).
    pub(crate) lists_fields: bool,
}

/// What comes with the front's setup besides the first five descriptors: how many of each, in this order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Brought {
    /// The channel to the commands process.
    pub(crate) commands: bool,
    /// The channel to the resolver process.
    pub(crate) resolver: bool,
    /// The channel to the gpg process.
    pub(crate) oracle: bool,
    /// The file of accepted packets (fwknop's digest.cache).
    pub(crate) digests: bool,
    /// A capture to read.
    pub(crate) capture: bool,
    /// UDP sockets.
    pub(crate) udp: u16,
    /// Packet sockets, for each interface whether it is open.
    pub(crate) ears: Vec<bool>,
    /// TCP sockets that listen.
    pub(crate) tcp: u16,
    /// The socket of what a rule logs.
    pub(crate) nflog: bool,
    /// Whether a capture file that grows will be handed over.
    pub(crate) followed: bool,
    /// The store of chains.
    pub(crate) chains: bool,
}

/// What the control socket tells and by whom it may be asked.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct About {
    pub(crate) version: String,
    pub(crate) pid: u32,
    pub(crate) since: String,
    pub(crate) listen: Vec<String>,
    pub(crate) place: String,
    pub(crate) admins: Vec<u32>,
    pub(crate) generation: u64,
    pub(crate) clients: u32,
    /// Whether the keeper wants to know who is there, for the session file.
    pub(crate) tell_sessions: bool,
}

/// Keeper to front.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToFront {
    /// With: the snapshot, the channel to the grantor, two store files (and how to name them), the control socket, then
    /// what is said to be brought.
    Setup { store: String, brought: Brought },
    /// Every protected port is guarded: begin. With: the health port's sockets.
    Serve { place: String },
    /// With: the snapshot.
    Reload,
    /// The native dialect is spoken from the next reload on. With: the store of chains.
    Chains,
    /// A helper that is needed from now on. With: the channel to it.
    Helper(Helper),
    /// The interface of this ear is there again. With: its socket.
    Ear(u16),
    /// A capture file to follow from now on. With: the file, and what says that it has grown.
    Followed { from_end: bool },
    /// With: a connection of the exporter's, as if it had come to the control socket. It only reads.
    Exporter,
    /// The reload that the first `asked` of those who wait have asked for is over.
    Reloaded { asked: u32, generation: u64, warnings: Vec<String> },
    /// The same, and the old configuration stays in force.
    ReloadRefused { asked: u32, why: String },
    /// What became of who had come.
    Enrolled { ticket: u64, how: TakenIn },
    /// End now; with `close`, after having every grant closed and told about it.
    End { close: bool },
}

/// Somebody whom the front asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Helper {
    Commands,
    Resolver,
    Oracle,
}

/// Front to keeper.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromFront {
    /// Confined, and ready to serve; `taken_up`: and all that commands had left for the store of chains is in it.
    Ready { taken_up: bool },
    /// The new rules are in force; `shut`: and the kernel has closed what they took back. `taken_up` as above; `has_chains`: the
    /// store of chains is open.
    InForce { shut: bool, taken_up: bool, has_chains: bool },
    /// Somebody with the right to it asks for a reload.
    PleaseReload,
    /// Somebody who was invited has come. Answered by [`ToFront::Enrolled`].
    Enrol(Enrolling),
    /// Who is there. With: [`Sessions`].
    Sessions,
    /// The interface of this ear went away.
    EarGone(u16),
    /// All that was to be received is: the capture is read, or the limit of packets is reached.
    Finished {
        /// Whether a capture was read to its end.
        whole: bool,
    },
    /// For the audit log: what it saw, and how much it had no room to say.
    Notes { notes: Vec<Note>, lost: u64 },
}

/// What the front may say for the audit log: nothing that another part is believed for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Note {
    /// [`Fact::Refused`].
    Refused {
        client: ClientName,
        reason: Reason,
        dialect: Option<Dialect>,
        source: Option<IpAddr>,
        unsaid: u64,
    },
    /// [`Fact::Asked`].
    Asked { verb: Verb, uid: u32, allowed: bool, client: Option<ClientName>, address: Option<IpAddr> },
}

impl From<Note> for Fact {
    fn from(note: Note) -> Self {
        match note {
            Note::Refused { client, reason, dialect, source, unsaid } => {
                Self::Refused { client, reason, dialect, source, unsaid }
            }
            Note::Asked { verb, uid, allowed, client, address } => {
                Self::Asked { verb, uid, allowed, client, address }
            }
        }
    }
}

/// Who is there, for the session file.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Sessions {
    pub(crate) open: Vec<Session>,
    pub(crate) last_seen: Vec<(ClientName, Unix)>,
}

/// One open grant.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Session {
    pub(crate) client: ClientName,
    pub(crate) address: IpAddr,
    pub(crate) ports: Vec<PortSpec>,
    pub(crate) opened: Unix,
    pub(crate) expires: Unix,
}
