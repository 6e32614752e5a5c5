//! SHA-256 (FIPS 180-4), for names of things: claims and fingerprints.

use aws_lc_rs::digest::{Context, SHA256};

/// SHA-256 of the parts, one after the other. The parts must have fixed lengths, or two lists could mean one text.
#[must_use]
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    let mut out = [0; 32];
    for (to, from) in out.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-4's example "abc".
    #[test]
    fn is_the_standards() {
        let abc = sha256(&[b"a", b"bc"]);
        assert_eq!(abc[..8], [0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea]);
    }
}
