//! What the keeper and the parts say to each other: short values on a channel, long ones in sealed memory beside them.
//!
//! The keeper believes nothing that a part says beyond what its type allows: the front has read strangers' packets. Long because
//! it is the whole vocabulary, and each word is short.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use portunus_config::alerts::{Alerts, Carrier, Mail, Password, Smtp, Tls, Webhook};
use portunus_config::{FirewallKind, StanceWish};
use portunus_ctl::figures::KeeperFigures;
use portunus_model::{
    ClientName, CommandRule, Cycle, Dialect, HolderNames, Lengths, Limits, Mono, Net, Place, PortSpec,
    Reason, Rules, Stance, Unix,
};
use portunus_store::audit::{Fact, Verb};
use portunus_sys::channel::{Channel, Received};
use portunus_sys::memfd;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

/// The longest value on the channel itself.
const LONGEST: usize = 64 << 10;

/// The longest value in memory beside it: 10,000 clients need some hundred kilobytes.
const LONGEST_BESIDE: usize = 64 << 20;

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

/// The private keys on their way from the keeper to the front.
#[derive(Serialize, Deserialize)]
pub(crate) struct Keys {
    pub(crate) openme: Option<[u8; 32]>,
    pub(crate) fwknop: Vec<FwknopKeys>,
    pub(crate) gpg: Vec<GpgKeys>,
    /// The native doors, the current one first.
    pub(crate) native: Vec<[u8; 32]>,
    /// Secrets of one-time codes, by their clients' public keys.
    pub(crate) codes: Vec<([u8; 32], [u8; 20])>,
}

/// What judges GnuPG's packets: the front never has the passphrase.
#[derive(Serialize, Deserialize)]
pub(crate) struct GpgKeys {
    pub(crate) id: [u8; 32],
    pub(crate) ring: [u8; 32],
    pub(crate) signed: bool,
    pub(crate) any_validity: bool,
    pub(crate) ids: Vec<String>,
    pub(crate) fingerprints: Vec<String>,
    pub(crate) decrypts: Option<String>,
    pub(crate) hmac: Option<(String, Vec<u8>)>,
}

impl Drop for GpgKeys {
    fn drop(&mut self) {
        self.hmac.iter_mut().for_each(|(_, key)| key.zeroize());
    }
}

/// What the gpg process runs by.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OracleSnapshot {
    pub(crate) rings: Vec<Ring>,
}

/// A keyring.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ring {
    pub(crate) id: [u8; 32],
    pub(crate) home: PathBuf,
    pub(crate) program: PathBuf,
    pub(crate) passphrase: Option<Vec<u8>>,
    /// Who must sign, for each set of keys that has this keyring.
    pub(crate) signers: Vec<Named>,
}

/// Keys by the ends of their fingerprints, and by their fingerprints.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Named {
    pub(crate) ids: Vec<String>,
    pub(crate) fingerprints: Vec<String>,
}

impl Drop for Ring {
    fn drop(&mut self) {
        self.passphrase.zeroize();
    }
}

/// Keeper to the gpg process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToOracle {
    /// With: the snapshot, and the channel to the front.
    Setup,
}

/// A set of fwknop's keys: the encryption key and its mode's word, the HMAC's word and its key.
#[derive(Serialize, Deserialize)]
pub(crate) struct FwknopKeys {
    pub(crate) encryption: Vec<u8>,
    pub(crate) mode: String,
    pub(crate) hmac: Option<(String, Vec<u8>)>,
}

impl Drop for FwknopKeys {
    fn drop(&mut self) {
        self.encryption.zeroize();
        self.hmac.iter_mut().for_each(|(_, key)| key.zeroize());
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.openme.zeroize();
        self.native.zeroize();
        self.codes.iter_mut().for_each(|(_, secret)| secret.zeroize());
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(not shown)")
    }
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

/// What the grantor runs by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GrantorSnapshot {
    pub(crate) limits: Limits,
    pub(crate) wish: Wish,
}

/// What the grantor is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GrantorBrief {
    pub(crate) snapshot: GrantorSnapshot,
    pub(crate) names: HolderNames,
}

/// [`StanceWish`], as it crosses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wish {
    pub(crate) place: Option<Place>,
    pub(crate) interfaces: Vec<String>,
    pub(crate) protected: Vec<PortSpec>,
    pub(crate) sent_on: Vec<PortSpec>,
    pub(crate) knock_port: Option<u16>,
    pub(crate) listen_port: Option<u16>,
    pub(crate) firewall: Backend,
    /// The drops are on trial.
    pub(crate) trial: Option<Trial>,
}

/// Drops that end by themselves, unless somebody comes in before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Trial {
    pub(crate) until: Mono,
    /// Who comes in by one of these has proven it: all that is protected but the health port, behind which is nothing.
    pub(crate) proves: Vec<PortSpec>,
}

/// [`FirewallKind`], as it crosses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Backend {
    Auto,
    Nft,
    Iptables,
    /// None: what would be opened is only remembered (fwknopd's --test).
    Nothing,
}

impl Wish {
    pub(crate) fn of(wish: &StanceWish, listen_port: Option<u16>) -> Self {
        Self {
            place: wish.place.clone(),
            interfaces: wish.interfaces.clone(),
            protected: wish.protected.clone(),
            sent_on: wish.sent_on.clone(),
            knock_port: wish.knock_port,
            listen_port,
            firewall: match wish.firewall {
                FirewallKind::Auto => Backend::Auto,
                FirewallKind::Nft => Backend::Nft,
                FirewallKind::Iptables => Backend::Iptables,
            },
            trial: None,
        }
    }

    /// The stance at a place.
    pub(crate) fn at(&self, place: Place) -> Stance {
        Stance {
            place,
            interfaces: self.interfaces.clone(),
            protected: self.protected.clone(),
            sent_on: self.sent_on.clone(),
            knock_port: self.knock_port,
        }
    }
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
    /// The new rules are in force; `shut`: and the kernel has closed what they took back. `taken_up` as above.
    InForce { shut: bool, taken_up: bool },
    /// Somebody with the right to it asks for a reload.
    PleaseReload,
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

/// Keeper to grantor.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToGrantor {
    /// With: the brief, the channel to the front, two journal files (and how to name them).
    Setup { journal: String, holding: bool },
    /// With: the channel to the errand process.
    Errand,
    /// With: the brief.
    Reload,
    /// End now; with `close`, take every grant back first.
    End { close: bool },
}

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

/// Grantor to keeper.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromGrantor {
    /// iptables it is: somebody must run its tools.
    NeedErrand,
    /// The kernel has our rules.
    InForce { place: String },
    /// It does not, and why, with the mend; nothing was changed.
    Refused { why: String },
    /// For the audit log: what was done, and how much there was no room to say.
    Facts { facts: Vec<Fact>, lost: u64 },
    /// While the drops are on trial: somebody at this address, which may be one of ours, came in through a grant.
    Came { address: IpAddr, port: PortSpec },
    /// The trial is over, and nothing of ours is in the firewall any more.
    TrialOver,
}

/// Keeper to exporter.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToMetrics {
    /// With: the socket that listens, and the connection to the front.
    Setup,
    /// What the keeper knows.
    Figures(KeeperFigures),
}

/// Keeper to the alerts process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToAlerts {
    /// With: the snapshot, and the file of what waits. What this server is called.
    Setup { host: String },
    /// What happened, and how much there was no room to say. Answered by [`FromAlerts`].
    Some { alerts: Vec<crate::alerts::Alert>, lost: u64 },
}

/// The alerts process to the keeper.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct FromAlerts {
    /// How many messages it has taken since it began: what they said lies on the disk, or is counted there.
    pub(crate) taken: u64,
}

/// What the alerts process runs by: [`Alerts`], as it crosses.
#[derive(Serialize, Deserialize)]
pub(crate) struct AlertsSnapshot {
    every: Duration,
    keep: u64,
    mail: Option<MailSnapshot>,
    webhook: Option<WebhookSnapshot>,
    command: Option<Vec<String>>,
}

#[derive(Serialize, Deserialize)]
struct MailSnapshot {
    to: Vec<String>,
    from: Option<String>,
    sendmail: Option<PathBuf>,
    smtp: Option<SmtpSnapshot>,
}

#[derive(Serialize, Deserialize)]
struct WebhookSnapshot {
    url: Zeroizing<String>,
    shown: String,
    token: Option<Zeroizing<String>>,
    authority: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct SmtpSnapshot {
    host: String,
    port: u16,
    /// The place in [`TLS`].
    tls: u8,
    login: Option<(String, Zeroizing<String>)>,
    authority: Option<String>,
}

const TLS: [Tls; 3] = [Tls::Whole, Tls::Started, Tls::Local];

impl AlertsSnapshot {
    pub(crate) fn of(alerts: &Alerts) -> Self {
        let secret = |password: &Password| Zeroizing::new(password.expose().to_owned());
        let mail = alerts.mail.as_ref().map(|mail| {
            let (sendmail, smtp) = match &mail.carrier {
                Carrier::Sendmail(program) => (Some(program.clone()), None),
                Carrier::Smtp(smtp) => {
                    let tls =
                        TLS.iter().position(|tls| *tls == smtp.tls).and_then(|at| u8::try_from(at).ok());
                    let login = smtp.login.as_ref().map(|(user, password)| (user.clone(), secret(password)));
                    let tls = tls.unwrap_or_default();
                    (
                        None,
                        Some(SmtpSnapshot {
                            host: smtp.host.clone(),
                            port: smtp.port,
                            tls,
                            login,
                            authority: smtp.authority.clone(),
                        }),
                    )
                }
            };
            MailSnapshot { to: mail.to.clone(), from: mail.from.clone(), sendmail, smtp }
        });
        let webhook = alerts.webhook.as_ref();
        Self {
            every: alerts.every,
            keep: alerts.keep,
            mail,
            webhook: webhook.map(|hook| WebhookSnapshot {
                url: secret(&hook.url),
                shown: hook.shown.clone(),
                token: hook.token.as_ref().map(secret),
                authority: hook.authority.clone(),
            }),
            command: alerts.command.clone(),
        }
    }

    /// What it was made of; what is to be told was chosen before.
    pub(crate) fn alerts(&self) -> Alerts {
        let secret = |text: &Zeroizing<String>| Password::of_file(text).ok();
        let mail = self.mail.as_ref().and_then(|mail| {
            let carrier = match (&mail.sendmail, &mail.smtp) {
                (Some(program), _) => Carrier::Sendmail(program.clone()),
                (None, Some(smtp)) => {
                    let login = smtp.login.as_ref();
                    Carrier::Smtp(Smtp {
                        host: smtp.host.clone(),
                        port: smtp.port,
                        tls: TLS.get(usize::from(smtp.tls)).copied()?,
                        login: login.and_then(|(user, password)| Some((user.clone(), secret(password)?))),
                        authority: smtp.authority.clone(),
                    })
                }
                (None, None) => return None,
            };
            Some(Mail { to: mail.to.clone(), from: mail.from.clone(), carrier })
        });
        let webhook = self.webhook.as_ref().and_then(|hook| {
            Some(Webhook {
                url: secret(&hook.url)?,
                shown: hook.shown.clone(),
                token: hook.token.as_ref().and_then(secret),
                authority: hook.authority.clone(),
            })
        });
        Alerts {
            every: self.every,
            keep: self.keep,
            mail,
            webhook,
            command: self.command.clone(),
            ..Alerts::default()
        }
    }
}

/// Exporter to keeper.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromMetrics {
    /// Answered by [`ToMetrics::Figures`].
    Ask,
}

/// The commands process to the keeper: for the audit log.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct FromCommands {
    pub(crate) facts: Vec<Fact>,
    pub(crate) lost: u64,
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

/// A message and the descriptors that came with it, in order.
#[derive(Debug)]
pub(crate) struct Came<T> {
    pub(crate) value: T,
    descriptors: std::vec::IntoIter<OwnedFd>,
}

impl<T> Came<T> {
    /// The next descriptor.
    pub(crate) fn descriptor(&mut self) -> io::Result<OwnedFd> {
        self.descriptors.next().ok_or_else(|| io::Error::other("a message came without its descriptor"))
    }

    /// All that are left.
    pub(crate) fn rest(self) -> Vec<OwnedFd> {
        self.descriptors.collect()
    }

    /// The value that lies in the next descriptor's memory.
    pub(crate) fn beside<V: DeserializeOwned>(&mut self) -> io::Result<V> {
        let bytes = Zeroizing::new(memfd::read(self.descriptor()?, LONGEST_BESIDE)?);
        postcard::from_bytes(&bytes).map_err(|_| io::Error::other("a message with a value that is none"))
    }
}

/// Sends a value and descriptors.
pub(crate) fn send<T: Serialize>(
    channel: &Channel,
    value: &T,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    channel.send(&encode(value)?, descriptors)
}

/// Sends a value if there is room.
pub(crate) fn try_send<T: Serialize>(
    channel: &Channel,
    value: &T,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    channel.try_send(&encode(value)?, descriptors)
}

fn encode<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    postcard::to_stdvec(value).map_err(|_| io::Error::other("a message could not be written"))
}

/// Puts a long value into sealed memory, to be sent beside a message.
pub(crate) fn beside<T: Serialize>(value: &T) -> io::Result<OwnedFd> {
    let bytes = Zeroizing::new(encode(value)?);
    memfd::sealed("portunus", &bytes)
}

/// Waits for one message; `None` when the other end is gone.
pub(crate) fn receive<T: DeserializeOwned>(channel: &Channel) -> io::Result<Option<Came<T>>> {
    let mut buffer = vec![0; LONGEST];
    let received = channel.receive(&mut buffer)?;
    decode(received, &buffer)
}

/// Takes one message if one is there.
pub(crate) fn try_receive<T: DeserializeOwned>(channel: &Channel) -> io::Result<Taken<T>> {
    let mut buffer = vec![0; LONGEST];
    match channel.try_receive(&mut buffer)? {
        Received::Nothing => Ok(Taken::Nothing),
        received @ (Received::Message(_) | Received::Ended) => {
            Ok(decode(received, &buffer)?.map_or(Taken::Ended, Taken::Message))
        }
    }
}

/// What came of [`try_receive`].
#[derive(Debug)]
pub(crate) enum Taken<T> {
    Message(Came<T>),
    Nothing,
    Ended,
}

fn decode<T: DeserializeOwned>(received: Received, buffer: &[u8]) -> io::Result<Option<Came<T>>> {
    match received {
        Received::Ended | Received::Nothing => Ok(None),
        Received::Message(message) => {
            let bytes = buffer.get(..message.length).unwrap_or_default();
            let value = postcard::from_bytes(bytes)
                .map_err(|_| io::Error::other("a part said something that is no message"))?;
            Ok(Some(Came { value, descriptors: message.descriptors.into_iter() }))
        }
    }
}

/// Descriptors, borrowed for sending.
pub(crate) fn borrowed<T: AsFd>(descriptors: &[T]) -> Vec<BorrowedFd<'_>> {
    descriptors.iter().map(AsFd::as_fd).collect()
}
