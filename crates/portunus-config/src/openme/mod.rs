//! openme's spelling of the server: one YAML file, read and edited as its own program left it.

mod read;

use std::path::Path;

use portunus_crypto::Secret;
use portunus_model::{ClientName, PortSpec};
use zeroize::Zeroizing;

use crate::reader::Fields;
use crate::source::{Findings, Source};
use crate::{Diagnostic, EditError, Entry, Files, NewClient, Secrecy, Settings};

/// Reads and checks an openme server file.
///
/// # Errors
/// Every mistake that was found, in the order of lines.
pub fn load(files: &dyn Files, path: &Path) -> Result<Settings, Vec<Diagnostic>> {
    read::settings(&text_of(files, path)?, path)
}

/// The clients as written.
///
/// # Errors
/// As [`load`].
pub fn clients(files: &dyn Files, path: &Path) -> Result<Vec<Entry>, Vec<Diagnostic>> {
    let mut entries = Vec::new();
    with_fields(files, path, |fields, findings| {
        read::each_client(fields, findings, &mut |source, written, _| entries.push(written.entry(source)));
    })?;
    Ok(entries)
}

/// The port groups, in the file's order.
///
/// # Errors
/// As [`load`].
pub fn groups(files: &dyn Files, path: &Path) -> Result<Vec<(String, Vec<PortSpec>)>, Vec<Diagnostic>> {
    with_fields(files, path, |fields, findings| read::services(fields, findings).named)
        .map(Option::unwrap_or_default)
}

fn text_of(files: &dyn Files, path: &Path) -> Result<Zeroizing<String>, Vec<Diagnostic>> {
    files.read(path, Secrecy::Secret).map(Zeroizing::new).map_err(|error| vec![error.at(path)])
}

/// Shows the file's top to `see`; nothing when the file is empty.
fn with_fields<T>(
    files: &dyn Files,
    path: &Path,
    see: impl FnOnce(Fields<'_, '_>, &mut Findings) -> T,
) -> Result<Option<T>, Vec<Diagnostic>> {
    let text = text_of(files, path)?;
    let source = Source::new(path, &text);
    let mut findings = Findings::default();
    let root = read::root(&source, &mut findings);
    let fields = root.as_ref().and_then(|root| Fields::of(&source, root, "the file", &mut findings));
    let seen = fields.map(|fields| see(fields, &mut findings));
    findings.verdict()?;
    Ok(seen)
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
