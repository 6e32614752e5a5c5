//! How a packet that was made elsewhere travels: a datagram, a TCP connection, a request of HTTP, or a whole IP packet
//! for a raw socket.
//!
//! Here is everything that any system can do. Not here: the raw socket itself, which is one system's own.

mod http;
mod raw;
mod stream;

pub use http::{Proxy, ProxyError, Request, over_http};
pub use raw::{Flight, RawError, RawKind, whole_packet};
pub use stream::{datagram, over_tcp};

use std::net::{IpAddr, SocketAddr};

use crate::{ClientError, Families, resolve};

/// One address of `host`: the family that `prefer` has, where the host has it.
///
/// # Errors
/// The name has no address, or none of `families`.
pub fn one_address(
    host: &str,
    port: u16,
    families: Families,
    prefer: Option<IpAddr>,
) -> Result<SocketAddr, ClientError> {
    let found = resolve(host, port, families)?;
    // An original server hears IPv4 only, so that is what everybody gets who did not ask for IPv6.
    let six = prefer.is_some_and(|address| address.is_ipv6());
    let first = found.iter().find(|address| address.is_ipv6() == six).or(found.first());
    first.copied().ok_or_else(|| ClientError::NoAddress { host: host.to_owned(), why: "empty answer".into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_stands_for_itself_whatever_was_preferred() {
        let four = one_address("127.0.0.1", 7, Families::All, Some("::1".parse().unwrap()));
        assert_eq!(four, Ok("127.0.0.1:7".parse().unwrap()));
        let six = one_address("::1", 7, Families::All, None);
        assert_eq!(six, Ok("[::1]:7".parse().unwrap()));
        assert!(one_address("::1", 7, Families::V4, None).is_err());
    }
}
