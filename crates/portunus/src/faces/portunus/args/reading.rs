//! The verbs that read what is there - this machine, a capture, another program's files - and say what it means.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use portunus_model::Unix;

use crate::values;

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
