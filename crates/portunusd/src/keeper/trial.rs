//! Drops on trial, as the keeper sees them: it says whether there is a trial, whether who came in came from outside, and
//! makes the drops permanent then.

use std::net::{IpAddr, UdpSocket};
use std::process::ExitCode;

use portunus_model::{Mono, PortSpec};

use super::error::{EX_CONFIG, StartError};
use super::{Keeper, reload, state};
use crate::Plan;
use crate::trial::{self, Stage};

/// The trial that a start is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Trial {
    /// The drops end by themselves then; `None`: they are for good.
    pub(super) until: Option<Mono>,
    /// Somebody came in from outside.
    proven: Option<(IpAddr, PortSpec)>,
    /// The time is over.
    over: bool,
}

impl Trial {
    /// How far it is. What fwknopd stands for drops nothing.
    pub(super) fn of(plan: &Plan) -> Result<Self, StartError> {
        if plan.fwknopd.is_some() {
            return Ok(Self::default());
        }
        match trial::stage(&plan.state_dir) {
            Stage::None => Ok(Self::default()),
            Stage::Until(until) => Ok(Self { until: Some(until), ..Self::default() }),
            Stage::Over => Err(StartError::TrialOver),
        }
    }

    /// Somebody at this address came in through a grant: it proves something when that is not ourselves.
    pub(super) fn came(&mut self, address: IpAddr, port: PortSpec) {
        if self.until.is_none() {
            return;
        }
        if is_ours(address) {
            tracing::warn!(%address, %port, "came in from this machine itself: that proves nothing, knock from another one");
        } else {
            self.proven = Some((address, port));
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
        self.trial.until?;
        let Some((address, port)) = self.trial.proven else {
            return self.trial.over.then(|| {
                tracing::error!(
                    "the trial is over, and nobody knocked and came in: nothing is dropped any more"
                );
                ExitCode::from(EX_CONFIG)
            });
        };
        if let Err(error) = trial::end(&self.plan.state_dir) {
            tracing::error!(%error, "somebody came in, and that cannot be written down: the drops stay on trial");
            self.trial.proven = None;
            return None;
        }
        self.trial = Trial::default();
        let brief = reload::grantor_brief(self.plan, &self.settings, None);
        if let Err(why) = self.say_to_grantor(&brief) {
            tracing::error!(why, "somebody came in, and the drops are not permanent");
            return Some(ExitCode::FAILURE);
        }
        state::remember(self.plan, &self.settings);
        tracing::info!(%address, %port, "knocked and came in from outside: the trial is passed, the drops are permanent");
        None
    }
}

/// Whether this machine has the address: only then it can be bound to.
fn is_ours(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
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
        trial.came([192, 0, 2, 1].into(), port);
        assert_eq!(trial.proven, Some(([192, 0, 2, 1].into(), port)));
        let mut none = Trial::default();
        none.came([192, 0, 2, 1].into(), port);
        assert_eq!(none.proven, None);
    }
}
