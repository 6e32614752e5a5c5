//! fwknop 2.x: one packet of base64 text, AES-256 and HMAC with keys that both ends have (docs: "The fwknop packet").
//!
//! `packet` knows the shape, `keys` what opens and makes it, `open` the way in, `seal` the way out, `wish` what a
//! client wants, `listing` shows it to people, `plain`, `message` and `field` the text that says it; `gpg` are the packets of
//! GnuPG's, which have the same text inside.

mod field;
pub mod gpg;
mod keys;
mod listing;
mod message;
mod open;
mod packet;
mod plain;
mod raw;
mod seal;
mod wish;

/// A hash, as a digest of the text or under the HMAC.
pub use portunus_crypto::hash::HashType;

pub use field::FieldError;
pub use keys::{Keys, KeysError, LEGACY_KEY, LONGEST_HMAC_KEY, LONGEST_KEY, LONGEST_LEGACY_KEY, Mode};
pub use listing::Fields;
pub use message::{LONGEST_HOST, LONGEST_MESSAGE, Message, Nat, read_ports};
pub use open::OpenError;
pub use packet::{LONGEST, Packet, SHORTEST, has_prefix};
pub use plain::Asked;
pub use raw::RawKeys;
pub use seal::{Encoded, Envelope, SealError, Sealed, encode, envelope, seal};
pub use wish::{Kind, LONGEST_TIMEOUT, LONGEST_USER, LONGEST_VERSION, VERSION, Wish};
