//! Any text as a client's profile, in each of its spellings, as a door by itself and as an invitation's code. Shared by the
//! fuzz targets and by the test that replays their corpora (crates/portunus-config/tests/corpus.rs).

use std::path::Path;

use portunus_config::profile::invitation::{Code, PREFIX};
use portunus_config::profile::{
    self, Keys, KnownDoor, NativeKeys, Profile, Renewal, Show, door, native, openme, qr,
};
use portunus_crypto::{Secret, blake2s, text};
use portunus_dialect::native::{Chain, Day};

/// What is read is what is written; and the keys of a native profile move on in a file in which all else stays.
pub(crate) fn profile(data: &[u8]) {
    let said = String::from_utf8_lossy(data);
    let path = Path::new("/f");
    if let Ok(profile) = native::parse(&said, path) {
        let holds = |written: &str| {
            let again = native::parse(written, path).expect("what is written can be read");
            same(&profile, &again, written);
        };
        holds(&native::render(&profile, Show::All));
        if let Keys::Native(keys) = &profile.keys {
            holds(&qr::render(&profile));
            moves_on(&said, &profile, keys);
        }
    }
    if let Ok(profiles) = openme::parse(&said, path) {
        let all: Vec<_> = profiles.iter().collect();
        let written = openme::render(&all, Show::All).expect("it was openme's");
        let again = openme::parse(&written, path).expect("what is written can be read");
        assert_eq!(profiles.len(), again.len());
        profiles.iter().zip(&again).for_each(|(one, other)| same_keys(&one.keys, &other.keys));
    }
    if let Ok(profile) = qr::parse(&said, path) {
        let again = qr::parse(&qr::render(&profile), path).expect("what is written can be read");
        same_keys(&profile.keys, &again.keys);
        assert_eq!((&profile.name, &profile.host, profile.port), (&again.name, &again.host, again.port));
    }
    if let Ok(paper) = door::parse(&said, path) {
        assert!(door::is_one(&door::lines(&paper)));
        let again = door::parse(&door::render(&paper), path).expect("what is written can be read");
        assert_eq!((&paper.host, paper.port), (&again.host, again.port));
        same_door(&paper.door, &again.door);
    }
}

/// Other keys in the same file: they are in it then, with nothing else changed, or the file is refused and stays.
fn moves_on(said: &str, profile: &Profile, keys: &NativeKeys) {
    let path = Path::new("/f");
    let day = keys.newest.max(keys.door.day()).plus(1);
    let chain = |n| Chain::new(day, Secret::from_bytes([n; 32]));
    let renewals = [Renewal::Done, Renewal::Due, Renewal::Announced(chain(3)), Renewal::Replaced(chain(4))];
    for renewal in renewals {
        let old_door = keys.old_door.as_ref().map(|old| KnownDoor { server: old.server, chain: chain(5) });
        let (door, link) = (chain(1), chain(2));
        let next = NativeKeys { door, old_door, link, newest: day, renewal, ..keys.duplicate() };
        let Ok(updated) = profile::update(said, path, &next) else { continue };
        let read = native::parse(&updated, path).expect("what is updated can be read");
        let expected = Profile {
            keys: Keys::Native(Box::new(next)),
            name: profile.name.clone(),
            host: profile.host.clone(),
            post_knock: profile.post_knock.clone(),
            opens: profile.opens.clone(),
            ..*profile
        };
        same(&expected, &read, &updated);
        // What people wrote of it stays.
        let remarks = |text: &str| text.lines().filter(|line| line.starts_with('#')).count();
        assert!(said.contains("\"\"\"") || said.contains("'''") || remarks(&updated) >= remarks(said));
    }
}

fn same(one: &Profile, other: &Profile, written: &str) {
    let head = |p: &Profile| (p.name.clone(), p.host.clone(), p.port, p.health, p.health_port);
    assert_eq!(head(one), head(other), "{written}");
    assert_eq!((&one.post_knock, &one.opens), (&other.post_knock, &other.opens), "{written}");
    same_keys(&one.keys, &other.keys);
}

fn same_keys(one: &Keys, other: &Keys) {
    match (one, other) {
        (Keys::Openme { server, seed, public }, Keys::Openme { server: s, seed: e, public: p }) => {
            assert!((server, public) == (s, p) && seed == e);
        }
        (Keys::Native(one), Keys::Native(other)) => same_native(one, other),
        (Keys::Openme { .. }, Keys::Native(_)) | (Keys::Native(_), Keys::Openme { .. }) => {
            unreachable!("another dialect")
        }
    }
}

fn same_native(one: &NativeKeys, other: &NativeKeys) {
    let plain = |k: &NativeKeys| {
        (k.server, k.public, k.newest, k.answers, k.must_bind, k.second_factor, k.source_port)
    };
    assert_eq!(plain(one), plain(other));
    assert!(one.secret == other.secret);
    same_chain(&one.door, &other.door);
    same_chain(&one.link, &other.link);
    match (&one.old_door, &other.old_door) {
        (None, None) => (),
        (Some(one), Some(other)) => same_door(one, other),
        (None, Some(_)) | (Some(_), None) => unreachable!("another old door"),
    }
    let ((one, its), (other, others)) = (stage(&one.renewal), stage(&other.renewal));
    assert!(one == other && its.is_some() == others.is_some());
    its.zip(others).into_iter().for_each(|(one, other)| same_chain(one, other));
}

fn stage(renewal: &Renewal) -> (u8, Option<&Chain>) {
    match renewal {
        Renewal::Done => (0, None),
        Renewal::Due => (1, None),
        Renewal::Announced(link) => (2, Some(link)),
        Renewal::Replaced(link) => (3, Some(link)),
    }
}

fn same_door(one: &KnownDoor, other: &KnownDoor) {
    assert_eq!(one.server, other.server);
    same_chain(&one.chain, &other.chain);
}

fn same_chain(one: &Chain, other: &Chain) {
    assert!(one.day() == other.day() && one.value() == other.value());
}

/// Any text as a code; and any bytes inside one whose sum is right: read or refused, and read again the same.
pub(crate) fn invitation(data: &[u8]) {
    let _ = Code::parse(&String::from_utf8_lossy(data));
    let sum = blake2s::hash(&[data]);
    let line = format!("{PREFIX}{}", text::encode_bare(&[data, &sum[..4]].concat()));
    let Ok(code) = Code::parse(&line) else { return };
    assert!(code.port != 0 && !code.host.is_empty() && code.door.day() >= Day::from_number(0));
    let again = Code::parse(&code.render()).expect("what is written can be read");
    assert_eq!((&code.host, code.port, code.server), (&again.host, again.port, again.server));
    assert_eq!((code.rule, code.health_port), (again.rule, again.health_port));
    // As many as there is room for.
    assert!(code.opens.starts_with(&again.opens) && again.opens.len() == code.opens.len().min(16));
    assert!(code.secret == again.secret);
    same_chain(&code.door, &again.door);
}
