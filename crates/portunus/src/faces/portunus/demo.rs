//! `portunus demo`: the whole story in two network namespaces of its own, told with what was measured.
//!
//! Here is the order of the steps and what each must come to. The machines, the cable, the daemon and the packets are
//! in `demo/`. Nothing outside the two namespaces and one temporary folder is touched, and both are gone at the end.

mod knock;
mod stage;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::say;
use knock::Packet;
use stage::{CLIENT, DOOR, Firewall, Running, Stage};

/// How long alice's grant lasts: long enough to be seen open after the daemon's death, short enough to wait for.
const LASTING: Duration = Duration::from_secs(5);
/// How long a closed door is waited at. On a cable of this machine an open one answers in microseconds.
const CLOSED_AFTER: Duration = Duration::from_millis(700);
/// How long a door may take to open before the demo says that it did not.
const OPEN_WITHIN: Duration = Duration::from_secs(2);
/// The kernel's timers may be a little late (jiffies, and the collector of dead elements does not matter here).
const GRACE: Duration = Duration::from_millis(300);

/// What went differently, in words.
type Told = Result<(), String>;

/// Runs the demo; 0 when every step came out as it should.
pub(crate) fn run() -> ExitCode {
    match story() {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => say::Failure::new(what, "", "").tell(super::NAME),
    }
}

fn story() -> Told {
    if !rustix::process::geteuid().is_root() {
        return Err("the demo makes two network namespaces, which needs root: sudo portunus demo".into());
    }
    // For the test of the demo itself: with the firewall step broken it must fail.
    let firewall = match std::env::var_os("PORTUNUS_DEMO_BREAK") {
        Some(what) if what == "firewall" => Firewall::Broken,
        Some(_) | None => Firewall::Sound,
    };
    let stage = Stage::set(LASTING)?;
    let daemon = stage.serve(firewall)?;
    let granted = before_and_after(&stage, &daemon)?;
    daemon.kill_9()?;
    the_kernel_closes(&stage, granted)
}

/// Closed, a knock, open; then the same bytes again.
fn before_and_after(stage: &Stage, daemon: &Running) -> Result<Instant, String> {
    expect_closed(stage, "before any knock", "closed (timeout)")?;

    let packet = Packet::seal(stage)?;
    let (opened, granted) = packet.send_and_connect(stage, OPEN_WITHIN)?;
    let verdict = daemon.verdict()?;
    let who = match (&verdict.client, verdict.reason.as_str()) {
        (Some(client), "granted") => client.to_string(),
        (_, other) => return Err(format!("the knock was not granted: {other}")),
    };
    // The health port comes with every grant; the story is about the door.
    let of_the_door =
        verdict.ports.iter().filter_map(|port| port.split_once('/')).filter(|(n, _)| !packet.is_for(n));
    let ports: Vec<String> = of_the_door.map(|(number, proto)| format!("{proto}/{number}")).collect();
    let said = format!("granted to {who}, {}, {} s", ports.join(" "), verdict.lasting_s.unwrap_or_default());
    row("a knock", &format!("{} bytes from {CLIENT}", packet.length()), &said);

    let Some(took) = opened else {
        return Err(format!("the door {DOOR} stayed closed for {OPEN_WITHIN:?} after a granted knock"));
    };
    door("after the knock", &format!("open in {:.1} ms", took.as_secs_f64() * 1000.0));

    packet.send(stage)?;
    let verdict = daemon.verdict()?;
    row("the same bytes", "replayed", &format!("refused: {}", verdict.reason.as_str()));
    if verdict.reason.as_str() != "replayed" {
        return Err(format!("the same bytes were not refused as replayed, but: {}", verdict.reason.as_str()));
    }
    Ok(granted)
}

/// The daemon is dead and the grant open: its time runs out all the same.
fn the_kernel_closes(stage: &Stage, granted: Instant) -> Told {
    if !stage.connects(CLOSED_AFTER)? {
        return Err("the grant ended with the daemon, before its time".into());
    }
    std::thread::sleep((LASTING + GRACE).saturating_sub(granted.elapsed()));
    let open = stage.connects(CLOSED_AFTER)?;
    let said = if open { "the door stays open" } else { "the kernel still closes it" };
    row("kill -9", "the daemon dies, the grant open", said);
    if open {
        return Err("the door is open after its time".into());
    }
    expect_closed(stage, &format!("{} s later", LASTING.as_secs()), "closed")
}

fn expect_closed(stage: &Stage, when: &str, said: &str) -> Told {
    if stage.connects(CLOSED_AFTER)? {
        door(when, "open");
        return Err(format!("the door {DOOR} is open {when}"));
    }
    door(when, said);
    Ok(())
}

fn door(when: &str, outcome: &str) {
    row("the door", &format!("{DOOR}   {when}"), outcome);
}

fn row(what: &str, detail: &str, outcome: &str) {
    say::line(format_args!("  {what:<17} {detail:<33} {outcome}"));
}
