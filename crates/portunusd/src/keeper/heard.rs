//! What the keeper does about what it is told: by signals, by changed files, by the parts.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::time::Duration;

use portunus_store::audit::By;
use portunus_sys::clock;
use portunus_sys::signals::Signal;
use portunus_sys::watch::Watch;

use super::follow::{Follower, Leader};
use super::sniff::{Gone, Sniffer};
use super::{AT_ONCE, Keeper, Next, SESSIONS_EVERY, SETTLE, state};
use crate::message::{self, FromCommands, FromFront, FromGrantor, Taken, ToFront};

impl Keeper<'_> {
    pub(super) fn on_signals(&mut self) -> Next {
        let mut next = Next::Go;
        while let Some(signal) = self.signals.read() {
            match signal {
                Signal::End => {
                    self.say_plainly("Got SIGTERM. Exiting...");
                    return Next::End(ExitCode::SUCCESS);
                }
                Signal::Reload => {
                    self.say_plainly("Got SIGHUP. Re-reading configs.");
                    next = Next::Reload;
                }
                Signal::Child => {
                    self.metrics.look_after();
                    if let Some(part) = self.audit.alerts.look_after() {
                        self.metrics.count_death(part);
                    }
                    if let Some(dead) = self.who_died() {
                        return self.a_part_died(dead);
                    }
                }
            }
        }
        next
    }

    pub(super) fn on_change(&mut self) -> Next {
        let changed = self.watch.as_mut().is_some_and(Watch::changed);
        if !changed {
            return Next::Go;
        }
        if self.plan.fwknopd.is_some() {
            self.reload_at = Some(clock::mono().after(SETTLE));
            return Next::Go;
        }
        // Eight `add`s at once, or an editor that writes two files, are one reload; nobody waits longer than this.
        std::thread::sleep(Duration::from_millis(20));
        if let Some(watch) = &mut self.watch {
            watch.changed();
        }
        // Who has asked by now has written before that, and is answered by the same reload.
        for _ in 0..AT_ONCE {
            if !portunus_sys::poll::readable(&self.front.channel, Duration::ZERO).unwrap_or(false) {
                break;
            }
            if let end @ Next::End(_) = self.on_front() {
                return end;
            }
        }
        Next::Reload
    }

    pub(super) fn on_front(&mut self) -> Next {
        match message::try_receive::<FromFront>(&self.front.channel) {
            Ok(Taken::Message(mut came)) => match came.value {
                FromFront::PleaseReload => {
                    self.asked += 1;
                    Next::Reload
                }
                FromFront::Enrol(enrolling) => {
                    self.come.push_back(enrolling);
                    Next::Go
                }
                FromFront::Sessions => {
                    // A front that says it more often than it should costs us no disk.
                    let now = clock::mono();
                    if now.since(self.last_sessions) >= SESSIONS_EVERY {
                        self.last_sessions = now;
                        state::write_sessions(self.plan, &mut came);
                    }
                    Next::Go
                }
                FromFront::EarGone(ear) => self.on_ear_gone(ear),
                FromFront::Finished { whole } => self.on_finished(whole),
                FromFront::Notes { notes, lost } => {
                    self.audit.add_notes(notes, lost);
                    Next::Go
                }
                FromFront::Ready { .. } | FromFront::InForce { .. } => Next::Go,
            },
            Ok(Taken::Nothing) => Next::Go,
            Ok(Taken::Ended) | Err(_) => self.part_gone("front"),
        }
    }

    /// A line of the original's, where we stand in for it.
    pub(super) fn say_plainly(&self, line: &str) {
        if self.plan.fwknopd.is_some() {
            tracing::info!("{line}");
        }
    }

    pub(super) fn on_logs(&mut self) -> Next {
        if let Some(logs) = &mut self.logs {
            logs.pass_on();
        }
        Next::Go
    }

    fn on_ear_gone(&mut self, ear: u16) -> Next {
        let Some(sniffer) = &mut self.sniffer else { return Next::Go };
        match sniffer.gone(ear) {
            Gone::End => Next::End(ExitCode::FAILURE),
            Gone::Back(socket) => self.hand_on_ears(vec![(ear, socket)]),
            Gone::Wait => Next::Go,
        }
    }

    pub(super) fn on_links(&mut self) -> Next {
        let back = self.sniffer.as_mut().map(Sniffer::changed).unwrap_or_default();
        self.hand_on_ears(back)
    }

    pub(super) fn on_followed(&mut self) -> Next {
        let leader = self.follower.as_mut().and_then(Follower::changed);
        match leader.map(|leader| self.hand_on_file(&leader)) {
            Some(Err(_)) => self.part_gone("front"),
            Some(Ok(())) | None => Next::Go,
        }
    }

    pub(super) fn hand_on_file(&self, leader: &Leader) -> io::Result<()> {
        let said = ToFront::Followed { from_end: leader.from_end };
        self.front.say(&said, &[leader.file.as_fd(), leader.growth.as_fd()])
    }

    fn hand_on_ears(&mut self, back: Vec<(u16, OwnedFd)>) -> Next {
        for (ear, socket) in back {
            if self.front.say(&ToFront::Ear(ear), &[socket.as_fd()]).is_err() {
                return self.part_gone("front");
            }
        }
        Next::Go
    }

    /// All that was to be received is.
    fn on_finished(&self, whole: bool) -> Next {
        let limit = self.plan.fwknopd.as_ref().and_then(|fwknopd| fwknopd.packet_limit);
        if let Some(limit) = limit {
            self.say_plainly(&format!("* Incoming packet count limit of {limit} reached"));
            self.say_plainly(&format!("Packet count limit ({limit}) reached. Exiting..."));
        }
        Next::End(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    pub(super) fn on_grantor(&mut self) -> Next {
        for _ in 0..AT_ONCE {
            match message::try_receive::<FromGrantor>(&self.grantor.channel) {
                Ok(Taken::Message(came)) => match came.value {
                    FromGrantor::InForce { place } => self.about.place = place,
                    FromGrantor::Refused { why } => tracing::error!(why, "the firewall"),
                    FromGrantor::NeedErrand | FromGrantor::NoJournal { .. } => (),
                    FromGrantor::Came { address, port } => self.trial.came(address, port),
                    FromGrantor::TrialOver => self.trial.end(),
                    FromGrantor::Facts { facts, lost } => self.audit.add_all(By::Grantor, facts, lost),
                },
                Ok(Taken::Nothing) => break,
                Ok(Taken::Ended) | Err(_) => return self.part_gone("grantor"),
            }
        }
        Next::Go
    }

    pub(super) fn on_metrics(&mut self) -> Next {
        self.metrics.answer(self.generation, self.audit.tally());
        self.metrics.look_after();
        Next::Go
    }

    /// Its end is seen by its process.
    pub(super) fn on_commands(&mut self) -> Next {
        let Some(commands) = self.helpers.commands() else { return Next::Go };
        match message::try_receive::<FromCommands>(&commands.channel) {
            Ok(Taken::Message(came)) => {
                let FromCommands { facts, lost } = came.value;
                self.audit.add_all(By::Commands, facts, lost);
                Next::Go
            }
            Ok(Taken::Nothing) => Next::Go,
            Ok(Taken::Ended) | Err(_) => self.part_gone("commands"),
        }
    }
}
