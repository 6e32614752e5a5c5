//! What the keeper writes: the session file, and the last stance that worked, by which the doors are held shut when the
//! configuration cannot be read at the next start.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

use portunus_config::{Settings, sessions};
use portunus_model::HolderNames;
use portunus_sys::channel::Channel;
use portunus_sys::users::Keep;
use portunus_sys::{clock, files, users};

use super::part::{self, Part};
use super::start::parts_user;
use super::{PATIENCE, open, reload};
use crate::Plan;
use crate::message::{
    self, Came, FromFront, FromGrantor, GrantorBrief, GrantorSnapshot, Sessions, Taken, ToGrantor,
};
use crate::trial::{self, Stage};

fn stance_file(plan: &Plan) -> PathBuf {
    plan.state_dir.join("stance")
}

/// Remembers what is in force.
pub(super) fn remember(plan: &Plan, settings: &Settings) {
    if plan.dry() {
        return;
    }
    let snapshot = reload::grantor_snapshot(plan, settings, None);
    let Ok(bytes) = postcard::to_stdvec(&snapshot) else { return };
    let path = stance_file(plan);
    if files::read_bytes(&path, files::Secrecy::Public).is_ok_and(|old| old == bytes) {
        return;
    }
    if let Err(e) = files::replace(&path, &bytes, 0o600) {
        tracing::warn!(error = %e, "a start with a broken configuration will not hold the doors shut");
    }
}

/// The start has failed, so nobody can be let in; but after a boot the ports that were protected would stand open. So
/// the rules of the last start that worked are put in, with no grant but those that are still due.
pub(super) fn hold_the_doors(plan: &Plan) {
    // What was never proven holds nothing.
    let proven = match trial::stage(&plan.state_dir) {
        Stage::None | Stage::Proven => !trial::is_anothers(&plan.state_dir),
        Stage::Until(_) | Stage::Over | Stage::Ended => false,
    };
    if !proven {
        return;
    }
    let Ok(bytes) = files::read_bytes(&stance_file(plan), files::Secrecy::Secret) else { return };
    let Ok(snapshot) = postcard::from_bytes::<GrantorSnapshot>(&bytes) else { return };
    // Nothing to hold: somebody else drops, as everywhere with fwknop's chains. Then a failed start puts nothing in.
    if snapshot.wish.protected.is_empty() || !users::have_net_admin() {
        return;
    }
    // A daemon that runs holds them itself.
    let Ok(_alone) = open::Alone::be(plan) else { return };
    // Where the journal cannot be written nobody is let in by it, but the doors are shut all the same.
    let held =
        open::grants(plan).map_err(|e| e.to_string()).and_then(|files| install_once(plan, &snapshot, files));
    let held = held.or_else(|why| {
        let nowhere = open::nowhere().map_err(|e| format!("{why}; {e}"))?;
        install_once(plan, &snapshot, nowhere).map_err(|e| format!("{why}; {e}"))
    });
    match held {
        Ok(()) => eprintln!(
            "{}: the protected ports are kept closed as the last working configuration said",
            plan.program
        ),
        Err(why) => eprintln!(
            "{}: the rules of the last working configuration cannot be put in either, so protected ports may be open: {why}",
            plan.program
        ),
    }
}

fn install_once(plan: &Plan, snapshot: &GrantorSnapshot, journal: [File; 2]) -> Result<(), String> {
    let words = |e: std::io::Error| e.to_string();
    let ids = parts_user(plan).map_err(|e| e.to_string())?;
    let mut grantor = Part::start(plan, "grantor", (ids, Some(Keep::NetAdmin)), None).map_err(words)?;
    let (_front_end, grantor_end) = Channel::pair().map_err(words)?;
    let [a, b] = journal;
    let beside = message::beside(&GrantorBrief { snapshot: snapshot.clone(), names: HolderNames::default() })
        .map_err(words)?;
    let descriptors = [beside.as_fd(), grantor_end.as_fd(), a.as_fd(), b.as_fd()];
    let journal = open::pair_words(&plan.state_dir, "grants");
    grantor.say(&ToGrantor::Setup { journal, holding: true }, &descriptors).map_err(words)?;
    let mut errand = None;
    let answer = loop {
        match grantor.hear::<FromGrantor>(PATIENCE) {
            Ok(Taken::Message(came)) => match came.value {
                FromGrantor::InForce { .. } => break Ok(()),
                FromGrantor::Refused { why } => break Err(why),
                // There is no trial.
                FromGrantor::Came { .. } | FromGrantor::TrialOver => (),
                FromGrantor::NeedErrand => {
                    let (process, channel) = part::start_errand(plan, None).map_err(words)?;
                    errand = Some(process);
                    grantor.say(&ToGrantor::Errand, &[channel.as_fd()]).map_err(words)?;
                }
                // Nobody was let in, and nobody writes it down.
                FromGrantor::Facts { .. } => (),
            },
            Ok(Taken::Nothing | Taken::Ended) | Err(_) => break Err("the grantor did not come up".to_owned()),
        }
    };
    let _ = grantor.say(&ToGrantor::End { close: false }, &[]);
    grantor.finish(PATIENCE);
    if let Some(errand) = &mut errand {
        errand.finish(Duration::ZERO);
    }
    answer
}

/// Writes openme's session file from what the front says.
pub(super) fn write_sessions(plan: &Plan, came: &mut Came<FromFront>) {
    let Some(path) = &plan.session_file else { return };
    let Ok(said) = came.beside::<Sessions>() else { return };
    let state = sessions::State {
        updated: clock::wall(),
        sessions: said
            .open
            .into_iter()
            .map(|one| sessions::Session {
                client: one.client,
                address: one.address,
                ports: one.ports,
                opened: one.opened,
                expires: one.expires,
            })
            .collect(),
        last_seen: said.last_seen,
    };
    // Below /run nobody else makes its folder.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let made = folder.map_or(Ok(()), |folder| files::make_folder(folder, 0o755));
    let written = made.and_then(|()| files::replace(path, sessions::render(&state).as_bytes(), 0o600));
    if let Err(e) = written {
        tracing::warn!(error = %e, "the session file was not written");
    }
}
