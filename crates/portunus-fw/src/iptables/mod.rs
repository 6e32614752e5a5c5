//! iptables and ip6tables: for rulesets that those tools manage, in which nothing else can stand.
//!
//! Three chains of our own in `filter`, reached by one jump at the head of INPUT. Those of open doors and of who is cut
//! off are written anew as a whole in each transaction (`iptables-restore --noflush`): there is no rule to be deleted that somebody
//! may have deleted already, so a batch cannot fail half-way. Each door carries its end for the *kernel* (xt_time),
//! so that it closes when nobody is left to close it. Not here: which doors are due, and running programs with
//! rights ([`Runner`] is given).

mod fwknop;
mod runner;
mod text;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use portunus_model::{PortSpec, Unix, Way};

use crate::nft::flows;
use crate::ruleset::{Ruleset, TableFamily};
use crate::walk::IpVersion;
use crate::{Change, Element, Ended, Firewall, FirewallError, Standing, Structure, kill};

pub use fwknop::{Fwknop, Kind, Note};
pub use runner::{Programs, RunError, Runner, Table, Tool, Variant};

/// A door that stands open, until then by the wall clock: x_tables knows no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Door {
    address: IpAddr,
    port: PortSpec,
    /// At this address of ours only.
    destination: Option<IpAddr>,
    /// From this port only.
    from: Option<u16>,
    until: Unix,
}

impl Door {
    /// `None`: translations are fwknop's chains' business.
    fn of(element: &Element, until: Unix) -> Option<Self> {
        let Element { address, port, destination, way } = *element;
        let from = match way {
            Way::Here => None,
            Way::From(port) => Some(port),
            Way::Nat(_) | Way::All { .. } => return None,
        };
        Some(Self { address, port: port?, destination, from, until })
    }

    const fn element(&self) -> Element {
        let way = match self.from {
            Some(port) => Way::From(port),
            None => Way::Here,
        };
        Element { destination: self.destination, way, ..Element::here(self.address, self.port) }
    }
}

type Seed = fn(&Structure) -> Result<(), FirewallError>;

/// All that stand in one family.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Doors {
    open: Vec<Door>,
    /// Closed for live connections too.
    cut: Vec<Door>,
}

/// The back end.
pub struct Iptables<R> {
    runner: R,
    wall: fn() -> Unix,
    structure: Structure,
    open: BTreeMap<Element, Unix>,
    /// Who is cut off, and until when.
    cuts: BTreeMap<Element, Unix>,
    /// Something of an earlier life was taken over, or there was none.
    begun: bool,
    kernel_closes: bool,
    /// Makes living connections known before our first drop.
    seed: Option<Seed>,
}

const BOTH: [IpVersion; 2] = [IpVersion::V4, IpVersion::V6];

impl<R: Runner> Iptables<R> {
    /// A back end that has written nothing yet; `wall` reads the clock that the kernel compares a door's end with.
    pub fn new(runner: R, wall: fn() -> Unix) -> Self {
        Self {
            runner,
            wall,
            structure: Structure::default(),
            open: BTreeMap::new(),
            cuts: BTreeMap::new(),
            begun: false,
            kernel_closes: true,
            seed: None,
        }
    }

    /// The same; before the first install every living TCP connection to our ports is made known to conntrack, over
    /// netlink, so that an idle session outlives it also where nothing used conntrack before.
    #[must_use]
    pub const fn keeping_live_flows(mut self) -> Self {
        self.seed = Some(flows::seed);
        self
    }

    fn write_all(&mut self) -> Result<(), FirewallError> {
        self.kernel_closes = has_time(&mut self.runner)?;
        for version in BOTH {
            let saved = self.runner.run(Tool::Save(version), "")?;
            self.take_over_cuts(&saved);
            let doors = self.doors_of(version);
            let text = text::install(&self.structure.stance, &saved, &doors, self.kernel_closes);
            self.runner.run(Tool::Restore(version), &text)?;
            self.read_back(version)?;
        }
        self.begun = true;
        Ok(())
    }

    /// Who was cut off in an earlier life stays so.
    fn take_over_cuts(&mut self, saved: &str) {
        let now = (self.wall)();
        if !self.begun {
            let cuts = text::doors(saved).cut.into_iter();
            self.cuts.extend(cuts.map(|door| (door.element(), door.until)));
        }
        self.cuts.retain(|_, until| *until > now);
    }

    fn write_doors(&mut self, version: IpVersion) -> Result<(), FirewallError> {
        let text = text::doors_only(&self.doors_of(version), self.kernel_closes);
        self.runner.run(Tool::Restore(version), &text)?;
        self.read_back(version)
    }

    fn read_back(&mut self, version: IpVersion) -> Result<(), FirewallError> {
        let tool = Tool::Save(version);
        let saved = self.runner.run(tool, "")?;
        text::check(&saved, &self.doors_of(version))
            .map_err(|broken| FirewallError::Tool { tool: tool.name(), said: broken.to_string() })
    }

    /// Takes the changes that are allowed into the book, and says why not of the others.
    fn note(&mut self, changes: &[Change]) -> Vec<Option<FirewallError>> {
        let now = (self.wall)();
        let mut room = (self.structure.most_open as usize).saturating_sub(self.open.len());
        let mut note = |change: &Change| match *change {
            Change::Close(element) => {
                room += usize::from(self.open.remove(&element).is_some());
                None
            }
            Change::Open(element, _) if self.structure.has_place_for(&element).is_err() => {
                self.structure.has_place_for(&element).err()
            }
            Change::Open(element, _) if Door::of(&element, now).is_none() => {
                Some(FirewallError::NoWay(element))
            }
            Change::Open(element, _) if room == 0 && !self.open.contains_key(&element) => {
                Some(FirewallError::Full)
            }
            Change::Open(element, lasting) => {
                self.cuts.retain(|cut, _| !cut.overlaps(&element));
                let was = self.open.insert(element, now.after(lasting));
                room -= usize::from(was.is_none());
                None
            }
        };
        changes.iter().map(&mut note).collect()
    }

    fn forget_ended(&mut self) {
        let now = (self.wall)();
        self.open.retain(|_, until| *until > now);
        self.cuts.retain(|_, until| *until > now);
    }

    /// A family whose transaction failed is as it was.
    fn put_back(&mut self, version: IpVersion, before: &BTreeMap<Element, Unix>) {
        self.open.retain(|element, _| version_of(element.address) != version);
        let of_it = before.iter().filter(|(element, _)| version_of(element.address) == version);
        self.open.extend(of_it.map(|(&element, &until)| (element, until)));
    }

    fn doors_of(&self, version: IpVersion) -> Doors {
        let of = |all: &BTreeMap<Element, Unix>| {
            let of_it = all.iter().filter(|(element, _)| version_of(element.address) == version);
            of_it.filter_map(|(element, until)| Door::of(element, *until)).collect()
        };
        Doors { open: of(&self.open), cut: of(&self.cuts) }
    }
}

/// Whether this kernel has xt_time: tried on a chain that the same transaction removes again.
fn has_time(runner: &mut impl Runner) -> Result<bool, FirewallError> {
    match runner.run(Tool::Restore(IpVersion::V4), &text::time_trial()) {
        Ok(_) => Ok(true),
        // The same without it tells a missing match from a missing right.
        Err(RunError::Failed { .. }) => {
            runner.run(Tool::Restore(IpVersion::V4), &text::plain_trial())?;
            Ok(false)
        }
        Err(error @ (RunError::Missing(_) | RunError::TimedOut(_) | RunError::Broken { .. })) => {
            Err(error.into())
        }
    }
}

impl<R: Runner> Firewall for Iptables<R> {
    /// One transaction a family: IPv4 first.
    fn install(&mut self, structure: &Structure, open: &[(Element, Duration)]) -> Result<(), FirewallError> {
        let now = (self.wall)();
        self.structure = structure.clone();
        self.open = open.iter().map(|&(element, lasting)| (element, now.after(lasting))).collect();
        if let Some(seed) = self.seed {
            seed(structure)?;
        }
        self.write_all()?;
        // And whoever came in between; later everybody is known.
        self.seed.take().map_or(Ok(()), |seed| seed(structure))
    }

    /// One transaction a family that is touched. All its text is of our making, so it fails as a whole or not at all
    /// (a tool is missing, the lock is held): there is no bad change to be looked for.
    fn change(&mut self, changes: &[Change]) -> Vec<Result<(), FirewallError>> {
        self.forget_ended();
        let before = self.open.clone();
        let refused = self.note(changes);
        let outcome = BOTH.map(|version| {
            let touched = changes.iter().any(|change| version_of(change.element().address) == version);
            let written = if touched { self.write_doors(version) } else { Ok(()) };
            if written.is_err() {
                self.put_back(version, &before);
            }
            written
        });
        let [four, six] = outcome;
        let written = |change: &Change| match version_of(change.element().address) {
            IpVersion::V4 => four.clone(),
            IpVersion::V6 => six.clone(),
        };
        changes
            .iter()
            .zip(refused)
            .map(|(change, refused)| refused.map_or_else(|| written(change), Err))
            .collect()
    }

    fn end_flows(&mut self, elements: &[Element], lasting: Duration) -> Result<Ended, FirewallError> {
        self.forget_ended();
        let until = (self.wall)().after(lasting);
        self.cuts.extend(elements.iter().map(|element| (*element, until)));
        let mut cut = Ok(());
        for version in BOTH {
            if elements.iter().any(|element| version_of(element.address) == version) {
                cut = cut.and(self.write_doors(version));
            }
        }
        let ended = kill::end(elements)?;
        cut.map(|()| ended)
    }

    fn open_now(&mut self) -> Result<Vec<(Element, Duration)>, FirewallError> {
        let mut open = Vec::new();
        for version in BOTH {
            let saved = self.runner.run(Tool::Save(version), "")?;
            let now = (self.wall)();
            let due = text::doors(&saved).open.into_iter().filter(|door| door.until > now);
            open.extend(due.map(|door| (door.element(), door.until.since(now))));
        }
        Ok(open)
    }

    /// Whether everything of ours stands, before everything else in INPUT.
    fn standing(&mut self) -> Result<Standing, FirewallError> {
        for version in BOTH {
            let saved = self.runner.run(Tool::Save(version), "")?;
            if text::check(&saved, &self.doors_of(version)).is_err() {
                return Ok(Standing::Broken);
            }
        }
        Ok(Standing::Whole)
    }

    /// x_tables tells nobody when it changes.
    fn watch(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn teardown(&mut self) -> Result<(), FirewallError> {
        self.open.clear();
        for version in BOTH {
            let saved = self.runner.run(Tool::Save(version), "")?;
            if let Some(text) = text::teardown(&saved) {
                self.runner.run(Tool::Restore(version), &text)?;
            }
        }
        Ok(())
    }

    fn kernel_closes(&self) -> bool {
        self.kernel_closes
    }
}

/// Adds the rules of the old x_tables to what nf_tables told, where there are any. The tools are not even started
/// where there are none: they would make the tables that they look for.
///
/// # Errors
/// What the tools said.
pub fn add_legacy(ruleset: &mut Ruleset, runner: &mut impl Runner) -> Result<(), RunError> {
    let families = [
        (IpVersion::V4, TableFamily::Ip, "ip_tables_names"),
        (IpVersion::V6, TableFamily::Ip6, "ip6_tables_names"),
    ];
    for (version, family, names) in families {
        // The thread's own view: another thread may live in another namespace.
        let names = std::fs::read_to_string(format!("/proc/thread-self/net/{names}")).unwrap_or_default();
        if !names.trim().is_empty() {
            ruleset.add_legacy(family, &runner.run(Tool::SaveAll(version), "")?);
        }
    }
    Ok(())
}

impl From<RunError> for FirewallError {
    fn from(error: RunError) -> Self {
        Self::Tool { tool: error.tool().name(), said: error.to_string() }
    }
}

const fn version_of(address: IpAddr) -> IpVersion {
    match address {
        IpAddr::V4(_) => IpVersion::V4,
        IpAddr::V6(_) => IpVersion::V6,
    }
}

#[cfg(test)]
mod tests {
    use portunus_model::Proto;

    use super::*;

    /// Tools over a kernel that keeps the last doors it was given, for both families alike.
    struct Fake {
        has_time: bool,
        locked: bool,
        doors: [String; 2],
    }

    impl Runner for Fake {
        fn run(&mut self, tool: Tool, input: &str) -> Result<String, RunError> {
            let doors = &mut self.doors[usize::from(tool.version() == IpVersion::V6)];
            if let Tool::Save(_) = tool {
                return Ok(format!(
                    ":PORTUNUS_INPUT - [0:0]\n:PORTUNUS_CUT - [0:0]\n:PORTUNUS_OPEN - [0:0]\n-A INPUT -m comment --comment portunus -j PORTUNUS_INPUT\n-A PORTUNUS_INPUT -i lo -j ACCEPT\n{doors}"
                ));
            }
            if self.locked {
                return Err(RunError::TimedOut(tool));
            }
            if input.contains("-m time") && !self.has_time {
                return Err(RunError::Failed { tool, said: "Couldn't load match `time'".to_owned() });
            }
            let ours = input.lines().filter(|line| line.starts_with("-A PORTUNUS_OPEN"));
            *doors = ours.map(|line| format!("{line}\n")).collect();
            Ok(String::new())
        }
    }

    fn ready(has_time: bool) -> (Iptables<Fake>, Element) {
        let port = PortSpec::single(Proto::Tcp, 22).unwrap();
        let fake = Fake { has_time, locked: false, doors: [const { String::new() }; 2] };
        let mut iptables = Iptables::new(fake, || Unix::from_secs(1_795_225_556));
        let structure = Structure { doors: vec![port], most_open: 8, ..Structure::default() };
        iptables.install(&structure, &[]).unwrap();
        (iptables, Element::here("198.51.100.9".parse().unwrap(), port))
    }

    #[test]
    fn without_xt_time_doors_open_all_the_same_and_it_is_said() {
        let (mut iptables, door) = ready(false);
        assert!(!iptables.kernel_closes());
        assert_eq!(iptables.change(&[Change::Open(door, Duration::from_secs(30))]), [Ok(())]);
        assert_eq!(iptables.open_now().unwrap(), [(door, Duration::from_secs(30))]);
        assert!(ready(true).0.kernel_closes());
    }

    #[test]
    fn a_transaction_that_fails_leaves_the_book_as_it_was() {
        let (mut iptables, door) = ready(true);
        iptables.runner.locked = true;
        let answers = iptables.change(&[Change::Open(door, Duration::from_secs(30))]);
        let [Err(FirewallError::Tool { tool, said })] = answers.as_slice() else { panic!("{answers:?}") };
        assert_eq!(*tool, "iptables-restore");
        assert!(said.starts_with("it did not end within 10 s"), "{said}");
        iptables.runner.locked = false;
        assert_eq!(iptables.standing(), Ok(Standing::Whole), "nothing is expected that was not written");
    }
}
