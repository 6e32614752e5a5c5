//! What the keeper says to the front, and what the front tells it.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use portunus_gate::{Enrolled, Ticket};
use portunus_model::{Cause, Closing, Mono, Now};
use portunus_sys::channel::Channel;
use portunus_sys::clock;
use portunus_sys::poll::Interest;

use zeroize::Zeroizing;

use super::chains::Kept;
use super::{COMMANDS, Front, GRANTOR, HEALTH, ORACLE, RESOLVER, keyring};
use crate::message::{
    self, Came, Enrolling, FromFront, FrontSnapshot, Helper, Session, Sessions, Taken, TakenIn, ToFront,
};

/// How often the keeper is told who is there, when that has changed.
pub(super) const TELL_EVERY: Duration = Duration::from_secs(1);
/// How long the grantor may take to close what new rules took back, before the keeper hears that it has not.
const SHUT_WITHIN: Duration = Duration::from_secs(3);
/// In the tickets of those settlings, which are ours; the desk counts its own from zero.
pub(super) const OF_RULES: u64 = 1 << 63;

impl Front {
    pub(super) fn on_keeper(&mut self) -> io::Result<()> {
        match message::try_receive::<ToFront>(&self.keeper)? {
            Taken::Message(came) => self.on_keeper_said(came),
            Taken::Nothing => Ok(()),
            Taken::Ended => {
                // It has said why, or was killed.
                tracing::debug!("the keeper is gone");
                self.end = true;
                Ok(())
            }
        }
    }

    pub(super) fn on_keeper_said(&mut self, mut came: Came<ToFront>) -> io::Result<()> {
        match &mut came.value {
            ToFront::Setup { .. } => Err(io::Error::other("a second setup")),
            ToFront::Serve { place } => {
                self.about.place = std::mem::take(place);
                self.health = came.rest();
                for (socket, number) in self.health.iter().zip(HEALTH..) {
                    self.poll.add(socket, number, Interest::Read)?;
                }
                Ok(())
            }
            ToFront::Reload => {
                let snapshot: FrontSnapshot = came.beside()?;
                self.on_rules(snapshot)
            }
            ToFront::Chains => {
                let file = File::from(came.descriptor()?);
                self.outward.chains.open_or_stay_closed(file, &mut self.gate);
                Ok(())
            }
            ToFront::Helper(helper) => {
                let helper = *helper;
                let channel = Channel::from_descriptor(came.descriptor()?)?;
                let (place, token) = match helper {
                    Helper::Commands => (&mut self.outward.helpers.commands, COMMANDS),
                    Helper::Resolver => (&mut self.outward.helpers.resolver, RESOLVER),
                    Helper::Oracle => (&mut self.outward.helpers.oracle, ORACLE),
                };
                // Of the oracle there is a new one for new keyrings.
                if let Some(old) = place.take() {
                    self.poll.remove(&old)?;
                }
                self.poll.add(&channel, token, Interest::Read)?;
                *place = Some(channel);
                Ok(())
            }
            ToFront::Ear(ear) => {
                let ear = usize::from(*ear);
                self.intake.replace_ear(&self.poll, ear, came.descriptor()?)
            }
            ToFront::Followed { from_end } => {
                let from_end = *from_end;
                let now = self.now();
                let (file, growth) = (came.descriptor()?, came.descriptor()?);
                self.intake.follow(&self.poll, (file, growth), from_end, now.mono)
            }
            ToFront::Exporter => {
                let stream = UnixStream::from(came.descriptor()?);
                self.desk.adopt(&self.poll, stream)
            }
            ToFront::Reloaded { asked, generation, warnings } => {
                self.desk.reloaded(*asked, *generation, warnings);
                self.desk.push(&self.poll);
                Ok(())
            }
            ToFront::ReloadRefused { asked, why } => {
                self.desk.reload_refused(*asked, why);
                self.desk.push(&self.poll);
                Ok(())
            }
            ToFront::Enrolled { ticket, how } => {
                let how = match how {
                    TakenIn::Done => Enrolled::Done,
                    TakenIn::Unconfirmed => Enrolled::Unconfirmed,
                    TakenIn::Another => Enrolled::Another,
                    TakenIn::Failed => Enrolled::Failed,
                };
                self.gate.handle_enrolled(clock::now(), Ticket::from_u64(*ticket), how);
                Ok(())
            }
            ToFront::End { close } => self.finish(*close),
        }
    }

    fn on_rules(&mut self, snapshot: FrontSnapshot) -> io::Result<()> {
        let FrontSnapshot { rules, keys, interfaces, about, listening, chains: left } = snapshot;
        let now = clock::now();
        self.desk.learn(&rules, listening.dry);
        self.gate.handle_rules(now, rules, keyring::read(&keys)?);
        self.taken_up = self.outward.chains.take_up(&left, &mut self.gate);
        Kept::say_missing(&self.gate);
        self.intake.change(&listening, &interfaces);
        self.listening = listening;
        self.about = about;
        // Grants of clients that are gone are closed, by the kernel, before anybody is told that the rules are in force.
        self.carry_out(now)?;
        let ticket = OF_RULES | self.about.generation;
        if !self.outward.settle(ticket)? {
            return self.say_in_force(false);
        }
        self.unsettled = Some((ticket, now.mono.after(SHUT_WITHIN)));
        self.outward.watch_room(&self.poll, GRANTOR)
    }

    /// Those who came with an invitation are the keeper's to take in. One that cannot be told now is busy: it comes again.
    pub(super) fn tell_who_came(&mut self, now: Now) {
        for (ticket, came) in std::mem::take(&mut self.outward.come) {
            let enrolling = Enrolling {
                ticket: ticket.as_u64(),
                name: came.name,
                public: came.public,
                day: came.day.number(),
                link: Zeroizing::new(*came.link.expose()),
                source: came.source,
            };
            if message::try_send(&self.keeper, &FromFront::Enrol(enrolling), &[]).is_err() {
                self.gate.handle_enrolled(now, ticket, Enrolled::Failed);
            }
        }
    }

    pub(super) fn say_in_force(&mut self, shut: bool) -> io::Result<()> {
        self.unsettled = None;
        let (taken_up, has_chains) = (self.taken_up, self.outward.chains.is_open());
        message::send(&self.keeper, &FromFront::InForce { shut, taken_up, has_chains }, &[])
    }

    fn finish(&mut self, close: bool) -> io::Result<()> {
        let now = clock::now();
        if close {
            self.gate.handle_closing(now, &Closing { client: None, address: None, cause: Cause::End });
        }
        self.carry_out(now)?;
        self.last_told = Mono::default();
        self.tell_keeper(now);
        self.tell_notes();
        self.end = true;
        Ok(())
    }

    /// What the audit log is to know.
    pub(super) fn tell_notes(&mut self) {
        self.desk.witness.tell(&self.keeper, |notes, lost| FromFront::Notes { notes, lost });
    }

    pub(super) fn tells(&self) -> bool {
        self.about.tell_sessions && self.desk.changed
    }

    /// Tells the keeper who is there, for the session file.
    pub(super) fn tell_keeper(&mut self, now: Now) {
        if !self.tells() || now.mono.since(self.last_told) < TELL_EVERY {
            return;
        }
        self.last_told = now.mono;
        let sessions = Sessions {
            open: self.gate.sessions(now).map(|one| session(now, &one)).collect(),
            last_seen: self.gate.last_seen().map(|(name, at)| (name.clone(), at)).collect(),
        };
        let sent = message::beside(&sessions)
            .and_then(|beside| message::try_send(&self.keeper, &FromFront::Sessions, &[beside.as_fd()]));
        // When there is no room now, the next round says it.
        self.desk.changed = sent.is_err();
    }
}

fn session(now: Now, one: &portunus_gate::Session<'_>) -> Session {
    Session {
        client: one.client.clone(),
        address: one.address,
        ports: one.door.ports.to_vec(),
        opened: one.opened,
        expires: now.wall.after(one.left),
    }
}
