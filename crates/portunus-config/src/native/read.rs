//! Reading our own files.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use portunus_model::{Dialect, Place, PortSpec};

use super::spoken::Spoken;
use super::{Paths, secrets};
use crate::lower::{self, Crowd, Policy};
use crate::ports::{Services, parse_spec, tidy};
use crate::profile::first_label;
use crate::reader::{Fields, Unknown, number_of, text_of};
use crate::source::{Findings, Source};
use crate::tree::{Node, Pair, Span, Value};
use crate::{
    AuditSize, DEFAULT_PORT, Diagnostic, FileError, Files, FirewallKind, MetricsListen, OnExit, Secrecy,
    Secrets, Settings, StanceWish, ValueError, parse_host, parse_interface, parse_place, toml_tree,
};

const TOP: [&str; 17] = [
    "host",
    "profile",
    "listen",
    "port",
    "nflog",
    "health",
    "health_port",
    "dialects",
    "replay_window",
    "on_exit",
    "admins",
    "firewall",
    "defaults",
    "limits",
    "audit",
    "metrics",
    "alerts",
];
const FIREWALL: [&str; 5] = ["backend", "place", "interfaces", "protect", "accept_knock_port"];
const DEFAULTS: [&str; 2] = ["services", "grant"];
const AUDIT: [&str; 2] = ["megabytes", "files"];
const METRICS: [&str; 1] = ["listen"];
const SERVICE: [&str; 2] = ["ports", "forward"];
const LIMITS: [&str; 3] = ["clients", "open_grants", "longest_grant"];

/// What `portunus.toml` says, as far as it is not policy.
struct Server {
    host: Option<String>,
    profile_name: String,
    listen: Vec<SocketAddr>,
    listen_named: bool,
    nflog: Option<u16>,
    spoken: Spoken,
    on_exit: OnExit,
    admins: Vec<u32>,
    stance: StanceWish,
    audit: AuditSize,
    metrics: Option<MetricsListen>,
}

/// Reads the whole folder.
pub(super) fn settings(files: &dyn Files, paths: &Paths) -> Result<Settings, Vec<Diagnostic>> {
    let mut findings = Findings::default();
    let services = services(files, paths, &mut findings);
    let path = paths.server();
    let text = match files.read(&path, Secrecy::Public) {
        Ok(text) => text,
        Err(FileError::Missing) => return Err(vec![no_server(&path)]),
        Err(error) => return Err(vec![error.at(&path)]),
    };
    let source = Source::new(&path, &text);
    let Some(root) = toml_tree::parse(&source, &mut findings) else {
        findings.verdict()?;
        return Err(vec![no_server(&path)]);
    };
    let Some(fields) = Fields::of(&source, &root, "the file", &mut findings) else {
        findings.verdict()?;
        return Err(vec![no_server(&path)]);
    };
    let mut sources = sources(paths);
    let alerts = super::alerts::read(fields, files, &mut sources, &mut findings);
    let (server, mut policy) = server(fields, services, &mut findings);
    let by_iptables = server
        .stance
        .place
        .as_ref()
        .map_or(server.stance.firewall == FirewallKind::Iptables, Place::is_of_iptables);
    if by_iptables && server.stance.protect {
        std::mem::take(&mut policy.services.sent_on_by_iptables)
            .into_iter()
            .for_each(|one| findings.tell(|| one));
    }
    if let Some(folder) = server.metrics.as_ref().and_then(|listen| missing_folder(files, listen)) {
        let at = fields
            .pair("metrics")
            .and_then(|pair| pair.node.as_map()?.get("listen"))
            .map(|pair| pair.node.span);
        let what = format!("there is no folder {}, so there can be no socket in it", folder.display());
        let mend =
            format!("make it (`mkdir {}`), or write unix:/run/portunus/metrics.sock", folder.display());
        findings.warn(&source, at.unwrap_or_default(), what, mend);
    }
    let secrets = secrets::read(files, paths, &server.spoken, &mut policy, &mut findings);
    if server.spoken.names(Dialect::Native) {
        sources.push(paths.keys_dir());
    }
    lower::warn_of_ports(&policy, &source, Span::default(), &mut findings);
    let mut crowd = Crowd::new(&policy);
    super::clients::each(files, paths, policy.longest, &mut findings, &mut |source, written, findings| {
        let dialect = written.key.dialect();
        if !server.spoken.hears(dialect) {
            let how = match dialect {
                Dialect::Native => "in the native dialect",
                Dialect::Openme => "as openme's do",
                Dialect::Fwknop => "as fwknop's do",
            };
            let what = format!("client {:?} knocks {how}, and the server does not speak that", written.name);
            findings.error(source, written.at, what, server.spoken.mend(dialect));
        }
        crowd.take(source, written, findings);
    });
    findings.verdict()?;
    let key_files = crowd.key_files();
    let (rules, limits, theirs) = crowd.finish();
    let mut stance = server.stance;
    lower::protect(&mut stance, &policy, &limits);
    Ok(Settings {
        host: server.host,
        profile_name: server.profile_name,
        rules,
        limits,
        stance,
        listen: server.listen,
        listen_named: server.listen_named,
        nflog: server.nflog,
        health_port: policy.health_port,
        secrets: Secrets { openme: secrets.openme, native: secrets.native, ..theirs },
        key_files,
        admins: server.admins,
        on_exit: server.on_exit,
        audit: server.audit,
        metrics: server.metrics,
        alerts,
        sources,
        warnings: findings.warnings,
        fwknop: None,
    })
}

fn sources(paths: &Paths) -> Vec<PathBuf> {
    vec![paths.server(), paths.services(), paths.clients_dir(), paths.clients_file(), paths.openme_key()]
}

fn no_server(path: &Path) -> Diagnostic {
    Diagnostic::of_file(path, "there is no such file", "make it with `portunus init --host HOST`")
}

fn server(s: Fields<'_, '_>, services: Services, findings: &mut Findings) -> (Server, Policy) {
    s.know(&TOP, Unknown::Refused, findings);
    let (listen, listen_named, knock_port) = listen(s, findings);
    let host = s.read("host", findings, parse_host);
    let profile = s.text("profile", findings).map(|(text, _)| text.to_owned());
    let health = s.flag("health", findings).unwrap_or(true);
    let health_port = s.port("health_port", findings).unwrap_or(knock_port);
    let window = s.duration("replay_window", lower::WINDOW.0, lower::WINDOW.1, findings);
    let limits = section(s, "limits", &LIMITS, findings);
    let longest = limits.and_then(|l| l.duration("longest_grant", lower::GRANT.0, lower::GRANT.1, findings));
    let longest = longest.unwrap_or(Duration::from_secs(24 * 3600));
    let most_clients = limits.and_then(|l| l.number("clients", 1, 1_000_000, findings));
    let most_open = limits.and_then(|l| l.number("open_grants", 1, 1_000_000, findings));
    let (default_ports, default_lasting) = defaults(s, &services, longest, findings);
    let health_port = health.then_some(health_port);
    let spoken = Spoken::read(s, findings);
    let policy = Policy {
        services,
        default_ports,
        default_lasting,
        longest,
        window: window.unwrap_or(lower::DEFAULT_WINDOW),
        knock_port,
        health_port,
        most_clients: most_clients.and_then(|n| usize::try_from(n).ok()).unwrap_or(lower::DEFAULT_CLIENTS),
        most_open: most_open.and_then(|n| u32::try_from(n).ok()).unwrap_or(lower::DEFAULT_OPEN),
        server_publics: Vec::new(),
        native: spoken.names(Dialect::Native),
    };
    let server = Server {
        profile_name: profile
            .unwrap_or_else(|| host.as_deref().map_or_else(|| "default".to_owned(), first_label)),
        host,
        listen,
        listen_named,
        nflog: s
            .number("nflog", 0, u64::from(u16::MAX), findings)
            .and_then(|group| u16::try_from(group).ok()),
        spoken,
        on_exit: s.word("on_exit", &OnExit::WORDS, findings).unwrap_or_default(),
        admins: admins(s, findings),
        stance: stance(s, knock_port, findings),
        audit: audit(s, findings),
        metrics: metrics(s, health_port, findings),
    };
    (server, policy)
}

/// `section`'s keys, of which only `known` may be there.
fn section<'a, 't>(
    s: Fields<'a, 't>,
    name: &str,
    known: &[&str],
    findings: &mut Findings,
) -> Option<Fields<'a, 't>> {
    let pair = s.pair(name)?;
    let fields = Fields::of(s.source, &pair.node, name, findings)?;
    fields.know(known, Unknown::Refused, findings);
    Some(fields)
}

fn listen(s: Fields<'_, '_>, findings: &mut Findings) -> (Vec<SocketAddr>, bool, u16) {
    let port = s.port("port", findings);
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for (text, at) in s.texts("listen", "[\"192.0.2.1:54154\"]", findings) {
        match address(text, port) {
            Ok(address) if addresses.contains(&address) => {
                findings.error(s.source, at, format!("{text:?} stands twice"), "keep one of them");
            }
            Ok(address) if addresses.first().is_some_and(|first| first.port() != address.port()) => {
                let what = format!("{text:?} has another port than the address before it");
                findings.error(s.source, at, what, "use one port for all: profiles name only one");
            }
            Ok(address) => addresses.push(address),
            Err(fault) => findings.fault(s.source, at, fault),
        }
    }
    match addresses.first() {
        None => {
            let port = port.unwrap_or(DEFAULT_PORT);
            (crate::everywhere(port), false, port)
        }
        Some(first) => {
            let first = first.port();
            if let Some(at) = s.pair("port").filter(|_| port.is_some_and(|port| port != first)) {
                let what = "port and listen name two ports";
                findings.error(s.source, at.node.span, what, format!("take this out, or write {first}"));
            }
            (addresses, true, first)
        }
    }
}

fn address(text: &str, port: Option<u16>) -> Result<SocketAddr, ValueError> {
    let mend = "write ADDRESS:PORT, as in 192.0.2.1:54154 or [2001:db8::1]:54154";
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(SocketAddr::new(address, port.unwrap_or(DEFAULT_PORT)));
    }
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() == 0 => Err(ValueError::new(format!("{text:?} has port 0"), mend)),
        Ok(address) => Ok(address),
        Err(_) => Err(ValueError::new(format!("{text:?} is not an address to listen on"), mend)),
    }
}

fn audit(s: Fields<'_, '_>, findings: &mut Findings) -> AuditSize {
    let usual = AuditSize::default();
    let Some(a) = section(s, "audit", &AUDIT, findings) else { return usual };
    let files = a.number("files", 2, 1000, findings).and_then(|n| u32::try_from(n).ok());
    AuditSize {
        megabytes: a.number("megabytes", 1, 1024, findings).unwrap_or(usual.megabytes),
        files: files.unwrap_or(usual.files),
    }
}

fn metrics(s: Fields<'_, '_>, health_port: Option<u16>, findings: &mut Findings) -> Option<MetricsListen> {
    let m = section(s, "metrics", &METRICS, findings)?;
    if m.pair("listen").is_none() {
        let at = s.pair("metrics").map(|pair| pair.at).unwrap_or_default();
        let mend = "write listen = \"127.0.0.1:9154\", or take the section out";
        findings.error(s.source, at, "[metrics] does not say where", mend);
    }
    let listen = m.read("listen", findings, metrics_listen)?;
    if let MetricsListen::Tcp(address) = &listen
        && health_port == Some(address.port())
    {
        let at = m.pair("listen").map(|pair| pair.node.span).unwrap_or_default();
        let what = format!("\"{address}\" is on the health port, which the daemon answers itself");
        findings.error(s.source, at, what, "use another port, as in 127.0.0.1:9154");
    }
    Some(listen)
}

/// The folder that a socket is to lie in, where there is none. The daemon makes its own.
fn missing_folder<'l>(files: &dyn Files, listen: &'l MetricsListen) -> Option<&'l Path> {
    let MetricsListen::Unix(path) = listen else { return None };
    let folder = path.parent().filter(|folder| *folder != Path::new("/run/portunus"))?;
    (files.list(folder) == Err(FileError::Missing)).then_some(folder)
}

/// Whoever can read figures learns when somebody comes and goes, so nobody outside this host gets them from us.
fn metrics_listen(text: &str) -> Result<MetricsListen, ValueError> {
    let mend = "write a loopback address and a port, as in 127.0.0.1:9154 or [::1]:9154, or unix:/run/portunus/metrics.sock";
    if let Some(path) = text.strip_prefix("unix:") {
        // sockaddr_un(7): 108 bytes with the zero, and we make it under a longer name first.
        let fits = path.starts_with('/') && !path.ends_with('/') && path.len() <= 90 && !path.contains('\0');
        return if fits {
            Ok(MetricsListen::Unix(PathBuf::from(path)))
        } else {
            let what = format!("{text:?} is no whole path of a socket (90 bytes at most)");
            Err(ValueError::new(what, mend))
        };
    }
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() == 0 => Err(ValueError::new(format!("{text:?} has port 0"), mend)),
        Ok(address) if address.ip().to_canonical().is_loopback() => Ok(MetricsListen::Tcp(address)),
        Ok(_) => {
            let mend = "use 127.0.0.1:PORT or a unix: socket, and let a scraper of this host fetch them";
            Err(ValueError::new(format!("{text:?} is no loopback address"), mend))
        }
        Err(_) => Err(ValueError::new(format!("{text:?} is nothing to listen on"), mend)),
    }
}

fn admins(s: Fields<'_, '_>, findings: &mut Findings) -> Vec<u32> {
    let items = s.list("admins", "[1000]", findings);
    let most = u64::from(u32::MAX) - 1;
    let one = |node: &Node<'_>, findings: &mut Findings| {
        number_of(s.source, node, "a user in admins", 0, most, findings)
    };
    items.iter().filter_map(|node| one(node, findings)).filter_map(|uid| u32::try_from(uid).ok()).collect()
}

fn stance(s: Fields<'_, '_>, knock_port: u16, findings: &mut Findings) -> StanceWish {
    let mut stance = StanceWish { protect: true, knock_port: Some(knock_port), ..StanceWish::default() };
    let Some(f) = section(s, "firewall", &FIREWALL, findings) else { return stance };
    stance.firewall = f.word("backend", &FirewallKind::WORDS, findings).unwrap_or_default();
    stance.place = place(f, findings);
    for (text, at) in f.texts("interfaces", "[\"eth0\"]", findings) {
        match parse_interface(text) {
            Ok(name) if stance.interfaces.contains(&name) => {
                findings.error(s.source, at, format!("{text:?} stands twice"), "keep one of them");
            }
            Ok(name) => stance.interfaces.push(name),
            Err(fault) => findings.fault(s.source, at, fault),
        }
    }
    stance.protect = f.flag("protect", findings).unwrap_or(true);
    if !f.flag("accept_knock_port", findings).unwrap_or(true) {
        stance.knock_port = None;
    }
    if let Some(pair) = f.pair("place") {
        place_fits(f.source, pair, &stance, findings);
    }
    stance
}

fn place(f: Fields<'_, '_>, findings: &mut Findings) -> Option<Place> {
    let pair = f.pair("place")?;
    let words: Vec<&str> = match &pair.node.value {
        Value::List(_) => {
            let found = f.texts("place", "[\"attach:inet/filter/input\"]", findings);
            found.into_iter().map(|(text, _)| text).collect()
        }
        Value::Null | Value::Scalar(..) | Value::Map(_) => {
            vec![text_of(f.source, &pair.node, "place", findings)?]
        }
    };
    parse_place(&words).map_err(|fault| findings.fault(f.source, pair.node.span, fault)).ok()
}

/// Place and back end must not contradict each other.
fn place_fits(source: &Source<'_>, pair: &Pair<'_>, stance: &StanceWish, findings: &mut Findings) {
    let fits = match (&stance.place, stance.firewall) {
        (Some(Place::Iptables | Place::Fwknop(_)), FirewallKind::Nft) => false,
        (Some(Place::Own | Place::Attach(_)), FirewallKind::Iptables) => false,
        (None | Some(Place::Own | Place::Attach(_) | Place::Iptables | Place::Fwknop(_)), _) => true,
    };
    if !fits {
        let what = format!("this place is not one of the back end {}", stance.firewall.as_str());
        findings.error(
            source,
            pair.node.span,
            what,
            "change one of them, or take the place out: it is found at each start",
        );
    }
}

fn defaults(
    s: Fields<'_, '_>,
    services: &Services,
    longest: Duration,
    findings: &mut Findings,
) -> (Vec<PortSpec>, Duration) {
    let lasting = lower::DEFAULT_GRANT.min(longest);
    let Some(d) = section(s, "defaults", &DEFAULTS, findings) else { return (Vec::new(), lasting) };
    let mut ports = Vec::new();
    for (text, at) in d.texts("services", "[\"ssh\"]", findings) {
        if let Err(fault) = services.resolve(text, &mut ports) {
            findings.fault(s.source, at, fault);
        }
    }
    let lasting = d.duration("grant", lower::GRANT.0, longest, findings).unwrap_or(lasting);
    (tidy(ports), lasting)
}

/// The named services of `services.toml`; none when it is not there.
pub(super) fn services(files: &dyn Files, paths: &Paths, findings: &mut Findings) -> Services {
    let mut services = Services { noun: "service", ..Services::default() };
    let path = paths.services();
    let text = match files.read(&path, Secrecy::Public) {
        Ok(text) => text,
        Err(FileError::Missing) => return services,
        Err(error) => {
            findings.push(error.at(&path));
            services.unread = true;
            return services;
        }
    };
    let source = Source::new(&path, &text);
    // A file with nothing in it has no mistake.
    let Some(root) = toml_tree::parse(&source, findings) else {
        services.unread = !findings.clean();
        return services;
    };
    let Some(fields) = Fields::of(&source, &root, "the file", findings) else {
        services.unread = !findings.clean();
        return services;
    };
    for pair in &fields.map.entries {
        if pair.key.is_empty() || pair.key.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '+') {
            let mend = "begin it with a letter: what begins with a digit is a port";
            findings.error(&source, pair.at, format!("{:?} is no name for a service", pair.key), mend);
        }
        let (ports, sent_on) = service(fields, pair, findings);
        if let Some(at) = sent_on {
            services.sent_on.extend_from_slice(&ports);
            let what = format!("{:?} has forward = true, and iptables drops the ports here", pair.key);
            services.sent_on_by_iptables.push(source.diagnostic(at, what, FORWARD_BY_NFTABLES));
        }
        services.named.push((pair.key.to_string(), ports));
    }
    services
}

/// What to do where iptables drops: its chains of ours guard the way to this host only.
const FORWARD_BY_NFTABLES: &str = "what is sent on is guarded by nftables only: take this out, or have nftables do the \
    dropping (`place` and `backend` in portunus.toml)";

/// `NAME = ["22/tcp"]`, or `NAME = { ports = ["443/tcp"], forward = true }`: the ports, and where it is said that they are
/// guarded too where they are sent on.
fn service(
    fields: Fields<'_, '_>,
    pair: &Pair<'_>,
    findings: &mut Findings,
) -> (Vec<PortSpec>, Option<Span>) {
    let source = fields.source;
    let table = pair.node.as_map().and_then(|_| Fields::of(source, &pair.node, &pair.key, findings));
    let (words, sent_on) = match table {
        Some(table) => {
            table.know(&SERVICE, Unknown::Refused, findings);
            if table.pair("ports").is_none() {
                let what = format!("the service {:?} has no ports", pair.key);
                findings.error(source, pair.at, what, "write ports = [\"443/tcp\"]");
            }
            let sent_on = table.flag("forward", findings).unwrap_or(false);
            let sent_on = table.pair("forward").filter(|_| sent_on).map(|pair| pair.at);
            (table.texts("ports", "[\"443/tcp\"]", findings), sent_on)
        }
        None => (fields.texts(&pair.key, "[\"22/tcp\"]", findings), None),
    };
    let mut ports = Vec::new();
    for (text, at) in words {
        match parse_spec(text) {
            Ok(specs) => ports.extend(specs),
            Err(fault) => findings.fault(source, at, fault),
        }
    }
    (tidy(ports), sent_on)
}
