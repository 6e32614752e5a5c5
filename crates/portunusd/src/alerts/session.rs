//! A session with a mail server has an end: in time, and in what the server says. lettre hands out no connection of its own
//! and waits for each byte anew, so the connection is ended below it.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use portunus_sys::tcp;

/// How long a session may take in all.
pub(super) const LONGEST: Duration = Duration::from_secs(60);
/// What a server says in a session at most; the answers are a few KB, its certificates beside them.
const MOST_HEARD: u64 = 1 << 20;
/// How often is looked: what comes in between lies in memory.
const LOOK: Duration = Duration::from_millis(10);

/// Speaks with a server at this port, for so long at most.
pub(super) fn within<T>(
    longest: Duration,
    port: u16,
    speak: impl FnOnce() -> Result<T, String>,
) -> Result<T, String> {
    let (speaking, done) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let watch = move || watch(longest, port, &done);
        let watch = thread::Builder::new()
            .name("watch".to_owned())
            .spawn_scoped(scope, watch)
            .map_err(|error| format!("no thread can be made: {error}"))?;
        let said = speak();
        drop(speaking);
        match (said, watch.join()) {
            (Err(_), Ok(Some(why))) => Err(why),
            (said, _) => said,
        }
    })
}

/// Until it is done; why it was ended, where it was.
fn watch(longest: Duration, port: u16, done: &mpsc::Receiver<()>) -> Option<String> {
    let end = Instant::now() + longest;
    let mut why = None;
    while done.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
        if Instant::now() >= end {
            tcp::end_connections(port, None);
            why.get_or_insert_with(|| {
                format!("the mail server did not answer within {} s", longest.as_secs())
            });
        } else if tcp::end_connections(port, Some(MOST_HEARD)) {
            why.get_or_insert_with(|| format!("the mail server says more than {} KiB", MOST_HEARD >> 10));
        }
    }
    why
}
