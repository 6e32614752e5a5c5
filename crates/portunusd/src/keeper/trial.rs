//! Drops on trial, as the keeper sees them: it says whether there is a trial, whether who came in came from outside, and
//! makes the drops permanent then.

use std::net::{IpAddr, UdpSocket};
use std::process::ExitCode;

use portunus_model::{Mono, PortSpec};
use portunus_store::audit::{By, Fact};
use portunus_sys::clock;

use super::audit::Audit;
use super::error::{EX_CONFIG, StartError};
use super::open::Alone;
use super::{Keeper, reload, state};
use crate::Plan;
use crate::trial::{self, NotProven, Stage};

/// So many who came in from this machine itself are told of.
const MOST_TOLD: usize = 16;

/// The trial that a start is part of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Trial {
    /// The drops end by themselves then; `None`: they are for good.
    pub(super) until: Option<Mono>,
    /// Somebody came in from outside.
    proven: Option<(IpAddr, PortSpec)>,
    /// Who came in from this machine itself.
    from_here: Vec<(IpAddr, PortSpec)>,
    /// As many of them were told.
    told: usize,
    /// The time is over.
    over: bool,
}

/// Sees to it that no other daemon runs, nor a trial whose server is another: in its words where there is one.
pub(super) fn alone(plan: &Plan) -> Result<Alone, StartError> {
    if plan.fwknopd.is_none() && trial::is_anothers(&plan.state_dir) {
        return Err(StartError::TrialRuns(trial::whose(&plan.state_dir)));
    }
    Alone::be(plan).map_err(|error| match (error, trial::stage(&plan.state_dir)) {
        // Its command is gone.
        (StartError::Another(_), Stage::Until(_)) if plan.fwknopd.is_none() => {
            StartError::TrialRuns(trial::daemon(&plan.state_dir))
        }
        (error, _) => error,
    })
}

impl Trial {
    /// How far it is. What fwknopd stands for drops nothing.
    pub(super) fn of(plan: &Plan, audit: &mut Audit) -> Result<Self, StartError> {
        if plan.fwknopd.is_some() {
            return Ok(Self::default());
        }
        let refused = match trial::stage(&plan.state_dir) {
            Stage::None | Stage::Proven => return Ok(Self::default()),
            Stage::Until(until) => return Ok(Self { until: Some(until), ..Self::default() }),
            Stage::Over => StartError::TrialOver,
            Stage::Ended => StartError::TrialEnded,
        };
        audit.add(By::Keeper, Fact::StartFailed { why: refused.to_string() });
        audit.flush();
        Err(refused)
    }

    /// Somebody at this address came in: it proves something when that is not ourselves.
    pub(super) fn came(&mut self, address: IpAddr, port: PortSpec) {
        if self.until.is_none() {
            return;
        }
        if !is_ours(address) {
            self.proven = Some((address, port));
        } else if self.told < MOST_TOLD {
            self.told += 1;
            self.from_here.push((address, port));
        }
    }

    /// The time is over: everything of ours is gone already.
    pub(super) fn end(&mut self) {
        self.over = true;
    }
}

impl Keeper<'_> {
    /// Makes a proven trial's drops permanent, and ends with one that is over. In this order: from the moment that the
    /// file says so a start puts permanent drops in, and whoever kills us between two steps gets the ports as they were.
    pub(super) fn settle_trial(&mut self) -> Option<ExitCode> {
        let until = self.trial.until?;
        self.tell_who_proves_nothing();
        let Some((address, port)) = self.trial.proven else {
            return self.trial.over.then(|| {
                tracing::error!(
                    "the trial is over, and nobody knocked and came in: nothing is dropped any more"
                );
                ExitCode::from(EX_CONFIG)
            });
        };
        match trial::prove(&self.plan.state_dir, until) {
            Ok(()) => (),
            Err(NotProven::Ended) => {
                tracing::error!(
                    "somebody came in, and the trial had been ended: nothing is proven, the drops end by themselves"
                );
                return Some(ExitCode::from(EX_CONFIG));
            }
            Err(NotProven::File(error)) => {
                tracing::error!(%error, "somebody came in, and that cannot be written down: the drops stay on trial");
                self.trial.proven = None;
                return None;
            }
        }
        self.trial = Trial::default();
        self.audit.add(By::Keeper, Fact::TrialProven { address, port: port.to_string() });
        self.audit.flush();
        let brief = reload::grantor_brief(self.plan, &self.settings, None);
        if let Err(why) = self.say_to_grantor(&brief) {
            tracing::error!(why, "somebody came in, and the drops are not permanent");
            return Some(ExitCode::FAILURE);
        }
        state::remember(self.plan, &self.settings);
        tracing::info!(%address, %port, "knocked and came in from outside: the trial is passed, the drops are permanent");
        None
    }

    fn tell_who_proves_nothing(&mut self) {
        for (address, port) in std::mem::take(&mut self.trial.from_here) {
            tracing::warn!(%address, %port, "came in from this machine itself: that proves nothing, knock from another one");
            self.supervisor.on_trial(&format!(
                "{address} came in on {port} from this machine itself: that proves nothing: knock from another one"
            ));
            self.audit.add(By::Keeper, Fact::TrialNotProven { address, port: port.to_string() });
        }
    }

    /// For the audit log, at a start.
    pub(super) fn note_trial(&mut self) {
        let Some(until) = self.trial.until else { return };
        let ports: Vec<String> = self.settings.served().iter().map(ToString::to_string).collect();
        let until = clock::rfc3339(trial::in_wall_time(until));
        self.audit.add(By::Keeper, Fact::TrialBegun { until, ports: ports.join(",") });
    }

    /// For the audit log, at our end.
    pub(super) fn note_trials_end(&mut self) {
        if self.trial.until.is_none() {
            return;
        }
        let why = match trial::stage(&self.plan.state_dir) {
            Stage::Ended => "teardown",
            Stage::None => "somebody",
            Stage::Until(_) | Stage::Over | Stage::Proven if self.trial.over => "over",
            Stage::Until(_) | Stage::Over | Stage::Proven => "stopped",
        };
        self.audit.add(By::Keeper, Fact::TrialEnded { why: why.to_owned() });
    }
}

/// Whether this machine has the address: only then it can be bound to.
fn is_ours(address: IpAddr) -> bool {
    address.is_loopback() || UdpSocket::bind((address, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_comes_from_elsewhere_while_it_runs_proves_it() {
        let port = PortSpec::parse("22/tcp").unwrap()[0];
        let mut trial = Trial { until: Some(Mono::from_nanos(1)), ..Trial::default() };
        trial.came([127, 0, 0, 1].into(), port);
        assert_eq!(trial.proven, None);
        assert_eq!(trial.from_here.len(), 1);
        for _ in 0..100 {
            trial.came([127, 0, 0, 1].into(), port);
        }
        assert_eq!((trial.from_here.len(), trial.proven), (MOST_TOLD, None));
        trial.came([192, 0, 2, 1].into(), port);
        assert_eq!(trial.proven, Some(([192, 0, 2, 1].into(), port)));
        let mut none = Trial::default();
        none.came([192, 0, 2, 1].into(), port);
        assert_eq!(none.proven, None);
    }
}
