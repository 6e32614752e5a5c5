//! Bytes, into what was said. Total: whatever does not fit is an error.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use portunus_model::{Cause, ClientName, Closing, Grounds, Mono, Opened, Opening, PortSpec, Proto, Way};

use super::{
    CLOSE, FrameError, KEPT, KILL, KILLED, Killed, MOST, OPEN, OPENED, PORTS, RESTORED, RESTORED_ALL, SETTLE,
    SETTLED, SIZE, Said, field,
};

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
            && same(field::GROUNDS)
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
                let grant = [field::NANOS, field::WAY, field::GROUNDS];
                self.nothing_but(&[&whole[..], &grant, &[field::TICKET]].concat())?;
                let (client, address, ports) = self.grant(ports)?;
                let (destination, way, grounds) = self.way(&ports)?;
                let lasting = Duration::from_nanos(nanos);
                Ok(Said::Open(ticket, Opening { client, address, ports, lasting, destination, way, grounds }))
            }
            CLOSE => {
                let [short, address, name] = who;
                self.nothing_but(&[short, address, name, field::RESULT..field::RESULT + 1])?;
                let (client, address, cause) = (self.client()?, self.address()?, self.cause()?);
                Ok(Said::Close(Closing { client, address, cause }))
            }
            OPENED => {
                self.nothing_but(&[field::TICKET, field::RESULT..field::RESULT + 1])?;
                Ok(Said::Opened(ticket, self.opened()?))
            }
            RESTORED => {
                let grant = [field::NANOS, field::WAY, field::GROUNDS];
                self.nothing_but(&[&whole[..], &grant].concat())?;
                let (client, address, ports) = self.grant(ports)?;
                let (destination, way, grounds) = self.way(&ports)?;
                let until = Mono::from_nanos(nanos);
                Ok(Said::Restored { client, address, ports, destination, way, until, grounds })
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
            SETTLE => {
                self.nothing_but(&[field::TICKET])?;
                Ok(Said::Settle(ticket))
            }
            SETTLED => {
                self.nothing_but(&[field::TICKET, field::RESULT..field::RESULT + 1])?;
                match self.byte(field::RESULT) {
                    1 => Ok(Said::Settled(ticket, true)),
                    2 => Ok(Said::Settled(ticket, false)),
                    unknown => Err(FrameError::Result(unknown)),
                }
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

    fn way(&self, ports: &[PortSpec]) -> Result<(Option<IpAddr>, Way, Grounds), FrameError> {
        let (destination, way) = Way::from_bytes(&self.bytes(field::WAY.start)).ok_or(FrameError::Way)?;
        // Everything is no port, and a port is not everything.
        if ports.is_empty() != matches!(way, Way::All { .. }) {
            return Err(if ports.is_empty() { FrameError::Ports } else { FrameError::Way });
        }
        let grounds = Grounds::from_bytes(&self.bytes(field::GROUNDS.start)).ok_or(FrameError::Grounds)?;
        Ok((destination, way, grounds))
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

    fn cause(&self) -> Result<Cause, FrameError> {
        match self.byte(field::RESULT) {
            1 => Ok(Cause::Close),
            2 => Ok(Cause::Revoke),
            3 => Ok(Cause::Late),
            4 => Ok(Cause::End),
            unknown => Err(FrameError::Result(unknown)),
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
