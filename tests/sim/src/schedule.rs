//! What can happen, drawn at random; and the tests that let it happen thousands of times.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use portunus_dialect::fwknop::{Message, Nat, Wish};
use portunus_model::{
    Cause, Client, ClientKey, ClientName, Closing, KeyId, NatRule, Net, PortSpec, Proto, Reason, Rules,
    Stanza, Unix,
};

use crate::dice::Dice;
use crate::openings::Openings;
use crate::oracle::Mood;
use crate::packets::{GPG_SETS, Packet, SIGNERS, Workshop, fwknop_keys, gpg_id};
use crate::world::World;

const WINDOW: Duration = Duration::from_secs(60);
const NAMES: u64 = 5;
/// Sets of fwknop's keys, fewer than stanzas.
pub(crate) const SETS: u64 = 3;

fn name(n: u64) -> ClientName {
    ClientName::new(&format!("client {n}")).unwrap()
}

fn stanza_name(n: u64) -> ClientName {
    ClientName::new(&format!("stanza {n}")).unwrap()
}

fn address(dice: &mut Dice) -> IpAddr {
    let all =
        ["192.0.2.1", "192.0.2.11", "192.0.2.2", "2001:db8::1", "2001:db8::11", "fe80::7", "198.51.100.4"];
    // Some more often than others, so that there is something to be extended.
    let place = dice.roll(7).min(dice.roll(7)) as usize;
    all[place].parse().unwrap()
}

/// Of each client its name, and the number of its key: a client may get another key, and an old one may come back.
fn draw_rules(dice: &mut Dice, workshop: &mut Workshop, wall: Unix) -> Rules {
    let mut clients = Vec::new();
    for n in 0..NAMES {
        if dice.one_in(5) {
            continue;
        }
        let key = ClientKey::Openme(workshop.public(n + NAMES * u64::from(dice.one_in(6))));
        let ports = (0..dice.roll(4)).map(|n| PortSpec::single(Proto::Tcp, 20 + n as u16).unwrap()).collect();
        let expires = dice.one_in(4).then(|| wall.after(Duration::from_secs(dice.roll(100))).before(WINDOW));
        let lasting = Duration::from_secs(1 + dice.roll(40));
        let any_target = dice.one_in(2);
        clients.push(Client { expires, any_target, ..Client::new(name(n), key, ports, lasting) });
    }
    if !dice.one_in(4) {
        clients.extend((1..=NAMES).filter_map(|n| draw_stanza(n, dice, wall)));
    }
    if dice.one_in(2) {
        clients.reverse();
    }
    Rules { generation: dice.next(), window: WINDOW, clients, ..Rules::default() }
}

/// A stanza, of few sets of keys: each may be refused for any reason, so that the next one of its set is asked.
fn draw_stanza(n: u64, dice: &mut Dice, wall: Unix) -> Option<Client> {
    if dice.one_in(4) {
        return None;
    }
    let secs = |dice: &mut Dice, most| Duration::from_secs(1 + dice.roll(most));
    let some = |dice: &mut Dice| (20..24).filter(|_| dice.one_in(2)).map(tcp).collect::<Vec<_>>();
    let inner = ("10.0.0.2".parse().unwrap(), 8022);
    let nat = match dice.roll(6) {
        0 => NatRule { force: Some(inner), unasked: true, ..NatRule::default() },
        1..3 => NatRule { forward: true, ..NatRule::default() },
        _ => NatRule::default(),
    };
    let gpg = (dice.roll(5) < 3).then(|| draw_gpg_set(dice));
    let key = gpg.unwrap_or_else(|| fwknop_keys(dice.roll(SETS)).id());
    let stanza = Stanza {
        number: n as u32,
        sources: if gpg.is_none() && dice.one_in(5) {
            vec![Net::parse("192.0.2.0/28").unwrap()]
        } else {
            Vec::new()
        },
        open_ports: dice.one_in(2).then(|| some(dice)),
        restrict_ports: if dice.one_in(3) { some(dice) } else { Vec::new() },
        username: dice.one_in(5).then(|| "alice".to_owned()),
        require_source: dice.one_in(5),
        longest: secs(dice, 30),
        window: (!dice.one_in(30)).then(|| *dice.pick(&[WINDOW, WINDOW * 2])),
        nat,
        ..Stanza::default()
    };
    let expires = dice.one_in(5).then(|| wall.after(Duration::from_secs(dice.roll(100))).before(WINDOW));
    let lasting = secs(dice, 40);
    let any_target = dice.one_in(2);
    let client = Client::new(stanza_name(n), ClientKey::Fwknop(key), Box::default(), lasting);
    Some(Client { expires, any_target, stanza: Some(Box::new(stanza)), ..client })
}

/// The sets that take the same signatures more often than the others.
fn draw_gpg_set(dice: &mut Dice) -> KeyId {
    let all = GPG_SETS.len() as u64;
    gpg_id(dice.roll(all).min(dice.roll(all)) as usize)
}

fn tcp(port: u16) -> PortSpec {
    PortSpec::single(Proto::Tcp, port).unwrap()
}

/// What a client of fwknop's asks for.
fn draw_wish(target: Option<IpAddr>, dice: &mut Dice) -> Wish {
    let port = |dice: &mut Dice| 20 + dice.roll(4).min(dice.roll(4)) as u16;
    let ports = (0..1 + dice.roll(4) / 3).map(|_| (Proto::Tcp, port(dice))).collect();
    let nat = Nat { host: "10.0.0.3".to_owned(), port: 22, local: false };
    let v6 = target.is_some_and(|target| target.is_ipv6());
    Wish {
        timeout: dice.one_in(2).then(|| *dice.pick(&[0, 1, 7, 40, 3600])),
        nat: (!v6 && dice.one_in(5)).then_some(nat),
        ..Wish::new(if dice.one_in(3) { "bob" } else { "alice" }, Message::Access { address: target, ports })
    }
}

/// Who asks for what: to be asked again now and then, or nothing would ever be extended.
#[derive(Debug, Clone)]
pub(crate) enum Asking {
    Openme(u64, Option<IpAddr>),
    Fwknop(u64, Wish),
    /// Of whom, and for which keyring.
    Gpg((usize, u8), Wish),
}

fn draw_asking(dice: &mut Dice) -> Asking {
    let target = dice.one_in(4).then(|| match dice.roll(6) {
        0 => "127.0.0.1".parse().unwrap(),
        1 => "ff02::1".parse().unwrap(),
        _ => address(dice),
    });
    if !dice.one_in(3) {
        if dice.one_in(2) {
            // The last signer is nobody that any stanza knows; the first is one whom several stanzas take.
            let signer = *dice.pick(&[0, 0, 0, 0, 1, 1, SIGNERS.len() - 1]);
            let ring = dice.roll(3).min(dice.roll(3)) as u8;
            return Asking::Gpg((signer, ring), draw_wish(target, dice));
        }
        // The last set of keys is nobody's.
        return Asking::Fwknop(dice.roll(4 * SETS + 1) / 4, draw_wish(target, dice));
    }
    Asking::Openme(dice.roll(NAMES) + NAMES * u64::from(dice.one_in(10)), target)
}

fn draw_packet(world: &mut World) -> Packet {
    let World { dice, workshop, now, recorded, asking, .. } = world;
    let packet = match dice.roll(12) {
        0 => workshop.noise(dice),
        1 => workshop.stranger(now.wall, dice),
        2 if !recorded.is_empty() => dice.pick(recorded).clone(),
        _ => {
            // Mostly right, sometimes at the edge of a window or beyond it, either way.
            let stamp = match dice.roll(9) {
                0 => now.wall.after(Duration::from_secs(50 + dice.roll(15))),
                1 => now.wall.before(Duration::from_secs(50 + dice.roll(15))),
                2 => now.wall.before(Duration::from_secs(110 + dice.roll(15))),
                _ => now.wall,
            };
            let again = asking.take().filter(|_| !dice.one_in(3));
            match asking.insert(again.unwrap_or_else(|| draw_asking(dice))) {
                Asking::Openme(key, target) => workshop.knock(*key, stamp, *target, dice),
                Asking::Fwknop(set, wish) => workshop.text(*set, stamp, wish.clone(), dice),
                Asking::Gpg(whose, wish) => {
                    let others = u8::from(dice.one_in(4));
                    let mut all = workshop.signed(*whose, stamp, wish, others, dice);
                    let first = all.remove(0);
                    recorded.extend(all);
                    first
                }
            }
        }
    };
    spoil_some(packet, &mut world.dice)
}

fn spoil_some(packet: Packet, dice: &mut Dice) -> Packet {
    if dice.one_in(8) { packet.spoil(dice) } else { packet }
}

fn step(world: &mut World) {
    match world.dice.roll(40) {
        0..16 => {
            let packet = draw_packet(world);
            for _ in 0..*world.dice.pick(&[1, 1, 1, 1, 2, 3]) {
                let source = address(&mut world.dice);
                let delay = Duration::from_millis(world.dice.roll(3) * world.dice.roll(3000));
                world.send(packet.clone(), source, delay);
            }
        }
        16..26 => {
            let units = world.dice.roll(12) as u32;
            world.work(units);
        }
        26..29 => {
            let short = world.dice.roll(300);
            world.pass(Duration::from_millis(short));
        }
        29 => {
            let long = world.dice.roll(200);
            world.pass(Duration::from_secs(long));
        }
        30 if world.dice.one_in(3) => world.pass(Duration::from_secs(7300)),
        31 => {
            let by = Duration::from_secs(world.dice.roll(3) * world.dice.roll(5000));
            let wall = world.now.wall;
            world.now.wall = if world.dice.one_in(2) { wall.after(by) } else { wall.before(by) };
        }
        32 => world.break_the_disk(),
        33 => world.heal(),
        34 => world.kernel.failing = *world.dice.pick(&[0, 0, 3, 10]),
        35 if world.dice.one_in(3) => {
            let mood = *world.dice.pick(&[Mood::Well, Mood::Well, Mood::Slow, Mood::Full, Mood::Dead]);
            world.set_mood(mood);
        }
        35 => world.kernel.slowness = Duration::from_millis(*world.dice.pick(&[0, 1, 900, 4000])),
        36 => {
            let World { dice, workshop, now, .. } = world;
            let rules = draw_rules(dice, workshop, now.wall);
            world.reload(rules);
        }
        37 => {
            let name = *world.dice.pick(&[name, stanza_name]);
            let client = world.dice.one_in(2).then(|| name(world.dice.roll(NAMES)));
            let address = world.dice.one_in(3).then(|| address(&mut world.dice));
            world.close(&Closing { client, address, cause: Cause::Close });
        }
        38 => world.ask_the_store(),
        39 if world.dice.one_in(3) => {
            let power_cut = world.dice.one_in(2);
            world.kill(power_cut);
        }
        _ => {
            let moment = world.dice.roll(20);
            world.pass(Duration::from_millis(moment));
        }
    }
}

/// Says which seed it was when a schedule fails.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("this schedule failed; repeat it with PORTUNUS_SIM_SEED={}", self.0);
        }
    }
}

fn run(seed: u64) -> World {
    let _seed = Seed(seed);
    let mut dice = Dice::new(!seed);
    let rules = draw_rules(&mut dice, &mut Workshop::new(), Unix::from_secs(1_800_000_000));
    let mut world = World::new(seed, rules);
    for _ in 0..20 + dice.roll(120) {
        step(&mut world);
    }
    world.come_to_rest();
    world
}

pub(crate) fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {text:?}")))
}

/// Runs its share of the schedules; each reason that can come up must have come up, or nothing was tested.
fn share(first: u64) {
    if let Some(seed) = number("PORTUNUS_SIM_SEED") {
        run(seed);
        return;
    }
    let schedules = number("PORTUNUS_SIM_SCHEDULES").unwrap_or(3000) / 4;
    let mut reasons: BTreeMap<Reason, u64> = BTreeMap::new();
    let mut openings = Openings::default();
    let mut questions = 0;
    for seed in (0..schedules).map(|n| first + 4 * n) {
        let world = run(seed);
        openings.add(&world.reference.openings);
        questions += world.oracle.questions;
        for (reason, count) in world.reference.reasons {
            *reasons.entry(reason).or_default() += count;
        }
    }
    println!("{schedules} schedules, {openings:?}, {questions} questions to gpg, {reasons:?}");
    if schedules >= 500 {
        assert!(openings.fewest() >= 20, "some sort of opening hardly came up: {openings:?}");
        let drawn = Reason::ALL.iter().filter(|reason| {
            !matches!(reason, Reason::RateLimited | Reason::SecondFactor | Reason::Enrolled)
        });
        for reason in drawn {
            assert!(
                reasons.get(reason).is_some_and(|&count| count >= 20),
                "{reason:?} hardly came up: {reasons:?}"
            );
        }
    }
}

#[test]
fn schedules_first_quarter() {
    share(0);
}

#[test]
fn schedules_second_quarter() {
    share(1);
}

#[test]
fn schedules_third_quarter() {
    share(2);
}

#[test]
fn schedules_fourth_quarter() {
    share(3);
}
