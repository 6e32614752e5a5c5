//! What the keeper opens for the others before anything is begun: sockets, state files, locks.

use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use portunus_config::Settings;
use portunus_config::fwknop::{Daemon, Receive};
use portunus_ctl::control;
use portunus_dialect::{fwknop, native, openme};
use portunus_model::Lengths;
use portunus_sys::files::{self, FileError, Lock};
use portunus_sys::udp::Binding;
use portunus_sys::users::Ids;
use portunus_sys::{memfd, tcp, udp, users};

use super::error::StartError;
use super::error::process;
use crate::Plan;

/// The locks' names in the run folder and in the state folder, and the name in the network namespace.
const LOCK: &str = "daemon.lock";
pub(crate) const STATE_LOCK: &str = "state.lock";
const NAMESPACE_NAME: &str = "portunus/daemon";

/// One daemon a run folder, a state folder and a network namespace: two would undo each other's rules, and let in twice
/// what the other has seen.
#[derive(Debug)]
pub(super) struct Alone {
    _folders: [Lock; 2],
    _namespace: UnixListener,
}

impl Alone {
    pub(super) fn be(plan: &Plan) -> Result<Self, StartError> {
        let run = lock(&plan.run_dir, LOCK)?;
        let state = lock(&plan.state_dir, STATE_LOCK)?;
        // Abstract names belong to the network namespace, as the rules do, and vanish with their process.
        let name = UnixAddr::from_abstract_name(NAMESPACE_NAME);
        let namespace = name.and_then(|name| {
            UnixListener::bind_addr(&name).map_err(|_| {
                let there = UnixStream::connect_addr(&name).and_then(users::peer_process);
                io::Error::other(format!("it runs in this network namespace{}", process(there.ok())))
            })
        });
        let namespace = namespace.map_err(|e| StartError::Another(e.to_string()))?;
        Ok(Self { _folders: [run, state], _namespace: namespace })
    }
}

fn lock(folder: &Path, name: &str) -> Result<Lock, StartError> {
    let path = folder.join(name);
    Lock::try_now(&path).map_err(|e| {
        let held = matches!(e, FileError::Locked(_));
        let words = || format!("it uses {}{}", folder.display(), process(Lock::holder(&path)));
        if held { StartError::Another(words()) } else { e.into() }
    })
}

/// The sockets for knocks.
#[derive(Debug)]
pub(super) struct Ears {
    pub(super) sockets: Vec<OwnedFd>,
    pub(super) addresses: Vec<SocketAddr>,
    /// The health port's, bound and not yet listening.
    pub(super) health: Vec<OwnedFd>,
    /// The TCP server's, bound and not yet listening.
    pub(super) tcp: Vec<OwnedFd>,
    /// Those of the addresses that no interface has yet: at boot we come before the network.
    pub(super) early: Vec<SocketAddr>,
}

impl Ears {
    pub(super) fn open(settings: &Settings) -> Result<Self, StartError> {
        let mut ears = Self {
            sockets: Vec::new(),
            addresses: Vec::new(),
            health: Vec::new(),
            tcp: Vec::new(),
            early: Vec::new(),
        };
        let mut left_out = None;
        for address in &settings.listen {
            let mut when = Binding::Now;
            let socket = match udp::listen(*address, when) {
                Ok(socket) => socket,
                Err(e) if settings.listen_named && e.kind() == io::ErrorKind::AddrNotAvailable => {
                    when = Binding::Early;
                    ears.early.push(*address);
                    udp::listen(*address, when).map_err(|e| listen_error(*address, "udp", &e))?
                }
                Err(e) if !settings.listen_named && lacks_family(&e) => {
                    left_out = Some(listen_error(*address, "udp", &e));
                    continue;
                }
                Err(e) => return Err(listen_error(*address, "udp", &e)),
            };
            udp::only_lengths(&socket, &lengths(settings))
                .map_err(|e| StartError::System("a filter on the knock socket", e.to_string()))?;
            ears.sockets.push(socket);
            ears.addresses.push(*address);
            if let Some(port) = settings.health_port {
                let address = SocketAddr::new(address.ip(), port);
                ears.health.push(tcp::bind(address, when).map_err(|e| listen_error(address, "tcp", &e))?);
            }
        }
        let fwknop = settings.fwknop.as_deref();
        if let Some(port) = fwknop.and_then(|daemon| daemon.tcp) {
            ears.bind_tcp(port)?;
        }
        // Whoever sniffs, or reads a capture, needs no socket of its own.
        let needs_none = fwknop.is_some_and(|daemon| !matches!(daemon.receive, Receive::Udp(_)));
        match (ears.sockets.is_empty() && !needs_none, left_out) {
            (true, Some(error)) => Err(error),
            (true, None) => Err(StartError::NoListen),
            (false, _) => Ok(ears),
        }
    }

    /// The TCP server's port, in both families where the host has both.
    fn bind_tcp(&mut self, port: u16) -> Result<(), StartError> {
        let mut lacking = None;
        for ip in [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)] {
            let address = SocketAddr::new(ip, port);
            match tcp::bind(address, Binding::Now) {
                Ok(socket) => self.tcp.push(socket),
                Err(e) if lacks_family(&e) => lacking = Some(listen_error(address, "tcp", &e)),
                Err(e) => return Err(listen_error(address, "tcp", &e)),
            }
        }
        match lacking {
            Some(error) if self.tcp.is_empty() => Err(error),
            Some(_) | None => Ok(()),
        }
    }

    /// Lets the TCP server's port answer.
    pub(super) fn open_tcp(&self) -> Result<(), StartError> {
        let wrong = |e: io::Error| StartError::System("the TCP server", e.to_string());
        self.tcp.iter().try_for_each(|socket| tcp::listen(socket, 64)).map_err(wrong)
    }

    /// Lets the health port answer.
    pub(super) fn open_health(&self) -> Result<(), StartError> {
        for (socket, address) in self.health.iter().zip(&self.addresses) {
            tcp::listen(socket, 64).map_err(|e| listen_error(*address, "tcp", &e))?;
        }
        Ok(())
    }
}

/// The lengths of the dialects' packets.
pub(super) fn lengths(settings: &Settings) -> Lengths {
    let openme = settings.secrets.openme.as_ref().map(|_| openme::LENGTH..=openme::LENGTH);
    let fwknop = Some(fwknop::SHORTEST..=fwknop::LONGEST).filter(|_| !settings.secrets.fwknop.is_empty());
    let gpg = Some(fwknop::SHORTEST..=fwknop::gpg::LONGEST_GPG).filter(|_| !settings.secrets.gpg.is_empty());
    let native = Some(native::SHORTEST..=native::LONGEST).filter(|_| !settings.secrets.native.is_empty());
    Lengths::of(openme.into_iter().chain(fwknop).chain(gpg).chain(native))
}

/// fwknop's digest.cache: made (0600) when it is not there, read once, and then only appended to.
pub(super) fn digests(plan: &Plan, daemon: &Daemon) -> Result<File, StartError> {
    if plan.dry() {
        return scratch_of(&daemon.digest_file);
    }
    files::open_log(&daemon.digest_file).map_err(StartError::File)
}

fn lacks_family(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported
        || error.kind() == io::ErrorKind::AddrNotAvailable
        || udp::is_no_family(error)
}

pub(super) fn listen_error(address: SocketAddr, proto: &'static str, error: &io::Error) -> StartError {
    let port = address.port();
    let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
    let flag = if proto == "udp" { "u" } else { "t" };
    let kind = error.kind();
    let mend = if kind == io::ErrorKind::AddrInUse {
        format!(
            "the port is in use: `ss -l{flag}np 'sport = :{port}'` shows by whom; stop that, or choose another port"
        )
    } else if kind == io::ErrorKind::PermissionDenied {
        "ports below 1024 need CAP_NET_BIND_SERVICE: run this as root, or choose a port above 1023".to_owned()
    } else if udp::is_no_family(error) {
        format!("this host has no {family}: leave that address out")
    } else if kind == io::ErrorKind::AddrNotAvailable {
        format!("no interface has the address {}: correct it, or leave it out", address.ip())
    } else {
        error.to_string()
    };
    StartError::Listen { address, proto, mend, in_use: kind == io::ErrorKind::AddrInUse }
}

/// The control socket: root's, and for the parts' group to ask.
pub(super) fn control(run_dir: &Path, ids: Option<Ids>) -> Result<UnixListener, StartError> {
    let path = run_dir.join(control::SOCKET);
    let draft = run_dir.join(".control.draft");
    let wrong = |e: io::Error| StartError::System("the control socket", format!("{}: {e}", path.display()));
    // We hold the lock, so what lies here was left by a daemon that was killed.
    let _ = std::fs::remove_file(&draft);
    let listener = UnixListener::bind(&draft).map_err(wrong)?;
    listener.set_nonblocking(true).map_err(wrong)?;
    // Nobody gets in before the rights are right: until the rename nobody knows the name.
    std::fs::set_permissions(&draft, std::fs::Permissions::from_mode(0o660)).map_err(wrong)?;
    if let Some(ids) = ids {
        // A number that is nobody's group changes nothing for anybody.
        let _ = files::give(&draft, None, Some(ids.gid));
    }
    std::fs::rename(&draft, &path).map_err(wrong)?;
    Ok(listener)
}

/// The replay store's pair of files. A dry run judges by a copy: what it sees may come again and count.
pub(super) fn replay(plan: &Plan) -> Result<[File; 2], StartError> {
    if plan.dry() {
        let [a, b] = pair_paths(&plan.state_dir, "replay");
        return Ok([scratch_of(&a)?, scratch_of(&b)?]);
    }
    pair(&plan.state_dir, "replay")
}

/// The journal of grants. A dry run opens nothing, and leaves none that a later start would open.
pub(super) fn grants(plan: &Plan) -> Result<[File; 2], StartError> {
    if plan.dry() {
        return nowhere();
    }
    pair(&plan.state_dir, "grants")
}

/// A journal that is gone with us.
pub(super) fn nowhere() -> Result<[File; 2], StartError> {
    Ok([scratch(&[])?, scratch(&[])?])
}

fn pair(state_dir: &Path, name: &str) -> Result<[File; 2], StartError> {
    let [a, b] = pair_paths(state_dir, name);
    Ok([files::open_state(&a)?, files::open_state(&b)?])
}

fn pair_paths(state_dir: &Path, name: &str) -> [PathBuf; 2] {
    ["a", "b"].map(|letter| state_dir.join(format!("{name}.{letter}")))
}

/// A file's bytes in one that nobody else sees, and that is gone with us.
fn scratch_of(path: &Path) -> Result<File, StartError> {
    match std::fs::read(path) {
        Ok(bytes) => scratch(&bytes),
        Err(e) if e.kind() == io::ErrorKind::NotFound => scratch(&[]),
        Err(e) => Err(StartError::System("a file of a dry run", format!("{}: {e}", path.display()))),
    }
}

fn scratch(bytes: &[u8]) -> Result<File, StartError> {
    memfd::scratch("portunus", bytes).map_err(|e| StartError::System("a file of a dry run", e.to_string()))
}

/// How a part, which knows no path, names its pair of state files.
pub(super) fn pair_words(state_dir: &Path, name: &str) -> String {
    format!("{}.a and .b", state_dir.join(name).display())
}
