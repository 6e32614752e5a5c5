//! A part's way to the audit log: what happened is told to the keeper, which alone writes it down. A keeper that is slow or
//! gone stops nobody: what there is no room for is counted, and the count is told.

use std::collections::VecDeque;
use std::time::Duration;

use portunus_sys::channel::{Channel, is_too_long};
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
        while self.tell_some(keeper, &wrap).is_some() {}
    }

    /// One message; what it said, once it is on its way.
    fn tell_some<M: Serialize>(
        &mut self,
        keeper: &Channel,
        wrap: &impl Fn(Vec<T>, u64) -> M,
    ) -> Option<(Vec<T>, u64)> {
        while self.waits() {
            let some: Vec<T> = self.waiting.iter().take(AT_ONCE).cloned().collect();
            let (count, lost) = (some.len(), self.lost);
            match message::try_send(keeper, &wrap(some, lost), &[]) {
                Ok(()) => {
                    return Some((self.waiting.drain(..count).collect(), std::mem::take(&mut self.lost)));
                }
                // One that is too long is nobody's.
                Err(error) if is_too_long(&error) && count > 0 => {
                    self.waiting.drain(..count);
                    self.lost = self.lost.saturating_add(count as u64);
                }
                // There is no room, or no memory, for a while; or nobody is there, and the next one may be.
                Err(_) => break,
            }
        }
        None
    }
}

/// A witness that keeps what it has said until it hears that it was taken. What one hearer had not taken when it died is
/// told to the next: twice rather than never.
#[derive(Debug)]
pub(crate) struct Patient<T> {
    witness: Witness<T>,
    /// Message by message, the oldest first.
    said: VecDeque<(Vec<T>, u64)>,
    /// How many messages this hearer has taken.
    taken: u64,
}

/// How many messages may be on their way.
const MOST_SAID: usize = 64;

impl<T> Default for Patient<T> {
    fn default() -> Self {
        Self { witness: Witness::default(), said: VecDeque::new(), taken: 0 }
    }
}

impl<T: Clone> Patient<T> {
    /// So many happened, and nobody knows what they were.
    pub(crate) fn missed(&mut self, count: u64) {
        self.witness.lost = self.witness.lost.saturating_add(count);
    }

    /// It happened.
    pub(crate) fn saw(&mut self, one: T) {
        self.witness.saw(one);
    }

    /// Whether something waits for room.
    pub(crate) fn waits(&self) -> bool {
        self.witness.waits()
    }

    /// Tells what there is, as far as there is room.
    pub(crate) fn tell<M: Serialize>(&mut self, hearer: &Channel, wrap: impl Fn(Vec<T>, u64) -> M) {
        while self.said.len() < MOST_SAID
            && let Some(said) = self.witness.tell_some(hearer, &wrap)
        {
            self.said.push_back(said);
        }
    }

    /// The hearer has taken so many messages in all.
    pub(crate) fn took(&mut self, messages: u64) {
        while self.taken < messages && self.said.pop_front().is_some() {
            self.taken += 1;
        }
    }

    /// The hearer is gone: what it has not taken waits for the next.
    pub(crate) fn begin_anew(&mut self) {
        self.taken = 0;
        for (some, lost) in self.said.drain(..).rev() {
            self.witness.lost = self.witness.lost.saturating_add(lost);
            some.into_iter().rev().for_each(|one| self.witness.waiting.push_front(one));
        }
    }

    /// How many nobody has taken.
    pub(crate) fn untaken(&self) -> u64 {
        let said: u64 = self.said.iter().map(|(some, lost)| some.len() as u64 + lost).sum();
        said + self.witness.waiting.len() as u64 + self.witness.lost
    }
}

#[cfg(test)]
mod tests {
    use std::io;

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
        assert!(witness.waits());
    }

    #[test]
    fn only_what_is_too_long_is_lost() {
        let (ours, _theirs) = Channel::pair().unwrap();
        let mut witness = Witness::default();
        witness.saw(vec![7_u8; 4 << 20]);
        witness.tell(&ours, |some, lost| (some, lost));
        assert!(!witness.waits(), "what is lost was told");
        assert!(is_too_long(&message::try_send(&ours, &vec![7_u8; 4 << 20], &[]).unwrap_err()));
        // What is no trouble of the message's stays.
        for errno in [11, 12, 32, 104, 105] {
            assert!(!is_too_long(&io::Error::from_raw_os_error(errno)), "{errno}");
        }
    }

    #[test]
    fn what_one_hearer_had_not_taken_is_told_to_the_next() {
        let wrap = |some, lost| (some, lost);
        let mut witness = Patient::default();
        witness.witness.lost = 2;
        (0..AT_ONCE as u32 * 3).for_each(|n| witness.saw(n));
        let heard = |channel: &Channel| match message::try_receive::<(Vec<u32>, u64)>(channel).unwrap() {
            message::Taken::Message(came) => Some(came.value),
            message::Taken::Nothing | message::Taken::Ended => None,
        };
        let (ours, theirs) = Channel::pair().unwrap();
        witness.tell(&ours, wrap);
        assert_eq!((heard(&theirs).map(|(_, lost)| lost), witness.waits()), (Some(2), false));
        // It has taken the first, and heard the second; then it dies.
        witness.took(1);
        assert!(heard(&theirs).is_some());
        drop(theirs);
        witness.saw(1000);
        witness.tell(&ours, wrap);
        witness.begin_anew();
        assert_eq!(witness.untaken(), AT_ONCE as u64 * 2 + 1);
        let (ours, theirs) = Channel::pair().unwrap();
        witness.tell(&ours, wrap);
        let all: Vec<_> = std::iter::from_fn(|| heard(&theirs)).collect();
        let numbers: Vec<u32> = all.iter().flat_map(|(some, _)| some.clone()).collect();
        assert_eq!(numbers, (AT_ONCE as u32..AT_ONCE as u32 * 3).chain([1000]).collect::<Vec<_>>());
        assert!(all.iter().all(|(_, lost)| *lost == 0));
        witness.took(all.len() as u64);
        assert_eq!(witness.untaken(), 0);
    }

    #[test]
    fn who_takes_nothing_has_few_messages_on_their_way() {
        let (ours, theirs) = Channel::pair().unwrap();
        let mut witness = Patient::default();
        for n in 0..20_000_u32 {
            witness.saw(n);
            witness.tell(&ours, |some, lost| (some, lost));
        }
        assert_eq!((witness.said.len(), witness.untaken()), (MOST_SAID, 20_000));
        assert!(witness.witness.waiting.len() <= MOST_WAITING);
        drop(theirs);
        witness.begin_anew();
        assert_eq!(witness.untaken(), 20_000);
    }
}
