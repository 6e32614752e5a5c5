//! The alerts process as the keeper sees it: started where somebody is to be told, started again when it dies (nobody's door
//! hangs on it), and told what the audit log is told, without waiting.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use portunus_config::Settings;
use portunus_config::alerts::{Alerts as Wish, Carrier};
use portunus_model::Mono;
use portunus_sys::users::{Ids, Keep};
use portunus_sys::{clock, files};

use super::part::{Part, how_it_ended};
use crate::Plan;
use crate::alerts::{Alert, host_name};
use crate::message::{self, AlertsSnapshot, FromAlerts, Taken, ToAlerts};
use crate::witness::Patient;

/// The ring of what waits, in the state folder.
const SPOOL: &str = "alerts.spool";
/// One that has died is started again after so long, and each time after twice that, up to so long: what kills it may be
/// there for good.
const AGAIN: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(600);

/// The process, and what is to be told to it.
#[derive(Debug)]
pub(super) struct Alerts {
    ids: Option<Ids>,
    wish: Option<Wish>,
    part: Option<Part>,
    again: Option<Mono>,
    /// How long it stays dead when it dies next.
    pause: Duration,
    /// When it was started last.
    since: Mono,
    witness: Patient<Alert>,
}

impl Alerts {
    pub(super) fn new(ids: Option<Ids>) -> Self {
        Self {
            ids,
            wish: None,
            part: None,
            again: None,
            pause: AGAIN,
            since: Mono::default(),
            witness: Patient::default(),
        }
    }

    /// Has this configuration in force from now on; the process is started anew where it is another one.
    pub(super) fn open(&mut self, plan: &Plan, settings: &Settings, stderr: Option<OwnedFd>) {
        let wish = settings.alerts.clone().filter(|_| !plan.dry());
        if wish != self.wish {
            self.close();
            wish.iter().for_each(say_what_is_missing);
            self.wish = wish;
            self.pause = AGAIN;
            if self.wish.is_none() {
                self.forget();
            }
        }
        self.start(plan, settings, stderr);
    }

    /// Starts it where it is wanted and does not run.
    pub(super) fn start(&mut self, plan: &Plan, settings: &Settings, stderr: Option<OwnedFd>) {
        self.again = None;
        let Some(wish) = self.wish.as_ref().filter(|_| self.part.is_none()) else { return };
        self.since = clock::mono();
        match try_start(plan, settings, wish, self.ids, stderr) {
            Ok(part) => self.part = Some(part),
            Err(error) => {
                tracing::error!(%error, "alerts cannot be told for now: it is tried again");
                self.again = Some(clock::mono().after(AGAIN * 10));
            }
        }
    }

    /// What is told to people of it; what a way does not want to hear is left out here.
    pub(super) fn saw(&mut self, fact: &portunus_store::audit::Fact) {
        let Some(wish) = &self.wish else { return };
        if let Some(alert) = Alert::of(fact, wish, clock::wall()) {
            self.witness.saw(alert);
        }
    }

    /// So many grants, or what comes of them, were lost on their way here.
    pub(super) fn missed(&mut self, count: u64) {
        if self.wish.as_ref().is_some_and(|wish| wish.grants) {
            self.witness.missed(count);
        }
    }

    /// Passes on what there is, as far as there is room.
    pub(super) fn tell(&mut self) {
        self.hear();
        let Some(part) = &self.part else { return };
        self.witness.tell(&part.channel, |alerts, lost| ToAlerts::Some { alerts, lost });
    }

    /// What it has taken. Not more at once than it can have been told.
    fn hear(&mut self) {
        let Some(part) = &self.part else { return };
        for _ in 0..1000 {
            match message::try_receive::<FromAlerts>(&part.channel) {
                Ok(Taken::Message(came)) => self.witness.took(came.value.taken),
                Ok(Taken::Nothing | Taken::Ended) | Err(_) => return,
            }
        }
    }

    /// When [`Self::start`] is to be called again.
    pub(super) fn due(&self) -> Option<Mono> {
        self.again
    }

    /// When [`Self::tell`] is: what had no room is tried again.
    pub(super) fn waits(&self) -> bool {
        self.part.is_some() && self.witness.waits()
    }

    /// Whether it has ended by itself. It is started again after a while; its name then.
    pub(super) fn look_after(&mut self) -> Option<&'static str> {
        let status = self.part.as_mut().and_then(Part::ended)?;
        let now = clock::mono();
        if now.since(self.since) >= LONGEST {
            self.pause = AGAIN;
        }
        let after_s = self.pause.as_secs();
        tracing::error!(
            how = how_it_ended(status),
            after_s,
            "who tells alerts ended by itself: it is started again"
        );
        self.hear();
        self.witness.begin_anew();
        self.part = None;
        self.again = Some(now.after(self.pause));
        self.pause = (self.pause * 2).min(LONGEST);
        Some("alerts")
    }

    /// Ends it for good.
    pub(super) fn end(&mut self) {
        self.close();
        self.forget();
    }

    /// What nobody has taken is nobody's from now on.
    fn forget(&mut self) {
        let alerts = self.witness.untaken();
        if alerts > 0 {
            tracing::warn!(alerts, "alerts are lost: who tells them could not take them any more");
        }
        self.witness = Patient::default();
    }

    /// Ends it. What it has not told yet lies in its ring; what it has not taken is for the next.
    fn close(&mut self) {
        self.tell();
        self.again = None;
        if let Some(part) = &mut self.part {
            let _ = part.channel.say_no_more();
            part.finish(super::LAST_PATIENCE);
        }
        self.hear();
        self.witness.begin_anew();
        self.part = None;
    }
}

/// A program that is not there now may be there in a moment, as when its package is upgraded: what it is to send waits.
fn say_what_is_missing(wish: &Wish) {
    if let Some(Carrier::Sendmail(program)) = wish.mail.as_ref().map(|mail| &mail.carrier)
        && !program.is_file()
    {
        let program = program.display();
        tracing::warn!(
            "no alerts go out by mail: {program}: there is no such program: install a mail system, or name no address; they are kept until then"
        );
    }
}

fn try_start(
    plan: &Plan,
    settings: &Settings,
    wish: &Wish,
    ids: Option<Ids>,
    stderr: Option<OwnedFd>,
) -> io::Result<Part> {
    let path = plan.state_dir.join(SPOOL);
    let file = files::open_state(&path).map_err(io::Error::other)?;
    let snapshot = message::beside(&AlertsSnapshot::of(wish))?;
    let part = Part::start(plan, "alerts", (ids, Some(Keep::Nothing)), stderr)?;
    let setup = ToAlerts::Setup { host: host_name(settings), spool: path.display().to_string() };
    part.say(&setup, &[snapshot.as_fd(), file.as_fd()])?;
    Ok(part)
}

#[cfg(test)]
mod tests {
    use portunus_store::audit::{Bounds, By};

    use super::super::audit::Audit;
    use super::*;

    #[test]
    fn what_the_grantor_lost_on_its_way_is_lost_to_who_is_told_of_grants() {
        let folder = tempfile::tempdir().unwrap();
        for (grants, lost) in [(true, 3), (false, 0)] {
            let wish = Wish { grants, ..Wish::default() };
            let alerts = Alerts { wish: Some(wish), ..Alerts::new(None) };
            let mut audit = Audit::open(folder.path(), Bounds::default(), true, alerts).unwrap();
            audit.add_all(By::Grantor, Vec::new(), 3);
            // What commands came to is told to nobody.
            audit.add_all(By::Commands, Vec::new(), 9);
            assert_eq!(audit.alerts.witness.untaken(), lost);
        }
    }
}
