//! Capture files: those of other programs, and every corner of both formats.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use portunus_model::{Lengths, Unix, Via};
use portunus_rx::{Capture, CaptureError, Caught, Filter, Wanted};

use crate::craft::{Packet, pcap};
use crate::world::{Sender, apart, ear, hear, packet, run, sniffing};

fn read(file: &[u8], filter: &str) -> Result<Vec<Caught>, CaptureError> {
    let filter = Filter::parse(filter).unwrap();
    Capture::new(file, Some(filter), Wanted::anything())?.collect()
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/captures/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn udp(n: u8) -> Packet {
    Packet::udp("192.0.2.1", "192.0.2.2", (4000, 62201), &[b'a' + n; 50])
}

#[test]
fn captures_of_other_programs_bring_payload_way_and_time() {
    let wanted = [
        (b'k', 60, "192.0.2.1:4001", "192.0.2.9"),
        (b'l', 61, "127.0.0.1:4002", "127.0.0.1"),
        (b'm', 62, "[2001:db8::1]:4003", "2001:db8::9"),
    ];
    let mut stamps = Vec::new();
    for name in ["two.pcapng", "two-nanoseconds.pcap"] {
        let mut caught = read(&fixture(name), "udp port 62201").unwrap();
        // The file's order is that of its writer's buffers.
        caught.sort_by_key(|one| one.at.map(Unix::as_nanos));
        assert_eq!(caught.len(), 3, "{name}");
        for (one, (letter, length, source, destination)) in caught.iter().zip(wanted) {
            assert_eq!(*one.datagram.bytes, *vec![letter; length]);
            assert_eq!(one.datagram.source, source.parse().unwrap());
            assert_eq!(one.datagram.destination, destination.parse().ok());
            assert_eq!(one.datagram.via, Via::Pcap);
        }
        stamps.push(caught.iter().map(|one| one.at.unwrap().as_nanos()).collect::<Vec<_>>());
    }
    assert_eq!(stamps[0], stamps[1]);
    assert_eq!(stamps[0], STAMPS);
}

/// As `tcpdump --nano -tt` prints them.
const STAMPS: [i128; 3] = [1_795_646_063_231_323_931, 1_795_646_063_536_790_665, 1_795_646_063_842_524_477];

#[test]
fn what_tcpdump_writes_down_of_the_wire_is_what_sniffing_hears() {
    apart();
    let folder = tempfile::tempdir().unwrap();
    let packets = [
        udp(0),
        Packet { tags: vec![(0x8100, 10)], ..udp(1) },
        Packet { session: Some(7), ..udp(2) },
        Packet::udp("2001:db8::1", "2001:db8::2", (4000, 62201), &[b'x'; 50]),
        Packet { ports: (4000, 5), ..udp(4) },
    ];
    let before = portunus_sys::clock::wall();
    for (interface, more) in [("near", vec![]), ("any", vec![]), ("any", vec!["-y", "LINUX_SLL"])] {
        let file = folder.path().join(format!("{interface}{}.pcap", more.len()));
        let mut tcpdump = Command::new("tcpdump")
            .args(["-U", "-i", interface, "-w", file.to_str().unwrap(), "-c", &packets.len().to_string()])
            .args(["-Q", "in", "-p", "-n"])
            .args(&more)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // "listening on" is said when it hears.
        let mut said = String::new();
        let mut errors = tcpdump.stderr.take().unwrap();
        while !said.contains("listening on") {
            let mut byte = [0];
            assert_eq!(errors.read(&mut byte).unwrap(), 1, "{said}");
            said.push(char::from(byte[0]));
        }
        let mut ours = packet(&sniffing(&[ear(Some("near"))], "udp port 62201"));
        let sender = Sender::new();
        for packet in &packets {
            sender.send(&packet.ethernet());
        }
        let (heard, _) = hear(&mut ours, Duration::from_millis(300));
        let end = Instant::now() + Duration::from_secs(10);
        while tcpdump.try_wait().unwrap().is_none() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = tcpdump.kill();
        let caught = read(&std::fs::read(&file).unwrap(), "udp port 62201").unwrap();
        assert_eq!(caught.len(), 4, "{interface} {more:?}");
        for (caught, heard) in caught.iter().zip(&heard) {
            assert_eq!((&caught.datagram.bytes, caught.datagram.source), (&heard.bytes, heard.source));
            let at = caught.at.unwrap();
            assert!(before <= at && at <= portunus_sys::clock::wall());
        }
    }
    run("ip", &["link", "del", "near"]);
}

/// A block of the newer format, in either byte order.
fn block(big: bool, kind: u32, body: &[u8]) -> Vec<u8> {
    let word = |n: u32| if big { n.to_be_bytes() } else { n.to_le_bytes() };
    let length = word(u32::try_from(body.len() + 12).unwrap());
    [&word(kind), &length, body, &length].concat()
}

fn section(big: bool) -> Vec<u8> {
    let numbers: [u8; 16] = if big {
        [0x1a, 0x2b, 0x3c, 0x4d, 0, 1, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]
    } else {
        [0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]
    };
    block(big, 0x0a0d_0d0a, &numbers)
}

/// An interface: link type, resolution (10 to the power of minus this, or with the top bit 2), seconds to add.
fn interface(big: bool, link: u16, resolution: u8, offset: i64) -> Vec<u8> {
    let half = |n: u16| if big { n.to_be_bytes() } else { n.to_le_bytes() };
    let mut body = [half(link), [0, 0], [0, 0], [0, 0]].concat();
    body.extend([half(9), half(1), [resolution, 0], [0, 0]].concat());
    body.extend([half(14), half(8)].concat());
    body.extend(if big { offset.to_be_bytes() } else { offset.to_le_bytes() });
    body.extend([0; 4]);
    block(big, 1, &body)
}

fn enhanced(big: bool, interface: u32, stamp: u64, frame: &[u8]) -> Vec<u8> {
    let word = |n: u64| {
        let n = u32::try_from(n).unwrap();
        if big { n.to_be_bytes() } else { n.to_le_bytes() }
    };
    let length = frame.len() as u64;
    let numbers = [interface.into(), stamp >> 32, stamp & 0xffff_ffff, length, length];
    let mut body: Vec<u8> = numbers.into_iter().flat_map(word).collect();
    body.extend(frame);
    body.resize(body.len().next_multiple_of(4), 0);
    block(big, 6, &body)
}

#[test]
fn sections_interfaces_resolutions_and_simple_packets() {
    for big in [false, true] {
        let ip = udp(0).bytes();
        let simple = {
            let length = u32::try_from(ip.len()).unwrap();
            let mut body = if big { length.to_be_bytes() } else { length.to_le_bytes() }.to_vec();
            body.extend(&ip);
            body.resize(body.len().next_multiple_of(4), 0);
            block(big, 3, &body)
        };
        let file = [
            section(big),
            interface(big, 101, 6, 0),
            interface(big, 1, 9, 3600),
            interface(big, 101, 0x80 | 10, 0),
            // Statistics, and a block of somebody's own.
            block(big, 5, &[0; 12]),
            block(big, 0x0bad, &[0; 8]),
            enhanced(big, 0, 5_000_001, &ip),
            enhanced(big, 1, 5_000_000_001, &udp(1).ethernet()),
            enhanced(big, 2, 5 * 1024 + 512, &udp(2).bytes()),
            simple,
            section(!big),
            interface(!big, 113, 3, -2),
            enhanced(
                !big,
                0,
                5_250,
                &[&[0, 0, 0, 1, 0, 6, 1, 2, 3, 4, 5, 6, 0, 0, 8, 0], &*udp(3).bytes()].concat(),
            ),
        ]
        .concat();
        let caught = read(&file, "udp").unwrap();
        let told: Vec<(u8, Option<i128>)> =
            caught.iter().map(|one| (one.datagram.bytes[0], one.at.map(Unix::as_nanos))).collect();
        let wanted = [
            (b'a', Some(5_000_001_000)),
            (b'b', Some(3_605_000_000_001)),
            (b'c', Some(5_500_000_000)),
            (b'a', None),
            (b'd', Some(3_250_000_000)),
        ];
        assert_eq!(told, wanted, "big {big}");
        // Cut anywhere, what is whole is read, and nothing is made up.
        for end in 0..file.len() {
            let read: Vec<_> = Capture::new(&file[..end], None, Wanted::anything())
                .into_iter()
                .flatten()
                .flatten()
                .collect();
            assert_eq!(read, caught[..read.len()], "{end}");
        }
    }
}

#[test]
fn lengths_and_filters_select() {
    let packets = [udp(0), Packet { payload: vec![b'y'; 60], ..udp(1) }, Packet { ports: (1, 2), ..udp(2) }];
    let frames: Vec<Vec<u8>> = packets.iter().map(Packet::ethernet).collect();
    let file = pcap(frames.iter().map(Vec::as_slice));
    assert_eq!(read(&file, "").unwrap().len(), 3);
    assert_eq!(read(&file, "udp port 62201").unwrap().len(), 2);
    let only = Wanted { lengths: Lengths::of([60..=60]), http: None };
    let caught: Vec<_> = Capture::new(&*file, None, only).unwrap().map(Result::unwrap).collect();
    assert_eq!(caught.len(), 1);
    assert_eq!(caught[0].at, Some(Unix::from_secs(1)));
}

#[test]
fn what_is_no_capture_is_named_and_nothing_grows_without_end() {
    let why = |file: &[u8]| read(file, "").unwrap_err();
    assert_eq!(why(b""), CaptureError::Unknown);
    assert_eq!(why(b"GET / HTTP/1.1\r\n\r\n, or any other text that is long enough"), CaptureError::Unknown);
    let mut file = pcap([udp(0).ethernet().as_slice()]);
    file[20] = 105;
    assert_eq!(why(&file), CaptureError::Link(105));
    let wild = [section(false), enhanced(false, 7, 1, &udp(0).ethernet())].concat();
    assert_eq!(why(&wild), CaptureError::Damaged);
    // A block that says it is shorter than its own head.
    let short = [section(false), vec![1, 0, 0, 0x80, 4, 0, 0, 0, 0, 0, 0, 0]].concat();
    assert_eq!(why(&short), CaptureError::Damaged);
    // A record that says it is four gigabytes long.
    let mut file = pcap([]);
    file.extend([0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    file.extend(vec![0; 3 << 20]);
    assert_eq!(why(&file), CaptureError::TooLong);
    let many = [section(false), interface(false, 1, 6, 0).repeat(5000)].concat();
    assert_eq!(why(&many), CaptureError::Damaged);
}

#[test]
fn a_packet_that_was_shortened_and_a_file_that_was_cut_are_seen() {
    let whole = pcap([udp(0).ethernet().as_slice()]);
    let seen = |file: &[u8], filter: &str| {
        let mut capture =
            Capture::new(file, Some(Filter::parse(filter).unwrap()), Wanted::anything()).unwrap();
        capture.by_ref().for_each(drop);
        (capture.keeps(), capture.is_cut())
    };
    assert_eq!(seen(&whole, ""), (None, false));
    assert_eq!(seen(&whole[..whole.len() - 1], ""), (None, true));
    let mut short = whole[..24 + 16 + 64].to_vec();
    short[24 + 8..24 + 12].copy_from_slice(&64_u32.to_le_bytes());
    assert_eq!(seen(&short, "udp port 62201"), (Some(64), false));
    assert_eq!(seen(&short, "udp port 53"), (None, false));
}
