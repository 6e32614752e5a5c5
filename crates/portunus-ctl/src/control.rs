//! The control socket: one JSON value a line, asked and answered in order. And a small blocking client for it.
//!
//! Called by the front (which answers) and by the command line and other tools (which ask).

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use portunus_model::{ClientName, Detail, Event, Reason, Unix, Via};
use portunus_sys::clock::rfc3339;
use serde::{Deserialize, Serialize};

use crate::figures::Figures;

/// Begins the line of a refused reload that names the clients who are let go all the same, with commas: they are in no file
/// any more.
pub const GONE: &str = "refused from now on all the same: ";

/// Among the words of a reload, a line of its own: nobody knows yet that the kernel has closed what the files take back.
pub const UNSHUT: &str = "the firewall has not closed yet what the files allow no more: those doors may still be open, and it is tried on";

/// The socket's name in the run folder.
pub const SOCKET: &str = "control.sock";

/// The longest line that the daemon reads.
pub const LONGEST_REQUEST: usize = 4096;

/// The longest line that a client reads.
pub const LONGEST_REPLY: u64 = 64 << 20;

/// What a tool asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// How the daemon is.
    Status,
    /// Open grants and when each client was last seen.
    Sessions,
    /// How much of everything: for the exporter.
    Figures,
    /// From now on one [`Reply::Event`] a verdict, until the connection is closed.
    Events,
    /// Close every grant that matches both; a missing one matches all. (uid 0 and admins only)
    Close {
        /// Of this client only.
        #[serde(default)]
        client: Option<ClientName>,
        /// For this address only.
        #[serde(default)]
        address: Option<IpAddr>,
    },
    /// Close every grant of this client, and end what it has established, where nobody else has or had a grant for
    /// the same address and port. (uid 0 and admins only)
    Kill {
        /// Whose.
        client: ClientName,
    },
    /// Read the configuration again now; answered when it is in force or refused. (uid 0 and admins only)
    Reload,
}

/// What the daemon answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Reply {
    /// To [`Request::Status`].
    Status(Status),
    /// To [`Request::Sessions`].
    Sessions(Sessions),
    /// To [`Request::Figures`].
    Figures(Box<Figures>),
    /// To [`Request::Events`], once, at its start.
    Following,
    /// To [`Request::Events`], one a verdict.
    Event(EventLine),
    /// To [`Request::Events`]: the reader was too slow, and this many are missing here.
    Missed {
        /// How many.
        events: u64,
    },
    /// To [`Request::Close`].
    Closed {
        /// How many grants ended.
        grants: u32,
    },
    /// To [`Request::Kill`].
    Killed(Killed),
    /// To [`Request::Reload`]: it is in force.
    Reloaded {
        /// The generation of the rules.
        generation: u64,
        /// What was noticed on the way, in words.
        warnings: Vec<String>,
    },
    /// It was not done.
    Refused {
        /// Why, in words, with the mend; one mistake a line for a reload.
        why: String,
    },
}

/// What was ended and what was not.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Killed {
    /// How many grants were closed by this; those of a client that is revoked are closed already.
    pub grants: u32,
    /// How many sockets of this host were ended.
    pub sockets: u32,
    /// How many other flows.
    pub flows: u32,
    /// What was kept, because somebody else has or had a grant for it: the kernel cannot tell them apart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<Kept>,
    /// This kernel cannot end sockets: they are cut off, and end by their own timeouts.
    #[serde(default)]
    pub sockets_stay: bool,
}

/// An address whose established flows were kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Because of this client's grant.
    pub client: String,
    /// The address.
    pub address: IpAddr,
    /// The ports, as in files: `22/tcp`.
    pub ports: Vec<String>,
}

/// How the daemon is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Status {
    /// The program's version.
    pub version: String,
    /// The keeper's process id.
    pub pid: u32,
    /// Since when it runs (RFC 3339).
    pub since: String,
    /// The generation of the rules.
    pub generation: u64,
    /// How many clients there are.
    pub clients: u32,
    /// How many grants are open.
    pub open: u32,
    /// Where it listens.
    pub listen: Vec<String>,
    /// Where it stands in the firewall, in words.
    pub place: String,
    /// How often each reason was the verdict, by its word.
    pub verdicts: BTreeMap<String, u64>,
    /// Datagrams that the kernel dropped before us: of a length that no dialect has, or for want of room.
    pub kernel_drops: u64,
}

/// Open grants and who was seen.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sessions {
    /// The open grants.
    pub sessions: Vec<Session>,
    /// When each client was last proven (RFC 3339).
    pub last_seen: BTreeMap<String, String>,
    /// Packets that the kernel dropped before us, by what they would have come in by: for want of room and, at `udp`,
    /// because no dialect has packets of that length.
    #[serde(default)]
    pub dropped: BTreeMap<String, u64>,
}

/// One open grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Whose.
    pub client: String,
    /// For which address.
    pub address: IpAddr,
    /// Which ports, as in files: `22/tcp`.
    pub ports: Vec<String>,
    /// Since when (RFC 3339).
    pub opened_at: String,
    /// Until when (RFC 3339).
    pub expires_at: String,
    /// How many seconds are left.
    pub left_s: u64,
}

/// One verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventLine {
    /// When (RFC 3339).
    pub at: String,
    /// Why: the word of the fixed list.
    pub reason: Reason,
    /// Whose, when it was proven.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientName>,
    /// The dialect's word, as far as it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dialect: Option<String>,
    /// The source that the datagram's header claims.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// How it came in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
    /// For which address a door was opened or closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// Which ports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<String>,
    /// For how many seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lasting_s: Option<u64>,
    /// How far the client's clock runs ahead of ours, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_offset_ms: Option<i64>,
    /// More, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<String>,
}

impl From<&Event> for EventLine {
    fn from(event: &Event) -> Self {
        let mut line = Self {
            at: rfc3339(event.at.wall),
            reason: event.reason,
            client: event.client.clone(),
            dialect: event.dialect.map(|dialect| dialect.as_str().to_owned()),
            source: event.source.map(|source| source.to_string()),
            via: event.via.map(via),
            address: None,
            ports: Vec::new(),
            lasting_s: None,
            clock_offset_ms: None,
            said: None,
        };
        match &event.detail {
            None => (),
            Some(Detail::Grant { address, ports, lasting, .. }) => {
                line.address = Some(*address);
                line.ports = ports.iter().map(ToString::to_string).collect();
                line.lasting_s = Some(lasting.as_secs());
            }
            Some(Detail::ClockOffset(millis)) => line.clock_offset_ms = Some(*millis),
            Some(Detail::Ran { address, lasting }) => {
                line.address = *address;
                line.lasting_s = Some(lasting.as_secs()).filter(|secs| *secs > 0);
                line.said = Some("a command was begun".to_owned());
            }
            Some(Detail::Refusals(refusals)) => line.said = Some(Detail::refusals_in_words(refusals)),
            Some(Detail::Said(words)) => line.said = Some((*words).to_owned()),
        }
        line
    }
}

fn via(via: Via) -> String {
    via.as_str().to_owned()
}

/// What may go wrong when a tool asks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// No daemon is there.
    #[error("{}: no daemon answers: start it with `portunus serve` or `systemctl start portunus`", .0.display())]
    NotRunning(PathBuf),
    /// The socket is not for us.
    #[error("{}: permission denied: run this as root, or join the group portunus", .0.display())]
    Denied(PathBuf),
    /// It did not answer in time.
    #[error("the daemon did not answer within {0:?}: see its log")]
    Slow(Duration),
    /// It closed the connection.
    #[error("the daemon closed the connection: it is ending, or has too many of them")]
    Closed,
    /// It said something else than was asked.
    #[error("the daemon answered in a way this program does not know: is it of another version?")]
    Strange,
    /// It refused.
    #[error("{0}")]
    Refused(String),
    /// Anything else that the system says.
    #[error("{}: {what}", .path.display())]
    Other {
        /// Which socket.
        path: PathBuf,
        /// In the system's words.
        what: String,
    },
}

/// A connection to the daemon.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
    path: PathBuf,
    patience: Duration,
}

impl Client {
    /// How long a question may take.
    pub const PATIENCE: Duration = Duration::from_secs(10);

    /// Connects to the socket in `run_dir`.
    ///
    /// # Errors
    /// [`ControlError::NotRunning`] when nobody listens there.
    pub fn connect(run_dir: &Path) -> Result<Self, ControlError> {
        Self::connect_for(run_dir, Self::PATIENCE)
    }

    /// The same, for questions that may take no longer than `patience`.
    ///
    /// # Errors
    /// [`ControlError::NotRunning`] when nobody listens there.
    pub fn connect_for(run_dir: &Path, patience: Duration) -> Result<Self, ControlError> {
        let path = run_dir.join(SOCKET);
        let stream = UnixStream::connect(&path).map_err(|e| refused(&path, &e))?;
        let client = Self { stream: BufReader::new(stream), path, patience };
        client.patience(Some(patience))?;
        Ok(client)
    }

    /// Asks how the daemon is.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn status(&mut self) -> Result<Status, ControlError> {
        let reply = self.ask(&Request::Status)?;
        if let Reply::Status(status) = reply {
            return Ok(status);
        }
        Err(unexpected(reply))
    }

    /// Asks for the open grants.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn sessions(&mut self) -> Result<Sessions, ControlError> {
        let reply = self.ask(&Request::Sessions)?;
        if let Reply::Sessions(sessions) = reply {
            return Ok(sessions);
        }
        Err(unexpected(reply))
    }

    /// Asks how much of everything there is.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn figures(&mut self) -> Result<Figures, ControlError> {
        let reply = self.ask(&Request::Figures)?;
        if let Reply::Figures(figures) = reply {
            return Ok(*figures);
        }
        Err(unexpected(reply))
    }

    /// Closes grants; says how many.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn close(
        &mut self,
        client: Option<ClientName>,
        address: Option<IpAddr>,
    ) -> Result<u32, ControlError> {
        let reply = self.ask(&Request::Close { client, address })?;
        if let Reply::Closed { grants } = reply {
            return Ok(grants);
        }
        Err(unexpected(reply))
    }

    /// Closes a client's grants and ends what it has established.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn kill(&mut self, client: ClientName) -> Result<Killed, ControlError> {
        let reply = self.ask(&Request::Kill { client })?;
        if let Reply::Killed(killed) = reply {
            return Ok(killed);
        }
        Err(unexpected(reply))
    }

    /// Has the configuration read again, and waits until it is in force: the generation, and what was noticed.
    ///
    /// # Errors
    /// [`ControlError::Refused`] with the configuration's mistakes; the old one stays in force.
    pub fn reload(&mut self) -> Result<(u64, Vec<String>), ControlError> {
        let reply = self.ask(&Request::Reload)?;
        if let Reply::Reloaded { generation, warnings } = reply {
            return Ok((generation, warnings));
        }
        Err(unexpected(reply))
    }

    /// Follows the verdicts. The iterator waits for the next for as long as it takes; after an error it ends.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn events(mut self) -> Result<Events, ControlError> {
        let reply = self.ask(&Request::Events)?;
        if reply != Reply::Following {
            return Err(unexpected(reply));
        }
        self.patience(None)?;
        Ok(Events { client: self, over: false })
    }

    /// Asks one thing and waits for its answer.
    ///
    /// # Errors
    /// [`ControlError`]; a [`Reply::Refused`] is an answer here, not an error.
    pub fn ask(&mut self, request: &Request) -> Result<Reply, ControlError> {
        let mut line = serde_json::to_vec(request).map_err(|_| ControlError::Strange)?;
        line.push(b'\n');
        let sent = self.stream.get_mut().write_all(&line);
        sent.map_err(|e| self.trouble(&e))?;
        self.read()
    }

    fn read(&mut self) -> Result<Reply, ControlError> {
        let mut line = Vec::new();
        let read = (&mut self.stream).take(LONGEST_REPLY).read_until(b'\n', &mut line);
        read.map_err(|e| self.trouble(&e))?;
        if line.last() != Some(&b'\n') {
            return Err(ControlError::Closed);
        }
        serde_json::from_slice(&line).map_err(|_| ControlError::Strange)
    }

    fn patience(&self, span: Option<Duration>) -> Result<(), ControlError> {
        let stream = self.stream.get_ref();
        stream
            .set_read_timeout(span)
            .and_then(|()| stream.set_write_timeout(span))
            .map_err(|e| self.trouble(&e))
    }

    fn trouble(&self, error: &io::Error) -> ControlError {
        use io::ErrorKind as Kind;
        if matches!(error.kind(), Kind::WouldBlock | Kind::TimedOut) {
            return ControlError::Slow(self.patience);
        }
        if matches!(error.kind(), Kind::BrokenPipe | Kind::ConnectionReset) {
            return ControlError::Closed;
        }
        ControlError::Other { path: self.path.clone(), what: error.to_string() }
    }
}

fn refused(path: &Path, error: &io::Error) -> ControlError {
    use io::ErrorKind as Kind;
    let path = path.to_owned();
    if matches!(error.kind(), Kind::NotFound | Kind::ConnectionRefused) {
        return ControlError::NotRunning(path);
    }
    if error.kind() == Kind::PermissionDenied {
        return ControlError::Denied(path);
    }
    ControlError::Other { path, what: error.to_string() }
}

fn unexpected(reply: Reply) -> ControlError {
    match reply {
        Reply::Refused { why } => ControlError::Refused(why),
        Reply::Status(_)
        | Reply::Sessions(_)
        | Reply::Figures(_)
        | Reply::Following
        | Reply::Event(_)
        | Reply::Missed { .. }
        | Reply::Closed { .. }
        | Reply::Killed(_)
        | Reply::Reloaded { .. } => ControlError::Strange,
    }
}

/// The verdicts as they come.
#[derive(Debug)]
pub struct Events {
    client: Client,
    over: bool,
}

/// One item of [`Events`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Followed {
    /// A verdict.
    Event(Box<EventLine>),
    /// This many went by while we were not reading.
    Missed(u64),
}

impl Iterator for Events {
    type Item = Result<Followed, ControlError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let item = match self.client.read() {
            Ok(Reply::Event(line)) => Ok(Followed::Event(Box::new(line))),
            Ok(Reply::Missed { events }) => Ok(Followed::Missed(events)),
            Ok(other @ (Reply::Status(_) | Reply::Sessions(_) | Reply::Following | Reply::Closed { .. })) => {
                Err(unexpected(other))
            }
            Ok(
                other @ (Reply::Figures(_)
                | Reply::Killed(_)
                | Reply::Reloaded { .. }
                | Reply::Refused { .. }),
            ) => Err(unexpected(other)),
            Err(e) => Err(e),
        };
        self.over = item.is_err();
        Some(item)
    }
}

/// Writes a reply as its line.
#[must_use]
pub fn line(reply: &Reply) -> Vec<u8> {
    // Our own types have text keys only, so this cannot fail; an empty line would be no answer, so say something.
    let mut line = serde_json::to_vec(reply)
        .unwrap_or_else(|_| br#"{"is":"refused","why":"the answer could not be written"}"#.to_vec());
    line.push(b'\n');
    line
}

/// Reads a request's line.
///
/// # Errors
/// What is wrong, in the words to refuse it with.
pub fn parse(line: &[u8]) -> Result<Request, String> {
    if line.len() > LONGEST_REQUEST {
        return Err("the line is too long: 4096 bytes at most".to_owned());
    }
    serde_json::from_slice(line).map_err(|e| format!("not a request that this version knows: {e}"))
}

/// When something was, for a reply.
#[must_use]
pub fn when(at: Unix) -> String {
    rfc3339(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_lines_that_a_person_can_type() {
        assert_eq!(parse(br#"{"ask":"status"}"#), Ok(Request::Status));
        assert_eq!(
            parse(br#"{"ask":"close","client":"alice"}"#),
            Ok(Request::Close { client: Some(ClientName::new("alice").unwrap()), address: None })
        );
        assert_eq!(
            parse(br#"{"ask":"kill","client":"alice"}"#),
            Ok(Request::Kill { client: ClientName::new("alice").unwrap() })
        );
        assert!(parse(br#"{"ask":"kill"}"#).is_err());
        assert!(parse(br#"{"ask":"close","clientt":"alice"}"#).is_err());
        assert!(parse(br#"{"ask":"close","client":"../etc"}"#).is_err());
        assert!(parse(&[b' '; LONGEST_REQUEST + 1]).is_err());
        assert!(parse(b"\xff\x00").is_err());
    }

    #[test]
    fn replies_come_back_as_they_were() {
        for reply in [
            Reply::Following,
            Reply::Closed { grants: 3 },
            Reply::Killed(Killed { sockets: 2, ..Killed::default() }),
            Reply::Refused { why: "no".into() },
            Reply::Status(Status { pid: 7, ..Status::default() }),
            Reply::Reloaded { generation: 2, warnings: vec!["x".into()] },
        ] {
            let line = line(&reply);
            assert_eq!(line.iter().filter(|&&b| b == b'\n').count(), 1);
            assert_eq!(serde_json::from_slice::<Reply>(&line).unwrap(), reply);
        }
    }

    #[test]
    fn no_daemon_is_said_so() {
        let dir = tempfile::tempdir().unwrap();
        let error = Client::connect(dir.path()).unwrap_err();
        assert_eq!(error, ControlError::NotRunning(dir.path().join(SOCKET)));
    }
}
