//! TCP sockets that are bound first and listen later: a port in use is found before anything else is begun, and nobody
//! gets in before it is time.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use crate::udp::{Binding, bind_freely};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};

/// Binds a socket to an address, without listening. An IPv6 one takes no IPv4 connection.
///
/// # Errors
/// As the system says: in use, family lacking, permission.
pub fn bind(address: SocketAddr, when: Binding) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    // Connections that were closed a moment ago do not hold the port; a listener still does.
    sockopt::set_socket_reuseaddr(&fd, true)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&fd, true)?;
    }
    bind_freely(&fd, address, when)?;
    rustix::net::bind(&fd, &address)?;
    Ok(fd)
}

/// Begins to listen.
///
/// # Errors
/// As the system says: somebody else listens there.
pub fn listen(fd: impl AsFd, backlog: i32) -> io::Result<()> {
    Ok(rustix::net::listen(fd, backlog)?)
}

/// Accepts one connection, and tells from where; `None` when nobody waits.
///
/// # Errors
/// As the system says: no descriptors or memory left.
pub fn accept(fd: impl AsFd) -> io::Result<Option<(OwnedFd, SocketAddr)>> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    loop {
        match rustix::net::acceptfrom_with(&fd, flags) {
            Ok((connection, from)) => {
                // Whoever has no address any more is gone again.
                let Some(from) = from.and_then(|from| SocketAddr::try_from(from).ok()) else { continue };
                return Ok(Some((connection, SocketAddr::new(from.ip().to_canonical(), from.port()))));
            }
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(rustix::io::Errno::CONNABORTED | rustix::io::Errno::INTR) => (),
            Err(e) => return Err(e.into()),
        }
    }
}

/// Accepts one connection of any family; `None` when nobody waits.
///
/// # Errors
/// As the system says.
pub fn accept_from_anybody(fd: impl AsFd) -> io::Result<Option<OwnedFd>> {
    use rustix::io::Errno;
    match rustix::net::accept_with(&fd, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
        Ok(connection) => Ok(Some(connection)),
        // Who waited may be gone; who finds no descriptor waits.
        Err(Errno::WOULDBLOCK | Errno::CONNABORTED | Errno::INTR | Errno::MFILE | Errno::NFILE) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Writes what there is room for; `None` when there is none now.
///
/// # Errors
/// As the system says: the other end is gone.
pub fn write(fd: impl AsFd, bytes: &[u8]) -> io::Result<Option<usize>> {
    loop {
        match rustix::net::send(&fd, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(length) => return Ok(Some(length)),
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(rustix::io::Errno::INTR) => (),
            Err(e) => return Err(e.into()),
        }
    }
}

/// The address that a connection came to; `None` when the system does not say.
#[must_use]
pub fn local_address(fd: impl AsFd) -> Option<SocketAddr> {
    SocketAddr::try_from(rustix::net::getsockname(fd).ok()?).ok()
}

/// Reads what is there into `room`: an empty slice at the end, `None` when nothing is there now.
///
/// # Errors
/// As the system says.
pub fn read(fd: impl AsFd, room: &mut [u8]) -> io::Result<Option<&[u8]>> {
    loop {
        match rustix::net::recv(&fd, &mut *room, RecvFlags::DONTWAIT) {
            Ok((length, _)) => return Ok(Some(room.get(..length).unwrap_or_default())),
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(rustix::io::Errno::INTR) => (),
            Err(e) => return Err(e.into()),
        }
    }
}

/// Accepts one connection and closes it at once; false when nobody waits.
///
/// # Errors
/// As the system says.
pub fn accept_and_close(fd: impl AsFd) -> io::Result<bool> {
    match rustix::net::accept_with(fd, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
        Ok(connection) => {
            drop(connection);
            Ok(true)
        }
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        // Whoever came is gone again: the next may still be there.
        Err(rustix::io::Errno::CONNABORTED | rustix::io::Errno::INTR) => Ok(true),
        Err(e) => Err(e.into()),
    }
}

/// Ends those of this process's own connections to this port that have received more than `most` bytes; without a bound,
/// all of them. Whether there was one. For connections of a library that hands out none.
///
/// Their numbers are looked through, so another thread may have closed one meanwhile and opened another connection by the
/// same number: that one is ended then, and whoever has it tries again.
pub fn end_connections(port: u16, most: Option<u64>) -> bool {
    let mut ended = false;
    for number in 3..MOST_NUMBERS {
        let over = || most.is_none_or(|most| received(number).is_some_and(|bytes| bytes > most));
        if peer_port(number) == Some(port) && over() {
            // SAFETY: takes two numbers and no pointer; what is no connection is an error that changes nothing.
            unsafe { libc::shutdown(number, libc::SHUT_RDWR) };
            ended = true;
        }
    }
    ended
}

/// A process that calls somebody has few descriptors, and the kernel gives the lowest number that is free.
const MOST_NUMBERS: i32 = 256;

/// To which port a connection goes, where this is one over IP.
fn peer_port(number: i32) -> Option<u16> {
    let mut peer = [0_u8; 128];
    let mut length: libc::socklen_t = 128;
    // SAFETY: `peer` has as many bytes as `length` says, and both outlive the call; any number may be asked about.
    if unsafe { libc::getpeername(number, peer.as_mut_ptr().cast(), &raw mut length) } != 0 {
        return None;
    }
    let [a, b, port @ ..] = peer.first_chunk::<4>()?;
    let family = i32::from(u16::from_ne_bytes([*a, *b]));
    (family == libc::AF_INET || family == libc::AF_INET6).then(|| u16::from_be_bytes(*port))
}

/// How many bytes a TCP connection has received: `tcpi_bytes_received` of the kernel's `tcp_info` (Linux 4.1).
fn received(number: i32) -> Option<u64> {
    const AT: usize = 128;
    let mut info = [0_u8; AT + 8];
    let mut length: libc::socklen_t = (AT + 8) as u32;
    let at = info.as_mut_ptr().cast();
    // SAFETY: `info` has as many bytes as `length` says, and both outlive the call; any number may be asked about.
    let rc = unsafe { libc::getsockopt(number, libc::IPPROTO_TCP, libc::TCP_INFO, at, &raw mut length) };
    let bytes = info.last_chunk::<8>()?;
    (rc == 0 && length as usize == info.len()).then(|| u64::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn bound_is_closed_until_it_listens_and_then_answers() {
        let fd = bind("127.0.0.1:0".parse().unwrap(), Binding::Now).unwrap();
        let to = TcpListener::from(fd.try_clone().unwrap()).local_addr().unwrap();
        assert!(TcpStream::connect(to).is_err());
        listen(&fd, 64).unwrap();
        assert!(TcpStream::connect(to).is_ok());
        assert!(accept_and_close(&fd).unwrap());
        assert!(!accept_and_close(&fd).unwrap());
    }

    #[test]
    fn a_port_somebody_listens_on_is_in_use() {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = bind(held.local_addr().unwrap(), Binding::Now).and_then(|fd| listen(fd, 1));
        assert_eq!(taken.unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
