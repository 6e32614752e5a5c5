//! What can happen, in short schedules at each of whose steps somebody dies, and in long ones drawn at random.

use std::net::IpAddr;
use std::time::Duration;

use portunus_model::{Cause, Closing};

use super::front::{CLIENTS, Site, name};
use super::fuse::Victim;
use super::kernel::Fault;
use super::system::System;
use crate::dice::Dice;

/// One thing that happens.
#[derive(Debug, Clone, Copy)]
enum Act {
    Knock(usize, &'static [u16], Option<u32>),
    Pass(u64),
    Close(Option<usize>),
    /// Without this client, without port 80.
    Reload(Option<usize>, bool),
    Flush,
    Fault(Fault),
    FillDisk(usize),
    HealDisk,
    Sleep(u64),
    /// The next install takes so many milliseconds.
    Stall(u64),
    /// The wall clock, forward or back.
    Wall(i64),
    Kill(Victim),
}

use Act::{Close, FillDisk, Flush, HealDisk, Kill, Knock, Pass, Reload, Sleep, Stall, Wall};

const HERE: &str = "192.0.2.1";
const SSH: &[u16] = &[22];
const WEB: &[u16] = &[80];
const BOTH: &[u16] = &[22, 80];

fn carry_out(system: &mut System, act: Act, from: IpAddr) {
    match act {
        Knock(number, ports, timeout) => system.knock(number, ports, timeout, from),
        Pass(millis) => system.pass(Duration::from_millis(millis)),
        Close(client) => {
            system.close(&Closing { client: client.map(name), address: None, cause: Cause::Close });
        }
        Reload(without, narrow) => system.reload(Site { without, narrow }),
        Flush => system.flush(),
        Act::Fault(fault) => system.fault(fault),
        FillDisk(works) => system.fill_disk(works),
        HealDisk => system.heal_disk(),
        Stall(millis) => system.stall(Duration::from_millis(millis)),
        Sleep(secs) => system.sleep(Duration::from_secs(secs)),
        Wall(secs) => system.move_wall(Duration::from_secs(secs.unsigned_abs()), secs < 0),
        Kill(victim) => {
            system.kill(victim);
            system.revive();
        }
    }
}

const HOUR: i64 = 3600;
const DAYS: i64 = 10 * 24 * HOUR;

/// Each of them is run again for each step that it has, for each who may die there, on both kernels.
const SHORT: &[&[Act]] = &[
    &[Knock(0, SSH, None), Pass(3000), Knock(0, SSH, None), Pass(6000), Kill(Victim::Both), Pass(9000)],
    &[
        Knock(0, SSH, None),
        Knock(1, SSH, None),
        Pass(2000),
        Close(Some(0)),
        Pass(500),
        Kill(Victim::Keeper),
        Pass(20_000),
    ],
    &[
        Knock(2, SSH, Some(5)),
        Knock(2, WEB, Some(30)),
        Pass(1000),
        Knock(2, BOTH, Some(9)),
        Kill(Victim::Grantor),
        Pass(7000),
    ],
    &[
        Knock(4, SSH, None),
        Knock(3, SSH, None),
        Kill(Victim::Front),
        Pass(1000),
        Flush,
        Pass(3000),
        Close(None),
        Pass(100),
    ],
    &[
        Knock(0, SSH, None),
        Knock(3, WEB, None),
        Reload(None, true),
        Pass(100),
        Reload(Some(0), false),
        Kill(Victim::Both),
        Pass(500),
    ],
    &[
        Knock(0, SSH, None),
        Sleep(5),
        Knock(1, SSH, None),
        Sleep(60),
        Pass(2000),
        Knock(1, SSH, None),
        Pass(20_000),
    ],
    &[
        Knock(0, SSH, None),
        Wall(HOUR),
        Pass(3000),
        Knock(1, SSH, None),
        Wall(-2 * HOUR),
        Pass(12_000),
        Kill(Victim::Both),
    ],
    &[
        Knock(2, BOTH, Some(30)),
        Wall(-DAYS),
        Pass(4000),
        Kill(Victim::Both),
        Pass(4000),
        Wall(2 * DAYS),
        Pass(40_000),
    ],
    &[
        Knock(0, SSH, None),
        Act::Fault(Fault::Refuses),
        Close(Some(0)),
        Knock(1, SSH, None),
        Pass(1000),
        Act::Fault(Fault::None),
        Pass(6000),
    ],
    &[
        Knock(0, SSH, None),
        Pass(1000),
        Act::Fault(Fault::Mumbles),
        Knock(0, SSH, None),
        Close(Some(0)),
        Act::Fault(Fault::None),
        Pass(8000),
    ],
    &[
        Knock(2, BOTH, None),
        Act::Fault(Fault::Picks),
        Knock(2, BOTH, Some(40)),
        Close(Some(2)),
        Act::Fault(Fault::None),
        Pass(8000),
    ],
    &[
        Knock(0, SSH, None),
        FillDisk(0),
        Knock(1, SSH, None),
        Close(Some(0)),
        Kill(Victim::Both),
        HealDisk,
        Knock(1, SSH, None),
        Pass(3000),
    ],
    &[
        Knock(0, SSH, None),
        Knock(2, BOTH, Some(30)),
        Stall(35_000),
        Flush,
        Pass(500),
        Knock(1, SSH, None),
        Stall(4000),
        Flush,
        Pass(3000),
        Stall(900),
        Kill(Victim::Both),
        Pass(9000),
    ],
    &[
        Flush,
        Knock(0, SSH, None),
        Flush,
        Flush,
        Knock(1, SSH, None),
        Pass(300),
        Flush,
        Pass(6000),
        Kill(Victim::Keeper),
        Flush,
    ],
];

/// Says what failed, and how to have it again.
struct Told(String);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("this schedule failed: {}", self.0);
        }
    }
}

/// Runs one; how many steps it had.
fn run_short(number: usize, by_dates: bool, death: Option<(u64, Victim)>, seed: u64) -> u64 {
    let _told = Told(format!("SHORT[{number}], by dates: {by_dates}, death: {death:?}, seed {seed}"));
    let mut system = System::new(seed, by_dates);
    if let Some((at, victim)) = death {
        system.fuse.set(at, victim);
    }
    system.revive();
    for act in SHORT[number] {
        carry_out(&mut system, *act, HERE.parse().unwrap());
    }
    system.come_to_rest();
    system.fuse.steps()
}

#[test]
fn whoever_dies_at_whatever_step_no_door_is_open_late_or_closed_early() {
    let (mut runs, mut steps) = (0, 0);
    for number in 0..SHORT.len() {
        for by_dates in [false, true] {
            let last = run_short(number, by_dates, None, 0);
            steps += last;
            for at in 1..=last {
                for (seed, victim) in (0..).zip(Victim::ALL) {
                    run_short(number, by_dates, Some((at, victim)), at + seed);
                    runs += 1;
                }
            }
        }
    }
    println!("{} schedules of {steps} steps, {runs} deaths", SHORT.len());
    assert!(steps > 500 && runs == 4 * steps);
}

fn draw(dice: &mut Dice) -> Act {
    match dice.roll(31) {
        0..9 => {
            let ports = *dice.pick(&[SSH, WEB, BOTH]);
            Knock(dice.roll(CLIENTS as u64) as usize, ports, *dice.pick(&[None, None, Some(3), Some(30)]))
        }
        9..15 => Pass(dice.roll(3000)),
        15 => Pass(dice.roll(30_000)),
        16 => Close(dice.one_in(2).then(|| dice.roll(CLIENTS as u64) as usize)),
        17 => Reload(dice.one_in(2).then(|| dice.roll(CLIENTS as u64) as usize), dice.one_in(2)),
        18 | 19 => Flush,
        20 => Act::Fault(*dice.pick(&[Fault::Refuses, Fault::Picks, Fault::Mumbles])),
        21 | 22 => Act::Fault(Fault::None),
        23 => FillDisk(dice.roll(4) as usize),
        24 | 25 => HealDisk,
        26 => Sleep(dice.roll(40)),
        28 => Stall(*dice.pick(&[300, 2000, 40_000])),
        27 => Wall(*dice.pick(&[HOUR, -HOUR, DAYS, -DAYS, 1, -1])),
        _ => Kill(*dice.pick(&Victim::ALL)),
    }
}

fn run_long(seed: u64) -> System {
    let _told = Told(format!("repeat it with PORTUNUS_SIM_SEED={seed}"));
    let mut dice = Dice::new(!seed);
    let mut system = System::new(seed, dice.one_in(2));
    system.revive();
    for _ in 0..20 + dice.roll(100) {
        if dice.one_in(3) {
            system.fuse.set(system.fuse.steps() + 1 + dice.roll(12), *dice.pick(&Victim::ALL));
        }
        let from = *dice.pick(&[HERE, HERE, "2001:db8::1"]);
        let act = draw(&mut dice);
        // Nothing is turned from one family of addresses to the other.
        let from = if matches!(act, Knock(4, ..)) { HERE } else { from };
        carry_out(&mut system, act, from.parse().unwrap());
    }
    system.come_to_rest();
    system
}

#[test]
fn long_schedules_of_everything_at_once() {
    if let Some(seed) = crate::schedule::number("PORTUNUS_SIM_SEED") {
        run_long(seed);
        return;
    }
    let schedules = crate::schedule::number("PORTUNUS_SIM_SCHEDULES").unwrap_or(4000);
    let (mut restarts, mut doors) = (0, 0);
    for seed in 0..schedules {
        let system = run_long(seed);
        restarts += system.restarts;
        doors = doors.max(system.doors);
    }
    println!("{schedules} schedules, {restarts} starts, {doors} doors at once");
    assert!(restarts > 10 * schedules && doors > 8);
}
