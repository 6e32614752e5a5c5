//! How far a knock has come, as types: `Proven`, `Fresh`, `Taken`. Each is made from the one before it and consumes it,
//! so no step can be left out, done twice or done with another packet's result.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use portunus_dialect::{Ask, Knock};
use portunus_model::{
    Accepted, Carried, Claim, Claimed, Client, ClientKey, Detail, Dialect, Grounds, Mono, Now, Reason, Unix,
    Via,
};

use crate::clients::NOBODY;
use crate::native::ReplyTo;

/// As good as for ever, and still a time that the store can write.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Where a datagram seems to come from, and how it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) source: SocketAddr,
    /// The source's address that an HTTP proxy named, where the administrator trusts that proxy.
    pub(crate) claimed: Option<IpAddr>,
    pub(crate) destination: Option<IpAddr>,
    pub(crate) carried: Option<Carried>,
    pub(crate) via: Via,
    /// When it was handed to the gate.
    pub(crate) arrived: Mono,
    /// What its answer is sealed with, from its claim to its verdict.
    pub(crate) reply: Option<ReplyTo>,
}

impl Origin {
    /// For whom the knock is, when it does not say it itself; canonical.
    pub(crate) fn address(&self) -> IpAddr {
        self.claimed.unwrap_or(self.source.ip()).to_canonical()
    }
}

/// A knock whose key is the client's with this index.
#[derive(Debug)]
pub(crate) struct Proven {
    knock: Knock,
    pub(crate) client: u32,
    /// Whose it is too: a signature may count with several stanzas, each with keys of its own.
    others: Vec<u32>,
    /// Native: by what it came in.
    through: Through,
    pub(crate) origin: Origin,
}

/// Proven, and its timestamp is within the window.
#[derive(Debug)]
pub(crate) struct Fresh {
    proven: Proven,
    claim: Claim,
}

impl Through {
    const NOTHING: Self = Self { announced: false, moved: None };
}

/// Fresh, and nobody had it before: the store says so.
#[derive(Debug)]
pub(crate) struct Taken {
    origin: Origin,
    knock: Knock,
    others: Vec<u32>,
    through: Through,
}

/// By what a native knock came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Through {
    /// Whether the link that opened it is one that its client had announced, and not used before.
    pub(crate) announced: bool,
    /// The public key of its door, where everybody is to knock there from now on.
    pub(crate) moved: Option<[u8; 32]>,
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
        Self { knock, client, others: Vec::new(), through: Through::NOTHING, origin }
    }

    /// The same, where it is known by what it came in.
    pub(crate) const fn through(mut self, through: Through) -> Self {
        self.through = through;
        self
    }

    /// The same, where it is others' too.
    pub(crate) fn with(mut self, others: Vec<u32>) -> Self {
        self.others = others;
        self
    }

    /// Whose it is.
    pub(crate) fn clients(&self) -> impl Iterator<Item = u32> {
        std::iter::once(self.client).chain(self.others.iter().copied())
    }

    pub(crate) const fn dialect(&self) -> Dialect {
        self.knock.dialect()
    }

    /// Age first: |now - timestamp| <= window. Without a window (ENABLE_SPA_PACKET_AGING N) it is fresh whatever its age,
    /// and the claim is kept for ever.
    pub(crate) fn fresh(self, now: Now, window: Option<Duration>) -> Result<Fresh, Outcome> {
        let stamp = self.knock.stamp();
        if window.is_some_and(|window| now.wall.distance(stamp) > window) {
            return Err(Outcome { reason: Reason::Stale, detail: Some(clock_offset(stamp, now)) });
        }
        let claim = self.knock.claim(window.unwrap_or(FOR_EVER));
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

    /// The SHA-256 of its text, where its dialect has one.
    pub(crate) const fn text_sha256(&self) -> Option<[u8; 32]> {
        self.proven.knock.text_sha256()
    }

    /// After a reload.
    pub(crate) fn renumber(&mut self, number: impl Fn(u32) -> u32) {
        renumber(&mut self.proven.client, &mut self.proven.others, number);
    }

    /// The store's answer decides.
    pub(crate) fn taken(self, answer: Claimed) -> Result<Taken, Outcome> {
        let refused = |reason, said| Err(Outcome { reason, detail: said });
        match answer {
            Claimed::Fresh => {
                let Proven { knock, others, through, origin, .. } = self.proven;
                Ok(Taken { origin, knock, others, through })
            }
            Claimed::Replayed => refused(Reason::Replayed, None),
            Claimed::BelowHorizon => {
                refused(Reason::Stale, Some(Detail::Said("older than what the replay store still knows")))
            }
            Claimed::TooFarAhead => refused(
                Reason::Stale,
                Some(Detail::Said("so far ahead that the replay store has no more room for its kind")),
            ),
            Claimed::Unavailable => refused(Reason::StoreUnavailable, None),
        }
    }
}

impl Taken {
    pub(crate) const fn origin(&self) -> Origin {
        self.origin
    }

    /// Whose it is besides its client's.
    pub(crate) fn others(&self) -> impl Iterator<Item = u32> {
        self.others.iter().copied()
    }

    /// After a reload; `client` is whose it is besides.
    pub(crate) fn renumber(&mut self, client: &mut u32, number: impl Fn(u32) -> u32) {
        renumber(client, &mut self.others, number);
    }

    pub(crate) const fn dialect(&self) -> Dialect {
        self.knock.dialect()
    }

    /// The public key of the native client whose it is.
    pub(crate) const fn native_key(&self) -> Option<[u8; 32]> {
        match self.knock.key() {
            ClientKey::Native(public) => Some(public),
            ClientKey::Openme(_) | ClientKey::Fwknop(_) => None,
        }
    }

    /// By what it came in.
    pub(crate) const fn through(&self) -> Through {
        self.through
    }

    /// Where it came from; canonical.
    pub(crate) fn source(&self) -> IpAddr {
        self.origin.address()
    }

    /// Where it went to, where the receiver could tell; canonical.
    pub(crate) fn destination(&self) -> Option<IpAddr> {
        self.origin.destination.map(|address| address.to_canonical())
    }

    /// On what a grant to `client` stands.
    pub(crate) fn grounds(&self, client: &Client) -> Grounds {
        Grounds { mark: client.mark, source: Some(self.source()), destination: self.destination() }
    }

    /// For which address; `None`: the source.
    pub(crate) const fn target(&self) -> Option<IpAddr> {
        self.knock.target()
    }

    pub(crate) const fn stamp(&self) -> Unix {
        self.knock.stamp()
    }

    /// For the file of accepted packets, where its dialect has one.
    pub(crate) fn accepted(&self, now: Now) -> Option<Accepted> {
        let digest = self.knock.text_sha256()?;
        let Origin { source, via, carried, .. } = self.origin;
        let listing = self.knock.listing().map(Box::from);
        Some(Accepted { digest, source, destination: self.destination(), via, carried, listing, at: now })
    }

    pub(crate) const fn ask(&self) -> &Ask {
        self.knock.ask()
    }

    /// A knock that says `wish`, made at `stamp`, as if it were claimed.
    #[cfg(test)]
    pub(crate) fn for_test(source: SocketAddr, wish: portunus_dialect::fwknop::Wish, stamp: Unix) -> Self {
        use portunus_dialect::fwknop::{Keys, Mode, Packet, seal};
        let keys = Keys::new(b"key", Mode::Cbc, None).unwrap();
        let wire = seal(&keys, wish, stamp, &mut portunus_crypto::SystemEntropy).unwrap().wire;
        let knock = keys.open(&Packet::new_checked(wire.as_bytes()).unwrap()).unwrap();
        let (carried, arrived) = (None, Mono::default());
        let (claimed, destination, reply) = (None, None, None);
        let origin = Origin { source, claimed, destination, carried, via: Via::Udp, arrived, reply };
        Self { origin, knock, others: Vec::new(), through: Through::NOTHING }
    }
}

/// How far the clock that stamped it is from ours.
pub(crate) fn clock_offset(stamp: Unix, now: Now) -> Detail {
    let ahead = stamp.as_nanos().saturating_sub(now.wall.as_nanos()) / 1_000_000;
    Detail::ClockOffset(i64::try_from(ahead).unwrap_or(if ahead < 0 { i64::MIN } else { i64::MAX }))
}

/// Where a reload took the first away, it is the next one's.
fn renumber(client: &mut u32, others: &mut Vec<u32>, number: impl Fn(u32) -> u32) {
    others.iter_mut().for_each(|other| *other = number(*other));
    others.retain(|&other| other != NOBODY);
    *client = number(*client);
    if *client == NOBODY && !others.is_empty() {
        *client = others.remove(0);
    }
}
