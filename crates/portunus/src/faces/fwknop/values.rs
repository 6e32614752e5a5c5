//! What single values mean, on the command line and in the rc file alike. Each refusal says what, and the mend.

use std::net::IpAddr;

use portunus_crypto::text;
use portunus_dialect::fwknop::{HashType, LONGEST_TIMEOUT, Mode};
use zeroize::Zeroizing;

/// Why a value is none: what is wrong, and the mend.
pub(super) type Refused = (String, String);

/// Bytes of a key.
pub(super) type KeyBytes = Zeroizing<Vec<u8>>;

/// How the packet travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Way {
    /// One datagram.
    #[default]
    Udp,
    /// A connection.
    Tcp,
    /// A request of HTTP.
    Http,
    /// A datagram through a raw socket.
    UdpRaw,
    /// A SYN through a raw socket.
    TcpRaw,
    /// A ping through a raw socket.
    Icmp,
}

impl Way {
    const ALL: [Self; 6] = [Self::Udp, Self::Tcp, Self::Http, Self::UdpRaw, Self::TcpRaw, Self::Icmp];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Http => "http",
            Self::UdpRaw => "udpraw",
            Self::TcpRaw => "tcpraw",
            Self::Icmp => "icmp",
        }
    }

    /// Whether it needs a raw socket, and so can have any source.
    pub(super) const fn is_raw(self) -> bool {
        match self {
            Self::Udp | Self::Tcp | Self::Http => false,
            Self::UdpRaw | Self::TcpRaw | Self::Icmp => true,
        }
    }
}

/// A chaining mode, or GnuPG by its other name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ModeWord {
    /// AES.
    Symmetric(Mode),
    /// GnuPG.
    Asymmetric,
}

fn refused<T>(what: impl Into<String>, mend: impl Into<String>) -> Result<T, Refused> {
    Err((what.into(), mend.into()))
}

pub(super) fn way(text: &str) -> Result<Way, Refused> {
    match Way::ALL.into_iter().find(|way| way.as_str().eq_ignore_ascii_case(text)) {
        Some(way) => Ok(way),
        None => {
            refused(format!("Unrecognized protocol: {text}"), "use udp, tcp, http, udpraw, tcpraw or icmp")
        }
    }
}

/// A number as C reads it: blanks, a sign, digits, and whatever comes then does not count; no digits are 0.
fn number(text: &str) -> i64 {
    let text = text.trim_start();
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let digits = digits.get(..end).unwrap_or_default();
    if digits.is_empty() { 0 } else { digits.parse::<i64>().unwrap_or(i64::MAX).saturating_mul(sign) }
}

/// A port where 0 is the system's choice. Words that are no number are refused: the original takes them for 0.
pub(super) fn port(text: &str) -> Result<u16, Refused> {
    match u16::try_from(number(text)) {
        Ok(port) if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() => Ok(port),
        Ok(_) | Err(_) => refused(format!("Value {text} out of range"), "use a number from 0 to 65535"),
    }
}

pub(super) fn timeout(text: &str) -> Result<u32, Refused> {
    match u32::try_from(number(text)) {
        Ok(seconds) if seconds <= LONGEST_TIMEOUT => Ok(seconds),
        Ok(_) | Err(_) => refused(
            format!("{text}: the timeout must be within [0-{LONGEST_TIMEOUT}]"),
            "use a number of seconds; the server has a limit too",
        ),
    }
}

/// Seconds: digits and, where it is no number of seconds, a letter: m, h or d.
pub(super) fn offset(text: &str) -> Result<i64, Refused> {
    let wrong =
        || refused(format!("Invalid time offset: '{text}'"), "use a number and s, m, h or d, such as 5m");
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at_checked(end).unwrap_or_default();
    let factor = match unit.chars().next() {
        None | Some('s' | 'S') => 1,
        Some('m' | 'M') => 60,
        Some('h' | 'H') => 3600,
        Some('d' | 'D') => 86400,
        Some(_) => return wrong(),
    };
    // As far as the original's: what 32 bits hold.
    match digits.parse::<i32>().ok().and_then(|number| number.checked_mul(factor)) {
        Some(seconds) => Ok(seconds.into()),
        None => wrong(),
    }
}

pub(super) const HASHES: &str = "md5, sha1, sha256, sha384, sha512, sha3_256, sha3_512";

pub(super) fn digest(text: &str) -> Result<HashType, Refused> {
    match HashType::named(text) {
        Some(hash) => Ok(hash),
        None => refused(format!("Invalid digest type: {text}"), format!("use one of {HASHES}")),
    }
}

pub(super) fn hmac_digest(text: &str) -> Result<HashType, Refused> {
    match HashType::named(text) {
        Some(hash) => Ok(hash),
        None => refused(format!("Invalid hmac digest type: {text}"), format!("it must be one of {HASHES}")),
    }
}

pub(super) fn mode(text: &str) -> Result<ModeWord, Refused> {
    match Mode::named(text) {
        Some(mode) => Ok(ModeWord::Symmetric(mode)),
        None if text.eq_ignore_ascii_case("asymmetric") => Ok(ModeWord::Asymmetric),
        None => refused(
            format!("Invalid encryption mode: {text}"),
            "use cbc, ecb, cfb, ofb, ctr, legacy or asymmetric",
        ),
    }
}

/// Whom to open for; `None` is where the packet comes from.
pub(super) fn allow(text: &str) -> Result<Option<IpAddr>, Refused> {
    match text.parse::<IpAddr>() {
        Ok(address) if address.is_unspecified() => Ok(None),
        Ok(IpAddr::V6(six)) => Ok(Some(six.to_canonical())),
        Ok(four) => Ok(Some(four)),
        Err(_) => refused(format!("Invalid allow IP {text:?}"), "write an address such as 198.51.100.7"),
    }
}

pub(super) fn spoof(text: &str) -> Result<IpAddr, Refused> {
    text.parse()
        .or_else(|_| refused(format!("Invalid spoof IP {text:?}"), "write an address such as 203.0.113.9"))
}

/// The bytes of base64. The text is not repeated: it is a key.
pub(super) fn base64(text: &str, what: &str, longest: usize) -> Result<KeyBytes, Refused> {
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    let decoded = text.bytes().all(letters).then(|| text::decode_loose(text.as_bytes())).flatten();
    let Some(bytes) = decoded.map(Zeroizing::new) else {
        return refused(
            format!("{what} argument doesn't look like base64-encoded data"),
            "write what --key-gen prints",
        );
    };
    if bytes.len() > longest {
        let what = format!("Invalid decoded key length: '{}', must be in [1,{longest}]", bytes.len());
        return refused(what, "make keys with --key-gen");
    }
    Ok(bytes)
}

pub(super) fn yes(text: &str) -> bool {
    text.starts_with(['y', 'Y'])
}

/// `Y`, `N`, or a number from 0 to 4.
pub(super) fn verbosity(text: &str) -> Result<u8, Refused> {
    match number(text) {
        level @ 1..=4 => Ok(u8::try_from(level).unwrap_or(4)),
        0 => Ok(u8::from(yes(text))),
        _ => refused(format!("Value {text} out of range"), "use Y, N, or a number from 0 to 4"),
    }
}

pub(super) fn icmp(text: &str, what: &str, most: u8) -> Result<u8, Refused> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match u8::try_from(number(text)) {
        Ok(value) if digits && value <= most => Ok(value),
        Ok(_) | Err(_) => {
            refused(format!("Invalid icmp {what} '{text}'"), format!("it must be in [0-{most}]"))
        }
    }
}

pub(super) fn descriptor(text: &str) -> Result<i32, Refused> {
    match text.parse::<i32>() {
        Ok(number) if number >= 0 => Ok(number),
        Ok(_) | Err(_) => {
            refused(format!("Value {text} out of range"), "use the number of an open file descriptor")
        }
    }
}

pub(super) fn key_length(text: &str, what: &str, most: usize) -> Result<usize, Refused> {
    match text.parse::<usize>() {
        Ok(length) if (1..=most).contains(&length) => Ok(length),
        Ok(_) | Err(_) => {
            refused(format!("Invalid {what} length '{text}'"), format!("it must be in [1-{most}]"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn what<T: std::fmt::Debug>(result: Result<T, Refused>) -> String {
        result.unwrap_err().0
    }

    #[test]
    fn ports_and_times_have_their_limits() {
        assert_eq!((port("0"), port("65535")), (Ok(0), Ok(65535)));
        for wrong in ["65536", "-1", "abc", "", "22x", "+22"] {
            assert_eq!(what(port(wrong)), format!("Value {wrong} out of range"));
        }
        assert_eq!((timeout("0"), timeout("65536"), timeout("1m")), (Ok(0), Ok(65536), Ok(1)));
        assert!(what(timeout("65537")).contains("timeout must be within [0-65536]"));
        assert!(timeout("-1").is_err());
    }

    #[test]
    fn an_offset_has_a_unit() {
        let cases = [
            ("60", 60),
            ("60s", 60),
            ("60m", 3600),
            ("1h", 3600),
            ("2d", 172_800),
            ("60min", 3600),
            ("1M", 60),
        ];
        for (text, seconds) in cases {
            assert_eq!(offset(text), Ok(seconds), "{text}");
        }
        for wrong in ["x", "", "123456789999", "999999999d", "-5", "1x"] {
            assert_eq!(what(offset(wrong)), format!("Invalid time offset: '{wrong}'"));
        }
    }

    #[test]
    fn whom_to_open_for() {
        assert_eq!(allow("0.0.0.0"), Ok(None));
        assert_eq!(allow("::"), Ok(None));
        assert_eq!(allow("198.51.100.7"), Ok(Some([198, 51, 100, 7].into())));
        assert_eq!(allow("::ffff:198.51.100.7"), Ok(Some([198, 51, 100, 7].into())));
        assert_eq!(allow("2001:DB8:0::7"), Ok(Some("2001:db8::7".parse().unwrap())));
        for wrong in ["999.2.3.4", "source", "1.2.3", "1.2.3.4/32"] {
            assert!(what(allow(wrong)).starts_with("Invalid allow IP"));
        }
    }

    #[test]
    fn a_key_in_base64_is_checked_and_never_repeated() {
        assert_eq!(*base64("dGVzdHRlc3Q=", "KEY_BASE64", 128).unwrap(), b"testtest");
        assert_eq!(*base64("dGVzdHRlc3Q", "KEY_BASE64", 128).unwrap(), b"testtest");
        let said = what(base64("sesame!", "KEY_BASE64", 128));
        assert!(said.contains("look like base64-encoded") && !said.contains("sesame"), "{said}");
        assert!(what(base64(&"AAAA".repeat(43), "X", 128)).contains("Invalid decoded key length: '129'"));
    }

    #[test]
    fn words_are_known_in_capitals_too() {
        assert_eq!(way("TCPraw"), Ok(Way::TcpRaw));
        assert_eq!(mode("CTR"), Ok(ModeWord::Symmetric(Mode::Ctr)));
        assert_eq!(what(mode("PCBC")), "Invalid encryption mode: PCBC");
        assert_eq!(digest("SHA3_256"), Ok(HashType::Sha3_256));
        assert_eq!(what(hmac_digest("bad")), "Invalid hmac digest type: bad");
        assert_eq!((verbosity("Y"), verbosity("2"), verbosity("N")), (Ok(1), Ok(2), Ok(0)));
        assert!(verbosity("9").is_err());
        assert!(what(icmp("-1", "code", 15)).starts_with("Invalid icmp code"));
        assert!(icmp("40", "type", 40).is_ok() && icmp("41", "type", 40).is_err());
        assert_eq!(what(key_length("0", "key", 128)), "Invalid key length '0'");
    }
}
