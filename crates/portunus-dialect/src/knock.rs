//! A knock: what is believed, because a client's key proved it. Nobody outside this crate can make one.

use std::net::IpAddr;
use std::time::Duration;

use portunus_model::{Claim, ClaimKey, ClientKey, Dialect, Unix};

use crate::{fwknop, native};

/// A proven knock: sealed for our key and signed by a client's. Not yet fresh, new or allowed.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub struct Knock {
    key: ClientKey,
    stamp: Unix,
    target: Option<IpAddr>,
    claim: ClaimKey,
    ask: Ask,
    text: Option<[u8; 32]>,
    listing: Option<Box<str>>,
}

/// What a knock asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Ask {
    /// All that its client may open: openme's packets name nothing.
    All,
    /// What an fwknop packet names.
    Fwknop(Box<fwknop::Asked>),
    /// What a native one says.
    Native(Box<native::Asked>),
}

impl Knock {
    pub(crate) const fn proven(
        key: ClientKey,
        stamp: Unix,
        target: Option<IpAddr>,
        claim: ClaimKey,
        ask: Ask,
    ) -> Self {
        Self { key, stamp, target, claim, ask, text: None, listing: None }
    }

    /// The same, with the SHA-256 of its text.
    pub(crate) const fn with_text(mut self, sha256: [u8; 32]) -> Self {
        self.text = Some(sha256);
        self
    }

    /// The same, with a listing of its fields, where its dialect has one.
    pub fn with_listing(mut self, list: impl FnOnce(&fwknop::Asked) -> String) -> Self {
        if let Ask::Fwknop(asked) = &self.ask {
            self.listing = Some(list(asked).into());
        }
        self
    }

    /// The listing of its fields, for who wants to read along.
    #[must_use]
    pub fn listing(&self) -> Option<&str> {
        self.listing.as_deref()
    }

    /// The language it was written in.
    #[must_use]
    pub const fn dialect(&self) -> Dialect {
        match self.key {
            ClientKey::Openme(_) => Dialect::Openme,
            ClientKey::Fwknop(_) => Dialect::Fwknop,
            ClientKey::Native(_) => Dialect::Native,
        }
    }

    /// The client's key that proved it.
    #[must_use]
    pub const fn key(&self) -> ClientKey {
        self.key
    }

    /// When the client says that it was made.
    #[must_use]
    pub const fn stamp(&self) -> Unix {
        self.stamp
    }

    /// For which address the door is wanted, in canonical form; `None`: for where the datagram came from.
    #[must_use]
    pub const fn target(&self) -> Option<IpAddr> {
        self.target
    }

    /// What it asks for.
    #[must_use]
    pub const fn ask(&self) -> &Ask {
        &self.ask
    }

    /// The SHA-256 of the packet's text, where fwknop's digest.cache has a line for such packets.
    #[must_use]
    pub const fn text_sha256(&self) -> Option<[u8; 32]> {
        self.text
    }

    /// The one right to use it. It is to be kept until the packet's own timestamp plus `window`, not for a window from
    /// now: a client whose clock runs ahead stays fresh for longer than a window after its packet came.
    pub fn claim(&self, window: Duration) -> Claim {
        Claim { key: self.claim, stamp: self.stamp, keep_until: self.stamp.after(window) }
    }
}
