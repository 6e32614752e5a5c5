//! Compiled policy: what the front decides by, and what the grantor allows.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{ClientName, Dialect, Mark, Nat, NatSource, Net, PortSpec, Unix, Way};

/// What the front decides by. Made by portunus-config, swapped whole on reload.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Rules {
    /// Grows with each reload.
    pub generation: u64,
    /// How far a packet's timestamp may be from our clock, either way.
    pub window: Duration,
    /// The clients, in the files' order. Names and keys are unique.
    pub clients: Vec<Client>,
    /// What a native knock can name.
    pub services: Vec<Service>,
    /// What opens with every service that a native knock names, where its client may open it: the health port. Sorted.
    pub always: Box<[PortSpec]>,
}

/// A name that stands for ports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// As clients write it.
    pub name: Box<str>,
    /// What it stands for. Sorted, no duplicates.
    pub ports: Box<[PortSpec]>,
}

/// One client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// Its name.
    pub name: ClientName,
    /// By what it proves itself.
    pub key: ClientKey,
    /// Every port that it may open, health port included; sorted, no duplicates.
    pub ports: Box<[PortSpec]>,
    /// From then on it is refused.
    pub expires: Option<Unix>,
    /// How long a grant lasts.
    pub lasting: Duration,
    /// Whether it may open for an address other than its own.
    pub any_target: bool,
    /// What a stanza of fwknop's access.conf lays down; there is one just when `key` is [`ClientKey::Fwknop`]. The client
    /// asks for ports by itself then, and `ports` is empty.
    pub stanza: Option<Box<Stanza>>,
    /// What holds for a client of the native dialect; for others it says nothing.
    pub native: NativeRule,
    /// What stands for its key where grants are written down; `None`: the daemon has made none (yet).
    pub mark: Option<Mark>,
}

impl Client {
    /// Who may open these ports for its own address alone, always; nothing else is laid down.
    #[must_use]
    pub fn new(name: ClientName, key: ClientKey, ports: Box<[PortSpec]>, lasting: Duration) -> Self {
        let native = NativeRule::default();
        Self { name, key, ports, expires: None, lasting, any_target: false, stanza: None, native, mark: None }
    }

    /// The name by which its grants are known in the gate, the ledger and the journal. People never see it where it is not
    /// its own: a stanza of access.conf is known by its keys there, since its number is another one as soon as a stanza
    /// before it comes or goes. Stanzas with the same keys are one holder.
    #[must_use]
    pub fn holder(&self) -> ClientName {
        let numbered = self.stanza.as_ref().is_some_and(|stanza| stanza.numbered);
        match self.mark {
            Some(mark) if numbered => ClientName::of_keys(mark),
            Some(_) | None => self.name.clone(),
        }
    }
}

/// What a client of the native dialect may and must, besides what any client may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NativeRule {
    /// Whether its knocks are answered.
    pub answers: bool,
    /// Whether a knock must name the address that it opens for.
    pub must_bind: bool,
    /// Whether a knock must bring a one-time code.
    pub second_factor: bool,
}

/// A stanza of fwknop's access.conf, compiled (spec: "access.conf"). Stanzas with the same keys are tried in their
/// order; the first that grants wins.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Stanza {
    /// Its number, from 1 on, in the order of the files.
    pub number: u32,
    /// Whether its client has no name but this number, as in access.conf.
    pub numbered: bool,
    /// From where a packet must come (SOURCE); empty: anywhere.
    pub sources: Vec<Net>,
    /// To where it must have gone (DESTINATION); empty: anywhere.
    pub destinations: Vec<Net>,
    /// Every requested port must be in one of these (OPEN_PORTS); `None`: any port.
    pub open_ports: Option<Vec<PortSpec>>,
    /// No requested port may be in one of these (RESTRICT_PORTS).
    pub restrict_ports: Vec<PortSpec>,
    /// The user that the packet must name (REQUIRE_USERNAME).
    pub username: Option<String>,
    /// Whether a packet must name the address (REQUIRE_SOURCE_ADDRESS): 0.0.0.0 is refused.
    pub require_source: bool,
    /// The longest grant that a client may ask for (MAX_FW_TIMEOUT). What it gets unasked is [`Client::lasting`].
    pub longest: Duration,
    /// How far a timestamp may be off (MAX_SPA_PACKET_AGE); `None`: it is not looked at (ENABLE_SPA_PACKET_AGING N).
    pub window: Option<Duration>,
    /// Whether the grant is for the packet's destination only (ENABLE_DESTINATION_RULE).
    pub destination_rule: bool,
    /// Which translation of addresses there may or must be.
    pub nat: NatRule,
    /// Who runs its commands (ENABLE_CMD_EXEC); `None`: they are refused.
    pub command: Option<CommandRule>,
    /// Commands to run instead of opening anything (CMD_CYCLE_OPEN).
    pub cycle: Option<Cycle>,
}

/// Network address translation as a stanza and fwknopd.conf allow or force it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NatRule {
    /// Whether a client may ask for it (ENABLE_IPT_FORWARDING).
    pub forward: bool,
    /// Whether a client may ask for local NAT (ENABLE_IPT_LOCAL_NAT).
    pub local: bool,
    /// Whether it may name the inner host by a DNS name (ENABLE_NAT_DNS).
    pub names: bool,
    /// Every request goes there, whatever it asks (FORCE_NAT).
    pub force: Option<(IpAddr, u16)>,
    /// What the inner host sees as the source (ENABLE_IPT_SNAT, FORCE_SNAT, FORCE_MASQUERADE).
    pub source: NatSource,
    /// Only accepted, not rewritten (DISABLE_DNAT).
    pub keep_destination: bool,
    /// A translated request lets everything of the client through (FORWARD_ALL).
    pub all: bool,
    /// Every request is translated, also one that asks for none: FORCE_NAT, FORCE_SNAT or FORCE_MASQUERADE.
    pub unasked: bool,
}

/// As whom a client's commands run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CommandRule {
    /// CMD_EXEC_USER; `None`: root.
    pub user: Option<String>,
    /// CMD_EXEC_GROUP.
    pub group: Option<String>,
    /// ENABLE_CMD_SUDO_EXEC.
    pub sudo: Option<Sudo>,
}

/// Through sudo.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sudo {
    /// The program (SUDO_EXE).
    pub program: String,
    /// CMD_SUDO_EXEC_USER.
    pub user: Option<String>,
    /// CMD_SUDO_EXEC_GROUP.
    pub group: Option<String>,
}

/// A command to open, and one to close later.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Cycle {
    /// CMD_CYCLE_OPEN, with its variables.
    pub open: String,
    /// CMD_CYCLE_CLOSE, with its variables; `None`: nothing is run (`NONE`).
    pub close: Option<String>,
    /// CMD_CYCLE_TIMER: how long after; a client's own timeout goes before.
    pub timer: Duration,
}

/// By what a client proves itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ClientKey {
    /// openme: an Ed25519 public key (checked at load: a point on the curve, not of small order).
    Openme([u8; 32]),
    /// fwknop: which set of keys; the keys themselves are in the keyring.
    Fwknop(KeyId),
    /// native: an X25519 public key, not of low order.
    Native([u8; 32]),
}

impl ClientKey {
    /// How it knocks.
    #[must_use]
    pub const fn dialect(&self) -> Dialect {
        match self {
            Self::Openme(_) => Dialect::Openme,
            Self::Fwknop(_) => Dialect::Fwknop,
            Self::Native(_) => Dialect::Native,
        }
    }

    /// The bytes by which people and files tell keys apart: a public key, or a hash of secret ones.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        match self {
            Self::Openme(public) | Self::Native(public) => public,
            Self::Fwknop(id) => &id.0,
        }
    }
}

/// Which set of fwknop keys: a hash of them and of how they are used. Two stanzas with the same keys have the same one.
///
/// Who has it can try guesses at a weak passphrase against it: it is kept like the configuration, and `Debug` hides it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct KeyId(pub [u8; 32]);

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyId(..)")
    }
}

/// What the grantor allows, whatever the front says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Limits {
    /// Every port or range that some client may open. Sorted, no duplicates. Each range has a set of its own.
    pub doors: Vec<PortSpec>,
    /// The longest grant.
    pub longest: Duration,
    /// How many grants (client, address, port) may be open at once.
    pub most_open: u32,
    /// Whether any single port may be opened besides: some stanza of fwknop's has no OPEN_PORTS.
    pub any_port: bool,
    /// Whether some stanza narrows its grants to the address that a knock went to (ENABLE_DESTINATION_RULE).
    pub destinations: bool,
    /// Whether doors may be opened for one source port only (the native dialect).
    pub source_ports: bool,
    /// Whether loopback addresses may be opened for: fwknop's users and scripts try their set-up over lo. Nothing from the
    /// network ever has such an address.
    pub loopback: bool,
    /// The translations of addresses that some stanza allows or forces.
    pub nat: NatLimits,
}

/// What the grantor allows of translations.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NatLimits {
    /// To any inner host, as clients ask.
    pub forward: bool,
    /// To this host itself, as clients ask.
    pub local: bool,
    /// To these hosts and ports, whatever clients ask. Sorted, no duplicates.
    pub forced: Vec<(IpAddr, u16)>,
    /// Everything of an address: to this host (`None`: where it was going). Sorted, no duplicates.
    pub all: Vec<Option<IpAddr>>,
    /// Everything of an address to any inner host, as clients ask (FORWARD_ALL without FORCE_NAT).
    pub all_forward: bool,
    /// The sources that inner hosts may be shown, besides the client's own. Sorted, no duplicates.
    pub sources: Vec<NatSource>,
}

impl NatLimits {
    /// Whether a grant may go this way.
    #[must_use]
    pub fn admit(&self, way: Way) -> bool {
        let (known, source) = match way {
            Way::Here | Way::From(_) => (true, NatSource::Kept),
            Way::Nat(Nat { local, host, port, source, .. }) => {
                let asked = if local { self.local } else { self.forward };
                (asked || self.forced.contains(&(host, port)), source)
            }
            Way::All { to, source } => (self.all.contains(&to) || (self.all_forward && to.is_some()), source),
        };
        known && (source == NatSource::Kept || self.sources.contains(&source))
    }

    /// Whether anything may be let through to another host.
    #[must_use]
    pub fn goes_through(&self) -> bool {
        self.forward || self.all_forward || !self.forced.is_empty() || !self.all.is_empty()
    }

    /// Whether there is no translation at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.goes_through() && !self.local
    }
}

/// How we stand in the firewall.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Stance {
    /// Where.
    pub place: Place,
    /// Only packets that come in by one of these interfaces are accepted or dropped by our rules, and received; empty: all.
    pub interfaces: Vec<String>,
    /// Ports that are dropped for whoever has no grant. Ranges allowed. Empty: somebody else drops them.
    pub protected: Vec<PortSpec>,
    /// Those of them that are dropped too where a flow to them was sent on to a container or another host. Nothing of
    /// iptables' place can that.
    pub sent_on: Vec<PortSpec>,
    /// The UDP knock port, where it is to be accepted by our rules; `None`: somebody else accepts it.
    pub knock_port: Option<u16>,
}

/// The place of our rules.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Place {
    /// Table `inet portunus` of our own: sets, accepts, and the drops.
    #[default]
    Own,
    /// In the admin's own nft chains, by a jump before the first drop.
    Attach(Vec<Seat>),
    /// iptables and ip6tables.
    Iptables,
    /// iptables and ip6tables, in chains of fwknop's names, with its jumps and comments.
    Fwknop(Box<Chains>),
}

impl Place {
    /// Whether iptables' tools write our rules there: somebody must run them, and x_tables has no timers for sets.
    #[must_use]
    pub const fn is_of_iptables(&self) -> bool {
        match self {
            Self::Own | Self::Attach(_) => false,
            Self::Iptables | Self::Fwknop(_) => true,
        }
    }
}

/// The chains of fwknop's, as fwknopd.conf has them (IPT_INPUT_ACCESS and its kin).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chains {
    /// IPT_INPUT_ACCESS.
    pub input: ChainRow,
    /// IPT_OUTPUT_ACCESS, where ENABLE_IPT_OUTPUT.
    pub output: Option<ChainRow>,
    /// IPT_FORWARD_ACCESS, where ENABLE_IPT_FORWARDING or a stanza needs it.
    pub forward: Option<ChainRow>,
    /// IPT_DNAT_ACCESS, where anything is translated.
    pub dnat: Option<ChainRow>,
    /// IPT_SNAT_ACCESS, where ENABLE_IPT_SNAT or a stanza's FORCE_SNAT.
    pub snat: Option<ChainRow>,
    /// IPT_MASQUERADE_ACCESS, likewise.
    pub masquerade: Option<ChainRow>,
    /// Whether an access rule goes before the others of its chain (ENABLE_RULE_PREPEND).
    pub prepend: bool,
    /// Whether the chains are emptied and removed at the start (FLUSH_IPT_AT_INIT).
    pub flush_at_start: bool,
    /// The same at the end (FLUSH_IPT_AT_EXIT).
    pub flush_at_end: bool,
    /// FIREWALL_EXE, where somebody wrote it.
    pub program: Option<String>,
}

/// One row such as `ACCEPT, filter, INPUT, 1, FWKNOP_INPUT, 1`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainRow {
    /// What a rule says.
    pub target: String,
    /// In which table.
    pub table: String,
    /// From which chain one comes here.
    pub from: String,
    /// At which place of that chain, from 1 on.
    pub jump: u32,
    /// The chain's own name.
    pub chain: String,
}

/// One chain of the admin's that we stand in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Seat {
    /// The table's family.
    pub family: Family,
    /// The table.
    pub table: String,
    /// The base chain.
    pub chain: String,
}

/// An nftables family that a seat can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4 and IPv6 in one table.
    Inet,
    /// IPv4 only.
    Ip,
    /// IPv6 only.
    Ip6,
}

impl Family {
    /// The word of nft's language.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inet => "inet",
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
        }
    }
}
