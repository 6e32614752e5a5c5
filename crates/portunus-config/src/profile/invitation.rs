//! The code of an invitation: a line that `portunus invite` prints, and `portunus join` takes.
//!
//! `portunus-invite:` and, in base64 without padding: version 1 · the door's public key 32 · day 4 · that day's value of the
//! door's chain 32 · secret 32 · port 2 · flags 1 · health port 2 (0: none) · length 1, host · count 1, and so many times
//! length 1, port · the first 4 bytes of BLAKE2s-256 of all before. Big endian.

use portunus_crypto::{Secret, blake2s, text};
use portunus_dialect::native::{Chain, Day};
use portunus_model::{NativeRule, PortSpec};
use zeroize::Zeroizing;

use crate::ValueError;
use crate::lower::parse_host;

/// How a code begins.
pub const PREFIX: &str = "portunus-invite:";

const VERSION: u8 = 1;
const ANSWERS: u8 = 1;
const MUST_BIND: u8 = 2;
const SECOND_FACTOR: u8 = 4;
const CHECK: usize = 4;
/// So many ports are told; the server knows the others.
const MOST_PORTS: usize = 16;
/// No code is longer.
const LONGEST: usize = 1024;

/// What a code says.
pub struct Code {
    /// The server's host name or address.
    pub host: String,
    /// Its UDP port.
    pub port: u16,
    /// The public key of the door of invitations.
    pub server: [u8; 32],
    /// That door's chain.
    pub door: Chain,
    /// What proves that a packet is by who was invited.
    pub secret: Secret<32>,
    /// What holds for the client.
    pub rule: NativeRule,
    /// The TCP port that answers `status`; `None`: nobody listens.
    pub health_port: Option<u16>,
    /// What a knock opens, as far as there is room.
    pub opens: Vec<PortSpec>,
}

impl Code {
    /// The line.
    #[must_use]
    pub fn render(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST));
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.server);
        bytes.extend_from_slice(&self.door.day().number().to_be_bytes());
        bytes.extend_from_slice(self.door.value().expose());
        bytes.extend_from_slice(self.secret.expose());
        bytes.extend_from_slice(&self.port.to_be_bytes());
        let NativeRule { answers, must_bind, second_factor } = self.rule;
        let flags = [(answers, ANSWERS), (must_bind, MUST_BIND), (second_factor, SECOND_FACTOR)];
        bytes.push(flags.iter().filter(|(set, _)| *set).map(|(_, flag)| flag).sum());
        bytes.extend_from_slice(&self.health_port.unwrap_or(0).to_be_bytes());
        // A host name has 253 letters at most, and a port 17.
        short(&mut bytes, &self.host);
        let told = self.opens.len().min(MOST_PORTS);
        bytes.push(u8::try_from(told).unwrap_or(0));
        self.opens.iter().take(told).for_each(|port| short(&mut bytes, &port.to_string()));
        let check = blake2s::hash(&[&bytes]);
        bytes.extend_from_slice(check.get(..CHECK).unwrap_or_default());
        let encoded = Zeroizing::new(text::encode_bare(&bytes));
        // With room for the end of a line: what grows leaves a copy.
        let mut line = Zeroizing::new(String::with_capacity(PREFIX.len() + encoded.len() + 1));
        line.push_str(PREFIX);
        line.push_str(&encoded);
        line
    }

    /// Reads a line; blanks in it and around it are what a mail has made of it.
    ///
    /// # Errors
    /// [`ValueError`] says what is wrong and the mend.
    pub fn parse(line: &str) -> Result<Self, ValueError> {
        let line: Zeroizing<String> = Zeroizing::new(line.split_whitespace().collect());
        let encoded = line.strip_prefix(PREFIX).ok_or_else(cut)?;
        let mut bytes = Zeroizing::new(vec![0; LONGEST]);
        let length = text::decode_bare(encoded.as_bytes(), &mut bytes).ok_or_else(cut)?;
        let (said, check) =
            bytes.get(..length).and_then(|bytes| bytes.split_last_chunk::<CHECK>()).ok_or_else(cut)?;
        if blake2s::hash(&[said]).get(..CHECK) != Some(check) {
            return Err(cut());
        }
        if said.first() != Some(&VERSION) {
            return Err(ValueError::new(
                "the code is of a newer portunus",
                "join with that version of portunus",
            ));
        }
        Self::read(said.get(1..).unwrap_or_default()).ok_or_else(cut)
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let server = take(&mut rest)?;
        let day = Day::from_number(u32::from_be_bytes(take(&mut rest)?));
        let value = Secret::from_bytes(take(&mut rest)?);
        let secret = Secret::from_bytes(take(&mut rest)?);
        let port = u16::from_be_bytes(take(&mut rest)?);
        let [flags] = take(&mut rest)?;
        let health = u16::from_be_bytes(take(&mut rest)?);
        let host = parse_host(word(&mut rest)?).ok()?;
        let [count] = take(&mut rest)?;
        let mut opens = Vec::new();
        for _ in 0..count {
            opens.extend(PortSpec::parse(word(&mut rest)?).ok()?);
        }
        let has = |flag: u8| flags & flag != 0;
        let rule = NativeRule {
            answers: has(ANSWERS),
            must_bind: has(MUST_BIND),
            second_factor: has(SECOND_FACTOR),
        };
        let whole = rest.is_empty() && port != 0 && usize::from(count) <= MOST_PORTS;
        let door = Chain::new(day, value);
        let health_port = Some(health).filter(|&port| port != 0);
        whole.then_some(Self { host, port, server, door, secret, rule, health_port, opens })
    }
}

impl std::fmt::Debug for Code {
    /// Where to only.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Code({}:{})", self.host, self.port)
    }
}

fn cut() -> ValueError {
    ValueError::new(
        "the invitation's code is cut or mistyped",
        "copy all of it, from portunus-invite: on, or scan it again",
    )
}

fn short(bytes: &mut Vec<u8>, word: &str) {
    let length = u8::try_from(word.len()).unwrap_or(0);
    bytes.push(length);
    bytes.extend_from_slice(word.as_bytes().get(..usize::from(length)).unwrap_or_default());
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk()?;
    *rest = left;
    Some(*taken)
}

fn word<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let [length] = take(rest)?;
    let (word, left) = rest.split_at_checked(usize::from(length))?;
    *rest = left;
    std::str::from_utf8(word).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code() -> Code {
        Code {
            host: "home.example.org".to_owned(),
            port: 54154,
            server: [1; 32],
            door: Chain::new(Day::from_number(20_783), Secret::from_bytes([2; 32])),
            secret: Secret::from_bytes([3; 32]),
            rule: NativeRule { answers: true, must_bind: false, second_factor: true },
            health_port: Some(54154),
            opens: ["22/tcp", "8000-8010/udp"]
                .iter()
                .flat_map(|word| PortSpec::parse(word).unwrap())
                .collect(),
        }
    }

    #[test]
    fn reads_what_it_writes_also_wrapped_by_a_mail() {
        let line = code().render();
        assert!(line.len() < 300, "{}", line.len());
        let wrapped = format!("  {}\n {}\n", &line[..60], &line[60..]);
        for line in [line.as_str(), &wrapped] {
            let read = Code::parse(line).unwrap();
            assert_eq!((read.host.as_str(), read.port, read.server), ("home.example.org", 54154, [1; 32]));
            assert!(read.secret == code().secret && read.door.value() == code().door.value());
            assert_eq!((read.door.day(), read.rule), (code().door.day(), code().rule));
            assert_eq!((read.health_port, read.opens), (Some(54154), code().opens));
        }
        let bare = Code { health_port: None, opens: Vec::new(), rule: NativeRule::default(), ..code() };
        let read = Code::parse(&bare.render()).unwrap();
        assert_eq!((read.health_port, read.opens.len(), read.rule), (None, 0, NativeRule::default()));
        // More ports than there is room for are left out, and never cut.
        let many = Code { opens: vec![code().opens[0]; 40], ..code() };
        assert_eq!(Code::parse(&many.render()).unwrap().opens.len(), MOST_PORTS);
    }

    #[test]
    fn what_is_cut_or_mistyped_is_said() {
        let line = code().render();
        for end in 0..line.len() {
            assert!(Code::parse(&line[..end]).is_err(), "{end}");
        }
        for place in PREFIX.len()..line.len() {
            let other = if line.as_bytes()[place] == b'A' { "B" } else { "A" };
            let mut wrong = line.to_string();
            wrong.replace_range(place..=place, other);
            assert!(Code::parse(&wrong).is_err(), "{place}");
        }
        let said = Code::parse("hello").unwrap_err();
        assert!(said.what.contains("cut or mistyped"), "{}", said.what);
        assert!(!format!("{:?}", code()).contains('3'));
    }
}
