//! Waiting for descriptors.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use portunus_model::Mono;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags};

/// What to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// Something to read.
    Read,
    /// Room to write, and nothing else: what there is to read may wait.
    Write,
    /// Something to read, or room to write.
    ReadWrite,
}

impl Interest {
    fn flags(self) -> EventFlags {
        match self {
            Self::Read => EventFlags::IN,
            Self::Write => EventFlags::OUT,
            Self::ReadWrite => EventFlags::IN | EventFlags::OUT,
        }
    }
}

/// One descriptor that is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready {
    /// By which number it was added.
    pub token: u64,
    /// There is something to read, or an end, or an error.
    pub readable: bool,
    /// There is room to write.
    pub writable: bool,
}

/// A set of descriptors (epoll, level-triggered).
pub struct Poll {
    epoll: OwnedFd,
    events: Vec<Event>,
}

impl Poll {
    /// How many ready descriptors are told at once.
    const AT_ONCE: usize = 64;

    /// An empty set.
    ///
    /// # Errors
    /// When the system has no descriptors left.
    pub fn new() -> io::Result<Self> {
        Ok(Self { epoll: epoll::create(CreateFlags::CLOEXEC)?, events: Vec::with_capacity(Self::AT_ONCE) })
    }

    /// Adds a descriptor under a number.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn add(&self, fd: impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, fd, EventData::new_u64(token), interest.flags())?)
    }

    /// Changes what is waited for.
    ///
    /// # Errors
    /// When it is not in the set.
    pub fn change(&self, fd: impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, fd, EventData::new_u64(token), interest.flags())?)
    }

    /// Takes a descriptor out.
    ///
    /// # Errors
    /// When it is not in the set.
    pub fn remove(&self, fd: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, fd)?)
    }

    /// Waits until something is ready, or for `longest` (`None`: for ever), and tells what. A signal ends the wait.
    ///
    /// # Errors
    /// As the system says.
    pub fn wait(&mut self, longest: Option<Duration>) -> io::Result<Vec<Ready>> {
        self.events.clear();
        let longest = longest.map(|span| Timespec {
            tv_sec: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(span.subsec_nanos()),
        });
        let space = rustix::buffer::spare_capacity(&mut self.events);
        match epoll::wait(&self.epoll, space, longest.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => (),
            Err(e) => return Err(e.into()),
        }
        Ok(self.events.iter().map(ready).collect())
    }
}

impl AsFd for Poll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl std::fmt::Debug for Poll {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Poll").field(&self.epoll).finish()
    }
}

fn ready(event: &Event) -> Ready {
    let flags = event.flags;
    Ready {
        token: event.data.u64(),
        readable: flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR | EventFlags::RDHUP),
        writable: flags.contains(EventFlags::OUT),
    }
}

/// An alarm by BOOTTIME: one that is due while the machine sleeps rings as soon as it wakes, where a wait's own timeout
/// would go on where it stood.
#[derive(Debug)]
pub struct Alarm {
    fd: OwnedFd,
    at: Option<Mono>,
}

impl Alarm {
    /// One that is not set.
    ///
    /// # Errors
    /// When the system has no descriptors left.
    pub fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        Ok(Self { fd: rustix::time::timerfd_create(TimerfdClockId::Boottime, flags)?, at: None })
    }

    /// Sets it, or with `None` unsets it.
    ///
    /// # Errors
    /// As the system says.
    pub fn set(&mut self, at: Option<Mono>) -> io::Result<()> {
        if self.at == at {
            return Ok(());
        }
        // All zero unsets; the first nanosecond after boot is as good as any time long past.
        let nanos = at.map_or(0, |at| at.as_nanos().max(1));
        let value = Timespec {
            tv_sec: i64::try_from(nanos / 1_000_000_000).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(nanos % 1_000_000_000).unwrap_or(0),
        };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        rustix::time::timerfd_settime(&self.fd, TimerfdTimerFlags::ABSTIME, &once)?;
        self.at = at;
        Ok(())
    }

    /// It rang: it is readable no more until it is set to another time.
    pub fn silence(&mut self) {
        let mut count = [0; 8];
        // Nothing to read means that it was set anew since it rang.
        let _ = rustix::io::read(&self.fd, &mut count);
        self.at = None;
    }
}

impl AsFd for Alarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Whether one descriptor has something to read within `longest`.
///
/// # Errors
/// As the system says.
pub fn readable(fd: impl AsFd, longest: Duration) -> io::Result<bool> {
    wait_for(fd, PollFlags::IN, longest)
}

/// Whether one descriptor has room to write now.
///
/// # Errors
/// As the system says.
pub fn writable(fd: impl AsFd) -> io::Result<bool> {
    wait_for(fd, PollFlags::OUT, Duration::ZERO)
}

fn wait_for(fd: impl AsFd, flags: PollFlags, longest: Duration) -> io::Result<bool> {
    let fd = fd.as_fd();
    let mut fds = [PollFd::from_borrowed_fd(fd, flags)];
    let timeout = Timespec {
        tv_sec: i64::try_from(longest.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(longest.subsec_nanos()),
    };
    match rustix::event::poll(&mut fds, Some(&timeout)) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn an_alarm_rings_once_a_setting() {
        let mut alarm = Alarm::new().unwrap();
        assert!(!readable(&alarm, Duration::ZERO).unwrap());
        alarm.set(Some(Mono::default())).unwrap();
        assert!(readable(&alarm, Duration::from_secs(1)).unwrap());
        alarm.silence();
        assert!(!readable(&alarm, Duration::ZERO).unwrap());
        alarm.set(Some(crate::clock::mono().after(Duration::from_millis(5)))).unwrap();
        assert!(!readable(&alarm, Duration::ZERO).unwrap());
        assert!(readable(&alarm, Duration::from_secs(1)).unwrap());
        alarm.set(None).unwrap();
        assert!(!readable(&alarm, Duration::ZERO).unwrap());
    }

    #[test]
    fn tells_what_is_ready_by_its_number() {
        let (mut a, b) = UnixStream::pair().unwrap();
        let mut poll = Poll::new().unwrap();
        poll.add(&b, 9, Interest::Read).unwrap();
        assert_eq!(poll.wait(Some(Duration::ZERO)).unwrap(), []);
        a.write_all(b"x").unwrap();
        let told = poll.wait(Some(Duration::from_secs(1))).unwrap();
        assert_eq!(told, [Ready { token: 9, readable: true, writable: false }]);
        assert!(readable(&b, Duration::ZERO).unwrap());
        assert!(writable(&b).unwrap());
        poll.change(&b, 9, Interest::ReadWrite).unwrap();
        assert!(poll.wait(None).unwrap()[0].writable);
        poll.remove(&b).unwrap();
        assert_eq!(poll.wait(Some(Duration::ZERO)).unwrap(), []);
    }
}
