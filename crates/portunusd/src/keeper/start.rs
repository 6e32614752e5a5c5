//! How the keeper starts: all that can fail is tried before the ruleset is touched.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use portunus_config::Settings;
use portunus_model::{Mono, Now};
use portunus_store::audit::{By, Fact};
use portunus_sys::channel::Channel;
use portunus_sys::signals::Signals;
use portunus_sys::users::{self, Ids, Keep};
use portunus_sys::watch::Watch;
use portunus_sys::{clock, files, process};

use super::alerts::Alerts;
use super::audit::{self, Audit};
use super::chains::{self, Left};
use super::error::StartError;
use super::follow::{Follower, Leader};
use super::helpers::Helpers;
use super::logs::Logs;
use super::marks::Marks;
use super::metrics::Metrics;
use super::open::{self, Ears};
use super::part::{self, Part};
use super::ready::say_sources;
use super::sniff::{self, Sniffer, Sockets};
use super::trial::{self, Trial};
use super::{Keeper, PATIENCE, enrol, gpg, reload, state};
use crate::Plan;
use crate::message::{self, About, Brought, FromFront, FromGrantor, Taken, ToFront, ToGrantor};
use crate::notify::Supervisor;

impl<'p> Keeper<'p> {
    /// Everything that can fail because of what somebody configured is tried before the ruleset is touched; the health
    /// port listens after the drops are in; knocks are served last.
    pub(super) fn start(plan: &'p Plan, supervisor: Supervisor, since: Now) -> Result<Self, StartError> {
        let system = |what| move |e: io::Error| StartError::System(what, e.to_string());
        let signals = Signals::open().map_err(system("signals"))?;
        process::raise_descriptors(1024);
        files::make_folder(&plan.state_dir, 0o700)?;
        files::make_folder(&plan.run_dir, 0o755)?;
        enrol::finish(plan);
        let mut settings = (plan.load)().map_err(StartError::Config)?;
        if !users::have_net_admin() {
            return Err(StartError::MissingCapability);
        }
        let alone = trial::alone(plan)?;
        let marks = Marks::open(&plan.state_dir)?;
        marks.give(&mut settings);
        let ids = parts_user(plan)?;
        let keyrings_owner = gpg::owner(&settings)?;
        let mut audit = Audit::open(&plan.state_dir, audit::bounds(&settings), plan.dry(), Alerts::new(ids))
            .map_err(|e| {
                StartError::System("the audit log", format!("{}: {}", plan.state_dir.display(), e.kind()))
            })?;
        let trial = Trial::of(plan, &mut audit)?;
        let ears = Ears::open(&settings)?;
        let mut metrics = Metrics::new(plan, ids, since);
        metrics.open(settings.metrics.as_ref())?;
        // Before any part is started, which would end with words of its own.
        sniff::capture(&settings)?;
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
            helpers: Helpers::new(ids, keyrings_owner),
            logs,
            sniffer,
            follower,
            asked: 0,
            come: std::collections::VecDeque::new(),
            enrol_again_at: None,
            unshut: false,
            trial,
            last_sessions: Mono::default(),
            plan,
            supervisor,
            signals,
            settings,
            has_chains: false,
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
        let left = self.set_up_front(ends.0, ears, sniffed)?;
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
        self.wait_for_front_ready(left)?;
        let serve = ToFront::Serve { place: self.about.place.clone() };
        let said = self.front.say(&serve, &message::borrowed(&ears.health));
        said.map_err(|_| part("front"))?;
        self.open_alerts();
        self.start_exporter().map_err(|e| StartError::System("starting the exporter", e.to_string()))
    }

    /// Who tells people: nothing else waits for it, and its trouble is no reason to shut a door.
    pub(super) fn open_alerts(&mut self) {
        let stderr = self.logs.as_ref().and_then(|logs| logs.end().ok());
        self.audit.alerts.open(self.plan, &self.settings, stderr);
    }

    fn set_up_grantor(&mut self, front_end: Channel) -> Result<(), StartError> {
        let brief = message::beside(&reload::grantor_brief(self.plan, &self.settings, self.trial.until))
            .map_err(|e| StartError::System("the grantor's limits", e.to_string()))?;
        let [a, b] = open::grants(self.plan)?;
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
    ) -> Result<Left, StartError> {
        let system = |what| move |e: io::Error| StartError::System(what, e.to_string());
        let speaks_native = !self.settings.secrets.native.is_empty();
        let mut left = if speaks_native { Left::find(self.plan) } else { Left::default() };
        let snapshot = message::beside(&self.front_snapshot(std::mem::take(&mut left.chains)))
            .map_err(|e| StartError::System("the front's rules", e.to_string()))?;
        let [a, b] = open::replay(self.plan)?;
        let control = open::control(&self.plan.run_dir, self.ids)?;
        let mut descriptors =
            vec![snapshot.as_fd(), grantor_end.as_fd(), a.as_fd(), b.as_fd(), control.as_fd()];
        let helpers = self.start_helpers().map_err(system("starting a helper"))?;
        let daemon = self.settings.fwknop.as_deref();
        let digests = daemon.filter(|daemon| daemon.keeps_digests);
        let digests = digests.map(|daemon| open::digests(self.plan, daemon)).transpose()?;
        let capture = sniff::capture(&self.settings)?;
        let nflog = sniff::nflog(&self.settings)?;
        let chains = speaks_native.then(|| chains::store(self.plan)).transpose()?;
        self.has_chains = chains.is_some();
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
            chains: chains.is_some(),
        };
        descriptors.extend(helpers.iter().flatten().map(AsFd::as_fd));
        descriptors.extend(digests.iter().chain(&capture).map(AsFd::as_fd));
        descriptors.extend(message::borrowed(&ears.sockets));
        descriptors.extend(sniffed.iter().flatten().map(AsFd::as_fd));
        descriptors.extend(message::borrowed(&ears.tcp));
        descriptors.extend(nflog.iter().map(AsFd::as_fd));
        descriptors.extend(chains.iter().map(AsFd::as_fd));
        let store = open::pair_words(&self.plan.state_dir, "replay");
        let said = self.front.say(&ToFront::Setup { store, brought }, &descriptors);
        drop(grantor_end);
        said.map_err(|_| part("front"))?;
        Ok(left)
    }

    pub(super) fn start_helpers(&mut self) -> io::Result<[Option<Channel>; 3]> {
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
                // Said where the doors are only held.
                FromGrantor::NoJournal { .. } => return Err(part("grantor")),
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
    pub(super) fn start_errand(&mut self) -> Result<(), StartError> {
        let system = |what| move |e: io::Error| StartError::System(what, e.to_string());
        let (errand, grantor_end) =
            part::start_errand(self.plan, self.logs.as_ref().and_then(|logs| logs.end().ok()))
                .map_err(system("starting the errand process"))?;
        self.errand = Some(errand);
        self.grantor.say(&ToGrantor::Errand, &[grantor_end.as_fd()]).map_err(|_| part("grantor"))
    }

    fn wait_for_front_ready(&mut self, left: Left) -> Result<(), StartError> {
        match self.front.hear::<FromFront>(PATIENCE) {
            Ok(Taken::Message(came)) if matches!(came.value, FromFront::Ready { .. }) => {
                if matches!(came.value, FromFront::Ready { taken_up: true }) {
                    left.taken_up();
                }
                Ok(())
            }
            Ok(Taken::Message(_) | Taken::Nothing | Taken::Ended) | Err(_) => Err(part("front")),
        }
    }

    pub(super) fn start_exporter(&mut self) -> io::Result<()> {
        let stderr = self.logs.as_ref().and_then(|logs| logs.end().ok());
        self.metrics.start(self.plan, &self.front, stderr)
    }

    pub(super) fn watch_sources(&mut self) {
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
}

/// Whether that lasts is known when it has ended.
fn part(name: &'static str) -> StartError {
    StartError::Part { name, lasting: false }
}

/// A refusal of the firewall's, with the line that chose it, where one did.
pub(super) fn in_its_place(settings: &Settings, why: &str) -> String {
    let chosen = settings.fwknop.as_deref().and_then(|daemon| daemon.nft_at.as_ref());
    chosen.map_or_else(|| why.to_owned(), |spot| format!("{spot}: {why}"))
}

/// Whom the parts run as: our own user when that is not root; else the user of the plan, or a free number. Never
/// `nobody`: others run as that.
pub(super) fn parts_user(plan: &Plan) -> Result<Option<Ids>, StartError> {
    const NOBODY: u32 = 65_534;
    if users::effective_uid() != 0 {
        return Ok(None);
    }
    let named = users::by_name(&plan.user).filter(|ids| ids.uid != 0 && ids.uid != NOBODY);
    named.or_else(users::unused).map(Some).ok_or(StartError::NoUser)
}
