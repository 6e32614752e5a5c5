//! Many packets a call, from any kind of socket that says whose each is.
//!
//! Used by udp.rs and packet.rs. Not here: what the names and the control messages mean.

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

use rustix::net::sockopt;

/// How many packets one call takes.
pub(crate) const BATCH: usize = 64;

/// Room for the control messages that are asked for: drop count (4), IPv4 (12) or IPv6 (20) packet information.
const CONTROL: usize = 96;

/// Bytes of waiting packets that we ask the kernel to hold, so that a burst waits instead of being lost. It counts some
/// 830 for a knock and doubles what is asked for: 40,000 knocks, which come in while we get no CPU or wait for the disk.
const HOLD: usize = 16 << 20;

/// Makes room for a burst at a socket: with CAP_NET_ADMIN beyond the machine's usual limit, else as far as that goes.
pub(crate) fn hold(fd: impl AsFd) {
    if sockopt::set_socket_recv_buffer_size_force(&fd, HOLD).is_err() {
        let _ = sockopt::set_socket_recv_buffer_size(&fd, HOLD);
    }
}

/// How many packets the kernel dropped at a socket since it was opened, out of its control message (`SO_RXQ_OVFL`).
pub(crate) fn drop_count(value: &[u8]) -> Option<u32> {
    value.first_chunk().map(|count| u32::from_ne_bytes(*count))
}

/// What the kernel writes down as a packet's sender.
///
/// # Safety
/// Any bytes are a valid value of it, all zero among them: it is plain integers.
pub(crate) unsafe trait Name: Copy {}

// SAFETY: plain integers.
unsafe impl Name for libc::sockaddr_in6 {}
// SAFETY: plain integers.
unsafe impl Name for libc::sockaddr_ll {}

/// Room for a batch, used again and again.
pub(crate) struct Batch<N> {
    longest: usize,
    payloads: Vec<u8>,
    controls: Vec<Control>,
    names: Vec<N>,
    headers: Vec<libc::mmsghdr>,
    vectors: Vec<libc::iovec>,
}

#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL]);

/// One packet as it lies in the batch.
pub(crate) struct Arrived<'a, N> {
    /// Its bytes, or as many of them as there is room for.
    pub(crate) bytes: &'a [u8],
    /// Whether there was room for all.
    pub(crate) whole: bool,
    /// Its sender.
    pub(crate) name: &'a N,
    header: &'a libc::msghdr,
}

impl<N: Name> Batch<N> {
    /// Room for packets of at most `longest` bytes.
    pub(crate) fn new(longest: usize) -> Self {
        // SAFETY: all-zero bytes are a valid value of every Name.
        let name = unsafe { mem::zeroed::<N>() };
        Self {
            longest,
            payloads: vec![0; longest * BATCH],
            controls: vec![Control([0; CONTROL]); BATCH],
            names: vec![name; BATCH],
            headers: Vec::with_capacity(BATCH),
            vectors: Vec::with_capacity(BATCH),
        }
    }

    /// Receives what is there, at most [`BATCH`], and shows each to `each`. Returns how many the kernel handed over.
    ///
    /// # Errors
    /// As the system says; nothing being there is `Ok(0)`.
    pub(crate) fn receive(
        &mut self,
        fd: impl AsFd,
        mut each: impl FnMut(Arrived<'_, N>),
    ) -> io::Result<usize> {
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
        let payloads = self.payloads.chunks_exact(self.longest);
        for ((header, name), payload) in self.headers.iter().take(count).zip(&self.names).zip(payloads) {
            let length = usize::try_from(header.msg_len).unwrap_or(0);
            let header = &header.msg_hdr;
            let whole = header.msg_flags & libc::MSG_TRUNC == 0;
            each(Arrived { bytes: payload.get(..length).unwrap_or(payload), whole, name, header });
        }
        Ok(count)
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
            header.msg_hdr.msg_namelen = size_of::<N>() as libc::socklen_t;
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = CONTROL as _;
            self.headers.push(header);
        }
    }
}

impl<N> Arrived<'_, N> {
    /// Shows each control message: level, type, and the bytes of its value.
    pub(crate) fn controls(&self, mut each: impl FnMut(libc::c_int, libc::c_int, &[u8])) {
        // SAFETY: the kernel filled `header`, whose control buffer is alive; the macros walk it within msg_controllen, and
        // the value's bytes end where the message says, which the kernel keeps within the buffer.
        unsafe {
            let mut message = libc::CMSG_FIRSTHDR(self.header);
            while let Some(head) = message.as_ref() {
                let length = head.cmsg_len.saturating_sub(libc::CMSG_LEN(0) as usize);
                let value = std::slice::from_raw_parts(libc::CMSG_DATA(head), length);
                each(head.cmsg_level, head.cmsg_type, value);
                message = libc::CMSG_NXTHDR(self.header, head);
            }
        }
    }
}
