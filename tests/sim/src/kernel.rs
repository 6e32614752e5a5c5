//! The grantor and the kernel: messages in order, doors with timers, answers that may come late.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use portunus_gate::{Door as Asked, RestoredGrant, Ticket};
use portunus_model::{ClientName, Closing, Grounds, Mono, Opened, Opening};

use crate::dice::Dice;

pub(crate) enum Message {
    Open(Ticket, Opening),
    Close(Closing),
}

/// Which grant: a client's at an address; where the client asked for the door itself (fwknop) each is one of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub(crate) client: ClientName,
    pub(crate) address: IpAddr,
    door: Option<Asked>,
}

impl Place {
    pub(crate) fn new(client: &ClientName, address: IpAddr, door: &Asked) -> Self {
        let door = is_stanza(client).then(|| door.clone());
        Self { client: client.clone(), address, door }
    }

    pub(crate) fn of(opening: &Opening) -> Self {
        Self::new(&opening.client, opening.address, &door_of(opening))
    }
}

/// By their names they are known.
fn is_stanza(client: &ClientName) -> bool {
    client.as_str().starts_with("stanza")
}

fn door_of(opening: &Opening) -> Asked {
    let Opening { ports, destination, way, .. } = opening;
    Asked { ports: ports.clone(), destination: *destination, way: *way }
}

pub(crate) struct Door {
    pub(crate) until: Mono,
    what: Asked,
    grounds: Grounds,
}

#[derive(Default)]
pub(crate) struct Kernel {
    pub(crate) doors: BTreeMap<Place, Door>,
    inbox: VecDeque<(Mono, Message)>,
    outbox: VecDeque<(Mono, Ticket, Opened)>,
    /// Of ten openings, so many fail.
    pub(crate) failing: u64,
    /// How long a message takes, each way, at most.
    pub(crate) slowness: Duration,
}

impl Kernel {
    pub(crate) fn send(&mut self, now: Mono, message: Message, dice: &mut Dice) {
        let at = self.later(now, self.inbox.back().map(|&(at, _)| at), dice);
        self.inbox.push_back((at, message));
    }

    /// A socket keeps the order, however long each message takes.
    fn later(&self, now: Mono, last: Option<Mono>, dice: &mut Dice) -> Mono {
        let delay = dice.roll(self.slowness.as_nanos() as u64 + 1);
        now.after(Duration::from_nanos(delay)).max(last.unwrap_or_default())
    }

    /// When something happens next.
    pub(crate) fn next(&self) -> Option<Mono> {
        let (inbox, outbox) =
            (self.inbox.front().map(|&(at, _)| at), self.outbox.front().map(|&(at, ..)| at));
        inbox.into_iter().chain(outbox).min()
    }

    /// Carries out what has arrived; gives the answers that are due.
    pub(crate) fn run(&mut self, now: Mono, dice: &mut Dice) -> Vec<(Ticket, Opened)> {
        while self.inbox.front().is_some_and(|&(at, _)| at <= now) {
            let Some((at, message)) = self.inbox.pop_front() else { break };
            match message {
                Message::Open(ticket, opening) => {
                    let answer = self.open(at, &opening, dice);
                    let reply = self.later(at, self.outbox.back().map(|&(at, ..)| at), dice);
                    self.outbox.push_back((reply, ticket, answer));
                }
                Message::Close(closing) => self.close(&closing),
            }
        }
        self.doors.retain(|_, door| door.until > now);
        let mut answers = Vec::new();
        while let Some(&(_, ticket, answer)) = self.outbox.front().filter(|&&(at, ..)| at <= now) {
            self.outbox.pop_front();
            answers.push((ticket, answer));
        }
        answers
    }

    fn open(&mut self, at: Mono, opening: &Opening, dice: &mut Dice) -> Opened {
        if dice.roll(10) < self.failing {
            return *dice.pick(&[Opened::Failed, Opened::Full, Opened::Refused]);
        }
        let until = at.after(opening.lasting);
        let door = self.doors.entry(Place::of(opening)).or_insert(Door {
            until,
            what: Asked::default(),
            grounds: opening.grounds,
        });
        if door.until <= until {
            (door.until, door.grounds) = (until, opening.grounds);
        }
        door.what = door_of(opening);
        Opened::Open
    }

    fn close(&mut self, closing: &Closing) {
        self.doors.retain(|place, _| {
            closing.client.as_ref().is_some_and(|only| *only != place.client)
                || closing.address.is_some_and(|only| only != place.address)
        });
    }

    /// The daemon was killed: of its messages some had arrived. The doors stay. Gives what the new one finds.
    pub(crate) fn daemon_killed(&mut self, now: Mono, dice: &mut Dice) -> Vec<RestoredGrant> {
        let arrived = dice.roll(self.inbox.len() as u64 + 1) as usize;
        self.inbox.truncate(arrived);
        self.inbox.iter_mut().for_each(|(at, _)| *at = now);
        let _ = self.run(now, dice);
        self.outbox.clear();
        let restored = |(place, door): (&Place, &Door)| RestoredGrant {
            client: place.client.clone(),
            address: place.address,
            door: door.what.clone(),
            until: door.until,
            grounds: door.grounds,
        };
        self.doors.iter().map(restored).collect()
    }

    /// A reboot leaves nothing open.
    pub(crate) fn reboot(&mut self) {
        self.doors.clear();
        self.inbox.clear();
        self.outbox.clear();
    }
}
