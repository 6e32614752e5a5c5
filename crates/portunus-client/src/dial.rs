//! One TCP connection, from an address and a port that were told beforehand.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

/// A port that nobody uses on the way to `to`: it is asked for in the knock, and then bound.
pub(crate) fn own_port(to: SocketAddr, from: Option<IpAddr>) -> Option<u16> {
    let socket = bound(to, from.or(Some(any(to))), 0).ok()?;
    socket.local_addr().ok()?.as_socket().map(|address| address.port())
}

/// Connects to `to`, from this address and port of ours where they are given.
pub(crate) fn connect(
    to: SocketAddr,
    from: Option<IpAddr>,
    port: Option<u16>,
    limit: Duration,
) -> io::Result<TcpStream> {
    let socket = bound(to, from, port.unwrap_or(0))?;
    socket.connect_timeout(&to.into(), limit)?;
    socket.set_tcp_nodelay(true)?;
    Ok(socket.into())
}

fn bound(to: SocketAddr, from: Option<IpAddr>, port: u16) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    // A link-local address cannot be bound without its interface; the route chooses the same one anyway.
    let from = from.filter(|from| !matches!(from, IpAddr::V6(a) if a.is_unicast_link_local()));
    if port != 0 {
        // The try before this one used the same port.
        socket.set_reuse_address(true)?;
    }
    if from.is_some() || port != 0 {
        socket.bind(&SocketAddr::new(from.unwrap_or_else(|| any(to)), port).into())?;
    }
    Ok(socket)
}

/// Whichever address the route gives.
const fn any(to: SocketAddr) -> IpAddr {
    match to {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}
