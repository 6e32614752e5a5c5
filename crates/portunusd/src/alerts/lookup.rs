//! The addresses of a server's name, in time. What the system's library does for a name has no end that we could set, so it
//! is waited for beside; and one that goes on is waited for again the next time, so there are never two.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// How many addresses of a server are tried: each may take its time.
const MOST_ADDRESSES: usize = 3;

/// A name whose addresses are asked for.
pub(super) struct Lookup {
    host: String,
    port: u16,
    /// Only addresses of this machine: what is said to them is not sealed.
    here: bool,
    find: Find,
    pending: Option<Receiver<io::Result<Vec<SocketAddr>>>>,
}

/// The system's library, or a test's.
type Find = fn(&str, u16) -> io::Result<Vec<SocketAddr>>;

impl Lookup {
    pub(super) fn new(host: &str, port: u16, here: bool) -> Self {
        let find = |host: &str, port| Ok((host, port).to_socket_addrs()?.collect());
        Self { host: host.to_owned(), port, here, find, pending: None }
    }

    /// What the name means now.
    pub(super) fn addresses(&mut self, patience: Duration) -> Result<Vec<SocketAddr>, String> {
        let begun = Instant::now();
        let came_late = self.pending.is_some();
        let mut found = self.wait(patience)?;
        // What was wrong then may be right by now.
        if came_late && found.is_err() {
            found = self.wait(patience.saturating_sub(begun.elapsed()))?;
        }
        let mut found = found.map_err(|error| self.wrong(&error))?;
        if self.here {
            found = only_here(&self.host, found)?;
        }
        found.truncate(MOST_ADDRESSES);
        Ok(found)
    }

    /// For the answer that is on its way, or else for one of now.
    fn wait(&mut self, patience: Duration) -> Result<io::Result<Vec<SocketAddr>>, String> {
        let pending = match self.pending.take() {
            Some(pending) => pending,
            None => self.begin().map_err(|error| self.wrong(&error))?,
        };
        match pending.recv_timeout(patience) {
            Ok(found) => Ok(found),
            Err(RecvTimeoutError::Timeout) => {
                self.pending = Some(pending);
                Err(format!("{}: no name server has answered within {} s", self.host, patience.as_secs()))
            }
            Err(RecvTimeoutError::Disconnected) => Err(self.wrong(&"the look-up has died")),
        }
    }

    fn wrong(&self, error: &dyn std::fmt::Display) -> String {
        format!("{}: {error}", self.host)
    }

    fn begin(&self) -> io::Result<Receiver<io::Result<Vec<SocketAddr>>>> {
        let (answer, pending) = mpsc::channel();
        let (host, port, find) = (self.host.clone(), self.port, self.find);
        thread::Builder::new().name("look-up".to_owned()).spawn(move || answer.send(find(&host, port)))?;
        Ok(pending)
    }
}

/// Those addresses of a name that are this machine's own, whatever a name server or a hosts file adds to them.
pub(super) fn only_here(host: &str, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, String> {
    let here: Vec<SocketAddr> =
        found.into_iter().filter(|address| address.ip().to_canonical().is_loopback()).collect();
    if here.is_empty() {
        return Err(format!(
            "{host} is another machine by its addresses, and nothing goes there in the clear: mend /etc/hosts, or write 127.0.0.1"
        ));
    }
    Ok(here)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Instant;

    use super::*;

    fn lookup(here: bool, find: Find) -> Lookup {
        Lookup { find, ..Lookup::new("localhost", 25, here) }
    }

    #[test]
    fn what_is_said_to_this_machine_goes_to_no_other() {
        let both = |_: &str, port| {
            let addresses =
                ["192.0.2.1", "::ffff:192.0.2.1", "::ffff:127.0.0.2", "2001:db8::1", "::1", "127.0.0.1"];
            Ok(addresses.map(|address| SocketAddr::new(address.parse().unwrap(), port)).to_vec())
        };
        let here = lookup(true, both).addresses(Duration::from_secs(9)).unwrap();
        let here: Vec<String> = here.iter().map(ToString::to_string).collect();
        assert_eq!(here, ["[::ffff:127.0.0.2]:25", "[::1]:25", "127.0.0.1:25"]);
        assert_eq!(lookup(false, both).addresses(Duration::from_secs(9)).unwrap().len(), MOST_ADDRESSES);
        let away = |_: &str, port| Ok(vec![SocketAddr::new([192, 0, 2, 1].into(), port)]);
        let why = lookup(true, away).addresses(Duration::from_secs(9)).unwrap_err();
        assert!(why.contains("localhost is another machine"), "{why}");
    }

    #[test]
    fn a_name_server_that_does_not_answer_is_asked_once_and_waited_for_again() {
        static ASKED: AtomicU32 = AtomicU32::new(0);
        let slow = |_: &str, port| {
            ASKED.fetch_add(1, Ordering::Relaxed);
            thread::sleep(Duration::from_millis(500));
            Ok(vec![SocketAddr::new([127, 0, 0, 1].into(), port)])
        };
        let (start, mut one) = (Instant::now(), lookup(false, slow));
        while one.addresses(Duration::from_millis(10)).is_err_and(|why| why.contains("no name server")) {
            assert!(start.elapsed() < Duration::from_secs(30), "it never ends");
        }
        assert_eq!(ASKED.load(Ordering::Relaxed), 1);
        assert!(start.elapsed() >= Duration::from_millis(490));
        one.addresses(Duration::from_secs(30)).unwrap();
        assert_eq!(ASKED.load(Ordering::Relaxed), 2);
    }
    #[test]
    fn an_error_that_came_late_is_not_the_answer_of_now() {
        static ASKED: AtomicU32 = AtomicU32::new(0);
        let first_wrong = |_: &str, port| {
            if ASKED.fetch_add(1, Ordering::Relaxed) == 0 {
                thread::sleep(Duration::from_millis(100));
                return Err(io::Error::other("no such name"));
            }
            Ok(vec![SocketAddr::new([127, 0, 0, 1].into(), port)])
        };
        let mut one = lookup(false, first_wrong);
        let why = one.addresses(Duration::from_millis(1)).unwrap_err();
        assert!(why.contains("no name server has answered"), "{why}");
        one.addresses(Duration::from_secs(30)).unwrap();
        assert_eq!(ASKED.load(Ordering::Relaxed), 2);
        // One of now is.
        let wrong = |_: &str, _| Err(io::Error::other("no such name"));
        assert!(
            lookup(false, wrong).addresses(Duration::from_secs(30)).unwrap_err().contains("no such name")
        );
    }
}
