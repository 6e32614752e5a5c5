//! One way's thread: it tells what waits for it, at its own pace.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use portunus_store::spool::Waiting;

use super::alert::Alert;
use super::failed::Failed;
use super::ring::Ring;
use super::text::Batch;
use super::{AT_ONCE, LONGEST_PAUSE, Way};
use crate::log;

/// What the threads share.
pub(super) struct Desk {
    pub(super) ring: Mutex<Ring>,
    pub(super) more: Condvar,
}

impl Desk {
    pub(super) fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A message that was handed over, and nobody has said whether it was taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Doubt {
    /// Before which number of the ring it ends: it tells the same, and no more, when it goes once more.
    end: u64,
    times: u32,
}

/// How often a message is handed over that nobody says he has taken.
const MOST_TIMES: u32 = 3;

/// Who tells by one way.
pub(super) struct Teller {
    pub(super) desk: Arc<Desk>,
    pub(super) host: String,
    pub(super) number: usize,
    pub(super) way: Way,
    pub(super) every: Duration,
    /// How long to wait after the next failure.
    pub(super) pause: Duration,
    /// What was last said to be wrong, and when.
    pub(super) said: Option<(String, Instant)>,
    /// The same of somebody whom the message does not reach.
    pub(super) partly: Option<(String, Instant)>,
    pub(super) doubt: Option<Doubt>,
}

impl Teller {
    pub(super) fn new(desk: Arc<Desk>, host: String, (number, way): (usize, Way), every: Duration) -> Self {
        Self { desk, host, number, way, every, pause: every, said: None, partly: None, doubt: None }
    }

    pub(super) fn run(mut self) {
        loop {
            self.wait_for_some();
            // What comes meanwhile goes into the same message.
            thread::sleep(self.every);
            if let Err(error) = self.tell() {
                self.complain(error);
                thread::sleep(self.way.waits_at_most().map_or(self.pause, |most| self.pause.min(most)));
                self.pause = (self.pause * 2).min(LONGEST_PAUSE.max(self.every));
            }
            log::flush();
        }
    }

    fn wait_for_some(&self) {
        let mut ring = self.desk.lock();
        while ring.spool.counts(self.number) == (0, 0) {
            ring = self.desk.more.wait(ring).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// One message.
    pub(super) fn tell(&mut self) -> Result<(), String> {
        let words = |error: io::Error| format!("the ring of alerts: {error}");
        let waiting = {
            let spool = &self.desk.lock().spool;
            match self.doubt {
                Some(doubt) => spool.waiting_to(self.number, doubt.end),
                None => spool.waiting(self.number, AT_ONCE),
            }
        };
        let alerts: Vec<Alert> =
            waiting.records.iter().filter_map(|record| postcard::from_bytes(record).ok()).collect();
        // What nobody can read any more is gone over: it would be in the way for ever.
        let unread = waiting.rotten + (waiting.records.len() - alerts.len()) as u64;
        let (lost, more) = (waiting.lost + unread, waiting.more);
        if !alerts.is_empty() || lost > 0 {
            match self.way.tell(&Batch { host: &self.host, alerts: &alerts, lost, more }) {
                Ok(missed) => self.say_who_misses_it(missed),
                Err(failed @ Failed::NotTold(_)) => return Err(failed.to_string()),
                Err(failed @ Failed::Unanswered(..)) => {
                    self.doubt_it(waiting.end, &failed)?;
                    return self.give_up(&waiting, alerts.len() as u64, &failed).map_err(words);
                }
            }
        }
        self.doubt = None;
        let way = self.way.name();
        if waiting.lost > 0 {
            tracing::warn!(way, lost = waiting.lost, "alerts were lost: there was no room for more");
        }
        if unread > 0 {
            tracing::warn!(
                way,
                lost = unread,
                "alerts were lost: what the disk has kept of them is nonsense"
            );
        }
        let mut ring = self.desk.lock();
        ring.spool.told(self.number, waiting.end, waiting.lost).map_err(words)?;
        // What cannot be kept is counted as lost, and told with the next.
        let _ = ring.settle();
        drop(ring);
        self.desk.more.notify_all();
        if self.said.take().is_some() {
            tracing::info!(way = self.way.name(), "alerts go out again");
        }
        self.pause = self.every;
        Ok(())
    }

    /// It goes once more, a few times.
    fn doubt_it(&mut self, end: u64, failed: &Failed) -> Result<(), String> {
        let times = self.doubt.map_or(0, |doubt| doubt.times) + 1;
        self.doubt = Some(Doubt { end, times });
        if times < MOST_TIMES { Err(failed.to_string()) } else { Ok(()) }
    }

    /// It is not told any more: whoever never answers would have it for ever. What it told counts as lost, and the next
    /// message says so; that it does is not said in another one.
    fn give_up(&mut self, waiting: &Waiting, alerts: u64, failed: &Failed) -> io::Result<()> {
        let (way, why) = (self.way.name(), failed.to_string());
        tracing::warn!(
            way,
            alerts,
            why,
            "alerts may be lost: a message was handed over {MOST_TIMES} times, and nobody has said that he took it"
        );
        self.doubt = None;
        self.way.give_up();
        let mut ring = self.desk.lock();
        ring.spool.lose_to(self.number, alerts)?;
        ring.spool.told(self.number, waiting.end, waiting.lost)
    }

    /// Once, and again when it is another trouble, or after an hour.
    fn complain(&mut self, error: String) {
        if is_news(self.said.as_ref(), &error) {
            let (waiting, lost) = self.desk.lock().spool.counts(self.number);
            tracing::warn!(
                way = self.way.name(),
                why = error,
                waiting,
                lost,
                "alerts do not go out: they are kept, and tried again"
            );
            self.said = Some((error, Instant::now()));
        }
    }

    fn say_who_misses_it(&mut self, missed: Option<String>) {
        let Some(why) = missed else {
            self.partly = None;
            return;
        };
        if is_news(self.partly.as_ref(), &why) {
            tracing::warn!(way = self.way.name(), why, "alerts do not reach everybody: the others have them");
            self.partly = Some((why, Instant::now()));
        }
    }
}

pub(super) fn is_news(said: Option<&(String, Instant)>, trouble: &str) -> bool {
    const AGAIN: Duration = Duration::from_secs(3600);
    said.is_none_or(|(last, at)| gist(last) != gist(trouble) || at.elapsed() > AGAIN)
}

/// Without numbers and names that are others each time: a server may call each session by one.
fn gist(trouble: &str) -> Vec<&str> {
    trouble.split_whitespace().filter(|word| !word.bytes().any(|byte| byte.is_ascii_digit())).collect()
}
