//! `doctor`: walks the machine and names what is wrong, each with its mend.

use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use portunus_client::{Families, resolve, source_towards};
use portunus_config::{Settings, native};
use portunus_ctl::control::{Client, ControlError};
use portunus_sys::{clock, users};
use portunusd::keyrings::Trouble;
use portunusd::trial::{self, Stage};
use serde_json::json;

use super::args::Doctor;
use super::trial::at;
use crate::files::RealFiles;
use crate::places::{Places, USER};
use crate::say::{FAILED, Failure, line};
use crate::wallet::Wallet;
use crate::{chains, ruleset};

/// A refusal comes at once or not at all.
const ANSWERED_WITHIN: Duration = Duration::from_millis(500);

/// One thing that was looked at.
struct Finding {
    level: Level,
    what: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    /// As it should be.
    Fine,
    /// Worth knowing.
    Note,
    /// To be mended.
    Wrong,
}

impl Level {
    const fn word(self) -> &'static str {
        match self {
            Self::Fine => "ok",
            Self::Note => "note",
            Self::Wrong => "wrong",
        }
    }
}

/// What was looked at, in order.
#[derive(Default)]
struct Walk(Vec<Finding>);

impl Walk {
    fn fine(&mut self, what: impl Into<String>) {
        self.0.push(Finding { level: Level::Fine, what: what.into() });
    }

    fn note(&mut self, what: impl Into<String>) {
        self.0.push(Finding { level: Level::Note, what: what.into() });
    }

    fn wrong(&mut self, what: impl Into<String>) {
        self.0.push(Finding { level: Level::Wrong, what: what.into() });
    }
}

/// `portunus doctor`.
pub(super) fn run(places: &Places, wish: &Doctor) -> Result<ExitCode, Failure> {
    let mut walk = Walk::default();
    time(&mut walk);
    let server = native::Paths::new(&places.config_dir).server().exists();
    match &wish.client {
        None if server => server_side(&mut walk, places),
        Some(profile) => client_side(&mut walk, profile.as_deref()),
        None => client_side(&mut walk, None),
    }
    let wrong = walk.0.iter().any(|one| one.level == Level::Wrong);
    if wish.json {
        let rows: Vec<_> =
            walk.0.iter().map(|one| json!({ "is": one.level.word(), "what": one.what })).collect();
        line(format_args!("{:#}", serde_json::Value::from(rows)));
    } else {
        walk.0.iter().for_each(|one| line(format_args!("{:<5}  {}", one.level.word(), one.what)));
    }
    Ok(ExitCode::from(if wrong { FAILED } else { 0 }))
}

/// A knock is good for a minute at most, so both clocks must be right.
fn time(walk: &mut Walk) {
    match clock::synchronized() {
        Some(true) => walk.fine("the clock is synchronized"),
        Some(false) => walk.note(
            "the kernel knows of no time service that keeps the clock right: a knock is refused when the clocks of \
             client and server differ by more than the replay window: run systemd-timesyncd or chrony",
        ),
        None => walk.note("whether the clock is synchronized cannot be told here: compare it with another's"),
    }
}

fn server_side(walk: &mut Walk, places: &Places) {
    let dir = &places.config_dir;
    match native::load(&RealFiles, dir) {
        Err(mistakes) => mistakes.iter().for_each(|mistake| walk.wrong(mistake.to_string())),
        Ok(settings) => {
            walk.fine(format!("{}: no mistake in it, owners and modes are right", dir.display()));
            settings.warnings.iter().for_each(|warning| walk.note(warning.to_string()));
            native_keys(walk, places, &settings);
            user(walk);
            let running = daemon(walk, places);
            path(walk, &settings, running);
            upstream(walk, &settings);
            on_trial(walk, places);
            firewall(walk, &settings, running);
        }
    }
}

/// Who cannot knock in the native dialect.
fn native_keys(walk: &mut Walk, places: &Places, settings: &Settings) {
    let entries = native::clients(&RealFiles, &places.config_dir).unwrap_or_default();
    for Trouble { what, place, mend } in chains::look(&places.state_dir, settings, &entries) {
        walk.wrong(format!("{}: {what}: {mend}", place.display()));
    }
}

fn user(walk: &mut Walk) {
    if users::by_name(USER).is_some() {
        walk.fine(format!("there is a user {USER} for the server's parts"));
    } else {
        walk.note(format!(
            "there is no user {USER}: `serve` takes an unused number: useradd --system {USER}"
        ));
    }
}

fn daemon(walk: &mut Walk, places: &Places) -> bool {
    let status = Client::connect(&places.run_dir).and_then(|mut daemon| daemon.status());
    match status {
        Ok(status) => {
            walk.fine(format!(
                "the server runs (pid {}, since {}), standing in {}",
                status.pid, status.since, status.place
            ));
            true
        }
        Err(error @ ControlError::NotRunning(_)) => {
            walk.note(error.to_string());
            false
        }
        Err(error) => {
            walk.wrong(error.to_string());
            true
        }
    }
}

/// The way of a knock from the wire to the server: interfaces, the UDP port, the health port.
fn path(walk: &mut Walk, settings: &Settings, running: bool) {
    for name in &settings.stance.interfaces {
        if Path::new("/sys/class/net").join(name).exists() {
            walk.fine(format!("the interface {name} is there"));
        } else {
            walk.note(format!(
                "there is no interface {name} now: nothing is received until it comes; `ip link` lists them"
            ));
        }
    }
    for &listen in &settings.listen {
        match UdpSocket::bind(listen) {
            Ok(_) if running => {
                walk.wrong(format!("nobody listens on {listen}/udp though the server runs: see its log"));
            }
            Ok(_) => walk.fine(format!("{listen}/udp is free for the server")),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && running => {
                walk.fine(format!("{listen}/udp is received"));
            }
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => walk.wrong(format!(
                "{listen}/udp is in use by another program: `ss -ulpn` names it: stop it, or change `port`"
            )),
            Err(error) if settings.listen_named => {
                walk.wrong(format!("{listen}/udp cannot be received ({error}): change `listen`"));
            }
            Err(error) => walk.note(format!(
                "{listen}/udp cannot be received ({error}): this machine has only the other family"
            )),
        }
    }
    let Some(health) = settings.health_port.filter(|_| running) else { return };
    let answers =
        TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], health)), Duration::from_secs(1));
    match answers {
        Ok(_) => walk.fine(format!("the health port {health}/tcp answers")),
        // The machine's own rules may drop what comes over loopback: that says nothing about the way from outside.
        Err(error) if error.kind() == std::io::ErrorKind::TimedOut => walk.note(format!(
            "the health port {health}/tcp cannot be asked from this machine itself: its rules drop that on loopback"
        )),
        Err(error) => walk
            .wrong(format!("the health port {health}/tcp does not answer ({error}): see the server's log")),
    }
}

/// Who stands between the world and this machine is seen from here only where they refuse a datagram of ours.
fn upstream(walk: &mut Walk, settings: &Settings) {
    let Some(port) = settings.listen.first().map(SocketAddr::port) else { return };
    let found = settings.host.as_deref().map(|host| resolve(host, port, Families::All));
    match found {
        Some(Ok(addresses)) => addresses.into_iter().for_each(|to| elsewhere(walk, to)),
        Some(Err(error)) => walk.wrong(error.to_string()),
        None => (),
    }
    walk.note(format!(
        "whether somebody before this machine (a router, the provider's firewall) stops {port}/udp cannot be known from \
         here: on another machine `portunus status PROFILE --knock` tells"
    ));
}

/// Clients knock at an address that is not this machine's: somebody has to send it on to here.
fn elsewhere(walk: &mut Walk, to: SocketAddr) {
    // Only an address of our own can be bound to.
    if UdpSocket::bind((to.ip(), 0)).is_ok() {
        return;
    }
    let (address, port) = (to.ip(), to.port());
    let what = format!("clients knock at {address}, which is no address of this machine");
    match refused(to) {
        Some(error) => walk.wrong(format!(
            "{what}, and {port}/udp is refused there ({error}): have whoever has it send {port}/udp on to this machine, or \
             correct `host`"
        )),
        None => walk.note(format!("{what}: whoever has it must send {port}/udp on to this machine")),
    }
}

/// What comes back when an empty datagram is refused; one that is taken, or lost, has no answer.
fn refused(to: SocketAddr) -> Option<std::io::Error> {
    let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.set_read_timeout(Some(ANSWERED_WITHIN)).ok()?;
    let answer = socket.connect(to).and_then(|()| socket.send(&[])).and_then(|_| socket.recv(&mut [0; 1]));
    answer.err().filter(|error| {
        !matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
    })
}

fn on_trial(walk: &mut Walk, places: &Places) {
    match trial::stage(&places.state_dir) {
        Stage::None | Stage::Proven => (),
        Stage::Until(until) => walk.note(format!(
            "the drops are on trial until {}: knock and connect from another machine to keep them; `portunus teardown` \
             ends the trial",
            at(until)
        )),
        Stage::Over => walk.wrong(
            "a trial of the drops is over that nobody passed, so nothing is dropped and `serve` does not start: \
             `portunus init --try 5m` again, or `portunus teardown` to do without",
        ),
        Stage::Ended => walk.wrong(
            "a trial of the drops is being ended, and `serve` does not start until it is: where that was cut short, run \
             `portunus teardown` again",
        ),
    }
}

fn firewall(walk: &mut Walk, settings: &Settings, running: bool) {
    let look = if running { ruleset::look_while_running(settings) } else { ruleset::look(settings) };
    match look {
        Err(failure) => walk.note(format!("the firewall was not looked at: {failure}")),
        Ok(look) => {
            look.lines.iter().for_each(|said| walk.note(said.clone()));
            look.blocked.iter().for_each(|blocked| walk.wrong(blocked.clone()));
            if look.blocked.is_empty() {
                walk.fine("no rule keeps out who has a grant");
            }
        }
    }
}

fn client_side(walk: &mut Walk, wanted: Option<&str>) {
    let profile = match Wallet::mine().and_then(|wallet| wallet.open(wanted)) {
        Ok(profile) => profile,
        Err(failure) => return walk.wrong(failure.to_string()),
    };
    walk.fine(format!("the profile {} is whole, and nobody else can read it", profile.name));
    let addresses = match resolve(&profile.host, profile.port, Families::All) {
        Ok(addresses) => addresses,
        Err(error) => return walk.wrong(error.to_string()),
    };
    for to in addresses {
        match source_towards(to) {
            Ok(from) if behind_nat(from, to.ip()) => walk.note(format!(
                "{to} is reached from {from}, a private address: behind a NAT, whoever shares its public address gets in \
                 with you while the door is open"
            )),
            Ok(from) => walk.fine(format!("{to} is reached from {from}")),
            Err(error) => walk.note(error.to_string()),
        }
    }
    walk.note(format!("whether the door opens is told by: portunus status {} --knock", profile.name));
}

/// A private source on the way to a host that is not in the same kind of network.
fn behind_nat(from: IpAddr, to: IpAddr) -> bool {
    let private = |address: IpAddr| match address {
        IpAddr::V4(a) => a.is_private() || a.is_loopback() || a.is_link_local(),
        IpAddr::V6(a) => a.is_unique_local() || a.is_loopback() || a.is_unicast_link_local(),
    };
    private(from) && !private(to.to_canonical())
}
