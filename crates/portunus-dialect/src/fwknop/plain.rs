//! The text inside a packet: `RAND:USER:TIMESTAMP:VERSION:TYPE:MESSAGE[:NAT][:SERVER_AUTH][:TIMEOUT]:DIGEST`.

use portunus_crypto::hash::HashType;
use portunus_crypto::text;
use portunus_model::Unix;

use super::message::{Message, Nat};

/// The version that every client since 2.5 sends.
pub const VERSION: &str = "3.0.0";
/// The longest user name, in bytes: what fits into 64 letters of base64.
pub const LONGEST_USER: usize = 48;
/// The longest time that a client may ask for, in seconds.
pub const LONGEST_TIMEOUT: u32 = 65_536;

/// The text has at least as many characters.
pub(super) const SHORTEST_TEXT: usize = 36;
/// The text and every encoding of it have fewer characters.
pub(super) const TOO_LONG: usize = 1500;
/// How many digits RAND has.
pub(super) const RANDOM: usize = 16;

const LONGEST_STAMP: usize = 12;
const LONGEST_VERSION: usize = 8;
const LONGEST_KIND: usize = 2;
const LONGEST_TIMEOUT_TEXT: usize = 5;
const LONGEST_ENCODED_USER: usize = 64;

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

    const fn has_nat(self) -> bool {
        matches!(self, Self::Nat | Self::NatTimeout | Self::LocalNat | Self::LocalNatTimeout)
    }

    const fn is_local(self) -> bool {
        matches!(self, Self::LocalNat | Self::LocalNatTimeout)
    }

    const fn has_timeout(self) -> bool {
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
        match &self.nat {
            Some(_) if command => return Err(FieldError::Nat),
            Some(nat) => nat.check()?,
            None => {}
        }
        match self.timeout {
            Some(timeout) if command || timeout > LONGEST_TIMEOUT => Err(FieldError::Timeout),
            Some(_) | None => Ok(()),
        }
    }
}

/// What a packet says: the wish, when it was made, and the number that makes it the only one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// RAND: sixteen decimal digits.
    pub random: String,
    /// TIMESTAMP: seconds since 1970.
    pub stamp: u64,
    /// All else.
    pub wish: Wish,
}

/// Which field of a packet's text is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// The text is too short or too long, or has a character that is not printable ASCII.
    #[error("its text has another length, or other characters, than a knock")]
    Text,
    /// DIGEST is of no known length, or is not of this text.
    #[error("its digest is not that of its text")]
    Digest,
    /// There are too few or too many fields for the type.
    #[error("it has too few or too many fields")]
    Fields,
    /// RAND is not 16 digits.
    #[error("its random value is not sixteen digits")]
    Random,
    /// USER is empty, too long, or has a character that is not allowed.
    #[error(
        "the user name is empty, longer than {LONGEST_USER} bytes, or has a character that is not allowed"
    )]
    User,
    /// TIMESTAMP is no number of seconds.
    #[error("the timestamp is not a number of seconds")]
    Stamp,
    /// VERSION does not have 1 to 8 characters.
    #[error("the version does not have 1 to {LONGEST_VERSION} characters")]
    Version,
    /// TYPE is not a number from 0 to 6.
    #[error("the message type is not a number from 0 to 6")]
    Kind,
    /// MESSAGE is too long, is not base64, or has no comma.
    #[error("the message is longer than 255 bytes, or is not an address, a comma, and what is wanted")]
    Message,
    /// The address in MESSAGE is none.
    #[error("the address is not IPv4, nor IPv6 in its usual form")]
    Address,
    /// The ports in MESSAGE are none.
    #[error("the ports are not tcp/1 to udp/65535, with commas between them")]
    Ports,
    /// The command in MESSAGE is empty or not text.
    #[error("the command is empty or not text")]
    Command,
    /// NAT is not a host, one comma and a port, or stands beside a command.
    #[error("the NAT destination is not a host, a comma, and a port from 1 to 65535")]
    Nat,
    /// SERVER_AUTH is not base64.
    #[error("the server's second factor is not base64")]
    ServerAuth,
    /// TIMEOUT is not a number from 0 to 65536, or stands beside a command.
    #[error("the time is not a number of seconds from 0 to {LONGEST_TIMEOUT}")]
    Timeout,
}

impl Asked {
    /// When it says that it was made.
    #[must_use]
    pub fn stamp(&self) -> Unix {
        Unix::from_secs(i64::try_from(self.stamp).unwrap_or(i64::MAX))
    }

    /// The text without its digest.
    pub(super) fn encode(&self) -> String {
        let Wish { user, version, message, nat, server_auth, timeout, .. } = &self.wish;
        let (user, message) = (bare(user), bare(&message.to_string()));
        let mut text = format!(
            "{}:{user}:{}:{version}:{}:{message}",
            self.random,
            self.stamp,
            self.wish.kind().number()
        );
        let nat = nat.as_ref().map(|nat| bare(&nat.to_string()));
        let auth = server_auth.as_ref().map(|auth| text::encode_bare(auth));
        for field in [nat, auth, timeout.map(|timeout| timeout.to_string())].into_iter().flatten() {
            text.push(':');
            text.push_str(&field);
        }
        text
    }

    /// Reads a text with its digest.
    pub(super) fn read(text: &[u8]) -> Result<Self, FieldError> {
        let printable = text.iter().all(|byte| matches!(byte, b' '..=b'~'));
        if !printable || !(SHORTEST_TEXT..TOO_LONG).contains(&text.len()) {
            return Err(FieldError::Text);
        }
        let text = str::from_utf8(text).map_err(|_| FieldError::Text)?;
        let (text, digest) = text.rsplit_once(':').ok_or(FieldError::Fields)?;
        let digest = digest_of(text, digest).ok_or(FieldError::Digest)?;
        Fields(text.split(':')).read(digest)
    }
}

struct Fields<'a>(std::str::Split<'a, char>);

impl<'a> Fields<'a> {
    fn read(mut self, digest: HashType) -> Result<Asked, FieldError> {
        let random = self.next()?;
        if random.len() != RANDOM || !digits(random, RANDOM) {
            return Err(FieldError::Random);
        }
        let user = read_user(self.next()?)?;
        let stamp = number(self.next()?, LONGEST_STAMP).ok_or(FieldError::Stamp)?;
        let version = self.next()?.to_owned();
        version_fits(&version).then_some(()).ok_or(FieldError::Version)?;
        let kind = number(self.next()?, LONGEST_KIND).and_then(|n| Kind::ALL.get(usize::try_from(n).ok()?));
        let kind = *kind.ok_or(FieldError::Kind)?;
        let message = loose(self.next()?).ok_or(FieldError::Message)?;
        let message = match kind {
            Kind::Command => Message::read_command(&message)?,
            Kind::Access | Kind::Nat | Kind::AccessTimeout => Message::read_access(&message)?,
            Kind::NatTimeout | Kind::LocalNat | Kind::LocalNatTimeout => Message::read_access(&message)?,
        };
        let nat = kind.has_nat().then(|| self.nat(kind.is_local())).transpose()?;
        let (server_auth, timeout) = self.last(kind.has_timeout())?;
        let wish = Wish { user, version, message, nat, server_auth, timeout, digest };
        Ok(Asked { random: random.to_owned(), stamp, wish })
    }

    fn next(&mut self) -> Result<&'a str, FieldError> {
        self.0.next().ok_or(FieldError::Fields)
    }

    fn nat(&mut self, local: bool) -> Result<Nat, FieldError> {
        Nat::read(&loose(self.next()?).ok_or(FieldError::Nat)?, local)
    }

    /// SERVER_AUTH, which may be missing, and TIMEOUT, which may not where the type has one; and nothing behind them.
    fn last(mut self, has_timeout: bool) -> Result<(Option<Vec<u8>>, Option<u32>), FieldError> {
        let (first, second) = (self.0.next(), self.0.next());
        if self.0.next().is_some() {
            return Err(FieldError::Fields);
        }
        let (auth, timeout) = match (has_timeout, first, second) {
            (true, Some(timeout), None) => (None, Some(timeout)),
            (true, auth @ Some(_), timeout @ Some(_)) => (auth, timeout),
            (false, auth, None) => (auth, None),
            (true, None, _) | (false, _, Some(_)) => return Err(FieldError::Fields),
        };
        let auth =
            auth.map(|auth| text::decode_loose(auth.as_bytes()).ok_or(FieldError::ServerAuth)).transpose()?;
        Ok((auth, timeout.map(read_timeout).transpose()?))
    }
}

/// The hash that `digest` is of `text`. Its length names it, or two.
fn digest_of(text: &str, digest: &str) -> Option<HashType> {
    let fits = |hash: &HashType| {
        hash.bare_length() == digest.len() && hash.digest(text.as_bytes()).is_bare(digest.as_bytes())
    };
    HashType::ALL.into_iter().find(fits)
}

fn read_user(field: &str) -> Result<String, FieldError> {
    let user = Some(field).filter(|field| field.len() <= LONGEST_ENCODED_USER).and_then(loose);
    user.filter(|user| user_fits(user)).ok_or(FieldError::User)
}

fn user_fits(user: &str) -> bool {
    let letter = |c: char| matches!(c, ' '..='~') && !"\"/\\[]:;|=,+*?<>".contains(c);
    (1..=LONGEST_USER).contains(&user.len()) && user.chars().all(letter)
}

fn version_fits(version: &str) -> bool {
    let letter = |c: char| matches!(c, ' '..='~') && c != ':';
    (1..=LONGEST_VERSION).contains(&version.len()) && version.chars().all(letter)
}

fn read_timeout(field: &str) -> Result<u32, FieldError> {
    let timeout = number(field, LONGEST_TIMEOUT_TEXT).and_then(|n| u32::try_from(n).ok());
    timeout.filter(|&timeout| timeout <= LONGEST_TIMEOUT).ok_or(FieldError::Timeout)
}

fn number(field: &str, longest: usize) -> Option<u64> {
    digits(field, longest).then(|| field.parse().ok())?
}

fn digits(field: &str, longest: usize) -> bool {
    (1..=longest).contains(&field.len()) && field.bytes().all(|byte| byte.is_ascii_digit())
}

fn bare(text: &str) -> String {
    text::encode_bare(text.as_bytes())
}

/// Some clients leave the padding on. Inside the seal that makes no second packet of one.
fn loose(field: &str) -> Option<String> {
    String::from_utf8(text::decode_loose(field.as_bytes())?).ok()
}
