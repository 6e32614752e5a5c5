//! Sniffing for real: frames on a wire, with the firewall closed and nothing bound.

use std::net::UdpSocket;
use std::time::Duration;

use portunus_model::{Datagram, Via};
use portunus_rx::{Ear, OpenError};
use portunus_sys::links::LinkWatch;
use portunus_sys::{bpf, poll};
use rustix::thread::CapabilitySet;

use crate::craft::Packet;
use crate::world::{Sender, apart, ear, hear, packet, run, sniffing, wire};

const QUIET: Duration = Duration::from_millis(300);

fn knock(n: u8) -> Vec<u8> {
    vec![b'A' + n; 60 + usize::from(n)]
}

fn udp(n: u8) -> Packet {
    Packet::udp("192.0.2.1", "198.51.100.1", (4000, 62201), &knock(n))
}

fn udp6(n: u8) -> Packet {
    Packet::udp("2001:db8::1", "2001:db8::2", (4000, 62201), &knock(n))
}

fn payloads(heard: &[Datagram]) -> Vec<Vec<u8>> {
    heard.iter().map(|datagram| datagram.bytes.to_vec()).collect()
}

#[test]
fn knocks_are_seen_through_a_closed_firewall_in_every_wrapping() {
    apart();
    run(
        "nft",
        &[
            "add table inet shut; add chain inet shut inward { type filter hook input priority -300; policy drop; }",
        ],
    );
    run("nft", &["add chain inet shut through { type filter hook forward priority -300; policy drop; }"]);
    let mut packet =
        packet(&sniffing(&[ear(Some("near"))], "udp port 62201 or tcp port 62201 or icmp or icmp6"));
    let sender = Sender::new();
    let wrapped = [
        udp(0),
        udp6(1),
        Packet { extensions: vec![(0, 0); 3], ..udp(2) },
        Packet { extensions: vec![(0, 0), (60, 1)], ..udp6(3) },
        Packet { taken_off: Some(10), ..udp(4) },
        Packet { taken_off: Some(10), tags: vec![(0x8100, 20)], ..udp(5) },
        Packet { tags: vec![(0x88a8, 9), (0x8100, 20)], ..udp6(6) },
        Packet { session: Some(7), ..udp(7) },
        Packet { session: Some(7), taken_off: Some(10), ..udp6(8) },
        Packet { proto: 6, ..udp(9) },
        Packet { proto: 6, ..udp6(10) },
        Packet { proto: 1, ..udp(11) },
        Packet { proto: 58, ..udp6(12) },
    ];
    let unwanted = [
        Packet { ports: (4000, 62202), ..udp(13) },
        Packet { fragment: Some((0, true)), ..udp(14) },
        Packet { fragment: Some((0, true)), ..udp6(15) },
        Packet { payload: vec![b'x'; 35], ..udp(16) },
        Packet { session: Some(7), ports: (1, 2), ..udp(17) },
    ];
    for packet in wrapped.iter().chain(&unwanted) {
        sender.send(&packet.ethernet());
    }
    let (heard, gone) = hear(&mut packet, QUIET);
    assert_eq!(payloads(&heard), wrapped.iter().map(|p| p.payload.clone()).collect::<Vec<_>>());
    for (datagram, sent) in heard.iter().zip(&wrapped) {
        let port = if matches!(sent.proto, 1 | 58) { 0 } else { 4000 };
        assert_eq!(datagram.source, (sent.source, port).into());
        assert_eq!(datagram.destination, Some(sent.destination));
        assert_eq!((datagram.via, datagram.claimed), (Via::Sniffed, None));
    }
    assert_eq!((gone.len(), packet.dropped()), (0, 0));
}

#[test]
fn a_request_in_a_segment_is_a_knock() {
    apart();
    let mut packet = packet(&sniffing(&[ear(Some("near"))], "tcp port 80"));
    let sender = Sender::new();
    let text = format!("{}-_", "a".repeat(50));
    let request = format!("GET /{text} HTTP/1.1\r\nUser-Agent: Fwknop/2.6.10\r\nHost: gate\r\n\r\n");
    let segment =
        |payload: &str| Packet { proto: 6, ports: (5, 80), payload: payload.as_bytes().to_vec(), ..udp(0) };
    sender.send(&segment(&request.replace("Fwknop", "Other")).ethernet());
    sender.send(&segment(&request).ethernet());
    let (heard, _) = hear(&mut packet, QUIET);
    assert_eq!(payloads(&heard), [text.replace('-', "+").replace('_', "/").into_bytes()]);
    assert_eq!(heard[0].via, Via::Http);
}

#[test]
fn on_loopback_each_packet_counts_once_unless_both_directions_are_asked_for() {
    apart();
    let both = Ear { both_directions: true, ..ear(Some("lo")) };
    for (ears, copies) in [
        (vec![ear(Some("lo"))], 1),
        (vec![ear(None)], 1),
        (vec![ear(Some("lo")), ear(None)], 2),
        // Leaving and arriving: one packet, and known to be.
        (vec![both], 1),
    ] {
        let mut packet = packet(&sniffing(&ears, "udp port 62201"));
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        for n in 0..3 {
            // Nothing is bound there: the second may be told so.
            let _ = socket.send_to(&knock(n), "127.0.0.1:62201");
        }
        let (heard, _) = hear(&mut packet, QUIET);
        assert_eq!(heard.len(), 3 * copies, "{ears:?}");
        assert!(heard.iter().all(|datagram| datagram.source == socket.local_addr().unwrap()));
    }
}

#[test]
fn what_leaves_is_seen_only_where_it_is_asked_for() {
    apart();
    for (both, heard_there) in [(false, 0), (true, 1)] {
        let there = Ear { both_directions: both, ..ear(Some("far")) };
        let mut packet = packet(&sniffing(&[there], "udp port 62201"));
        let sender = Sender::new();
        sender.send(&udp(0).ethernet());
        assert_eq!(hear(&mut packet, QUIET).0.len(), heard_there);
    }
}

#[test]
fn one_packet_through_a_bridge_is_one_knock_and_a_replay_stays_two() {
    apart();
    run("ip", &["link", "add", "bridge", "type", "bridge"]);
    run("ip", &["link", "set", "near", "master", "bridge"]);
    run("ip", &["link", "set", "bridge", "up"]);
    let mut frame = udp(0).ethernet();
    frame[..6].fill(0xff);
    for ears in [vec![ear(None)], vec![ear(Some("near")), ear(Some("bridge"))]] {
        let mut packet = packet(&sniffing(&ears, "udp port 62201"));
        let sender = Sender::new();
        sender.send(&frame);
        assert_eq!(hear(&mut packet, QUIET).0.len(), 1, "{ears:?}");
        sender.send(&frame);
        sender.send(&frame);
        assert!(hear(&mut packet, QUIET).0.len() >= 2, "{ears:?}");
    }
}

#[test]
fn an_interface_that_goes_away_is_told_and_found_again_by_its_name() {
    apart();
    let sniffing = sniffing(&[ear(Some("near"))], "udp port 62201");
    let mut packet = packet(&sniffing);
    let watch = LinkWatch::new().unwrap();
    for _ in 0..2 {
        let sender = Sender::new();
        sender.send(&udp(0).ethernet());
        assert_eq!(hear(&mut packet, QUIET).0.len(), 1);
        run("ip", &["link", "del", "near"]);
        assert_eq!(hear(&mut packet, QUIET).1, [0]);
        // It is told once.
        assert_eq!(hear(&mut packet, QUIET).1, [] as [usize; 0]);
        assert_eq!(sniffing.open(&sniffing.ears[0]).err(), Some(OpenError::Gone("near".to_owned())));
        assert!(watch.changed().unwrap());
        assert!(!watch.changed().unwrap());

        wire();
        assert!(poll::readable(&watch, Duration::from_secs(1)).unwrap());
        assert!(watch.changed().unwrap());
        packet.replace(0, sniffing.open(&sniffing.ears[0]).unwrap());
    }
    // Down is away too.
    run("ip", &["link", "set", "near", "down"]);
    assert_eq!(hear(&mut packet, QUIET).1, [0]);
    assert_eq!(sniffing.open(&sniffing.ears[0]).err(), Some(OpenError::Gone("near".to_owned())));
    run("ip", &["link", "set", "near", "up"]);
    packet.replace(0, sniffing.open(&sniffing.ears[0]).unwrap());
    let sender = Sender::new();
    sender.send(&udp(1).ethernet());
    assert_eq!(payloads(&hear(&mut packet, QUIET).0), [knock(1)]);
}

#[test]
fn an_interface_that_is_not_there_at_the_start_is_put_in_later() {
    apart();
    let sniffing = sniffing(&[ear(Some("later")), ear(Some("near"))], "udp port 62201");
    let mut packet = packet(&sniffing);
    assert_eq!(packet.descriptors().map(|(number, _)| number).collect::<Vec<_>>(), [1]);
    run("ip", &["link", "add", "later", "type", "bridge"]);
    run("ip", &["link", "set", "near", "master", "later"]);
    run("ip", &["link", "set", "later", "up"]);
    packet.replace(0, sniffing.open(&sniffing.ears[0]).unwrap());
    run("ip", &["link", "set", "near", "nomaster"]);
    let sender = Sender::new();
    sender.send(&udp(3).ethernet());
    assert_eq!(payloads(&hear(&mut packet, QUIET).0), [knock(3)]);
    assert_eq!(packet.descriptors().count(), 2);
}

#[test]
fn promiscuous_for_as_long_as_the_socket_is_open() {
    apart();
    let promiscuous = || run("ip", &["-d", "link", "show", "near"]).contains("promiscuity 1");
    assert!(!promiscuous());
    let open = packet(&sniffing(&[Ear { promiscuous: true, ..ear(Some("near")) }], "udp"));
    assert!(promiscuous());
    drop(open);
    assert!(!promiscuous());
}

#[test]
fn reading_needs_no_right_opening_does_and_nobody_takes_the_filter_off() {
    apart();
    let sniffing = sniffing(&[ear(Some("near"))], "vlan 10 and udp port 62201");
    let mut packet = packet(&sniffing);
    let socket = sniffing.open(&sniffing.ears[0]).unwrap();
    let sender = Sender::new();
    let mut sets = rustix::thread::capabilities(None).unwrap();
    sets.effective = CapabilitySet::empty();
    rustix::thread::set_capabilities(None, sets).unwrap();

    assert_eq!(sniffing.open(&sniffing.ears[0]).err(), Some(OpenError::Denied));
    let everything = [bpf::Step::plain(bpf::RETURN, u32::MAX)];
    assert_eq!(bpf::attach(&socket, &everything).unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
    assert_eq!(rustix::io::write(&socket, &[0x45; 40]), Ok(0), "whoever holds it can send frames");
    sender.send(&udp(0).ethernet());
    sender.send(&Packet { taken_off: Some(11), ..udp(1) }.ethernet());
    sender.send(&Packet { taken_off: Some(10), ..udp(2) }.ethernet());
    assert_eq!(payloads(&hear(&mut packet, QUIET).0), [knock(2)]);
}
