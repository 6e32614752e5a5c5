//! Where we stand in the ruleset, and by which back end.

use std::io;
use std::time::Duration;

use portunus_config::render_place;
use portunus_fw::iptables::Iptables;
use portunus_fw::place::{self, Finding, Wanted};
use portunus_fw::ruleset::{Ruleset, Wire, interfaces};
use portunus_fw::walk::{Interface, IpVersion};
use portunus_fw::{Firewall, Nft, Structure};
use portunus_model::{Limits, Place};
use portunus_sys::netlink::NetlinkSocket;
use portunus_sys::{clock, poll};

use super::runner::ErrandRunner;
use crate::message::{Backend, Wish};

/// The kernel answers at once; whoever waits longer waits for ever.
const PATIENCE: Duration = Duration::from_secs(5);

/// What has to be known before the walls go up: /proc is out of reach later.
#[derive(Debug)]
pub(super) struct Ground {
    interfaces: Vec<Interface>,
}

impl Ground {
    pub(super) fn look() -> Self {
        Self { interfaces: interfaces() }
    }

    /// Finds the place, or checks the one that was wished for. The words of a refusal name the rule and the mend.
    pub(super) fn find(&self, limits: &Limits, wish: &Wish) -> Result<Place, String> {
        if wish.firewall == Backend::Iptables {
            return Ok(Place::Iptables);
        }
        let mut wire = Line(NetlinkSocket::netfilter().map_err(|e| e.to_string())?);
        let ruleset = Ruleset::read(&mut wire).map_err(|e| e.to_string())?;
        let only = |one: &&Interface| wish.interfaces.is_empty() || wish.interfaces.contains(&one.name);
        let interfaces: Vec<Interface> = self.interfaces.iter().filter(only).cloned().collect();
        let asked = place::Wish {
            doors: &limits.doors,
            knock_port: wish.knock_port.or(wish.listen_port),
            interfaces: &interfaces,
            place: wish.place.as_ref(),
        };
        judge(place::find(&ruleset, &asked), wish)
    }
}

fn judge(finding: Finding, wish: &Wish) -> Result<Place, String> {
    if let Some(refused) = finding.refused.first() {
        return Err(refused.to_string());
    }
    if finding.place == Place::Iptables && wish.firewall == Backend::Nft {
        return Err("the ports are dropped by iptables, and `firewall` says nft: set it to auto or iptables"
            .to_owned());
    }
    for blocked in &finding.blocked {
        tracing::warn!(blocked = %blocked, "somebody else's rule");
    }
    // One family that works is a way in; none is not.
    let shut = |wanted: Wanted| {
        [IpVersion::V4, IpVersion::V6].into_iter().all(|version| {
            let hit = |b: &&place::Blocked| b.certain && b.wanted == wanted && b.version == version;
            finding.blocked.iter().any(|b| hit(&b))
        })
    };
    if let Some(blocked) = finding.blocked.iter().find(|blocked| shut(blocked.wanted)) {
        return Err(blocked.to_string());
    }
    for (door, site) in finding.unguarded() {
        tracing::warn!(port = %door.port, to = %site, "this port is sent on to another host or a container: no drop of ours guards it");
    }
    Ok(finding.place)
}

/// The back end for a place.
pub(super) fn back_end(place: &Place, errand: Option<ErrandRunner>) -> Result<Box<dyn Firewall>, String> {
    match place {
        Place::Own | Place::Attach(_) => Nft::open().map(|nft| Box::new(nft) as _).map_err(|e| e.to_string()),
        Place::Iptables => {
            let runner = errand.ok_or("nobody is there to run iptables")?;
            Ok(Box::new(Iptables::new(runner, clock::wall)))
        }
    }
}

/// The socket that a ruleset is read over.
struct Line(NetlinkSocket);

impl Wire for Line {
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.0.send(message)
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(length) = self.0.receive(buffer)? {
                return Ok(length);
            }
            if !poll::readable(&self.0, PATIENCE)? {
                return Err(io::Error::from(io::ErrorKind::TimedOut));
            }
        }
    }
}

/// What must stand in the ruleset.
pub(super) fn structure(limits: &Limits, wish: &Wish, place: Place) -> Structure {
    Structure { doors: limits.doors.clone(), stance: wish.at(place), most_open: limits.most_open }
}

/// The place in words.
pub(super) fn words(place: &Place) -> String {
    render_place(place).join(" ")
}
