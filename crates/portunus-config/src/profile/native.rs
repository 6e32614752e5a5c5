//! `~/.config/portunus/profiles/NAME.toml`: one profile a file.

use std::path::Path;

use zeroize::Zeroizing;

use super::{Profile, Show};
use crate::Diagnostic;

/// Reads one profile.
///
/// # Errors
/// Every mistake that was found.
pub fn parse(text: &str, file: &Path) -> Result<Profile, Vec<Diagnostic>> {
    let _ = (text, file);
    Err(Vec::new())
}

/// Writes one profile.
#[must_use]
pub fn render(profile: &Profile, show: Show) -> Zeroizing<String> {
    let _ = (profile, show);
    Zeroizing::new(String::new())
}
