//! SipHash-2-4 of 64 bits: a fast check under a key, for packets that are worth a closer look. Never a signature.

use std::hash::Hasher;

use siphasher::sip::SipHasher24;

use crate::Secret;

/// The hash of `text`.
#[must_use]
pub fn hash(key: &Secret<16>, text: &[u8]) -> u64 {
    let mut state = SipHasher24::new_with_key(key.expose());
    state.write(text);
    state.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the SipHash paper, appendix A; and its authors' answer for no text.
    #[test]
    fn hashes_as_the_paper_says() {
        let key = Secret::from_bytes(std::array::from_fn(|i| u8::try_from(i).unwrap()));
        let text: [u8; 15] = std::array::from_fn(|i| u8::try_from(i).unwrap());
        assert_eq!(hash(&key, &text), 0xa129_ca61_49be_45e5);
        assert_eq!(hash(&key, &[]), 0x726f_db47_dd0e_0e31);
    }
}
