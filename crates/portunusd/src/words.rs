//! What the daemon says in the words of the face that started it: our own records, or the lines of the original's that
//! scripts look for (shared/spec: fwknop-cli). Each line stands here once, so that one look shows them all.

use std::fmt;
use std::net::IpAddr;

use portunus_model::{Detail, Dialect, Event, Reason, Refusal};

/// Whose words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Words {
    /// Records of `key=value`.
    #[default]
    Ours,
    /// Lines as fwknopd writes them.
    Fwknopd,
}

impl Words {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Fwknopd => "fwknopd",
        }
    }

    pub(crate) fn parse(word: &str) -> Option<Self> {
        [Self::Ours, Self::Fwknopd].into_iter().find(|words| words.as_str() == word)
    }
}

/// A verdict on a client's packet, or the end of a grant, as fwknopd says it. `stanza` is the client's own.
pub(crate) fn verdict_lines(event: &Event, stanza: Option<u32>, dry: bool) -> Vec<String> {
    let Some(source) = event.source.map(|source| source.ip().to_canonical()) else { return Vec::new() };
    let met = |stanza: u32| met(stanza, source);
    let head = |stanza: u32| Head(Some(source), stanza);
    let stanza = stanza.unwrap_or(0);
    match (event.reason, &event.detail) {
        (Reason::Replayed, _) => vec![format!("Replay detected from source IP: {source}")],
        (_, Some(Detail::Refusals(refusals))) => refusals
            .iter()
            .flat_map(|(number, refusal)| {
                [met(*number), format!("{}{}", head(*number), refusal_words(*refusal, source))]
            })
            .collect(),
        (Reason::Stale, Some(Detail::ClockOffset(ahead))) => vec![
            met(stanza),
            format!(
                "{}SPA data time difference is too great ({} seconds).",
                head(stanza),
                ahead.unsigned_abs() / 1000
            ),
        ],
        // What was opened, and what was begun, is told by who did it; and whose packet it was, before that.
        (Reason::Granted | Reason::Extended, _) if dry => {
            vec![format!("{}--test mode enabled, skipping firewall manipulation.", head(stanza))]
        }
        (Reason::Granted | Reason::Extended, _) => Vec::new(),
        (Reason::FirewallFailed | Reason::Closed, Some(Detail::Said(why))) => {
            vec![format!("{}{why}", head(stanza))]
        }
        (reason, detail) => {
            let why = match detail {
                Some(Detail::Said(words)) => *words,
                Some(
                    Detail::Grant { .. } | Detail::Ran { .. } | Detail::ClockOffset(_) | Detail::Refusals(_),
                )
                | None => reason.as_str(),
            };
            vec![met(stanza), format!("{}{why}", head(stanza))]
        }
    }
}

/// Whose packet it is, as fwknopd says it before it looks at what it asks.
pub(crate) fn met(stanza: u32, source: IpAddr) -> String {
    format!("(stanza #{stanza}) SPA Packet from IP: {source} received with access source match")
}

/// The fields of a packet, as fwknopd -v lists them.
pub(crate) fn listing_lines(stanza: Option<u32>, source: IpAddr, listing: &str) -> Vec<String> {
    let stanza = stanza.map(|number| format!("(stanza #{number}) ")).unwrap_or_default();
    let head = format!("[{source}] {stanza}SPA Decode (res=0):");
    std::iter::once(head).chain(listing.trim_end().lines().map(str::to_owned)).collect()
}

/// A packet that nobody proved, as fwknopd says it; `None`: it says nothing of such.
pub(crate) fn stranger_line(event: &Event) -> Option<String> {
    let source = event.source?.ip().to_canonical();
    match (event.dialect, event.reason) {
        (Some(Dialect::Fwknop), Reason::UnknownClient) => {
            Some(format!("No access data found for source IP: {source}"))
        }
        (Some(Dialect::Fwknop), Reason::Unauthentic | Reason::Busy) if event.detail.is_some() => {
            let why = match event.detail {
                Some(Detail::Said(why)) => why,
                Some(_) | None => event.reason.as_str(),
            };
            Some(format!("[{source}] Decryption failed or decrypted data is invalid: GnuPG: {why}"))
        }
        (Some(Dialect::Fwknop), Reason::Unauthentic) => {
            Some(format!("[{source}] Decryption failed or decrypted data is invalid"))
        }
        (Some(Dialect::Fwknop | Dialect::Openme | Dialect::Native) | None, _) => None,
    }
}

/// Why a stanza refuses, as fwknopd says it.
fn refusal_words(refusal: Refusal, source: IpAddr) -> String {
    match refusal {
        Refusal::Expired => "Access stanza has expired".to_owned(),
        Refusal::Stale => "SPA data time difference is too great.".to_owned(),
        Refusal::NoAddress => "Got 0.0.0.0 when valid source IP was required.".to_owned(),
        Refusal::Address => "no door is opened for such an address".to_owned(),
        Refusal::Username => {
            format!("Username in SPA data does not match required username for '{source}'")
        }
        Refusal::NatOff => {
            format!("SPA packet from {source} requested NAT access, but is not enabled")
        }
        Refusal::LocalNatOff => {
            format!("SPA packet from {source} requested NAT access (local), but is not enabled")
        }
        Refusal::NamesOff => "Received NAT SPA message, but hostname is disabled.".to_owned(),
        Refusal::NotAName => "Invalid Hostname in NAT SPA message".to_owned(),
        Refusal::NameUnknown => "Unable to resolve Hostname in NAT SPA message".to_owned(),
        Refusal::CommandsOff => {
            "SPA Command messages are not allowed in the current configuration.".to_owned()
        }
        Refusal::Port => "One or more requested protocol/ports was denied per access.conf.".to_owned(),
    }
}

/// One line of fwknopd's.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Line<'a> {
    CommandMessage { stanza: u32, source: Option<IpAddr>, text: &'a str },
    RunningCommand { stanza: u32, source: Option<IpAddr>, command: &'a str, user: Option<&'a str> },
    CommandReturned { stanza: u32, source: Option<IpAddr>, code: i32 },
    CycleOpen { stanza: u32, source: IpAddr, command: &'a str },
    CycleClose { stanza: u32, source: IpAddr, command: &'a str, seconds: u64 },
    TimerExpired { stanza: u32, source: IpAddr, command: &'a str },
    CycleReturned { stanza: u32, source: Option<IpAddr>, which: &'a str, code: i32 },
    Killed { stanza: u32, source: Option<IpAddr>, seconds: u64 },
    NotBegun { stanza: u32, source: Option<IpAddr>, why: &'a str },
}

impl Line<'_> {
    /// Writes it to the log.
    pub(crate) fn say(&self) {
        if self.is_trouble() {
            tracing::warn!("{self}");
        } else {
            tracing::info!("{self}");
        }
    }

    const fn is_trouble(&self) -> bool {
        match self {
            Self::CycleReturned { .. } | Self::Killed { .. } | Self::NotBegun { .. } => true,
            Self::CommandMessage { .. }
            | Self::RunningCommand { .. }
            | Self::CommandReturned { .. }
            | Self::CycleOpen { .. }
            | Self::CycleClose { .. }
            | Self::TimerExpired { .. } => false,
        }
    }
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::CommandMessage { stanza, source, text } => {
                write!(f, "{}Processing SPA Command message: command='{text}'.", Head(source, stanza))
            }
            Self::RunningCommand { stanza, source, command, user } => {
                write!(f, "{}Running command '{command}'", Head(source, stanza))?;
                user.map_or(Ok(()), |user| write!(f, " setuid/setgid user/group to {user}"))
            }
            Self::CommandReturned { stanza, source, code } => {
                write!(f, "{}CMD_EXEC: command returned 0, pid_status: {code}", Head(source, stanza))
            }
            Self::CycleOpen { stanza, source, command } => {
                write!(f, "{}Running CMD_CYCLE_OPEN command: {command}", Head(Some(source), stanza))
            }
            Self::CycleClose { stanza, source, command, seconds } => {
                let head = Head(Some(source), stanza);
                write!(f, "{head}Running CMD_CYCLE_CLOSE command in {seconds} seconds: {command}")
            }
            Self::TimerExpired { stanza, source, command } => {
                let head = Head(Some(source), stanza);
                write!(f, "{head}Timer expired, running CMD_CYCLE_CLOSE command: {command}")
            }
            Self::CycleReturned { stanza, source, which, code } => {
                write!(f, "{}{which} command returned {code}", Head(source, stanza))
            }
            Self::Killed { stanza, source, seconds } => write!(
                f,
                "{}command killed, it ran for more than {seconds} seconds (CMD_EXEC_TIMEOUT)",
                Head(source, stanza)
            ),
            Self::NotBegun { stanza, source, why } => {
                write!(f, "{}command not run: {why}", Head(source, stanza))
            }
        }
    }
}

/// What such a line begins with: whose packet, where that is known, and which stanza.
struct Head(Option<IpAddr>, u32);

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(source) = self.0 {
            write!(f, "[{source}] ")?;
        }
        write!(f, "(stanza #{}) ", self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Debian's fwknopd wrote them.
    #[test]
    fn the_lines_are_the_originals() {
        let source: IpAddr = "10.77.0.2".parse().unwrap();
        let line = |line: Line<'_>| line.to_string();
        assert_eq!(
            line(Line::CommandMessage { stanza: 1, source: Some(source), text: "/bin/false" }),
            "[10.77.0.2] (stanza #1) Processing SPA Command message: command='/bin/false'."
        );
        assert_eq!(
            line(Line::CommandReturned { stanza: 1, source: Some(source), code: 127 }),
            "[10.77.0.2] (stanza #1) CMD_EXEC: command returned 0, pid_status: 127"
        );
        assert_eq!(
            line(Line::CycleClose { stanza: 2, source, command: "/bin/echo close", seconds: 2 }),
            "[10.77.0.2] (stanza #2) Running CMD_CYCLE_CLOSE command in 2 seconds: /bin/echo close"
        );
        assert_eq!(
            line(Line::TimerExpired { stanza: 2, source, command: "/bin/echo close" }),
            "[10.77.0.2] (stanza #2) Timer expired, running CMD_CYCLE_CLOSE command: /bin/echo close"
        );
    }
}
