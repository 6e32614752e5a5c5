//! A disk for tests: it knows what is durable, counts what it is asked, fails when told to, and loses power.
//!
//! The tests here and the simulation (tests/sim) are built from this one file.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;

use crate::Segment;

/// One file on a disk that may lose power. Clones are the same file.
#[derive(Clone, Default)]
pub(crate) struct Disk(Rc<RefCell<Inner>>);

#[derive(Default)]
struct Inner {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    syncs: usize,
    /// Every write and sync fails from the n-th operation on, counting down.
    fails_after: Rc<Cell<Option<usize>>>,
    operations: Rc<Cell<usize>>,
}

impl Disk {
    pub(crate) fn holding(bytes: Vec<u8>) -> Self {
        let disk = Self::default();
        disk.0.borrow_mut().durable.clone_from(&bytes);
        disk.0.borrow_mut().bytes = bytes;
        disk
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.borrow().bytes.clone()
    }

    pub(crate) fn syncs(&self) -> usize {
        self.0.borrow().syncs
    }

    /// The next `n` writes, truncations and syncs still work; then none does, until told otherwise.
    pub(crate) fn fail_after(&self, n: Option<usize>) {
        self.0.borrow().fails_after.set(n);
    }

    /// The same for this one and `other` together, whichever is asked.
    pub(crate) fn share_failing(&self, other: &Self, n: Option<usize>) {
        let mut other = other.0.borrow_mut();
        let inner = self.0.borrow();
        (other.fails_after, other.operations) = (inner.fails_after.clone(), inner.operations.clone());
        inner.fails_after.set(n);
    }

    /// How many writes, truncations and syncs there were, those that failed too.
    pub(crate) fn operations(&self) -> usize {
        self.0.borrow().operations.get()
    }

    /// What a power cut leaves: what was durable, and of the rest the 512-byte sectors that `kept` says. It works again.
    pub(crate) fn lose_power(&self, mut kept: impl FnMut(usize) -> bool) {
        let mut inner = self.0.borrow_mut();
        let mut left = inner.durable.clone();
        for (sector, written) in inner.bytes.chunks(512).enumerate().filter(|&(sector, _)| kept(sector)) {
            let start = sector * 512;
            left.resize(left.len().max(start + written.len()), 0);
            left[start..start + written.len()].copy_from_slice(written);
        }
        inner.durable.clone_from(&left);
        inner.bytes = left;
        inner.fails_after.set(None);
    }

    fn operation(&self) -> io::Result<std::cell::RefMut<'_, Inner>> {
        let inner = self.0.borrow_mut();
        inner.operations.set(inner.operations.get() + 1);
        match inner.fails_after.get() {
            Some(0) => return Err(io::ErrorKind::StorageFull.into()),
            Some(n) => inner.fails_after.set(Some(n - 1)),
            None => {}
        }
        Ok(inner)
    }
}

impl Segment for Disk {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let inner = self.0.borrow();
        let from = inner.bytes.get(offset as usize..).unwrap_or_default();
        let n = from.len().min(buffer.len());
        buffer[..n].copy_from_slice(&from[..n]);
        Ok(n)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut inner = self.operation()?;
        let (start, end) = (offset as usize, offset as usize + bytes.len());
        let len = inner.bytes.len().max(end);
        inner.bytes.resize(len, 0);
        inner.bytes[start..end].copy_from_slice(bytes);
        Ok(())
    }

    fn empty(&self) -> io::Result<()> {
        self.operation()?.bytes.clear();
        Ok(())
    }

    fn make_durable(&self) -> io::Result<()> {
        let mut inner = self.operation()?;
        inner.syncs += 1;
        inner.durable = inner.bytes.clone();
        Ok(())
    }
}
