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
    let held = open::grants(plan)
        .map_err(|error| NotHeld::Journal(error.to_string()))
        .and_then(|files| install_once(plan, &snapshot, files));
    let program = plan.program;
    match hold_without_journal(held, || {
        install_once(plan, &snapshot, open::nowhere().map_err(|e| NotHeld::other(&e))?)
    }) {
        Ok(without) => eprintln!(
            "{program}: the protected ports are kept closed as the last working configuration said{without}"
        ),
        Err(why) => eprintln!(
            "{program}: the rules of the last working configuration cannot be put in either, so protected ports may be open: {why}"
        ),
    }
}

/// Why the doors are not held.
#[derive(Debug, PartialEq, Eq)]
enum NotHeld {
    /// The journal of grants cannot be had.
    Journal(String),
    /// Anything else, of which another try would come to the same.
    Other(String),
}

impl NotHeld {
    fn other(error: &impl ToString) -> Self {
        Self::Other(error.to_string())
    }
}

/// Where the journal cannot be had nobody is let in by it, but the doors are shut all the same. What is missing then, in words.
fn hold_without_journal(
    held: Result<(), NotHeld>,
    again: impl FnOnce() -> Result<(), NotHeld>,
) -> Result<String, String> {
    match held {
        Ok(()) => Ok(String::new()),
        Err(NotHeld::Other(why)) => Err(why),
        Err(NotHeld::Journal(journal)) => match again() {
            Ok(()) => Ok(format!(", without the grants that were open: {journal}")),
            Err(NotHeld::Journal(why) | NotHeld::Other(why)) if why == journal => Err(why),
            Err(NotHeld::Journal(why) | NotHeld::Other(why)) => Err(format!("{journal}; {why}")),
        },
    }
}

fn install_once(plan: &Plan, snapshot: &GrantorSnapshot, journal: [File; 2]) -> Result<(), NotHeld> {
    let words = |error: std::io::Error| NotHeld::other(&error);
    let ids = parts_user(plan).map_err(|e| NotHeld::other(&e))?;
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
                FromGrantor::Refused { why } => break Err(NotHeld::Other(why)),
                FromGrantor::NoJournal { why } => break Err(NotHeld::Journal(why)),
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
            Ok(Taken::Nothing | Taken::Ended) | Err(_) => {
                break Err(NotHeld::other(&"the grantor did not come up: its own words are above"));
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_where_the_journal_cannot_be_had_is_it_tried_without_and_that_is_said() {
        let journal = || Err(NotHeld::Journal("no space".into()));
        let never = || -> Result<(), NotHeld> { unreachable!("a second grantor is started") };
        assert_eq!(hold_without_journal(Ok(()), never), Ok(String::new()));
        assert_eq!(hold_without_journal(Err(NotHeld::Other("no nft".into())), never), Err("no nft".into()));
        let without = hold_without_journal(journal(), || Ok(()));
        assert_eq!(without, Ok(", without the grants that were open: no space".into()));
        let other = hold_without_journal(journal(), || Err(NotHeld::Other("no nft".into())));
        assert_eq!(other, Err("no space; no nft".into()));
        assert_eq!(hold_without_journal(journal(), journal), Err("no space".into()));
    }
}
