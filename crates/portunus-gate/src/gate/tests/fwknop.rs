//! fwknop's stanzas through the whole gate.

use portunus_dialect::fwknop::{Keys, Message, Mode, Nat, Wish, read_ports, seal};
use portunus_model::{ClientKey, CommandRule, NatRule, Net, Refusal, Stanza, Way};

use super::*;

pub(super) fn keys(n: u32) -> Keys {
    let hash = portunus_dialect::fwknop::HashType::Sha256;
    let hmac = format!("hmac key {n}");
    Keys::new(format!("key {n}").as_bytes(), Mode::Cbc, Some((hash, hmac.as_bytes()))).unwrap()
}

/// Stanza `number` with the keys `n`.
pub(super) fn stanza_with(number: u32, n: u32, change: impl Fn(&mut Stanza)) -> Client {
    let window = Some(Duration::from_secs(120));
    let longest = Duration::from_secs(300);
    let mut stanza = Stanza { number, longest, window, ..Stanza::default() };
    change(&mut stanza);
    Client {
        name: ClientName::new(&format!("stanza {number}")).unwrap(),
        key: ClientKey::Fwknop(keys(n).id()),
        ports: Box::default(),
        stanza: Some(Box::new(stanza)),
        ..client(0)
    }
}

pub(super) fn gate_of(clients: Vec<Client>, sets: u32) -> Gate {
    let keyring = Keyring { fwknop: (0..sets).map(keys).collect(), ..keyring() };
    Gate::new(rules(clients), keyring, Tuning::default())
}

pub(super) fn access(ports: &str) -> Wish {
    Wish::new("alice", Message::Access { address: None, ports: read_ports(ports).unwrap() })
}

pub(super) fn packet(n: u32, wish: Wish, now: Now, from: u8, nonce: u64) -> Datagram {
    let wire = seal(&keys(n), wish, now.wall, &mut Dice(nonce)).unwrap().wire;
    Datagram::new(wire.into_bytes(), ([192, 0, 2, from], 4000).into(), Via::Udp)
}

/// Up to the claim, which nobody had before.
fn claimed(gate: &mut Gate, now: Now, datagram: Datagram) {
    gate.handle_datagram(now, datagram);
    while gate.work(now, 16) {}
    let (ticket, _) = claim(gate);
    gate.handle_claimed(now, ticket, Claimed::Fresh);
}

fn refusals(gate: &mut Gate) -> Vec<(u32, Refusal)> {
    match event(gate).detail {
        Some(Detail::Refusals(refusals)) => refusals.into(),
        other => panic!("refusals, not {other:?}"),
    }
}

#[test]
fn the_last_of_ten_thousand_sets_opens_and_is_tried_first_from_then_on() {
    let clients = (0..10_000).map(|n| stanza_with(n + 1, n, |_| ())).collect();
    let mut gate = gate_of(clients, 10_000);
    assert_eq!(knock(&mut gate, at(0), packet(9_999, access("tcp/22"), at(0), 1, 1)), Reason::Granted);
    assert_eq!(gate.effort().tried, 10_000);
    assert_eq!(knock(&mut gate, at(5), packet(9_999, access("tcp/22"), at(5), 1, 2)), Reason::Extended);
    assert_eq!(gate.effort(), Effort { unsealed: 0, verified: 0, tried: 10_001, asked: 0 });
    let session = gate.sessions(at(6)).next().unwrap();
    assert_eq!(session.client.as_str(), "stanza 10000");
}

#[test]
fn an_accepted_packet_is_written_down_before_anything_is_opened() {
    let mut gate = gate_of(vec![stanza_with(1, 1, |_| ())], 2);
    let datagram = packet(1, access("tcp/22"), at(0), 1, 1);
    let digest = portunus_crypto::digest::sha256(&[&datagram.bytes]);
    gate.handle_datagram(at(0), datagram);
    while gate.work(at(0), 16) {}
    let (ticket, claim) = claim(&mut gate);
    assert_eq!(claim.key.0, digest[..16]);
    gate.handle_claimed(at(0), ticket, Claimed::Fresh);
    let Some(Action::Accept(accepted)) = gate.poll_action() else { panic!("it is written down first") };
    assert_eq!((accepted.digest, accepted.via), (digest, Via::Udp));
    assert!(matches!(gate.poll_action(), Some(Action::Open(..))));
}

#[test]
fn a_strangers_text_costs_little_and_is_unauthentic() {
    let clients = (0..1000).map(|n| stanza_with(n + 1, n, |_| ())).collect();
    let mut gate = gate_of(clients, 1000);
    gate.handle_datagram(at(0), packet(1001, access("tcp/22"), at(0), 1, 1));
    assert!(gate.work(at(0), 8), "512 of 1,000 sets are no whole answer");
    assert!(!gate.work(at(0), 8));
    assert_eq!((reason(&mut gate), gate.effort().tried), (Reason::Unauthentic, 1000));
    gate.handle_datagram(at(0), Datagram::new(*b"GET / HTTP/1.0", ([192, 0, 2, 1], 1).into(), Via::Udp));
    assert_eq!(reason(&mut gate), Reason::Noise);
}

#[test]
fn stanzas_with_the_same_keys_are_asked_in_their_order() {
    let only = |ports: &'static str| {
        move |stanza: &mut Stanza| stanza.open_ports = Some(PortSpec::parse(ports).unwrap())
    };
    let elsewhere = |stanza: &mut Stanza| stanza.sources = vec![Net::parse("10.0.0.0/8").unwrap()];
    let clients = vec![
        stanza_with(1, 0, elsewhere),
        stanza_with(2, 0, only("80/tcp")),
        stanza_with(3, 1, |_| ()),
        stanza_with(4, 0, only("22/tcp")),
        stanza_with(5, 0, |_| ()),
    ];
    let mut gate = gate_of(clients, 2);
    claimed(&mut gate, at(0), packet(0, access("tcp/22"), at(0), 1, 1));
    assert_eq!(open(&mut gate).1.client.as_str(), "stanza 4");
    claimed(&mut gate, at(0), packet(0, access("tcp/80"), at(0), 1, 2));
    assert_eq!(open(&mut gate).1.client.as_str(), "stanza 2");
    claimed(&mut gate, at(0), packet(0, access("tcp/443"), at(0), 1, 3));
    assert_eq!(open(&mut gate).1.client.as_str(), "stanza 5");
}

#[test]
fn where_all_refuse_each_says_why() {
    let clients = vec![
        stanza_with(1, 0, |stanza| stanza.username = Some("bob".into())),
        stanza_with(2, 0, |stanza| stanza.require_source = true),
    ];
    let mut gate = gate_of(clients, 1);
    claimed(&mut gate, at(0), packet(0, access("tcp/22"), at(0), 1, 1));
    assert_eq!(refusals(&mut gate), [(1, Refusal::Username), (2, Refusal::NoAddress)]);
}

#[test]
fn the_same_text_is_one_claim_and_an_old_one_is_stale() {
    let mut gate = gate_of(vec![stanza_with(1, 0, |_| ())], 1);
    let one = packet(0, access("tcp/22"), at(0), 1, 1);
    gate.handle_datagram(at(0), one.clone());
    while gate.work(at(0), 16) {}
    let (ticket, first) = claim(&mut gate);
    gate.handle_claimed(at(0), ticket, Claimed::Fresh);
    let _ = open(&mut gate);
    gate.handle_datagram(at(0), one.clone());
    let (ticket, again) = claim(&mut gate);
    assert_eq!(first.key, again.key);
    gate.handle_claimed(at(0), ticket, Claimed::Replayed);
    assert_eq!(reason(&mut gate), Reason::Replayed);
    gate.handle_datagram(at(121_000), one);
    assert_eq!(reason(&mut gate), Reason::Stale);
}

#[test]
fn without_aging_any_age_is_fresh_and_kept() {
    let mut gate = gate_of(vec![stanza_with(1, 0, |stanza| stanza.window = None)], 1);
    gate.handle_datagram(at(1_000_000_000), packet(0, access("tcp/22"), at(0), 1, 1));
    while gate.work(at(1_000_000_000), 16) {}
    let (_, claim) = claim(&mut gate);
    assert!(claim.keep_until > at(1_000_000_000).wall.after(Duration::from_secs(3_000_000_000)));
}

#[test]
fn a_named_host_is_looked_up_once_and_then_known() {
    let nat = NatRule { forward: true, names: true, ..NatRule::default() };
    let mut gate = gate_of(vec![stanza_with(1, 0, |stanza| stanza.nat = nat.clone())], 1);
    let wish =
        || Wish { nat: Some(Nat { host: "inner".into(), port: 22, local: false }), ..access("tcp/5000") };
    claimed(&mut gate, at(0), packet(0, wish(), at(0), 1, 1));
    let Some(Action::Resolve(ticket, name)) = next(&mut gate) else { panic!("a name is asked for") };
    gate.handle_resolved(at(1), ticket, name, Some("10.0.0.9".parse().unwrap()));
    let (ticket, first) = open(&mut gate);
    gate.handle_opened(at(1), ticket, Opened::Open);
    assert_eq!(reason(&mut gate), Reason::Granted);
    assert!(matches!(first.way, Way::Nat(nat) if nat.host.to_string() == "10.0.0.9"));
    claimed(&mut gate, at(2), packet(0, wish(), at(2), 1, 2));
    let (ticket, second) = open(&mut gate);
    assert_eq!(second.way, first.way);
    gate.handle_opened(at(2), ticket, Opened::Open);
    assert_eq!(reason(&mut gate), Reason::Extended);
    // An answer that never comes is no answer; a late one is remembered for the next knock.
    claimed(&mut gate, at(400_000), packet(0, wish(), at(400_000), 1, 3));
    let Some(Action::Resolve(ticket, name)) = next(&mut gate) else { panic!("its time is up") };
    gate.handle_timeout(at(403_000));
    assert_eq!((reason(&mut gate), reason(&mut gate)), (Reason::Busy, Reason::Closed));
    gate.handle_resolved(at(404_000), ticket, name, None);
    assert_eq!(next(&mut gate), None);
}

#[test]
fn an_order_has_one_verdict() {
    let command = Some(CommandRule::default());
    let mut gate = gate_of(vec![stanza_with(1, 0, |stanza| stanza.command = command.clone())], 1);
    let wish = || Wish::new("alice", Message::Command { address: None, text: "true".into() });
    let mut ordered = |nonce, answer: Option<Ran>| {
        claimed(&mut gate, at(nonce), packet(0, wish(), at(nonce), 1, nonce));
        let Some(Action::Run(ticket, _)) = next(&mut gate) else { panic!("an order") };
        match answer {
            Some(answer) => gate.handle_ran(at(nonce), ticket, answer),
            None => gate.handle_timeout(at(nonce + 10_000)),
        }
        let reason = reason(&mut gate);
        assert_eq!(next(&mut gate), None);
        reason
    };
    assert_eq!(ordered(1, Some(Ran::Begun)), Reason::Granted);
    assert_eq!(ordered(2, Some(Ran::Refused)), Reason::NotAllowed);
    assert_eq!(ordered(3, Some(Ran::Busy)), Reason::Busy);
    assert_eq!(ordered(4, None), Reason::Busy);
}

#[test]
fn a_reload_ends_what_the_stanza_no_longer_gives() {
    let mut gate = gate_of(vec![stanza_with(1, 0, |_| ())], 1);
    for (nonce, ports) in [(1, "tcp/22"), (2, "tcp/80")] {
        assert_eq!(knock(&mut gate, at(0), packet(0, access(ports), at(0), 1, nonce)), Reason::Granted);
    }
    let only = |stanza: &mut Stanza| stanza.open_ports = Some(PortSpec::parse("22/tcp").unwrap());
    let keyring = || Keyring { fwknop: vec![keys(0)], ..Keyring::default() };
    gate.handle_rules(at(1), rules(vec![stanza_with(1, 0, |_| ())]), keyring());
    assert_eq!((next(&mut gate), gate.sessions(at(1)).count()), (None, 2));
    gate.handle_rules(at(1), rules(vec![stanza_with(1, 0, only)]), keyring());
    assert!(matches!(gate.poll_action(), Some(Action::Close(_))));
    gate.handle_rules(at(1), rules(vec![]), Keyring::default());
    gate.handle_datagram(at(1), packet(0, access("tcp/22"), at(1), 1, 9));
    let last = std::iter::from_fn(|| gate.poll_action()).last();
    assert!(matches!(last, Some(Action::Tell(event)) if event.reason == Reason::Noise));
}

/// After a restart, when the grantor has found it open.
fn restored(name: &str, door: Door, until: u64) -> RestoredGrant {
    let until = at(until).mono;
    RestoredGrant {
        client: ClientName::new(name).unwrap(),
        address: "192.0.2.1".parse().unwrap(),
        door,
        until,
        grounds: Grounds::default(),
    }
}

#[test]
fn a_restart_keeps_each_door_with_its_way_and_its_end() {
    let (inner, port) = ("10.0.0.2".parse().unwrap(), 8022);
    let forced =
        NatRule { force: Some((inner, port)), unasked: true, keep_destination: true, ..NatRule::default() };
    let stanza = move |stanza: &mut Stanza| {
        stanza.nat = forced.clone();
        stanza.open_ports = Some(PortSpec::parse("22/tcp").unwrap());
    };
    let mut gate = gate_of(vec![stanza_with(1, 0, stanza), stanza_with(2, 1, |_| ()), client(7)], 2);
    let way = |rewrite| {
        let source = portunus_model::NatSource::Kept;
        Way::Nat(portunus_model::Nat { local: false, host: inner, port, rewrite, source })
    };
    let door =
        |ports: &str, way| Door { ports: PortSpec::parse(ports).unwrap().into(), destination: None, way };
    let plain = client(7).name;
    gate.handle_restored(
        at(0),
        vec![
            restored("stanza 1", door("22/tcp", way(true)), 40_000),
            restored("stanza 1", door("8022/tcp", way(false)), 50_000),
            restored("stanza 2", door("22/tcp", Way::Here), 20_000),
            restored("stanza 2", door("80/tcp", Way::Here), 30_000),
            restored(plain.as_str(), door("22/tcp", Way::Here), 20_000),
            restored(plain.as_str(), door("22/tcp", Way::Here), 30_000),
        ],
    );
    let open = [0, 25_000, 30_000, 45_000, 50_000].map(|then| gate.sessions(at(then)).count());
    assert_eq!((next(&mut gate), open), (None, [5, 4, 2, 1, 0]));
}

#[test]
fn a_grant_of_many_ports_that_comes_in_parts_is_one() {
    let mut all = client(7);
    all.ports = ["22/tcp", "80/tcp"].map(|port| PortSpec::parse(port).unwrap()[0]).into();
    let name = all.name.clone();
    let mut gate = gate_of(vec![all.clone()], 0);
    let part = |port: &str| Door { ports: PortSpec::parse(port).unwrap().into(), ..Door::default() };
    let parts = [("22/tcp", 20_000), ("80/tcp", 30_000)];
    let parts = parts.map(|(port, until)| restored(name.as_str(), part(port), until));
    gate.handle_restored(at(0), parts.into());
    let session = gate.sessions(at(0)).next().unwrap();
    assert_eq!((session.door.ports.as_ref(), session.until), (all.ports.as_ref(), at(30_000).mono));
}

#[test]
fn where_no_stanza_is_for_the_source_no_key_is_tried() {
    let elsewhere = |stanza: &mut Stanza| stanza.sources = vec![Net::parse("10.0.0.0/8").unwrap()];
    let mut gate = gate_of(vec![stanza_with(1, 0, elsewhere)], 1);
    gate.handle_datagram(at(0), packet(0, access("tcp/22"), at(0), 1, 1));
    while gate.work(at(0), 16) {}
    assert_eq!((reason(&mut gate), gate.effort().tried), (Reason::UnknownClient, 0));
}
