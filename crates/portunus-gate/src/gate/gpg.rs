//! Packets of GnuPG's: from the keyrings that may open one to what gpg's answer makes of it.

use portunus_dialect::Candidate;
use portunus_dialect::fwknop::gpg::{Answer, GpgError, Heard, RingId};
use portunus_model::{Detail, Dialect, Now, Reason};

use super::Gate;
use super::knock::Tried;
use crate::chain::Outcome;
use crate::lane::Job;
use crate::oracle::Asked;
use crate::{Action, Question};

impl Gate {
    /// It waits until gpg can be asked. A packet of a known source does not wait behind strangers' ones.
    pub(super) fn wait_for_gpg(&mut self, now: Now, job: Job) {
        let thrown = self.oracle.push(job);
        if let Some(job) = thrown {
            self.gpg_failed(now, &job, GpgError::Busy);
        }
        self.ask_gpg(now);
    }

    /// Asks about as many as may be asked about at once.
    pub(super) fn ask_gpg(&mut self, now: Now) {
        while let Some(mut job) = self.oracle.pop() {
            if self.oracle.too_old(now.mono, &job) {
                self.gpg_failed(now, &job, GpgError::Busy);
                continue;
            }
            match job.rings.pop() {
                Some(ring) => self.ask_with(now, job, ring),
                None => self.gpg_failed(now, &job, GpgError::NoSecretKey),
            }
        }
    }

    fn ask_with(&mut self, now: Now, mut job: Job, ring: RingId) {
        let packet = self.prefilter.admit(&job.datagram.bytes);
        let message = match &packet {
            Some(Candidate::Fwknop(packet)) => self.keysets.message(ring, packet),
            // A reload took the dialect away while it waited.
            Some(Candidate::Openme(_)) | None => None,
        };
        let Some(message) = message else {
            // With an HMAC of other keys behind it, it is no message for these.
            return self.ask_another(now, job);
        };
        self.effort.asked += 1;
        job.asked.push(ring);
        let number = self.oracle.ask(now.mono, job, ring);
        self.actions.push_back(Action::Gpg(Question { number, ring, message }));
    }

    pub(super) fn heard(&mut self, now: Now, number: u64, answer: &Answer) {
        let Some(Asked { mut job, ring, .. }) = self.oracle.answered(number) else { return };
        let origin = job.origin();
        let heard = Heard::of(answer);
        let judged = match self.prefilter.admit(&job.datagram.bytes) {
            Some(Candidate::Fwknop(packet)) => {
                self.keysets.judge(ring, &packet, &heard, |set| self.is_for(set, origin))
            }
            Some(Candidate::Openme(_)) | None => {
                return self.verdict(now, origin, None, None, Reason::Noise);
            }
        };
        match judged {
            Ok((sets, knock)) => match self.by_sets(&sets, knock, origin) {
                Tried::Proven(proven) => self.proven(now, *proven),
                Tried::Nobodys | Tried::Unsealed(_) | Tried::Unknown | Tried::Asked => {}
            },
            Err(why) => {
                job.refused = Some(job.refused.map_or(why, |before| before.or(why)));
                self.ask_another(now, job);
            }
        }
    }

    /// Each keyring is a run of gpg's, for which a packet waits its turn like any other. A known address may be others' too,
    /// behind the same NAT: what its own clients' keyrings do not open goes on as a stranger's.
    fn ask_another(&mut self, now: Now, mut job: Job) {
        match job.refused {
            _ if !job.rings.is_empty() => self.wait_for_gpg(now, job),
            _ if job.known => {
                job.known = false;
                self.enqueue_unknown(now, job);
            }
            Some(why) => self.gpg_failed(now, &job, why),
            None => self.verdict(now, job.origin(), Some(Dialect::Fwknop), None, Reason::Unauthentic),
        }
    }

    /// What gpg was asked and never answered.
    pub(super) fn give_gpg_up(&mut self, now: Now) {
        while let Some(Asked { job, .. }) = self.oracle.overdue(now.mono) {
            self.gpg_failed(now, &job, GpgError::TooSlow);
        }
        self.ask_gpg(now);
    }

    pub(super) fn gpg_failed(&mut self, now: Now, job: &Job, why: GpgError) {
        let reason = if why.is_ours() { Reason::Busy } else { Reason::Unauthentic };
        let outcome = Outcome { reason, detail: Some(Detail::Said(why.as_str())) };
        self.conclude(now, job.origin(), Some(Dialect::Fwknop), None, outcome);
    }
}
