//! What the fuzz targets of fwknop's files run, and what the replay of their corpora runs.

use std::path::{Path, PathBuf};

use portunus_config::fwknop::{self, CommandLine, Host, Theirs, Variable};
use portunus_config::{FileError, Files, Secrecy};
use portunus_model::Stanza;

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
