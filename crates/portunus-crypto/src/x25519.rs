//! X25519 (RFC 7748): our static key or an ephemeral one, and the secret that it shares with a peer.

use aws_lc_rs::agreement::{self, UnparsedPublicKey, X25519};

use crate::{LibraryRefused, Secret};

/// A private key, ready for use: its public half is computed once.
pub struct PrivateKey {
    key: agreement::PrivateKey,
    public: [u8; 32],
}

/// The peer's public key is of low order: the shared secret would be all zero, whoever we are (RFC 7748 section 6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the peer's X25519 key is of low order")]
pub struct LowOrder;

/// Why bytes are no public key to enrol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublicKeyError {
    /// Whoever agrees with it shares a secret that everybody knows.
    #[error("it is an X25519 public key of low order, with which anybody shares the secret")]
    LowOrder,
    /// It stands for a key that has another spelling: two clients could be one.
    #[error("it is not an X25519 public key in its one spelling")]
    Spelling,
}

/// The points of low order in their one spelling (RFC 7748 section 6.1; the orders 4, 1, 2, 8 and 8).
const LOW_ORDER: [[u8; 32]; 5] = [
    [0; 32],
    {
        let mut one = [0; 32];
        one[0] = 1;
        one
    },
    {
        let mut minus_one = [0xff; 32];
        minus_one[0] = 0xec;
        minus_one[31] = 0x7f;
        minus_one
    },
    [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda,
        0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
    ],
    [
        0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04,
        0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57,
    ],
];

/// Whether a public key may be somebody's: in its one spelling, and not of low order.
///
/// # Errors
/// [`PublicKeyError`] says why not.
pub fn check_public(key: &[u8; 32]) -> Result<(), PublicKeyError> {
    // Below 2^255 - 19: p itself is ed ff .. ff 7f, little endian.
    let [first, middle @ .., last] = key;
    let high = *last == 0x7f && middle.iter().all(|byte| *byte == 0xff) && *first >= 0xed;
    if *last >= 0x80 || high {
        return Err(PublicKeyError::Spelling);
    }
    if LOW_ORDER.contains(key) { Err(PublicKeyError::LowOrder) } else { Ok(()) }
}

impl PrivateKey {
    /// Takes any 32 bytes: X25519 clamps them itself.
    ///
    /// # Errors
    /// [`LibraryRefused`]: no memory.
    pub fn new(secret: &Secret<32>) -> Result<Self, LibraryRefused> {
        let key =
            agreement::PrivateKey::from_private_key(&X25519, secret.expose()).map_err(|_| LibraryRefused)?;
        let public = key.compute_public_key().map_err(|_| LibraryRefused)?;
        let public = public.as_ref().try_into().map_err(|_| LibraryRefused)?;
        Ok(Self { key, public })
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// The secret shared with whoever has the private half of `peer`.
    ///
    /// # Errors
    /// [`LowOrder`]: no secret at all would come out.
    pub fn agree(&self, peer: &[u8; 32]) -> Result<Secret<32>, LowOrder> {
        let peer = UnparsedPublicKey::new(&X25519, peer);
        agreement::agree(&self.key, peer, LowOrder, |raw| {
            let mut shared = Secret::zeroed();
            let raw: &[u8; 32] = raw.try_into().map_err(|_| LowOrder)?;
            shared.expose_mut().copy_from_slice(raw);
            Ok(shared)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> [u8; 32] {
        std::array::from_fn(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
    }

    fn private(text: &str) -> PrivateKey {
        PrivateKey::new(&Secret::from_bytes(hex(text))).unwrap()
    }

    /// RFC 7748 section 6.1.
    #[test]
    fn agrees_as_the_rfc_says() {
        let bob = private("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
        assert_eq!(*bob.public(), hex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"));
        let alice = hex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
        let shared = hex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
        assert!(bob.agree(&alice).unwrap() == Secret::from_bytes(shared));
    }

    /// RFC 7748 section 5.2, the second vector: a raw scalar, and a point with its top bit set.
    #[test]
    fn the_top_bit_of_a_public_key_is_not_looked_at() {
        let key = private("4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d");
        let point = hex("e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493");
        let shared = hex("95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957");
        assert!(key.agree(&point).unwrap() == Secret::from_bytes(shared));
    }

    #[test]
    fn a_public_key_has_one_spelling() {
        let key = private("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4");
        assert_eq!(check_public(key.public()), Ok(()));
        // p - 2 is the greatest that is not of low order; p + 5 is another spelling of 5.
        let high = "ebffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f";
        assert_eq!(check_public(&hex(high)), Ok(()));
        assert_eq!(check_public(&hex(&high.replace("eb", "f2"))), Err(PublicKeyError::Spelling));
    }

    #[test]
    fn every_low_order_point_is_refused() {
        let key = private("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4");
        for text in [
            "0000000000000000000000000000000000000000000000000000000000000000",
            "0100000000000000000000000000000000000000000000000000000000000000",
            "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
            "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        ] {
            let mut point = hex(text);
            assert_eq!(key.agree(&point).err(), Some(LowOrder), "{text}");
            let why = if text.starts_with("ed") || text.starts_with("ee") {
                PublicKeyError::Spelling
            } else {
                PublicKeyError::LowOrder
            };
            assert_eq!(check_public(&point), Err(why), "{text}");
            point[31] |= 0x80;
            assert_eq!(key.agree(&point).err(), Some(LowOrder), "{text} with its top bit set");
            assert_eq!(check_public(&point), Err(PublicKeyError::Spelling), "{text} with its top bit set");
        }
    }
}
