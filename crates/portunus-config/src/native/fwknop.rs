//! A client that knocks as fwknop's do: `dialect = "fwknop"`, and the keys that it shares with us.

use std::path::Path;
use std::time::Duration;

use portunus_crypto::text;
use portunus_dialect::fwknop::gpg::{RawGpg, Ring, Signers, is_fingerprint, is_key_id};
use portunus_dialect::fwknop::{HashType, Mode, RawKeys};
use portunus_model::{ClientName, Net};
use zeroize::Zeroizing;

use crate::ValueError;
use crate::lower::{self, Fwknop, FwknopKeys, Key};
use crate::reader::{Fields, Unknown};
use crate::source::Findings;
use crate::tree::Span;

/// The program, where none is named.
const GPG: &str = "/usr/bin/gpg";

const CLIENT: [&str; 25] = [
    "dialect",
    "key",
    "key_base64",
    "hmac_key",
    "hmac_key_base64",
    "hmac_type",
    "mode",
    "gpg_home",
    "gpg_program",
    "gpg_passphrase",
    "gpg_decrypt_key",
    "gpg_signers",
    "gpg_signer_ids",
    "gpg_unsigned",
    "gpg_any_validity",
    "services",
    "any_port",
    "sources",
    "require_source",
    "require_username",
    "expires",
    "grant",
    "longest_grant",
    "any_target",
    "health",
];

/// The part of a client's file that others do not have.
pub(super) fn read(
    c: Fields<'_, '_>,
    at: Span,
    name: &ClientName,
    longest: Duration,
    findings: &mut Findings,
) -> Option<(Key, Span)> {
    c.know(&CLIENT, Unknown::Refused, findings);
    let key = secret(c, "key", "key_base64", findings);
    let hmac = secret(c, "hmac_key", "hmac_key_base64", findings);
    let modes = Mode::ALL.map(|mode| (mode.as_str(), mode));
    let mode = c.word("mode", &modes, findings).unwrap_or_default();
    let hashes = HashType::ALL.map(|hash| (hash.as_str(), hash));
    let hash = c.word("hmac_type", &hashes, findings).unwrap_or_default();
    let sources = nets(c, findings);
    let any_port = c.flag("any_port", findings).unwrap_or(false);
    if let Some(pair) = c.pair("services").filter(|_| any_port) {
        let what = "services and any_port = true contradict each other";
        findings.error(c.source, pair.at, what, "take one of them out");
    }
    let (require_source, username) = (
        c.flag("require_source", findings).unwrap_or(true),
        c.text("require_username", findings).map(|(text, _)| text.to_owned()),
    );
    let longest = c.duration("longest_grant", lower::GRANT.0, longest, findings);
    let keys = match c.pair("gpg_home") {
        Some(_) => gpg(c, at, name, hmac.as_ref().map(|(key, _)| (hash, key.as_slice())), findings)?,
        None => {
            symmetric(c, at, name, key, hmac.as_ref().map(|(key, _)| (hash, key.as_slice())), mode, findings)?
        }
    };
    let (keys, key_at) = keys;
    let fwknop = Fwknop { keys, any_port, sources, require_source, username, longest };
    Some((Key::Fwknop(Box::new(fwknop)), key_at))
}

/// Keys that both ends have.
fn symmetric(
    c: Fields<'_, '_>,
    at: Span,
    name: &ClientName,
    key: Option<(Zeroizing<Vec<u8>>, Span)>,
    hmac: Option<(HashType, &[u8])>,
    mode: Mode,
    findings: &mut Findings,
) -> Option<(FwknopKeys, Span)> {
    if let Some(pair) = CLIENT.iter().filter(|word| word.starts_with("gpg_")).find_map(|word| c.pair(word)) {
        let what = format!("client {name:?} has {}, and no gpg_home", pair.key);
        findings.error(c.source, pair.at, what, "name the folder of the keyring with gpg_home");
        return None;
    }
    let Some((key, key_at)) = key else {
        if !has(c, "key") {
            let mend = "write key_base64 and hmac_key_base64, as `portunus add --dialect fwknop` prints them";
            findings.error(c.source, at, format!("client {name:?} has no key_base64"), mend);
        }
        return None;
    };
    if hmac.is_none() && !has(c, "hmac_key") {
        let mend = "write hmac_key_base64: without it whoever sees a packet can change what it says";
        findings.warn(c.source, at, format!("client {name:?} has no hmac_key_base64"), mend);
    }
    match RawKeys::new(&key, mode, hmac) {
        Ok(keys) => Some((FwknopKeys::Symmetric(keys), key_at)),
        Err(error) => {
            let error = error.to_string();
            let (what, mend) = error.split_once(": ").unwrap_or((&error, "make new keys"));
            findings.error(c.source, key_at, what, mend);
            None
        }
    }
}

/// Keys of GnuPG's: a keyring of this host's, and whose signature a packet needs.
fn gpg(
    c: Fields<'_, '_>,
    at: Span,
    name: &ClientName,
    hmac: Option<(HashType, &[u8])>,
    findings: &mut Findings,
) -> Option<(FwknopKeys, Span)> {
    if let Some(pair) = ["key", "key_base64", "mode"].into_iter().find_map(|word| c.pair(word)) {
        let what = format!("client {name:?} has a keyring of GnuPG's and what only symmetric keys have");
        findings.error(c.source, pair.at, what, "make two clients of it: each packet is of one kind");
        return None;
    }
    let (home, home_at) = c.text("gpg_home", findings)?;
    let program = c.text("gpg_program", findings).map_or(GPG, |(program, _)| program);
    for (path, word) in [(home, "gpg_home"), (program, "gpg_program")] {
        if !Path::new(path).is_absolute() {
            let span = c.pair(word).map_or(at, |pair| pair.at);
            let what = format!("{word} is {path:?}, which is no path from / on");
            findings.error(c.source, span, what, "write the whole path");
            return None;
        }
    }
    let passphrase = c.text("gpg_passphrase", findings);
    let fingerprints = prints(c, "gpg_signers", is_fingerprint, findings);
    let ids = prints(c, "gpg_signer_ids", is_key_id, findings);
    let unsigned = c.flag("gpg_unsigned", findings).unwrap_or(false);
    let any_validity = c.flag("gpg_any_validity", findings).unwrap_or(false);
    let unsigned_at = c.pair("gpg_unsigned").map_or(at, |pair| pair.at);
    if unsigned && !(fingerprints.is_empty() && ids.is_empty()) {
        let what = "gpg_unsigned = true and the keys that must sign contradict each other";
        findings.error(c.source, unsigned_at, what, "take one of them out");
        return None;
    }
    if unsigned {
        let what =
            format!("client {name:?} needs no signature, so whoever has the server's public key gets in");
        findings.warn(c.source, unsigned_at, what, "take gpg_unsigned out, and name gpg_signers");
    }
    if hmac.is_none() && !has(c, "hmac_key") {
        let what = format!("client {name:?} has no hmac_key_base64, so gpg runs for whatever anybody sends");
        let mend = "write hmac_key_base64: a flood keeps clients with GnuPG out whose address is not known yet, and the others waiting";
        findings.warn(c.source, at, what, mend);
    }
    if !unsigned && fingerprints.is_empty() && ids.is_empty() {
        let mend =
            "name the fingerprints of the keys that may sign its packets, as `gpg --list-keys` prints them";
        findings.error(c.source, at, format!("client {name:?} has no gpg_signers"), mend);
        return None;
    }
    let decrypts = c.text("gpg_decrypt_key", findings);
    if let Some((_, span)) = decrypts.filter(|(word, _)| !is_key_id(word)) {
        let what = "gpg_decrypt_key is no fingerprint";
        findings.error(
            c.source,
            span,
            what,
            "write it as `gpg --list-secret-keys` prints it, without blanks",
        );
        return None;
    }
    let ring = Ring::new(Path::new(home), Path::new(program), passphrase.map(|(text, _)| text.as_bytes()));
    let signers = Signers { required: !unsigned, any_validity, ids, fingerprints };
    let decrypts = decrypts.map(|(word, _)| word.to_owned());
    match RawGpg::new(ring, signers, decrypts, hmac) {
        Ok(keys) => Some((FwknopKeys::Gpg(keys), home_at)),
        Err(error) => {
            let error = error.to_string();
            let (what, mend) = error.split_once(": ").unwrap_or((&error, "make a new HMAC key"));
            findings.error(c.source, at, what, mend);
            None
        }
    }
}

fn prints(c: Fields<'_, '_>, word: &str, fits: fn(&str) -> bool, findings: &mut Findings) -> Vec<String> {
    let mut prints = Vec::new();
    for (text, at) in c.texts(word, "[\"00CC95F05BC146B6AC4038C9E36F443C6A3FAD56\"]", findings) {
        if fits(text) {
            prints.push(text.to_owned());
        } else {
            let what = format!("{word} has {text:?}, which is no key's");
            findings.error(c.source, at, what, "write it as `gpg --list-keys` prints it, without blanks");
        }
    }
    prints
}

/// Whether either spelling of a key is there.
fn has(c: Fields<'_, '_>, plain: &str) -> bool {
    c.pair(plain).is_some() || c.pair(&format!("{plain}_base64")).is_some()
}

/// A key as text or in base64, never both.
fn secret(
    c: Fields<'_, '_>,
    plain: &str,
    base64: &str,
    findings: &mut Findings,
) -> Option<(Zeroizing<Vec<u8>>, Span)> {
    if c.pair(plain).is_some()
        && let Some(pair) = c.pair(base64)
    {
        let what = format!("{plain} and {base64} are two keys");
        findings.error(c.source, pair.at, what, "take one of them out");
        return None;
    }
    if let Some((text, at)) = c.text(plain, findings) {
        return Some((Zeroizing::new(text.as_bytes().to_vec()), at));
    }
    let (text, at) = c.text(base64, findings)?;
    let bytes = text::decode_loose(text.trim_end_matches('=').as_bytes()).map(Zeroizing::new);
    if bytes.is_none() {
        let mend = format!("copy the whole key, or write it as {plain} if it is plain text");
        findings.fault(c.source, at, ValueError::new(format!("{base64} is not base64"), mend));
    }
    bytes.map(|bytes| (bytes, at))
}

fn nets(c: Fields<'_, '_>, findings: &mut Findings) -> Vec<Net> {
    let mut nets = Vec::new();
    for (text, at) in c.texts("sources", "[\"192.0.2.0/24\"]", findings) {
        match Net::parse(text) {
            Ok(net) => nets.push(net),
            Err(error) => {
                let error = error.to_string();
                let (what, mend) = error.split_once(": ").unwrap_or((&error, "write an address"));
                findings.error(c.source, at, what, mend);
            }
        }
    }
    nets
}
