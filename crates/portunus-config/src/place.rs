//! The place in the firewall as files and `--place` write it: `own`, `iptables`, `attach:FAMILY/TABLE/CHAIN`.

use portunus_model::Place;

/// Reads a place. Several words are several seats; `own` and `iptables` stand alone.
///
/// # Errors
/// What is wrong and the mend, in one sentence.
pub fn parse_place<S: AsRef<str>>(words: &[S]) -> Result<Place, String> {
    let _ = words;
    Err(String::new())
}

/// The words that [`parse_place`] reads.
#[must_use]
pub fn render_place(place: &Place) -> Vec<String> {
    let _ = place;
    Vec::new()
}
