//! The door itself: tried by TCP from the very address that the knock came from.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use crate::error::plain;
use crate::{ClientError, Seal, Sent, Whom, knock_one};

/// A handshake that meets a closed door waits a second for the kernel's own retry; a door opens in milliseconds. So
/// the first tries are short and each next one has twice the time, for those who are far away.
const FIRST_TRY: Duration = Duration::from_millis(30);
const LONGEST_TRY: Duration = Duration::from_secs(3);
/// The time that a server on the same network needs to open; a first SYN before that would be lost.
const HEAD_START: Duration = Duration::from_millis(2);
/// Who refuses for so long has nobody listening behind the door.
const REFUSED_LONG_ENOUGH: Duration = Duration::from_secs(2);
/// Knocks that go out while one door is tried: a datagram can be lost, and one of several arrives.
const MOST_KNOCKS: u32 = 4;

/// How long to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Per address.
    pub each: Duration,
}

/// An open door.
#[derive(Debug)]
pub struct Opened {
    /// The connection.
    pub stream: TcpStream,
    /// The last knock before it.
    pub sent: Sent,
    /// From the first knock on.
    pub after: Duration,
}

/// Why a door did not open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Closed {
    /// The knock did not go out.
    #[error(transparent)]
    NotKnocked(#[from] ClientError),
    /// Nobody answered.
    #[error("no answer: {0}: the knock was not honoured, or a firewall on the way drops the connection")]
    Silent(SocketAddr),
    /// Somebody answered, and refused.
    #[error("refused: {0}: no program listens there, or a firewall rejects")]
    Refused(SocketAddr),
    /// Anything else.
    #[error("{why}: {to}")]
    Other {
        /// Where to.
        to: SocketAddr,
        /// What the system said.
        why: String,
    },
}

/// Knocks at `knock_at` and connects to `to`, both from the same address of ours; knocks again while the door stays
/// shut, since a datagram may be lost.
///
/// # Errors
/// [`Closed`] says how it ended when the time was up.
pub fn knock_and_connect(
    knock_at: SocketAddr,
    to: SocketAddr,
    patience: Patience,
    seal: &mut dyn Seal,
) -> Result<Opened, Closed> {
    let start = Instant::now();
    let mut sent = knock_one(knock_at, Whom::Source, seal)?;
    // The address of the knock is bound for the connection only where both go to one host: another host may need
    // another interface.
    let from = (knock_at.ip() == to.ip()).then_some(sent.from);
    sleep(HEAD_START);
    let mut knocks = 1;
    let mut limit = FIRST_TRY;
    loop {
        let left = patience.each.saturating_sub(start.elapsed());
        if left.is_zero() {
            return Err(Closed::Silent(to));
        }
        match connect(to, from, limit.min(left)) {
            Ok(stream) => return Ok(Opened { stream, sent, after: start.elapsed() }),
            Err(error) => judge(to, &error, start.elapsed())?,
        }
        limit = (limit * 2).min(LONGEST_TRY);
        if knocks < MOST_KNOCKS && limit > FIRST_TRY * 2 {
            knocks += 1;
            sent = knock_one(knock_at, Whom::Source, seal)?;
        }
    }
}

/// Whether a TCP connection to `to` comes about within `limit`. A door that rejects and one that drops are both closed.
///
/// # Errors
/// [`Closed`] says in which way.
pub fn reachable(to: SocketAddr, limit: Duration) -> Result<Duration, Closed> {
    let start = Instant::now();
    match connect(to, None, limit) {
        Ok(_) => Ok(start.elapsed()),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(Closed::Silent(to)),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Err(Closed::Refused(to)),
        Err(error) => Err(Closed::Other { to, why: plain(&error) }),
    }
}

/// Whether another try makes sense; waits a little where the answer came at once.
fn judge(to: SocketAddr, error: &io::Error, passed: Duration) -> Result<(), Closed> {
    let refused = error.kind() == io::ErrorKind::ConnectionRefused;
    // A rule that rejects with an ICMP message shows as one of these: the door may open the next moment.
    let rejected = refused
        || matches!(
            error.kind(),
            io::ErrorKind::HostUnreachable | io::ErrorKind::PermissionDenied | io::ErrorKind::ConnectionReset
        );
    if error.kind() == io::ErrorKind::TimedOut {
        return Ok(());
    }
    if rejected && passed < REFUSED_LONG_ENOUGH {
        sleep(Duration::from_millis(5) + passed / 4);
        return Ok(());
    }
    if refused {
        return Err(Closed::Refused(to));
    }
    Err(Closed::Other { to, why: plain(error) })
}

fn connect(to: SocketAddr, from: Option<IpAddr>, limit: Duration) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    // A link-local address cannot be bound without its interface; the route chooses the same one anyway.
    let bindable = from.filter(|from| !matches!(from, IpAddr::V6(a) if a.is_unicast_link_local()));
    if let Some(from) = bindable {
        socket.bind(&SocketAddr::new(from, 0).into())?;
    }
    socket.connect_timeout(&to.into(), limit)?;
    socket.set_tcp_nodelay(true)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};
    use std::thread;

    use super::*;

    struct Knocker;

    impl Seal for Knocker {
        fn seal(&mut self, _target: Option<IpAddr>) -> Result<Vec<u8>, ClientError> {
            Ok(b"knock".to_vec())
        }
    }

    #[test]
    fn a_door_that_opens_after_the_knock_is_entered() {
        let gate = UdpSocket::bind("127.0.0.1:0").unwrap();
        let knock_at = gate.local_addr().unwrap();
        let spare = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = spare.local_addr().unwrap();
        drop(spare);
        let server = thread::spawn(move || {
            gate.recv(&mut [0; 8]).unwrap();
            sleep(Duration::from_millis(30));
            let listener = TcpListener::bind(to).unwrap();
            listener.accept().unwrap();
        });
        let patience = Patience { each: Duration::from_secs(5) };
        let opened = knock_and_connect(knock_at, to, patience, &mut Knocker).unwrap();
        assert_eq!(opened.stream.peer_addr().unwrap(), to);
        server.join().unwrap();
    }

    #[test]
    fn a_door_that_stays_shut_is_given_up() {
        let gate = UdpSocket::bind("127.0.0.1:0").unwrap();
        let spare = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = spare.local_addr().unwrap();
        drop(spare);
        assert_eq!(reachable(to, Duration::from_secs(1)), Err(Closed::Refused(to)));
        let patience = Patience { each: Duration::from_millis(100) };
        let closed = knock_and_connect(gate.local_addr().unwrap(), to, patience, &mut Knocker).unwrap_err();
        assert_eq!(closed, Closed::Silent(to));
    }
}
