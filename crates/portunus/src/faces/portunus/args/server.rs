//! The verbs of the running server: to set it up, to run it, and to see and end what it does.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use portunus_model::Unix;
use portunus_store::audit::Head;

use crate::values;

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

/// `portunus alerts`
#[derive(Args, Debug)]
#[command(after_help = "Example:
  sudo portunus alerts --test")]
pub(crate) struct AlertsWish {
    /// Send a test by every way, and say what came of it
    #[arg(long)]
    pub(crate) test: bool,
}
