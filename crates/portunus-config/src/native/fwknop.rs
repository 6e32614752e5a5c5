//! A client that knocks as fwknop's do: `dialect = "fwknop"`, and the keys that it shares with us.

use std::time::Duration;

use portunus_crypto::text;
use portunus_dialect::fwknop::{HashType, Mode, RawKeys};
use portunus_model::{ClientName, Net};
use zeroize::Zeroizing;

use crate::ValueError;
use crate::lower::{self, Fwknop, Key};
use crate::reader::{Fields, Unknown};
use crate::source::Findings;
use crate::tree::Span;

const CLIENT: [&str; 17] = [
    "dialect",
    "key",
    "key_base64",
    "hmac_key",
    "hmac_key_base64",
    "hmac_type",
    "mode",
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
    match RawKeys::new(&key, mode, hmac.as_ref().map(|(hmac, _)| (hash, hmac.as_slice()))) {
        Ok(keys) => {
            let fwknop = Fwknop { keys, any_port, sources, require_source, username, longest };
            Some((Key::Fwknop(Box::new(fwknop)), key_at))
        }
        Err(error) => {
            let error = error.to_string();
            let (what, mend) = error.split_once(": ").unwrap_or((&error, "make new keys"));
            findings.error(c.source, key_at, what, mend);
            None
        }
    }
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
