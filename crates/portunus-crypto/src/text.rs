//! Keys as text: standard base64, as openme's files and ours write it.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

/// Why a text is not a key. It never repeats the text: that may be a private key in the wrong place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Not standard base64.
    #[error("it is not base64: use A-Z a-z 0-9 + / and = at the end")]
    NotBase64,
    /// Base64 of another number of bytes.
    #[error("it has {got} bytes, not {want}")]
    Length {
        /// How many bytes the text holds.
        got: usize,
        /// How many it should.
        want: usize,
    },
}

/// Reads base64 of exactly `N` bytes, blanks around it allowed.
///
/// # Errors
/// [`TextError`] says what is wrong.
pub fn decode<const N: usize>(text: &str) -> Result<[u8; N], TextError> {
    let mut out = [0; N];
    decode_into(text, &mut out)?;
    Ok(out)
}

/// Standard base64 with padding.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

/// Base64 without padding, as packets have it.
#[must_use]
pub fn encode_bare(bytes: &[u8]) -> String {
    STANDARD_NO_PAD.encode(bytes)
}

/// [`encode_bare`] into the front of `out`; how many letters, or `None` where they do not fit.
pub(crate) fn encode_bare_into(bytes: &[u8], out: &mut [u8]) -> Option<usize> {
    STANDARD_NO_PAD.encode_slice(bytes, out).ok()
}

/// The one text that [`encode_bare`] writes for its bytes, and no other: no padding, the unused bits of the last letter
/// zero. Into the front of `out`; how many bytes, or `None`.
#[must_use]
pub fn decode_bare(text: &[u8], out: &mut [u8]) -> Option<usize> {
    STANDARD_NO_PAD.decode_slice(text, out).ok()
}

/// [`decode_bare`], but padding and the unused bits of the last letter are not looked at.
#[must_use]
pub fn decode_loose(text: &[u8]) -> Option<Vec<u8>> {
    BASE64.decode(text).ok()
}

pub(crate) fn decode_into(text: &str, out: &mut [u8]) -> Result<(), TextError> {
    let bytes = Zeroizing::new(BASE64.decode(text.trim()).map_err(|_| TextError::NotBase64)?);
    if bytes.len() != out.len() {
        return Err(TextError::Length { got: bytes.len(), want: out.len() });
    }
    out.copy_from_slice(&bytes);
    Ok(())
}

/// As lenient as Go's decoder, which wrote and reads the files of openme's users: padding and the unused bits of the
/// last letter are not looked at.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_and_unused_bits_are_not_looked_at() {
        assert_eq!(decode::<1>("AQ=="), Ok([1]));
        assert_eq!(decode::<1>("AQ"), Ok([1]));
        assert_eq!(decode::<1>("AR=="), Ok([1]));
        assert_eq!(encode(&[1]), "AQ==");
    }

    #[test]
    fn bare_text_is_the_only_one_for_its_bytes() {
        let mut out = [0; 4];
        assert_eq!(encode_bare(&[1]), "AQ");
        assert_eq!(decode_bare(b"AQ", &mut out), Some(1));
        assert_eq!(out[0], 1);
        for other in ["AR", "AQ=", "AQ==", "A", "A-", "AQ ", "AQIDBAU"] {
            assert_eq!(decode_bare(other.as_bytes(), &mut out), None, "{other}");
        }
        assert_eq!(decode_loose(b"AR=="), Some(vec![1]));
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!(decode::<2>("AQ=="), Err(TextError::Length { got: 1, want: 2 }));
        assert_eq!(decode::<1>("A_=="), Err(TextError::NotBase64));
        assert_eq!(decode::<1>(""), Err(TextError::Length { got: 0, want: 1 }));
    }
}
