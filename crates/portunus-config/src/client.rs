//! A client as a file has it: what `list` and `show` print, and what `add` writes.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use portunus_crypto::{Secret, totp};
use portunus_dialect::fwknop::RawKeys;
use portunus_dialect::fwknop::gpg::RawGpg;
use portunus_model::{ClientKey, ClientName, Dialect, NativeRule, Net, Unix};

/// One client as it is written, services by their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: ClientName,
    /// Its public key; `None`: it was invited, and has not come yet.
    pub key: Option<ClientKey>,
    /// The dialect that it knocks in.
    pub dialect: Dialect,
    /// Where its public key lies, when that is not in the client's own file: the daemon has written it there.
    pub key_file: Option<PathBuf>,
    /// Service (or group) names and inline ports, as written; empty: the default ones.
    pub services: Vec<String>,
    /// Whether it may ask for any port (fwknop's dialect).
    pub any_port: bool,
    /// From then on it is refused.
    pub expires: Option<Unix>,
    /// How long a grant lasts; `None`: as the server's default says.
    pub lasting: Option<Duration>,
    /// Whether it may open for an address other than its own.
    pub any_target: bool,
    /// Whether a knock opens the health port too.
    pub health_port: bool,
    /// What holds for it in the native dialect; for others it says nothing.
    pub native: NativeRule,
    /// Where it stands.
    pub file: PathBuf,
    /// On which line.
    pub line: u32,
}

/// A client to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewClient {
    /// Its name.
    pub name: ClientName,
    /// Its public key: Ed25519 (openme), or X25519 (native).
    pub key: [u8; 32],
    /// Where the daemon is to write its key, in the place of `key`: it is invited.
    pub key_file: Option<PathBuf>,
    /// Service (or group) names and inline ports; empty: the default ones.
    pub services: Vec<String>,
    /// From then on it is refused.
    pub expires: Option<Unix>,
    /// How long a grant lasts; `None`: as the server's default says. openme's file has no word for it.
    pub lasting: Option<Duration>,
    /// Whether it may open for an address other than its own. openme's file has no word for it: always.
    pub any_target: bool,
    /// Whether a knock opens the health port too.
    pub health_port: bool,
    /// What holds for it in the native dialect; `None`: it knocks as openme's do. openme's file has no word for it.
    pub native: Option<NativeRule>,
    /// The secret of its one-time codes, where its native rule needs them.
    pub code: Option<OneTime>,
}

/// The secret of a client's one-time codes, on its way into its file.
#[derive(Clone, PartialEq, Eq)]
pub struct OneTime(Arc<Secret<{ totp::SECRET }>>);

impl OneTime {
    /// Takes it.
    #[must_use]
    pub fn new(secret: Secret<{ totp::SECRET }>) -> Self {
        Self(Arc::new(secret))
    }

    /// The secret itself.
    #[must_use]
    pub fn secret(&self) -> &Secret<{ totp::SECRET }> {
        &self.0
    }
}

impl fmt::Debug for OneTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OneTime(..)")
    }
}

impl NewClient {
    /// A client of openme's dialect with the default services, no end and nothing unusual.
    #[must_use]
    pub const fn new(name: ClientName, key: [u8; 32]) -> Self {
        Self {
            name,
            key,
            key_file: None,
            services: Vec::new(),
            expires: None,
            lasting: None,
            any_target: false,
            health_port: true,
            native: None,
            code: None,
        }
    }
}

/// fwknop's keys of one kind or the other.
#[derive(Clone, Copy)]
pub enum KeysOf<'k> {
    /// Those that both ends have.
    Symmetric(&'k RawKeys),
    /// GnuPG's.
    Gpg(&'k RawGpg),
}

/// A client to be written that knocks as fwknop's do.
pub struct NewFwknop<'k> {
    /// The name, the ports and the times; its key is not looked at.
    pub client: NewClient,
    /// By what it proves itself.
    pub keys: KeysOf<'k>,
    /// Whether it may ask for any port.
    pub any_port: bool,
    /// From where its packets must come; empty: anywhere.
    pub sources: Vec<Net>,
    /// Whether a packet must name the address that it opens for.
    pub require_source: bool,
    /// The user that a packet must name.
    pub username: Option<String>,
    /// The longest time that it may ask for; `None`: what it gets unasked.
    pub longest: Option<Duration>,
}

impl<'k> NewFwknop<'k> {
    /// A client with the default services and nothing unusual.
    #[must_use]
    pub const fn new(name: ClientName, keys: KeysOf<'k>) -> Self {
        Self {
            client: NewClient::new(name, [0; 32]),
            keys,
            any_port: false,
            sources: Vec::new(),
            require_source: true,
            username: None,
            longest: None,
        }
    }
}
