//! What no answer on netlink may break: the ruleset is read from it, told in words and walked. Shared by the fuzz target and by
//! the test that replays its corpus (crates/portunus-fw/tests/corpus.rs).

use std::io;

use portunus_fw::ruleset::{Ruleset, Wire};

/// Any bytes as the kernel's answers: pieces, each behind its length. The numbers of the questions are put into them, or
/// nothing would be looked at.
pub(crate) fn netlink(data: &[u8]) {
    let mut wire = Pieces { rest: data, sequence: [0; 4] };
    if let Ok(ruleset) = Ruleset::read(&mut wire) {
        for table in &ruleset.tables {
            for rule in table.chains.iter().flat_map(|chain| &chain.rules) {
                let _ = rule.words(table);
            }
        }
    }
    let mut wire = Pieces { rest: data, sequence: [0; 4] };
    let _ = Ruleset::read_structure(&mut wire);
}

struct Pieces<'d> {
    rest: &'d [u8],
    sequence: [u8; 4],
}

impl Wire for Pieces<'_> {
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        // A message's header: length, type and flags, sequence number, port (netlink(7)).
        self.sequence = message.get(8..12).and_then(|bytes| bytes.try_into().ok()).unwrap_or_default();
        Ok(())
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (length, rest) = self.rest.split_first_chunk::<2>().ok_or(io::ErrorKind::UnexpectedEof)?;
        let length = usize::from(u16::from_le_bytes(*length)).min(rest.len()).min(buffer.len());
        let (piece, rest) = rest.split_at(length);
        self.rest = rest;
        let buffer = &mut buffer[..length];
        buffer.copy_from_slice(piece);
        let mut at = 0;
        while let Some(header) = buffer.get_mut(at..at + 16) {
            header[8..12].copy_from_slice(&self.sequence);
            let long = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
            at += usize::try_from(long).unwrap_or(usize::MAX).clamp(16, 1 << 20).next_multiple_of(4);
        }
        Ok(length)
    }
}
