//! Our filters against libpcap's, through `tcpdump`: the same filters over the same packets.

use std::io::Write;
use std::process::{Command, Stdio};

use portunus_rx::{Filter, Link};

use crate::craft::{Packet, pcap};

/// Those of the packets that tcpdump finds, by their numbers.
fn found(filter: &str, file: &[u8]) -> Vec<usize> {
    let mut child = Command::new("tcpdump")
        .args(["-r", "-", "-n", "-tt", "-q", filter])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("tcpdump runs: packaging/scripts/need tcpdump:tcpdump");
    child.stdin.take().unwrap().write_all(file).unwrap();
    let out = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{filter}: {said}");
    let text = String::from_utf8(out.stdout).unwrap();
    let number = |line: &str| line.split('.').next().and_then(|secs| secs.trim().parse().ok());
    text.lines().filter_map(number).collect()
}

fn ours(filter: &str, frames: &[Vec<u8>]) -> Vec<usize> {
    let filter = Filter::parse(filter).unwrap();
    let admits = |frame: &[u8]| Link::Ethernet.strip(frame).is_some_and(|frame| filter.admits(frame));
    frames.iter().enumerate().filter(|(_, frame)| admits(frame)).map(|(n, _)| n).collect()
}

fn packets() -> Vec<Packet> {
    let mut all = Vec::new();
    let v4 = ["192.0.2.1", "192.0.2.130", "10.1.2.3", "198.51.100.7"];
    let v6 = ["2001:db8::1", "2001:db8:0:1::9", "fe80::1", "2001:db9::1"];
    for (pool, icmp) in [(v4, 1), (v6, 58)] {
        for (n, from) in pool.iter().enumerate() {
            let to = pool[(n + 1) % pool.len()];
            for ports in [(62201, 5), (5, 62201), (80, 443), (1023, 1024), (62201, 62201)] {
                for proto in [17, 6, icmp] {
                    let payload = vec![b'k'; 40 + n];
                    all.push(Packet { proto, ..Packet::udp(from, to, ports, &payload) });
                }
            }
        }
    }
    // Options in the IPv4 header move the ports.
    let moved = Packet { extensions: vec![(0, 0); 3], ..all[1].clone() };
    all.push(moved);
    all
}

#[test]
fn the_same_packets_are_found() {
    let frames: Vec<Vec<u8>> = packets().iter().map(Packet::ethernet).collect();
    let file = pcap(frames.iter().map(Vec::as_slice));
    for filter in [
        "udp port 62201",
        "udp dst port 62201",
        "udp src port 62201",
        "tcp port 80",
        "port 62201",
        "icmp",
        "icmp6",
        "ip",
        "ip6",
        "tcp",
        "udp port 62201 or tcp port 80 or icmp",
        "udp port 62201 or tcp port 80 and host 10.1.2.3",
        "not udp and not tcp",
        "! (udp or tcp) || dst port 443",
        "portrange 1000-1024",
        "tcp dst portrange 440-450",
        "src host 192.0.2.1",
        "dst 192.0.2.130 and udp",
        "host 192.0.2.1 or 10.1.2.3",
        "src or dst host 2001:db8::1",
        "src and dst port 62201",
        "net 192.0.2.0/25",
        "src net 10",
        "dst net 192.0.2",
        "net 10.1.0.0 mask 255.255.0.0",
        "ip6 net 2001:db8::/32 and udp",
        "not net 2001:db8::/63 and ip6",
        "ip host 192.0.2.1 and not port 80",
        "ip proto 17",
        "ip6 proto 58",
        "proto 6 and src net fe80::/10",
        "udp and (dst port 62201 or dst port 5) and not src host 198.51.100.7",
        "udp dst port (5 or 62201)",
        "",
    ] {
        assert_eq!(ours(filter, &frames), found(filter, &file), "{filter}");
        assert!(!ours(filter, &frames).is_empty(), "{filter} finds nothing, so it shows nothing");
    }
}

#[test]
fn libpcap_has_to_be_asked_for_tags_and_sessions_which_we_look_through() {
    let plain = packets();
    let tagged = plain.iter().cloned().map(|p| Packet { tags: vec![(0x8100, 10)], ..p });
    let frames: Vec<Vec<u8>> = tagged.map(|p| p.ethernet()).collect();
    let file = pcap(frames.iter().map(Vec::as_slice));
    let wanted = found("vlan and udp port 62201", &file);
    assert!(!wanted.is_empty());
    assert_eq!(ours("udp port 62201", &frames), wanted);
    assert_eq!(ours("vlan 10 and udp port 62201", &frames), wanted);
    assert_eq!(ours("vlan 11 and udp port 62201", &frames), found("vlan 11 and udp port 62201", &file));

    let sessions = plain.into_iter().map(|p| Packet { session: Some(7), ..p });
    let frames: Vec<Vec<u8>> = sessions.map(|p| p.ethernet()).collect();
    let file = pcap(frames.iter().map(Vec::as_slice));
    let wanted = found("pppoes 7 and udp port 62201", &file);
    assert!(!wanted.is_empty());
    assert_eq!(ours("udp port 62201", &frames), wanted);
    assert_eq!(ours("pppoes 7 and udp port 62201", &frames), wanted);
    assert_eq!(ours("pppoes 8 and udp", &frames), found("pppoes 8 and udp", &file));
}

/// A filter that libpcap does not take is not taken here either.
#[test]
fn what_libpcap_refuses_is_refused() {
    for filter in
        ["udp host 192.0.2.1", "icmp port 5", "port 5-6", "net 192.0.2.1/24", "udp port 62201 and", "port"]
    {
        let out = Command::new("tcpdump").args(["-d", "-y", "EN10MB", filter]).output().unwrap();
        assert!(!out.status.success(), "{filter}");
        assert!(Filter::parse(filter).is_err(), "{filter}");
    }
}
