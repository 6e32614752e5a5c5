//! The clocks of this machine. Called by the daemon's shell (once an event) and by the command line.

use std::time::Duration;

use portunus_model::{Mono, Now, Unix};
use rustix::time::{ClockId, clock_gettime};

/// `CLOCK_BOOTTIME` and `CLOCK_REALTIME`, read together.
#[must_use]
pub fn now() -> Now {
    Now { mono: mono(), wall: wall() }
}

/// `CLOCK_BOOTTIME`.
#[must_use]
pub fn mono() -> Mono {
    let time = clock_gettime(ClockId::Boottime);
    Mono::from_nanos(positive(time.tv_sec) * 1_000_000_000 + positive(time.tv_nsec))
}

/// `CLOCK_REALTIME`.
#[must_use]
pub fn wall() -> Unix {
    let time = clock_gettime(ClockId::Realtime);
    Unix::from_nanos(i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec))
}

/// `CLOCK_MONOTONIC`: what the kernel's own timers run by. It stands still in suspend, where [`mono`] goes on.
#[must_use]
pub fn kernel_timers() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    Duration::new(positive(time.tv_sec), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// This boot's identity: deadlines by [`mono`] mean nothing in another one. `None` where the kernel does not say.
#[must_use]
pub fn boot_id() -> Option<[u8; 16]> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let hex: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    u128::from_str_radix(&hex, 16).ok().map(u128::to_be_bytes)
}

/// Whether the kernel says that a time service keeps this clock right; `None` where it does not say.
#[must_use]
pub fn synchronized() -> Option<bool> {
    // SAFETY: `timex` is a plain struct of integers, for which all zeros is a value; with `modes` 0 nothing is set.
    let state = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        libc::adjtimex(&raw mut timex)
    };
    // adjtimex(2): TIME_ERROR is "not synchronized", a negative answer is an error.
    (state >= 0).then_some(state != libc::TIME_ERROR)
}

/// An instant as people and JSON write it: `2026-11-21T01:39:05.123Z` (RFC 3339, always UTC, milliseconds).
#[must_use]
pub fn rfc3339(at: Unix) -> String {
    let millis = at.as_nanos().div_euclid(1_000_000).rem_euclid(1000);
    // Years 1 to 9999 is all that RFC 3339 can write.
    let secs = at.as_secs().clamp(-62_135_596_800, 253_402_300_799);
    let (day, second) = (secs.div_euclid(86_400), secs.rem_euclid(86_400));
    let (year, month, day) = civil(day);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// The date of a day counted from 1970-01-01, by eras of 400 years that begin in March, so that the leap day is last.
fn civil(day: i64) -> (i64, i64, i64) {
    let day = day + 719_468;
    let era = day.div_euclid(146_097);
    let in_era = day.rem_euclid(146_097);
    let year = (in_era - in_era / 1460 + in_era / 36_524 - in_era / 146_096) / 365;
    let in_year = in_era - (365 * year + year / 4 - year / 100);
    let month = (5 * in_year + 2) / 153;
    let day = in_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

fn positive(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// When a day begins here, in seconds since 1970: local time, with its changes in summer.
#[must_use]
pub fn local_midnight(year: i32, month: i32, day: i32) -> Option<i64> {
    // SAFETY: a `tm` of zeros is a valid value of that C structure of numbers and one pointer, which may be null.
    let mut tm: libc::tm = unsafe { std::mem::zeroed() };
    (tm.tm_year, tm.tm_mon, tm.tm_mday) = (year.checked_sub(1900)?, month.checked_sub(1)?, day);
    // Let the library find out whether it is summer then.
    tm.tm_isdst = -1;
    // SAFETY: the pointer is to a valid value of ours.
    let seconds = unsafe { libc::mktime(&raw mut tm) };
    (seconds != -1).then_some(seconds)
}

/// An instant in local time, as C's `asctime` writes it: `Tue Dec 31 00:00:00 2030`.
#[must_use]
pub fn local_date(seconds: i64) -> Option<String> {
    const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    // SAFETY: a `tm` of zeros is a valid value of that C structure.
    let mut tm: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to valid values of ours.
    let found = unsafe { libc::localtime_r(&raw const seconds, &raw mut tm) };
    if found.is_null() {
        return None;
    }
    let word = |words: &[&'static str], number: i32| words.get(usize::try_from(number).ok()?).copied();
    Some(format!(
        "{} {} {:2} {:02}:{:02}:{:02} {}",
        word(&DAYS, tm.tm_wday)?,
        word(&MONTHS, tm.tm_mon)?,
        tm.tm_mday,
        tm.tm_hour,
        tm.tm_min,
        tm.tm_sec,
        tm.tm_year.checked_add(1900)?
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_written_as_rfc_3339_says() {
        let at = |secs, nanos| rfc3339(Unix::from_nanos(i128::from(secs) * 1_000_000_000 + nanos));
        assert_eq!(at(0, 0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(951_827_696, 789_000_000), "2000-02-29T12:34:56.789Z");
        assert_eq!(at(1_795_225_145, 1), "2026-11-21T01:39:05.000Z");
        assert_eq!(at(-1, 0), "1969-12-31T23:59:59.000Z");
        assert_eq!(at(i64::MAX, 0), "9999-12-31T23:59:59.000Z");
    }

    #[test]
    fn clocks_go_on_and_the_boot_has_a_name() {
        let first = now();
        let second = now();
        assert!(second.mono >= first.mono);
        assert!(first.wall.as_secs() > 1_700_000_000);
        assert_eq!(boot_id(), boot_id());
        assert!(boot_id().is_some());
    }
}
