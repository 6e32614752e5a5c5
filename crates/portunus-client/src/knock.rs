//! One knock, or one to every address, and what comes back.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use portunus_crypto::{Entropy, SystemEntropy};
use portunus_dialect::native::{Code, SHORTEST};

use crate::resolve::socket_towards;
use crate::{ClientError, Heard, Whom};

/// How long an answer is waited for after each knock. The first span is longer than the second in which a server answers
/// one client once, so that the knock after it can be answered.
const WAITS: [Duration; 3] =
    [Duration::from_millis(1100), Duration::from_millis(1700), Duration::from_millis(2500)];
/// How long one of several sockets is listened to before the next.
const TURN: Duration = Duration::from_millis(5);

/// Makes the bytes of one knock; every call makes a fresh one, never the same bytes twice.
pub trait Seal {
    /// A knock that goes this way.
    ///
    /// # Errors
    /// [`ClientError::NotSealed`] says why there are no bytes.
    fn seal(&mut self, way: &Way) -> Result<Vec<u8>, ClientError>;

    /// Whether answers are to be expected.
    fn listens(&self) -> bool {
        false
    }

    /// What `bytes` say, where they are the server's answer to one of these knocks.
    fn hear(&mut self, _bytes: &[u8]) -> Option<Heard> {
        None
    }

    /// Whether a door is to be open for one source port only, so that nobody else behind our address comes in.
    fn one_flow(&self) -> bool {
        false
    }

    /// Whether it is worth knowing that a door is closed before a knock.
    fn wonders(&self) -> bool {
        false
    }

    /// A door is open now that was closed before the knock.
    fn door_opened(&mut self) {}
}

/// The way of one knock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    /// Where to.
    pub to: SocketAddr,
    /// From which address of ours.
    pub from: IpAddr,
    /// For whom the door is to open; `None`: for whom the server sees.
    pub target: Option<IpAddr>,
    /// For which source port only.
    pub source_port: Option<u16>,
}

/// What a knock asks for besides: not every dialect can say it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Request {
    /// To close what is open, rather than to open.
    pub close: bool,
    /// For so many seconds; 0: as the server likes.
    pub seconds: u32,
    /// Only these services; none: all that the client may have.
    pub services: Vec<Box<str>>,
    /// The one-time code.
    pub code: Option<Code>,
}

/// A knock that went out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Where to.
    pub to: SocketAddr,
    /// From which address of ours: that is whom the server opens for, if nobody translates it on the way.
    pub from: IpAddr,
    /// How many bytes.
    pub bytes: usize,
}

/// Sends one knock to one address.
///
/// # Errors
/// No way there, nobody to open for, or the system did not take it.
pub fn knock_one(to: SocketAddr, whom: Whom, seal: &mut dyn Seal) -> Result<Sent, ClientError> {
    Line::open(to)?.knock(whom, None, seal)
}

/// A socket that knocks go out by, and answers come in.
pub(crate) struct Line {
    socket: UdpSocket,
    to: SocketAddr,
    from: IpAddr,
}

impl Line {
    pub(crate) fn open(to: SocketAddr) -> Result<Self, ClientError> {
        let socket = socket_towards(to)?;
        let from = socket.local_addr().map_err(|error| ClientError::no_route(to, &error))?;
        Ok(Self { socket, to, from: from.ip().to_canonical() })
    }

    /// From which address of ours.
    pub(crate) const fn from(&self) -> IpAddr {
        self.from
    }

    pub(crate) fn knock(
        &self,
        whom: Whom,
        source_port: Option<u16>,
        seal: &mut dyn Seal,
    ) -> Result<Sent, ClientError> {
        let (to, from) = (self.to, self.from);
        let bytes = seal.seal(&Way { to, from, target: whom.target(from)?, source_port })?;
        let mut sent = self.socket.send(&bytes);
        if sent.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
            // That is what became of the knock before this one.
            sent = self.socket.send(&bytes);
        }
        Ok(Sent { to, from, bytes: sent.map_err(|error| ClientError::not_sent(to, &error))? })
    }

    /// The answer that comes within `limit`, if one does. What strangers send is passed over.
    pub(crate) fn hear(&self, limit: Duration, seal: &mut dyn Seal) -> Option<Heard> {
        let start = Instant::now();
        // No answer is longer than the shortest knock; the byte more tells what is.
        let mut bytes = [0; SHORTEST + 1];
        loop {
            let left = limit.saturating_sub(start.elapsed());
            // A socket takes no span of nothing.
            self.socket.set_read_timeout(Some(left.max(Duration::from_millis(1)))).ok()?;
            match self.socket.recv(&mut bytes) {
                Ok(length) => {
                    let heard = bytes.get(..length).and_then(|answer| seal.hear(answer));
                    if heard.is_some() {
                        return heard;
                    }
                }
                Err(error) if is_late(&error) => return None,
                // A host on the way says that nothing listens there: that proves nothing, and a knock is heard by who
                // does not listen, too.
                Err(_) => std::thread::sleep(TURN.min(left)),
            }
            if left.is_zero() {
                return None;
            }
        }
    }
}

fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// Knocks at each address, and where an answer may come, waits for it: a fresh knock goes out after each span without one.
/// The first answer ends it, since a server answers a client once a second.
///
/// # Errors
/// The first failure, when no knock at all went out.
pub fn knock_and_hear(
    to: &[SocketAddr],
    whom: Whom,
    seal: &mut dyn Seal,
) -> Result<(Vec<Sent>, Option<Heard>), ClientError> {
    if !seal.listens() {
        return Ok((knock_all(to, whom, seal)?, None));
    }
    let mut first = None;
    let mut lines = Vec::new();
    for &address in to {
        match Line::open(address) {
            Ok(line) => lines.push(line),
            Err(error) => first = first.or(Some(error)),
        }
    }
    let mut all = Vec::new();
    for wait in WAITS {
        let mut sent = Vec::new();
        for line in &lines {
            match line.knock(whom, None, seal) {
                Ok(one) => sent.push(one),
                Err(error) => first = first.or(Some(error)),
            }
        }
        if sent.is_empty() && all.is_empty() {
            break;
        }
        all.append(&mut sent);
        let heard = hear_any(&lines, spread(wait), seal);
        if heard.is_some() {
            return Ok((all, heard));
        }
    }
    match first {
        Some(error) if all.is_empty() => Err(error),
        Some(_) | None => Ok((all, None)),
    }
}

/// Half as long again at most: of several programs that knock at once for one client, which has one answer a second, not all
/// come again together.
fn spread(wait: Duration) -> Duration {
    let mut drawn = [0];
    // Without randomness it is as it would be alone.
    let _ = SystemEntropy.fill(&mut drawn);
    wait + wait / 2 * u32::from(drawn[0]) / 255
}

/// The first answer on any of these lines.
pub(crate) fn hear_any(lines: &[Line], limit: Duration, seal: &mut dyn Seal) -> Option<Heard> {
    let start = Instant::now();
    loop {
        let left = limit.saturating_sub(start.elapsed());
        let turn = if lines.len() == 1 { left } else { TURN.min(left) };
        for line in lines {
            let heard = line.hear(turn, seal);
            if heard.is_some() {
                return heard;
            }
        }
        if left.is_zero() || lines.is_empty() {
            return None;
        }
    }
}

/// Sends a fresh knock to each address: every family that the host has, so that the door is open for whichever one
/// the next program uses. An address that cannot be reached costs the others nothing.
///
/// # Errors
/// The first failure, when no knock at all went out.
pub fn knock_all(to: &[SocketAddr], whom: Whom, seal: &mut dyn Seal) -> Result<Vec<Sent>, ClientError> {
    let mut sent = Vec::new();
    let mut first = None;
    for &address in to {
        match knock_one(address, whom, seal) {
            Ok(one) => sent.push(one),
            Err(error) => first = first.or(Some(error)),
        }
    }
    match first {
        Some(error) if sent.is_empty() => Err(error),
        Some(_) | None => Ok(sent),
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    struct Count(u8);

    impl Seal for Count {
        fn seal(&mut self, way: &Way) -> Result<Vec<u8>, ClientError> {
            self.0 += 1;
            Ok(format!("{} {:?}", self.0, way.target).into_bytes())
        }
    }

    #[test]
    fn each_address_gets_a_knock_of_its_own() {
        let one = UdpSocket::bind("127.0.0.1:0").unwrap();
        let two = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = [one.local_addr().unwrap(), two.local_addr().unwrap()];
        let sent = knock_all(&to, Whom::Source, &mut Count(0)).unwrap();
        assert_eq!(sent.len(), 2);
        let mut bytes = [0; 64];
        let length = one.recv(&mut bytes).unwrap();
        assert_eq!(&bytes[..length], b"1 None");
        let length = two.recv(&mut bytes).unwrap();
        assert_eq!(&bytes[..length], b"2 None");
    }

    #[test]
    fn nothing_is_sent_for_whom_nobody_opens() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        server.set_nonblocking(true).unwrap();
        let to = server.local_addr().unwrap();
        let refused = knock_all(&[to], Whom::Address([224, 0, 0, 1].into()), &mut Count(0));
        assert!(matches!(refused, Err(ClientError::NotOpenable { .. })));
        assert!(server.recv(&mut [0; 8]).is_err());
    }
}
