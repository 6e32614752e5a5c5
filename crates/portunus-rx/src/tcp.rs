//! The TCP server: one knock a connection, read and closed; nothing is ever answered.
//!
//! A connection is a knock when it ends (a client writes and closes), when it cannot get longer, when its HTTP head is
//! complete, or at last when its time is up. Strangers are bounded in number, in bytes and in time, and cannot lock others out:
//! each source has a few places of its own, and when all are taken the oldest gives way.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use portunus_model::{Datagram, Mono, Via};
use portunus_sys::poll::{Interest, Poll};
use portunus_sys::tcp;

use crate::{HttpRules, NotHttp, Received, Wanted};

/// Bounds of the TCP server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Connections at once.
    pub connections: usize,
    /// Of these, from one IPv4 address or IPv6 /64.
    pub of_one_source: usize,
    /// How long a connection may take.
    pub patience: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { connections: 256, of_one_source: 8, patience: Duration::from_secs(2) }
    }
}

/// The most bytes of an HTTP head; a packet of the longest and a proxy's headers are some 2,500.
const HEAD: usize = 8192;
/// Connections that one call accepts.
const AT_ONCE: usize = 64;

/// Receives from TCP sockets that listen. It waits by an epoll set of its own, so that whoever waits for it sees one
/// descriptor, however many connections there are.
#[derive(Debug)]
pub struct Tcp {
    listeners: Vec<OwnedFd>,
    poll: Poll,
    /// By number: the lowest is the oldest, and the first whose time is up.
    connections: BTreeMap<u64, Connection>,
    next: u64,
    wanted: Wanted,
    bounds: Bounds,
    dropped: u64,
}

#[derive(Debug)]
struct Connection {
    socket: OwnedFd,
    source: SocketAddr,
    destination: Option<IpAddr>,
    until: Mono,
    bytes: Vec<u8>,
}

/// What a look at a connection comes to.
enum Look {
    /// More may come.
    Wait,
    /// It said all that it could.
    Knock(Datagram),
    /// It is nothing of ours.
    Drop,
}

impl Tcp {
    /// Over sockets that are bound, and listen now or later.
    ///
    /// # Errors
    /// When the system has no descriptors left.
    pub fn new(listeners: Vec<OwnedFd>, wanted: Wanted, bounds: Bounds) -> io::Result<Self> {
        let poll = Poll::new()?;
        for (listener, number) in listeners.iter().zip(0..) {
            poll.add(listener, number, Interest::Read)?;
        }
        let next = u64::try_from(listeners.len()).unwrap_or(u64::MAX);
        Ok(Self { listeners, poll, connections: BTreeMap::new(), next, wanted, bounds, dropped: 0 })
    }

    /// What to wait for.
    #[must_use]
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.poll.as_fd()
    }

    /// From now on payloads of these lengths, and by these rules.
    pub fn want(&mut self, wanted: Wanted) {
        self.wanted = wanted;
    }

    /// Accepts and reads what is there, and shows each datagram to `each`.
    ///
    /// # Errors
    /// As the system says.
    pub fn receive(&mut self, now: Mono, mut each: impl FnMut(Datagram)) -> io::Result<Received> {
        let ready = self.poll.wait(Some(Duration::ZERO))?;
        let mut count = 0;
        for one in &ready {
            let listener = usize::try_from(one.token).ok().filter(|number| *number < self.listeners.len());
            match listener {
                Some(number) => count += self.accept(number, now, &mut each)?,
                None => {
                    count += 1;
                    self.look_at(one.token, now, &mut each);
                }
            }
        }
        Ok(Received { count, drained: ready.is_empty() })
    }

    /// When the oldest connection's time is up.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Mono> {
        self.connections.first_key_value().map(|(_, oldest)| oldest.until)
    }

    /// Ends the connections whose time is up; what they have said may be a knock.
    pub fn handle_timeout(&mut self, now: Mono, mut each: impl FnMut(Datagram)) {
        while let Some(oldest) = self.connections.first_entry()
            && oldest.get().until <= now
        {
            let connection = oldest.remove();
            match connection.raw(&self.wanted) {
                Some(datagram) => each(datagram),
                None => self.dropped += 1,
            }
        }
    }

    /// How many connections were dropped without a knock.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn accept(&mut self, listener: usize, now: Mono, each: &mut impl FnMut(Datagram)) -> io::Result<usize> {
        for count in 0..AT_ONCE {
            let Some(fd) = self.listeners.get(listener) else { return Ok(count) };
            let accepted = match tcp::accept(fd) {
                Ok(accepted) => accepted,
                Err(error) => {
                    // No descriptors left: the oldest gives way, so that this does not come again at once.
                    self.drop_oldest(|_| true);
                    return Err(error);
                }
            };
            let Some((socket, source)) = accepted else { return Ok(count) };
            self.make_place(source.ip());
            let number = self.next;
            self.next = self.next.saturating_add(1);
            self.poll.add(&socket, number, Interest::Read)?;
            let destination = tcp::local_address(&socket).map(|address| address.ip());
            let until = now.after(self.bounds.patience);
            let connection = Connection { socket, source, destination, until, bytes: Vec::new() };
            self.connections.insert(number, connection);
            // A client's packet is mostly there by now.
            self.look_at(number, now, each);
        }
        Ok(AT_ONCE)
    }

    fn make_place(&mut self, source: IpAddr) {
        let kin = kin(source);
        let of_kin = self.connections.values().filter(|one| self::kin(one.source.ip()) == kin).count();
        if of_kin >= self.bounds.of_one_source.max(1) {
            self.drop_oldest(|one| self::kin(one.source.ip()) == kin);
        }
        if self.connections.len() >= self.bounds.connections.max(1) {
            self.drop_oldest(|_| true);
        }
    }

    fn drop_oldest(&mut self, which: impl Fn(&Connection) -> bool) {
        let oldest = self.connections.iter().find(|(_, one)| which(one)).map(|(number, _)| *number);
        if let Some(number) = oldest {
            self.connections.remove(&number);
            self.dropped += 1;
        }
    }

    fn look_at(&mut self, number: u64, now: Mono, each: &mut impl FnMut(Datagram)) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        match connection.look(&self.wanted, now) {
            Look::Wait => return,
            Look::Knock(datagram) => each(datagram),
            Look::Drop => self.dropped += 1,
        }
        self.connections.remove(&number);
    }
}

impl Connection {
    fn look(&mut self, wanted: &Wanted, now: Mono) -> Look {
        let mut room = [0; 2048];
        loop {
            let ended = match tcp::read(&self.socket, &mut room) {
                Ok(None) if now >= self.until => true,
                Ok(None) => return Look::Wait,
                Ok(Some([])) => true,
                Ok(Some(bytes)) => {
                    self.bytes.extend_from_slice(bytes);
                    false
                }
                Err(_) => return Look::Drop,
            };
            match self.judge(wanted, ended) {
                Look::Wait => (),
                done @ (Look::Knock(_) | Look::Drop) => return done,
            }
        }
    }

    fn judge(&self, wanted: &Wanted, ended: bool) -> Look {
        let or_drop = |datagram: Option<Datagram>| datagram.map_or(Look::Drop, Look::Knock);
        if let Some(http) = &wanted.http
            && HttpRules::may_begin(&self.bytes)
            && !self.bytes.is_empty()
        {
            return match http.knock(&self.bytes, self.source.ip()) {
                Ok(knock) => or_drop(wanted.lengths.admit(knock.bytes.len()).then(|| {
                    let datagram = Datagram::new(knock.bytes, self.source, Via::Http);
                    datagram.claiming(knock.claimed).sent_to(self.destination)
                })),
                Err(NotHttp::Incomplete) if !ended && self.bytes.len() < HEAD => Look::Wait,
                Err(_) => Look::Drop,
            };
        }
        let longest = wanted.lengths.ends().map_or(0, |(_, longest)| longest);
        match self.bytes.len() {
            length if length > longest => Look::Drop,
            length if length == longest || ended => or_drop(self.raw(wanted)),
            _ => Look::Wait,
        }
    }

    /// What was said, as it is.
    fn raw(&self, wanted: &Wanted) -> Option<Datagram> {
        let request = wanted.http.is_some() && HttpRules::may_begin(&self.bytes);
        let fits = wanted.lengths.admit(self.bytes.len()) && !request;
        fits.then(|| Datagram::new(&*self.bytes, self.source, Via::Tcp).sent_to(self.destination))
    }
}

/// What counts as one source: an IPv4 address, or the 64 bits that one IPv6 network has.
fn kin(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(address) => u64::from(address.to_bits()),
        IpAddr::V6(address) => (address.to_bits() >> 64) as u64,
    }
}
