//! From what a file says of its clients to rules and limits: the part that both spellings share.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::time::Duration;

use portunus_crypto::{Secret, totp};
use portunus_dialect::fwknop::RawKeys;
use portunus_dialect::fwknop::gpg::RawGpg;
use portunus_model::{
    Client, ClientKey, ClientName, Dialect, KeyId, Limits, NameError, NativeRule, Net, PortSpec, Proto,
    Rules, Service, Stanza, Unix,
};

use crate::client::Entry;
use crate::ports::{Services, tidy};
use crate::source::{Findings, Source};
use crate::tree::Span;
use crate::{KeyFile, Secrets, StanceWish, ValueError};

/// The shortest and longest time that a knock's timestamp may be off.
pub(crate) const WINDOW: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(600));
/// The same, where no file says it.
pub(crate) const DEFAULT_WINDOW: Duration = Duration::from_secs(60);
/// The shortest and longest grant that any file may ask for: a week.
pub(crate) const GRANT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(7 * 24 * 3600));
/// The same, where no file says it.
pub(crate) const DEFAULT_GRANT: Duration = Duration::from_secs(30);
/// How many grants may be open at once, where no file says it.
pub(crate) const DEFAULT_OPEN: u32 = 65_536;
/// How many clients there may be, where no file says it.
pub(crate) const DEFAULT_CLIENTS: usize = 100_000;

/// One client as a file has it, each part with its place.
pub(crate) struct Written<'a> {
    pub(crate) name: ClientName,
    pub(crate) at: Span,
    pub(crate) key: Key,
    pub(crate) key_at: Span,
    /// Where its key was read from, or will be, when that is not its own file.
    pub(crate) key_file: Option<PathBuf>,
    pub(crate) services: Vec<(&'a str, Span)>,
    pub(crate) expires: Option<Unix>,
    pub(crate) lasting: Option<Duration>,
    pub(crate) any_target: bool,
    pub(crate) health: bool,
    pub(crate) native: NativeRule,
    /// The secret of its one-time codes, where it needs them.
    pub(crate) code: Option<Secret<{ totp::SECRET }>>,
}

/// By what it proves itself.
pub(crate) enum Key {
    Openme([u8; 32]),
    Native([u8; 32]),
    /// A native one's that was invited, and has not come yet.
    Invited,
    Fwknop(Box<Fwknop>),
}

impl Key {
    /// `None`: there is none yet.
    pub(crate) fn of_client(&self) -> Option<ClientKey> {
        match self {
            Self::Openme(key) => Some(ClientKey::Openme(*key)),
            Self::Native(key) => Some(ClientKey::Native(*key)),
            Self::Invited => None,
            Self::Fwknop(fwknop) => Some(ClientKey::Fwknop(fwknop.keys.id())),
        }
    }

    pub(crate) const fn dialect(&self) -> Dialect {
        match self {
            Self::Openme(_) => Dialect::Openme,
            Self::Native(_) | Self::Invited => Dialect::Native,
            Self::Fwknop(_) => Dialect::Fwknop,
        }
    }
}

/// fwknop's keys of one kind or the other.
pub(crate) enum FwknopKeys {
    Symmetric(RawKeys),
    Gpg(RawGpg),
}

impl FwknopKeys {
    pub(crate) fn id(&self) -> KeyId {
        match self {
            Self::Symmetric(keys) => keys.id(),
            Self::Gpg(keys) => keys.id(),
        }
    }
}

/// What only a client of fwknop's has: it asks for ports and for a time by itself.
pub(crate) struct Fwknop {
    pub(crate) keys: FwknopKeys,
    pub(crate) any_port: bool,
    pub(crate) sources: Vec<Net>,
    pub(crate) require_source: bool,
    pub(crate) username: Option<String>,
    /// The longest time that it may ask for.
    pub(crate) longest: Option<Duration>,
}

impl Written<'_> {
    pub(crate) fn entry(&self, source: &Source<'_>) -> Entry {
        Entry {
            name: self.name.clone(),
            key: self.key.of_client(),
            dialect: self.key.dialect(),
            key_file: self.key_file.clone(),
            any_port: matches!(&self.key, Key::Fwknop(fwknop) if fwknop.any_port),
            services: self.services.iter().map(|(word, _)| (*word).to_owned()).collect(),
            expires: self.expires,
            lasting: self.lasting,
            any_target: self.any_target,
            health_port: self.health,
            native: self.native,
            file: source.file.to_owned(),
            line: source.position(self.at.first()).0,
        }
    }
}

/// What holds for every client.
pub(crate) struct Policy {
    pub(crate) services: Services,
    /// What a client opens that names nothing.
    pub(crate) default_ports: Vec<PortSpec>,
    pub(crate) default_lasting: Duration,
    pub(crate) longest: Duration,
    pub(crate) window: Duration,
    pub(crate) knock_port: u16,
    pub(crate) health_port: Option<u16>,
    pub(crate) most_clients: usize,
    pub(crate) most_open: u32,
    /// The server's own public keys, as far as they are known: a client that has one was copied from the wrong line.
    pub(crate) server_publics: Vec<[u8; 32]>,
    /// Whether knocks of the native dialect are heard, which name services.
    pub(crate) native: bool,
}

/// The clients that were taken so far.
pub(crate) struct Crowd<'p> {
    policy: &'p Policy,
    clients: Vec<Client>,
    names: HashSet<ClientName>,
    /// Whose each key is, as an index into `clients`.
    keys: HashMap<[u8; 32], usize>,
    doors: BTreeSet<PortSpec>,
    any_port: bool,
    fwknop: Vec<RawKeys>,
    gpg: Vec<RawGpg>,
    codes: Vec<([u8; 32], Secret<{ totp::SECRET }>)>,
    key_files: Vec<KeyFile>,
    warned_full: bool,
}

impl<'p> Crowd<'p> {
    pub(crate) fn new(policy: &'p Policy) -> Self {
        Self {
            policy,
            clients: Vec::new(),
            names: HashSet::new(),
            keys: HashMap::new(),
            doors: BTreeSet::new(),
            any_port: false,
            fwknop: Vec::new(),
            gpg: Vec::new(),
            codes: Vec::new(),
            key_files: Vec::new(),
            warned_full: false,
        }
    }

    pub(crate) fn take(&mut self, source: &Source<'_>, written: Written<'_>, findings: &mut Findings) {
        let name = &written.name;
        if !self.unique(source, &written, findings) {
            return;
        }
        let mut ports = Vec::new();
        for &(word, at) in &written.services {
            if let Err(fault) = self.policy.services.resolve(word, &mut ports) {
                findings.fault(source, at, fault);
            }
        }
        if written.services.is_empty() {
            ports.extend_from_slice(&self.policy.default_ports);
        }
        let any = matches!(&written.key, Key::Fwknop(fwknop) if fwknop.any_port);
        if ports.is_empty() && !any && findings.clean() {
            let what = format!("a knock of {name:?} opens no port");
            findings.warn(source, written.at, what, "name the ports that it may open");
        }
        if let Some(health) = self.policy.health_port.filter(|_| written.health) {
            ports.extend(PortSpec::single(Proto::Tcp, health));
        }
        let lasting = written.lasting.unwrap_or(self.policy.default_lasting);
        let ports = tidy(ports).into_boxed_slice();
        self.doors.extend(ports.iter().copied());
        let key = written.key.of_client();
        if let Some(path) = written.key_file {
            let key = key.map(|key| *key.as_bytes());
            self.key_files.push(KeyFile { name: name.clone(), path, key });
        }
        // Who is to come is no client yet.
        let Some(key) = key else { return };
        let mut client = Client {
            expires: written.expires,
            any_target: written.any_target,
            native: written.native,
            ..Client::new(name.clone(), key, ports, lasting)
        };
        if let Some(code) = written.code {
            self.codes.push((*client.key.as_bytes(), code));
        }
        if let Key::Fwknop(fwknop) = written.key {
            self.fwknop(&mut client, *fwknop);
        }
        self.clients.push(client);
    }

    /// It asks for ports by itself: what it may open becomes what it may ask for.
    fn fwknop(&mut self, client: &mut Client, fwknop: Fwknop) {
        let ports = std::mem::take(&mut client.ports).into_vec();
        self.any_port |= fwknop.any_port;
        client.stanza = Some(Box::new(Stanza {
            number: u32::try_from(self.fwknop.len() + self.gpg.len()).unwrap_or(u32::MAX).saturating_add(1),
            sources: fwknop.sources,
            open_ports: (!fwknop.any_port).then_some(ports),
            require_source: fwknop.require_source,
            username: fwknop.username,
            longest: fwknop.longest.unwrap_or(client.lasting),
            window: Some(self.policy.window),
            ..Stanza::default()
        }));
        match fwknop.keys {
            FwknopKeys::Symmetric(keys) => self.fwknop.push(keys),
            FwknopKeys::Gpg(keys) => self.gpg.push(keys),
        }
    }

    /// Whether nobody has this name or key yet, and there is room.
    fn unique(&mut self, source: &Source<'_>, written: &Written<'_>, findings: &mut Findings) -> bool {
        let name = &written.name;
        // Who was invited needs its room when it comes.
        if self.names.len() >= self.policy.most_clients {
            if !self.warned_full {
                let what = format!("there are more than {} clients", self.policy.most_clients);
                findings.error(source, written.at, what, "take some out, or raise `clients` below [limits]");
            }
            self.warned_full = true;
            return false;
        }
        if !self.names.insert(name.clone()) {
            findings.error(
                source,
                written.at,
                format!("there are two clients named {name:?}"),
                "rename one of them",
            );
            return false;
        }
        let Some(key) = written.key.of_client() else { return true };
        if self.policy.server_publics.contains(key.as_bytes()) {
            let mend = "put the client's own public key here, as `add` prints it";
            findings.error(source, written.key_at, format!("the key of {name:?} is the server's own"), mend);
            return false;
        }
        // Only the first keeps the key: a third one with it names the first, and not whoever comes next.
        let first = *self.keys.entry(*key.as_bytes()).or_insert(self.clients.len());
        if first < self.clients.len() {
            let other = self.clients.get(first).map(|client| client.name.to_string()).unwrap_or_default();
            let what = format!("the key of {name:?} is also that of {other:?}");
            let invited = |file: &KeyFile| file.name.as_str() == other;
            if written.key_file.is_some() || self.key_files.iter().any(invited) {
                // Whoever was invited brought it: that must not keep the files from loading.
                let what = format!("{what}, so {name:?} is let in as nobody");
                findings.warn(source, written.key_at, what, "revoke it, and invite it anew");
            } else {
                findings.error(source, written.key_at, what, "give each client a key of its own, with `add`");
            }
            return false;
        }
        true
    }

    /// The keys that lie in files of their own.
    pub(crate) fn key_files(&mut self) -> Vec<KeyFile> {
        std::mem::take(&mut self.key_files)
    }

    /// Rules and limits of all of them, and their secrets.
    pub(crate) fn finish(mut self) -> (Rules, Limits, Secrets) {
        self.clients.shrink_to_fit();
        let times = self.clients.iter().flat_map(|client| {
            let longest = client.stanza.as_ref().map(|stanza| stanza.longest);
            [Some(client.lasting), longest]
        });
        let longest = times.flatten().max();
        let limits = Limits {
            doors: self.doors.into_iter().collect(),
            longest: longest.unwrap_or(self.policy.default_lasting),
            most_open: self.policy.most_open,
            any_port: self.any_port,
            source_ports: self.policy.native,
            ..Limits::default()
        };
        let (services, always) = if self.policy.native { named(self.policy) } else { Default::default() };
        let rules =
            Rules { generation: 0, window: self.policy.window, clients: self.clients, services, always };
        let Self { fwknop, gpg, codes, .. } = self;
        (rules, limits, Secrets { fwknop, gpg, codes, ..Secrets::default() })
    }
}

/// What native knocks can name, and what opens with each.
fn named(policy: &Policy) -> (Vec<Service>, Box<[PortSpec]>) {
    let service = |(name, ports): &(String, Vec<PortSpec>)| Service {
        name: name.as_str().into(),
        ports: tidy(ports.clone()).into_boxed_slice(),
    };
    let health = policy.health_port.and_then(|port| PortSpec::single(Proto::Tcp, port).ok());
    (policy.services.named.iter().map(service).collect(), health.into_iter().collect())
}

/// Fills in the ports that `stance` protects.
pub(crate) fn protect(stance: &mut StanceWish, policy: &Policy, limits: &Limits) {
    if !stance.protect {
        return;
    }
    let named = policy.services.named.iter().flat_map(|(_, ports)| ports).copied();
    let health = policy.health_port.and_then(|port| PortSpec::single(Proto::Tcp, port).ok());
    let all = limits.doors.iter().copied().chain(policy.default_ports.iter().copied());
    stance.protected = tidy(all.chain(named).chain(health).collect());
    stance.sent_on = tidy(policy.services.sent_on.clone());
}

/// Warns of ports that get in each other's way.
pub(crate) fn warn_of_ports(policy: &Policy, source: &Source<'_>, at: Span, findings: &mut Findings) {
    let named = |proto, port| {
        policy.services.named.iter().find(|(_, ports)| ports.iter().any(|p| p.contains(proto, port)))
    };
    if let Some((name, _)) = named(Proto::Udp, policy.knock_port) {
        let what = format!("{} {name:?} has the knock port {}/udp", policy.services.noun, policy.knock_port);
        findings.warn(source, at, what, "take it out there: knocks must come in without a knock");
    }
    if let Some((health, (name, _))) =
        policy.health_port.and_then(|port| Some((port, named(Proto::Tcp, port)?)))
    {
        let what = format!("{} {name:?} has the health port {health}/tcp", policy.services.noun);
        findings.warn(source, at, what, "choose another health_port where that service really listens");
    }
}

/// A client's name out of a file.
pub(crate) fn client_name(text: &str) -> Result<ClientName, ValueError> {
    ClientName::new(text).map_err(|error| match error {
        NameError::Empty => ValueError::new("a client's name is empty", "give it a name"),
        NameError::TooLong(bytes) => ValueError::new(
            format!("a client's name has {bytes} bytes"),
            format!("use at most {}", ClientName::LONGEST),
        ),
        NameError::Character(c) => ValueError::new(
            format!("the client's name {text:?} has the character {c:?}"),
            "use letters, digits, '-', '_', '.', '@', '+' and inner blanks",
        ),
        NameError::Edge => ValueError::new(
            format!("the client's name {text:?} begins with '.', or begins or ends with a blank"),
            "use letters, digits, '-', '_', '.', '@', '+' and inner blanks",
        ),
    })
}

/// A network interface's name.
///
/// # Errors
/// [`ValueError`] says what is wrong and the mend.
pub fn parse_interface(text: &str) -> Result<String, ValueError> {
    // linux/if.h: IFNAMSIZ is 16 with the final NUL; dev_valid_name() names the rest.
    let fits = !text.is_empty() && text.len() < 16 && text != "." && text != "..";
    if fits && !text.contains(|c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control()) {
        return Ok(text.to_owned());
    }
    Err(ValueError::new(
        format!("{text:?} is not an interface's name"),
        "use one that `ip link` shows, such as eth0",
    ))
}

/// A host's name or address, alone.
///
/// # Errors
/// [`ValueError`] says what is wrong and the mend.
pub fn parse_host(text: &str) -> Result<String, ValueError> {
    let mend = "write the name or the address alone, as in home.example.org";
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if bare.parse::<std::net::IpAddr>().is_ok() {
        return Ok(bare.to_owned());
    }
    if text.contains("://") || text.contains('/') {
        return Err(ValueError::new(format!("{text:?} is not a host but an address of a page"), mend));
    }
    if let Some((_, port)) = text.rsplit_once(':')
        && port.bytes().all(|byte| byte.is_ascii_digit())
    {
        return Err(ValueError::new(format!("the host {text:?} has a port"), mend));
    }
    let odd = |c: char| !(c.is_alphanumeric() || matches!(c, '-' | '.' | '_'));
    if text.is_empty() || text.len() > 253 || text.contains(odd) || text.starts_with('-') {
        return Err(ValueError::new(format!("{text:?} is not a host's name"), mend));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_interfaces_are_looked_at() {
        let mend = "write the name or the address alone, as in home.example.org";
        let said = |text: &str| parse_host(text).unwrap_err().to_string();
        assert_eq!(parse_host("home.example.org"), Ok("home.example.org".into()));
        assert_eq!(parse_host("[2001:db8::1]"), Ok("2001:db8::1".into()));
        assert_eq!(
            said("https://x.org/"),
            format!("\"https://x.org/\" is not a host but an address of a page: {mend}")
        );
        assert_eq!(said("x.org:22"), format!("the host \"x.org:22\" has a port: {mend}"));
        assert_eq!(said(""), format!("\"\" is not a host's name: {mend}"));
        assert_eq!(said("a b"), format!("\"a b\" is not a host's name: {mend}"));
        assert_eq!(parse_interface("eth0.100"), Ok("eth0.100".into()));
        for wrong in ["", "a/b", "eth 0", "averyverylongname", ".."] {
            assert_eq!(
                parse_interface(wrong).unwrap_err().to_string(),
                format!("{wrong:?} is not an interface's name: use one that `ip link` shows, such as eth0")
            );
        }
    }
}
