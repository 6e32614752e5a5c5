//! The door itself: tried by TCP from the very address that the knock came from.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

use portunus_dialect::native::Status;

use crate::dial::{connect, own_port};
use crate::error::plain;
use crate::knock::Line;
use crate::{ClientError, Heard, Seal, Sent, Whom};

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
/// A door for one source port is tried no longer: where the port is rewritten on the way it stays shut for ever.
const ONE_FLOW: Duration = Duration::from_secs(3);
/// A door that is open answers within this time, so that one that does not may be called closed.
const LOOK: Duration = Duration::from_secs(1);

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
    /// For whom it is open.
    pub to_whom: ToWhom,
}

/// For whom a door is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToWhom {
    /// For all that comes from this address.
    Address,
    /// For this connection only.
    Flow,
    /// For this connection it was asked, and did not open: somebody rewrites the port on the way, or the server does not open
    /// for one. So it is open for the address.
    AddressAfterAll,
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
    /// The server said that it did not open.
    #[error("{0}")]
    Answered(Heard),
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
/// shut, since a datagram may be lost. Where it can be, the door is asked for this one connection only, and for the address
/// when it stays shut.
///
/// # Errors
/// [`Closed`] says how it ended when the time was up.
pub fn knock_and_connect(
    knock_at: SocketAddr,
    to: SocketAddr,
    patience: Patience,
    seal: &mut dyn Seal,
) -> Result<Opened, Closed> {
    let closed_before = seal.wonders() && reachable(to, LOOK).is_err();
    let line = Line::open(knock_at)?;
    // The address of the knock is bound for the connection only where both go to one host: another host may need
    // another interface.
    let from = (knock_at.ip() == to.ip()).then_some(line.from());
    let start = Instant::now();
    let asked = if seal.one_flow() { own_port(to, from) } else { None };
    let visit = Visit { line: &line, to, from, start };
    let mut to_whom = ToWhom::Address;
    if let Some(port) = asked {
        match visit.pay(patience.each.min(ONE_FLOW), Some(port), seal) {
            Ok((stream, sent)) => {
                to_whom = ToWhom::Flow;
                return Ok(visit.opened((stream, sent), to_whom, closed_before, seal));
            }
            // A server may open no door for one port and one for the address: that is asked for, and answered, by itself.
            Err(Closed::Answered(Heard { status: Status::NotAllowed, .. })) => {
                to_whom = ToWhom::AddressAfterAll;
            }
            Err(closed @ (Closed::NotKnocked(_) | Closed::Answered(_))) => return Err(closed),
            Err(Closed::Silent(_) | Closed::Refused(_) | Closed::Other { .. }) => {
                to_whom = ToWhom::AddressAfterAll;
            }
        }
    }
    let came = visit.pay(patience.each, None, seal)?;
    Ok(visit.opened(came, to_whom, closed_before, seal))
}

/// One visit to a door.
struct Visit<'a> {
    line: &'a Line,
    to: SocketAddr,
    from: Option<IpAddr>,
    start: Instant,
}

impl Visit<'_> {
    /// Knocks and tries the door until `limit` is up, counted from now on.
    fn pay(
        &self,
        limit: Duration,
        port: Option<u16>,
        seal: &mut dyn Seal,
    ) -> Result<(TcpStream, Sent), Closed> {
        let (start, to) = (Instant::now(), self.to);
        let mut sent = self.line.knock(Whom::Source, port, seal)?;
        sleep(HEAD_START);
        let mut knocks = 1;
        let mut this_try = FIRST_TRY;
        loop {
            let left = limit.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Err(Closed::Silent(to));
            }
            match connect(to, self.from, port, this_try.min(left)) {
                Ok(stream) => return Ok((stream, sent)),
                Err(error) => {
                    self.refused(seal)?;
                    judge(to, &error, start.elapsed())?;
                }
            }
            this_try = (this_try * 2).min(LONGEST_TRY);
            if knocks < MOST_KNOCKS && this_try > FIRST_TRY * 2 {
                knocks += 1;
                sent = self.line.knock(Whom::Source, port, seal)?;
            }
        }
    }

    /// Says so when the server answered that it does not open; a door that it opens may still be on its way.
    fn refused(&self, seal: &mut dyn Seal) -> Result<(), Closed> {
        match self.answer(seal) {
            Some(heard) if heard.status != Status::Granted => Err(Closed::Answered(heard)),
            Some(_) | None => Ok(()),
        }
    }

    fn answer(&self, seal: &mut dyn Seal) -> Option<Heard> {
        if seal.listens() { self.line.hear(Duration::ZERO, seal) } else { None }
    }

    fn opened(
        &self,
        (stream, sent): (TcpStream, Sent),
        to_whom: ToWhom,
        closed_before: bool,
        seal: &mut dyn Seal,
    ) -> Opened {
        // What it proves of the keys is worth a look; the door is open whatever it says.
        self.answer(seal);
        if closed_before {
            seal.door_opened();
        }
        Opened { stream, sent, after: self.start.elapsed(), to_whom }
    }
}

/// Whether a TCP connection to `to` comes about within `limit`. A door that rejects and one that drops are both closed.
///
/// # Errors
/// [`Closed`] says in which way.
pub fn reachable(to: SocketAddr, limit: Duration) -> Result<Duration, Closed> {
    let start = Instant::now();
    match connect(to, None, None, limit) {
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

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};
    use std::thread;

    use super::*;
    use crate::Way;

    struct Knocker;

    impl Seal for Knocker {
        fn seal(&mut self, _way: &Way) -> Result<Vec<u8>, ClientError> {
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
