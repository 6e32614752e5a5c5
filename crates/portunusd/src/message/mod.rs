//! What the keeper and the parts say to each other: short values on a channel, long ones in sealed memory beside them.
//!
//! The keeper believes nothing that a part says beyond what its type allows: the front has read strangers' packets. The
//! words stand in the modules below, by the part that is spoken to; here is how they are sent.

mod alerts;
mod commands;
mod front;
mod grantor;
mod keys;
mod oracle;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use portunus_ctl::figures::KeeperFigures;
use portunus_sys::channel::{Channel, Received};
use portunus_sys::memfd;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub(crate) use alerts::{AlertsSnapshot, FromAlerts, ToAlerts};
pub(crate) use commands::{CommandsSnapshot, FromCommands, StanzaCommands, ToCommands};
pub(crate) use front::{
    About, Brought, Enrolling, FromFront, FrontSnapshot, Helper, Listening, NewChain, NewKind, Note, Session,
    Sessions, TakenIn, ToFront,
};
pub(crate) use grantor::{Backend, FromGrantor, GrantorBrief, GrantorSnapshot, ToGrantor, Trial, Wish};
pub(crate) use keys::{FwknopKeys, GpgKeys, Invited, Keys};
pub(crate) use oracle::{Named, OracleSnapshot, Ring, ToOracle};

/// The longest value on the channel itself.
const LONGEST: usize = 64 << 10;

/// The longest value in memory beside it: 10,000 clients need some hundred kilobytes.
const LONGEST_BESIDE: usize = 64 << 20;

/// Keeper to exporter.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToMetrics {
    /// With: the socket that listens, and the connection to the front.
    Setup,
    /// What the keeper knows.
    Figures(KeeperFigures),
}

/// Exporter to keeper.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromMetrics {
    /// Answered by [`ToMetrics::Figures`].
    Ask,
}

/// A message and the descriptors that came with it, in order.
#[derive(Debug)]
pub(crate) struct Came<T> {
    pub(crate) value: T,
    descriptors: std::vec::IntoIter<OwnedFd>,
}

impl<T> Came<T> {
    /// The next descriptor.
    pub(crate) fn descriptor(&mut self) -> io::Result<OwnedFd> {
        self.descriptors.next().ok_or_else(|| io::Error::other("a message came without its descriptor"))
    }

    /// All that are left.
    pub(crate) fn rest(self) -> Vec<OwnedFd> {
        self.descriptors.collect()
    }

    /// The value that lies in the next descriptor's memory.
    pub(crate) fn beside<V: DeserializeOwned>(&mut self) -> io::Result<V> {
        let bytes = Zeroizing::new(memfd::read(self.descriptor()?, LONGEST_BESIDE)?);
        postcard::from_bytes(&bytes).map_err(|_| io::Error::other("a message with a value that is none"))
    }
}

/// Sends a value and descriptors.
pub(crate) fn send<T: Serialize>(
    channel: &Channel,
    value: &T,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    channel.send(&encode(value)?, descriptors)
}

/// Sends a value if there is room.
pub(crate) fn try_send<T: Serialize>(
    channel: &Channel,
    value: &T,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    channel.try_send(&encode(value)?, descriptors)
}

fn encode<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    postcard::to_stdvec(value).map_err(|_| io::Error::other("a message could not be written"))
}

/// Puts a long value into sealed memory, to be sent beside a message.
pub(crate) fn beside<T: Serialize>(value: &T) -> io::Result<OwnedFd> {
    let bytes = Zeroizing::new(encode(value)?);
    memfd::sealed("portunus", &bytes)
}

/// Waits for one message; `None` when the other end is gone.
pub(crate) fn receive<T: DeserializeOwned>(channel: &Channel) -> io::Result<Option<Came<T>>> {
    let mut buffer = vec![0; LONGEST];
    let received = channel.receive(&mut buffer)?;
    decode(received, &buffer)
}

/// Takes one message if one is there.
pub(crate) fn try_receive<T: DeserializeOwned>(channel: &Channel) -> io::Result<Taken<T>> {
    let mut buffer = vec![0; LONGEST];
    match channel.try_receive(&mut buffer)? {
        Received::Nothing => Ok(Taken::Nothing),
        received @ (Received::Message(_) | Received::Ended) => {
            Ok(decode(received, &buffer)?.map_or(Taken::Ended, Taken::Message))
        }
    }
}

/// What came of [`try_receive`].
#[derive(Debug)]
pub(crate) enum Taken<T> {
    Message(Came<T>),
    Nothing,
    Ended,
}

fn decode<T: DeserializeOwned>(received: Received, buffer: &[u8]) -> io::Result<Option<Came<T>>> {
    match received {
        Received::Ended | Received::Nothing => Ok(None),
        Received::Message(message) => {
            let bytes = buffer.get(..message.length).unwrap_or_default();
            let value = postcard::from_bytes(bytes)
                .map_err(|_| io::Error::other("a part said something that is no message"))?;
            Ok(Some(Came { value, descriptors: message.descriptors.into_iter() }))
        }
    }
}

/// Descriptors, borrowed for sending.
pub(crate) fn borrowed<T: AsFd>(descriptors: &[T]) -> Vec<BorrowedFd<'_>> {
    descriptors.iter().map(AsFd::as_fd).collect()
}
