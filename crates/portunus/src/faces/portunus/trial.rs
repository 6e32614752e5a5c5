//! `init --try`: the drops on trial. One command that ends in "kept" or "given back".
//!
//! It runs the server itself, and looks on: the server says when somebody came in (portunusd's `trial`), the kernel
//! forgets the drops when nobody does, whatever becomes of both of us.

use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use portunus_config::{Settings, native, render_duration};
use portunus_ctl::control::Client;
use portunus_model::{Place, PortSpec};
use portunus_sys::poll::{Interest, Poll};
use portunus_sys::signals::{Signal, Signals};
use portunus_sys::{files, users};
use portunusd::trial::{self, Stage};
use rustix::process::{Pid, Signal as Kill, kill_process};

use super::NAME;
use crate::files::RealFiles;
use crate::places::Places;
use crate::ruleset;
use crate::say::{CONFIG, Done, Failure, line, remark};

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
    /// The server ended by itself.
    Ended(ExitStatus),
}

/// Tries the configuration that is there for so long.
pub(super) fn run(places: &Places, lasting: Duration) -> Done {
    let settings =
        native::load(&RealFiles, &places.config_dir).map_err(|found| Failure::lines(found, CONFIG))?;
    let ports = may_be_tried(places, &settings, lasting)?;
    let mut signals = Signals::open()
        .map_err(|error| Failure::new("the trial cannot be interrupted, so it is not begun", error, ""))?;
    files::make_folder(&places.state_dir, 0o700)?;
    trial::begin(&places.state_dir, lasting)?;
    let begun = Instant::now();
    let end = start(places).and_then(|mut server| {
        let end = watch(places, &mut signals, &mut server, &|| tell(&ports, lasting, begun));
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

/// Whether there is anything to try here, and whether it can be: the ports that would be dropped.
fn may_be_tried(places: &Places, settings: &Settings, lasting: Duration) -> Result<Vec<PortSpec>, Failure> {
    let again = format!("then run `portunus init --try {}` again", render_duration(lasting));
    if !users::have_net_admin() {
        return Err(Failure::new("the firewall cannot be changed", "", "run this as root"));
    }
    if Client::connect(&places.run_dir).is_ok() {
        let mend = format!("stop it and run `portunus teardown`, {again}");
        return Err(Failure::new("a server is running, and its drops are in force already", "", mend));
    }
    if ruleset::keeps_shut()? {
        let mend = format!("run `portunus teardown`, {again}");
        return Err(Failure::new("rules of ours keep ports shut already", "", mend));
    }
    if settings.rules.clients.is_empty() {
        let mend = format!(
            "`portunus add NAME --ports ssh > NAME.toml`, take that to another machine (`portunus join < NAME.toml`), {again}"
        );
        return Err(Failure::new("there is no client yet who could knock", "", mend));
    }
    let ports = settings.served();
    if ports.is_empty() {
        return Err(Failure::new("the configuration drops no port, so there is nothing to try", "", ""));
    }
    let look = ruleset::look(settings)?;
    if look.place.as_ref().is_some_and(Place::is_of_iptables) {
        return Err(Failure::new(
            "iptables drops the ports here, and has no drops that the kernel ends by itself",
            "",
            "start the server without a trial, and keep a second session open meanwhile",
        ));
    }
    look.blocked.iter().for_each(|blocked| remark(NAME, blocked));
    Ok(ports)
}

/// Starts the server, out of reach of this terminal's keys: it goes on when the drops are kept.
fn start(places: &Places) -> Result<Child, Failure> {
    use std::os::unix::process::CommandExt;
    let failed = |error: std::io::Error| Failure::new("the server cannot be started", error, "");
    let log = log(&places.state_dir);
    let _ = std::fs::remove_file(&log);
    let log = files::open_log(&log)?;
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    command.arg("serve");
    let dirs = [
        ("--config-dir", &places.config_dir),
        ("--state-dir", &places.state_dir),
        ("--run-dir", &places.run_dir),
    ];
    for (flag, dir) in dirs {
        command.arg(flag).arg(dir);
    }
    command.env_remove("NOTIFY_SOCKET").env_remove("WATCHDOG_USEC");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).process_group(0);
    command.spawn().map_err(failed)
}

fn log(state_dir: &Path) -> std::path::PathBuf {
    state_dir.join("trial.log")
}

/// Looks on until it is decided; `serving` is called once, when the server serves.
fn watch(places: &Places, signals: &mut Signals, server: &mut Child, serving: &dyn Fn()) -> Result<(), Lost> {
    let mut told = false;
    loop {
        if let Ok(Some(status)) = server.try_wait() {
            return Err(ended(places, status));
        }
        match trial::stage(&places.state_dir) {
            Stage::None => return Ok(()),
            Stage::Until(_) => (),
            // The server, which looks in the same moment, has the first word.
            Stage::Over => {
                let since = Instant::now();
                while since.elapsed() < PATIENCE {
                    if let Ok(Some(status)) = server.try_wait() {
                        return Err(ended(places, status));
                    }
                    if trial::stage(&places.state_dir) == Stage::None {
                        return Ok(());
                    }
                    std::thread::sleep(EVERY);
                }
                return Err(Lost::Unproven);
            }
        }
        if !told && serves(places) {
            told = true;
            serving();
        }
        if is_interrupted(signals) {
            return Err(Lost::Interrupted);
        }
    }
}

/// Whether the drops are in: the control socket is there before them, the place is told after.
fn serves(places: &Places) -> bool {
    let status = Client::connect(&places.run_dir).and_then(|mut server| server.status());
    status.is_ok_and(|status| !status.place.is_empty())
}

/// The server has ended: because the time is over, or because something is wrong.
fn ended(places: &Places, status: ExitStatus) -> Lost {
    match trial::stage(&places.state_dir) {
        Stage::Over => Lost::Unproven,
        Stage::None | Stage::Until(_) => Lost::Ended(status),
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
fn tell(ports: &[PortSpec], lasting: Duration, begun: Instant) {
    let words: Vec<String> = ports.iter().map(ToString::to_string).collect();
    // Rounded up: a start takes a blink of the first second.
    let left = Duration::from_secs(lasting.saturating_sub(begun.elapsed()).as_secs() + 1).min(lasting);
    line(format_args!("on trial       {} dropped for {}", words.join(", "), render_duration(left)));
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
    line(format_args!("                 kill {} && systemctl enable --now portunus", server.id()));
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
        Lost::Ended(status) => {
            let said = std::fs::read_to_string(log(&places.state_dir)).unwrap_or_default();
            let last = said.lines().last().unwrap_or_default();
            Failure::new(
                format_args!("the server ended ({status})"),
                "given back: the ports are as they were before",
                last,
            )
        }
    }
}

/// Ends the server, if it has not ended.
fn finish(server: &mut Child) {
    let pid = i32::try_from(server.id()).ok().and_then(Pid::from_raw);
    if let Ok(None) = server.try_wait()
        && let Some(pid) = pid
    {
        let _ = kill_process(pid, Kill::TERM);
    }
    let since = Instant::now();
    while let Ok(None) = server.try_wait() {
        if since.elapsed() > PATIENCE {
            let _ = server.kill();
            let _ = server.wait();
        }
        std::thread::sleep(Duration::from_millis(10));
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
    if let Err(error) = trial::end(&places.state_dir) {
        remark(NAME, error);
    }
    why
}
