//! `join`, `profiles` and `ssh-config`: a person's profiles.

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use portunus_config::profile::{Keys, Profile, Show, door, invitation, native, openme, qr};
use portunus_config::{Diagnostic, Files, Secrecy, fingerprint};
use serde_json::json;
use zeroize::Zeroizing;

use super::args::{Join, Profiles, SshConfig};
use super::{NAME, enrol, join_door};
use crate::files::RealFiles;
use crate::say::{CONFIG, Done, Failure, Table, USAGE, line, out, remark};
use crate::wallet::{Wallet, name_for, short};

/// No profile is longer; whatever is, is not one.
const LONGEST: u64 = 1 << 20;

/// `portunus join`.
pub(super) fn join(wish: &Join) -> Done {
    let (text, from) = match code_of(wish.file.as_deref()) {
        Some(code) => (code, PathBuf::from("the code")),
        None => read(wish.file.as_deref())?,
    };
    if text.trim_start().starts_with(invitation::PREFIX) {
        return enrol::enrol(&text, wish);
    }
    if text.trim().is_empty() {
        return Err(Failure::file("it is empty", &from, "give it what the server's `portunus add` printed")
            .code(CONFIG));
    }
    if door::is_one(&text) {
        return join_door::take(wish, &text, &from);
    }
    let mut profiles = parse(&text, &from).map_err(|found| Failure::lines(found, CONFIG))?;
    match (&wish.name, profiles.as_mut_slice()) {
        (_, []) => {
            return Err(Failure::file("no profile in it", &from, "ask whoever runs the server for one"));
        }
        (Some(name), [only]) => name.clone_into(&mut only.name),
        (Some(_), many) => {
            let names: Vec<&str> = many.iter().map(|profile| profile.name.as_str()).collect();
            let what = format!("it holds several profiles ({})", names.join(", "));
            return Err(Failure::file(what, &from, "leave --as out to take them all").code(USAGE));
        }
        (None, many) => many.iter_mut().for_each(rename),
    }
    let wallet = Wallet::mine()?;
    for profile in &profiles {
        let path = wallet.save(NAME, profile, wish.force)?;
        line(format_args!("{} ({}) is in {}", profile.name, profile.host, short(&path)));
        if let Some(command) = &profile.post_knock {
            remark(NAME, format_args!("its post_knock runs at each connect: {command}"));
        }
    }
    if let [only] = profiles.as_slice() {
        line(format_args!("next: portunus status {} --knock", only.name));
    }
    Ok(())
}

/// The code of an invitation, where one stands in the place of a file.
fn code_of(file: Option<&Path>) -> Option<Zeroizing<String>> {
    let said = file?.to_str()?;
    said.starts_with(invitation::PREFIX).then(|| Zeroizing::new(said.to_owned()))
}

fn rename(profile: &mut Profile) {
    let fallback = std::mem::take(&mut profile.name);
    profile.name = name_for(&profile.host, &fallback);
}

fn read(file: Option<&Path>) -> Result<(Zeroizing<String>, PathBuf), Failure> {
    if let Some(path) = file.filter(|path| *path != Path::new("-")) {
        // Not asked to be secret: a profile often arrives as a mail's attachment, readable by others.
        let text = RealFiles.read(path, Secrecy::Public);
        let text = text.map_err(|error| Failure::lines([error.at(path)], CONFIG))?;
        return Ok((Zeroizing::new(text), path.to_owned()));
    }
    if std::io::stdin().is_terminal() {
        remark(NAME, "reading a profile from the terminal; end it with Ctrl-D");
    }
    let from = PathBuf::from("standard input");
    let mut text = Zeroizing::new(String::new());
    std::io::stdin().lock().take(LONGEST).read_to_string(&mut text).map_err(|error| {
        Failure::file(format_args!("it could not be read ({error})"), &from, "give it a file's name")
    })?;
    Ok((text, from))
}

/// A profile in any of its spellings, told apart by how it begins.
fn parse(text: &str, from: &Path) -> Result<Vec<Profile>, Vec<Diagnostic>> {
    let begins = |word: &str| text.lines().any(|line| line.trim_end().starts_with(word));
    if text.trim_start().starts_with('{') {
        return qr::parse(text, from).map(|profile| vec![profile]);
    }
    if begins("profiles:") {
        return openme::parse(text, from);
    }
    if begins("server:") && begins("clients:") {
        let mend = "ask the server's admin for a profile: openme add NAME prints one";
        return Err(vec![Diagnostic::of_file(from, "it is openme's server file, not a profile", mend)]);
    }
    native::parse(text, from).map(|profile| vec![profile])
}

/// `portunus profiles`.
pub(super) fn profiles(wish: &Profiles) -> Done {
    let wallet = Wallet::mine()?;
    if let Some(name) = &wish.name {
        let profile = wallet.open(Some(name))?;
        if wish.json {
            line(format_args!("{:#}", row(&profile)));
        } else {
            out(&*native::render(&profile, Show::Redacted));
        }
        return Ok(());
    }
    let mut loaded = Vec::new();
    let mut broken = Vec::new();
    for name in wallet.names()? {
        match wallet.load(&name) {
            Ok(profile) => loaded.push(profile),
            Err(failure) => broken.push(failure),
        }
    }
    list(&loaded, wish.json, broken.is_empty());
    // One broken file is said after the others are shown, and makes the whole a failure.
    if broken.is_empty() { Ok(()) } else { Err(Failure::lines(broken, CONFIG)) }
}

fn list(loaded: &[Profile], json: bool, all: bool) {
    if json {
        line(format_args!("{:#}", serde_json::Value::from(loaded.iter().map(row).collect::<Vec<_>>())));
        return;
    }
    let mut table = Table::new(&["NAME", "HOST", "PORT", "DIALECT", "FINGERPRINT"]);
    for profile in loaded {
        let (dialect, print) = kind(profile);
        table.row([
            profile.name.clone(),
            profile.host.clone(),
            profile.port.to_string(),
            dialect.to_owned(),
            print,
        ]);
    }
    if !table.is_empty() {
        out(table);
    } else if all {
        remark(NAME, "no profile yet: portunus join < PROFILE.toml");
    }
}

fn kind(profile: &Profile) -> (&'static str, String) {
    match &profile.keys {
        Keys::Openme { public, .. } => ("openme", fingerprint(public)),
        Keys::Native(keys) => ("native", fingerprint(&keys.public)),
    }
}

fn row(profile: &Profile) -> serde_json::Value {
    let (dialect, print) = kind(profile);
    let answers = match &profile.keys {
        Keys::Openme { .. } => false,
        Keys::Native(keys) => keys.answers,
    };
    json!({
        "name": profile.name,
        "host": profile.host,
        "port": profile.port,
        "health_port": profile.health_port.unwrap_or(profile.port),
        "dialect": dialect,
        "fingerprint": print,
        "answers": answers,
        "opens": profile.opens.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "post_knock": profile.post_knock,
    })
}

/// `portunus ssh-config`.
pub(super) fn ssh_config(wish: &SshConfig) -> Done {
    let profile = Wallet::mine()?.open(wish.profile.as_deref())?;
    let name = quoted(&profile.name);
    line(format_args!("Host {name}"));
    line(format_args!("    HostName {}", profile.host));
    let family = match (wish.family.four, wish.family.six) {
        (true, _) => "-4 ",
        (false, true) => "-6 ",
        (false, false) => "",
    };
    line(format_args!("    ProxyCommand portunus proxy {family}--profile {name} %h %p"));
    Ok(())
}

/// ssh reads a word with a blank in it only in quotes (ssh_config(5)); a profile's name has no quote itself.
fn quoted(word: &str) -> String {
    if word.contains(' ') { format!("\"{word}\"") } else { word.to_owned() }
}
