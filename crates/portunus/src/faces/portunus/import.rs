//! `import`: another program's configuration into our own.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use portunus_config::native::{self, Paths};
use portunus_config::{EditError, FileChange, Files, NewClient, Overlay, Settings, openme, render_duration};
use portunus_model::PortSpec;
use portunus_sys::files;

use super::NAME;
use super::args::ImportFrom;
use crate::edit::{self, PRIVATE};
use crate::files::RealFiles;
use crate::places::Places;
use crate::say::{CONFIG, Done, Failure, line, remark};

/// `portunus import`.
pub(super) fn run(places: &Places, from: ImportFrom) -> Done {
    match from {
        ImportFrom::Openme { file, force } => from_openme(places, &file, force),
        ImportFrom::Fwknop { dir } => super::import_fwknop::run(places, &dir),
    }
}

fn from_openme(places: &Places, file: &Path, force: bool) -> Done {
    let bad = |found| Failure::lines(found, CONFIG);
    let theirs = openme::load(&RealFiles, file).map_err(bad)?;
    let entries = openme::clients(&RealFiles, file).map_err(bad)?;
    let groups = openme::groups(&RealFiles, file).map_err(bad)?;
    let dir = &places.config_dir;
    let paths = Paths::new(dir);
    files::make_folder(dir, 0o755)?;
    let _lock = edit::lock_folder(dir)?;
    if paths.server().exists() && !force {
        return Err(Failure::file("it exists already", &paths.server(), "use --force to overwrite it"));
    }
    let mut new = vec![
        (paths.services(), services_text(file, &groups), 0o644),
        (paths.server(), server_text(file, &theirs, &groups), 0o644),
    ];
    if let Some(key) = &theirs.secrets.openme {
        new.insert(0, (paths.openme_key(), native::key_text(key).to_string(), PRIVATE));
    }
    let mut after = Overlay::new(&RealFiles);
    for (path, text, _) in &new {
        after = after.with(path, text.as_str());
    }
    for entry in entries {
        // openme's clients have one.
        let Some(key) = &entry.key else { continue };
        let mut client = NewClient::new(entry.name.clone(), *key.as_bytes());
        client.services = entry.services;
        client.expires = entry.expires;
        client.any_target = entry.any_target;
        client.health_port = entry.health_port;
        let FileChange::Write { path, text } = add(&after, dir, &client)? else { continue };
        after = after.with(&path, text.as_str());
        new.retain(|(old, ..)| *old != path);
        new.push((path, text.to_string(), PRIVATE));
    }
    // Everything is checked with the daemon's own eyes before the first byte is written.
    let ours = native::load(&after as &dyn Files, dir).map_err(bad)?;
    write(&paths, &new, force)?;
    tell(file, dir, &theirs, &ours);
    Ok(())
}

/// With --force a client of that name gives way.
fn add(files: &dyn Files, dir: &Path, client: &NewClient) -> Result<FileChange, EditError> {
    let Err(EditError::Exists(_)) = native::add_client(files, dir, client) else {
        return native::add_client(files, dir, client);
    };
    let without = match native::remove_client(files, dir, &client.name)? {
        FileChange::Write { path, text } => Overlay::new(files).with(path, text.as_str()),
        FileChange::Delete { path } => Overlay::new(files).without(path),
    };
    native::add_client(&without, dir, client)
}

fn write(paths: &Paths, new: &[(PathBuf, String, u32)], force: bool) -> Done {
    files::make_folder(&paths.keys_dir(), 0o700)?;
    files::make_folder(&paths.clients_dir(), 0o700)?;
    let olds = [("key", paths.openme_key()), ("services", paths.services()), ("file", paths.server())];
    for (what, old) in olds.iter().filter(|_| force) {
        if let Some(aside) = edit::keep_aside(old)? {
            let verb = if *what == "services" { "are" } else { "is" };
            remark(NAME, format_args!("the old {what} {verb} in {}", aside.display()));
        }
    }
    // The server's file comes last: until it is there, the same import can simply be done again.
    let (last, first): (Vec<_>, Vec<_>) = new.iter().partition(|(path, ..)| *path == paths.server());
    for (path, text, mode) in first.into_iter().chain(last) {
        files::replace(path, text.as_bytes(), *mode)?;
    }
    Ok(())
}

fn services_text(file: &Path, groups: &[(String, Vec<PortSpec>)]) -> String {
    let mut text = format!("# The port groups of {}.\n", file.display());
    for (name, ports) in groups {
        let ports: Vec<String> = ports.iter().map(|port| format!("{:?}", port.to_string())).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:?} = [{}]", ports.join(", "));
    }
    text
}

fn server_text(file: &Path, theirs: &Settings, groups: &[(String, Vec<PortSpec>)]) -> String {
    let mut text = format!("# Taken over from {}.\n", file.display());
    let mut say = |key: &str, value: String| {
        let _ = writeln!(text, "{key} = {value}");
    };
    let port = theirs.listen.first().map_or(portunus_config::DEFAULT_PORT, std::net::SocketAddr::port);
    if let Some(host) = &theirs.host {
        say("host", format!("{host:?}"));
    }
    say("profile", format!("{:?}", theirs.profile_name));
    say("port", port.to_string());
    match theirs.health_port {
        Some(health) => say("health_port", health.to_string()),
        None => say("health", "false".to_owned()),
    }
    say("dialects", "[\"openme\"]".to_owned());
    say("replay_window", format!("{:?}", render_duration(theirs.rules.window)));
    say("\n[firewall]\nbackend", format!("{:?}", theirs.stance.firewall.as_str()));
    let interfaces: Vec<String> = theirs.stance.interfaces.iter().map(|name| format!("{name:?}")).collect();
    say("interfaces", format!("[{}]", interfaces.join(", ")));
    say("protect", theirs.stance.protect.to_string());
    say("accept_knock_port", theirs.stance.knock_port.is_some().to_string());
    let default = groups.iter().any(|(name, _)| name == "default");
    say("\n[defaults]\nservices", if default { "[\"default\"]" } else { "[]" }.to_owned());
    if let Some(client) = theirs.rules.clients.first() {
        say("grant", format!("{:?}", render_duration(client.lasting)));
    }
    text
}

/// Whatever differs between what the old file meant and what the new ones mean is said, never passed over.
fn tell(file: &Path, dir: &Path, theirs: &Settings, ours: &Settings) {
    let clients = ours.rules.clients.len();
    let s = if clients == 1 { "" } else { "s" };
    line(format_args!("{clients} client{s} taken over from {} into {}", file.display(), dir.display()));
    for warning in theirs.warnings.iter().chain(&ours.warnings) {
        remark(NAME, format_args!("not carried over: {warning}"));
    }
    for old in &theirs.rules.clients {
        match ours.rules.clients.iter().find(|new| new.name == old.name) {
            Some(new) if new == old => (),
            Some(_) => remark(
                NAME,
                format_args!("{} may not do exactly what it could before: portunus show {0}", old.name),
            ),
            None => remark(NAME, format_args!("{} was not carried over: portunus add {0}", old.name)),
        }
    }
    line("their profiles go on to work: the server's key is the same. next:");
    line("  stop openme's server, then: systemctl enable --now portunus");
}
