//! The seven hashes that fwknop's packets name (RFC 1321, FIPS 180-4, FIPS 202).
//!
//! MD5 and SHA-1 are here because its users' packets have them; nothing of ours chooses them.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use sha2::Digest;

use crate::text;

/// One of the hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum HashType {
    /// 16 bytes. Broken; for old clients only.
    Md5,
    /// 20 bytes. Broken; for old clients only.
    Sha1,
    /// 32 bytes.
    #[default]
    Sha256,
    /// 48 bytes.
    Sha384,
    /// 64 bytes.
    Sha512,
    /// 32 bytes.
    Sha3_256,
    /// 64 bytes.
    Sha3_512,
}

impl HashType {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Md5, Self::Sha1, Self::Sha256, Self::Sha384, Self::Sha512, Self::Sha3_256, Self::Sha3_512];

    /// How many bytes come out.
    #[must_use]
    pub const fn length(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 | Self::Sha3_256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 | Self::Sha3_512 => Output::LONGEST,
        }
    }

    /// How many letters its base64 without padding has.
    #[must_use]
    pub const fn bare_length(self) -> usize {
        bare_length(self.length())
    }

    /// The word in files and on command lines.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
            Self::Sha3_256 => "sha3_256",
            Self::Sha3_512 => "sha3_512",
        }
    }

    /// The one that this word names, in capitals or not.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|hash| hash.as_str().eq_ignore_ascii_case(word))
    }

    /// The hash of `bytes`.
    #[must_use]
    pub fn digest(self, bytes: &[u8]) -> Output {
        match self {
            Self::Md5 => Output::of(&md5::Md5::digest(bytes)),
            Self::Sha1 => Output::of(&sha1::Sha1::digest(bytes)),
            Self::Sha256 => Output::of(&sha2::Sha256::digest(bytes)),
            Self::Sha384 => Output::of(&sha2::Sha384::digest(bytes)),
            Self::Sha512 => Output::of(&sha2::Sha512::digest(bytes)),
            Self::Sha3_256 => Output::of(&sha3::Sha3_256::digest(bytes)),
            Self::Sha3_512 => Output::of(&sha3::Sha3_512::digest(bytes)),
        }
    }
}

/// What a hash or an HMAC gives: 16 to 64 bytes, without a place on the heap.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    bytes: [u8; Self::LONGEST],
    length: usize,
}

impl Output {
    /// The longest one, in bytes.
    pub const LONGEST: usize = 64;

    /// A copy of `bytes`, of which there are at most [`Self::LONGEST`].
    pub(crate) fn of(bytes: &[u8]) -> Self {
        debug_assert!(bytes.len() <= Self::LONGEST);
        let mut out = Self { bytes: [0; Self::LONGEST], length: bytes.len() };
        for (to, from) in out.bytes.iter_mut().zip(bytes) {
            *to = *from;
        }
        out
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// Base64 without padding, as fwknop writes digests and tags.
    #[must_use]
    pub fn to_bare(&self) -> String {
        text::encode_bare(self.as_bytes())
    }

    /// Whether `text` is [`Self::to_bare`], in constant time for texts of its length.
    #[must_use]
    pub fn is_bare(&self, text: &[u8]) -> bool {
        let mut own = [0; bare_length(Self::LONGEST)];
        let length = text::encode_bare_into(self.as_bytes(), &mut own).unwrap_or_default();
        // The library's own loop: a packet may be held against ten thousand keys, and subtle's barrier for each byte was a
        // seventh of that.
        own.get(..length).is_some_and(|own| verify_slices_are_equal(own, text).is_ok())
    }
}

const fn bare_length(bytes: usize) -> usize {
    (bytes * 4).div_ceil(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begins(hash: HashType, start: &[u8]) {
        let digest = hash.digest(b"abc");
        assert_eq!(digest.as_bytes().len(), hash.length(), "{hash:?}");
        assert!(digest.as_bytes().starts_with(start), "{hash:?}: {:02x?}", digest.as_bytes());
    }

    /// "abc" of RFC 1321, FIPS 180-4 and FIPS 202. SHA-3 is the standard's and not the older Keccak.
    #[test]
    fn they_are_the_standards() {
        begins(HashType::Md5, &[0x90, 0x01, 0x50, 0x98, 0x3c, 0xd2, 0x4f, 0xb0]);
        begins(HashType::Sha1, &[0xa9, 0x99, 0x3e, 0x36, 0x47, 0x06, 0x81, 0x6a]);
        begins(HashType::Sha256, &[0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea]);
        begins(HashType::Sha384, &[0xcb, 0x00, 0x75, 0x3f, 0x45, 0xa3, 0x5e, 0x8b]);
        begins(HashType::Sha512, &[0xdd, 0xaf, 0x35, 0xa1, 0x93, 0x61, 0x7a, 0xba]);
        begins(HashType::Sha3_256, &[0x3a, 0x98, 0x5d, 0xa7, 0x4f, 0xe2, 0x25, 0xb2]);
        begins(HashType::Sha3_512, &[0xb7, 0x51, 0x85, 0x0b, 0x1a, 0x57, 0x16, 0x8a]);
    }

    #[test]
    fn only_the_text_itself_is_equal() {
        for hash in HashType::ALL {
            let digest = hash.digest(b"abc");
            let text = digest.to_bare();
            assert_eq!(text.len(), hash.bare_length());
            assert!(digest.is_bare(text.as_bytes()));
            assert!(!digest.is_bare(&text.as_bytes()[1..]));
            assert!(!digest.is_bare(format!("{text}=").as_bytes()));
            assert!(!digest.is_bare(hash.digest(b"abd").to_bare().as_bytes()));
        }
    }

    #[test]
    fn words_name_them() {
        for hash in HashType::ALL {
            assert_eq!(HashType::named(&hash.as_str().to_uppercase()), Some(hash));
        }
        assert_eq!(HashType::named("sha3-256"), None);
    }
}
