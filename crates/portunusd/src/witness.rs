//! A part's way to the audit log: what happened is told to the keeper, which alone writes it down. A keeper that is slow or
//! gone stops nobody: what there is no room for is counted, and the count is told.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use portunus_sys::channel::Channel;
use serde::Serialize;

use crate::message;

/// What waits for room at most.
const MOST_WAITING: usize = 4096;
/// What one message carries: it must fit, whatever the fields hold.
const AT_ONCE: usize = 16;
/// How long to wait until what had no room is tried again.
pub(crate) const AGAIN: Duration = Duration::from_millis(20);

/// What is to be told.
#[derive(Debug)]
pub(crate) struct Witness<T> {
    waiting: VecDeque<T>,
    lost: u64,
}

impl<T> Default for Witness<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), lost: 0 }
    }
}

impl<T: Clone> Witness<T> {
    /// It happened.
    pub(crate) fn saw(&mut self, one: T) {
        if self.waiting.len() < MOST_WAITING {
            self.waiting.push_back(one);
        } else {
            self.lost = self.lost.saturating_add(1);
        }
    }

    /// Whether something waits for room.
    pub(crate) fn waits(&self) -> bool {
        !self.waiting.is_empty() || self.lost > 0
    }

    /// Tells what there is, as far as there is room. `wrap` makes a message of it.
    pub(crate) fn tell<M: Serialize>(&mut self, keeper: &Channel, wrap: impl Fn(Vec<T>, u64) -> M) {
        while self.waits() {
            let some: Vec<T> = self.waiting.iter().take(AT_ONCE).cloned().collect();
            let (count, lost) = (some.len(), self.lost);
            match message::try_send(keeper, &wrap(some, lost), &[]) {
                Ok(()) => {
                    self.waiting.drain(..count);
                    self.lost = 0;
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                // A keeper that is gone writes nothing down any more; one that is too long is nobody's.
                Err(_) => {
                    self.waiting.drain(..count);
                    self.lost = self.lost.saturating_add(count as u64);
                    if count == 0 {
                        return;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keeper_that_does_not_listen_stops_nobody_and_hears_how_much_it_missed() {
        let (ours, theirs) = Channel::pair().unwrap();
        let mut witness = Witness::default();
        for n in 0..20_000_u64 {
            witness.saw(vec![n; 100]);
            witness.tell(&ours, |some, lost| (some, lost));
        }
        let (mut heard, mut missed) = (0, 0);
        while witness.waits() || portunus_sys::poll::readable(&theirs, Duration::ZERO).unwrap() {
            while let message::Taken::Message(came) =
                message::try_receive::<(Vec<Vec<u64>>, u64)>(&theirs).unwrap()
            {
                heard += came.value.0.len() as u64;
                missed += came.value.1;
            }
            witness.tell(&ours, |some, lost| (some, lost));
        }
        assert!(missed > 0 && heard >= MOST_WAITING as u64, "{heard} {missed}");
        assert_eq!(heard + missed, 20_000);
        drop(theirs);
        witness.saw(vec![1]);
        witness.tell(&ours, |some, lost| (some, lost));
    }
}
