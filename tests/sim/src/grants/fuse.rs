//! Death at a step: whatever has an effect asks whether it still lives.

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use portunus_store::Segment;

use crate::disk::Disk;

/// Who dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Victim {
    Front,
    Grantor,
    Both,
    /// The others see it, and end in the middle of nothing.
    Keeper,
}

impl Victim {
    pub(super) const ALL: [Self; 4] = [Self::Front, Self::Grantor, Self::Both, Self::Keeper];
}

/// Whose step it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    Front,
    Grantor,
}

/// Counts steps, and burns at one of them. Clones are the same fuse.
#[derive(Clone, Default)]
pub(super) struct Fuse(Rc<Inner>);

#[derive(Default)]
struct Inner {
    steps: Cell<u64>,
    set: Cell<Option<(u64, Victim)>>,
    burnt: Cell<Option<Victim>>,
}

impl Fuse {
    /// Burns at the step of this number, once.
    pub(super) fn set(&self, at: u64, victim: Victim) {
        self.0.set.set(Some((at, victim)));
    }

    pub(super) fn steps(&self) -> u64 {
        self.0.steps.get()
    }

    /// Who died; from now on all live.
    pub(super) fn take_burnt(&self) -> Option<Victim> {
        self.0.burnt.take()
    }

    pub(super) fn is_burnt(&self) -> bool {
        self.0.burnt.get().is_some()
    }

    /// Whether `who` lives to do this. The step at which it dies is not done.
    pub(super) fn step(&self, who: Who) -> bool {
        self.0.steps.set(self.steps() + 1);
        if let Some((at, victim)) = self.0.set.get()
            && at == self.steps()
        {
            self.0.set.set(None);
            self.0.burnt.set(Some(victim));
        }
        self.lives(who)
    }

    pub(super) fn lives(&self, who: Who) -> bool {
        match self.0.burnt.get() {
            None | Some(Victim::Keeper) => true,
            Some(Victim::Both) => false,
            Some(Victim::Front) => who != Who::Front,
            Some(Victim::Grantor) => who != Who::Grantor,
        }
    }
}

/// Smaller than real ones, so that more is torn: a record may cross its edge, a header never.
const PAGE: u64 = 512;

/// A file of the grantor's.
pub(super) struct MortalDisk {
    pub(super) disk: Disk,
    pub(super) fuse: Fuse,
}

impl MortalDisk {
    fn step(&self) -> io::Result<()> {
        if self.fuse.step(Who::Grantor) { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    }
}

impl Segment for MortalDisk {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.disk.read_at(buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let lived = self.fuse.lives(Who::Grantor);
        self.step().inspect_err(|_| {
            // Killed in the middle of it: the kernel has written it to the end of a page.
            if lived && let Some(torn) = bytes.get(..(PAGE - offset % PAGE) as usize) {
                let _ = self.disk.write_all_at(torn, offset);
            }
        })?;
        self.disk.write_all_at(bytes, offset)
    }

    fn empty(&self) -> io::Result<()> {
        self.step()?;
        self.disk.empty()
    }

    fn make_durable(&self) -> io::Result<()> {
        self.step()?;
        self.disk.make_durable()
    }
}
