//! Why a stanza of fwknop's refuses a proven knock: one list, for logs, events and the words of `fwknopd`.

use std::fmt;

use crate::Reason;

/// Why one stanza refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Its ACCESS_EXPIRE is over.
    Expired,
    /// The timestamp is further off than its MAX_SPA_PACKET_AGE.
    Stale,
    /// It names no address (0.0.0.0), and REQUIRE_SOURCE_ADDRESS is set.
    NoAddress,
    /// Nobody opens for such an address.
    Address,
    /// Not the REQUIRE_USERNAME.
    Username,
    /// NAT is asked for, and ENABLE_IPT_FORWARDING is off.
    NatOff,
    /// Local NAT is asked for, and ENABLE_IPT_LOCAL_NAT is off.
    LocalNatOff,
    /// The inner host is named, and ENABLE_NAT_DNS is off.
    NamesOff,
    /// The inner host's name is no name of a host.
    NotAName,
    /// Nobody knows the inner host's name.
    NameUnknown,
    /// A command, and ENABLE_CMD_EXEC is off.
    CommandsOff,
    /// A port that is not in OPEN_PORTS, or one that is in RESTRICT_PORTS.
    Port,
}

impl Refusal {
    /// The word of the one list of reasons.
    #[must_use]
    pub const fn reason(self) -> Reason {
        match self {
            Self::Expired => Reason::Expired,
            Self::Stale => Reason::Stale,
            Self::NoAddress
            | Self::Address
            | Self::Username
            | Self::NatOff
            | Self::LocalNatOff
            | Self::NamesOff
            | Self::NotAName
            | Self::NameUnknown
            | Self::CommandsOff
            | Self::Port => Reason::NotAllowed,
        }
    }

    /// In words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "its time is over",
            Self::Stale => "the packet is older or newer than it takes",
            Self::NoAddress => "the packet must name an address: knock with -a or -R, not with -s",
            Self::Address => "no door is opened for such an address",
            Self::Username => "another user name is required",
            Self::NatOff => "NAT is not enabled (ENABLE_IPT_FORWARDING)",
            Self::LocalNatOff => "local NAT is not enabled (ENABLE_IPT_LOCAL_NAT)",
            Self::NamesOff => "the inner host must be an address (ENABLE_NAT_DNS is off)",
            Self::NotAName => "the inner host's name is no name of a host",
            Self::NameUnknown => "the inner host's name is not known",
            Self::CommandsOff => "commands are not allowed (ENABLE_CMD_EXEC)",
            Self::Port => "a requested port is not allowed (OPEN_PORTS, RESTRICT_PORTS)",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
