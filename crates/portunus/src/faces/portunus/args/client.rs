//! The verbs of whoever knocks.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::values;

/// `portunus join`
#[derive(Args, Debug)]
#[command(
    after_help = "Other users of a machine see a command's words: there, give a code by standard input.

Example:
  portunus join < alice.toml
  portunus join portunus-invite:AWqy…
  portunus join ~/.openme/config.yaml --as work"
)]
pub(crate) struct Join {
    /// A profile of portunus or openme, or the code of an invitation (standard input when it is left out)
    #[arg(value_name = "FILE|CODE")]
    pub(crate) file: Option<PathBuf>,
    /// The name that it gets here (else the first label of the server's host)
    #[arg(long = "as", value_name = "NAME", value_parser = values::profile)]
    pub(crate) name: Option<String>,
    /// Take the place of a profile of that name, which is kept beside it as NAME.toml.old
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
