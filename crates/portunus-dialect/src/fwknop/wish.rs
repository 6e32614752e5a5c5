//! What a client wants, and what of it a packet can say.

use portunus_crypto::hash::HashType;

use super::field::FieldError;
use super::message::{Message, Nat};

/// The version that every client since 2.5 sends.
pub const VERSION: &str = "3.0.0";
/// The longest user name, in bytes: what fits into 64 letters of base64.
pub const LONGEST_USER: usize = 48;
/// The longest version, in bytes.
pub const LONGEST_VERSION: usize = 8;
/// The longest time that a client may ask for, in seconds.
pub const LONGEST_TIMEOUT: u32 = 65_536;

/// TYPE: which fields there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// 0: run a command.
    Command,
    /// 1: open ports.
    Access,
    /// 2: open ports that lead to a host behind the server.
    Nat,
    /// 3: open ports, for a time that the client chose.
    AccessTimeout,
    /// 4: as 2, for a time that the client chose.
    NatTimeout,
    /// 5: open ports that lead to another port of the server.
    LocalNat,
    /// 6: as 5, for a time that the client chose.
    LocalNatTimeout,
}

impl Kind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 7] = [
        Self::Command,
        Self::Access,
        Self::Nat,
        Self::AccessTimeout,
        Self::NatTimeout,
        Self::LocalNat,
        Self::LocalNatTimeout,
    ];

    /// The number in the packet.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    pub(super) const fn has_nat(self) -> bool {
        matches!(self, Self::Nat | Self::NatTimeout | Self::LocalNat | Self::LocalNatTimeout)
    }

    pub(super) const fn is_local(self) -> bool {
        matches!(self, Self::LocalNat | Self::LocalNatTimeout)
    }

    pub(super) const fn has_timeout(self) -> bool {
        matches!(self, Self::AccessTimeout | Self::NatTimeout | Self::LocalNatTimeout)
    }
}

/// What a client wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// The user's name.
    pub user: String,
    /// The version of the protocol; nobody looks at it.
    pub version: String,
    /// What, and for whom.
    pub message: Message,
    /// Where opened ports are to lead; not with a command.
    pub nat: Option<Nat>,
    /// Text for a second factor; the original decodes it and uses it for nothing.
    pub server_auth: Option<Vec<u8>>,
    /// For how many seconds; `None`: the server's choice. Not with a command.
    pub timeout: Option<u32>,
    /// By which hash the text is checked.
    pub digest: HashType,
}

impl Wish {
    /// This message from this user, all else as usual.
    #[must_use]
    pub fn new(user: &str, message: Message) -> Self {
        Self {
            user: user.to_owned(),
            version: VERSION.to_owned(),
            message,
            nat: None,
            server_auth: None,
            timeout: None,
            digest: HashType::default(),
        }
    }

    /// The kind of packet that says this. A command's has no place for NAT and time.
    #[must_use]
    pub fn kind(&self) -> Kind {
        let local = self.nat.as_ref().map(|nat| nat.local);
        match (&self.message, local, self.timeout.is_some()) {
            (Message::Command { .. }, ..) => Kind::Command,
            (Message::Access { .. }, None, false) => Kind::Access,
            (Message::Access { .. }, None, true) => Kind::AccessTimeout,
            (Message::Access { .. }, Some(false), false) => Kind::Nat,
            (Message::Access { .. }, Some(false), true) => Kind::NatTimeout,
            (Message::Access { .. }, Some(true), false) => Kind::LocalNat,
            (Message::Access { .. }, Some(true), true) => Kind::LocalNatTimeout,
        }
    }

    /// Whether a packet can say it, by the limits that the receiver has.
    ///
    /// # Errors
    /// [`FieldError`] names the field that does not fit.
    pub fn check(&self) -> Result<(), FieldError> {
        user_fits(&self.user).then_some(()).ok_or(FieldError::User)?;
        version_fits(&self.version).then_some(()).ok_or(FieldError::Version)?;
        self.message.check()?;
        let command = self.kind() == Kind::Command;
        let ipv6 = self.message.address().is_some_and(|address| address.is_ipv6());
        match &self.nat {
            Some(nat) if command || (nat.is_ipv6() && !ipv6) => return Err(FieldError::Nat),
            Some(nat) => nat.check()?,
            None => {}
        }
        match self.timeout {
            Some(timeout) if command || timeout > LONGEST_TIMEOUT => Err(FieldError::Timeout),
            Some(_) | None => Ok(()),
        }
    }
}

pub(super) fn user_fits(user: &str) -> bool {
    let letter = |c: char| matches!(c, ' '..='~') && !"\"/\\[]:;|=,+*?<>".contains(c);
    (1..=LONGEST_USER).contains(&user.len()) && user.chars().all(letter)
}

fn version_fits(version: &str) -> bool {
    let letter = |c: char| matches!(c, ' '..='~') && c != ':';
    (1..=LONGEST_VERSION).contains(&version.len()) && version.chars().all(letter)
}
