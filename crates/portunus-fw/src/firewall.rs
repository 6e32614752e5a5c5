//! What a firewall back end does, whichever it is.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use portunus_model::{Element, NatLimits, PortSpec, Stance, Way};

use crate::Ended;
use crate::iptables::Note;

/// What must stand in the ruleset, whoever has a grant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Structure {
    /// Every port or range that may be opened. Single ports share a set; each range has one of its own.
    pub doors: Vec<PortSpec>,
    /// Where we stand, what we drop, which interfaces count.
    pub stance: Stance,
    /// How many elements a set may hold; full is [`FirewallError::Full`].
    pub most_open: u32,
    /// Whether any single port may be opened, besides the doors.
    pub any_port: bool,
    /// Whether a door may be open at one of our addresses only.
    pub destinations: bool,
    /// Whether doors may be opened for one source port.
    pub source_ports: bool,
    /// Which translations there may be.
    pub nat: NatLimits,
    /// A trial: the drops of the protected ports end by themselves then, whatever becomes of us. Only nftables can that.
    pub trial: Option<Instant>,
}

impl Structure {
    /// Whether there is a place for this element.
    ///
    /// # Errors
    /// [`FirewallError::NoDoor`], [`FirewallError::NoWay`].
    pub fn has_place_for(&self, element: &Element) -> Result<(), FirewallError> {
        if let (Way::Here | Way::From(_), Some(port)) = (element.way, element.port)
            && !(self.doors.contains(&port) || (self.any_port && port.is_single()))
        {
            return Err(FirewallError::NoDoor(port));
        }
        let single = element.port.is_none_or(PortSpec::is_single);
        let narrow = element.destination.is_none() || (self.destinations && single);
        let (plain, whole) = (element.way == Way::Here, matches!(element.way, Way::All { .. }));
        let flow =
            !matches!(element.way, Way::From(_)) || (self.source_ports && element.destination.is_none());
        let fits = narrow && flow && (single || plain) && whole == element.port.is_none();
        if fits && element.is_of_one_family() && self.nat.admit(element.way) {
            Ok(())
        } else {
            Err(FirewallError::NoWay(*element))
        }
    }
}

/// One change of an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Change {
    /// Open it, or give it a new end: from now on, for so long.
    Open(Element, Duration),
    /// Close it; not an error when it is gone already.
    Close(Element),
}

impl Change {
    /// The element that changes.
    #[must_use]
    pub const fn element(&self) -> Element {
        match self {
            Self::Open(element, _) | Self::Close(element) => *element,
        }
    }
}

/// What we learnt of what others did to the ruleset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Ours is as we left it.
    Whole,
    /// Something of ours is gone or was changed: [`Firewall::install`] again.
    Broken,
}

/// A back end. Every method is one transaction: all of it, or none.
pub trait Firewall {
    /// Makes our part of the ruleset be just `structure` with `open` in it, atomically, whatever stood there of ours
    /// before: at start, on reload, and after somebody's flush. Nothing of anybody else's changes. Chains of the admin's
    /// that are not there are [`Firewall::absent`] then: what ours keeps shut does not hang on them.
    ///
    /// # Errors
    /// [`FirewallError`]; what stood before still stands.
    fn install(&mut self, structure: &Structure, open: &[(Element, Duration)]) -> Result<(), FirewallError>;

    /// Carries out `changes` in one transaction and reads back what it opened; one that the kernel refuses does not spoil
    /// the others. The answers are in the order of the changes. Each element stands in `changes` once at most.
    fn change(&mut self, changes: &[Change]) -> Vec<Result<(), FirewallError>>;

    /// Ends what is established between these addresses and their ports: cuts each off for so long, before live
    /// connections are accepted, and ends the sockets and flows that there are. [`Firewall::change`] opening a door
    /// lifts every cut of its address and ports.
    ///
    /// # Errors
    /// [`FirewallError`]; what could be ended is ended all the same.
    fn end_flows(&mut self, elements: &[Element], lasting: Duration) -> Result<Ended, FirewallError>;

    /// What is open now, and for how long (rounded to what the back end can tell).
    ///
    /// # Errors
    /// [`FirewallError`], when it cannot be read.
    fn open_now(&mut self) -> Result<Vec<(Element, Duration)>, FirewallError>;

    /// Whether somebody else has touched what is ours, since the last time that this was asked.
    ///
    /// # Errors
    /// [`FirewallError`], when it cannot be read.
    fn standing(&mut self) -> Result<Standing, FirewallError>;

    /// The first place of the last install that is not there; as soon as it is, [`Firewall::standing`] says `Broken`.
    fn absent(&self) -> Option<&str> {
        None
    }

    /// Whether rules of others have changed since this was asked last, as far as [`Firewall::standing`] has heard.
    fn others_changed(&mut self) -> bool {
        false
    }

    /// Becomes readable when [`Firewall::standing`] is worth asking; `None`: ask now and then.
    fn watch(&self) -> Option<BorrowedFd<'_>>;

    /// Whether the kernel closes each door by itself, known after the first install. `false`: a daemon that is killed
    /// leaves doors open until it starts again, and whoever set this up must be told.
    fn kernel_closes(&self) -> bool {
        true
    }

    /// What is to be told of rules that came and went since this was asked last. Only fwknop's chains say anything.
    fn notes(&mut self) -> Vec<Note> {
        Vec::new()
    }

    /// Removes everything of ours, without trace.
    ///
    /// # Errors
    /// [`FirewallError`]; what stood before still stands.
    fn teardown(&mut self) -> Result<(), FirewallError>;
}

/// Why a firewall did not do as told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FirewallError {
    /// CAP_NET_ADMIN is missing.
    #[error("the kernel refuses to change the firewall: start as root, or with CAP_NET_ADMIN")]
    Forbidden,
    /// The kernel has no such feature.
    #[error("the kernel does not know {0}: load its module, or use a newer kernel")]
    Unsupported(&'static str),
    /// A set has no room left.
    #[error("no room for more open doors")]
    Full,
    /// The change was taken, and was not there when read back.
    #[error("the kernel took the change, but it is not there")]
    NotThere,
    /// The port is not among the structure's doors.
    #[error("{0} is no door of the configuration")]
    NoDoor(PortSpec),
    /// There is no way for such a grant in this place.
    #[error("there is no way for {0} in the firewall as it is set up")]
    NoWay(Element),
    /// Something that is not ours has a name that we need, or leads to what is ours.
    #[error(transparent)]
    Taken(#[from] crate::place::Taken),
    /// Anything else that the kernel or a tool said: the step, and its error number (0 when it has none).
    #[error("{step}: {}", std::io::Error::from_raw_os_error(*errno))]
    Refused {
        /// What we were at.
        step: &'static str,
        /// The kernel's error number.
        errno: i32,
    },
    /// A tool failed, in its words.
    #[error("{tool}: {said}")]
    Tool {
        /// Which one.
        tool: &'static str,
        /// The first line of what it said.
        said: String,
    },
}
