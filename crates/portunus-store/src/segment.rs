//! A segment: some bytes on disk that can be read, written at a place, emptied and made durable. Nothing more is asked
//! of the system, so a sandbox needs to allow no more (pread, pwrite, ftruncate, fdatasync).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use portunus_model::Mono;

/// One of the two files of a store. Implemented by [`File`]; opened for reading and writing, *not* for appending
/// (a pwrite to such a descriptor goes to the end, wherever it was meant for).
pub trait Segment {
    /// Reads at `offset`; fewer bytes than asked only at the end.
    ///
    /// # Errors
    /// What the system says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// What the system says; how much was written is then unknown.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes it empty.
    ///
    /// # Errors
    /// What the system says.
    fn empty(&self) -> io::Result<()>;

    /// Comes back when everything written is on the disk.
    ///
    /// # Errors
    /// What the system says; what was written since the last success may then be lost, so it is to be written again.
    fn make_durable(&self) -> io::Result<()>;
}

impl Segment for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match FileExt::read_at(self, rest, offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }

    fn empty(&self) -> io::Result<()> {
        self.set_len(0)
    }

    fn make_durable(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Which boot it is: `/proc/sys/kernel/random/boot_id`. A [`Mono`] means something only together with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BootId([u8; 16]);

impl BootId {
    /// From its 16 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// From the kernel's text, 32 hex digits with hyphens and a line end.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits: String = text.trim_end().chars().filter(|&c| c != '-').collect();
        let plain = digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit());
        let number = u128::from_str_radix(&digits, 16).ok().filter(|_| plain)?;
        Some(Self(number.to_be_bytes()))
    }

    /// Four bytes of it, for records: two boots that look alike only make the store remember longer.
    pub(crate) fn tag(self) -> u32 {
        (checksum(&self.0) >> 32) as u32
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// FNV-1a, 64 bits. Against torn and stale writes, not against people: who can write the file needs no forgery.
pub(crate) fn checksum(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |sum, &byte| (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// What the first block of a segment says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Opening<H> {
    /// Empty, or its first write never came to an end: nothing in it was ever acknowledged.
    Unused,
    /// There is something behind a first block that was never written, or has rotted to nothing.
    Headless,
    /// A segment in use.
    InUse(H),
    /// A segment of ours whose first block has rotted.
    Damaged,
    /// It begins as no file of ours does.
    Foreign,
}

/// Reads the first `SIZE` bytes of a segment and judges them.
pub(crate) fn open<S: Segment, H, const SIZE: usize>(
    segment: &S,
    magic: &[u8; 16],
    decode: impl FnOnce(&[u8; SIZE]) -> Option<H>,
) -> io::Result<Opening<H>> {
    let mut block = [0; SIZE];
    let read = segment.read_at(&mut block, 0)?;
    if block.iter().all(|&byte| byte == 0) {
        let behind = segment.read_at(&mut [0], SIZE as u64)?;
        return Ok(if behind > 0 { Opening::Headless } else { Opening::Unused });
    }
    let start = block.get(..read.min(magic.len())).unwrap_or_default();
    let alike = start.iter().zip(magic).filter(|(one, other)| one == other).count();
    Ok(match (alike == start.len(), read == SIZE) {
        (true, false) => Opening::Unused,
        (true, true) => decode(&block).map_or(Opening::Damaged, Opening::InUse),
        // Nobody else's file begins with most of these sixteen bytes.
        (false, true) if alike * 4 >= magic.len() * 3 => Opening::Damaged,
        (false, _) => Opening::Foreign,
    })
}

/// How far `mono` of boot `tag` counts now: an instant of another boot says nothing, so the span since then begins
/// with this boot.
pub(crate) fn in_this_boot(mono: Mono, tag: u32, boot: BootId) -> Mono {
    if tag == boot.tag() { mono } else { Mono::default() }
}

/// Takes fixed-size fields off the front of a block, in order.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl Fields<'_> {
    pub(crate) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    pub(crate) fn i64(&mut self) -> Option<i64> {
        self.take().map(i64::from_be_bytes)
    }
}

/// Appends the checksum of what `out` got since `start`, after filling it up to `size` bytes with zeros.
pub(crate) fn seal(out: &mut Vec<u8>, start: usize, size: usize) {
    out.resize(start + size - 8, 0);
    let sum = checksum(out.get(start..).unwrap_or_default());
    out.extend_from_slice(&sum.to_be_bytes());
}

/// The part before the checksum, when it fits.
pub(crate) fn unseal(block: &[u8]) -> Option<Fields<'_>> {
    let (body, sum) = block.split_last_chunk::<8>()?;
    (checksum(body) == u64::from_be_bytes(*sum)).then_some(Fields(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_boot_id() {
        let id = BootId::parse("0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0\n").unwrap();
        assert_eq!(id.as_bytes()[..4], [0x0f, 0x1e, 0x2d, 0x3c]);
        assert_eq!(BootId::parse("nonsense"), None);
        assert_eq!(BootId::parse("+f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"), None);
    }

    #[test]
    fn no_single_changed_byte_keeps_its_checksum() {
        let mut block = Vec::new();
        block.extend_from_slice(b"some record");
        seal(&mut block, 0, 64);
        assert!(unseal(&block).is_some());
        for at in 0..block.len() {
            let mut torn = block.clone();
            torn[at] ^= 0x40;
            assert!(unseal(&torn).is_none(), "byte {at}");
        }
        assert!(unseal(&[0; 64]).is_none());
    }
}
