//! A profile's keys in the native dialect: the only ones that change with time, so they can be written anew into a
//! file in which everything else stays as its owner wrote it.

use std::path::Path;

use portunus_crypto::x25519::PrivateKey;
use portunus_crypto::{Secret, text};
use portunus_dialect::native::{Chain, Day, MOST_STEPS};
use zeroize::Zeroizing;

use super::{REDACTED, Show};
use crate::quote::quoted;
use crate::reader::Fields;
use crate::source::Findings;
use crate::toml_edit;
use crate::{EditError, ValueError, keys};

/// The keys of a profile that no other dialect has.
pub(super) const KEYS: [&str; 15] = [
    "day",
    "newest_day",
    "door_chain",
    "door_day",
    "old_server_pubkey",
    "old_door_chain",
    "old_door_day",
    "link_chain",
    "fresh",
    "next_link",
    "old_link",
    "answers",
    "bind",
    "second_factor",
    "source_port",
];

/// Those that a profile cannot do without.
const NEEDED: [&str; 3] = ["day", "door_chain", "link_chain"];

/// A client's keys in the native dialect, and what it is to do with them.
pub struct NativeKeys {
    /// The door's X25519 public key.
    pub server: [u8; 32],
    /// The client's X25519 private key, made for this server.
    pub secret: Secret<32>,
    /// Its public half.
    pub public: [u8; 32],
    /// The door's chain, from the first day that is kept; of a new door from the day on that the server named it.
    pub door: Chain,
    /// The door before this one, until this one has answered.
    pub old_door: Option<KnownDoor>,
    /// The chain of this client's link, from the first day that is kept.
    pub link: Chain,
    /// The newest day that a knock was made on.
    pub newest: Day,
    /// What is known of a link that nobody has seen but the server.
    pub renewal: Renewal,
    /// The server answers this client.
    pub answers: bool,
    /// Every knock names its own address.
    pub must_bind: bool,
    /// A one-time code is asked for.
    pub second_factor: bool,
    /// The server opens for one source port where it is asked to.
    pub source_port: bool,
}

/// A door, as a client knows it.
pub struct KnownDoor {
    /// Its X25519 public key.
    pub server: [u8; 32],
    /// Its chain.
    pub chain: Chain,
}

impl KnownDoor {
    /// A second copy, on purpose.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self { server: self.server, chain: duplicate(&self.chain) }
    }
}

/// How far the link of a profile that was printed, mailed or photographed is replaced by one that was not.
pub enum Renewal {
    /// It is replaced, or need not be.
    Done,
    /// It is to be replaced.
    Due,
    /// This one is announced with each knock, and not known to have arrived.
    Announced(Chain),
    /// The new one seems to have arrived, for a door opened; this is the one before it, in case that it did not.
    Replaced(Chain),
}

impl Renewal {
    /// A second copy, on purpose.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        match self {
            Self::Done => Self::Done,
            Self::Due => Self::Due,
            Self::Announced(link) => Self::Announced(duplicate(link)),
            Self::Replaced(link) => Self::Replaced(duplicate(link)),
        }
    }
}

impl NativeKeys {
    /// A second copy, on purpose.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self {
            server: self.server,
            secret: self.secret.duplicate(),
            public: self.public,
            door: duplicate(&self.door),
            old_door: self.old_door.as_ref().map(KnownDoor::duplicate),
            link: duplicate(&self.link),
            newest: self.newest,
            renewal: self.renewal.duplicate(),
            answers: self.answers,
            must_bind: self.must_bind,
            second_factor: self.second_factor,
            source_port: self.source_port,
        }
    }
}

fn duplicate(chain: &Chain) -> Chain {
    Chain::new(chain.day(), chain.value().duplicate())
}

/// `text` with the door and the chains of `keys` in the place of its own. Nothing else changes, and no comment goes but one on
/// the line of a link or a door that is over.
///
/// # Errors
/// [`EditError`]; nothing is to be changed then.
pub fn update(text: &str, file: &Path, keys: &NativeKeys) -> Result<Zeroizing<String>, EditError> {
    let server = ("server_pubkey", Some(public_value(&keys.server)));
    let values: Vec<_> = std::iter::once(server).chain(moving(keys, Show::All)).collect();
    toml_edit::set(text, file, &values)
}

/// The lines of these keys, but for the two that every dialect has.
pub(super) fn render(keys: &NativeKeys, show: Show) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::with_capacity(512));
    for (key, value) in moving(keys, show) {
        if let Some(value) = value {
            out.push_str(&format!("{key} = "));
            out.push_str(&value);
            out.push('\n');
        }
    }
    let flags =
        [("answers", keys.answers), ("second_factor", keys.second_factor), ("source_port", keys.source_port)];
    for (key, _) in flags.into_iter().filter(|&(_, on)| on) {
        out.push_str(&format!("{key} = true\n"));
    }
    if keys.must_bind {
        out.push_str("bind = \"must\"\n");
    }
    out
}

/// What changes with time, as it is written; `None`: that line is left out.
fn moving(keys: &NativeKeys, show: Show) -> [(&'static str, Option<Zeroizing<String>>); 11] {
    let number = |day: Day| Some(Zeroizing::new(day.number().to_string()));
    // Of a chain that begins with the others none is said.
    let own_day = |chain: &Chain| number(chain.day()).filter(|_| chain.day() != keys.link.day());
    let old_door = keys.old_door.as_ref();
    let chain = |chain: &Chain| Some(shown(chain.value(), show));
    let (fresh, next, old) = match &keys.renewal {
        Renewal::Done => (None, None, None),
        Renewal::Due => (Some(Zeroizing::new("true".to_owned())), None, None),
        Renewal::Announced(link) => (None, chain(link), None),
        Renewal::Replaced(link) => (None, None, chain(link)),
    };
    [
        ("day", number(keys.link.day())),
        ("newest_day", number(keys.newest).filter(|_| keys.newest != keys.link.day())),
        ("door_chain", chain(&keys.door)),
        ("door_day", own_day(&keys.door)),
        ("old_server_pubkey", old_door.map(|old| public_value(&old.server))),
        ("old_door_chain", old_door.and_then(|old| chain(&old.chain))),
        ("old_door_day", old_door.and_then(|old| own_day(&old.chain))),
        ("link_chain", chain(&keys.link)),
        ("fresh", fresh),
        ("next_link", next),
        ("old_link", old),
    ]
}

/// A secret as it stands in the file, or a word in its place.
pub(super) fn shown(secret: &Secret<32>, show: Show) -> Zeroizing<String> {
    match show {
        Show::All => Zeroizing::new(quoted(&secret.to_base64())),
        Show::Redacted => Zeroizing::new(quoted(REDACTED)),
    }
}

/// Reads them.
pub(super) fn read(p: Fields<'_, '_>, findings: &mut Findings) -> Option<NativeKeys> {
    for key in NEEDED {
        super::native::needed(p, key, findings);
    }
    let server = p.read("server_pubkey", findings, |text| keys::server_public("server_pubkey", text));
    let old_server =
        p.read("old_server_pubkey", findings, |text| keys::server_public("old_server_pubkey", text));
    let doors = [("server_pubkey", server), ("old_server_pubkey", old_server)];
    let private = p.read("private_key", findings, |text| private_key(text, doors));
    let day = p.number("day", 0, u64::from(u32::MAX), findings).and_then(day);
    let most = day.map_or(u64::from(u32::MAX), |day| u64::from(day.plus(MOST_STEPS).number()));
    let least = day.map_or(0, |day| u64::from(day.number()));
    let mut later = |key: &str| p.number(key, least, most, findings).and_then(self::day);
    let (newest, door_day, old_day) = (later("newest_day"), later("door_day"), later("old_door_day"));
    let mut chain = |key: &str| p.read(key, findings, |text| keys::secret(key, text));
    let (door, link) = (chain("door_chain"), chain("link_chain"));
    let old_door = chain("old_door_chain");
    let (next, old) = (chain("next_link"), chain("old_link"));
    let fresh = p.flag("fresh", findings).unwrap_or(false);
    one_of(p, ["fresh", "next_link", "old_link"], findings);
    both_or_none(p, ["old_server_pubkey", "old_door_chain"], findings);
    let must_bind = p.word("bind", &[("auto", false), ("must", true)], findings).unwrap_or(false);
    let mut flag = |key: &str| p.flag(key, findings).unwrap_or(false);
    let (answers, second_factor, source_port) = (flag("answers"), flag("second_factor"), flag("source_port"));
    let day = day?;
    let renewal = match (next, old) {
        (Some(next), _) => Renewal::Announced(Chain::new(day, next)),
        (None, Some(old)) => Renewal::Replaced(Chain::new(day, old)),
        (None, None) if fresh => Renewal::Due,
        (None, None) => Renewal::Done,
    };
    let (secret, public) = private?;
    Some(NativeKeys {
        server: server?,
        secret,
        public,
        door: Chain::new(door_day.unwrap_or(day), door?),
        old_door: old_server
            .zip(old_door)
            .map(|(server, chain)| KnownDoor { server, chain: Chain::new(old_day.unwrap_or(day), chain) }),
        link: Chain::new(day, link?),
        newest: newest.unwrap_or(day),
        renewal,
        answers,
        must_bind,
        second_factor,
        source_port,
    })
}

fn day(number: u64) -> Option<Day> {
    u32::try_from(number).ok().map(Day::from_number)
}

/// A client's private key, which agrees on something with its server's doors.
fn private_key(
    text: &str,
    doors: [(&str, Option<[u8; 32]>); 2],
) -> Result<(Secret<32>, [u8; 32]), ValueError> {
    let secret = keys::secret("private_key", text)?;
    let key = PrivateKey::new(&secret)
        .map_err(|error| ValueError::new(format!("private_key cannot be used: {error}"), "try again"))?;
    let low = doors.iter().find(|(_, server)| server.is_some_and(|server| key.agree(&server).is_err()));
    if let Some((name, _)) = low {
        let what = format!("{name} is of low order: no server can have it");
        return Err(ValueError::new(what, "get the profile again from the server's `portunus add`"));
    }
    let public = *key.public();
    Ok((secret, public))
}

/// Says when two stand there of which one is enough.
fn one_of(p: Fields<'_, '_>, keys: [&str; 3], findings: &mut Findings) {
    let mut there = keys.into_iter().filter_map(|key| p.pair(key).map(|pair| (key, pair.at)));
    if let (Some((first, _)), Some((second, at))) = (there.next(), there.next()) {
        let what = format!("{first} and {second} do not stand in one profile");
        findings.error(p.source, at, what, format!("keep {first}"));
    }
}

/// Says when one stands there without the other.
fn both_or_none(p: Fields<'_, '_>, keys: [&str; 2], findings: &mut Findings) {
    let [first, second] = keys;
    for (here, other) in [(first, second), (second, first)] {
        if let (Some(pair), None) = (p.pair(here), p.pair(other)) {
            let what = format!("{here} stands without {other}");
            findings.error(p.source, pair.at, what, format!("take {here} out, or bring {other} back"));
        }
    }
}

/// Says each key that only these keys have, where they are another dialect's.
pub(super) fn refuse(p: Fields<'_, '_>, findings: &mut Findings) {
    for pair in p.map.entries.iter().filter(|pair| KEYS.contains(&&*pair.key)) {
        let what = format!("{} is a key of the native dialect", pair.key);
        findings.error(p.source, pair.at, what, "write dialect = \"native\", or take it out");
    }
}

/// The line of a public key.
pub(super) fn public_line(key: &str, public: &[u8; 32]) -> String {
    format!("{key} = {}\n", *public_value(public))
}

/// A public key as it stands in the file.
fn public_value(public: &[u8; 32]) -> Zeroizing<String> {
    Zeroizing::new(quoted(&text::encode(public)))
}
