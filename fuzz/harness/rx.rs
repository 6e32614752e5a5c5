//! What no input may break in the receivers. Shared by the fuzz targets and by the test that replays the corpora
//! (crates/portunus-rx/tests/it/corpus.rs).

use std::net::IpAddr;

use portunus_model::{LONGEST, Lengths, Net, Via};
use portunus_rx::{Capture, Filter, Frame, HttpRules, Link, NotHttp, Wanted};

/// Any bytes behind any Ethernet type, and as a frame of a capture: what is delivered lies in them, and is bounded.
pub(crate) fn frame(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first_chunk::<2>() else { return };
    let kind = u16::from_be_bytes(*kind);
    let cut = Link::from_number(kind.into()).and_then(|link| link.strip(bytes));
    for frame in cut.into_iter().chain([Frame { protocol: kind, tag: None, bytes }]) {
        let admitted = everything().admits(frame);
        let Some(payload) = frame.payload() else { continue };
        let within = frame.bytes.as_ptr_range();
        let lies = payload.bytes.as_ptr_range();
        assert!(within.start <= lies.start && lies.end <= within.end);
        assert_eq!(payload.source.is_ipv4(), payload.destination.is_ipv4());
        if let Some(datagram) = Wanted::anything().datagram(payload, Via::Sniffed) {
            assert!((1..=LONGEST).contains(&datagram.bytes.len()));
            assert_eq!((datagram.source, datagram.claimed), (payload.source, None));
        }
        // What the filter looks for, it finds where the payload's headers stand.
        let port = payload.destination.port();
        let sought = Filter::parse(&format!("dst port {port}")).unwrap().admits(frame);
        assert!(!admitted || port == 0 || sought);
    }
}

/// Any request: a packet's letters, or a reason. What is told is told again when it is asked for again.
pub(crate) fn http(data: &[u8]) {
    let peer: IpAddr = "198.51.100.9".parse().unwrap();
    let proxies = vec![Net::parse("198.51.100.0/24").unwrap()];
    for rules in [HttpRules { any_agent: true, proxies }, HttpRules::default()] {
        let whole = rules.knock(data, peer);
        let segment = rules.knock_in_segment(data, peer);
        if whole != Err(NotHttp::Incomplete) {
            assert_eq!(whole, segment);
        }
        let Ok(knock) = segment else { continue };
        let letters = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/".contains(byte);
        assert!((1..=LONGEST).contains(&knock.bytes.len()) && knock.bytes.iter().all(letters));
        assert!(knock.claimed.is_none() || !rules.proxies.is_empty());
        let text: Vec<u8> = knock
            .bytes
            .iter()
            .map(|byte| match byte {
                b'+' => b'-',
                b'/' => b'_',
                other => *other,
            })
            .collect();
        let again = [b"GET /", &*text, b" HTTP/1.0\r\nUser-Agent: Fwknop/2\r\n\r\n"].concat();
        assert_eq!(rules.knock(&again, peer).unwrap().bytes, knock.bytes);
    }
}

/// Any text as a filter: a program that is not too long, or a refusal that names a column of it.
pub(crate) fn filter(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Filter::parse(text) {
        Ok(filter) => {
            assert!((3..4096).contains(&filter.program(&Lengths::of([36..=1500]), 1500).len()));
            let packet = [0x45, 0, 0, 20, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
            let _ = filter.admits(Frame { protocol: 0x0800, tag: None, bytes: &packet });
        }
        Err(error) => assert!((1..=text.chars().count() + 1).contains(&error.column)),
    }
}

/// Any bytes as a capture: it ends, and so does memory.
pub(crate) fn capture(data: &[u8]) {
    let Ok(capture) = Capture::new(data, None, Wanted::anything()) else { return };
    let read = capture.inspect(|one| {
        let sound = |one: &portunus_rx::Caught| (1..=LONGEST).contains(&one.datagram.bytes.len());
        assert!(one.as_ref().map_or(true, sound));
    });
    assert!(read.count() <= data.len());
}

fn everything() -> Filter {
    Filter::parse("").unwrap()
}
