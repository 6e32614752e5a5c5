//! HMAC (RFC 2104) with the key worked in once: a tag costs a copy of the two states and the text.

use hmac::{Hmac, KeyInit, Mac, SimpleHmac};
use md5::Md5;
use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};
use sha3::{Sha3_256, Sha3_512};
use zeroize::Zeroize;

use crate::LibraryRefused;
use crate::hash::{HashType, Output};

/// A key, worked into the states of its hash, and the text that every message begins with. Wiped when dropped.
pub struct MacKey(State);

/// The large ones on the heap: the usual one is what ten thousand keys are made of.
enum State {
    Md5(Hmac<Md5>),
    Sha1(Hmac<Sha1>),
    Sha256(Hmac<Sha256>),
    Sha384(Box<Hmac<Sha384>>),
    Sha512(Box<Hmac<Sha512>>),
    Sha3_256(Box<SimpleHmac<Sha3_256>>),
    Sha3_512(Box<SimpleHmac<Sha3_512>>),
}

impl MacKey {
    /// `key` for messages that all begin with `start`.
    ///
    /// # Errors
    /// [`LibraryRefused`]: never, for any length of key.
    pub fn new(hash: HashType, key: &[u8], start: &[u8]) -> Result<Self, LibraryRefused> {
        let state = State::new(hash, key, start);
        wipe_stack();
        state.map(Self)
    }

    /// The tag of the start and `rest`.
    #[must_use]
    pub fn tag(&self, rest: &[u8]) -> Output {
        match &self.0 {
            State::Md5(state) => finished(state.clone(), rest),
            State::Sha1(state) => finished(state.clone(), rest),
            State::Sha256(state) => finished(state.clone(), rest),
            State::Sha384(state) => finished(Hmac::clone(state), rest),
            State::Sha512(state) => finished(Hmac::clone(state), rest),
            State::Sha3_256(state) => finished(SimpleHmac::clone(state), rest),
            State::Sha3_512(state) => finished(SimpleHmac::clone(state), rest),
        }
    }
}

impl State {
    /// Never inlined, so that its frame, and with it the copies of the key that the library leaves there, lies where
    /// [`wipe_stack`] has its own afterwards.
    #[inline(never)]
    fn new(hash: HashType, key: &[u8], start: &[u8]) -> Result<Self, LibraryRefused> {
        Ok(match hash {
            HashType::Md5 => Self::Md5(begun(key, start)?),
            HashType::Sha1 => Self::Sha1(begun(key, start)?),
            HashType::Sha256 => Self::Sha256(begun(key, start)?),
            HashType::Sha384 => Self::Sha384(Box::new(begun(key, start)?)),
            HashType::Sha512 => Self::Sha512(Box::new(begun(key, start)?)),
            HashType::Sha3_256 => Self::Sha3_256(Box::new(begun(key, start)?)),
            HashType::Sha3_512 => Self::Sha3_512(Box::new(begun(key, start)?)),
        })
    }
}

/// Overwrites what a function that has just returned left below. `tests/wiped.rs` sees that it is enough.
#[inline(never)]
fn wipe_stack() {
    let mut below = [0_u8; 8192];
    below.zeroize();
    std::hint::black_box(&below);
}

fn begun<M: Mac + KeyInit>(key: &[u8], start: &[u8]) -> Result<M, LibraryRefused> {
    let mut mac = <M as KeyInit>::new_from_slice(key).map_err(|_| LibraryRefused)?;
    mac.update(start);
    Ok(mac)
}

fn finished<M: Mac>(mut mac: M, rest: &[u8]) -> Output {
    mac.update(rest);
    Output::of(&mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begins(hash: HashType, key: &[u8], text: &[u8], start: &[u8]) {
        for cut in 0..=text.len() {
            let tag = MacKey::new(hash, key, &text[..cut]).unwrap().tag(&text[cut..]);
            assert_eq!(tag.as_bytes().len(), hash.length());
            assert!(tag.as_bytes().starts_with(start), "{hash:?}: {:02x?}", tag.as_bytes());
        }
    }

    /// RFC 2202 and RFC 4231, test case 2; NIST's example values for HMAC-SHA3 are what `openssl mac` gives too.
    #[test]
    fn it_is_the_standard() {
        let (key, text) = (b"Jefe", b"what do ya want for nothing?");
        begins(HashType::Md5, key, text, &[0x75, 0x0c, 0x78, 0x3e, 0x6a, 0xb0, 0xb5, 0x03]);
        begins(HashType::Sha1, key, text, &[0xef, 0xfc, 0xdf, 0x6a, 0xe5, 0xeb, 0x2f, 0xa2]);
        begins(HashType::Sha256, key, text, &[0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e]);
        begins(HashType::Sha384, key, text, &[0xaf, 0x45, 0xd2, 0xe3, 0x76, 0x48, 0x40, 0x31]);
        begins(HashType::Sha512, key, text, &[0x16, 0x4b, 0x7a, 0x7b, 0xfc, 0xf8, 0x19, 0xe2]);
        begins(HashType::Sha3_256, key, text, &[0xc7, 0xd4, 0x07, 0x2e, 0x78, 0x88, 0x77, 0xae]);
        begins(HashType::Sha3_512, key, text, &[0x5a, 0x4b, 0xfe, 0xab, 0x61, 0x66, 0x42, 0x7c]);
    }

    /// RFC 4231 test case 6: a key longer than the block is hashed first.
    #[test]
    fn a_long_key_is_hashed_first() {
        let text = b"Test Using Larger Than Block-Size Key - Hash Key First";
        begins(HashType::Sha256, &[0xaa; 131], text, &[0x60, 0xe4, 0x31, 0x59, 0x1e, 0xe0, 0xb6, 0x7f]);
    }
}
