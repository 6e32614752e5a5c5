//! One-time codes of six digits, a new one every 30 seconds (RFC 6238 with SHA-1, as every authenticator has them).

use totp_rs::{Algorithm, Builder, Totp};
use zeroize::Zeroizing;

use crate::Secret;

/// The bytes of a secret: as many as the hash has (RFC 4226, section 4).
pub const SECRET: usize = 20;
/// Seconds for which one code is the right one.
pub const STEP: u64 = 30;

/// Makes the codes of one secret.
pub struct Codes(Totp);

/// The text is no secret of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no base32 of {SECRET} bytes (32 letters A-Z and digits 2-7)")]
pub struct NoSecret;

impl Codes {
    /// Those of this secret.
    #[must_use]
    pub fn new(secret: &Secret<SECRET>) -> Self {
        // Six digits, 30 seconds, and one step earlier or later are RFC 6238's, and what the crate has by itself; the secret is
        // long enough, so nothing is left to be refused.
        let secret = totp_rs::Secret::new(Box::new(*secret.expose()));
        Self(Builder::new().with_algorithm(Algorithm::SHA1).with_secret(secret).build_noncompliant())
    }

    /// The code at that Unix second.
    #[must_use]
    pub fn at(&self, seconds: u64) -> Zeroizing<String> {
        Zeroizing::new(self.0.generate(seconds).to_string())
    }

    /// In which step `code` was or will be the right one: this one, the one before, or the next; `None`: in none of them.
    #[must_use]
    pub fn step_of(&self, code: u32, seconds: u64) -> Option<u64> {
        self.0.check(&Zeroizing::new(format!("{code:06}")), seconds)
    }
}

/// The secret as authenticators and our files write it.
#[must_use]
pub fn to_base32(secret: &Secret<SECRET>) -> Zeroizing<String> {
    Zeroizing::new(totp_rs::Secret::new(Box::new(*secret.expose())).to_base32())
}

/// Reads it.
///
/// # Errors
/// [`NoSecret`].
pub fn from_base32(text: &str) -> Result<Secret<SECRET>, NoSecret> {
    let secret = totp_rs::Secret::try_from_base32(text.trim()).map_err(|_| NoSecret)?;
    let bytes: [u8; SECRET] = secret.as_bytes().try_into().map_err(|_| NoSecret)?;
    Ok(Secret::from_bytes(bytes))
}

/// What a picture for an authenticator says: the secret, and by which names it is shown there.
///
/// # Errors
/// [`NoSecret`]: a name has a colon, which such a text cannot have.
pub fn to_url(secret: &Secret<SECRET>, issuer: &str, account: &str) -> Result<Zeroizing<String>, NoSecret> {
    let secret = totp_rs::Secret::new(Box::new(*secret.expose()));
    let builder = Builder::new().with_algorithm(Algorithm::SHA1).with_secret(secret);
    let totp = builder.with_issuer(Some(issuer)).with_account_name(account).build().map_err(|_| NoSecret)?;
    totp.to_url().map(Zeroizing::new).map_err(|_| NoSecret)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238, appendix B, the last six of its eight digits.
    #[test]
    fn codes_are_the_standards() {
        let codes = Codes::new(&Secret::from_bytes(*b"12345678901234567890"));
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(*codes.at(seconds), code);
            assert_eq!(codes.step_of(code.parse().unwrap(), seconds), Some(seconds / STEP));
        }
    }

    #[test]
    fn a_code_holds_for_its_step_and_one_to_either_side() {
        let codes = Codes::new(&Secret::from_bytes([7; SECRET]));
        let code = codes.at(3000).parse().unwrap();
        for (seconds, wanted) in [(2969, None), (2970, Some(100)), (3059, Some(100)), (3060, None)] {
            assert_eq!(codes.step_of(code, seconds), wanted, "{seconds}");
        }
        assert_eq!(codes.step_of(1_000_000, 3000), None);
        assert_eq!(codes.step_of(u32::MAX, 3000), None);
    }

    #[test]
    fn secrets_are_read_as_they_are_written() {
        let secret = Secret::from_bytes(*b"12345678901234567890");
        let text = to_base32(&secret);
        assert_eq!(*text, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        assert!(from_base32(&text) == Ok(secret.duplicate()));
        for wrong in ["", "GEZDGNBV", "!", "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBV"] {
            assert_eq!(from_base32(wrong).err(), Some(NoSecret), "{wrong}");
        }
        let url = to_url(&secret, "home.example.org", "alice's phone").unwrap();
        assert!(url.starts_with("otpauth://totp/home.example.org:alice"), "{}", *url);
        assert!(url.contains(text.as_str()));
        assert_eq!(to_url(&secret, "a:b", "c").err(), Some(NoSecret));
    }
}
