//! A machine and somebody outside it: two network namespaces joined by a wire. They have no name, so nothing is left
//! of them when the test ends, however it ends.
//!
//! The test's own thread lives on the machine; a second thread lives outside.

#![expect(dead_code, reason = "each test program uses its own part of the bench")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on says where it stopped"
)]

pub(crate) mod inner;

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use portunus_fw::ruleset::Ruleset;
use portunus_fw::walk::Interface;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use rustix::thread::UnshareFlags;

/// The machine's addresses on the wire.
pub(crate) const MACHINE: [&str; 2] = ["198.51.100.1", "2001:db8:1::1"];
/// Addresses of who is outside: the first of each family by default.
pub(crate) const OUTSIDE: [&str; 2] = ["198.51.100.9", "2001:db8:1::9"];
/// A second address outside.
pub(crate) const OTHER: [&str; 2] = ["198.51.100.99", "2001:db8:1::99"];
/// How long a packet may take before it counts as dropped; nothing on the wire takes a hundredth of it.
const PATIENCE: Duration = Duration::from_millis(400);

type Job = Box<dyn FnOnce() + Send>;

/// See the top.
pub(crate) struct Bench {
    outside: mpsc::Sender<Job>,
    listeners: Vec<TcpListener>,
    inner: Option<inner::Inner>,
}

impl Bench {
    /// Takes this thread into a new namespace, and wires it to another one.
    pub(crate) fn new() -> Self {
        unshare();
        let (jobs, todo) = mpsc::channel::<Job>();
        let (ready, thread) = mpsc::channel();
        std::thread::spawn(move || {
            unshare();
            ready.send(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
            todo.iter().for_each(|job| job());
        });
        let outside = thread.recv().unwrap();
        run("ip", &["link", "set", "lo", "up"]);
        run(
            "ip",
            &["link", "add", "outer0", "type", "veth", "peer", "name", "wire", "netns", &outside.to_string()],
        );
        let bench = Self { outside: jobs, listeners: Vec::new(), inner: None };
        address("outer0", &MACHINE);
        bench.outside(|| {
            address("wire", &OUTSIDE);
            address("wire", &OTHER);
        });
        bench
    }

    /// Does something outside, and waits for it.
    pub(crate) fn outside<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (answer, answered) = mpsc::channel();
        self.outside.send(Box::new(move || answer.send(job()).unwrap())).unwrap();
        answered.recv().unwrap()
    }

    /// Somebody listens on these TCP ports, over both families.
    pub(crate) fn listen(&mut self, ports: &[u16]) {
        for &port in ports {
            self.listeners.push(TcpListener::bind(("::", port)).unwrap());
        }
        // Only what rules do is to be measured, not how long the wire and the neighbours take to come up.
        for (version, from) in [(0, OUTSIDE), (0, OTHER), (1, OUTSIDE), (1, OTHER)] {
            let met = (0..50).any(|_| self.connects(&ports[..1], version, from) == [true]);
            assert!(met, "the wire did not come up: {} to {}", from[version], MACHINE[version]);
        }
    }

    /// Whether a connect from outside to each of these comes through.
    pub(crate) fn connects(&self, ports: &[u16], version: usize, from: [&'static str; 2]) -> Vec<bool> {
        let (to, from): (IpAddr, IpAddr) =
            (MACHINE[version].parse().unwrap(), from[version].parse().unwrap());
        let ports = ports.to_vec();
        self.outside(move || {
            let tries: Vec<_> = ports
                .into_iter()
                .map(|port| std::thread::spawn(move || connect(SocketAddr::new(to, port), from)))
                .collect();
            tries.into_iter().map(|t| t.join().unwrap()).collect()
        })
    }

    /// Whether a connect from this port of the first address outside comes through.
    pub(crate) fn opens_from(&self, own: u16, version: usize, port: u16) -> bool {
        let to = SocketAddr::new(MACHINE[version].parse().unwrap(), port);
        let from = SocketAddr::new(OUTSIDE[version].parse().unwrap(), own);
        self.outside(move || connected(to, from).is_some())
    }

    /// Whether a connect from the first address outside comes through over IPv4.
    pub(crate) fn opens(&self, port: u16) -> bool {
        self.connects(&[port], 0, OUTSIDE) == [true]
    }

    /// Whether what is said into a session from outside still reaches the program on the machine.
    pub(crate) fn echoes(&self, session: TcpStream) -> bool {
        let (to, from) = (session.peer_addr().unwrap(), session.local_addr().unwrap());
        let accepted = self.listeners.iter().filter(|l| l.local_addr().unwrap().port() == to.port());
        let mut ours =
            accepted.map(|l| l.accept().unwrap().0).find(|s| s.peer_addr().unwrap().port() == from.port());
        // Older connects of this test wait in the queue before it.
        while ours.is_none() {
            let listener =
                self.listeners.iter().find(|l| l.local_addr().unwrap().port() == to.port()).unwrap();
            ours =
                Some(listener.accept().unwrap().0).filter(|s| s.peer_addr().unwrap().port() == from.port());
        }
        let mut ours = ours.unwrap();
        ours.set_read_timeout(Some(PATIENCE)).unwrap();
        self.outside(move || (&session).write_all(b"still here").map(|()| session).unwrap());
        matches!(io::Read::read(&mut ours, &mut [0; 16]), Ok(10))
    }

    /// Whether a datagram from outside to each of these ports comes through.
    pub(crate) fn hears(&self, ports: &[u16], version: usize) -> Vec<bool> {
        let heard: Vec<_> = ports.iter().map(|&port| bound(port)).collect();
        let (to, from): (IpAddr, IpAddr) =
            (MACHINE[version].parse().unwrap(), OUTSIDE[version].parse().unwrap());
        let targets = ports.to_vec();
        self.outside(move || {
            let socket = UdpSocket::bind((from, 0)).unwrap();
            for port in targets {
                // A reject comes back as an error of a later send; it is no news.
                let _ = socket.send_to(b"knock", (to, port));
            }
        });
        let until = std::time::Instant::now() + PATIENCE;
        let came = heard.iter().map(|socket| {
            let left =
                until.saturating_duration_since(std::time::Instant::now()).max(Duration::from_millis(1));
            socket.set_read_timeout(Some(left)).unwrap();
            socket.recv(&mut [0; 8]).is_ok()
        });
        came.collect()
    }
}

/// A program that another test is just starting may hold a copy of our last socket until it has begun.
fn bound(port: u16) -> UdpSocket {
    for _ in 0..200 {
        match UdpSocket::bind(("::", port)) {
            Ok(socket) => return socket,
            Err(e) if e.kind() == io::ErrorKind::AddrInUse => std::thread::sleep(Duration::from_millis(10)),
            Err(e) => panic!("port {port}: {e}"),
        }
    }
    panic!("port {port} stays taken")
}

/// Somebody outside connects from this address: whether it comes through in time.
fn connect(to: SocketAddr, from: IpAddr) -> bool {
    connected(to, SocketAddr::new(from, 0)).is_some()
}

fn connected(to: SocketAddr, from: SocketAddr) -> Option<TcpStream> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None).unwrap();
    // The port may have been a closed session's just now.
    sockopt::set_socket_reuseaddr(&socket, true).unwrap();
    rustix::net::bind(&socket, &from).unwrap();
    match rustix::net::connect(&socket, &to) {
        Ok(()) => return Some(blocking(socket.into())),
        Err(e) if e == rustix::io::Errno::INPROGRESS => {}
        Err(_) => return None,
    }
    let limit = Timespec { tv_sec: 0, tv_nsec: i64::try_from(PATIENCE.as_nanos()).unwrap() };
    let mut ready = [PollFd::new(&socket, PollFlags::OUT)];
    let came = poll(&mut ready, Some(&limit)).unwrap() > 0;
    let stands = came && sockopt::socket_error(&socket).unwrap().is_ok();
    Some(blocking(socket.into())).filter(|stream| stands && stream.peer_addr().is_ok())
}

fn blocking(stream: TcpStream) -> TcpStream {
    stream.set_nonblocking(false).unwrap();
    stream
}

/// This thread, and the programs that it starts, see a network of their own.
#[expect(
    deprecated,
    reason = "its unsafe twin guards against unsharing open files, which is not asked for here"
)]
pub(crate) fn unshare() {
    rustix::thread::unshare(UnshareFlags::NEWNET).expect("these tests need root: run them with sudo");
}

fn address(link: &str, addresses: &[&str; 2]) {
    run("ip", &["link", "set", link, "up"]);
    run("ip", &["addr", "add", &format!("{}/24", addresses[0]), "dev", link]);
    run("ip", &["addr", "add", &format!("{}/64", addresses[1]), "dev", link, "nodad"]);
}

/// Runs a program that must succeed; what it printed.
pub(crate) fn run(program: &str, args: &[&str]) -> String {
    pipe(program, args, "")
}

/// The same, with something on its standard input.
pub(crate) fn pipe(program: &str, args: &[&str], input: &str) -> String {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{program}: {e}: these tests need nftables, iptables and iproute2"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Loads rules: nft's language, or shell when it begins with "#!/bin/sh".
pub(crate) fn load(rules: &str) {
    if rules.starts_with("#!/bin/sh") {
        pipe("sh", &["-eu"], rules);
    } else {
        pipe("nft", &["-f", "-"], rules);
    }
}

/// The wire's end on the machine, as rules see it.
pub(crate) fn outer() -> Interface {
    portunus_fw::ruleset::interfaces().into_iter().find(|i| i.name == "outer0").unwrap()
}

/// Every rule of this namespace.
pub(crate) fn read() -> Ruleset {
    Ruleset::read_here().unwrap()
}
