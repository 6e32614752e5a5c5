//! Channels between our processes: `SOCK_SEQPACKET` pairs, so that a message arrives whole or not at all, with
//! descriptors riding along.
//!
//! Called by the keeper, front and grantor. Not here: what the messages mean (portunus-ctl).

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

/// The most descriptors that one message carries.
pub const MOST_DESCRIPTORS: usize = 32;

/// One end of a pair.
#[derive(Debug)]
pub struct Channel(OwnedFd);

/// One message.
#[derive(Debug)]
pub struct Message {
    /// How many bytes of the buffer it has; never 0.
    pub length: usize,
    /// The descriptors that came with it, each closed on exec.
    pub descriptors: Vec<OwnedFd>,
}

/// What came of trying to receive.
#[derive(Debug)]
pub enum Received {
    /// A message.
    Message(Message),
    /// None is there now.
    Nothing,
    /// The other end is gone, and every message was read.
    Ended,
}

/// Whether a message is longer than the kernel takes at once (EMSGSIZE, which has no kind of its own), or is none at all.
#[must_use]
pub fn is_too_long(error: &io::Error) -> bool {
    error.raw_os_error().is_none_or(|errno| errno == rustix::io::Errno::MSGSIZE.raw_os_error())
}

impl Channel {
    /// Makes both ends, closed on exec.
    ///
    /// # Errors
    /// When the system has no descriptors left.
    pub fn pair() -> io::Result<(Self, Self)> {
        let kind = SocketType::SEQPACKET;
        let (a, b) = rustix::net::socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
        Ok((Self(a), Self(b)))
    }

    /// Takes the channel that we were started with as standard input, and puts `/dev/null` in its place.
    ///
    /// # Errors
    /// When standard input is not such a channel: then nobody of ours started us.
    pub fn inherited() -> io::Result<Self> {
        let stdin = rustix::stdio::stdin();
        if rustix::net::sockopt::socket_type(stdin)? != SocketType::SEQPACKET {
            return Err(io::Error::from_raw_os_error(libc::EPROTOTYPE));
        }
        let channel = stdin.try_clone_to_owned()?;
        let null = File::open("/dev/null")?;
        rustix::stdio::dup2_stdin(&null)?;
        Ok(Self(channel))
    }

    /// Takes a descriptor that is such a channel.
    ///
    /// # Errors
    /// When it is something else.
    pub fn from_descriptor(fd: OwnedFd) -> io::Result<Self> {
        if rustix::net::sockopt::socket_type(&fd)? != SocketType::SEQPACKET {
            return Err(io::Error::from_raw_os_error(libc::EPROTOTYPE));
        }
        Ok(Self(fd))
    }

    /// Ends it for both sides: the other hears that nobody is there any more.
    ///
    /// # Errors
    /// As the system says.
    pub fn shut(&self) -> io::Result<()> {
        Ok(rustix::net::shutdown(&self.0, rustix::net::Shutdown::Both)?)
    }

    /// Ends our half: the other hears that no more comes, and can still answer.
    ///
    /// # Errors
    /// As the system says.
    pub fn say_no_more(&self) -> io::Result<()> {
        Ok(rustix::net::shutdown(&self.0, rustix::net::Shutdown::Write)?)
    }

    /// Asks the kernel for room for `bytes` of messages on their way.
    pub fn make_room(&self, bytes: usize) {
        // The default holds a few messages anyway; a refusal only means smaller batches.
        let _ = rustix::net::sockopt::set_socket_send_buffer_size(&self.0, bytes);
    }

    /// Sends one message, waiting for room.
    ///
    /// # Errors
    /// When the other end is gone, or the message is too long for the kernel.
    pub fn send(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.push(bytes, descriptors, SendFlags::NOSIGNAL)
    }

    /// Sends one message if there is room for it now.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when there is none; else as [`Self::send`].
    pub fn try_send(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.push(bytes, descriptors, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)
    }

    fn push(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>], flags: SendFlags) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::Error::from_raw_os_error(libc::E2BIG));
        }
        loop {
            match rustix::net::sendmsg(&self.0, &[IoSlice::new(bytes)], &mut control, flags) {
                Ok(_) => return Ok(()),
                Err(rustix::io::Errno::INTR) => (),
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Receives one message with its descriptors, waiting for it.
    ///
    /// # Errors
    /// A message that is longer than the buffer, or that has more descriptors than we take, is an error.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        self.pull(buffer, RecvFlags::CMSG_CLOEXEC)
    }

    /// Receives one message with its descriptors if one is there.
    ///
    /// # Errors
    /// As [`Self::receive`].
    pub fn try_receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        self.pull(buffer, RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT)
    }

    fn pull(&self, buffer: &mut [u8], flags: RecvFlags) -> io::Result<Received> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let got = loop {
            match rustix::net::recvmsg(&self.0, &mut [IoSliceMut::new(buffer)], &mut control, flags) {
                Ok(got) => break got,
                Err(rustix::io::Errno::INTR) => (),
                Err(rustix::io::Errno::WOULDBLOCK) => return Ok(Received::Nothing),
                Err(rustix::io::Errno::CONNRESET) => return Ok(Received::Ended),
                Err(e) => return Err(e.into()),
            }
        };
        let mut descriptors = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                descriptors.extend(fds);
            }
        }
        if got.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
        }
        if got.bytes == 0 {
            return Ok(Received::Ended);
        }
        Ok(Received::Message(Message { length: got.bytes, descriptors }))
    }

    /// Receives the bytes of one message if one is there. Descriptors that somebody sends along are never taken: the
    /// kernel closes them. A message longer than the buffer is cut to it; `length` then says how long it was.
    ///
    /// # Errors
    /// As the system says.
    pub fn try_receive_bytes(&self, buffer: &mut [u8]) -> io::Result<Received> {
        loop {
            let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
            return match rustix::net::recv(&self.0, &mut *buffer, flags) {
                Ok((_, 0)) => Ok(Received::Ended),
                Ok((_, length)) => Ok(Received::Message(Message { length, descriptors: Vec::new() })),
                Err(rustix::io::Errno::INTR) => continue,
                Err(rustix::io::Errno::WOULDBLOCK) => Ok(Received::Nothing),
                Err(rustix::io::Errno::CONNRESET) => Ok(Received::Ended),
                Err(e) => Err(e.into()),
            };
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<Channel> for OwnedFd {
    fn from(channel: Channel) -> Self {
        channel.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_keep_their_edges_and_bring_descriptors() {
        let (a, b) = Channel::pair().unwrap();
        let null = File::open("/dev/null").unwrap();
        a.send(b"one", &[null.as_fd()]).unwrap();
        a.send(b"three", &[]).unwrap();
        let mut buffer = [0; 16];
        let Received::Message(first) = b.receive(&mut buffer).unwrap() else { panic!("no message") };
        assert_eq!((&buffer[..first.length], first.descriptors.len()), (&b"one"[..], 1));
        let Received::Message(second) = b.try_receive(&mut buffer).unwrap() else { panic!("no message") };
        assert_eq!((&buffer[..second.length], second.descriptors.len()), (&b"three"[..], 0));
        assert!(matches!(b.try_receive(&mut buffer), Ok(Received::Nothing)));
        drop(a);
        assert!(matches!(b.receive(&mut buffer), Ok(Received::Ended)));
    }

    #[test]
    fn a_long_message_is_an_error_or_says_its_length_and_takes_no_descriptor() {
        let (a, b) = Channel::pair().unwrap();
        let null = File::open("/dev/null").unwrap();
        a.send(&[7; 64], &[]).unwrap();
        a.send(&[7; 64], &[null.as_fd()]).unwrap();
        let mut buffer = [0; 16];
        assert_eq!(b.receive(&mut buffer).unwrap_err().raw_os_error(), Some(libc::EMSGSIZE));
        let Received::Message(cut) = b.try_receive_bytes(&mut buffer).unwrap() else { panic!("no message") };
        assert_eq!((cut.length, cut.descriptors.len()), (64, 0));
    }
}
