//! AES-256 (FIPS 197) in the five modes of SP 800-38A that fwknop has, over whole blocks: padding is the dialect's.

use aes::{Aes256Dec, Aes256Enc};
use ctr::cipher::array::Array;
use ctr::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyInit, KeyIvInit, StreamCipher};
use zeroize::Zeroizing;

/// How many bytes a block has.
pub const BLOCK: usize = 16;

/// How blocks are chained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Chaining {
    /// Cipher block chaining.
    Cbc,
    /// Each block for itself: equal blocks show. For old clients only.
    Ecb,
    /// Cipher feedback, segments of 128 bits.
    Cfb,
    /// Output feedback.
    Ofb,
    /// Counter: the start value is the first counter, big-endian.
    Ctr,
}

/// A key and a start value, for one message. Wiped when dropped.
pub struct Cipher {
    key: Zeroizing<[u8; 32]>,
    start: Zeroizing<[u8; BLOCK]>,
}

impl Cipher {
    /// The cipher of this key and start value; [`Chaining::Ecb`] does without the latter.
    #[must_use]
    pub const fn new(key: Zeroizing<[u8; 32]>, start: Zeroizing<[u8; BLOCK]>) -> Self {
        Self { key, start }
    }

    /// Encrypts the whole blocks of `bytes`; what is left over behind them stays as it is.
    pub fn encrypt(&self, chaining: Chaining, bytes: &mut [u8]) {
        let (key, start) = ((&*self.key).into(), (&*self.start).into());
        let (blocks, _) = Array::slice_as_chunks_mut(bytes);
        match chaining {
            Chaining::Cbc => cbc::Encryptor::<Aes256Enc>::new(key, start).encrypt_blocks(blocks),
            Chaining::Ecb => ecb::Encryptor::<Aes256Enc>::new(key).encrypt_blocks(blocks),
            Chaining::Cfb => cfb_mode::Encryptor::<Aes256Enc>::new(key, start).encrypt_blocks(blocks),
            Chaining::Ofb => ofb::OfbCore::<Aes256Enc>::new(key, start).encrypt_blocks(blocks),
            Chaining::Ctr => {
                ctr::Ctr128BE::<Aes256Enc>::new(key, start)
                    .apply_keystream(Array::slice_as_flattened_mut(blocks));
            }
        }
    }

    /// Decrypts the whole blocks of `bytes`. A message's first blocks can be decrypted without its last.
    pub fn decrypt(&self, chaining: Chaining, bytes: &mut [u8]) {
        let (key, start) = ((&*self.key).into(), (&*self.start).into());
        let (blocks, _) = Array::slice_as_chunks_mut(bytes);
        match chaining {
            Chaining::Cbc => cbc::Decryptor::<Aes256Dec>::new(key, start).decrypt_blocks(blocks),
            Chaining::Ecb => ecb::Decryptor::<Aes256Dec>::new(key).decrypt_blocks(blocks),
            Chaining::Cfb => cfb_mode::Decryptor::<Aes256Enc>::new(key, start).decrypt_blocks(blocks),
            Chaining::Ofb | Chaining::Ctr => self.encrypt(chaining, bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        std::array::from_fn(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
    }

    /// SP 800-38A, appendix F: the key and the first two blocks are the same in every example of AES-256.
    #[test]
    fn every_mode_is_the_standards() {
        let key = hex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4");
        let plain: [u8; 32] = hex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51");
        let counter = hex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff");
        let start = hex("000102030405060708090a0b0c0d0e0f");
        let examples = [
            (Chaining::Ecb, start, "f3eed1bdb5d2a03c064b5a7e3db181f8591ccb10d410ed26dc5ba74a31362870"),
            (Chaining::Cbc, start, "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d"),
            (Chaining::Cfb, start, "dc7e84bfda79164b7ecd8486985d386039ffed143b28b1c832113c6331e5407b"),
            (Chaining::Ofb, start, "dc7e84bfda79164b7ecd8486985d38604febdc6740d20b3ac88f6ad82a4fb08d"),
            (Chaining::Ctr, counter, "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5"),
        ];
        for (chaining, start, sealed) in examples {
            let cipher = Cipher::new(Zeroizing::new(key), Zeroizing::new(start));
            let mut bytes = plain;
            cipher.encrypt(chaining, &mut bytes);
            assert_eq!(bytes, hex(sealed), "{chaining:?}");
            let mut first = bytes;
            cipher.decrypt(chaining, &mut first[..BLOCK]);
            assert_eq!(first[..BLOCK], plain[..BLOCK], "{chaining:?}");
            cipher.decrypt(chaining, &mut bytes);
            assert_eq!(bytes, plain, "{chaining:?}");
        }
    }

    #[test]
    fn what_is_no_whole_block_stays() {
        let cipher = Cipher::new(Zeroizing::new([1; 32]), Zeroizing::new([2; 16]));
        let mut bytes = [7; BLOCK + 5];
        cipher.encrypt(Chaining::Ctr, &mut bytes);
        assert_ne!(bytes[..BLOCK], [7; BLOCK]);
        assert_eq!(bytes[BLOCK..], [7; 5]);
    }
}
