//! A network of a test's own: a thread's namespace with a wire in it, and frames put on the wire byte by byte.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use portunus_model::{Datagram, Lengths, Mono};
use portunus_rx::{Ear, Filter, HttpRules, Packet, ReceiveError, Sniffing, Wanted, WhenGone};
use portunus_sys::poll;
use rustix::thread::UnshareFlags;

/// The test's thread, and the programs that it starts, see a network of their own, in which `near` and `far` are the ends
/// of a wire.
#[expect(
    deprecated,
    reason = "its unsafe twin guards against unsharing open files, which is not asked for here"
)]
pub(crate) fn apart() {
    rustix::thread::unshare(UnshareFlags::NEWNET).expect("these tests need root: run them with sudo");
    run("ip", &["link", "set", "lo", "up"]);
    // The ends of the wire say nothing of their own accord.
    run("sh", &["-c", "echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6"]);
    wire();
}

/// Lays the wire.
pub(crate) fn wire() {
    run("ip", &["link", "add", "near", "type", "veth", "peer", "name", "far"]);
    for end in ["near", "far"] {
        run("ip", &["link", "set", end, "up"]);
    }
}

pub(crate) fn run(program: &str, args: &[&str]) -> String {
    let out = Command::new(program).args(args).output().unwrap();
    assert!(out.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// Puts frames on the far end of the wire. A program of its own (socat), so that no code of ours helps.
pub(crate) struct Sender {
    socket: UnixDatagram,
    child: Child,
    _folder: tempfile::TempDir,
}

impl Sender {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path: PathBuf = folder.path().join("frames");
        let child = Command::new("socat")
            .args(["-u", &format!("UNIX-RECV:{}", path.display()), "INTERFACE:far"])
            .stdin(Stdio::null())
            .spawn()
            .expect("socat runs: packaging/scripts/need socat:socat");
        let socket = UnixDatagram::unbound().unwrap();
        let end = Instant::now() + Duration::from_secs(10);
        while socket.connect(&path).is_err() {
            assert!(Instant::now() < end, "socat does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
        Self { socket, child, _folder: folder }
    }

    pub(crate) fn send(&self, frame: &[u8]) {
        self.socket.send(frame).unwrap();
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn ear(interface: Option<&str>) -> Ear {
    Ear { interface: interface.map(str::to_owned), promiscuous: false, both_directions: false }
}

pub(crate) fn lengths() -> Lengths {
    Lengths::of([36..=1500])
}

pub(crate) fn sniffing(ears: &[Ear], filter: &str) -> Sniffing {
    Sniffing {
        ears: ears.to_vec(),
        filter: Filter::parse(filter).unwrap(),
        lengths: lengths(),
        snap: 2000,
        when_gone: WhenGone::Wait,
    }
}

pub(crate) fn wanted() -> Wanted {
    Wanted { lengths: lengths(), http: Some(HttpRules::default()) }
}

/// The receiver over all ears of a sniffing; those that are not there are waited for.
pub(crate) fn packet(sniffing: &Sniffing) -> Packet {
    let sockets = sniffing.ears.iter().map(|ear| sniffing.open(ear).ok()).collect();
    Packet::new(sockets, sniffing.snap, wanted(), sniffing.may_echo())
}

/// What arrives until it has been quiet for a while, and which ears went deaf.
pub(crate) fn hear(packet: &mut Packet, quiet: Duration) -> (Vec<Datagram>, Vec<usize>) {
    let (mut heard, mut gone) = (Vec::new(), Vec::new());
    let mut last = Instant::now();
    while last.elapsed() < quiet {
        let numbers: Vec<usize> = packet.descriptors().map(|(number, _)| number).collect();
        for number in numbers {
            let now = Mono::from_nanos(u64::try_from(last.elapsed().as_nanos()).unwrap());
            match packet.receive(number, now, |datagram| heard.push(datagram)) {
                Ok(received) if received.count > 0 => last = Instant::now(),
                Ok(_) => (),
                Err(ReceiveError::Gone) => gone.push(number),
                Err(other) => panic!("{other}"),
            }
        }
        let some = packet.descriptors().next().map(|(_, fd)| poll::readable(fd, Duration::from_millis(5)));
        if some.is_none() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    (heard, gone)
}
