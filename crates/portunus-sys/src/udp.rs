//! UDP sockets for receiving: many datagrams a call, with the interface that each came in by and how many the kernel
//! had to drop; and a filter in the kernel by length, so that noise of another length costs us nothing.
//!
//! Called by the keeper (which opens) and by portunus-rx (which receives). Not here: whose datagram it is.

use std::io;
use std::mem::{self, MaybeUninit};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::ptr;

use portunus_model::Lengths;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use crate::bpf::{self, Step, set};

/// How many datagrams one call takes.
pub const BATCH: usize = 64;

/// Room for the control messages that we ask for: drop count (4), IPv4 (12) or IPv6 (20) packet information.
const CONTROL: usize = 96;

/// Bytes of waiting datagrams that we ask the kernel to hold, so that a burst waits instead of being lost.
const HOLD: usize = 8 << 20;

/// Whether an address that no interface has may be bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding {
    /// It may not: the system says so.
    Now,
    /// It may: one will have it.
    Early,
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
    // With CAP_NET_ADMIN beyond the machine's usual limit, else as far as that goes.
    if sockopt::set_socket_recv_buffer_size_force(&fd, HOLD).is_err() {
        let _ = sockopt::set_socket_recv_buffer_size(&fd, HOLD);
    }
    rustix::net::bind(&fd, &address)?;
    Ok(fd)
}

/// For [`Binding::Early`], lets the address be one that nobody has.
pub(crate) fn bind_freely(fd: impl AsFd, address: SocketAddr, when: Binding) -> io::Result<()> {
    let early = when == Binding::Early;
    let set = if address.is_ipv4() { sockopt::set_ip_freebind } else { sockopt::set_ipv6_freebind };
    Ok(set(fd, early)?)
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
    payloads: Vec<u8>,
    controls: Vec<Control>,
    names: Vec<libc::sockaddr_in6>,
    headers: Vec<libc::mmsghdr>,
    vectors: Vec<libc::iovec>,
    dropped: u32,
}

#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL]);

impl Batch {
    /// Room for datagrams of at most `longest` bytes; longer ones are left out.
    #[must_use]
    pub fn new(longest: usize) -> Self {
        // SAFETY: all-zero bytes are a valid value of this plain structure of integers.
        let name = unsafe { mem::zeroed::<libc::sockaddr_in6>() };
        Self {
            longest,
            payloads: vec![0; longest * BATCH],
            controls: vec![Control([0; CONTROL]); BATCH],
            names: vec![name; BATCH],
            headers: Vec::with_capacity(BATCH),
            vectors: Vec::with_capacity(BATCH),
            dropped: 0,
        }
    }

    /// Receives what is there, at most [`BATCH`], and shows each to `each`. Returns how many the kernel handed over.
    ///
    /// # Errors
    /// As the system says; nothing being there is `Ok(0)`.
    pub fn receive(&mut self, fd: impl AsFd, mut each: impl FnMut(Packet<'_>)) -> io::Result<usize> {
        self.prepare();
        // SAFETY: each header points at a payload, a name and a control buffer of `self`, with their true lengths; none
        // of them moves or is read until the call is over. A null timeout is allowed.
        let count = unsafe {
            libc::recvmmsg(
                fd.as_fd().as_raw_fd(),
                self.headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        let Ok(count) = usize::try_from(count) else {
            let error = io::Error::last_os_error();
            let nothing = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted);
            return if nothing { Ok(0) } else { Err(error) };
        };
        let mut dropped = None;
        for (index, header) in self.headers.iter().take(count).enumerate() {
            let told = told(&header.msg_hdr);
            dropped = told.dropped.or(dropped);
            if header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 {
                continue;
            }
            let start = index * self.longest;
            let length = usize::try_from(header.msg_len).unwrap_or(0);
            let bytes = self.payloads.get(start..start + length).unwrap_or_default();
            let Some(source) = self.names.get(index).and_then(source) else { continue };
            each(Packet { bytes, source, destination: told.destination, interface: told.interface });
        }
        self.dropped = dropped.unwrap_or(self.dropped);
        Ok(count)
    }

    /// How many datagrams the kernel dropped at this socket since it was opened: filtered by length, or for want of room.
    #[must_use]
    pub fn dropped(&self) -> u32 {
        self.dropped
    }

    fn prepare(&mut self) {
        self.headers.clear();
        self.vectors.clear();
        for payload in self.payloads.chunks_exact_mut(self.longest) {
            self.vectors.push(libc::iovec { iov_base: payload.as_mut_ptr().cast(), iov_len: payload.len() });
        }
        let parts = self.vectors.iter_mut().zip(&mut self.names).zip(&mut self.controls);
        for ((vector, name), control) in parts {
            // SAFETY: all-zero bytes are a valid value of this plain structure of integers and pointers.
            let mut header = unsafe { mem::zeroed::<libc::mmsghdr>() };
            header.msg_hdr.msg_name = ptr::from_mut(name).cast();
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = CONTROL as _;
            self.headers.push(header);
        }
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

fn told(header: &libc::msghdr) -> Told {
    let mut told = Told::default();
    // SAFETY: the kernel filled `header`, whose control buffer is alive; the macros walk it within msg_controllen, and
    // each value is read (unaligned) only when its message is long enough for its type.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while let Some(head) = message.as_ref() {
            let data = libc::CMSG_DATA(head);
            let length = head.cmsg_len;
            let fits = |size: usize| length >= libc::CMSG_LEN(size as libc::c_uint) as usize;
            match (head.cmsg_level, head.cmsg_type) {
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) if fits(4) => {
                    told.dropped = Some(data.cast::<u32>().read_unaligned());
                }
                (libc::IPPROTO_IP, libc::IP_PKTINFO) if fits(size_of::<libc::in_pktinfo>()) => {
                    let info = data.cast::<libc::in_pktinfo>().read_unaligned();
                    told.interface = u32::try_from(info.ipi_ifindex).unwrap_or(0);
                    told.destination = Some(IpAddr::V4(u32::from_be(info.ipi_addr.s_addr).into()));
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) if fits(size_of::<libc::in6_pktinfo>()) => {
                    let info = data.cast::<libc::in6_pktinfo>().read_unaligned();
                    told.interface = info.ipi6_ifindex;
                    told.destination = Some(IpAddr::V6(info.ipi6_addr.s6_addr.into()));
                }
                _ => (),
            }
            message = libc::CMSG_NXTHDR(header, head);
        }
    }
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
}
