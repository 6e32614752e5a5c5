//! `~/.config/portunus/profiles/NAME.toml`: one profile a file.

use std::path::Path;

use portunus_model::PortSpec;
use zeroize::Zeroizing;

use super::native_keys::{self, public_line, shown};
use super::{Keys, Profile, Show, named_after};
use crate::lower::parse_host;
use crate::ports::parse_spec;
use crate::quote::{quoted, toml_list};
use crate::reader::{Fields, Unknown};
use crate::source::{Findings, Source};
use crate::tree::{Span, Value};
use crate::{DEFAULT_PORT, Diagnostic, keys, toml_tree};

/// The dialects that a profile can be of.
#[derive(Clone, Copy)]
enum Dialect {
    Openme,
    Native,
}

/// What a profile of any dialect has.
const KEYS: [&str; 10] = [
    "name",
    "host",
    "port",
    "health",
    "health_port",
    "dialect",
    "server_pubkey",
    "private_key",
    "opens",
    "post_knock",
];

/// Reads one profile. Without a `name` it is called as its file (`home` for home.toml), and from anywhere else by the
/// first label of its host.
///
/// # Errors
/// Every mistake that was found.
pub fn parse(text: &str, file: &Path) -> Result<Profile, Vec<Diagnostic>> {
    let source = Source::new(file, text);
    let mut findings = Findings::default();
    let root = toml_tree::parse(&source, &mut findings);
    let fields = root.as_ref().and_then(|root| Fields::of(&source, root, "the file", &mut findings));
    let profile = fields.and_then(|fields| profile(fields, file, &mut findings));
    findings.verdict()?;
    profile.ok_or_else(|| {
        vec![Diagnostic::of_file(file, "this is no profile", "get it again from the server's `add`")]
    })
}

fn profile(p: Fields<'_, '_>, file: &Path, findings: &mut Findings) -> Option<Profile> {
    let words = [("openme", Dialect::Openme), ("native", Dialect::Native)];
    let dialect = p.word("dialect", &words, findings).unwrap_or(Dialect::Openme);
    p.know(&[&KEYS[..], &native_keys::KEYS].concat(), Unknown::Refused, findings);
    for key in ["host", "server_pubkey", "private_key"] {
        needed(p, key, findings);
    }
    let host = p.read("host", findings, parse_host);
    let port = p.port("port", findings).unwrap_or(DEFAULT_PORT);
    let health = p.flag("health", findings).unwrap_or(true);
    let health_port = p.port("health_port", findings);
    let keys = match dialect {
        Dialect::Openme => openme_keys(p, findings),
        Dialect::Native => native_keys::read(p, findings).map(|keys| Keys::Native(Box::new(keys))),
    };
    let mut opens: Vec<PortSpec> = Vec::new();
    for (text, at) in p.texts("opens", "[\"22/tcp\"]", findings) {
        match parse_spec(text) {
            Ok(specs) => opens.extend(specs),
            Err(fault) => findings.fault(p.source, at, fault),
        }
    }
    let post_knock =
        p.text("post_knock", findings).map(|(text, _)| text.to_owned()).filter(|text| !text.is_empty());
    let named = p.text("name", findings).map(|(text, _)| text.to_owned()).filter(|text| !text.is_empty());
    let host = host?;
    let name = named.unwrap_or_else(|| named_after(file, &host));
    Some(Profile { name, host, port, health, health_port, keys: keys?, post_knock, opens })
}

fn openme_keys(p: Fields<'_, '_>, findings: &mut Findings) -> Option<Keys> {
    // A word that is no dialect's was said already, and its keys may be of any.
    if p.pair("dialect")
        .is_none_or(|pair| matches!(&pair.node.value, Value::Scalar(word, _) if word == "openme"))
    {
        native_keys::refuse(p, findings);
    }
    let server = p.read("server_pubkey", findings, |text| keys::server_public("server_pubkey", text));
    let private = p.read("private_key", findings, |text| keys::client_private("private_key", text));
    let (seed, public) = private?;
    Some(Keys::Openme { server: server?, seed, public })
}

/// Says that a key is missing.
pub(super) fn needed(p: Fields<'_, '_>, key: &str, findings: &mut Findings) {
    if p.pair(key).is_none() {
        let mend = "get the profile again from the server's `portunus add`";
        findings.error(p.source, Span::default(), format!("the profile has no {key}"), mend);
    }
}

/// Writes one profile.
#[must_use]
pub fn render(profile: &Profile, show: Show) -> Zeroizing<String> {
    let head =
        "# A Portunus profile. It holds a private key: keep it 0600, and do not send it in the clear.\n";
    let mut out = Zeroizing::new(String::with_capacity(1024));
    out.push_str(head);
    out.push_str(&lines(profile, show));
    out
}

/// The same without the remark for people.
pub(super) fn lines(profile: &Profile, show: Show) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::with_capacity(1024));
    out.push_str(&format!("name = {}\n", quoted(&profile.name)));
    out.push_str(&format!("host = {}\nport = {}\n", quoted(&profile.host), profile.port));
    if !profile.health {
        out.push_str("health = false\n");
    }
    if let Some(port) = profile.health_port {
        out.push_str(&format!("health_port = {port}\n"));
    }
    let (dialect, server, secret) = match &profile.keys {
        Keys::Openme { server, seed, .. } => ("openme", server, seed),
        Keys::Native(keys) => ("native", &keys.server, &keys.secret),
    };
    out.push_str(&format!("dialect = {}\n{}", quoted(dialect), public_line("server_pubkey", server)));
    out.push_str("private_key = ");
    out.push_str(&shown(secret, show));
    out.push('\n');
    if let Keys::Native(keys) = &profile.keys {
        out.push_str(&native_keys::render(keys, show));
    }
    if !profile.opens.is_empty() {
        let opens: Vec<_> = profile.opens.iter().map(ToString::to_string).collect();
        out.push_str(&format!("opens = {}\n", toml_list(&opens)));
    }
    if let Some(command) = &profile.post_knock {
        out.push_str(&format!("post_knock = {}\n", quoted(command)));
    }
    out
}
