//! The keeper: the process that was started. It reads the configuration, opens what the parts need, starts them, and
//! ends when one of them does, so that the supervisor starts all anew. It never sees a byte of a stranger's.
//!
//! A file a stage: `start`, the loop here, what it hears (`heard`), `reload`, `end`.

mod alerts;
mod audit;
mod chains;
mod end;
mod enrol;
mod error;
mod follow;
mod gpg;
mod heard;
mod helpers;
mod logs;
mod marks;
mod metrics;
mod open;
mod part;
mod ready;
mod reload;
mod sniff;
mod start;
mod state;
mod trial;

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use portunus_config::Settings;
use portunus_model::Mono;
use portunus_sys::poll::{Interest, Poll};
use portunus_sys::signals::Signals;
use portunus_sys::users::{self, Ids, Keep};
use portunus_sys::watch::Watch;
use portunus_sys::{clock, process, syslog};

use crate::message::{About, Enrolling};
use crate::notify::Supervisor;
use crate::{Plan, log, witness};
use audit::Audit;
pub(crate) use error::EX_CONFIG;
use follow::Follower;
pub(crate) use gpg::{
    becomes as becomes_owner, owner as keyring_owner, owner_to_look as keyring_owner_to_look,
};
use helpers::Helpers;
use logs::Logs;
use marks::Marks;
use metrics::Metrics;
use open::Alone;
pub(crate) use open::STATE_LOCK;
use part::Part;
use sniff::Sniffer;
pub(crate) use sniff::check;
use trial::Trial;

/// How long a part may take for what it is asked.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long parts may take to end.
const LAST_PATIENCE: Duration = Duration::from_secs(2);
/// When a part dies those that hang on it end by themselves, and may be seen first by this much.
const FOLLOWED_WITHIN: Duration = Duration::from_millis(50);
/// The session file is written no more often; the front says it once a second.
const SESSIONS_EVERY: Duration = Duration::from_millis(500);
/// Who edits fwknop's files says -R next, as ever: so long that is waited for, so that both are one reload.
const SETTLE: Duration = Duration::from_secs(1);

/// Runs until told to end.
pub(crate) fn serve(plan: &Plan) -> ExitCode {
    log::start(plan.log, "keeper", plan.words(), false);
    log::name(plan.program);
    process::name_self(plan.program);
    let syslog = plan.fwknopd.as_ref().and_then(|fwknopd| Some((fwknopd.syslog.as_ref()?, fwknopd.shows)));
    if let Some(((identity, facility), shows)) = syslog {
        syslog::open(identity, facility);
        log::divert(move |priority, line| {
            syslog::write(priority, line);
            if shows {
                eprintln!("{line}");
            }
        });
    }
    let since = clock::now();
    let supervisor = Supervisor::find();
    let program = plan.program;
    match Keeper::start(plan, supervisor, since) {
        Ok(mut keeper) => keeper.run(),
        Err(error) => {
            for line in error.to_string().lines() {
                eprintln!("{program}: {line}");
            }
            state::hold_the_doors(plan);
            ExitCode::from(error.exit_code())
        }
    }
}

/// The keeper while it runs.
struct Keeper<'p> {
    plan: &'p Plan,
    supervisor: Supervisor,
    signals: Signals,
    watch: Option<Watch>,
    /// The files have changed, and are read again then.
    reload_at: Option<Mono>,
    /// Whom the parts run as.
    ids: Option<Ids>,
    settings: Settings,
    /// Whether the front has the store of chains.
    has_chains: bool,
    marks: Marks,
    audit: Audit,
    part_died: bool,
    metrics: Metrics,
    generation: u64,
    /// Clients that were refused since the files load no more: they are in none of them.
    let_go: std::collections::BTreeSet<portunus_model::ClientName>,
    about: About,
    front: Part,
    grantor: Part,
    errand: Option<Part>,
    helpers: Helpers,
    /// The parts' lines, where they go to the system's log.
    logs: Option<Logs>,
    sniffer: Option<Sniffer>,
    /// A capture file that grows.
    follower: Option<Follower>,
    /// Those who came with an invitation, and are not answered yet.
    come: std::collections::VecDeque<Enrolling>,
    /// The files did not load when one of them was to be a client; until then no other tries it.
    enrol_again_at: Option<Mono>,
    /// How many at the control socket wait for the next reload's end.
    asked: u32,
    /// Whether what the last rules took back may still be open in the kernel.
    unshut: bool,
    /// Whether the drops are on trial.
    trial: Trial,
    last_sessions: Mono,
    _alone: Alone,
}

/// What one wake-up asks for.
enum Next {
    Go,
    Reload,
    End(ExitCode),
}

const SIGNALS: u64 = 1;
const WATCH: u64 = 2;
const FRONT: u64 = 3;
const GRANTOR: u64 = 4;
const LOGS: u64 = 5;
const LINKS: u64 = 6;
const COMMANDS: u64 = 7;
const METRICS: u64 = 8;
const FOLLOWED: u64 = 9;
/// Messages of one part that one round takes.
const AT_ONCE: usize = 64;

impl Keeper<'_> {
    fn run(&mut self) -> ExitCode {
        let code = loop {
            if let Some(code) = self.settle_trial() {
                break code;
            }
            // One a round: each may read all files, and whoever has a code must not keep us from hearing anybody else.
            if let Some(enrolling) = self.come.pop_front() {
                self.enrol(&enrolling);
            }
            // Asked while the last one was under way: it may have read the files too early for them. The wait comes all
            // the same, or a front that asks for ever could keep us from hearing anybody else.
            let settled = self.reload_at.map(|at| at.since(clock::mono()));
            let at_once = self.asked > 0 || !self.come.is_empty();
            let patience = if at_once { Some(Duration::ZERO) } else { settled };
            let exporter = self.metrics.due().map(|due| due.since(clock::mono()));
            let alerts = self.audit.alerts.due().map(|due| due.since(clock::mono()));
            let untold = self.audit.alerts.waits().then_some(witness::AGAIN);
            let patience = [patience, exporter, alerts, untold].into_iter().flatten().min();
            match self.wait(patience) {
                Ok(Next::Go) if self.asked > 0 => self.reload(),
                Ok(Next::Go) if self.reload_at.is_some_and(|at| at <= clock::mono()) => {
                    self.say_plainly("The files have changed. Re-reading configs.");
                    self.reload();
                }
                Ok(Next::Go) => (),
                Ok(Next::Reload) => self.reload(),
                Ok(Next::End(code)) => break code,
                Err(e) => {
                    tracing::error!(error = %e, "cannot wait for anything any more");
                    break ExitCode::FAILURE;
                }
            }
        };
        self.end(code)
    }

    fn wait(&mut self, patience: Option<Duration>) -> io::Result<Next> {
        let mut poll = Poll::new()?;
        poll.add(&self.signals, SIGNALS, Interest::Read)?;
        poll.add(&self.front.channel, FRONT, Interest::Read)?;
        poll.add(&self.grantor.channel, GRANTOR, Interest::Read)?;
        if let Some(watch) = &self.watch {
            poll.add(watch, WATCH, Interest::Read)?;
        }
        if let Some(logs) = &self.logs {
            poll.add(logs, LOGS, Interest::Read)?;
        }
        if let Some(links) = self.sniffer.as_ref().and_then(Sniffer::watch) {
            poll.add(links, LINKS, Interest::Read)?;
        }
        if let Some(follower) = &self.follower {
            poll.add(follower, FOLLOWED, Interest::Read)?;
        }
        if let Some(part) = self.metrics.part() {
            poll.add(&part.channel, METRICS, Interest::Read)?;
        }
        if let Some(commands) = self.helpers.commands() {
            poll.add(&commands.channel, COMMANDS, Interest::Read)?;
        }
        let mut next = Next::Go;
        for ready in poll.wait(patience)? {
            let one = match ready.token {
                SIGNALS => self.on_signals(),
                WATCH => self.on_change(),
                FRONT => self.on_front(),
                GRANTOR => self.on_grantor(),
                LOGS => self.on_logs(),
                LINKS => self.on_links(),
                FOLLOWED => self.on_followed(),
                COMMANDS => self.on_commands(),
                METRICS => self.on_metrics(),
                _ => Next::Go,
            };
            next = match (next, one) {
                (Next::End(code), _) | (_, Next::End(code)) => Next::End(code),
                (Next::Reload, _) | (_, Next::Reload) => Next::Reload,
                (Next::Go, Next::Go) => Next::Go,
            };
        }
        if self.metrics.due().is_some_and(|due| due <= clock::mono())
            && let Err(error) = self.start_exporter()
        {
            tracing::error!(%error, "the exporter cannot be started: no metrics until the next reload");
        }
        if self.audit.alerts.due().is_some_and(|due| due <= clock::mono()) {
            let stderr = self.logs.as_ref().and_then(|logs| logs.end().ok());
            self.audit.alerts.start(self.plan, &self.settings, stderr);
        }
        self.audit.flush();
        self.audit.alerts.tell();
        Ok(next)
    }
}

/// What a part does first: it becomes its user, for good.
pub(crate) fn shed_rights(ids: Option<Ids>, keep: Keep) -> io::Result<()> {
    users::become_user(ids, keep)?;
    process::die_with_parent()?;
    process::hide_memory()
}
