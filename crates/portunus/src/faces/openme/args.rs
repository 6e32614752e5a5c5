//! The table of flags of the `openme` face, as its documentation writes them (shared/spec: openme, "Commands").

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::values;

/// Single Packet Authentication: openme's commands and files
#[derive(Parser, Debug)]
#[command(name = "openme", version, disable_version_flag = true, max_term_width = 100)]
#[command(subcommand_required = true, arg_required_else_help = true, disable_help_subcommand = true)]
#[command(after_help = "Example, on the server and then on the laptop:
  sudo openme init --server home.example.org
  sudo openme add alice --ports 22/tcp
  sudo openme serve
  openme knock")]
pub(crate) struct Cli {
    /// The server's file
    #[arg(long, global = true, value_name = "FILE", default_value = "/etc/openme/config.yaml")]
    pub(crate) config: PathBuf,
    /// The client's file (~/.openme/config.yaml when it is left out)
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) client_config: Option<PathBuf>,
    /// How much to log
    #[arg(long, global = true, value_enum, default_value_t = LogLevel::Info)]
    pub(crate) log_level: LogLevel,
    /// Print the version
    #[arg(short = 'v', long, action = clap::ArgAction::Version)]
    version: Option<bool>,
    #[command(subcommand)]
    pub(crate) command: Command,
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

/// Every command of the face.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Make the server's file with fresh keys
    Init(Init),
    /// Add a client and print its profile
    Add(Add),
    /// List the clients
    #[command(after_help = "Example:\n  sudo openme list")]
    List,
    /// Remove a client
    Revoke(Revoke),
    /// Run the server in the foreground
    Serve(Serve),
    /// Show open grants, and who was seen last
    Sessions(Sessions),
    /// Knock
    #[command(alias = "connect")]
    Knock(Knock),
    /// Say whether the server is reachable from here
    Status(Status),
    /// List profiles, or show one without its private key
    Profiles(Profiles),
    /// Print a completion script
    Completion(Completion),
}

/// `openme init`
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  sudo openme init --server home.example.org --interface eth0")]
pub(crate) struct Init {
    /// The name or address by which clients reach this machine
    #[arg(long, value_name = "HOST", value_parser = values::host)]
    pub(crate) server: String,
    /// The UDP port to listen on
    #[arg(long, default_value_t = 54154, value_parser = values::port)]
    pub(crate) port: u16,
    /// Which firewall to drive
    #[arg(long, value_enum, default_value_t = Firewall::Nft)]
    pub(crate) firewall: Firewall,
    /// Only this interface (all when it is left out)
    #[arg(long, value_name = "NAME", value_parser = values::interface)]
    pub(crate) interface: Option<String>,
    /// Overwrite a file that is already there
    #[arg(long)]
    pub(crate) force: bool,
}

/// Which firewall to drive.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Firewall {
    // nftables
    Nft,
    // iptables and ip6tables
    Iptables,
}

/// `openme add`
#[derive(Args, Debug)]
#[command(
    after_help = "The profile holds the client's private key, which the server does not keep: send it on a safe way.

Example:
  sudo openme add alice --ports ssh,8080/tcp --expires 2027-01-31T00:00:00Z --qr"
)]
pub(crate) struct Add {
    /// The client's name
    #[arg(value_name = "NAME", value_parser = values::client)]
    pub(crate) name: portunus_model::ClientName,
    /// Groups of the file and ports, by comma: ssh, 22/tcp, 8000-8010/udp (the group `default` when left out)
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(crate) ports: Vec<String>,
    /// When its time is over: an RFC 3339 date
    #[arg(long, value_name = "DATE", value_parser = values::date)]
    pub(crate) expires: Option<portunus_model::Unix>,
    /// The name of the profile in the client's file
    #[arg(long, value_name = "PROFILE", value_parser = values::profile)]
    pub(crate) profile: Option<String>,
    /// Show the profile as a QR code for a phone
    #[arg(long)]
    pub(crate) qr: bool,
    /// Write the QR code to a picture
    #[arg(long, value_name = "FILE", value_parser = values::picture)]
    pub(crate) qr_out: Option<PathBuf>,
}

/// `openme revoke`
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  sudo openme revoke alice")]
pub(crate) struct Revoke {
    /// The client's name
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}

/// `openme serve`
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  sudo openme serve\n  sudo openme serve --interface eth0")]
pub(crate) struct Serve {
    /// Only this interface, whatever the file says
    #[arg(long, value_name = "NAME", value_parser = values::interface)]
    pub(crate) interface: Option<String>,
    /// Where `sessions` reads what is open
    #[arg(long, value_name = "FILE", default_value = "/run/openme/sessions.json")]
    pub(crate) state_file: PathBuf,
}

/// `openme sessions`
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  sudo openme sessions --watch")]
pub(crate) struct Sessions {
    /// What a running server writes
    #[arg(long, value_name = "FILE", default_value = "/run/openme/sessions.json")]
    pub(crate) state_file: PathBuf,
    /// Show it anew every second
    #[arg(long, short)]
    pub(crate) watch: bool,
}

/// `openme knock`
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  openme knock\n  openme knock home --check")]
pub(crate) struct Knock {
    /// The profile
    #[arg(value_name = "PROFILE", default_value = "default")]
    pub(crate) profile: String,
    /// Open for this address rather than the one that the server sees
    #[arg(long, value_name = "ADDRESS", value_parser = values::whom)]
    pub(crate) ip: Option<portunus_client::Whom>,
    /// Say afterwards whether the server is reachable
    #[arg(long)]
    pub(crate) check: bool,
    /// Knock again and again, until interrupted
    #[arg(long)]
    pub(crate) continuous: bool,
    /// How long to wait between two knocks
    #[arg(long, value_name = "TIME", default_value = "25s", value_parser = values::span)]
    pub(crate) interval: Duration,
}

/// `openme status`
#[derive(Args, Debug)]
#[command(
    after_help = "Exit 0 when the server is reachable, 1 when it is not.\n\nExample:\n  openme status --knock"
)]
pub(crate) struct Status {
    /// The profile
    #[arg(value_name = "PROFILE", default_value = "default")]
    pub(crate) profile: String,
    /// Knock first
    #[arg(long)]
    pub(crate) knock: bool,
}

/// `openme profiles`
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  openme profiles\n  openme profiles home")]
pub(crate) struct Profiles {
    /// Only this one
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
}

/// `openme completion`
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  openme completion zsh > ~/.zfunc/_openme")]
pub(crate) struct Completion {
    /// For which shell
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}
