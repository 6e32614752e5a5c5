//! fwknop's digest.cache: one line of text for each packet that was ever accepted (shared/spec: fwknop, "digest.cache").
//!
//! Here are its lines, read once and then only appended to, over a descriptor that the caller has opened for appending.
//! Not here: which packet is new. That is the replay store's word; a line of this file is only ever one more reason to
//! refuse. The front holds it, so that who goes back to the original finds every packet in its own file.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::net::{IpAddr, Ipv4Addr};

use portunus_crypto::text;
use portunus_model::{Accepted, Carried, ClaimKey, Via};

/// What the original writes above the first line.
const HEAD: &str = "# <digest> <proto> <src_ip> <src_port> <dst_ip> <dst_port> <time>\n";

/// The longest line that is looked at; ours have some 130 bytes.
const LONGEST_LINE: usize = 1023;

/// What reading a file came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CacheRead {
    /// How many packets it has.
    pub lines: usize,
    /// The lines that are none, from 1 on: the first few of them, and what they say.
    pub wrong: Vec<(usize, String)>,
    /// How many lines are none in all.
    pub wrong_lines: usize,
    /// How many of the oldest packets are not remembered, for want of room.
    pub forgotten: usize,
}

/// How many wrong lines are kept to be shown.
const SHOWN: usize = 20;

/// The file, and the claims of what it had when it was opened.
#[derive(Debug)]
pub struct DigestCache {
    file: File,
    /// Sorted. What is appended later is remembered by the replay store.
    known: Box<[ClaimKey]>,
}

impl DigestCache {
    /// How many packets of a file are remembered: sixteen bytes each. When it has more, the newest are.
    pub const MOST: usize = 1_000_000;

    /// Reads the file whole, and gets it ready for the next line.
    ///
    /// # Errors
    /// As the system says.
    pub fn open(mut file: File) -> io::Result<(Self, CacheRead)> {
        file.seek(SeekFrom::Start(0))?;
        let (known, read, ends) = read(BufReader::new(&file))?;
        match ends {
            Ends::Empty => file.write_all(HEAD.as_bytes())?,
            // A line that broke off (a full disk, a power cut) must not swallow the next one.
            Ends::Torn => file.write_all(b"\n")?,
            Ends::Whole => (),
        }
        Ok((Self { file, known }, read))
    }

    /// Whether the file had this packet when it was opened.
    #[must_use]
    pub fn knows(&self, key: &ClaimKey) -> bool {
        self.known.binary_search(key).is_ok()
    }

    /// Appends lines, as one write: whoever kills us finds all of them there or none. `port` is the one that knocks go to.
    ///
    /// # Errors
    /// As the system says; then the packets are not to be accepted.
    pub fn append(&mut self, accepted: &[Accepted], port: u16) -> io::Result<()> {
        if accepted.is_empty() {
            return Ok(());
        }
        let mut text = String::with_capacity(accepted.len() * 128);
        for one in accepted {
            line(&mut text, one, port);
        }
        self.file.write_all(text.as_bytes())
    }
}

/// Reads without changing anything: what is in it, and what is wrong with it.
///
/// # Errors
/// As the system says.
pub fn check_digests(file: &File) -> io::Result<CacheRead> {
    read(BufReader::new(file)).map(|(_, read, _)| read)
}

enum Ends {
    Empty,
    Whole,
    Torn,
}

fn read(mut from: impl BufRead) -> io::Result<(Box<[ClaimKey]>, CacheRead, Ends)> {
    let mut known: Vec<ClaimKey> = Vec::new();
    let mut read = CacheRead::default();
    let mut ends = Ends::Empty;
    let mut number = 0;
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        if take_line(&mut from, &mut bytes)? == 0 {
            break;
        }
        number += 1;
        ends = if bytes.last() == Some(&b'\n') { Ends::Whole } else { Ends::Torn };
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_ascii();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let (key, whole) = parse(text);
        if let Some(key) = key {
            read.lines += 1;
            known.push(key);
            if known.len() >= 2 * DigestCache::MOST {
                read.forgotten += DigestCache::MOST;
                known.drain(..DigestCache::MOST);
            }
        }
        if !whole {
            read.wrong_lines += 1;
            if read.wrong.len() < SHOWN {
                read.wrong.push((number, text.chars().take(200).collect()));
            }
        }
    }
    let over = known.len().saturating_sub(DigestCache::MOST);
    read.forgotten += over;
    known.drain(..over);
    known.sort_unstable();
    known.dedup();
    Ok((known.into_boxed_slice(), read, ends))
}

/// One line, its end with it; what is longer than a line can be is read over, and cut.
fn take_line(from: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<usize> {
    let mut taken = 0;
    loop {
        let there = from.fill_buf()?;
        let end = there.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        let part = there.get(..end.unwrap_or(there.len())).unwrap_or_default();
        let count = part.len();
        let room = LONGEST_LINE.saturating_sub(line.len());
        line.extend_from_slice(part.get(..count.min(room)).unwrap_or_default());
        let ended = end.is_some();
        if ended && line.last() != Some(&b'\n') {
            line.push(b'\n');
        }
        from.consume(count);
        taken += count;
        if ended || count == 0 {
            return Ok(taken);
        }
    }
}

/// The claim that a line's digest is, and whether the rest of the line is as it should be. A line with a digest refuses
/// its packet, whatever else is wrong with it.
fn parse(line: &str) -> (Option<ClaimKey>, bool) {
    let mut fields = line.split_ascii_whitespace();
    let digest = fields.next().unwrap_or_default().trim_end_matches('=');
    let mut bytes = [0; 32];
    let key = match text::decode_bare(digest.as_bytes(), &mut bytes) {
        Some(32) => bytes.first_chunk::<16>().copied().map(ClaimKey),
        Some(_) | None => None,
    };
    let number = |text: &str| text.parse::<u64>().is_ok();
    let address = |text: &str| text.parse::<IpAddr>().is_ok();
    let rest: Vec<&str> = fields.collect();
    let whole = match rest.as_slice() {
        [proto, source, from, destination, to, time] => {
            let numbers = [proto, from, to, time].into_iter().all(|text| number(text));
            numbers && address(source) && address(destination)
        }
        _ => false,
    };
    (key, key.is_some() && whole)
}

fn line(text: &mut String, one: &Accepted, port: u16) {
    let nowhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let by_socket = match one.via {
        Via::Udp | Via::Sniffed | Via::Pcap => Carried { proto: 17, port },
        Via::Tcp | Via::Http => Carried { proto: 6, port },
    };
    let Carried { proto, port } = one.carried.unwrap_or(by_socket);
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "{} {proto} {} {} {} {port} {}",
        text::encode_bare(&one.digest),
        one.source.ip().to_canonical(),
        one.source.port(),
        one.destination.unwrap_or(nowhere).to_canonical(),
        one.at.wall.as_secs()
    );
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::path::Path;

    use portunus_model::{Now, Unix};

    use super::*;

    /// Two packets that Debian's fwknopd accepted, as it wrote them down.
    const THEIRS: &str = "# <digest> <proto> <src_ip> <src_port> <dst_ip> <dst_port> <time>\n\
        c+IwYrm3VvbHOTZOj1YbfuH6ouOr001BmYJgW68WY1o 17 10.77.0.2 55686 10.77.0.1 62201 1795644266\n\
        RpA5Xnk4U2i+N2qYWQt+Y8j1PJWyBtWvafUtGrcX/OY 17 10.77.0.2 47073 10.77.0.1 62201 1795644268\n";

    fn open(path: &Path) -> (DigestCache, CacheRead) {
        let file = OpenOptions::new().read(true).append(true).create(true).open(path).unwrap();
        DigestCache::open(file).unwrap()
    }

    fn key(digest: &str) -> ClaimKey {
        parse(digest).0.unwrap()
    }

    fn accepted(n: u8) -> Accepted {
        Accepted {
            digest: [n; 32],
            source: "10.77.0.2:55686".parse().unwrap(),
            destination: None,
            via: Via::Sniffed,
            carried: None,
            listing: None,
            at: Now { wall: Unix::from_secs(1_795_644_266), ..Now::default() },
        }
    }

    #[test]
    fn an_existing_file_is_known_and_continued() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("digest.cache");
        std::fs::write(&path, THEIRS).unwrap();
        let (mut cache, read) = open(&path);
        assert_eq!(read, CacheRead { lines: 2, ..CacheRead::default() });
        assert!(cache.knows(&key("c+IwYrm3VvbHOTZOj1YbfuH6ouOr001BmYJgW68WY1o")));
        assert!(!cache.knows(&ClaimKey([0; 16])));
        cache.append(&[accepted(7), accepted(8)], 62201).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let ours = text.strip_prefix(THEIRS).unwrap();
        assert_eq!(
            ours.lines().next(),
            Some("BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc 17 10.77.0.2 55686 0.0.0.0 62201 1795644266")
        );
        let (cache, read) = open(&path);
        assert_eq!((read.lines, read.wrong_lines), (4, 0));
        assert!(cache.knows(&ClaimKey([8; 16])));
    }

    #[test]
    fn a_new_file_begins_with_the_originals_head() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("digest.cache");
        let (mut cache, read) = open(&path);
        assert_eq!(read, CacheRead::default());
        cache.append(&[accepted(1)], 62201).unwrap();
        assert!(std::fs::read_to_string(&path).unwrap().starts_with(HEAD));
        open(&path);
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2);
    }

    #[test]
    fn a_wrong_line_is_named_and_a_torn_one_swallows_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("digest.cache");
        let torn = "RpA5Xnk4U2i+N2qYWQt+Y8j1PJWyBtWvafUtGrcX/OY 17 10.7";
        std::fs::write(&path, format!("bad line\n{}x\n{torn}", "y".repeat(5000))).unwrap();
        let (mut cache, read) = open(&path);
        assert_eq!((read.lines, read.wrong_lines), (1, 3));
        assert_eq!(read.wrong[0], (1, "bad line".to_owned()));
        // The digest is whole, so its packet stays refused.
        assert!(cache.knows(&key("RpA5Xnk4U2i+N2qYWQt+Y8j1PJWyBtWvafUtGrcX/OY")));
        cache.append(&[accepted(9)], 62201).unwrap();
        assert!(open(&path).0.knows(&ClaimKey([9; 16])));
    }

    #[test]
    fn the_newest_lines_are_remembered() {
        let lines = 2 * DigestCache::MOST + 3;
        let text: String = (0..lines as u64)
            .map(|n| {
                let mut digest = [0; 32];
                digest[..8].copy_from_slice(&n.to_be_bytes());
                format!("{} 17 1.2.3.4 1 1.2.3.4 2 3\n", text::encode_bare(&digest))
            })
            .collect();
        let (known, read, _) = read(text.as_bytes()).unwrap();
        assert_eq!(
            (known.len(), read.lines, read.forgotten),
            (DigestCache::MOST, lines, DigestCache::MOST + 3)
        );
        let key = |n: u64| {
            let mut key = [0; 16];
            key[..8].copy_from_slice(&n.to_be_bytes());
            ClaimKey(key)
        };
        let oldest = (DigestCache::MOST + 3) as u64;
        assert!(known.binary_search(&key(oldest)).is_ok() && known.binary_search(&key(oldest - 1)).is_err());
    }

    #[test]
    fn a_line_says_how_its_packet_was_carried() {
        let of = |via, carried| {
            let mut text = String::new();
            line(&mut text, &Accepted { via, carried, ..accepted(7) }, 62201);
            let fields: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            (fields[1].clone(), fields[5].clone())
        };
        let pair = |proto: &str, port: &str| (proto.to_owned(), port.to_owned());
        let carried = |proto, port| Some(Carried { proto, port });
        assert_eq!(of(Via::Sniffed, carried(17, 1234)), pair("17", "1234"));
        assert_eq!(of(Via::Sniffed, carried(6, 80)), pair("6", "80"));
        assert_eq!(of(Via::Pcap, carried(1, 0)), pair("1", "0"));
        assert_eq!(of(Via::Udp, None), pair("17", "62201"));
        assert_eq!(of(Via::Tcp, None), pair("6", "62201"));
    }
}
