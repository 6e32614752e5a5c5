//! One line: `{"seq":7,"at":"…","by":"grantor","what":"opened",…,"chain":"…"}`. The chain is the SHA-256 of the hash before
//! it (32 bytes) and of the line up to `,"chain"`; the first of all has 32 zero bytes before it.

use portunus_crypto::digest::sha256;
use portunus_model::Unix;
use portunus_sys::clock::rfc3339;
use serde_json::{Map, Value};

use super::{By, Chain, Fact};

/// What stands between the body and the hash.
const KNOT: &[u8] = br#","chain":""#;
const END: &[u8] = b"\"}";
/// Both, and the hash in hex.
const TAIL: usize = KNOT.len() + 64 + END.len();
/// The longest text in a field; what is longer is cut.
const LONGEST_TEXT: usize = 1024;
/// The longest line that is read.
pub(super) const LONGEST: usize = 64 << 10;

/// A line with its end, and the chain after it.
pub(super) fn write(before: &Chain, seq: u64, at: Unix, by: By, fact: &Fact) -> (Vec<u8>, Chain) {
    let mut line = body(seq, at, by, fact).into_bytes();
    let chain = sha256(&[before, &line]);
    line.extend_from_slice(KNOT);
    line.extend_from_slice(hex(&chain).as_bytes());
    line.extend_from_slice(END);
    line.push(b'\n');
    (line, chain)
}

fn body(seq: u64, at: Unix, by: By, fact: &Fact) -> String {
    let mut body = format!(r#"{{"seq":{seq},"at":"{}","by":"{}""#, rfc3339(at), by.as_str());
    let (what, fields) = flat(fact);
    body.push_str(&format!(r#","what":"{what}""#));
    for (name, value) in fields {
        let value = match value {
            Value::Null => continue,
            Value::String(text) => Value::String(clip(text)),
            other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => other,
        };
        body.push_str(&format!(r#","{name}":{value}"#));
    }
    body
}

/// A fact's name and its fields.
fn flat(fact: &Fact) -> (String, Map<String, Value>) {
    // Our own type has text keys and plain values only, so this cannot fail.
    match serde_json::to_value(fact) {
        Ok(Value::Object(map)) => match map.into_iter().next() {
            Some((what, Value::Object(fields))) => (what, fields),
            Some((what, _)) => (what, Map::new()),
            None => ("nothing".to_owned(), Map::new()),
        },
        Ok(_) | Err(_) => ("nothing".to_owned(), Map::new()),
    }
}

fn clip(mut text: String) -> String {
    if text.len() > LONGEST_TEXT {
        let end = text.floor_char_boundary(LONGEST_TEXT);
        text.truncate(end);
        text.push('…');
    }
    text
}

/// What a line says, checked as far as it can be alone.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Read {
    pub(super) seq: u64,
    pub(super) chain: Chain,
    /// Where the chain goes on from, when this line begins a file.
    pub(super) from: Option<Chain>,
    pub(super) value: Value,
}

/// Reads a line (without its end) that follows `before`; `None`: it begins a file, and says itself what it follows.
///
/// # Errors
/// What is wrong with it, in words.
pub(super) fn read(line: &[u8], before: Option<&Chain>) -> Result<Read, String> {
    let value: Value = serde_json::from_slice(line).map_err(|_| "it is no JSON".to_owned())?;
    let field = |name: &str| value.get(name).and_then(Value::as_str);
    let seq = value.get("seq").and_then(Value::as_u64).ok_or("it has no number (seq)")?;
    let chain = field("chain").and_then(unhex).ok_or("it has no hash (chain)")?;
    let begins = field("what") == Some("continued");
    let from = field("from").and_then(unhex).filter(|_| begins);
    let before = match (before, from) {
        (Some(_), Some(_)) => return Err("it begins a file, in the middle of one".to_owned()),
        (Some(before), None) => *before,
        (None, Some(from)) => from,
        (None, None) => return Err("it should begin the file, and does not".to_owned()),
    };
    let body = line.len().checked_sub(TAIL).and_then(|end| line.split_at_checked(end));
    let Some((body, tail)) = body.filter(|(_, tail)| tail.starts_with(KNOT) && tail.ends_with(END)) else {
        return Err("its hash is not at its end".to_owned());
    };
    // The hash that was parsed must be the one at the end, or a line could show one and be checked by another.
    let shown = tail.get(KNOT.len()..KNOT.len() + 64).unwrap_or_default();
    if shown != hex(&chain).as_bytes() || sha256(&[&before, body]) != chain {
        return Err("it does not fit the chain: it was changed, or a line before it was".to_owned());
    }
    Ok(Read { seq, chain, from, value })
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// 32 bytes out of 64 lower-case hex digits.
pub(super) fn unhex(text: &str) -> Option<Chain> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    let bytes: Option<Vec<u8>> =
        pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
    bytes?.try_into().ok()
}
