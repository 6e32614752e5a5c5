//! ChaCha20-Poly1305 (RFC 8439).

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

use crate::{LibraryRefused, Secret};

/// How many bytes the tag adds.
pub const TAG: usize = 16;

/// The tag does not fit: another key, or changed bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the seal does not fit")]
pub struct Forged;

/// Opens `sealed` (ciphertext and tag) into `plain`, which must be [`TAG`] bytes shorter. `beside` is what was sealed
/// along with it without being in it; openme has none.
///
/// # Errors
/// [`Forged`]; nothing in `plain` is to be believed then.
pub fn open(
    key: &Secret<32>,
    nonce: &[u8; 12],
    beside: &[u8],
    sealed: &[u8],
    plain: &mut [u8],
) -> Result<(), Forged> {
    let key = bind(key).map_err(|_| Forged)?;
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let (text, tag) = sealed.split_last_chunk::<TAG>().ok_or(Forged)?;
    if text.len() != plain.len() {
        return Err(Forged);
    }
    key.open_separate_gather(nonce, Aad::from(beside), text, tag, plain).map_err(|_| Forged)
}

/// Seals `text` in place and returns the tag. A nonce may be used once a key.
///
/// # Errors
/// [`LibraryRefused`]: no memory.
pub fn seal(
    key: &Secret<32>,
    nonce: &[u8; 12],
    beside: &[u8],
    text: &mut [u8],
) -> Result<[u8; TAG], LibraryRefused> {
    let key = bind(key)?;
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let tag = key.seal_in_place_separate_tag(nonce, Aad::from(beside), text).map_err(|_| LibraryRefused)?;
    tag.as_ref().try_into().map_err(|_| LibraryRefused)
}

fn bind(key: &Secret<32>) -> Result<LessSafeKey, LibraryRefused> {
    UnboundKey::new(&CHACHA20_POLY1305, key.expose()).map(LessSafeKey::new).map_err(|_| LibraryRefused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_what_it_seals_and_nothing_else() {
        let key = Secret::from_bytes([1; 32]);
        let mut text = *b"forty bytes of a knock, or any other len";
        let tag = seal(&key, &[2; 12], b"beside", &mut text).unwrap();
        let mut sealed = [&text[..], &tag[..]].concat();
        let mut plain = [0; 40];
        assert_eq!(open(&key, &[2; 12], b"beside", &sealed, &mut plain), Ok(()));
        assert_eq!(&plain, b"forty bytes of a knock, or any other len");
        assert_eq!(open(&key, &[3; 12], b"beside", &sealed, &mut plain), Err(Forged));
        assert_eq!(open(&Secret::from_bytes([9; 32]), &[2; 12], b"beside", &sealed, &mut plain), Err(Forged));
        assert_eq!(open(&key, &[2; 12], b"beside", &sealed, &mut [0; 39]), Err(Forged));
        assert_eq!(open(&key, &[2; 12], b"beside", &sealed[..10], &mut []), Err(Forged));
        assert_eq!(open(&key, &[2; 12], b"", &sealed, &mut plain), Err(Forged));
        for bit in 0..sealed.len() * 8 {
            sealed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(&key, &[2; 12], b"beside", &sealed, &mut plain), Err(Forged), "bit {bit}");
            sealed[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
