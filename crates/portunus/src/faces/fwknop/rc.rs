//! `~/.fwknoprc`: found, made when there is none, read, listed, and written by `--save-rc-stanza`.

use std::io::BufRead;
use std::path::{Path, PathBuf};

use portunus_config::fwknoprc::{self, DEFAULT, Entry, Save, TEMPLATE, Variable};
use portunus_config::odd_bytes;
use portunus_sys::files::{self, FileError, Secrecy};
use zeroize::Zeroizing;

use super::NAME;
use super::gather::saved_text;
use super::line::{Assignment, Line, Task};
use crate::say::{Failure, line, out, remark};

/// The file as it was found.
pub(super) struct RcFile {
    pub(super) path: PathBuf,
    pub(super) text: Zeroizing<String>,
}

/// Where the file is; `None` when none is to be read.
///
/// # Errors
/// Flags that need the file, or a place for it, beside one that forbids it.
pub(super) fn place(task: &Task) -> Result<Option<PathBuf>, Failure> {
    if task.no_rc_file {
        let without = |what: &str, mend: &str| Err(Failure::new(what, "", mend));
        if task.save_rc_stanza {
            return without("Cannot save an rc stanza in --no-rc-file mode", "leave one of them out");
        }
        if task.stanza_list {
            return without("Cannot list stanzas in --no-rc-file mode", "leave one of them out");
        }
        if task.stanza.is_some() {
            return without("Cannot set stanza name in --no-rc-file mode", "leave -n or --no-rc-file out");
        }
        return Ok(None);
    }
    if let Some(path) = &task.rc_file {
        return Ok(Some(path.clone()));
    }
    if task.no_home_dir {
        let what = "in --no-home-dir mode you must set --rc-file path";
        return Err(Failure::new(what, "", "name a file, or say --no-rc-file"));
    }
    if let Ok(home) = crate::places::home() {
        return Ok(Some(home.join(".fwknoprc")));
    }
    remark(NAME, "Unable to determine HOME directory, so no .fwknoprc is read: set HOME, or name --rc-file");
    Ok(None)
}

/// Reads the file, and makes one where there is none.
///
/// # Errors
/// It is there and cannot be read.
pub(super) fn open(path: &Path) -> Result<RcFile, Failure> {
    let path = path.to_owned();
    let bytes = match files::read_bytes(&path, Secrecy::Secret) {
        Err(FileError::Missing(_)) => {
            line(format_args!("[*] Creating initial rc file: {}.", path.display()));
            if let Err(error) = files::create(&path, TEMPLATE.as_bytes(), 0o600) {
                remark(NAME, format_args!("the rc file was not made: {error}"));
            }
            TEMPLATE.as_bytes().to_vec()
        }
        // The original warns, and people's files are as they are.
        Err(error @ (FileError::TooOpen { .. } | FileError::Foreign { .. })) => {
            let rights = "its permissions should only be user read/write (0600, -rw-------)";
            remark(NAME, format_args!("{error} ({rights})"));
            files::read_bytes(&path, Secrecy::Public)?
        }
        other => other?,
    };
    let text = odd_bytes::to_text(&Zeroizing::new(bytes));
    Ok(RcFile { path, text })
}

/// The entries of the stanza `name`; `None` when there is none of that name.
///
/// # Errors
/// A line in it says nothing.
pub(super) fn stanza(rc: &RcFile, name: &str) -> Result<Option<Vec<Entry>>, Failure> {
    fwknoprc::stanza(&rc.text, &rc.path, name).map_err(|error| Failure::new(error, "", ""))
}

/// `--stanza-list`.
///
/// # Errors
/// There is no file.
pub(super) fn list(path: &Path) -> Result<(), Failure> {
    let text = files::read_bytes(path, Secrecy::Public)
        .map(|bytes| odd_bytes::to_text(&Zeroizing::new(bytes)))
        .map_err(|error| Failure::new("Unable to open rc file", error, ""))?;
    line(format_args!("The following stanzas are configured in {} :", path.display()));
    for name in fwknoprc::names(&text) {
        line(format_args!(" - {name}"));
    }
    Ok(())
}

/// `--save-rc-stanza`: writes what the line says, and `more`, into its stanza. Returns which of `more` were kept as
/// they were, because the person said no.
///
/// # Errors
/// The stanza has no name, a value has no form there, or the file cannot be written.
pub(super) fn save(
    rc: &mut RcFile,
    given: &Line,
    more: &[(Variable, Zeroizing<String>)],
    verbose: u8,
) -> Result<Vec<Variable>, Failure> {
    let name = stanza_name(given)?;
    let mut entries: Vec<(Variable, Zeroizing<String>)> = Vec::new();
    let typed = given.assignments.iter().map(written);
    for entry in typed.chain(more.iter().map(|(variable, value)| Ok((*variable, value.clone())))) {
        let (variable, value) = entry?;
        entries.retain(|(old, _)| !old.rivals(variable));
        entries.push((variable, value));
    }
    let refused = if given.task.force_stanza { Vec::new() } else { ask(rc, &name, &entries)? };
    entries.retain(|(variable, _)| !refused.contains(variable));
    if verbose > 1 {
        for (variable, value) in &entries {
            let value = if variable.secret() { "(not shown)" } else { value.as_str() };
            line(format_args!("add_single_var_to_rc() : Updating param {} to {value}", variable.name()));
        }
    }
    let how = if given.task.force_stanza { Save::Force } else { Save::KeepCritical };
    let entries: Vec<(Variable, &str)> =
        entries.iter().map(|(variable, value)| (*variable, value.as_str())).collect();
    rc.text = fwknoprc::save(&rc.text, &name, &entries, how);
    files::replace(&rc.path, &odd_bytes::to_bytes(&rc.text), 0o600)?;
    Ok(refused)
}

/// The name that is typed, or else the server's.
fn stanza_name(given: &Line) -> Result<String, Failure> {
    let server = || {
        let mut servers = given.assignments.iter().rev().filter(|a| a.variable == Variable::SpaServer);
        servers.next().map(|assignment| assignment.value.to_string())
    };
    let name = given.task.stanza.clone().or_else(server).unwrap_or_default();
    if name.is_empty() || name.contains(['[', ']', '\n']) || name.trim() != name {
        let mend = "name it with -n: letters, digits, dots and dashes";
        return Err(Failure::new("the stanza has no name that can be written", format!("{name:?}"), mend));
    }
    Ok(name)
}

/// An assignment as the file has it. A key that would end at a blank or a remark is written in base64.
fn written(assignment: &Assignment) -> Result<(Variable, Zeroizing<String>), Failure> {
    let (variable, text) = (assignment.variable, saved_text(assignment));
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, ';' | '#');
    if !text.is_empty() && text.chars().all(plain) {
        return Ok((variable, text));
    }
    let encoded = if variable == Variable::Key {
        Variable::KeyBase64
    } else if variable == Variable::HmacKey {
        Variable::HmacKeyBase64
    } else {
        let what = format!("{} cannot be written into the rc file", variable.name());
        return Err(Failure::new(
            what,
            &assignment.flag,
            "a value there has no blank, ; or # and is not empty",
        ));
    };
    Ok((encoded, portunus_crypto::text::encode(text.as_bytes()).into()))
}

/// Asks about each critical variable that would get another value. No answer is a no.
fn ask(rc: &RcFile, name: &str, entries: &[(Variable, Zeroizing<String>)]) -> Result<Vec<Variable>, Failure> {
    let mut refused = Vec::new();
    for old in stanza(rc, name)?.into_iter().flatten().filter(|old| old.variable.critical()) {
        let Some((new, value)) = entries.iter().find(|(new, _)| new.rivals(old.variable)) else { continue };
        if (*new == old.variable && *value == old.value) || refused.contains(new) {
            continue;
        }
        let variable = old.variable.name();
        out(format_args!("Variable '{variable}' found in stanza '{name}'. Overwrite [N/y] ? "));
        let mut answer = String::new();
        // A closed standard input says nothing.
        let _ = std::io::stdin().lock().read_line(&mut answer);
        if !answer.ends_with('\n') {
            line("");
        }
        if !answer.trim_start().starts_with(['y', 'Y']) {
            refused.push(*new);
        }
    }
    Ok(refused)
}

/// Whether the stanza of `-n` has to be there: not when it is about to be written.
pub(super) fn not_found(name: &str) -> Failure {
    let what = format!("Named configuration stanza: [{name}] was not found");
    Failure::new(what, "", "fwknop --stanza-list shows which there are")
}

/// The stanzas that are read for a call, in their order.
pub(super) fn read_for(task: &Task) -> impl Iterator<Item = &str> {
    let named = task.stanza.as_deref().filter(|&name| name != DEFAULT);
    std::iter::once(DEFAULT).chain(named)
}
