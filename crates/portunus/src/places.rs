//! Where things lie: the server's folders and the person's own, each movable by a flag or a variable.

use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::{PathBufValueParser, TypedValueParser};

use crate::say::{CONFIG, Failure};

/// The folders of a server; each flag has a variable of the same meaning.
#[derive(Args, Debug, Clone)]
pub(crate) struct Places {
    /// The server's configuration
    #[arg(long, global = true, value_name = "DIR", env = "PORTUNUS_CONFIG_DIR", hide_env_values = true)]
    #[arg(default_value = "/etc/portunus", help_heading = "Places")]
    pub(crate) config_dir: PathBuf,
    /// What the server must remember over a restart
    #[arg(long, global = true, value_name = "DIR", env = "PORTUNUS_STATE_DIR", hide_env_values = true)]
    #[arg(default_value = "/var/lib/portunus", help_heading = "Places", value_parser = whole())]
    pub(crate) state_dir: PathBuf,
    /// The control socket of a running server
    #[arg(long, global = true, value_name = "DIR", env = "PORTUNUS_RUN_DIR", hide_env_values = true)]
    #[arg(default_value = "/run/portunus", help_heading = "Places")]
    pub(crate) run_dir: PathBuf,
}

/// A folder with all its path: files of the configuration name what lies there, wherever the next command is said.
fn whole() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(std::path::absolute)
}

/// The user that the server's parts run as.
pub(crate) const USER: &str = "portunus";

/// The same folders for a face that has no flags for them: one daemon a network namespace, whatever its face.
pub(crate) fn daemon() -> Places {
    let place = |name: &str, default: &str| {
        std::env::var_os(name)
            .filter(|dir| !dir.is_empty())
            .map_or_else(|| PathBuf::from(default), PathBuf::from)
    };
    Places {
        config_dir: place("PORTUNUS_CONFIG_DIR", "/etc/portunus"),
        state_dir: place("PORTUNUS_STATE_DIR", "/var/lib/portunus"),
        run_dir: place("PORTUNUS_RUN_DIR", "/run/portunus"),
    }
}

/// There is no server's configuration in `dir`, in the words of `check` and `serve`.
pub(crate) fn no_server(dir: &Path) -> Failure {
    let place = dir.join("portunus.toml");
    Failure::new(place.display(), "there is no such file", "make it with `portunus init --host HOST`")
        .code(CONFIG)
}

/// The person's home folder.
///
/// # Errors
/// HOME is not set.
pub(crate) fn home() -> Result<PathBuf, Failure> {
    std::env::var_os("HOME")
        .filter(|home| !home.is_empty())
        .map(PathBuf::from)
        .ok_or_else(|| Failure::new("HOME is not set", "", "set it to your home folder"))
}

/// The folder of a person's profiles.
///
/// # Errors
/// Neither XDG_CONFIG_HOME nor HOME is set.
pub(crate) fn profiles() -> Result<PathBuf, Failure> {
    // The XDG base directory specification: a relative path there is to be ignored.
    let base = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute());
    let base = match base {
        Some(dir) => dir,
        None => home()?.join(".config"),
    };
    Ok(base.join("portunus/profiles"))
}
