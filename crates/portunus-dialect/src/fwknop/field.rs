//! What can be wrong with the text inside a packet, on its way in and on its way out.

use super::wish::{LONGEST_TIMEOUT, LONGEST_USER, LONGEST_VERSION};

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
    #[error(
        "the NAT destination is not a host and a port from 1 to 65535; IPv6 goes with an IPv6 address to allow only, a command with none"
    )]
    Nat,
    /// SERVER_AUTH is not base64.
    #[error("the server's second factor is not base64")]
    ServerAuth,
    /// TIMEOUT is not a number from 0 to 65536, or stands beside a command.
    #[error("the time is not a number of seconds from 0 to {LONGEST_TIMEOUT}")]
    Timeout,
}
