//! What the front and the resolver process say to each other: a name, and the address that it has.

use std::net::IpAddr;

use crate::order::{OrderError, Rest, put_address};

/// The longest message, in bytes.
pub const LONGEST: usize = 300;

/// The longest name of a host (RFC 1035).
const LONGEST_NAME: usize = 255;

/// A question as a message; `None` for what is no name of a host.
#[must_use]
pub fn write(ticket: u64, name: &str) -> Option<Vec<u8>> {
    if !is_name(name) {
        return None;
    }
    let mut out = ticket.to_le_bytes().to_vec();
    out.extend_from_slice(name.as_bytes());
    Some(out)
}

/// Reads a question.
///
/// # Errors
/// [`OrderError`] says what the first wrong thing is.
pub fn read(message: &[u8]) -> Result<(u64, &str), OrderError> {
    let (ticket, name) = message.split_first_chunk().ok_or(OrderError::Length)?;
    let name = std::str::from_utf8(name).map_err(|_| OrderError::Name)?;
    if is_name(name) { Ok((u64::from_le_bytes(*ticket), name)) } else { Err(OrderError::Name) }
}

/// An answer as a message.
#[must_use]
pub fn write_answer(ticket: u64, address: Option<IpAddr>) -> Vec<u8> {
    let mut out = ticket.to_le_bytes().to_vec();
    put_address(&mut out, address);
    out
}

/// Reads an answer.
///
/// # Errors
/// [`OrderError`] says what the first wrong thing is.
pub fn read_answer(message: &[u8]) -> Result<(u64, Option<IpAddr>), OrderError> {
    let mut rest = Rest(message);
    let ticket = u64::from_le_bytes(rest.bytes()?);
    let address = rest.address()?;
    rest.end()?;
    Ok((ticket, address))
}

fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_and_answered_comes_back_and_nothing_else_does() {
        let asked = write(7, "inner.example").unwrap();
        assert_eq!(read(&asked), Ok((7, "inner.example")));
        for address in [None, Some("10.0.0.9".parse().unwrap()), Some("2001:db8::9".parse().unwrap())] {
            assert_eq!(read_answer(&write_answer(8, address)), Ok((8, address)));
        }
        assert_eq!((write(1, ""), write(1, "a b"), write(1, &"a".repeat(256))), (None, None, None));
        assert_eq!(read(&[0; 8]), Err(OrderError::Name));
        assert_eq!(read(&[0; 7]), Err(OrderError::Length));
        assert_eq!(read_answer(&[0; 10]), Err(OrderError::Length));
    }
}
