//! Classic socket filters: a small program that the kernel runs for each packet before it costs us anything.
//!
//! Here are the instructions by name, and how a program comes to a socket. Not here: what a program looks for.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

/// One instruction (linux/filter.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// What to do: one of the constants here.
    pub code: u16,
    /// For a condition: how many steps to skip when it holds.
    pub jt: u8,
    /// And how many when it does not.
    pub jf: u8,
    /// The operand.
    pub k: u32,
}

impl Step {
    /// A step that goes on to the next.
    #[must_use]
    pub const fn plain(code: u16, k: u32) -> Self {
        Self { code, jt: 0, jf: 0, k }
    }
}

// linux/bpf_common.h: class, size or operation, and mode or source in one number.

/// `A = packet length`.
pub const LOAD_LENGTH: u16 = 0x80;
/// `A =` the 4 bytes at `k`, in network order; beyond the packet's end the packet is dropped.
pub const LOAD_WORD: u16 = 0x20;
/// The same of 2 bytes.
pub const LOAD_HALF: u16 = 0x28;
/// The same of 1 byte.
pub const LOAD_BYTE: u16 = 0x30;
/// `A =` the 4 bytes at `X + k`.
pub const LOAD_WORD_AT_X: u16 = 0x40;
/// The same of 2 bytes.
pub const LOAD_HALF_AT_X: u16 = 0x48;
/// The same of 1 byte.
pub const LOAD_BYTE_AT_X: u16 = 0x50;
/// `A = k`.
pub const LOAD_NUMBER: u16 = 0x00;
/// `A = M[k]`.
pub const LOAD_STORED: u16 = 0x60;
/// `M[k] = A`.
pub const STORE: u16 = 0x02;
/// `X = A`.
pub const A_TO_X: u16 = 0x07;
/// `A = A + X`.
pub const ADD_X: u16 = 0x0c;
/// `A = A - X`.
pub const SUBTRACT_X: u16 = 0x1c;
/// `A = A + k`.
pub const ADD: u16 = 0x04;
/// `A = A & k`.
pub const AND: u16 = 0x54;
/// `A = A << k`.
pub const SHIFT_LEFT: u16 = 0x64;
/// `A = A >> k`.
pub const SHIFT_RIGHT: u16 = 0x74;
/// Skip `k` steps.
pub const JUMP: u16 = 0x05;
/// Is `A == k`?
pub const IF_EQUAL: u16 = 0x15;
/// Is `A > k`?
pub const IF_ABOVE: u16 = 0x25;
/// Is `A >= k`?
pub const IF_AT_LEAST: u16 = 0x35;
/// Is `A & k` not zero?
pub const IF_ANY_BIT: u16 = 0x45;
/// The end: the packet is kept up to `k` bytes; 0 drops it.
pub const RETURN: u16 = 0x06;

// linux/filter.h, "ancillary data": loads from here do not read the packet.

/// The Ethernet type of the packet, after tags that the kernel has taken off.
pub const PROTOCOL: u32 = 0xffff_f000;
/// The tag that the kernel has taken off (802.1Q: priority, flag and the 12 bits of the VLAN).
pub const VLAN_TAG: u32 = 0xffff_f000 + 44;
/// Whether there was one.
pub const VLAN_PRESENT: u32 = 0xffff_f000 + 48;

/// Gives a socket its program; the one before, if any, is gone.
///
/// # Errors
/// As the system says: longer than 4096 steps, or no valid program.
pub fn attach(fd: impl AsFd, program: &[Step]) -> io::Result<()> {
    let steps: Vec<libc::sock_filter> = program
        .iter()
        .map(|step| libc::sock_filter { code: step.code, jt: step.jt, jf: step.jf, k: step.k })
        .collect();
    let filter = libc::sock_fprog {
        len: u16::try_from(steps.len()).map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?,
        // The kernel copies the program; it does not write to it.
        filter: steps.as_ptr().cast_mut(),
    };
    set(&fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &filter)
}

/// From now on nobody takes the program off or changes it, whoever holds the socket.
///
/// # Errors
/// As the system says.
pub fn lock(fd: impl AsFd) -> io::Result<()> {
    set(&fd, libc::SOL_SOCKET, libc::SO_LOCK_FILTER, &1_i32)
}

/// Sets an option of a socket; `T` is what setsockopt(2) wants for it.
pub(crate) fn set<T>(fd: impl AsFd, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
    let size = libc::socklen_t::try_from(size_of::<T>()).unwrap_or(0);
    let (socket, value) = (fd.as_fd().as_raw_fd(), ptr::from_ref(value).cast());
    // SAFETY: `value` is alive and has `size` bytes; the kernel only reads them.
    let rc = unsafe { libc::setsockopt(socket, level, name, value, size) };
    if rc == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
