//! The QR payload of openme's apps: one profile as JSON.

use std::path::Path;

use zeroize::Zeroizing;

use super::Profile;
use crate::Diagnostic;

/// Reads a payload.
///
/// # Errors
/// The mistake that was found.
pub fn parse(text: &str, file: &Path) -> Result<Profile, Vec<Diagnostic>> {
    let _ = (text, file);
    Err(Vec::new())
}

/// Writes the payload. It holds the private key.
#[must_use]
pub fn render(profile: &Profile) -> Zeroizing<String> {
    let _ = profile;
    Zeroizing::new(String::new())
}
