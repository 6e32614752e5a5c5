//! `add` for a client of the native dialect: its keys, and the chains that its profile begins with.

use portunus_config::profile::{Keys, NativeKeys, Renewal};
use portunus_config::{OneTime, Settings};
use portunus_crypto::{Secret, SystemEntropy, totp};
use portunus_model::{ClientName, NativeRule};
use portunus_store::handover::Handover;

use super::NAME;
use super::args::{Add, Bind};
use super::clients::{Made, not_spoken};
use crate::picture::Picture;
use crate::places::Places;
use crate::say::{Done, Failure, USAGE, remark};
use crate::{chains, identity};

/// Draws the keys of a client, and its link.
pub(super) fn draw(places: &Places, before: &Settings, add: &Add) -> Result<Made, Failure> {
    let door = before.secrets.door_for_new().ok_or_else(|| not_spoken("native"))?;
    let server = identity::x25519_public(door)?;
    let door = chains::door_today(&places.state_dir, &server)?;
    let secret = identity::x25519_key()?;
    let public = identity::x25519_public(&secret)?;
    let link = chains::begun()?;
    let handover = Handover::Link(chains::new(public, &link));
    let rule = rule(add);
    let newest = door.day();
    let keys = NativeKeys {
        server,
        secret,
        public,
        door,
        old_door: None,
        link,
        newest,
        // The profile will be printed, mailed and photographed.
        renewal: Renewal::Due,
        answers: rule.answers,
        must_bind: rule.must_bind,
        second_factor: rule.second_factor,
        source_port: false,
    };
    Ok(Made { public, keys: Keys::Native(Box::new(keys)), link: Some(handover) })
}

/// What the flags lay down.
pub(super) fn rule(add: &Add) -> NativeRule {
    NativeRule { answers: add.answers, must_bind: add.bind == Some(Bind::Must), second_factor: add.totp }
}

/// The secret of a new client's one-time codes, where it shall have them.
pub(super) fn one_time(wanted: bool) -> Result<Option<OneTime>, Failure> {
    let drawn = wanted.then(|| Secret::generate(&mut SystemEntropy)).transpose();
    Ok(drawn.map_err(|error| Failure::new(error, "", "try again"))?.map(OneTime::new))
}

/// Shows it, to be taken into an authenticator: beside the profile, which most people send into a file.
pub(super) fn show(code: &OneTime, host: &str, name: &ClientName) -> Done {
    // A colon divides host and name there.
    let host = host.replace(':', ".");
    let url = totp::to_url(code.secret(), &host, name.as_str());
    let url = url.map_err(|error| Failure::new(error, "--totp", "give the client a plainer name"))?;
    let picture = Picture::new(&url)?;
    remark(
        NAME,
        "this picture holds the secret of the one-time codes: scan it with an authenticator, and show it to nobody else",
    );
    eprint!("{}", *picture.blocks());
    remark(NAME, format_args!("or type it there: {}", *totp::to_base32(code.secret())));
    Ok(())
}

/// A client of another dialect has none of it.
pub(super) fn refuse_flags(add: &Add) -> Done {
    let flags = [("--answers", add.answers), ("--bind", add.bind.is_some()), ("--totp", add.totp)];
    let Some((flag, _)) = flags.into_iter().find(|(_, given)| *given) else { return Ok(()) };
    let what = format_args!("{flag} is for a client of the native dialect");
    Err(Failure::new(what, "", "leave it out, or add the client with --dialect native").code(USAGE))
}
