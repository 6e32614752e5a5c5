//! Reading openme's server file.

use std::path::Path;

use portunus_crypto::Secret;

use crate::lower::{self, Crowd, Key, Policy, Written};
use crate::ports::{Services, parse_spec, tidy};
use crate::reader::{Fields, Unknown, text_of};
use crate::source::{Findings, Source};
use crate::tree::{Node, Pair, Span, Value};
use crate::{
    DEFAULT_PORT, Diagnostic, FirewallKind, OnExit, Secrets, Settings, StanceWish, keys, parse_host,
    parse_interface, yaml_tree,
};

const SECTIONS: [&str; 3] = ["server", "ports", "clients"];
const SERVER: [&str; 12] = [
    "host",
    "udp_port",
    "health_port",
    "firewall",
    "knock_timeout",
    "replay_window",
    "open_knock_port",
    "drop_ports",
    "default_profile",
    "interface",
    "private_key",
    "public_key",
];
const CLIENT: [&str; 4] = ["ed25519_pubkey", "allowed_ports", "expires", "disable_health_port"];

/// What stands in `server`, as far as it is not policy.
struct Server {
    host: Option<String>,
    profile_name: String,
    stance: StanceWish,
    secret: Option<Secret<32>>,
}

/// Reads the whole file.
pub(super) fn settings(text: &str, path: &Path) -> Result<Settings, Vec<Diagnostic>> {
    let source = Source::new(path, text);
    let mut findings = Findings::default();
    let Some(root) = root(&source, &mut findings) else {
        findings.verdict()?;
        return Err(vec![missing(&source)]);
    };
    let Some(fields) = Fields::of(&source, &root, "the file", &mut findings) else {
        findings.verdict()?;
        return Err(vec![missing(&source)]);
    };
    fields.know(&SECTIONS, Unknown::Ignored, &mut findings);
    let Some((server, mut policy, at)) = server(fields, &mut findings) else {
        findings.verdict()?;
        return Err(vec![missing(&source)]);
    };
    policy.services = services(fields, &mut findings);
    policy.default_ports = policy.services.get("default").map(<[_]>::to_vec).unwrap_or_default();
    lower::warn_of_ports(&policy, &source, at, &mut findings);
    let mut crowd = Crowd::new(&policy);
    each_client(fields, &mut findings, &mut |source, written, findings| {
        crowd.take(source, written, findings);
    });
    findings.verdict()?;
    let (rules, limits, _) = crowd.finish();
    let mut stance = server.stance;
    lower::protect(&mut stance, &policy, &limits);
    Ok(Settings {
        host: server.host,
        profile_name: server.profile_name,
        rules,
        limits,
        stance,
        listen: crate::everywhere(policy.knock_port),
        listen_named: false,
        nflog: None,
        health_port: policy.health_port,
        secrets: Secrets { openme: server.secret, ..Secrets::default() },
        key_files: Vec::new(),
        admins: Vec::new(),
        // The original takes its rules away when it ends.
        on_exit: OnExit::Close,
        audit: crate::AuditSize::default(),
        metrics: None,
        alerts: None,
        sources: vec![path.to_owned()],
        warnings: findings.warnings,
        fwknop: None,
    })
}

/// The document; `None`, said, when it is none.
pub(super) fn root<'t>(source: &Source<'t>, findings: &mut Findings) -> Option<Node<'t>> {
    yaml_tree::parse(source, findings)
}

fn missing(source: &Source<'_>) -> Diagnostic {
    let mend = "make the file with `openme init --server HOST`";
    source.diagnostic(Span::default(), "there is no `server` section", mend)
}

fn server(fields: Fields<'_, '_>, findings: &mut Findings) -> Option<(Server, Policy, Span)> {
    let pair = fields.pair("server")?;
    let source = fields.source;
    let s = Fields::of(source, &pair.node, "server", findings)?;
    s.know(&SERVER, Unknown::Ignored, findings);
    let knock_port = s.port("udp_port", findings).unwrap_or(DEFAULT_PORT);
    let health_port = s.port("health_port", findings).unwrap_or(knock_port);
    let kinds = [("nft", FirewallKind::Nft), ("iptables", FirewallKind::Iptables)];
    let interface = s.text("interface", findings).filter(|(text, _)| !text.is_empty());
    let stance = StanceWish {
        place: None,
        interfaces: interface
            .and_then(|(text, at)| interface_of(source, text, at, findings))
            .into_iter()
            .collect(),
        protect: s.flag("drop_ports", findings).unwrap_or(false),
        protected: Vec::new(),
        sent_on: Vec::new(),
        knock_port: s.flag("open_knock_port", findings).unwrap_or(true).then_some(knock_port),
        firewall: s.word("firewall", &kinds, findings).unwrap_or(FirewallKind::Nft),
    };
    let (secret, public) = secret(s, pair, findings);
    let lasting = s.duration("knock_timeout", lower::GRANT.0, lower::GRANT.1, findings);
    let window = s.duration("replay_window", lower::WINDOW.0, lower::WINDOW.1, findings);
    let policy = Policy {
        services: Services::default(),
        default_ports: Vec::new(),
        default_lasting: lasting.unwrap_or(lower::DEFAULT_GRANT),
        longest: lower::GRANT.1,
        window: window.unwrap_or(lower::DEFAULT_WINDOW),
        knock_port,
        health_port: Some(health_port),
        most_clients: lower::DEFAULT_CLIENTS,
        most_open: lower::DEFAULT_OPEN,
        server_publics: public.into_iter().collect(),
        native: false,
    };
    let profile = s.text("default_profile", findings).map(|(text, _)| text).filter(|text| !text.is_empty());
    let profile_name = profile.unwrap_or("default").to_owned();
    Some((Server { host: host(s, findings), profile_name, stance, secret }, policy, pair.at))
}

/// The host is for the profiles only, so a strange one is no reason to keep the door shut.
fn host(s: Fields<'_, '_>, findings: &mut Findings) -> Option<String> {
    let (text, at) = s.text("host", findings).filter(|(text, _)| !text.is_empty())?;
    match parse_host(text) {
        Ok(host) => Some(host),
        Err(fault) => {
            findings.warn(s.source, at, fault.what, fault.mend);
            Some(text.to_owned())
        }
    }
}

fn interface_of(source: &Source<'_>, text: &str, at: Span, findings: &mut Findings) -> Option<String> {
    parse_interface(text).map_err(|fault| findings.fault(source, at, fault)).ok()
}

fn secret(
    s: Fields<'_, '_>,
    server: &Pair<'_>,
    findings: &mut Findings,
) -> (Option<Secret<32>>, Option<[u8; 32]>) {
    let Some((text, at)) = s.text("private_key", findings).filter(|(text, _)| !text.is_empty()) else {
        if s.pair("private_key").is_none_or(|pair| matches!(&pair.node.value, Value::Scalar(..))) {
            let mend = "make the file with `openme init --server HOST`, or copy the key from the old one";
            findings.error(s.source, server.at, "server has no private_key", mend);
        }
        return (None, None);
    };
    let (secret, public) = match keys::server_private("private_key", text) {
        Ok(both) => both,
        Err(fault) => {
            findings.fault(s.source, at, fault);
            return (None, None);
        }
    };
    if let Some((text, at)) = s.text("public_key", findings).filter(|(text, _)| !text.is_empty()) {
        match keys::server_public("public_key", text) {
            Ok(written) if written == public => {}
            Ok(_) => {
                let right = portunus_crypto::text::encode(&public);
                let mend = format!("write {right}, or take the line out");
                findings.warn(s.source, at, "public_key does not belong to private_key", mend);
            }
            Err(fault) => findings.fault(s.source, at, fault),
        }
    }
    (Some(secret), Some(public))
}

/// The groups below `ports`.
pub(super) fn services(fields: Fields<'_, '_>, findings: &mut Findings) -> Services {
    let mut services = Services { noun: "group", ..Services::default() };
    let Some(pair) = fields.pair("ports") else { return services };
    let Some(groups) = Fields::of(fields.source, &pair.node, "ports", findings) else { return services };
    for group in &groups.map.entries {
        let mut ports = Vec::new();
        for (text, at) in groups.texts(&group.key, "[22/tcp, 8080-8090/tcp]", findings) {
            match parse_spec(text) {
                Ok(specs) => ports.extend(specs),
                Err(fault) => findings.fault(fields.source, at, fault),
            }
        }
        services.named.push((group.key.to_string(), tidy(ports)));
    }
    services
}

/// Hands over every client that can be read, in the file's order.
pub(super) fn each_client<'a>(
    fields: Fields<'a, '_>,
    findings: &mut Findings,
    take: &mut dyn FnMut(&Source<'_>, Written<'a>, &mut Findings),
) {
    let Some(pair) = fields.pair("clients") else { return };
    let Some(clients) = Fields::of(fields.source, &pair.node, "clients", findings) else { return };
    for pair in &clients.map.entries {
        if let Some(written) = client(fields.source, pair, findings) {
            take(fields.source, written, findings);
        }
    }
}

fn client<'a>(source: &'a Source<'_>, pair: &'a Pair<'_>, findings: &mut Findings) -> Option<Written<'a>> {
    let name = lower::client_name(&pair.key).map_err(|fault| findings.fault(source, pair.at, fault)).ok();
    let Some(c) = Fields::of(source, &pair.node, &pair.key, findings) else {
        if matches!(pair.node.value, Value::Null) {
            no_key(source, pair, findings);
        }
        return None;
    };
    c.know(&CLIENT, Unknown::Ignored, findings);
    let key = match c.pair("ed25519_pubkey") {
        None => {
            no_key(source, pair, findings);
            None
        }
        Some(key) => text_of(source, &key.node, "ed25519_pubkey", findings).and_then(|text| {
            keys::client_public("ed25519_pubkey", text)
                .map_err(|fault| findings.fault(source, key.node.span, fault))
                .ok()
                .map(|bytes| (bytes, key.node.span))
        }),
    };
    let services = c.texts("allowed_ports", "[ssh, 8080/tcp]", findings);
    // An empty text is no date to Go's reader either.
    let dated =
        c.pair("expires").filter(|pair| !matches!(&pair.node.value, Value::Scalar(t, _) if t.is_empty()));
    let expires = dated.and_then(|_| c.date("expires", findings));
    let health = !c.flag("disable_health_port", findings).unwrap_or(false);
    let (key, key_at) = key?;
    Some(Written {
        name: name?,
        at: pair.at,
        key: Key::Openme(key),
        key_file: None,
        key_at,
        services,
        expires,
        lasting: None,
        any_target: true,
        health,
        native: portunus_model::NativeRule::default(),
        code: None,
    })
}

fn no_key(source: &Source<'_>, pair: &Pair<'_>, findings: &mut Findings) {
    let what = format!("client {:?} has no ed25519_pubkey", pair.key);
    findings.error(source, pair.at, what, "add it with `openme add`, or take the client out");
}
