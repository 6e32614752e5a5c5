use std::fs::OpenOptions;
use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;

use super::*;

const LINK_RAW: u32 = 101;

fn head() -> Vec<u8> {
    [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, LINK_RAW]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect()
}

/// A datagram to port 62201 with 50 letters.
fn packet(letter: u8) -> Vec<u8> {
    let payload = [letter; 50];
    let ip = [
        &[0x45, 0, 0, 78, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2][..],
        &[0x9c, 0x40, 0xf2, 0xf9, 0, 58, 0, 0],
        &payload,
    ]
    .concat();
    let words = [1_700_000_000_u32, 0, 78, 78].iter().flat_map(|word| word.to_le_bytes());
    words.chain(ip).collect()
}

struct Desk {
    path: PathBuf,
    followed: Followed,
    now: Mono,
    _folder: tempfile::TempDir,
}

impl Desk {
    fn new(before: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sniff.pcap");
        std::fs::write(&path, before).unwrap();
        let filter = Filter::parse("udp port 62201").unwrap();
        let mut followed = Followed::new(filter, Wanted::anything());
        let (file, growth) = (File::open(&path).unwrap(), Growth::of(&path).unwrap());
        followed.follow(file, growth, true, Mono::default()).unwrap();
        Self { path, followed, now: Mono::default(), _folder: folder }
    }

    fn append(&self, bytes: &[u8]) {
        File::options().append(true).open(&self.path).unwrap().write_all(bytes).unwrap();
    }

    fn heard(&mut self) -> Result<String, ReceiveError> {
        let mut heard = String::new();
        while !self.followed.receive(self.now, |datagram| heard.push(char::from(datagram.bytes[0])))?.drained
        {
        }
        Ok(heard)
    }
}

#[test]
fn what_comes_is_heard_once_and_what_was_there_is_not() {
    let mut desk = Desk::new(&[head(), packet(b'a')].concat());
    assert_eq!(desk.heard().unwrap(), "");
    desk.append(&[packet(b'b'), packet(b'c')].concat());
    assert_eq!(desk.heard().unwrap(), "bc");
    assert_eq!(desk.heard().unwrap(), "");
    // A packet that is written in two steps is heard when it is whole.
    let two = packet(b'd');
    desk.append(&two[..30]);
    assert_eq!(desk.heard().unwrap(), "");
    desk.append(&two[30..]);
    assert_eq!(desk.heard().unwrap(), "d");
    let many: Vec<u8> = (0..1000).flat_map(|_| packet(b'e')).collect();
    desk.append(&many);
    assert_eq!(desk.heard().unwrap(), "e".repeat(1000));
}

#[test]
fn a_file_that_is_empty_yet_is_waited_for() {
    let mut desk = Desk::new(b"");
    assert_eq!(desk.heard().unwrap(), "");
    desk.append(&head());
    desk.append(&packet(b'a'));
    assert_eq!(desk.heard().unwrap(), "a");
}

#[test]
fn a_file_that_was_cut_is_read_from_its_start() {
    let mut desk = Desk::new(&[head(), packet(b'a'), packet(b'b')].concat());
    desk.append(&packet(b'c'));
    assert_eq!(desk.heard().unwrap(), "c");
    std::fs::write(&desk.path, [head(), packet(b'd')].concat()).unwrap();
    assert_eq!(desk.heard().unwrap(), "d");
}

#[test]
fn what_is_no_capture_is_told_once_and_mends_itself() {
    let mut desk = Desk::new(b"");
    desk.append(&[b'x'; 100]);
    assert!(matches!(desk.heard(), Err(ReceiveError::Broken(_))));
    desk.append(b"more of the same");
    assert_eq!(desk.heard().unwrap(), "");
    File::create(&desk.path).unwrap();
    assert_eq!(desk.heard().unwrap(), "");
    desk.append(&[head(), packet(b'a')].concat());
    assert_eq!(desk.heard().unwrap(), "a");
}

#[test]
fn the_kernel_says_when_it_has_grown() {
    use std::time::Duration;
    let mut desk = Desk::new(&head());
    assert_eq!(desk.heard().unwrap(), "");
    let grown = |desk: &Desk| {
        portunus_sys::poll::readable(desk.followed.descriptors().next().unwrap(), Duration::from_millis(20))
            .unwrap()
    };
    assert!(!grown(&desk));
    desk.append(&packet(b'a'));
    assert!(grown(&desk));
    assert_eq!(desk.heard().unwrap(), "a");
    assert!(!grown(&desk));
}

#[test]
fn one_call_reads_a_part_and_asks_for_the_next() {
    // 20 MB that were there before us, and 20 MB that are no knocks.
    let other: Vec<u8> = {
        let mut one = packet(b'x');
        one[16 + 22..16 + 24].copy_from_slice(&[0, 53]);
        std::iter::repeat_n(one, 20_000_000 / 94).flatten().collect()
    };
    let mut desk = Desk::new(&[head(), other.clone()].concat());
    desk.append(&other);
    desk.append(&packet(b'a'));
    let (mut calls, mut heard) = (0, 0);
    loop {
        calls += 1;
        let asked = desk.followed.receive(desk.now, |_| heard += 1).unwrap();
        assert_eq!(desk.followed.poll_timeout(), (!asked.drained).then_some(desk.now));
        if asked.drained {
            break;
        }
    }
    assert_eq!(heard, 1);
    assert!(calls > 2 * 20_000_000 / 94 / BLOCKS, "{calls}");
    // Long blocks are few.
    let mut budget = Budget::new(BLOCKS, BYTES);
    let long = [1_700_000_000_u32, 0, 60_000, 60_000].iter().flat_map(|word| word.to_le_bytes());
    let long: Vec<u8> = long.chain([0; 60_000]).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long");
    std::fs::write(&path, [head(), long.repeat(100)].concat()).unwrap();
    let mut tail = Tail::new(File::open(&path).unwrap(), false).unwrap();
    let how = (&Filter::parse("udp port 62201").unwrap(), &Wanted::anything());
    assert_eq!(tail.read(how, &mut budget, |_| ()), Ok(false));
    // What is caught costs more.
    let mut desk = Desk::new(&head());
    desk.append(&packet(b'k').repeat(1000));
    let first = desk.followed.receive(desk.now, |_| ()).unwrap();
    assert!(!first.drained && first.count == 64, "{first:?}");
}

/// What the newer format begins with: a section with a comment, and its interface.
fn newer_head() -> Vec<u8> {
    let mut section =
        [0x0a0d_0d0a_u32, 60, 0x1a2b_3c4d, 1].iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<u8>>();
    section.extend([0xff; 8]);
    section.extend([1, 0, 24, 0]);
    section.extend([b'c'; 24]);
    section.extend([0; 4]);
    section.extend(60_u32.to_le_bytes());
    let interface = [1_u32, 20, LINK_RAW, 65_535, 20].iter().flat_map(|w| w.to_le_bytes());
    section.into_iter().chain(interface).collect()
}

/// The same packet as a block of the newer format.
fn newer_packet(letter: u8) -> Vec<u8> {
    let packet = &packet(letter)[16..];
    let words = [6_u32, 112, 0, 0, 0, 78, 78].iter().flat_map(|w| w.to_le_bytes());
    words.chain(packet.iter().copied()).chain([0; 2]).chain(112_u32.to_le_bytes()).collect()
}

#[test]
fn a_header_that_comes_byte_by_byte_is_waited_for() {
    let classic = [head(), packet(b'a')].concat();
    let newer = [newer_head(), newer_packet(b'a')].concat();
    for whole in [classic, newer] {
        let mut desk = Desk::new(b"");
        let mut heard = String::new();
        for byte in &whole {
            desk.append(&[*byte]);
            heard += &desk.heard().unwrap();
        }
        assert_eq!(heard, "a");
    }
}

#[test]
fn what_the_system_cannot_read_now_is_tried_again_and_said_once() {
    let mut desk = Desk::new(&[head(), packet(b'a')].concat());
    // The same file, and no right to read it by this description.
    let blind = OpenOptions::new().append(true).open(&desk.path).unwrap();
    let sighted = desk.followed.current.as_mut().unwrap().tail.exchange(blind);
    assert!(matches!(desk.heard(), Err(ReceiveError::Unreadable(_))));
    assert_eq!(desk.followed.poll_timeout(), Some(desk.now.after(RETRY)));
    desk.append(&packet(b'b'));
    assert_eq!(desk.heard().unwrap(), "");
    assert_eq!(desk.followed.poll_timeout(), Some(desk.now.after(RETRY)));
    let blind = desk.followed.current.as_mut().unwrap().tail.exchange(sighted);
    assert_eq!(desk.heard().unwrap(), "b");
    assert_eq!(desk.followed.poll_timeout(), None);
    // In the middle too, and it is said anew.
    desk.append(&packet(b'c'));
    let _ = desk.followed.current.as_mut().unwrap().tail.exchange(blind);
    assert!(matches!(desk.heard(), Err(ReceiveError::Unreadable(_))));
}

impl Desk {
    /// Puts the file aside and begins a new one. What writes to the old one.
    fn rotate(&mut self, begun_with: &[u8]) -> File {
        let old = OpenOptions::new().append(true).open(&self.path).unwrap();
        std::fs::rename(&self.path, self.path.with_extension("1")).unwrap();
        std::fs::write(&self.path, begun_with).unwrap();
        let (file, growth) = (File::open(&self.path).unwrap(), Growth::of(&self.path).unwrap());
        self.followed.follow(file, growth, false, self.now).unwrap();
        old
    }

    /// A writer that keeps its place, as tcpdump does.
    fn writer(&self) -> File {
        let mut writer = OpenOptions::new().write(true).open(&self.path).unwrap();
        writer.seek(SeekFrom::End(0)).unwrap();
        writer
    }

    fn cut(&self) {
        OpenOptions::new().write(true).open(&self.path).unwrap().set_len(0).unwrap();
    }
}

#[test]
fn a_file_that_was_put_aside_is_read_to_its_end_and_for_a_while() {
    let mut desk = Desk::new(&head());
    desk.append(&packet(b'a').repeat(500));
    let mut old = desk.rotate(&[head(), packet(b'c')].concat());
    old.write_all(&packet(b'b')).unwrap();
    // What the old one has is heard before what the new one has.
    assert_eq!(desk.heard().unwrap(), "a".repeat(500) + "bc");
    // Its writer was not told yet.
    old.write_all(&packet(b'd')).unwrap();
    assert_eq!(desk.heard().unwrap(), "d");
    // Once the new one has begun, not for ever.
    desk.now = desk.now.after(GRACE);
    old.write_all(&packet(b'e')).unwrap();
    assert_eq!(desk.heard().unwrap(), "");
    assert_eq!(desk.followed.descriptors().count(), 1);
    // As long as it has not, its writer can only be at the old one.
    let mut old = desk.rotate(b"");
    desk.now = desk.now.after(GRACE * 100);
    old.write_all(&packet(b'f')).unwrap();
    assert_eq!(desk.heard().unwrap(), "f");
    // However often.
    for _ in 0..100 {
        desk.rotate(&head());
    }
    assert_eq!(desk.followed.descriptors().count(), 1 + MOST_ASIDE);
    assert_eq!(desk.heard().unwrap(), "");
}

#[test]
fn a_writer_that_goes_on_behind_a_hole_is_followed() {
    let mut desk = Desk::new(&head());
    let mut writer = desk.writer();
    writer.write_all(&packet(b'a')).unwrap();
    assert_eq!(desk.heard().unwrap(), "a");
    // Cut, seen or not seen, while all was read.
    for (seen, letter) in [(true, b'b'), (false, b'c')] {
        desk.cut();
        if seen {
            assert_eq!(desk.heard().unwrap(), "");
        }
        writer.write_all(&packet(letter)).unwrap();
        assert_eq!(desk.heard().unwrap(), char::from(letter).to_string());
    }
    // Cut while one was not read, which is lost, and while one was written in part.
    writer.write_all(&packet(b'x')).unwrap();
    desk.cut();
    writer.write_all(&packet(b'd')).unwrap();
    assert_eq!(desk.heard().unwrap(), "d");
    let two = packet(b'e');
    writer.write_all(&two[..40]).unwrap();
    assert_eq!(desk.heard().unwrap(), "");
    desk.cut();
    assert_eq!(desk.heard().unwrap(), "");
    writer.write_all(&two[40..]).unwrap();
    assert_eq!(desk.heard().unwrap(), "e");
    // A packet behind the hole comes in part too.
    writer.write_all(&packet(b'x')).unwrap();
    desk.cut();
    let three = packet(b'f');
    for byte in &three {
        writer.write_all(&[*byte]).unwrap();
        let heard = desk.heard().unwrap();
        assert!(heard.is_empty() || heard == "f");
    }
    writer.write_all(&packet(b'g')).unwrap();
    assert_eq!(desk.heard().unwrap(), "g");
}

#[test]
fn a_writer_that_appends_without_a_header_is_followed() {
    let mut desk = Desk::new(&[head(), packet(b'a')].concat());
    assert_eq!(desk.heard().unwrap(), "");
    for letter in [b'b', b'c'] {
        desk.cut();
        assert_eq!(desk.heard().unwrap(), "");
        let whole = packet(letter);
        desk.append(&whole[..10]);
        assert_eq!(desk.heard().unwrap(), "");
        desk.append(&whole[10..]);
        assert_eq!(desk.heard().unwrap(), char::from(letter).to_string());
    }
    // And one that begins with a header, once more.
    desk.cut();
    assert_eq!(desk.heard().unwrap(), "");
    desk.append(&[head(), packet(b'd')].concat());
    assert_eq!(desk.heard().unwrap(), "d");
}

#[test]
fn the_newer_format_begins_anew_with_a_header_only() {
    let mut desk = Desk::new(&[newer_head(), newer_packet(b'a')].concat());
    desk.append(&newer_packet(b'b'));
    assert_eq!(desk.heard().unwrap(), "b");
    desk.cut();
    assert_eq!(desk.heard().unwrap(), "");
    desk.append(&newer_packet(b'c'));
    assert!(matches!(desk.heard(), Err(ReceiveError::Broken(_))));
    assert_eq!(desk.heard().unwrap(), "");
    std::fs::write(&desk.path, [newer_head(), newer_packet(b'd')].concat()).unwrap();
    assert_eq!(desk.heard().unwrap(), "d");
}

#[test]
fn what_was_broken_is_seen_to_be_another_whatever_its_length() {
    let mut desk = Desk::new(b"");
    desk.append(b"junk!");
    assert!(matches!(desk.heard(), Err(ReceiveError::Broken(_))));
    // Written anew, and longer at once.
    std::fs::write(&desk.path, [head(), packet(b'a')].concat()).unwrap();
    assert_eq!(desk.heard().unwrap(), "a");
    // Damaged in its middle: what is written behind that is not guessed at.
    let damaged = [[7_u8; 4], [0xff; 4], [0xff; 4], [0xff; 4]].concat();
    desk.append(&damaged);
    assert!(matches!(desk.heard(), Err(ReceiveError::Broken(_))));
    desk.append(&packet(b'x'));
    assert_eq!(desk.heard().unwrap(), "");
    desk.rotate(&[head(), packet(b'b')].concat());
    assert_eq!(desk.heard().unwrap(), "b");
}

#[test]
fn packets_that_are_shortened_are_spoken_of_once() {
    let mut desk = Desk::new(&head());
    assert_eq!(desk.heard().unwrap(), "");
    let mut short = packet(b'a')[..16 + 40].to_vec();
    short[8..12].copy_from_slice(&40_u32.to_le_bytes());
    desk.append(&short);
    assert!(matches!(desk.heard(), Err(ReceiveError::Short(40))));
    desk.append(&short);
    desk.append(&packet(b'b'));
    assert_eq!(desk.heard().unwrap(), "b");
}
