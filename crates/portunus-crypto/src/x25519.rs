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
            point[31] |= 0x80;
            assert_eq!(key.agree(&point).err(), Some(LowOrder), "{text} with its top bit set");
        }
    }
}
