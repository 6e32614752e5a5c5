//! The text inside a packet: `RAND:USER:TIMESTAMP:VERSION:TYPE:MESSAGE[:NAT][:SERVER_AUTH][:TIMEOUT]:DIGEST`.

use portunus_crypto::hash::HashType;
use portunus_crypto::text;
use portunus_model::Unix;

use super::field::FieldError;
use super::message::{Message, Nat};
use super::wish::{Kind, Wish};

/// The text has at least as many characters.
pub(super) const SHORTEST_TEXT: usize = 36;
/// The text and every encoding of it have fewer characters.
pub(super) const TOO_LONG: usize = 1500;
/// How many digits RAND has.
pub(super) const RANDOM: usize = 16;

const LONGEST_STAMP: usize = 12;
const LONGEST_KIND: usize = 2;
const LONGEST_TIMEOUT_TEXT: usize = 10;
const LONGEST_ENCODED_USER: usize = 64;

/// What a packet says: the wish, when it was made, and the number that makes it the only one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// RAND: sixteen decimal digits.
    pub random: String,
    /// TIMESTAMP: seconds since 1970.
    pub stamp: u64,
    /// All else.
    pub wish: Wish,
}

impl Asked {
    /// When it says that it was made.
    #[must_use]
    pub fn stamp(&self) -> Unix {
        Unix::from_secs(i64::try_from(self.stamp).unwrap_or(i64::MAX))
    }

    /// The text without its digest.
    pub(super) fn encode(&self) -> String {
        let Wish { user, version, message, nat, server_auth, timeout, .. } = &self.wish;
        let (user, message) = (bare(user), bare(&message.to_string()));
        let mut text = format!(
            "{}:{user}:{}:{version}:{}:{message}",
            self.random,
            self.stamp,
            self.wish.kind().number()
        );
        let nat = nat.as_ref().map(|nat| bare(&nat.to_string()));
        let auth = server_auth.as_ref().map(|auth| text::encode_bare(auth));
        for field in [nat, auth, timeout.map(|timeout| timeout.to_string())].into_iter().flatten() {
            text.push(':');
            text.push_str(&field);
        }
        text
    }

    /// Reads a text with its digest.
    pub(super) fn read(text: &[u8]) -> Result<Self, FieldError> {
        let printable = text.iter().all(|byte| matches!(byte, b' '..=b'~'));
        if !printable || !(SHORTEST_TEXT..TOO_LONG).contains(&text.len()) {
            return Err(FieldError::Text);
        }
        let text = str::from_utf8(text).map_err(|_| FieldError::Text)?;
        let (text, digest) = text.rsplit_once(':').ok_or(FieldError::Fields)?;
        let digest = digest_of(text, digest).ok_or(FieldError::Digest)?;
        Fields(text.split(':')).read(digest)
    }
}

struct Fields<'a>(std::str::Split<'a, char>);

impl<'a> Fields<'a> {
    fn read(mut self, digest: HashType) -> Result<Asked, FieldError> {
        let random = self.next()?;
        if random.len() != RANDOM || !digits(random, RANDOM) {
            return Err(FieldError::Random);
        }
        let user = Some(self.next()?).filter(|field| field.len() <= LONGEST_ENCODED_USER).and_then(loose);
        let user = user.ok_or(FieldError::User)?;
        let stamp = number(self.next()?, LONGEST_STAMP).ok_or(FieldError::Stamp)?;
        let version = self.next()?.to_owned();
        let kind = number(self.next()?, LONGEST_KIND).and_then(|n| Kind::ALL.get(usize::try_from(n).ok()?));
        let kind = *kind.ok_or(FieldError::Kind)?;
        let message = loose(self.next()?).ok_or(FieldError::Message)?;
        let message = match kind {
            Kind::Command => Message::read_command(&message)?,
            Kind::Access | Kind::Nat | Kind::AccessTimeout => Message::read_access(&message)?,
            Kind::NatTimeout | Kind::LocalNat | Kind::LocalNatTimeout => Message::read_access(&message)?,
        };
        let nat = kind.has_nat().then(|| self.nat(kind.is_local())).transpose()?;
        let (server_auth, timeout) = self.last(kind.has_timeout())?;
        let wish = Wish { user, version, message, nat, server_auth, timeout, digest };
        wish.check()?;
        Ok(Asked { random: random.to_owned(), stamp, wish })
    }

    fn next(&mut self) -> Result<&'a str, FieldError> {
        self.0.next().ok_or(FieldError::Fields)
    }

    fn nat(&mut self, local: bool) -> Result<Nat, FieldError> {
        Nat::read(&loose(self.next()?).ok_or(FieldError::Nat)?, local)
    }

    /// SERVER_AUTH, which may be missing, and TIMEOUT, which may not where the type has one; and nothing behind them.
    fn last(mut self, has_timeout: bool) -> Result<(Option<Vec<u8>>, Option<u32>), FieldError> {
        let (first, second) = (self.0.next(), self.0.next());
        if self.0.next().is_some() {
            return Err(FieldError::Fields);
        }
        let (auth, timeout) = match (has_timeout, first, second) {
            (true, Some(timeout), None) => (None, Some(timeout)),
            (true, auth @ Some(_), timeout @ Some(_)) => (auth, timeout),
            (false, auth, None) => (auth, None),
            (true, None, _) | (false, _, Some(_)) => return Err(FieldError::Fields),
        };
        let auth =
            auth.map(|auth| text::decode_loose(auth.as_bytes()).ok_or(FieldError::ServerAuth)).transpose()?;
        Ok((auth, timeout.map(read_timeout).transpose()?))
    }
}

/// The hash that `digest` is of `text`. Its length names it, or two.
fn digest_of(text: &str, digest: &str) -> Option<HashType> {
    let fits = |hash: &HashType| {
        hash.bare_length() == digest.len() && hash.digest(text.as_bytes()).is_bare(digest.as_bytes())
    };
    HashType::ALL.into_iter().find(fits)
}

fn read_timeout(field: &str) -> Result<u32, FieldError> {
    number(field, LONGEST_TIMEOUT_TEXT).and_then(|n| u32::try_from(n).ok()).ok_or(FieldError::Timeout)
}

fn number(field: &str, longest: usize) -> Option<u64> {
    digits(field, longest).then(|| field.parse().ok())?
}

fn digits(field: &str, longest: usize) -> bool {
    (1..=longest).contains(&field.len()) && field.bytes().all(|byte| byte.is_ascii_digit())
}

fn bare(text: &str) -> String {
    text::encode_bare(text.as_bytes())
}

/// Some clients leave the padding on. Inside the seal that makes no second packet of one.
fn loose(field: &str) -> Option<String> {
    String::from_utf8(text::decode_loose(field.as_bytes())?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text with a digest of its own.
    fn read(text: &str) -> Result<Asked, FieldError> {
        let digest = HashType::Sha256.digest(text.as_bytes()).to_bare();
        Asked::read(format!("{text}:{digest}").as_bytes())
    }

    const START: &str = "1234567890123456:cm9vdA:1795217518:3.0.0:";
    /// `1.2.3.4,tcp/22` and `10.0.0.1,22`.
    const MESSAGE: &str = "MS4yLjMuNCx0Y3AvMjI";
    const NAT: &str = "MTAuMC4wLjEsMjI";

    #[test]
    fn what_is_read_is_written_again() {
        for rest in [
            "1:MESSAGE",
            "1:MESSAGE:YXV0aA",
            "1:MESSAGE:",
            "2:MESSAGE:NAT",
            "2:MESSAGE:NAT:YXV0aA",
            "3:MESSAGE:60",
            "3:MESSAGE:YXV0aA:0",
            "4:MESSAGE:NAT:65536",
            "5:MESSAGE:NAT",
            "6:MESSAGE:NAT:YXV0aA:60",
            "0:MS4yLjMuNCxscw",
        ] {
            let text = format!("{START}{}", rest.replace("MESSAGE", MESSAGE).replace("NAT", NAT));
            assert_eq!(read(&text).unwrap().encode(), text);
        }
    }

    #[test]
    fn each_type_has_its_fields() {
        for rest in [
            "0:MS4yLjMuNCxscw:YXV0aA:60",
            "1:MESSAGE:YXV0aA:60",
            "2:MESSAGE",
            "2:MESSAGE:NAT:YXV0aA:60",
            "3:MESSAGE",
            "3:MESSAGE:YXV0aA:60:60",
            "4:MESSAGE:NAT",
            "5:MESSAGE",
            "6:MESSAGE:NAT",
            "1",
        ] {
            let text = format!("{START}{}", rest.replace("MESSAGE", MESSAGE).replace("NAT", NAT));
            assert_eq!(read(&text), Err(FieldError::Fields), "{rest}");
        }
    }

    #[test]
    fn numbers_are_digits() {
        let with = |stamp: &str, kind: &str, timeout: &str| {
            read(&format!("1234567890123456:cm9vdA:{stamp}:3.0.0:{kind}:{MESSAGE}:{timeout}")).err()
        };
        assert_eq!(with("0", "03", "000065536"), None);
        for stamp in ["", "-1", "+5", " 5", "5 ", "1795217518x", "9999999999999", "0x10"] {
            assert_eq!(with(stamp, "3", "60"), Some(FieldError::Stamp), "{stamp}");
        }
        for kind in ["", "7", "-1", "+3", "3 ", "003"] {
            assert_eq!(with("0", kind, "60"), Some(FieldError::Kind), "{kind}");
        }
        for timeout in ["", "65537", "x", "6 ", "-5", "+6", "99999999999"] {
            assert_eq!(with("0", "3", timeout), Some(FieldError::Timeout), "{timeout}");
        }
    }

    /// Clients may leave the padding on; the letters must be base64's all the same.
    #[test]
    fn base64_inside_may_be_padded() {
        let user = |field: &str| {
            read(&format!("1234567890123456:{field}:1795217518:3.0.0:1:{MESSAGE}"))
                .map(|asked| asked.wish.user)
        };
        for field in ["cm9vdA", "cm9vdA==", "cm9vdB"] {
            assert_eq!(user(field).as_deref(), Ok("root"), "{field}");
        }
        for field in ["", "cm9v=dA", "cm9vd", "cm9v_A", "cm87b3Q", "w7w"] {
            assert_eq!(user(field), Err(FieldError::User), "{field}");
        }
    }

    #[test]
    fn the_digest_is_of_the_text() {
        let text = format!("{START}1:{MESSAGE}");
        for hash in HashType::ALL {
            let digest = hash.digest(text.as_bytes()).to_bare();
            let asked = Asked::read(format!("{text}:{digest}").as_bytes()).unwrap();
            assert_eq!(asked.wish.digest, hash);
            let other = hash.digest(b"another text").to_bare();
            assert_eq!(Asked::read(format!("{text}:{other}").as_bytes()), Err(FieldError::Digest));
        }
        assert_eq!(Asked::read(format!("{text}:").as_bytes()), Err(FieldError::Digest));
        assert_eq!(Asked::read(text.replace(':', "").as_bytes()), Err(FieldError::Fields));
        assert_eq!(Asked::read(b"too short"), Err(FieldError::Text));
    }
}
