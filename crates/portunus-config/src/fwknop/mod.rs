//! fwknop's spelling: fwknopd.conf and access.conf, read as fwknopd 2.6 reads them (docs: "From fwknop").
//!
//! Here: the files, what they mean to us, and `fwknopd -D`. Every diagnostic has the original's words where scripts look
//! for them. Not here: who a user is, or when a day begins on this machine (that is [`Host`]).

mod access;
mod chains;
mod conf;
mod daemon;
mod dump;
mod era;
mod explain;
mod field;
mod lines;
mod lower;
mod secret;
mod stanza;
mod variable;

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

pub use daemon::{Capture, Daemon, Http, Receive};
pub use explain::{Effect, Row, Theirs, explain};
pub use lines::Spot;
pub use variable::Variable;

use crate::odd_bytes;
use crate::source::Findings;
use crate::{Diagnostic, FileError, Files, Secrecy, Settings};

/// What fwknopd's command line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLine {
    /// -c.
    pub config: PathBuf,
    /// -O; each goes before those to its left, and all before -c.
    pub overrides: Vec<PathBuf>,
    /// What goes before every file: -a (ACCESS_FILE), --access-folder, -i, -P, -U and so on.
    pub set: Vec<(Variable, String)>,
}

impl Default for CommandLine {
    fn default() -> Self {
        Self { config: PathBuf::from("/etc/fwknop/fwknopd.conf"), overrides: Vec::new(), set: Vec::new() }
    }
}

impl CommandLine {
    /// For both files of a folder, which may be a copy of /etc/fwknop: its own access.conf is meant, unless fwknopd.conf
    /// names another one.
    #[must_use]
    pub fn of_folder(files: &dyn Files, dir: &Path) -> Self {
        let mut wish = Self { config: dir.join("fwknopd.conf"), ..Self::default() };
        let conf = conf::read(files, &wish, &mut Findings::default());
        if conf.setting(Variable::AccessFile).is_none() {
            wish.set.push((Variable::AccessFile, dir.join("access.conf").display().to_string()));
        }
        wish
    }
}

/// What only this machine knows.
pub trait Host {
    /// Whether there is such a user.
    fn is_user(&self, name: &str) -> bool;
    /// Whether there is such a group.
    fn is_group(&self, name: &str) -> bool;
    /// Whether there is such a folder.
    fn is_folder(&self, path: &Path) -> bool;
    /// When that day begins here, in seconds since 1970.
    fn midnight(&self, year: i16, month: i8, day: i8) -> Option<i64>;
    /// That many seconds after 1970 in local time, as C's `asctime` writes it: `Tue Dec 31 00:00:00 2030`.
    fn date(&self, seconds: i64) -> Option<String>;
}

/// Reads and checks everything.
///
/// # Errors
/// Every mistake that was found, in the order of files and lines.
pub fn load(files: &dyn Files, host: &dyn Host, wish: &CommandLine) -> Result<Settings, Vec<Diagnostic>> {
    let mut findings = Findings::default();
    let Read { conf, daemon, rows, stanzas, sources } = read(files, host, wish, &mut findings)?;
    let settings = lower::settings(&conf, daemon, &rows, stanzas, &mut findings);
    findings.verdict()?;
    Ok(Settings { sources, warnings: findings.warnings, ..settings })
}

/// What `fwknopd -D` prints, and what is odd.
///
/// # Errors
/// As [`load`], but keys of GnuPG's are no mistake here.
pub fn dump(
    files: &dyn Files,
    host: &dyn Host,
    wish: &CommandLine,
) -> Result<(String, Vec<Diagnostic>), Vec<Diagnostic>> {
    let mut findings = Findings::default();
    let read = read(files, host, wish, &mut findings)?;
    findings.verdict()?;
    Ok((dump::dump(&read.conf, &read.stanzas, host), findings.warnings))
}

/// What the files say of the program itself: for commands to a running one, which need no stanza.
///
/// # Errors
/// As [`load`], as far as fwknopd.conf goes.
pub fn daemon(files: &dyn Files, wish: &CommandLine) -> Result<Daemon, Vec<Diagnostic>> {
    let mut findings = Findings::default();
    let conf = conf::read(files, wish, &mut findings);
    findings.verdict()?;
    let daemon = daemon::read(&conf, &mut findings);
    findings.verdict()?;
    Ok(daemon)
}

/// All that was read, each part checked by itself.
struct Read {
    conf: conf::Conf,
    daemon: Daemon,
    rows: chains::Rows,
    stanzas: Vec<(access::Written, stanza::Checked)>,
    sources: Vec<PathBuf>,
}

/// Where fwknopd.conf has mistakes, the stanzas are not looked at.
fn read(
    files: &dyn Files,
    host: &dyn Host,
    wish: &CommandLine,
    findings: &mut Findings,
) -> Result<Read, Vec<Diagnostic>> {
    let conf = conf::read(files, wish, findings);
    findings.verdict()?;
    let daemon = daemon::read(&conf, findings);
    let rows = chains::read(&conf, findings);
    let file = conf.path(Variable::AccessFile);
    let folder = conf.setting(Variable::AccessFolder).map(|setting| PathBuf::from(&setting.text));
    let place = folder.as_deref().map_or(access::Place::File(&file), access::Place::Folder);
    let (written, access) = access::read(files, place, findings);
    let check = |written| {
        let checked = stanza::check(&written, &conf, host, findings);
        (written, checked)
    };
    let stanzas = written.into_iter().map(check).collect();
    let sources = conf.sources.iter().cloned().chain(access).collect();
    Ok(Read { conf, daemon, rows, stanzas, sources })
}

/// A file's text. Others may be able to read it, or own it: the original warns of that, and goes on.
fn open(files: &dyn Files, path: &Path, findings: &mut Findings) -> Result<Zeroizing<String>, FileError> {
    let shown = path.display();
    let text = |bytes: Vec<u8>| odd_bytes::to_text(&Zeroizing::new(bytes));
    let what = match files.read_bytes(path, Secrecy::Secret) {
        Ok(bytes) => return Ok(text(bytes)),
        Err(FileError::TooOpen { .. }) => {
            format!("file: {shown} permissions should only be user read/write (0600, -rw-------)")
        }
        Err(FileError::ForeignOwner { .. }) => {
            format!("file: {shown} not owned by current effective user id")
        }
        Err(error) => return Err(error),
    };
    let mend = format!("chown root {shown} and chmod 600 {shown}");
    findings.remark(|| Diagnostic::of_file(path, what, mend));
    files.read_bytes(path, Secrecy::Public).map(text)
}

#[cfg(test)]
mod tests;
