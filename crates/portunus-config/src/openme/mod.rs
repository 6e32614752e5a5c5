//! openme's spelling of the server: one YAML file, read and edited as its own program left it.

use std::path::Path;

use portunus_crypto::Secret;
use portunus_model::{ClientName, PortSpec};
use zeroize::Zeroizing;

use crate::{Diagnostic, EditError, Entry, Files, NewClient, Settings};

/// Reads and checks an openme server file.
///
/// # Errors
/// Every mistake that was found, in the order of lines.
pub fn load(files: &dyn Files, path: &Path) -> Result<Settings, Vec<Diagnostic>> {
    let _ = (files, path);
    Err(Vec::new())
}

/// The clients as written.
///
/// # Errors
/// As [`load`].
pub fn clients(files: &dyn Files, path: &Path) -> Result<Vec<Entry>, Vec<Diagnostic>> {
    let _ = (files, path);
    Err(Vec::new())
}

/// The port groups, in the file's order.
///
/// # Errors
/// As [`load`].
pub fn groups(files: &dyn Files, path: &Path) -> Result<Vec<(String, Vec<PortSpec>)>, Vec<Diagnostic>> {
    let _ = (files, path);
    Err(Vec::new())
}

/// What `openme init` writes.
pub struct Init<'a> {
    /// The name that clients reach this server by.
    pub host: &'a str,
    /// The knock port.
    pub port: u16,
    /// `nft` or `iptables`; the file has no other word.
    pub iptables: bool,
    /// The interface; empty: all.
    pub interface: &'a str,
    /// The server's private key.
    pub private: &'a Secret<32>,
    /// Its public half.
    pub public: &'a [u8; 32],
}

/// The text of a new server file, as openme's own `init` lays it out.
#[must_use]
pub fn init_text(init: &Init<'_>) -> Zeroizing<String> {
    let _ = init;
    Zeroizing::new(String::new())
}

/// `text` (the file at `path`, for the messages) with one client more. Only the `clients` mapping changes.
///
/// # Errors
/// [`EditError`]; nothing is to be changed then.
pub fn add_client(text: &str, path: &Path, client: &NewClient) -> Result<Zeroizing<String>, EditError> {
    let _ = (text, path, client);
    Err(EditError::Broken(Vec::new()))
}

/// `text` with one client less. Only the `clients` mapping changes.
///
/// # Errors
/// [`EditError`]; nothing is to be changed then.
pub fn remove_client(text: &str, path: &Path, name: &ClientName) -> Result<Zeroizing<String>, EditError> {
    let _ = (text, path, name);
    Err(EditError::Broken(Vec::new()))
}
