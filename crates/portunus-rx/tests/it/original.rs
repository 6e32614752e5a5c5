//! Every transport of Debian's fwknop, on loopback: what it says that it sends is what is heard.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use portunus_model::{Mono, Via};
use portunus_rx::{Bounds, HttpRules, Tcp, Wanted};
use portunus_sys::udp::Binding;
use portunus_sys::{poll, tcp};

use crate::world::{apart, ear, hear, lengths, packet, sniffing};

/// Sends a packet; what it was.
fn send(folder: &Path, args: &[&str]) -> String {
    let file = folder.join("packet");
    let _ = std::fs::remove_file(&file);
    let out = Command::new("fwknop")
        .env("HOME", folder)
        .env("LOGNAME", "alice")
        .args(["--no-save-args", "-D", "127.0.0.1", "-a", "127.0.0.2", "-A", "tcp/22", "-B"])
        .arg(&file)
        .args(["--key-rijndael", "correct horse", "--key-hmac", "battery staple"])
        .args(args)
        .output()
        .expect("fwknop runs: make need-fwknop");
    assert!(
        out.status.success(),
        "{args:?}: {}",
        String::from_utf8_lossy(&[out.stdout, out.stderr].concat())
    );
    std::fs::read_to_string(file).unwrap().trim_end().to_owned()
}

#[test]
fn each_transport_is_heard_on_the_link() {
    apart();
    let folder = tempfile::tempdir().unwrap();
    // Somebody completes the handshake; on the link it is read all the same.
    let _listener = TcpListener::bind("127.0.0.1:62201").unwrap();
    let spoofed = ["-Q", "10.9.8.7"];
    for (transport, filter, more, via) in [
        ("udp", "udp port 62201", &[][..], Via::Sniffed),
        ("udpraw", "udp port 62201", &spoofed, Via::Sniffed),
        ("tcp", "tcp port 62201", &[], Via::Sniffed),
        ("tcpraw", "tcp port 62201", &spoofed, Via::Sniffed),
        ("icmp", "icmp", &spoofed, Via::Sniffed),
        ("http", "tcp port 62201", &[], Via::Http),
    ] {
        let mut packet = packet(&sniffing(&[ear(Some("lo"))], filter));
        let sent = send(folder.path(), &[&["-P", transport], more].concat());
        let (heard, _) = hear(&mut packet, Duration::from_millis(300));
        // The kernel answers an echo request with the same payload: two messages, and the gate refuses the second.
        let first = heard.first().unwrap_or_else(|| panic!("{transport} is not heard"));
        assert!(heard.len() == 1 || transport == "icmp", "{transport}: {}", heard.len());
        assert_eq!(*first.bytes, *sent.as_bytes(), "{transport}");
        assert_eq!(first.via, via, "{transport}");
        let source = if more.is_empty() { "127.0.0.1" } else { "10.9.8.7" };
        assert_eq!(first.source.ip().to_string(), source, "{transport}");
    }
}

#[test]
fn tcp_and_http_are_read_from_the_socket() {
    apart();
    let folder = tempfile::tempdir().unwrap();
    let listener = tcp::bind("127.0.0.1:62201".parse().unwrap(), Binding::Now).unwrap();
    tcp::listen(&listener, 64).unwrap();
    let wanted = Wanted { lengths: lengths(), http: Some(HttpRules::default()) };
    let mut server = Tcp::new(vec![listener], wanted, Bounds::default()).unwrap();
    for (transport, via) in [("tcp", Via::Tcp), ("http", Via::Http)] {
        let sent = send(folder.path(), &["-P", transport]);
        let mut heard = Vec::new();
        while poll::readable(server.descriptor(), Duration::from_millis(300)).unwrap() {
            server.receive(Mono::default(), |datagram| heard.push(datagram)).unwrap();
        }
        assert_eq!(heard.len(), 1, "{transport}");
        assert_eq!((&*heard[0].bytes, heard[0].via), (sent.as_bytes(), via));
    }
}
