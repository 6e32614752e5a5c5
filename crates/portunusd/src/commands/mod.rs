//! The commands process: runs what stanzas of fwknop's allow (ENABLE_CMD_EXEC, CMD_CYCLE_OPEN and _CLOSE), with the
//! keeper's rights. It is started only where some stanza has commands.
//!
//! The front asks it, and it believes nothing that the front says: a stanza's commands are those of its own copy of the
//! configuration, filled in with numbers and addresses. Only the text of a command message comes through the front; it
//! is run where that copy says ENABLE_CMD_EXEC for the stanza, and nowhere else.

mod argv;
mod closes;
mod running;

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use portunus_ctl::order;
use portunus_model::{CommandRule, Cycle, CycleFacts, Now, Order, Ran, Work};
use portunus_store::audit::Fact;
use portunus_sys::channel::{Channel, Received};
use portunus_sys::poll::{Alarm, Interest, Poll};
use portunus_sys::users::Ids;
use portunus_sys::{clock, process, signals};

use crate::log;
use crate::message::{self, Came, CommandsSnapshot, FromCommands, Taken, ToCommands};
use crate::witness::{self, Witness};
use crate::words::Line;
use closes::{Close, Closes, What};
use running::{BeginError, Ended, Job, Runners};

/// The file of the closing commands that are still to run, in the state folder.
const CLOSES: &str = "closes";
/// Orders that one round takes.
const AT_ONCE: usize = 64;
/// At most one line a second about a front that talks nonsense.
const NONSENSE_EVERY: Duration = Duration::from_secs(1);

const KEEPER: u64 = 1;
const FRONT: u64 = 2;
const ALARM: u64 = 3;

/// Whether something waits in the state folder that was begun before.
pub(crate) fn has_work_left(state_dir: &Path) -> bool {
    std::fs::metadata(closes_file(state_dir)).is_ok_and(|meta| meta.len() > 0)
}

fn closes_file(state_dir: &Path) -> PathBuf {
    state_dir.join(CLOSES)
}

/// Runs commands until the keeper says otherwise. No new privileges is not set here, or sudo would not work.
pub(crate) fn run(_: Option<Ids>) -> io::Result<()> {
    let keeper = Channel::inherited()?;
    signals::leave_to_keeper()?;
    process::die_with_parent()?;
    process::hide_memory()?;
    let boot = clock::boot_id().unwrap_or_default();
    let Some(mut came) = message::receive::<ToCommands>(&keeper)? else { return Ok(()) };
    let ToCommands::Setup { state_dir } = std::mem::replace(&mut came.value, ToCommands::End) else {
        return Err(io::Error::other("the keeper began with something else than the setup"));
    };
    let snapshot: CommandsSnapshot = came.beside()?;
    let front = Channel::from_descriptor(came.descriptor()?)?;
    let (closes, odd) =
        Closes::open(&closes_file(&state_dir), boot, clock::now()).map_err(io::Error::other)?;
    if odd > 0 {
        tracing::warn!(
            lines = odd,
            "the file of closing commands has lines that say nothing: were they cut off?"
        );
    }
    let mut hand = Hand {
        poll: Poll::new()?,
        alarm: Alarm::new()?,
        runners: Runners::new(snapshot.shows),
        snapshot,
        closes,
        witness: Witness::default(),
        last_nonsense: clock::mono(),
        keeper,
        front,
        end: false,
    };
    hand.serve()
}

/// What a program that runs is for.
#[derive(Debug, Clone, Copy)]
enum Purpose {
    /// A client's own command.
    Command,
    Open,
    Close,
}

impl Purpose {
    /// The word in the audit log.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Open => "open",
            Self::Close => "close",
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Errand {
    purpose: Purpose,
    stanza: u32,
    source: Option<IpAddr>,
}

struct Hand {
    keeper: Channel,
    front: Channel,
    poll: Poll,
    alarm: Alarm,
    snapshot: CommandsSnapshot,
    runners: Runners<Errand>,
    closes: Closes,
    witness: Witness<Fact>,
    last_nonsense: portunus_model::Mono,
    end: bool,
}

impl Hand {
    fn serve(&mut self) -> io::Result<()> {
        self.poll.add(&self.keeper, KEEPER, Interest::Read)?;
        self.poll.add(&self.front, FRONT, Interest::Read)?;
        self.poll.add(&self.alarm, ALARM, Interest::Read)?;
        while !self.end {
            self.run_what_is_due(clock::now());
            let due = [self.runners.deadline(), self.next_close()].into_iter().flatten().min();
            self.alarm.set(due)?;
            self.tell_facts();
            log::flush();
            let patience = self.witness.waits().then_some(witness::AGAIN);
            for ready in self.poll.wait(patience)? {
                match ready.token {
                    KEEPER => self.on_keeper()?,
                    FRONT => self.on_front()?,
                    ALARM => self.alarm.silence(),
                    token => self.on_end(token),
                }
            }
            self.runners.kill_overdue(clock::mono());
        }
        self.tell_facts();
        log::flush();
        Ok(())
    }

    /// What was run, for the audit log.
    fn tell_facts(&mut self) {
        self.witness.tell(&self.keeper, |facts, lost| FromCommands { facts, lost });
    }

    /// A close that is due while too many run waits for one of them to end.
    fn next_close(&self) -> Option<portunus_model::Mono> {
        self.closes.deadline().filter(|_| self.runners.has_room())
    }

    fn on_keeper(&mut self) -> io::Result<()> {
        match message::try_receive::<ToCommands>(&self.keeper)? {
            Taken::Message(mut came) => match &came.value {
                ToCommands::Setup { .. } => Err(io::Error::other("a second setup")),
                ToCommands::Reload => self.on_rules(&mut came),
                ToCommands::End => {
                    self.end = true;
                    Ok(())
                }
            },
            Taken::Nothing => Ok(()),
            Taken::Ended => {
                self.end = true;
                Ok(())
            }
        }
    }

    fn on_rules(&mut self, came: &mut Came<ToCommands>) -> io::Result<()> {
        self.snapshot = came.beside()?;
        Ok(())
    }

    fn on_front(&mut self) -> io::Result<()> {
        let mut buffer = [0; order::LONGEST];
        for _ in 0..AT_ONCE {
            let length = match self.front.try_receive_bytes(&mut buffer)? {
                Received::Message(message) => message.length,
                Received::Nothing => break,
                // The keeper says what follows from that; what is begun goes on, and so does the file.
                Received::Ended => {
                    let _ = self.poll.remove(&self.front);
                    break;
                }
            };
            match buffer.get(..length).map(order::read) {
                Some(Ok((ticket, order))) => {
                    let ran = self.take(clock::now(), &order);
                    // A front that reads no answers has its own clock for that.
                    let _ = self.front.try_send(&order::write_answer(ticket, ran), &[]);
                }
                Some(Err(error)) => self.nonsense(&error.to_string()),
                None => self.nonsense("a message longer than any of ours"),
            }
        }
        Ok(())
    }

    fn nonsense(&mut self, what: &str) {
        let now = clock::mono();
        if now.since(self.last_nonsense) >= NONSENSE_EVERY {
            self.last_nonsense = now;
            tracing::warn!(what, "the front said something that is no order; nothing was done");
        }
    }

    fn take(&mut self, now: Now, order: &Order) -> Ran {
        let known = |one: &&message::StanzaCommands| one.number == order.stanza && one.client == order.client;
        let Some(stanza) = self.snapshot.stanzas.iter().find(known) else {
            tracing::warn!(stanza = order.stanza, "the front asks for a stanza that has no commands");
            return Ran::Refused;
        };
        if !self.runners.has_room() {
            tracing::warn!(stanza = order.stanza, "too many commands run at once: this one is not begun");
            return Ran::Busy;
        }
        match (&order.work, &stanza.command, &stanza.cycle) {
            (Work::Command(text), Some(rule), _) => {
                let (text, rule) = (text.clone(), rule.clone());
                self.command(now, order, &text, &rule)
            }
            (Work::Cycle(facts), _, Some(cycle)) => {
                let cycle = cycle.clone();
                self.cycle(now, order, facts, &cycle)
            }
            (Work::Command(_), None, _) | (Work::Cycle(_), _, None) => {
                tracing::warn!(
                    stanza = order.stanza,
                    "the front asks for a command that the stanza does not allow"
                );
                Ran::Refused
            }
        }
    }

    fn command(&mut self, now: Now, order: &Order, text: &str, rule: &CommandRule) -> Ran {
        let (stanza, source) = (order.stanza, Some(order.source));
        Line::CommandMessage { stanza, source, text }.say();
        let errand = Errand { purpose: Purpose::Command, stanza, source };
        match Job::of_client(text, rule) {
            Ok(job) => {
                let (command, user) = (job.shown(), rule.user.as_deref());
                Line::RunningCommand { stanza, source, command: &command, user }.say();
                self.note_begin(&errand, text, rule.user.clone());
                self.begin(now, &job, errand)
            }
            Err(error) => self.not_begun(&errand, &error),
        }
    }

    /// First it is on the disk that there is something to close, then it is opened.
    fn cycle(&mut self, now: Now, order: &Order, facts: &CycleFacts, cycle: &Cycle) -> Ran {
        let (stanza, source) = (order.stanza, Some(facts.source));
        let errand = |purpose| Errand { purpose, stanza, source };
        let open = argv::substitute(&cycle.open, facts);
        let close = cycle.close.as_ref().map(|text| argv::substitute(text, facts));
        let job = match (Job::ours(&open), close.as_deref().map(Job::ours).transpose()) {
            (Ok(job), Ok(_)) => job,
            (Err(error), _) => return self.not_begun(&errand(Purpose::Open), &error),
            (_, Err(error)) => return self.not_begun(&errand(Purpose::Close), &error),
        };
        let mut written = None;
        if let Some(text) = close {
            if !self.closes.has_room() {
                tracing::warn!(stanza, "too many closing commands wait: nothing is begun");
                return Ran::Busy;
            }
            let what = What {
                client: order.client.as_str().to_owned(),
                stanza,
                source: facts.source,
                text: text.clone(),
            };
            match self.closes.add(now, facts.lasting, what) {
                Ok(id) => written = Some((id, text)),
                Err(error) => {
                    tracing::error!(%error, "the closing command cannot be written down, so nothing is opened");
                    return Ran::Failed;
                }
            }
        }
        Line::CycleOpen { stanza, source: facts.source, command: &open }.say();
        self.note_begin(&errand(Purpose::Open), &open, None);
        let ran = self.begin(now, &job, errand(Purpose::Open));
        if let Some((id, text)) = written {
            if matches!(ran, Ran::Begun) {
                let seconds = facts.lasting.as_secs();
                Line::CycleClose { stanza, source: facts.source, command: &text, seconds }.say();
            } else {
                // What was not opened needs no close.
                self.struck_off(id);
            }
        }
        ran
    }

    fn begin(&mut self, now: Now, job: &Job, errand: Errand) -> Ran {
        let deadline = now.mono.after(self.snapshot.longest.unwrap_or(running::LONGEST));
        match self.runners.begin(&self.poll, job, deadline, errand) {
            Ok(()) => Ran::Begun,
            Err(error) => self.not_begun(&errand, &error),
        }
    }

    fn run_what_is_due(&mut self, now: Now) {
        while self.runners.has_room()
            && let Some((id, close)) = self.closes.take_due(now.mono)
        {
            let Close { stanza, source, text, .. } = close;
            Line::TimerExpired { stanza, source, command: &text }.say();
            let errand = Errand { purpose: Purpose::Close, stanza, source: Some(source) };
            let _ = match Job::ours(&text) {
                Ok(job) => {
                    self.note_begin(&errand, &text, None);
                    self.begin(now, &job, errand)
                }
                Err(error) => self.not_begun(&errand, &error),
            };
            self.struck_off(id);
        }
    }

    fn struck_off(&mut self, id: u64) {
        if let Err(error) = self.closes.done(id) {
            tracing::error!(%error, "it could not be written down that a closing command was begun: a restart runs it again");
        }
    }

    fn on_end(&mut self, token: u64) {
        let Some(ended) = self.runners.ended(&self.poll, token) else { return };
        let (code, overdue) = (ended.code(), ended.overdue);
        let Ended { what: Errand { purpose, stanza, source }, .. } = ended;
        if overdue {
            let after = self.snapshot.longest.unwrap_or(running::LONGEST).as_secs();
            Line::Killed { stanza, source, seconds: after }.say();
        }
        let which = purpose.as_str().to_owned();
        self.witness.saw(Fact::CommandEnded { stanza, which, code: Some(code), killed: overdue });
        match purpose {
            Purpose::Command => Line::CommandReturned { stanza, source, code }.say(),
            Purpose::Open | Purpose::Close if code != 0 => {
                let which =
                    if matches!(purpose, Purpose::Open) { "CMD_CYCLE_OPEN" } else { "CMD_CYCLE_CLOSE" };
                Line::CycleReturned { stanza, source, which, code }.say();
            }
            Purpose::Open | Purpose::Close => (),
        }
    }

    fn note_begin(&mut self, errand: &Errand, command: &str, user: Option<String>) {
        let (stanza, which) = (errand.stanza, errand.purpose.as_str().to_owned());
        let command = command.to_owned();
        self.witness.saw(Fact::CommandBegun { stanza, which, command, user });
    }

    fn not_begun(&mut self, errand: &Errand, error: &BeginError) -> Ran {
        let Errand { purpose, stanza, source } = *errand;
        Line::NotBegun { stanza, source, why: &error.to_string() }.say();
        let which = purpose.as_str().to_owned();
        self.witness.saw(Fact::CommandEnded { stanza, which, code: None, killed: false });
        Ran::Failed
    }
}

#[cfg(test)]
mod tests {
    use portunus_model::{ClientName, Unix};

    use super::*;
    use crate::message::StanzaCommands;

    fn name(stanza: u32) -> ClientName {
        ClientName::new(&format!("stanza-{stanza}")).unwrap()
    }

    /// Stanza 1 takes commands, stanza 2 has a cycle.
    fn hand(dir: &Path) -> Hand {
        let cycle = Cycle {
            open: format!("touch {}/open-$IP-$PORT", dir.display()),
            close: Some(format!("touch {}/close-$IP-$PORT", dir.display())),
            timer: Duration::from_secs(2),
        };
        let stanzas = vec![
            StanzaCommands { client: name(1), number: 1, command: Some(CommandRule::default()), cycle: None },
            StanzaCommands { client: name(2), number: 2, command: None, cycle: Some(cycle) },
        ];
        let (keeper, _) = Channel::pair().unwrap();
        let (front, _) = Channel::pair().unwrap();
        Hand {
            keeper,
            front,
            poll: Poll::new().unwrap(),
            alarm: Alarm::new().unwrap(),
            snapshot: CommandsSnapshot { stanzas, longest: None, shows: false },
            runners: Runners::new(false),
            closes: Closes::open(&closes_file(dir), [1; 16], clock::now()).unwrap().0,
            witness: Witness::default(),
            last_nonsense: clock::mono(),
            end: false,
        }
    }

    fn order(stanza: u32, client: u32, work: Work) -> Order {
        Order { client: name(client), stanza, source: "192.0.2.8".parse().unwrap(), work }
    }

    fn facts() -> CycleFacts {
        CycleFacts {
            address: "192.0.2.7".parse().unwrap(),
            source: "192.0.2.8".parse().unwrap(),
            destination: None,
            proto: 6,
            port: 22,
            ends: Unix::from_secs(9),
            client_timeout: 0,
            lasting: Duration::from_secs(2),
        }
    }

    fn comes(file: &Path) -> bool {
        let until = std::time::Instant::now() + Duration::from_secs(10);
        while !file.exists() && std::time::Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        file.exists()
    }

    #[test]
    fn a_hostile_front_runs_only_what_a_stanza_allows() {
        let dir = tempfile::tempdir().unwrap();
        let mut hand = hand(dir.path());
        let command = || Work::Command(format!("touch {}/made", dir.path().display()));
        let now = clock::now();
        for (stanza, client, work) in [
            (2, 2, command()),
            (3, 3, command()),
            (1, 2, command()),
            (1, 1, Work::Cycle(facts())),
            (2, 1, Work::Cycle(facts())),
        ] {
            assert_eq!(hand.take(now, &order(stanza, client, work)), Ran::Refused);
        }
        assert_eq!(hand.take(now, &order(1, 1, Work::Command("echo 'a".into()))), Ran::Failed);
        assert_eq!(hand.closes.deadline(), None);
        assert_eq!(hand.take(now, &order(1, 1, command())), Ran::Begun);
        assert!(comes(&dir.path().join("made")));
    }

    #[test]
    fn a_cycle_is_closed_at_its_time_also_by_the_next_daemon() {
        let dir = tempfile::tempdir().unwrap();
        let mut hand = hand(dir.path());
        let now = clock::now();
        assert_eq!(hand.take(now, &order(2, 2, Work::Cycle(facts()))), Ran::Begun);
        assert!(comes(&dir.path().join("open-192.0.2.7-22")));
        assert_eq!(hand.next_close(), Some(now.mono.after(Duration::from_secs(2))));
        hand.run_what_is_due(now);
        assert!(!dir.path().join("close-192.0.2.7-22").exists(), "its time has not come");
        drop(hand);
        assert!(has_work_left(dir.path()));
        let mut next = self::hand(dir.path());
        let later = Now { mono: now.mono.after(Duration::from_secs(2)), ..now };
        next.run_what_is_due(later);
        assert!(comes(&dir.path().join("close-192.0.2.7-22")));
        assert_eq!(next.next_close(), None);
    }
}
