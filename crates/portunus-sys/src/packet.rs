//! Packet sockets: what passes on a link, whether or not a firewall lets it in and anything listens.
//!
//! Opening needs CAP_NET_RAW and is the keeper's; receiving needs no right and is the front's. Not here: which packets are
//! wanted (the caller brings the program), and what lies in them.

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

use crate::batch::{self, drop_count};
use crate::bpf::{self, Step, set};

/// How many packets one call takes.
pub const BATCH: usize = batch::BATCH;

/// The most bytes of a packet that there is room for.
pub const LONGEST: usize = 32_768;

/// A page, however long the machine's pages are.
const RING: libc::c_uint = 65_536;

/// What to listen to, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ear {
    /// The interface; `None` for all.
    pub interface: Option<String>,
    /// Whether the card is asked for packets that are addressed to others too (not for all interfaces at once).
    pub promiscuous: bool,
    /// Whether packets that leave are seen too.
    pub both_directions: bool,
}

/// Opens a packet socket that sees only what `program` keeps: it is there before the first packet, and nobody takes it
/// off, not even who holds the socket. Nothing can be sent by it.
///
/// # Errors
/// `ENODEV`: there is no such interface. `ENETDOWN`: it is down. `EPERM`: CAP_NET_RAW is missing.
pub fn open(ear: &Ear, program: &[Step]) -> io::Result<OwnedFd> {
    // Protocol 0: nothing is received until it is bound to one.
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: no pointers; the result is checked below.
    let fd = unsafe { libc::socket(libc::AF_PACKET, kind, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new, open, and ours alone.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    bpf::attach(&fd, program)?;
    bpf::lock(&fd)?;
    mute(&fd)?;
    set(&fd, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, &1_i32)?;
    set(&fd, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, &i32::from(!ear.both_directions))?;
    batch::hold(&fd);
    let index = match &ear.interface {
        None => 0,
        Some(name) => rustix::net::netdevice::name_to_index(&fd, name)?,
    };
    let index = libc::c_int::try_from(index).map_err(|_| io::Error::from_raw_os_error(libc::ENODEV))?;
    if ear.promiscuous && index != 0 {
        // It ends with the socket.
        let how = libc::packet_mreq {
            mr_ifindex: index,
            mr_type: libc::c_ushort::try_from(libc::PACKET_MR_PROMISC).unwrap_or_default(),
            mr_alen: 0,
            mr_address: [0; 8],
        };
        set(&fd, libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &how)?;
    }
    bind(&fd, index)?;
    match rustix::net::sockopt::socket_error(&fd)? {
        Ok(()) => Ok(fd),
        Err(down) => Err(down.into()),
    }
}

/// Who holds a packet socket could send any frame by it, without a right. With a ring for sending the kernel takes frames
/// from that ring alone, and there are none in ours: the front, which gets the socket, can neither map it nor take it off.
fn mute(fd: &OwnedFd) -> io::Result<()> {
    let ring = libc::tpacket_req { tp_block_size: RING, tp_block_nr: 1, tp_frame_size: RING, tp_frame_nr: 1 };
    set(fd, libc::SOL_PACKET, libc::PACKET_TX_RING, &ring)
}

fn bind(fd: &OwnedFd, index: libc::c_int) -> io::Result<()> {
    // SAFETY: sockaddr_ll is plain numbers; all zero is a valid one.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = libc::sa_family_t::try_from(libc::AF_PACKET).unwrap_or_default();
    address.sll_protocol = u16::try_from(libc::ETH_P_ALL).unwrap_or_default().to_be();
    address.sll_ifindex = index;
    let length = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).unwrap_or_default();
    // SAFETY: the pointer is to a whole sockaddr_ll of that length, which outlives the call.
    let done = unsafe { libc::bind(fd.as_raw_fd(), ptr::from_ref(&address).cast(), length) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// One packet as it lies in the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// What `bytes` are, as an Ethernet type.
    pub protocol: u16,
    /// The packet behind its link header, as much of it as the program keeps.
    pub bytes: &'a [u8],
    /// The number of the interface.
    pub interface: u32,
    /// Whether it is on its way out.
    pub leaving: bool,
}

/// Room for a batch of packets, used again and again.
pub struct Batch {
    longest: usize,
    room: batch::Batch<libc::sockaddr_ll>,
    dropped: u32,
}

impl Batch {
    /// Room for `longest` bytes of each packet, [`LONGEST`] at most; longer ones are left out.
    #[must_use]
    pub fn new(longest: usize) -> Self {
        let longest = longest.clamp(1, LONGEST);
        Self { longest, room: batch::Batch::new(longest), dropped: 0 }
    }

    /// Receives what is there, at most [`BATCH`], and shows each to `each`. Returns how many the kernel handed over.
    ///
    /// # Errors
    /// `ENETDOWN`, once: the interface went down or away. Otherwise as the system says; nothing being there is `Ok(0)`.
    pub fn receive(&mut self, fd: impl AsFd, mut each: impl FnMut(Packet<'_>)) -> io::Result<usize> {
        let dropped = &mut self.dropped;
        self.room.receive(fd, |arrived| {
            arrived.controls(|level, kind, value| {
                if (level, kind) == (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) {
                    *dropped = drop_count(value).unwrap_or(*dropped);
                }
            });
            if arrived.whole {
                each(Packet {
                    protocol: u16::from_be(arrived.name.sll_protocol),
                    bytes: arrived.bytes,
                    interface: u32::try_from(arrived.name.sll_ifindex).unwrap_or(0),
                    leaving: arrived.name.sll_pkttype == libc::PACKET_OUTGOING,
                });
            }
        })
    }

    /// How many wanted packets the kernel dropped at this socket for want of room, since it was opened.
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

/// Whether an error of [`open`] or of [`Batch::receive`] says that the interface is down or gone, and may come back.
#[must_use]
pub fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENETDOWN | libc::ENODEV | libc::ENXIO))
}
