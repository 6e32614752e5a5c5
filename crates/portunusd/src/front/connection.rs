//! One connection to the control socket. Every buffer is bounded: who asks and does not read is not asked for more.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

use portunus_ctl::control::{self, LONGEST_REQUEST, Reply};
use portunus_sys::poll::{Interest, Poll};

/// Bytes that wait for one who follows; beyond them events are missed, and counted. With as many waiting no further
/// question is answered.
const CROWDED: usize = 256 << 10;

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    stream: UnixStream,
    pub(super) uid: u32,
    /// What came and was not answered yet: at most one read more than a line.
    begun: Vec<u8>,
    out: Vec<u8>,
    pub(super) follows: bool,
    missed: u64,
    /// Nothing more comes. It is over when all that came is answered and written.
    ending: bool,
    watched: Interest,
}

impl Connection {
    /// Over a stream that does not block and is waited for with [`Interest::Read`].
    pub(super) fn new(stream: UnixStream, uid: u32) -> Self {
        Self {
            stream,
            uid,
            begun: Vec::new(),
            out: Vec::new(),
            follows: false,
            missed: 0,
            ending: false,
            watched: Interest::Read,
        }
    }

    /// Reads what is there, unless there are questions enough.
    pub(super) fn read(&mut self) {
        if !self.may_read() {
            return;
        }
        let mut room = [0; LONGEST_REQUEST];
        match self.stream.read(&mut room) {
            Ok(0) => self.ending = true,
            Ok(count) => self.begun.extend_from_slice(room.get(..count).unwrap_or_default()),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock || e.kind() == io::ErrorKind::Interrupted => (),
            Err(_) => self.ending = true,
        }
        if !self.asks() && self.begun.len() > LONGEST_REQUEST {
            self.say(&Reply::Refused { why: "the line is too long: 4096 bytes at most".to_owned() });
            self.begun.clear();
            self.ending = true;
        }
    }

    /// The next whole line, once there is room for an answer.
    pub(super) fn next_line(&mut self) -> Option<Vec<u8>> {
        while self.out.len() < CROWDED {
            let end = self.begun.iter().position(|byte| *byte == b'\n')?;
            let mut line: Vec<u8> = self.begun.drain(..=end).collect();
            line.pop();
            if !line.is_empty() {
                return Some(line);
            }
        }
        None
    }

    pub(super) fn say(&mut self, reply: &Reply) {
        self.out.extend_from_slice(&control::line(reply));
    }

    /// An event for one who follows.
    pub(super) fn follow(&mut self, line: &[u8]) {
        if self.out.len() + line.len() > CROWDED {
            self.missed += 1;
            return;
        }
        if self.missed > 0 {
            let events = std::mem::take(&mut self.missed);
            self.out.extend_from_slice(&control::line(&Reply::Missed { events }));
        }
        self.out.extend_from_slice(line);
    }

    /// Writes as far as there is room; false when this is over.
    pub(super) fn push(&mut self) -> bool {
        let mut written = 0;
        while let Some(rest) = self.out.get(written..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest) {
                Ok(count) => written += count,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => (),
                Err(_) => return false,
            }
        }
        self.out.drain(..written);
        if self.out.is_empty() {
            self.out.shrink_to(LONGEST_REQUEST);
        }
        !self.ending || !self.out.is_empty() || self.asks()
    }

    /// Has the poll wake us for what this waits for, and for nothing else: an end that was seen stays readable for ever.
    pub(super) fn watch(&mut self, poll: &Poll, token: u64) -> io::Result<()> {
        let writes = !self.out.is_empty() || self.asks();
        let wanted = match (self.may_read(), writes) {
            (true, false) => Interest::Read,
            (true, true) => Interest::ReadWrite,
            (false, _) => Interest::Write,
        };
        if wanted != self.watched {
            poll.change(&self.stream, token, wanted)?;
            self.watched = wanted;
        }
        Ok(())
    }

    /// No longer waited for.
    pub(super) fn leave(&self, poll: &Poll) {
        let _ = poll.remove(&self.stream);
    }

    /// Whether it asks nothing just now, and nothing is on its way to it but what it follows.
    pub(super) fn is_idle(&self) -> bool {
        self.begun.is_empty() && (self.follows || self.out.is_empty())
    }

    fn may_read(&self) -> bool {
        !self.ending && !self.asks()
    }

    /// Whether a whole line waits.
    fn asks(&self) -> bool {
        self.begun.contains(&b'\n')
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn pair(poll: &Poll) -> (UnixStream, Connection) {
        let (theirs, ours) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        poll.add(&ours, 7, Interest::Read).unwrap();
        (theirs, Connection::new(ours, 0))
    }

    /// What the front does in a round; how many lines it took.
    fn round(connection: &mut Connection, poll: &Poll, answer: &str) -> (usize, bool) {
        let mut taken = 0;
        connection.read();
        while connection.next_line().is_some() {
            connection.say(&Reply::Refused { why: answer.to_owned() });
            taken += 1;
        }
        let stays = connection.push() && connection.watch(poll, 7).is_ok();
        (taken, stays)
    }

    #[test]
    fn who_asks_and_does_not_read_is_asked_no_more_and_gets_every_answer_later() {
        let mut poll = Poll::new().unwrap();
        let (mut theirs, mut connection) = pair(&poll);
        theirs.write_all(&b"x\n".repeat(400)).unwrap();
        let long = "y".repeat(20_000);
        let (mut taken, stays) = round(&mut connection, &poll, &long);
        assert!(stays && taken < 400, "{taken}");
        for _ in 0..100 {
            taken += round(&mut connection, &poll, &long).0;
        }
        assert!(connection.out.len() < CROWDED + 2 * long.len() && taken < 100, "{taken}");
        // The half of it that is closed does not wake us for ever.
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(poll.wait(Some(Duration::ZERO)).unwrap(), []);
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            theirs.read_to_end(&mut all).unwrap();
            all.iter().filter(|byte| **byte == b'\n').count()
        });
        while !poll.wait(Some(Duration::from_secs(5))).unwrap().is_empty() {
            let (more, stays) = round(&mut connection, &poll, &long);
            taken += more;
            if !stays {
                break;
            }
        }
        drop(connection);
        assert_eq!((taken, reader.join().unwrap()), (400, 400));
    }

    #[test]
    fn an_end_that_was_seen_does_not_wake_us_while_answers_wait() {
        let mut poll = Poll::new().unwrap();
        let (mut theirs, mut connection) = pair(&poll);
        theirs.write_all(b"x\n").unwrap();
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        let long = "y".repeat(4 << 20);
        assert_eq!(round(&mut connection, &poll, &long), (1, true));
        assert_eq!(round(&mut connection, &poll, &long), (0, true));
        assert_eq!(poll.wait(Some(Duration::ZERO)).unwrap(), []);
    }
}
