//! Bytes that nobody prints, copies by accident or leaves behind in memory.

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use crate::text::{self, TextError};

/// A secret of `N` bytes: wiped when dropped, compared in constant time, without `Debug`, `Display` or `Clone`.
///
/// It lives on the heap, so that moving it leaves no copy on the stack.
pub struct Secret<const N: usize>(Box<Zeroizing<[u8; N]>>);

impl<const N: usize> Secret<N> {
    /// Takes `bytes`. This copy of them is wiped; the caller's own, if it keeps one, is the caller's.
    #[must_use]
    pub fn from_bytes(mut bytes: [u8; N]) -> Self {
        let mut secret = Self::zeroed();
        secret.expose_mut().copy_from_slice(&bytes);
        bytes.zeroize();
        secret
    }

    /// Reads standard base64 of exactly `N` bytes, blanks around it allowed.
    ///
    /// # Errors
    /// [`TextError`]: not base64, or another number of bytes. It never repeats the text.
    pub fn from_base64(text: &str) -> Result<Self, TextError> {
        let mut secret = Self::zeroed();
        text::decode_into(text, secret.expose_mut())?;
        Ok(secret)
    }

    /// `N` fresh random bytes.
    ///
    /// # Errors
    /// [`crate::EntropyFailed`] when the source of randomness does not answer.
    pub fn generate(entropy: &mut dyn crate::Entropy) -> Result<Self, crate::EntropyFailed> {
        let mut secret = Self::zeroed();
        entropy.fill(secret.expose_mut())?;
        Ok(secret)
    }

    /// Standard base64, for the one file or profile that it belongs in.
    #[must_use]
    pub fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(text::encode(self.expose()))
    }

    /// The bytes themselves. Every call is a place to look at in a review.
    #[must_use]
    pub fn expose(&self) -> &[u8; N] {
        &self.0
    }

    /// A second copy, on purpose.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        let mut second = Self::zeroed();
        second.expose_mut().copy_from_slice(self.expose());
        second
    }

    pub(crate) fn zeroed() -> Self {
        Self(Box::new(Zeroizing::new([0; N])))
    }

    pub(crate) fn expose_mut(&mut self) -> &mut [u8; N] {
        &mut self.0
    }
}

impl<const N: usize> PartialEq for Secret<N> {
    /// In constant time.
    fn eq(&self, other: &Self) -> bool {
        self.expose().ct_eq(other.expose()).into()
    }
}

impl<const N: usize> Eq for Secret<N> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let secret = Secret::from_bytes([7; 32]);
        let text = secret.to_base64();
        assert!(Secret::<32>::from_base64(&text).unwrap() == secret);
        assert!(Secret::<32>::from_base64(&format!("  {}\n", &*text)).unwrap() == secret);
        assert!(secret.duplicate() == secret);
        assert!(Secret::from_bytes([8; 32]) != secret);
    }

    #[test]
    fn a_wrong_length_is_named_and_the_text_is_not() {
        let Err(error) = Secret::<32>::from_base64("c2VjcmV0") else { panic!("six bytes are not 32") };
        assert_eq!(error, TextError::Length { got: 6, want: 32 });
        assert!(!error.to_string().contains("c2Vj"));
        assert_eq!(Secret::<32>::from_base64("not base64!").err(), Some(TextError::NotBase64));
    }
}
