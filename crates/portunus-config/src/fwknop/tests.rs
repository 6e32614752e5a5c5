//! What fwknop's files mean, and what each mistake in them says. The words are those that `fwknopd --exit-parse-config`
//! prints for the same input, and that scripts look for.

use std::path::{Path, PathBuf};
use std::time::Duration;

use portunus_dialect::fwknop::{HashType, Keys, Mode};
use portunus_model::{Client, ClientKey, NatSource, Net, Place, PortSpec, Stanza, Unix};

use super::*;
use crate::alerts::Carrier;
use crate::files::tests::Memory;
use crate::{FirewallKind, OnExit};

mod files;
mod mistakes;
mod stanzas;
mod told;
mod version_1_9;

const STANZA: &str = "SOURCE ANY\nKEY abc\nHMAC_KEY def\nREQUIRE_SOURCE_ADDRESS Y\n";

/// A machine with the users root and nobody, in the zone of Greenwich.
struct Here;

impl Host for Here {
    fn is_user(&self, name: &str) -> bool {
        ["root", "nobody"].contains(&name)
    }
    fn is_group(&self, name: &str) -> bool {
        ["root", "nogroup"].contains(&name)
    }
    fn is_folder(&self, path: &Path) -> bool {
        path == Path::new("/root/.gnupg")
    }
    fn midnight(&self, year: i16, month: i8, day: i8) -> Option<i64> {
        let at = jiff::civil::date(year, month, day).to_zoned(jiff::tz::TimeZone::UTC).ok()?;
        Some(at.timestamp().as_second())
    }
    fn date(&self, seconds: i64) -> Option<String> {
        let at = jiff::Timestamp::from_second(seconds).ok()?.to_zoned(jiff::tz::TimeZone::UTC);
        Some(at.strftime("%a %b %e %H:%M:%S %Y").to_string())
    }
}

fn wish() -> CommandLine {
    let access = (Variable::AccessFile, "a.conf".to_owned());
    CommandLine { config: PathBuf::from("f.conf"), set: vec![access], ..CommandLine::default() }
}

fn files(conf: &str, access: &str) -> Memory {
    Memory::default().with("f.conf", conf).with("a.conf", access)
}

fn load_with(files: &Memory, wish: &CommandLine) -> Result<Settings, Vec<String>> {
    load(files, &Here, wish).map_err(|all| all.iter().map(ToString::to_string).collect())
}

fn loaded(conf: &str, access: &str) -> Settings {
    load_with(&files(conf, access), &wish()).unwrap()
}

/// The mistakes, without their places and mends.
fn said(conf: &str, access: &str) -> Vec<String> {
    match load(&files(conf, access), &Here, &wish()) {
        Ok(_) => Vec::new(),
        Err(all) => all.into_iter().map(|one| one.what).collect(),
    }
}

fn warned(conf: &str, access: &str) -> Vec<String> {
    loaded(conf, access).warnings.into_iter().map(|one| one.what).collect()
}

fn client(settings: &Settings, number: usize) -> (&Client, &Stanza) {
    let client = &settings.rules.clients[number - 1];
    (client, client.stanza.as_deref().unwrap())
}

fn ports(words: &[&str]) -> Vec<PortSpec> {
    let mut all: Vec<_> = words.iter().flat_map(|word| PortSpec::parse(word).unwrap()).collect();
    all.sort();
    all
}

/// A name and a value as a line.
type Way<'w> = &'w dyn Fn(&str, &str) -> String;

proptest::proptest! {
    #[test]
    fn no_text_breaks_a_reader(
        conf in "(ENABLE_IPT_FORWARDING Y\n)?([A-Z_]{1,9} [$;#a-z0-9 ,/.]{0,20}\n|[ \t;#$%A-Za-z0-9_/,.:\r\n]{0,80})*",
        access in "([ \t]?(SOURCE|KEY|KEY_BASE64|FORCE_NAT|OPEN_PORTS|ACCESS_EXPIRE|%include|CMD_CYCLE_TIMER|FORWARD_ALL):? ?[;#a-z0-9 ,/.=Y]{0,20}\r?\n|\\PC{0,20}\n){0,12}",
    ) {
        let _ = load(&files(&conf, &access), &Here, &wish());
    }
}
