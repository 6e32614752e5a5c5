//! `~/.openme/config.yaml`: many profiles in one file.

use std::path::Path;

use zeroize::Zeroizing;

use super::{Profile, Show};
use crate::{Diagnostic, EditError};

/// Reads all profiles, in the file's order.
///
/// # Errors
/// Every mistake that was found.
pub fn parse(text: &str, file: &Path) -> Result<Vec<Profile>, Vec<Diagnostic>> {
    let _ = (text, file);
    Err(Vec::new())
}

/// Writes a whole file of `profiles`: what `add` prints.
#[must_use]
pub fn render(profiles: &[&Profile], show: Show) -> Zeroizing<String> {
    let _ = (profiles, show);
    Zeroizing::new(String::new())
}

/// `text` (may be empty) with one profile more. Only the `profiles` mapping changes.
///
/// # Errors
/// [`EditError`]; nothing is to be changed then.
pub fn add(text: &str, file: &Path, profile: &Profile) -> Result<Zeroizing<String>, EditError> {
    let _ = (text, file, profile);
    Err(EditError::Broken(Vec::new()))
}

/// `text` with one profile less. Only the `profiles` mapping changes.
///
/// # Errors
/// [`EditError`]; nothing is to be changed then.
pub fn remove(text: &str, file: &Path, name: &str) -> Result<Zeroizing<String>, EditError> {
    let _ = (text, file, name);
    Err(EditError::Broken(Vec::new()))
}
