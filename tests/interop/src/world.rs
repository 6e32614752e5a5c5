//! Two machines and a cable: the server with its firewall and folders, the client with its addresses.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::daemon::Daemon;
use crate::knocker::Knocker;
use crate::namespace::Namespace;
use crate::tool::{binary, run};

/// The server's IPv4 address.
pub const SERVER: &str = "10.90.0.1";
/// The client's.
pub const CLIENT: &str = "10.90.0.2";
/// The server's IPv6 address.
pub const SERVER6: &str = "fd90::1";
/// The client's.
pub const CLIENT6: &str = "fd90::2";

/// What the server's administrator has, before we come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firewall {
    /// Nothing.
    None,
    /// A table of nftables with policy drop, and things in it that must stay as they are.
    PolicyDrop,
    /// A table of nftables whose last rule drops.
    FinalDrop,
    /// A table of nftables whose last rule rejects.
    FinalReject,
    /// iptables and ip6tables with policy drop.
    Iptables,
}

/// A server and a client.
#[derive(Debug)]
pub struct World {
    /// Where the daemon runs.
    pub server: Namespace,
    /// Who knocks.
    pub client: Namespace,
    folder: PathBuf,
}

impl World {
    /// The two machines, connected, with `firewall` on the server; nothing of ours yet.
    #[must_use]
    pub fn bare(firewall: Firewall) -> Self {
        let (server, client) = (Namespace::new("s"), Namespace::new("c"));
        let folder = std::env::temp_dir().join(server.name());
        fs::create_dir_all(&folder).expect("a temporary folder can be made");
        run(
            "ip",
            &[
                "link",
                "add",
                "door0",
                "netns",
                server.name(),
                "type",
                "veth",
                "peer",
                "name",
                "door0",
                "netns",
                client.name(),
            ],
        );
        for (side, four, six) in [(&server, SERVER, SERVER6), (&client, CLIENT, CLIENT6)] {
            side.run("ip", &["addr", "add", &format!("{four}/8"), "dev", "door0"]);
            side.run("ip", &["addr", "add", &format!("{six}/64"), "dev", "door0", "nodad"]);
            side.run("ip", &["link", "set", "door0", "up"]);
        }
        let world = Self { server, client, folder };
        world.set_up(firewall);
        world
    }

    /// The same, with `portunus init` done; it speaks openme, unless more words say otherwise.
    #[must_use]
    pub fn new(firewall: Firewall) -> Self {
        Self::with_init(firewall, &[])
    }

    /// The same, with more words for `init`.
    #[must_use]
    pub fn with_init(firewall: Firewall, more: &[&str]) -> Self {
        let world = Self::bare(firewall);
        let dialects = if more.contains(&"--dialects") { &[][..] } else { &["--dialects", "openme"] };
        world.portunus(&[&["init", "--host", SERVER], dialects, more].concat());
        world
    }

    fn set_up(&self, firewall: Firewall) {
        match firewall {
            Firewall::None => (),
            Firewall::PolicyDrop => self.server.nft(&admins_table("policy drop", "")),
            Firewall::FinalDrop => self.server.nft(&admins_table("policy accept", "counter drop")),
            Firewall::FinalReject => self.server.nft(&admins_table("policy accept", "reject")),
            Firewall::Iptables => {
                for tool in ["iptables", "ip6tables"] {
                    self.server.run(
                        tool,
                        &[
                            "-A",
                            "INPUT",
                            "-m",
                            "conntrack",
                            "--ctstate",
                            "ESTABLISHED,RELATED",
                            "-j",
                            "ACCEPT",
                        ],
                    );
                    self.server.run(tool, &["-A", "INPUT", "-i", "lo", "-j", "ACCEPT"]);
                    self.server.run(tool, &["-P", "INPUT", "DROP"]);
                }
                self.server.run("ip6tables", &["-I", "INPUT", "-p", "icmpv6", "-j", "ACCEPT"]);
            }
        }
    }

    /// The folder of this world; all of ours is in it.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// One of the server's folders: `etc`, `state` or `run`.
    #[must_use]
    pub fn place(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A command of ours on the server, with this world's folders.
    #[must_use]
    pub fn command(&self, words: &[&str]) -> Command {
        self.command_on(&self.server, words)
    }

    /// A command of ours on one side.
    #[must_use]
    pub fn command_on(&self, side: &Namespace, words: &[&str]) -> Command {
        let mut command = side.command(binary());
        command.args(words);
        command.env("PORTUNUS_CONFIG_DIR", self.place("etc")).env("PORTUNUS_STATE_DIR", self.place("state"));
        command.env("PORTUNUS_RUN_DIR", self.place("run"));
        command.env("HOME", self.place("home")).env("XDG_CONFIG_HOME", self.place("home/.config"));
        command
    }

    /// Runs a command of ours on the server; its standard output.
    pub fn portunus(&self, words: &[&str]) -> String {
        succeed(words, &self.try_portunus(words))
    }

    /// The same, whatever it comes to.
    #[must_use]
    pub fn try_portunus(&self, words: &[&str]) -> Output {
        self.command(words).output().expect("the binary under test runs")
    }

    /// Runs a command of ours on the client; its standard output.
    pub fn laptop(&self, words: &[&str]) -> String {
        succeed(words, &self.try_laptop(words))
    }

    /// The same, whatever it comes to.
    #[must_use]
    pub fn try_laptop(&self, words: &[&str]) -> Output {
        self.command_on(&self.client, words).output().expect("the binary under test runs")
    }

    /// Adds a client of openme's dialect; what it knocks with. (Those of the native one: [`crate::native::add`].)
    #[must_use]
    pub fn add(&self, name: &str, more: &[&str]) -> Knocker {
        let openme = ["--dialect", "openme"];
        let dialect = if more.contains(&"--dialect") { &[][..] } else { &openme };
        Knocker::from_profile(&self.portunus(&[&["add", name], more, dialect].concat()))
    }

    /// Gives the server a name for the client's programs, with both of its addresses (`ip netns exec` shows them a
    /// hosts file of the namespace's own).
    pub fn name_server(&self, name: &str) {
        let folder = self.hosts();
        fs::create_dir_all(&folder).expect("/etc/netns can be written");
        fs::write(folder.join("hosts"), format!("127.0.0.1 localhost\n{SERVER} {name}\n{SERVER6} {name}\n"))
            .expect("a hosts file can be written");
    }

    fn hosts(&self) -> PathBuf {
        Path::new("/etc/netns").join(self.client.name())
    }

    /// Starts the daemon and waits until it says that it is ready.
    #[must_use]
    pub fn serve(&self) -> Daemon {
        Daemon::start(self, &["serve"])
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- ruleset of the server\n{}", self.server.ruleset());
            eprintln!("--- log\n{}", fs::read_to_string(self.folder.join("log")).unwrap_or_default());
        }
        // There only where `name_server` made it; the folder above stays when others have namespaces in it.
        let _ = fs::remove_dir_all(self.hosts());
        let _ = fs::remove_dir("/etc/netns");
        let removed = fs::remove_dir_all(&self.folder);
        if let Err(error) = removed {
            eprintln!("{} stays: {error}", self.folder.display());
        }
    }
}

fn succeed(words: &[&str], out: &Output) -> String {
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "portunus {}: {}: {said}", words.join(" "), out.status);
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// A table such as administrators have: sets, a chain of their own, counters without packets, comments.
fn admins_table(policy: &str, last: &str) -> String {
    format!(
        r#"table inet filter {{
  set friends {{ type ipv4_addr; flags interval; elements = {{ 192.0.2.0/24, 198.51.100.7 }} }}
  chain services {{ tcp dport 8443 accept comment "the admin's own"; }}
  chain input {{
    type filter hook input priority filter; {policy};
    ct state established,related accept
    iif "lo" accept
    meta l4proto {{ icmp, ipv6-icmp }} accept
    ip saddr @friends tcp dport 443 accept
    jump services
    {last}
  }}
}}
table ip other {{
  chain forward {{
    type filter hook forward priority filter; policy accept;
    ip daddr 203.0.113.0/24 drop
  }}
}}
"#
    )
}
