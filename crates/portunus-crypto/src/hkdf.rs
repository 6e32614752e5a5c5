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
