//! The anchor: what the log's last line is and which is the first that is kept, in a file of its own. Two places in turns,
//! so that a torn write leaves the other; written when the lines that it speaks of are on the disk.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use portunus_crypto::digest::sha256;
use portunus_sys::files;

use super::line::{hex, unhex};
use super::{ANCHOR, Chain};

/// Bytes of one place.
const PLACE: usize = 192;

/// What the anchor says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Said {
    /// The last line's number.
    pub(super) last: u64,
    /// Its hash.
    pub(super) chain: Chain,
    /// The number of the first line that is kept.
    pub(super) first: u64,
    /// Counts the writes: the higher one holds.
    turn: u64,
}

impl Said {
    fn text(&self) -> String {
        let Self { turn, last, chain, first } = self;
        format!("turn {turn} last {last} {} first {first}", hex(chain))
    }

    fn place(&self) -> Vec<u8> {
        let text = self.text();
        let mut place = format!("{text} check {}", check(&text)).into_bytes();
        place.resize(PLACE - 1, b' ');
        place.push(b'\n');
        place
    }

    fn parse(place: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(place).ok()?;
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let ["turn", turn, "last", last, chain, "first", first, "check", checked] = words.as_slice() else {
            return None;
        };
        let number = |text: &str| text.parse().ok();
        let said =
            Self { turn: number(turn)?, last: number(last)?, chain: unhex(chain)?, first: number(first)? };
        (check(&said.text()) == *checked).then_some(said)
    }
}

fn check(text: &str) -> String {
    hex(&sha256(&[text.as_bytes()])).chars().take(16).collect()
}

/// The anchor, open for writing.
#[derive(Debug)]
pub(super) struct Anchor {
    file: File,
    said: Option<Said>,
}

impl Anchor {
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        let file = files::open_state(&dir.join(ANCHOR)).map_err(io::Error::other)?;
        let said = read_from(&file)?;
        Ok(Self { file, said })
    }

    pub(super) fn said(&self) -> Option<Said> {
        self.said
    }

    /// Writes it down for good.
    pub(super) fn say(&mut self, last: u64, chain: Chain, first: u64) -> io::Result<()> {
        let turn = self.said.map_or(0, |said| said.turn) + 1;
        let said = Said { last, chain, first, turn };
        self.file.write_all_at(&said.place(), (turn % 2) * PLACE as u64)?;
        self.file.sync_data()?;
        self.said = Some(said);
        Ok(())
    }
}

/// What the anchor in `dir` says; `None`: there is none, or it says nothing.
pub(super) fn read(dir: &Path) -> io::Result<Option<Said>> {
    match File::open(dir.join(ANCHOR)) {
        Ok(file) => read_from(&file),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

fn read_from(file: &File) -> io::Result<Option<Said>> {
    let mut bytes = [0; 2 * PLACE];
    let mut length = 0;
    while let Some(room) = bytes.get_mut(length..).filter(|room| !room.is_empty()) {
        match file.read_at(room, length as u64)? {
            0 => break,
            read => length += read,
        }
    }
    let places = bytes.chunks(PLACE).filter_map(Said::parse);
    Ok(places.max_by_key(|said| said.turn))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_write_leaves_what_was_said_before() {
        let dir = tempfile::tempdir().unwrap();
        let mut anchor = Anchor::open(dir.path()).unwrap();
        assert_eq!(anchor.said(), None);
        for n in 1..=5 {
            anchor.say(n, [u8::try_from(n).unwrap(); 32], 1).unwrap();
            assert_eq!(read(dir.path()).unwrap(), anchor.said());
        }
        let whole = std::fs::read(dir.path().join(ANCHOR)).unwrap();
        assert_eq!(whole.len(), 2 * PLACE);
        // The fifth stands in the second place: whatever of it is torn, the fourth holds.
        let text = Said::parse(&whole[PLACE..]).unwrap().place().iter().rposition(|b| *b > b' ').unwrap();
        for cut in 0..text {
            let mut torn = whole.clone();
            torn[PLACE + cut..].fill(0);
            std::fs::write(dir.path().join(ANCHOR), &torn).unwrap();
            assert_eq!(read(dir.path()).unwrap().unwrap().last, 4, "cut at {cut}");
        }
    }
}
