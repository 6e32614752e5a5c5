//! A host behind the machine: a third namespace, reached only through it.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use super::{Bench, Job, MACHINE, PATIENCE, connect, connected, run, unshare};

/// Its addresses.
pub(crate) const INNER: [&str; 2] = ["10.77.0.2", "2001:db8:77::2"];
/// The machine's, on that side.
pub(crate) const GATE: [&str; 2] = ["10.77.0.1", "2001:db8:77::1"];
/// A second address of the machine's on the outer side.
pub(crate) const SECOND: [&str; 2] = ["198.51.100.2", "2001:db8:1::2"];

/// The host.
pub(crate) struct Inner(mpsc::Sender<Job>);

impl Bench {
    /// Puts a host behind the machine, which is now a gateway; each of these ports of it says who it is.
    pub(crate) fn with_inner(&mut self, ports: &[u16]) {
        let (jobs, todo) = mpsc::channel::<Job>();
        let (ready, thread) = mpsc::channel();
        std::thread::spawn(move || {
            unshare();
            ready.send(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
            todo.iter().for_each(|job| job());
        });
        let thread = thread.recv().unwrap().to_string();
        run("ip", &["link", "add", "inner0", "type", "veth", "peer", "name", "wire", "netns", &thread]);
        super::address("inner0", &GATE);
        for (version, prefix) in [(0, 24), (1, 64)] {
            run("ip", &["addr", "add", &format!("{}/{prefix}", SECOND[version]), "dev", "outer0", "nodad"]);
        }
        for sysctl in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            std::fs::write(format!("/proc/sys/net/{sysctl}"), "1").unwrap();
        }
        let inner = Inner(jobs);
        let ports = ports.to_vec();
        inner.inside(move || {
            super::address("wire", &INNER);
            run("ip", &["route", "add", "default", "via", GATE[0]]);
            run("ip", &["-6", "route", "add", "default", "via", GATE[1]]);
            ports.into_iter().for_each(|port| serve("inner", port));
        });
        self.outside(|| {
            run("ip", &["route", "add", "10.77.0.0/24", "via", MACHINE[0]]);
            run("ip", &["-6", "route", "add", "2001:db8:77::/64", "via", MACHINE[1]]);
        });
        // Only what rules do is to be measured.
        for version in [0, 1] {
            let to: IpAddr = INNER[version].parse().unwrap();
            let from: IpAddr = GATE[version].parse().unwrap();
            let met = (0..50).any(|_| connect(SocketAddr::new(to, 22), from));
            assert!(met, "the inner wire did not come up: {}", INNER[version]);
        }
        self.inner = Some(inner);
    }

    /// What whoever answers there says of itself and of who asks, to a connect from this address outside.
    pub(crate) fn asks(&self, to: &str, port: u16, from: &'static str) -> Option<String> {
        self.opens_session(to, port, from).map(|mut session| session.said.take().unwrap())
    }

    /// The same, and the session goes on.
    pub(crate) fn opens_session(&self, to: &str, port: u16, from: &'static str) -> Option<Through> {
        let to = SocketAddr::new(to.parse().unwrap(), port);
        let from: IpAddr = from.parse().unwrap();
        self.outside(move || {
            let mut stream = connected(to, SocketAddr::new(from, 0))?;
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut said = [0; 128];
            let length = stream.read(&mut said).ok()?;
            let said = String::from_utf8_lossy(&said[..length]).into_owned();
            Some(Through { stream, said: Some(said) })
        })
    }

    /// A port of the machine that says who it is.
    pub(crate) fn says_who(&self, port: u16) {
        serve("machine", port);
    }
}

impl Inner {
    fn inside<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (answer, answered) = mpsc::channel();
        self.0.send(Box::new(move || answer.send(job()).unwrap())).unwrap();
        answered.recv().unwrap()
    }
}

/// A session from outside.
pub(crate) struct Through {
    stream: TcpStream,
    pub(crate) said: Option<String>,
}

impl Through {
    /// Whether what is said still comes back.
    pub(crate) fn lives(&mut self) -> bool {
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        self.stream.write_all(b"x").is_ok() && matches!(self.stream.read(&mut [0; 1]), Ok(1))
    }
}

/// Says "NAME PORT PEER" to whoever connects, then gives each byte back.
fn serve(name: &'static str, port: u16) {
    let listener = TcpListener::bind(("::", port)).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let Ok(peer) = stream.peer_addr() else { continue };
            std::thread::spawn(move || {
                let _ = stream.set_read_timeout(Some(Duration::from_secs(60)));
                let peer = peer.ip().to_canonical();
                let mut one = [0; 1];
                // One write: who listens takes what comes first for the whole.
                let mut goes_on = stream.write_all(format!("{name} {port} {peer}").as_bytes()).is_ok();
                while goes_on {
                    goes_on = matches!(stream.read(&mut one), Ok(1)) && stream.write_all(&one).is_ok();
                }
            });
        }
    });
}
