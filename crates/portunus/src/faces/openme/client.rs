//! `knock`, `status` and `profiles`: openme's client file.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use portunus_client::{Families, Request, Whom};
use portunus_config::profile::{Profile, Show, openme as profile_file};
use portunus_config::{FileError, Files, Secrecy};
use zeroize::Zeroizing;

use super::NAME;
use super::args::{Knock, Status};
use crate::files::RealFiles;
use crate::knocking::{Knocker, post_knock};
use crate::places;
use crate::say::{CONFIG, Done, FAILED, Failure, Table, line, out, remark};

/// How long a door may take to open after a knock, before it is called closed.
const PATIENCE: Duration = Duration::from_secs(4);

/// `openme knock`.
pub(super) fn knock(file: Option<PathBuf>, wish: &Knock) -> Result<ExitCode, Failure> {
    let mut knocker = Knocker::new(open(file, &wish.profile)?, Families::All, Request::default(), None)?;
    let whom = wish.ip.unwrap_or(Whom::Source);
    let (host, port) = (knocker.profile.host.clone(), knocker.profile.port);
    let mut first = true;
    loop {
        line(format_args!("Knocking {} ...", place(&host, port)));
        match knocker.knock(whom) {
            Ok(_) => line("Knock sent."),
            Err(failure) if first => return Err(failure),
            Err(failure) => remark(NAME, failure),
        }
        if first && wish.check && !check(&mut knocker)? {
            return Ok(ExitCode::from(FAILED));
        }
        if let Some(command) = knocker.profile.post_knock.as_ref().filter(|_| first) {
            let code = post_knock(command)?;
            if !wish.continuous {
                return Ok(code);
            }
        }
        if !wish.continuous {
            return Ok(ExitCode::SUCCESS);
        }
        first = false;
        std::thread::sleep(wish.interval);
    }
}

/// A host and a port as one word, an IPv6 address in brackets.
fn place(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn check(knocker: &mut Knocker) -> Result<bool, Failure> {
    let looked = knocker.wait(knocker.health_port(), PATIENCE)?;
    tell(knocker, looked.is_ok());
    Ok(looked.is_ok())
}

fn tell(knocker: &Knocker, open: bool) {
    let place = place(&knocker.profile.host, knocker.health_port());
    if open {
        line(format_args!("Server {place} is reachable."));
    } else {
        line(format_args!("Server {place} is not reachable: the port is closed."));
    }
}

/// `openme status`.
pub(super) fn status(file: Option<PathBuf>, wish: &Status) -> Result<ExitCode, Failure> {
    let mut knocker = Knocker::new(open(file, &wish.profile)?, Families::All, Request::default(), None)?;
    let open = if wish.knock {
        line(format_args!("Knocking {} ...", place(&knocker.profile.host, knocker.profile.port)));
        knocker.knock(Whom::Source)?;
        line("Knock sent.");
        knocker.wait(knocker.health_port(), PATIENCE)?
    } else {
        knocker.look(knocker.health_port(), Duration::from_secs(2))?
    };
    tell(&knocker, open.is_ok());
    if open.is_err() && !wish.knock {
        line(format_args!(
            "Knock first: openme knock {}   (or: openme status {0} --knock)",
            knocker.profile.name
        ));
    }
    Ok(ExitCode::from(if open.is_ok() { 0 } else { FAILED }))
}

/// `openme profiles`.
pub(super) fn profiles(file: Option<PathBuf>, name: Option<&str>) -> Done {
    let path = path(file)?;
    let profiles = read(&path)?;
    if let Some(name) = name {
        let one = pick(&profiles, name, &path)?;
        out(&*profile_file::render(&[one], Show::Redacted)?);
        return Ok(());
    }
    let mut table = Table::new(&["NAME", "SERVER", "PORT"]);
    for profile in &profiles {
        table.row([profile.name.clone(), profile.host.clone(), profile.port.to_string()]);
    }
    if table.is_empty() {
        line(format_args!("No profiles in {}.", path.display()));
    } else {
        out(table);
    }
    Ok(())
}

fn path(file: Option<PathBuf>) -> Result<PathBuf, Failure> {
    match file {
        Some(file) => Ok(file),
        None => Ok(places::home()?.join(".openme/config.yaml")),
    }
}

fn open(file: Option<PathBuf>, name: &str) -> Result<Profile, Failure> {
    let path = path(file)?;
    let mut profiles = read(&path)?;
    pick(&profiles, name, &path)?;
    profiles.retain(|profile| profile.name == name);
    profiles.pop().ok_or_else(|| Failure::file("no profile", &path, ""))
}

fn pick<'a>(profiles: &'a [Profile], name: &str, path: &Path) -> Result<&'a Profile, Failure> {
    profiles.iter().find(|profile| profile.name == name).ok_or_else(|| {
        let names: Vec<&str> = profiles.iter().map(|profile| profile.name.as_str()).collect();
        let mend = match names.as_slice() {
            [] => "put the profile that `openme add` printed into it".to_owned(),
            names => format!("name one of these: {}", names.join(", ")),
        };
        Failure::file(format_args!("no profile named {name:?}"), path, mend)
    })
}

fn read(path: &Path) -> Result<Vec<Profile>, Failure> {
    let text = RealFiles.read(path, Secrecy::Secret).map(Zeroizing::new);
    let text = text.map_err(|error| {
        if error == FileError::Missing {
            let mend = "put the profile that `openme add` printed into it, and chmod 600 it";
            Failure::new(path.display(), error, mend).code(CONFIG)
        } else {
            Failure::lines([error.at(path)], CONFIG)
        }
    })?;
    profile_file::parse(&text, path).map_err(|found| Failure::lines(found, CONFIG))
}
