//! One scraper's connection: a request is read, one page is written, and it is over. Bounded in bytes and in time.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use portunus_model::Mono;
use portunus_sys::poll::{Interest, Poll};
use portunus_sys::tcp;

/// The longest head of a request.
const LONGEST_HEAD: usize = 4096;
/// Headers that are looked at.
const MOST_HEADERS: usize = 64;
/// How long a connection may take, from its first moment to its last byte.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// A connection.
#[derive(Debug)]
pub(super) struct Scraper {
    socket: OwnedFd,
    pub(super) until: Mono,
    head: Vec<u8>,
    answer: Vec<u8>,
    answered: bool,
}

/// What a look at it comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// More may come, or more can go.
    Wait,
    /// It asks for the page: [`Scraper::answer`].
    Asks,
    /// It is over.
    Over,
}

impl Scraper {
    pub(super) fn new(socket: OwnedFd, now: Mono) -> Self {
        Self { socket, until: now.after(PATIENCE), head: Vec::new(), answer: Vec::new(), answered: false }
    }

    pub(super) fn watch(&self, poll: &Poll, token: u64) -> io::Result<()> {
        poll.add(&self.socket, token, Interest::Read)
    }

    pub(super) fn leave(&self, poll: &Poll) {
        let _ = poll.remove(&self.socket);
    }

    /// Something can be read or written.
    pub(super) fn look(&mut self) -> Look {
        if self.answered {
            return self.push();
        }
        let mut room = [0; LONGEST_HEAD];
        match tcp::read(&self.socket, &mut room) {
            Ok(Some([])) | Err(_) => return Look::Over,
            Ok(None) => return Look::Wait,
            Ok(Some(bytes)) => self.head.extend_from_slice(bytes),
        }
        match wish(&self.head) {
            Wish::Unfinished if self.head.len() < LONGEST_HEAD => Look::Wait,
            Wish::Page => Look::Asks,
            Wish::Unfinished => self.refuse("431 Request Header Fields Too Large", ""),
            Wish::Nothing => self.refuse("400 Bad Request", ""),
            Wish::OtherPath => self.refuse("404 Not Found", ""),
            Wish::OtherMethod => self.refuse("405 Method Not Allowed", "Allow: GET\r\n"),
        }
    }

    /// Writes the page.
    pub(super) fn answer(&mut self, poll: &Poll, token: u64, page: &str) -> Look {
        let kind = "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n";
        self.put("200 OK", kind, page);
        match self.push() {
            Look::Wait if poll.change(&self.socket, token, Interest::Write).is_err() => Look::Over,
            look @ (Look::Wait | Look::Asks | Look::Over) => look,
        }
    }

    fn refuse(&mut self, status: &str, more: &str) -> Look {
        self.put(status, more, "this answers GET /metrics, and nothing else\n");
        // Few bytes: a fresh connection has room for them.
        self.push();
        Look::Over
    }

    fn put(&mut self, status: &str, more: &str, body: &str) {
        let length = body.len();
        let head =
            format!("HTTP/1.1 {status}\r\n{more}Content-Length: {length}\r\nConnection: close\r\n\r\n");
        self.answer = (head + body).into_bytes();
        self.answered = true;
    }

    fn push(&mut self) -> Look {
        while !self.answer.is_empty() {
            match tcp::write(&self.socket, &self.answer) {
                Ok(Some(written)) => drop(self.answer.drain(..written)),
                Ok(None) => return Look::Wait,
                Err(_) => return Look::Over,
            }
        }
        Look::Over
    }
}

/// What a head asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Unfinished,
    Page,
    OtherPath,
    OtherMethod,
    /// It is no HTTP.
    Nothing,
}

fn wish(head: &[u8]) -> Wish {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Err(_) => return Wish::Nothing,
        Ok(httparse::Status::Partial) => return Wish::Unfinished,
        Ok(httparse::Status::Complete(_)) => (),
    }
    let path = request.path.unwrap_or_default();
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    match (request.method, path) {
        (Some("GET"), "/metrics") => Wish::Page,
        (Some("GET"), _) => Wish::OtherPath,
        (_, _) => Wish::OtherMethod,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_page_is_answered() {
        assert_eq!(wish(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"), Wish::Page);
        assert_eq!(wish(b"GET /metrics?name=x HTTP/1.0\r\n\r\n"), Wish::Page);
        assert_eq!(wish(b"GET /metrics HTTP/1.1\r\nHost: x\r\n"), Wish::Unfinished);
        assert_eq!(wish(b"GET / HTTP/1.1\r\n\r\n"), Wish::OtherPath);
        assert_eq!(wish(b"GET /metrics/../x HTTP/1.1\r\n\r\n"), Wish::OtherPath);
        assert_eq!(wish(b"POST /metrics HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"), Wish::OtherMethod);
        assert_eq!(wish(b"\x16\x03\x01\x02\x00"), Wish::Nothing);
        let many = format!("GET /metrics HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(MOST_HEADERS + 1));
        assert_eq!(wish(many.as_bytes()), Wish::Nothing);
    }
}
