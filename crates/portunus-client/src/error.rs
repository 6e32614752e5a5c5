//! Why a knock could not go out.

use std::io;
use std::net::{IpAddr, SocketAddr};

use portunus_model::NotOpenable;

/// Why a knock could not go out, or a name has no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The name has no address at all.
    #[error("no address for this name ({why}): {host}: check the spelling and this machine's DNS")]
    NoAddress {
        /// The name.
        host: String,
        /// What the resolver said.
        why: String,
    },
    /// The name has addresses, none of the family that was asked for.
    #[error("no IPv{family} address for this name: {host}: leave -{family} out, or give the server one")]
    NoSuchFamily {
        /// The name.
        host: String,
        /// 4 or 6.
        family: u8,
    },
    /// This machine has no way to that address.
    #[error("no way there from this machine ({why}): {to}: check its network and routes")]
    NoRoute {
        /// Where to.
        to: SocketAddr,
        /// What the system said.
        why: String,
    },
    /// The system did not take the datagram.
    #[error("the knock was not sent ({why}): {to}: check this machine's firewall and network")]
    NotSent {
        /// Where to.
        to: SocketAddr,
        /// What the system said.
        why: String,
    },
    /// Somebody else has the port that the packet is to come from.
    #[error("the source port cannot be used ({why}): {port}: name another one, or none")]
    PortTaken {
        /// The port.
        port: u16,
        /// What the system said.
        why: String,
    },
    /// No server opens for that address.
    #[error("no server opens for this address: {address}: {why}")]
    NotOpenable {
        /// The address that was asked for.
        address: IpAddr,
        /// Why.
        why: NotOpenable,
    },
    /// This machine has no global address on the way there.
    #[error(
        "this machine's address is not a public one: {address}: use --ip source, the address that the server sees"
    )]
    NotPublic {
        /// The address that it has.
        address: IpAddr,
    },
    /// The profile's dialect has no word for it.
    #[error(
        "a knock of openme's dialect says only for whom: leave --service, --for and --code out, or ask for a profile of the native dialect"
    )]
    CannotSay,
    /// The bytes could not be made.
    #[error("{0}")]
    NotSealed(String),
}

impl ClientError {
    pub(crate) fn no_route(to: SocketAddr, error: &io::Error) -> Self {
        Self::NoRoute { to, why: plain(error) }
    }

    pub(crate) fn port_taken(port: u16, error: &io::Error) -> Self {
        Self::PortTaken { port, why: plain(error) }
    }

    pub(crate) fn not_sent(to: SocketAddr, error: &io::Error) -> Self {
        Self::NotSent { to, why: plain(error) }
    }
}

/// The system's sentence without its number, lower-case as ours are.
pub(crate) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split_once(" (os error").map_or(text.as_str(), |(text, _)| text);
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}
