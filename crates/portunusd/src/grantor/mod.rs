//! The grantor: the only process that changes the firewall. It has CAP_NET_ADMIN and nothing else, believes nothing that
//! the front says, keeps the book of what is open, and puts our rules back when somebody flushes them.

mod book;
mod duty;
mod facts;
mod kill;
mod limits;
mod naps;
mod past;
mod runner;
mod stand;
mod standing;
mod tale;
#[cfg(test)]
mod tests;
mod trial;

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::time::Duration;

use portunus_ctl::frame::{self, Said, Writer};
use portunus_model::{Mono, Place};
use portunus_store::audit::Fact;
use portunus_store::{BootId, Journal, Row as JournalRow, StoreError};
use portunus_sys::channel::{Channel, Received};
use portunus_sys::confine::{self, Confinement};
use portunus_sys::poll::{Alarm, Interest, Poll};
use portunus_sys::users::{Ids, Keep};
use portunus_sys::{clock, signals};

use crate::keeper::shed_rights;
use crate::message::{self, Came, FromGrantor, GrantorBrief, GrantorSnapshot, Taken, ToGrantor};
use crate::witness::{self, Witness};
use crate::words::Words;
use crate::{log, sandbox_words};
use book::Book;
use duty::Duty;
use naps::Ahead;
use runner::ErrandRunner;
use stand::Ground;
use trial::Watching;

/// Messages of the front that go into one transaction.
const MESSAGES: usize = 16;
/// At most one line a second about a front that talks nonsense.
const NONSENSE_EVERY: Duration = Duration::from_secs(1);

const KEEPER: u64 = 1;
const FRONT: u64 = 2;
const ALARM: u64 = 3;
const FIREWALL: u64 = 4;

/// Runs the grantor until the keeper says otherwise.
pub(crate) fn run(ids: Option<Ids>) -> io::Result<()> {
    let keeper = Channel::inherited()?;
    signals::leave_to_keeper()?;
    // /proc is out of reach later.
    let boot = BootId::from_bytes(clock::boot_id().unwrap_or_default());
    let ground = Ground::look();
    let Some(mut came) = message::receive::<ToGrantor>(&keeper)? else { return Ok(()) };
    shed_rights(ids, Keep::NetAdmin)?;
    let landlock = confine::confine(Confinement::Grantor).map_err(io::Error::other)?;
    tracing::debug!(landlock = sandbox_words(landlock), "confined");

    let ToGrantor::Setup { journal: place, holding } = &came.value else {
        return Err(io::Error::other("the keeper began with something else than the setup"));
    };
    let (place, holding) = (place.clone(), *holding);
    let brief: GrantorBrief = came.beside()?;
    let front = Channel::from_descriptor(came.descriptor()?)?;
    let journal = [File::from(came.descriptor()?), File::from(came.descriptor()?)];
    let taken = take_journal(journal, boot, clock::mono()).map_err(|e| crate::bad_files(&place, &e));
    let (journal, rows) = match taken {
        Err(error) if holding => {
            return message::send(&keeper, &FromGrantor::NoJournal { why: error.to_string() }, &[]);
        }
        taken => taken?,
    };
    match Grantor::begin(keeper, front, (journal, rows), (ground, holding), brief)? {
        Some(mut grantor) => grantor.serve(),
        None => Ok(()),
    }
}

struct Grantor {
    keeper: Channel,
    front: Channel,
    poll: Poll,
    alarm: Alarm,
    ground: Ground,
    snapshot: GrantorSnapshot,
    place: Place,
    errand: Option<ErrandRunner>,
    duty: Duty,
    witness: Witness<Fact>,
    /// Whether the last try to put our rules back failed: that is written down once.
    not_put_back: bool,
    /// The chain of the administrator's that was found to be gone.
    absent: Option<String>,
    /// Rules of others have changed since we looked whether ours still let anybody in.
    others_changed: bool,
    next_reconsidering: Mono,
    /// What was said to keep out who has a grant.
    in_the_way: Option<String>,
    /// How often our rules were put back in the while that began then.
    put_back_said: (Mono, u32),
    put_back_unsaid: u32,
    /// The drops are on trial.
    trial: Option<Watching>,
    last_nonsense: Mono,
    /// Messages that the front has no room for yet. While one waits nothing more of the front's is read.
    answers: VecDeque<Vec<u8>>,
    crowded: bool,
    /// For one message of the front's, used again and again.
    buffer: Vec<u8>,
    end: bool,
}

/// All that a grantor needs before it begins.
struct Post {
    keeper: Channel,
    front: Channel,
    ground: Ground,
    snapshot: GrantorSnapshot,
    place: Place,
    /// Nobody new is let in: a start has failed, and the doors are held shut.
    holding: bool,
    errand: Option<ErrandRunner>,
    book: Book,
}

impl Grantor {
    /// Finds the place and begins there; `None` when there is none, and the keeper was told why.
    fn begin(
        keeper: Channel,
        front: Channel,
        (journal, rows): (Journal, Vec<JournalRow>),
        (ground, holding): (Ground, bool),
        GrantorBrief { snapshot, names }: GrantorBrief,
    ) -> io::Result<Option<Self>> {
        let refuse = |why: String| {
            message::send(&keeper, &FromGrantor::Refused { why }, &[])?;
            Ok(None)
        };
        let now = clock::mono();
        let found = if holding {
            Ok(ground.place_to_hold(&snapshot.limits, &snapshot.wish))
        } else {
            ground.find(&snapshot.limits, &snapshot.wish)
        };
        let place = match found {
            Ok(place) => place,
            Err(why) => return refuse(why),
        };
        if snapshot.wish.trial.is_some() && place.is_of_iptables() {
            return refuse(NO_TRIAL.to_owned());
        }
        if !snapshot.wish.sent_on.is_empty() && place.is_of_iptables() {
            return refuse(NOT_SENT_ON.to_owned());
        }
        let errand = if place.is_of_iptables() { Some(fetch_errand(&keeper)?) } else { None };
        let firewall = match stand::back_end(&snapshot.wish, &place, errand.clone()) {
            Ok(firewall) => firewall,
            Err(why) => return refuse(why),
        };
        let mut book = Book::take_up((now, ahead()), snapshot.limits.clone(), journal, rows, firewall);
        book.names = names;
        book.note_restored();
        let post = Post { keeper, front, ground, snapshot, place, holding, errand, book };
        Self::take(post)
    }

    /// Puts the rules in; `None` when the kernel refused them, and the keeper was told why.
    fn take(post: Post) -> io::Result<Option<Self>> {
        let Post { keeper, front, ground, snapshot, place, holding, errand, book } = post;
        let mut duty = Duty::new(book, place.is_of_iptables());
        let structure = stand::structure(&snapshot.limits, &snapshot.wish, place.clone());
        let own = || stand::structure(&snapshot.limits, &snapshot.wish, Place::Own);
        // To hold the doors shut our own table is enough, whatever is wrong in one of theirs.
        let is_held = |duty: &mut Duty| {
            holding && matches!(place, Place::Attach(_)) && standing::install(duty, &own()).is_ok()
        };
        if let Err(error) = standing::install(&mut duty, &structure)
            && !is_held(&mut duty)
        {
            message::send(&keeper, &FromGrantor::Refused { why: error.to_string() }, &[])?;
            return Ok(None);
        }
        let past = || ground.sent_past(&snapshot.limits, &snapshot.wish, &place);
        let trial =
            match snapshot.wish.trial.as_ref().map(|trial| Watching::begin(trial, &past())).transpose() {
                Ok(trial) => trial,
                Err(why) => {
                    message::send(&keeper, &FromGrantor::Refused { why }, &[])?;
                    return Ok(None);
                }
            };
        let mut grantor = Self {
            poll: Poll::new()?,
            alarm: Alarm::new()?,
            witness: Witness::default(),
            not_put_back: false,
            absent: None,
            others_changed: false,
            next_reconsidering: Mono::default(),
            in_the_way: None,
            put_back_said: (Mono::default(), 0),
            put_back_unsaid: 0,
            last_nonsense: Mono::default(),
            answers: VecDeque::new(),
            crowded: false,
            buffer: vec![0; frame::LONGEST_MESSAGE],
            end: false,
            keeper,
            front,
            ground,
            snapshot,
            place,
            errand,
            duty,
            trial,
        };
        grantor.front.make_room(1 << 20);
        grantor.watch()?;
        // The front reads these before the first knock.
        let mut restored = grantor.duty.book.restored();
        restored.push(Said::RestoredAll);
        grantor.answer(restored)?;
        grantor.tell_rules();
        grantor.say_in_force()?;
        grantor.tell_absent();
        grantor.tell_facts();
        Ok(Some(grantor))
    }

    fn say_in_force(&self) -> io::Result<()> {
        let place = stand::words(&self.place);
        message::send(&self.keeper, &FromGrantor::InForce { place }, &[])
    }

    fn watch(&mut self) -> io::Result<()> {
        self.poll.add(&self.keeper, KEEPER, Interest::Read)?;
        self.poll.add(&self.front, FRONT, Interest::Read)?;
        self.poll.add(&self.alarm, ALARM, Interest::Read)?;
        self.watch_firewall()
    }

    fn watch_firewall(&mut self) -> io::Result<()> {
        if let Some(fd) = self.duty.book.firewall.watch() {
            self.poll.add(fd, FIREWALL, Interest::Read)?;
            self.duty.watched = true;
        }
        Ok(())
    }

    fn serve(&mut self) -> io::Result<()> {
        while !self.end {
            self.tell_facts();
            self.alarm.set(self.duty.alarm())?;
            let mut front = false;
            for ready in self.poll.wait(self.patience(clock::mono()))? {
                match ready.token {
                    KEEPER => self.on_keeper()?,
                    FRONT => front = true,
                    ALARM => self.alarm.silence(),
                    FIREWALL => self.look(),
                    _ => (),
                }
            }
            // What was taken away at the end must not be put back.
            if self.end {
                break;
            }
            if self.duty.expire(clock::mono(), ahead) {
                self.tell_rules();
            }
            self.put_back(clock::mono());
            self.reconsider(clock::mono())?;
            self.look_at_trial(clock::mono())?;
            if front {
                self.on_front()?;
            }
            // After what is due and who waits: iptables' tools take their time.
            if self.duty.must_look(clock::mono()) {
                self.look();
            }
        }
        self.tell_facts();
        Ok(())
    }

    /// What was done, for the audit log.
    fn tell_facts(&mut self) {
        for fact in self.duty.book.facts.drain(..) {
            self.witness.saw(fact);
        }
        self.witness.tell(&self.keeper, |facts, lost| FromGrantor::Facts { facts, lost });
    }

    /// How long nothing is to be done.
    fn patience(&self, now: Mono) -> Option<Duration> {
        let tell = self.witness.waits().then_some(witness::AGAIN);
        let trial = self.trial.as_ref().map(|trial| trial.patience(now));
        let others = self.others_changed.then(|| self.next_reconsidering.since(now));
        [self.duty.patience(now), tell, trial, others].into_iter().flatten().min()
    }

    fn on_front(&mut self) -> io::Result<()> {
        self.push_answers()?;
        if self.crowded { Ok(()) } else { self.hear_front() }
    }

    fn hear_front(&mut self) -> io::Result<()> {
        let mut said = Vec::new();
        for _ in 0..MESSAGES {
            let length = match self.front.try_receive_bytes(&mut self.buffer)? {
                Received::Message(message) => message.length,
                Received::Nothing => break,
                // The front has ended; the keeper says what follows from that.
                Received::Ended => {
                    // It may have been taken out in an earlier round.
                    let _ = self.poll.remove(&self.front);
                    break;
                }
            };
            match self.buffer.get(..length).map(frame::read) {
                Some(Ok(these)) => said.extend(these),
                Some(Err(error)) => self.nonsense(&error.to_string()),
                None => self.nonsense("a message longer than any of ours"),
            }
        }
        if said.is_empty() {
            return Ok(());
        }
        let now = clock::now();
        let (answers, put_back) = self.duty.hear(now, said);
        self.duty.took(now.mono, clock::mono());
        self.tell_rules();
        if put_back {
            self.say_put_back(now.mono);
            self.tell_absent();
        }
        self.answer(answers)
    }

    fn nonsense(&mut self, what: &str) {
        let now = clock::mono();
        if now.since(self.last_nonsense) >= NONSENSE_EVERY {
            self.last_nonsense = now;
            tracing::warn!(what, "the front said something that is no message; nothing was done");
        }
    }

    fn answer(&mut self, answers: Vec<Said>) -> io::Result<()> {
        let mut writer = Writer::default();
        for answer in answers {
            if writer.add(&answer) {
                continue;
            }
            self.answers.push_back(writer.message().to_vec());
            writer.clear();
            if !writer.add(&answer) {
                tracing::error!("an answer does not fit into a message");
            }
        }
        if !writer.message().is_empty() {
            self.answers.push_back(writer.message().to_vec());
        }
        self.push_answers()
    }

    /// Sends what waits, as far as there is room: a front that reads nothing must not keep us from putting rules back.
    fn push_answers(&mut self) -> io::Result<()> {
        let waited = self.crowded;
        while let Some(message) = self.answers.front() {
            match self.front.try_send(message, &[]) {
                Ok(()) => drop(self.answers.pop_front()),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                // A front that has ended needs no answer.
                Err(e) if e.kind() == io::ErrorKind::BrokenPipe => self.answers.clear(),
                Err(e) => return Err(e),
            }
        }
        self.crowded = !self.answers.is_empty();
        if self.crowded != waited {
            let interest = if self.crowded { Interest::Write } else { Interest::Read };
            // A front that has ended may have been taken out.
            let _ = self.poll.change(&self.front, FRONT, interest);
        }
        Ok(())
    }

    fn on_keeper(&mut self) -> io::Result<()> {
        let came = match message::try_receive::<ToGrantor>(&self.keeper)? {
            Taken::Message(came) => came,
            Taken::Nothing => return Ok(()),
            Taken::Ended => {
                // It has said why, or was killed.
                tracing::debug!("the keeper is gone");
                self.end = true;
                return Ok(());
            }
        };
        match came.value {
            ToGrantor::Setup { .. } => Err(io::Error::other("a second setup")),
            ToGrantor::Errand => Ok(()),
            ToGrantor::Reload => self.reload(came),
            ToGrantor::End { close } => {
                // What the front said last still counts.
                self.hear_front()?;
                if close {
                    self.duty.book.close_all(clock::mono());
                }
                self.tell_rules();
                self.leave_as_fwknopd(close);
                self.end = true;
                Ok(())
            }
        }
    }

    fn reload(&mut self, mut came: Came<ToGrantor>) -> io::Result<()> {
        let GrantorBrief { snapshot, names } = came.beside()?;
        match self.try_reload(snapshot).map(|()| self.duty.book.names = names) {
            Ok(()) => self.say_in_force(),
            Err(why) => message::send(&self.keeper, &FromGrantor::Refused { why }, &[]),
        }
    }

    fn try_reload(&mut self, snapshot: GrantorSnapshot) -> Result<(), String> {
        let words = |e: io::Error| e.to_string();
        if snapshot == self.snapshot {
            return Ok(());
        }
        let place = if snapshot.wish == self.snapshot.wish {
            self.place.clone()
        } else {
            self.ground.find(&snapshot.limits, &snapshot.wish)?
        };
        let moves = std::mem::discriminant(&place) != std::mem::discriminant(&self.place)
            && (place.is_of_iptables() || self.place.is_of_iptables());
        if moves {
            return Err("the firewall back end has changed: restart the daemon to use it".to_owned());
        }
        if place.is_of_iptables() && self.errand.is_none() {
            self.errand = Some(fetch_errand(&self.keeper).map_err(words)?);
        }
        let structure = stand::structure(&snapshot.limits, &snapshot.wish, place.clone());
        let now = clock::now();
        let changed = self.duty.change_limits(now, snapshot.limits.clone(), &structure);
        self.duty.took(now.mono, clock::mono());
        changed.map_err(|e| e.to_string())?;
        self.tell_rules();
        // It was proven; what is proven is never on trial again.
        if snapshot.wish.trial.is_none() {
            self.trial = None;
        }
        self.snapshot = snapshot;
        self.duty.by_dates = place.is_of_iptables();
        self.place = place;
        self.in_the_way = None;
        self.tell_absent();
        Ok(())
    }

    /// Says of rules that came and went what fwknopd says of them.
    fn tell_rules(&mut self) {
        for note in self.duty.book.firewall.notes() {
            tracing::info!("{note}");
        }
    }

    /// FLUSH_IPT_AT_EXIT: the chains go with us, or what stands for them, and what was open was closed before. Only where
    /// no port is kept shut by us: what a configuration of ours protects stays shut when its daemon ends.
    fn leave_as_fwknopd(&mut self, close: bool) {
        let goes = match &self.place {
            Place::Fwknop(chains) => chains.flush_at_end,
            Place::Own | Place::Attach(_) => {
                close && log::words() == Words::Fwknopd && self.snapshot.wish.protected.is_empty()
            }
            Place::Iptables => false,
        };
        if goes && let Err(error) = self.duty.book.firewall.teardown() {
            tracing::warn!(%error, "what fwknopd had in the firewall was not removed");
        }
    }
}

/// Its chains here guard the way to this host only.
const NOT_SENT_ON: &str = "iptables drops the ports here, and what is sent on to a container or another host is guarded by \
    nftables only: let nftables do the dropping, or take `forward = true` out of services.toml";

/// A drop that the kernel takes back by itself hangs on an element of a set.
const NO_TRIAL: &str = "iptables drops the ports here, and it has no drops that the kernel ends by itself, so there can be \
    no trial: run `portunus init --force` without --try, and keep a second session open while the server starts";

/// Reads the clocks for [`Ahead`].
fn ahead() -> Ahead {
    let before = clock::kernel_timers();
    let now = clock::mono();
    Ahead::between(before, now, clock::kernel_timers())
}

/// Opens the journal. Of a damaged one nothing is believed: nothing is open then, and what the kernel still has goes with
/// the rules that are put in. That closes doors and keeps nobody out, so it is no reason not to start.
fn take_journal(files: [File; 2], boot: BootId, now: Mono) -> Result<(Journal, Vec<JournalRow>), StoreError> {
    let again = [files.first(), files.last()].map(|file| file.and_then(|file| file.try_clone().ok()));
    match Journal::open(files, boot, now) {
        Err(error @ StoreError::Damaged { .. }) => {
            let [Some(one), Some(two)] = again else { return Err(error) };
            tracing::warn!(
                "the journal of open grants is damaged: begun anew, so who had a grant has to knock again"
            );
            Journal::begin_anew([one, two], boot)
        }
        other => other,
    }
}

/// Asks the keeper for somebody who runs iptables' tools.
fn fetch_errand(keeper: &Channel) -> io::Result<ErrandRunner> {
    message::send(keeper, &FromGrantor::NeedErrand, &[])?;
    match message::receive::<ToGrantor>(keeper)? {
        Some(mut came) if matches!(came.value, ToGrantor::Errand) => {
            Ok(ErrandRunner::new(Channel::from_descriptor(came.descriptor()?)?))
        }
        Some(_) | None => Err(io::Error::other("the keeper gave no errand process")),
    }
}
