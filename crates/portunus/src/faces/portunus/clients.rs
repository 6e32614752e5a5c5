//! `add`, `list`, `show` and `revoke`: the server's clients.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use portunus_config::Diagnostic;
use portunus_config::profile::{Keys, Profile, Show as Reveal, native as profile_file};
use portunus_config::{
    EditError, Entry, FileChange, Files, NewClient, Overlay, Settings, fingerprint, native, render_date,
    render_duration,
};
use portunus_ctl::control::{Client, ControlError, Killed, Session};
use portunus_model::{ClientKey, ClientName, Dialect, PortSpec};
use portunus_store::handover::Handover;
use portunus_store::invitations::Place;
use serde_json::json;

use super::args::{Add, DialectName, Show};
use super::{NAME, clients_fwknop, clients_native};
use crate::files::RealFiles;
use crate::identity::Identity;
use crate::invitations::{self, Standing};
use crate::picture::Picture;
use crate::places::Places;
use crate::say::{self, CONFIG, Done, FAILED, Failure, Table, line, out, remark};
use crate::{chains, edit, running};

/// How long a daemon is waited for that is asked for no more than a word beside the work.
const AT_LAST: Duration = Duration::from_secs(2);

/// `portunus add`.
pub(super) fn add(places: &Places, add: Add) -> Done {
    let dir = &places.config_dir;
    let lock = edit::lock_folder(dir)?;
    let before = load(&RealFiles, places)?;
    known_services(places, &add.ports)?;
    say::in_the_future("--expires", add.expires)?;
    let dialect = add.dialect.unwrap_or_else(|| first_spoken(&before));
    let made = match dialect {
        DialectName::Native => clients_native::draw(places, &before, &add)?,
        DialectName::Openme => {
            clients_native::refuse_flags(&add)?;
            openme(&before)?
        }
        DialectName::Fwknop => {
            clients_native::refuse_flags(&add)?;
            let picture = clients_fwknop::add(places, &before, &add)?;
            drop(lock);
            running::take_up(NAME, &places.run_dir);
            if add.qr {
                show(picture.as_ref());
            }
            return Ok(());
        }
    };
    let mut client = NewClient::new(add.name.clone(), made.public);
    client.native = (dialect == DialectName::Native).then(|| clients_native::rule(&add));
    client.code = clients_native::one_time(add.totp)?;
    client.services = add.ports;
    client.expires = add.expires;
    client.lasting = add.lasting;
    client.any_target = add.any_target;
    let change = native::add_client(&RealFiles, dir, &client)?;
    // What the daemon would say of it, before a byte is written.
    let settings = native::load(&laid(&change), dir).map_err(|found| refused(&found))?;
    let profile = profile(before, &settings, &add.name, made.keys)?;
    if let Some(code) = &client.code {
        clients_native::show(code, &profile.host, &add.name)?;
    }
    // The pictures come first: a client whose profile could not be handed over would be useless.
    let picture = (add.qr || add.qr_out.is_some()).then(|| crate::picture::of(&profile)).transpose()?;
    if let (Some(picture), Some(path)) = (&picture, &add.qr_out) {
        picture.write(path)?;
    }
    // A client that is there has its link: the daemon takes up both at once.
    if let Some(link) = &made.link {
        chains::leave(&places.state_dir, link)?;
    }
    let text = profile_file::render(&profile, Reveal::All);
    if let Err(failure) = hand_over(&text, &change, add.qr_out.as_deref()) {
        if let Some(link) = &made.link {
            // A link that is nobody's opens nothing: the failure that counts is the other one.
            let _ = chains::take_back(&places.state_dir, link);
        }
        return Err(failure);
    }
    drop(lock);
    running::take_up(NAME, &places.run_dir);
    if add.qr {
        show(picture.as_ref());
    }
    Ok(())
}

/// Prints what a new client is to have, then writes the client: one whose profile got lost would be nobody's. What was drawn
/// for it goes where either fails.
pub(super) fn hand_over(text: &str, change: &FileChange, picture: Option<&Path>) -> Done {
    say::shut_to_others(NAME);
    let done = say::hand_over(text).and_then(|()| {
        let useless = "what was printed opens nothing, for the client was not added";
        edit::apply(change).inspect_err(|_| remark(NAME, useless))
    });
    if let (Err(_), Some(picture)) = (&done, picture) {
        // The failure that counts is the other one: a key that is nobody's opens nothing.
        let _ = std::fs::remove_file(picture);
    }
    done
}

/// What is drawn for a new client.
pub(super) struct Made {
    /// The public half, which its file has.
    pub(super) public: [u8; 32],
    /// What its profile has.
    pub(super) keys: Keys,
    /// What the daemon is to take up besides.
    pub(super) link: Option<Handover>,
}

/// The dialect of a client for which none was named.
const fn first_spoken(before: &Settings) -> DialectName {
    if !before.secrets.native.is_empty() {
        DialectName::Native
    } else if before.secrets.openme.is_some() {
        DialectName::Openme
    } else {
        DialectName::Fwknop
    }
}

fn openme(before: &Settings) -> Result<Made, Failure> {
    let key = before.secrets.openme.as_ref().ok_or_else(|| not_spoken("openme"))?;
    let server = crate::identity::x25519_public(key)?;
    let identity = Identity::generate()?;
    Ok(Made { public: identity.public, keys: identity.keys(server), link: None })
}

/// The server does not speak what a client is to speak.
pub(super) fn not_spoken(dialect: &str) -> Failure {
    Failure::new(
        format_args!("the server does not speak {dialect}"),
        "portunus.toml",
        format_args!("write {dialect:?} into its dialects, or add the client with another --dialect"),
    )
}

/// What the server says of a client that is not written yet: the place in its file is no place to look at.
pub(super) fn refused(found: &[Diagnostic]) -> Failure {
    Failure::lines(found.iter().map(|one| format!("{}: {}", one.what, one.mend)), FAILED)
}

fn show(picture: Option<&Picture>) {
    if let Some(picture) = picture {
        remark(NAME, "this picture holds the private key: show it to nobody else");
        // Standard output is the profile, which most people send into a file.
        eprint!("{}", *picture.blocks());
    }
}

pub(super) fn laid(change: &FileChange) -> Overlay<'static> {
    let over = Overlay::new(&RealFiles);
    match change {
        FileChange::Write { path, text } => over.with(path, text.as_str()),
        FileChange::Delete { path } => over.without(path),
    }
}

pub(super) fn load(files: &dyn Files, places: &Places) -> Result<Settings, Failure> {
    native::load(files, &places.config_dir).map_err(|found| Failure::lines(found, CONFIG))
}

/// The same words as the file's own check, with the flag's name for a place.
pub(super) fn known_services(places: &Places, ports: &[String]) -> Done {
    let services =
        native::services(&RealFiles, &places.config_dir).map_err(|found| Failure::lines(found, CONFIG))?;
    for word in ports {
        let named = services.iter().any(|(name, _)| name == word);
        if named {
            continue;
        }
        let Err(error) = PortSpec::parse(word) else { continue };
        // Whoever writes a digit first means a port, and hears what is wrong with it.
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(Failure::new(error, "", "").code(say::USAGE));
        }
        let names: Vec<&str> = services.iter().map(|(name, _)| name.as_str()).collect();
        let mend = ports_mend(&names);
        return Err(Failure::new(format_args!("no service named {word:?}"), "--ports", mend).code(say::USAGE));
    }
    Ok(())
}

fn ports_mend(services: &[&str]) -> String {
    // A configuration taken over from fwknop names no services.
    if services.is_empty() {
        return "write a port such as 22/tcp: portunus.toml names no services".to_owned();
    }
    format!("use one of {}, or a port such as 22/tcp", services.join(", "))
}

fn profile(before: Settings, after: &Settings, name: &ClientName, keys: Keys) -> Result<Profile, Failure> {
    let host = host(&before)?;
    let port = before.listen.first().map_or(portunus_config::DEFAULT_PORT, std::net::SocketAddr::port);
    let opens = opens(&before, after, name);
    let health = before.health_port;
    let mut keys = keys;
    if let Keys::Native(native) = &mut keys {
        // A range has no door for one source port.
        native.source_port = opens.iter().all(|port| port.is_single());
    }
    Ok(Profile {
        name: if ClientName::new(&before.profile_name).is_ok() {
            before.profile_name
        } else {
            "default".to_owned()
        },
        host,
        port,
        health: health.is_some(),
        health_port: health.filter(|&health| health != port),
        keys,
        post_knock: None,
        opens,
    })
}

/// The name by which clients reach this server.
pub(super) fn host(before: &Settings) -> Result<String, Failure> {
    before.host.clone().ok_or_else(|| {
        Failure::new(
            "the server's file has no host for the profile",
            "portunus.toml",
            "write host = \"NAME\" into it",
        )
    })
}

/// What a client's knocks open, for its profile.
pub(super) fn opens(before: &Settings, after: &Settings, name: &ClientName) -> Vec<PortSpec> {
    let rules = after.rules.clients.iter().find(|client| client.name == *name);
    let opens = rules.map(|client| client.ports.to_vec()).unwrap_or_default();
    // The health port has a field of its own; what `connect` should wait for is the service itself.
    let health = before.health_port;
    opens.into_iter().filter(|spec| !(spec.is_single() && Some(spec.first()) == health)).collect()
}

/// `portunus list`.
pub(super) fn list(places: &Places, json: bool) -> Done {
    let entries = entries(places)?;
    if json {
        let rows: Vec<_> = entries.iter().map(|entry| row(places, entry)).collect();
        line(format_args!("{:#}", serde_json::Value::from(rows)));
        return Ok(());
    }
    let mut table = Table::new(&["NAME", "DIALECT", "FINGERPRINT", "PORTS", "EXPIRES", "GRANT"]);
    for entry in &entries {
        table.row([
            entry.name.to_string(),
            entry.dialect.as_str().to_owned(),
            print_of(places, entry),
            ports(entry),
            entry.expires.map_or_else(|| "never".to_owned(), render_date),
            entry.lasting.map_or_else(|| "default".to_owned(), render_duration),
        ]);
    }
    if table.is_empty() {
        remark(NAME, "no client yet: portunus add NAME");
    } else {
        out(table);
    }
    Ok(())
}

/// `portunus show`.
pub(super) fn show_one(places: &Places, wanted: &Show) -> Done {
    let entries = entries(places)?;
    let Some(entry) = entries.iter().find(|entry| entry.name == wanted.name) else {
        return Err(unknown(&wanted.name));
    };
    if wanted.json {
        line(format_args!("{:#}", row(places, entry)));
        return Ok(());
    }
    let yes = |yes: bool| if yes { "yes" } else { "no" };
    line(format_args!("name         {}", entry.name));
    line(format_args!("dialect      {}", entry.dialect.as_str()));
    line(format_args!("fingerprint  {}", print_of(places, entry)));
    line(format_args!("ports        {}", ports(entry)));
    line(format_args!("expires      {}", entry.expires.map_or_else(|| "never".to_owned(), render_date)));
    line(format_args!(
        "grant        {}",
        entry.lasting.map_or_else(|| "default".to_owned(), render_duration)
    ));
    line(format_args!("any target   {}", yes(entry.any_target)));
    line(format_args!("health port  {}", yes(entry.health_port)));
    if entry.dialect == Dialect::Native {
        line(format_args!("answers      {}", yes(entry.native.answers)));
        line(format_args!("bind         {}", bind(entry)));
        line(format_args!("totp         {}", yes(entry.native.second_factor)));
    }
    line(format_args!("file         {}:{}", entry.file.display(), entry.line));
    Ok(())
}

/// Where what was done is said: on standard output, or beside what goes there.
pub(super) type Tell = fn(&dyn Display);

/// `portunus revoke`.
pub(super) fn revoke(places: &Places, name: &ClientName, kill: bool) -> Done {
    let entry = native::find(&RealFiles, &places.config_dir, name);
    take_out(places, name, kill, |text| line(text))?;
    if entry.is_some_and(|entry| entry.key.is_some_and(|key| key.dialect() == Dialect::Native)) {
        remark(
            NAME,
            format_args!(
                "{name} still has the key of the door, which tells knocks from noise and opens nothing: `portunus rotate --without {name}` \
                 ends that"
            ),
        );
    }
    Ok(())
}

/// Takes a client out. It works also where other files have mistakes: nobody must stay in because of a typo.
pub(super) fn take_out(places: &Places, name: &ClientName, kill: bool, tell: Tell) -> Done {
    let held = addresses_of(places, name);
    let lock = edit::lock_folder(&places.config_dir)?;
    let entry = native::find(&RealFiles, &places.config_dir, name);
    let change = match native::remove_client(&RealFiles, &places.config_dir, name) {
        // Revoked before, without a thought of what is established.
        Err(EditError::Unknown(_)) if kill => return kill_revoked(places, name, tell),
        change => change?,
    };
    edit::apply(&change)?;
    let key_file = entry.as_ref().and_then(|entry| entry.key_file.as_ref());
    let invited = key_file.and_then(|file| Place::of_key_file(file.parent()?.parent()?, file));
    if let Some(Err(failure)) = invited.as_ref().map(invitations::take_away) {
        remark(
            NAME,
            format_args!("what is left of its invitation, which lets nobody in now, stays: {failure}"),
        );
    }
    if let Some(ClientKey::Native(key)) = entry.and_then(|entry| entry.key)
        && let Err(failure) = chains::erase(&places.state_dir, key)
    {
        remark(
            NAME,
            format_args!(
                "{name} cannot knock any more; its link, which opens nothing now, stays in the state folder: {failure}"
            ),
        );
    }
    drop(lock);
    let gone = running::let_go(NAME, &places.run_dir, name);
    if gone.is_ok() {
        tell(&format_args!("{name} is revoked"));
    }
    if kill {
        // A daemon that did not answer just now is asked all the same, but not waited for as long.
        let patience = if gone.is_ok() { Client::PATIENCE } else { AT_LAST };
        let daemon = Client::connect_for(&places.run_dir, patience);
        match daemon.and_then(|mut daemon| daemon.kill(name.clone())) {
            Ok(killed) => say_killed(name, &killed, tell),
            Err(error) if gone.is_ok() => return Err(not_ended(&error)),
            Err(error) => remark(NAME, format_args!("what it has established was not ended: {error}")),
        }
    }
    gone?;
    for session in sessions(places) {
        if held.contains(&session.address) && session.client != name.as_str() {
            let (client, address, ports) = (&session.client, session.address, session.ports.join(", "));
            remark(NAME, format_args!("{client} still holds the door for {address} ({ports})"));
        }
    }
    Ok(())
}

/// Ends what a client has established that is in no file any more.
fn kill_revoked(places: &Places, name: &ClientName, tell: Tell) -> Done {
    let killed = Client::connect(&places.run_dir)?.kill(name.clone()).map_err(|error| not_ended(&error))?;
    if killed == Killed::default() {
        return Err(unknown(name));
    }
    say_killed(name, &killed, tell);
    Ok(())
}

fn not_ended(error: &ControlError) -> Failure {
    Failure::new(format_args!("what it has established was not ended: {error}"), "", "")
}

fn say_killed(name: &ClientName, killed: &Killed, tell: Tell) {
    let ended = u64::from(killed.sockets) + u64::from(killed.flows);
    match ended {
        _ if killed.sockets_stay => remark(
            NAME,
            "this kernel cannot end connections (CONFIG_INET_DIAG_DESTROY): they are cut off, and end when the server gives up",
        ),
        0 if killed.kept.is_empty() => tell(&format_args!(
            "no established connection of {name} is known (the daemon knows those that came in since its start)"
        )),
        0 => (),
        1 => tell(&"1 established connection was ended"),
        _ => tell(&format_args!("{ended} established connections were ended")),
    }
    for kept in &killed.kept {
        let (client, address, ports) = (&kept.client, kept.address, kept.ports.join(", "));
        remark(
            NAME,
            format_args!(
                "kept what is established from {address} to {ports}: {client} has or had a grant for it too, and the kernel cannot tell whose it is"
            ),
        );
    }
}

fn addresses_of(places: &Places, name: &ClientName) -> BTreeSet<IpAddr> {
    let theirs = |session: &Session| session.client == name.as_str();
    sessions(places).into_iter().filter(theirs).map(|session| session.address).collect()
}

/// The open grants; none where no daemon runs.
fn sessions(places: &Places) -> Vec<Session> {
    let daemon = Client::connect_for(&places.run_dir, AT_LAST);
    daemon.and_then(|mut daemon| daemon.sessions()).map(|all| all.sessions).unwrap_or_default()
}

pub(super) fn entries(places: &Places) -> Result<Vec<Entry>, Failure> {
    let dir = &places.config_dir;
    let entries = native::clients(&RealFiles, dir).map_err(|found| Failure::lines(found, CONFIG))?;
    // No client in the wrong folder is not the same as no client.
    if entries.is_empty() && !native::Paths::new(dir).server().exists() {
        return Err(crate::places::no_server(dir));
    }
    Ok(entries)
}

pub(super) fn unknown(name: &ClientName) -> Failure {
    Failure::new(format_args!("no client named {name}"), "", "portunus list shows the names")
}

/// A hash of fwknop's keys is not shown: whoever sees it could try passphrases.
fn print_of(places: &Places, entry: &Entry) -> String {
    match &entry.key {
        Some(ClientKey::Openme(key) | ClientKey::Native(key)) => fingerprint(key),
        Some(ClientKey::Fwknop(_)) => "fwknop".to_owned(),
        // How far it has come, in the place of what it has not.
        None => Standing::of(&places.state_dir, entry)
            .map_or_else(|_| "invited".to_owned(), |standing| standing.to_string()),
    }
}

/// The word of the client's file.
const fn bind(entry: &Entry) -> &'static str {
    if entry.native.must_bind { "must" } else { "auto" }
}

fn ports(entry: &Entry) -> String {
    if entry.any_port {
        return "any".to_owned();
    }
    if entry.services.is_empty() { "default".to_owned() } else { entry.services.join(",") }
}

fn row(places: &Places, entry: &Entry) -> serde_json::Value {
    let native = entry.dialect == Dialect::Native;
    json!({
        "name": entry.name.as_str(),
        "dialect": entry.dialect.as_str(),
        "fingerprint": print_of(places, entry),
        "enrolled": entry.key.is_some(),
        "ports": entry.services,
        "expires": entry.expires.map(render_date),
        "grant_s": entry.lasting.map(|lasting| lasting.as_secs()),
        "any_target": entry.any_target,
        "health_port": entry.health_port,
        "answers": native.then_some(entry.native.answers),
        "bind": native.then(|| bind(entry)),
        "totp": native.then_some(entry.native.second_factor),
        "file": entry.file.display().to_string(),
        "line": entry.line,
    })
}

#[cfg(test)]
mod tests {
    use super::ports_mend;

    #[test]
    fn the_mend_names_services_only_where_there_are_some() {
        assert_eq!(ports_mend(&["ssh", "web"]), "use one of ssh, web, or a port such as 22/tcp");
        assert_eq!(ports_mend(&[]), "write a port such as 22/tcp: portunus.toml names no services");
    }
}
