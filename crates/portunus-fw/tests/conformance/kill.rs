//! Ending what is established: a server that keeps sending, idle sessions, UDP; and nobody else's.

#![expect(clippy::expect_used, reason = "a test that cannot go on says where it stopped")]

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use portunus_fw::{Change, Element, Firewall};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::{Ground, LONG, SSH, all_done, door, open, structure};
use crate::bench::{Bench, MACHINE, OTHER, OUTSIDE};

/// In the range 1500-1510, and no door by itself.
const RANGED: u16 = 1502;
const UDP: u16 = 53;
/// A killed flow must be over by then.
const SOON: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(20);
const DAY: Duration = Duration::from_secs(86_400);

/// Both ends of a session, and the news of its end on the machine when a thread there keeps sending.
struct Session {
    far: TcpStream,
    near: Option<TcpStream>,
    over: Option<mpsc::Receiver<Instant>>,
}

impl Session {
    fn begin(bench: &Bench, listener: &TcpListener, from: &'static str, sends: bool) -> Self {
        let to = MACHINE[usize::from(from.contains(':'))];
        let port = listener.local_addr().unwrap().port();
        let far = bench.outside(move || connect(from, to, port));
        let near = listener.accept().unwrap().0;
        far.set_read_timeout(Some(SOON)).unwrap();
        near.set_read_timeout(Some(SOON)).unwrap();
        if !sends {
            return Self { far, near: Some(near), over: None };
        }
        let (tell, over) = mpsc::channel();
        std::thread::spawn(move || {
            let mut near = near;
            while near.write_all(b"tick").is_ok() {
                std::thread::sleep(TICK);
            }
            let _ = tell.send(Instant::now());
        });
        Self { far, near: None, over: Some(over) }
    }

    /// Whether bytes still come through both ways.
    fn lives(&mut self) -> bool {
        if let Some(near) = &mut self.near {
            let mut word = [0; 4];
            let there = self.far.write_all(b"word").is_ok() && near.read_exact(&mut word).is_ok();
            return there && near.write_all(b"back").is_ok() && self.far.read_exact(&mut word).is_ok();
        }
        // What waits from before counts for nothing.
        self.far.set_nonblocking(true).unwrap();
        while matches!(self.far.read(&mut [0; 4096]), Ok(1..)) {}
        self.far.set_nonblocking(false).unwrap();
        let comes = matches!(self.far.read(&mut [0; 4]), Ok(1..));
        comes && self.over.as_ref().is_some_and(|over| over.try_recv().is_err())
    }

    /// How long after `since` it was over on the machine; both ends see it.
    fn ended(mut self, since: Instant) -> Duration {
        let on_machine = match (&self.over, &mut self.near) {
            (Some(over), _) => over.recv_timeout(SOON).expect("the server still sends"),
            (None, Some(near)) => {
                let error = near.read(&mut [0; 4]).expect_err("the idle session still lives");
                assert_ne!(error.kind(), ErrorKind::WouldBlock, "the idle session still lives");
                Instant::now()
            }
            (None, None) => unreachable!("one of the two is there"),
        };
        let began = Instant::now();
        loop {
            match self.far.read(&mut [0; 4096]) {
                Ok(0) => break,
                Ok(_) => assert!(began.elapsed() < SOON, "still heard outside"),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                    break;
                }
            }
        }
        on_machine.saturating_duration_since(since)
    }
}

fn connect(from: &str, to: &str, port: u16) -> TcpStream {
    let (from, to): (IpAddr, IpAddr) = (from.parse().unwrap(), to.parse().unwrap());
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    rustix::net::bind(&socket, &SocketAddr::new(from, 0)).unwrap();
    rustix::net::connect(&socket, &SocketAddr::new(to, port)).unwrap();
    socket.into()
}

/// A UDP service that goes on sending to whoever has spoken to it, asked or not.
struct Service {
    socket: UdpSocket,
    peer: SocketAddr,
    far: UdpSocket,
}

impl Service {
    /// With `connected` the service has a socket of its own for this peer.
    fn begin(bench: &Bench, from: &'static str, connected: bool) -> Self {
        let to = MACHINE[usize::from(from.contains(':'))];
        let socket = UdpSocket::bind((to, UDP)).unwrap();
        let far = bench.outside(move || {
            let far = UdpSocket::bind((from, 0)).unwrap();
            far.connect((to, UDP)).unwrap();
            far.send(b"word").unwrap();
            far
        });
        socket.set_read_timeout(Some(SOON)).unwrap();
        let (_, peer) = socket.recv_from(&mut [0; 4]).unwrap();
        if connected {
            socket.connect(peer).unwrap();
        }
        Self { socket, peer, far }
    }

    fn send(&self) -> std::io::Result<usize> {
        match self.socket.peer_addr() {
            Ok(_) => self.socket.send(b"tick"),
            Err(_) => self.socket.send_to(b"tick", self.peer),
        }
    }

    /// Whether what is said outside still reaches the service, which goes on sending all the while.
    fn hears(&self) -> bool {
        self.socket.set_read_timeout(Some(TICK)).unwrap();
        (0..10).any(|_| {
            let _ = self.send();
            let _ = self.far.send(b"word");
            self.socket.recv(&mut [0; 4]).is_ok()
        })
    }
}

/// Everything between an address and its doors ends within a second, in both families, whoever sends; without that it
/// lives on when the door closes. Another address is not touched, and a new grant lets the first in again.
pub(crate) fn a_kill_ends_what_is_established_and_nothing_else(ground: &dyn Ground) {
    let mut bench = Bench::new();
    bench.listen(&[80]);
    let [ssh, ranged] = [SSH, RANGED].map(|port| TcpListener::bind(("::", port)).unwrap());
    ground.prepare(&bench);
    let mut firewall = ground.back_end();
    firewall.install(&structure(ground.place()), &[]).unwrap();

    let doors = |address| ["22/tcp", "1500-1510/tcp", "53/udp"].map(|port| door(address, port));
    let killed: Vec<Element> = OUTSIDE.into_iter().flat_map(doors).collect();
    let others: Vec<Element> = OTHER.into_iter().flat_map(doors).collect();
    all_done(&firewall.change(&killed.iter().chain(&others).map(|e| open(*e)).collect::<Vec<_>>()));

    let begin = |from: [&'static str; 2]| -> Vec<Session> {
        let both = |listener, sends| from.map(|from| Session::begin(&bench, listener, from, sends));
        [both(&ssh, true), both(&ssh, false), both(&ranged, true)].into_iter().flatten().collect()
    };
    let (mut dying, mut staying) = (begin(OUTSIDE), begin(OTHER));
    let service = Service::begin(&bench, OUTSIDE[0], false);
    let own_service = Service::begin(&bench, OUTSIDE[1], true);

    // The end of the grants cuts nothing.
    all_done(&firewall.change(&killed.iter().map(|e| Change::Close(*e)).collect::<Vec<_>>()));
    for session in dying.iter_mut().chain(&mut staying) {
        assert!(session.lives(), "{}", ground.listing());
    }
    assert!(service.hears() && own_service.hears());

    let began = Instant::now();
    let ended = firewall.end_flows(&killed, DAY).unwrap();
    let took = began.elapsed();
    assert!(ended.sockets == 7 && ended.flows >= 1 && !ended.sockets_stay, "{ended:?}");
    let spans: Vec<Duration> = dying.into_iter().map(|session| session.ended(began)).collect();
    println!("end_flows took {took:?}; over on the machine after {spans:?}");
    assert!(spans.iter().all(|span| *span < SOON), "{spans:?}");
    assert!(own_service.send().is_err() || own_service.socket.peer_addr().is_err(), "the socket is gone");
    assert!(!service.hears(), "a service that keeps sending is not adopted again: {}", ground.listing());
    for session in &mut staying {
        assert!(session.lives(), "{}", ground.listing());
    }
    assert_eq!(firewall.standing(), Ok(portunus_fw::Standing::Whole));
    still_cut_off(ground, &mut *firewall, &service);

    // The next grant lets the address in again, by a part of what was cut off too.
    for version in [0, 1] {
        assert_eq!(bench.connects(&[SSH], version, OUTSIDE), [false]);
        all_done(&firewall.change(&[open(door(OUTSIDE[version], "22/tcp"))]));
        all_done(&firewall.change(&[open(door(OUTSIDE[version], "1500-1510/tcp"))]));
        let ports = [SSH, RANGED];
        assert_eq!(bench.connects(&ports, version, OUTSIDE), [true, true], "{}", ground.listing());
    }
    all_done(&firewall.change(&[open(door(OUTSIDE[0], "53/udp"))]));
    assert!(service.hears(), "{}", ground.listing());
}

/// Over a flush by somebody else, and over a restart.
fn still_cut_off(ground: &dyn Ground, firewall: &mut dyn Firewall, service: &Service) {
    let open = firewall.open_now().unwrap();
    assert!(open.iter().all(|(element, _)| OTHER.contains(&element.address.to_string().as_str())));
    firewall.install(&structure(ground.place()), &open).unwrap();
    assert!(!service.hears(), "{}", ground.listing());
    let mut again = ground.back_end();
    again.install(&structure(ground.place()), &open).unwrap();
    assert!(!service.hears(), "{}", ground.listing());
    // The first one finds its rules changed, and puts its own back.
    firewall.install(&structure(ground.place()), &open).unwrap();
    assert!(!service.hears(), "{}", ground.listing());
}

/// A cut ends by itself.
pub(crate) fn a_cut_lasts_as_long_as_was_asked(ground: &dyn Ground) {
    let mut bench = Bench::new();
    bench.listen(&[80]);
    ground.prepare(&bench);
    let mut firewall = ground.back_end();
    firewall.install(&structure(ground.place()), &[]).unwrap();
    let (mine, lasting) = (door(OUTSIDE[0], "53/udp"), Duration::from_millis(1500));
    all_done(&firewall.change(&[Change::Open(mine, LONG)]));
    let service = Service::begin(&bench, OUTSIDE[0], false);
    let began = Instant::now();
    let _ = firewall.end_flows(&[mine], lasting).unwrap();
    drop(firewall);
    assert!(!service.hears(), "{}", ground.listing());
    std::thread::sleep((lasting + ground.late()).saturating_sub(began.elapsed()));
    assert!(service.hears(), "{}", ground.listing());
}
