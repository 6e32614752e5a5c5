//! digest.cache on the command line: looked through, or put aside.

use std::ffi::OsString;
use std::fs::File;
use std::process::ExitCode;

use portunus_config::fwknop::Daemon;
use portunus_store::check_digests;

use super::NAME;
use crate::say::{Done, Failure};

/// `--exit-parse-digest-cache`.
pub(super) fn check(daemon: &Daemon) -> ExitCode {
    let path = &daemon.digest_file;
    let read = match File::open(path).and_then(|file| check_digests(&file)) {
        Ok(read) => read,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Default::default(),
        Err(error) => return Failure::file(error, path, "").tell(NAME),
    };
    for (number, text) in &read.wrong {
        eprintln!("*Skipping invalid digest file entry in {} at line {number}.\n - {text}\n", path.display());
    }
    if let more @ 1.. = read.wrong_lines.saturating_sub(read.wrong.len()) {
        eprintln!("*Skipping {more} more lines that are none.");
    }
    eprintln!("Digest cache parsed, exiting.");
    ExitCode::SUCCESS
}

/// `--rotate-digest-cache`: the lines go to NAME-old. What was accepted lately stays refused: the replay store has it.
pub(super) fn rotate(daemon: &Daemon) -> Done {
    let path = &daemon.digest_file;
    let mut old = OsString::from(path);
    old.push("-old");
    match std::fs::rename(path, &old) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Failure::file(error, path, "")),
    }
}
