//! `add` for a client of the native dialect: its keys, and the chains that its profile begins with.

use portunus_config::Settings;
use portunus_config::profile::{Keys, NativeKeys, Renewal};
use portunus_model::NativeRule;
use portunus_store::handover::Handover;

use super::args::{Add, Bind};
use super::clients::{Made, not_spoken};
use crate::places::Places;
use crate::say::{Done, Failure, USAGE};
use crate::{chains, identity};

/// Draws the keys of a client, and its link.
pub(super) fn draw(places: &Places, before: &Settings, add: &Add) -> Result<Made, Failure> {
    let door = before.secrets.native.first().ok_or_else(|| not_spoken("native"))?;
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
    NativeRule { answers: add.answers, must_bind: add.bind == Some(Bind::Must), second_factor: false }
}

/// A client of another dialect has none of it.
pub(super) fn refuse_flags(add: &Add) -> Done {
    let flags = [("--answers", add.answers), ("--bind", add.bind.is_some())];
    let Some((flag, _)) = flags.into_iter().find(|(_, given)| *given) else { return Ok(()) };
    let what = format_args!("{flag} is for a client of the native dialect");
    Err(Failure::new(what, "", "leave it out, or add the client with --dialect native").code(USAGE))
}
