//! access.conf and what it includes: stanzas as they are written, each from its SOURCE to the next.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::conf::unknown_mend;
use super::era::{self, Old};
use super::field::Field;
use super::lines::{Body, Spot, lines, without_colon};
use super::open;
use crate::source::Findings;
use crate::{Diagnostic, FileError, Files};

/// How deep files may include each other.
const DEEPEST: u32 = 3;

/// A stanza as it is written. The last line of a variable counts.
#[derive(Debug)]
pub(super) struct Written {
    /// From 1 on; what was left out has none.
    pub(super) number: u32,
    /// Its SOURCE line.
    pub(super) spot: Spot,
    pub(super) source: String,
    values: Vec<(Field, Value)>,
    /// A file of its keys could not be read.
    dropped: bool,
    /// A key in it has still the word of the example in its place.
    pub(super) unset: bool,
    /// It has lines with colons, or DATA_COLLECT_MODE, as fwknop 1.9 had them.
    pub(super) of_1_9: bool,
}

#[derive(Clone)]
pub(super) struct Value {
    pub(super) text: Zeroizing<String>,
    pub(super) spot: Spot,
}

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Value").field("spot", &self.spot).finish_non_exhaustive()
    }
}

impl Written {
    pub(super) fn get(&self, field: Field) -> Option<&Value> {
        self.values.iter().rev().find(|(known, _)| *known == field).map(|(_, value)| value)
    }

    /// The later one of two that mean the same.
    pub(super) fn later(&self, one: Field, other: Field) -> Option<(Field, &Value)> {
        let found = self.values.iter().rev().find(|(known, _)| *known == one || *known == other);
        found.map(|(field, value)| (*field, value))
    }

    pub(super) fn text(&self, field: Field) -> Option<&str> {
        self.get(field).map(|value| value.text.as_str())
    }

    pub(super) fn flag(&self, field: Field) -> bool {
        self.text(field).is_some_and(super::conf::yes)
    }

    /// Where the variable stands; else the stanza.
    pub(super) fn spot(&self, field: Field) -> &Spot {
        self.get(field).map_or(&self.spot, |value| &value.spot)
    }
}

/// Where the stanzas are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place<'p> {
    File(&'p Path),
    Folder(&'p Path),
}

/// The stanzas in the order of the files, and every file that was read or would be.
pub(super) fn read(
    files: &dyn Files,
    place: Place<'_>,
    findings: &mut Findings,
) -> (Vec<Written>, Vec<PathBuf>) {
    let mut reader = Reader {
        files,
        findings,
        stanzas: Vec::new(),
        sources: Vec::new(),
        old: BTreeSet::new(),
        lost: false,
    };
    let path = match place {
        Place::File(path) => {
            reader.first_file(path);
            path
        }
        Place::Folder(path) => {
            reader.first_folder(path);
            path
        }
    };
    let Reader { mut stanzas, sources, findings, .. } = reader;
    stanzas.retain(|stanza| !stanza.dropped);
    for (number, stanza) in (1..).zip(&mut stanzas) {
        stanza.number = number;
    }
    if stanzas.is_empty() && findings.clean() {
        let what = match place {
            Place::File(_) => {
                format!("Could not find valid SOURCE stanza in access file: '{}'", path.display())
            }
            Place::Folder(_) => "Fatal, could not find any valid access.conf stanzas".to_owned(),
        };
        findings.tell(|| Diagnostic::of_file(path, what, "write SOURCE ANY, and below it the stanza's keys"));
    }
    (stanzas, sources)
}

struct Reader<'f> {
    files: &'f dyn Files,
    findings: &'f mut Findings,
    stanzas: Vec<Written>,
    sources: Vec<PathBuf>,
    /// Old variables of which was spoken.
    old: BTreeSet<String>,
    /// Files include each other too deeply: nothing more is read.
    lost: bool,
}

impl Reader<'_> {
    fn first_file(&mut self, path: &Path) {
        let shown = path.display();
        let what = match self.text_of(path) {
            Ok(text) => return self.stanzas_of(path, &text, 1),
            Err(FileError::Missing) => {
                format!("Invalid access.conf file path '{shown}': unable to lstat() path: {shown}")
            }
            Err(FileError::WrongKind(_)) => format!(
                "Invalid access.conf file path '{shown}': file: {shown} is not a regular file or symbolic link."
            ),
            Err(error) => format!("Could not open access file: '{shown}': {error}"),
        };
        self.findings.tell(|| Diagnostic::of_file(path, what, "make it, or name another one with -a"));
    }

    fn first_folder(&mut self, dir: &Path) {
        let Err(error) = self.folder(dir, 1) else { return };
        let what = format!(
            "Invalid access folder directory '{}' could not lstat(), does not exist, or too large?",
            dir.display()
        );
        self.findings.tell(|| Diagnostic { what, ..error.at(dir) });
    }

    fn text_of(&mut self, path: &Path) -> Result<Zeroizing<String>, FileError> {
        self.sources.push(path.to_owned());
        open(self.files, path, self.findings)
    }

    /// Every NAME.conf of a folder, by name.
    fn folder(&mut self, dir: &Path, depth: u32) -> Result<(), FileError> {
        self.sources.push(dir.to_owned());
        let mut paths = self.files.list(dir)?;
        paths.retain(|path| path.to_string_lossy().ends_with(".conf"));
        paths.sort();
        for path in paths {
            if self.lost {
                break;
            }
            match self.text_of(&path) {
                Ok(text) => self.stanzas_of(&path, &text, depth),
                Err(error) => self.findings.tell(|| error.at(&path)),
            }
        }
        Ok(())
    }

    fn stanzas_of(&mut self, path: &Path, text: &str, depth: u32) {
        let file: Arc<Path> = Arc::from(path);
        // Included files bring stanzas of their own; this file goes on with its own one.
        let mut current: Option<usize> = None;
        for line in lines(text) {
            if self.lost {
                return;
            }
            let at = |column| Spot { file: file.clone(), line: line.number, column };
            let Body::Entry { name, value, name_at, value_at, unread_at } = line.body else {
                self.broken(path, line.number, line.body, &at(1));
                continue;
            };
            let colon = without_colon(name) != name;
            let name = without_colon(name);
            if let Some(unread) = unread_at {
                self.findings.hint(|| at(unread).unread());
            }
            let entry = Entry { name, value, name_at: at(name_at), value_at: at(value_at) };
            match name {
                "SOURCE" => {
                    current = Some(self.stanzas.len());
                    self.stanzas.push(Written {
                        number: 0,
                        spot: entry.value_at,
                        source: value.to_owned(),
                        values: Vec::new(),
                        dropped: false,
                        unset: false,
                        of_1_9: false,
                    });
                }
                "%include" | "%include_folder" => self.include(&entry, path, depth),
                "%include_keys" => self.keys(&entry, current),
                _ => self.variable(&entry, path, current),
            }
            if colon || name == "DATA_COLLECT_MODE" {
                let stanza = current.and_then(|at| self.stanzas.get_mut(at));
                stanza.into_iter().for_each(|stanza| stanza.of_1_9 = true);
            }
        }
    }

    fn broken(&mut self, path: &Path, number: u32, body: Body<'_>, spot: &Spot) {
        let what = format!("Invalid access file entry in {} at line {number}.", path.display());
        let mend = match body {
            Body::Long => "use at most 1023 bytes in a line",
            Body::Broken(_) | Body::Entry { .. } => {
                "write NAME, a blank and the value; begin a comment in the first column"
            }
        };
        self.findings.tell(|| spot.diagnostic(what, mend));
    }

    fn include(&mut self, entry: &Entry<'_>, from: &Path, depth: u32) {
        if depth >= DEEPEST {
            self.lost = true;
            let what = format!("Refusing to go deeper than 3 levels. Lost in Limbo: '{}'", from.display());
            let mend = "include that file from one further up";
            self.findings.tell(|| entry.name_at.diagnostic(what, mend));
            return;
        }
        let path = Path::new(entry.value);
        let shown = path.display();
        let failed = if entry.name == "%include_folder" {
            let read = self.folder(path, depth + 1);
            read.err().map(|_| format!("Access folder: '{shown}' could not be opened."))
        } else {
            match self.text_of(path) {
                Ok(text) => {
                    self.stanzas_of(path, &text, depth + 1);
                    None
                }
                Err(error) => Some(not_had(path, &error)),
            }
        };
        if let Some(what) = failed {
            self.findings.tell(|| entry.value_at.diagnostic(what, "make it, or take this line out"));
        }
    }

    /// The keys of the current stanza, out of a file of their own. Where it is no good, the stanza goes.
    fn keys(&mut self, entry: &Entry<'_>, current: Option<usize>) {
        let Some(at) = current else { return self.orphan(entry) };
        let path = Path::new(entry.value);
        let shown = path.display();
        let mut bad = None;
        match self.text_of(path) {
            Ok(text) => {
                let file: Arc<Path> = Arc::from(path);
                for line in lines(&text) {
                    let spot = |column| Spot { file: file.clone(), line: line.number, column };
                    let Body::Entry { name, value, name_at, value_at, unread_at } = line.body else {
                        bad = Some(format!("Invalid access file entry in {shown} at line {}.", line.number));
                        break;
                    };
                    let name = without_colon(name);
                    if let Some(unread) = unread_at {
                        self.findings.hint(|| spot(unread).unread());
                    }
                    let Some(field) = Field::of_name(name).filter(|field| field.is_key()) else {
                        let what = format!("Ignoring invalid entry: '{name}'");
                        let mend = "move it to the stanza: this file has keys only";
                        self.findings.remark(|| spot(name_at).diagnostic(what, mend));
                        continue;
                    };
                    if field.is_secret() && value.starts_with(UNSET) {
                        bad = Some(format!("{name} value is not properly set"));
                        break;
                    }
                    self.set(at, field, value, spot(value_at));
                }
            }
            Err(error) => bad = Some(not_had(path, &error)),
        }
        let Some(why) = bad else { return };
        let Some(stanza) = self.stanzas.get_mut(at) else { return };
        stanza.dropped = true;
        let what = format!(
            "Data error in included keyfile: '{shown}' ({why}), skipping stanza source: '{}'",
            stanza.source
        );
        self.findings.remark(|| entry.value_at.diagnostic(what, "mend that file, or name another one"));
    }

    fn variable(&mut self, entry: &Entry<'_>, path: &Path, current: Option<usize>) {
        let Some(at) = current else { return self.orphan(entry) };
        let name = entry.name;
        let Some(field) = Field::of_name(name) else {
            let what = format!("Ignoring unknown access parameter: '{name}' in {}", path.display());
            if let Some(old) = era::of_access(name, entry.value) {
                return self.old(entry, old, what);
            }
            let mend = unknown_mend(name, Field::ALL.iter().map(|known| known.name()));
            return self.findings.remark(|| entry.name_at.diagnostic(what, mend));
        };
        if field.is_secret() && entry.value.starts_with(UNSET) {
            let source = self.stanzas.get(at).map_or("", |stanza| &stanza.source);
            let what = format!(
                "{name} value is not properly set in stanza source '{source}' in access file: '{}'",
                path.display()
            );
            let mend = if field == Field::GpgDecryptPw {
                "write the passphrase of the server's key in its place, or GPG_ALLOW_NO_PW Y where it has none"
            } else {
                "put the key that the client has in its place: fwknop --key-gen makes one"
            };
            self.findings.tell(|| entry.value_at.diagnostic(what, mend));
            if let Some(stanza) = self.stanzas.get_mut(at) {
                stanza.unset = true;
            }
            return;
        }
        self.set(at, field, entry.value, entry.value_at.clone());
    }

    /// A variable of 1.9. What does nothing is spoken of once, however many stanzas have it.
    fn old(&mut self, entry: &Entry<'_>, old: Old, what: String) {
        match old {
            Old::Limit(mend) => {
                let what = format!("{} of fwknop 1.9 held back what nothing holds back here", entry.name);
                self.findings.tell(|| entry.name_at.diagnostic(what, mend));
            }
            Old::Nothing(why) => {
                if self.old.insert(entry.name.to_owned()) {
                    self.findings.remark(|| entry.name_at.diagnostic(what, format!("take it out: {why}")));
                }
            }
        }
    }

    fn orphan(&mut self, entry: &Entry<'_>) {
        let what = format!("'{}' stands before the first SOURCE, so it is in no stanza", entry.name);
        self.findings.remark(|| entry.name_at.diagnostic(what, "move it below a SOURCE line"));
    }

    fn set(&mut self, at: usize, field: Field, text: &str, spot: Spot) {
        if let Some(stanza) = self.stanzas.get_mut(at) {
            stanza.values.push((field, Value { text: Zeroizing::new(text.to_owned()), spot }));
        }
    }
}

/// What stands for a key in the file as it is shipped.
const UNSET: &str = "__CHANGEME__";

struct Entry<'t> {
    name: &'t str,
    value: &'t str,
    name_at: Spot,
    value_at: Spot,
}

fn not_had(path: &Path, error: &FileError) -> String {
    match error {
        FileError::Missing => format!("Access file: '{}' was not found.", path.display()),
        FileError::Denied
        | FileError::NotShared
        | FileError::TooOpen { .. }
        | FileError::ForeignOwner { .. }
        | FileError::TooLarge(_)
        | FileError::NotText
        | FileError::WrongKind(_)
        | FileError::Other(_) => format!("Could not open access file: '{}': {error}", path.display()),
    }
}
