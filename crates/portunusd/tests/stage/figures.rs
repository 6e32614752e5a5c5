//! Figures of a whole daemon: memory, time to start, time from knock to open, knocks a second.

use std::fs;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use portunus_ctl::control::Followed;

use super::knocker;
use super::world::{Daemon, World};

pub(crate) fn all() {
    for clients in [1, 100, 1000, 10_000] {
        figures(clients);
    }
}

fn figures(clients: u32) {
    let world = World::new();
    let numbers: Vec<u32> = (0..clients).collect();
    world.configure(&numbers, "  knock_timeout: 20s\n");
    let began = Instant::now();
    let daemon = world.start();
    println!("{clients} clients: READY after {:?}", began.elapsed());
    memory(&daemon, "idle");
    latency(&world, &daemon, clients - 1);

    let active = clients.min(1000);
    let seen = || daemon.client().status().unwrap().verdicts;
    let count = |of: &str| seen().get(of).copied().unwrap_or(0);
    // Each client once, slowly: from then on its address is known.
    world.run_ourselves(&["--flood", "0", &active.to_string(), &active.to_string(), "200"]);
    daemon.until_within(Duration::from_secs(120), "all known", || {
        count("granted") + count("extended") >= u64::from(active)
    });
    for rate in ["5000", "20000"] {
        let before = count("granted") + count("extended");
        let (cpu, total) = (cpu(&daemon), 50_000_u32);
        let sent = world.run_ourselves(&["--flood", "0", &active.to_string(), &total.to_string(), rate]);
        std::thread::sleep(Duration::from_millis(4000));
        let served = count("granted") + count("extended") - before;
        let used = self::cpu(&daemon) - cpu;
        println!(
            "  {}  served {served} of {total}; {:.2} s of CPU: {:.0} a second and core",
            String::from_utf8_lossy(&sent.stdout).trim(),
            used,
            served as f64 / used
        );
        for (pid, title) in daemon.parts() {
            println!("    {title}: {:.2} s", seconds(pid));
        }
    }
    memory(&daemon, "after");
    println!("  {:?}", seen());
}

/// From the call of send to the word that the kernel has it, and was read back.
fn latency(world: &World, daemon: &Daemon, client: u32) {
    let mut events = daemon.client().events().unwrap();
    let mut took = Vec::new();
    for n in 0..20 {
        let target: IpAddr = format!("192.0.2.{}", n + 1).parse().unwrap();
        let hex: String = knocker::packet(client, target).iter().map(|b| format!("{b:02x}")).collect();
        let sent = world.run_ourselves(&["--knock", "127.0.0.1:54154", "1", &hex]);
        let sent_at: u128 = String::from_utf8_lossy(&sent.stdout).trim().parse().unwrap();
        loop {
            let Some(Ok(Followed::Event(event))) = events.next() else { panic!("{}", daemon.log()) };
            if event.address == Some(target) {
                let now = portunus_sys::clock::mono().as_nanos();
                took.push(u128::from(now).saturating_sub(sent_at));
                break;
            }
        }
    }
    println!("  first knock {} us", took[0] / 1000);
    took.sort_unstable();
    println!("  knock to granted: median {} us (includes our reading of the event)", took[10] / 1000);
}

fn memory(daemon: &Daemon, when: &str) {
    let mut all = daemon.parts();
    all.push((daemon.keeper(), "keeper".to_owned()));
    let mut sum = 0;
    let mut words = String::new();
    for (pid, title) in all {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let pss: u64 = rollup
            .lines()
            .find_map(|line| line.strip_prefix("Pss:"))
            .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
            .unwrap_or(0);
        sum += pss;
        words.push_str(&format!(" {title} {pss} kB,"));
    }
    println!("  PSS {when}: {sum} kB ({words})");
}

fn cpu(daemon: &Daemon) -> f64 {
    daemon.parts().iter().map(|(pid, _)| seconds(*pid)).sum::<f64>() + seconds(daemon.keeper())
}

/// User and system time (proc(5), stat, fields 14 and 15, in hundredths).
fn seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 =
        after.split_whitespace().skip(11).take(2).filter_map(|text| text.parse::<u64>().ok()).sum();
    ticks as f64 / 100.0
}
