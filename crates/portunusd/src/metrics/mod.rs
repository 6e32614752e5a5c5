//! The exporter: serves figures to Prometheus, at a socket that the keeper has opened. It runs only where `[metrics]` is set.
//! It knows no key, holds no right and opens nothing: it asks the front by the control socket's read verbs and the keeper by
//! its channel, each once a second at most, however many ask it.

mod http;
mod text;

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use portunus_ctl::control::{self, Reply, Request};
use portunus_ctl::figures::{Figures, KeeperFigures};
use portunus_model::Mono;
use portunus_sys::channel::Channel;
use portunus_sys::confine::{self, Confinement};
use portunus_sys::poll::{self, Interest, Poll};
use portunus_sys::users::{Ids, Keep};
use portunus_sys::{clock, signals, tcp};

use crate::keeper::shed_rights;
use crate::message::{self, FromMetrics, Taken, ToMetrics};
use crate::{log, sandbox_words};
use http::{Look, PATIENCE, Scraper};

/// Scrapers at once; the one that has been there for longest makes room.
const MOST: usize = 32;
/// For so long a page is fresh.
const FRESH: Duration = Duration::from_secs(1);
/// How long front and keeper may take together.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// The longest answer of the front's.
const LONGEST_ANSWER: usize = 1 << 20;

const KEEPER: u64 = 1;
const LISTENER: u64 = 2;
/// Scrapers' numbers begin here.
const FIRST: u64 = 16;

/// Serves figures until the keeper is gone.
pub(crate) fn run(ids: Option<Ids>) -> io::Result<()> {
    let keeper = Channel::inherited()?;
    signals::leave_to_keeper()?;
    let Some(mut came) = message::receive::<ToMetrics>(&keeper)? else { return Ok(()) };
    shed_rights(ids, Keep::Nothing)?;
    let landlock = confine::confine(Confinement::Exporter).map_err(io::Error::other)?;
    tracing::debug!(landlock = sandbox_words(landlock), "confined");
    let (listener, front) = (came.descriptor()?, UnixStream::from(came.descriptor()?));
    let mut exporter = Exporter {
        poll: Poll::new()?,
        sources: Sources { keeper, front: Front::new(front)?, told: None },
        listener,
        scrapers: BTreeMap::new(),
        next: FIRST,
        page: None,
    };
    exporter.serve()
}

struct Exporter {
    poll: Poll,
    sources: Sources,
    listener: OwnedFd,
    /// By number: the lowest is the oldest.
    scrapers: BTreeMap<u64, Scraper>,
    next: u64,
    /// The last page, and when it was made.
    page: Option<(Mono, String)>,
}

impl Exporter {
    fn serve(&mut self) -> io::Result<()> {
        self.poll.add(&self.sources.keeper, KEEPER, Interest::Read)?;
        self.poll.add(&self.listener, LISTENER, Interest::Read)?;
        loop {
            log::flush();
            let due = self.scrapers.values().map(|scraper| scraper.until).min();
            let now = clock::mono();
            for ready in self.poll.wait(due.map(|due| due.since(now)))? {
                match ready.token {
                    // It says nothing that it was not asked; so it is gone, or answers too late.
                    KEEPER => {
                        if self.sources.hear_keeper()? {
                            return Ok(());
                        }
                    }
                    LISTENER => self.accept()?,
                    token => self.look(token),
                }
            }
            let now = clock::mono();
            let overdue = |scraper: &Scraper| scraper.until <= now;
            let late: Vec<u64> =
                self.scrapers.iter().filter(|(_, one)| overdue(one)).map(|(token, _)| *token).collect();
            late.into_iter().for_each(|token| self.drop_one(token));
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        let Some(socket) = tcp::accept_from_anybody(&self.listener)? else { return Ok(()) };
        if self.scrapers.len() >= MOST
            && let Some(oldest) = self.scrapers.keys().next().copied()
        {
            self.drop_one(oldest);
        }
        let scraper = Scraper::new(socket, clock::mono());
        if scraper.watch(&self.poll, self.next).is_ok() {
            self.scrapers.insert(self.next, scraper);
            self.next += 1;
        }
        Ok(())
    }

    fn look(&mut self, token: u64) {
        let Some(look) = self.scrapers.get_mut(&token).map(Scraper::look) else { return };
        let look = if look == Look::Asks { self.answer(token) } else { look };
        if look == Look::Over {
            self.drop_one(token);
        }
    }

    fn answer(&mut self, token: u64) -> Look {
        let now = clock::mono();
        if self.page.as_ref().is_none_or(|(made, _)| now.since(*made) >= FRESH) {
            let (front, keeper) = self.sources.ask();
            self.page = Some((clock::mono(), text::page(front.as_ref(), keeper.as_ref())));
        }
        let page = self.page.as_ref().map_or("", |(_, page)| page.as_str());
        let Some(scraper) = self.scrapers.get_mut(&token) else { return Look::Over };
        scraper.answer(&self.poll, token, page)
    }

    fn drop_one(&mut self, token: u64) {
        if let Some(scraper) = self.scrapers.remove(&token) {
            scraper.leave(&self.poll);
        }
    }
}

/// Whom the exporter asks.
struct Sources {
    keeper: Channel,
    front: Front,
    told: Option<KeeperFigures>,
}

impl Sources {
    /// Asks both at once, and waits for a while.
    fn ask(&mut self) -> (Option<Figures>, Option<KeeperFigures>) {
        let until = clock::mono().after(ANSWER_WITHIN);
        let asked = self.front.ask().is_ok();
        self.told = None;
        let _ = message::try_send(&self.keeper, &FromMetrics::Ask, &[]);
        while self.told.is_none() {
            let left = until.since(clock::mono());
            if left.is_zero() || !poll::readable(&self.keeper, left).unwrap_or(false) {
                break;
            }
            if self.hear_keeper().unwrap_or(true) {
                break;
            }
        }
        let front = if asked { self.front.hear(until) } else { None };
        (front, self.told.take())
    }

    /// Takes one message; whether the keeper is gone.
    fn hear_keeper(&mut self) -> io::Result<bool> {
        match message::try_receive::<ToMetrics>(&self.keeper)? {
            Taken::Message(came) => {
                if let ToMetrics::Figures(figures) = came.value {
                    self.told = Some(figures);
                }
                Ok(false)
            }
            Taken::Nothing => Ok(false),
            Taken::Ended => Ok(true),
        }
    }
}

/// A connection to the front's control socket, that was made for us.
struct Front {
    stream: UnixStream,
    begun: Vec<u8>,
    /// Answers that are still to come: what comes too late is no answer to what is asked next.
    owed: u32,
}

impl Front {
    fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream, begun: Vec::new(), owed: 0 })
    }

    /// Asks, unless it is asked already and has not answered.
    fn ask(&mut self) -> io::Result<()> {
        while self.take_line().is_some() {}
        if self.owed == 0 {
            let mut line = serde_json::to_vec(&Request::Figures).map_err(io::Error::other)?;
            line.push(b'\n');
            self.stream.write_all(&line)?;
            self.owed = 1;
        }
        Ok(())
    }

    fn hear(&mut self, until: Mono) -> Option<Figures> {
        loop {
            if let Some(line) = self.take_line() {
                let Ok(Reply::Figures(figures)) = serde_json::from_slice::<Reply>(&line) else { return None };
                return Some(*figures);
            }
            let left = until.since(clock::mono());
            if left.is_zero() || !poll::readable(self.stream.as_fd(), left).unwrap_or(false) {
                return None;
            }
            let mut room = [0; control::LONGEST_REQUEST];
            match self.stream.read(&mut room) {
                Ok(0) => return None,
                Ok(count) if self.begun.len() < LONGEST_ANSWER => {
                    self.begun.extend_from_slice(room.get(..count).unwrap_or_default());
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => (),
                Ok(_) | Err(_) => return None,
            }
        }
    }

    fn take_line(&mut self) -> Option<Vec<u8>> {
        let end = self.begun.iter().position(|byte| *byte == b'\n')?;
        let mut line: Vec<u8> = self.begun.drain(..=end).collect();
        line.pop();
        self.owed = self.owed.saturating_sub(1);
        Some(line)
    }
}

// A page that is asked for while front and keeper are silent must still come in time.
const _: () = assert!(ANSWER_WITHIN.as_millis() < PATIENCE.as_millis());
