//! The resolver process: looks names of inner hosts up for the front (fwknop's NAT by name). No right of its own but that to
//! ask the network; it knows no key, and what it answers only ever becomes a target that policy has allowed.

use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use portunus_ctl::names;
use portunus_sys::channel::{Channel, Received};
use portunus_sys::confine::{self, Confinement};
use portunus_sys::signals;
use portunus_sys::users::{Ids, Keep};

use crate::keeper::shed_rights;
use crate::{log, sandbox_words};

/// Names that are looked up at once; the system's resolver waits for each.
const WORKERS: usize = 4;
/// Names that wait for that.
const WAITING: usize = 64;

/// Looks names up until the keeper or the front is gone.
pub(crate) fn run(ids: Option<Ids>) -> io::Result<()> {
    let keeper = Channel::inherited()?;
    signals::leave_to_keeper()?;
    shed_rights(ids, Keep::Nothing)?;
    let landlock = confine::confine(Confinement::Resolver).map_err(io::Error::other)?;
    tracing::debug!(landlock = sandbox_words(landlock), "confined");
    let mut word = [0; 16];
    let Received::Message(mut first) = keeper.receive(&mut word)? else { return Ok(()) };
    let front = first.descriptors.pop().ok_or_else(|| io::Error::other("no channel to the front"))?;
    let front = Arc::new(Channel::from_descriptor(front)?);
    let (ask, asked) = sync_channel(WAITING);
    let asked = Arc::new(Mutex::new(asked));
    for _ in 0..WORKERS {
        let (front, asked) = (front.clone(), asked.clone());
        thread::Builder::new().name("lookup".to_owned()).spawn(move || work(&front, &asked))?;
    }
    // The front ends with the keeper, and we are killed with it.
    serve(&front, &ask)
}

fn serve(front: &Channel, ask: &SyncSender<(u64, String)>) -> io::Result<()> {
    let mut buffer = [0; names::LONGEST];
    loop {
        let length = match front.receive(&mut buffer)? {
            Received::Message(message) => message.length,
            Received::Nothing => continue,
            Received::Ended => return Ok(()),
        };
        let message = buffer.get(..length).unwrap_or_default();
        let Ok((ticket, name)) = names::read(message) else {
            tracing::warn!("the front asked for something that is no name");
            continue;
        };
        match ask.try_send((ticket, name.to_owned())) {
            Ok(()) => (),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => answer(front, ticket, None),
        }
        log::flush();
    }
}

fn work(front: &Channel, asked: &Mutex<Receiver<(u64, String)>>) {
    loop {
        let next = asked.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((ticket, name)) = next else { return };
        answer(front, ticket, look_up(&name));
    }
}

fn answer(front: &Channel, ticket: u64, address: Option<IpAddr>) {
    // A front that is gone needs no answer.
    let _ = front.send(&names::write_answer(ticket, address), &[]);
}

/// The host's first IPv4 address, as the original takes it; else its first one.
fn look_up(name: &str) -> Option<IpAddr> {
    let all: Vec<IpAddr> = (name, 0).to_socket_addrs().ok()?.map(|address| address.ip()).collect();
    all.iter().find(|address| address.is_ipv4()).or(all.first()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_is_known_and_nobody_is_not() {
        assert_eq!(look_up("localhost"), Some("127.0.0.1".parse().unwrap()));
        assert_eq!(look_up("no-such-host.invalid"), None);
    }
}
