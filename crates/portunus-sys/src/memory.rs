//! What the kernel says of a socket's buffer: how full it is, and what it had to drop.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// The buffer of a socket that receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Buffer {
    /// Bytes in use.
    pub used: u32,
    /// Bytes that there are.
    pub size: u32,
    /// Packets dropped since the socket was opened: for want of room or, at a UDP socket, by its filter.
    pub dropped: u32,
}

/// Asks for it (SO_MEMINFO, since Linux 4.12).
///
/// # Errors
/// As the system says.
pub fn buffer(fd: impl AsFd) -> io::Result<Buffer> {
    // linux/sock_diag.h: receive memory, its limit, five more, the backlog, the drops.
    const VALUES: usize = 9;
    let mut values = [0_u32; VALUES];
    let mut length = libc::socklen_t::try_from(size_of_val(&values)).unwrap_or(0);
    // SAFETY: the kernel writes at most `length` bytes, which is the size of `values`, and how many it wrote into
    // `length`; both live until the call returns. Any bytes are valid numbers.
    let rc = unsafe {
        libc::getsockopt(
            fd.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            values.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if rc != 0 {
        return Err(io::Error::last_os_error());
    }
    let [used, size, _, _, _, _, _, _, dropped] = values;
    Ok(Buffer { used, size, dropped })
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_full_buffer_and_what_it_cost_are_told() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        rustix::net::sockopt::set_socket_recv_buffer_size(&receiver, 4096).unwrap();
        assert_eq!(buffer(&receiver).unwrap().dropped, 0);
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..100 {
            sender.send_to(&[7; 500], receiver.local_addr().unwrap()).unwrap();
        }
        assert!(crate::poll::readable(&receiver, Duration::from_secs(1)).unwrap());
        let told = buffer(&receiver).unwrap();
        assert!(told.used > 0 && told.size >= 4096 && told.dropped > 50, "{told:?}");
    }
}
