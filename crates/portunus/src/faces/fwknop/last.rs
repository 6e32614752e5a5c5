//! `~/.fwknop.run`: the last command line, for `--last-cmd` and `--show-last`. Keys never stand in it.

use std::ffi::OsString;
use std::path::PathBuf;

use portunus_sys::files::{self, Secrecy};

use super::NAME;
use super::line::{Remembered, Task};
use crate::edit::{self, PRIVATE};
use crate::say::{Failure, line, remark};

/// What the file says of a line that had keys.
const WITHOUT_KEYS: &str = "# keys stood on this line and are not kept\n";

/// Where it is; `None` when there is no home folder and none was named.
///
/// # Errors
/// The home folder may not be looked for, and no file was named.
pub(super) fn place(task: &Task) -> Result<Option<PathBuf>, Failure> {
    if let Some(path) = &task.args_file {
        return Ok(Some(path.clone()));
    }
    if task.no_home_dir {
        let what = "In --no-home-dir mode you must set the args save file path with -E";
        return Err(Failure::new(what, "", "name a file, or say --no-save-args"));
    }
    Ok(crate::places::home().ok().map(|home| home.join(".fwknop.run")))
}

/// `--show-last`.
///
/// # Errors
/// There is no file.
pub(super) fn show(task: &Task) -> Result<(), Failure> {
    line(format_args!("Last fwknop client command line: {}", read(task)?));
    Ok(())
}

/// The words of the last command line.
///
/// # Errors
/// There is no file, or its quotes have no end.
pub(super) fn words(task: &Task) -> Result<Vec<OsString>, Failure> {
    let text = read(task)?;
    let words = shlex::split(&text);
    let words = words.ok_or_else(|| {
        let place = place(task).ok().flatten().unwrap_or_default();
        Failure::file("the last command line has a quote without an end", &place, "type it anew")
    })?;
    Ok(words.into_iter().map(OsString::from).collect())
}

/// Remembers a command line, unless its file is nobody's wish.
///
/// # Errors
/// The file that was named cannot be written.
pub(super) fn remember(task: &Task, remembered: &Remembered, verbose: u8) -> Result<(), Failure> {
    let Some(path) = place(task)? else { return Ok(()) };
    let words = std::iter::once(NAME).chain(remembered.words.iter().map(String::as_str));
    let text = shlex::try_join(words)
        .map_err(|error| Failure::new(error, "", "leave it out, or say --no-save-args"))?;
    // The original reads the first line only.
    let note = if remembered.without_keys { WITHOUT_KEYS } else { "" };
    let text = format!("{text}\n{note}");
    if let Err(failure) = edit::write_new(&path, &text, PRIVATE, true) {
        let failure = Failure::new(format_args!("Could not open args file: {failure}"), "", "");
        if task.args_file.is_some() {
            return Err(failure);
        }
        // The knock is what was asked for; that it is not remembered only needs saying.
        remark(NAME, failure);
    } else if remembered.without_keys && verbose > 0 {
        remark(NAME, format_args!("the keys of this line are not kept in {}", path.display()));
    }
    Ok(())
}

/// The line, and a word about keys that are missing on it.
fn read(task: &Task) -> Result<String, Failure> {
    let path =
        place(task)?.ok_or_else(|| Failure::new("Unable to determine HOME directory", "", "set HOME"))?;
    let text = files::read(&path, Secrecy::Public)
        .map_err(|error| Failure::new(format_args!("Could not open args file: {error}"), "", ""))?;
    let (line, rest) = text.split_once('\n').unwrap_or((&text, ""));
    if rest.contains(WITHOUT_KEYS.trim_end()) {
        remark(NAME, "keys stood on that line and are not kept: give them by ~/.fwknoprc, --get-key or --fd");
    }
    Ok(line.trim_end().to_owned())
}
