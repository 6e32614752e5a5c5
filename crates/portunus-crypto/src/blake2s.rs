//! BLAKE2s-256 (RFC 7693): plain, keyed, and as the hash of Noise's key derivation.

use blake2::digest::{Digest, FixedOutput, Key, KeyInit, Mac};
use blake2::{Blake2s256, Blake2sMac256};
use hmac::SimpleHmac;
use zeroize::Zeroizing;

use crate::Secret;

/// The hash of all `parts` after each other.
#[must_use]
pub fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut state = Blake2s256::new();
    parts.iter().for_each(|part| Digest::update(&mut state, part));
    state.finalize_fixed().into()
}

/// The hash of `text` under a key, by BLAKE2's own keyed mode: another key for another purpose.
#[must_use]
pub fn keyed(key: &Secret<32>, text: &[u8]) -> Secret<32> {
    let mut state = <Blake2sMac256 as KeyInit>::new(&Key::<Blake2sMac256>::from(*key.expose()));
    Mac::update(&mut state, text);
    secret(state.finalize_fixed())
}

/// HKDF of the Noise framework (revision 34, section 4.3) with HMAC-BLAKE2s: `N` keys of 32 bytes, 2 or 3 in Noise.
#[must_use]
pub fn noise_hkdf<const N: usize>(chaining: &Secret<32>, input: &[u8]) -> [Secret<32>; N] {
    let first = hmac(chaining.expose(), &[input]);
    let mut before = Zeroizing::new(Vec::with_capacity(32));
    std::array::from_fn(|i| {
        let number = u8::try_from(i + 1).unwrap_or(u8::MAX);
        let key = hmac(first.expose(), &[&before, &[number]]);
        before.clear();
        before.extend_from_slice(key.expose());
        key
    })
}

fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> Secret<32> {
    // HMAC fills a key up to a block of its hash with zeros (RFC 2104 section 2).
    let mut block = Zeroizing::new([0; 64]);
    block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    let mut state = <SimpleHmac<Blake2s256> as KeyInit>::new(&(*block).into());
    parts.iter().for_each(|part| Mac::update(&mut state, part));
    secret(state.finalize_fixed())
}

fn secret(bytes: impl Into<[u8; 32]>) -> Secret<32> {
    Secret::from_bytes(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> [u8; 32] {
        std::array::from_fn(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
    }

    /// RFC 7693, appendix B.
    #[test]
    fn hashes_as_the_rfc_says() {
        let abc = hex("508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982");
        assert_eq!(hash(&[b"abc"]), abc);
        assert_eq!(hash(&[b"a", b"", b"bc"]), abc);
    }

    /// The first two of the BLAKE2 authors' known answers for keyed BLAKE2s: no text, and one byte of it.
    #[test]
    fn keys_as_the_authors_say() {
        let key = Secret::from_bytes(std::array::from_fn(|i| u8::try_from(i).unwrap()));
        let empty = hex("48a8997da407876b3d79c0d92325ad3b89cbb754d86ab71aee047ad345fd2c49");
        assert!(keyed(&key, b"") == Secret::from_bytes(empty));
        let zero = hex("40d15fee7c328830166ac3f918650f807e7e01e177258cdc0a39b11f598066f1");
        assert!(keyed(&key, &[0]) == Secret::from_bytes(zero));
    }

    /// Written out from section 4.3, so that a change of the library's is seen.
    #[test]
    fn derives_as_noise_says() {
        let chaining = Secret::from_bytes([3; 32]);
        let temp = hmac(chaining.expose(), &[b"input"]);
        let one = hmac(temp.expose(), &[&[1]]);
        let two = hmac(temp.expose(), &[one.expose(), &[2]]);
        let three = hmac(temp.expose(), &[two.expose(), &[3]]);
        assert!(noise_hkdf::<2>(&chaining, b"input") == [one.duplicate(), two.duplicate()]);
        assert!(noise_hkdf::<3>(&chaining, b"input") == [one, two, three]);
    }
}
