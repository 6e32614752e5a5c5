//! Trying to get out of the walls, from inside.

use std::fs::File;
use std::net::{TcpStream, UdpSocket};
use std::process::{Command, ExitCode};

use portunus_sys::confine::{Confinement, confine};
use portunus_sys::netlink::NetlinkSocket;
use portunus_sys::users::{Keep, become_user, unused};
use portunus_sys::{clock, memfd, process};

/// Confines this process as a part is, and tries what a taken-over part would. Says each attempt that worked.
pub(crate) fn try_everything(part: &str) -> ExitCode {
    let ids = unused();
    let (keep, how) = match part {
        "front" => (Keep::Nothing, Confinement::Front),
        _ => (Keep::NetAdmin, Confinement::Grantor),
    };
    become_user(ids, keep).unwrap();
    process::hide_memory().unwrap();
    let landlock = confine(how).unwrap();
    let mut worked = Vec::new();
    let mut attempt = |name: &'static str, done: bool| {
        if done {
            worked.push(name);
        }
    };
    attempt("open /etc/shadow", File::open("/etc/shadow").is_ok());
    attempt("open /etc/passwd", File::open("/etc/passwd").is_ok());
    attempt("open /proc/self/mem", File::open("/proc/self/mem").is_ok());
    attempt("create a file", File::create("/tmp/portunus-escaped").is_ok());
    attempt("run a program", Command::new("/bin/true").spawn().is_ok());
    attempt("make a UDP socket", UdpSocket::bind("127.0.0.1:0").is_ok());
    attempt("connect", TcpStream::connect("127.0.0.1:9").is_ok_and(|_| true));
    attempt(
        "make a TCP socket",
        portunus_sys::tcp::bind("127.0.0.1:0".parse().unwrap(), portunus_sys::udp::Binding::Now).is_ok(),
    );
    attempt("become root", become_user(Some(portunus_sys::users::Ids { uid: 0, gid: 0 }), keep).is_ok());
    attempt("watch files", portunus_sys::watch::Watch::over(&["/etc/passwd".into()]).is_ok());
    let netlink = NetlinkSocket::netfilter().is_ok();
    attempt("speak netlink", netlink && part == "front");
    // What it needs works all the same.
    let _ = clock::now();
    assert!(memfd::sealed("x", b"y").is_ok());
    assert_eq!(netlink, part == "grantor");
    println!("landlock {landlock:?}; worked: {worked:?}");
    if worked.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
