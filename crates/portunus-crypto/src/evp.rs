//! From a passphrase to a cipher as OpenSSL's `EVP_BytesToKey` does it with MD5 and one round
//! (`openssl enc -aes-256-cbc -md md5`): what fwknop's packets are made with.
//!
//! It stretches nothing: a weak passphrase stays weak. Its security is that of the passphrase, which should be 32 random
//! bytes, and the HMAC around the packet.

use md5::{Digest, Md5};
use zeroize::Zeroizing;

use crate::aes256::{BLOCK, Cipher};

/// How many bytes of salt there are.
pub const SALT: usize = 8;

/// What keys are derived from: any bytes. Wiped when dropped.
pub struct Passphrase(Zeroizing<Box<[u8]>>);

impl Passphrase {
    /// A copy of `bytes`.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// The first `length` of `bytes`, filled up with `fill` where there are fewer.
    #[must_use]
    pub fn of_length(bytes: &[u8], length: usize, fill: u8) -> Self {
        let mut whole = Zeroizing::new(vec![fill; length].into_boxed_slice());
        for (to, from) in whole.iter_mut().zip(bytes) {
            *to = *from;
        }
        Self(whole)
    }

    /// The cipher for messages with this salt: three times MD5, 32 bytes of key, 16 of start value.
    #[must_use]
    pub fn cipher(&self, salt: &[u8; SALT]) -> Cipher {
        let mut key = Zeroizing::new([0; 32]);
        let (low, high) = key.split_at_mut(BLOCK);
        self.digest(&[], salt, low);
        self.digest(low, salt, high);
        let mut start = Zeroizing::new([0; BLOCK]);
        self.digest(high, salt, &mut *start);
        Cipher::new(key, start)
    }

    /// `MD5(before || passphrase || salt)`.
    fn digest(&self, before: &[u8], salt: &[u8; SALT], out: &mut [u8]) {
        let mut md5 = Md5::new();
        md5.update(before);
        md5.update(&**self.0);
        md5.update(salt);
        for (to, from) in out.iter_mut().zip(md5.finalize()) {
            *to = from;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aes256::Chaining;

    /// `printf 'sixteen letters!' | openssl enc -aes-256-cbc -md md5 -pass pass:fwknoptest -S 0102030405060708 -nopad`.
    #[test]
    fn it_is_openssls() {
        let mut text = *b"sixteen letters!";
        let cipher = Passphrase::new(b"fwknoptest").cipher(&[1, 2, 3, 4, 5, 6, 7, 8]);
        cipher.encrypt(Chaining::Cbc, &mut text);
        assert_eq!(
            text,
            [0x00, 0xb4, 0x45, 0x87, 0x65, 0xee, 0xf1, 0x8d, 0xbb, 0x56, 0x58, 0x0e, 0xdf, 0x02, 0xbc, 0xc3]
        );
    }
}
