//! A disk that fails when told to, survives a kill whole and a power cut in part.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use portunus_store::Segment;

use crate::dice::Dice;

/// One file. Clones are the same file.
#[derive(Clone, Default)]
pub(crate) struct Disk(Rc<RefCell<Inner>>);

#[derive(Default)]
struct Inner {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    /// So many operations still work.
    works: Option<u64>,
}

impl Disk {
    pub(crate) fn works_for(&self, operations: Option<u64>) {
        self.0.borrow_mut().works = operations;
    }

    /// What was not durable comes through sector by sector, as it happens.
    pub(crate) fn power_cut(&self, dice: &mut Dice) {
        let mut inner = self.0.borrow_mut();
        let mut left = inner.durable.clone();
        for (sector, written) in inner.bytes.chunks(512).enumerate() {
            if dice.one_in(2) {
                let start = sector * 512;
                left.resize(left.len().max(start + written.len()), 0);
                left[start..start + written.len()].copy_from_slice(written);
            }
        }
        inner.durable.clone_from(&left);
        inner.bytes = left;
        inner.works = None;
    }

    fn operation(&self) -> io::Result<std::cell::RefMut<'_, Inner>> {
        let mut inner = self.0.borrow_mut();
        match &mut inner.works {
            Some(0) => return Err(io::ErrorKind::StorageFull.into()),
            Some(left) => *left -= 1,
            None => {}
        }
        Ok(inner)
    }
}

impl Segment for Disk {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.borrow().bytes.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let inner = self.0.borrow();
        let from = inner.bytes.get(offset as usize..).unwrap_or_default();
        let read = from.len().min(buffer.len());
        buffer[..read].copy_from_slice(&from[..read]);
        Ok(read)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut inner = self.operation()?;
        let end = offset as usize + bytes.len();
        let length = inner.bytes.len().max(end);
        inner.bytes.resize(length, 0);
        inner.bytes[offset as usize..end].copy_from_slice(bytes);
        Ok(())
    }

    fn empty(&self) -> io::Result<()> {
        self.operation()?.bytes.clear();
        Ok(())
    }

    fn make_durable(&self) -> io::Result<()> {
        let mut inner = self.operation()?;
        inner.durable = inner.bytes.clone();
        Ok(())
    }
}
