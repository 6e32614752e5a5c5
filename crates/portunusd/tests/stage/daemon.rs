//! The daemon's side: serves what an openme file in a folder says.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use portunus_config::{FileError, Files, Secrecy, openme};
use portunus_sys::files;

struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path, _: Secrecy) -> Result<String, FileError> {
        files::read(path, files::Secrecy::Public).map_err(|e| FileError::Other(e.to_string()))
    }

    fn list(&self, dir: &Path) -> Result<Vec<PathBuf>, FileError> {
        files::list(dir).map_err(|e| FileError::Other(e.to_string()))
    }
}

pub(crate) fn serve(folder: &OsStr) -> ExitCode {
    let folder = PathBuf::from(folder);
    let config = folder.join("config.yaml");
    portunusd::serve(&portunusd::Plan {
        program: "portunus",
        version: "test",
        load: Box::new(move || openme::load(&Disk, &config)),
        still_there: Box::new(|_| true),
        state_dir: folder.join("state"),
        run_dir: folder.join("run"),
        session_file: Some(folder.join("sessions.json")),
        user: "portunus".to_owned(),
        log: portunusd::LogLevel::Debug,
        fwknopd: None,
    })
}
