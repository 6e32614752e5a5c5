//! Texts as YAML, TOML and JSON can all read them.

/// In double quotes, with the escapes that the three languages share.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // Control characters, and those that YAML counts among the line breaks or refuses.
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Bare where YAML cannot mistake it for anything else, else quoted.
pub(crate) fn yaml_word(text: &str) -> String {
    // YAML 1.1's words for nothing, true and false, which Go's reader still knows.
    const TAKEN: [&str; 13] =
        ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf", "nil", "none"];
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let plain =
        text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'@' | b'+'));
    let taken = TAKEN.iter().any(|word| word.eq_ignore_ascii_case(text));
    if begins && plain && !taken { text.to_owned() } else { quoted(text) }
}

/// Bare where TOML allows it for a key, else quoted.
pub(crate) fn toml_key(text: &str) -> String {
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    if plain && !text.is_empty() { text.to_owned() } else { quoted(text) }
}

/// A TOML list of texts.
pub(crate) fn toml_list<S: AsRef<str>>(items: &[S]) -> String {
    let items: Vec<_> = items.iter().map(|item| quoted(item.as_ref())).collect();
    format!("[{}]", items.join(", "))
}
