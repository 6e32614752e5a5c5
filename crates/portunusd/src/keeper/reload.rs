//! Reading the configuration again, and carrying it to the parts without a packet lost: sockets stay, and the gate swaps
//! its rules between two datagrams.

use portunus_config::Settings;
use portunus_model::{ClientName, HolderNames, Mono};

use super::chains::{self, Left};
use super::{Keeper, PATIENCE, enrol};
use crate::Plan;
use crate::message::{
    self, About, Backend, FromFront, FromGrantor, FrontSnapshot, FwknopKeys, GpgKeys, GrantorBrief,
    GrantorSnapshot, Helper, Keys, Listening, NewChain, Taken, ToFront, ToGrantor, Trial, Wish,
};
use portunus_ctl::control::{GONE, UNSHUT};
use portunus_ctl::frame;
use portunus_store::audit::{By, Fact};
use portunus_sys::{clock, process};
use std::os::fd::AsFd;

/// What the grantor runs by.
pub(super) fn grantor_snapshot(plan: &Plan, settings: &Settings, trial: Option<Mono>) -> GrantorSnapshot {
    let port = settings.listen.first().map(std::net::SocketAddr::port);
    let mut wish = Wish::of(&settings.stance, port);
    if plan.dry() {
        wish.firewall = Backend::Nothing;
    }
    wish.trial = trial.map(|until| Trial { until, proves: settings.served() });
    GrantorSnapshot { limits: settings.limits.clone(), wish }
}

/// All that the grantor is told.
pub(super) fn grantor_brief(plan: &Plan, settings: &Settings, trial: Option<Mono>) -> GrantorBrief {
    GrantorBrief {
        snapshot: grantor_snapshot(plan, settings, trial),
        names: HolderNames::of(&settings.rules),
    }
}

/// The port that fwknop's packets go to where nobody says another one.
const FWKNOP_PORT: u16 = 62201;

fn keys(plan: &Plan, settings: &Settings) -> Keys {
    let fwknop = settings.secrets.fwknop.iter().map(|raw| FwknopKeys {
        encryption: raw.encryption().to_vec(),
        mode: raw.mode().as_str().to_owned(),
        hmac: raw.hmac().map(|(hash, key)| (hash.as_str().to_owned(), key.to_vec())),
    });
    let gpg = settings.secrets.gpg.iter().map(|raw| {
        let signers = raw.signers();
        GpgKeys {
            id: raw.id().0,
            ring: raw.ring().id().0,
            signed: signers.required,
            any_validity: signers.any_validity,
            ids: signers.ids.clone(),
            fingerprints: signers.fingerprints.clone(),
            decrypts: raw.decrypts().map(str::to_owned),
            hmac: raw.hmac().map(|(hash, key)| (hash.as_str().to_owned(), key.to_vec())),
        }
    });
    let openme = settings.secrets.openme.as_ref().map(|key| *key.expose());
    let native = settings.secrets.native.iter().map(|door| (door.role, *door.secret.expose())).collect();
    let codes = settings.secrets.codes.iter().map(|(key, secret)| (*key, *secret.expose())).collect();
    let speaks_native = !settings.secrets.native.is_empty();
    let invited = if speaks_native { enrol::invited(plan, &settings.key_files) } else { Vec::new() };
    Keys { openme, fwknop: fwknop.collect(), gpg: gpg.collect(), native, codes, invited }
}

impl Keeper<'_> {
    /// What the front runs by.
    pub(super) fn front_snapshot(&self, chains: Vec<NewChain>) -> FrontSnapshot {
        let mut rules = self.settings.rules.clone();
        rules.generation = self.generation;
        FrontSnapshot {
            rules,
            keys: keys(self.plan, &self.settings),
            listening: self.listening(),
            chains,
            interfaces: self.settings.stance.interfaces.clone(),
            about: About {
                generation: self.generation,
                clients: u32::try_from(self.settings.rules.clients.len()).unwrap_or(u32::MAX),
                ..self.about.clone()
            },
        }
    }

    /// How the front listens.
    fn listening(&self) -> Listening {
        let settings = &self.settings;
        let daemon = settings.fwknop.as_deref();
        let listen = settings.listen.first().map(std::net::SocketAddr::port);
        Listening {
            lengths: super::open::lengths(settings),
            http: daemon
                .and_then(|daemon| daemon.http.as_ref())
                .map(|http| (http.any_agent, http.proxies.clone())),
            snap: daemon.map_or(0, |daemon| daemon.capture.longest),
            may_echo: self.sniffer.as_ref().is_some_and(|sniffer| sniffer.sniffing.may_echo()),
            port: listen.unwrap_or(FWKNOP_PORT),
            capture_filter: daemon.map(|daemon| daemon.capture.filter.clone()).unwrap_or_default(),
            dry: self.plan.dry(),
            lists_fields: daemon.is_some_and(|daemon| daemon.verbose > 0),
            packet_limit: self.plan.fwknopd.as_ref().and_then(|fwknopd| fwknopd.packet_limit),
        }
    }

    /// One reload, whoever asked for it. When anything is wrong the old configuration stays in force.
    pub(super) fn reload(&mut self) {
        let began = clock::mono();
        self.supervisor.reloading();
        // What was changed until now is read below: no second reload for it.
        self.reload_at = None;
        if let Some(watch) = &mut self.watch {
            watch.changed();
        }
        // Who asks from now on may have written after we have read: the next one answers them.
        let asked = std::mem::take(&mut self.asked);
        let outcome = self.try_reload();
        let answer = match outcome {
            Ok(mut warnings) => {
                let clients = self.settings.rules.clients.len();
                let took_us = clock::mono().since(began).as_micros();
                tracing::info!(clients, generation = self.generation, took_us, "reloaded");
                let (generation, clients) = (self.generation, clients as u64);
                self.audit.add(By::Keeper, Fact::Reloaded { generation, clients });
                self.metrics.count_reload(true);
                if self.unshut {
                    tracing::error!("{UNSHUT}");
                    warnings.push(UNSHUT.to_owned());
                }
                ToFront::Reloaded { asked, generation: self.generation, warnings }
            }
            Err(mut why) => {
                let gone = self.let_go();
                let first = why.lines().next().unwrap_or_default().to_owned();
                let fact = Fact::ReloadRefused { why: first, let_go: gone.clone().unwrap_or_default() };
                self.audit.add(By::Keeper, fact);
                self.metrics.count_reload(false);
                if let Err(error) = self.metrics.open(self.settings.metrics.as_ref()) {
                    tracing::error!(%error, "no metrics until the next reload");
                }
                if let Some(gone) = gone {
                    why.push_str(&format!("\n{GONE}{gone}"));
                }
                if self.unshut {
                    why.push_str(&format!("\n{UNSHUT}"));
                }
                for line in why.lines() {
                    tracing::error!(why = line, "not reloaded; what was in force stays in force");
                }
                ToFront::ReloadRefused { asked, why }
            }
        };
        if let Err(error) = self.start_exporter() {
            tracing::error!(%error, "the exporter cannot be started: no metrics until the next reload");
        }
        if asked > 0 {
            // A front that is gone is seen in the next round.
            let _ = self.front.say(&answer, &[]);
        }
        let clients = self.settings.rules.clients.len();
        self.supervisor.ready(&format!("serving {clients} clients, {}", self.about.place));
        self.audit.flush();
        process::trim_memory();
    }

    /// The files do not load, and what was in force stays in force, but not for clients that are in no file any more: a
    /// mistake somewhere else must not keep a door open for whoever was revoked. Gives their names.
    fn let_go(&mut self) -> Option<String> {
        let before = self.settings.rules.clients.clone();
        let clients = &mut self.settings.rules.clients;
        let gone: Vec<_> = clients.extract_if(.., |client| !(self.plan.still_there)(&client.name)).collect();
        // Asked again too, as long as nobody knows that the kernel has closed what was let go before.
        if !gone.is_empty() || self.unshut {
            self.generation += 1;
            if let Err(error) = self.reload_front() {
                tracing::error!(%error, "who was revoked is still let in");
                // The next reload tries it again.
                self.settings.rules.clients = before;
                return None;
            }
        }
        // Whoever asks next hears of those too that were let go when the changed file was seen.
        self.let_go.extend(gone.into_iter().map(|client| client.name));
        let names: Vec<&str> = self.let_go.iter().map(ClientName::as_str).collect();
        (!names.is_empty()).then(|| names.join(", "))
    }

    fn try_reload(&mut self) -> Result<Vec<String>, String> {
        enrol::finish(self.plan);
        let loaded = (self.plan.load)();
        let mut new = loaded
            .map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
        check(&new)?;
        if !new.secrets.native.is_empty() && !self.has_chains {
            chains::look(self.plan)?;
        }
        let keyrings_owner = super::gpg::owner(&new).map_err(|error| error.to_string())?;
        self.marks.give(&mut new);
        let mut warnings: Vec<String> = new.warnings.iter().map(ToString::to_string).collect();
        if new.listen != self.settings.listen || new.health_port != self.settings.health_port {
            warnings
                .push("the listening address or port has changed: restart the daemon to use it".to_owned());
        }
        // What cannot be listened on is a mistake, and nothing is changed yet.
        self.metrics.open(new.metrics.as_ref()).map_err(|e| e.to_string())?;
        // The grantor first: it takes back what no client may open any more, whatever the front does.
        self.reload_grantor(&new)?;
        if receives(&new) != receives(&self.settings) {
            warnings.push("where packets come from has changed: restart the daemon to use it".to_owned());
        }
        let lengths = super::open::lengths;
        if !new.listen.is_empty() && lengths(&new) != lengths(&self.settings) {
            // The kernel's filter on the socket was set when it was opened.
            warnings.push(
                "which lengths packets may have has changed (another dialect, or GnuPG's): restart the daemon to receive them all"
                    .to_owned(),
            );
        }
        let old = std::mem::replace(&mut self.settings, new);
        self.let_go.clear();
        if old.sources != self.settings.sources || self.watch.is_none() {
            self.watch_sources();
        }
        self.about.admins.clone_from(&self.settings.admins);
        self.audit.set_bounds(super::audit::bounds(&self.settings));
        self.open_alerts();
        self.generation += 1;
        self.helpers.keyrings_belong_to(keyrings_owner);
        self.reload_helpers()?;
        self.reload_front()?;
        if !self.settings.secrets.native.is_empty() && !self.has_chains {
            warnings.push("nobody can knock in the native dialect: its `chains` could not be opened, and the next reload tries it again".to_owned());
        }
        if self.trial.until.is_none() {
            super::state::remember(self.plan, &self.settings);
        }
        if self.plan.fwknopd.is_none() {
            for warning in &warnings {
                tracing::warn!(at = warning.as_str(), "configuration");
            }
        } else {
            warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        }
        Ok(warnings)
    }

    fn reload_grantor(&mut self, new: &Settings) -> Result<(), String> {
        let until = self.trial.until;
        let brief = grantor_brief(self.plan, new, until);
        if brief == grantor_brief(self.plan, &self.settings, until) {
            return Ok(());
        }
        self.say_to_grantor(&brief).map_err(|why| super::start::in_its_place(new, &why))
    }

    /// Has the grantor make the kernel agree with this.
    pub(super) fn say_to_grantor(&mut self, brief: &GrantorBrief) -> Result<(), String> {
        let beside = message::beside(brief).map_err(|e| e.to_string())?;
        let said = self.grantor.say(&ToGrantor::Reload, &[beside.as_fd()]);
        said.map_err(|e| e.to_string())?;
        loop {
            match self.grantor.hear::<FromGrantor>(PATIENCE) {
                Ok(Taken::Message(came)) => match came.value {
                    FromGrantor::InForce { place } => {
                        self.about.place = place;
                        return Ok(());
                    }
                    FromGrantor::Refused { why } | FromGrantor::NoJournal { why } => return Err(why),
                    // Said before it read ours: settled in the next round.
                    FromGrantor::Came { address, port } => self.trial.came(address, port),
                    FromGrantor::TrialOver => self.trial.end(),
                    FromGrantor::NeedErrand => self.start_errand().map_err(|e| e.to_string())?,
                    FromGrantor::Facts { facts, lost } => self.audit.add_all(By::Grantor, facts, lost),
                },
                Ok(Taken::Nothing | Taken::Ended) | Err(_) => {
                    return Err("the grantor does not answer: see its own words".to_owned());
                }
            }
        }
    }

    /// Helpers that have work from now on are started, and the others get the new commands.
    fn reload_helpers(&mut self) -> Result<(), String> {
        let words = |e: std::io::Error| e.to_string();
        self.helpers.reload(self.plan, &self.settings).map_err(words)?;
        let started = self.start_helpers().map_err(words)?;
        for (channel, helper) in started.iter().zip([Helper::Commands, Helper::Resolver, Helper::Oracle]) {
            if let Some(channel) = channel {
                self.front.say(&ToFront::Helper(helper), &[channel.as_fd()]).map_err(words)?;
            }
            if channel.is_some() && helper == Helper::Oracle {
                self.say_roots_keyring();
            }
        }
        Ok(())
    }

    /// What commands have left for the store of chains, which the front has from now on; nothing where native is not spoken.
    fn new_chains(&mut self) -> Result<Left, String> {
        if self.settings.secrets.native.is_empty() {
            return Ok(Left::default());
        }
        if !self.has_chains {
            let store = chains::store(self.plan).map_err(|e| e.to_string())?;
            self.front.say(&ToFront::Chains, &[store.as_fd()]).map_err(|e| e.to_string())?;
        }
        Ok(Left::find(self.plan))
    }

    fn reload_front(&mut self) -> Result<(), String> {
        let mut left = self.new_chains()?;
        let chains = std::mem::take(&mut left.chains);
        let beside = message::beside(&self.front_snapshot(chains)).map_err(|e| e.to_string())?;
        self.front.say(&ToFront::Reload, &[beside.as_fd()]).map_err(|e| e.to_string())?;
        loop {
            match self.front.hear::<FromFront>(PATIENCE) {
                Ok(Taken::Message(mut came)) => match came.value {
                    FromFront::InForce { shut, taken_up, has_chains } => {
                        self.unshut = !shut;
                        self.has_chains = has_chains;
                        if taken_up {
                            left.taken_up();
                        }
                        return Ok(());
                    }
                    // It may have been written after we read: this one is for the next round.
                    FromFront::PleaseReload => self.asked += 1,
                    FromFront::Enrol(enrolling) => self.come.push_back(enrolling),
                    FromFront::Sessions => super::state::write_sessions(self.plan, &mut came),
                    FromFront::Notes { notes, lost } => self.audit.add_notes(notes, lost),
                    // An interface that goes away just now is heard of when it comes back.
                    FromFront::Ready { .. } | FromFront::EarGone(_) | FromFront::Finished { .. } => (),
                },
                Ok(Taken::Nothing | Taken::Ended) | Err(_) => {
                    return Err("the front does not answer: see its own words".to_owned());
                }
            }
        }
    }
}

/// What a reload cannot change: the sockets are open.
fn receives(settings: &Settings) -> Option<impl PartialEq + '_> {
    let daemon = settings.fwknop.as_deref()?;
    Some((&daemon.receive, &daemon.capture, daemon.tcp, &daemon.digest_file))
}

/// What the parts' messages cannot carry is refused before anybody relies on it.
pub(super) fn check(settings: &Settings) -> Result<(), String> {
    for client in &settings.rules.clients {
        if client.ports.len() > frame::MOST_PORTS {
            return Err(format!(
                "client {}: {} ports and ranges are too many: write them as ranges, {} at most",
                client.name,
                client.ports.len(),
                frame::MOST_PORTS
            ));
        }
    }
    Ok(())
}
