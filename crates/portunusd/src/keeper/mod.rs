//! The keeper: the process that was started. It reads the configuration, opens what the parts need, starts them, and
//! ends when one of them does, so that the supervisor starts all anew. It never sees a byte of a stranger's.
//!
//! Long because the order of a start is one story, and the loop after it shares every field; the stages that stand by
//! themselves are the modules below.

mod alerts;
mod audit;
mod error;
mod follow;
mod gpg;
mod helpers;
mod logs;
mod marks;
mod metrics;
mod open;
mod part;
mod reload;
mod sniff;
mod state;
mod trial;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use portunus_config::{OnExit, Settings};
use portunus_model::{Mono, Now};
use portunus_sys::channel::Channel;
use portunus_sys::poll::{Interest, Poll};
use portunus_sys::signals::{Signal, Signals};
use portunus_sys::users::{self, Ids, Keep};
use portunus_sys::watch::Watch;
use portunus_sys::{clock, files, process, syslog};

use crate::message::{self, About, Brought, FromCommands, FromFront, FromGrantor, Taken, ToFront, ToGrantor};
use crate::notify::Supervisor;
use crate::words::Words;
use crate::{Plan, log, witness};
use alerts::Alerts;
use audit::Audit;
pub(crate) use error::EX_CONFIG;
use error::StartError;
use follow::{Follower, Leader};
use helpers::Helpers;
use logs::Logs;
use marks::Marks;
use metrics::Metrics;
pub(crate) use open::STATE_LOCK;
use open::{Alone, Ears};
use part::{Part, how_it_ended};
use portunus_config::fwknop::Receive;
use portunus_store::audit::{By, Fact};
pub(crate) use sniff::check;
use sniff::{Gone, Sniffer, Sockets};
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

/// Whether that lasts is known when it has ended.
fn part(name: &'static str) -> StartError {
    StartError::Part { name, lasting: false }
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

impl<'p> Keeper<'p> {
    /// Everything that can fail because of what somebody configured is tried before the ruleset is touched; the health
    /// port listens after the drops are in; knocks are served last.
    fn start(plan: &'p Plan, supervisor: Supervisor, since: Now) -> Result<Self, StartError> {
        let system = |what| move |e: io::Error| StartError::System(what, e.to_string());
        let signals = Signals::open().map_err(system("signals"))?;
        process::raise_descriptors(1024);
        files::make_folder(&plan.state_dir, 0o700)?;
        files::make_folder(&plan.run_dir, 0o755)?;
        let mut settings = (plan.load)().map_err(StartError::Config)?;
        if !users::have_net_admin() {
            return Err(StartError::MissingCapability);
        }
        let alone = trial::alone(plan)?;
        let marks = Marks::open(&plan.state_dir)?;
        marks.give(&mut settings);
        let ids = parts_user(plan)?;
        gpg::owner(&settings)?;
        let mut audit = Audit::open(&plan.state_dir, audit::bounds(&settings), plan.dry(), Alerts::new(ids))
            .map_err(|e| {
                StartError::System("the audit log", format!("{}: {}", plan.state_dir.display(), e.kind()))
            })?;
        let trial = Trial::of(plan, &mut audit)?;
        let ears = Ears::open(&settings)?;
        let mut metrics = Metrics::new(plan, ids, since);
        metrics.open(settings.metrics.as_ref())?;
        let sniffed = Sniffer::open(&settings, open::lengths(&settings))?;
        let (sniffer, sockets) = sniffed.map_or((None, Vec::new()), |(one, sockets)| (Some(one), sockets));
        let (follower, leader) =
            Follower::of(&settings)?.map_or((None, None), |(one, file)| (Some(one), file));
        let logs = plan.fwknopd.as_ref().is_some_and(|fwknopd| fwknopd.syslog.is_some());
        let logs = logs.then(Logs::new).transpose().map_err(system("a pipe"))?;
        let stderr = || logs.as_ref().and_then(|logs| logs.end().ok());
        if settings.fwknop.is_some() {
            tracing::info!("Starting fwknopd");
        }
        let about = About {
            version: plan.version.to_owned(),
            pid: std::process::id(),
            since: clock::rfc3339(since.wall),
            listen: ears.addresses.iter().map(ToString::to_string).collect(),
            place: String::new(),
            admins: settings.admins.clone(),
            generation: 0,
            clients: 0,
            tell_sessions: plan.session_file.is_some(),
        };

        let (front_end, grantor_end) = Channel::pair().map_err(system("a channel"))?;
        let grantor = Part::start(plan, "grantor", (ids, Some(Keep::NetAdmin)), stderr())
            .map_err(system("starting the grantor"))?;
        let front = Part::start(plan, "front", (ids, Some(Keep::Nothing)), stderr())
            .map_err(system("starting the front"))?;
        let mut keeper = Self {
            watch: None,
            reload_at: None,
            ids,
            generation: 1,
            let_go: std::collections::BTreeSet::new(),
            errand: None,
            helpers: Helpers::new(ids),
            logs,
            sniffer,
            follower,
            asked: 0,
            unshut: false,
            trial,
            last_sessions: Mono::default(),
            plan,
            supervisor,
            signals,
            settings,
            marks,
            audit,
            part_died: false,
            metrics,
            about,
            front,
            grantor,
            _alone: alone,
        };
        if let Err(mut error) = keeper.bring_up((front_end, grantor_end), &ears, &sockets, leader) {
            // They have their own words to say, and nothing of theirs may go on beside whoever comes next.
            let ended = [&mut keeper.front, &mut keeper.grantor].map(Part::end_now);
            if let StartError::Part { lasting, .. } = &mut error {
                *lasting = ended.contains(&true);
            }
            keeper.audit.add(By::Keeper, Fact::StartFailed { why: error.to_string() });
            keeper.audit.flush();
            return Err(error);
        }
        keeper.watch_sources();
        ears.early.iter().for_each(|address| {
            tracing::warn!(%address, "no interface has this address yet: it is listened on once one has");
        });
        keeper.say_warnings();
        keeper.note_start();
        keeper.say_ready(since);
        process::trim_memory();
        Ok(keeper)
    }

    fn bring_up(
        &mut self,
        ends: (Channel, Channel),
        ears: &Ears,
        sniffed: &Sockets,
        leader: Option<Leader>,
    ) -> Result<(), StartError> {
        self.set_up_grantor(ends.1)?;
        self.set_up_front(ends.0, ears, sniffed)?;
        if let Some(leader) = leader {
            self.hand_on_file(&leader).map_err(|_| part("front"))?;
        }
        self.about.place = self.wait_for_grantor()?;
        // What it did comes before what is listened on.
        self.on_logs();
        say_sources(&self.settings, self.sniffer.as_ref());
        if self.trial.until.is_none() {
            state::remember(self.plan, &self.settings);
        }
        ears.open_health()?;
        ears.open_tcp()?;
        self.wait_for_front_ready()?;
        let serve = ToFront::Serve { place: self.about.place.clone() };
        let said = self.front.say(&serve, &message::borrowed(&ears.health));
        said.map_err(|_| part("front"))?;
        self.open_alerts();
        self.start_exporter().map_err(|e| StartError::System("starting the exporter", e.to_string()))
    }

    /// Who tells people: nothing else waits for it, and its trouble is no reason to shut a door.
    fn open_alerts(&mut self) {
        let stderr = self.logs.as_ref().and_then(|logs| logs.end().ok());
        self.audit.alerts.open(self.plan, &self.settings, stderr);
    }

    fn set_up_grantor(&mut self, front_end: Channel) -> Result<(), StartError> {
        let brief = message::beside(&reload::grantor_brief(self.plan, &self.settings, self.trial.until))
            .map_err(|e| StartError::System("the grantor's limits", e.to_string()))?;
        let [a, b] = open::pair(&self.plan.state_dir, "grants")?;
        let descriptors = [brief.as_fd(), front_end.as_fd(), a.as_fd(), b.as_fd()];
        let journal = open::pair_words(&self.plan.state_dir, "grants");
        let said = self.grantor.say(&ToGrantor::Setup { journal, holding: false }, &descriptors);
        // Only the parts hold the ends from now on, so that each sees when the other is gone.
        drop(front_end);
        said.map_err(|_| part("grantor"))
    }

    fn set_up_front(
        &mut self,
        grantor_end: Channel,
        ears: &Ears,
        sniffed: &[Option<OwnedFd>],
    ) -> Result<(), StartError> {
        let system = |what| move |e: io::Error| StartError::System(what, e.to_string());
        let snapshot = message::beside(&self.front_snapshot())
            .map_err(|e| StartError::System("the front's rules", e.to_string()))?;
        let [a, b] = open::pair(&self.plan.state_dir, "replay")?;
        let control = open::control(&self.plan.run_dir, self.ids)?;
        let mut descriptors =
            vec![snapshot.as_fd(), grantor_end.as_fd(), a.as_fd(), b.as_fd(), control.as_fd()];
        let helpers = self.start_helpers().map_err(system("starting a helper"))?;
        let daemon = self.settings.fwknop.as_deref();
        let digests = daemon.filter(|daemon| daemon.keeps_digests).map(open::digests).transpose()?;
        let capture = sniff::capture(&self.settings)?;
        let nflog = sniff::nflog(&self.settings)?;
        let [commands, resolver, oracle] = &helpers;
        let count = |sockets: &[OwnedFd]| u16::try_from(sockets.len()).unwrap_or(u16::MAX);
        let brought = Brought {
            commands: commands.is_some(),
            resolver: resolver.is_some(),
            oracle: oracle.is_some(),
            digests: digests.is_some(),
            capture: capture.is_some(),
            udp: count(&ears.sockets),
            ears: sniffed.iter().map(Option::is_some).collect(),
            tcp: count(&ears.tcp),
            nflog: nflog.is_some(),
            followed: self.follower.is_some(),
        };
        descriptors.extend(helpers.iter().flatten().map(AsFd::as_fd));
        descriptors.extend(digests.iter().chain(&capture).map(AsFd::as_fd));
        descriptors.extend(message::borrowed(&ears.sockets));
        descriptors.extend(sniffed.iter().flatten().map(AsFd::as_fd));
        descriptors.extend(message::borrowed(&ears.tcp));
        descriptors.extend(nflog.iter().map(AsFd::as_fd));
        let store = open::pair_words(&self.plan.state_dir, "replay");
        let said = self.front.say(&ToFront::Setup { store, brought }, &descriptors);
        drop(grantor_end);
        said.map_err(|_| part("front"))
    }

    fn start_helpers(&mut self) -> io::Result<[Option<Channel>; 3]> {
        let logs = self.logs.as_ref();
        let stderr = || logs.and_then(|logs| logs.end().ok());
        self.helpers.start(self.plan, &self.settings, stderr)
    }

    /// Waits until the kernel has the rules; runs the errand process if the grantor needs it for that.
    fn wait_for_grantor(&mut self) -> Result<String, StartError> {
        loop {
            let heard = self.grantor.hear::<FromGrantor>(PATIENCE);
            let Ok(Taken::Message(came)) = heard else { return Err(part("grantor")) };
            match came.value {
                FromGrantor::InForce { place } => return Ok(place),
                FromGrantor::Refused { why } => {
                    return Err(StartError::Firewall(in_its_place(&self.settings, &why)));
                }
                FromGrantor::NeedErrand => self.start_errand()?,
                FromGrantor::Facts { facts, lost } => self.audit.add_all(By::Grantor, facts, lost),
                FromGrantor::Came { address, port } => self.trial.came(address, port),
                FromGrantor::TrialOver => self.trial.end(),
            }
        }
    }

    /// The process that runs iptables' tools, with our rights. Only the grantor can ask it anything.
    fn start_errand(&mut self) -> Result<(), StartError> {
        let system = |what| move |e: io::Error| StartError::System(what, e.to_string());
        let (errand, grantor_end) =
            part::start_errand(self.plan, self.logs.as_ref().and_then(|logs| logs.end().ok()))
                .map_err(system("starting the errand process"))?;
        self.errand = Some(errand);
        self.grantor.say(&ToGrantor::Errand, &[grantor_end.as_fd()]).map_err(|_| part("grantor"))
    }

    fn wait_for_front_ready(&mut self) -> Result<(), StartError> {
        match self.front.hear::<FromFront>(PATIENCE) {
            Ok(Taken::Message(came)) if matches!(came.value, FromFront::Ready) => Ok(()),
            Ok(Taken::Message(_) | Taken::Nothing | Taken::Ended) | Err(_) => Err(part("front")),
        }
    }

    fn start_exporter(&mut self) -> io::Result<()> {
        let stderr = self.logs.as_ref().and_then(|logs| logs.end().ok());
        self.metrics.start(self.plan, &self.front, stderr)
    }

    fn watch_sources(&mut self) {
        match Watch::over(&self.settings.sources) {
            Ok(watch) => self.watch = Some(watch),
            Err(e) => tracing::warn!(error = %e, "changed files are not seen: reload by SIGHUP"),
        }
    }

    fn note_start(&mut self) {
        let clients = self.settings.rules.clients.len() as u64;
        let fact = Fact::Started {
            version: self.plan.version.to_owned(),
            pid: std::process::id(),
            place: self.about.place.clone(),
            listen: self.about.listen.join(","),
            clients,
            after_clean_end: self.audit.after_clean_end(),
        };
        self.audit.add(By::Keeper, fact);
        self.note_trial();
        self.audit.flush();
    }

    fn say_warnings(&self) {
        for warning in &self.settings.warnings {
            match self.plan.words() {
                Words::Ours => tracing::warn!(at = %warning, "configuration"),
                Words::Fwknopd => tracing::warn!("{warning}"),
            }
        }
    }

    fn say_ready(&self, since: Now) {
        if let Some(home) = gpg::roots(&self.settings) {
            tracing::info!(
                keyring = %home.display(),
                "less confined: gpg runs as root, for the keyring is root's; it has no capability and no network"
            );
        }
        if let Some(fwknopd) = &self.plan.fwknopd {
            tracing::info!("{}", self.loop_words());
            self.supervisor.ready("serving");
            (fwknopd.ready)();
            return;
        }
        let clients = self.settings.rules.clients.len();
        let place = self.about.place.as_str();
        let took = clock::mono().since(since.mono);
        tracing::info!(
            clients,
            place,
            listen = self.about.listen.join(","),
            took_ms = took.as_millis(),
            "serving"
        );
        let more = self.settings.runs_with_our_rights(self.errand.is_some());
        if !more.is_empty() {
            let what = more.join(" and ");
            tracing::info!(what, "less confined: this process keeps its rights, for they run with them");
        }
        self.supervisor.ready(&format!("serving {clients} clients, {place}"));
    }

    /// What the original says when it begins to wait for packets.
    fn loop_words(&self) -> String {
        let daemon = self.settings.fwknop.as_deref();
        match daemon.map(|daemon| (&daemon.receive, daemon.tcp)) {
            Some((Receive::Udp(port), _)) => format!("Kicking off UDP server to listen on port {port}."),
            Some((Receive::Sniffed | Receive::File(_) | Receive::Followed(_) | Receive::Nflog(_), _))
            | None => "Starting fwknopd main event loop.".to_owned(),
        }
    }

    fn run(&mut self) -> ExitCode {
        let code = loop {
            if let Some(code) = self.settle_trial() {
                break code;
            }
            // Asked while the last one was under way: it may have read the files too early for them. The wait comes all
            // the same, or a front that asks for ever could keep us from hearing anybody else.
            let settled = self.reload_at.map(|at| at.since(clock::mono()));
            let patience = if self.asked > 0 { Some(Duration::ZERO) } else { settled };
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

    fn on_signals(&mut self) -> Next {
        let mut next = Next::Go;
        while let Some(signal) = self.signals.read() {
            match signal {
                Signal::End => {
                    self.say_plainly("Got SIGTERM. Exiting...");
                    return Next::End(ExitCode::SUCCESS);
                }
                Signal::Reload => {
                    self.say_plainly("Got SIGHUP. Re-reading configs.");
                    next = Next::Reload;
                }
                Signal::Child => {
                    self.metrics.look_after();
                    if let Some(part) = self.audit.alerts.look_after() {
                        self.metrics.count_death(part);
                    }
                    if let Some(dead) = self.who_died() {
                        return self.a_part_died(dead);
                    }
                }
            }
        }
        next
    }

    /// The part that has ended; of several the one that was killed, since the others only follow it.
    fn who_died(&mut self) -> Option<Dead> {
        let parts = [Some(&mut self.front), Some(&mut self.grantor), self.errand.as_mut()];
        parts
            .into_iter()
            .flatten()
            .chain(self.helpers.parts())
            .filter_map(|part| part.ended().map(|status| (part.name, status)))
            .max_by_key(|(_, status)| status.signal().is_some())
    }

    fn on_change(&mut self) -> Next {
        let changed = self.watch.as_mut().is_some_and(Watch::changed);
        if !changed {
            return Next::Go;
        }
        if self.plan.fwknopd.is_some() {
            self.reload_at = Some(clock::mono().after(SETTLE));
            return Next::Go;
        }
        // Eight `add`s at once, or an editor that writes two files, are one reload; nobody waits longer than this.
        std::thread::sleep(Duration::from_millis(20));
        if let Some(watch) = &mut self.watch {
            watch.changed();
        }
        // Who has asked by now has written before that, and is answered by the same reload.
        for _ in 0..AT_ONCE {
            if !portunus_sys::poll::readable(&self.front.channel, Duration::ZERO).unwrap_or(false) {
                break;
            }
            if let end @ Next::End(_) = self.on_front() {
                return end;
            }
        }
        Next::Reload
    }

    fn on_front(&mut self) -> Next {
        match message::try_receive::<FromFront>(&self.front.channel) {
            Ok(Taken::Message(mut came)) => match came.value {
                FromFront::PleaseReload => {
                    self.asked += 1;
                    Next::Reload
                }
                FromFront::Sessions => {
                    // A front that says it more often than it should costs us no disk.
                    let now = clock::mono();
                    if now.since(self.last_sessions) >= SESSIONS_EVERY {
                        self.last_sessions = now;
                        state::write_sessions(self.plan, &mut came);
                    }
                    Next::Go
                }
                FromFront::EarGone(ear) => self.on_ear_gone(ear),
                FromFront::Finished => self.on_finished(),
                FromFront::Notes { notes, lost } => {
                    self.audit.add_notes(notes, lost);
                    Next::Go
                }
                FromFront::Ready | FromFront::InForce { .. } => Next::Go,
            },
            Ok(Taken::Nothing) => Next::Go,
            Ok(Taken::Ended) | Err(_) => self.part_gone("front"),
        }
    }

    /// A line of the original's, where we stand in for it.
    fn say_plainly(&self, line: &str) {
        if self.plan.fwknopd.is_some() {
            tracing::info!("{line}");
        }
    }

    fn on_logs(&mut self) -> Next {
        if let Some(logs) = &mut self.logs {
            logs.pass_on();
        }
        Next::Go
    }

    fn on_ear_gone(&mut self, ear: u16) -> Next {
        let Some(sniffer) = &mut self.sniffer else { return Next::Go };
        match sniffer.gone(ear) {
            Gone::End => Next::End(ExitCode::FAILURE),
            Gone::Back(socket) => self.hand_on_ears(vec![(ear, socket)]),
            Gone::Wait => Next::Go,
        }
    }

    fn on_links(&mut self) -> Next {
        let back = self.sniffer.as_mut().map(Sniffer::changed).unwrap_or_default();
        self.hand_on_ears(back)
    }

    fn on_followed(&mut self) -> Next {
        let leader = self.follower.as_mut().and_then(Follower::changed);
        match leader.map(|leader| self.hand_on_file(&leader)) {
            Some(Err(_)) => self.part_gone("front"),
            Some(Ok(())) | None => Next::Go,
        }
    }

    fn hand_on_file(&self, leader: &Leader) -> io::Result<()> {
        let said = ToFront::Followed { from_end: leader.from_end };
        self.front.say(&said, &[leader.file.as_fd(), leader.growth.as_fd()])
    }

    fn hand_on_ears(&mut self, back: Vec<(u16, OwnedFd)>) -> Next {
        for (ear, socket) in back {
            if self.front.say(&ToFront::Ear(ear), &[socket.as_fd()]).is_err() {
                return self.part_gone("front");
            }
        }
        Next::Go
    }

    /// All that was to be received is.
    fn on_finished(&self) -> Next {
        let limit = self.plan.fwknopd.as_ref().and_then(|fwknopd| fwknopd.packet_limit);
        if let Some(limit) = limit {
            self.say_plainly(&format!("* Incoming packet count limit of {limit} reached"));
            self.say_plainly(&format!("Packet count limit ({limit}) reached. Exiting..."));
        }
        Next::End(ExitCode::SUCCESS)
    }

    fn on_grantor(&mut self) -> Next {
        for _ in 0..AT_ONCE {
            match message::try_receive::<FromGrantor>(&self.grantor.channel) {
                Ok(Taken::Message(came)) => match came.value {
                    FromGrantor::InForce { place } => self.about.place = place,
                    FromGrantor::Refused { why } => tracing::error!(why, "the firewall"),
                    FromGrantor::NeedErrand => (),
                    FromGrantor::Came { address, port } => self.trial.came(address, port),
                    FromGrantor::TrialOver => self.trial.end(),
                    FromGrantor::Facts { facts, lost } => self.audit.add_all(By::Grantor, facts, lost),
                },
                Ok(Taken::Nothing) => break,
                Ok(Taken::Ended) | Err(_) => return self.part_gone("grantor"),
            }
        }
        Next::Go
    }

    fn on_metrics(&mut self) -> Next {
        self.metrics.answer(self.generation, self.audit.tally());
        self.metrics.look_after();
        Next::Go
    }

    /// Its end is seen by its process.
    fn on_commands(&mut self) -> Next {
        let Some(commands) = self.helpers.commands() else { return Next::Go };
        match message::try_receive::<FromCommands>(&commands.channel) {
            Ok(Taken::Message(came)) => {
                let FromCommands { facts, lost } = came.value;
                self.audit.add_all(By::Commands, facts, lost);
                Next::Go
            }
            Ok(Taken::Nothing) => Next::Go,
            Ok(Taken::Ended) | Err(_) => self.part_gone("commands"),
        }
    }

    /// A channel has ended: somebody died, who is a child for us to collect in a moment.
    fn part_gone(&mut self, part: &'static str) -> Next {
        let deadline = clock::mono().after(LAST_PATIENCE);
        while clock::mono() < deadline {
            if let Some(dead) = self.who_died() {
                return self.a_part_died(dead);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        tracing::error!(part, "a part is gone, so all end");
        self.note_death(part, "its channel ended".to_owned());
        Next::End(ExitCode::FAILURE)
    }

    /// Whoever only follows another is sometimes seen first: the one that was killed is waited for, a moment.
    fn a_part_died(&mut self, mut dead: Dead) -> Next {
        let deadline = clock::mono().after(FOLLOWED_WITHIN);
        while dead.1.signal().is_none() && clock::mono() < deadline {
            std::thread::sleep(Duration::from_millis(2));
            dead = self.who_died().unwrap_or(dead);
        }
        let (part, status) = dead;
        let how = how_it_ended(status);
        tracing::error!(part, how, "a part ended by itself, so all end");
        self.note_death(part, how.to_string());
        Next::End(ExitCode::FAILURE)
    }

    /// Once: its channel and its process both say it.
    fn note_death(&mut self, part: &'static str, how: String) {
        if !std::mem::replace(&mut self.part_died, true) {
            self.audit.add(By::Keeper, Fact::PartDied { part: part.to_owned(), how });
            self.metrics.count_death(part);
        }
    }

    /// The drops stay; grants run out by the kernel's timers, or are taken back if that was configured.
    fn end(&mut self, code: ExitCode) -> ExitCode {
        self.supervisor.stopping();
        let close = self.settings.on_exit == OnExit::Close;
        let _ = self.front.say(&ToFront::End { close }, &[]);
        self.finish_front();
        let _ = self.grantor.say(&ToGrantor::End { close }, &[]);
        self.finish_grantor();
        self.finish_others();
        let asked = code == ExitCode::SUCCESS;
        self.note_trials_end();
        self.audit.add(By::Keeper, Fact::Stopped { grants_closed: close, asked });
        self.audit.flush();
        let _ = std::fs::remove_file(self.plan.run_dir.join(portunus_ctl::control::SOCKET));
        self.on_logs();
        if self.plan.fwknopd.is_some() {
            tracing::info!("Shutting Down fwknopd.");
            return code;
        }
        if self.trial.until.is_some() {
            tracing::info!("ended; drops on trial end by themselves");
            return code;
        }
        tracing::info!(
            grants = if close { "closed" } else { "run out" },
            "ended; protected ports stay closed"
        );
        code
    }

    fn finish_front(&mut self) {
        let deadline = clock::mono().after(LAST_PATIENCE);
        while self.front.ended().is_none() && clock::mono() < deadline {
            match self.front.hear::<FromFront>(Duration::from_millis(5)) {
                Ok(Taken::Message(mut came)) if matches!(came.value, FromFront::Sessions) => {
                    state::write_sessions(self.plan, &mut came);
                }
                Ok(Taken::Message(came)) => {
                    if let FromFront::Notes { notes, lost } = came.value {
                        self.audit.add_notes(notes, lost);
                    }
                }
                Ok(Taken::Nothing) => (),
                Ok(Taken::Ended) | Err(_) => break,
            }
        }
    }

    /// What it closes at the end is told by its last words.
    fn finish_grantor(&mut self) {
        let deadline = clock::mono().after(LAST_PATIENCE);
        while clock::mono() < deadline {
            match self.grantor.hear::<FromGrantor>(Duration::from_millis(5)) {
                Ok(Taken::Message(came)) => {
                    if let FromGrantor::Facts { facts, lost } = came.value {
                        self.audit.add_all(By::Grantor, facts, lost);
                    }
                }
                Ok(Taken::Nothing) => (),
                Ok(Taken::Ended) | Err(_) => break,
            }
        }
    }

    fn finish_others(&mut self) {
        self.metrics.close();
        self.audit.alerts.close();
        self.front.finish(LAST_PATIENCE);
        self.grantor.finish(LAST_PATIENCE);
        self.helpers.end(LAST_PATIENCE);
        if let Some(errand) = &mut self.errand {
            errand.finish(Duration::ZERO);
        }
    }
}

/// A refusal of the firewall's, with the line that chose it, where one did.
fn in_its_place(settings: &Settings, why: &str) -> String {
    let chosen = settings.fwknop.as_deref().and_then(|daemon| daemon.nft_at.as_ref());
    chosen.map_or_else(|| why.to_owned(), |spot| format!("{spot}: {why}"))
}

/// What fwknopd says of where packets come from.
fn say_sources(settings: &Settings, sniffer: Option<&Sniffer>) {
    let Some(daemon) = settings.fwknop.as_deref() else { return };
    if let Some(port) = daemon.tcp {
        tracing::info!("Kicking off TCP server to listen on port {port}.");
    }
    let filter = &daemon.capture.filter;
    if let Some(sniffer) = sniffer {
        tracing::info!("Sniffing interface: {}", sniffer.names());
        tracing::info!("PCAP filter is: '{filter}'");
    }
    match &daemon.receive {
        Receive::File(path) => tracing::info!("Reading pcap file: {}", path.display()),
        Receive::Followed(path) => tracing::info!("Following pcap file: {}", path.display()),
        Receive::Nflog(group) => tracing::info!("Packets that are logged to group {group}"),
        Receive::Sniffed | Receive::Udp(_) => (),
    }
    if matches!(daemon.receive, Receive::File(_) | Receive::Followed(_)) {
        tracing::info!("PCAP filter is: '{filter}'");
    }
    if !daemon.keeps_digests {
        tracing::warn!(
            "ENABLE_DIGEST_PERSISTENCE is N: no digest.cache is read or kept; replays are refused all the same"
        );
    }
}

/// Whom the parts run as: our own user when that is not root; else the user of the plan, or a free number. Never
/// `nobody`: others run as that.
fn parts_user(plan: &Plan) -> Result<Option<Ids>, StartError> {
    const NOBODY: u32 = 65_534;
    if users::effective_uid() != 0 {
        return Ok(None);
    }
    let named = users::by_name(&plan.user).filter(|ids| ids.uid != 0 && ids.uid != NOBODY);
    named.or_else(users::unused).map(Some).ok_or(StartError::NoUser)
}

/// What a part does first: it becomes its user, for good.
pub(crate) fn shed_rights(ids: Option<Ids>, keep: Keep) -> io::Result<()> {
    users::become_user(ids, keep)?;
    process::die_with_parent()?;
    process::hide_memory()
}

/// A part's name, and how it ended.
type Dead = (&'static str, ExitStatus);
