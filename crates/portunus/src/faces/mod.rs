//! The table of faces. A face only translates: its flags and words on one side, the shared values on the other.

mod fwknop;
mod fwknopd;
mod openme;
mod portunus;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

/// One face of the binary.
#[derive(Debug)]
pub(crate) struct Face {
    /// The name that the binary is called by, or its first word.
    pub(crate) name: &'static str,
    /// What it is, in one sentence.
    pub(crate) sentence: &'static str,
    /// Runs it; the first word is the face's name, as in any argv.
    run: fn(Vec<OsString>) -> ExitCode,
    /// The section of its man page.
    pub(crate) section: &'static str,
    /// Its table of flags: help, man pages and completions are views of it.
    pub(crate) table: fn() -> clap::Command,
}

/// Every face; the first is the one for an unknown name.
pub(crate) static FACES: [Face; 4] = [
    Face {
        name: "portunus",
        sentence: "opens a port for whoever proves with one packet that they may",
        run: portunus::run,
        section: "1",
        table: portunus::table,
    },
    Face {
        name: "openme",
        sentence: "openme's commands, flags, files and words",
        run: openme::run,
        section: "1",
        table: openme::table,
    },
    Face {
        name: fwknop::NAME,
        sentence: "fwknop's client: its flags, files and words",
        run: fwknop::run,
        section: "8",
        table: fwknop::table,
    },
    Face {
        name: fwknopd::NAME,
        sentence: "fwknop's server: its flags, files and words",
        run: fwknopd::run,
        section: "8",
        table: fwknopd::table,
    },
];

/// The other faces, for the help of our own.
pub(crate) fn others() -> String {
    let mut text =
        String::from("Other faces, each by a link of that name to this program, or as its first word:");
    for face in FACES.iter().skip(1) {
        text.push_str(&format!("\n  portunus {:<8} {}", face.name, face.sentence));
    }
    text
}

/// The face of this name, for a command that is about one.
///
/// # Errors
/// There is none; the names are listed.
pub(crate) fn face_name(name: &str) -> Result<&'static Face, String> {
    let names = || FACES.iter().map(|face| face.name).collect::<Vec<_>>().join(", ");
    FACES.iter().find(|face| face.name == name).ok_or_else(|| format!("use one of: {}", names()))
}

/// Chooses a face by the name of the program, else by the first word, and runs it.
pub(crate) fn run(mut words: Vec<OsString>) -> ExitCode {
    let named = |word: &OsString| {
        let base = Path::new(word).file_name()?;
        FACES.iter().find(|face| base == face.name)
    };
    let [own, ..] = &FACES;
    let called = words.first().and_then(named).unwrap_or(own);
    if called.name == own.name
        && let Some(first) = words.get(1).filter(|word| !Path::new(word).is_absolute()).and_then(named)
    {
        words.remove(0);
        return (first.run)(words);
    }
    (called.run)(words)
}
