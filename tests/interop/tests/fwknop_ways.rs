//! Each way that the face `fwknop` sends a packet, seen at the other end of a cable: the packet is there, whole, from whom
//! and to where it was wished, in both families. And where it asks for its own address.
#![expect(clippy::expect_used, clippy::panic, reason = "a test's helper fails by panicking")]

use std::fs;
use std::io::Read;
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use portunus_dialect::Ask;
use portunus_dialect::fwknop::{HashType, Keys, Mode, Packet};
use portunus_interop::{CLIENT, CLIENT6, Firewall, SERVER, SERVER6, World, binary, run};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SocketFlags, SocketType, recv, socket_with};

/// Every protocol (linux/if_ether.h, ETH_P_ALL), as the network writes it.
const EVERYTHING: u32 = 3_u16.to_be() as u32;
const PATIENCE: Duration = Duration::from_secs(10);

/// What a frame was.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    from: IpAddr,
    to: IpAddr,
    kind: Kind,
    payload: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Udp { from: u16, to: u16 },
    Syn { to: u16 },
    Icmp { kind: u8, code: u8 },
}

/// A packet socket at the server's end.
struct Sniffer(OwnedFd);

impl Sniffer {
    fn at(world: &World) -> Self {
        world.server.inside(|| {
            let protocol = Protocol::from_raw(NonZeroU32::new(EVERYTHING).expect("it is not 0"));
            let socket =
                socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC, Some(protocol));
            let socket = socket.expect("root can sniff");
            set_socket_timeout(&socket, Timeout::Recv, Some(Duration::from_millis(200)))
                .expect("a time can be set");
            Self(socket)
        })
    }

    /// The first frame that carries a packet of ours.
    fn seen(&self, keys: &Keys) -> Seen {
        let start = Instant::now();
        let mut bytes = [0; 4096];
        while start.elapsed() < PATIENCE {
            let Ok((length, _)) = recv(&self.0, &mut bytes[..], RecvFlags::empty()) else { continue };
            let frame = bytes.get(..length).unwrap_or_default();
            // The server's own kernel answers a ping with all that was in it; that is not ours.
            let ours = |seen: &Seen| seen.to != ip(CLIENT) && seen.to != ip(CLIENT6);
            if let Some(seen) = read(frame).filter(|seen| ours(seen) && opened(keys, &seen.payload).is_some())
            {
                return seen;
            }
        }
        panic!("no packet came in {PATIENCE:?}");
    }
}

fn read(frame: &[u8]) -> Option<Seen> {
    let sliced = SlicedPacket::from_ethernet(frame).ok()?;
    let (from, to): (IpAddr, IpAddr) = match sliced.net.as_ref()? {
        NetSlice::Ipv4(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
        NetSlice::Ipv6(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
        NetSlice::Arp(_) => return None,
    };
    let (kind, payload) = match sliced.transport.as_ref()? {
        TransportSlice::Udp(udp) => {
            (Kind::Udp { from: udp.source_port(), to: udp.destination_port() }, udp.payload())
        }
        TransportSlice::Tcp(tcp) if tcp.syn() => (Kind::Syn { to: tcp.destination_port() }, tcp.payload()),
        TransportSlice::Tcp(_) | TransportSlice::Igmp(_) => return None,
        TransportSlice::Icmpv4(icmp) => {
            (Kind::Icmp { kind: icmp.type_u8(), code: icmp.code_u8() }, icmp.slice().get(8..)?)
        }
        TransportSlice::Icmpv6(icmp) => {
            (Kind::Icmp { kind: icmp.type_u8(), code: icmp.code_u8() }, icmp.slice().get(8..)?)
        }
    };
    Some(Seen { from, to, kind, payload: payload.to_vec() })
}

fn keys() -> Keys {
    Keys::new(b"testtest", Mode::Cbc, Some((HashType::Sha256, b"hmachmac"))).expect("good keys")
}

/// What a packet says, when it is ours.
fn opened(keys: &Keys, wire: &[u8]) -> Option<String> {
    let knock = keys.open(&Packet::new_checked(wire)?).ok()?;
    match knock.ask() {
        Ask::Fwknop(asked) => Some(asked.wish.message.to_string()),
        Ask::All | Ask::Native(_) => None,
    }
}

/// The client's program, called as fwknop.
struct Client<'a> {
    world: &'a World,
    program: PathBuf,
}

impl<'a> Client<'a> {
    fn on(world: &'a World) -> Self {
        let program = world.folder().join("fwknop");
        symlink(binary(), &program).expect("a link can be made");
        Self { world, program }
    }

    fn knock(&self, line: &str) -> Output {
        self.call(line, &[])
    }

    fn call(&self, line: &str, variables: &[(&str, &str)]) -> Output {
        let mut command = self.world.client.command(&self.program);
        command.args([
            "--no-rc-file",
            "--no-save-args",
            "--key-rijndael",
            "testtest",
            "--key-hmac",
            "hmachmac",
        ]);
        command.args(line.split_whitespace()).env("HOME", self.world.folder());
        command.envs(variables.iter().copied());
        command.stdin(Stdio::null()).output().expect("the binary runs")
    }

    /// One that must go out.
    fn sends(&self, line: &str) {
        let out = self.knock(line);
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.success(), "fwknop {line}: {}: {said}", out.status);
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[test]
fn every_way_arrives_whole_in_both_families() {
    let world = World::bare(Firewall::None);
    let (client, keys, sniffer) = (Client::on(&world), keys(), Sniffer::at(&world));
    let wish = "-A tcp/22 -a 198.51.100.7";
    let four = format!("{wish} -D {SERVER}");
    let six = format!("{wish} -D {SERVER6}");
    let udp = |from, to| Kind::Udp { from, to };
    let icmp = |kind, code| Kind::Icmp { kind, code };
    for (line, from, to, kind) in [
        (format!("{four} -S 4000"), CLIENT, SERVER, udp(4000, 62201)),
        (format!("{six} -S 4000 -p 7"), CLIENT6, SERVER6, udp(4000, 7)),
        (format!("{four} -P udpraw -S 4001"), CLIENT, SERVER, udp(4001, 62201)),
        (format!("{four} -P udpraw -S 4001 -Q 203.0.113.9"), "203.0.113.9", SERVER, udp(4001, 62201)),
        (format!("{six} -P udpraw -S 4001 -Q 2001:db8::9"), "2001:db8::9", SERVER6, udp(4001, 62201)),
        (format!("{four} -P tcpraw -p 80"), CLIENT, SERVER, Kind::Syn { to: 80 }),
        (format!("{six} -P tcpraw -Q 2001:db8::9"), "2001:db8::9", SERVER6, Kind::Syn { to: 62201 }),
        (format!("{four} -P icmp"), CLIENT, SERVER, icmp(8, 0)),
        (
            format!("{four} -P icmp -Q 203.0.113.9 --icmp-type 13 --icmp-code 1"),
            "203.0.113.9",
            SERVER,
            icmp(13, 1),
        ),
        (format!("{six} -P icmp"), CLIENT6, SERVER6, icmp(128, 0)),
    ] {
        client.sends(&line);
        let seen = sniffer.seen(&keys);
        assert_eq!((seen.from, seen.to, seen.kind), (ip(from), ip(to), kind), "fwknop {line}");
        assert_eq!(opened(&keys, &seen.payload).as_deref(), Some("198.51.100.7,tcp/22"), "fwknop {line}");
    }
}

#[test]
fn a_port_drawn_by_lot_is_another_each_time() {
    let world = World::bare(Firewall::None);
    let (client, keys, sniffer) = (Client::on(&world), keys(), Sniffer::at(&world));
    let mut ports = Vec::new();
    for _ in 0..3 {
        client.sends(&format!("-A tcp/22 -s -r -D {SERVER}"));
        let Kind::Udp { to, .. } = sniffer.seen(&keys).kind else { panic!("no datagram") };
        assert!((10_000..=65_534).contains(&to), "{to}");
        ports.push(to);
    }
    assert!(ports.first() != ports.get(1) || ports.get(1) != ports.get(2), "{ports:?}");
}

/// Listens at the server, and returns all that one connection says.
fn heard(world: &World, at: &str, port: u16, client: impl FnOnce()) -> String {
    let listener = world.server.inside(|| TcpListener::bind((at, port)).expect("the port is free"));
    std::thread::scope(|scope| {
        let server = scope.spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection comes");
            stream.set_read_timeout(Some(PATIENCE)).expect("a time can be set");
            let mut text = String::new();
            stream.read_to_string(&mut text).expect("text comes");
            text
        });
        client();
        server.join().expect("the listener heard")
    })
}

#[test]
fn tcp_and_http_carry_it_too() {
    let world = World::bare(Firewall::None);
    let (client, keys) = (Client::on(&world), keys());
    for (at, port) in [(SERVER, 62201), (SERVER6, 62202)] {
        let text =
            heard(&world, at, port, || client.sends(&format!("-A tcp/22 -s -P tcp -p {port} -D {at}")));
        assert_eq!(opened(&keys, text.as_bytes()).as_deref(), Some("0.0.0.0,tcp/22"), "{text}");
    }
    let straight = heard(&world, SERVER, 80, || {
        client.sends(&format!("-A tcp/22 -s -P http -p 80 -u Agent/1 -D {SERVER}"));
    });
    let proxied = heard(&world, SERVER6, 3128, || {
        client.sends(&format!("-A tcp/22 -s -D gate.example -H http://[{SERVER6}]:3128"));
    });
    for (text, start, host) in [(straight, "GET /", SERVER), (proxied, "GET http://gate.example/", SERVER6)] {
        let path = text.strip_prefix(start).and_then(|rest| rest.split(' ').next()).unwrap_or_default();
        let wire = path.replace('-', "+").replace('_', "/");
        assert_eq!(opened(&keys, wire.as_bytes()).as_deref(), Some("0.0.0.0,tcp/22"), "{text}");
        assert!(text.contains(" HTTP/1.0\r\nUser-Agent: "), "{text}");
        assert!(text.contains(host), "{text}");
    }
}

#[test]
fn what_does_not_go_out_is_said() {
    let world = World::bare(Firewall::None);
    let client = Client::on(&world);
    for (line, words) in [
        (format!("-A tcp/22 -s -P tcp -p 9 -D {SERVER}"), "connection refused"),
        ("-A tcp/22 -s -D 192.0.2.1".to_owned(), "no way there"),
        (format!("-A tcp/22 -s -P icmp -Q 2001:db8::9 -D {SERVER}"), "two families"),
        (format!("-A tcp/22 -s --server-resolve-ipv4 -D {SERVER6}"), "no IPv4 address"),
    ] {
        let out = client.knock(&line);
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(1), "{line}: {said}");
        assert!(said.contains("packet not sent") && said.contains(words), "{line}: {said}");
    }
}

/// A page, served by TLS with a certificate of an authority of our own.
struct Page(Child);

impl Page {
    fn serve(world: &World, port: u16) -> Self {
        let file = |name: &str| world.folder().join(name).display().to_string();
        let (authority, key, cert) = (file("authority.pem"), file("tls.key"), file("tls.pem"));
        let made = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"];
        let own_key = file("authority.key");
        run(
            "openssl",
            &[&made[..], &["-subj", "/CN=authority", "-keyout", &own_key, "-out", &authority]].concat(),
        );
        let name = format!("subjectAltName=IP:{SERVER}");
        let leaf = ["-subj", "/CN=page", "-addext", "basicConstraints=critical,CA:FALSE", "-addext", &name];
        let signed = ["-CA", &authority, "-CAkey", &own_key, "-keyout", &key, "-out", &cert];
        run("openssl", &[&made[..], &leaf[..], &signed[..]].concat());
        fs::write(world.folder().join("ip"), "HTTP/1.0 200 OK\r\nContent-Length: 12\r\n\r\n198.51.100.8")
            .expect("a file");
        let mut command = world.server.command("openssl");
        command.args(["s_server", "-quiet", "-HTTP", "-key", &key, "-cert", &cert]);
        command.args(["-accept", &format!("{SERVER}:{port}")]).current_dir(world.folder());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let page = Self(child.expect("openssl runs: `make need-fwknop` installs it"));
        let start = Instant::now();
        while world.client.inside(|| std::net::TcpStream::connect((SERVER, port)).is_err()) {
            assert!(start.elapsed() < PATIENCE, "openssl does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        page
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn its_own_address_is_asked_for_by_tls_and_believed_only_from_a_known_authority() {
    let world = World::bare(Firewall::None);
    let client = Client::on(&world);
    let _page = Page::serve(&world, 8443);
    let line = format!("-T -v -A tcp/22 -R -D {SERVER} --resolve-url https://{SERVER}:8443/ip");
    let cert = world.folder().join("authority.pem").display().to_string();
    let out = client.call(&line, &[("SSL_CERT_FILE", &cert)]);
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success() && said.contains("Resolved external IP"), "{said}");
    assert!(said.contains("Message String: 198.51.100.8,tcp/22"), "{said}");
    // Whoever is on the way has a certificate too, but of no authority of this machine's.
    let out = client.knock(&line);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(said.contains("Could not resolve IP") && said.to_lowercase().contains("certificate"), "{said}");
}

#[test]
fn its_own_address_is_asked_of_a_dns_server() {
    let world = World::bare(Firewall::None);
    let client = Client::on(&world);
    let socket = world.server.inside(|| UdpSocket::bind((SERVER, 53)).expect("the port is free"));
    socket.set_read_timeout(Some(PATIENCE)).expect("a time can be set");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut bytes = [0; 512];
            let (length, from) = socket.recv_from(&mut bytes).expect("a question comes");
            // The question again, marked as an answer, with one record: a pointer to its name, and whom we see.
            let mut answer = bytes.get(..length).unwrap_or_default().to_vec();
            if let Some(head) = answer.get_mut(2..8) {
                head.copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1]);
            }
            let IpAddr::V4(four) = from.ip() else { panic!("a question by IPv6") };
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
            answer.extend(four.octets());
            socket.send_to(&answer, from).expect("an answer goes");
        });
        let out =
            client.knock(&format!("-T -A tcp/22 -R -D {SERVER} --resolve-url dns://{SERVER}/me.example"));
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(said.contains(&format!("Message String: {CLIENT},tcp/22")), "{said}");
        let warned = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(warned.contains("IP resolution URL"), "{warned}");
    });
}

#[test]
fn a_program_that_fails_writes_nothing() {
    let world = World::bare(Firewall::None);
    let out = Client::on(&world).knock(&format!("-T -A tcp/22 -R -w /bin/false -D {SERVER}"));
    assert_eq!(out.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&out.stderr).contains("Could not resolve IP"));
    assert!(out.stdout.is_empty());
}
