//! A network namespace, and a daemon in it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::IpAddr;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portunus_ctl::control::Client;

use super::knocker;

/// What the daemon is started with, as a careless program would: no part may have it.
pub(crate) const LEAKED: &str = "/etc/hostname";

/// A namespace and a folder; gone with the value.
pub(crate) struct World {
    pub(crate) folder: tempfile::TempDir,
    name: String,
}

impl World {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let nth = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ptd{}-{nth}", std::process::id());
        run("ip", &["netns", "add", &name]);
        let world = Self { folder: tempfile::tempdir().unwrap(), name };
        world.inside("ip", &["link", "set", "lo", "up"]);
        world
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The configuration: these clients may open 22/tcp, for `timeout`.
    pub(crate) fn configure(&self, clients: &[u32], extra: &str) {
        let key = knocker::server_key().to_base64();
        let public = {
            let private = portunus_crypto::x25519::PrivateKey::new(&knocker::server_key()).unwrap();
            portunus_crypto::text::encode(private.public())
        };
        let mut text = format!(
            "server:\n  host: 127.0.0.1\n  udp_port: 54154\n  firewall: nft\n  drop_ports: true\n  private_key: {}\n  public_key: {public}\n{extra}ports:\n  ssh: [22/tcp]\nclients:\n",
            key.as_str(),
        );
        for n in clients {
            text.push_str(&format!(
                "  client{n}:\n    ed25519_pubkey: {}\n    allowed_ports: [ssh]\n",
                knocker::public_key(*n)
            ));
        }
        portunus_sys::files::replace(&self.path().join("config.yaml"), text.as_bytes(), 0o600).unwrap();
    }

    /// Runs a program in the namespace; its standard output.
    pub(crate) fn inside(&self, program: &str, words: &[&str]) -> String {
        let mut all = vec!["netns", "exec", &self.name, program];
        all.extend(words);
        String::from_utf8(run("ip", &all).stdout).unwrap()
    }

    /// This very program in the namespace.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(std::env::current_exe().unwrap()).args(words);
        command
    }

    pub(crate) fn run_ourselves(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// Something that holds a port; says `up` when it does.
    pub(crate) fn start_squatter(&self, script: &Path) -> Child {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, "sh"]).arg(script).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "up\n");
        child
    }

    pub(crate) fn start(&self) -> Daemon {
        let notify = self.path().join("notify");
        let _ = fs::remove_file(&notify);
        let supervisor = UnixDatagram::bind(&notify).unwrap();
        supervisor.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let leaking = format!("exec 9<{LEAKED}; exec \"$0\" \"$@\"");
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.name, "sh", "-c", &leaking])
            .arg(std::env::current_exe().unwrap());
        let mut child = command
            .args(["--serve", self.path().to_str().unwrap()])
            .env("NOTIFY_SOCKET", &notify)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let lines = BufReader::new(child.stderr.take().unwrap());
        let into = log.clone();
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                into.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        let mut daemon = Daemon { child, supervisor, log, run_dir: self.path().join("run") };
        daemon.wait_said("READY=1");
        daemon
    }

    /// Sends bytes to the knock port from inside.
    pub(crate) fn send(&self, bytes: &[u8], times: u32) {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let sent = self.run_ourselves(&["--knock", "127.0.0.1:54154", &times.to_string(), &hex]);
        assert!(sent.status.success(), "{sent:?}");
    }

    /// A knock of client `n` for `target`; the bytes.
    pub(crate) fn knock(&self, n: u32, target: &str) -> Vec<u8> {
        let packet = knocker::packet(n, target.parse::<IpAddr>().unwrap());
        self.send(&packet, 1);
        packet
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).output();
    }
}

/// A disk that is soon full; gone with the value.
pub(crate) struct SmallDisk(String);

impl SmallDisk {
    pub(crate) fn over(folder: &Path, size: &str) -> Self {
        let disk = Self(folder.to_str().unwrap().to_owned());
        run("mount", &["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs", &disk.0]);
        disk
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-l", &self.0]).output();
    }
}

/// A daemon that runs; killed with the value.
pub(crate) struct Daemon {
    pub(crate) child: Child,
    supervisor: UnixDatagram,
    log: Arc<Mutex<String>>,
    run_dir: PathBuf,
}

impl Daemon {
    /// Waits until the supervisor was told this.
    pub(crate) fn wait_said(&mut self, wanted: &str) {
        let mut buffer = [0; 1024];
        loop {
            let Ok(length) = self.supervisor.recv(&mut buffer) else {
                panic!("never said {wanted}:\n{}", self.log());
            };
            if String::from_utf8_lossy(&buffer[..length]).contains(wanted) {
                return;
            }
        }
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(&self.run_dir).unwrap()
    }

    pub(crate) fn signal(&self, name: &str) {
        run("kill", &["-s", name, &self.child.id().to_string()]);
    }

    /// Waits until something is so.
    pub(crate) fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        self.until_within(Duration::from_secs(10), what, is_so);
    }

    pub(crate) fn until_within(&self, patience: Duration, what: &str, is_so: impl Fn() -> bool) {
        let deadline = Instant::now() + patience;
        while !is_so() {
            assert!(Instant::now() < deadline, "never: {what}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "never ended\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The keeper's process id: `ip netns exec` becomes it.
    pub(crate) fn keeper(&self) -> u32 {
        self.child.id()
    }

    /// The parts: their process ids and titles.
    pub(crate) fn parts(&self) -> Vec<(u32, String)> {
        let mut parts = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
            let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
            let after = stat.rsplit(')').next().unwrap_or_default();
            let parent = after.split_whitespace().nth(1).and_then(|text| text.parse::<u32>().ok());
            if parent == Some(self.child.id()) {
                let title = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
                parts.push((pid, title.split('\0').next().unwrap_or_default().to_owned()));
            }
        }
        parts
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(program: &str, words: &[&str]) -> Output {
    let output = Command::new(program).args(words).output();
    let output = output.unwrap_or_else(|e| panic!("{program} is needed for this test: {e}"));
    assert!(output.status.success(), "{program} {words:?}: {output:?}");
    output
}
