//! What both spellings of the configuration mean: one value, which the daemon runs by.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use portunus_crypto::{Secret, totp};
use portunus_dialect::fwknop::RawKeys;
use portunus_dialect::fwknop::gpg::RawGpg;
use portunus_model::{ClientName, DoorRole, Limits, Place, PortSpec, Proto, Rules, Stance};

use crate::Diagnostic;
use crate::alerts::Alerts;
use crate::fwknop::Daemon;

/// A whole configuration, checked.
#[derive(Debug)]
pub struct Settings {
    /// The name that clients reach this server by, for the profiles that are handed out.
    pub host: Option<String>,
    /// What such a profile is called, unless somebody says otherwise: openme's `default_profile`, else the first label
    /// of the host's name.
    pub profile_name: String,
    /// What the front decides by. `generation` is 0: whoever reloads counts.
    pub rules: Rules,
    /// What the grantor allows: exactly the doors and the longest grant that the clients have, no more.
    pub limits: Limits,
    /// How we would stand in the firewall.
    pub stance: StanceWish,
    /// Where knocks are received; all on one port.
    pub listen: Vec<SocketAddr>,
    /// Whether somebody wrote `listen`. Where nobody did, it is every address of both families, and a family that
    /// the host lacks is left out without a word.
    pub listen_named: bool,
    /// The group to which a rule of the firewall's logs knocks; `None`: none does.
    pub nflog: Option<u16>,
    /// The TCP port that answers `status`; `None`: nobody listens.
    pub health_port: Option<u16>,
    /// The private keys.
    pub secrets: Secrets,
    /// The native clients whose public keys lie in files of their own: they were invited, and some have not come yet.
    pub key_files: Vec<KeyFile>,
    /// Who, besides uid 0, may change things through the control socket.
    pub admins: Vec<u32>,
    /// What happens to open grants when the daemon ends.
    pub on_exit: OnExit,
    /// How much of the audit log is kept.
    pub audit: AuditSize,
    /// Where figures are served; `None`: nowhere.
    pub metrics: Option<MetricsListen>,
    /// Who is told of grants and refusals; `None`: nobody.
    pub alerts: Option<Alerts>,
    /// Every file and folder that this was read from, or would be, if it were there: what a reload watches.
    pub sources: Vec<PathBuf>,
    /// What is odd and yet no mistake.
    pub warnings: Vec<Diagnostic>,
    /// What fwknopd.conf says of the program itself; `None`: another configuration.
    pub fwknop: Option<Box<Daemon>>,
}

impl Settings {
    /// The protected ports behind which there is a service: all but the health port.
    #[must_use]
    pub fn served(&self) -> Vec<PortSpec> {
        let health = self.health_port.and_then(|port| PortSpec::single(Proto::Tcp, port).ok());
        self.stance.protected.iter().filter(|port| Some(**port) != health).copied().collect()
    }

    /// What must run with the daemon's own rights, in words: the less of that, the less somebody who breaks out of a part
    /// can win. `iptables`: whether its tools write our rules.
    #[must_use]
    pub fn runs_with_our_rights(&self, iptables: bool) -> Vec<&'static str> {
        let stanzas = || self.rules.clients.iter().filter_map(|client| client.stanza.as_ref());
        let commands = stanzas().any(|stanza| stanza.command.is_some() || stanza.cycle.is_some());
        [(iptables, "the tools of iptables"), (commands, "commands of clients")]
            .into_iter()
            .filter_map(|(runs, what)| runs.then_some(what))
            .collect()
    }
}

/// How much of the audit log is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditSize {
    /// Mebibytes of one file.
    pub megabytes: u64,
    /// How many files, the current one included.
    pub files: u32,
}

impl Default for AuditSize {
    fn default() -> Self {
        Self { megabytes: 10, files: 10 }
    }
}

/// Where figures are served: to this host only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetricsListen {
    /// A loopback address: every user of this host can read them.
    Tcp(SocketAddr),
    /// A socket in the file system, for root and the daemon's group.
    Unix(PathBuf),
}

/// How we would stand in the firewall, before the ruleset was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StanceWish {
    /// Where; `None`: found at each start.
    pub place: Option<Place>,
    /// Only packets that come in by one of these are received, accepted or dropped; empty: all.
    pub interfaces: Vec<String>,
    /// Whether we drop the protected ports for whoever has no grant.
    pub protect: bool,
    /// Those ports: every door of a client, every named service and the health port; empty when `protect` is false.
    /// Sorted, no duplicates. They do not depend on the clients alone, or revoking the last client would open a door
    /// to everybody.
    pub protected: Vec<PortSpec>,
    /// Those of them that are guarded too where they are sent on to a container or another host (`forward = true`).
    /// Sorted, no duplicates.
    pub sent_on: Vec<PortSpec>,
    /// The knock port, where we accept it ourselves.
    pub knock_port: Option<u16>,
    /// Which back end.
    pub firewall: FirewallKind,
}

impl StanceWish {
    /// The stance at `place`, which is the wished one or the one that was found.
    #[must_use]
    pub fn at(&self, place: Place) -> Stance {
        Stance {
            place,
            interfaces: self.interfaces.clone(),
            protected: self.protected.clone(),
            sent_on: self.sent_on.clone(),
            knock_port: self.knock_port,
        }
    }
}

/// Which firewall back end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FirewallKind {
    /// nftables, and iptables where its tools hold the ruleset.
    #[default]
    Auto,
    /// nftables.
    Nft,
    /// iptables and ip6tables.
    Iptables,
}

impl FirewallKind {
    /// The words of files and flags.
    pub const WORDS: [(&'static str, Self); 3] =
        [("auto", Self::Auto), ("nft", Self::Nft), ("iptables", Self::Iptables)];

    /// The word in files and flags.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Nft => "nft",
            Self::Iptables => "iptables",
        }
    }
}

/// What happens to open grants when the daemon ends. The drops stay in either case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnExit {
    /// They end now.
    Close,
    /// The kernel ends each when its time is up.
    #[default]
    Keep,
}

impl OnExit {
    /// The words of the file.
    pub const WORDS: [(&'static str, Self); 2] = [("keep", Self::Keep), ("close", Self::Close)];
}

/// The server's private keys.
#[derive(Default)]
pub struct Secrets {
    /// X25519, for openme knocks; `None`: the dialect is off.
    pub openme: Option<Secret<32>>,
    /// fwknop's sets of keys, each once, in the order of their names.
    pub fwknop: Vec<RawKeys>,
    /// The same of GnuPG's.
    pub gpg: Vec<RawGpg>,
    /// The doors of the native dialect, the current one first; none: the dialect is off.
    pub native: Vec<DoorKey>,
    /// The secrets of one-time codes, by the public keys of the native clients that need them.
    pub codes: Vec<([u8; 32], Secret<{ totp::SECRET }>)>,
}

/// Where a client's public key lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFile {
    /// Whose.
    pub name: ClientName,
    /// The file.
    pub path: PathBuf,
    /// The key; `None`: it was invited, and has not come yet.
    pub key: Option<[u8; 32]>,
}

/// The key of a door.
#[derive(PartialEq, Eq)]
pub struct DoorKey {
    /// What it is for.
    pub role: DoorRole,
    /// X25519.
    pub secret: Secret<32>,
}

impl fmt::Debug for DoorKey {
    /// Never the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DoorKey({:?})", self.role)
    }
}

impl Secrets {
    /// The door of this role.
    #[must_use]
    pub fn door(&self, role: DoorRole) -> Option<&Secret<32>> {
        self.native.iter().find(|door| door.role == role).map(|door| &door.secret)
    }

    /// The door at which a new client is to knock: the one to which all are moving, else the current one.
    #[must_use]
    pub fn door_for_new(&self) -> Option<&Secret<32>> {
        let roles = [DoorRole::Next, DoorRole::Apart, DoorRole::Current];
        roles.into_iter().find_map(|role| self.door(role))
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let openme = self.openme.as_ref().map(|_| "(not shown)");
        f.debug_struct("Secrets")
            .field("openme", &openme)
            .field("fwknop", &self.fwknop.len())
            .field("gpg", &self.gpg.len())
            .field("native", &self.native.len())
            .field("codes", &self.codes.len())
            .finish()
    }
}
