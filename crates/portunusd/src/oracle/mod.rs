//! The gpg process: opens messages with the host's gpg and its keyrings, for the front. It has no right but that of the
//! user whose keyrings they are, and no network; what it answers is judged in the dialect, by the front.
//!
//! What a stranger sends comes as far as gpg, so gpg is bounded: few at once, each for a short time, and with little to say.

mod listing;
mod run;
mod trouble;

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use portunus_ctl::oracle::{self, Answer};
use portunus_sys::channel::{Channel, Received};
use portunus_sys::confine::{self, Confinement};
use portunus_sys::poll::{Interest, Poll};
use portunus_sys::users::{Ids, Keep};
use portunus_sys::{process, signals, users};

use crate::keeper::shed_rights;
use crate::message::{self, OracleSnapshot, Ring, ToOracle};
use crate::{log, sandbox_words};
pub(crate) use listing::{Keys, Unlisted, has_secret_key_of, keys_of};
pub(crate) use run::{Gpg, RunError};
use trouble::Trouble;

/// How many run at once.
const WORKERS: usize = 2;
/// How many wait for that here; the front has a queue of its own.
const WAITING: usize = 8;

const KEEPER: u64 = 1;
const FRONT: u64 = 2;

/// What is known of the keyrings, for all workers.
struct Shared {
    front: Channel,
    rings: HashMap<[u8; 32], Ring>,
    trouble: Mutex<Trouble>,
}

/// A message that waits.
struct Job {
    number: u64,
    ring: [u8; 32],
    message: Vec<u8>,
}

/// Answers until the keeper or the front is gone.
pub(crate) fn run(ids: Option<Ids>) -> io::Result<()> {
    let keeper = Channel::inherited()?;
    signals::leave_to_keeper()?;
    let Some(mut came) = message::receive::<ToOracle>(&keeper)? else { return Ok(()) };
    let ToOracle::Setup = came.value;
    let snapshot: OracleSnapshot = came.beside()?;
    let front = Channel::from_descriptor(came.descriptor()?)?;
    shed_rights(ids, Keep::Nothing)?;
    process::bound_memory(run::MOST_MEMORY);
    let own = own_folders(&snapshot.rings);
    let own: Vec<&Path> = own.iter().map(AsRef::as_ref).collect();
    let programs: Vec<&Path> = snapshot.rings.iter().map(|ring| ring.program.as_path()).collect();
    let landlock = confine::confine_to(Confinement::Oracle, &own, &programs).map_err(io::Error::other)?;
    tracing::debug!(landlock = sandbox_words(landlock), "confined");
    let rings = snapshot.rings.into_iter().map(|ring| (ring.id, ring)).collect();
    let shared = Arc::new(Shared { front, rings, trouble: Mutex::default() });
    let (ask, asked) = sync_channel(WAITING);
    let asked = Arc::new(Mutex::new(asked));
    for n in 0..WORKERS {
        let (shared, asked) = (shared.clone(), asked.clone());
        let worker = move || {
            if n == 0 {
                look_at(&shared);
            }
            work(&shared, &asked);
        };
        thread::Builder::new().name("gpg".to_owned()).spawn(worker)?;
    }
    serve(&keeper, &shared.front, &ask)
}

/// The keyrings' folders, and where the agent of who we are has its sockets.
fn own_folders(rings: &[Ring]) -> Vec<std::path::PathBuf> {
    let uid = users::effective_uid();
    let sockets = ["/run/user", "/run/gnupg/user"].map(|folder| Path::new(folder).join(uid.to_string()));
    rings.iter().map(|ring| ring.home.clone()).chain(sockets).collect()
}

fn serve(keeper: &Channel, front: &Channel, ask: &SyncSender<Job>) -> io::Result<()> {
    let mut poll = Poll::new()?;
    poll.add(keeper, KEEPER, Interest::Read)?;
    poll.add(front, FRONT, Interest::Read)?;
    let mut buffer = [0; oracle::LONGEST_QUESTION + 1];
    loop {
        log::flush();
        for ready in poll.wait(None)? {
            // The keeper says nothing more; that it can be read means that it is gone, or has another one of us.
            if ready.token == KEEPER {
                return Ok(());
            }
            let length = match front.try_receive_bytes(&mut buffer)? {
                Received::Message(message) => message.length,
                Received::Nothing => continue,
                Received::Ended => return Ok(()),
            };
            let Ok(question) = oracle::read(buffer.get(..length).unwrap_or_default()) else {
                tracing::warn!("the front asked for something that is no message");
                continue;
            };
            let (number, ring, message) = (question.number, question.ring, question.message.to_vec());
            match ask.try_send(Job { number, ring, message }) {
                Ok(()) => (),
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                    answer(front, number, &Answer::Busy);
                }
            }
        }
    }
}

fn work(shared: &Shared, asked: &Mutex<Receiver<Job>>) {
    loop {
        let next = asked.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { number, ring, message }) = next else { return };
        let Some(ring) = shared.rings.get(&ring) else {
            answer(&shared.front, number, &Answer::NotRun);
            continue;
        };
        let spoken = run::open(ring, &message);
        if let Some(trouble) = trouble::of(ring, &spoken) {
            let mut all = shared.trouble.lock().unwrap_or_else(PoisonError::into_inner);
            all.say(&trouble);
        }
        match &spoken {
            Ok(spoken) => {
                let (text, report) = (spoken.text.as_slice(), spoken.report.as_slice());
                answer(&shared.front, number, &Answer::Spoken { text, report });
            }
            Err(RunError::TooSlow(_)) => answer(&shared.front, number, &Answer::TooSlow),
            Err(RunError::TooMuch) => answer(&shared.front, number, &Answer::TooMuch),
            Err(RunError::Killed(_)) => answer(&shared.front, number, &Answer::Killed),
            Err(RunError::NotRun(_)) => answer(&shared.front, number, &Answer::NotRun),
        }
    }
}

fn answer(front: &Channel, number: u64, answer: &Answer<'_>) {
    // A front that is gone needs no answer.
    let _ = front.send(&oracle::write_answer(number, answer), &[]);
}

/// Whether each keyring can be used at all, said at the start rather than when somebody knocks.
fn look_at(shared: &Shared) {
    for ring in shared.rings.values() {
        if let Some(trouble) = trouble::before(ring) {
            shared.trouble.lock().unwrap_or_else(PoisonError::into_inner).say(&trouble);
        }
    }
    log::flush();
}
