//! What is said, into bytes.

use std::net::IpAddr;

use portunus_model::{Cause, ClientName, Grounds, Opened, PortSpec, Way};

use super::{
    CLOSE, KEPT, KILL, KILLED, Killed, LONGEST_MESSAGE, OPEN, OPENED, PORTS, RESTORED, RESTORED_ALL, SETTLE,
    SETTLED, SIZE, Said, field,
};

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
                let grounds = opening.grounds.to_bytes();
                let head = Head { ticket: *ticket, nanos: lasting, way, grounds, ..Head::of(OPEN) };
                self.row(&head, Some(&opening.client), Some(opening.address), &opening.ports);
            }
            Said::Close(closing) => {
                let head = Head { result: cause(closing.cause), ..Head::of(CLOSE) };
                self.row(&head, closing.client.as_ref(), closing.address, &[]);
            }
            Said::Opened(ticket, opened) => {
                let head = Head { ticket: *ticket, result: result(*opened), ..Head::of(OPENED) };
                self.row(&head, None, None, &[]);
            }
            Said::Restored { client, address, ports, destination, way, until, grounds } => {
                let (way, grounds) = (way.to_bytes(*destination), grounds.to_bytes());
                let head = Head { nanos: until.as_nanos(), way, grounds, ..Head::of(RESTORED) };
                self.row(&head, Some(client), Some(*address), ports);
            }
            Said::Kill(ticket, client) => {
                let head = Head { ticket: *ticket, ..Head::of(KILL) };
                self.row(&head, Some(client), None, &[]);
            }
            Said::Kept { ticket, client, address, ports } => {
                let head = Head { ticket: *ticket, ..Head::of(KEPT) };
                self.row(&head, Some(client), Some(*address), ports);
            }
            Said::Killed(ticket, killed) => {
                let (result, counts) = killed_numbers(*killed);
                let head = Head { ticket: *ticket, nanos: counts, result, ..Head::of(KILLED) };
                self.row(&head, None, None, &[]);
            }
            Said::Settle(ticket) => {
                let head = Head { ticket: *ticket, ..Head::of(SETTLE) };
                self.row(&head, None, None, &[]);
            }
            Said::Settled(ticket, whole) => {
                let result = if *whole { 1 } else { 2 };
                let head = Head { ticket: *ticket, result, ..Head::of(SETTLED) };
                self.row(&head, None, None, &[]);
            }
            Said::RestoredAll => {
                self.row(&Head::of(RESTORED_ALL), None, None, &[]);
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
    grounds: [u8; Grounds::BYTES],
}

impl Head {
    /// With nothing else: to this host itself, at any address of it, on no grounds.
    const fn of(kind: u8) -> Self {
        Self { kind, ticket: 0, nanos: 0, result: 0, way: [0; Way::BYTES], grounds: [0; Grounds::BYTES] }
    }
}

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
    put(field::GROUNDS, &head.grounds);
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

/// Those that the grantor finds out by itself it is not told: then somebody closed it.
fn cause(cause: Cause) -> u8 {
    match cause {
        Cause::Close | Cause::Expiry | Cause::Kill | Cause::Reload | Cause::Outdone => 1,
        Cause::Revoke => 2,
        Cause::Late => 3,
        Cause::End => 4,
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
