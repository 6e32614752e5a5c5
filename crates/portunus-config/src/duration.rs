//! Durations in Go's syntax, which openme's files use and ours too: `30s`, `1m30s`, `2h`.

use std::time::Duration;

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a duration: write it like 30s, 1m30s or 2h")]
pub struct DurationError(String);

/// Reads a duration.
///
/// # Errors
/// [`DurationError`] says what is wrong.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    Err(DurationError(text.to_owned()))
}

/// Writes a duration as short as [`parse_duration`] reads it.
#[must_use]
pub fn render_duration(span: Duration) -> String {
    format!("{}s", span.as_secs())
}
