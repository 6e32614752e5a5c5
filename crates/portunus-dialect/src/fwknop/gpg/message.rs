//! An OpenPGP message as text on the wire, and back.
//!
//! The original leaves the two letters `hQ` out, with which every message for an RSA or ElGamal key begins, and puts them
//! in front of whatever comes. A message for an elliptic-curve key begins otherwise, so there it breaks. Ours sends such a
//! one whole. Both are told apart by the fourth letter: the packet's version, which is 3, lies across different letters.

use portunus_crypto::text;

use super::keys::HmacKey;

/// The longest GnuPG packet, in characters: what two Ethernet frames carry of one datagram, in either family.
pub const LONGEST_GPG: usize = 2880;

/// What the sender leaves out of a message for an RSA or ElGamal key.
pub(in crate::fwknop) const HQ: &str = "hQ";

/// The most recipients of one message.
const RECIPIENTS: usize = 4;

/// What stands on the wire of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::fwknop) enum Form {
    /// All but [`HQ`].
    Bare,
    /// All of it.
    Whole,
}

impl Form {
    /// What the beginning of a packet says: that an OpenPGP message for one public key begins there.
    pub(in crate::fwknop) fn of(text: &[u8]) -> Option<Self> {
        let bare = [HQ.as_bytes().first(), HQ.as_bytes().get(1), text.first(), text.get(1)];
        let bare = bare.into_iter().chain(text.get(2..16)?.iter().map(Some));
        if begins(&bare.flatten().copied().collect::<Vec<_>>(), TWO_BYTES) {
            return Some(Self::Bare);
        }
        begins(text.get(..16)?, ONE_BYTE).then_some(Self::Whole)
    }

    const fn start(self) -> &'static str {
        match self {
            Self::Bare => HQ,
            Self::Whole => "",
        }
    }

    /// The message that such a body is.
    pub(super) fn decoded(self, body: &[u8]) -> Option<Vec<u8>> {
        let letters = [self.start().as_bytes(), body].concat();
        let mut bytes = vec![0; letters.len() / 4 * 3 + 3];
        let length = text::decode_bare(&letters, &mut bytes)?;
        bytes.truncate(length);
        is_for_keys_only(&bytes).then_some(bytes)
    }
}

/// The first byte of a session key's packet in its old form, by the bytes that its length has.
const ONE_BYTE: u8 = 0x84;
const TWO_BYTES: u8 = 0x85;

/// Whether base64 begins with the header of a version 3 session key's packet, whose length has this form, for a key that
/// is named.
fn begins(letters: &[u8], form: u8) -> bool {
    let mut bytes = [0; 15];
    let Some(letters) = letters.get(..16) else { return false };
    if text::decode_bare(letters, &mut bytes) != Some(12) {
        return false;
    }
    // One that is longer than a whole packet is none; with this no symmetric packet begins so.
    let fits = |packet: SessionKey| packet.form == form && packet.length < LONGEST_GPG / 4 * 3;
    session_key(bytes.get(..12).unwrap_or_default()).is_some_and(fits)
}

struct SessionKey {
    form: u8,
    /// How many bytes it has with its header.
    length: usize,
}

/// The session key's packet that begins here (RFC 4880, 4.2.1 and 5.1).
fn session_key(bytes: &[u8]) -> Option<SessionKey> {
    let (&form, rest) = bytes.split_first()?;
    let (length, header, rest) = match form {
        ONE_BYTE => {
            let (&length, rest) = rest.split_first()?;
            (usize::from(length), 2, rest)
        }
        TWO_BYTES => {
            let (length, rest) = rest.split_first_chunk()?;
            (usize::from(u16::from_be_bytes(*length)), 3, rest)
        }
        _ => return None,
    };
    let (&version, rest) = rest.split_first()?;
    let key = rest.get(..8)?;
    // A recipient who is not named would have gpg try every key that it has.
    let named = key.iter().any(|byte| *byte != 0);
    (version == 3 && named && length >= 12).then_some(SessionKey { form, length: header + length })
}

/// Whether the message is session keys for named public keys, and behind them data whose integrity is kept: nothing that
/// a passphrase opens, that is not encrypted, or that gpg would have to look at twice.
fn is_for_keys_only(message: &[u8]) -> bool {
    let mut rest = message;
    for n in 0..=RECIPIENTS {
        // Tags 18 and 20, in the only form that they have.
        if n > 0 && matches!(rest.first(), Some(0xd2 | 0xd4)) {
            return true;
        }
        let Some(behind) = session_key(rest).and_then(|packet| rest.get(packet.length..)) else {
            return false;
        };
        rest = behind;
    }
    false
}

/// A message, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrapped {
    /// All of it as text.
    pub encrypted: String,
    /// The HMAC of that.
    pub hmac: Option<String>,
    /// What is sent.
    pub wire: String,
    /// Whether the original cannot read it: it is for an elliptic-curve key, or too long.
    pub only_for_ours: bool,
}

/// Why a message cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WrapError {
    /// It is not what gpg writes for one public key.
    #[error("gpg made a message that no server reads: is throw-keyids, symmetric or armor in gpg.conf?")]
    Message,
    /// It is too long.
    #[error(
        "the packet would have {0} characters, and {LONGEST_GPG} are the most: use a shorter key to encrypt or to sign"
    )]
    TooLong(usize),
}

/// The original reads fewer characters than this.
const TOO_LONG_FOR_THE_ORIGINAL: usize = 1500;
/// With fewer than these it takes a packet for a symmetric one.
const TOO_SHORT_FOR_THE_ORIGINAL: usize = 400;

/// Puts a binary OpenPGP message into a packet.
///
/// # Errors
/// [`WrapError`] says why not.
pub fn wrap(message: &[u8], hmac: Option<&HmacKey>) -> Result<Wrapped, WrapError> {
    let encrypted = text::encode_bare(message);
    let body = encrypted.strip_prefix(HQ).unwrap_or(&encrypted);
    let form = Form::of(body.as_bytes()).ok_or(WrapError::Message)?;
    if form.decoded(body.as_bytes()).as_deref() != Some(message) {
        return Err(WrapError::Message);
    }
    let hmac = hmac.map(|hmac| hmac.tag(form, body.as_bytes()).to_bare());
    let wire = format!("{body}{}", hmac.as_deref().unwrap_or_default());
    if wire.len() > LONGEST_GPG {
        return Err(WrapError::TooLong(wire.len()));
    }
    let fits = TOO_SHORT_FOR_THE_ORIGINAL..TOO_LONG_FOR_THE_ORIGINAL;
    let whole = encrypted.len() + hmac.as_deref().map_or(0, str::len);
    let only_for_ours = form == Form::Whole || !fits.contains(&body.len()) || !fits.contains(&whole);
    Ok(Wrapped { encrypted, hmac, wire, only_for_ours })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message for one key: `form` with its length, and the data behind it.
    pub(super) fn message(form: u8, session: usize, data: usize) -> Vec<u8> {
        let mut bytes = vec![form];
        match form {
            ONE_BYTE => bytes.push(u8::try_from(session).unwrap()),
            _ => bytes.extend(u16::try_from(session).unwrap().to_be_bytes()),
        }
        bytes.push(3);
        bytes.extend((1..session).map(|n| n as u8));
        bytes.push(0xd2);
        bytes.extend((0..data).map(|n| n as u8));
        bytes
    }

    #[test]
    fn what_is_sent_is_what_comes_back_in_both_forms() {
        for (bytes, form, ours) in [
            (message(TWO_BYTES, 268, 300), Form::Bare, false),
            (message(TWO_BYTES, 268, 900), Form::Bare, true),
            (message(TWO_BYTES, 526, 566), Form::Bare, false),
            (message(ONE_BYTE, 94, 200), Form::Whole, true),
            (message(ONE_BYTE, 255, 200), Form::Whole, true),
        ] {
            let wrapped = wrap(&bytes, None).unwrap();
            assert_eq!((Form::of(wrapped.wire.as_bytes()), wrapped.only_for_ours), (Some(form), ours));
            assert_eq!(form.decoded(wrapped.wire.as_bytes()), Some(bytes));
            assert_eq!(wrapped.wire.len(), wrapped.encrypted.len() - form.start().len());
        }
    }

    /// The form is told by the letters alone, and no letters are of both.
    #[test]
    fn no_beginning_is_of_both_forms() {
        for length in 12..=255 {
            let whole = text::encode_bare(&message(ONE_BYTE, length, 40));
            assert_eq!(Form::of(whole.as_bytes()), Some(Form::Whole));
            let letters = [HQ.as_bytes(), whole.as_bytes()].concat();
            assert!(!begins(&letters, TWO_BYTES));
        }
        for length in 12..LONGEST_GPG / 4 * 3 - 3 {
            let bare = text::encode_bare(&message(TWO_BYTES, length, 40));
            let bare = bare.strip_prefix(HQ).unwrap();
            assert_eq!(Form::of(bare.as_bytes()), Some(Form::Bare));
            assert!(!begins(bare.as_bytes(), ONE_BYTE));
        }
    }

    #[test]
    fn nothing_but_data_for_named_keys_goes_on() {
        let good = message(TWO_BYTES, 268, 300);
        let decoded = |bytes: &[u8]| {
            let text = text::encode_bare(bytes);
            Form::Bare.decoded(text.strip_prefix(HQ).unwrap_or(&text).as_bytes())
        };
        assert_eq!(decoded(&good), Some(good.clone()));
        let changed = |at: usize, to: u8| {
            let mut bytes = good.clone();
            bytes[at] = to;
            decoded(&bytes)
        };
        // Another version; data without integrity; a signature; cut off before the data.
        assert_eq!((changed(3, 6), changed(271, 0xc9), changed(271, 0x89)), (None, None, None));
        assert_eq!(decoded(&good[..271]), None);
        let mut hidden = good.clone();
        hidden[4..12].fill(0);
        assert_eq!(decoded(&hidden), None);
        let two = [&good[..271], &good].concat();
        assert_eq!(decoded(&two), Some(two));
        let many = [good[..271].repeat(4), good.clone()].concat();
        assert_eq!(decoded(&many), None);
        assert_eq!(wrap(&message(TWO_BYTES, 268, 2000), None), Err(WrapError::TooLong(3028)));
        assert_eq!(wrap(b"\x8c\x0d\x04", None), Err(WrapError::Message));
        assert_eq!(wrap(b"", None), Err(WrapError::Message));
    }

    #[test]
    fn symmetric_packets_and_noise_are_no_messages() {
        for text in [
            "8xJ3aaaaaaaaaaaaaaaaaaaaaaaaaa",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "EMA",
            "",
            "hQEMAzxhJB43BDKsAQf",
        ] {
            assert_eq!(Form::of(text.as_bytes()), None, "{text}");
        }
    }
}
