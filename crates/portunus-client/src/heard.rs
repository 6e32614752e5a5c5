//! What a server says to a knock, and the sentence of it.

use std::fmt;
use std::net::IpAddr;

use portunus_dialect::native::{Answer, Status};
use portunus_model::Unix;

/// What a server says to a knock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// What became of it.
    pub status: Status,
    /// For how long the door is open.
    pub seconds: u32,
    /// From where the server saw it come.
    pub seen: Option<IpAddr>,
    /// So many milliseconds this clock is behind the server's; negative: ahead of it.
    pub behind_ms: i64,
}

impl Heard {
    /// What an answer says that came `now`.
    pub(crate) fn of(answer: &Answer, now: Unix) -> Self {
        let behind = (answer.time.as_nanos() - now.as_nanos()) / 1_000_000;
        Self {
            status: answer.status,
            seconds: answer.seconds,
            seen: answer.seen,
            behind_ms: i64::try_from(behind).unwrap_or(if behind < 0 { i64::MIN } else { i64::MAX }),
        }
    }

    /// Whether the server did what was asked.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        match self.status {
            Status::Granted | Status::Closed | Status::Enrolled => true,
            Status::Stale
            | Status::NotAllowed
            | Status::Expired
            | Status::SecondFactor
            | Status::FirewallFailed
            | Status::Busy
            | Status::Unconfirmed => false,
        }
    }
}

impl fmt::Display for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            Status::Granted => {
                write!(f, "the server opened for {} s", self.seconds)?;
                self.seen.map_or(Ok(()), |seen| write!(f, ", seen from {seen}"))
            }
            Status::Closed => f.write_str("the server closed what was open"),
            Status::Enrolled => f.write_str("the server knows this client from now on"),
            Status::Stale => {
                let way = if self.behind_ms < 0 { "ahead" } else { "behind" };
                let by = Tenths(self.behind_ms.unsigned_abs());
                write!(f, "your clock is {by} s {way}: set it, or ask for a wider window")
            }
            Status::NotAllowed => {
                f.write_str(
                    "the server does not open that for you, or not without its address in the knock (bind = \"must\"): ask \
                     for less, or ask its admin",
                )
            }
            Status::Expired => f.write_str("your time on this server is over: ask its admin for more"),
            Status::SecondFactor => {
                f.write_str(
                    "the one-time code is missing or wrong: knock again with --totp and a fresh one, or write \
                     second_factor = true into the profile",
                )
            }
            Status::FirewallFailed => {
                f.write_str("the server could not open: ask its admin to look at its log and run `portunus doctor`")
            }
            Status::Busy => f.write_str("the server is too busy to open: knock again in a moment"),
            Status::Unconfirmed => f.write_str("the server's admin has not confirmed you yet: ask for it"),
        }
    }
}

/// Milliseconds as seconds: whole ones, or with a tenth where there are few.
struct Tenths(u64);

impl fmt::Display for Tenths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(millis) = self;
        if *millis < 10_000 {
            write!(f, "{}.{}", millis / 1000, millis % 1000 / 100)
        } else {
            write!(f, "{}", (millis + 500) / 1000)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(status: Status, behind_ms: i64) -> String {
        let seen = Some([192, 0, 2, 7].into());
        Heard { status, seconds: 30, seen, behind_ms }.to_string()
    }

    #[test]
    fn a_clock_that_is_off_is_told_by_how_much_and_which_way() {
        let mend = ": set it, or ask for a wider window";
        assert_eq!(said(Status::Stale, 93_400), format!("your clock is 93 s behind{mend}"));
        assert_eq!(said(Status::Stale, -599_600), format!("your clock is 600 s ahead{mend}"));
        assert_eq!(said(Status::Stale, 2_550), format!("your clock is 2.5 s behind{mend}"));
        assert_eq!(said(Status::Stale, i64::MIN), format!("your clock is 9223372036854776 s ahead{mend}"));
    }

    #[test]
    fn what_is_refused_has_its_mend_and_what_is_done_needs_none() {
        assert_eq!(said(Status::Granted, 0), "the server opened for 30 s, seen from 192.0.2.7");
        let all = [
            (Status::Granted, true),
            (Status::Closed, true),
            (Status::Enrolled, true),
            (Status::Stale, false),
            (Status::NotAllowed, false),
            (Status::Expired, false),
            (Status::SecondFactor, false),
            (Status::FirewallFailed, false),
            (Status::Busy, false),
            (Status::Unconfirmed, false),
        ];
        for (status, done) in all {
            let heard = Heard { status, seconds: 1, seen: None, behind_ms: 0 };
            assert_eq!((heard.is_done(), heard.to_string().contains(": ")), (done, !done), "{heard}");
        }
    }
}
