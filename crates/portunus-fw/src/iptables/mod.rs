//! iptables and ip6tables: for rulesets that those tools manage, in which nothing else can stand.
//!
//! Two chains of our own in `filter`, reached by one jump at the head of INPUT. The chain of open doors is written
//! anew as a whole in each transaction (`iptables-restore --noflush`): there is no rule to be deleted that somebody
//! may have deleted already, so a batch cannot fail half-way. Each door carries its end for the *kernel* (xt_time),
//! so that it closes when nobody is left to close it. Not here: which doors are due, and running programs with
//! rights ([`Runner`] is given).

mod runner;
mod text;

use std::collections::BTreeMap;
use std::net::IpAddr;

use portunus_model::{PortSpec, Stance, Unix};

use crate::walk::IpVersion;

pub use runner::{Programs, RunError, Runner, Tool, Variant};
pub use text::Broken;

/// A door that stands open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Door {
    /// For whom.
    pub address: IpAddr,
    /// Which port or range.
    pub port: PortSpec,
    /// Until when, by the wall clock: x_tables knows no other.
    pub until: Unix,
}

/// What is to become of a door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It stands open until then, whatever it did before.
    Open(Door),
    /// It is closed.
    Close {
        /// For whom.
        address: IpAddr,
        /// Which port or range.
        port: PortSpec,
    },
}

impl Turn {
    const fn key(&self) -> (IpAddr, PortSpec) {
        match self {
            Self::Open(door) => (door.address, door.port),
            Self::Close { address, port } => (*address, *port),
        }
    }
}

/// Why the rules are not as they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IptablesError {
    /// A program failed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// What was written is not there when read back.
    #[error("{tool} took the rules, and {broken}", tool = .tool.name(), broken = .broken)]
    Lost {
        /// The tool that read it back.
        tool: Tool,
        /// What is missing.
        broken: Broken,
    },
}

/// The back end.
pub struct Iptables<R> {
    runner: R,
    stance: Stance,
    open: BTreeMap<(IpAddr, PortSpec), Unix>,
    kernel_closes: bool,
}

impl<R: Runner> Iptables<R> {
    /// A back end that has written nothing yet.
    pub const fn new(runner: R, stance: Stance) -> Self {
        Self { runner, stance, open: BTreeMap::new(), kernel_closes: true }
    }

    /// Whether the kernel closes each door by itself. `false`: it lacks xt_time, a daemon that is killed leaves doors
    /// open until it starts again, and whoever set this up must be told.
    pub const fn kernel_closes(&self) -> bool {
        self.kernel_closes
    }

    /// Puts our chains, the jump and every door that is due in place, whatever stands there of ours: one transaction
    /// a family. Also after somebody flushed us.
    ///
    /// # Errors
    /// What the tools said; the family that failed is as it was.
    pub fn install(&mut self, doors: &[Door]) -> Result<(), IptablesError> {
        self.open = doors.iter().map(|door| ((door.address, door.port), door.until)).collect();
        self.kernel_closes = self.has_time()?;
        for version in [IpVersion::V4, IpVersion::V6] {
            let saved = self.runner.run(Tool::Save(version), "")?;
            let text = text::install(&self.stance, &saved, &self.doors_of(version), self.kernel_closes);
            self.runner.run(Tool::Restore(version), &text)?;
            self.read_back(version)?;
        }
        Ok(())
    }

    /// Opens, extends and closes: one transaction a family that is touched, read back. An answer for each turn, in
    /// order; a family that failed is as it was before.
    pub fn turn(&mut self, turns: &[Turn]) -> Vec<Result<(), IptablesError>> {
        let before = self.open.clone();
        for turn in turns {
            match turn {
                Turn::Open(door) => drop(self.open.insert(turn.key(), door.until)),
                Turn::Close { .. } => drop(self.open.remove(&turn.key())),
            }
        }
        let outcome = [IpVersion::V4, IpVersion::V6].map(|version| {
            let touched = turns.iter().any(|turn| version_of(turn.key().0) == version);
            let written = if touched { self.write_doors(version) } else { Ok(()) };
            if written.is_err() {
                self.restore(version, &before);
            }
            written
        });
        let [four, six] = &outcome;
        let of = |turn: &Turn| match version_of(turn.key().0) {
            IpVersion::V4 => four.clone(),
            IpVersion::V6 => six.clone(),
        };
        turns.iter().map(of).collect()
    }

    /// The doors that the kernel has.
    ///
    /// # Errors
    /// What the tools said.
    pub fn doors(&mut self) -> Result<Vec<Door>, IptablesError> {
        let mut doors = Vec::new();
        for version in [IpVersion::V4, IpVersion::V6] {
            let saved = self.runner.run(Tool::Save(version), "")?;
            doors.extend(text::doors(&saved));
        }
        Ok(doors)
    }

    /// Whether everything of ours still stands, and before everything else in INPUT. x_tables tells nobody when it
    /// changes, so this has to be asked from time to time.
    ///
    /// # Errors
    /// What the tools said.
    pub fn stands(&mut self) -> Result<bool, IptablesError> {
        for version in [IpVersion::V4, IpVersion::V6] {
            match self.read_back(version) {
                Ok(()) => {}
                Err(IptablesError::Lost { .. }) => return Ok(false),
                Err(error @ IptablesError::Run(_)) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Takes everything of ours away.
    ///
    /// # Errors
    /// What the tools said.
    pub fn teardown(&mut self) -> Result<(), IptablesError> {
        self.open.clear();
        for version in [IpVersion::V4, IpVersion::V6] {
            let saved = self.runner.run(Tool::Save(version), "")?;
            if let Some(text) = text::teardown(&saved) {
                self.runner.run(Tool::Restore(version), &text)?;
            }
        }
        Ok(())
    }

    fn write_doors(&mut self, version: IpVersion) -> Result<(), IptablesError> {
        let text = text::doors_only(&self.doors_of(version), self.kernel_closes);
        self.runner.run(Tool::Restore(version), &text)?;
        self.read_back(version)
    }

    fn read_back(&mut self, version: IpVersion) -> Result<(), IptablesError> {
        let tool = Tool::Save(version);
        let saved = self.runner.run(tool, "")?;
        text::check(&saved, &self.doors_of(version)).map_err(|broken| IptablesError::Lost { tool, broken })
    }

    fn restore(&mut self, version: IpVersion, before: &BTreeMap<(IpAddr, PortSpec), Unix>) {
        self.open.retain(|(address, _), _| version_of(*address) != version);
        let of_it = before.iter().filter(|((address, _), _)| version_of(*address) == version);
        self.open.extend(of_it.map(|(&key, &until)| (key, until)));
    }

    fn doors_of(&self, version: IpVersion) -> Vec<Door> {
        let of_it = self.open.iter().filter(|((address, _), _)| version_of(*address) == version);
        of_it.map(|(&(address, port), &until)| Door { address, port, until }).collect()
    }

    /// Whether this kernel has xt_time: tried on a chain that the same transaction removes again.
    fn has_time(&mut self) -> Result<bool, IptablesError> {
        match self.runner.run(Tool::Restore(IpVersion::V4), &text::time_trial()) {
            Ok(_) => Ok(true),
            Err(RunError::Failed { .. }) => Ok(false),
            Err(error @ (RunError::Missing(_) | RunError::TimedOut(_) | RunError::Broken { .. })) => Err(error.into()),
        }
    }
}

const fn version_of(address: IpAddr) -> IpVersion {
    match address {
        IpAddr::V4(_) => IpVersion::V4,
        IpAddr::V6(_) => IpVersion::V6,
    }
}
