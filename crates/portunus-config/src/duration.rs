//! Durations in Go's syntax, which openme's files use and ours too: `30s`, `1m30s`, `2h`.

use std::time::Duration;

use crate::ValueError;

/// Units and their nanoseconds, longest first. Go writes the micro sign in two ways.
const UNITS: [(&str, u64); 8] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ns", 1),
];

/// Reads a duration.
///
/// # Errors
/// [`ValueError`] says what is wrong and the mend.
pub fn parse_duration(text: &str) -> Result<Duration, ValueError> {
    let unreadable =
        || ValueError::new(format!("{text:?} is not a duration"), "write it like 30s, 1m30s or 2h");
    if text.starts_with('-') {
        return Err(ValueError::new(
            format!("{text:?} is a negative duration"),
            "write it like 30s, 1m30s or 2h",
        ));
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(unreadable());
    }
    let mut nanos = 0_u128;
    while !rest.is_empty() {
        let (number, unit, after) = split(rest).ok_or_else(unreadable)?;
        if unit.is_empty() {
            return Err(ValueError::new(
                format!("{text:?} has no unit"),
                format!("write {number}s for seconds, {number}m for minutes or {number}h for hours"),
            ));
        }
        let Some(&(_, size)) = UNITS.iter().find(|(word, _)| *word == unit) else {
            return Err(ValueError::new(
                format!("{text:?} has the unknown unit {unit:?}"),
                "use h, m, s or ms, as in 24h or 1m30s",
            ));
        };
        nanos = scaled(number, size).and_then(|n| nanos.checked_add(n)).ok_or_else(unreadable)?;
        rest = after;
    }
    u64::try_from(nanos).map(Duration::from_nanos).map_err(|_| unreadable())
}

/// Number, unit and what follows; `None` when there is no digit.
fn split(text: &str) -> Option<(&str, &str, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, rest) = text.split_at_checked(digits)?;
    if !number.bytes().any(|b| b.is_ascii_digit()) {
        return None;
    }
    let letters = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
    let (unit, after) = rest.split_at_checked(letters)?;
    Some((number, unit, after))
}

/// `number` (a decimal) times `size`, the fraction rounded down as Go does.
fn scaled(number: &str, size: u64) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') {
        return None;
    }
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut nanos = whole.checked_mul(u128::from(size))?;
    let mut unit = u128::from(size);
    for digit in fraction.bytes() {
        unit /= 10;
        nanos = nanos.checked_add(u128::from(digit.checked_sub(b'0')?) * unit)?;
    }
    Some(nanos)
}

/// Writes a duration as short as [`parse_duration`] reads it: `1m30s`, `2h`, `500ms`.
#[must_use]
pub fn render_duration(span: Duration) -> String {
    let mut left = span.as_nanos();
    let mut out = String::new();
    for (word, size) in UNITS.iter().filter(|(word, _)| word.is_ascii()) {
        let count = left / u128::from(*size);
        if count > 0 {
            out.push_str(&count.to_string());
            out.push_str(word);
            left %= u128::from(*size);
        }
    }
    if out.is_empty() { "0s".to_owned() } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_go_reads() {
        let millis = |text: &str| parse_duration(text).map(|d| d.as_millis());
        assert_eq!(millis("30s"), Ok(30_000));
        assert_eq!(millis("1m30s"), Ok(90_000));
        assert_eq!(millis("2h"), Ok(7_200_000));
        assert_eq!(millis("2h0m0s"), Ok(7_200_000));
        assert_eq!(millis("1.5s"), Ok(1_500));
        assert_eq!(millis(".5s"), Ok(500));
        assert_eq!(millis("1.s"), Ok(1_000));
        assert_eq!(millis("+100ms"), Ok(100));
        assert_eq!(millis("0"), Ok(0));
        assert_eq!(parse_duration("1\u{b5}s2us3ns"), Ok(Duration::from_nanos(3_003)));
    }

    #[test]
    fn says_what_is_wrong() {
        let said = |text: &str| parse_duration(text).unwrap_err().to_string();
        assert_eq!(said(""), r#""" is not a duration: write it like 30s, 1m30s or 2h"#);
        assert_eq!(said("soon"), r#""soon" is not a duration: write it like 30s, 1m30s or 2h"#);
        assert_eq!(said("1.2.3s"), r#""1.2.3s" is not a duration: write it like 30s, 1m30s or 2h"#);
        assert_eq!(said("-5s"), r#""-5s" is a negative duration: write it like 30s, 1m30s or 2h"#);
        assert_eq!(
            said("30"),
            r#""30" has no unit: write 30s for seconds, 30m for minutes or 30h for hours"#
        );
        assert_eq!(said("1d"), r#""1d" has the unknown unit "d": use h, m, s or ms, as in 24h or 1m30s"#);
        assert_eq!(
            said("99999999999h"),
            r#""99999999999h" is not a duration: write it like 30s, 1m30s or 2h"#
        );
    }

    proptest! {
        #[test]
        fn reads_what_it_writes(nanos in any::<u64>()) {
            let span = Duration::from_nanos(nanos);
            prop_assert_eq!(parse_duration(&render_duration(span)), Ok(span));
        }

        #[test]
        fn no_text_breaks_it(text in "\\PC{0,40}") {
            let _ = parse_duration(&text);
        }
    }
}
