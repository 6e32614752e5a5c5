//! How far a knock has come, as types: `Proven`, `Fresh`, `Taken`. Each is made from the one before it and consumes it,
//! so no step can be left out, done twice or done with another packet's result.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use portunus_dialect::Knock;
use portunus_model::{Claim, Claimed, Detail, Dialect, Now, Reason, Via};

/// Where a datagram seems to come from, and how it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) source: SocketAddr,
    pub(crate) via: Via,
}

/// A knock whose key is the client's with this index.
#[derive(Debug)]
pub(crate) struct Proven {
    knock: Knock,
    pub(crate) client: u32,
    pub(crate) origin: Origin,
}

/// Proven, and its timestamp is within the window.
#[derive(Debug)]
pub(crate) struct Fresh {
    proven: Proven,
    claim: Claim,
}

/// Fresh, and nobody had it before: the store says so.
#[derive(Debug)]
pub(crate) struct Taken {
    source: SocketAddr,
    target: Option<IpAddr>,
}

/// What became of a datagram, for the one event that says so.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) reason: Reason,
    pub(crate) detail: Option<Detail>,
}

impl Proven {
    /// `Knock` can be made by a verification in the dialect only.
    pub(crate) const fn by(client: u32, knock: Knock, origin: Origin) -> Self {
        Self { knock, client, origin }
    }

    pub(crate) const fn dialect(&self) -> Dialect {
        self.knock.dialect()
    }

    /// Age first: |now - timestamp| <= window.
    pub(crate) fn fresh(self, now: Now, window: Duration) -> Result<Fresh, Outcome> {
        let stamp = self.knock.stamp();
        if now.wall.distance(stamp) > window {
            let ahead = stamp.as_nanos().saturating_sub(now.wall.as_nanos()) / 1_000_000;
            let offset = i64::try_from(ahead).unwrap_or(if ahead < 0 { i64::MIN } else { i64::MAX });
            return Err(Outcome { reason: Reason::Stale, detail: Some(Detail::ClockOffset(offset)) });
        }
        let claim = self.knock.claim(window);
        Ok(Fresh { proven: self, claim })
    }
}

impl Fresh {
    pub(crate) const fn claim(&self) -> Claim {
        self.claim
    }

    pub(crate) const fn client(&self) -> u32 {
        self.proven.client
    }

    pub(crate) fn set_client(&mut self, client: u32) {
        self.proven.client = client;
    }

    /// The store's answer decides.
    pub(crate) fn taken(self, answer: Claimed) -> Result<Taken, Outcome> {
        let refused = |reason, said| Err(Outcome { reason, detail: said });
        match answer {
            Claimed::Fresh => {
                Ok(Taken { source: self.proven.origin.source, target: self.proven.knock.target() })
            }
            Claimed::Replayed => refused(Reason::Replayed, None),
            Claimed::BelowHorizon => refused(
                Reason::Stale,
                Some(Detail::Said("older than what the full replay store still knows")),
            ),
            Claimed::Unavailable => refused(Reason::StoreUnavailable, None),
        }
    }
}

impl Taken {
    pub(crate) const fn source(&self) -> SocketAddr {
        self.source
    }

    /// For which address; `None`: the source.
    pub(crate) const fn target(&self) -> Option<IpAddr> {
        self.target
    }

    #[cfg(test)]
    pub(crate) const fn for_test(source: SocketAddr, target: Option<IpAddr>) -> Self {
        Self { source, target }
    }
}
