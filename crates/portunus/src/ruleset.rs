//! This machine's rules, looked at for people: what is dropped today, where we can stand, what still blocks.
//!
//! Called by `init`, `doctor` and `teardown`. Only the last one changes anything.

use portunus_config::{FirewallKind, Settings};
use portunus_fw::iptables::{self, Iptables, Programs, Variant};
use portunus_fw::place::{self, Door, Finding, Wish};
use portunus_fw::ruleset::{Held, Ruleset, Table};
use portunus_fw::walk::{self, Interface, IpVersion, Ours, Probe, Site, Source, Verdict};
use portunus_fw::{Firewall, FirewallError, Nft};
use portunus_model::{Place, PortSpec};

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
}

/// Reads the rules and looks at them with a server's eyes.
///
/// # Errors
/// They cannot be read: mostly for want of the right to.
pub(crate) fn look(settings: &Settings) -> Result<Look, Failure> {
    let ruleset = read()?;
    let interfaces = interfaces(settings);
    let finding = place::find(&ruleset, &wish(settings, &interfaces));
    let kept = |door: &Door| {
        let probe = stranger(door.port, door.version, interfaces.first().cloned());
        matches!(walk::walk(&ruleset, &probe, Ours::Counted), Verdict::Dropped(_))
    };
    let mut look = tell(&finding, settings, kept);
    let cut = place::cut_short(&ruleset, &wish(settings, &interfaces), Some(&finding.place));
    look.blocked.extend(cut.iter().map(ToString::to_string));
    Ok(look)
}

/// A packet of somebody who has no grant.
fn stranger(port: PortSpec, version: IpVersion, interface: Option<Interface>) -> Probe {
    Probe {
        version,
        proto: port.proto(),
        port: Some(port.first()),
        source: Source::Outside,
        destination: None,
        interface,
        through: false,
    }
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
    Wish {
        doors,
        any_port: settings.limits.any_port,
        through: settings.limits.nat.goes_through(),
        knock_port: settings.listen.first().map(std::net::SocketAddr::port),
        interfaces,
        place,
    }
}

fn tell(finding: &Finding, settings: &Settings, kept: impl Fn(&Door) -> bool) -> Look {
    let passes = if settings.stance.protect {
        "is open to everybody today; `serve` will drop it"
    } else {
        "is open to everybody today, and nothing here will drop it"
    };
    let mut lines = doors(finding, &settings.stance.sent_on, passes, kept);
    lines.extend(finding.neighbours.iter().map(ToString::to_string));
    let mut blocked: Vec<String> = finding.refused.iter().map(ToString::to_string).collect();
    blocked.extend(finding.blocked.iter().map(ToString::to_string));
    let place = finding.refused.is_empty().then(|| finding.place.clone());
    Look { place, lines, blocked }
}

/// Reads the rules while a server runs: ours are among them, so every door must be closed for strangers and nothing
/// may keep out who has a grant.
///
/// # Errors
/// They cannot be read: mostly for want of the right to.
pub(crate) fn look_while_running(settings: &Settings) -> Result<Look, Failure> {
    let ruleset = read()?;
    let interfaces = interfaces(settings);
    let wish = wish(settings, &interfaces);
    let mut lines = Vec::new();
    let mut blocked: Vec<String> =
        place::still_blocked(&ruleset, &wish).iter().map(ToString::to_string).collect();
    blocked.extend(place::cut_short(&ruleset, &wish, None).iter().map(ToString::to_string));
    for &port in wish.doors {
        for version in [IpVersion::V4, IpVersion::V6] {
            let probe = stranger(port, version, interfaces.first().cloned());
            let past = walk::sent_on(&ruleset, &probe, Ours::Counted);
            match past.map_or_else(|| walk::walk(&ruleset, &probe, Ours::Counted), Verdict::Forwarded) {
                Verdict::Dropped(_) => (),
                Verdict::Maybe { because, .. } => {
                    lines.push(format!(
                        "whether {port} over {version} is closed for strangers cannot be told: {because}"
                    ));
                }
                Verdict::Forwarded(site) => {
                    blocked.push(format!("{port} over {version} {}", sent_on(&site, false)));
                }
                Verdict::Passes if settings.stance.protect => blocked.push(format!(
                    "{port} over {version} is open to everybody though the server runs: our drops are not there: start it anew (systemctl restart portunus)"
                )),
                Verdict::Passes => lines.push(format!(
                    "{port} over {version} is open to everybody: nothing here drops it (`protect` is off)"
                )),
            }
        }
    }
    if lines.is_empty() && blocked.is_empty() {
        let doors: Vec<String> = wish.doors.iter().map(ToString::to_string).collect();
        lines.push(format!("closed for strangers: {}", doors.join(", ")));
    }
    lines.extend(place::neighbours(&ruleset).iter().map(ToString::to_string));
    Ok(Look { place: None, lines, blocked })
}

/// Each door as it is today; both families in one line where they are alike. `passes` is said of
/// an open one, `kept` tells whether rules of ours that still stand shut it.
fn doors(finding: &Finding, guarded: &[PortSpec], passes: &str, kept: impl Fn(&Door) -> bool) -> Vec<String> {
    let mut told: Vec<(PortSpec, Vec<String>, String)> = Vec::new();
    for door in &finding.doors {
        let what = match &door.today {
            Verdict::Dropped(site) => format!("is dropped today by {site}"),
            Verdict::Maybe { dropped_by, because } => {
                format!("may be dropped today by {dropped_by} ({because})")
            }
            Verdict::Passes if kept(door) => {
                "is kept closed by rules of ours: nobody gets in until `serve` runs".to_owned()
            }
            Verdict::Passes => passes.to_owned(),
            Verdict::Forwarded(site) => sent_on(site, guarded.contains(&door.port)),
        };
        match told.iter_mut().find(|(port, _, said)| *port == door.port && *said == what) {
            Some((_, versions, _)) => versions.push(door.version.to_string()),
            None => told.push((door.port, vec![door.version.to_string()], what)),
        }
    }
    told.into_iter()
        .map(|(port, versions, what)| format!("{port} over {} {what}", versions.join(" and ")))
        .collect()
}

/// Of a door whose packets go on to a container or another host.
fn sent_on(site: &Site, guarded: bool) -> String {
    let end = if guarded {
        "`serve` guards it on that way too (`forward = true`)"
    } else {
        "no drop of ours guards it: write `forward = true` for its service in services.toml, or close it there"
    };
    format!("is sent on to a container or another host by {site}: {end}")
}

/// Every rule that netfilter holds, the old x_tables' too, as this process may read them.
///
/// # Errors
/// Mostly for want of the right to.
fn read() -> Result<Ruleset, Failure> {
    let unreadable = |error: &dyn std::fmt::Display| {
        Failure::new("the firewall's rules cannot be read", error, "run this as root")
    };
    let mut ruleset = Nft::open().and_then(|mut nft| nft.ruleset()).map_err(|error| unreadable(&error))?;
    iptables::add_legacy(&mut ruleset, &mut Programs::new(Variant::Legacy))
        .map_err(|error| unreadable(&error))?;
    Ok(ruleset)
}

/// Takes everything of ours away, in nftables and in iptables.
///
/// # Errors
/// It was not removed.
pub(crate) fn remove_all() -> Done {
    let before = read()?;
    let failed = |error: FirewallError| Failure::new("our rules were not removed", error, "");
    Nft::open().and_then(|mut nft| nft.teardown()).map_err(failed)?;
    for variant in held_by_iptables(&before) {
        Iptables::new(Programs::new(variant), portunus_sys::clock::wall).teardown().map_err(failed)?;
    }
    Ok(())
}

/// What becomes of each door now that nothing of ours is there, one thing a line.
///
/// # Errors
/// The rules cannot be read.
pub(crate) fn open_now(settings: &Settings) -> Result<Vec<String>, Failure> {
    let interfaces = interfaces(settings);
    let finding = place::find(&read()?, &wish(settings, &interfaces));
    Ok(doors(&finding, &[], "is open to everybody now", |_| false))
}

/// Protected ports that are sent on to a container or another host past every drop of ours, each with the rule that does it.
///
/// # Errors
/// The rules cannot be read.
pub(crate) fn sent_past(settings: &Settings) -> Result<Vec<(PortSpec, String)>, Failure> {
    let interfaces = interfaces(settings);
    let finding = place::find(&read()?, &wish(settings, &interfaces));
    let past = finding.unguarded().filter(|(door, _)| !settings.stance.sent_on.contains(&door.port));
    Ok(past
        .map(|(door, site)| (door.port, format!("over {} {}", door.version, sent_on(site, false))))
        .collect())
}

/// Whether rules of ours keep ports shut for good: drops on trial are no such rules.
///
/// # Errors
/// The rules cannot be read.
pub(crate) fn keeps_shut() -> Result<bool, Failure> {
    let failed = |error: FirewallError| Failure::new("the firewall's rules cannot be read", error, "");
    Nft::open().and_then(|mut nft| nft.guards()).map_err(failed)
}

/// Takes what we have in nftables away.
///
/// # Errors
/// It was not removed.
pub(crate) fn clear() -> Done {
    let failed = |error: FirewallError| Failure::new("our rules were not removed", error, "");
    Nft::open().and_then(|mut nft| nft.teardown()).map_err(failed)
}

/// `fwknopd --fw-flush` with nftables and no server: what a killed one left goes. It drops nothing, so that opens no door;
/// where something of ours keeps ports shut, it is another configuration's, and stays.
pub(crate) fn flush_for_fwknopd() -> Done {
    let failed = |error: FirewallError| {
        Failure::new("what fwknopd had in nftables was not removed", error, "run this as root")
    };
    let mut nft = Nft::open().map_err(failed)?;
    if nft.guards().map_err(failed)? {
        return Err(Failure::new(
            "the rules of ours that stand keep ports shut, as fwknopd's never do, so they stay",
            "",
            "portunus teardown removes them, and says what is open then",
        ));
    }
    nft.teardown().map_err(failed)
}

/// Which of the two iptables have chains of ours; those that have none are not even started, since they would make
/// the tables that they look into.
fn held_by_iptables(ruleset: &Ruleset) -> Vec<Variant> {
    let ours = |table: &&Table| table.chains.iter().any(|chain| chain.name.starts_with("PORTUNUS_"));
    let mut found = Vec::new();
    for table in ruleset.tables.iter().filter(ours) {
        let variant = match table.held {
            Held::Nftables => Variant::Nft,
            Held::Legacy => Variant::Legacy,
        };
        if !found.contains(&variant) {
            found.push(variant);
        }
    }
    found
}
