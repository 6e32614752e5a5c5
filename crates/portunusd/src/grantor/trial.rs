//! Drops on trial: looks whether somebody who knocked came in, and takes everything of ours away when the time is over.

use std::time::Duration;

use portunus_fw::{Came, Proof};
use portunus_model::{Mono, PortSpec};
use portunus_sys::clock;

use super::Grantor;
use crate::message::{self, FromGrantor, Trial};

/// How often is looked: somebody waits for the word.
const EVERY: Duration = Duration::from_millis(200);

/// A trial that runs.
pub(super) struct Watching {
    until: Mono,
    proof: Proof,
    next: Mono,
}

impl Watching {
    /// Begins to look, when the drops are in. `past`: ports at which everybody comes in, knock or no knock, since they are
    /// sent on to another host.
    pub(super) fn begin(trial: &Trial, past: &[PortSpec]) -> Result<Self, String> {
        let proves = trial.proves.iter().filter(|port| !past.contains(port)).copied().collect();
        let proof = Proof::begin(proves).map_err(|error| error.to_string())?;
        Ok(Self { until: trial.until, proof, next: clock::mono() })
    }

    /// How long there is nothing to look at.
    pub(super) fn patience(&self, now: Mono) -> Duration {
        self.next.min(self.until).since(now)
    }
}

impl Grantor {
    /// Looks, when it is time. The keeper decides whether an address is one of this host's own.
    pub(super) fn look_at_trial(&mut self, now: Mono) -> std::io::Result<()> {
        let Some(trial) = &mut self.trial else { return Ok(()) };
        if now >= trial.until {
            return self.end_trial();
        }
        if now < trial.next {
            return Ok(());
        }
        trial.next = now.after(EVERY);
        match trial.proof.look(self.duty.book.ledger.rows().map(|row| row.element)) {
            Ok(came) => came.into_iter().try_for_each(|Came { address, port }| {
                message::send(&self.keeper, &FromGrantor::Came { address, port }, &[])
            }),
            Err(error) => {
                tracing::warn!(%error, "cannot see whether anybody came in");
                Ok(())
            }
        }
    }

    /// The kernel has forgotten the drops already. The accepts go too: nothing stays.
    fn end_trial(&mut self) -> std::io::Result<()> {
        self.trial = None;
        if let Err(error) = self.duty.book.firewall.teardown() {
            tracing::warn!(%error, "what is ours stays in the firewall, and drops nothing");
        }
        message::send(&self.keeper, &FromGrantor::TrialOver, &[])
    }
}
