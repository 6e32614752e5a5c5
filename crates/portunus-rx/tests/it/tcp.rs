//! The TCP server: what is a knock, what is not, and that strangers lock nobody out.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use portunus_model::{Datagram, Lengths, Mono, Net, Via};
use portunus_rx::{Bounds, HttpRules, Receiver, Tcp, Wanted};
use portunus_sys::udp::Binding;
use portunus_sys::{poll, tcp};

struct Server {
    receiver: Receiver,
    address: SocketAddr,
    began: Instant,
}

impl Server {
    fn new(address: &str, wanted: Wanted, bounds: Bounds) -> Self {
        let listener = tcp::bind(address.parse().unwrap(), Binding::Now).unwrap();
        tcp::listen(&listener, 1024).unwrap();
        let address = TcpListener::from(listener.try_clone().unwrap()).local_addr().unwrap();
        let receiver = Receiver::Tcp(Tcp::new(vec![listener], wanted, bounds).unwrap());
        Self { receiver, address, began: Instant::now() }
    }

    fn simple() -> Self {
        Self::new("127.0.0.1:0", wanted(&[]), Bounds::default())
    }

    fn now(&self) -> Mono {
        Mono::from_nanos(u64::try_from(self.began.elapsed().as_nanos()).unwrap())
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream
    }

    /// What comes until nothing has happened for a while.
    fn hear(&mut self) -> Vec<Datagram> {
        let mut heard = Vec::new();
        loop {
            let descriptors = self.receiver.descriptors();
            let some = poll::readable(descriptors[0].1, Duration::from_millis(100)).unwrap();
            drop(descriptors);
            if !some {
                return heard;
            }
            let now = self.now();
            self.receiver.receive(0, now, |datagram| heard.push(datagram)).unwrap();
        }
    }

    /// What the timer brings, at this time.
    fn tick(&mut self, now: Mono) -> Vec<Datagram> {
        let mut heard = Vec::new();
        self.receiver.handle_timeout(now, |datagram| heard.push(datagram)).unwrap();
        heard
    }
}

fn wanted(proxies: &[&str]) -> Wanted {
    let proxies = proxies.iter().map(|net| Net::parse(net).unwrap()).collect();
    Wanted { lengths: Lengths::of([36..=1500]), http: Some(HttpRules { any_agent: false, proxies }) }
}

/// It is over, and nothing was said.
fn ended_in_silence(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 16]) {
        Ok(length) => length == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

#[test]
fn what_a_client_writes_before_it_closes_is_a_knock() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let mut server = Server::new(address, wanted(&[]), Bounds::default());
        let mut client = server.connect();
        client.write_all(&[b'k'; 100]).unwrap();
        assert_eq!(server.hear(), []);
        client.write_all(&[b'l'; 20]).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let heard = server.hear();
        assert_eq!(heard.len(), 1);
        assert_eq!(*heard[0].bytes, [[b'k'; 100].as_slice(), &[b'l'; 20]].concat());
        assert_eq!(heard[0].source, client.local_addr().unwrap());
        assert_eq!(heard[0].destination, Some(server.address.ip()));
        assert_eq!((heard[0].via, heard[0].claimed), (Via::Tcp, None));
        assert!(ended_in_silence(&mut client));
        assert_eq!(server.receiver.poll_timeout(), None);
    }
}

#[test]
fn the_longest_needs_no_end_and_a_longer_one_is_none() {
    let mut server = Server::simple();
    let mut longest = server.connect();
    longest.write_all(&[b'k'; 1500]).unwrap();
    assert_eq!(server.hear().len(), 1);
    assert!(ended_in_silence(&mut longest));
    let mut longer = server.connect();
    longer.write_all(&[b'k'; 1501]).unwrap();
    assert_eq!(server.hear(), []);
    assert!(ended_in_silence(&mut longer));
    let mut shorter = server.connect();
    shorter.write_all(&[b'k'; 35]).unwrap();
    shorter.shutdown(Shutdown::Write).unwrap();
    assert_eq!(server.hear(), []);
    assert!(ended_in_silence(&mut shorter));
    assert_eq!(server.receiver.dropped(), 2);
}

#[test]
fn whoever_does_not_end_is_ended_and_may_have_knocked() {
    let mut server = Server::simple();
    let (mut silent, mut talker, mut asker) = (server.connect(), server.connect(), server.connect());
    talker.write_all(&[b'k'; 100]).unwrap();
    asker.write_all(b"GET /").unwrap();
    assert_eq!(server.hear(), []);
    let due = server.receiver.poll_timeout().unwrap();
    assert!(due.since(Mono::default()) <= Duration::from_secs(3));
    assert_eq!(server.tick(Mono::default()), []);
    assert_eq!(server.tick(due.after(Duration::from_secs(1))).len(), 1);
    for stream in [&mut silent, &mut talker, &mut asker] {
        assert!(ended_in_silence(stream));
    }
    assert_eq!((server.receiver.poll_timeout(), server.receiver.dropped()), (None, 2));
}

#[test]
fn a_request_is_a_knock_as_soon_as_its_head_is_there() {
    let mut server = Server::new("127.0.0.1:0", wanted(&["127.0.0.0/8"]), Bounds::default());
    let text = "b".repeat(60);
    let mut client = server.connect();
    client.write_all(format!("GET /{text} HTTP/1.1\r\nUser-Agent: Fwknop/2\r\n").as_bytes()).unwrap();
    assert_eq!(server.hear(), []);
    client.write_all(b"X-Forwarded-For: 192.0.2.9\r\n\r\n").unwrap();
    let heard = server.hear();
    assert_eq!(*heard[0].bytes, *text.as_bytes());
    assert_eq!((heard[0].via, heard[0].claimed), (Via::Http, "192.0.2.9".parse().ok()));
    assert!(heard[0].source.ip().is_loopback());
    assert!(ended_in_silence(&mut client));

    // Another program's; a head without an end; a text of no length of ours.
    for head in [
        format!("GET /{text} HTTP/1.1\r\nUser-Agent: curl\r\n\r\n"),
        format!("GET /{text} HTTP/1.1\r\n{}", "a: bbbbbbbbbbbbbbb\r\n".repeat(450)),
        "GET /ab HTTP/1.1\r\nUser-Agent: Fwknop/2\r\n\r\n".to_owned(),
    ] {
        let mut client = server.connect();
        client.write_all(head.as_bytes()).unwrap();
        assert_eq!(server.hear(), []);
        assert!(ended_in_silence(&mut client));
    }
}

#[test]
fn strangers_that_hold_every_place_lock_nobody_out() {
    let bounds = Bounds { connections: 16, of_one_source: 4, ..Bounds::default() };
    let mut server = Server::new("127.0.0.1:0", wanted(&[]), bounds);
    // Of one source: the fifth takes the place of the first.
    let mut same: Vec<TcpStream> = (0..5).map(|_| server.connect()).collect();
    server.hear();
    assert_eq!(server.receiver.dropped(), 1);
    assert!(ended_in_silence(&mut same[0]));

    // Of many: all places are taken, and a client's knock is read all the same.
    let from = |n: u8| {
        let socket = tcp::bind(SocketAddr::new(IpAddr::from([127, 0, 1, n]), 0), Binding::Now).unwrap();
        let _ = rustix::net::connect(&socket, &server.address);
        TcpStream::from(socket)
    };
    let crowd: Vec<TcpStream> = (1..=40).map(from).collect();
    server.hear();
    let mut client = server.connect();
    client.write_all(&[b'k'; 100]).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(server.hear().len(), 1);
    assert_eq!(server.receiver.dropped(), 1 + 4 + 40 - 16 + 1);
    drop(crowd);
}

#[test]
fn another_networks_neighbour_takes_no_place_of_mine() {
    // Eight places of one source, which is a /64; the others stay.
    let bounds = Bounds { connections: 3, of_one_source: 1, ..Bounds::default() };
    let mut server = Server::new("[::1]:0", wanted(&[]), bounds);
    let _first = server.connect();
    let _second = server.connect();
    server.hear();
    assert_eq!(server.receiver.dropped(), 1);
}
