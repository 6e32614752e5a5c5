//! Netlink sockets: messages to the kernel's netfilter, conntrack and socket diagnostics, and its announcements.
//!
//! Called by portunus-fw. Not here: what the messages say.

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use crate::bpf::{self, Step, set};

/// `NETLINK_NETFILTER`: nf_tables and conntrack.
const NETFILTER: i32 = libc::NETLINK_NETFILTER;

/// `NETLINK_SOCK_DIAG`.
const SOCK_DIAG: i32 = libc::NETLINK_SOCK_DIAG;

/// `NFNLGRP_NFTABLES` (linux/netfilter/nfnetlink.h).
const GROUP_NFTABLES: u32 = 7;

/// A transaction is one send, however many elements it has.
const SEND_ROOM: i32 = 32 << 20;

/// The answers to one transaction, or the announcements between two looks.
const RECEIVE_ROOM: i32 = 8 << 20;

/// A netlink socket. Sending waits for the kernel to have done it; receiving never waits.
#[derive(Debug)]
pub struct NetlinkSocket {
    fd: OwnedFd,
    port: u32,
}

impl NetlinkSocket {
    /// A socket to nf_tables and conntrack.
    ///
    /// # Errors
    /// As the system says.
    pub fn netfilter() -> io::Result<Self> {
        Self::open(NETFILTER)
    }

    /// A socket to the socket diagnostics.
    ///
    /// # Errors
    /// As the system says.
    pub fn sock_diag() -> io::Result<Self> {
        Self::open(SOCK_DIAG)
    }

    /// A socket that hears of every change of nf_tables, but for those made through the socket with netlink port
    /// `own`: those are dropped in the kernel, so that ten thousand of our own elements a second cost us nothing.
    ///
    /// # Errors
    /// As the system says.
    pub fn announcements(own: u32) -> io::Result<Self> {
        let socket = Self::open(NETFILTER)?;
        socket.ignore_port(own)?;
        set(&socket.fd, libc::SOL_NETLINK, libc::NETLINK_ADD_MEMBERSHIP, &GROUP_NFTABLES)?;
        Ok(socket)
    }

    /// A socket that hears of every interface that comes, goes or changes (`RTM_NEWLINK`, `RTM_DELLINK`).
    ///
    /// # Errors
    /// As the system says.
    pub(crate) fn link_announcements() -> io::Result<Self> {
        let socket = Self::open(libc::NETLINK_ROUTE)?;
        set(&socket.fd, libc::SOL_NETLINK, libc::NETLINK_ADD_MEMBERSHIP, &libc::RTNLGRP_LINK)?;
        Ok(socket)
    }

    /// Our netlink port: the kernel names it in announcements of what was done through this socket.
    #[must_use]
    pub const fn port(&self) -> u32 {
        self.port
    }

    /// Sends one or more messages as one transaction.
    ///
    /// # Errors
    /// As the system says; a message that the kernel refuses is told in its answer, not here.
    pub fn send(&self, bytes: &[u8]) -> io::Result<()> {
        // SAFETY: the pointer and the length are those of one slice, which outlives the call.
        let sent = unsafe {
            libc::send(self.fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL)
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Takes the next datagram of answers; `None`: none is there now.
    ///
    /// # Errors
    /// `ENOBUFS`: some were lost. Otherwise as the system says.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            let (fd, flags) = (self.fd.as_raw_fd(), libc::MSG_DONTWAIT);
            // SAFETY: the pointer and the length are those of one exclusive slice, which outlives the call.
            let got = unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), flags) };
            if let Ok(length) = usize::try_from(got) {
                return Ok(Some(length));
            }
            let error = io::Error::last_os_error();
            if error.kind() == io::ErrorKind::WouldBlock {
                return Ok(None);
            }
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }

    fn open(protocol: i32) -> io::Result<Self> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
        // SAFETY: no pointers; the result is checked below.
        let fd = unsafe { libc::socket(libc::AF_NETLINK, kind, protocol) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new, open, and ours alone.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // Answers need not repeat our whole request.
        set(&fd, libc::SOL_NETLINK, libc::NETLINK_CAP_ACK, &1_i32)?;
        // Forced where we have the right (CAP_NET_ADMIN); the usual room will do for a few grants.
        for (forced, plain, room) in [
            (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, SEND_ROOM),
            (libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, RECEIVE_ROOM),
        ] {
            if set(&fd, libc::SOL_SOCKET, forced, &room).is_err() {
                set(&fd, libc::SOL_SOCKET, plain, &room)?;
            }
        }
        let port = bind(&fd)?;
        Ok(Self { fd, port })
    }

    /// `ld [12]; jeq port, drop; keep`: the netlink header's port stands at offset 12 (struct nlmsghdr), in host
    /// byte order, while a filter loads in network order.
    fn ignore_port(&self, port: u32) -> io::Result<()> {
        bpf::attach(
            &self.fd,
            &[
                Step::plain(bpf::LOAD_WORD, 12),
                Step { code: bpf::IF_EQUAL, jt: 1, jf: 0, k: port.to_be() },
                Step::plain(bpf::RETURN, u32::MAX),
                Step::plain(bpf::RETURN, 0),
            ],
        )
    }
}

impl From<NetlinkSocket> for OwnedFd {
    fn from(socket: NetlinkSocket) -> Self {
        socket.fd
    }
}

/// One that another process has opened, and to whose port nobody looks any more.
impl From<OwnedFd> for NetlinkSocket {
    fn from(fd: OwnedFd) -> Self {
        Self { fd, port: 0 }
    }
}

impl AsFd for NetlinkSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Binds to a port that the kernel chooses, and asks which.
fn bind(fd: &OwnedFd) -> io::Result<u32> {
    // SAFETY: sockaddr_nl is plain numbers; all zero is a valid one.
    let mut address: libc::sockaddr_nl = unsafe { mem::zeroed() };
    address.nl_family = libc::sa_family_t::try_from(libc::AF_NETLINK).unwrap_or_default();
    let mut length = libc::socklen_t::try_from(size_of::<libc::sockaddr_nl>()).unwrap_or_default();
    // SAFETY: the pointer is to a whole sockaddr_nl of that length, which outlives the call.
    if unsafe { libc::bind(fd.as_raw_fd(), ptr::from_ref(&address).cast(), length) } < 0 {
        return Err(io::Error::last_os_error());
    }
    let (out, room) = (ptr::from_mut(&mut address).cast(), ptr::from_mut(&mut length));
    // SAFETY: both pointers are to whole values that outlive the call; the kernel writes at most `length` bytes.
    if unsafe { libc::getsockname(fd.as_raw_fd(), out, room) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(address.nl_pid)
}
