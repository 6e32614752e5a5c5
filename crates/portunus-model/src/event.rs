//! What happened: exactly one verdict a datagram, and the ends of grants.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Carried, ClientName, Now, PortSpec, Refusal, Via, Way};

/// A language that a knock can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// openme v1: 165 bytes.
    Openme,
    /// fwknop: base64 text.
    Fwknop,
    /// Our own: noise.
    Native,
}

impl Dialect {
    /// The word in files and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Openme => "openme",
            Self::Fwknop => "fwknop",
            Self::Native => "native",
        }
    }
}

/// Why: the one fixed list of reasons in logs, metrics and events (docs: "Words").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// A door was opened; the kernel has the rule and it was read back.
    Granted,
    /// A door that was open for this client stays open longer.
    Extended,
    /// A grant ended: its time was up, or somebody closed it.
    Closed,
    /// Somebody who was invited is a client from now on.
    Enrolled,
    /// Not a packet of any dialect in use.
    Noise,
    /// More than the budget of its lane allows.
    RateLimited,
    /// Shaped like a packet, and not sealed for us or not signed by anyone.
    Unauthentic,
    /// Proven, and its timestamp is outside the window.
    Stale,
    /// Proven, and it was used before.
    Replayed,
    /// Sealed for us, and no client's signature fits.
    UnknownClient,
    /// Proven, and the client's time is over.
    Expired,
    /// Proven, and the policy does not allow what it asks.
    NotAllowed,
    /// Proven, and the second factor is missing or wrong.
    SecondFactor,
    /// Our queue is full.
    Busy,
    /// The firewall did not take the grant.
    FirewallFailed,
    /// The replay store did not answer.
    StoreUnavailable,
}

impl Reason {
    /// Every reason, in the order of the docs.
    pub const ALL: [Self; 16] = [
        Self::Granted,
        Self::Extended,
        Self::Closed,
        Self::Enrolled,
        Self::Noise,
        Self::RateLimited,
        Self::Unauthentic,
        Self::Stale,
        Self::Replayed,
        Self::UnknownClient,
        Self::Expired,
        Self::NotAllowed,
        Self::SecondFactor,
        Self::Busy,
        Self::FirewallFailed,
        Self::StoreUnavailable,
    ];

    /// Whether a datagram that ends so was turned away.
    #[must_use]
    pub const fn refuses(self) -> bool {
        match self {
            Self::Granted | Self::Extended | Self::Closed | Self::Enrolled => false,
            Self::Noise
            | Self::RateLimited
            | Self::Unauthentic
            | Self::Stale
            | Self::Replayed
            | Self::UnknownClient
            | Self::Expired
            | Self::NotAllowed
            | Self::SecondFactor
            | Self::Busy
            | Self::FirewallFailed
            | Self::StoreUnavailable => true,
        }
    }

    /// The word in logs, metrics and events.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Extended => "extended",
            Self::Closed => "closed",
            Self::Enrolled => "enrolled",
            Self::Noise => "noise",
            Self::RateLimited => "rate-limited",
            Self::Unauthentic => "unauthentic",
            Self::Stale => "stale",
            Self::Replayed => "replayed",
            Self::UnknownClient => "unknown-client",
            Self::Expired => "expired",
            Self::NotAllowed => "not-allowed",
            Self::SecondFactor => "second-factor",
            Self::Busy => "busy",
            Self::FirewallFailed => "firewall-failed",
            Self::StoreUnavailable => "store-unavailable",
        }
    }
}

/// A packet that was accepted, for the file in which fwknop keeps such packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The SHA-256 of its text.
    pub digest: [u8; 32],
    /// From where it came.
    pub source: SocketAddr,
    /// To where, where the receiver knows it.
    pub destination: Option<IpAddr>,
    /// How.
    pub via: Via,
    /// By which protocol and to which port, where the receiver knows it.
    pub carried: Option<Carried>,
    /// Its fields for people's eyes, where they are wanted; no key and nothing that is made of one alone.
    pub listing: Option<Box<str>>,
    /// When, in seconds of the clock on the wall.
    pub at: Now,
}

/// One outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Now,
    /// The source of the datagram; `None` where no datagram was the cause (a grant's time was up).
    pub source: Option<SocketAddr>,
    /// How it came in; `None` as above.
    pub via: Option<Via>,
    /// Which dialect, as far as it is known.
    pub dialect: Option<Dialect>,
    /// Whose it is; only ever set when proven.
    pub client: Option<ClientName>,
    /// Why.
    pub reason: Reason,
    /// More, for people.
    pub detail: Option<Detail>,
    /// How long after its datagram came in this was known; `None` where none was the cause.
    pub took: Option<Duration>,
}

/// What else is worth saying of an outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Detail {
    /// What was opened, extended or closed.
    Grant {
        /// For which address.
        address: IpAddr,
        /// Which ports.
        ports: Box<[PortSpec]>,
        /// For how long from the event on; zero for an end.
        lasting: Duration,
        /// For packets to this address of ours only.
        destination: Option<IpAddr>,
        /// By which way.
        way: Way,
    },
    /// A command was begun.
    Ran {
        /// For which address; `None` for a command that the client sent.
        address: Option<IpAddr>,
        /// How long until the closing command runs; zero where there is none.
        lasting: Duration,
    },
    /// Why each stanza that was tried refused, by its number. Never empty; the event's own reason is the last one's.
    Refusals(Box<[(u32, Refusal)]>),
    /// How far the client's clock is from ours (positive: the client's runs ahead), in milliseconds.
    ClockOffset(i64),
    /// In words, of our making only: never a stranger's bytes.
    Said(&'static str),
}

impl Detail {
    /// Refusals as one line of words: `stanza 1: its time is over; stanza 3: another user name is required`.
    #[must_use]
    pub fn refusals_in_words(refusals: &[(u32, Refusal)]) -> String {
        let one = |(number, refusal): &(u32, Refusal)| format!("stanza {number}: {refusal}");
        refusals.iter().map(one).collect::<Vec<_>>().join("; ")
    }
}
