//! A client's profile: all that it needs to knock at one server. Four spellings of one value.

pub mod door;
pub mod invitation;
pub mod native;
mod native_keys;
pub mod openme;
pub mod qr;

use std::fmt;
use std::net::IpAddr;
use std::path::Path;

use portunus_crypto::Secret;
use portunus_model::PortSpec;

pub use native_keys::{KnownDoor, NativeKeys, Renewal, update};

/// All that a client needs to knock at one server.
pub struct Profile {
    /// What the client calls the server. A file name in the native spelling.
    pub name: String,
    /// The server's host name or address.
    pub host: String,
    /// Its UDP port.
    pub port: u16,
    /// Whether a TCP port of the server answers once the door is open, so that `status` has something to ask.
    pub health: bool,
    /// That port; `None`: the same number as `port`.
    pub health_port: Option<u16>,
    /// The keys, by dialect.
    pub keys: Keys,
    /// A shell command to run after a knock.
    pub post_knock: Option<String>,
    /// What a knock opens, as far as whoever made the profile knew: so that `connect` knows a port to wait for. The
    /// server's policy decides, not this.
    pub opens: Vec<PortSpec>,
}

/// A profile's keys. A closed list: one variant a dialect.
pub enum Keys {
    /// openme.
    Openme {
        /// The server's X25519 public key.
        server: [u8; 32],
        /// The seed of the client's Ed25519 key.
        seed: Secret<32>,
        /// The client's Ed25519 public key, which is `seed`'s (checked when it was read).
        public: [u8; 32],
    },
    /// Our own.
    Native(Box<NativeKeys>),
}

impl Keys {
    /// A copy; said aloud, because each is one more place that holds the secret.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        match self {
            Self::Openme { server, seed, public } => {
                Self::Openme { server: *server, seed: seed.duplicate(), public: *public }
            }
            Self::Native(keys) => Self::Native(Box::new(keys.duplicate())),
        }
    }
}

/// Whether a rendering shows the private key and the chains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// As it must be in the file.
    All,
    /// For eyes: each secret is replaced by a word.
    Redacted,
}

impl fmt::Debug for Profile {
    /// Never the private key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Profile")
            .field("name", &self.name)
            .field("host", &self.host)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

/// What stands in a secret's place where it is not shown.
const REDACTED: &str = "(not shown)";

/// `home` of `home.example.org`; an address stands whole.
pub(crate) fn first_label(host: &str) -> String {
    match host.split_once('.') {
        Some((label, _)) if host.parse::<IpAddr>().is_err() => label.to_owned(),
        Some(_) | None => host.to_owned(),
    }
}

/// `home` for home.toml, else the host's first label.
fn named_after(file: &Path, host: &str) -> String {
    let stem = file.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".toml"));
    stem.map_or_else(|| first_label(host), str::to_owned)
}

#[cfg(test)]
mod tests;
