//! From a packet to a knock. The dearest step comes last: what is not ours costs one HMAC, or without an HMAC one key
//! derivation and one block.

use portunus_crypto::aes256::{BLOCK, Cipher};
use portunus_crypto::evp::SALT;
use portunus_crypto::text;
use portunus_model::ClientKey;

use super::field::FieldError;
use super::keys::Keys;
use super::packet::{PREFIX, Packet};
use super::plain::{Asked, RANDOM};
use crate::knock::{Ask, Knock};

const MAGIC: &[u8; 8] = b"Salted__";
/// What stands before the blocks.
const HEADER: usize = MAGIC.len() + SALT;
/// Letters of base64 for the header and the first block, and one byte more, so that none is cut.
const START: usize = (HEADER + BLOCK).div_ceil(3) * 4;

/// Why keys do not open a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// No packet of these keys has this length, or begins so.
    #[error("it has another length, or begins otherwise, than a packet of these keys")]
    Shape,
    /// The HMAC does not fit.
    #[error("its HMAC does not fit these keys")]
    Hmac,
    /// It is not the one text that its bytes have.
    #[error("it is not canonical base64: unused bits of a last letter are set")]
    NotCanonical,
    /// What comes out does not begin as a knock: another encryption key or mode.
    #[error("what comes out of it is no knock: another encryption key or mode")]
    Decryption,
    /// The padding is wrong: it was changed, or cut.
    #[error("its padding is wrong")]
    Padding,
    /// What comes out is no knock of ours.
    #[error(transparent)]
    Field(#[from] FieldError),
}

impl Keys {
    /// Opens `packet`, when these keys made it.
    ///
    /// # Errors
    /// [`OpenError`] says why not. It is for `explain`: a server that answers it helps whoever guesses.
    pub fn open(&self, packet: &Packet<'_>) -> Result<Knock, OpenError> {
        let text = packet.text();
        let hmac = self.hmac_type().map_or(0, |hash| hash.bare_length());
        let body = text.len().checked_sub(hmac).filter(|&length| has_whole_blocks(PREFIX.len() + length));
        let magic = matches!(text.first(), Some(b'8' | b'9' | b'+' | b'/'));
        body.filter(|_| magic).ok_or(OpenError::Shape)?;
        let body = self.authentic(text).ok_or(OpenError::Hmac)?;

        let cipher = self.first_block(body)?;
        let mut bytes = decoded(body).ok_or(OpenError::NotCanonical)?;
        let blocks = bytes.get_mut(HEADER..).ok_or(OpenError::Shape)?;
        cipher.decrypt(self.mode().chaining(), blocks);
        let asked = Asked::read(unpadded(blocks).ok_or(OpenError::Padding)?)?;
        let (stamp, target) = (asked.stamp(), asked.wish.message.address());
        let key = ClientKey::Fwknop(self.id());
        let sha256 = packet.sha256();
        let claim = Packet::claim_key_of(&sha256);
        Ok(Knock::proven(key, stamp, target, claim, Ask::Fwknop(Box::new(asked))).with_text(sha256))
    }

    /// Decrypts the first block alone, and the cipher for the others when it is the sixteen digits of a knock.
    fn first_block(&self, body: &[u8]) -> Result<Cipher, OpenError> {
        let start = body.get(..START - PREFIX.len()).ok_or(OpenError::Shape)?;
        let mut letters = [0; START];
        join(&mut letters, start);
        let mut bytes = [0; START / 4 * 3];
        text::decode_bare(&letters, &mut bytes).ok_or(OpenError::Shape)?;
        let (magic, rest) = bytes.split_first_chunk::<{ MAGIC.len() }>().ok_or(OpenError::Shape)?;
        let (salt, rest) = rest.split_first_chunk::<SALT>().ok_or(OpenError::Shape)?;
        let (block, _) = rest.split_first_chunk::<BLOCK>().ok_or(OpenError::Shape)?;
        if magic != MAGIC {
            return Err(OpenError::Shape);
        }
        let (cipher, mut block) = (self.cipher(salt), *block);
        cipher.decrypt(self.mode().chaining(), &mut block);
        block.iter().all(u8::is_ascii_digit).then_some(cipher).ok_or(OpenError::Decryption)
    }
}

const _: () = assert!(RANDOM == BLOCK, "the first block is the random value");

/// Whether base64 of this many letters is a header and at least as many blocks as the shortest text has.
const fn has_whole_blocks(letters: usize) -> bool {
    let bytes = letters * 3 / 4;
    letters == (bytes * 4).div_ceil(3) && bytes.is_multiple_of(BLOCK) && bytes >= HEADER + 3 * BLOCK
}

fn decoded(body: &[u8]) -> Option<Vec<u8>> {
    let mut letters = vec![0; PREFIX.len() + body.len()];
    join(&mut letters, body);
    let mut bytes = vec![0; letters.len() / 4 * 3 + 3];
    let length = text::decode_bare(&letters, &mut bytes)?;
    bytes.truncate(length);
    Some(bytes)
}

fn join(whole: &mut [u8], body: &[u8]) {
    for (to, from) in whole.iter_mut().zip(PREFIX.bytes().chain(body.iter().copied())) {
        *to = from;
    }
}

/// PKCS#7 (RFC 5652 section 6.3): 1 to 16 bytes that all say how many they are.
fn unpadded(bytes: &[u8]) -> Option<&[u8]> {
    let length = usize::from(*bytes.last()?);
    let (text, padding) = bytes.split_at_checked(bytes.len().checked_sub(length)?)?;
    let fits = (1..=BLOCK).contains(&length) && padding.iter().all(|&byte| usize::from(byte) == length);
    fits.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_says_its_length() {
        assert_eq!(unpadded(&[9, 1]), Some([9].as_slice()));
        assert_eq!(unpadded(&[9, 2, 2]), Some([9].as_slice()));
        assert_eq!(unpadded(&[16; 16]), Some([].as_slice()));
        for wrong in [[].as_slice(), &[0], &[9, 0], &[9, 1, 2], &[3, 3], &[17; 17]] {
            assert_eq!(unpadded(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn few_lengths_are_possible() {
        let possible: Vec<_> = (0..300).filter(|&letters| has_whole_blocks(letters)).collect();
        assert_eq!(possible, [86, 107, 128, 150, 171, 192, 214, 235, 256, 278, 299]);
    }
}
