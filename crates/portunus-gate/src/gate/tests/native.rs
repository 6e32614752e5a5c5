//! The native dialect in the gate: what is opened at which cost, what is kept and erased, who is answered.

use portunus_crypto::totp::Codes;
use portunus_crypto::x25519::PrivateKey;
use portunus_dialect::native::{
    self, Chain, ClientKeys as NativeKeys, Code, Day, Door as NativeDoor, Kind, Payload, Pending, Status,
};
use portunus_model::{ChainOwner, Dialect, DoorRole, Service};

use super::*;
use crate::ChainChange;

mod codes;
mod doors;
mod enrol;
mod keys;

const DAY_MILLIS: u64 = 86_400_000;
/// Millis after `at(0)` of the next midnight: WALL is 08:00 UTC.
const MIDNIGHT: u64 = 16 * 3_600_000;

fn door(n: u8) -> NativeDoor {
    NativeDoor::new(&Secret::from_bytes([n; 32])).unwrap()
}

fn today() -> Day {
    Day::of(at(0).wall).unwrap()
}

fn key(n: u32) -> PrivateKey {
    PrivateKey::new(&secret(n + 500)).unwrap()
}

fn value(of: u32) -> Secret<32> {
    secret(of + 9000)
}

const DOOR_VALUE: u32 = 70_000;

fn native_client(n: u32) -> Client {
    Client { key: ClientKey::Native(*key(n).public()), any_target: false, ..client(n) }
}

fn put(gate: &mut Gate, owner: ChainOwner, slot: u32, value: Secret<32>) {
    gate.handle_chain(owner, slot, today(), value);
}

fn gate_with(clients: Vec<Client>) -> Gate {
    let count = u32::try_from(clients.len()).unwrap();
    let keyring = Keyring { native: vec![(DoorRole::Current, door(1))], ..keyring() };
    let mut gate = Gate::new(rules(clients), keyring, Tuning::default());
    put(&mut gate, ChainOwner::Door(*door(1).public()), 0, value(DOOR_VALUE));
    (0..count).for_each(|n| put(&mut gate, ChainOwner::Link(*key(n).public()), n + 1, value(n)));
    gate
}

fn native_gate(clients: u32) -> Gate {
    gate_with((0..clients).map(native_client).collect())
}

/// Client `n`'s knock with `payload`, and what its answer is opened with.
fn sealed(n: u32, payload: &Payload, nonce: u64) -> (Vec<u8>, Pending) {
    sealed_with(n, &Chain::new(today(), value(n)), payload, nonce)
}

fn sealed_with(n: u32, link: &Chain, payload: &Payload, nonce: u64) -> (Vec<u8>, Pending) {
    let chain = Chain::new(today(), value(DOOR_VALUE));
    let keys = NativeKeys { server: *door(1).public(), client: &key(n), door: &chain, link };
    native::seal(&keys, payload, &mut Dice(nonce << 32 | u64::from(n))).unwrap()
}

fn from(bytes: Vec<u8>, host: u8) -> Datagram {
    Datagram::new(bytes, ([192, 0, 2, host], 4000).into(), Via::Udp)
}

/// Sent from 192.0.2.`host` and worked on.
fn hear(gate: &mut Gate, now: Now, bytes: Vec<u8>, host: u8) {
    gate.handle_datagram(now, from(bytes, host));
    gate.work(now, 100);
}

/// Up to the grantor's answer; the event.
fn granted(gate: &mut Gate, now: Now) -> Opening {
    let (ticket, _) = claim(gate);
    gate.handle_claimed(now, ticket, Claimed::Fresh);
    let (ticket, opening) = open(gate);
    gate.handle_opened(now, ticket, Opened::Open);
    opening
}

fn answer(gate: &mut Gate, client: u32, pending: &Pending) -> native::Answer {
    let Some(Action::Answer(answering)) = next(gate) else { panic!("an answer") };
    let bytes = answering.reply.seal(&answering.answer, &mut Dice(77)).unwrap();
    assert_eq!(answering.to, ([192, 0, 2, 7], 4000).into());
    pending.open(&key(client), &bytes).unwrap()
}

#[test]
fn a_knock_opens_all_that_its_client_may_have() {
    let mut gate = native_gate(3);
    hear(&mut gate, at(0), sealed(1, &Payload::knock(at(0).wall), 1).0, 7);
    let opening = granted(&mut gate, at(1));
    assert_eq!((opening.client.as_str(), opening.lasting.as_secs()), ("client-1", 30));
    assert_eq!(opening.address, IpAddr::from([192, 0, 2, 7]));
    let told = event(&mut gate);
    assert_eq!((told.reason, told.dialect), (Reason::Granted, Some(Dialect::Native)));
    // The next one from there waits behind nobody.
    gate.handle_datagram(at(2), from(sealed(1, &Payload::knock(at(2).wall), 2).0, 7));
    let (_, claimed) = claim(&mut gate);
    assert_eq!(claimed.keep_until, at(2).wall.after(Duration::from_secs(600)));
}

#[test]
fn a_packet_without_a_doors_key_is_noise_and_costs_no_diffie_hellman() {
    let mut gate = native_gate(1);
    let good = sealed(0, &Payload::knock(at(0).wall), 1).0;
    for place in [0, 7, 8, 39, 40, 87, 88, good.len() - 1] {
        let mut bytes = good.clone();
        bytes[place] ^= 1;
        hear(&mut gate, at(0), bytes, 7);
        assert_eq!(reason(&mut gate), Reason::Noise, "{place}");
    }
    assert_eq!(gate.effort(), Effort::default());
    // Nor does one of another day's key.
    let early = at(0).wall.before(Duration::from_secs(86_400));
    let chain = Chain::new(Day::of(early).unwrap(), value(DOOR_VALUE + 1));
    let keys = NativeKeys { server: *door(1).public(), client: &key(0), door: &chain, link: &chain };
    let bytes = native::seal(&keys, &Payload::knock(early), &mut Dice(3)).unwrap().0;
    hear(&mut gate, at(0), bytes, 7);
    assert_eq!((reason(&mut gate), gate.effort().unsealed), (Reason::Noise, 0));
}

#[test]
fn a_million_copies_of_one_packet_cost_one_diffie_hellman() {
    let mut gate = native_gate(2);
    let stranger = sealed(9, &Payload::knock(at(0).wall), 1).0;
    hear(&mut gate, at(0), stranger.clone(), 7);
    assert_eq!(reason(&mut gate), Reason::UnknownClient);
    assert_eq!(gate.effort().unsealed, 1);
    for n in 0..1_000_000_u32 {
        gate.handle_datagram(at(0), from(stranger.clone(), n as u8));
        let told = event(&mut gate);
        assert_eq!((told.reason, told.client), (Reason::Replayed, None));
    }
    // Those of a client's cost no more, also when they come from where it is known, and its next knock is heard.
    let good = sealed(1, &Payload::knock(at(1).wall), 2).0;
    hear(&mut gate, at(1), good.clone(), 7);
    let _ = granted(&mut gate, at(1));
    assert_eq!(reason(&mut gate), Reason::Granted);
    let before = gate.effort().unsealed;
    for _ in 0..1000 {
        gate.handle_datagram(at(2), from(good.clone(), 7));
        assert_eq!(event(&mut gate).client, None);
    }
    assert_eq!((gate.effort().unsealed, gate.waiting()), (before, 0));
    gate.handle_datagram(at(3), from(sealed(1, &Payload::knock(at(3).wall), 3).0, 7));
    let _ = granted(&mut gate, at(3));
}

#[test]
fn the_second_knock_of_a_client_costs_one_diffie_hellman_however_many_clients_there_are() {
    let mut gate = native_gate(300);
    for (nonce, wanted) in [(1, 2), (2, 1), (3, 1)] {
        let before = gate.effort();
        hear(&mut gate, at(nonce), sealed(250, &Payload::knock(at(nonce).wall), nonce).0, 7);
        let _ = granted(&mut gate, at(nonce));
        let _ = event(&mut gate);
        assert_eq!(gate.effort().unsealed - before.unsealed, wanted);
        assert_eq!(gate.effort().tried - before.tried, 1, "one link");
    }
}

#[test]
fn nothing_is_a_clients_before_its_link_has_opened_it() {
    let mut gate = native_gate(2);
    // Somebody inside, who knows the door's key and her public key, but not her link.
    let wrong = Chain::new(today(), value(0));
    hear(&mut gate, at(0), sealed_with(1, &wrong, &Payload::knock(at(0).wall), 1).0, 7);
    let told = event(&mut gate);
    assert_eq!((told.reason, told.client), (Reason::Unauthentic, None));
    assert_eq!(gate.poll_action(), None);
}

#[test]
fn a_clients_chain_that_nobody_has_proves_nothing() {
    let mut gate = native_gate(2);
    gate.forget_chain(ChainOwner::Link(*key(1).public()));
    hear(&mut gate, at(0), sealed(1, &Payload::knock(at(0).wall), 1).0, 7);
    assert_eq!(reason(&mut gate), Reason::Unauthentic);
    hear(&mut gate, at(0), sealed(0, &Payload::knock(at(0).wall), 1).0, 7);
    let _ = claim(&mut gate);
}

#[test]
fn a_clock_that_is_off_is_told_up_to_ten_minutes_and_then_nobody_hears() {
    let mut alice = native_client(0);
    alice.native.answers = true;
    let mut gate = gate_with(vec![alice]);
    let mut knock = |secs: u64, nonce: u64| {
        let mut payload = Payload::knock(at(0).wall.before(Duration::from_secs(secs)));
        payload.wants_answer = true;
        let (bytes, pending) = sealed(0, &payload, nonce);
        hear(&mut gate, at(nonce * 1000), bytes, 7);
        pending
    };
    let pending = knock(93, 0);
    let (ticket, _) = claim(&mut gate);
    gate.handle_claimed(at(0), ticket, Claimed::Fresh);
    let said = answer(&mut gate, 0, &pending);
    assert_eq!((said.status, said.time, said.seen), (Status::Stale, at(0).wall, "192.0.2.7".parse().ok()));
    let told = event(&mut gate);
    assert_eq!((told.reason, told.detail), (Reason::Stale, Some(Detail::ClockOffset(-93_000))));
    let mut payload = Payload::knock(at(0).wall.before(Duration::from_secs(601)));
    payload.wants_answer = true;
    hear(&mut gate, at(0), sealed(0, &payload, 5).0, 7);
    assert_eq!(reason(&mut gate), Reason::Stale);
    assert_eq!(gate.poll_action(), None, "no answer, no claim");
}

#[test]
fn answers_are_for_whom_may_have_them_after_the_claim_and_one_a_second() {
    let mut alice = native_client(0);
    alice.native.answers = true;
    let mut gate = gate_with(vec![alice, native_client(1)]);
    let asking = |now: Now, wants_answer| Payload { wants_answer, ..Payload::knock(now.wall) };
    let (bytes, pending) = sealed(0, &asking(at(0), true), 1);
    hear(&mut gate, at(0), bytes.clone(), 7);
    assert!(matches!(gate.actions.front(), Some(Action::Claim(..))), "nothing before the claim");
    let _ = granted(&mut gate, at(0));
    let said = answer(&mut gate, 0, &pending);
    assert_eq!((said.status, said.seconds), (Status::Granted, 30));
    assert_eq!(reason(&mut gate), Reason::Granted);
    // A copy, a second one in the same second, one that wants none, and a client that may have none: silence.
    let silent = |gate: &mut Gate| {
        while let Some(action) = gate.poll_action() {
            match action {
                Action::Answer(_) => panic!("an answer"),
                Action::Claim(ticket, _) => gate.handle_claimed(at(500), ticket, Claimed::Fresh),
                Action::Open(ticket, _) => gate.handle_opened(at(500), ticket, Opened::Open),
                Action::Tell(_) | Action::Accept(_) | Action::Run(..) | Action::Resolve(..) => (),
                Action::Gpg(_)
                | Action::Close(_)
                | Action::Settle(_)
                | Action::Enrol(..)
                | Action::Chains(_) => {
                    panic!("{action:?}")
                }
            }
        }
    };
    for (n, now, wants) in [(0, at(400), true), (0, at(1400), false), (1, at(1400), true)] {
        hear(&mut gate, now, sealed(n, &asking(now, wants), 2 + now.mono.as_nanos()).0, 7);
        silent(&mut gate);
    }
    hear(&mut gate, at(1500), bytes, 7);
    silent(&mut gate);
    // What the store has seen before is no more answered than what the memory has.
    hear(&mut gate, at(2000), sealed(0, &asking(at(2000), true), 9).0, 7);
    let (ticket, _) = claim(&mut gate);
    gate.handle_claimed(at(2000), ticket, Claimed::Replayed);
    assert_eq!(reason(&mut gate), Reason::Replayed);
    assert_eq!(gate.poll_action(), None);
    let (bytes, pending) = sealed(0, &asking(at(3000), true), 10);
    hear(&mut gate, at(3000), bytes, 7);
    let _ = granted(&mut gate, at(3000));
    assert_eq!(answer(&mut gate, 0, &pending).status, Status::Granted);
}

#[test]
fn a_knock_may_ask_for_less_and_never_for_more() {
    let mut alice = native_client(0);
    alice.ports = PortSpec::parse("22/tcp")
        .unwrap()
        .into_iter()
        .chain(PortSpec::parse("80/tcp").unwrap())
        .chain(PortSpec::parse("54154/tcp").unwrap())
        .collect();
    let service =
        |name: &str, port: &str| Service { name: name.into(), ports: PortSpec::parse(port).unwrap().into() };
    let mut rules = rules(vec![alice]);
    rules.services = vec![service("ssh", "22/tcp"), service("web", "80/tcp"), service("db", "5432/tcp")];
    rules.always = PortSpec::parse("54154/tcp").unwrap().into();
    let mut gate = native_gate(1);
    gate.handle_rules(at(0), rules, Keyring { native: vec![(DoorRole::Current, door(1))], ..keyring() });
    let mut asks = |services: &[&str], seconds, nonce| {
        let services = services.iter().map(|&name| name.into()).collect();
        let payload = Payload { services, seconds, ..Payload::knock(at(nonce).wall) };
        hear(&mut gate, at(nonce), sealed(0, &payload, nonce).0, 7);
        let (ticket, _) = claim(&mut gate);
        gate.handle_claimed(at(nonce), ticket, Claimed::Fresh);
        match next(&mut gate) {
            Some(Action::Open(_, warrant)) => {
                let ports: Vec<String> = warrant.ports.iter().map(ToString::to_string).collect();
                Ok((ports.join(" "), warrant.lasting.as_secs()))
            }
            Some(Action::Tell(event)) => Err(event.reason),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(asks(&[], 0, 1), Ok(("22/tcp 80/tcp 54154/tcp".into(), 30)));
    assert_eq!(asks(&["ssh"], 5, 2), Ok(("22/tcp 54154/tcp".into(), 5)));
    assert_eq!(asks(&["web", "ssh"], 3600, 3), Ok(("22/tcp 80/tcp 54154/tcp".into(), 30)));
    assert_eq!(asks(&["ssh", "db"], 0, 4), Err(Reason::NotAllowed));
    assert_eq!(asks(&["nothing"], 0, 5), Err(Reason::NotAllowed));
}

#[test]
fn what_a_client_must_do_it_must() {
    let (mut bound, mut factor) = (native_client(0), native_client(1));
    bound.native.must_bind = true;
    factor.native.second_factor = true;
    let mut gate = gate_with(vec![bound, factor]);
    let mut says = |n: u32, payload: Payload| {
        hear(&mut gate, at(0), sealed(n, &payload, 1 + u64::from(payload.seconds)).0, 7);
        let (ticket, _) = claim(&mut gate);
        gate.handle_claimed(at(0), ticket, Claimed::Fresh);
        match next(&mut gate) {
            Some(Action::Open(..)) => None,
            Some(Action::Tell(event)) => Some(event.reason),
            other => panic!("{other:?}"),
        }
    };
    let plain = |seconds| Payload { seconds, ..Payload::knock(at(0).wall) };
    let target = |address: [u8; 4], seconds| Payload { target: Some(address.into()), ..plain(seconds) };
    assert_eq!(says(0, plain(1)), Some(Reason::NotAllowed));
    assert_eq!(says(0, target([192, 0, 2, 7], 2)), None);
    assert_eq!(says(0, target([192, 0, 2, 8], 3)), Some(Reason::NotAllowed), "a relayed copy opens nothing");
    assert_eq!(says(1, plain(4)), Some(Reason::SecondFactor));
}

#[test]
fn a_reload_keeps_what_is_known_and_takes_away_who_is_gone() {
    let mut gate = native_gate(3);
    let keys =
        || Keyring { native: vec![(DoorRole::Another, door(2)), (DoorRole::Current, door(1))], ..keyring() };
    gate.handle_rules(at(0), rules(vec![native_client(2), native_client(0)]), keys());
    for (n, wanted) in [(0, true), (1, false), (2, true)] {
        hear(&mut gate, at(1), sealed(n, &Payload::knock(at(1).wall), 1).0, 7);
        if wanted {
            assert_eq!(granted(&mut gate, at(1)).client, native_client(n).name);
            let _ = event(&mut gate);
        } else {
            assert_eq!(reason(&mut gate), Reason::UnknownClient);
        }
    }
    // Without the door nothing of it is a packet at all.
    gate.handle_rules(at(2), rules(vec![native_client(2)]), keyring());
    while gate.poll_action().is_some() {}
    hear(&mut gate, at(3), sealed(2, &Payload::knock(at(3).wall), 2).0, 7);
    assert_eq!(reason(&mut gate), Reason::Noise);
}

/// Who was told one door's key sends what it can: at the other door, and by the other dialects, everybody is heard.
#[test]
fn a_flood_at_one_door_crowds_nobody_elsewhere() {
    let keyring =
        || Keyring { native: vec![(DoorRole::Current, door(1)), (DoorRole::Another, door(2))], ..keyring() };
    let mut gate = Gate::new(rules(vec![native_client(0), client(1)]), keyring(), Tuning::default());
    for n in [1, 2] {
        put(&mut gate, ChainOwner::Door(*door(n).public()), n.into(), value(DOOR_VALUE + u32::from(n) - 1));
    }
    put(&mut gate, ChainOwner::Link(*key(0).public()), 3, value(0));
    let chain = Chain::new(today(), value(DOOR_VALUE + 1));
    for n in 0..3000 {
        let keys = NativeKeys { server: *door(2).public(), client: &key(9), door: &chain, link: &chain };
        let bytes = native::seal(&keys, &Payload::knock(at(0).wall), &mut Dice(n << 32)).unwrap().0;
        gate.handle_datagram(at(0), from(bytes, 66));
    }
    while gate.poll_action().is_some() {}
    gate.handle_datagram(at(1), from(sealed(0, &Payload::knock(at(1).wall), 1).0, 7));
    gate.handle_datagram(at(1), packet(1, at(1), 8, 1));
    gate.work(at(1), 16);
    let claims =
        std::iter::from_fn(|| gate.poll_action()).filter(|action| matches!(action, Action::Claim(..)));
    assert_eq!(claims.count(), 2);
}

#[test]
fn a_knock_for_one_source_port_opens_for_no_other_and_beside_the_others() {
    let mut gate = native_gate(2);
    let ask = |gate: &mut Gate, source_port: u16, nonce: u64| {
        let payload = Payload { source_port, ..Payload::knock(at(nonce).wall) };
        hear(gate, at(nonce), sealed(0, &payload, nonce).0, 7);
        let opening = granted(gate, at(nonce));
        assert_eq!(&*opening.ports, PortSpec::parse("22/tcp").unwrap());
        (opening.way, reason(gate))
    };
    use portunus_model::Way;
    assert_eq!(ask(&mut gate, 40_001, 1), (Way::From(40_001), Reason::Granted));
    assert_eq!(ask(&mut gate, 40_002, 2), (Way::From(40_002), Reason::Granted));
    assert_eq!(ask(&mut gate, 0, 3), (Way::Here, Reason::Granted));
    assert_eq!(ask(&mut gate, 40_001, 4), (Way::From(40_001), Reason::Extended));
    assert_eq!(gate.sessions(at(5)).count(), 3);
    // A range has no place for a source port, and is never opened wider.
    let mut ranged = native_client(0);
    ranged.ports = PortSpec::parse("8000-8010/tcp").unwrap().into();
    gate.handle_rules(
        at(6),
        rules(vec![ranged]),
        Keyring { native: vec![(DoorRole::Current, door(1))], ..keyring() },
    );
    while gate.poll_action().is_some() {}
    hear(&mut gate, at(7), sealed(0, &Payload { source_port: 9, ..Payload::knock(at(7).wall) }, 7).0, 7);
    let (ticket, _) = claim(&mut gate);
    gate.handle_claimed(at(7), ticket, Claimed::Fresh);
    assert_eq!(reason(&mut gate), Reason::NotAllowed);
}

/// Each service that a knock names is a grant of its own: one does not hide the other.
#[test]
fn what_was_asked_for_one_after_the_other_is_all_told() {
    let mut alice = native_client(0);
    alice.ports = ["22/tcp", "80/tcp"].iter().flat_map(|port| PortSpec::parse(port).unwrap()).collect();
    let service =
        |name: &str, port: &str| Service { name: name.into(), ports: PortSpec::parse(port).unwrap().into() };
    let mut rules = rules(vec![alice]);
    rules.services = vec![service("ssh", "22/tcp"), service("web", "80/tcp")];
    let mut gate = native_gate(1);
    gate.handle_rules(at(0), rules, Keyring { native: vec![(DoorRole::Current, door(1))], ..keyring() });
    for (nonce, service) in [(1, "ssh"), (2, "web")] {
        let payload = Payload { services: vec![service.into()], ..Payload::knock(at(nonce).wall) };
        hear(&mut gate, at(nonce), sealed(0, &payload, nonce).0, 7);
        let _ = granted(&mut gate, at(nonce));
        assert_eq!(reason(&mut gate), Reason::Granted);
    }
    let open: Vec<String> = gate.sessions(at(3)).map(|session| session.door.ports[0].to_string()).collect();
    assert_eq!(open.len(), 2, "{open:?}");
}

#[test]
fn what_waits_at_a_door_that_goes_has_its_verdict() {
    let mut gate = native_gate(1);
    for nonce in 1..=3 {
        gate.handle_datagram(at(nonce), from(sealed(0, &Payload::knock(at(nonce).wall), nonce).0, 7));
    }
    assert_eq!((gate.poll_action(), gate.waiting()), (None, 3));
    gate.handle_rules(at(4), rules(vec![native_client(0)]), keyring());
    let reasons: Vec<_> = std::iter::from_fn(|| gate.poll_action()).collect();
    assert_eq!((reasons.len(), gate.waiting()), (3, 0), "{reasons:?}");
}
