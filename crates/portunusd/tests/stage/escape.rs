//! Trying to get out of the walls, from inside.

use std::fs::File;
use std::net::{TcpStream, ToSocketAddrs, UdpSocket};
use std::process::{Command, ExitCode};

use portunus_sys::confine::{Confinement, Landlock, confine};
use portunus_sys::netlink::NetlinkSocket;
use portunus_sys::udp::Binding;
use portunus_sys::users::{Ids, Keep, become_user, unused};
use portunus_sys::{clock, memfd, process};

/// Its name, and whether it works.
type Attempt = (&'static str, fn() -> bool);

/// What a taken-over part would try. Each in a process of its own: the walls end it for some.
pub(crate) const ATTEMPTS: [Attempt; 11] = [
    ("open /etc/shadow", || File::open("/etc/shadow").is_ok()),
    ("open /etc/passwd", || File::open("/etc/passwd").is_ok()),
    ("open /proc/self/mem", || File::open("/proc/self/mem").is_ok()),
    ("create a file", || File::create("/tmp/portunus-escaped").is_ok()),
    ("run a program", || Command::new("/bin/true").spawn().is_ok()),
    ("make a UDP socket", || UdpSocket::bind("127.0.0.1:0").is_ok()),
    ("connect", || TcpStream::connect("127.0.0.1:9").is_ok()),
    ("make a TCP socket", || portunus_sys::tcp::bind("127.0.0.1:0".parse().unwrap(), Binding::Now).is_ok()),
    ("become root", || become_user(Some(Ids { uid: 0, gid: 0 }), Keep::Nothing).is_ok()),
    ("speak netlink", || NetlinkSocket::netfilter().is_ok()),
    ("watch files", || portunus_sys::watch::Watch::over(&["/etc/passwd".into()]).is_ok()),
];

/// Confines this process as a part is; it can still do what it needs.
fn confined(part: &str) -> Landlock {
    let (keep, how) = match part {
        "front" => (Keep::Nothing, Confinement::Front),
        "grantor" => (Keep::NetAdmin, Confinement::Grantor),
        "metrics" => (Keep::Nothing, Confinement::Exporter),
        _ => (Keep::Nothing, Confinement::Resolver),
    };
    become_user(unused(), keep).unwrap();
    process::hide_memory().unwrap();
    confine(how).unwrap()
}

/// One attempt by its number; without one, what it needs.
pub(crate) fn attempt(part: &str, number: Option<usize>) -> ExitCode {
    let landlock = confined(part);
    let Some(number) = number else {
        let _ = clock::now();
        match part {
            "resolver" => {
                let looked_up =
                    std::thread::spawn(|| ("localhost", 0).to_socket_addrs().map(Iterator::count));
                assert!(looked_up.join().unwrap().unwrap() > 0);
                assert!(UdpSocket::bind("127.0.0.1:0").is_ok());
            }
            "grantor" => assert!(NetlinkSocket::netfilter().is_ok() && memfd::sealed("x", b"y").is_ok()),
            "front" => assert!(memfd::sealed("x", b"y").is_ok()),
            _ => (),
        }
        println!("landlock {landlock:?}");
        return ExitCode::SUCCESS;
    };
    let (name, works) = ATTEMPTS[number];
    // The resolver reads what everybody may read below /etc, and asks name servers.
    let may = match part {
        "resolver" => matches!(name, "open /etc/passwd" | "make a UDP socket" | "speak netlink"),
        "grantor" => name == "speak netlink",
        _ => false,
    };
    let worked = works();
    println!("{name}: {worked}");
    if worked == may { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
