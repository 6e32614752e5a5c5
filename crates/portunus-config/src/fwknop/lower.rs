//! From checked stanzas to the values that the daemon runs by.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use portunus_dialect::fwknop::RawKeys;
use portunus_dialect::fwknop::gpg::RawGpg;
use portunus_model::{KeyId, Limits, NatLimits, NatRule, NatSource, Place, PortSpec, Rules, Stanza};

use super::access::Written;
use super::chains::Rows;
use super::conf::Conf;
use super::daemon::{Daemon, Receive};
use super::stanza::Checked;
use super::variable::Variable;
use crate::alerts::{Alerts, Carrier, Mail, parse_mail_address};
use crate::source::Findings;
use crate::{FirewallKind, OnExit, Secrets, Settings, StanceWish};

/// Behind the name of a stanza that has symmetric keys too.
const GPG: &str = "-gpg";

/// Everything but the findings and the list of sources.
pub(super) fn settings(
    conf: &Conf,
    daemon: Daemon,
    rows: &Rows,
    stanzas: Vec<(Written, Checked)>,
    findings: &mut Findings,
) -> Settings {
    let mut rules = Rules {
        generation: 0,
        window: Duration::from_secs(conf.number(Variable::MaxSpaPacketAge)),
        clients: Vec::with_capacity(stanzas.len()),
        ..Rules::default()
    };
    let mut keys: BTreeMap<KeyId, RawKeys> = BTreeMap::new();
    let mut gpg: BTreeMap<KeyId, RawGpg> = BTreeMap::new();
    for (_, mut checked) in stanzas {
        let own = checked.keys.take();
        let theirs = checked.gpg.take().and_then(|gpg| gpg.keys);
        // A packet proves itself by one kind of keys or the other, so the stanza is two clients.
        let more = if own.is_some() { GPG } else { "" };
        rules.clients.extend(own.as_ref().and_then(|own| checked.client(own.id(), "")));
        rules.clients.extend(theirs.as_ref().and_then(|theirs| checked.client(theirs.id(), more)));
        if let Some(own) = own {
            keys.entry(own.id()).or_insert(own);
        }
        if let Some(theirs) = theirs {
            gpg.entry(theirs.id()).or_insert(theirs);
        }
    }
    let clients = || rules.clients.iter().filter_map(|client| client.stanza.as_deref());
    let all: Vec<&Stanza> = clients().collect();
    let limits = limits(&rules, &all);
    let stance = stance(conf, rows, &all, findings);
    let listen = match daemon.receive {
        Receive::Udp(port) => crate::everywhere(port),
        Receive::Sniffed | Receive::File(_) | Receive::Followed(_) | Receive::Nflog(_) => Vec::new(),
    };
    let nflog = match daemon.receive {
        Receive::Nflog(group) => Some(group),
        Receive::Udp(_) | Receive::Sniffed | Receive::File(_) | Receive::Followed(_) => None,
    };
    // Who stops the original and starts it again has thrown everybody out, unless this is N.
    let close = conf.flag(Variable::FlushIptAtExit);
    Settings {
        host: None,
        profile_name: "default".to_owned(),
        limits,
        stance,
        listen,
        listen_named: false,
        nflog,
        health_port: None,
        secrets: Secrets {
            openme: None,
            fwknop: keys.into_values().collect(),
            gpg: gpg.into_values().collect(),
            native: Vec::new(),
            codes: Vec::new(),
        },
        key_files: Vec::new(),
        admins: Vec::new(),
        on_exit: if close { OnExit::Close } else { OnExit::Keep },
        audit: crate::AuditSize::default(),
        metrics: None,
        alerts: alerts(conf, findings),
        sources: Vec::new(),
        warnings: Vec::new(),
        fwknop: Some(Box::new(daemon)),
        rules,
    }
}

/// The mail of 1.9: by the program of this host, as then.
fn alerts(conf: &Conf, findings: &mut Findings) -> Option<Alerts> {
    let setting = conf.setting(Variable::EmailAddresses)?;
    let off = conf.text(Variable::AlertingMethods).unwrap_or_default().to_ascii_lowercase();
    if ["noemail", "none"].iter().any(|word| off.contains(word)) {
        return None;
    }
    let mut to = Vec::new();
    for word in setting.text.split([',', ' ', '\t']).filter(|word| !word.is_empty()) {
        match parse_mail_address(word) {
            Ok(address) => to.push(address),
            Err(fault) => findings.tell(|| setting.spot.diagnostic(fault.what, fault.mend)),
        }
    }
    let carrier = Carrier::Sendmail(SENDMAIL.into());
    let mail = (!to.is_empty()).then_some(Mail { to, from: None, carrier });
    mail.map(|mail| Alerts { mail: Some(mail), ..Alerts::default() })
}

/// Where every mail system has the program that takes mail (FHS, "/usr/sbin").
const SENDMAIL: &str = "/usr/sbin/sendmail";

/// Exactly what some stanza allows.
fn limits(rules: &Rules, stanzas: &[&Stanza]) -> Limits {
    let mut doors: BTreeSet<PortSpec> = BTreeSet::new();
    let mut any_port = false;
    let mut nat = NatLimits::default();
    // A cycle of commands opens nothing in the firewall.
    for stanza in stanzas.iter().filter(|stanza| stanza.cycle.is_none()) {
        allow_nat(&mut nat, &stanza.nat);
        // Everything of the client is let through: no port is named.
        if stanza.nat.all && stanza.nat.unasked && !stanza.nat.local {
            continue;
        }
        match &stanza.open_ports {
            Some(ports) => doors.extend(ports.iter().copied()),
            None => any_port = true,
        }
    }
    nat.forced.sort_unstable();
    nat.forced.dedup();
    nat.all.sort_unstable();
    nat.all.dedup();
    nat.sources.sort_unstable();
    nat.sources.dedup();
    let times = rules.clients.iter().flat_map(|client| {
        let stanza = client.stanza.as_deref();
        let timer = stanza.and_then(|stanza| stanza.cycle.as_ref()).map(|cycle| cycle.timer);
        [Some(client.lasting), stanza.map(|stanza| stanza.longest), timer]
    });
    Limits {
        doors: doors.into_iter().collect(),
        longest: times.flatten().max().unwrap_or_default(),
        most_open: crate::lower::DEFAULT_OPEN,
        any_port,
        source_ports: false,
        loopback: true,
        destinations: stanzas.iter().any(|stanza| stanza.destination_rule),
        nat,
    }
}

fn allow_nat(nat: &mut NatLimits, rule: &NatRule) {
    let translated = rule.forward || rule.local || rule.unasked;
    if !translated {
        return;
    }
    if let (Some((host, _)), true) = (rule.force, rule.all) {
        nat.all.push((!rule.keep_destination).then_some(host));
    }
    match rule.force {
        // Who asks for local NAT gets that host and port, never everything.
        Some(forced) if !rule.all || rule.local => nat.forced.push(forced),
        Some(_) => {}
        None if rule.all => {
            nat.all.extend((rule.unasked || rule.keep_destination).then_some(None));
            nat.all_forward |= rule.forward && !rule.keep_destination;
        }
        None => nat.forward |= rule.forward,
    }
    nat.local |= rule.local && rule.force.is_none();
    if rule.source != NatSource::Kept {
        nat.sources.push(rule.source);
    }
}

fn stance(conf: &Conf, rows: &Rows, stanzas: &[&Stanza], findings: &mut Findings) -> StanceWish {
    check_snat(conf, findings);
    let firewall = firewall(conf, findings);
    let place = match firewall {
        FirewallKind::Nft | FirewallKind::Auto => None,
        FirewallKind::Iptables => rows.chains(conf, stanzas).map(|chains| Place::Fwknop(Box::new(chains))),
    };
    // Who has no grant is kept out by the administrator's own rules, as with the original.
    StanceWish { place, firewall, ..StanceWish::default() }
}

fn firewall(conf: &Conf, findings: &mut Findings) -> FirewallKind {
    match conf.text(Variable::Firewall) {
        Some("nft") => FirewallKind::Nft,
        None | Some("iptables") => FirewallKind::Iptables,
        Some(other) => {
            let what = format!("FIREWALL is '{other}'");
            let spot = conf.spot(Variable::Firewall);
            findings.tell(|| spot.diagnostic(what, "use iptables, which is what fwknopd has, or nft"));
            FirewallKind::Iptables
        }
    }
}

fn check_snat(conf: &Conf, findings: &mut Findings) {
    let Some(text) = conf.text(Variable::SnatTranslateIp) else { return };
    if conf.flag(Variable::EnableIptSnat) && text.parse::<std::net::IpAddr>().is_err() {
        let spot = conf.spot(Variable::SnatTranslateIp);
        let what = "Invalid IPv4 addr for SNAT_TRANSLATE_IP";
        findings
            .tell(|| spot.diagnostic(what, "write an address of this host, or take it out for MASQUERADE"));
    }
}
