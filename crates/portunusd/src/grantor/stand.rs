//! Where we stand in the ruleset, and by which back end.

use std::time::Instant;

use portunus_config::render_place;
use portunus_fw::iptables::{self, Fwknop, Iptables, Programs, Variant};
use portunus_fw::place::{self, Finding, SeatError, Wanted};
use portunus_fw::ruleset::{Ruleset, interfaces};
use portunus_fw::walk::{Interface, IpVersion};
use portunus_fw::{Firewall, Nft, Record, Structure};
use portunus_model::{Limits, Place, PortSpec};
use portunus_sys::clock;
use portunus_sys::netlink::NetlinkSocket;

use super::runner::ErrandRunner;
use super::tale::Told;
use crate::log;
use crate::message::{Backend, Wish};
use crate::words::Words;

/// What has to be known before the walls go up: /proc is out of reach later.
#[derive(Debug)]
pub(super) struct Ground {
    interfaces: Vec<Interface>,
    /// What netlink does not show: the rules of iptables-legacy.
    legacy: Ruleset,
}

impl Ground {
    pub(super) fn look() -> Self {
        let mut legacy = Ruleset::default();
        // Runs nothing where the kernel has no such table.
        if let Err(error) = iptables::add_legacy(&mut legacy, &mut Programs::new(Variant::Legacy)) {
            tracing::warn!(%error, "the rules of iptables-legacy cannot be read, and may drop what we let in");
        }
        Self { interfaces: interfaces(), legacy }
    }

    /// Finds the place, or checks the one that was wished for, and tells what is odd about it. The words of a refusal name
    /// the rule and the mend.
    pub(super) fn find(&self, limits: &Limits, wish: &Wish) -> Result<Place, String> {
        let finding = self.look_around(limits, wish)?;
        finding.map_or(Ok(Place::Own), |finding| judge(finding, limits, wish, true))
    }

    /// The same, and nothing is told.
    pub(super) fn find_again(&self, limits: &Limits, wish: &Wish) -> Result<Place, String> {
        let finding = self.look_around(limits, wish)?;
        finding.map_or(Ok(Place::Own), |finding| judge(finding, limits, wish, false))
    }

    /// Where the drops go in whatever is in the way: nobody is let in, so nobody can be kept out by somebody else's rule.
    pub(super) fn place_to_hold(&self, limits: &Limits, wish: &Wish) -> Place {
        self.find_again(limits, wish).unwrap_or_else(|_| match (&wish.place, wish.firewall) {
            (Some(place), _) => place.clone(),
            (None, Backend::Iptables) => Place::Iptables,
            (None, Backend::Auto | Backend::Nft | Backend::Nothing) => Place::Own,
        })
    }

    /// `None`: there is no firewall to look at.
    fn look_around(&self, limits: &Limits, wish: &Wish) -> Result<Option<Finding>, String> {
        if wish.firewall == Backend::Nothing {
            return Ok(None);
        }
        let by_iptables = wish.firewall == Backend::Iptables;
        let mut ruleset = match read() {
            Ok(ruleset) => ruleset,
            // A kernel without nf_tables has iptables all the same.
            Err(_) if by_iptables => Ruleset::default(),
            Err(why) => return Err(why),
        };
        ruleset.tables.extend(self.legacy.tables.iter().cloned());
        let interfaces = self.interfaces_of(wish);
        let place = match &wish.place {
            Some(place @ Place::Fwknop(_)) => Some(place),
            place => {
                if by_iptables {
                    Some(&Place::Iptables)
                } else {
                    place.as_ref()
                }
            }
        };
        let asked = asked(limits, wish, &interfaces, place);
        Ok(Some(place::find(&ruleset, &asked)))
    }

    /// Protected ports that are sent on to another host past every drop of ours.
    pub(super) fn sent_past(&self, limits: &Limits, wish: &Wish, place: &Place) -> Vec<PortSpec> {
        let Ok(ruleset) = read() else { return Vec::new() };
        let interfaces = self.interfaces_of(wish);
        let finding = place::find(&ruleset, &asked(limits, wish, &interfaces, Some(place)));
        let ports = finding.unguarded().map(|(door, _)| door.port);
        ports.filter(|port| !wish.sent_on.contains(port)).collect()
    }

    fn interfaces_of(&self, wish: &Wish) -> Vec<Interface> {
        let only = |one: &&Interface| wish.interfaces.is_empty() || wish.interfaces.contains(&one.name);
        self.interfaces.iter().filter(only).cloned().collect()
    }
}

fn asked<'w>(
    limits: &'w Limits,
    wish: &Wish,
    interfaces: &'w [Interface],
    place: Option<&'w Place>,
) -> place::Wish<'w> {
    place::Wish {
        doors: &limits.doors,
        any_port: limits.any_port,
        through: limits.nat.goes_through(),
        knock_port: wish.knock_port.or(wish.listen_port),
        interfaces,
        place,
    }
}

fn read() -> Result<Ruleset, String> {
    let mut wire = NetlinkSocket::netfilter().map_err(|e| e.to_string())?;
    Ruleset::read(&mut wire).map_err(|e| e.to_string())
}

/// `aloud`: what is odd and no reason to refuse is told.
fn judge(finding: Finding, limits: &Limits, wish: &Wish, aloud: bool) -> Result<Place, String> {
    // A chain that is not there may come, and is told of then; our own table stands without it.
    let lasting = |refused: &&SeatError| !matches!(refused, SeatError::Missing(_));
    if let Some(refused) = finding.refused.iter().find(lasting) {
        return Err(refused.to_string());
    }
    let nft_only = finding.place.is_of_iptables() && wish.firewall == Backend::Nft;
    if nft_only && log::words() == Words::Fwknopd {
        return Err(NFT_BESIDE_IPTABLES.to_owned());
    }
    if finding.place == Place::Iptables && !limits.nat.is_empty() {
        return Err("grants with translations need nftables or fwknop's chains: the ports are dropped by iptables, and its own place here translates nothing"
            .to_owned());
    }
    if nft_only {
        return Err("the ports are dropped by iptables, and `firewall` says nft: set it to auto or iptables"
            .to_owned());
    }
    let mut finding = finding;
    if log::words() == Words::Fwknopd && finding.place.is_of_iptables() {
        // fwknopd.conf has no `place`: what nftables drop it opens there.
        for blocked in finding.blocked.iter_mut().filter(|blocked| blocked.mend.starts_with("use place =")) {
            NFT_IS_WHAT_DROPS.clone_into(&mut blocked.mend);
        }
    }
    for blocked in finding.blocked.iter().filter(|_| aloud) {
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
    let guarded = |door: &place::Door| wish.sent_on.contains(&door.port);
    for (door, site) in finding.unguarded().filter(|(door, _)| aloud && !guarded(door)) {
        tracing::warn!(port = %door.port, to = %site, "this port is sent on to another host or a container: no drop of ours guards it: write `forward = true` for its service");
    }
    Ok(finding.place)
}

/// To whom fwknopd.conf is what counts.
const NFT_BESIDE_IPTABLES: &str = "FIREWALL is nft, and the ports are dropped by rules of iptables, which no rule of \
    nftables can overrule: take FIREWALL out, so that fwknop's own iptables chains are used, or let nftables do the dropping";

const NFT_IS_WHAT_DROPS: &str =
    "write FIREWALL nft in fwknopd.conf, so that it is opened there, or accept it before that rule";

/// The back end for a place.
pub(super) fn back_end(
    wish: &Wish,
    place: &Place,
    errand: Option<ErrandRunner>,
) -> Result<Box<dyn Firewall>, String> {
    if wish.firewall == Backend::Nothing {
        return Ok(Box::new(Record::default()));
    }
    match place {
        Place::Own | Place::Attach(_) => {
            let nft: Box<dyn Firewall> = Nft::open().map(Box::new).map_err(|e| e.to_string())?;
            Ok(match log::words() {
                Words::Ours => nft,
                Words::Fwknopd => Box::new(Told::new(nft, clock::wall)),
            })
        }
        Place::Fwknop(chains) => {
            let runner =
                errand.ok_or(NOBODY)?.with(chains.program.as_deref().map_or(Variant::Default, Variant::of));
            Ok(Box::new(Fwknop::new(runner, clock::wall, (**chains).clone())))
        }
        Place::Iptables => {
            let runner = errand.ok_or(NOBODY)?;
            Ok(Box::new(Iptables::new(runner, clock::wall).keeping_live_flows()))
        }
    }
}

const NOBODY: &str = "nobody is there to run iptables";

/// What must stand in the ruleset.
pub(super) fn structure(limits: &Limits, wish: &Wish, place: Place) -> Structure {
    Structure {
        doors: limits.doors.clone(),
        stance: wish.at(place),
        most_open: limits.most_open,
        any_port: limits.any_port,
        destinations: limits.destinations,
        source_ports: limits.source_ports,
        nat: limits.nat.clone(),
        trial: wish.trial.as_ref().map(|trial| Instant::now() + trial.until.since(clock::mono())),
    }
}

/// The place in words.
pub(super) fn words(place: &Place) -> String {
    render_place(place).join(" ")
}
