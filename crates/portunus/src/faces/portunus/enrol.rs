//! `join` with the code of an invitation: keys are made here, and the server takes in the public half.
//!
//! What was made is on the disk before the first packet goes out, and is used again by whoever says the same code again: an
//! answer that was lost costs nothing, and no second key makes the first one useless.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use portunus_client::native::Enroller;
use portunus_client::{Families, Heard, Whom, knock_and_hear, resolve};
use portunus_config::profile::invitation::Code;
use portunus_config::profile::{Keys, NativeKeys, Profile, Renewal, Show, native};
use portunus_config::{Files, Secrecy, fingerprint};
use portunus_dialect::native::{Chain, Status};
use portunus_sys::files;
use zeroize::Zeroizing;

use super::NAME;
use super::args::Join;
use crate::edit::PRIVATE;
use crate::files::RealFiles;
use crate::say::{CONFIG, Done, Failure, USAGE, line, remark};
use crate::wallet::{self, Wallet, name_for, short};
use crate::{chains, identity};

/// How long the administrator's word is waited for, and how often it is asked for.
const PATIENCE: Duration = Duration::from_mins(10);
const ASKS_EVERY: Duration = Duration::from_secs(2);
/// A server that is busy is asked again for so long: for a new client it reads all its files anew.
const BUSY: Duration = Duration::from_secs(10);

/// Joins by the code in `text`.
pub(super) fn enrol(text: &str, wish: &Join) -> Done {
    let code = Code::parse(text).map_err(|fault| Failure::new(fault.what, "", fault.mend).code(CONFIG))?;
    let wallet = Wallet::mine()?;
    let name = wish.name.clone().unwrap_or_else(|| name_for(&code.host, "default"));
    // Before the invitation is used up for nothing.
    let path = wallet.path(&name);
    if path.exists() && !wish.force {
        let mend = "name it otherwise with --as, or use --force, which keeps the old one beside it";
        return Err(Failure::file("it exists already", &path, mend).code(USAGE));
    }
    let (today, first) = (chains::today()?, code.door.day());
    if today < first {
        let days = first.number().saturating_sub(today.number());
        let what = format_args!("this machine's clock is {days} days behind the invitation's");
        return Err(Failure::new(what, "", "set it, and say the same again"));
    }
    let draft = Draft::of(&wallet, &code)?;
    let keys = draft.keys(&code, &name)?;
    let print = fingerprint(&keys.public);
    let mut enroller = Enroller::new(&code, &keys).map_err(|error| Failure::new(error, "", ""))?;
    until_taken_in(&code, &mut enroller, &print)?;
    let Some(enrolled) = enroller.enrolled(&keys) else {
        return Err(Failure::new("the server did not say where its door is", "", "say the same again"));
    };
    let enrolled = enrolled.map_err(|error| Failure::new(error, "", "set this machine's clock"))?;
    let profile = profile(&code, name, enrolled);
    let path = wallet.save(NAME, &profile, wish.force)?;
    draft.remove();
    line(format_args!("{} ({}) is in {}", profile.name, profile.host, short(&path)));
    line(format_args!("the fingerprint of its key is {print}: `portunus list` shows it on the server"));
    line(format_args!("next: portunus status {} --knock", profile.name));
    Ok(())
}

/// Asks until the server has taken the key in, as long as there is hope.
fn until_taken_in(code: &Code, enroller: &mut Enroller, print: &str) -> Done {
    let began = Instant::now();
    let mut told = false;
    loop {
        let to = resolve(&code.host, code.port, Families::All)?;
        let (_, heard) = knock_and_hear(&to, Whom::Source, enroller)?;
        match heard.map(|heard| (heard.status, heard)) {
            Some((Status::Enrolled, _)) => return Ok(()),
            Some((Status::Unconfirmed, _)) if began.elapsed() < PATIENCE => {
                if !told {
                    remark(
                        NAME,
                        format_args!(
                            "the server's admin is to confirm the fingerprint {print} (portunus confirm NAME): waiting; \
                             whoever says the same again later goes on from here"
                        ),
                    );
                }
                told = true;
                std::thread::sleep(ASKS_EVERY);
            }
            Some((Status::Busy, _)) if began.elapsed() < if told { PATIENCE } else { BUSY } => {
                std::thread::sleep(ASKS_EVERY);
            }
            // It was there before, and may be starting anew.
            None if told && began.elapsed() < PATIENCE => (),
            other => return Err(refused(other.map(|(_, heard)| heard), print)),
        }
    }
}

fn refused(heard: Option<Heard>, print: &str) -> Failure {
    let Some(heard) = heard else {
        return Failure::new(
            "no answer from the server",
            "",
            "check the network and this machine's clock, and say the same again; if that does not help, the invitation is over \
             or taken back: ask for a new one",
        );
    };
    match heard.status {
        Status::Expired => Failure::new("the invitation is over", "", "ask for a new one"),
        Status::NotAllowed => Failure::new(
            "another key came first with this invitation, or it was taken back",
            "",
            "tell the server's admin at once, and ask for a new one",
        ),
        Status::Unconfirmed => Failure::new(
            format_args!("the server's admin has not confirmed the fingerprint {print} yet"),
            "",
            "say the same again when that is done",
        ),
        Status::Stale => Failure::new(heard, "", ""),
        Status::Busy | Status::FirewallFailed => {
            Failure::new("the server could not take it in just now", "", "say the same again in a moment")
        }
        Status::Granted | Status::Closed | Status::Enrolled | Status::SecondFactor => {
            Failure::new("the server said what is no answer to this", "", "ask for a profile instead")
        }
    }
}

fn profile(code: &Code, name: String, mut keys: NativeKeys) -> Profile {
    // A range has no door for one source port.
    keys.source_port = code.opens.iter().all(|port| port.is_single());
    Profile {
        name,
        host: code.host.clone(),
        port: code.port,
        health: code.health_port.is_some(),
        health_port: code.health_port.filter(|&health| health != code.port),
        keys: Keys::Native(Box::new(keys)),
        post_knock: None,
        opens: code.opens.clone(),
    }
}

/// The keys for one invitation, until the server has answered.
struct Draft(PathBuf);

impl Draft {
    fn of(wallet: &Wallet, code: &Code) -> Result<Self, Failure> {
        // A name that says nothing of the secret itself, and is the same for the same code.
        let name = format!("joining-{}", fingerprint(code.secret.expose()));
        let path = wallet.path(&name).with_extension("draft");
        if let Some(dir) = path.parent() {
            files::make_folder(dir, 0o700)?;
        }
        Ok(Self(path))
    }

    /// Those that were made before, else new ones.
    fn keys(&self, code: &Code, name: &str) -> Result<NativeKeys, Failure> {
        let Self(path) = self;
        let _lock = wallet::lock(path)?;
        match RealFiles.read(path, Secrecy::Secret).map(Zeroizing::new) {
            Ok(text) => {
                let profile = native::parse(&text, path).map_err(|found| Failure::lines(found, CONFIG))?;
                match profile.keys {
                    Keys::Native(keys) => Ok(*keys),
                    Keys::Openme { .. } => {
                        Err(Failure::file("it holds no native keys", path, "take it away"))
                    }
                }
            }
            Err(portunus_config::FileError::Missing) => {
                let keys = new_keys(code)?;
                let text = native::render(&profile(code, name.to_owned(), keys.duplicate()), Show::All);
                files::create(path, text.as_bytes(), PRIVATE)?;
                Ok(keys)
            }
            Err(error) => Err(Failure::lines([error.at(path)], CONFIG)),
        }
    }

    /// They are in the profile.
    fn remove(&self) {
        let Self(path) = self;
        if let Err(error) = files::remove(path) {
            remark(NAME, format_args!("warning: {} holds the same keys, and stays ({error})", short(path)));
        }
    }
}

fn new_keys(code: &Code) -> Result<NativeKeys, Failure> {
    let secret = identity::x25519_key()?;
    let public = identity::x25519_public(&secret)?;
    // From the server's day on, and not this clock's: one that is set right later must not make the link useless.
    let newest = code.door.day();
    let link = Chain::new(newest, chains::begun()?.value().duplicate());
    let door = Chain::new(newest, code.door.value().duplicate());
    Ok(NativeKeys {
        server: code.server,
        secret,
        public,
        door,
        link,
        newest,
        // Nobody has seen this one.
        renewal: Renewal::Done,
        answers: code.rule.answers,
        must_bind: code.rule.must_bind,
        second_factor: code.rule.second_factor,
        source_port: false,
        old_door: None,
    })
}
