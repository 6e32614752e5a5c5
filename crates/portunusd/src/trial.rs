//! Drops on trial: the protected ports are dropped for a while only, until somebody has knocked and come in.
//!
//! `portunus init --try` calls [`begin`] before anything is dropped. As long as the file of it stands, no start of the
//! daemon puts drops in that outlive the trial, and after it none at all: a daemon that its supervisor starts again, or
//! that comes up after a boot, must not shut out whom the trial was to protect. [`end`] is called when it is proven, by
//! the keeper, or when everything was given back.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use portunus_model::Mono;
use portunus_sys::clock;
use portunus_sys::files::{self, FileError};

/// What a proven trial's file says until it is removed.
const PROVEN: &str = "proven\n";

/// How far a trial is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// There is none, or it was proven: drops are for good.
    None,
    /// It runs until then.
    Until(Mono),
    /// It is over, and nothing was proven: nothing may be dropped.
    Over,
}

fn file(state_dir: &Path) -> PathBuf {
    state_dir.join("trial")
}

/// Begins a trial: from now on, for so long.
///
/// # Errors
/// The file cannot be written.
pub fn begin(state_dir: &Path, lasting: Duration) -> Result<(), FileError> {
    let boot = u128::from_be_bytes(clock::boot_id().unwrap_or_default());
    let text = format!("{boot:032x} {}\n", clock::mono().after(lasting).as_nanos());
    files::replace(&file(state_dir), text.as_bytes(), 0o600)
}

/// Looks how far the trial is. What cannot be read is over: then nothing is dropped.
#[must_use]
pub fn stage(state_dir: &Path) -> Stage {
    let text = match std::fs::read_to_string(file(state_dir)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Stage::None,
        Err(_) => return Stage::Over,
    };
    let boot = u128::from_be_bytes(clock::boot_id().unwrap_or_default());
    read(&text, boot, clock::mono())
}

fn read(text: &str, boot: u128, now: Mono) -> Stage {
    if text == PROVEN {
        return Stage::None;
    }
    let until = text.trim_end().split_once(' ').and_then(|(begun, until)| {
        let same = u128::from_str_radix(begun, 16).is_ok_and(|begun| begun == boot);
        until.parse().ok().filter(|_| same).map(Mono::from_nanos)
    });
    until.filter(|until| *until > now).map_or(Stage::Over, Stage::Until)
}

/// Ends a trial: from now on drops are for good.
///
/// # Errors
/// The file cannot be written.
pub fn end(state_dir: &Path) -> Result<(), FileError> {
    let file = file(state_dir);
    if !file.exists() {
        return Ok(());
    }
    // Written first: what a power cut brings back of a removed file must not say that nothing was proven.
    files::replace(&file, PROVEN.as_bytes(), 0o600)?;
    // One that stays says so.
    let _ = std::fs::remove_file(&file);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_is_over_after_its_time_in_another_boot_and_where_it_cannot_be_read() {
        let at = Mono::from_nanos;
        let text = format!("{:032x} 5000\n", 7);
        assert_eq!(read(&text, 7, at(4999)), Stage::Until(at(5000)));
        assert_eq!(read(&text, 7, at(5000)), Stage::Over);
        assert_eq!(read(&text, 8, at(1)), Stage::Over);
        assert_eq!(read("", 7, at(1)), Stage::Over);
        assert_eq!(read("nonsense", 7, at(1)), Stage::Over);
        assert_eq!(read(PROVEN, 7, at(9999)), Stage::None);
    }

    #[test]
    fn what_was_begun_stands_until_it_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(stage(dir.path()), Stage::None);
        begin(dir.path(), Duration::from_secs(60)).unwrap();
        assert!(matches!(stage(dir.path()), Stage::Until(_)));
        begin(dir.path(), Duration::ZERO).unwrap();
        assert_eq!(stage(dir.path()), Stage::Over);
        end(dir.path()).unwrap();
        assert_eq!(stage(dir.path()), Stage::None);
        end(dir.path()).unwrap();
    }
}
