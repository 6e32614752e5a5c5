//! The alerts process: tells people of grants and refusals, by mail, to a page, or to a program. It knows no key and has no
//! right; nobody waits for it, and what it cannot tell lies in a ring on disk until it can, or the ring is full.
//!
//! The keeper tells it what happened, as the audit log has it. One thread takes that in; each way has a thread of its own,
//! which may wait for its server as long as it likes.

mod alert;
mod command;
mod failed;
mod lookup;
mod mail;
mod ring;
mod server;
mod session;
mod teller;
mod text;
mod webhook;

use std::fs::File;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use portunus_config::Settings;
use portunus_config::alerts::{Alerts, Carrier, webhook_port};
use portunus_store::spool::{Spool, WAYS};
use portunus_sys::channel::Channel;
use portunus_sys::confine::{self, Confinement};
use portunus_sys::users::{self, Ids, Keep};
use portunus_sys::{files, memfd, process, signals};

use crate::keeper::shed_rights;
use crate::keyrings::Trouble;
use crate::message::{self, AlertsSnapshot, FromAlerts, ToAlerts};
use crate::{log, sandbox_words};
pub(crate) use alert::{Alert, is_fresh};
use failed::Failed;
use ring::Ring;
use teller::{Desk, Teller};
use text::Batch;

/// What one message tells at most.
const AT_ONCE: usize = 100;
/// How long a way that does not work is left alone at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
/// How long any one step of a server may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// What the process holds in memory at most. It needs a few MB; what a server says must not become the machine's memory.
const MOST_MEMORY: u64 = 256 << 20;

/// What the ways are called, each in its place of the ring.
const NAMES: [&str; WAYS] = ["mail", "webhook", "command"];

/// One way to tell people.
enum Way {
    Mail(Box<mail::Mailer>),
    Webhook(webhook::Hook),
    Command(Vec<String>),
    /// One that cannot be used as it is; the others can, and what waits for it stays.
    Unfit {
        name: &'static str,
        why: String,
    },
}

impl Way {
    /// Each in its place of the ring.
    fn all(alerts: &Alerts, host: &str) -> [Option<Self>; WAYS] {
        let or_unfit = |way: Result<Self, String>, name| way.unwrap_or_else(|why| Self::Unfit { name, why });
        let mail = alerts
            .mail
            .as_ref()
            .map(|mail| mail::Mailer::new(mail, host).map(|mailer| Self::Mail(Box::new(mailer))));
        let webhook = alerts.webhook.as_ref().map(|hook| webhook::Hook::new(hook).map(Self::Webhook));
        let command = alerts.command.clone().map(Self::Command);
        let [by_mail, by_page, _] = NAMES;
        [mail.map(|way| or_unfit(way, by_mail)), webhook.map(|way| or_unfit(way, by_page)), command]
    }

    const fn name(&self) -> &'static str {
        let [mail, webhook, command] = NAMES;
        match self {
            Self::Mail(_) => mail,
            Self::Webhook(_) => webhook,
            Self::Command(_) => command,
            Self::Unfit { name, .. } => name,
        }
    }

    /// Who does not hear it, and why, where others by the same way do.
    fn tell(&mut self, batch: &Batch<'_>) -> Result<Option<String>, Failed> {
        match self {
            Self::Mail(mailer) => mailer.send(batch),
            Self::Webhook(hook) => hook.send(batch).map(|()| None),
            Self::Command(words) => command::run(words, batch).map(|()| None),
            Self::Unfit { why, .. } => Err(why.clone().into()),
        }
    }

    /// The message that was not answered does not go once more.
    fn give_up(&mut self) {
        match self {
            Self::Mail(mailer) => mailer.give_up(),
            Self::Webhook(_) | Self::Command(_) | Self::Unfit { .. } => (),
        }
    }

    /// Where it waits for somebody: until when.
    fn waits_at_most(&self) -> Option<Duration> {
        match self {
            Self::Mail(mailer) => mailer.waits_at_most(),
            Self::Webhook(_) | Self::Command(_) | Self::Unfit { .. } => None,
        }
    }
}

/// How far the process can be walled in: who runs programs needs the system's.
fn confinement(alerts: &Alerts) -> Option<Confinement> {
    let mut smtp = None;
    match alerts.mail.as_ref().map(|mail| &mail.carrier) {
        Some(Carrier::Sendmail(_)) => return None,
        Some(Carrier::Smtp(server)) => smtp = Some(server.port),
        None => (),
    }
    if alerts.command.is_some() {
        return None;
    }
    let webhook = alerts.webhook.as_ref().map(|hook| webhook_port(hook.url.expose()));
    Some(Confinement::Alerts { ports: [smtp, webhook] })
}

/// Tells until the keeper is gone.
pub(crate) fn run(ids: Option<Ids>) -> io::Result<()> {
    let keeper = Channel::inherited()?;
    signals::leave_to_keeper()?;
    process::bound_data(MOST_MEMORY);
    let Some(mut came) = message::receive::<ToAlerts>(&keeper)? else { return Ok(()) };
    let ToAlerts::Setup { host, spool: place } = &came.value else {
        return Err(io::Error::other("the keeper began with something else than the setup"));
    };
    let (host, place) = (host.clone(), place.clone());
    let snapshot: AlertsSnapshot = came.beside()?;
    let file = File::from(came.descriptor()?);
    let alerts = snapshot.alerts();
    shed_rights(ids, Keep::Nothing)?;
    // Authorities are read while files can be.
    let ways = Way::all(&alerts, &host);
    match confinement(&alerts) {
        Some(confinement) => {
            let landlock = confine::confine(confinement).map_err(io::Error::other)?;
            tracing::debug!(landlock = sandbox_words(landlock), "confined");
        }
        // sendmail has its own way to the queue, by its group; a command needs no more than we have.
        None if !matches!(alerts.mail.as_ref().map(|mail| &mail.carrier), Some(Carrier::Sendmail(_))) => {
            confine::gain_nothing().map_err(io::Error::other)?;
        }
        None => (),
    }
    let (mut spool, lies) = open_somewhere(file, &place, alerts.keep)?;
    let cost = spool.only(ways.each_ref().map(Option::is_some))?;
    for (way, lost) in NAMES.into_iter().zip(cost).filter(|(_, lost)| *lost > 0) {
        tracing::warn!(way, lost, "alerts are lost: they waited for a way that is configured no more");
    }
    let keep = spool.slots();
    let desk = Arc::new(Desk { ring: Mutex::new(Ring::new(spool, keep)), more: Condvar::new() });
    for (number, way) in ways.into_iter().enumerate() {
        let Some(way) = way else { continue };
        let (desk, host, every) = (desk.clone(), host.clone(), alerts.every);
        let name = way.name().to_owned();
        let teller = Teller::new(desk, host, (number, way), every);
        thread::Builder::new().name(name).spawn(move || teller.run())?;
    }
    let taken = take_in(&keeper, &desk);
    command::RUNNING.end();
    let left = (0..WAYS).map(|way| desk.lock().spool.counts(way)).map(|(waiting, lost)| waiting + lost).max();
    if let (Lies::InMemory, Some(alerts @ 1..)) = (lies, left) {
        tracing::warn!(alerts, "alerts are lost: they were in memory alone");
    }
    taken
}

/// Where the ring is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lies {
    OnDisk,
    InMemory,
}

/// On the disk; where no ring can be had there, as on a full one on which there never was one, in memory: somebody is to hear
/// of it all the same.
fn open_somewhere(file: File, place: &str, keep: u64) -> io::Result<(Spool<File>, Lies)> {
    match open_spool(file, place, keep) {
        Ok(spool) => Ok((spool, Lies::OnDisk)),
        Err(error) => {
            let mend = if error.kind() == io::ErrorKind::StorageFull {
                "make room on its disk"
            } else {
                "the kernel's log may say what is wrong with its disk; where it is the file, move that away"
            };
            tracing::error!(
                file = place,
                %error,
                mend,
                "the ring of alerts cannot be opened: until the next start they wait in memory alone"
            );
            Ok((open_spool(memfd::scratch("alerts", &[])?, "memory", keep)?, Lies::InMemory))
        }
    }
}

/// The ring, with its room on the disk.
fn open_spool(file: File, place: &str, keep: u64) -> io::Result<Spool<File>> {
    let same = file.try_clone()?;
    let spool = Spool::open(file, keep)?;
    if let Some(error) = spool.not_moved() {
        tracing::warn!(
            file = place,
            %error,
            keep,
            places = spool.slots(),
            "the ring of alerts stays as large as it was: there is no room for another one beside it; the next start tries it again"
        );
    }
    if let Err(error) = files::reserve(&same, spool.room()) {
        tracing::warn!(
            file = place,
            %error,
            "the ring of alerts has no room of its own on the disk: when that is full, alerts cannot be kept"
        );
    }
    let alerts = spool.forgot();
    if alerts > 0 {
        tracing::warn!(
            file = place,
            alerts,
            "the ring of alerts is damaged: which of these were told nobody knows, and none is told any more; `portunus audit` has them"
        );
    }
    Ok(spool)
}

/// What comes from the keeper goes into the ring, durably, before anything else.
fn take_in(keeper: &Channel, desk: &Desk) -> io::Result<()> {
    let (mut taken, mut unkept) = (0, false);
    while let Some(came) = message::receive::<ToAlerts>(keeper)? {
        match came.value {
            ToAlerts::Setup { .. } => return Err(io::Error::other("a second setup")),
            ToAlerts::Some { alerts, lost } => {
                let mut ring = desk.lock();
                let mut kept = ring.spool.lose(lost);
                let before = lost_by_any(&ring);
                for alert in alerts {
                    kept = kept.and(ring.keep(&alert));
                }
                let full = before == 0 && lost_by_any(&ring) > 0 && kept.is_ok();
                drop(ring);
                if let Err(error) = &kept
                    && !unkept
                {
                    tracing::error!(
                        %error,
                        "alerts cannot be kept: the newest are lost until they can, and counted: is the disk full?"
                    );
                }
                unkept = kept.is_err();
                if full {
                    tracing::warn!(
                        "there is no room for more: the oldest alerts are lost from now on, and counted"
                    );
                }
                desk.more.notify_all();
                taken += 1;
                // A number that finds no room is made good by the next; a keeper that is gone needs none.
                let _ = message::try_send(keeper, &FromAlerts { taken }, &[]);
            }
        }
        log::flush();
    }
    desk.lock().settle_for_good()
}

fn lost_by_any(ring: &Ring) -> u64 {
    (0..WAYS).map(|way| ring.spool.counts(way).1).max().unwrap_or(0)
}

/// A program that is to be told, and is not there now.
#[must_use]
pub fn look(settings: &Settings) -> Vec<Trouble> {
    let Some(alerts) = &settings.alerts else { return Vec::new() };
    let sendmail = alerts.mail.as_ref().and_then(|mail| match &mail.carrier {
        Carrier::Sendmail(program) => Some(program.clone()),
        Carrier::Smtp(_) => None,
    });
    let command = alerts.command.as_ref().and_then(|words| words.first()).map(PathBuf::from);
    let missing = |place: PathBuf| {
        let what = match std::fs::metadata(&place) {
            Ok(meta) if meta.is_file() && meta.permissions().mode() & 0o111 != 0 => return None,
            Ok(_) => "it is no program, and alerts are to be told by it".to_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                "there is no such program, and alerts are to be told by it".to_owned()
            }
            Err(error) => error.to_string(),
        };
        Some(Trouble {
            what,
            place,
            mend: "install it, or name another: alerts are kept until then".to_owned(),
        })
    };
    [sendmail, command].into_iter().flatten().filter_map(missing).collect()
}

/// Tells a test by every way of a configuration, as the daemon's own part would: as its user, and without a right. What
/// came of each, by its word.
///
/// # Errors
/// The user cannot be become.
pub fn try_out(settings: &Settings, user: &str) -> io::Result<Vec<(&'static str, Result<(), String>)>> {
    let Some(alerts) = &settings.alerts else { return Ok(Vec::new()) };
    if users::effective_uid() == 0 {
        let ids = users::by_name(user).filter(|ids| ids.uid != 0).or_else(users::unused);
        users::become_user(ids, Keep::Nothing)?;
    }
    let host = host_name(settings);
    let ways = Way::all(alerts, &host);
    let alert = [Alert::test()];
    let batch = Batch { host: &host, alerts: &alert, lost: 0, more: 0 };
    let tried = ways.into_iter().flatten().map(|mut way| {
        let told = way.tell(&batch).map_err(|failed| failed.to_string());
        (way.name(), told.and_then(|missed| missed.map_or(Ok(()), Err)))
    });
    Ok(tried.collect())
}

/// What this server is called.
pub(crate) fn host_name(settings: &Settings) -> String {
    settings.host.clone().unwrap_or_else(process::host_name)
}

#[cfg(test)]
mod tests;
