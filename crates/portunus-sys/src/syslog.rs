//! The system's log, through the C library: it knows where the socket is, and finds it again after a restart of it.

use std::ffi::CString;

/// A priority's number (syslog(3)).
pub const ERROR: u8 = 3;

/// From now on lines of this process go to the system's log under this name. `facility` is a word such as `LOG_DAEMON`;
/// one that is none is that.
pub fn open(identity: &str, facility: &str) {
    let name = CString::new(identity).unwrap_or_default();
    // The library keeps the pointer for as long as the process lives, so the name is never freed.
    let name = Box::leak(name.into_boxed_c_str());
    // SAFETY: the pointer is to a string that ends with a zero and lives for ever.
    unsafe { libc::openlog(name.as_ptr(), libc::LOG_PID, number(facility)) };
}

/// Writes one line.
pub fn write(priority: u8, line: &str) {
    // A zero inside would end the line there.
    let Ok(line) = CString::new(line.replace('\0', "?")) else { return };
    // SAFETY: the format takes exactly one string, and both end with a zero and outlive the call.
    unsafe { libc::syslog(i32::from(priority.min(7)), c"%s".as_ptr(), line.as_ptr()) };
}

fn number(facility: &str) -> i32 {
    let local = |text: &str| text.strip_prefix("LOG_LOCAL")?.parse::<i32>().ok();
    match local(facility) {
        // LOG_LOCAL0 is 16 << 3, and the others follow it.
        Some(n) if (0..=7).contains(&n) => libc::LOG_LOCAL0 + (n << 3),
        Some(_) | None => libc::LOG_DAEMON,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facilities_have_their_numbers() {
        assert_eq!(number("LOG_DAEMON"), libc::LOG_DAEMON);
        assert_eq!((number("LOG_LOCAL0"), number("LOG_LOCAL7")), (libc::LOG_LOCAL0, libc::LOG_LOCAL7));
        assert_eq!(number("LOG_LOCAL8"), libc::LOG_DAEMON);
    }
}
