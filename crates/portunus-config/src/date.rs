//! Dates as people and files write them: RFC 3339, always with a zone.

use jiff::Timestamp;
use portunus_model::Unix;

use crate::ValueError;

/// Reads an RFC 3339 date, such as `2027-01-31T00:00:00Z`.
///
/// # Errors
/// [`ValueError`] says what is wrong and the mend.
pub fn parse_date(text: &str) -> Result<Unix, ValueError> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(Unix::from_nanos(at.as_nanosecond()));
    }
    if text.parse::<jiff::civil::Date>().is_ok() && !text.contains([':', 'T', 't']) {
        return Err(ValueError::new(
            format!("{text:?} has no time of day"),
            format!("write {text}T00:00:00Z"),
        ));
    }
    if text.parse::<jiff::civil::DateTime>().is_ok() {
        return Err(ValueError::new(
            format!("{text:?} has no time zone"),
            "end it with Z for UTC, or with an offset such as +01:00",
        ));
    }
    Err(ValueError::new(format!("{text:?} is not a date"), "write it like 2027-01-31T00:00:00Z"))
}

/// Writes a date as RFC 3339 in UTC, to the second, as in `2027-01-31T00:00:00Z`. What lies outside jiff's years
/// (-9999 to 9999) stops at their ends.
#[must_use]
pub fn render_date(at: Unix) -> String {
    let ends = Timestamp::MIN.as_second()..=Timestamp::MAX.as_second();
    let seconds = at.as_secs().clamp(*ends.start(), *ends.end());
    Timestamp::from_second(seconds).map_or_else(|_| String::new(), |t| t.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_offsets() {
        let at = parse_date("2026-12-31T23:59:59Z").unwrap();
        assert_eq!(at.as_secs(), 1_798_761_599);
        assert_eq!(render_date(at), "2026-12-31T23:59:59Z");
        assert_eq!(parse_date("2027-01-01T00:59:59+01:00"), Ok(at));
        assert_eq!(render_date(Unix::from_nanos(i128::MAX)), "9999-12-30T22:00:00Z");
    }

    #[test]
    fn says_what_is_wrong() {
        let said = |text: &str| parse_date(text).unwrap_err().to_string();
        assert_eq!(said("2027-01-31"), r#""2027-01-31" has no time of day: write 2027-01-31T00:00:00Z"#);
        assert_eq!(
            said("2027-01-31T10:00:00"),
            r#""2027-01-31T10:00:00" has no time zone: end it with Z for UTC, or with an offset such as +01:00"#
        );
        assert_eq!(
            said("2027-02-30T00:00:00Z"),
            r#""2027-02-30T00:00:00Z" is not a date: write it like 2027-01-31T00:00:00Z"#
        );
        assert_eq!(said("tomorrow"), r#""tomorrow" is not a date: write it like 2027-01-31T00:00:00Z"#);
        assert_eq!(said(""), r#""" is not a date: write it like 2027-01-31T00:00:00Z"#);
    }
}
