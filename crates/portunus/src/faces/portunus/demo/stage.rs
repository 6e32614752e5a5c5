//! Two machines and a cable: namespaces with names of their own, a firewall that drops, a listener behind the door,
//! the daemon. All of it goes when the stage is dropped.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use portunus_config::profile::{Profile, native};
use portunus_ctl::control::{Client, EventLine, Followed};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The server's address.
pub(super) const SERVER: &str = "10.90.0.1";
/// The client's address.
pub(super) const CLIENT: &str = "10.90.0.2";
/// What is knocked for.
pub(super) const DOOR: &str = "10.90.0.1:22";

/// How long the daemon may take to start, and a verdict to fall.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often it is looked whether it ended instead.
const ONE_LOOK: Duration = Duration::from_millis(20);

/// What an administrator may well have: nothing comes in but answers, lo and ICMP.
const RULES: &str = "table inet filter {
  chain input {
    type filter hook input priority filter; policy drop;
    ct state established,related accept
    iif lo accept
    meta l4proto { icmp, ipv6-icmp } accept
  }
}
";

/// A drop behind our accepts, in another table: the firewall step broken on purpose.
const BROKEN: &str = "table inet broken {
  chain input { type filter hook input priority 100; policy accept; tcp dport 22 drop; }
}
";

/// Whether the firewall is to do its part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Firewall {
    /// It is.
    Sound,
    /// Another table drops what is granted.
    Broken,
}

/// A network namespace; gone when dropped.
pub(super) struct Machine(String);

impl Machine {
    fn new(role: &str) -> Result<Self, String> {
        let name = format!("portunus-demo-{}-{role}", std::process::id());
        run(Command::new("ip").args(["netns", "add", &name]), "")?;
        let made = Self(name);
        run(made.command("ip").args(["link", "set", "lo", "up"]), "")?;
        Ok(made)
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0]).arg(program);
        command
    }

    fn address(&self, address: &str) -> Result<(), String> {
        run(self.command("ip").args(["addr", "add", &format!("{address}/24"), "dev", "door0"]), "")?;
        run(self.command("ip").args(["link", "set", "door0", "up"]), "").map(|_| ())
    }

    /// Does `work` on a thread that lives in it.
    pub(super) fn inside<R: Send>(&self, work: impl FnOnce() -> R + Send) -> Result<R, String> {
        let path = format!("/run/netns/{}", self.0);
        let entrance = File::open(&path).map_err(|error| format!("{path}: {error}"))?;
        let enter = || {
            move_into_link_name_space(entrance.as_fd(), Some(LinkNameSpaceType::Network))
                .map_err(|error| format!("{path}: cannot enter: {error}"))?;
            Ok(work())
        };
        std::thread::scope(|scope| scope.spawn(enter).join())
            .unwrap_or_else(|_| Err("a thread of the demo ended".into()))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = run(Command::new("ip").args(["netns", "del", &self.0]), "");
    }
}

/// The two machines, and alice's profile.
pub(super) struct Stage {
    server: Machine,
    client: Machine,
    folder: Folder,
    profile: String,
}

impl Stage {
    /// Sets it: machines, cable, firewall, listener, keys and a client whose grants last `lasting`.
    pub(super) fn set(lasting: Duration) -> Result<Self, String> {
        let (server, client) = (Machine::new("server")?, Machine::new("client")?);
        let cable = [
            "link", "add", "door0", "netns", &server.0, "type", "veth", "peer", "name", "door0", "netns",
            &client.0,
        ];
        run(Command::new("ip").args(cable), "")?;
        server.address(SERVER)?;
        client.address(CLIENT)?;
        run(server.command("nft").args(["-f", "-"]), RULES)?;
        listen(&server)?;
        let mut stage = Self { server, client, folder: Folder::new()?, profile: String::new() };
        run(&mut stage.portunus(&["init", "--host", SERVER, "--dialects", "openme"])?, "")?;
        let lasting = format!("{}s", lasting.as_secs());
        stage.profile =
            run(&mut stage.portunus(&["add", "alice", "--ports", "ssh", "--for", &lasting])?, "")?;
        Ok(stage)
    }

    /// Where the knocks come from.
    pub(super) fn client(&self) -> &Machine {
        &self.client
    }

    /// What alice was given.
    pub(super) fn profile(&self) -> Result<Profile, String> {
        let read = native::parse(&self.profile, Path::new("alice.toml"));
        read.map_err(|mistakes| mistakes.first().map_or_else(String::new, ToString::to_string))
    }

    /// Whether the client gets through the door within `limit`.
    pub(super) fn connects(&self, limit: Duration) -> Result<bool, String> {
        let door: SocketAddr = DOOR.parse().map_err(|error| format!("{DOOR}: {error}"))?;
        self.client.inside(|| TcpStream::connect_timeout(&door, limit).is_ok())
    }

    /// Starts the daemon and waits until it says that it is ready.
    pub(super) fn serve(&self, firewall: Firewall) -> Result<Running, String> {
        let notify = self.folder.0.join("notify");
        let socket = UnixDatagram::bind(&notify).map_err(|error| format!("{}: {error}", notify.display()))?;
        socket.set_read_timeout(Some(ONE_LOOK)).map_err(|error| error.to_string())?;
        let log = self.folder.0.join("log");
        let to_log = File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        let mut command = self.portunus(&["serve"])?;
        command.env("NOTIFY_SOCKET", &notify).stdin(Stdio::null()).stdout(Stdio::null()).stderr(to_log);
        let child = command.spawn().map_err(|error| format!("the daemon does not start: {error}"))?;
        let mut running = Running { child, verdicts: None };
        if !ready(&socket, &mut running.child) {
            return Err(format!(
                "the daemon did not become ready:\n{}",
                fs::read_to_string(&log).unwrap_or_default()
            ));
        }
        match firewall {
            Firewall::Sound => (),
            Firewall::Broken => run(self.server.command("nft").args(["-f", "-"]), BROKEN).map(|_| ())?,
        }
        running.verdicts = Some(follow(&self.folder.0.join("run"))?);
        Ok(running)
    }

    /// A command of ours on the server, with folders of the demo's own.
    fn portunus(&self, words: &[&str]) -> Result<Command, String> {
        let own = std::env::current_exe().map_err(|error| format!("this program: {error}"))?;
        let mut command = self.server.command(own);
        // The face's word first: this file may be called by another name.
        command.arg(super::super::NAME).args(words);
        for (variable, place) in [("CONFIG", "etc"), ("STATE", "state"), ("RUN", "run")] {
            command.env(format!("PORTUNUS_{variable}_DIR"), self.folder.0.join(place));
        }
        Ok(command)
    }
}

/// A temporary folder; gone when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self, String> {
        let path = std::env::temp_dir().join(format!("portunus-demo-{}", std::process::id()));
        fs::create_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The daemon. Dropped, it is killed with all its parts.
pub(super) struct Running {
    child: Child,
    verdicts: Option<Receiver<EventLine>>,
}

impl Running {
    /// The next verdict.
    pub(super) fn verdict(&self) -> Result<EventLine, String> {
        let verdicts = self.verdicts.as_ref().ok_or("nobody follows the verdicts")?;
        verdicts.recv_timeout(PATIENCE).map_err(|_| format!("no verdict fell within {PATIENCE:?}"))
    }

    /// Kills every process of it at once, and waits for their end.
    pub(super) fn kill_9(mut self) -> Result<(), String> {
        self.kill();
        self.child.wait().map(|_| ()).map_err(|error| format!("the daemon: {error}"))
    }

    fn kill(&self) {
        let mut all = vec![self.child.id()];
        let mut next = 0;
        while let Some(&parent) = all.get(next) {
            let path = format!("/proc/{parent}/task/{parent}/children");
            let children = fs::read_to_string(path).unwrap_or_default();
            all.extend(children.split_ascii_whitespace().filter_map(|word| word.parse::<u32>().ok()));
            next += 1;
        }
        let pids = all.iter().filter_map(|&pid| Pid::from_raw(i32::try_from(pid).ok()?));
        for pid in pids {
            // One that has ended by itself is what was wanted.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.kill();
            let _ = self.child.wait();
        }
    }
}

/// Waits for `READY=1`.
fn ready(socket: &UnixDatagram, child: &mut Child) -> bool {
    let start = Instant::now();
    let mut bytes = [0; 512];
    while start.elapsed() < PATIENCE && matches!(child.try_wait(), Ok(None)) {
        let Ok(length) = socket.recv(&mut bytes) else { continue };
        let said = String::from_utf8_lossy(bytes.get(..length).unwrap_or_default()).into_owned();
        if said.lines().any(|line| line == "READY=1") {
            return true;
        }
    }
    false
}

/// Follows the daemon's verdicts on a thread of its own.
fn follow(run_dir: &Path) -> Result<Receiver<EventLine>, String> {
    let events = Client::connect(run_dir).and_then(Client::events).map_err(|error| error.to_string())?;
    let (send, receive) = channel();
    std::thread::spawn(move || {
        for event in events.flatten().filter_map(verdict) {
            if send.send(event).is_err() {
                return;
            }
        }
    });
    Ok(receive)
}

fn verdict(followed: Followed) -> Option<EventLine> {
    match followed {
        Followed::Event(line) => Some(*line),
        Followed::Missed(_) => None,
    }
}

/// Somebody listens behind the door, for as long as this program runs.
fn listen(server: &Machine) -> Result<(), String> {
    let listener = server.inside(|| TcpListener::bind(DOOR))?.map_err(|error| format!("{DOOR}: {error}"))?;
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            drop(stream);
        }
    });
    Ok(())
}

/// Runs a program with `input`; what it printed.
fn run(command: &mut Command, input: &str) -> Result<String, String> {
    use std::io::Write;
    let name = format!("{command:?}").replace('"', "");
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped
        .spawn()
        .map_err(|error| format!("{name}: {error}: `make demo` installs what the demo needs"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // Who does not read its input says by its exit what was wrong.
        let _ = stdin.write_all(input.as_bytes());
    }
    let out = child.wait_with_output().map_err(|error| format!("{name}: {error}"))?;
    if !out.status.success() {
        return Err(format!("{name}: {}", String::from_utf8_lossy(&out.stderr).trim()));
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}
