//! The door itself: who listens behind it, and whether one gets through.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with, sockopt};

use crate::daemon::Daemon;
use crate::namespace::Namespace;
use crate::world::{SERVER, SERVER6, World};

/// So long a closed door is waited at: the cable is a veth, an open door answers in microseconds.
const CLOSED_AFTER: Duration = Duration::from_millis(250);

/// A program that listens, greets whoever comes and says back what it hears; it ends when dropped.
#[derive(Debug)]
pub struct Open {
    ended: Arc<AtomicBool>,
}

/// Listens at `at` in `side`.
#[must_use]
pub fn serve_tcp(side: &Namespace, at: &str) -> Open {
    let address: SocketAddr = at.parse().unwrap_or_else(|e| panic!("{at} is no address: {e}"));
    let listener = side.inside(|| TcpListener::bind(address)).unwrap_or_else(|e| panic!("{at}: {e}"));
    listener.set_nonblocking(true).expect("a listener can be made non-blocking");
    let ended = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&ended);
    std::thread::spawn(move || {
        while !flag.load(Ordering::Relaxed) {
            match listener.accept() {
                Ok((stream, _)) => drop(std::thread::spawn(move || echo(stream))),
                Err(_) => std::thread::sleep(Duration::from_millis(2)),
            }
        }
    });
    Open { ended }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

fn echo(mut stream: TcpStream) {
    let mut bytes = [0; 256];
    while let Ok(length @ 1..) = stream.read(&mut bytes) {
        if stream.write_all(bytes.get(..length).unwrap_or_default()).is_err() {
            return;
        }
    }
}

/// Whether a TCP connection from `side` to `to` comes about within `limit`.
#[must_use]
pub fn connects(side: &Namespace, to: &str, limit: Duration) -> bool {
    let address: SocketAddr = to.parse().unwrap_or_else(|e| panic!("{to} is no address: {e}"));
    side.inside(|| TcpStream::connect_timeout(&address, limit).is_ok())
}

/// Whether the door is closed: no answer for a quarter of a second.
#[must_use]
pub fn closed(side: &Namespace, to: &str) -> bool {
    !connects(side, to, CLOSED_AFTER)
}

/// The main story for both families, of a client with a grant of two seconds: closed, a knock, open, closed again.
pub fn open_for_their_time(world: &World, daemon: &Daemon, knock: impl Fn(&str)) {
    for (host, door) in [(SERVER, "10.90.0.1:22"), (SERVER6, "[fd90::1]:22")] {
        let _listener = serve_tcp(&world.server, door);
        assert!(closed(&world.client, door), "{door} is open before any knock");
        assert_eq!(daemon.verdict(|| knock(host)), "granted", "{}", daemon.log());
        assert!(
            open_within(&world.client, door, Duration::from_secs(1)).is_some(),
            "{door} stays closed after a granted knock"
        );
        std::thread::sleep(Duration::from_millis(2400));
        assert!(closed(&world.client, door), "{door} is open after its time");
    }
}

/// Waits until the door is open, at most `limit`; how long it took.
#[must_use]
pub fn open_within(side: &Namespace, to: &str, limit: Duration) -> Option<Duration> {
    let address: SocketAddr = to.parse().unwrap_or_else(|e| panic!("{to} is no address: {e}"));
    side.inside(|| probe(address, limit))
}

/// The same, for a thread that is already where it has to be. A SYN that meets a closed door is lost and the kernel
/// repeats it only after a second, so each try is a new socket and has a fifth of a millisecond.
#[must_use]
pub fn probe(to: SocketAddr, limit: Duration) -> Option<Duration> {
    let start = Instant::now();
    while start.elapsed() < limit {
        if try_once(to, Duration::from_micros(200)) {
            return Some(start.elapsed());
        }
    }
    None
}

fn try_once(to: SocketAddr, limit: Duration) -> bool {
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::STREAM, flags, None).expect("a socket can be made");
    match connect(&socket, &to) {
        Ok(()) => return true,
        Err(error) if error == rustix::io::Errno::INPROGRESS => (),
        Err(_) => return false,
    }
    let mut wanted = [PollFd::new(&socket, PollFlags::OUT)];
    let limit = rustix::event::Timespec { tv_sec: 0, tv_nsec: i64::from(limit.subsec_nanos()) };
    let ready = poll(&mut wanted, Some(&limit)).is_ok_and(|n| n > 0);
    ready && matches!(sockopt::socket_error(&socket), Ok(Ok(())))
}
