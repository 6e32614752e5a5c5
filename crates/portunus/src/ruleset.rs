//! This machine's rules, looked at for people: what is dropped today, where we can stand, what still blocks.
//!
//! Called by `init`, `doctor` and `teardown`. Only the last one changes anything.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use portunus_config::{FirewallKind, Settings};
use portunus_fw::place::{self, Finding, Neighbour, Wish};
use portunus_fw::ruleset::{Ruleset, Wire};
use portunus_fw::walk::{Interface, Verdict};
use portunus_model::{Place, PortSpec};
use rustix::net;

use crate::places::Places;
use crate::say::{Done, Failure};

/// What a look at the rules says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Look {
    /// The place that was found, or wished for and possible.
    pub(crate) place: Option<Place>,
    /// What is so today, one thing a line.
    pub(crate) lines: Vec<String>,
    /// What is wrong and must be mended, one thing a line, each with its mend.
    pub(crate) blocked: Vec<String>,
    /// Who else has rules here.
    pub(crate) neighbours: Vec<Neighbour>,
}

/// Reads the rules and looks at them with a server's eyes.
///
/// # Errors
/// They cannot be read: mostly for want of the right to.
pub(crate) fn look(settings: &Settings) -> Result<Look, Failure> {
    let ruleset = read()?;
    let interfaces = interfaces(settings);
    let finding = place::find(&ruleset, &wish(settings, &interfaces));
    Ok(tell(&finding, settings))
}

fn interfaces(settings: &Settings) -> Vec<Interface> {
    settings.stance.interfaces.iter().map(|name| Interface { name: name.clone(), index: None }).collect()
}

fn wish<'a>(settings: &'a Settings, interfaces: &'a [Interface]) -> Wish<'a> {
    let wished = settings.stance.place.as_ref();
    let place = match settings.stance.firewall {
        FirewallKind::Iptables => wished.or(Some(&Place::Iptables)),
        FirewallKind::Auto | FirewallKind::Nft => wished,
    };
    let doors: &[_] = if settings.stance.protected.is_empty() {
        &settings.limits.doors
    } else {
        &settings.stance.protected
    };
    Wish { doors, knock_port: settings.listen.first().map(std::net::SocketAddr::port), interfaces, place }
}

fn tell(finding: &Finding, settings: &Settings) -> Look {
    let mut lines = doors(finding, settings.stance.protect);
    lines.extend(finding.neighbours.iter().map(ToString::to_string));
    let mut blocked: Vec<String> = finding.refused.iter().map(ToString::to_string).collect();
    blocked.extend(finding.blocked.iter().map(ToString::to_string));
    let possible = finding.refused.is_empty() && !finding.blocked.iter().any(|one| one.certain);
    Look {
        place: possible.then(|| finding.place.clone()),
        lines,
        blocked,
        neighbours: finding.neighbours.clone(),
    }
}

/// Each door as it is today; both families in one line where they are alike.
fn doors(finding: &Finding, protect: bool) -> Vec<String> {
    let mut told: Vec<(PortSpec, Vec<String>, String)> = Vec::new();
    for door in &finding.doors {
        let what = match &door.today {
            Verdict::Dropped(site) => format!("is dropped today by {site}"),
            Verdict::Maybe { dropped_by, because } => format!("may be dropped today by {dropped_by} ({because})"),
            Verdict::Passes if protect => "is open to everybody today; `serve` will drop it".to_owned(),
            Verdict::Passes => "is open to everybody today, and nothing here will drop it".to_owned(),
            Verdict::Forwarded(site) => format!("is sent on to another host by {site}: no drop of ours guards it"),
        };
        match told.iter_mut().find(|(port, _, said)| *port == door.port && *said == what) {
            Some((_, versions, _)) => versions.push(door.version.to_string()),
            None => told.push((door.port, vec![door.version.to_string()], what)),
        }
    }
    told.into_iter().map(|(port, versions, what)| format!("{port} over {} {what}", versions.join(" and "))).collect()
}

/// The kernel's rules, as this process may read them.
///
/// # Errors
/// Mostly for want of the right to.
pub(crate) fn read() -> Result<Ruleset, Failure> {
    let mut wire = Netlink::open().map_err(|error| unreadable(&error))?;
    Ruleset::read(&mut wire).map_err(|error| unreadable(&error))
}

fn unreadable(error: &dyn std::fmt::Display) -> Failure {
    Failure::new("the firewall's rules cannot be read", error, "run this as root")
}

/// A netlink socket that asks nothing but for a dump.
struct Netlink(OwnedFd);

impl Netlink {
    fn open() -> io::Result<Self> {
        let flags = net::SocketFlags::CLOEXEC;
        let kind = net::SocketType::RAW;
        let fd = net::socket_with(net::AddressFamily::NETLINK, kind, flags, Some(net::netlink::NETFILTER))?;
        net::bind(&fd, &net::netlink::SocketAddrNetlink::new(0, 0))?;
        // The kernel answers at once; whoever waits longer waits for ever.
        net::sockopt::set_socket_timeout(&fd, net::sockopt::Timeout::Recv, Some(Duration::from_secs(5)))?;
        Ok(Self(fd))
    }
}

impl Wire for Netlink {
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        net::send(&self.0, message, net::SendFlags::empty())?;
        Ok(())
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (_, length) = net::recv(&self.0, buffer, net::RecvFlags::empty())?;
        Ok(length)
    }
}

/// `portunus teardown`.
pub(crate) fn teardown(places: &Places, force: bool) -> Done {
    let _ = (places, force);
    Err(Failure::new("not yet", "", ""))
}
