//! `init --try`: the drops on trial. One command that ends in "kept" or "given back".
//!
//! It runs the server itself, and looks on: the server says when somebody came in (portunusd's `trial`), the kernel
//! forgets the drops when nobody does, whatever becomes of both of us.

mod before;
mod server;

use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use portunus_config::{native, render_duration};
use portunus_ctl::control::Client;
use portunus_sys::poll::{Interest, Poll};
use portunus_sys::signals::{Signal, Signals};
use portunus_sys::{files, users};
use portunusd::trial::{self, Stage};

use super::NAME;
use crate::files::RealFiles;
use crate::places::Places;
use crate::ruleset;
use crate::say::{CONFIG, Done, Failure, line, remark};
pub(super) use before::at;
use before::{Tried, may_be_tried, nobody_serves, the_only_one};
use server::{Ear, finish, log, start, why_it_ended};

/// How often is looked.
const EVERY: Duration = Duration::from_millis(50);
/// How long the server may take to start, to end, and to make the drops permanent.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why nothing is kept.
enum Lost {
    /// Nobody came in from outside in time.
    Unproven,
    /// Ctrl-C, or the terminal is gone.
    Interrupted,
    /// `portunus teardown`.
    TornDown,
    /// The file that speaks of the trial is gone.
    Vanished,
    /// The server ended by itself.
    Ended(ExitStatus),
}

/// Tries the configuration that is there for so long.
pub(super) fn run(places: &Places, lasting: Duration) -> Done {
    let settings =
        native::load(&RealFiles, &places.config_dir).map_err(|found| Failure::lines(found, CONFIG))?;
    if !users::have_net_admin() {
        return Err(Failure::new("the firewall cannot be changed", "", "run this as root"));
    }
    files::make_folder(&places.state_dir, 0o700)?;
    let _the_only_one = the_only_one(places, lasting)?;
    let nobody_serves = nobody_serves(places, lasting)?;
    let tried = may_be_tried(&settings, lasting)?;
    let mut signals = Signals::open()
        .map_err(|error| Failure::new("the trial cannot be interrupted, so it is not begun", error, ""))?;
    trial::begin(&places.state_dir, lasting)?;
    let begun = Instant::now();
    drop(nobody_serves);
    let ear = Ear::open(&places.state_dir);
    let end = start(places, &ear).and_then(|mut server| {
        let watched = Watched { places, ear: &ear };
        let end = watched.watch(&mut signals, &mut server, &|| tell(&tried, lasting, begun));
        end.map(|()| keep(&mut server)).map_err(|lost| {
            let why = why(&lost, places, lasting);
            finish(&mut server);
            why
        })
    });
    match end {
        Ok(kept) => kept,
        Err(why) => Err(give_back(places, why)),
    }
}

/// Where is looked.
struct Watched<'w> {
    places: &'w Places,
    ear: &'w Ear,
}

impl Watched<'_> {
    /// Looks on until it is decided; `serving` is called once, when the server serves. Only the server's own word that it
    /// is proven counts.
    fn watch(&self, signals: &mut Signals, server: &mut Child, serving: &dyn Fn()) -> Result<(), Lost> {
        let mut told = false;
        let mut over = None;
        loop {
            let ended = server.try_wait().ok().flatten();
            self.ear.show();
            match (trial::stage(&self.places.state_dir), ended) {
                (Stage::Proven, _) => return Ok(()),
                (Stage::Ended, _) => return Err(Lost::TornDown),
                (Stage::None, _) => return Err(Lost::Vanished),
                (Stage::Over, Some(_)) => return Err(Lost::Unproven),
                (Stage::Until(_), Some(status)) => return Err(Lost::Ended(status)),
                (Stage::Until(_), None) => (),
                // The server, which looks in the same moment, has the first word.
                (Stage::Over, None) => {
                    if over.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
                        return Err(Lost::Unproven);
                    }
                }
            }
            if !told && self.serves() {
                told = true;
                serving();
            }
            if is_interrupted(signals) {
                return Err(Lost::Interrupted);
            }
        }
    }

    /// Whether the drops are in: the control socket is there before them, the place is told after.
    fn serves(&self) -> bool {
        let status = Client::connect(&self.places.run_dir).and_then(|mut server| server.status());
        status.is_ok_and(|status| !status.place.is_empty())
    }
}

/// Waits a moment; whether somebody wants an end.
fn is_interrupted(signals: &mut Signals) -> bool {
    let waited = Poll::new().and_then(|mut poll| {
        poll.add(&*signals, 1, Interest::Read)?;
        poll.wait(Some(EVERY)).map(drop)
    });
    if waited.is_err() {
        std::thread::sleep(EVERY);
    }
    while let Some(signal) = signals.read() {
        match signal {
            Signal::End | Signal::Reload => return true,
            Signal::Child => (),
        }
    }
    false
}

/// What to do now.
fn tell(tried: &Tried, lasting: Duration, begun: Instant) {
    let words: Vec<String> = tried.ports.iter().map(ToString::to_string).collect();
    // Rounded up: a start takes a blink of the first second.
    let left = Duration::from_secs(lasting.saturating_sub(begun.elapsed()).as_secs() + 1).min(lasting);
    line(format_args!("on trial       {} dropped for {}", words.join(", "), render_duration(left)));
    tried.past.iter().for_each(|why| line(format_args!("not dropped    {why}")));
    line("               this session, and every other that is open, goes on");
    line("now            from another machine, with a profile that `portunus add` printed:");
    line("                 portunus knock PROFILE && ssh HOST");
    line("               kept once somebody came in so; given back when nobody has in time, and at Ctrl-C");
}

/// The drops are permanent in a moment, and the server goes on.
fn keep(server: &mut Child) -> Done {
    let since = Instant::now();
    while !ruleset::keeps_shut()? {
        if let Ok(Some(status)) = server.try_wait() {
            return Err(Failure::new(
                format_args!("somebody knocked and came in, and then the server ended ({status})"),
                "its drops are not permanent yet",
                "start it: systemctl enable --now portunus",
            ));
        }
        if since.elapsed() > PATIENCE {
            return Err(Failure::new(
                "somebody knocked and came in, and the server does not make its drops permanent",
                "",
                "see trial.log in its state folder",
            ));
        }
        std::thread::sleep(EVERY);
    }
    line("kept           somebody knocked and came in from outside: the drops are permanent");
    line(format_args!(
        "               the server runs on (pid {}). To have systemd run it, from now on and at each boot:",
        server.id()
    ));
    // Its successor starts when it has ended, and let go of the folder.
    let pid = server.id();
    line(format_args!(
        "                 kill {pid}; tail --pid={pid} -f /dev/null; systemctl enable --now portunus"
    ));
    Ok(())
}

fn why(lost: &Lost, places: &Places, lasting: Duration) -> Failure {
    match lost {
        Lost::Unproven => Failure::new(
            format_args!("nobody knocked and came in from outside in {}", render_duration(lasting)),
            "given back: the ports are as they were before",
            "`portunus explain` and `portunus doctor` say what may be in the way",
        ),
        Lost::Interrupted => Failure::new("interrupted", "given back: the ports are as they were before", ""),
        Lost::TornDown => Failure::new(
            "the trial was ended by `portunus teardown`",
            "nothing is proven, and the ports are as they were before",
            format_args!("`portunus init --try {}` tries again", render_duration(lasting)),
        ),
        Lost::Vanished => Failure::new(
            "the trial was ended by somebody: the file that speaks of it is gone",
            "nothing is proven, and the ports are as they were before",
            format_args!("`portunus init --try {}` tries again", render_duration(lasting)),
        ),
        Lost::Ended(status) => {
            let log = log(&places.state_dir);
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            let mend = why_it_ended(&said).unwrap_or_else(|| format!("see {}", log.display()));
            Failure::new(
                format_args!("the server ended ({status})"),
                "given back: the ports are as they were before",
                mend,
            )
        }
    }
}

/// Nothing of ours stays. What cannot be taken away the kernel forgets.
fn give_back(places: &Places, why: Failure) -> Failure {
    if let Err(failure) = ruleset::clear() {
        remark(
            NAME,
            format_args!("the kernel ends the drops by itself, and more is left of ours: {failure}"),
        );
        // As long as this says that it is on trial no start drops anything for good.
        return why;
    }
    if let Err(error) = trial::forget(&places.state_dir) {
        remark(NAME, error);
    }
    why
}
