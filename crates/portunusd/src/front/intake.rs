//! What the front receives from: UDP sockets, packet sockets and TCP sockets, which the keeper has opened.

use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use portunus_ctl::figures;
use portunus_model::{Datagram, Mono, Via};
use portunus_rx::{
    Bounds, Echoes, Filter, Followed, HttpRules, Nflog, Packet, ReceiveError, Received, Receiver, Tcp, Udp,
    Wanted,
};
use portunus_sys::poll::{Interest, Poll};

use crate::message::{Brought, Came, Listening, ToFront};

/// The numbers under which they are waited for begin here, so many for each receiver.
pub(super) const FIRST: u64 = 1 << 16;
const EACH: u64 = 1 << 12;

/// Every receiver. The packet sockets, where there are any, are one of them.
pub(super) struct Intake {
    receivers: Vec<Receiver>,
    /// Where a TCP connection is seen on the link and read too.
    twins: Option<Echoes>,
    /// How many packets each was handed by the kernel.
    received: Vec<u64>,
}

/// The two sights of one TCP knock lie no further apart than a connection may take, and a moment.
const TWINS: Duration = Duration::from_secs(3);

/// What came of receiving.
pub(super) enum Outcome {
    Received(Received),
    /// The interface of this ear is gone.
    Gone(usize),
}

impl Intake {
    /// Takes the sockets out of the setup, in the order in which the keeper put them in.
    pub(super) fn of(
        came: &mut Came<ToFront>,
        brought: &Brought,
        listening: &Listening,
        interfaces: Vec<String>,
    ) -> io::Result<Self> {
        let wanted = wanted(listening);
        let mut several = |count: u16| (0..count).map(|_| came.descriptor()).collect::<io::Result<Vec<_>>>();
        let udp = several(brought.udp)?;
        let open = brought.ears.iter().filter(|open| **open).count();
        let mut ears = several(u16::try_from(open).unwrap_or(u16::MAX))?.into_iter();
        let tcp = several(brought.tcp)?;
        let mut receivers = Vec::new();
        if !udp.is_empty() {
            let longest = listening.lengths.ends().map_or(0, |(_, longest)| longest);
            receivers.push(Receiver::Udp(Udp::new(udp, longest, interfaces)));
        }
        if !brought.ears.is_empty() {
            let sockets = brought.ears.iter().map(|open| if *open { ears.next() } else { None }).collect();
            let packet = Packet::new(sockets, listening.snap, wanted.clone(), listening.may_echo);
            receivers.push(Receiver::Packet(packet));
        }
        if !tcp.is_empty() {
            receivers.push(Receiver::Tcp(Tcp::new(tcp, wanted.clone(), Bounds::default())?));
        }
        if brought.nflog {
            receivers.push(Receiver::Nflog(Nflog::new(came.descriptor()?, wanted.clone())));
        }
        if brought.followed {
            let filter = Filter::parse(&listening.capture_filter).map_err(io::Error::other)?;
            receivers.push(Receiver::Followed(Box::new(Followed::new(filter, wanted))));
        }
        let twice = brought.tcp > 0 && !brought.ears.is_empty();
        let twins = twice.then(|| Echoes::within(TWINS));
        Ok(Self { received: vec![0; receivers.len()], receivers, twins })
    }

    pub(super) fn watch(&self, poll: &Poll) -> io::Result<()> {
        for (receiver, base) in self.receivers.iter().zip((FIRST..).step_by(EACH as usize)) {
            // Waited for since it was handed over.
            if matches!(receiver, Receiver::Followed(_)) {
                continue;
            }
            for (number, fd) in receiver.descriptors() {
                poll.add(fd, base + number as u64, Interest::Read)?;
            }
        }
        Ok(())
    }

    /// One batch from what stands under this number.
    pub(super) fn receive(&mut self, token: u64, now: Mono, mut each: impl FnMut(Datagram)) -> Outcome {
        let place = token.saturating_sub(FIRST);
        let split = (usize::try_from(place / EACH), usize::try_from(place % EACH));
        let nothing = Outcome::Received(Received { count: 0, drained: true });
        let (Ok(receiver), Ok(number)) = split else { return nothing };
        let (twins, place) = (&mut self.twins, receiver as u64);
        let received = self.received.get_mut(receiver);
        let Some(receiver) = self.receivers.get_mut(receiver) else { return nothing };
        let once = |datagram: Datagram| {
            if !is_twin(twins, &datagram, place, now) {
                each(datagram);
            }
        };
        match receiver.receive(number, now, once) {
            Ok(taken) => {
                if let Some(count) = received {
                    *count = count.saturating_add(taken.count as u64);
                }
                Outcome::Received(taken)
            }
            Err(ReceiveError::Gone) => Outcome::Gone(number),
            Err(error) => {
                say(&error);
                nothing
            }
        }
    }

    /// Lets go of an ear whose interface is gone: nothing more is to be waited for there.
    pub(super) fn forget_ear(&self, poll: &Poll, ear: usize) {
        for (number, fd) in self.packet_sockets() {
            if number == ear {
                let _ = poll.remove(fd);
            }
        }
    }

    /// Puts a new socket in the place of one that is gone.
    pub(super) fn replace_ear(&mut self, poll: &Poll, ear: usize, socket: OwnedFd) -> io::Result<()> {
        for (receiver, base) in self.receivers.iter_mut().zip((FIRST..).step_by(EACH as usize)) {
            if let Receiver::Packet(packet) = receiver {
                poll.add(socket.as_fd(), base + ear as u64, Interest::Read)?;
                packet.replace(ear, socket);
                break;
            }
        }
        Ok(())
    }

    /// Follows a capture file from now on; what is left of the one before is read first.
    pub(super) fn follow(
        &mut self,
        poll: &Poll,
        (file, growth): (OwnedFd, OwnedFd),
        from_end: bool,
        now: Mono,
    ) -> io::Result<()> {
        for (receiver, base) in self.receivers.iter_mut().zip((FIRST..).step_by(EACH as usize)) {
            let Receiver::Followed(followed) = receiver else { continue };
            // Each file's under the same number: all are read in turn.
            poll.add(growth.as_fd(), base, Interest::Read)?;
            return followed.follow(File::from(file), growth.into(), from_end, now);
        }
        Ok(())
    }

    fn packet_sockets(&self) -> Vec<(usize, std::os::fd::BorrowedFd<'_>)> {
        let packet = self.receivers.iter().find(|one| matches!(one, Receiver::Packet(_)));
        packet.map(Receiver::descriptors).unwrap_or_default()
    }

    /// From now on by these rules.
    pub(super) fn change(&mut self, listening: &Listening, interfaces: &[String]) {
        for receiver in &mut self.receivers {
            match receiver {
                Receiver::Udp(udp) => udp.restrict_to(interfaces.to_vec()),
                Receiver::Packet(packet) => packet.want(wanted(listening)),
                Receiver::Tcp(tcp) => tcp.want(wanted(listening)),
                Receiver::Nflog(nflog) => nflog.want(wanted(listening)),
                Receiver::Followed(followed) => followed.want(wanted(listening)),
            }
        }
    }

    /// Sends an answer from the socket that its knock came to.
    pub(super) fn answer(&self, bytes: &[u8], to: SocketAddr, from: Option<IpAddr>) -> io::Result<bool> {
        self.receivers
            .iter()
            .find_map(|receiver| match receiver {
                Receiver::Udp(udp) => Some(udp.answer(bytes, to, from)),
                Receiver::Packet(_) | Receiver::Tcp(_) | Receiver::Nflog(_) | Receiver::Followed(_) => None,
            })
            .unwrap_or(Ok(false))
    }

    pub(super) fn poll_timeout(&self) -> Option<Mono> {
        self.receivers.iter().filter_map(Receiver::poll_timeout).min()
    }

    pub(super) fn handle_timeout(&mut self, now: Mono, mut each: impl FnMut(Datagram)) {
        let twins = &mut self.twins;
        for ((receiver, received), place) in self.receivers.iter_mut().zip(&mut self.received).zip(0..) {
            let done = receiver.handle_timeout(now, |datagram| {
                if !is_twin(twins, &datagram, place, now) {
                    each(datagram);
                }
            });
            match done {
                Ok(taken) => *received = received.saturating_add(taken.count as u64),
                Err(error) => say(&error),
            }
        }
    }

    /// What is told of each.
    pub(super) fn figures(&self) -> Vec<figures::Receiver> {
        let one = |(receiver, received): (&Receiver, &u64)| {
            let (buffer_used, buffer_size) = receiver.buffers();
            figures::Receiver {
                name: receiver.name().to_owned(),
                received: *received,
                dropped: receiver.dropped(),
                buffer_used,
                buffer_size,
            }
        };
        self.receivers.iter().zip(&self.received).map(one).collect()
    }

    pub(super) fn dropped(&self) -> u64 {
        self.receivers.iter().map(Receiver::dropped).sum()
    }
}

fn say(error: &ReceiveError) {
    match error {
        ReceiveError::Broken(why) => {
            tracing::warn!(why, "the capture file is none: it is waited for until it is written anew");
        }
        ReceiveError::Unreadable(why) => {
            tracing::warn!(why, "the capture file cannot be read now: it is tried again every second");
        }
        ReceiveError::Short(_) => tracing::warn!("{error}"),
        // An ICMP error of somebody's, or an interface that went away: the next datagram may be fine.
        ReceiveError::Gone | ReceiveError::System(_) => tracing::debug!(%error, "receiving"),
    }
}

/// Whether it is a TCP knock that another receiver has shown already.
fn is_twin(twins: &mut Option<Echoes>, datagram: &Datagram, place: u64, now: Mono) -> bool {
    let by_tcp = match datagram.via {
        Via::Tcp | Via::Http => true,
        Via::Sniffed => datagram.carried.is_some_and(|carried| carried.proto == TCP),
        Via::Udp | Via::Pcap => false,
    };
    by_tcp && twins.as_mut().is_some_and(|twins| twins.is_echo(datagram, place, now))
}

/// Its number within IP.
const TCP: u8 = 6;

/// What payloads are looked for.
pub(super) fn wanted(listening: &Listening) -> Wanted {
    let http = listening.http.as_ref();
    let http = http.map(|(any_agent, proxies)| HttpRules { any_agent: *any_agent, proxies: proxies.clone() });
    Wanted { lengths: listening.lengths.clone(), http }
}
