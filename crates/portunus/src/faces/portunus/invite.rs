//! `invite` and `confirm`: a client that makes its own keys.

use std::io::{IsTerminal, Write};

use portunus_config::profile::invitation::Code;
use portunus_config::{Entry, NewClient, Settings, fingerprint, native, render_date};
use portunus_crypto::{Entropy, Secret, SystemEntropy};
use portunus_model::{DoorRole, NativeRule, PortSpec};
use portunus_store::invitations::{FOLDER, Invitation, MOST, Place, confirmation};
use portunus_sys::files::FileError;
use portunus_sys::{clock, files};

use super::args::{Bind, Confirm, Invite};
use super::{NAME, clients, clients_native, rotate};
use crate::edit::{self, PRIVATE};
use crate::files::RealFiles;
use crate::invitations::{self, Standing};
use crate::picture::Picture;
use crate::places::Places;
use crate::say::{self, Done, Failure, USAGE, line, remark};
use crate::{chains, identity, running};

/// Who is confirmed has this long to ask again, and to hear where the door is.
const AFTER_CONFIRMING: std::time::Duration = std::time::Duration::from_hours(24);

/// `portunus invite`.
pub(super) fn invite(places: &Places, wish: &Invite) -> Done {
    let dir = &places.config_dir;
    let lock = edit::lock_folder(dir)?;
    let before = clients::load(&RealFiles, places)?;
    clients::known_services(places, &wish.ports)?;
    say::in_the_future("--until", wish.until)?;
    let entries = clients::entries(places)?;
    has_room(places, &entries)?;
    let door = door(places, &before)?;
    let place = Place::new(&places.state_dir, drawn()?);
    let client = new_client(wish, &place)?;
    let change = native::add_client(&RealFiles, dir, &client)?;
    // What the daemon would say of it, before a byte is written.
    native::load(&clients::laid(&change), dir).map_err(|found| clients::refused(&found))?;
    let secret =
        Secret::generate(&mut SystemEntropy).map_err(|error| Failure::new(error, "", "try again"))?;
    let until = clock::wall().after(wish.expires);
    let code = Code {
        secret: secret.duplicate(),
        rule: client.native.unwrap_or_default(),
        opens: opens(places, &before, &client)?,
        health_port: before.health_port,
        port: before.listen.first().map_or(portunus_config::DEFAULT_PORT, std::net::SocketAddr::port),
        host: clients::host(&before)?,
        server: door.server,
        door: door.chain,
    };
    if let Some(one_time) = &client.code {
        clients_native::show(one_time, &code.host, &client.name)?;
    }
    let mut text = code.render();
    text.push('\n');
    let picture = (wish.qr || wish.qr_out.is_some()).then(|| Picture::new(text.trim_end())).transpose()?;
    if let (Some(picture), Some(path)) = (&picture, &wish.qr_out) {
        picture.write(path)?;
    }
    files::make_folder(&places.state_dir, 0o700)?;
    files::make_folder(&places.state_dir.join(FOLDER), 0o700)?;
    let invitation = Invitation { name: wish.name.clone(), secret, until, confirm: wish.confirm };
    files::replace(&place.invitation(), invitation.line().as_bytes(), PRIVATE)?;
    // A code that got lost would be nobody's.
    if let Err(failure) = clients::hand_over(&text, &change, wish.qr_out.as_deref()) {
        // An invitation that no client's file names is nobody's; the failure that counts is the other one.
        let _ = invitations::take_away(&place);
        return Err(failure);
    }
    drop(lock);
    running::take_up(NAME, &places.run_dir);
    remark(
        NAME,
        format_args!(
            "{} joins with `portunus join`, and this code, until {}; whoever has the code first is {}: send it on a safe way",
            wish.name,
            render_date(until),
            wish.name
        ),
    );
    if let Some(picture) = picture.filter(|_| wish.qr) {
        eprint!("{}", *picture.blocks());
    }
    Ok(())
}

/// The door of invitations, made where there is none.
struct Door {
    server: [u8; 32],
    chain: portunus_dialect::native::Chain,
}

fn door(places: &Places, before: &Settings) -> Result<Door, Failure> {
    if before.secrets.native.is_empty() {
        return Err(clients::not_spoken("native"));
    }
    let server = match before.secrets.door(DoorRole::Invitations) {
        Some(key) if is_in_use(places)? => identity::x25519_public(key)?,
        Some(key) => renewed(places, key)?,
        None => rotate::make(places, before, DoorRole::Invitations)?,
    };
    let chain = chains::door_today(&places.state_dir, &server)?;
    Ok(Door { server, chain })
}

/// Whether somebody may still come, or ask again, at the door that stands.
fn is_in_use(places: &Places) -> Result<bool, Failure> {
    match files::list(&places.state_dir.join(FOLDER)) {
        Ok(files) => Ok(!files.is_empty()),
        Err(FileError::Missing(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whoever was ever invited knows the door of then, and could crowd it, and tell who comes there. So where nobody is to come
/// at it any more, the next one has a new door.
fn renewed(places: &Places, old: &Secret<32>) -> Result<[u8; 32], Failure> {
    let path = native::Paths::new(&places.config_dir).keys_dir();
    let path = path.join(DoorRole::Invitations.file_name().unwrap_or_default());
    let key = identity::x25519_key()?;
    chains::give_door(&places.state_dir, &key)?;
    files::replace(&path, native::key_text(&key).as_bytes(), PRIVATE)?;
    if let Err(failure) = chains::erase(&places.state_dir, identity::x25519_public(old)?) {
        remark(NAME, format_args!("the chain of the door before, which is none any more, stays: {failure}"));
    }
    identity::x25519_public(&key)
}

fn has_room(places: &Places, entries: &[Entry]) -> Done {
    let mut out = 0;
    for entry in entries.iter().filter(|entry| entry.key.is_none()) {
        match Standing::of(&places.state_dir, entry)? {
            Standing::Out(_) | Standing::ToConfirm(_) | Standing::Coming(_) => out += 1,
            Standing::Over => (),
        }
    }
    if out < MOST {
        return Ok(());
    }
    let mend = "wait until one is over, or take one back: portunus revoke NAME";
    Err(Failure::new(format_args!("{out} invitations are out, and there is room for no more"), "", mend))
}

fn new_client(wish: &Invite, place: &Place) -> Result<NewClient, Failure> {
    let rule = NativeRule {
        answers: wish.answers,
        must_bind: wish.bind == Some(Bind::Must),
        second_factor: wish.totp,
    };
    let mut client = NewClient::new(wish.name.clone(), [0; 32]);
    client.key_file = Some(place.enrolled());
    client.native = Some(rule);
    client.code = clients_native::one_time(wish.totp)?;
    client.services.clone_from(&wish.ports);
    client.expires = wish.until;
    client.lasting = wish.lasting;
    client.any_target = wish.any_target;
    Ok(client)
}

/// What its knocks will open, for its profile.
fn opens(places: &Places, before: &Settings, client: &NewClient) -> Result<Vec<PortSpec>, Failure> {
    // As if it had come, with whatever key.
    let key = identity::x25519_public(&identity::x25519_key()?)?;
    let come = NewClient { key, key_file: None, ..client.clone() };
    let change = native::add_client(&RealFiles, &places.config_dir, &come)?;
    let after = native::load(&clients::laid(&change), &places.config_dir);
    let after = after.map_err(|found| clients::refused(&found))?;
    Ok(clients::opens(before, &after, &client.name))
}

fn drawn() -> Result<[u8; 8], Failure> {
    let mut id = [0; 8];
    SystemEntropy.fill(&mut id).map_err(|error| Failure::new(error, "", "try again"))?;
    Ok(id)
}

/// `portunus confirm`.
pub(super) fn confirm(places: &Places, wish: &Confirm) -> Done {
    // Whoever is asked may think about it for long, and nobody else waits for that: least of all who revokes.
    let (public, _) = to_confirm(places, wish)?;
    agreed(wish, &fingerprint(&public))?;
    let lock = edit::lock_folder(&places.config_dir)?;
    let name = &wish.name;
    let (now, place) = to_confirm(places, wish)?;
    let invitation = invitations::invitation(&place)?.filter(|_| now == public);
    let Some(invitation) = invitation else {
        let what = format_args!("the invitation of {name} was taken back meanwhile");
        return Err(Failure::new(what, "", "portunus list tells more"));
    };
    let until = invitation.until.max(clock::wall().after(AFTER_CONFIRMING));
    let longer = Invitation { until, ..invitation };
    files::replace(&place.invitation(), longer.line().as_bytes(), PRIVATE)?;
    files::replace(&place.confirmed(), confirmation(&public).as_bytes(), PRIVATE)?;
    drop(lock);
    running::take_up(NAME, &places.run_dir);
    line(format_args!("{name} is confirmed"));
    Ok(())
}

/// The key that is to be confirmed, and its invitation's place.
fn to_confirm(places: &Places, wish: &Confirm) -> Result<([u8; 32], Place), Failure> {
    let entries = clients::entries(places)?;
    let name = &wish.name;
    let Some(entry) = entries.iter().find(|entry| entry.name == *name) else {
        return Err(clients::unknown(name));
    };
    if entry.key.is_some() {
        return Err(Failure::new(format_args!("{name} is a client already"), "", "portunus show tells more"));
    }
    let place = entry.key_file.as_ref().and_then(|file| Place::of_key_file(&places.state_dir, file));
    let (what, mend) = match (Standing::of(&places.state_dir, entry)?, place) {
        (Standing::ToConfirm(public), Some(place)) => return Ok((public, place)),
        (Standing::Coming(_), _) => {
            (format!("{name} needs no word any more"), "start the daemon, which makes it a client")
        }
        (Standing::Out(_), _) => (
            format!("nobody has come yet with the invitation of {name}"),
            "wait until it has: the daemon's log and `portunus list` tell",
        ),
        (Standing::Over | Standing::ToConfirm(_), _) => (
            format!("the invitation of {name} is over"),
            "take it back with `portunus revoke`, and invite it anew",
        ),
    };
    Err(Failure::new(what, "", mend))
}

/// Whoever confirms has to have seen the fingerprint.
fn agreed(wish: &Confirm, print: &str) -> Done {
    let mend = "compare it with what `portunus join` shows on the other side";
    match &wish.fingerprint {
        Some(said) if said.eq_ignore_ascii_case(print) => return Ok(()),
        Some(_) => {
            let what = format_args!("the key that came has the fingerprint {print}, not this one");
            return Err(Failure::new(what, "", "do not confirm it: revoke it, and invite it anew"));
        }
        None => (),
    }
    if !std::io::stdin().is_terminal() {
        let what = format_args!("the key that came has the fingerprint {print}: say it with --fingerprint");
        return Err(Failure::new(what, "", mend).code(USAGE));
    }
    eprint!("{} has come with a key whose fingerprint is {print}. Is it the right one? [y/N] ", wish.name);
    let _ = std::io::stderr().flush();
    let mut said = String::new();
    let read = std::io::stdin().read_line(&mut said);
    if read.is_ok() && matches!(said.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(Failure::new("not confirmed", "", mend))
}
