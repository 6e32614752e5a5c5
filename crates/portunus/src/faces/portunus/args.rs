//! The table of flags of the `portunus` face: help, man page and completions are views of it. The
//! verbs stand here, and the flags of each beside it by stage.

mod client;
mod clients;
mod reading;
mod rotate;
mod server;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::places::Places;

pub(crate) use client::{Connect, FamilyFlags, Join, Knock, Profiles, Proxy, SshConfig, Status};
pub(crate) use clients::{Add, Bind, Confirm, Invite, Revoke, Show};
pub(crate) use reading::{Doctor, Explain, ExplainConfig, ExplainOf, Import, ImportFrom};
pub(crate) use rotate::Rotate;
pub(crate) use server::{
    AlertsWish, Audit, AuditCommand, Close, DialectName, FirewallKind, Init, LogLevel, Serve, Sessions,
    Since, Teardown, Verify,
};

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
    /// Invite a client, which makes its own keys
    Invite(Invite),
    /// Say that the key of who came with an invitation is the right one
    Confirm(Confirm),
    /// List the clients
    #[command(after_help = "Example:\n  sudo portunus list\n  sudo portunus list --json")]
    List(Listing),
    /// Show one client
    Show(Show),
    /// Remove a client; its open grants are closed at once
    Revoke(Revoke),
    /// Move the clients of the native dialect to a new door, and end the old one
    Rotate(Rotate),
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

/// A command that only prints a table.
#[derive(Args, Debug)]
pub(crate) struct Listing {
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
