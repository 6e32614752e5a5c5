//! A flood: one thread on one core that sends packets as fast as it can, or so many a second, from one address or from many.

use std::io::IoSlice;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::sys::socket::{MsgFlags, MultiHeaders, sendmmsg};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::world::{SERVER, World};

/// Datagrams that one system call sends.
const BATCH: usize = 64;

/// What is sent, and from where.
#[derive(Debug)]
pub struct Flood<'p> {
    /// By turns.
    pub packets: &'p [Vec<u8>],
    /// The client's network has them: 10.91.0.0/16 (`crowd`).
    pub sources: &'p [Ipv4Addr],
    /// The knock port.
    pub port: u16,
    /// So many a second; `None`: as many as one core can.
    pub rate: Option<u64>,
}

impl Flood<'_> {
    /// Floods the server while `work` is done. What came of that, and how many datagrams a second were sent.
    ///
    /// # Panics
    /// When no datagram can be sent.
    pub fn during<T>(&self, world: &World, work: impl FnOnce() -> T) -> (T, u64) {
        let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
        let start = Instant::now();
        let done = std::thread::scope(|scope| {
            scope.spawn(|| world.client.inside(|| self.send(&stop, &sent)));
            while sent.load(Ordering::Relaxed) == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
            let done = work();
            stop.store(true, Ordering::Relaxed);
            done
        });
        let millis = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        (done, sent.load(Ordering::Relaxed) * 1000 / millis)
    }

    fn send(&self, stop: &AtomicBool, sent: &AtomicU64) {
        let mut core = CpuSet::new();
        core.set(0);
        // On a machine of one core there is nothing to choose.
        let _ = sched_setaffinity(None, &core);
        let socket = |address: &Ipv4Addr| {
            let socket = UdpSocket::bind((*address, 0)).expect("the address is there");
            socket.connect((SERVER, self.port)).expect("the server has a route");
            socket
        };
        let sockets: Vec<UdpSocket> = self.sources.iter().map(socket).collect();
        let mut packets = self.packets.iter().cycle();
        let mut headers = MultiHeaders::<()>::preallocate(BATCH, None);
        let start = Instant::now();
        for socket in sockets.iter().cycle() {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let batch: Vec<[IoSlice<'_>; 1]> =
                packets.by_ref().take(BATCH).map(|packet| [IoSlice::new(packet)]).collect();
            // A full queue on the way drops some: that is what a flood does.
            let _ = sendmmsg(socket.as_raw_fd(), &mut headers, &batch, [None; BATCH], [], MsgFlags::empty());
            let all = sent.fetch_add(BATCH as u64, Ordering::Relaxed) + BATCH as u64;
            if let Some(rate) = self.rate {
                let due = Duration::from_nanos(all * 1_000_000_000 / rate);
                std::thread::sleep(due.saturating_sub(start.elapsed()));
            }
        }
    }
}
