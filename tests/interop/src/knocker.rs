//! Knocks made here, byte by byte, so that a test can keep, repeat and damage them.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::{Duration, SystemTime};

use portunus_config::profile::{Keys, native};
use portunus_crypto::SystemEntropy;
use portunus_crypto::ed25519::SigningKey;
use portunus_dialect::openme::{ClientKeys, Wish, seal};
use portunus_model::Unix;

use crate::namespace::Namespace;

/// The length of a knock.
pub const PACKET: usize = 165;

/// Who knocks: a client's keys.
pub struct Knocker {
    keys: ClientKeys,
    port: u16,
}

impl Knocker {
    /// From what `portunus add` printed.
    #[must_use]
    pub fn from_profile(text: &str) -> Self {
        let read = native::parse(text, Path::new("profile.toml"));
        let profile = read.unwrap_or_else(|mistakes| {
            panic!("the profile that `add` printed does not load: {mistakes:?}\n{text}")
        });
        let Keys::Openme { server, seed, .. } = profile.keys else {
            panic!(
                "a profile of openme's dialect is needed:
{text}"
            );
        };
        let client = SigningKey::new(&seed).expect("a seed makes a key");
        Self { keys: ClientKeys { server, client }, port: profile.port }
    }

    /// Another client of the same server.
    #[must_use]
    pub fn with_key(&self, client: SigningKey) -> Self {
        Self { keys: ClientKeys { server: self.keys.server, client }, port: self.port }
    }

    /// From bare keys.
    #[must_use]
    pub fn from_keys(server: [u8; 32], client: SigningKey) -> Self {
        Self { keys: ClientKeys { server, client }, port: 54154 }
    }

    /// A fresh knock for whoever sends it.
    #[must_use]
    pub fn packet(&self) -> [u8; PACKET] {
        self.packet_for(None, Duration::ZERO)
    }

    /// A fresh knock for `target`, said to be made `age` ago.
    #[must_use]
    pub fn packet_for(&self, target: Option<IpAddr>, age: Duration) -> [u8; PACKET] {
        let now = SystemTime::UNIX_EPOCH.elapsed().expect("it is after 1970");
        let stamp = Unix::from_nanos(i128::try_from(now.as_nanos()).expect("it is before the end of time"))
            .before(age);
        seal(&self.keys, Wish { target }, stamp, &mut SystemEntropy).expect("a knock can be sealed")
    }

    /// The server's knock port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sends a fresh knock from `side` to the server at `host`.
    pub fn knock(&self, side: &Namespace, host: &str) {
        self.send(side, host, &self.packet());
    }

    /// Sends these bytes from `side` to the server's knock port at `host`.
    pub fn send(&self, side: &Namespace, host: &str, bytes: &[u8]) {
        let host: IpAddr = host.parse().unwrap_or_else(|e| panic!("{host} is no address: {e}"));
        let any: IpAddr = if host.is_ipv4() { [0, 0, 0, 0].into() } else { [0u16; 8].into() };
        side.inside(|| {
            let socket = UdpSocket::bind((any, 0)).expect("a socket can be bound");
            socket.send_to(bytes, SocketAddr::new(host, self.port)).expect("a datagram can be sent");
        });
    }
}
