//! What the front and the commands process say to each other: an order and its answer, one a message.
//!
//! The commands process must not trust a byte of it: the front has read strangers' packets. So reading is total and
//! bounded, makes only valid values, and whatever does not fit to the last byte is an [`OrderError`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use portunus_model::{ClientName, CycleFacts, Order, Ran, Unix, Work};

/// The longest message, in bytes.
pub const LONGEST: usize = 512;

/// The longest text that a client can send as a command (shared/spec: fwknop, "Plaintext").
pub const LONGEST_COMMAND: usize = 255;

/// The longest time until the closing command; what fwknopd.conf allows is less.
const LONGEST_CYCLE: Duration = Duration::from_secs(100_000_000);

/// What is wrong with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// It ends too early, or goes on after its end.
    #[error("an order of a wrong length")]
    Length,
    /// A kind, or a result, that nobody sends.
    #[error("an order of the unknown kind {0}")]
    Kind(u8),
    /// A name that is no client's name.
    #[error("an order with a name that is none")]
    Name,
    /// A family other than 4 and 6, none where one is needed, or an address that is not in its canonical form.
    #[error("an order with no address")]
    Address,
    /// A command that is empty, too long, or not printable ASCII.
    #[error("an order with a command that is none")]
    Command,
    /// A time that no clock shows.
    #[error("an order with a time that is none")]
    Time,
}

const COMMAND: u8 = 1;
const CYCLE: u8 = 2;
const RAN: u8 = 3;

/// An order as a message.
///
/// # Errors
/// [`OrderError`] for what the other side would not take.
pub fn write(ticket: u64, order: &Order) -> Result<Vec<u8>, OrderError> {
    let mut out = Vec::with_capacity(LONGEST);
    let kind = match &order.work {
        Work::Command(_) => COMMAND,
        Work::Cycle(_) => CYCLE,
    };
    out.push(kind);
    out.extend_from_slice(&ticket.to_le_bytes());
    out.extend_from_slice(&order.stanza.to_le_bytes());
    put_text(&mut out, order.client.as_str());
    put_address(&mut out, Some(order.source));
    match &order.work {
        Work::Command(text) => {
            if !is_command(text) {
                return Err(OrderError::Command);
            }
            put_text(&mut out, text);
        }
        Work::Cycle(facts) => {
            put_address(&mut out, Some(facts.address));
            put_address(&mut out, Some(facts.source));
            put_address(&mut out, facts.destination);
            out.push(facts.proto);
            out.extend_from_slice(&facts.port.to_le_bytes());
            out.extend_from_slice(&facts.ends.as_secs().to_le_bytes());
            out.extend_from_slice(&facts.client_timeout.to_le_bytes());
            let millis = u64::try_from(facts.lasting.as_millis()).unwrap_or(u64::MAX);
            out.extend_from_slice(&millis.to_le_bytes());
        }
    }
    Ok(out)
}

/// Reads an order.
///
/// # Errors
/// [`OrderError`] says what the first wrong thing is.
pub fn read(message: &[u8]) -> Result<(u64, Order), OrderError> {
    let mut rest = Rest(message);
    let kind = rest.byte()?;
    let ticket = u64::from_le_bytes(rest.bytes()?);
    let stanza = u32::from_le_bytes(rest.bytes()?);
    let client = ClientName::new(rest.text()?).map_err(|_| OrderError::Name)?;
    let source = rest.address()?.ok_or(OrderError::Address)?;
    let work = match kind {
        COMMAND => {
            let text = rest.text().map_err(|_| OrderError::Command)?;
            if !is_command(text) {
                return Err(OrderError::Command);
            }
            Work::Command(text.to_owned())
        }
        CYCLE => Work::Cycle(rest.facts()?),
        unknown => return Err(OrderError::Kind(unknown)),
    };
    rest.end()?;
    Ok((ticket, Order { client, stanza, source, work }))
}

/// An answer as a message.
#[must_use]
pub fn write_answer(ticket: u64, ran: Ran) -> Vec<u8> {
    let result = match ran {
        Ran::Begun => 1,
        Ran::Refused => 2,
        Ran::Busy => 3,
        Ran::Failed => 4,
    };
    let mut out = vec![RAN, result];
    out.extend_from_slice(&ticket.to_le_bytes());
    out
}

/// Reads an answer.
///
/// # Errors
/// [`OrderError`] says what the first wrong thing is.
pub fn read_answer(message: &[u8]) -> Result<(u64, Ran), OrderError> {
    let mut rest = Rest(message);
    let kind = rest.byte()?;
    let ran = match (kind, rest.byte()?) {
        (RAN, 1) => Ran::Begun,
        (RAN, 2) => Ran::Refused,
        (RAN, 3) => Ran::Busy,
        (RAN, 4) => Ran::Failed,
        (RAN, unknown) | (unknown, _) => return Err(OrderError::Kind(unknown)),
    };
    let ticket = u64::from_le_bytes(rest.bytes()?);
    rest.end()?;
    Ok((ticket, ran))
}

fn is_command(text: &str) -> bool {
    let printable = |byte: u8| byte == b' ' || byte.is_ascii_graphic() || byte == b'\t';
    (1..=LONGEST_COMMAND).contains(&text.len()) && text.bytes().all(printable)
}

/// At most 255 bytes: a client's name, or a command that was checked.
fn put_text(out: &mut Vec<u8>, text: &str) {
    out.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(text.as_bytes());
}

pub(crate) fn put_address(out: &mut Vec<u8>, address: Option<IpAddr>) {
    match address {
        None => out.push(0),
        Some(IpAddr::V4(a)) => {
            out.push(4);
            out.extend_from_slice(&a.octets());
        }
        Some(IpAddr::V6(a)) => {
            out.push(6);
            out.extend_from_slice(&a.octets());
        }
    }
}

/// What of a message is not read yet.
pub(crate) struct Rest<'a>(pub(crate) &'a [u8]);

impl<'a> Rest<'a> {
    pub(crate) fn bytes<const N: usize>(&mut self) -> Result<[u8; N], OrderError> {
        let (bytes, rest) = self.0.split_first_chunk::<N>().ok_or(OrderError::Length)?;
        self.0 = rest;
        Ok(*bytes)
    }

    fn byte(&mut self) -> Result<u8, OrderError> {
        let [byte] = self.bytes()?;
        Ok(byte)
    }

    fn text(&mut self) -> Result<&'a str, OrderError> {
        let length = usize::from(self.byte()?);
        let (text, rest) = self.0.split_at_checked(length).ok_or(OrderError::Length)?;
        self.0 = rest;
        std::str::from_utf8(text).map_err(|_| OrderError::Name)
    }

    pub(crate) fn address(&mut self) -> Result<Option<IpAddr>, OrderError> {
        match self.byte()? {
            0 => Ok(None),
            4 => Ok(Some(IpAddr::V4(Ipv4Addr::from(self.bytes::<4>()?)))),
            6 => {
                let address = IpAddr::V6(Ipv6Addr::from(self.bytes::<16>()?));
                // A mapped address is the IPv4 address that it is, and must say so.
                if address.to_canonical() != address {
                    return Err(OrderError::Address);
                }
                Ok(Some(address))
            }
            _ => Err(OrderError::Address),
        }
    }

    fn facts(&mut self) -> Result<CycleFacts, OrderError> {
        let address = self.address()?.ok_or(OrderError::Address)?;
        let source = self.address()?.ok_or(OrderError::Address)?;
        let destination = self.address()?;
        let proto = self.byte()?;
        let port = u16::from_le_bytes(self.bytes()?);
        let ends = Unix::from_secs(i64::from_le_bytes(self.bytes()?));
        let client_timeout = u32::from_le_bytes(self.bytes()?);
        let lasting = Duration::from_millis(u64::from_le_bytes(self.bytes()?));
        if lasting > LONGEST_CYCLE {
            return Err(OrderError::Time);
        }
        Ok(CycleFacts { address, source, destination, proto, port, ends, client_timeout, lasting })
    }

    pub(crate) fn end(&self) -> Result<(), OrderError> {
        if self.0.is_empty() { Ok(()) } else { Err(OrderError::Length) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn order(work: Work) -> Order {
        let source = "192.0.2.9".parse().unwrap();
        Order { client: ClientName::new("stanza-1").unwrap(), stanza: 7, source, work }
    }

    fn facts(destination: Option<&str>) -> CycleFacts {
        CycleFacts {
            address: "192.0.2.7".parse().unwrap(),
            source: "2001:db8::7".parse().unwrap(),
            destination: destination.map(|text| text.parse().unwrap()),
            proto: 6,
            port: 22,
            ends: Unix::from_secs(1_795_644_297),
            client_timeout: 5,
            lasting: Duration::from_millis(5001),
        }
    }

    #[test]
    fn what_is_ordered_comes_back() {
        let longest = "x".repeat(LONGEST_COMMAND);
        for work in [
            Work::Command("/bin/echo a".into()),
            Work::Command(longest),
            Work::Cycle(facts(None)),
            Work::Cycle(facts(Some("10.77.0.1"))),
        ] {
            let sent = write(u64::MAX, &order(work.clone())).unwrap();
            assert!(sent.len() <= LONGEST);
            assert_eq!(read(&sent), Ok((u64::MAX, order(work))));
        }
        for ran in [Ran::Begun, Ran::Refused, Ran::Busy, Ran::Failed] {
            assert_eq!(read_answer(&write_answer(3, ran)), Ok((3, ran)));
        }
    }

    #[test]
    fn a_hostile_front_gets_no_other_value_in() {
        let command = |text: &str| write(1, &order(Work::Command(text.into())));
        assert_eq!(command(""), Err(OrderError::Command));
        assert_eq!(command(&"x".repeat(256)), Err(OrderError::Command));
        assert_eq!(command("a\nb"), Err(OrderError::Command));
        let mut sent = command("ab").unwrap();
        let last = sent.len() - 1;
        sent[last] = b'\n';
        assert_eq!(read(&sent), Err(OrderError::Command));
        sent[0] = 9;
        assert_eq!(read(&sent), Err(OrderError::Kind(9)));
        let good = write(1, &order(Work::Cycle(facts(None)))).unwrap();
        for end in 0..good.len() {
            assert!(read(&good[..end]).is_err());
        }
        assert_eq!(read(&[&good[..], &[0]].concat()), Err(OrderError::Length));
        let mapped = CycleFacts { source: "::ffff:192.0.2.1".parse().unwrap(), ..facts(None) };
        let sent = write(1, &order(Work::Cycle(mapped))).unwrap();
        assert_eq!(read(&sent), Err(OrderError::Address));
        let long = CycleFacts { lasting: Duration::from_secs(u64::from(u32::MAX)), ..facts(None) };
        assert_eq!(read(&write(1, &order(Work::Cycle(long))).unwrap()), Err(OrderError::Time));
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_readers(bytes in prop::collection::vec(any::<u8>(), 0..LONGEST)) {
            let _ = read_answer(&bytes);
            if let Ok((ticket, order)) = read(&bytes) {
                prop_assert_eq!(write(ticket, &order).unwrap(), bytes);
            }
        }
    }
}
