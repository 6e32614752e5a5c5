//! The native dialect in the gate: what a knock costs with one client and with a million, what a stranger's costs, and how
//! much memory a client takes. The store answers at once here; what claims cost is measured beside it.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use portunus_crypto::x25519::PrivateKey;
use portunus_crypto::{Secret, SystemEntropy};
use portunus_dialect::native::{Chain, ClientKeys, Day, Door, LONGEST, Packet, Payload, SHORTEST, seal};
use portunus_gate::{Action, Gate, Keyring, Tuning};
use portunus_model::{
    ChainOwner, Claimed, Client, ClientKey, ClientName, Datagram, DoorRole, Mono, Now, Opened, PortSpec,
    Rules, Unix, Via,
};

use crate::{cost, row};

const MANY: u32 = 1_000_000;
/// Clients that knock, and how often each.
const KNOCKING: u32 = 4000;
const ROUNDS: u64 = 5;

pub(crate) fn all() {
    let (one, _) = knocks(1);
    let (many, cold) = knocks(MANY);
    let each = |spent: f64| format!("{spent:.1} us");
    row("native: a knock of a client heard before, 1 client", &each(one), "");
    row(
        "native: the same, 1,000,000 clients",
        &format!("{}, {:.2} times that; {:.0} a second", each(many), many / one, 1e6 / many),
        "< 1.3 times; 15,000 a second",
    );
    row("native: a client's first knock, 1,000,000 clients", &each(cold), "");
    for length in [SHORTEST, LONGEST] {
        row(
            &format!("native: a wrong tag, {length} bytes"),
            &format!("{:.0} ns", wrong_tag(length)),
            "< 250 ns",
        );
    }
}

fn secret(n: u32, of: u8) -> Secret<32> {
    let mut bytes = [of; 32];
    bytes.iter_mut().zip(n.to_le_bytes()).for_each(|(byte, part)| *byte = part);
    Secret::from_bytes(bytes)
}

fn now() -> Now {
    Now { mono: Mono::from_nanos(1), wall: Unix::from_secs(1_800_000_000) }
}

fn today() -> Day {
    Day::of(now().wall).expect("a day")
}

fn key(n: u32) -> PrivateKey {
    // The lowest bits of a key say nothing.
    PrivateKey::new(&secret(n * 8, 1)).expect("a key")
}

/// Those that knock are spread among all.
fn place(n: u32, clients: u32) -> u32 {
    n * (clients / KNOCKING.min(clients)) % clients
}

fn rules(clients: u32) -> Rules {
    // Who never knocks needs no key that anybody has.
    let mut publics: Vec<[u8; 32]> = (0..clients).map(|n| *secret(n, 2).expose()).collect();
    for n in 0..KNOCKING.min(clients) {
        if let Some(public) = publics.get_mut(place(n, clients) as usize) {
            *public = *key(n).public();
        }
    }
    let ports: Box<[PortSpec]> = PortSpec::parse("22/tcp").expect("a port").into();
    let client = |(n, public): (u32, [u8; 32])| {
        let name = ClientName::new(&format!("client-{n}")).expect("a name");
        Client::new(name, ClientKey::Native(public), ports.clone(), Duration::from_secs(30))
    };
    let clients = (0..).zip(publics).map(client).collect();
    Rules { generation: 1, window: Duration::from_secs(60), clients, ..Rules::default() }
}

/// Microseconds of CPU for a client's later knock, and for its first.
fn knocks(clients: u32) -> (f64, f64) {
    let door = Door::new(&secret(7, 7)).expect("a door");
    let public = *door.public();
    let before = resident();
    let rules = rules(clients);
    let keys: Vec<ClientKey> = rules.clients.iter().map(|client| client.key).collect();
    let tuning = Tuning { knocks_at_once: u32::MAX, knocks_a_minute: u32::MAX, ..Tuning::default() };
    let mut gate =
        Gate::new(rules, Keyring { native: vec![(DoorRole::Current, door)], ..Keyring::default() }, tuning);
    gate.handle_chain(ChainOwner::Door(public), 0, today(), secret(0, 3));
    for (slot, key) in (1..).zip(&keys) {
        gate.handle_chain(ChainOwner::Link(*key.as_bytes()), slot, today(), secret(slot, 4));
    }
    drop(keys);
    if clients == MANY {
        let taken = resident().saturating_sub(before) * 1024 / u64::from(clients);
        row("native: memory of a client, its rules included", &format!("{taken} bytes"), "< 400 bytes");
    }
    let chain = Chain::new(today(), secret(0, 3));
    let packets: Vec<Vec<Datagram>> = (0..=ROUNDS).map(|_| round(clients, &public, &chain)).collect();
    let mut spent = packets.into_iter().map(|round| {
        let count = u32::try_from(round.len()).unwrap_or(1);
        let began = cost::own();
        round.into_iter().for_each(|packet| knock(&mut gate, packet));
        (cost::own() - began).as_secs_f64() * 1e6 / f64::from(count)
    });
    let cold = spent.next().unwrap_or_default();
    (spent.fold(f64::MAX, f64::min), cold)
}

/// A knock of each that knocks; of a single one many.
fn round(clients: u32, server: &[u8; 32], door: &Chain) -> Vec<Datagram> {
    let knocking = KNOCKING.min(clients);
    let one = |n: u32| {
        let client = n % knocking;
        let link = Chain::new(today(), secret(place(client, clients) + 1, 4));
        let keys = ClientKeys { server: *server, client: &key(client), door, link: &link };
        let bytes = seal(&keys, &Payload::knock(now().wall), &mut SystemEntropy).expect("a knock").0;
        let source = SocketAddr::from((std::net::Ipv4Addr::from(0x0a00_0001 + client), 4000));
        Datagram::new(bytes, source, Via::Udp)
    };
    (0..KNOCKING).map(one).collect()
}

fn knock(gate: &mut Gate, datagram: Datagram) {
    gate.handle_datagram(now(), datagram);
    while gate.work(now(), 100) {}
    let mut granted = false;
    while let Some(action) = gate.poll_action() {
        match action {
            Action::Claim(ticket, _) => gate.handle_claimed(now(), ticket, Claimed::Fresh),
            Action::Open(ticket, _) => {
                granted = true;
                gate.handle_opened(now(), ticket, Opened::Open);
            }
            Action::Tell(event) => assert!(granted, "{event:?}"),
            Action::Accept(_)
            | Action::Run(..)
            | Action::Resolve(..)
            | Action::Gpg(_)
            | Action::Chains(_)
            | Action::Settle(_)
            | Action::Enrol(..)
            | Action::Answer(_)
            | Action::Close(_) => {}
        }
    }
    assert!(granted, "every knock opens");
}

/// Nanoseconds for one key tried.
fn wrong_tag(length: usize) -> f64 {
    const COUNT: u32 = 2_000_000;
    let door = Door::new(&secret(7, 7)).expect("a door");
    let day = door.day(&Chain::new(today(), secret(0, 3)), today()).expect("a day");
    let bytes = vec![0x5a; length];
    let began = cost::own();
    let mut admitted = 0;
    for _ in 0..COUNT {
        let packet = Packet::new_checked(std::hint::black_box(&bytes)).expect("of a knock's length");
        admitted += u32::from(day.admits(&packet));
    }
    assert_eq!(admitted, 0, "no tag fits");
    (cost::own() - began).as_secs_f64() * 1e9 / f64::from(COUNT)
}

/// Kilobytes.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_ascii_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0)
}
