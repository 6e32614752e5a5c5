//! HKDF-SHA256 (RFC 5869), one key of 32 bytes.

use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};

use crate::{LibraryRefused, Secret};

/// The first 32 bytes of `HKDF-SHA256(ikm, no salt, info)`.
///
/// # Errors
/// [`LibraryRefused`]: no memory.
pub fn derive(ikm: &Secret<32>, info: &[u8]) -> Result<Secret<32>, LibraryRefused> {
    let mut key = Secret::zeroed();
    let prk = Salt::none(HKDF_SHA256).extract(ikm.expose());
    let info = [info];
    let okm = prk.expand(&info, HKDF_SHA256).map_err(|_| LibraryRefused)?;
    okm.fill(key.expose_mut()).map_err(|_| LibraryRefused)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written out from RFC 5869 section 2 with HMAC of the same library, so that a default that changes is seen.
    #[test]
    fn is_extract_and_then_one_block_of_expand() {
        use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
        let prk = sign(&Key::new(HMAC_SHA256, &[0; 32]), &[5; 32]);
        let block = sign(&Key::new(HMAC_SHA256, prk.as_ref()), b"some info\x01");
        let key = derive(&Secret::from_bytes([5; 32]), b"some info").unwrap();
        assert_eq!(key.expose()[..], *block.as_ref());
    }
}
