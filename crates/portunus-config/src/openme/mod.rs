//! openme's spelling of the server: one YAML file, read and edited as its own program left it.

mod read;

use std::path::Path;

use portunus_crypto::{Secret, text};
use portunus_model::{ClientName, PortSpec};
use zeroize::Zeroizing;

use crate::quote::quoted;
use crate::reader::Fields;
use crate::source::{Findings, Source};
use crate::yaml_edit::Field;
use crate::{
    Diagnostic, EditError, Entry, FileError, Files, NewClient, Secrecy, Settings, render_date, yaml_edit,
};

/// Reads and checks an openme server file.
///
/// # Errors
/// Every mistake that was found, in the order of lines.
pub fn load(files: &dyn Files, path: &Path) -> Result<Settings, Vec<Diagnostic>> {
    read::settings(&server_text(files, path)?, path)
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

/// The file as it stands.
///
/// # Errors
/// It is not there, or cannot be read, or others can read it.
pub fn server_text(files: &dyn Files, path: &Path) -> Result<Zeroizing<String>, Vec<Diagnostic>> {
    files.read(path, Secrecy::Secret).map(Zeroizing::new).map_err(|error| {
        if error == FileError::Missing {
            vec![Diagnostic::of_file(
                path,
                error.to_string(),
                "make it with `openme init --server HOST`, or name another",
            )]
        } else {
            vec![error.at(path)]
        }
    })
}

/// Shows the file's top to `see`; nothing when the file is empty.
fn with_fields<T>(
    files: &dyn Files,
    path: &Path,
    see: impl FnOnce(Fields<'_, '_>, &mut Findings) -> T,
) -> Result<Option<T>, Vec<Diagnostic>> {
    let text = server_text(files, path)?;
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

/// The text of a new server file, each key explained.
#[must_use]
pub fn init_text(init: &Init<'_>) -> Zeroizing<String> {
    let firewall = if init.iptables { "iptables" } else { "nft" };
    let private = init.private.to_base64();
    Zeroizing::new(format!(
        "# openme server configuration. It holds the server's private key: keep it 0600.\n\
         server:\n\
         \x20   host: {host}                 # the name that clients reach this server by\n\
         \x20   udp_port: {port}             # knocks come in here\n\
         \x20   health_port: {port}          # `openme status` asks here, after a knock\n\
         \x20   firewall: {firewall}              # nft or iptables\n\
         \x20   knock_timeout: 30s          # how long a knock opens the ports\n\
         \x20   replay_window: 60s          # how far a client's clock may be off\n\
         \x20   open_knock_port: true       # false: your own rules accept the knock port\n\
         \x20   drop_ports: false           # true: drop the ports below for whoever did not knock\n\
         \x20   default_profile: default    # what `openme add` calls the client's profile\n\
         \x20   interface: {interface}               # \"\" is every interface\n\
         \x20   private_key: {private}\n\
         \x20   public_key: {public}\n\
         # Named groups of ports: PORT[-END][/PROTO]. A client without allowed_ports opens the group `default`.\n\
         ports:\n\
         \x20   default:\n\
         \x20       - 22/tcp\n\
         # `openme add NAME` and `openme revoke NAME` write here.\n\
         clients: {{}}\n",
        host = quoted(init.host),
        port = init.port,
        interface = quoted(init.interface),
        private = &*Zeroizing::new(quoted(&private)),
        public = quoted(&text::encode(init.public)),
    ))
}

/// `text` (the file at `path`, for the messages) with one client more. Only the `clients` mapping changes.
///
/// # Errors
/// [`EditError`]; nothing is to be changed then.
pub fn add_client(text: &str, path: &Path, client: &NewClient) -> Result<Zeroizing<String>, EditError> {
    let key = text::encode(&client.key);
    let mut fields = vec![Field::Text("ed25519_pubkey", &key)];
    if !client.services.is_empty() {
        fields.push(Field::List("allowed_ports", &client.services));
    }
    let expires = client.expires.map(render_date);
    if let Some(expires) = &expires {
        fields.push(Field::Text("expires", expires));
    }
    if !client.health_port {
        fields.push(Field::Bare("disable_health_port", "true".to_owned()));
    }
    yaml_edit::add(text, path, "clients", client.name.as_str(), &fields)
}

/// `text` with one client less. Only the `clients` mapping changes.
///
/// # Errors
/// [`EditError`]; nothing is to be changed then.
pub fn remove_client(text: &str, path: &Path, name: &ClientName) -> Result<Zeroizing<String>, EditError> {
    yaml_edit::remove(text, path, "clients", name.as_str())
}

#[cfg(test)]
mod edit_any;
#[cfg(test)]
mod edit_tests;
#[cfg(test)]
mod tests;
