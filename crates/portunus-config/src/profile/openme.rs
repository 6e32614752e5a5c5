//! `~/.openme/config.yaml`: many profiles in one file.

use std::path::Path;

use portunus_crypto::text;
use zeroize::Zeroizing;

use super::{Keys, Profile, Show};
use crate::lower::parse_host;
use crate::reader::{Fields, Unknown};
use crate::source::{Findings, Source};
use crate::tree::{Pair, Value};
use crate::yaml_edit::{self, Field};
use crate::{DEFAULT_PORT, Diagnostic, EditError, keys, yaml_tree};

const KEYS: [&str; 6] =
    ["server_host", "server_udp_port", "server_pubkey", "private_key", "public_key", "post_knock"];

/// Reads all profiles, in the file's order.
///
/// # Errors
/// Every mistake that was found.
pub fn parse(text: &str, file: &Path) -> Result<Vec<Profile>, Vec<Diagnostic>> {
    with_profiles(text, file, |source, pairs, findings| {
        pairs.iter().filter_map(|pair| profile(source, pair, findings)).collect()
    })
}

/// Reads the profile `name` only, so that a mistake in another one does not stand in its way; `None` when there is
/// none of that name.
///
/// # Errors
/// Every mistake that was found in it.
pub fn find(text: &str, file: &Path, name: &str) -> Result<Option<Profile>, Vec<Diagnostic>> {
    with_profiles(text, file, |source, pairs, findings| {
        pairs.iter().find(|pair| pair.key == name).and_then(|pair| profile(source, pair, findings))
    })
}

/// The profiles' names, in the file's order.
///
/// # Errors
/// What keeps the file from being read at all.
pub fn names(text: &str, file: &Path) -> Result<Vec<String>, Vec<Diagnostic>> {
    with_profiles(text, file, |_, pairs, _| pairs.iter().map(|pair| pair.key.to_string()).collect())
}

fn with_profiles<T>(
    text: &str,
    file: &Path,
    see: impl FnOnce(&Source<'_>, &[Pair<'_>], &mut Findings) -> T,
) -> Result<T, Vec<Diagnostic>> {
    let source = Source::new(file, text);
    let mut findings = Findings::default();
    let root = yaml_tree::parse(&source, &mut findings);
    let fields = root.as_ref().and_then(|root| Fields::of(&source, root, "the file", &mut findings));
    let inner = fields
        .and_then(|fields| fields.pair("profiles"))
        .and_then(|pair| Fields::of(&source, &pair.node, "profiles", &mut findings));
    let pairs = inner.map(|inner| inner.map.entries.as_slice()).unwrap_or_default();
    let seen = see(&source, pairs, &mut findings);
    findings.verdict()?;
    Ok(seen)
}

fn profile(source: &Source<'_>, pair: &Pair<'_>, findings: &mut Findings) -> Option<Profile> {
    let name = &pair.key;
    if matches!(pair.node.value, Value::Null) {
        let mend = "get it again from the server's `openme add`, or take it out";
        findings.error(source, pair.at, format!("profile {name:?} is empty"), mend);
    }
    let p = Fields::of(source, &pair.node, name, findings)?;
    p.know(&KEYS, Unknown::Ignored, findings);
    for key in ["server_host", "server_pubkey", "private_key"] {
        if p.pair(key).is_none() {
            let mend = "get the profile again from the server's `openme add`";
            findings.error(source, pair.at, format!("profile {name:?} has no {key}"), mend);
        }
    }
    let host = p.read("server_host", findings, parse_host);
    let port = p.port("server_udp_port", findings).unwrap_or(DEFAULT_PORT);
    let server = p.read("server_pubkey", findings, |text| keys::server_public("server_pubkey", text));
    let private = p.read("private_key", findings, |text| keys::client_private("private_key", text));
    let written = p.pair("public_key").map(|pair| pair.node.span);
    let public = p.read("public_key", findings, |text| keys::client_public("public_key", text));
    let post_knock =
        p.text("post_knock", findings).map(|(text, _)| text.to_owned()).filter(|text| !text.is_empty());
    let (seed, own) = private?;
    if let Some(at) = written.filter(|_| public.is_some_and(|public| public != own)) {
        let mend = "take the line out, or get the profile again from the server's `openme add`";
        findings.error(source, at, "public_key does not belong to private_key", mend);
    }
    Some(Profile {
        name: name.to_string(),
        host: host?,
        port,
        health: true,
        health_port: None,
        keys: Keys::Openme { server: server?, seed, public: own },
        post_knock,
        opens: Vec::new(),
    })
}

/// Writes a whole file of `profiles`: what `add` prints.
///
/// # Errors
/// [`EditError::ByHand`]: one of them has keys that openme does not know.
pub fn render(profiles: &[&Profile], show: Show) -> Result<Zeroizing<String>, EditError> {
    let mut out = Zeroizing::new("profiles:\n".to_owned());
    for profile in profiles {
        let file = Path::new(&profile.name);
        with_fields(profile, file, show, |fields| out.push_str(&yaml_edit::entry(&profile.name, fields)))?;
    }
    Ok(out)
}

/// `text` (may be empty) with one profile more. Only the `profiles` mapping changes.
///
/// # Errors
/// [`EditError`]; nothing is to be changed then.
pub fn add(text: &str, file: &Path, profile: &Profile) -> Result<Zeroizing<String>, EditError> {
    with_fields(profile, file, Show::All, |fields| {
        yaml_edit::add(text, file, "profiles", &profile.name, fields)
    })?
}

/// `text` with one profile less. Only the `profiles` mapping changes.
///
/// # Errors
/// [`EditError`]; nothing is to be changed then.
pub fn remove(text: &str, file: &Path, name: &str) -> Result<Zeroizing<String>, EditError> {
    yaml_edit::remove(text, file, "profiles", name)
}

fn with_fields<T>(
    profile: &Profile,
    file: &Path,
    show: Show,
    see: impl FnOnce(&[Field<'_>]) -> T,
) -> Result<T, EditError> {
    let (server, seed, public) = match &profile.keys {
        Keys::Openme { server, seed, public } => (server, seed, public),
        Keys::Native(_) => {
            let what = "openme's file has no place for a profile of the native dialect";
            let mend = "use the `portunus` commands for it: portunus join, portunus knock";
            return Err(EditError::ByHand(Diagnostic::of_file(file, what, mend)));
        }
    };
    let private = match show {
        Show::All => keys::pair_text(seed, public),
        Show::Redacted => Zeroizing::new(super::REDACTED.to_owned()),
    };
    let (server, public) = (text::encode(server), text::encode(public));
    let mut fields = vec![
        Field::Text("server_host", &profile.host),
        Field::Bare("server_udp_port", profile.port.to_string()),
        Field::Text("server_pubkey", &server),
        Field::Text("private_key", &private),
        Field::Text("public_key", &public),
    ];
    if let Some(command) = &profile.post_knock {
        fields.push(Field::Text("post_knock", command));
    }
    Ok(see(&fields))
}
