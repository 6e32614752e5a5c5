//! Packets that a rule of the firewall's logs to a group (`nft … log group 5`, `iptables -j NFLOG --nflog-group 5`): what
//! ulogd was asked for once.
//!
//! The keeper opens the socket and binds it to the group, which needs CAP_NET_ADMIN; the front only reads it. The rule says
//! which packets; it sees them before or after others have dropped them, as it stands.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use portunus_model::{Datagram, Mono, Via};
use portunus_sys::netlink::NetlinkSocket;

use crate::{Frame, ReceiveError, Received, Wanted};

/// Messages of the kernel's that one call takes.
const AT_ONCE: usize = 64;
/// How much of each packet is copied: more than the longest knock and its headers.
const COPIED: u32 = 4096;
/// Room for one message: a packet, and what is said about it. With more than one in a message it is never longer than
/// the kernel's own buffer, which we ask for.
const ROOM: usize = 16 << 10;

// linux/netfilter/nfnetlink.h and nfnetlink_log.h.
const SUBSYSTEM: u16 = 4 << 8;
const PACKET: u16 = SUBSYSTEM;
const CONFIG: u16 = SUBSYSTEM | 1;
const CFG_CMD: u16 = 1;
const CFG_MODE: u16 = 2;
const CFG_NLBUFSIZ: u16 = 3;
const CFG_QTHRESH: u16 = 5;
const CFG_FLAGS: u16 = 6;
const BIND: u8 = 1;
const COPY_PACKET: u8 = 2;
const NUMBERED: u16 = 1;
const PACKET_HDR: u16 = 1;
const PAYLOAD: u16 = 9;
const SEQUENCE: u16 = 12;
// linux/netlink.h.
const ERROR: u16 = 2;
const REQUEST_ACK: u16 = 5;
/// struct nlmsghdr, and struct nfgenmsg behind it.
const HEAD: usize = 16;
const FAMILY: usize = 4;

/// Receives the packets of one group: the front's part.
#[derive(Debug)]
pub struct Nflog {
    socket: NetlinkSocket,
    wanted: Wanted,
    buffer: Vec<u8>,
    /// The number of the last packet.
    last: Option<u32>,
    dropped: u64,
}

/// Opens a socket that hears of every packet that is logged to this group.
///
/// # Errors
/// As the system says: EPERM where we have no right, and where another socket has the group.
pub fn open_nflog(group: u16) -> io::Result<OwnedFd> {
    let socket = NetlinkSocket::netfilter()?;
    let mode = [&COPIED.to_be_bytes()[..], &[COPY_PACKET, 0]].concat();
    let room = u32::try_from(ROOM).unwrap_or(u32::MAX);
    let attributes = [
        // Each packet at once: a knock does not wait for others.
        attribute(CFG_QTHRESH, &1_u32.to_be_bytes()),
        attribute(CFG_NLBUFSIZ, &room.to_be_bytes()),
        attribute(CFG_MODE, &mode),
        attribute(CFG_FLAGS, &NUMBERED.to_be_bytes()),
    ];
    // The kernel wants the first one before it knows of the group.
    ask(&socket, group, &attribute(CFG_CMD, &[BIND]))?;
    ask(&socket, group, &attributes.concat())?;
    Ok(socket.into())
}

fn ask(socket: &NetlinkSocket, group: u16, attributes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(HEAD + FAMILY + attributes.len()).unwrap_or(u32::MAX);
    let mut message = Vec::with_capacity(HEAD + FAMILY + attributes.len());
    message.extend(length.to_ne_bytes());
    message.extend(CONFIG.to_ne_bytes());
    message.extend(REQUEST_ACK.to_ne_bytes());
    message.extend([0; 8]);
    message.extend([0, 0]);
    message.extend(group.to_be_bytes());
    message.extend(attributes);
    confirmed(|| socket.send(&message), |buffer| socket.receive(buffer))
}

/// Sends until the kernel says that it is done.
fn confirmed(
    send: impl Fn() -> io::Result<()>,
    mut receive: impl FnMut(&mut [u8]) -> io::Result<Option<usize>>,
) -> io::Result<()> {
    for attempt in 0..ATTEMPTS {
        send()?;
        // Sending waits until the kernel has done it: packets of the group may lie before its answer, and are not for us.
        match answer(&mut receive)? {
            Some(0) => return Ok(()),
            // That we have the group already: it was the answer to the first time that was lost.
            Some(code) if code == -EBUSY && attempt > 0 => return Ok(()),
            Some(code) => return Err(io::Error::from_raw_os_error(-code)),
            // So many packets lay there that there was no room for it.
            None => (),
        }
    }
    Err(io::Error::other("the kernel did not answer, so many packets are logged"))
}

/// The code in the kernel's answer, if it is among what lies there, all of which is taken.
fn answer(mut receive: impl FnMut(&mut [u8]) -> io::Result<Option<usize>>) -> io::Result<Option<i32>> {
    let mut buffer = vec![0; ROOM];
    let mut code = None;
    for _ in 0..MOST_BEFORE {
        let length = match receive(&mut buffer) {
            Ok(Some(length)) => length,
            Ok(None) => break,
            // Packets were lost, and what is there may be read.
            Err(error) if error.raw_os_error() == Some(ENOBUFS) => continue,
            Err(error) => return Err(error),
        };
        let mut read = messages(buffer.get(..length).unwrap_or_default());
        if let Some((_, body)) = read.find(|(kind, _)| *kind == ERROR) {
            code = Some(body.first_chunk::<4>().map_or(0, |code| i32::from_ne_bytes(*code)));
            break;
        }
    }
    Ok(code)
}

/// How often the kernel is asked, and how many packets may lie before its answer: more than its buffer holds.
const ATTEMPTS: u32 = 5;
const MOST_BEFORE: u32 = 1 << 16;

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    let mut out = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat();
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

impl Nflog {
    /// Over a socket of [`open_nflog`].
    #[must_use]
    pub fn new(socket: OwnedFd, wanted: Wanted) -> Self {
        Self { socket: socket.into(), wanted, buffer: vec![0; ROOM], last: None, dropped: 0 }
    }

    /// What to wait for.
    #[must_use]
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// From now on payloads of these lengths, and by these rules.
    pub fn want(&mut self, wanted: Wanted) {
        self.wanted = wanted;
    }

    /// How many packets the kernel had no room for.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Receives what is there, a batch at most, and shows each datagram to `each`.
    ///
    /// # Errors
    /// As the system says; the next packet may be fine.
    pub fn receive(&mut self, _: Mono, mut each: impl FnMut(Datagram)) -> Result<Received, ReceiveError> {
        let mut count = 0;
        for _ in 0..AT_ONCE {
            let length = match self.socket.receive(&mut self.buffer) {
                Ok(Some(length)) => length,
                Ok(None) => return Ok(Received { count, drained: true }),
                // Some were lost: their numbers will tell how many.
                Err(error) if error.raw_os_error() == Some(ENOBUFS) => continue,
                Err(error) => return Err(ReceiveError::of(&error)),
            };
            for (kind, body) in messages(self.buffer.get(..length).unwrap_or_default()) {
                if kind != PACKET {
                    continue;
                }
                count += 1;
                let Some(logged) = Logged::read(body.get(FAMILY..).unwrap_or_default()) else { continue };
                self.dropped += logged.lost(&mut self.last);
                let frame = Frame { protocol: logged.protocol, tag: None, bytes: logged.bytes };
                let datagram =
                    frame.payload().and_then(|payload| self.wanted.datagram(payload, Via::Sniffed));
                datagram.into_iter().for_each(&mut each);
            }
        }
        Ok(Received { count, drained: false })
    }
}

/// "No buffer space available" (errno(3); std has no name for it).
const ENOBUFS: i32 = 105;
/// "Device or resource busy".
const EBUSY: i32 = 16;

/// The messages of one datagram: what each is, and what stands behind its header. What is cut ends them.
fn messages(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::try_from(u32::from_ne_bytes(*bytes.first_chunk()?)).ok()?;
        let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
        let body = bytes.get(HEAD..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, body))
    })
}

/// What is told of one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Logged<'b> {
    protocol: u16,
    bytes: &'b [u8],
    number: Option<u32>,
}

impl<'b> Logged<'b> {
    /// `None`: there is no packet in it.
    fn read(mut rest: &'b [u8]) -> Option<Self> {
        let (mut protocol, mut bytes, mut number) = (None, None, None);
        // struct nlattr: a length with its own four bytes, and a type; then the value, padded to four.
        while let Some(length) =
            rest.first_chunk::<2>().map(|length| usize::from(u16::from_ne_bytes(*length)))
        {
            let kind = rest.get(2..).and_then(|rest| rest.first_chunk::<2>());
            let (Some(kind), Some(value)) = (kind, rest.get(4..length)) else { break };
            match u16::from_ne_bytes(*kind) & 0x3fff {
                PACKET_HDR => {
                    protocol = value.first_chunk::<2>().map(|protocol| u16::from_be_bytes(*protocol));
                }
                PAYLOAD => bytes = Some(value),
                SEQUENCE => number = value.first_chunk::<4>().map(|number| u32::from_be_bytes(*number)),
                _ => (),
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        Some(Self { protocol: protocol?, bytes: bytes?, number })
    }

    /// How many lie between it and the last one.
    fn lost(self, last: &mut Option<u32>) -> u64 {
        let Some(number) = self.number else { return 0 };
        let before = last.replace(number);
        before.map_or(0, |before| u64::from(number.wrapping_sub(before).saturating_sub(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_and_what_is_told_of_it() {
        let told = [
            attribute(PACKET_HDR, &[8, 0, 1, 0]),
            attribute(10, b"prefix\0"),
            attribute(PAYLOAD, b"packet"),
            attribute(SEQUENCE, &7_u32.to_be_bytes()),
        ]
        .concat();
        let logged = Logged { protocol: 0x800, bytes: b"packet", number: Some(7) };
        assert_eq!(Logged::read(&told), Some(logged));
        let mut last = None;
        assert_eq!(logged.lost(&mut last), 0);
        assert_eq!(Logged { number: Some(10), ..logged }.lost(&mut last), 2);
        assert_eq!(Logged { number: Some(11), ..logged }.lost(&mut last), 0);
        // Whatever is cut off, nothing breaks.
        for end in 0..told.len() {
            let _ = Logged::read(&told[..end]);
        }
        assert_eq!(Logged::read(&[0, 0, 9, 0, 0, 0]), None);
        assert_eq!(Logged::read(&[3, 0, 9, 0, 0, 0]), None);
    }

    fn one(kind: u16, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEAD + body.len()).unwrap();
        let mut out = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 10], body].concat();
        out.resize(out.len().next_multiple_of(4), 0);
        out
    }

    /// What comes of it when the kernel says these things, each `None` an end of what is there for now, and how often it
    /// was asked.
    fn asked(said: &[Result<Option<Vec<u8>>, i32>]) -> (io::Result<()>, u32) {
        let sent = std::cell::Cell::new(0);
        let mut said = said.iter();
        let send = || {
            sent.set(sent.get() + 1);
            Ok(())
        };
        let result = confirmed(send, |buffer| match said.next() {
            None | Some(Ok(None)) => Ok(None),
            Some(Ok(Some(bytes))) => {
                buffer[..bytes.len()].copy_from_slice(bytes);
                Ok(Some(bytes.len()))
            }
            Some(Err(code)) => Err(io::Error::from_raw_os_error(*code)),
        });
        (result, sent.get())
    }

    #[test]
    fn the_kernels_answer_is_found_among_packets_and_losses() {
        let packet = || Ok(Some(one(PACKET, b"abc")));
        let code = |code: i32| Ok(Some(one(ERROR, &code.to_ne_bytes())));
        let (done, sent) = asked(&[packet(), Err(ENOBUFS), packet(), code(0)]);
        assert_eq!((done.is_ok(), sent), (true, 1));
        // There was no room for the answer. The second time the group is ours already.
        let (done, sent) = asked(&[packet(), Err(ENOBUFS), Ok(None), code(-EBUSY)]);
        assert_eq!((done.is_ok(), sent), (true, 2));
        let (refused, sent) = asked(&[code(-EBUSY)]);
        assert_eq!((refused.unwrap_err().raw_os_error(), sent), (Some(EBUSY), 1));
        let (refused, _) = asked(&[packet(), code(-1)]);
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        let (silent, sent) = asked(&[]);
        assert_eq!((silent.is_err(), sent), (true, ATTEMPTS));
    }

    #[test]
    fn messages_of_one_datagram() {
        let two = [one(PACKET, b"abc"), one(ERROR, b"wxyz")].concat();
        let read: Vec<_> = messages(&two).collect();
        assert_eq!(read, [(PACKET, &b"abc"[..]), (ERROR, b"wxyz")]);
        // One that says it is longer, or shorter, than it is ends what is read.
        for length in [0_u32, 1, 15, 21, 1 << 20, u32::MAX] {
            let mut odd = two.clone();
            odd[..4].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(messages(&odd).filter(|(kind, _)| *kind == PACKET).count(), usize::from(length == 21));
        }
        for end in 0..two.len() {
            assert!(messages(&two[..end]).count() < 2);
        }
        assert_eq!(messages(&[0; 64]).count(), 0);
        assert_eq!(messages(&[255; 64]).count(), 0);
    }
}
