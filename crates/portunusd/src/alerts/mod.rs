//! The alerts process: tells people of grants and refusals, by mail, to a page, or to a program. It knows no key and has no
//! right; nobody waits for it, and what it cannot tell lies in a ring on disk until it can, or the ring is full.
//!
//! The keeper tells it what happened, as the audit log has it. One thread takes that in; each way has a thread of its own,
//! which may wait for its server as long as it likes.

mod command;
mod mail;
mod ring;
mod session;
mod text;
mod webhook;

use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use portunus_config::Settings;
use portunus_config::alerts::{Alerts, Carrier, webhook_port};
use portunus_model::{Reason, Unix};
use portunus_store::audit::Fact;
use portunus_store::spool::{LONGEST_RECORD, Spool, WAYS};
use portunus_sys::channel::Channel;
use portunus_sys::confine::{self, Confinement};
use portunus_sys::users::{self, Ids, Keep};
use portunus_sys::{clock, files, process, signals};
use serde::{Deserialize, Serialize};

use crate::keeper::shed_rights;
use crate::keyrings::Trouble;
use crate::message::{self, AlertsSnapshot, FromAlerts, ToAlerts};
use crate::{log, sandbox_words};
use ring::Ring;
use text::Batch;

/// What one message tells at most.
const AT_ONCE: usize = 100;
/// How long a way that does not work is left alone at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
/// How long any one step of a server may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// What the process holds in memory at most. It needs a few MB; what a server says must not become the machine's memory.
const MOST_MEMORY: u64 = 256 << 20;

/// One thing to tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Alert {
    at: Unix,
    client: String,
    what: What,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum What {
    Granted {
        address: IpAddr,
        ports: String,
        lasting_s: u64,
        extended: bool,
    },
    Refused {
        #[serde(with = "by_name")]
        reason: Reason,
        source: Option<IpAddr>,
        unsaid: u64,
    },
    /// For whoever tries it out.
    Test,
    /// What a client did beyond its share of the ring, and the last address.
    More {
        grants: u64,
        refusals: u64,
        address: Option<IpAddr>,
    },
}

/// A reason on disk: by its word, since its place in the list may be another's tomorrow.
mod by_name {
    use portunus_model::Reason;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde has it so")]
    pub(super) fn serialize<S: Serializer>(reason: &Reason, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(reason.as_str())
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Reason, D::Error> {
        let word = <&str>::deserialize(from)?;
        let found = Reason::ALL.into_iter().find(|reason| reason.as_str() == word);
        found.ok_or_else(|| D::Error::custom("no such reason"))
    }
}

impl Alert {
    /// What of the audit log is told. Only what a packet did that was fresh when it came: whoever has a copy of one makes
    /// it stale or replayed as often as he likes, and tells nobody anything by that.
    pub(crate) fn of(fact: &Fact, alerts: &Alerts, at: Unix) -> Option<Self> {
        let (client, what) = match fact {
            Fact::Opened { client, address, ports, lasting_s, extended, .. } if alerts.grants => {
                let ports = ports.chars().take(LONGEST_PORTS).collect();
                let (address, lasting_s, extended) = (*address, *lasting_s, *extended);
                (client.clone(), What::Granted { address, ports, lasting_s, extended })
            }
            Fact::OpenFailed { client, address, .. } if alerts.refusals => {
                let (reason, source) = (Reason::FirewallFailed, Some(*address));
                (client.clone(), What::Refused { reason, source, unsaid: 0 })
            }
            // One that the firewall did not take is told by whom it did not take it from.
            Fact::Refused { client, reason, source, unsaid, .. }
                if alerts.refusals && is_fresh(*reason) && *reason != Reason::FirewallFailed =>
            {
                let (reason, source, unsaid) = (*reason, *source, *unsaid);
                (client.to_string(), What::Refused { reason, source, unsaid })
            }
            Fact::Opened { .. }
            | Fact::OpenFailed { .. }
            | Fact::Refused { .. }
            | Fact::Continued { .. }
            | Fact::Repaired { .. }
            | Fact::Damaged { .. }
            | Fact::Lost { .. }
            | Fact::Started { .. }
            | Fact::StartFailed { .. }
            | Fact::TrialBegun { .. }
            | Fact::TrialNotProven { .. }
            | Fact::TrialProven { .. }
            | Fact::TrialEnded { .. }
            | Fact::Stopped { .. }
            | Fact::PartDied { .. }
            | Fact::Reloaded { .. }
            | Fact::ReloadRefused { .. }
            | Fact::Closed { .. }
            | Fact::Restored { .. }
            | Fact::Killed { .. }
            | Fact::PutBack { .. }
            | Fact::NotPutBack { .. }
            | Fact::BeyondLimits { .. }
            | Fact::Asked { .. }
            | Fact::CommandBegun { .. }
            | Fact::CommandEnded { .. } => return None,
        };
        Some(Self { at, client, what })
    }

    fn test() -> Self {
        Self { at: clock::wall(), client: "test".to_owned(), what: What::Test }
    }
}

/// A long list of ports is cut in a message; the audit log has all of it.
const LONGEST_PORTS: usize = 200;

/// Whether a packet that ends so was claimed before: then it comes to this once, and no copy does.
pub(crate) const fn is_fresh(reason: Reason) -> bool {
    match reason {
        Reason::Expired | Reason::NotAllowed | Reason::SecondFactor | Reason::FirewallFailed => true,
        Reason::Granted
        | Reason::Extended
        | Reason::Closed
        | Reason::Noise
        | Reason::RateLimited
        | Reason::Unauthentic
        | Reason::Stale
        | Reason::Replayed
        | Reason::UnknownClient
        | Reason::Busy
        | Reason::StoreUnavailable => false,
    }
}

/// What the ways are called, each in its place of the ring.
const NAMES: [&str; WAYS] = ["mail", "webhook", "command"];

/// One way to tell people.
enum Way {
    Mail(mail::Mailer),
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
        let mail = alerts.mail.as_ref().map(|mail| mail::Mailer::new(mail, host).map(Self::Mail));
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
    fn tell(&mut self, batch: &Batch<'_>) -> Result<Option<String>, String> {
        match self {
            Self::Mail(mailer) => mailer.send(batch),
            Self::Webhook(hook) => hook.send(batch).map(|()| None),
            Self::Command(words) => command::run(words, batch).map(|()| None),
            Self::Unfit { why, .. } => Err(why.clone()),
        }
    }
}

impl Way {
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
    let ToAlerts::Setup { host } = &came.value else {
        return Err(io::Error::other("the keeper began with something else than the setup"));
    };
    let host = host.clone();
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
    let mut spool = open_spool(file, alerts.keep)?;
    let cost = spool.only(ways.each_ref().map(Option::is_some))?;
    for (way, lost) in NAMES.into_iter().zip(cost).filter(|(_, lost)| *lost > 0) {
        tracing::warn!(way, lost, "alerts are lost: they waited for a way that is configured no more");
    }
    let desk = Arc::new(Desk { ring: Mutex::new(Ring::new(spool, alerts.keep)), more: Condvar::new() });
    for (number, way) in ways.into_iter().enumerate() {
        let Some(way) = way else { continue };
        let (desk, host, every) = (desk.clone(), host.clone(), alerts.every);
        let name = way.name().to_owned();
        thread::Builder::new().name(name).spawn(move || {
            Teller { desk, host, number, way, every, pause: every, said: None, partly: None }.run();
        })?;
    }
    let taken = take_in(&keeper, &desk);
    command::RUNNING.end();
    taken
}

/// The ring, with its room on the disk.
fn open_spool(file: File, keep: u64) -> io::Result<Spool<File>> {
    let same = file.try_clone()?;
    let spool = Spool::open(file, keep)?;
    if let Err(error) = files::reserve(&same, spool.room()) {
        tracing::warn!(
            %error,
            "alerts.spool has no room of its own on the disk: when that is full, alerts cannot be kept"
        );
    }
    let alerts = spool.forgot();
    if alerts > 0 {
        tracing::warn!(
            alerts,
            "alerts.spool is damaged: which of these were told nobody knows, and none is told any more; `portunus audit` has them"
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
    desk.lock().settle()
}

fn lost_by_any(ring: &Ring) -> u64 {
    (0..WAYS).map(|way| ring.spool.counts(way).1).max().unwrap_or(0)
}

impl Alert {
    fn record(&self) -> Vec<u8> {
        let whole = postcard::to_stdvec(self).unwrap_or_default();
        if whole.len() <= LONGEST_RECORD {
            return whole;
        }
        // Only a list of ports can be so long.
        let mut short = self.clone();
        if let What::Granted { ports, .. } = &mut short.what {
            ports.clear();
        }
        postcard::to_stdvec(&short).unwrap_or_default()
    }
}

/// What the threads share.
struct Desk {
    ring: Mutex<Ring>,
    more: Condvar,
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who tells by one way.
struct Teller {
    desk: Arc<Desk>,
    host: String,
    number: usize,
    way: Way,
    every: Duration,
    /// How long to wait after the next failure.
    pause: Duration,
    /// What was last said to be wrong, and when.
    said: Option<(String, Instant)>,
    /// The same of somebody whom the message does not reach.
    partly: Option<(String, Instant)>,
}

impl Teller {
    fn run(mut self) {
        loop {
            self.wait_for_some();
            // What comes meanwhile goes into the same message.
            thread::sleep(self.every);
            if let Err(error) = self.tell() {
                self.complain(error);
                thread::sleep(self.way.waits_at_most().map_or(self.pause, |most| self.pause.min(most)));
                self.pause = (self.pause * 2).min(LONGEST_PAUSE.max(self.every));
            }
            log::flush();
        }
    }

    fn wait_for_some(&self) {
        let mut ring = self.desk.lock();
        while ring.spool.counts(self.number) == (0, 0) {
            ring = self.desk.more.wait(ring).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// One message.
    fn tell(&mut self) -> Result<(), String> {
        let words = |error: io::Error| format!("the ring of alerts: {error}");
        let waiting = self.desk.lock().spool.waiting(self.number, AT_ONCE).map_err(words)?;
        let alerts: Vec<Alert> =
            waiting.records.iter().filter_map(|record| postcard::from_bytes(record).ok()).collect();
        // What nobody can read any more is gone over: it would be in the way for ever.
        let unread = waiting.rotten + (waiting.records.len() - alerts.len()) as u64;
        let (lost, more) = (waiting.lost + unread, waiting.more);
        if !alerts.is_empty() || lost > 0 {
            let missed = self.way.tell(&Batch { host: &self.host, alerts: &alerts, lost, more })?;
            self.say_who_misses_it(missed);
        }
        let way = self.way.name();
        if waiting.lost > 0 {
            tracing::warn!(way, lost = waiting.lost, "alerts were lost: there was no room for more");
        }
        if unread > 0 {
            tracing::warn!(
                way,
                lost = unread,
                "alerts were lost: what the disk has kept of them is nonsense"
            );
        }
        let mut ring = self.desk.lock();
        ring.spool.told(self.number, waiting.end, waiting.lost).map_err(words)?;
        // What cannot be kept is counted as lost, and told with the next.
        let _ = ring.settle();
        drop(ring);
        self.desk.more.notify_all();
        if self.said.take().is_some() {
            tracing::info!(way = self.way.name(), "alerts go out again");
        }
        self.pause = self.every;
        Ok(())
    }

    /// Once, and again when it is another trouble, or after an hour.
    fn complain(&mut self, error: String) {
        if is_news(self.said.as_ref(), &error) {
            let (waiting, lost) = self.desk.lock().spool.counts(self.number);
            tracing::warn!(
                way = self.way.name(),
                why = error,
                waiting,
                lost,
                "alerts do not go out: they are kept, and tried again"
            );
            self.said = Some((error, Instant::now()));
        }
    }

    fn say_who_misses_it(&mut self, missed: Option<String>) {
        let Some(why) = missed else {
            self.partly = None;
            return;
        };
        if is_news(self.partly.as_ref(), &why) {
            tracing::warn!(way = self.way.name(), why, "alerts do not reach everybody: the others have them");
            self.partly = Some((why, Instant::now()));
        }
    }
}

fn is_news(said: Option<&(String, Instant)>, trouble: &str) -> bool {
    const AGAIN: Duration = Duration::from_secs(3600);
    said.is_none_or(|(last, at)| gist(last) != gist(trouble) || at.elapsed() > AGAIN)
}

/// Without numbers and names that are others each time: a server may call each session by one.
fn gist(trouble: &str) -> Vec<&str> {
    trouble.split_whitespace().filter(|word| !word.bytes().any(|byte| byte.is_ascii_digit())).collect()
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
        let told = way.tell(&batch);
        (way.name(), told.and_then(|missed| missed.map_or(Ok(()), Err)))
    });
    Ok(tried.collect())
}

/// What this server is called.
pub(crate) fn host_name(settings: &Settings) -> String {
    settings.host.clone().unwrap_or_else(process::host_name)
}

#[cfg(test)]
mod tests {
    use portunus_model::ClientName;

    use super::*;

    fn refused(reason: Reason) -> Fact {
        Fact::Refused {
            client: ClientName::new("alice").unwrap(),
            reason,
            dialect: None,
            source: None,
            unsaid: 0,
        }
    }

    /// Whoever has recorded a packet can make these as often as he likes.
    #[test]
    fn a_copy_of_a_packet_makes_no_alert() {
        let alerts = Alerts::default();
        let told: Vec<Reason> = Reason::ALL
            .into_iter()
            .filter(|&reason| Alert::of(&refused(reason), &alerts, Unix::default()).is_some())
            .collect();
        assert_eq!(told, [Reason::Expired, Reason::NotAllowed, Reason::SecondFactor]);
    }

    #[test]
    fn what_nobody_wants_to_hear_is_not_told() {
        let opened = Fact::Opened {
            client: "alice".into(),
            address: IpAddr::from([192, 0, 2, 1]),
            ports: "22/tcp".into(),
            lasting_s: 30,
            way: None,
            extended: false,
        };
        let heard = |grants, refusals| {
            let alerts = Alerts { grants, refusals, ..Alerts::default() };
            [&opened, &refused(Reason::NotAllowed)]
                .map(|fact| Alert::of(fact, &alerts, Unix::default()).is_some())
        };
        assert_eq!(heard(true, true), [true, true]);
        assert_eq!(heard(false, true), [false, true]);
        assert_eq!(heard(true, false), [true, false]);
    }

    /// Two ways by programs with a ring of four.
    fn teller(folder: &tempfile::TempDir, words: &[&str]) -> Teller {
        let path = folder.path().join("spool");
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path).unwrap();
        let desk = Arc::new(Desk {
            ring: Mutex::new(Ring::new(Spool::open(file, 4).unwrap(), 4)),
            more: Condvar::new(),
        });
        let way = Way::Command(words.iter().map(ToString::to_string).collect());
        let every = Duration::ZERO;
        Teller { desk, host: "gate".into(), number: 2, way, every, pause: every, said: None, partly: None }
    }

    #[test]
    fn what_cannot_be_read_any_more_is_said_to_be_lost_and_is_not_in_the_way() {
        let folder = tempfile::tempdir().unwrap();
        let heard = folder.path().join("heard");
        let mut teller = teller(&folder, &["/bin/sh", "-c", &format!("cat >> {}", heard.display())]);
        for record in [Alert::test().record(), b"nonsense".to_vec()] {
            teller.desk.lock().spool.add(&record).unwrap();
        }
        teller.desk.lock().spool.lose(3).unwrap();
        teller.tell().unwrap();
        let told = std::fs::read_to_string(&heard).unwrap();
        assert!(told.contains("\"lost\":4") && told.matches("\"event\"").count() == 1, "{told}");
        assert_eq!(teller.desk.lock().spool.counts(2), (0, 0));
    }

    /// The disk may be full by the time that somebody comes in.
    #[test]
    fn the_ring_has_its_room_on_the_disk_before_anything_is_in_it() {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spool");
        let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        let spool = open_spool(file, 1000).unwrap();
        let meta = std::fs::metadata(&path).unwrap();
        assert_eq!(meta.len(), spool.room());
        assert!(meta.blocks() * 512 >= spool.room(), "{}", meta.blocks());
    }

    #[test]
    fn one_trouble_is_no_news_because_a_server_numbers_it() {
        let said = ("transient error (450): come again, id=4Xk9zQ".to_owned(), Instant::now());
        assert!(!is_news(Some(&said), "transient error (450): come again, id=7PpL1w"));
        assert!(is_news(Some(&said), "permanent error (550): come again, id=7PpL1w"));
    }

    #[test]
    fn the_longest_alert_fits_into_the_ring() {
        let what = What::Granted {
            address: "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap(),
            ports: "9".repeat(LONGEST_PORTS * 2),
            lasting_s: u64::MAX,
            extended: true,
        };
        let alert = Alert { at: Unix::default(), client: "x".repeat(64), what };
        assert!(alert.record().len() <= LONGEST_RECORD);
        assert_eq!(postcard::from_bytes::<Alert>(&alert.record()).unwrap().client, alert.client);
    }

    /// What lies on disk was written by an older one of us, maybe. Where this fails, the spool's magic must be another
    /// one, or what waits is told as something else.
    #[test]
    fn what_lies_on_disk_is_read_as_what_it_was() {
        let address = IpAddr::from([192, 0, 2, 1]);
        let (at, client) = (Unix::from_secs(1), "al".to_owned());
        for (what, bytes) in [
            (
                What::Granted { address, ports: "22".into(), lasting_s: 30, extended: true },
                &b"\x80\xa8\xd6\xb9\x07\x02al\x00\x00\xc0\x00\x02\x01\x0222\x1e\x01"[..],
            ),
            (
                What::Refused { reason: Reason::NotAllowed, source: Some(address), unsaid: 7 },
                b"\x80\xa8\xd6\xb9\x07\x02al\x01\x0bnot-allowed\x01\x00\xc0\x00\x02\x01\x07",
            ),
            (What::Test, b"\x80\xa8\xd6\xb9\x07\x02al\x02"),
            (
                What::More { grants: 300, refusals: 1, address: Some(address) },
                b"\x80\xa8\xd6\xb9\x07\x02al\x03\xac\x02\x01\x01\x00\xc0\x00\x02\x01",
            ),
        ] {
            let alert = Alert { at, client: client.clone(), what };
            assert_eq!(alert.record().escape_ascii().to_string(), bytes.escape_ascii().to_string());
            assert_eq!(postcard::from_bytes::<Alert>(bytes).unwrap(), alert);
        }
        for reason in Reason::ALL {
            let what = What::Refused { reason, source: None, unsaid: 0 };
            let alert = Alert { at, client: client.clone(), what };
            assert_eq!(postcard::from_bytes::<Alert>(&alert.record()).unwrap(), alert);
        }
    }
}
