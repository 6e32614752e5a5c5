//! Reading clients: `clients/NAME.toml`, one a file, and `clients.toml`, one a table.

use std::path::{Path, PathBuf};
use std::time::Duration;

use portunus_crypto::{Secret, totp};
use portunus_model::{ClientName, Dialect, NativeRule};
use zeroize::Zeroizing;

use super::{Paths, fwknop};
use crate::lower::{self, Key, Written};
use crate::reader::{Fields, Unknown, text_of};
use crate::source::{Findings, Source};
use crate::tree::{Node, Pair, Span};
use crate::{Diagnostic, FileError, Files, Secrecy, ValueError, keys, toml_tree};

const CLIENT: [&str; 7] = ["dialect", "public_key", "services", "expires", "grant", "any_target", "health"];
/// What only a client of the native dialect has besides.
const NATIVE: [&str; 4] = ["public_key_file", "answers", "bind", "totp"];
const DIALECTS: [(&str, Dialect); 3] =
    [("native", Dialect::Native), ("openme", Dialect::Openme), ("fwknop", Dialect::Fwknop)];

/// Where a client stands in which file: one that holds secrets must be closed to others.
#[derive(Clone, Copy)]
pub(super) struct Home<'f> {
    files: &'f dyn Files,
    path: &'f Path,
}

impl Home<'_> {
    /// Says that others can read the file, if they can.
    pub(super) fn check_closed(self, findings: &mut Findings) {
        if let Err(error) = self.files.read(self.path, Secrecy::Secret) {
            findings.push(error.at(self.path));
        }
    }
}

/// What is done with each client.
pub(super) type Take<'f> = &'f mut dyn FnMut(&Source<'_>, Written<'_>, &mut Findings);

/// Hands over every client that can be read: the folder's in the order of their names, then the file's.
pub(super) fn each(
    files: &dyn Files,
    paths: &Paths,
    longest: Duration,
    findings: &mut Findings,
    take: Take<'_>,
) {
    let dir = paths.clients_dir();
    match files.list(&dir) {
        Ok(mut found) => {
            found.sort_unstable();
            for path in &found {
                one_file(files, path, longest, findings, take);
            }
        }
        Err(FileError::Missing) => {}
        Err(error) => findings.push(error.at(&dir)),
    }
    let path = paths.clients_file();
    match files.read(&path, Secrecy::Public) {
        Ok(text) => many(Home { files, path: &path }, &Zeroizing::new(text), longest, findings, take),
        Err(FileError::Missing) => {}
        Err(error) => findings.push(error.at(&path)),
    }
}

fn one_file(files: &dyn Files, path: &Path, longest: Duration, findings: &mut Findings, take: Take<'_>) {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    // What editors and package managers leave behind is none of our business.
    let leftover = [".swp", ".bak", ".orig", ".rej", ".tmp", ".dpkg-old", ".dpkg-new", ".dpkg-dist"];
    if name.starts_with(['.', '#']) || name.ends_with('~') || leftover.iter().any(|end| name.ends_with(end)) {
        return;
    }
    let Some(stem) = name.strip_suffix(".toml") else {
        let mend = "name a client's file NAME.toml, or move this one away";
        findings.warnings.push(Diagnostic::of_file(path, "this is no client's file", mend));
        return;
    };
    let text = match files.read(path, Secrecy::Public) {
        Ok(text) => Zeroizing::new(text),
        // Revoked between the listing and now.
        Err(FileError::Missing) => return,
        Err(error) => return findings.push(error.at(path)),
    };
    let source = Source::new(path, &text);
    let name = match lower::client_name(stem) {
        Ok(name) => name,
        Err(fault) => {
            return findings.push(Diagnostic::of_file(
                path,
                fault.what,
                format!("rename the file: {}", fault.mend),
            ));
        }
    };
    let Some(root) = toml_tree::parse(&source, findings) else { return };
    let Some(fields) = Fields::of(&source, &root, "the file", findings) else { return };
    if let Some(written) = client(Home { files, path }, fields, name, Span::default(), longest, findings) {
        take(&source, written, findings);
    }
}

fn many(home: Home<'_>, text: &str, longest: Duration, findings: &mut Findings, take: Take<'_>) {
    let source = Source::new(home.path, text);
    toml_tree::each_table(&source, findings, &mut |node, findings| {
        for pair in node.as_map().map(|map| map.entries.as_slice()).unwrap_or_default() {
            if let Some(written) = table(home, &source, pair, longest, findings) {
                take(&source, written, findings);
            }
        }
    });
}

fn table<'a>(
    home: Home<'_>,
    source: &'a Source<'_>,
    pair: &'a Pair<'_>,
    longest: Duration,
    findings: &mut Findings,
) -> Option<Written<'a>> {
    let name = lower::client_name(&pair.key).map_err(|fault| findings.fault(source, pair.at, fault)).ok()?;
    let fields = Fields::of(source, &pair.node, &pair.key, findings)?;
    client(home, fields, name, pair.at, longest, findings)
}

fn client<'a>(
    home: Home<'_>,
    c: Fields<'a, '_>,
    name: ClientName,
    at: Span,
    longest: Duration,
    findings: &mut Findings,
) -> Option<Written<'a>> {
    let (mut native, mut code, mut key_file_of) = (NativeRule::default(), None, None);
    let dialect = match c.pair("dialect") {
        Some(_) => c.word("dialect", &DIALECTS, findings),
        None => Some(Dialect::Openme),
    };
    let key = match dialect {
        // Which keys it should have then nobody knows.
        None => None,
        Some(Dialect::Fwknop) => {
            home.check_closed(findings);
            fwknop::read(c, at, &name, longest, findings)
        }
        Some(Dialect::Openme) => {
            know_openme(c, findings);
            public_key(c, at, &name, keys::client_public, findings).map(|(key, at)| (Key::Openme(key), at))
        }
        Some(Dialect::Native) => {
            c.know(&[&CLIENT[..], &NATIVE].concat(), Unknown::Refused, findings);
            native.answers = c.flag("answers", findings).unwrap_or(false);
            let binds = [("auto", false), ("must", true)];
            native.must_bind = c.word("bind", &binds, findings).unwrap_or(false);
            code = one_time(home, c, findings);
            // What cannot be read is an error, and never a client without a second factor.
            native.second_factor = c.pair("totp").is_some();
            match key_file(home, c, findings) {
                Some(read) => {
                    let (path, key, at) = read?;
                    key_file_of = Some(path);
                    Some((key, at))
                }
                None => public_key(c, at, &name, keys::native_public, findings)
                    .map(|(key, at)| (Key::Native(key), at)),
            }
        }
    };
    let services = c.texts("services", "[\"ssh\", \"8080/tcp\"]", findings);
    let expires = c.date("expires", findings);
    let lasting = c.duration("grant", lower::GRANT.0, longest, findings);
    let any_target = c.flag("any_target", findings).unwrap_or(false);
    let health = c.flag("health", findings).unwrap_or(true);
    let (key, key_at) = key?;
    let key_file = key_file_of;
    Some(Written {
        name,
        at,
        key,
        key_at,
        key_file,
        services,
        expires,
        lasting,
        any_target,
        health,
        native,
        code,
    })
}

/// Where the key of who was invited lies, and the key: it is there once its client has come. `None`: its own file has it;
/// `Some(None)`: it cannot be read, or is no key, which is said.
fn key_file(
    home: Home<'_>,
    c: Fields<'_, '_>,
    findings: &mut Findings,
) -> Option<Option<(PathBuf, Key, Span)>> {
    let pair = c.pair("public_key_file")?;
    let at = pair.node.span;
    if let Some(both) = c.pair("public_key") {
        let mend = "take public_key out: the file is written when its client comes";
        findings.error(c.source, both.at, "it has both public_key and public_key_file", mend);
        return Some(None);
    }
    let read = |findings: &mut Findings| {
        let path = PathBuf::from(text_of(c.source, &pair.node, "public_key_file", findings)?);
        if !path.is_absolute() {
            let mend = "write it with its folder, from / on, as `portunus invite` does";
            findings.error(c.source, at, "public_key_file is no absolute path", mend);
            return None;
        }
        let text = match home.files.read(&path, Secrecy::Public) {
            Ok(text) => text,
            Err(FileError::Missing) => return Some((path, Key::Invited, at)),
            Err(error) => {
                findings.push(error.at(&path));
                return None;
            }
        };
        match keys::native_public("the key", text.trim_end()) {
            Ok(key) => Some((path, Key::Native(key), at)),
            // It is the daemon's own, and what became of it on the disk keeps nobody else out.
            Err(fault) => {
                let what = format!("{}, so its client is let in as nobody", fault.what);
                let mend = "revoke the client, and invite it anew with `portunus invite`";
                findings.warnings.push(Diagnostic::of_file(&path, what, mend));
                None
            }
        }
    };
    Some(read(findings))
}

/// The secret of its one-time codes: then others may not read the file.
fn one_time(home: Home<'_>, c: Fields<'_, '_>, findings: &mut Findings) -> Option<Secret<{ totp::SECRET }>> {
    let pair = c.pair("totp")?;
    home.check_closed(findings);
    let text = text_of(c.source, &pair.node, "totp", findings)?;
    let refused = |_| {
        let mend = "make it anew with `portunus add NAME --totp`: it is 32 letters A-Z and digits 2-7";
        ValueError::new("totp is no secret of one-time codes", mend)
    };
    totp::from_base32(text)
        .map_err(refused)
        .map_err(|fault| findings.fault(c.source, pair.node.span, fault))
        .ok()
}

/// What a client of openme's may have: a word of the native dialect gets a mend of its own.
fn know_openme(c: Fields<'_, '_>, findings: &mut Findings) {
    let mut known = CLIENT.to_vec();
    for key in NATIVE {
        let Some(pair) = c.pair(key) else { continue };
        known.push(key);
        let what = format!("{key} is for a client of the native dialect, and this one is openme's");
        findings.error(c.source, pair.at, what, "take it out, or add the client anew with `portunus add`");
    }
    c.know(&known, Unknown::Refused, findings);
}

fn public_key(
    c: Fields<'_, '_>,
    at: Span,
    name: &ClientName,
    read: fn(&str, &str) -> Result<[u8; 32], ValueError>,
    findings: &mut Findings,
) -> Option<([u8; 32], Span)> {
    let Some(pair) = c.pair("public_key") else {
        let mend = "add it with `portunus add`, or take the client out";
        findings.error(c.source, at, format!("client {name:?} has no public_key"), mend);
        return None;
    };
    let node: &Node<'_> = &pair.node;
    let text = text_of(c.source, node, "public_key", findings)?;
    read("public_key", text)
        .map_err(|fault| findings.fault(c.source, node.span, fault))
        .ok()
        .map(|bytes| (bytes, node.span))
}
