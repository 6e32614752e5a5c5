//! The processes that the front asks, where the configuration has work for them: who runs commands, who looks names
//! up, and who runs gpg.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use portunus_config::Settings;
use portunus_sys::channel::Channel;
use portunus_sys::users::{Ids, Keep};

use super::gpg;
use super::part::Part;
use crate::message::{self, CommandsSnapshot, OracleSnapshot, ToCommands, ToOracle};
use crate::{Plan, commands};

/// Those that run.
#[derive(Default)]
pub(super) struct Helpers {
    commands: Option<Part>,
    resolver: Option<Part>,
    oracle: Option<Oracle>,
    ids: Option<Ids>,
    /// Whose the keyrings are, as it was found when they were read: who runs may be another's yet.
    keyrings_owner: Option<Ids>,
}

/// Who runs gpg: with these keyrings, as their owner. For others, or another's, there is another one.
struct Oracle {
    part: Part,
    snapshot: OracleSnapshot,
    owner: Option<Ids>,
}

impl Helpers {
    pub(super) fn new(ids: Option<Ids>, keyrings_owner: Option<Ids>) -> Self {
        Self { ids, keyrings_owner, ..Self::default() }
    }

    /// Other keyrings, whose gpg is to run from the next [`Self::start`] on.
    pub(super) fn keyrings_belong_to(&mut self, owner: Option<Ids>) {
        self.keyrings_owner = owner;
    }

    /// A keyring of root's, where they are: gpg runs as root then.
    pub(super) fn roots_keyring(&self) -> Option<&Path> {
        let oracle = self.oracle.as_ref()?;
        let is_roots = oracle.owner.is_some_and(|owner| owner.uid == 0);
        oracle.snapshot.rings.first().map(|ring| ring.home.as_path()).filter(|_| is_roots)
    }

    /// Starts who is needed and does not run yet; the front's ends of their channels.
    pub(super) fn start(
        &mut self,
        plan: &Plan,
        settings: &Settings,
        stderr: impl Fn() -> Option<OwnedFd>,
    ) -> io::Result<[Option<Channel>; 3]> {
        let mut ends = [None, None, None];
        let [to_commands, to_resolver, to_oracle] = &mut ends;
        let snapshot = snapshot(plan, settings);
        let left = !plan.dry() && commands::has_work_left(&plan.state_dir);
        let needed = !snapshot.stanzas.is_empty() || left;
        if needed && self.commands.is_none() {
            let (front_end, own_end) = Channel::pair()?;
            let part = Part::start(plan, "commands", (None, None), stderr())?;
            let beside = message::beside(&snapshot)?;
            let setup = ToCommands::Setup { state_dir: plan.state_dir.clone() };
            part.say(&setup, &[beside.as_fd(), own_end.as_fd()])?;
            self.commands = Some(part);
            *to_commands = Some(front_end);
        }
        if looks_names_up(settings) && self.resolver.is_none() {
            let (front_end, own_end) = Channel::pair()?;
            let part = Part::start(plan, "resolver", (self.ids, Some(Keep::Nothing)), stderr())?;
            part.channel.send(b"s", &[own_end.as_fd()])?;
            self.resolver = Some(part);
            *to_resolver = Some(front_end);
        }
        *to_oracle = self.start_oracle(plan, settings, &stderr)?;
        Ok(ends)
    }

    /// It is confined to its keyrings' folders and has become their owner, so other ones need another process.
    fn start_oracle(
        &mut self,
        plan: &Plan,
        settings: &Settings,
        stderr: &impl Fn() -> Option<OwnedFd>,
    ) -> io::Result<Option<Channel>> {
        let (snapshot, owner) = (gpg::snapshot(settings), self.keyrings_owner);
        let serves = |old: &Oracle| old.snapshot == snapshot && old.owner == owner;
        if self.oracle.as_ref().map_or(snapshot.rings.is_empty(), serves) {
            return Ok(None);
        }
        if let Some(mut old) = self.oracle.take() {
            old.part.end_now();
        }
        let (front_end, own_end) = Channel::pair()?;
        if !snapshot.rings.is_empty() {
            let part = Part::start(plan, "gpg", (gpg::becomes(owner), Some(Keep::Nothing)), stderr())?;
            let beside = message::beside(&snapshot)?;
            part.say(&ToOracle::Setup, &[beside.as_fd(), own_end.as_fd()])?;
            self.oracle = Some(Oracle { part, snapshot, owner });
        }
        Ok(Some(front_end).filter(|_| self.oracle.is_some()))
    }

    /// The commands of the configuration have changed.
    pub(super) fn reload(&self, plan: &Plan, settings: &Settings) -> io::Result<()> {
        let Some(part) = &self.commands else { return Ok(()) };
        let beside = message::beside(&snapshot(plan, settings))?;
        part.say(&ToCommands::Reload, &[beside.as_fd()])
    }

    pub(super) fn commands(&self) -> Option<&Part> {
        self.commands.as_ref()
    }

    pub(super) fn parts(&mut self) -> impl Iterator<Item = &mut Part> {
        let oracle = self.oracle.as_mut().map(|oracle| &mut oracle.part);
        [self.commands.as_mut(), self.resolver.as_mut(), oracle].into_iter().flatten()
    }

    pub(super) fn end(&mut self, patience: Duration) {
        if let Some(commands) = &mut self.commands {
            let _ = commands.say(&ToCommands::End, &[]);
            commands.finish(patience);
        }
        if let Some(resolver) = &mut self.resolver {
            resolver.finish(Duration::ZERO);
        }
        if let Some(oracle) = &mut self.oracle {
            oracle.part.finish(Duration::ZERO);
        }
    }
}

fn snapshot(plan: &Plan, settings: &Settings) -> CommandsSnapshot {
    let daemon = settings.fwknop.as_deref();
    let seconds = daemon.and_then(|daemon| daemon.command_timeout);
    let longest = seconds.map(|seconds| Duration::from_secs(u64::from(seconds)));
    let mut snapshot = CommandsSnapshot::of(&settings.rules, longest, plan.shows());
    if plan.dry() {
        snapshot.stanzas.clear();
    }
    snapshot
}

/// Whether some stanza takes names for inner hosts.
fn looks_names_up(settings: &Settings) -> bool {
    settings.rules.clients.iter().filter_map(|client| client.stanza.as_ref()).any(|stanza| {
        let nat = &stanza.nat;
        nat.names && (nat.forward || nat.local) && nat.force.is_none()
    })
}
