//! Packets that the host's GnuPG seals and opens (docs: "GnuPG mode"). The text inside is the same as in symmetric ones.
//!
//! Nothing here runs anything. `message` knows the shape on the wire, `keys` the keys of a stanza, `status` what gpg
//! reports, `judge` whether that is a knock. The way in: [`GpgKeys::message`] gives the bytes that somebody outside hands
//! to gpg, and [`GpgKeys::judge`] says what its answer is worth. The way out: [`super::encode`], gpg, [`wrap`].

mod judge;
mod keys;
mod message;
mod status;

pub use judge::{Answer, Failure, GpgError, Heard, Spoken};
pub use keys::{GpgKeys, GpgKeysError, HmacKey, RawGpg, Ring, RingId, Signers, is_fingerprint, is_key_id};
pub use message::{LONGEST_GPG, WrapError, Wrapped, wrap};
pub use status::{Quality, Signature, Status, Validity};

pub(super) use message::Form;
