//! What there is to tell.

use std::net::IpAddr;

use portunus_config::alerts::Alerts;
use portunus_model::{Reason, Unix};
use portunus_store::audit::Fact;
use portunus_store::spool::LONGEST_RECORD;
use portunus_sys::clock;
use serde::{Deserialize, Serialize};

/// One thing to tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Alert {
    pub(super) at: Unix,
    pub(super) client: String,
    pub(super) what: What,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum What {
    Granted {
        address: IpAddr,
        ports: String,
        lasting_s: u64,
        extended: bool,
    },
    Refused {
        #[serde(with = "by_name")]
        reason: Reason,
        source: Option<IpAddr>,
        unsaid: u64,
    },
    /// For whoever tries it out.
    Test,
    /// What a client did beyond its share of the ring, and the last address.
    More {
        grants: u64,
        refusals: u64,
        address: Option<IpAddr>,
    },
}

/// A reason on disk: by its word, since its place in the list may be another's tomorrow.
mod by_name {
    use portunus_model::Reason;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde has it so")]
    pub(super) fn serialize<S: Serializer>(reason: &Reason, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(reason.as_str())
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Reason, D::Error> {
        let word = <&str>::deserialize(from)?;
        let found = Reason::ALL.into_iter().find(|reason| reason.as_str() == word);
        found.ok_or_else(|| D::Error::custom("no such reason"))
    }
}

impl Alert {
    /// What of the audit log is told. Only what a packet did that was fresh when it came: whoever has a copy of one makes
    /// it stale or replayed as often as he likes, and tells nobody anything by that.
    pub(crate) fn of(fact: &Fact, alerts: &Alerts, at: Unix) -> Option<Self> {
        let (client, what) = match fact {
            Fact::Opened { client, address, ports, lasting_s, extended, .. } if alerts.grants => {
                let ports = ports.chars().take(LONGEST_PORTS).collect();
                let (address, lasting_s, extended) = (*address, *lasting_s, *extended);
                (client.clone(), What::Granted { address, ports, lasting_s, extended })
            }
            Fact::OpenFailed { client, address, .. } if alerts.refusals => {
                let (reason, source) = (Reason::FirewallFailed, Some(*address));
                (client.clone(), What::Refused { reason, source, unsaid: 0 })
            }
            // One that the firewall did not take is told by whom it did not take it from.
            Fact::Refused { client, reason, source, unsaid, .. }
                if alerts.refusals && is_fresh(*reason) && *reason != Reason::FirewallFailed =>
            {
                let (reason, source, unsaid) = (*reason, *source, *unsaid);
                (client.to_string(), What::Refused { reason, source, unsaid })
            }
            Fact::Opened { .. }
            | Fact::OpenFailed { .. }
            | Fact::Refused { .. }
            | Fact::Continued { .. }
            | Fact::Repaired { .. }
            | Fact::Damaged { .. }
            | Fact::Lost { .. }
            | Fact::Started { .. }
            | Fact::StartFailed { .. }
            | Fact::TrialBegun { .. }
            | Fact::TrialNotProven { .. }
            | Fact::TrialProven { .. }
            | Fact::TrialEnded { .. }
            | Fact::Stopped { .. }
            | Fact::PartDied { .. }
            | Fact::Reloaded { .. }
            | Fact::ReloadRefused { .. }
            | Fact::Closed { .. }
            | Fact::Restored { .. }
            | Fact::Killed { .. }
            | Fact::PutBack { .. }
            | Fact::NotPutBack { .. }
            | Fact::BeyondLimits { .. }
            | Fact::Enrolled { .. }
            | Fact::Asked { .. }
            | Fact::CommandBegun { .. }
            | Fact::CommandEnded { .. } => return None,
        };
        Some(Self { at, client, what })
    }

    /// One for tests: of a grant, or of one that goes on.
    #[cfg(test)]
    pub(super) fn of_a_grant(client: &str, extended: bool, at: Unix) -> Self {
        let (address, ports) = ([192, 0, 2, 1].into(), "22/tcp".into());
        Self {
            at,
            client: client.to_owned(),
            what: What::Granted { address, ports, lasting_s: 30, extended },
        }
    }

    pub(super) fn test() -> Self {
        Self { at: clock::wall(), client: "test".to_owned(), what: What::Test }
    }
}

/// A long list of ports is cut in a message; the audit log has all of it.
pub(super) const LONGEST_PORTS: usize = 200;

/// Whether a packet that ends so was claimed before: then it comes to this once, and no copy does.
pub(crate) const fn is_fresh(reason: Reason) -> bool {
    match reason {
        Reason::Expired | Reason::NotAllowed | Reason::SecondFactor | Reason::FirewallFailed => true,
        Reason::Granted
        | Reason::Extended
        | Reason::Closed
        | Reason::Enrolled
        | Reason::Noise
        | Reason::RateLimited
        | Reason::Unauthentic
        | Reason::Stale
        | Reason::Replayed
        | Reason::UnknownClient
        | Reason::Busy
        | Reason::StoreUnavailable => false,
    }
}

impl Alert {
    pub(super) fn record(&self) -> Vec<u8> {
        let whole = postcard::to_stdvec(self).unwrap_or_default();
        if whole.len() <= LONGEST_RECORD {
            return whole;
        }
        // Only a list of ports can be so long.
        let mut short = self.clone();
        if let What::Granted { ports, .. } = &mut short.what {
            ports.clear();
        }
        postcard::to_stdvec(&short).unwrap_or_default()
    }
}
