//! Talking to nf_tables: one transaction out, its answer in; and reading sets.

use std::io;
use std::time::Duration;

use netlink_bindings::nftables::OpNewsetelemDo;
use portunus_sys::netlink::NetlinkSocket;

use super::message::{self, HEADER, TableName, Transaction};
use crate::FirewallError;
use crate::ruleset::Wire;

/// As large as the kernel makes one part of a dump, twice.
const BUFFER: usize = 65_536;

/// `NLMSG_ERROR` and `NLMSG_DONE` (linux/netlink.h).
const ERROR: u16 = 2;
const DONE: u16 = 3;

/// The kernel's words for "somebody changed the rules since".
pub(super) const CHANGED_MEANWHILE: i32 = 85;

/// A socket to nf_tables, and a buffer for its answers.
#[derive(Debug)]
pub(super) struct Talk {
    socket: NetlinkSocket,
    sequence: u32,
    buffer: Vec<u8>,
}

/// One message of an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer<'a> {
    pub(crate) kind: u16,
    pub(crate) sequence: u32,
    pub(crate) body: &'a [u8],
}

impl Talk {
    pub(super) fn new() -> Result<Self, FirewallError> {
        let socket = NetlinkSocket::netfilter().map_err(|error| failed("opening netlink", &error))?;
        Ok(Self { socket, sequence: 1, buffer: vec![0; BUFFER] })
    }

    /// Our netlink port.
    pub(super) const fn port(&self) -> u32 {
        self.socket.port()
    }

    /// The first of `count` sequence numbers in a row.
    pub(super) fn sequence(&mut self, count: u32) -> u32 {
        let first = if self.sequence.checked_add(count).is_some() { self.sequence } else { 1 };
        self.sequence = first.saturating_add(count);
        first
    }

    /// Sends a transaction; `Ok` when the kernel has done all of it.
    pub(super) fn commit(
        &mut self,
        step: &'static str,
        transaction: &Transaction,
    ) -> Result<(), FirewallError> {
        self.commit_telling(step, transaction, |_, _| (), |_| ())
    }

    /// The same; `blamed` is told each message that the kernel blames, by its sequence number, and the error number;
    /// `echo` whatever else it says.
    pub(super) fn commit_telling(
        &mut self,
        step: &'static str,
        transaction: &Transaction,
        mut blamed: impl FnMut(u32, i32),
        mut echo: impl FnMut(Answer<'_>),
    ) -> Result<(), FirewallError> {
        self.socket.send(&transaction.bytes).map_err(|error| failed(step, &error))?;
        let mut acknowledged = false;
        let mut refused = None;
        self.answers(step, |answer| {
            match error_of(&answer) {
                Some(0) => acknowledged |= answer.sequence == transaction.last,
                Some(errno) => {
                    refused = refused.or(Some(errno));
                    blamed(answer.sequence, errno);
                }
                None => echo(answer),
            }
            // What was acknowledged is done, and nothing comes after that.
            !acknowledged
        })?;
        match refused {
            Some(errno) => Err(kernel(step, errno)),
            None if acknowledged => Ok(()),
            None => Err(FirewallError::NotThere),
        }
    }

    /// The generation of the rules as they stand.
    pub(super) fn generation(&mut self) -> Result<u32, FirewallError> {
        let step = "reading the rules' generation";
        let request = message::get_generation(self.sequence(1));
        self.socket.send(&request).map_err(|error| failed(step, &error))?;
        let mut generation = None;
        self.answers(step, |answer| {
            // struct nfgenmsg (4 bytes), then NFTA_GEN_ID: header (4), value (4, network order).
            if let Some(Ok(id)) = answer.body.get(8..12).map(<[u8; 4]>::try_from) {
                generation = generation.or(Some(u32::from_be_bytes(id)));
            }
            true
        })?;
        generation.ok_or(FirewallError::NotThere)
    }

    /// How much longer an element of a set is there (its end may be none); `None`: it is not, or cannot be read.
    pub(super) fn left(&mut self, table: &TableName, set: &str, key: &[u8]) -> Option<Option<Duration>> {
        let request = message::get_element(self.sequence(1), table, set, key);
        self.socket.send(&request).ok()?;
        let mut left = None;
        let read = self.answers("reading a grant back", |answer| {
            elements_of(answer.body, &mut |found, for_so_long| {
                if found == key {
                    left = Some(for_so_long);
                }
            });
            true
        });
        read.ok().and(left)
    }

    /// Every element of a set.
    pub(super) fn dump(
        &mut self,
        table: &TableName,
        set: &str,
        mut seen: impl FnMut(&[u8], Option<Duration>),
    ) -> Result<(), FirewallError> {
        let step = "reading a set";
        let request = message::dump_elements(self.sequence(1), table, set);
        self.socket.send(&request).map_err(|error| failed(step, &error))?;
        let mut refused = None;
        self.answers(step, |answer| {
            if let Some(errno) = error_of(&answer).filter(|errno| *errno != 0) {
                refused = Some(errno);
            }
            elements_of(answer.body, &mut seen);
            answer.kind != DONE
        })?;
        refused.map_or(Ok(()), |errno| Err(kernel(step, errno)))
    }

    /// Hands over every message that waits, until none is left or `more` says that it was the last. netfilter works
    /// while we send, so all answers wait already; a dump goes on as it is read.
    fn answers(
        &mut self,
        step: &'static str,
        mut more: impl FnMut(Answer<'_>) -> bool,
    ) -> Result<(), FirewallError> {
        while let Some(length) =
            self.socket.receive(&mut self.buffer).map_err(|error| failed(step, &error))?
        {
            for answer in messages(self.buffer.get(..length).unwrap_or_default()) {
                if !more(answer) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// For [`crate::ruleset::Ruleset::read`].
impl Wire for Talk {
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.socket.send(message)
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.receive(buffer)?.ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }
}

/// The messages of one datagram (struct nlmsghdr: length, type, flags, sequence, port).
pub(crate) fn messages(mut rest: &[u8]) -> impl Iterator<Item = Answer<'_>> {
    std::iter::from_fn(move || {
        let length = usize::try_from(u32::from_ne_bytes(*rest.first_chunk()?)).ok()?;
        let message = rest.get(..length).filter(|_| length >= HEADER)?;
        let kind = u16::from_ne_bytes(message.get(4..6)?.try_into().ok()?);
        let sequence = u32::from_ne_bytes(message.get(8..12)?.try_into().ok()?);
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Answer { kind, sequence, body: message.get(HEADER..)? })
    })
}

/// The error number of an error message; 0 acknowledges.
fn error_of(answer: &Answer<'_>) -> Option<i32> {
    (answer.kind == ERROR)
        .then(|| answer.body.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes).saturating_neg()))?
}

/// Each element's key, and what is left of its time; `None`: it has no end.
pub(super) fn elements_of(body: &[u8], seen: &mut impl FnMut(&[u8], Option<Duration>)) {
    let (_, attributes) = OpNewsetelemDo::decode_request(body);
    let Ok(list) = attributes.get_elements() else { return };
    for element in list.get_elem() {
        let Ok(key) = element.get_key().and_then(|key| key.get_value()) else { continue };
        // In network order, which netlink-bindings leaves as it is.
        let left = element.get_expiration().map(u64::from_be).map(Duration::from_millis);
        seen(key, left.ok());
    }
}

/// What a failed system call means.
pub(crate) fn failed(step: &'static str, error: &io::Error) -> FirewallError {
    kernel(step, error.raw_os_error().unwrap_or(0))
}

/// What the kernel's error number means.
pub(crate) fn kernel(step: &'static str, errno: i32) -> FirewallError {
    const EPERM: i32 = 1;
    const EACCES: i32 = 13;
    const ENFILE: i32 = 23;
    const ENOSPC: i32 = 28;
    const EPROTONOSUPPORT: i32 = 93;
    match errno {
        EPERM | EACCES => FirewallError::Forbidden,
        ENFILE | ENOSPC => FirewallError::Full,
        EPROTONOSUPPORT => FirewallError::Unsupported("nf_tables"),
        errno => FirewallError::Refused { step, errno },
    }
}
