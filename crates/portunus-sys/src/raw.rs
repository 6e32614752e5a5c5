//! Raw sockets: a whole IP packet goes out as it was built.
//!
//! Here is only the sending. Not here: what the packet is. Called by the command line, for packets with any source.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};

use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, ipproto, sendto, socket_with};

/// Sends `packet`, from its IP header on, to where its header says: `to`. Needs CAP_NET_RAW.
///
/// # Errors
/// The system's own: no right to it, no way there, too long.
pub fn send(to: IpAddr, packet: &[u8]) -> io::Result<usize> {
    let (family, to): (_, SocketAddr) = match to {
        IpAddr::V4(to) => (AddressFamily::INET, SocketAddrV4::new(to, 0).into()),
        IpAddr::V6(to) => (AddressFamily::INET6, SocketAddrV6::new(to, 0, 0, 0).into()),
    };
    // A socket of IPPROTO_RAW takes the header from us, in both families (raw(7), net/ipv6/raw.c).
    let socket = socket_with(family, SocketType::RAW, SocketFlags::CLOEXEC, Some(ipproto::RAW))?;
    Ok(sendto(&socket, packet, SendFlags::empty(), &to)?)
}
