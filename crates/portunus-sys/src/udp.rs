//! UDP sockets for receiving: many datagrams a call, with the interface that each came in by and how many the kernel
//! had to drop; and a filter in the kernel by length, so that noise of another length costs us nothing.
//!
//! Called by the keeper (which opens) and by portunus-rx (which receives). Not here: whose datagram it is.

use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::ptr;

use portunus_model::Lengths;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use crate::batch::{self, Arrived, drop_count};
use crate::bpf::{self, Step, set};

/// How many datagrams one call takes.
pub const BATCH: usize = batch::BATCH;

/// Whether an address that no interface has may be bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding {
    /// It may not: the system says so.
    Now,
    /// It may: one will have it.
    Early,
}

/// Whether this host does not have the family of an address at all (EAFNOSUPPORT, which has no kind of its own).
#[must_use]
pub fn is_no_family(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

/// Opens a socket for receiving on `address`. An IPv6 one takes no IPv4 packet: both families may have one each.
///
/// # Errors
/// As the system says: in use, family lacking, permission.
pub fn listen(address: SocketAddr, when: Binding) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = rustix::net::socket_with(family, SocketType::DGRAM, flags, None)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&fd, true)?;
        set(&fd, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, &1i32)?;
    } else {
        set(&fd, libc::IPPROTO_IP, libc::IP_PKTINFO, &1i32)?;
    }
    set(&fd, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, &1i32)?;
    bind_freely(&fd, address, when)?;
    batch::hold(&fd);
    rustix::net::bind(&fd, &address)?;
    Ok(fd)
}

/// For [`Binding::Early`], lets the address be one that nobody has.
pub(crate) fn bind_freely(fd: impl AsFd, address: SocketAddr, when: Binding) -> io::Result<()> {
    let early = when == Binding::Early;
    let set = if address.is_ipv4() { sockopt::set_ip_freebind } else { sockopt::set_ipv6_freebind };
    Ok(set(fd, early)?)
}

/// The address that a socket is bound to.
#[must_use]
pub fn bound_to(fd: impl AsFd) -> Option<SocketAddr> {
    rustix::net::getsockname(fd).ok().and_then(|own| SocketAddr::try_from(own).ok())
}

/// Sends one datagram from a socket of [`listen`], to where one came from; `from` is the address of ours that it had come to,
/// so that the answer has the source that its asker knows.
///
/// # Errors
/// As the system says: no way there, no such address of ours (any more), no room just now.
pub fn send_from(fd: impl AsFd, bytes: &[u8], to: SocketAddr, from: Option<IpAddr>) -> io::Result<()> {
    match (to, from.map(|from| from.to_canonical())) {
        (SocketAddr::V4(to), Some(IpAddr::V4(from))) => {
            let mut info: libc::in_pktinfo = zeroed_info();
            info.ipi_spec_dst.s_addr = u32::from_ne_bytes(from.octets());
            send_with(fd, bytes, SocketAddr::V4(to), Some((libc::IPPROTO_IP, libc::IP_PKTINFO, &info)))
        }
        (SocketAddr::V6(to), Some(IpAddr::V6(from))) => {
            let mut info: libc::in6_pktinfo = zeroed_info();
            info.ipi6_addr.s6_addr = from.octets();
            send_with(fd, bytes, SocketAddr::V6(to), Some((libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info)))
        }
        _ => send_with::<libc::in_pktinfo>(fd, bytes, to, None),
    }
}

/// A `struct in_pktinfo` or `in6_pktinfo` with nothing said.
fn zeroed_info<T: Info>() -> T {
    // SAFETY: both are plain structs of integers, for which all zeros is a value.
    unsafe { std::mem::zeroed() }
}

/// What says where a datagram is to come from.
trait Info: Copy {}
impl Info for libc::in_pktinfo {}
impl Info for libc::in6_pktinfo {}

/// Aligned as a control message has to be (cmsg(3)), and longer than either of ours.
#[repr(C, align(8))]
struct Room([u8; 64]);

fn send_with<T: Info>(
    fd: impl AsFd,
    bytes: &[u8],
    to: SocketAddr,
    info: Option<(libc::c_int, libc::c_int, &T)>,
) -> io::Result<()> {
    let (name, length) = name_of(to);
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut room = Room([0; 64]);
    // SAFETY: a msghdr of zeros is a message without anything. Every pointer that is put into it points to something that
    // lives until the call is over, and the kernel only reads it. The control message is written within `room`, which is
    // longer than CMSG_SPACE of either kind, at the places that libc's own functions give.
    let sent = unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_name = ptr::from_ref(&name).cast_mut().cast();
        message.msg_namelen = length;
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        if let Some((level, kind, info)) = info {
            let size = u32::try_from(size_of::<T>()).unwrap_or(0);
            message.msg_control = room.0.as_mut_ptr().cast();
            message.msg_controllen = libc::CMSG_SPACE(size) as _;
            let head = libc::CMSG_FIRSTHDR(&raw const message);
            (*head).cmsg_level = level;
            (*head).cmsg_type = kind;
            (*head).cmsg_len = libc::CMSG_LEN(size) as _;
            ptr::copy_nonoverlapping(ptr::from_ref(info).cast::<u8>(), libc::CMSG_DATA(head), size_of::<T>());
        }
        libc::sendmsg(fd.as_fd().as_raw_fd(), &raw const message, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The address as the kernel reads it, and how long that is: room for the longer kind.
fn name_of(to: SocketAddr) -> (libc::sockaddr_in6, libc::socklen_t) {
    // SAFETY: a plain struct of integers, for which all zeros is a value.
    let mut name: libc::sockaddr_in6 = unsafe { std::mem::zeroed() };
    let length = match to {
        SocketAddr::V6(to) => {
            name.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            name.sin6_port = to.port().to_be();
            name.sin6_addr.s6_addr = to.ip().octets();
            name.sin6_scope_id = to.scope_id();
            size_of::<libc::sockaddr_in6>()
        }
        SocketAddr::V4(to) => {
            let short = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: to.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(to.ip().octets()) },
                sin_zero: [0; 8],
            };
            // SAFETY: a sockaddr_in is shorter than a sockaddr_in6, and both are plain integers.
            unsafe {
                ptr::copy_nonoverlapping(
                    ptr::from_ref(&short).cast::<u8>(),
                    (&raw mut name).cast(),
                    size_of_val(&short),
                );
            };
            size_of::<libc::sockaddr_in>()
        }
    };
    (name, libc::socklen_t::try_from(length).unwrap_or(0))
}

/// Has the kernel drop every datagram whose payload has none of these lengths. With no length, everything is dropped.
///
/// # Errors
/// As the system says.
pub fn only_lengths(fd: impl AsFd, lengths: &Lengths) -> io::Result<()> {
    bpf::attach(fd, &lengths_program(lengths))
}

/// The UDP header: a socket filter of a UDP socket sees the packet from there on (RFC 768).
const HEADER: u32 = 8;

/// Ascending: above this range, ask the next; not below it, keep the packet; else drop it.
fn lengths_program(lengths: &Lengths) -> Vec<Step> {
    let mut program = vec![Step::plain(bpf::LOAD_LENGTH, 0)];
    for ((low, high), left) in lengths.ranges().zip((0..lengths.ranges().len()).rev()) {
        // Two steps for each range that is left, then the two returns.
        let to_drop = u8::try_from(2 * left).unwrap_or(u8::MAX);
        program.push(Step { code: bpf::IF_ABOVE, jt: 1, jf: 0, k: HEADER + u32::from(high) });
        let to_keep = to_drop.saturating_add(1);
        program.push(Step { code: bpf::IF_AT_LEAST, jt: to_keep, jf: to_drop, k: HEADER + u32::from(low) });
    }
    program.push(Step::plain(bpf::RETURN, 0));
    program.push(Step::plain(bpf::RETURN, u32::MAX));
    program
}

/// The name of an interface by its number, asked through any socket; `None` when there is none.
#[must_use]
pub fn interface_name(fd: impl AsFd, index: u32) -> Option<String> {
    rustix::net::netdevice::index_to_name(fd, index).ok()
}

/// One datagram as it lies in the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The payload.
    pub bytes: &'a [u8],
    /// The source that the header claims.
    pub source: SocketAddr,
    /// The address that the header sends it to; `None` when the kernel did not say.
    pub destination: Option<IpAddr>,
    /// The number of the interface that it came in by; 0 when the kernel did not say.
    pub interface: u32,
}

/// Room for a batch of datagrams, used again and again.
pub struct Batch {
    longest: usize,
    room: batch::Batch<libc::sockaddr_in6>,
    dropped: u32,
}

impl Batch {
    /// Room for datagrams of at most `longest` bytes; longer ones are left out.
    #[must_use]
    pub fn new(longest: usize) -> Self {
        Self { longest, room: batch::Batch::new(longest), dropped: 0 }
    }

    /// Receives what is there, at most [`BATCH`], and shows each to `each`. Returns how many the kernel handed over.
    ///
    /// # Errors
    /// As the system says; nothing being there is `Ok(0)`.
    pub fn receive(&mut self, fd: impl AsFd, mut each: impl FnMut(Packet<'_>)) -> io::Result<usize> {
        let dropped = &mut self.dropped;
        self.room.receive(fd, |arrived| {
            let told = told(&arrived);
            *dropped = told.dropped.unwrap_or(*dropped);
            let Some(source) = source(arrived.name).filter(|_| arrived.whole) else { return };
            let Told { interface, destination, .. } = told;
            each(Packet { bytes: arrived.bytes, source, destination, interface });
        })
    }

    /// How many datagrams the kernel dropped at this socket since it was opened: filtered by length, or for want of room.
    #[must_use]
    pub fn dropped(&self) -> u32 {
        self.dropped
    }
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch").field("longest", &self.longest).finish_non_exhaustive()
    }
}

/// What the control messages of one datagram say.
#[derive(Debug, Clone, Copy, Default)]
struct Told {
    interface: u32,
    destination: Option<IpAddr>,
    dropped: Option<u32>,
}

fn told(arrived: &Arrived<'_, libc::sockaddr_in6>) -> Told {
    let mut told = Told::default();
    arrived.controls(|level, kind, value| match (level, kind) {
        (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => told.dropped = drop_count(value),
        // struct in_pktinfo (ip(7)): interface, our own address, the address in the header.
        (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
            let ([interface, _, address], _) = value.as_chunks::<4>() else { return };
            told.interface = u32::from_ne_bytes(*interface);
            told.destination = Some(IpAddr::from(*address));
        }
        // struct in6_pktinfo (ipv6(7)): the address in the header, interface.
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
            let Some((address, rest)) = value.split_first_chunk::<16>() else { return };
            told.interface = rest.first_chunk().map_or(0, |number| u32::from_ne_bytes(*number));
            told.destination = Some(IpAddr::from(*address));
        }
        _ => (),
    });
    told
}

fn source(name: &libc::sockaddr_in6) -> Option<SocketAddr> {
    match i32::from(name.sin6_family) {
        libc::AF_INET => {
            let mut short = MaybeUninit::<libc::sockaddr_in>::uninit();
            // SAFETY: a sockaddr_in is shorter than a sockaddr_in6, any bytes are a valid value of it, and the family
            // says that the kernel wrote one here.
            let short = unsafe {
                ptr::copy_nonoverlapping(
                    ptr::from_ref(name).cast::<u8>(),
                    short.as_mut_ptr().cast(),
                    size_of_val(&short),
                );
                short.assume_init()
            };
            let address = u32::from_be(short.sin_addr.s_addr).into();
            Some(SocketAddr::V4(SocketAddrV4::new(address, u16::from_be(short.sin_port))))
        }
        libc::AF_INET6 => {
            let address = Ipv6Addr::from(name.sin6_addr.s6_addr);
            let port = u16::from_be(name.sin6_port);
            // A scope says which link, and it is no part of who it is.
            match IpAddr::V6(address).to_canonical() {
                IpAddr::V6(address) => Some(SocketAddr::V6(SocketAddrV6::new(address, port, 0, 0))),
                IpAddr::V4(address) => Some(SocketAddr::V4(SocketAddrV4::new(address, port))),
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::time::Duration;

    use super::*;

    fn exchange(address: &str, lengths: &Lengths, sent: &[usize]) -> (Vec<usize>, u32) {
        let fd = listen(address.parse().unwrap(), Binding::Now).unwrap();
        only_lengths(&fd, lengths).unwrap();
        let to = UdpSocket::from(fd.try_clone().unwrap()).local_addr().unwrap();
        let sender = UdpSocket::bind((to.ip(), 0)).unwrap();
        for length in sent {
            sender.send_to(&vec![7; *length], to).unwrap();
        }
        let mut batch = Batch::new(200);
        let mut got = Vec::new();
        while crate::poll::readable(&fd, Duration::from_millis(100)).unwrap() {
            let count = batch
                .receive(&fd, |packet| {
                    assert_eq!(packet.source, sender.local_addr().unwrap());
                    assert_eq!(packet.destination, Some(to.ip()));
                    assert_eq!(interface_name(&fd, packet.interface).as_deref(), Some("lo"));
                    assert!(packet.bytes.iter().all(|b| *b == 7));
                    got.push(packet.bytes.len());
                })
                .unwrap();
            assert!(count > 0);
        }
        assert_eq!(batch.receive(&fd, |_| ()).unwrap(), 0);
        (got, batch.dropped())
    }

    #[test]
    fn only_packets_of_the_lengths_arrive_and_the_rest_is_counted() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let (got, dropped) =
                exchange(address, &Lengths::of([165..=165, 180..=180]), &[165, 164, 166, 0, 180, 1400, 165]);
            assert_eq!(got, [165, 180, 165]);
            assert_eq!(dropped, 4);
            // What is longer than the room is left out, never cut.
            assert_eq!(exchange(address, &Lengths::of([165..=165, 300..=300]), &[300, 165]).0, [165]);
        }
    }

    #[test]
    fn the_filter_admits_exactly_the_ranges() {
        for lengths in [
            Lengths::default(),
            Lengths::of([36..=60]),
            Lengths::of([0..=0, 3..=5, 20..=22, 190..=200]),
            Lengths::of((0..16).map(|n| n * 4..=n * 4 + 1)),
        ] {
            let sent: Vec<usize> = (0..=200).collect();
            let wanted: Vec<usize> = sent.iter().copied().filter(|length| lengths.admit(*length)).collect();
            assert_eq!(exchange("127.0.0.1:0", &lengths, &sent).0, wanted, "{lengths:?}");
        }
    }

    #[test]
    fn many_datagrams_come_in_few_calls() {
        let (got, _) = exchange("127.0.0.1:0", &Lengths::of([165..=165]), &[165; 200]);
        assert_eq!(got.len(), 200);
    }

    #[test]
    fn a_port_in_use_is_said_so() {
        let first = listen("127.0.0.1:0".parse().unwrap(), Binding::Now).unwrap();
        let taken = UdpSocket::from(first).local_addr().unwrap();
        let held = UdpSocket::bind(("127.0.0.1", taken.port()));
        let error = listen(taken, Binding::Now).map(drop).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(held);
    }

    #[test]
    fn an_answer_comes_from_the_address_that_was_asked() {
        for (bound, asked) in [("0.0.0.0:0", "127.0.0.77"), ("[::]:0", "::1")] {
            let fd = listen(bound.parse().unwrap(), Binding::Now).unwrap();
            let port = UdpSocket::from(fd.try_clone().unwrap()).local_addr().unwrap().port();
            let asked: IpAddr = asked.parse().unwrap();
            let any: IpAddr = if asked.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
            let client = UdpSocket::bind((any, 0)).unwrap();
            client.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
            // Only what comes from there is taken.
            client.connect((asked, port)).unwrap();
            let to = client.local_addr().unwrap();
            send_from(&fd, b"answer", to, Some(asked)).unwrap();
            let mut bytes = [0; 16];
            assert_eq!(client.recv(&mut bytes).unwrap(), 6);
            assert!(send_from(&fd, b"answer", to, Some([192, 0, 2, 1].into())).is_err() || asked.is_ipv6());
            send_from(&fd, b"without", to, None).unwrap();
        }
    }
}
