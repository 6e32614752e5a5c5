//! Dates as people and files write them: RFC 3339, always with a zone.

use jiff::Timestamp;
use portunus_model::Unix;

/// Reads an RFC 3339 date, such as `2027-01-31T00:00:00Z`.
///
/// # Errors
/// A sentence's end: what is wrong with it.
pub fn parse_date(text: &str) -> Result<Unix, String> {
    text.parse::<Timestamp>().map(|t| Unix::from_nanos(t.as_nanosecond())).map_err(|e| e.to_string())
}

/// Writes a date as RFC 3339 in UTC, to the second, as in `2027-01-31T00:00:00Z`.
#[must_use]
pub fn render_date(at: Unix) -> String {
    Timestamp::from_second(at.as_secs()).map_or_else(|_| String::new(), |t| t.to_string())
}
