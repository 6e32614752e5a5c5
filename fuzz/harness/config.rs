//! What the fuzz targets of configuration files run, and what the replay of their corpora runs
//! (crates/portunus-config/tests/corpus.rs).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use portunus_config::fwknop::{self, CommandLine, Host, Theirs, Variable};
use portunus_config::profile::{self, Keys, Show};
use portunus_config::{FileError, Files, NewClient, Secrecy, Settings, fwknoprc, native, openme, sessions};
use portunus_model::{ClientName, Stanza};

/// Any texts as portunus.toml, services.toml, clients.toml and a client's own file, with NULs between.
pub(crate) fn ours(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut parts = text.split('\0');
    let names = ["portunus.toml", "services.toml", "clients.toml", "clients/bob.toml"];
    let files =
        names.iter().filter_map(|name| Some((Path::new("/etc/p").join(name), parts.next()?.to_owned())));
    let mut disk = Disk(files.collect());
    let key = native::key_text(&portunus_crypto::Secret::from_bytes([7; 32]));
    disk.0.insert("/etc/p/keys/openme.key".into(), key.to_string());
    let door = native::key_text(&portunus_crypto::Secret::from_bytes([8; 32]));
    disk.0.insert("/etc/p/keys/native.key".into(), door.to_string());
    let dir = Path::new("/etc/p");
    if let Ok(settings) = native::load(&disk, dir) {
        holds(&settings);
        let name = ClientName::new("fuzz-new").expect("a name");
        let _ = native::add_client(&disk, dir, &NewClient::new(name.clone(), BASE_POINT));
        let _ = native::remove_client(&disk, dir, &name);
    }
    let _ = (native::clients(&disk, dir), native::services(&disk, dir));
}

/// Any text as each of the files that openme has, and the client's.
pub(crate) fn theirs(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let path = Path::new("/f");
    let disk = Disk(BTreeMap::from([(path.to_owned(), text.clone().into_owned())]));
    if let Ok(settings) = openme::load(&disk, path) {
        holds(&settings);
    }
    let read = openme::clients(&disk, path).is_ok();
    let _ = openme::groups(&disk, path);
    let name = ClientName::new("fuzz-new").expect("a name");
    if let Ok(added) = openme::add_client(&text, path, &NewClient::new(name.clone(), BASE_POINT)) {
        let removed = openme::remove_client(&added, path, &name).expect("what was added can be removed");
        let left = Disk(BTreeMap::from([(path.to_owned(), removed.to_string())]));
        assert_eq!(openme::clients(&left, path).is_ok(), read);
    }
    if let Ok(profile) = profile::native::parse(&text, path) {
        let again = profile::native::render(&profile, Show::All);
        assert!(profile::native::parse(&again, path).is_ok(), "{}", *again);
        if let Keys::Native(keys) = &profile.keys {
            let updated = profile::update(&again, path, keys).expect("what is rendered can be updated");
            assert_eq!(*updated, *again);
            // Any way of writing it may be one that cannot be edited; then it stays.
            let _ = profile::update(&text, path, keys);
        }
    }
    if let Ok(profiles) = profile::openme::parse(&text, path) {
        let all: Vec<_> = profiles.iter().collect();
        let again = profile::openme::render(&all, Show::All).expect("it was openme's");
        let again = profile::openme::parse(&again, path);
        assert_eq!(again.expect("what is rendered can be read").len(), profiles.len());
    }
    let _ = (profile::qr::parse(&text, path), sessions::parse(&text));
    let names: Vec<String> = fwknoprc::names(&text).map(str::to_owned).collect();
    for name in names {
        let _ = fwknoprc::stanza(&text, path, &name);
    }
}

/// Ed25519's base point (RFC 8032): a key that no check refuses.
const BASE_POINT: [u8; 32] = {
    let mut bytes = [0x66; 32];
    bytes[0] = 0x58;
    bytes
};

/// What the grantor allows covers what the clients may.
fn holds(settings: &Settings) {
    for client in &settings.rules.clients {
        assert!(client.lasting <= settings.limits.longest);
        if client.stanza.is_none() {
            assert!(client.ports.iter().all(|port| settings.limits.doors.contains(port)));
        }
    }
}

struct Disk(BTreeMap<PathBuf, String>);

impl Files for Disk {
    fn read(&self, path: &Path, _: Secrecy) -> Result<String, FileError> {
        self.0.get(path).cloned().ok_or(FileError::Missing)
    }

    fn list(&self, dir: &Path) -> Result<Vec<PathBuf>, FileError> {
        Ok(self.0.keys().filter(|path| path.parent() == Some(dir)).cloned().collect())
    }
}

/// Any text as fwknopd.conf and, behind a NUL, access.conf.
pub(crate) fn files(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (conf, access) = text.split_once('\0').unwrap_or(("", &text));
    let two = Two { conf, access };
    let wish = CommandLine {
        config: "c".into(),
        set: vec![(Variable::AccessFile, "a".into())],
        ..CommandLine::default()
    };
    let _ = fwknop::dump(&two, &Nowhere, &wish);
    for one in ["c", "a"] {
        let _ = fwknop::explain(&two, &Nowhere, &Theirs::File(one.into()));
    }
    let Ok(settings) = fwknop::load(&two, &Nowhere, &wish) else { return };
    let limits = &settings.limits;
    for client in &settings.rules.clients {
        let stanza = client.stanza.as_deref();
        assert!(
            client.lasting <= limits.longest && stanza.is_none_or(|stanza| stanza.longest <= limits.longest)
        );
        let opens = |stanza: &&Stanza| stanza.cycle.is_none() && !(stanza.nat.all && stanza.nat.unasked);
        let Some(stanza) = stanza.filter(opens) else { continue };
        match &stanza.open_ports {
            Some(ports) => assert!(ports.iter().all(|port| limits.doors.contains(port))),
            None => assert!(limits.any_port),
        }
        assert!(stanza.nat.force.is_none_or(|forced| stanza.nat.all || limits.nat.forced.contains(&forced)));
    }
}

struct Two<'t> {
    conf: &'t str,
    access: &'t str,
}

impl Files for Two<'_> {
    fn read(&self, path: &Path, _: Secrecy) -> Result<String, FileError> {
        match path.to_str() {
            Some("c") => Ok(self.conf.to_owned()),
            Some("a") => Ok(self.access.to_owned()),
            _ => Err(FileError::Missing),
        }
    }

    fn list(&self, _: &Path) -> Result<Vec<PathBuf>, FileError> {
        Err(FileError::Missing)
    }
}

struct Nowhere;

impl Host for Nowhere {
    fn is_user(&self, name: &str) -> bool {
        name == "u"
    }
    fn is_group(&self, name: &str) -> bool {
        name == "g"
    }
    fn is_folder(&self, _: &Path) -> bool {
        true
    }
    fn midnight(&self, year: i16, month: i8, day: i8) -> Option<i64> {
        Some(i64::from(year) * 31_556_952 + i64::from(month) * 2_629_746 + i64::from(day) * 86_400)
    }
    fn date(&self, seconds: i64) -> Option<String> {
        Some(seconds.to_string())
    }
}
