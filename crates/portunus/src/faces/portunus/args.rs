//! The table of flags of the `portunus` face: help, man page and completions are views of it. Long
//! because it is a table.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use portunus_model::{ClientName, Unix};
use portunus_store::audit::Head;

use crate::places::Places;
use crate::values;

/// Opens a port for whoever proves with one packet that they may
#[derive(Parser, Debug)]
#[command(name = "portunus", version, propagate_version = false, max_term_width = 100)]
#[command(subcommand_required = true, arg_required_else_help = true, disable_help_subcommand = true)]
#[command(after_help = "Example, on the server and then on the laptop:
  sudo portunus init --host home.example.org
  sudo portunus add alice --ports ssh > alice.toml
  sudo systemctl enable --now portunus
  portunus join < alice.toml
  portunus knock home && ssh home")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) places: Places,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Every command of the face.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Make the server's keys and configuration, and choose how to stand in its firewall
    Init(Init),
    /// Run the server in the foreground
    Serve(Serve),
    /// Add a client and print its profile
    Add(Add),
    /// List the clients
    #[command(after_help = "Example:\n  sudo portunus list\n  sudo portunus list --json")]
    List(Listing),
    /// Show one client
    Show(Show),
    /// Remove a client; its open grants are closed at once
    Revoke(Revoke),
    /// Remove everything of ours from the firewall, and say which ports are open then
    Teardown(Teardown),
    /// Show open grants with their countdown, and who was seen last
    Sessions(Sessions),
    /// Close grants now
    Close(Close),
    /// Load every configuration file as the server would
    #[command(after_help = "Example:\n  sudo portunus check && sudo systemctl reload portunus")]
    Check(Listing),
    /// Walk this machine, as a server or as a client, and name what is wrong with its mend
    Doctor(Doctor),
    /// Take over another program's configuration
    Import(Import),
    /// Say what every step of the pipeline makes of a knock's bytes
    Explain(Explain),
    /// Say what becomes of each line of another program's configuration
    ExplainConfig(ExplainConfig),
    /// Follow what the running server decides
    #[command(after_help = "Example:\n  portunus events\n  portunus events --json")]
    Events(Listing),
    /// Show what the server has written down of itself: grants, refusals, changes
    Audit(Audit),
    /// Show who is told of grants and refusals, or send a test
    Alerts(AlertsWish),
    /// Take a profile from a server: from standard input, a file, or openme's file
    Join(Join),
    /// Knock
    Knock(Knock),
    /// Knock, wait until the door is open, then run a command
    Connect(Connect),
    /// For ssh's ProxyCommand: knock, connect, carry the stream
    Proxy(Proxy),
    /// Print the Host block that lets ssh knock by itself
    SshConfig(SshConfig),
    /// Say whether the door is open from here
    Status(Status),
    /// List this person's profiles, or show one without its private key
    Profiles(Profiles),
    /// Print a completion script
    Completion(Completion),
    /// Show the whole story in two network namespaces of its own (root); your rules stay untouched
    #[command(after_help = "Example:\n  sudo portunus demo")]
    Demo,
    /// Write the man pages of every face into a folder
    #[command(hide = true)]
    Man(Man),
}

/// `portunus init`
#[derive(Args, Debug)]
#[command(after_help = "Changes no firewall rule: it looks, and says what `serve` would do.
Only with --try it does: the protected ports are dropped, and the kernel takes the drops back when
nobody has knocked and come in from another machine in time.

Example:
  sudo portunus init --host home.example.org
  sudo portunus init --try 5m
  sudo portunus init --host 203.0.113.7 --interface eth0 --place attach:inet/filter/input")]
pub(crate) struct Init {
    /// The name or address by which clients reach this machine
    #[arg(long, value_name = "HOST", value_parser = values::host, required_unless_present = "trial")]
    pub(crate) host: Option<String>,
    /// The UDP port to listen on
    #[arg(long, default_value_t = 54154, value_parser = values::port)]
    pub(crate) port: u16,
    /// Which firewall to drive
    #[arg(long, value_enum, default_value_t = FirewallKind::Auto)]
    pub(crate) firewall: FirewallKind,
    /// Only this interface (repeat for more; all when it is left out)
    #[arg(long = "interface", value_name = "NAME", value_parser = values::interface)]
    pub(crate) interfaces: Vec<String>,
    /// Which dialects to speak
    #[arg(long, value_enum, value_delimiter = ',', default_value = "native,openme")]
    pub(crate) dialects: Vec<DialectName>,
    /// Where our rules stand: own, iptables or attach:FAMILY/TABLE/CHAIN (repeat for more; found when it is left out)
    #[arg(long, value_name = "PLACE", value_parser = values::place)]
    pub(crate) place: Vec<values::PlaceWish>,
    /// Write portunus.toml anew where there is one; keys, services and clients stay
    #[arg(long)]
    pub(crate) force: bool,
    /// Run the server with its drops on trial: kept once somebody knocked and came in from another machine, given back by
    /// the kernel after this time
    #[arg(long = "try", id = "trial", value_name = "TIME", value_parser = values::trial, allow_hyphen_values = true)]
    pub(crate) trial: Option<Duration>,
}

/// Which firewall to drive.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FirewallKind {
    // Find out
    Auto,
    // nftables over netlink
    Nft,
    // iptables and ip6tables
    Iptables,
}

/// A dialect's name.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DialectName {
    // Our own
    Native,
    // openme v1
    Openme,
    // fwknop 2.x, symmetric keys
    Fwknop,
}

/// Whether a knock names the address that it opens for.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bind {
    // Where it is the client's own, seen from everywhere
    Auto,
    // Always
    Must,
}

/// `portunus serve`
#[derive(Args, Debug)]
#[command(
    after_help = "SIGHUP or a changed file reloads, SIGTERM ends. The drops of protected ports stay: `teardown` removes them.

Example:
  sudo systemctl enable --now portunus
  sudo portunus serve --log-level debug"
)]
pub(crate) struct Serve {
    /// How much to log
    #[arg(long, value_enum, default_value_t = LogLevel::Info, env = "PORTUNUS_LOG", hide_env_values = true)]
    pub(crate) log_level: LogLevel,
}

/// How much to log.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogLevel {
    // Strangers' packets too
    Debug,
    // What became of clients' knocks
    Info,
    // Only what needs attention
    Warn,
    // Only what stops the work
    Error,
}

/// `portunus add`
#[derive(Args, Debug)]
#[command(
    after_help = "The profile holds the client's private key, which the server does not keep: send it on a safe way.

Example:
  sudo portunus add alice --ports ssh > alice.toml
  sudo portunus add phone --ports ssh,8000-8010/tcp --for 2m --expires 2027-01-31T00:00:00Z --qr"
)]
pub(crate) struct Add {
    /// The client's name
    #[arg(value_name = "NAME", value_parser = values::client)]
    pub(crate) name: ClientName,
    /// Services and ports, by comma: ssh, 22/tcp, 8000-8010/udp (the configured default when left out)
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(crate) ports: Vec<String>,
    /// When its time is over: 2027-01-31, or with a time, 2027-01-31T12:00:00Z
    #[arg(long, value_name = "DATE", value_parser = values::date)]
    pub(crate) expires: Option<Unix>,
    /// How long one grant lasts: 30s, 5m, 2h
    #[arg(long = "for", value_name = "TIME", value_parser = values::span)]
    pub(crate) lasting: Option<Duration>,
    /// The dialect of its knocks (the first of native, openme and fwknop that the server speaks, when it is left out)
    #[arg(long, value_enum)]
    pub(crate) dialect: Option<DialectName>,
    /// Answer its knocks, sealed: it hears why a door stays shut (native)
    #[arg(long)]
    pub(crate) answers: bool,
    /// Whether each knock must name the address that it opens for; a client behind a translated address cannot (native)
    #[arg(long, value_enum, value_name = "WHEN")]
    pub(crate) bind: Option<Bind>,
    /// Have each of its knocks bring a one-time code, and show the secret for its authenticator (native)
    #[arg(long)]
    pub(crate) totp: bool,
    /// Let it open for addresses other than its own
    #[arg(long)]
    pub(crate) any_target: bool,
    /// Show the profile as a QR code for a phone
    #[arg(long)]
    pub(crate) qr: bool,
    /// Write the QR code to a picture: .png or .svg
    #[arg(long, value_name = "FILE", value_parser = values::picture)]
    pub(crate) qr_out: Option<PathBuf>,
}

/// A command that only prints a table.
#[derive(Args, Debug)]
pub(crate) struct Listing {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `portunus show`
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  sudo portunus show alice")]
pub(crate) struct Show {
    /// The client's name
    #[arg(value_name = "NAME", value_parser = values::client)]
    pub(crate) name: ClientName,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `portunus revoke`
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  sudo portunus revoke alice\n  sudo portunus revoke alice --kill")]
pub(crate) struct Revoke {
    /// The client's name
    #[arg(value_name = "NAME", value_parser = values::client)]
    pub(crate) name: ClientName,
    /// End its established connections too, where no other client has or had a grant for the same address and port
    #[arg(long)]
    pub(crate) kill: bool,
}

/// `portunus teardown`
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  sudo systemctl disable --now portunus && sudo portunus teardown")]
pub(crate) struct Teardown {
    /// Remove our rules though a server is running (it would put them back: stop it first)
    #[arg(long)]
    pub(crate) force: bool,
}

/// `portunus sessions`
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  portunus sessions --watch\n  portunus sessions --json")]
pub(crate) struct Sessions {
    /// Show it anew every second
    #[arg(long, short)]
    pub(crate) watch: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `portunus audit`
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "Example:
  sudo portunus audit --since 2h
  sudo portunus audit --json | jq 'select(.what == \"opened\")'
  sudo portunus audit verify")]
pub(crate) struct Audit {
    /// Only from then on: a date, or a time ago such as 2h
    #[arg(long, value_name = "TIME", value_parser = since)]
    pub(crate) since: Option<Since>,
    /// Print the lines as they stand
    #[arg(long)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Option<AuditCommand>,
}

/// `portunus alerts`
#[derive(Args, Debug)]
#[command(after_help = "Example:
  sudo portunus alerts --test")]
pub(crate) struct AlertsWish {
    /// Send a test by every way, and say what came of it
    #[arg(long)]
    pub(crate) test: bool,
}

/// What else to do with the audit log.
#[derive(Subcommand, Debug)]
pub(crate) enum AuditCommand {
    /// Say whether every line is still what was written, and none is missing
    Verify(Verify),
}

/// `portunus audit verify`
#[derive(Args, Debug)]
#[command(
    after_help = "Exits 1 and names the first line that is not what was written. Whoever is root can write the whole log anew:
keep the head that this prints somewhere else, and ask for it later.

Example:
  sudo portunus audit verify
  sudo portunus audit verify --head \"$(ssh elsewhere cat kept-head)\""
)]
pub(crate) struct Verify {
    /// A head that was printed before, and kept: that line must still be the same
    #[arg(long, value_name = "NUMBER:HASH")]
    pub(crate) head: Option<Head>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Since when.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Since {
    Date(Unix),
    Ago(Duration),
}

fn since(text: &str) -> Result<Since, String> {
    let date = values::date(text).map(Since::Date);
    date.or_else(|wrong| {
        values::span(text).map(Since::Ago).map_err(|_| format!("{wrong}, or a time ago such as 2h"))
    })
}

/// `portunus close`
#[derive(Args, Debug)]
#[command(
    after_help = "On a server it closes a client's grants; with --client, what the server of a profile has open for you.

Example:
  sudo portunus close alice
  sudo portunus close 198.51.100.7
  sudo portunus close --all
  portunus close --client home"
)]
pub(crate) struct Close {
    /// Whose grants, or for which address
    #[arg(value_name = "NAME|ADDRESS", required_unless_present_any = ["all", "client"])]
    #[arg(conflicts_with_all = ["all", "client"])]
    pub(crate) whose: Option<String>,
    /// Every grant
    #[arg(long, conflicts_with = "client")]
    pub(crate) all: bool,
    /// Knock at the server of this profile, or of the one there is, so that it closes what is open for you
    #[arg(long, value_name = "PROFILE", num_args = 0..=1)]
    pub(crate) client: Option<Option<String>>,
}

/// `portunus doctor`
#[derive(Args, Debug)]
#[command(after_help = "Looks at the server where a server's configuration is, else at the client.

Example:
  sudo portunus doctor
  portunus doctor --client home")]
pub(crate) struct Doctor {
    /// Look at the client side, with this profile or the one there is
    #[arg(long, value_name = "PROFILE", num_args = 0..=1)]
    pub(crate) client: Option<Option<String>>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `portunus import`
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  sudo portunus import openme /etc/openme/config.yaml")]
pub(crate) struct Import {
    /// Whose configuration it is
    #[command(subcommand)]
    pub(crate) from: ImportFrom,
}

/// Whose configuration is taken over.
#[derive(Subcommand, Debug)]
pub(crate) enum ImportFrom {
    /// openme's server file
    #[command(after_help = "Says what could not be carried over.

Example:
  sudo portunus import openme /etc/openme/config.yaml")]
    Openme {
        /// The file
        #[arg(value_name = "FILE", default_value = "/etc/openme/config.yaml")]
        file: PathBuf,
        /// Overwrite a configuration that is already there
        #[arg(long)]
        force: bool,
    },
    /// fwknop's server files: each stanza becomes a client
    #[command(
        after_help = "Says what could not be carried over; a stanza that would open more than before is left out.
Where there is a portunus.toml, it stays, and the clients come beside those that are there.

Example:
  sudo portunus import fwknop /etc/fwknop"
    )]
    Fwknop {
        /// The folder with fwknopd.conf and access.conf
        #[arg(value_name = "DIR", default_value = "/etc/fwknop")]
        dir: PathBuf,
    },
}

/// `portunus explain`
#[derive(Args, Debug)]
#[command(
    after_help = "FILE is a pcap, a pcapng, or the bytes in hex; `-` is standard input. Opens nothing and claims nothing.

Example:
  sudo tcpdump -c1 -w knock.pcap udp port 54154
  sudo portunus explain knock.pcap"
)]
pub(crate) struct Explain {
    /// A capture or hex of a knock
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The source of the bytes, where the file does not say it
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) source: Option<IpAddr>,
    /// Judge as of this moment rather than now: an RFC 3339 date
    #[arg(long, value_name = "DATE", value_parser = values::date)]
    pub(crate) at: Option<Unix>,
}

/// `portunus explain-config`
#[derive(Args, Debug)]
pub(crate) struct ExplainConfig {
    #[command(subcommand)]
    pub(crate) of: ExplainOf,
}

/// Whose configuration.
#[derive(Subcommand, Debug)]
pub(crate) enum ExplainOf {
    /// fwknopd.conf and access.conf
    #[command(
        after_help = "Every variable means the same here, or has no effect (and why), or is refused (and the mend).
The values of keys are not shown. Exit code 1: something is refused.

Example:
  sudo portunus explain-config fwknop
  sudo portunus explain-config fwknop --json /etc/fwknop/access.conf"
    )]
    Fwknop {
        /// A folder with both files, or one of them
        #[arg(value_name = "FILE", default_value = "/etc/fwknop")]
        files: Vec<PathBuf>,
        /// The variables too that stand in no file
        #[arg(long)]
        all: bool,
        /// As JSON, one line each
        #[arg(long)]
        json: bool,
    },
}

/// `portunus join`
#[derive(Args, Debug)]
#[command(after_help = "Example:
  portunus join < alice.toml
  portunus join ~/.openme/config.yaml --as work")]
pub(crate) struct Join {
    /// A profile of portunus or openme (standard input when it is left out)
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// The name that it gets here (else the first label of the server's host)
    #[arg(long = "as", value_name = "NAME", value_parser = values::profile)]
    pub(crate) name: Option<String>,
    /// Overwrite a profile of that name
    #[arg(long)]
    pub(crate) force: bool,
}

/// Which addresses of the server to knock at.
#[derive(Args, Debug, Clone, Copy)]
pub(crate) struct FamilyFlags {
    /// Only IPv4
    #[arg(short = '4', long = "ipv4", conflicts_with = "six")]
    pub(crate) four: bool,
    /// Only IPv6
    #[arg(short = '6', long = "ipv6")]
    pub(crate) six: bool,
}

/// `portunus knock`
#[derive(Args, Debug)]
#[command(
    after_help = "Nothing comes back from a server that does not answer this client: --check says whether the door is open.

Example:
  portunus knock home
  portunus knock home --service ssh --for 5m
  portunus knock home --continuous --interval 25s"
)]
pub(crate) struct Knock {
    /// The profile (`default`, or the only one, when it is left out)
    #[arg(value_name = "PROFILE")]
    pub(crate) profile: Option<String>,
    /// Only this service of the server (repeat for more; all that the client may have when it is left out)
    #[arg(long = "service", value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) services: Vec<String>,
    /// For how long: 30s, 5m (as the server likes when it is left out, and never longer than it allows)
    #[arg(long = "for", value_name = "TIME", value_parser = values::span)]
    pub(crate) lasting: Option<Duration>,
    /// Ask for a one-time code, as a profile with second_factor = true does by itself
    #[arg(long)]
    pub(crate) totp: bool,
    /// For whom the door opens: an address, `source` (what the server sees) or `public` (our own global address)
    #[arg(long, value_name = "WHOM", default_value = "source", value_parser = values::whom)]
    pub(crate) ip: portunus_client::Whom,
    #[command(flatten)]
    pub(crate) family: FamilyFlags,
    /// Say afterwards whether the server is reachable; exit 1 when it is not
    #[arg(long)]
    pub(crate) check: bool,
    /// Knock again and again, until interrupted
    #[arg(long)]
    pub(crate) continuous: bool,
    /// How long to wait between two knocks
    #[arg(long, value_name = "TIME", default_value = "25s", value_parser = values::span)]
    pub(crate) interval: Duration,
    /// Knock so many times and end
    #[arg(long, value_name = "N", conflicts_with = "continuous", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) count: Option<u32>,
    /// Say each knock, also where it is not a terminal
    #[arg(long, short)]
    pub(crate) verbose: bool,
}

/// `portunus connect`
#[derive(Args, Debug)]
#[command(after_help = "Example:
  portunus connect home
  portunus connect home --port 22 -- ssh home")]
pub(crate) struct Connect {
    /// The profile (`default`, or the only one, when it is left out)
    #[arg(value_name = "PROFILE")]
    pub(crate) profile: Option<String>,
    #[command(flatten)]
    pub(crate) family: FamilyFlags,
    /// The TCP port that tells that the door is open (when it is left out: the first port of the profile, or the
    /// server's health port)
    #[arg(long, value_name = "PORT", value_parser = values::port)]
    pub(crate) port: Option<u16>,
    /// How long to wait for the door
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = values::span)]
    pub(crate) wait: Duration,
    /// What to run then, rather than the profile's post_knock
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<std::ffi::OsString>,
}

/// `portunus proxy`
#[derive(Args, Debug)]
#[command(after_help = "Example, in ~/.ssh/config (portunus ssh-config prints it):
  Host home
      HostName home.example.org
      ProxyCommand portunus proxy --profile home %h %p")]
pub(crate) struct Proxy {
    /// The host to connect to
    #[arg(value_name = "HOST", value_parser = values::host)]
    pub(crate) host: String,
    /// The TCP port to connect to
    #[arg(value_name = "PORT", value_parser = values::port)]
    pub(crate) port: u16,
    /// The profile to knock with (else the one of that name, or for that host)
    #[arg(long, value_name = "PROFILE")]
    pub(crate) profile: Option<String>,
    #[command(flatten)]
    pub(crate) family: FamilyFlags,
    /// How long to try each address of the host
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = values::span)]
    pub(crate) wait: Duration,
}

/// `portunus ssh-config`
#[derive(Args, Debug)]
#[command(
    after_help = "ssh does not tell a ProxyCommand of its own -4 and -6: where one family is to be used, say so here.

Example:
  portunus ssh-config home >> ~/.ssh/config && ssh home
  portunus ssh-config -4 home >> ~/.ssh/config"
)]
pub(crate) struct SshConfig {
    /// The profile (`default`, or the only one, when it is left out)
    #[arg(value_name = "PROFILE")]
    pub(crate) profile: Option<String>,
    #[command(flatten)]
    pub(crate) family: FamilyFlags,
}

/// `portunus status`
#[derive(Args, Debug)]
#[command(after_help = "Exit 0 when the door is open from here, 1 when it is closed.

Example:
  portunus status home --knock")]
pub(crate) struct Status {
    /// The profile (`default`, or the only one, when it is left out)
    #[arg(value_name = "PROFILE")]
    pub(crate) profile: Option<String>,
    /// Knock first
    #[arg(long)]
    pub(crate) knock: bool,
    /// The TCP port that tells that the door is open (when it is left out: the server's health port, or the first port
    /// of the profile where the server has none)
    #[arg(long, value_name = "PORT", value_parser = values::port)]
    pub(crate) port: Option<u16>,
    #[command(flatten)]
    pub(crate) family: FamilyFlags,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `portunus profiles`
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  portunus profiles\n  portunus profiles home")]
pub(crate) struct Profiles {
    /// Only this one, in full but for its private key
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `portunus completion`
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  portunus completion bash > ~/.local/share/bash-completion/completions/portunus"
)]
pub(crate) struct Completion {
    /// For which shell
    #[arg(value_enum)]
    pub(crate) shell: Shell,
    /// For which face of the program
    #[arg(value_name = "FACE", default_value = "portunus", value_parser = crate::faces::face_name)]
    pub(crate) face: &'static crate::faces::Face,
}

/// `portunus man`
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  portunus man dist/man1")]
pub(crate) struct Man {
    /// The folder
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
}
