//! Names to addresses, and which address of ours a packet would carry.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};

use crate::ClientError;
use crate::error::plain;

/// No host needs more of its addresses knocked at; a name with thousands must not make us a flood.
const MOST: usize = 8;

/// Which families to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Families {
    /// Every family that the host has.
    #[default]
    All,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
}

impl Families {
    fn has(self, address: SocketAddr) -> bool {
        match self {
            Self::All => true,
            Self::V4 => address.is_ipv4(),
            Self::V6 => address.is_ipv6(),
        }
    }
}

/// The addresses of `host`, in the resolver's order, each once.
///
/// # Errors
/// The name has no address, or none of the family.
pub fn resolve(host: &str, port: u16, families: Families) -> Result<Vec<SocketAddr>, ClientError> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let found = (bare, port)
        .to_socket_addrs()
        .map_err(|error| ClientError::NoAddress { host: host.to_owned(), why: resolver(&error) })?;
    let mut addresses: Vec<SocketAddr> = Vec::new();
    let mut any = false;
    for address in found {
        any = true;
        if families.has(address) && !addresses.contains(&address) && addresses.len() < MOST {
            addresses.push(address);
        }
    }
    if !addresses.is_empty() {
        return Ok(addresses);
    }
    let host = host.to_owned();
    Err(match families {
        Families::V4 if any => ClientError::NoSuchFamily { host, family: 4 },
        Families::V6 if any => ClientError::NoSuchFamily { host, family: 6 },
        Families::All | Families::V4 | Families::V6 => {
            ClientError::NoAddress { host, why: "empty answer".into() }
        }
    })
}

/// Which address of this machine a packet to `to` would carry. Sends nothing.
///
/// # Errors
/// There is no way to `to` from here.
pub fn source_towards(to: SocketAddr) -> Result<IpAddr, ClientError> {
    let socket = socket_towards(to)?;
    let from = socket.local_addr().map_err(|error| ClientError::no_route(to, &error))?;
    Ok(from.ip().to_canonical())
}

/// A UDP socket that is connected to `to`, so that its own address is known.
pub(crate) fn socket_towards(to: SocketAddr) -> Result<UdpSocket, ClientError> {
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let connected = UdpSocket::bind((any, 0)).and_then(|socket| socket.connect(to).map(|()| socket));
    connected.map_err(|error| ClientError::no_route(to, &error))
}

/// The C library's sentence, without the prefix that the standard library puts before it.
fn resolver(error: &std::io::Error) -> String {
    let text = plain(error);
    text.strip_prefix("failed to lookup address information: ")
        .map_or(text.clone(), |rest| rest.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_stand_for_themselves_with_or_without_brackets() {
        assert_eq!(resolve("127.0.0.1", 9, Families::All), Ok(vec!["127.0.0.1:9".parse().unwrap()]));
        assert_eq!(resolve("[::1]", 9, Families::All), Ok(vec!["[::1]:9".parse().unwrap()]));
    }

    #[test]
    fn a_family_that_the_host_lacks_is_named() {
        let missing = resolve("127.0.0.1", 9, Families::V6);
        assert_eq!(missing, Err(ClientError::NoSuchFamily { host: "127.0.0.1".into(), family: 6 }));
    }

    #[test]
    fn a_name_that_is_none_is_an_error_with_the_name() {
        let error = resolve("no-such-host.invalid", 9, Families::All).unwrap_err();
        assert!(error.to_string().starts_with("no address for this name"), "{error}");
    }

    #[test]
    fn loopback_is_reached_from_loopback() {
        assert_eq!(source_towards("127.0.0.1:9".parse().unwrap()), Ok([127, 0, 0, 1].into()));
    }
}
