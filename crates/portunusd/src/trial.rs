//! Drops on trial: the protected ports are dropped for a while only, until somebody has knocked and come in.
//!
//! `portunus init --try` calls [`begin`] before anything is dropped. As long as the file of it stands, no start of the
//! daemon puts drops in that outlive the trial, and after it none at all: a daemon that its supervisor starts again, or
//! that comes up after a boot, must not shut out whom the trial was to protect. The keeper writes the word that it is
//! proven ([`prove`]), `portunus teardown` the word that it ends it ([`stop`]), and whoever has given everything back
//! removes the file ([`forget`]). Only the word counts as proof: a file that is gone says nothing.

use std::io;
use std::os::unix::process::parent_id;
use std::path::{Path, PathBuf};
use std::time::Duration;

use portunus_model::{Mono, Unix};
use portunus_sys::clock;
use portunus_sys::files::{self, FileError, Lock};

use crate::keeper::STATE_LOCK;

/// What the file says of a trial that was proven, until another begins or `portunus teardown`.
const PROVEN: &str = "proven\n";
/// What it says of one that somebody ends, until everything was given back.
const ENDED: &str = "ended\n";

/// How far a trial is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// There is none: drops are for good.
    None,
    /// Somebody knocked and came in: drops are for good.
    Proven,
    /// It runs until then.
    Until(Mono),
    /// It is over, and nothing was proven: nothing may be dropped.
    Over,
    /// Somebody ends it, and nothing was proven: nothing may be dropped.
    Ended,
}

/// Why it cannot be written down that a trial is proven.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotProven {
    /// It is no trial of ours any more.
    #[error("somebody ended the trial")]
    Ended,
    /// The disk.
    #[error(transparent)]
    File(#[from] FileError),
}

fn file(state_dir: &Path) -> PathBuf {
    state_dir.join("trial")
}

/// Held by the command that waits for the end of a trial, for as long as it waits.
fn one_lock(state_dir: &Path) -> PathBuf {
    state_dir.join("trial.lock")
}

/// Takes the right to run a trial: there is one at a time.
///
/// # Errors
/// [`FileError::Locked`] when somebody has it: [`whose`] says who.
pub fn claim(state_dir: &Path) -> Result<Lock, FileError> {
    let lock = one_lock(state_dir);
    // Who only asks holds it for a moment.
    for _ in 0..10 {
        if let Ok(held) = Lock::try_now(&lock) {
            return Ok(held);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Lock::try_now(&lock)
}

/// The process that runs a trial, where it says so itself.
#[must_use]
pub fn whose(state_dir: &Path) -> Option<u32> {
    Lock::holder(&one_lock(state_dir))
}

/// Whether somebody runs a trial and waits for its end.
#[must_use]
pub fn runs(state_dir: &Path) -> bool {
    let lock = one_lock(state_dir);
    lock.exists() && matches!(Lock::try_now(&lock), Err(FileError::Locked(_)))
}

/// Whether a trial runs whose server we are not: nobody may serve beside it.
#[must_use]
pub fn is_anothers(state_dir: &Path) -> bool {
    runs(state_dir) && whose(state_dir) != Some(parent_id())
}

/// Keeps every daemon from starting on this folder.
///
/// # Errors
/// [`FileError::Locked`] when one runs.
pub fn keep_daemons_out(state_dir: &Path) -> Result<Lock, FileError> {
    Lock::try_now(&state_dir.join(STATE_LOCK))
}

/// The daemon that runs on this folder, where it says so itself.
#[must_use]
pub fn daemon(state_dir: &Path) -> Option<u32> {
    Lock::holder(&state_dir.join(STATE_LOCK))
}

/// Nobody else changes the file meanwhile.
fn changing(state_dir: &Path) -> Result<Lock, FileError> {
    Lock::wait(&state_dir.join("trial.change"))
}

/// Begins a trial: from now on, for so long.
///
/// # Errors
/// The file cannot be written.
pub fn begin(state_dir: &Path, lasting: Duration) -> Result<(), FileError> {
    let _changing = changing(state_dir)?;
    let text = words(clock::mono().after(lasting));
    files::replace(&file(state_dir), text.as_bytes(), 0o600)
}

/// Which trial it is: the boot that its clock is of, and its end.
fn words(until: Mono) -> String {
    format!("{:032x} {}\n", boot(), until.as_nanos())
}

fn boot() -> u128 {
    u128::from_be_bytes(clock::boot_id().unwrap_or_default())
}

/// Looks how far the trial is. What cannot be read is over: then nothing is dropped.
#[must_use]
pub fn stage(state_dir: &Path) -> Stage {
    match std::fs::read_to_string(file(state_dir)) {
        Ok(text) => read(&text, boot(), clock::mono()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Stage::None,
        Err(_) => Stage::Over,
    }
}

/// When a trial ends, by the wall clock.
#[must_use]
pub fn in_wall_time(until: Mono) -> Unix {
    clock::wall().after(until.since(clock::mono()))
}

fn read(text: &str, boot: u128, now: Mono) -> Stage {
    match text {
        PROVEN => return Stage::Proven,
        ENDED => return Stage::Ended,
        _ => (),
    }
    let until = text.trim_end().split_once(' ').and_then(|(begun, until)| {
        let same = u128::from_str_radix(begun, 16).is_ok_and(|begun| begun == boot);
        until.parse().ok().filter(|_| same).map(Mono::from_nanos)
    });
    until.filter(|until| *until > now).map_or(Stage::Over, Stage::Until)
}

/// Writes down that the trial which ends then is proven: from now on drops are for good. Durable when it returns.
///
/// # Errors
/// [`NotProven`]: also where the file speaks of another trial, or of none.
pub fn prove(state_dir: &Path, until: Mono) -> Result<(), NotProven> {
    let _changing = changing(state_dir)?;
    let file = file(state_dir);
    if std::fs::read_to_string(&file).ok() != Some(words(until)) {
        return Err(NotProven::Ended);
    }
    Ok(files::replace(&file, PROVEN.as_bytes(), 0o600)?)
}

/// Writes down that somebody ends a trial which is not proven, for whoever waits for it, and for starts until it was given
/// back. Whether there was one.
///
/// # Errors
/// The file cannot be written.
pub fn stop(state_dir: &Path) -> Result<bool, FileError> {
    if !file(state_dir).exists() {
        return Ok(false);
    }
    let _changing = changing(state_dir)?;
    match stage(state_dir) {
        Stage::None | Stage::Proven => Ok(false),
        Stage::Until(_) | Stage::Over | Stage::Ended => {
            files::replace(&file(state_dir), ENDED.as_bytes(), 0o600).map(|()| true)
        }
    }
}

/// Everything was given back, or the administrator does without a trial: from now on drops are for good.
///
/// # Errors
/// The file cannot be removed.
pub fn forget(state_dir: &Path) -> Result<(), FileError> {
    if !file(state_dir).exists() {
        return Ok(());
    }
    let _changing = changing(state_dir)?;
    files::remove(&file(state_dir))
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
        assert_eq!(read(PROVEN, 7, at(9999)), Stage::Proven);
        assert_eq!(read(ENDED, 7, at(1)), Stage::Ended);
    }

    #[test]
    fn what_was_begun_stands_until_it_is_proven_ended_or_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        assert_eq!(stage(dir), Stage::None);
        assert_eq!(stop(dir), Ok(false));
        begin(dir, Duration::from_secs(60)).unwrap();
        let Stage::Until(until) = stage(dir) else { panic!("{:?}", stage(dir)) };
        assert_eq!(prove(dir, until), Ok(()));
        assert_eq!(stage(dir), Stage::Proven);
        assert_eq!(stop(dir), Ok(false), "what is proven stays so");
        assert_eq!(stage(dir), Stage::Proven);
        begin(dir, Duration::ZERO).unwrap();
        assert_eq!(stage(dir), Stage::Over);
        assert_eq!(stop(dir), Ok(true));
        assert_eq!(stage(dir), Stage::Ended);
        forget(dir).unwrap();
        assert_eq!(stage(dir), Stage::None);
        forget(dir).unwrap();
    }

    #[test]
    fn only_the_trial_that_the_file_speaks_of_is_proven() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        begin(dir, Duration::from_secs(60)).unwrap();
        let Stage::Until(first) = stage(dir) else { panic!("{:?}", stage(dir)) };
        begin(dir, Duration::from_secs(90)).unwrap();
        let second = stage(dir);
        assert_eq!(prove(dir, first), Err(NotProven::Ended));
        assert_eq!(stage(dir), second, "another trial runs");
        stop(dir).unwrap();
        let Stage::Until(until) = second else { panic!("{second:?}") };
        assert_eq!(prove(dir, until), Err(NotProven::Ended));
        assert_eq!(stage(dir), Stage::Ended);
        forget(dir).unwrap();
        assert_eq!(prove(dir, until), Err(NotProven::Ended));
        assert_eq!(stage(dir), Stage::None);
    }

    #[test]
    fn one_at_a_time_and_its_own_server_may_serve() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!is_anothers(dir.path()));
        let first = claim(dir.path()).unwrap();
        assert!(claim(dir.path()).is_err());
        assert_eq!(whose(dir.path()), Some(std::process::id()));
        assert!(is_anothers(dir.path()), "we are not our own child");
        std::fs::write(one_lock(dir.path()), format!("{}\n", parent_id())).unwrap();
        assert!(!is_anothers(dir.path()));
        drop(first);
        assert!(!is_anothers(dir.path()));
    }
}
