//! What the front and the grantor say to each other: frames of one fixed size, many to a message.
//!
//! The grantor must not trust a byte of it: the front has read strangers' packets. So reading a frame is total, makes
//! only valid values, and whatever does not fit is a [`FrameError`], never a guess.
//!
//! Longer than most files: writing and reading of each kind stand side by side, so that one look shows that they agree.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use portunus_model::{ClientName, Closing, Mono, Opened, Opening, PortSpec, Proto, Way};

/// The size of one frame, in bytes.
pub const SIZE: usize = 240;

/// The most frames in one message.
pub const MOST: usize = 128;

/// The longest message, in bytes.
pub const LONGEST_MESSAGE: usize = SIZE * MOST;

/// How many ports one frame holds. An opening of more takes several frames in a row, of one message.
pub const PORTS: usize = 16;

/// The most ports of one opening: what fits into one message. The keeper refuses a client that has more.
pub const MOST_PORTS: usize = PORTS * MOST;

/// The places of a frame's fields. Numbers are little endian.
mod field {
    use std::ops::Range;

    pub(super) const KIND: usize = 0;
    pub(super) const MORE: usize = 1;
    pub(super) const NAME_LENGTH: usize = 2;
    pub(super) const FAMILY: usize = 3;
    pub(super) const PORT_COUNT: usize = 4;
    pub(super) const RESULT: usize = 5;
    pub(super) const TICKET: Range<usize> = 8..16;
    pub(super) const NANOS: Range<usize> = 16..24;
    pub(super) const ADDRESS: Range<usize> = 24..40;
    pub(super) const NAME: Range<usize> = 40..104;
    pub(super) const PORTS: Range<usize> = 104..184;
    pub(super) const PORT: usize = 5;
    pub(super) const WAY: Range<usize> = 184..240;
}

/// One thing said, in either direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// To the grantor: please open, and answer with the ticket.
    Open(u64, Opening),
    /// To the grantor: please close.
    Close(Closing),
    /// To the grantor: end what this client has established where nobody else has a grant, and answer with the ticket.
    /// Its grants are to be closed before.
    Kill(u64, ClientName),
    /// To the front: what became of the opening.
    Opened(u64, Opened),
    /// To the front, before [`Said::Killed`]: this was kept, because this other client has or had a grant for it too.
    Kept {
        /// Of which killing.
        ticket: u64,
        /// Whose grant it is.
        client: ClientName,
        /// For which address.
        address: IpAddr,
        /// Which ports; none: everything through this host.
        ports: Box<[PortSpec]>,
    },
    /// To the front: what became of the killing.
    Killed(u64, Killed),
    /// To the front, after a start: this is still open, until then.
    Restored {
        /// Whose.
        client: ClientName,
        /// For which address.
        address: IpAddr,
        /// Which ports; none: everything through this host.
        ports: Box<[PortSpec]>,
        /// Until when.
        until: Mono,
    },
    /// To the front, after the last [`Said::Restored`].
    RestoredAll,
}

/// What became of a [`Said::Kill`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Killed {
    /// It is done.
    Done {
        /// How many sockets of this host were ended.
        sockets: u32,
        /// How many other flows.
        flows: u32,
    },
    /// The peers are cut off, but this kernel cannot end sockets: they end by their own timeouts.
    SocketsStay,
    /// It was done in part at most; the grantor's log says why.
    Failed,
}

/// What is wrong with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Its length is no whole number of frames, or more than [`MOST`].
    #[error("a message of {0} bytes is no row of frames")]
    Length(usize),
    /// A kind that nobody sends.
    #[error("a frame of the unknown kind {0}")]
    Kind(u8),
    /// A name that is no client's name.
    #[error("a frame with a name that is none")]
    Name,
    /// An address family other than 4 and 6, or none where one is needed.
    #[error("a frame with no address")]
    Address,
    /// Not a port, or none, or more than fit.
    #[error("a frame with ports that are none")]
    Ports,
    /// A destination or a translation that is none, or one that does not go with the ports.
    #[error("a frame with a way that is none")]
    Way,
    /// A result that nobody gives.
    #[error("a frame with the unknown result {0}")]
    Result(u8),
    /// Bytes where there must be none, or a row of frames that is broken off.
    #[error("a frame with something in a place that must be empty")]
    Filling,
}

const OPEN: u8 = 1;
const CLOSE: u8 = 2;
const OPENED: u8 = 3;
const RESTORED: u8 = 4;
const RESTORED_ALL: u8 = 5;
const KILL: u8 = 6;
const KEPT: u8 = 7;
const KILLED: u8 = 8;

/// Gathers what is said into messages.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Adds one thing; false when it does not fit into this message any more (then send, and add it again), or, for an
    /// empty message, into any.
    #[must_use]
    pub fn add(&mut self, said: &Said) -> bool {
        let before = self.bytes.len();
        match said {
            Said::Open(ticket, opening) => {
                let lasting = u64::try_from(opening.lasting.as_nanos()).unwrap_or(u64::MAX);
                let way = opening.way.to_bytes(opening.destination);
                let head = Head { kind: OPEN, ticket: *ticket, nanos: lasting, result: 0, way };
                self.row(&head, Some(&opening.client), Some(opening.address), &opening.ports);
            }
            Said::Close(closing) => {
                let head = Head { kind: CLOSE, ticket: 0, nanos: 0, result: 0, way: NO_WAY };
                self.row(&head, closing.client.as_ref(), closing.address, &[]);
            }
            Said::Opened(ticket, opened) => {
                let head =
                    Head { kind: OPENED, ticket: *ticket, nanos: 0, result: result(*opened), way: NO_WAY };
                self.row(&head, None, None, &[]);
            }
            Said::Restored { client, address, ports, until } => {
                let head =
                    Head { kind: RESTORED, ticket: 0, nanos: until.as_nanos(), result: 0, way: NO_WAY };
                self.row(&head, Some(client), Some(*address), ports);
            }
            Said::Kill(ticket, client) => {
                let head = Head { kind: KILL, ticket: *ticket, nanos: 0, result: 0, way: NO_WAY };
                self.row(&head, Some(client), None, &[]);
            }
            Said::Kept { ticket, client, address, ports } => {
                let head = Head { kind: KEPT, ticket: *ticket, nanos: 0, result: 0, way: NO_WAY };
                self.row(&head, Some(client), Some(*address), ports);
            }
            Said::Killed(ticket, killed) => {
                let (result, counts) = killed_numbers(*killed);
                let head = Head { kind: KILLED, ticket: *ticket, nanos: counts, result, way: NO_WAY };
                self.row(&head, None, None, &[]);
            }
            Said::RestoredAll => {
                let head = Head { kind: RESTORED_ALL, ticket: 0, nanos: 0, result: 0, way: NO_WAY };
                self.row(&head, None, None, &[]);
            }
        }
        if self.bytes.len() > LONGEST_MESSAGE {
            self.bytes.truncate(before);
            return false;
        }
        true
    }

    /// The message so far; empty when nothing was added.
    #[must_use]
    pub fn message(&self) -> &[u8] {
        &self.bytes
    }

    /// Begins the next message.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    fn row(&mut self, head: &Head, client: Option<&ClientName>, address: Option<IpAddr>, ports: &[PortSpec]) {
        let mut rest = ports;
        loop {
            let (now, later) = rest.split_at(rest.len().min(PORTS));
            self.bytes.extend_from_slice(&frame(head, client, address, now, !later.is_empty()));
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
    }
}

struct Head {
    kind: u8,
    ticket: u64,
    nanos: u64,
    result: u8,
    way: [u8; Way::BYTES],
}

/// To this host itself, at any address of it.
const NO_WAY: [u8; Way::BYTES] = [0; Way::BYTES];

fn frame(
    head: &Head,
    client: Option<&ClientName>,
    address: Option<IpAddr>,
    ports: &[PortSpec],
    more: bool,
) -> [u8; SIZE] {
    let mut out = [0; SIZE];
    let mut put = |range: std::ops::Range<usize>, bytes: &[u8]| {
        for (to, from) in out.iter_mut().skip(range.start).zip(bytes.iter().take(range.len())) {
            *to = *from;
        }
    };
    let name = client.map_or(&b""[..], |name| name.as_str().as_bytes());
    let (family, address) = match address {
        None => (0, [0; 16]),
        Some(IpAddr::V4(a)) => (4, a.to_ipv6_mapped().octets()),
        Some(IpAddr::V6(a)) => (6, a.octets()),
    };
    put(field::KIND..field::KIND + 1, &[head.kind]);
    put(field::MORE..field::MORE + 1, &[u8::from(more)]);
    put(field::NAME_LENGTH..field::NAME_LENGTH + 1, &[u8::try_from(name.len()).unwrap_or(0)]);
    put(field::FAMILY..field::FAMILY + 1, &[family]);
    put(field::PORT_COUNT..field::PORT_COUNT + 1, &[u8::try_from(ports.len()).unwrap_or(0)]);
    put(field::RESULT..field::RESULT + 1, &[head.result]);
    put(field::TICKET, &head.ticket.to_le_bytes());
    put(field::NANOS, &head.nanos.to_le_bytes());
    put(field::ADDRESS, &address);
    put(field::NAME, name);
    put(field::WAY, &head.way);
    for (index, port) in ports.iter().enumerate() {
        let start = field::PORTS.start + index * field::PORT;
        let [a, b] = port.first().to_le_bytes();
        let [c, d] = port.last().to_le_bytes();
        put(start..start + field::PORT, &[port.proto().number(), a, b, c, d]);
    }
    out
}

fn result(opened: Opened) -> u8 {
    match opened {
        Opened::Open => 1,
        Opened::Refused => 2,
        Opened::Full => 3,
        Opened::Failed => 4,
    }
}

/// The result, and the counts in the place of the nanoseconds: sockets in the lower half, flows in the upper.
fn killed_numbers(killed: Killed) -> (u8, u64) {
    match killed {
        Killed::Done { sockets, flows } => (1, u64::from(flows) << 32 | u64::from(sockets)),
        Killed::SocketsStay => (2, 0),
        Killed::Failed => (3, 0),
    }
}

/// Reads a message whole. One wrong frame and nothing of the message counts: whoever sends such a thing is not us.
///
/// # Errors
/// [`FrameError`] says what the first wrong thing is.
pub fn read(message: &[u8]) -> Result<Vec<Said>, FrameError> {
    let (frames, rest) = message.as_chunks::<SIZE>();
    if !rest.is_empty() || frames.is_empty() || frames.len() > MOST {
        return Err(FrameError::Length(message.len()));
    }
    let mut said = Vec::with_capacity(frames.len());
    let mut frames = frames.iter();
    while let Some(first) = frames.next() {
        said.push(row(first, &mut frames)?);
    }
    Ok(said)
}

fn row<'a>(
    first: &'a [u8; SIZE],
    rest: &mut impl Iterator<Item = &'a [u8; SIZE]>,
) -> Result<Said, FrameError> {
    let head = View(first);
    let mut ports = head.ports()?;
    let mut last = first;
    while View(last).more()? {
        last = rest.next().ok_or(FrameError::Filling)?;
        // All but the ports must be the same, or it is not one opening.
        if !View(last).continues(first) || View(last).ports()?.is_empty() {
            return Err(FrameError::Filling);
        }
        ports.extend(View(last).ports()?);
    }
    head.said(ports)
}

struct View<'a>(&'a [u8; SIZE]);

impl View<'_> {
    fn byte(&self, at: usize) -> u8 {
        self.0.get(at).copied().unwrap_or(0)
    }

    fn bytes<const N: usize>(&self, start: usize) -> [u8; N] {
        self.0.get(start..start + N).and_then(|part| part.try_into().ok()).unwrap_or([0; N])
    }

    fn more(&self) -> Result<bool, FrameError> {
        match self.byte(field::MORE) {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(FrameError::Filling),
        }
    }

    fn continues(&self, first: &[u8; SIZE]) -> bool {
        let same = |range: std::ops::Range<usize>| self.0.get(range.clone()) == first.get(range);
        same(field::KIND..field::MORE)
            && same(field::NAME_LENGTH..field::PORT_COUNT)
            && same(field::RESULT..field::PORTS.start)
            && same(field::WAY)
    }

    fn ports(&self) -> Result<Vec<PortSpec>, FrameError> {
        let count = usize::from(self.byte(field::PORT_COUNT));
        if count > PORTS {
            return Err(FrameError::Ports);
        }
        let mut ports = Vec::with_capacity(count);
        for index in 0..PORTS {
            let raw: [u8; field::PORT] = self.bytes(field::PORTS.start + index * field::PORT);
            if index >= count {
                if raw != [0; field::PORT] {
                    return Err(FrameError::Filling);
                }
                continue;
            }
            let [proto, a, b, c, d] = raw;
            let proto = match proto {
                6 => Proto::Tcp,
                17 => Proto::Udp,
                _ => return Err(FrameError::Ports),
            };
            let (first, last) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
            ports.push(PortSpec::range(proto, first, last).map_err(|_| FrameError::Ports)?);
        }
        Ok(ports)
    }

    fn client(&self) -> Result<Option<ClientName>, FrameError> {
        let length = usize::from(self.byte(field::NAME_LENGTH));
        let room: [u8; 64] = self.bytes(field::NAME.start);
        let (name, filling) = room.split_at_checked(length).ok_or(FrameError::Name)?;
        if filling.iter().any(|byte| *byte != 0) {
            return Err(FrameError::Filling);
        }
        if name.is_empty() {
            return Ok(None);
        }
        let name = std::str::from_utf8(name).map_err(|_| FrameError::Name)?;
        ClientName::new(name).map(Some).map_err(|_| FrameError::Name)
    }

    fn address(&self) -> Result<Option<IpAddr>, FrameError> {
        let address = Ipv6Addr::from(self.bytes::<16>(field::ADDRESS.start));
        let v4: Option<Ipv4Addr> = address.to_ipv4_mapped();
        match (self.byte(field::FAMILY), v4) {
            (0, _) if address.is_unspecified() => Ok(None),
            (4, Some(v4)) => Ok(Some(IpAddr::V4(v4))),
            // A mapped address is the IPv4 address that it is, and must say so.
            (6, None) => Ok(Some(IpAddr::V6(address))),
            _ => Err(FrameError::Address),
        }
    }

    fn nothing_but(&self, used: &[std::ops::Range<usize>]) -> Result<(), FrameError> {
        let always = [field::KIND..field::KIND + 1, field::MORE..field::MORE + 1];
        let free = |at: usize| !used.iter().chain(&always).any(|range| range.contains(&at));
        let filled = self.0.iter().enumerate().any(|(at, byte)| *byte != 0 && free(at));
        if filled { Err(FrameError::Filling) } else { Ok(()) }
    }

    fn said(&self, ports: Vec<PortSpec>) -> Result<Said, FrameError> {
        let ticket = u64::from_le_bytes(self.bytes(field::TICKET.start));
        let nanos = u64::from_le_bytes(self.bytes(field::NANOS.start));
        let who = [field::NAME_LENGTH..field::PORT_COUNT, field::ADDRESS, field::NAME];
        let [short, address, name] = who.clone();
        let whole =
            [short.clone(), address, name.clone(), field::PORT_COUNT..field::PORT_COUNT + 1, field::PORTS];
        match self.byte(field::KIND) {
            OPEN => {
                self.nothing_but(&[&whole[..], &[field::TICKET, field::NANOS, field::WAY]].concat())?;
                let (client, address, ports) = self.grant(ports)?;
                let (destination, way) =
                    Way::from_bytes(&self.bytes(field::WAY.start)).ok_or(FrameError::Way)?;
                // Everything is no port, and a port is not everything.
                if ports.is_empty() != matches!(way, Way::All { .. }) {
                    return Err(if ports.is_empty() { FrameError::Ports } else { FrameError::Way });
                }
                let lasting = Duration::from_nanos(nanos);
                Ok(Said::Open(ticket, Opening { client, address, ports, lasting, destination, way }))
            }
            CLOSE => {
                self.nothing_but(&who)?;
                Ok(Said::Close(Closing { client: self.client()?, address: self.address()? }))
            }
            OPENED => {
                self.nothing_but(&[field::TICKET, field::RESULT..field::RESULT + 1])?;
                Ok(Said::Opened(ticket, self.opened()?))
            }
            RESTORED => {
                self.nothing_but(&[&whole[..], &[field::NANOS]].concat())?;
                let (client, address, ports) = self.grant(ports)?;
                Ok(Said::Restored { client, address, ports, until: Mono::from_nanos(nanos) })
            }
            KILL => {
                self.nothing_but(&[short, name, field::TICKET])?;
                match (self.client()?, self.address()?) {
                    (Some(client), None) => Ok(Said::Kill(ticket, client)),
                    (None, _) => Err(FrameError::Name),
                    (Some(_), Some(_)) => Err(FrameError::Address),
                }
            }
            KEPT => {
                self.nothing_but(&[&whole[..], &[field::TICKET]].concat())?;
                let (client, address, ports) = self.grant(ports)?;
                Ok(Said::Kept { ticket, client, address, ports })
            }
            KILLED => {
                self.nothing_but(&[field::TICKET, field::NANOS, field::RESULT..field::RESULT + 1])?;
                Ok(Said::Killed(ticket, self.killed(nanos)?))
            }
            RESTORED_ALL => {
                self.nothing_but(&[])?;
                Ok(Said::RestoredAll)
            }
            unknown => Err(FrameError::Kind(unknown)),
        }
    }

    fn grant(&self, ports: Vec<PortSpec>) -> Result<(ClientName, IpAddr, Box<[PortSpec]>), FrameError> {
        let client = self.client()?.ok_or(FrameError::Name)?;
        let address = self.address()?.ok_or(FrameError::Address)?;
        Ok((client, address, ports.into()))
    }

    fn killed(&self, counts: u64) -> Result<Killed, FrameError> {
        let half = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).unwrap_or(u32::MAX);
        match (self.byte(field::RESULT), counts) {
            (1, counts) => Ok(Killed::Done { sockets: half(counts), flows: half(counts >> 32) }),
            (2, 0) => Ok(Killed::SocketsStay),
            (3, 0) => Ok(Killed::Failed),
            (2 | 3, _) => Err(FrameError::Filling),
            (unknown, _) => Err(FrameError::Result(unknown)),
        }
    }

    fn opened(&self) -> Result<Opened, FrameError> {
        match self.byte(field::RESULT) {
            1 => Ok(Opened::Open),
            2 => Ok(Opened::Refused),
            3 => Ok(Opened::Full),
            4 => Ok(Opened::Failed),
            unknown => Err(FrameError::Result(unknown)),
        }
    }
}

#[cfg(test)]
mod tests {
    use portunus_model::{Nat, NatSource};
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> ClientName {
        ClientName::new(text).unwrap()
    }

    fn opening(ports: usize) -> Said {
        let ports =
            (1..=ports).map(|n| PortSpec::single(Proto::Tcp, u16::try_from(n).unwrap()).unwrap()).collect();
        let address = "2001:db8::7".parse().unwrap();
        Said::Open(
            7,
            Opening {
                client: name("alice"),
                address,
                ports,
                lasting: Duration::from_secs(30),
                destination: None,
                way: Way::Here,
            },
        )
    }

    fn nat() -> Nat {
        let host = "10.0.0.2".parse().unwrap();
        Nat { local: false, host, port: 8022, rewrite: true, source: NatSource::Kept }
    }

    fn through(destination: Option<&str>, way: Way, ports: usize) -> Said {
        let Said::Open(ticket, plain) = opening(ports) else { panic!("not an opening") };
        Said::Open(ticket, Opening { destination: destination.map(|to| to.parse().unwrap()), way, ..plain })
    }

    fn message(said: &[Said]) -> Vec<u8> {
        let mut writer = Writer::default();
        for one in said {
            assert!(writer.add(one));
        }
        writer.message().to_vec()
    }

    #[test]
    fn what_is_said_comes_back() {
        let ports: Box<[_]> = PortSpec::parse("8000-8010").unwrap().into();
        let said = vec![
            opening(1),
            opening(16),
            opening(17),
            through(Some("198.51.100.1"), Way::Nat(nat()), 2),
            through(None, Way::All { to: Some(nat().host), source: NatSource::Masquerade }, 0),
            Said::Close(Closing { client: None, address: None }),
            Said::Close(Closing {
                client: Some(name(&"a".repeat(64))),
                address: Some("192.0.2.1".parse().unwrap()),
            }),
            Said::Opened(u64::MAX, Opened::Full),
            Said::Restored {
                client: name("Jörg"),
                address: "192.0.2.7".parse().unwrap(),
                ports,
                until: Mono::from_nanos(9),
            },
            Said::RestoredAll,
            Said::Kill(3, name("alice")),
            Said::Kept {
                ticket: 3,
                client: name("bob"),
                address: "2001:db8::7".parse().unwrap(),
                ports: PortSpec::parse("22").unwrap().into(),
            },
            Said::Killed(3, Killed::Done { sockets: 1, flows: u32::MAX }),
            Said::Killed(4, Killed::SocketsStay),
            Said::Killed(5, Killed::Failed),
        ];
        let bytes = message(&said);
        assert_eq!(bytes.len(), SIZE * 16);
        assert_eq!(read(&bytes), Ok(said));
    }

    #[test]
    fn the_largest_opening_fills_one_message_and_no_more_fits() {
        let mut writer = Writer::default();
        assert!(writer.add(&opening(MOST_PORTS)));
        assert!(!writer.add(&Said::RestoredAll));
        assert_eq!(read(writer.message()).map(|said| said.len()), Ok(1));
        writer.clear();
        assert!(!writer.add(&opening(MOST_PORTS + 1)));
        assert!(writer.message().is_empty());
    }

    #[test]
    fn messages_of_a_wrong_length_are_refused() {
        let good = message(&[opening(1)]);
        assert_eq!(read(&[]), Err(FrameError::Length(0)));
        assert_eq!(read(&good[..SIZE - 1]), Err(FrameError::Length(SIZE - 1)));
        assert_eq!(read(&vec![0; SIZE * (MOST + 1)]), Err(FrameError::Length(SIZE * (MOST + 1))));
    }

    #[test]
    fn each_wrong_field_is_refused() {
        let wrong = |at: usize, byte: u8| {
            let mut bytes = message(&[opening(1)]);
            bytes[at] = byte;
            read(&bytes)
        };
        assert_eq!(wrong(field::KIND, 0), Err(FrameError::Kind(0)));
        assert_eq!(wrong(field::KIND, 9), Err(FrameError::Kind(9)));
        assert_eq!(wrong(field::MORE, 1), Err(FrameError::Filling));
        assert_eq!(wrong(field::NAME_LENGTH, 65), Err(FrameError::Name));
        assert_eq!(wrong(field::NAME_LENGTH, 0), Err(FrameError::Filling));
        assert_eq!(wrong(field::NAME.start, b'/'), Err(FrameError::Name));
        assert_eq!(wrong(field::FAMILY, 4), Err(FrameError::Address));
        assert_eq!(wrong(field::FAMILY, 0), Err(FrameError::Address));
        assert_eq!(wrong(field::PORT_COUNT, 17), Err(FrameError::Ports));
        assert_eq!(wrong(field::PORT_COUNT, 0), Err(FrameError::Filling));
        assert_eq!(wrong(field::PORTS.start, 1), Err(FrameError::Ports));
        assert_eq!(wrong(field::PORTS.start + 1, 0), Err(FrameError::Ports));
        assert_eq!(wrong(field::RESULT, 1), Err(FrameError::Filling));
        assert_eq!(wrong(SIZE - 1, 1), Err(FrameError::Way));
        assert_eq!(wrong(field::WAY.start, 7), Err(FrameError::Way));
    }

    #[test]
    fn ports_and_everything_exclude_each_other() {
        let all = Way::All { to: None, source: NatSource::Kept };
        assert_eq!(read(&message(&[through(None, all, 1)])), Err(FrameError::Way));
        assert_eq!(read(&message(&[through(None, Way::Here, 0)])), Err(FrameError::Ports));
        assert_eq!(read(&message(&[through(None, Way::Nat(nat()), 0)])), Err(FrameError::Ports));
        let mut closing = message(&[Said::Close(Closing { client: None, address: None })]);
        closing[field::WAY.start + 1] = 1;
        assert_eq!(read(&closing), Err(FrameError::Filling));
    }

    #[test]
    fn a_row_that_breaks_off_or_changes_its_mind_is_refused() {
        let mut bytes = message(&[opening(17)]);
        assert_eq!(read(&bytes[..SIZE]), Err(FrameError::Filling));
        bytes[SIZE + field::ADDRESS.end - 1] ^= 1;
        assert_eq!(read(&bytes), Err(FrameError::Filling));
        let mut bytes = message(&[through(None, Way::Nat(nat()), 17)]);
        bytes[SIZE + field::WAY.end - 1] ^= 1;
        assert_eq!(read(&bytes), Err(FrameError::Filling));
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..SIZE * 3)) {
            let _ = read(&bytes);
        }

        #[test]
        fn what_is_read_is_written_the_same(at in 0..SIZE, byte in any::<u8>()) {
            let mut bytes = message(&[opening(2)]);
            bytes[at] = byte;
            if let Ok(said) = read(&bytes) {
                prop_assert_eq!(message(&said), bytes);
            }
        }
    }
}
