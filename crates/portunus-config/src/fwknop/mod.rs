//! fwknop's spelling: fwknopd.conf and access.conf, read as fwknopd 2.6 reads them (docs: "From fwknop").
//!
//! Here: the files, what they mean to us, and `fwknopd -D`. Every diagnostic has the original's words where scripts look
//! for them. Not here: who a user is, or when a day begins on this machine (that is [`Host`]).

mod access;
mod chains;
mod conf;
mod daemon;
mod field;
mod lines;
mod lower;
mod secret;
mod stanza;
mod variable;

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

pub use daemon::{Capture, Daemon, Http, Receive};
pub use variable::Variable;

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
}

/// Reads and checks everything.
///
/// # Errors
/// Every mistake that was found, in the order of files and lines.
pub fn load(files: &dyn Files, host: &dyn Host, wish: &CommandLine) -> Result<Settings, Vec<Diagnostic>> {
    let mut findings = Findings::default();
    let conf = conf::read(files, wish, &mut findings);
    findings.verdict()?;
    let daemon = daemon::read(&conf, &mut findings);
    let rows = chains::read(&conf, &mut findings);
    let file = conf.path(Variable::AccessFile);
    let folder = conf.setting(Variable::AccessFolder).map(|setting| PathBuf::from(&setting.text));
    let place = folder.as_deref().map_or(access::Place::File(&file), access::Place::Folder);
    let (written, mut sources) = access::read(files, place, &mut findings);
    let checked: Vec<_> = written
        .iter()
        .filter_map(|stanza| Some((stanza, stanza::check(stanza, &conf, host, &mut findings)?)))
        .collect();
    let settings = lower::settings(&conf, daemon, &rows, checked, &mut findings);
    findings.verdict()?;
    sources.splice(0..0, conf.sources);
    Ok(Settings { sources, warnings: findings.warnings, ..settings })
}

/// A file's text. Others may be able to read it, or own it: the original warns of that, and goes on.
fn open(files: &dyn Files, path: &Path, findings: &mut Findings) -> Result<Zeroizing<String>, FileError> {
    let shown = path.display();
    let what = match files.read(path, Secrecy::Secret) {
        Ok(text) => return Ok(Zeroizing::new(text)),
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
    files.read(path, Secrecy::Public).map(Zeroizing::new)
}

#[cfg(test)]
mod tests;
