//! fwknop's files are bytes: a remark in Latin-1, a passphrase in any encoding. Here they become text, and the same bytes
//! again: a byte that is no UTF-8 stands as a character of its own, U+F0000 and the byte (private use, plane 15).

use zeroize::Zeroizing;

const FIRST: u32 = 0xF_0000;

/// The bytes as text. What is UTF-8 is itself.
#[must_use]
pub fn to_text(bytes: &[u8]) -> Zeroizing<String> {
    // Not longer than that, so that no piece of a secret is left behind by growing.
    let mut text = Zeroizing::new(String::with_capacity(bytes.len().saturating_mul(4)));
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            if stands_for(letter).is_some() {
                // One that is there by itself is told byte by byte, so that the way back is exact.
                letter.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| text.extend(standing_for(byte)));
            } else {
                text.push(letter);
            }
        }
        chunk.invalid().iter().for_each(|byte| text.extend(standing_for(*byte)));
    }
    text
}

/// The bytes that [`to_text`] made this text of.
#[must_use]
pub fn to_bytes(text: &str) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    for letter in text.chars() {
        match stands_for(letter) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes
}

fn standing_for(byte: u8) -> Option<char> {
    char::from_u32(FIRST + u32::from(byte))
}

fn stands_for(letter: char) -> Option<u8> {
    u8::try_from(u32::from(letter).checked_sub(FIRST)?).ok().filter(|byte| *byte >= 0x80)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_remark_in_latin_1_is_text_and_the_same_bytes_again() {
        let bytes = b"# Schl\xfcssel\nKEY p\xe4ss \xf3\xb0\x82\x80\n";
        let text = to_text(bytes);
        assert!(text.starts_with("# Schl\u{F00FC}ssel\nKEY p\u{F00E4}ss "));
        assert_eq!(to_bytes(&text).as_slice(), bytes);
        assert_eq!(*to_text("Schlüssel".as_bytes()), "Schlüssel");
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let again = to_bytes(&to_text(&bytes));
            prop_assert_eq!(again.as_slice(), &bytes[..]);
        }
    }
}
