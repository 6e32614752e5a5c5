//! Our own spelling: `portunus.toml`, `services.toml`, `clients/NAME.toml` or `clients.toml`, `keys/openme.key`,
//! `keys/native.key`.

mod alerts;
mod clients;
mod fwknop;
mod read;
mod secrets;
mod spoken;
mod write;

use std::path::{Path, PathBuf};
use std::time::Duration;

use portunus_crypto::Secret;
use portunus_model::{ClientName, Dialect, DoorRole, Place, PortSpec};
use zeroize::Zeroizing;

pub use secrets::MOST_DOORS;

use crate::source::Findings;
use crate::{Diagnostic, EditError, Entry, FileChange, Files, FirewallKind, NewClient, NewFwknop, Settings};

/// Where each file of a configuration folder is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths(PathBuf);

impl Paths {
    /// Those below `dir`, such as /etc/portunus.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self(dir.into())
    }

    /// `portunus.toml`.
    #[must_use]
    pub fn server(&self) -> PathBuf {
        self.0.join("portunus.toml")
    }

    /// `services.toml`.
    #[must_use]
    pub fn services(&self) -> PathBuf {
        self.0.join("services.toml")
    }

    /// `clients`, the folder.
    #[must_use]
    pub fn clients_dir(&self) -> PathBuf {
        self.0.join("clients")
    }

    /// `clients.toml`, for very many clients.
    #[must_use]
    pub fn clients_file(&self) -> PathBuf {
        self.0.join("clients.toml")
    }

    /// `clients/NAME.toml`.
    #[must_use]
    pub fn client(&self, name: &ClientName) -> PathBuf {
        self.clients_dir().join(format!("{name}.toml"))
    }

    /// `keys`, the folder (0700).
    #[must_use]
    pub fn keys_dir(&self) -> PathBuf {
        self.0.join("keys")
    }

    /// `keys/openme.key`, the X25519 private key in base64 (0600).
    #[must_use]
    pub fn openme_key(&self) -> PathBuf {
        self.keys_dir().join("openme.key")
    }

    /// `keys/native.key`, the same of the native dialect's current door.
    #[must_use]
    pub fn native_key(&self) -> PathBuf {
        self.keys_dir().join("native.key")
    }

    /// The same of the door of this role; `None`: it may have any name.
    #[must_use]
    pub fn door_key(&self, role: DoorRole) -> Option<PathBuf> {
        role.file_name().map(|name| self.keys_dir().join(name))
    }
}

/// Reads and checks the whole configuration below `dir`.
///
/// # Errors
/// Every mistake that was found, in the order of files and lines.
pub fn load(files: &dyn Files, dir: &Path) -> Result<Settings, Vec<Diagnostic>> {
    read::settings(files, &Paths::new(dir))
}

/// The clients as written.
///
/// # Errors
/// As [`load`].
pub fn clients(files: &dyn Files, dir: &Path) -> Result<Vec<Entry>, Vec<Diagnostic>> {
    let mut entries = Vec::new();
    let mut findings = Findings::default();
    clients::each(files, &Paths::new(dir), Duration::MAX, &mut findings, &mut |source, written, _| {
        entries.push(written.entry(source));
    });
    findings.verdict()?;
    Ok(entries)
}

/// A client as written, as far as its own lines can be read, whatever else is wrong.
#[must_use]
pub fn find(files: &dyn Files, dir: &Path, name: &ClientName) -> Option<Entry> {
    let mut found = None;
    let mut findings = Findings::default();
    clients::each(files, &Paths::new(dir), Duration::MAX, &mut findings, &mut |source, written, _| {
        if written.name == *name {
            found = Some(written.entry(source));
        }
    });
    found
}

/// The named services, in the file's order.
///
/// # Errors
/// As [`load`].
pub fn services(files: &dyn Files, dir: &Path) -> Result<Vec<(String, Vec<PortSpec>)>, Vec<Diagnostic>> {
    let mut findings = Findings::default();
    let services = read::services(files, &Paths::new(dir), &mut findings);
    findings.verdict()?;
    Ok(services.named)
}

/// What `init` writes into `portunus.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Init {
    /// The name that clients reach this server by.
    pub host: String,
    /// The knock port.
    pub port: u16,
    /// The back end.
    pub firewall: FirewallKind,
    /// The place that was found or asked for; `None` leaves it to each start.
    pub place: Option<Place>,
    /// The interfaces; empty: all.
    pub interfaces: Vec<String>,
    /// What knocks may speak; empty: openme.
    pub dialects: Vec<Dialect>,
}

/// The text of a new `portunus.toml`, each key explained.
#[must_use]
pub fn server_text(init: &Init) -> String {
    write::server(init)
}

/// The text of a new `services.toml`.
#[must_use]
pub fn services_text() -> String {
    write::SERVICES.to_owned()
}

/// The text of a file below `keys`.
#[must_use]
pub fn key_text(key: &Secret<32>) -> Zeroizing<String> {
    Zeroizing::new(format!("{}\n", &*key.to_base64()))
}

/// Adds a client: into `clients.toml` when there is one, else as a file of its own. What the files hold is not
/// checked beyond what the edit needs: load an [`crate::Overlay`] of the change before it is written.
///
/// # Errors
/// [`EditError`]; nothing is to be changed then.
pub fn add_client(files: &dyn Files, dir: &Path, client: &NewClient) -> Result<FileChange, EditError> {
    write::add(files, &Paths::new(dir), &client.name, &write::client(client))
}

/// The same for a client that knocks as fwknop's do.
///
/// # Errors
/// [`EditError`]; nothing is to be changed then.
pub fn add_fwknop(files: &dyn Files, dir: &Path, new: &NewFwknop<'_>) -> Result<FileChange, EditError> {
    write::add(files, &Paths::new(dir), &new.client.name, &write::fwknop(new))
}

/// Takes a client out: its own file goes, or its table in `clients.toml`.
///
/// # Errors
/// [`EditError`]; nothing is to be changed then.
pub fn remove_client(files: &dyn Files, dir: &Path, name: &ClientName) -> Result<FileChange, EditError> {
    write::remove(files, &Paths::new(dir), name)
}

#[cfg(test)]
mod tests;
