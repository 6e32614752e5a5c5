//! `audit` and `audit verify`: what the server has written down of itself, and whether it is still what was written.

use portunus_model::Unix;
use portunus_store::audit::{self, AuditError, Shown};
use serde_json::{Value, json};

use super::NAME;
use super::args::{Audit, AuditCommand, Since, Verify};
use crate::places::Places;
use crate::say::{Done, Failure, line, remark};

/// `portunus audit`.
pub(super) fn run(places: &Places, wish: &Audit) -> Done {
    match &wish.command {
        Some(AuditCommand::Verify(verify)) => check(places, verify),
        None => show(places, wish),
    }
}

impl From<AuditError> for Failure {
    fn from(error: AuditError) -> Self {
        let mend = match &error {
            AuditError::Nothing(_) => "a server writes it: is --state-dir the right one?",
            AuditError::Other { .. } => "run this as root",
            AuditError::Broken { .. } => "",
        };
        Self::new(error, "", mend)
    }
}

fn show(places: &Places, wish: &Audit) -> Done {
    let since = wish.since.map(|since| match since {
        Since::Date(at) => at,
        Since::Ago(span) => portunus_sys::clock::wall().before(span),
    });
    audit::each(&places.state_dir, |shown| {
        if since.is_none_or(|since| is_since(&shown, since)) {
            line(if wish.json { clean(&shown.line) } else { in_words(&shown) });
        }
        true
    })?;
    Ok(())
}

/// A line that says no time is shown in any case: it is not what was written.
fn is_since(shown: &Shown, since: Unix) -> bool {
    let at = shown.value.get("at").and_then(Value::as_str);
    let at = at.and_then(|at| portunus_config::parse_date(at).ok());
    at.is_none_or(|at| at >= since)
}

/// Somebody may have written into the file what a terminal would obey.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn in_words(shown: &Shown) -> String {
    let Value::Object(fields) = &shown.value else { return clean(&shown.line) };
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or("-");
    let mut words = format!("{} {:<8} {}", text("at"), text("by"), text("what"));
    let shown_already = ["seq", "at", "by", "what", "chain", "from"];
    for (name, value) in fields.iter().filter(|(name, _)| !shown_already.contains(&name.as_str())) {
        let value = match value {
            Value::String(text) if is_word(text) => text.clone(),
            other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => other.to_string(),
            other @ (Value::Array(_) | Value::Object(_)) => other.to_string(),
        };
        words.push_str(&format!(" {name}={value}"));
    }
    clean(&words)
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic() && c != '"' && c != '=')
}

fn check(places: &Places, wish: &Verify) -> Done {
    let checked = match audit::verify(&places.state_dir, wish.head) {
        Ok(checked) => checked,
        Err(error @ AuditError::Broken { .. }) if wish.json => {
            line(json!({ "whole": false, "found": error.to_string() }));
            return Err(error.into());
        }
        Err(error) => return Err(error.into()),
    };
    let (first, last) = (checked.first, checked.head.seq);
    if checked.torn > 0 {
        remark(
            NAME,
            format_args!(
                "the last line is not whole ({} bytes): being written, or the server was killed; its next start mends that",
                checked.torn
            ),
        );
    }
    if wish.json {
        let head = checked.head.to_string();
        line(json!({ "whole": true, "first": first, "last": last, "files": checked.files, "head": head }));
        return Ok(());
    }
    let s = if checked.files == 1 { "" } else { "s" };
    let lines = audit::lines(first, last);
    line(format_args!("{lines} in {} file{s}: whole, and nothing is missing", checked.files));
    line(format_args!("head {}", checked.head));
    Ok(())
}
