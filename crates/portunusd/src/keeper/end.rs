//! How the keeper ends: a part has died, or somebody has asked.

use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use portunus_config::OnExit;
use portunus_store::audit::{By, Fact};
use portunus_sys::clock;

use super::part::how_it_ended;
use super::{FOLLOWED_WITHIN, Keeper, LAST_PATIENCE, Next, state};
use crate::message::{FromFront, FromGrantor, Taken, ToFront, ToGrantor};

impl Keeper<'_> {
    /// The part that has ended; of several the one that was killed, since the others only follow it.
    pub(super) fn who_died(&mut self) -> Option<Dead> {
        let parts = [Some(&mut self.front), Some(&mut self.grantor), self.errand.as_mut()];
        parts
            .into_iter()
            .flatten()
            .chain(self.helpers.parts())
            .filter_map(|part| part.ended().map(|status| (part.name, status)))
            .max_by_key(|(_, status)| status.signal().is_some())
    }

    /// A channel has ended: somebody died, who is a child for us to collect in a moment.
    pub(super) fn part_gone(&mut self, part: &'static str) -> Next {
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
    pub(super) fn a_part_died(&mut self, mut dead: Dead) -> Next {
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
    pub(super) fn end(&mut self, code: ExitCode) -> ExitCode {
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
        self.audit.alerts.end();
        self.front.finish(LAST_PATIENCE);
        self.grantor.finish(LAST_PATIENCE);
        self.helpers.end(LAST_PATIENCE);
        if let Some(errand) = &mut self.errand {
            errand.finish(Duration::ZERO);
        }
    }
}

/// A part's name, and how it ended.
type Dead = (&'static str, ExitStatus);
