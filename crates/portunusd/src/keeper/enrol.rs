//! Who was invited: the front hands over the first key that came with an invitation's secret, and this writes it down, each
//! step durably and so that it can be done again, until its client's file has a key.
//!
//! In this order: who came first (`invitations/ID.taken`), so that nobody else comes second also after a crash; the client's
//! link, for the store of chains; its key (`enrolled/ID`), which is what makes it a client at the next reload.

use std::path::{Path, PathBuf};
use std::time::Duration;

use portunus_config::{KeyFile, fingerprint};
use portunus_crypto::{text, x25519};
use portunus_model::Unix;
use portunus_store::audit::{By, Fact};
use portunus_store::handover::{self, Handover, NewChain};
use portunus_store::invitations::{self, ENROLLED, FOLDER, Invitation, MOST, NoInvitation, Place, TakenBy};
use portunus_sys::clock;
use portunus_sys::files::{self, FileError, Secrecy};
use zeroize::Zeroizing;

use super::Keeper;
use crate::Plan;
use crate::message::{Enrolling, Invited, TakenIn, ToFront};

/// An invitation that is over still says so to its owner for this long.
const SAYS_SO: Duration = Duration::from_hours(24);
/// While the files do not load, because of a mistake somewhere in them, this long is waited before an enrolment tries again.
const AGAIN: Duration = Duration::from_secs(30);
const PRIVATE: u32 = 0o600;

/// Those whom the front has to look out for: who is in the configuration, and whose invitation is there.
pub(super) fn invited(plan: &Plan, key_files: &[KeyFile]) -> Vec<Invited> {
    let now = clock::wall();
    let (mut out, mut rest) = (Vec::new(), Vec::new());
    for file in key_files {
        let Some(place) = Place::of_key_file(&plan.state_dir, &file.path) else { continue };
        match read(&place) {
            Ok(Some(invitation)) if invitation.until.after(SAYS_SO) <= now => remove(&place),
            Ok(Some(invitation)) if invitation.name == file.name => {
                let may_come = file.key.is_none() && is_out(&invitation, now);
                let invited = invited_by(&invitation, &place, file);
                if may_come { out.push(invited) } else { rest.push(invited) }
            }
            // Of another client, which is not in the configuration: taken back.
            Ok(_) => (),
            Err(error) => tracing::error!(
                client = %file.name, %error,
                "its invitation cannot be read: revoke the client, and invite it anew"
            ),
        }
    }
    if out.len() > MOST {
        let over = out.len() - MOST;
        tracing::error!(
            over,
            "more than {MOST} invitations are out: the last of them are not looked out for; revoke some of those clients"
        );
    }
    // Who has come already, or comes too late, is answered as long as there is room, the latest first.
    rest.sort_by_key(|invited| std::cmp::Reverse(invited.until));
    out.extend(rest);
    out.truncate(MOST);
    out
}

fn invited_by(invitation: &Invitation, place: &Place, file: &KeyFile) -> Invited {
    let first = || {
        let taken = taken(place).unwrap_or_else(|error| {
            tracing::error!(client = %file.name, %error, "who came first with its invitation cannot be told");
            None
        });
        taken.map(|taken| taken.public)
    };
    if file.key.is_some() {
        // It is a client, and its link lies with the others, which are overwritten each day: no copy of a day's stays.
        forget(&[place.confirmed(), place.taken()]);
    }
    Invited {
        name: invitation.name.clone(),
        secret: Zeroizing::new(*invitation.secret.expose()),
        until: invitation.until,
        taken: file.key.or_else(first),
    }
}

/// Makes clients of those who came and were stopped half-way by a crash, or have been confirmed meanwhile: before the files are
/// read.
pub(super) fn finish(plan: &Plan) {
    let paths = match files::list(&plan.state_dir.join(FOLDER)) {
        Ok(paths) => paths,
        Err(FileError::Missing(_)) => return,
        Err(error) => return tracing::error!(%error, "who was invited cannot be told"),
    };
    for path in paths {
        let Some(name) = path.file_name() else { continue };
        let enrolled = plan.state_dir.join(ENROLLED).join(name);
        let Some(place) = Place::of_key_file(&plan.state_dir, &enrolled) else { continue };
        if let Err(error) = finish_one(&place) {
            tracing::error!(file = %path.display(), %error, "who came with this invitation is no client yet");
        }
    }
}

fn finish_one(place: &Place) -> Result<(), Trouble> {
    let (Some(invitation), Some(taken)) = (read(place)?, taken(place)?) else { return Ok(()) };
    if !place.enrolled().exists() && is_free(place, &invitation, &taken.public)? {
        take_in(place, &taken)?;
    }
    Ok(())
}

/// What keeps an enrolment from going on.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Line(#[from] NoInvitation),
}

fn read(place: &Place) -> Result<Option<Invitation>, Trouble> {
    line(&place.invitation())?.map(|line| Ok(Invitation::parse(&line)?)).transpose()
}

fn taken(place: &Place) -> Result<Option<TakenBy>, Trouble> {
    line(&place.taken())?.map(|line| Ok(TakenBy::parse(&line)?)).transpose()
}

/// Whether nobody has to confirm this key, or somebody has.
fn is_free(place: &Place, invitation: &Invitation, public: &[u8; 32]) -> Result<bool, Trouble> {
    let confirmed = line(&place.confirmed())?.map(|line| invitations::confirmed(&line)).transpose()?;
    Ok(!invitation.confirm || confirmed == Some(*public))
}

fn line(path: &Path) -> Result<Option<Zeroizing<String>>, FileError> {
    match files::read(path, Secrecy::Secret) {
        Ok(text) => Ok(Some(Zeroizing::new(text))),
        Err(FileError::Missing(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Its link is left for the store of chains, and then its key for its client's file.
fn take_in(place: &Place, taken: &TakenBy) -> Result<(), Trouble> {
    let (public, day) = (taken.public, taken.day);
    let link = Handover::Link(NewChain { public, day, value: taken.link.duplicate() });
    let enrolled = place.enrolled();
    let state = enrolled.ancestors().nth(2).unwrap_or(&enrolled);
    let chains = state.join(handover::FOLDER);
    files::make_folder(&chains, 0o700)?;
    files::replace(&chains.join(link.file_name()), link.line().as_bytes(), PRIVATE)?;
    files::make_folder(&state.join(ENROLLED), 0o755)?;
    let key = format!("{}\n", text::encode(&public));
    Ok(files::replace(&enrolled, key.as_bytes(), 0o644)?)
}

/// An invitation that has been over for long enough. Its client's key stays, if it came.
fn remove(place: &Place) {
    forget(&[place.confirmed(), place.taken(), place.invitation()]);
}

fn forget(paths: &[PathBuf]) {
    for path in paths {
        if let Err(error) = files::remove(path) {
            tracing::warn!(file = %path.display(), %error, "what is left of an invitation, and needed no more, stays");
        }
    }
}

/// How far one has come.
enum Step {
    /// Its answer is known.
    Known(TakenIn),
    /// It is written down, and a client once the files are read.
    Written,
}

impl Keeper<'_> {
    /// Takes in who has come, and tells the front what became of it.
    pub(super) fn enrol(&mut self, enrolling: &Enrolling) {
        let step = self.step(enrolling).unwrap_or_else(|error| {
            let client = enrolling.name.as_str();
            tracing::error!(client, %error, "who came with an invitation is not taken in");
            Step::Known(TakenIn::Failed)
        });
        let how = match step {
            Step::Known(how) => how,
            Step::Written => {
                self.reload();
                if self.is_client(enrolling) {
                    self.enrol_again_at = None;
                    self.note_enrolled(enrolling);
                    TakenIn::Done
                } else {
                    self.enrol_again_at = Some(clock::mono().after(AGAIN));
                    TakenIn::Failed
                }
            }
        };
        // A front that is gone is seen in the next round.
        let _ = self.front.say(&ToFront::Enrolled { ticket: enrolling.ticket, how }, &[]);
    }

    fn step(&self, enrolling: &Enrolling) -> Result<Step, Trouble> {
        let Enrolling { name, public, day, link, .. } = enrolling;
        let file = self.settings.key_files.iter().find(|file| file.name == *name);
        let place = file.and_then(|file| Place::of_key_file(&self.plan.state_dir, &file.path));
        let (Some(file), Some(place)) = (file, place) else { return Ok(Step::Known(TakenIn::Failed)) };
        match file.key {
            Some(key) if key == *public => return Ok(Step::Known(TakenIn::Done)),
            Some(_) => return Ok(Step::Known(TakenIn::Another)),
            None => (),
        }
        let Some(invitation) = read(&place)?.filter(|invitation| is_out(invitation, clock::wall())) else {
            return Ok(Step::Known(TakenIn::Failed));
        };
        let first = match taken(&place)? {
            Some(first) if first.public != *public => return Ok(Step::Known(TakenIn::Another)),
            Some(first) => first,
            None => {
                // No key of low order, and each in one spelling only; and nobody's who is there: one key is one client.
                if x25519::check_public(public).is_err() || self.is_known(public) {
                    tracing::error!(client = name.as_str(), "it came with a key that cannot be its own");
                    return Ok(Step::Known(TakenIn::Failed));
                }
                let link = portunus_crypto::Secret::from_bytes(**link);
                let first = TakenBy { public: *public, day: *day, link };
                files::replace(&place.taken(), first.line().as_bytes(), PRIVATE)?;
                if invitation.confirm {
                    say_to_confirm(enrolling);
                }
                first
            }
        };
        if !is_free(&place, &invitation, public)? {
            return Ok(Step::Known(TakenIn::Unconfirmed));
        }
        if self.enrol_again_at.is_some_and(|at| clock::mono() < at) {
            return Ok(Step::Known(TakenIn::Failed));
        }
        take_in(&place, &first)?;
        Ok(Step::Written)
    }

    /// Whether the files that were read just now have it.
    fn is_client(&self, enrolling: &Enrolling) -> bool {
        let is_it = |file: &KeyFile| file.name == enrolling.name && file.key == Some(enrolling.public);
        self.settings.key_files.iter().any(is_it)
    }

    /// Whether somebody has this key already.
    fn is_known(&self, public: &[u8; 32]) -> bool {
        self.settings.rules.clients.iter().any(|client| client.key.as_bytes() == public)
            || self.settings.key_files.iter().any(|file| file.key.as_ref() == Some(public))
    }

    fn note_enrolled(&mut self, enrolling: &Enrolling) {
        let fingerprint = fingerprint(&enrolling.public);
        tracing::info!(client = enrolling.name.as_str(), fingerprint, source = %enrolling.source, "enrolled");
        let (client, source) = (enrolling.name.clone(), enrolling.source);
        self.audit.add(By::Keeper, Fact::Enrolled { client, fingerprint, source });
    }
}

fn say_to_confirm(enrolling: &Enrolling) {
    let (name, fingerprint) = (&enrolling.name, fingerprint(&enrolling.public));
    tracing::warn!(
        client = name.as_str(),
        fingerprint,
        source = %enrolling.source,
        "somebody came with its invitation, and is to be confirmed: portunus confirm {name}"
    );
}

fn is_out(invitation: &Invitation, now: Unix) -> bool {
    now < invitation.until
}
