//! A session with a mail server has an end: in time, and in what the server says. lettre hands out no connection of its own
//! and waits for each byte anew, so the connection is ended below it.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use portunus_sys::tcp;

use super::failed::{Failed, late};

/// How long a session may take in all, until the mail is handed over.
pub(super) const LONGEST: Duration = Duration::from_secs(60);
/// How long the server may take then, until it says whether it has it (RFC 5321, 4.5.3.2.6). Who goes earlier and comes
/// again gives it the same mail a second time.
pub(super) const VERDICT: Duration = Duration::from_secs(600);
/// What a server says in a session at most; the answers are a few KB, its certificates beside them.
const MOST_HEARD: u64 = 1 << 20;
/// How often is looked: what comes in between lies in memory.
const LOOK: Duration = Duration::from_millis(10);
/// The same while only a verdict is waited for, which may take minutes: each look asks about all our descriptors.
const CALM_LOOK: Duration = Duration::from_millis(50);

/// How long this one may still take.
pub(super) struct Session(Mutex<Bound>);

#[derive(Clone, Copy)]
struct Bound {
    end: Instant,
    longest: Duration,
    look: Duration,
}

impl Bound {
    fn new(longest: Duration, look: Duration) -> Self {
        Self { end: Instant::now() + longest, longest, look }
    }
}

impl Session {
    fn new(longest: Duration) -> Self {
        Self(Mutex::new(Bound::new(longest, LOOK)))
    }

    /// What is left.
    pub(super) fn left(&self) -> Duration {
        self.lock().end.saturating_duration_since(Instant::now())
    }

    /// From now on it may take so long, until the server says its verdict.
    pub(super) fn wait_for_verdict(&self, longest: Duration) {
        *self.lock() = Bound::new(longest, CALM_LOOK);
    }

    fn lock(&self) -> MutexGuard<'_, Bound> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Speaks with a server at this port, for so long at most.
pub(super) fn within<T>(
    longest: Duration,
    port: u16,
    speak: impl FnOnce(&Session) -> Result<T, Failed>,
) -> Result<T, Failed> {
    let (speaking, done) = mpsc::channel::<()>();
    let session = Session::new(longest);
    thread::scope(|scope| {
        let session = &session;
        let watch = move || watch(session, port, &done);
        let watch = thread::Builder::new()
            .name("watch".to_owned())
            .spawn_scoped(scope, watch)
            .map_err(|error| format!("no thread can be made: {error}"))?;
        let said = speak(session);
        drop(speaking);
        match (said, watch.join()) {
            (Err(failed), Ok(Some(why))) => Err(failed.because(why)),
            (said, _) => said,
        }
    })
}

/// Until it is done; why it was ended, where it was.
fn watch(session: &Session, port: u16, done: &mpsc::Receiver<()>) -> Option<String> {
    let mut why = None;
    let mut look = LOOK;
    while done.recv_timeout(look) == Err(RecvTimeoutError::Timeout) {
        let Bound { end, longest, look: next } = *session.lock();
        look = next;
        if Instant::now() >= end {
            tcp::end_connections(port, None);
            why.get_or_insert_with(|| late(longest));
        } else if tcp::end_connections(port, Some(MOST_HEARD)) {
            why.get_or_insert_with(|| format!("the mail server says more than {} KiB", MOST_HEARD >> 10));
        }
    }
    why
}
