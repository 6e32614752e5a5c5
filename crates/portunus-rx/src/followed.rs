//! A capture file that grows: another program (tcpdump -w, ulogd) writes packets into it, and each is a knock when it comes.
//!
//! The keeper opens the file and a [`Growth`] over it; the front reads on whenever that says so, a part of it at a time.
//! How one file is read, through being cut, is in tail.rs. One that another has taken the place of is handed over by the
//! keeper; its writer may not know of it at once, so the old one is listened to for a while.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use portunus_model::{Datagram, Mono};
use portunus_sys::watch::Growth;

use crate::file::Budget;
use crate::tail::{Tail, TailError};
use crate::{Filter, ReceiveError, Received, Wanted};

/// Blocks and bytes that one call reads: a fraction of a millisecond's work.
const BLOCKS: usize = 1024;
const BYTES: usize = 1 << 20;
/// How long a file that was put aside is listened to once the new one has begun.
const GRACE: Duration = Duration::from_secs(60);
/// The most files that were put aside and are still listened to.
const MOST_ASIDE: usize = 8;
/// How soon a file that the system could not read is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Receives from a capture file that grows: the front's part.
pub struct Followed {
    current: Option<One>,
    /// The files that had its place before, the oldest first.
    aside: VecDeque<One>,
    filter: Filter,
    wanted: Wanted,
    /// There may be more without a word of the kernel's.
    again: Option<Mono>,
}

struct One {
    tail: Tail,
    growth: Growth,
    /// When it is let go of, once it was put aside.
    until: Mono,
    /// That the system cannot read it was said.
    said: bool,
    /// That its packets are shortened was said.
    said_short: bool,
}

impl Followed {
    /// Over no file yet: see [`Self::follow`].
    #[must_use]
    pub const fn new(filter: Filter, wanted: Wanted) -> Self {
        Self { current: None, aside: VecDeque::new(), filter, wanted, again: None }
    }

    /// From now on this file: from its end where it was there before us, else from its start. The one before it is read on,
    /// until it is quiet.
    ///
    /// # Errors
    /// As the system says.
    pub fn follow(&mut self, file: File, growth: Growth, from_end: bool, now: Mono) -> io::Result<()> {
        let tail = Tail::new(file, from_end)?;
        let new = One { tail, growth, until: Mono::default(), said: false, said_short: false };
        if let Some(old) = self.current.replace(new) {
            if self.aside.len() == MOST_ASIDE {
                self.aside.pop_front();
            }
            self.aside.push_back(One { until: now.after(GRACE), ..old });
        }
        self.again = Some(now);
        Ok(())
    }

    /// What to wait for. A file that is let go of takes its own along.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.aside.iter().chain(&self.current).map(|one| one.growth.as_fd())
    }

    /// From now on payloads of these lengths, and by these rules.
    pub fn want(&mut self, wanted: Wanted) {
        for one in self.aside.iter_mut().chain(&mut self.current) {
            one.tail.want(&wanted);
        }
        self.wanted = wanted;
    }

    /// When [`Self::receive`] wants to be called, whether or not the file has grown.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<Mono> {
        self.again
    }

    /// Reads what has come, a part of it at most, and shows each datagram to `each`.
    ///
    /// # Errors
    /// [`ReceiveError::Broken`], once: the file is no capture. It is waited for until it is written anew, or another takes
    /// its place. [`ReceiveError::Unreadable`], once: the system cannot read it now; it is tried again.
    /// [`ReceiveError::Short`], once a file: a packet in it was shortened. What is read goes on.
    pub fn receive(&mut self, now: Mono, mut each: impl FnMut(Datagram)) -> Result<Received, ReceiveError> {
        self.again = None;
        self.let_go(now);
        let mut budget = Budget::new(BLOCKS, BYTES);
        let mut count = 0;
        for one in self.aside.iter_mut().chain(&mut self.current) {
            // Before the file is read: what is written from here on is told anew.
            one.growth.heed();
            let counted = |datagram| {
                count += 1;
                each(datagram);
            };
            match one.tail.read((&self.filter, &self.wanted), &mut budget, counted) {
                Ok(drained) => {
                    one.said = false;
                    if let Some(kept) = one.tail.keeps().filter(|_| !one.said_short) {
                        one.said_short = true;
                        self.again = Some(now);
                        return Err(ReceiveError::Short(kept));
                    }
                    if !drained {
                        self.again = Some(now);
                        return Ok(Received { count, drained: false });
                    }
                }
                Err(TailError::Broken(error)) => {
                    self.again = Some(now);
                    return Err(ReceiveError::Broken(error.to_string()));
                }
                Err(TailError::System(why)) => {
                    self.again = Some(now.after(RETRY));
                    if !std::mem::replace(&mut one.said, true) {
                        return Err(ReceiveError::Unreadable(why));
                    }
                }
            }
        }
        Ok(Received { count, drained: true })
    }

    /// Whoever writes has come to the new file, and had time to finish the old ones.
    fn let_go(&mut self, now: Mono) {
        if self.current.as_ref().is_some_and(|current| current.tail.has_begun()) {
            self.aside.retain(|one| now < one.until);
        }
    }
}

impl std::fmt::Debug for Followed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Followed")
            .field("aside", &self.aside.len())
            .field("again", &self.again)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
