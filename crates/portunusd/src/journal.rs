//! The journal's own socket (systemd.io/JOURNAL_NATIVE_PROTOCOL): a record is one datagram of fields, so that
//! `journalctl PORTUNUS_CLIENT=alice` finds what a line of text would only hold somewhere.

use std::ffi::OsStr;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

/// Where journald listens.
const SOCKET: &str = "/run/systemd/journal/socket";

/// What each field of ours begins with.
const PREFIX: &str = "PORTUNUS_";

/// The way to the journal. Made before the sandbox; writing needs no right.
#[derive(Debug)]
pub(crate) struct Journal {
    socket: UnixDatagram,
    identifier: String,
}

impl Journal {
    /// Connects to it; `None` where nobody listens.
    pub(crate) fn connect() -> Option<Self> {
        Self::connect_to(Path::new(SOCKET))
    }

    fn connect_to(path: &Path) -> Option<Self> {
        let socket = UnixDatagram::unbound().ok()?;
        socket.connect(path).ok()?;
        // A journal that stands still must not stop the daemon.
        socket.set_nonblocking(true).ok()?;
        let name = std::env::args_os().next().unwrap_or_default();
        Some(Self { socket, identifier: identifier(&name) })
    }

    /// By which name records are known.
    pub(crate) fn name(&mut self, program: &str) {
        program.clone_into(&mut self.identifier);
    }

    /// Begins a record.
    pub(crate) fn record(&self, priority: u8, part: &str, message: &str) -> Record {
        let mut record = Record(Vec::with_capacity(512));
        record.put("MESSAGE", message);
        record.put("PRIORITY", &priority.to_string());
        record.put("SYSLOG_IDENTIFIER", &self.identifier);
        record.field("part", part);
        record
    }

    /// Sends it; false where the journal does not take it.
    pub(crate) fn send(&self, record: &Record) -> bool {
        self.socket.send(&record.0).is_ok()
    }
}

/// The program's name: parts are called `portunus: front`.
fn identifier(name: &OsStr) -> String {
    let name = Path::new(name).file_name().unwrap_or(name).to_string_lossy();
    name.split(':').next().unwrap_or_default().to_owned()
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record(Vec<u8>);

impl Record {
    /// A field of ours, by its name in the log.
    pub(crate) fn field(&mut self, name: &str, value: &str) {
        let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        let name: String = PREFIX.chars().chain(name.chars().map(letter)).collect();
        self.put(&name, value);
    }

    /// `NAME=value`; a value with a line's end in it is written with its length.
    fn put(&mut self, name: &str, value: &str) {
        self.0.extend_from_slice(name.as_bytes());
        if value.contains('\n') {
            self.0.push(b'\n');
            self.0.extend_from_slice(&(value.len() as u64).to_le_bytes());
        } else {
            self.0.push(b'=');
        }
        self.0.extend_from_slice(value.as_bytes());
        self.0.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_datagram_of_fields() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        assert!(Journal::connect_to(&path).is_none());
        let journald = UnixDatagram::bind(&path).unwrap();
        let journal = Journal { identifier: "portunus".into(), ..Journal::connect_to(&path).unwrap() };
        let mut record = journal.record(6, "front", "a knock");
        record.field("client", "alice");
        record.field("lasting_s", "30");
        record.field("why", "two\nlines");
        assert!(journal.send(&record));
        let mut bytes = [0; 1024];
        let length = journald.recv(&mut bytes).unwrap();
        let head = "MESSAGE=a knock\nPRIORITY=6\nSYSLOG_IDENTIFIER=portunus\nPORTUNUS_PART=front\n\
                    PORTUNUS_CLIENT=alice\nPORTUNUS_LASTING_S=30\nPORTUNUS_WHY\n";
        let mut wanted = head.as_bytes().to_vec();
        wanted.extend_from_slice(&9_u64.to_le_bytes());
        wanted.extend_from_slice(b"two\nlines\n");
        assert_eq!(&bytes[..length], &wanted);
        drop(journald);
        assert!(!journal.send(&record), "nobody listens any more");
    }

    #[test]
    fn a_part_has_its_programs_name() {
        assert_eq!(identifier(OsStr::new("/usr/bin/portunus")), "portunus");
        assert_eq!(identifier(OsStr::new("fwknopd: front")), "fwknopd");
    }
}
