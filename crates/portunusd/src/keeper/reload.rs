//! Reading the configuration again, and carrying it to the parts without a packet lost: sockets stay, and the gate swaps
//! its rules between two datagrams.

use portunus_config::Settings;

use super::{Keeper, PATIENCE};
use crate::message::{
    self, About, FromFront, FromGrantor, FrontSnapshot, GrantorSnapshot, Keys, Taken, ToFront, ToGrantor,
    Wish,
};
use portunus_ctl::frame;
use portunus_sys::{clock, process};
use std::os::fd::AsFd;

/// What the grantor runs by.
pub(super) fn grantor_snapshot(settings: &Settings) -> GrantorSnapshot {
    let port = settings.listen.first().map(std::net::SocketAddr::port);
    GrantorSnapshot { limits: settings.limits.clone(), wish: Wish::of(&settings.stance, port) }
}

impl Keeper<'_> {
    /// What the front runs by.
    pub(super) fn front_snapshot(&self) -> FrontSnapshot {
        let mut rules = self.settings.rules.clone();
        rules.generation = self.generation;
        FrontSnapshot {
            rules,
            keys: Keys { openme: self.settings.secrets.openme.as_ref().map(|key| *key.expose()) },
            interfaces: self.settings.stance.interfaces.clone(),
            about: About {
                generation: self.generation,
                clients: u32::try_from(self.settings.rules.clients.len()).unwrap_or(u32::MAX),
                ..self.about.clone()
            },
        }
    }

    /// One reload, whoever asked for it. When anything is wrong the old configuration stays in force.
    pub(super) fn reload(&mut self) {
        let began = clock::mono();
        self.supervisor.reloading();
        // What was changed until now is read below: no second reload for it.
        if let Some(watch) = &mut self.watch {
            watch.changed();
        }
        let outcome = self.try_reload();
        let asked = std::mem::take(&mut self.asked);
        let answer = match outcome {
            Ok(warnings) => {
                let clients = self.settings.rules.clients.len();
                let took_us = clock::mono().since(began).as_micros();
                tracing::info!(clients, generation = self.generation, took_us, "reloaded");
                ToFront::Reloaded { asked, generation: self.generation, warnings }
            }
            Err(why) => {
                for line in why.lines() {
                    tracing::error!(why = line, "not reloaded; what was in force stays in force");
                }
                ToFront::ReloadRefused { asked, why }
            }
        };
        if asked > 0 {
            // A front that is gone is seen in the next round.
            let _ = self.front.say(&answer, &[]);
        }
        let clients = self.settings.rules.clients.len();
        self.supervisor.ready(&format!("serving {clients} clients, {}", self.about.place));
        process::trim_memory();
    }

    fn try_reload(&mut self) -> Result<Vec<String>, String> {
        let loaded = (self.plan.load)();
        let new = loaded
            .map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
        check(&new)?;
        let mut warnings: Vec<String> = new.warnings.iter().map(ToString::to_string).collect();
        if new.listen != self.settings.listen || new.health_port != self.settings.health_port {
            warnings
                .push("the listening address or port has changed: restart the daemon to use it".to_owned());
        }
        // The grantor first: it takes back what no client may open any more, whatever the front does.
        self.reload_grantor(&new)?;
        let old = std::mem::replace(&mut self.settings, new);
        if old.sources != self.settings.sources || self.watch.is_none() {
            self.watch_sources();
        }
        self.about.admins.clone_from(&self.settings.admins);
        self.generation += 1;
        self.reload_front()?;
        super::state::remember(self.plan, &self.settings);
        for warning in &warnings {
            tracing::warn!(at = warning.as_str(), "configuration");
        }
        Ok(warnings)
    }

    fn reload_grantor(&mut self, new: &Settings) -> Result<(), String> {
        let snapshot = grantor_snapshot(new);
        if snapshot == grantor_snapshot(&self.settings) {
            return Ok(());
        }
        let beside = message::beside(&snapshot).map_err(|e| e.to_string())?;
        let said = self.grantor.say(&ToGrantor::Reload, &[beside.as_fd()]);
        said.map_err(|e| e.to_string())?;
        loop {
            match self.grantor.hear::<FromGrantor>(PATIENCE) {
                Ok(Taken::Message(came)) => match came.value {
                    FromGrantor::InForce { place } => {
                        self.about.place = place;
                        return Ok(());
                    }
                    FromGrantor::Refused { why } => return Err(why),
                    FromGrantor::NeedErrand => self.start_errand().map_err(|e| e.to_string())?,
                },
                Ok(Taken::Nothing | Taken::Ended) | Err(_) => {
                    return Err("the grantor does not answer: see its own words".to_owned());
                }
            }
        }
    }

    fn reload_front(&mut self) -> Result<(), String> {
        let beside = message::beside(&self.front_snapshot()).map_err(|e| e.to_string())?;
        self.front.say(&ToFront::Reload, &[beside.as_fd()]).map_err(|e| e.to_string())?;
        loop {
            match self.front.hear::<FromFront>(PATIENCE) {
                Ok(Taken::Message(mut came)) => match came.value {
                    FromFront::InForce => return Ok(()),
                    // It may have been written after we read: this one is for the next round.
                    FromFront::PleaseReload => self.asked += 1,
                    FromFront::Sessions => super::state::write_sessions(self.plan, &mut came),
                    FromFront::Ready => (),
                },
                Ok(Taken::Nothing | Taken::Ended) | Err(_) => {
                    return Err("the front does not answer: see its own words".to_owned());
                }
            }
        }
    }
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
