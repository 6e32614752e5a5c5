//! By sockets of the system: UDP, and TCP that says its word and leaves.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::ClientError;

/// Who does not answer for so long is not there.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends one datagram, from `source_port` where one is named.
///
/// # Errors
/// The port is taken, there is no way there, or the system did not take the datagram.
pub fn datagram(to: SocketAddr, source_port: Option<u16>, bytes: &[u8]) -> Result<usize, ClientError> {
    let socket = socket(to, source_port, Type::DGRAM, Protocol::UDP)?;
    socket.connect(&to.into()).map_err(|error| ClientError::no_route(to, &error))?;
    socket.send(bytes).map_err(|error| ClientError::not_sent(to, &error))
}

/// Connects, sends the bytes, and closes.
///
/// # Errors
/// The port is taken, nobody listens there, or the connection broke.
pub fn over_tcp(to: SocketAddr, source_port: Option<u16>, bytes: &[u8]) -> Result<usize, ClientError> {
    let socket = socket(to, source_port, Type::STREAM, Protocol::TCP)?;
    let failed = |error: io::Error| ClientError::not_sent(to, &error);
    socket.connect_timeout(&to.into(), PATIENCE).map_err(failed)?;
    socket.set_write_timeout(Some(PATIENCE)).map_err(failed)?;
    let mut stream: std::net::TcpStream = socket.into();
    stream.write_all(bytes).map_err(failed)?;
    Ok(bytes.len())
}

fn socket(
    to: SocketAddr,
    source_port: Option<u16>,
    kind: Type,
    protocol: Protocol,
) -> Result<Socket, ClientError> {
    let failed = |error: io::Error| ClientError::not_sent(to, &error);
    let socket = Socket::new(Domain::for_address(to), kind, Some(protocol)).map_err(failed)?;
    if let Some(port) = source_port.filter(|&port| port != 0) {
        let any: IpAddr = match to {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        // Else a second knock from the same port would wait for the first connection's last minute.
        socket.set_reuse_address(kind == Type::STREAM).map_err(failed)?;
        let from = SocketAddr::new(any, port);
        socket.bind(&from.into()).map_err(|error| ClientError::port_taken(port, &error))?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    fn unused_port(at: &str) -> u16 {
        UdpSocket::bind((at, 0)).unwrap().local_addr().unwrap().port()
    }

    #[test]
    fn a_datagram_comes_from_the_named_port_in_both_families() {
        for at in ["127.0.0.1", "::1"] {
            let server = UdpSocket::bind((at, 0)).unwrap();
            let port = unused_port(at);
            assert_eq!(datagram(server.local_addr().unwrap(), Some(port), b"knock"), Ok(5));
            let mut bytes = [0; 16];
            let (length, from) = server.recv_from(&mut bytes).unwrap();
            assert_eq!((&bytes[..length], from.port()), (&b"knock"[..], port));
        }
    }

    #[test]
    fn a_port_that_is_taken_is_named() {
        let taken = UdpSocket::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port();
        let holder = UdpSocket::bind(("0.0.0.0", taken)).unwrap();
        let error = datagram("127.0.0.1:9".parse().unwrap(), Some(taken), b"x").unwrap_err();
        assert!(matches!(error, ClientError::PortTaken { port, .. } if port == taken), "{error}");
        drop(holder);
    }

    #[test]
    fn a_connection_carries_all_and_ends() {
        let listener = TcpListener::bind("[::1]:0").unwrap();
        let to = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let mut text = String::new();
            listener.accept().unwrap().0.read_to_string(&mut text).unwrap();
            text
        });
        assert_eq!(over_tcp(to, None, b"knock"), Ok(5));
        assert_eq!(server.join().unwrap(), "knock");
        let refused = over_tcp(to, None, b"knock").unwrap_err();
        assert!(refused.to_string().contains("refused"), "{refused}");
    }
}
