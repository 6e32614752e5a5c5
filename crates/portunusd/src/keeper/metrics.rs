//! The exporter as the keeper sees it: started where `[metrics]` is set, started again when it dies (nobody's door hangs on
//! it), and told what only the keeper knows. Beside it what outlives a daemon: how often it was started, and which part died.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use portunus_config::MetricsListen;
use portunus_ctl::figures::KeeperFigures;
use portunus_model::{Mono, Now};
use portunus_sys::udp::Binding;
use portunus_sys::users::{Ids, Keep};
use portunus_sys::{clock, files, tcp};

use super::audit::Tally;
use super::error::StartError;
use super::part::Part;
use crate::Plan;
use crate::message::{self, FromMetrics, Taken, ToFront, ToMetrics};

/// The file of starts and deaths, in the state folder.
const LIVES: &str = "lives";
/// An exporter that has died is started again after so long.
const AGAIN: Duration = Duration::from_secs(1);
/// The parts whose deaths are counted.
const PARTS: [&str; 8] = ["front", "grantor", "errand", "commands", "resolver", "gpg", "metrics", "alerts"];

/// The exporter, and what is told to it.
#[derive(Debug)]
pub(super) struct Metrics {
    ids: Option<Ids>,
    listen: Option<MetricsListen>,
    /// Kept open, so that an exporter that is started again has the same address.
    listener: Option<OwnedFd>,
    part: Option<Part>,
    again: Option<Mono>,
    lives: PathBuf,
    started: Now,
    figures: KeeperFigures,
}

impl Metrics {
    pub(super) fn new(plan: &Plan, ids: Option<Ids>, started: Now) -> Self {
        let lives = plan.state_dir.join(LIVES);
        let (starts, deaths) = read_lives(&lives);
        let metrics = Self {
            ids,
            listen: None,
            listener: None,
            part: None,
            again: None,
            lives,
            started,
            figures: KeeperFigures {
                version: plan.version.to_owned(),
                started: started.wall.as_secs(),
                starts: starts + 1,
                deaths,
                ..KeeperFigures::default()
            },
        };
        if !plan.dry() {
            metrics.write_lives();
        }
        metrics
    }

    /// Opens the socket of a configuration, if it is another one. Nothing is served before [`Self::start`].
    pub(super) fn open(&mut self, listen: Option<&MetricsListen>) -> Result<(), StartError> {
        if self.listen.as_ref() == listen {
            return Ok(());
        }
        let listener = listen.map(|listen| open(listen, self.ids)).transpose()?;
        self.close();
        (self.listen, self.listener) = (listen.cloned(), listener);
        Ok(())
    }

    /// Starts the exporter where it is wanted and does not run.
    pub(super) fn start(&mut self, plan: &Plan, front: &Part, stderr: Option<OwnedFd>) -> io::Result<()> {
        self.again = None;
        let Some(listener) = self.listener.as_ref().filter(|_| self.part.is_none()) else { return Ok(()) };
        let (fronts, exporters) = UnixStream::pair()?;
        let part = Part::start(plan, "metrics", (self.ids, Some(Keep::Nothing)), stderr)?;
        part.say(&ToMetrics::Setup, &[listener.as_fd(), exporters.as_fd()])?;
        front.say(&ToFront::Exporter, &[fronts.as_fd()])?;
        self.part = Some(part);
        Ok(())
    }

    pub(super) fn part(&self) -> Option<&Part> {
        self.part.as_ref()
    }

    /// When [`Self::start`] is to be called again.
    pub(super) fn due(&self) -> Option<Mono> {
        self.again
    }

    /// Whether the exporter has ended by itself. It is started again after a while.
    pub(super) fn look_after(&mut self) {
        let ended = self.part.as_mut().and_then(Part::ended);
        if let Some(status) = ended {
            tracing::error!(
                how = super::part::how_it_ended(status),
                "the exporter ended by itself: it is started again"
            );
            self.part = None;
            self.again = Some(clock::mono().after(AGAIN));
            self.count_death("metrics");
        }
    }

    /// A part died.
    pub(super) fn count_death(&mut self, part: &str) {
        *self.figures.deaths.entry(part.to_owned()).or_default() += 1;
        self.write_lives();
    }

    /// A reload came into force, or did not.
    pub(super) fn count_reload(&mut self, in_force: bool) {
        let count = if in_force { &mut self.figures.reloads } else { &mut self.figures.reloads_refused };
        *count += 1;
        self.figures.last_reload = Some((in_force, clock::wall().as_secs()));
    }

    /// Answers what the exporter asks. It holds no right, and may ask as often as it likes: one answer each.
    pub(super) fn answer(&mut self, generation: u64, audit: Tally) {
        let Some(part) = &self.part else { return };
        match message::try_receive::<FromMetrics>(&part.channel) {
            Ok(Taken::Message(_)) => (),
            // Its process tells more.
            Ok(Taken::Nothing | Taken::Ended) | Err(_) => return,
        }
        let figures = KeeperFigures {
            uptime: clock::mono().since(self.started.mono).as_secs(),
            generation,
            put_back: audit.put_back,
            audit_lines: audit.written,
            audit_lost: audit.lost,
            audit_writable: !audit.sick,
            namespace_overflow: namespace_overflow(),
            ..self.figures.clone()
        };
        // One that does not read has no room, and asks again.
        let _ = message::try_send(&part.channel, &ToMetrics::Figures(figures), &[]);
    }

    /// Ends it, and gives the address back.
    pub(super) fn close(&mut self) {
        self.again = None;
        if let Some(mut part) = self.part.take() {
            let _ = part.channel.shut();
            part.finish(super::LAST_PATIENCE);
        }
        self.listener = None;
        if let Some(MetricsListen::Unix(path)) = self.listen.take() {
            let _ = std::fs::remove_file(path);
        }
    }

    fn write_lives(&self) {
        let deaths = self.figures.deaths.iter().map(|(part, count)| format!("{part} {count}\n"));
        let text = format!("starts {}\n{}", self.figures.starts, deaths.collect::<String>());
        if let Err(error) = files::replace(&self.lives, text.as_bytes(), 0o600) {
            tracing::debug!(%error, "starts and deaths are not counted over this daemon's life");
        }
    }
}

/// Starts, and deaths of each part. What cannot be read begins anew: nothing hangs on it.
fn read_lives(path: &Path) -> (u64, BTreeMap<String, u64>) {
    let text = files::read(path, files::Secrecy::Public).unwrap_or_default();
    let count = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|number| number.parse().ok()).unwrap_or(0)
    };
    (count("starts"), PARTS.map(|part| (part.to_owned(), count(part))).into())
}

fn open(listen: &MetricsListen, ids: Option<Ids>) -> Result<OwnedFd, StartError> {
    match listen {
        MetricsListen::Tcp(address) => {
            let opened = tcp::bind(*address, Binding::Now).and_then(|socket| {
                tcp::listen(&socket, 16)?;
                Ok(socket)
            });
            opened.map_err(|e| super::open::listen_error(*address, "tcp", &e))
        }
        MetricsListen::Unix(path) => open_unix(path, ids).map_err(|e| {
            StartError::System("the metrics socket", format!("{}: {}", path.display(), mend(path, &e)))
        }),
    }
}

/// What is wrong with a socket's place, and what to do.
fn mend(path: &Path, error: &io::Error) -> String {
    let folder = path.parent().unwrap_or(path).display();
    let other = "write unix:/run/portunus/metrics.sock below [metrics] in portunus.toml";
    if error.kind() == io::ErrorKind::NotFound {
        format!("there is no folder {folder}: make it, or {other}")
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        format!("the daemon may not write into {folder}: {other}")
    } else {
        error.to_string()
    }
}

/// For root and the parts' group, as the control socket. What lies there is replaced only if it is a socket.
fn open_unix(path: &Path, ids: Option<Ids>) -> io::Result<OwnedFd> {
    match std::fs::symlink_metadata(path) {
        Ok(meta) if !meta.file_type().is_socket() => {
            return Err(io::Error::other(
                "something else than a socket is there: move it away, or choose another path",
            ));
        }
        Ok(_) | Err(_) => (),
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".draft");
    let draft = path.with_file_name(name);
    let _ = std::fs::remove_file(&draft);
    let listener = UnixListener::bind(&draft)?;
    listener.set_nonblocking(true)?;
    std::fs::set_permissions(&draft, Permissions::from_mode(0o660))?;
    if let Some(ids) = ids {
        let _ = files::give(&draft, None, Some(ids.gid));
    }
    std::fs::rename(&draft, path)?;
    Ok(listener.into())
}

/// RcvbufErrors of both families (proc_net(5)): no socket's own counter tells these from what its filter dropped.
fn namespace_overflow() -> Option<u64> {
    let four = std::fs::read_to_string("/proc/self/net/snmp").ok()?;
    let mut udp = four.lines().filter_map(|line| line.strip_prefix("Udp: "));
    let (names, values) = (udp.next()?, udp.next()?);
    let place = names.split_ascii_whitespace().position(|name| name == "RcvbufErrors")?;
    let four: u64 = values.split_ascii_whitespace().nth(place)?.parse().ok()?;
    let six = std::fs::read_to_string("/proc/self/net/snmp6").unwrap_or_default();
    let six = six.lines().find_map(|line| line.strip_prefix("Udp6RcvbufErrors")?.trim().parse::<u64>().ok());
    Some(four + six.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lives_are_counted_over_one_and_nonsense_is_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(LIVES);
        assert_eq!(read_lives(&path).0, 0);
        std::fs::write(&path, "starts 7\nfront 2\ngrantor x\nstartsx 9\n").unwrap();
        let (starts, deaths) = read_lives(&path);
        assert_eq!((starts, deaths["front"], deaths["grantor"], deaths.len()), (7, 2, 0, PARTS.len()));
    }

    #[test]
    fn the_kernel_tells_of_this_namespaces_drops() {
        assert!(namespace_overflow().is_some());
    }

    #[test]
    fn a_socket_is_replaced_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.sock");
        let first = open_unix(&path, None).unwrap();
        drop(first);
        open_unix(&path, None).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        let file = dir.path().join("file");
        std::fs::write(&file, "precious").unwrap();
        let nowhere = dir.path().join("nowhere/m.sock");
        let error = open_unix(&nowhere, None).unwrap_err();
        let said = mend(&nowhere, &error);
        assert!(
            said.starts_with(&format!("there is no folder {}/nowhere: make it", dir.path().display())),
            "{said}"
        );
        assert!(open_unix(&file, None).unwrap_err().to_string().contains("something else"));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
    }
}
