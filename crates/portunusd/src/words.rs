//! What the daemon says in the words of the face that started it: our own records, or the lines of the original's that
//! scripts look for (shared/spec: fwknop-cli). Each line stands here once, so that one look shows them all.

use std::fmt;
use std::net::IpAddr;

/// Whose words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Words {
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
