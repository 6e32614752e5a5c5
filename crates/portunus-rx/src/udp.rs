//! UDP sockets of ours.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use portunus_model::{Datagram, Mono, Via};
use portunus_sys::memory;
use portunus_sys::udp::{Batch, Packet, interface_name};

/// How long an interface's name is believed. A name can move to another interface; its number is never used twice soon.
const BELIEVED: Duration = Duration::from_secs(1);

/// The most interfaces whose names are remembered; beyond them each is asked anew.
const MOST_INTERFACES: usize = 256;

/// Receives from any number of sockets, by turns of the caller's choosing.
#[derive(Debug)]
pub struct Udp {
    sockets: Vec<OwnedFd>,
    batch: Batch,
    /// The kernel's drop count of each socket.
    dropped: Vec<u32>,
    interfaces: Interfaces,
}

impl Udp {
    /// Over open sockets, for datagrams of at most `longest` bytes that come in by one of `interfaces` (none: by any).
    #[must_use]
    pub fn new(sockets: Vec<OwnedFd>, longest: usize, interfaces: Vec<String>) -> Self {
        let dropped = vec![0; sockets.len()];
        let interfaces = Interfaces { wanted: interfaces, known: BTreeMap::new() };
        Self { sockets, batch: Batch::new(longest), dropped, interfaces }
    }

    /// The sockets, to wait for.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sockets.iter().map(AsFd::as_fd)
    }

    /// From now on these interfaces only (none: any).
    pub fn restrict_to(&mut self, interfaces: Vec<String>) {
        self.interfaces = Interfaces { wanted: interfaces, known: BTreeMap::new() };
    }

    /// Receives one batch from one socket and shows each datagram to `each`. Returns how many the kernel handed over,
    /// those from another interface included: fewer than a full batch means that the socket is drained.
    ///
    /// # Errors
    /// As the system says.
    pub fn receive(&mut self, socket: usize, now: Mono, mut each: impl FnMut(Datagram)) -> io::Result<usize> {
        let Some(fd) = self.sockets.get(socket) else { return Ok(0) };
        let interfaces = &mut self.interfaces;
        let count = self.batch.receive(fd, |packet| {
            if interfaces.allow(fd.as_fd(), packet.interface, now) {
                each(datagram(packet));
            }
        })?;
        if let Some(dropped) = self.dropped.get_mut(socket) {
            *dropped = (*dropped).max(self.batch.dropped());
        }
        Ok(count)
    }

    /// Sends `bytes` to where a datagram came from that had come to `from`. False: no socket of ours is for that.
    ///
    /// # Errors
    /// As the system says.
    pub fn answer(&self, bytes: &[u8], to: SocketAddr, from: Option<IpAddr>) -> io::Result<bool> {
        let fits = |fd: &&OwnedFd| {
            portunus_sys::udp::bound_to(fd).is_some_and(|own| {
                own.is_ipv4() == to.is_ipv4()
                    && (own.ip().is_unspecified() || from.is_none_or(|from| from.to_canonical() == own.ip()))
            })
        };
        let Some(fd) = self.sockets.iter().find(fits) else { return Ok(false) };
        portunus_sys::udp::send_from(fd, bytes, to, from)?;
        Ok(true)
    }

    /// How many datagrams the kernel dropped at the sockets: of a length that no dialect has, or for want of room.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        // A datagram tells of those that were dropped before it; the socket itself of the latest too.
        let latest = |fd: &OwnedFd| memory::buffer(fd).map_or(0, |buffer| buffer.dropped);
        let sockets = self.sockets.iter().zip(&self.dropped);
        sockets.map(|(fd, count)| u64::from(latest(fd).max(*count))).sum()
    }
}

fn datagram(packet: Packet<'_>) -> Datagram {
    Datagram::new(packet.bytes, packet.source, Via::Udp).sent_to(packet.destination)
}

/// Which interfaces we receive from, by name: it stays true when one is made anew under its old name.
#[derive(Debug)]
struct Interfaces {
    wanted: Vec<String>,
    known: BTreeMap<u32, (bool, Mono)>,
}

impl Interfaces {
    fn allow(&mut self, fd: BorrowedFd<'_>, index: u32, now: Mono) -> bool {
        if self.wanted.is_empty() {
            return true;
        }
        if let Some((allowed, asked)) = self.known.get(&index)
            && now.since(*asked) < BELIEVED
        {
            return *allowed;
        }
        let allowed = interface_name(fd, index).is_some_and(|name| self.wanted.contains(&name));
        if self.known.len() < MOST_INTERFACES || self.known.contains_key(&index) {
            self.known.insert(index, (allowed, now));
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    fn received(interfaces: &[&str]) -> Vec<Datagram> {
        let fd = portunus_sys::udp::listen("127.0.0.1:0".parse().unwrap(), portunus_sys::udp::Binding::Now)
            .unwrap();
        let to = UdpSocket::from(fd.try_clone().unwrap()).local_addr().unwrap();
        let interfaces = interfaces.iter().map(ToString::to_string).collect();
        let mut udp = Udp::new(vec![fd], 200, interfaces);
        UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"knock", to).unwrap();
        let mut got = Vec::new();
        let waited = udp
            .descriptors()
            .next()
            .map(|fd| portunus_sys::poll::readable(fd, Duration::from_secs(1)).unwrap());
        assert_eq!(waited, Some(true));
        assert_eq!(udp.receive(0, Mono::default(), |datagram| got.push(datagram)).unwrap(), 1);
        assert_eq!(udp.receive(7, Mono::default(), |datagram| got.push(datagram)).unwrap(), 0);
        got
    }

    #[test]
    fn a_datagram_is_delivered_as_it_came() {
        let got = received(&[]);
        assert_eq!(&*got[0].bytes, b"knock");
        assert_eq!(got[0].via, Via::Udp);
        assert!(got[0].source.ip().is_loopback());
        assert_eq!(got[0].destination, Some("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn only_from_the_named_interfaces() {
        assert_eq!(received(&["lo"]).len(), 1);
        assert_eq!(received(&["eth7", "lo"]).len(), 1);
        assert_eq!(received(&["eth7"]).len(), 0);
    }
}
